//! Why queues end, and why they take no command.

use crate::auth::AuthenticationError;
use crate::command::{InvalidParameter, Status};
use crate::host::{CommandId, Request};
use crate::pdu::{Fes, Violation};

/// Why a queue has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError {
    /// The controller sent what it must not; it is told with H2CTermReq.
    #[error("the controller broke the protocol: {0}")]
    Violation(Violation),
    /// The controller sent C2HTermReq.
    #[error("the controller ended the connection because of our error: {fes} ({fei:#x})")]
    Terminated {
        /// What kind of error.
        fes: Fes,
        /// Where.
        fei: u32,
    },
    /// The controller refused Connect.
    #[error("the controller refused the connection: {status}{}", named(.parameter))]
    Refused {
        /// Why.
        status: Status,
        /// With [`ConnectInvalidParameters`](crate::command::StatusCode::ConnectInvalidParameters): which one.
        parameter: Option<InvalidParameter>,
    },
    /// The host could not authenticate, or the controller did not.
    #[error(transparent)]
    Authentication(AuthenticationError),
    /// Initialisation, Connect and authentication took too long.
    #[error("the controller did not accept the connection in time")]
    ConnectTimeout,
    /// A command took too long.
    #[error("the command {:#06x} was not answered in time", .0.value())]
    CommandTimeout(CommandId),
    /// The transport lost the connection, or the controller closed it.
    #[error("the connection was lost")]
    ConnectionLost,
}

impl QueueError {
    /// Whether connecting again would end alike, since the controller said so.
    pub const fn is_final(&self) -> bool {
        match self {
            Self::Refused { status, .. } => status.do_not_retry,
            // Only a command can have failed for a reason of the moment.
            Self::Authentication(AuthenticationError::Command(status)) => status.do_not_retry,
            Self::Authentication(_) => true,
            _ => false,
        }
    }
}

fn named(parameter: &Option<InvalidParameter>) -> String {
    parameter.map_or_else(String::new, |parameter| format!(": {parameter}"))
}

/// Why a command was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// As many commands are outstanding as the queue takes.
    #[error("the queue is full")]
    Full,
    /// The controller is not ready yet, or is being shut down.
    #[error("the controller is not ready")]
    NotReady,
    /// The queue has ended.
    #[error("the queue has ended")]
    Ended,
    /// More data than a command can have.
    #[error("a command transfers less than 4 GiB")]
    TooLong,
}

/// A request that was not taken, as it was.
#[derive(Clone, Debug)]
pub struct Refused<T> {
    /// Why.
    pub reason: Refusal,
    /// The request.
    pub request: Request<T>,
}
