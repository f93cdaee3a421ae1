//! In-band authentication: DH-HMAC-CHAP, by which a host proves that it knows a secret before a queue takes its commands, and, if the host wants,
//! the subsystem proves that it knows one of its own. (NVM Express Base Specification 2.0, section 8.13.5.)
//!
//! After Connect, both ends hand each other messages in Authentication Send and Authentication Receive:
//!
//! | from | message | with |
//! |---|---|---|
//! | host | AUTH_Negotiate | the [algorithms](Algorithms) that it has |
//! | controller | DH-HMAC-CHAP_Challenge | a choice among them, random bytes, its Diffie-Hellman value |
//! | host | DH-HMAC-CHAP_Reply | its proof, its Diffie-Hellman value, and random bytes if it wants a proof too |
//! | controller | DH-HMAC-CHAP_Success1 | its proof, if the host wanted one |
//! | host | DH-HMAC-CHAP_Success2 | nothing; only if it wanted a proof |
//!
//! A proof is an HMAC of the random bytes and the names of both ends, with a key that is made of the [secret](Secret). With a
//! [group](Group), the random bytes are first mixed with what the Diffie-Hellman values have in common, so that who has recorded the messages cannot
//! try secrets on them.
//!
//! Commands and data that follow are neither encrypted nor signed: this is about who connects, not about who listens or alters.

mod entropy;
mod error;
mod group;
mod hash;
mod host;
mod message;
mod proof;
mod secret;
mod target;
#[cfg(test)]
mod tests;

pub use entropy::Entropy;
pub use error::{AuthenticationError, FailureReason};
pub use group::{Group, UnknownGroup};
pub use hash::{Hash, UnknownHash};
pub use host::HostAuthentication;
pub(crate) use host::{Initiator, Next};
pub(crate) use message::MAX_MESSAGE;
pub use secret::{Secret, SecretError};
pub use target::HostSecrets;
pub(crate) use target::Responder;

/// SECP of Authentication Send and Receive.
pub(crate) const PROTOCOL: u8 = 0xe9;
/// SPSP of Authentication Send and Receive.
pub(crate) const PROTOCOL_SPECIFIC: u16 = 0x0101;

/// What one end is willing to use, the best first. Of what both are willing to use the controller chooses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Algorithms {
    /// Hash functions.
    pub hashes: Vec<Hash>,
    /// Diffie-Hellman groups.
    pub groups: Vec<Group>,
}

impl Default for Algorithms {
    /// All of them. The smallest group comes first, since a larger one takes longer, on each queue, and none comes last.
    fn default() -> Self {
        let [null, groups @ ..] = Group::ALL;
        Self { hashes: Hash::ALL.to_vec(), groups: groups.into_iter().chain([null]).collect() }
    }
}
