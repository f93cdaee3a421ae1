//! MP_PRIO, MP_FASTCLOSE, MP_TCPRST and MP_FAIL (RFC 8684 Figures 11, 14, 15 and 16).

use super::OptionView;
use super::emit::Writer;
use crate::keys::Key;

/// MP_PRIO (section 3.3.8): changes the priority of the subflow that carries it.
///
/// The form with an address id, which only version 0 had, is malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MpPrio {
    /// `B`: the sender wants to receive on this subflow only when no other is usable.
    pub backup: bool,
}

impl MpPrio {
    pub(super) fn read(view: OptionView<'_>) -> Self {
        Self { backup: view.lowest_flag() }
    }
}

/// MP_FASTCLOSE (section 3.5): the connection ends at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MpFastclose {
    /// Key of the receiver, without which the option has no effect.
    pub receiver_key: Key,
}

impl MpFastclose {
    pub(super) fn read(view: OptionView<'_>) -> Self {
        Self { receiver_key: Key(u64::from_be_bytes(view.field(4))) }
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        writer.put(&[0]);
        writer.put(&self.receiver_key.0.to_be_bytes());
    }
}

/// MP_TCPRST (section 3.6): why a subflow is reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MpTcprst {
    /// `T`: the cause will pass, and the subflow may be tried again.
    pub transient: bool,
    /// The cause.
    pub reason: ResetReason,
}

impl MpTcprst {
    pub(super) fn read(view: OptionView<'_>) -> Self {
        let [reason] = view.field(3);
        Self { transient: view.lowest_flag(), reason: ResetReason::from_code(reason) }
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        writer.put(&[self.reason.code()]);
    }
}

/// Why a subflow is reset (section 3.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResetReason {
    /// 0: no more is known than that an MPTCP host did it.
    Unspecified,
    /// 1: something is wrong with the MPTCP options.
    MptcpSpecific,
    /// 2: the host cannot afford the subflow.
    LackOfResources,
    /// 3: the host's policy forbids the subflow.
    Prohibited,
    /// 4: too much is queued on it that other subflows have already delivered.
    TooMuchOutstanding,
    /// 5: it was too slow compared with the others.
    UnacceptablePerformance,
    /// 6: a middlebox has made the signals on it invalid.
    MiddleboxInterference,
    /// Any other code: what RFC 8684 does not define.
    Other(u8),
}

impl ResetReason {
    /// The reason that a code stands for.
    pub const fn from_code(code: u8) -> Self {
        match code {
            0 => Self::Unspecified,
            1 => Self::MptcpSpecific,
            2 => Self::LackOfResources,
            3 => Self::Prohibited,
            4 => Self::TooMuchOutstanding,
            5 => Self::UnacceptablePerformance,
            6 => Self::MiddleboxInterference,
            other => Self::Other(other),
        }
    }

    /// The code on the wire.
    pub const fn code(self) -> u8 {
        match self {
            Self::Unspecified => 0,
            Self::MptcpSpecific => 1,
            Self::LackOfResources => 2,
            Self::Prohibited => 3,
            Self::TooMuchOutstanding => 4,
            Self::UnacceptablePerformance => 5,
            Self::MiddleboxInterference => 6,
            Self::Other(code) => code,
        }
    }
}

/// MP_FAIL (section 3.7): a checksum was wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MpFail {
    /// Data sequence number of the first byte that is not to be trusted, always whole.
    pub dsn: u64,
}

impl MpFail {
    pub(super) fn read(view: OptionView<'_>) -> Self {
        Self { dsn: u64::from_be_bytes(view.field(4)) }
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        writer.put(&[0]);
        writer.put(&self.dsn.to_be_bytes());
    }
}
