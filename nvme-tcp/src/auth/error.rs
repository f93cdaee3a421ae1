//! Why authentication fails.

use std::fmt;

use crate::command::Status;

/// The reason that AUTH_Failure1 and AUTH_Failure2 give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureReason {
    /// The proof is wrong.
    Failed,
    /// The other end has no protocol that can be used.
    NoProtocol,
    /// One end wants a secure channel, the other does not.
    SecureChannel,
    /// No hash function that both have.
    NoHash,
    /// No Diffie-Hellman group that both have.
    NoGroup,
    /// A message has values that it cannot have.
    Payload,
    /// A message came that is not the one to come.
    Message,
    /// A reason that is not in this list.
    Other(u8),
}

impl FailureReason {
    /// From the reason code explanation. There is only one reason code.
    pub(super) const fn from_code(code: u8) -> Self {
        match code {
            1 => Self::Failed,
            2 => Self::NoProtocol,
            3 => Self::SecureChannel,
            4 => Self::NoHash,
            5 => Self::NoGroup,
            6 => Self::Payload,
            7 => Self::Message,
            other => Self::Other(other),
        }
    }

    /// The reason code explanation.
    pub(super) const fn code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::NoProtocol => 2,
            Self::SecureChannel => 3,
            Self::NoHash => 4,
            Self::NoGroup => 5,
            Self::Payload => 6,
            Self::Message => 7,
            Self::Other(other) => other,
        }
    }
}

impl fmt::Display for FailureReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Failed => "the secret is wrong",
            Self::NoProtocol => "there is no protocol that both ends have",
            Self::SecureChannel => "only one end wants a secure channel",
            Self::NoHash => "there is no hash function that both ends are willing to use",
            Self::NoGroup => "there is no Diffie-Hellman group that both ends are willing to use",
            Self::Payload => "a message was wrong",
            Self::Message => "a message came out of turn",
            Self::Other(code) => return write!(f, "reason {code:#04x}"),
        })
    }
}

/// Why a host could not authenticate, or will not have the controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthenticationError {
    /// The controller demands authentication.
    #[error("the controller demands authentication, and this host has no secret")]
    NoSecret,
    /// The controller has sent AUTH_Failure1.
    #[error("the controller did not accept the authentication: {0}")]
    Refused(FailureReason),
    /// The controller's proof is wrong or missing.
    #[error("the controller did not prove that it knows the subsystem's secret")]
    NotProven,
    /// The controller sent a message that is not the one to come, or is wrong.
    #[error("the controller cannot be authenticated with: {0}")]
    Broken(FailureReason),
    /// Authentication Send or Receive failed.
    #[error("the controller refused to authenticate: {0}")]
    Command(Status),
}
