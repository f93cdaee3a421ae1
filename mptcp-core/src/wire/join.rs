//! MP_JOIN (RFC 8684 section 3.2, Figures 5 to 7).

use super::emit::Writer;
use super::{AddrId, OptionView, room};
use crate::keys::Token;

/// MP_JOIN. Its length tells the forms apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MpJoin {
    /// Of a SYN.
    Syn {
        /// `B`: the sender wants to receive on this subflow only when no other is usable.
        backup: bool,
        /// Identifies the source address.
        addr_id: AddrId,
        /// Identifies the connection at the receiver.
        token: Token,
        /// Random number of the sender.
        nonce: u32,
    },
    /// Of a SYN/ACK.
    SynAck {
        /// `B`, as in the SYN.
        backup: bool,
        /// Identifies the source address.
        addr_id: AddrId,
        /// Leftmost 64 bits of the sender's HMAC.
        hmac: [u8; 8],
        /// Random number of the sender.
        nonce: u32,
    },
    /// Of the third packet.
    Ack {
        /// Leftmost 160 bits of the sender's HMAC.
        hmac: [u8; 20],
    },
}

impl MpJoin {
    pub(super) fn read(view: OptionView<'_>) -> Self {
        let backup = view.lowest_flag();
        let [id] = view.field(3);
        let addr_id = AddrId(id);
        match view.bytes().len() {
            room::JOIN_SYN => Self::Syn {
                backup,
                addr_id,
                token: Token(u32::from_be_bytes(view.field(4))),
                nonce: u32::from_be_bytes(view.field(8)),
            },
            room::JOIN_SYN_ACK => {
                Self::SynAck { backup, addr_id, hmac: view.field(4), nonce: u32::from_be_bytes(view.field(12)) }
            }
            _ => Self::Ack { hmac: view.field(4) },
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Syn { .. } => room::JOIN_SYN,
            Self::SynAck { .. } => room::JOIN_SYN_ACK,
            Self::Ack { .. } => room::JOIN_ACK,
        }
    }

    pub(super) fn backup(&self) -> bool {
        matches!(self, Self::Syn { backup: true, .. } | Self::SynAck { backup: true, .. })
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        match self {
            Self::Syn { addr_id, token, nonce, .. } => {
                writer.put(&[addr_id.0]);
                writer.put(&token.0.to_be_bytes());
                writer.put(&nonce.to_be_bytes());
            }
            Self::SynAck { addr_id, hmac, nonce, .. } => {
                writer.put(&[addr_id.0]);
                writer.put(hmac);
                writer.put(&nonce.to_be_bytes());
            }
            Self::Ack { hmac } => {
                writer.put(&[0]);
                writer.put(hmac);
            }
        }
    }
}
