//! How a peer can break the transport's protocol, and what the TermReq says about it.

use super::{PduType, Role};

/// FES, the fatal error status of a TermReq.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Fes {
    /// A field of the header has a value that it cannot have.
    #[error("invalid PDU header field")]
    InvalidHeaderField,
    /// The PDU may not come now.
    #[error("PDU sequence error")]
    SequenceError,
    /// The header and its digest disagree.
    #[error("header digest error")]
    HeaderDigestError,
    /// Data lies outside of what was asked for.
    #[error("data transfer out of range")]
    DataOutOfRange,
    /// To a host: more data than the controller takes. To a controller: more R2Ts than the host takes.
    #[error("data transfer or R2T limit exceeded")]
    LimitExceeded,
    /// A parameter that the receiver does not support.
    #[error("unsupported parameter")]
    UnsupportedParameter,
    /// A status that this specification does not have.
    #[error("unknown fatal error status {0:#06x}")]
    Other(u16),
}

impl Fes {
    /// The status of this code.
    pub const fn from_code(code: u16) -> Self {
        match code {
            0x01 => Self::InvalidHeaderField,
            0x02 => Self::SequenceError,
            0x03 => Self::HeaderDigestError,
            0x04 => Self::DataOutOfRange,
            0x05 => Self::LimitExceeded,
            0x06 => Self::UnsupportedParameter,
            other => Self::Other(other),
        }
    }

    /// Its code on the wire.
    pub const fn code(self) -> u16 {
        match self {
            Self::InvalidHeaderField => 0x01,
            Self::SequenceError => 0x02,
            Self::HeaderDigestError => 0x03,
            Self::DataOutOfRange => 0x04,
            Self::LimitExceeded => 0x05,
            Self::UnsupportedParameter => 0x06,
            Self::Other(code) => code,
        }
    }
}

/// Where in a PDU a field is: what FEI says with [`Fes::InvalidHeaderField`] and [`Fes::UnsupportedParameter`].
mod offset {
    pub(super) const FLAGS: u32 = 1;
    pub(super) const HLEN: u32 = 2;
    pub(super) const PDO: u32 = 3;
    pub(super) const PLEN: u32 = 4;
    pub(super) const PFV: u32 = 8;
    pub(super) const CCCID: u32 = 8;
    pub(super) const ALIGNMENT: u32 = 10;
    pub(super) const TTAG: u32 = 10;
    pub(super) const DGST: u32 = 11;
    pub(super) const MAXH2CDATA: u32 = 12;
    pub(super) const LENGTH: u32 = 16;
    /// The SQE begins 8 bytes into the capsule, its SGL descriptor 24 bytes later.
    pub(super) const SGL_ADDRESS: u32 = 8 + 24;
    pub(super) const SGL_LENGTH: u32 = 8 + 32;
    pub(super) const SGL_TYPE: u32 = 8 + 39;
}

