//! One I/O queue on its connection, with the real state machines at both ends.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use mptcp_core::{Message, TrafficClass};
use nvme_tcp::host::{Completion, Queue, QueueConfig, QueueState, Request, Ticket};
use nvme_tcp::{Class, Transmit};
use tcp_adapter::Instant;

use super::disk::Disk;
use super::{Issued, since_start};
use crate::host::Side;

/// Bytes that wait for a stack to take them. Commands overtake data that has not been taken from its queue, so few are.
const MOST_WAITING: usize = 64 << 10;

/// An I/O queue of a controller: both of its ends.
#[derive(Debug)]
pub(in crate::traffic) struct IoQueue {
    queue: Queue<Ticket<Issued>>,
    disk: Disk,
    /// Whether the host gives it up when a command takes too long.
    is_timed: bool,
    /// By [`Side`].
    outgoing: [Outgoing; 2],
}

/// What one end has to send and its stack has not taken.
#[derive(Debug, Default)]
struct Outgoing {
    pieces: VecDeque<(Bytes, Message)>,
    len: usize,
    /// Room to work in.
    list: Vec<Bytes>,
}

impl IoQueue {
    pub(super) fn new(disk: Disk, config: QueueConfig) -> Self {
        let is_timed = config.command_timeout.is_some();
        let queue = Queue::new(config, Duration::ZERO);
        Self { queue, disk, is_timed, outgoing: [Outgoing::default(), Outgoing::default()] }
    }

    /// Bytes have come to a side.
    pub(in crate::traffic) fn receive(&mut self, now: Instant, at: Side, mut bytes: Bytes) {
        match at {
            Side::Client => self.queue.receive(&mut bytes),
            Side::Server => self.disk.receive(since_start(now), bytes),
        }
    }

    /// Has the target do what it has been told to.
    pub(in crate::traffic) fn work(&mut self) {
        self.disk.work();
    }

    /// Submits a command.
    ///
    /// # Errors
    /// The command, if the queue has ended.
    #[expect(clippy::result_large_err, reason = "the request, which was handed over by value, goes back to its owner")]
    pub(super) fn submit(
        &mut self,
        request: Request<Ticket<Issued>>,
        now: Instant,
    ) -> Result<(), Request<Ticket<Issued>>> {
        self.queue.submit(request, since_start(now)).map(|_| ()).map_err(|refused| refused.request)
    }

    /// The next command that has ended.
    pub(super) fn poll_completion(&mut self) -> Option<Completion<Ticket<Issued>>> {
        self.queue.poll_completion()
    }

    /// Its path is lost, and with it every command that was not answered.
    pub(super) fn end(&mut self) {
        self.queue.connection_lost();
    }

    /// There is no other path: the host waits as long as the transport does.
    pub(super) fn be_patient(&mut self) {
        self.is_timed = false;
    }

    /// Whether the host has given the queue up.
    pub(in crate::traffic) fn is_broken(&self) -> bool {
        matches!(self.queue.state(), QueueState::Ended(_))
    }

    /// When the host gives the queue up if nothing is answered before.
    pub(in crate::traffic) fn next_tick(&self) -> Option<Instant> {
        let deadline = self.is_timed.then(|| self.queue.poll_timeout()).flatten()?;
        Some(Instant::ZERO + deadline)
    }

    /// Gives the queue up if something is overdue.
    pub(in crate::traffic) fn tick(&mut self, now: Instant) {
        if self.is_timed {
            self.queue.handle_timeout(since_start(now));
        }
    }

    /// Hands what a side has to send to `send`, which says how much it takes, until it takes less than all.
    pub(in crate::traffic) fn send(&mut self, from: Side, mut send: impl FnMut(Bytes, Message) -> usize) {
        let Self { queue, disk, outgoing, .. } = self;
        let outgoing = &mut outgoing[from.index()];
        loop {
            while outgoing.len < MOST_WAITING {
                let transmit = match from {
                    Side::Client => queue.poll_transmit(&mut outgoing.list),
                    Side::Server => disk.poll_transmit(&mut outgoing.list),
                };
                let Some(transmit) = transmit else { break };
                outgoing.push(&transmit);
            }
            let Some((bytes, message)) = outgoing.pieces.front_mut() else { return };
            let taken = send(bytes.clone(), *message);
            outgoing.len -= taken;
            if taken < bytes.len() {
                *bytes = bytes.slice(taken..);
                return;
            }
            outgoing.pieces.pop_front();
        }
    }
}

impl Outgoing {
    /// A PDU, which is in the list.
    fn push(&mut self, transmit: &Transmit) {
        let class = match transmit.class {
            Class::Latency => TrafficClass::Latency,
            Class::Bulk => TrafficClass::Bulk,
        };
        self.list.retain(|piece| !piece.is_empty());
        let last = self.list.len().saturating_sub(1);
        for (index, piece) in self.list.drain(..).enumerate() {
            self.len += piece.len();
            let ends = transmit.end_of_message && index == last;
            self.pieces.push_back((piece, Message { class, deadline: None, ends }));
        }
    }
}
