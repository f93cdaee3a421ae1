//! How commands fail.

use nvme_tcp::command::Status;
use nvme_tcp::host::Refusal;

/// Why a command has not succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DiskError {
    /// The controller has answered so; or the host has found it, see [`Outcome::Answered`](nvme_tcp::host::Outcome::Answered).
    #[error("{0}")]
    Status(Status),
    /// The connection ended without an answer, and the command cannot be sent again: all paths are given up, or it must not be executed twice.
    #[error("the connection was lost{}", executed(.sent))]
    Lost {
        /// Whether the command may have been executed, or may be about to be.
        sent: bool,
    },
    /// The driver of the host has ended.
    #[error("the host has ended{}", executed(.sent))]
    Closed {
        /// Whether the command may have been executed, or may be about to be.
        sent: bool,
    },
    /// No queue takes such a command.
    #[error("the command is refused: {0}")]
    Refused(Refusal),
    /// Not a number of blocks that a command can have.
    #[error("a command is for 1 to 65536 blocks, and its data is whole blocks")]
    Length,
}

fn executed(sent: &bool) -> &'static str {
    if *sent { "; the command may have been executed" } else { "" }
}
