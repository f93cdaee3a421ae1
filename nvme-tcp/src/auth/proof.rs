//! What both ends prove that they know their secrets with.

use super::Hash;
use super::hash::Output;
use crate::command::Nqn;

/// What an exchange is about: part of all proofs in it.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    pub(super) host: Nqn,
    pub(super) subsystem: Nqn,
    /// T_ID.
    pub(super) transaction: u16,
}

impl Terms {
    /// The host's response to a challenge and its sequence number.
    pub(super) fn host_response(&self, hash: Hash, key: &[u8], challenge: &[u8], sequence: u32) -> Output {
        self.response(hash, key, challenge, sequence, [b"HostHost", name(&self.host), name(&self.subsystem)])
    }

    /// The controller's response to a challenge and its sequence number.
    pub(super) fn controller_response(&self, hash: Hash, key: &[u8], challenge: &[u8], sequence: u32) -> Output {
        self.response(hash, key, challenge, sequence, [b"Controller", name(&self.subsystem), name(&self.host)])
    }

    fn response(
        &self,
        hash: Hash,
        key: &[u8],
        challenge: &[u8],
        sequence: u32,
        [role, own, other]: [&[u8]; 3],
    ) -> Output {
        let (sequence, transaction) = (sequence.to_le_bytes(), self.transaction.to_le_bytes());
        // SC_C: no secure channel is set up.
        let concatenation = [0];
        hash.hmac(key, &[challenge, &sequence, &transaction, &concatenation, role, own, &[0], other])
    }
}

/// A challenge mixed with what the Diffie-Hellman values have in common, if there is any such thing.
pub(super) fn augmented(hash: Hash, challenge: &[u8], common: Option<&[u8]>) -> Output {
    match common {
        Some(common) => hash.hmac(&hash.digest(common), &[challenge]),
        None => challenge.to_vec().into(),
    }
}

fn name(nqn: &Nqn) -> &[u8] {
    nqn.as_str().as_bytes()
}
