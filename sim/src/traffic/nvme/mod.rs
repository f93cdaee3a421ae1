//! NVMe over TCP: I/O queues with the real state machines at both ends, loaded as fio does it, and Linux' native multipath above them.

mod disk;
mod exchange;
mod jobs;
mod queue;
mod store;

use std::time::Duration;

use tcp_adapter::Instant;

pub use disk::{Disk, LOGICAL_BLOCK, NSID, Storage, StorageOptions};
pub(super) use exchange::{Changed, Exchange, Surroundings};
pub(super) use jobs::Jobs;
pub(super) use queue::IoQueue;

use crate::host::Side;

/// What is remembered of a command.
#[derive(Clone, Copy, Debug)]
struct Issued {
    at: Instant,
    job: usize,
    /// Byte of the namespace.
    position: u64,
    is_read: bool,
}

/// Whose lane the data of a command takes.
fn lane_of(issued: &Issued) -> usize {
    if issued.is_read { Side::Server.index() } else { Side::Client.index() }
}

fn since_start(now: Instant) -> Duration {
    Duration::from_nanos(now.as_nanos())
}

#[cfg(test)]
mod tests;
