//! The thread that has the host: requests of all clients become commands, completions become replies.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use nvme_tcp::command::oncs;
use nvme_tcp::host::Namespace;

use super::Export;
use super::connection::{Clients, Job, ReplyTo};
use super::operation::{Limits, Operation};
use crate::net::Net;
use crate::{Host, HostError, Stopper};

/// Offers a namespace of a controller to NBD clients.
///
/// Requests are executed on the thread that calls [`run`](Self::run), those of one connection in any order. A request that is longer than the controller's commands becomes
/// several, and is replied to once all have ended.
pub struct NbdServer<N: Net> {
    host: Host<N>,
    export: Arc<Export>,
    /// What all controllers take that were there.
    limits: Limits,
    clients: Arc<Clients>,
    jobs: Receiver<Job>,
    operations: Vec<Option<Entry>>,
    /// Unused entries of `operations`.
    free: Vec<usize>,
    /// Operations with commands to submit, which take turns.
    waiting: VecDeque<usize>,
    stopper: Stopper,
}

struct Entry {
    operation: Operation,
    replies: ReplyTo,
    is_waiting: bool,
}

impl<N: Net> NbdServer<N> {
    /// A server of this namespace, under this name, without clients. It is read-only if that is asked for, or the namespace is write-protected.
    pub fn new(host: Host<N>, namespace: &Namespace, name: String, is_read_only: bool) -> Self {
        let controller = host.controller();
        let commands = controller.identify().map_or(0, |identify| identify.oncs.get());
        let export = Arc::new(Export {
            name,
            size: namespace.bytes(),
            block_size: namespace.block_size,
            is_read_only: is_read_only || namespace.is_write_protected,
            can_trim: commands & oncs::DATASET_MANAGEMENT != 0,
            can_write_zeroes: commands & oncs::WRITE_ZEROES != 0,
        });
        let limits = Limits::new(controller, namespace.nsid, namespace.block_size);
        let (sender, jobs) = mpsc::channel();
        let clients = Clients::new(Arc::clone(&export), sender, host.net().waker());
        Self {
            stopper: Stopper::new(host.net().waker()),
            host,
            export,
            limits,
            clients,
            jobs,
            operations: Vec::new(),
            free: Vec::new(),
            waiting: VecDeque::new(),
        }
    }

    /// What is offered.
    pub fn export(&self) -> &Export {
        &self.export
    }

    /// Serves who connects to this socket, which listens: of TCP, or a unix socket. It blocks.
    ///
    /// # Errors
    /// There is no thread for it.
    pub fn listen(&self, listener: impl Into<OwnedFd>) -> io::Result<()> {
        self.clients.listen(listener.into())
    }

    /// What ends [`run`](Self::run).
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Serves until a [`Stopper`] is used, or the controller is given up; then listeners and connections are closed, whatever was not replied to.
    ///
    /// # Errors
    /// What became of the controller.
    pub fn run(&mut self) -> Result<(), HostError> {
        let result = self.serve();
        self.clients.close();
        result
    }

    /// Takes leave of the controller, for `patience` at most. Nothing can be served any more.
    ///
    /// # Errors
    /// See [`HostError`].
    pub fn shutdown(&mut self, patience: Duration) -> Result<(), HostError> {
        self.host.shutdown(patience)
    }

    fn serve(&mut self) -> Result<(), HostError> {
        while !self.stopper.is_used() {
            // One that has come back, or come late, may take less.
            let Limits { nsid, block_size, .. } = self.limits;
            let controllers = self.host.controllers();
            let limits = controllers.map(|(_, controller)| Limits::new(controller, nsid, block_size));
            self.limits = limits.fold(self.limits, Limits::min);
            while let Ok(job) = self.jobs.try_recv() {
                self.start(job);
            }
            self.complete();
            self.submit();
            while let Some(change) = self.host.poll_change() {
                tracing::info!(?change, "the controller has changed; what is offered stays as it is");
            }
            self.host.turn(None)?;
        }
        Ok(())
    }

    fn start(&mut self, job: Job) {
        let operation = Operation::new(job.request, self.limits.block_size);
        let entry = Some(Entry { operation, replies: job.replies, is_waiting: true });
        let index = match self.free.pop() {
            Some(index) => {
                self.operations[index] = entry;
                index
            }
            None => {
                self.operations.push(entry);
                self.operations.len() - 1
            }
        };
        self.waiting.push_back(index);
    }

    fn complete(&mut self) {
        for queue in 0..self.host.queues() {
            while let Some(finished) = self.host.poll_finished(queue) {
                let (index, number) = parts(finished.request.token);
                if let Some(Some(entry)) = self.operations.get_mut(index) {
                    let (outcome, data) = (finished.outcome, finished.request.into_received());
                    entry.operation.complete(number, &outcome, data);
                    self.proceed(index);
                }
            }
        }
    }

    /// Replies to an operation that is done, and has others wait for their turn.
    fn proceed(&mut self, index: usize) {
        let Some(slot) = self.operations.get_mut(index) else { return };
        let Some(entry) = slot.as_mut().filter(|entry| !entry.is_waiting) else { return };
        if entry.operation.has_command() {
            entry.is_waiting = true;
            return self.waiting.push_back(index);
        }
        if entry.operation.is_done()
            && let Some(entry) = slot.take()
        {
            self.free.push(index);
            let cookie = entry.operation.cookie();
            let (result, data) = entry.operation.into_result();
            entry.replies.reply(cookie, result, data);
        }
    }

    /// Submits commands while queues have room, a command of each operation in turn.
    fn submit(&mut self) {
        while let Some(index) = self.waiting.front().copied() {
            let Some(queue) = self.host.queue_with_room() else { return };
            self.waiting.pop_front();
            let Some(Some(entry)) = self.operations.get_mut(index) else { continue };
            entry.is_waiting = false;
            if let Some(command) = entry.operation.next_command(&self.limits, |number| token(index, number))
                && self.host.submit(queue, command).is_err()
            {
                entry.operation.refused();
            }
            self.proceed(index);
        }
    }
}

impl<N: Net> Drop for NbdServer<N> {
    fn drop(&mut self) {
        self.clients.close();
    }
}

/// There are fewer than 2^32 operations: connections and the requests of each are bounded.
fn token(index: usize, number: u32) -> u64 {
    (index as u64) << 32 | u64::from(number)
}

fn parts(token: u64) -> (usize, u32) {
    ((token >> 32) as usize, token as u32)
}
