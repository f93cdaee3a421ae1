//! MP_CAPABLE (RFC 8684 section 3.1, Figure 4).

use super::emit::Writer;
use super::{OptionView, room};
use crate::keys::Key;

const CHECKSUM: u8 = 0x80;
const EXTENSIBILITY: u8 = 0x40;
const DENY_JOIN_INITIAL: u8 = 0x20;
const CRYPTO: u8 = 0x1f;

/// The second octet of MP_CAPABLE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CapableFlags {
    /// `A`: the sender requires checksums.
    pub checksum: bool,
    /// `B`: for a future specification. Whoever sees it set must ignore the option.
    pub extensibility: bool,
    /// `C`: the sender takes no further subflows to the address and port that it sends from.
    pub deny_join_initial: bool,
    /// `D` to `H` in the low 5 bits: the algorithms offered or, in an answer, the one chosen.
    pub crypto: u8,
}

impl CapableFlags {
    /// `H`: HMAC-SHA256, the only algorithm that RFC 8684 has.
    pub const HMAC_SHA256: u8 = 0x01;

    fn from_bits(bits: u8) -> Self {
        Self {
            checksum: bits & CHECKSUM != 0,
            extensibility: bits & EXTENSIBILITY != 0,
            deny_join_initial: bits & DENY_JOIN_INITIAL != 0,
            crypto: bits & CRYPTO,
        }
    }

    fn bits(self) -> u8 {
        let flag = |set, bit| if set { bit } else { 0 };
        flag(self.checksum, CHECKSUM)
            | flag(self.extensibility, EXTENSIBILITY)
            | flag(self.deny_join_initial, DENY_JOIN_INITIAL)
            | self.crypto & CRYPTO
    }
}

/// MP_CAPABLE. Its length alone tells the forms apart, also for other versions: what
/// version 0 sends in a SYN has the length of a SYN/ACK. Versions are 0 to 15.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MpCapable {
    /// Of a SYN.
    Syn {
        /// The highest version that the sender knows.
        version: u8,
        /// What the sender asks for.
        flags: CapableFlags,
    },
    /// Of a SYN/ACK.
    SynAck {
        /// The version to use.
        version: u8,
        /// What both sides will do.
        flags: CapableFlags,
        /// Key of the sender.
        key: Key,
    },
    /// Of the third packet, without data.
    Ack {
        /// The version in use.
        version: u8,
        /// What was negotiated.
        flags: CapableFlags,
        /// Key of the sender.
        sender_key: Key,
        /// Key of the receiver.
        receiver_key: Key,
    },
    /// Of the first data, whose mapping it is as well: from the first byte of the stream and of the subflow.
    AckData {
        /// The version in use.
        version: u8,
        /// What was negotiated.
        flags: CapableFlags,
        /// Key of the sender.
        sender_key: Key,
        /// Key of the receiver.
        receiver_key: Key,
        /// Bytes that the mapping covers.
        data_len: u16,
        /// The DSS checksum of the mapping, if checksums are in use.
        checksum: Option<u16>,
    },
}

impl MpCapable {
    /// The version of the protocol.
    pub fn version(&self) -> u8 {
        let (Self::Syn { version, .. }
        | Self::SynAck { version, .. }
        | Self::Ack { version, .. }
        | Self::AckData { version, .. }) = self;
        *version
    }

    /// The flags.
    pub fn flags(&self) -> CapableFlags {
        let (Self::Syn { flags, .. }
        | Self::SynAck { flags, .. }
        | Self::Ack { flags, .. }
        | Self::AckData { flags, .. }) = self;
        *flags
    }

    pub(super) fn read(view: OptionView<'_>) -> Self {
        let version = view.low_bits();
        let [flags] = view.field(3);
        let flags = CapableFlags::from_bits(flags);
        let key = |at| Key(u64::from_be_bytes(view.field(at)));
        match view.bytes().len() {
            room::CAPABLE_SYN => Self::Syn { version, flags },
            room::CAPABLE_SYN_ACK => Self::SynAck { version, flags, key: key(4) },
            room::CAPABLE_ACK => Self::Ack { version, flags, sender_key: key(4), receiver_key: key(12) },
            length => Self::AckData {
                version,
                flags,
                sender_key: key(4),
                receiver_key: key(12),
                data_len: u16::from_be_bytes(view.field(20)),
                checksum: (length == room::CAPABLE_DATA_CHECKSUM).then(|| u16::from_be_bytes(view.field(22))),
            },
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Syn { .. } => room::CAPABLE_SYN,
            Self::SynAck { .. } => room::CAPABLE_SYN_ACK,
            Self::Ack { .. } => room::CAPABLE_ACK,
            Self::AckData { checksum: None, .. } => room::CAPABLE_DATA,
            Self::AckData { checksum: Some(_), .. } => room::CAPABLE_DATA_CHECKSUM,
        }
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        writer.put(&[self.flags().bits()]);
        match *self {
            Self::Syn { .. } => {}
            Self::SynAck { key, .. } => writer.put(&key.0.to_be_bytes()),
            Self::Ack { sender_key, receiver_key, .. } => {
                writer.put(&sender_key.0.to_be_bytes());
                writer.put(&receiver_key.0.to_be_bytes());
            }
            Self::AckData { sender_key, receiver_key, data_len, checksum, .. } => {
                writer.put(&sender_key.0.to_be_bytes());
                writer.put(&receiver_key.0.to_be_bytes());
                writer.put(&data_len.to_be_bytes());
                if let Some(checksum) = checksum {
                    writer.put(&checksum.to_be_bytes());
                }
            }
        }
    }
}
