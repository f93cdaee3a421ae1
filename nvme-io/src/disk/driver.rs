//! The thread that has the host: commands of tasks become requests, completions become the ends of futures.

use std::sync::Arc;
use std::time::Duration;

use nvme_tcp::command::BlockRange;
use nvme_tcp::host::{Controller, Data, Finished, Outcome, Request};
use nvme_tcp::pdu::Payload;

use super::commands::{Commands, Ended};
use super::{Disk, DiskError};
use crate::net::Net;
use crate::{Host, HostError, Stopper};

/// Drives a host for tasks that use its namespaces as [`Disk`]s.
///
/// Either a thread of its own calls [`run`](Self::run), or whoever has a loop already calls [`turn`](Self::turn) in it. Tasks may be on any thread. What
/// blocks the driver's own thread until a command has ended waits for ever.
///
/// Commands are submitted in the order in which their futures were first polled, to the I/O queues in turn, and wait while these are full. They
/// outlive the loss of connections as all commands of a [`Host`] do. When the driver ends, or is dropped, so do all futures, with
/// [`DiskError::Closed`].
pub struct HostDriver<N: Net> {
    host: Host<N>,
    commands: Arc<Commands>,
    stopper: Stopper,
}

impl<N: Net> HostDriver<N> {
    /// For this host, on which nothing is outstanding.
    pub fn new(host: Host<N>) -> Self {
        let waker = host.net().waker();
        Self { commands: Arc::new(Commands::new(waker.clone())), stopper: Stopper::new(waker), host }
    }

    /// A namespace, as the controller describes it now. None if it is not there, or cannot be used.
    pub fn disk(&self, nsid: u32) -> Option<Disk> {
        let controller = self.host.controller();
        let namespace = controller.namespaces().get(&nsid)?.clone();
        let others = self.host.controllers().map(|(_, controller)| controller);
        let most = [controller].into_iter().chain(others).filter_map(Controller::max_transfer).min();
        // A command transfers less than 4 GiB.
        let most = most.unwrap_or(u64::MAX).min(u32::MAX.into());
        // Fits, and is at least one block.
        let blocks = (most / u64::from(namespace.block_size)).clamp(1, BlockRange::MOST.into()) as u32;
        Some(Disk { commands: Arc::clone(&self.commands), namespace: Arc::new(namespace), max_blocks: blocks })
    }

    /// The host, for everything that can be asked of it.
    pub fn host(&self) -> &Host<N> {
        &self.host
    }

    /// What ends [`run`](Self::run).
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Executes commands until a [`Stopper`] is used, or all controllers are given up. Then the driver has ended, whatever commands have not: await those
    /// that matter before.
    ///
    /// # Errors
    /// What became of the controllers.
    pub fn run(&mut self) -> Result<(), HostError> {
        let mut result = Ok(());
        while result.is_ok() && !self.stopper.is_used() {
            result = self.turn(None);
        }
        self.commands.close();
        result
    }

    /// Submits what there is, waits for something to happen, for `timeout` at most, and wakes tasks whose commands have ended. That a task on another
    /// thread begins a command is such a thing.
    ///
    /// # Errors
    /// See [`Host::turn`]. The driver has ended.
    pub fn turn(&mut self, timeout: Option<Duration>) -> Result<(), HostError> {
        self.submit();
        let result = self.host.turn(timeout);
        self.complete();
        if result.is_err() {
            self.commands.close();
        }
        result
    }

    /// Ends the driver, and takes leave of the controllers, for `patience` at most.
    ///
    /// # Errors
    /// See [`HostError`].
    pub fn shutdown(&mut self, patience: Duration) -> Result<(), HostError> {
        self.commands.close();
        self.host.shutdown(patience)
    }

    fn submit(&mut self) {
        while let Some(queue) = self.host.queue_with_room()
            && let Some(request) = self.commands.next()
        {
            if let Err(refused) = self.host.submit(queue, request) {
                self.commands.complete(refused.request.token as usize, Err(DiskError::Refused(refused.reason)));
            }
        }
    }

    fn complete(&mut self) {
        for queue in 0..self.host.queues() {
            while let Some(Finished { outcome, request, .. }) = self.host.poll_finished(queue) {
                self.commands.complete(request.token as usize, judge(outcome, request));
            }
        }
    }
}

impl<N: Net> Drop for HostDriver<N> {
    fn drop(&mut self) {
        self.commands.close();
    }
}

fn judge(outcome: Outcome, request: Request<u64>) -> Ended {
    match outcome {
        Outcome::Answered { status, .. } if status.is_success() => Ok(match request.data {
            Data::None => Payload::new(),
            Data::Send(payload) | Data::Receive { into: payload, .. } => payload,
        }),
        Outcome::Answered { status, .. } => Err(DiskError::Status(status)),
        Outcome::Lost { sent } => Err(DiskError::Lost { sent }),
    }
}