/// Why the connection has to end. [`Violation::fes`] and [`Violation::fei`] are for the [`TermReq`](super::TermReq).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// No PDU has this type.
    #[error("there is no PDU of type {0:#04x}")]
    UnknownType(u8),
    /// The PDU is for the other end.
    #[error("the {} is not for the {receiver}", .pdu)]
    Misdirected {
        /// Which PDU.
        pdu: PduType,
        /// Who received it.
        receiver: Role,
    },
    /// Before the connection is initialised nothing else may come, and nothing of that afterwards.
    #[error("the {0} may not come at this point of the connection")]
    OutOfSequence(PduType),
    /// HLEN is not the length of this PDU's header.
    #[error("a {pdu} cannot have a header of {hlen} bytes")]
    HeaderLength {
        /// Which PDU.
        pdu: PduType,
        /// What HLEN says.
        hlen: u8,
    },
    /// A flag for a digest that was not agreed on, or none for one that was; or flags that contradict each other.
    #[error("the {pdu} has the flags {flags:#04x}, which contradict each other or the digests that were agreed on")]
    Flags {
        /// Which PDU.
        pdu: PduType,
        /// Its flags.
        flags: u8,
    },
    /// PLEN cannot be, or disagrees with the rest of the header.
    #[error("the {pdu} cannot have {plen} bytes")]
    PduLength {
        /// Which PDU.
        pdu: PduType,
        /// What PLEN says.
        plen: u32,
    },
    /// PDO points into the header, beyond the PDU, or to where the alignment that was agreed on forbids it.
    #[error("the data of the {pdu} cannot begin at byte {pdo}")]
    DataOffset {
        /// Which PDU.
        pdu: PduType,
        /// What PDO says.
        pdo: u8,
    },
    /// The header and its digest disagree.
    #[error("the digest of the {pdu}'s header is {received:#010x}, but should be {computed:#010x}")]
    HeaderDigest {
        /// Which PDU.
        pdu: PduType,
        /// The digest that came.
        received: u32,
        /// The digest of the header that came.
        computed: u32,
    },
    /// A version of the PDU format other than 0.
    #[error("there is no PDU format of version {0}")]
    FormatVersion(u16),
    /// HPDA or CPDA beyond 31.
    #[error("data cannot be aligned to {0} dwords, counted from 0; the largest value is 31")]
    AlignmentRange(u8),
    /// The controller enables a digest that the host did not ask for, or the reverse.
    #[error("the peer agrees on the digests {0:#04x}, which were not the ones asked for")]
    DigestsNotAsked(u8),
    /// MAXH2CDATA below 4096, or no multiple of 4.
    #[error("MAXH2CDATA cannot be {0}: it is a multiple of 4, and at least 4096")]
    MaxH2cDataRange(u32),
    /// A PDU that exists to carry data, or to ask for some, and names none.
    #[error("the {0} is for no data at all")]
    NoData(PduType),
    /// H2CData longer than MAXH2CDATA.
    #[error("the H2CData carries {length} bytes where {limit} are allowed")]
    H2cDataTooLong {
        /// DATAL.
        length: u32,
        /// MAXH2CDATA.
        limit: u32,
    },
    /// More data in a capsule than the queue takes.
    #[error("the CapsuleCmd carries {length} bytes where {limit} are allowed")]
    InCapsuleTooLong {
        /// Bytes in the capsule.
        length: u32,
        /// Bytes allowed.
        limit: u32,
    },
    /// The SGL's length is not that of the data in the capsule.
    #[error("the SGL is for {sgl} bytes, but the capsule carries {carried}")]
    InCapsuleLength {
        /// Length of the descriptor.
        sgl: u32,
        /// Bytes in the capsule.
        carried: u32,
    },
    /// In-capsule data that does not begin at offset 0.
    #[error("in-capsule data at offset {0} is not supported")]
    InCapsuleOffset(u64),
    /// An SGL descriptor that this transport does not know.
    #[error("an SGL descriptor of type {0:#04x} is not supported")]
    SglType(u8),
    /// A transfer longer than what the controller takes for any command.
    #[error("the SGL is for {length} bytes where {limit} are allowed")]
    TransferTooLong {
        /// Length of the descriptor.
        length: u32,
        /// Bytes allowed.
        limit: u32,
    },
    /// A tag that no R2T can have had.
    #[error("no R2T had the transfer tag {0:#06x}")]
    UnknownTransferTag(u16),
    /// A tag of no R2T that is outstanding.
    #[error("no outstanding R2T has the transfer tag {0:#06x}")]
    IdleTransferTag(u16),
    /// The tag belongs to another command.
    #[error("the transfer tag {ttag:#06x} is not of the command {cccid:#06x}")]
    CommandMismatch {
        /// The transfer tag.
        ttag: u16,
        /// The command that the PDU names.
        cccid: u16,
    },
    /// A command that is not outstanding.
    #[error("the {pdu} is for the command {cccid:#06x}, which is not outstanding")]
    UnknownCommand {
        /// Which PDU.
        pdu: PduType,
        /// The command that it names.
        cccid: u16,
    },
    /// Data for a command that takes none, or asked from one that gives none.
    #[error("the {pdu} contradicts the direction in which the command {cccid:#06x} transfers data")]
    WrongDirection {
        /// Which PDU.
        pdu: PduType,
        /// The command that it names.
        cccid: u16,
    },
    /// Data that does not follow the data before it.
    #[error("the {pdu} is for byte {offset}, but byte {expected} comes next")]
    DataOrder {
        /// Which PDU.
        pdu: PduType,
        /// DATAO or R2TO.
        offset: u32,
        /// The offset that continues what came before.
        expected: u32,
    },
    /// Data that goes beyond what the command, or the R2T, is for.
    #[error("the {pdu} is for {length} bytes at {offset}, which ends after byte {limit}")]
    DataRange {
        /// Which PDU.
        pdu: PduType,
        /// DATAO or R2TO.
        offset: u32,
        /// DATAL or R2TL.
        length: u32,
        /// Where the transfer ends.
        limit: u32,
    },
    /// LAST_PDU before the end of what was asked for, or none at its end.
    #[error("the {pdu} for {length} bytes at {offset} has LAST_PDU where it is not the last, or lacks it")]
    LastFlag {
        /// Which PDU.
        pdu: PduType,
        /// DATAO.
        offset: u32,
        /// DATAL.
        length: u32,
    },
    /// More commands than the queue has entries.
    #[error("more commands are outstanding than the {entries} entries of the queue")]
    QueueOverrun {
        /// Entries of the queue.
        entries: u32,
    },
    /// More R2Ts for a command than MAXR2T allows.
    #[error("more than {limit} R2Ts for one command are outstanding")]
    TooManyR2ts {
        /// How many may be.
        limit: u32,
    },
}

