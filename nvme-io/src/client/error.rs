//! Why hosts end.

use std::io;
use std::net::SocketAddr;

use nvme_tcp::host::{ControllerError, QueueError, Refusal, Unusable};

/// Why a host gives up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// The transport.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The controller.
    #[error("{0}")]
    Controller(#[from] ControllerError),
    /// An I/O queue.
    #[error("I/O queue {id}: {error}")]
    Queue {
        /// Its number.
        id: u16,
        /// What became of it.
        error: QueueError,
    },
    /// A namespace is not the one that was there before, or that other paths lead to: it must not get commands that were meant for that one.
    #[error("namespace {nsid} is another disk than before")]
    AnotherDisk {
        /// NSID.
        nsid: u32,
    },
    /// A namespace that was there before is of no use now, so that it cannot be told whether it is still the same.
    #[error("namespace {nsid} cannot be used any more: {reason}")]
    Unusable {
        /// NSID.
        nsid: u32,
        /// Why.
        reason: Unusable,
    },
    /// All connections were lost, and connecting again was given up.
    #[error("{address} is given up: {reason}")]
    GivenUp {
        /// The first of the addresses.
        address: SocketAddr,
        /// What became of the latest connection, or attempt.
        reason: String,
    },
    /// A request that had to be submitted was not taken.
    #[error("the queue takes nothing: {0}")]
    Refused(Refusal),
    /// It took too long.
    #[error("no answer in time")]
    TimedOut,
}

impl HostError {
    /// Whether connecting again would end alike.
    pub(super) fn is_final(&self) -> bool {
        match self {
            Self::Controller(error) => error.is_final(),
            Self::Queue { error, .. } => error.is_final(),
            Self::AnotherDisk { .. } => true,
            // The controller may describe it the next time.
            Self::Unusable { reason, .. } => *reason != Unusable::NotDescribed,
            _ => false,
        }
    }
}
