//! What is asked of a queue, and what becomes of it.

use crate::command::{Sqe, Status};
use crate::pdu::Payload;

/// A command for a [`Queue`](super::Queue), with its data and the caller's token.
#[derive(Clone, Debug)]
pub struct Request<T> {
    /// The command. The queue chooses CID and SGL descriptor.
    pub sqe: Sqe,
    /// Its data.
    pub data: Data,
    /// Whatever tells the caller which request it is; it comes back with the completion.
    pub token: T,
}

/// The data of a command.
#[derive(Clone, Debug, Default)]
pub enum Data {
    /// None.
    #[default]
    None,
    /// To the controller: at most 4 GiB - 1.
    Send(Payload),
    /// From the controller.
    Receive {
        /// Bytes: exactly so many have to come if the command succeeds.
        length: u32,
        /// Where they go, as slices of what was received. What it holds is forgotten, its own memory used again.
        into: Payload,
    },
}

impl<T> Request<T> {
    /// A command without data.
    pub fn new(sqe: Sqe, token: T) -> Self {
        Self { sqe, data: Data::None, token }
    }

    /// The command with data for the controller.
    #[must_use]
    pub fn sending(self, data: impl Into<Payload>) -> Self {
        Self { data: Data::Send(data.into()), ..self }
    }

    /// The command, which asks the controller for `length` bytes.
    #[must_use]
    pub fn receiving(self, length: u32) -> Self {
        Self { data: Data::Receive { length, into: Payload::new() }, ..self }
    }

    /// The data, in either direction; empty if there is none.
    pub fn payload(&self) -> Option<&Payload> {
        match &self.data {
            Data::None => None,
            Data::Send(payload) | Data::Receive { into: payload, .. } => Some(payload),
        }
    }

    /// The data that was received; empty if there is none.
    pub fn into_received(self) -> Payload {
        match self.data {
            Data::Receive { into, .. } => into,
            Data::None | Data::Send(_) => Payload::new(),
        }
    }
}

/// The CID of an outstanding command, unique within its queue for as long as it is outstanding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CommandId(pub(super) u16);

impl CommandId {
    /// The CID, as Abort wants it.
    pub const fn value(self) -> u16 {
        self.0
    }
}

/// The end of a command. Every command that was submitted has exactly one.
#[derive(Clone, Debug)]
pub struct Completion<T> {
    /// Which command.
    pub id: CommandId,
    /// How it ended.
    pub outcome: Outcome,
    /// What was submitted, with the data that was received. If the command did not succeed, there is no received data.
    pub request: Request<T>,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The controller has answered. Two errors are the host's own finding: [`TransientTransportError`] if a data digest was
    /// wrong, and [`DataTransferError`] if the command succeeded without all of its data having been transferred.
    ///
    /// [`TransientTransportError`]: crate::command::StatusCode::TransientTransportError
    /// [`DataTransferError`]: crate::command::StatusCode::DataTransferError
    Answered {
        /// How it went.
        status: Status,
        /// Dwords 0 and 1 of the completion.
        result: u64,
    },
    /// The connection ended first.
    Lost {
        /// Whether the command may have left, so that the controller may have executed it, or may be about to.
        sent: bool,
    },
}

impl Outcome {
    /// Whether the command succeeded.
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Answered { status, .. } if status.is_success())
    }
}