impl Violation {
    /// The fatal error status that names it.
    pub const fn fes(&self) -> Fes {
        match self {
            Self::UnknownType(_)
            | Self::Misdirected { .. }
            | Self::HeaderLength { .. }
            | Self::Flags { .. }
            | Self::PduLength { .. }
            | Self::DataOffset { .. }
            | Self::FormatVersion(_)
            | Self::AlignmentRange(_)
            | Self::DigestsNotAsked(_)
            | Self::MaxH2cDataRange(_)
            | Self::NoData(_)
            | Self::InCapsuleLength { .. }
            | Self::IdleTransferTag(_)
            | Self::UnknownCommand { .. }
            | Self::LastFlag { .. } => Fes::InvalidHeaderField,
            Self::OutOfSequence(_)
            | Self::UnknownTransferTag(_)
            | Self::CommandMismatch { .. }
            | Self::QueueOverrun { .. }
            | Self::WrongDirection { .. } => Fes::SequenceError,
            Self::HeaderDigest { .. } => Fes::HeaderDigestError,
            Self::DataOrder { .. } | Self::DataRange { .. } => Fes::DataOutOfRange,
            Self::H2cDataTooLong { .. }
            | Self::InCapsuleTooLong { .. }
            | Self::TransferTooLong { .. }
            | Self::TooManyR2ts { .. } => Fes::LimitExceeded,
            Self::InCapsuleOffset(_) | Self::SglType(_) => Fes::UnsupportedParameter,
        }
    }

    /// What FEI says with this status: the offset of the field, or the digest that came; otherwise 0.
    pub const fn fei(&self) -> u32 {
        match self {
            Self::HeaderLength { .. } => offset::HLEN,
            Self::Flags { .. } | Self::LastFlag { .. } => offset::FLAGS,
            Self::PduLength { .. } => offset::PLEN,
            Self::DataOffset { .. } => offset::PDO,
            Self::HeaderDigest { received, .. } => *received,
            Self::FormatVersion(_) => offset::PFV,
            Self::AlignmentRange(_) => offset::ALIGNMENT,
            Self::DigestsNotAsked(_) => offset::DGST,
            Self::MaxH2cDataRange(_) => offset::MAXH2CDATA,
            Self::NoData(_) => offset::LENGTH,
            Self::InCapsuleLength { .. } => offset::SGL_LENGTH,
            Self::InCapsuleOffset(_) => offset::SGL_ADDRESS,
            Self::SglType(_) => offset::SGL_TYPE,
            Self::IdleTransferTag(_) => offset::TTAG,
            Self::UnknownCommand { .. } => offset::CCCID,
            // The type is at offset 0, and the other statuses say all there is to say.
            Self::UnknownType(_)
            | Self::Misdirected { .. }
            | Self::OutOfSequence(_)
            | Self::UnknownTransferTag(_)
            | Self::CommandMismatch { .. }
            | Self::QueueOverrun { .. }
            | Self::WrongDirection { .. }
            | Self::DataOrder { .. }
            | Self::DataRange { .. }
            | Self::H2cDataTooLong { .. }
            | Self::InCapsuleTooLong { .. }
            | Self::TransferTooLong { .. }
            | Self::TooManyR2ts { .. } => 0,
        }
    }
}
