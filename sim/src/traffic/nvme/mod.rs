//! NVMe over TCP: an I/O queue with the real state machines at both ends, loaded as fio does it.

mod disk;
mod store;

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use mptcp_core::{Message, TrafficClass};
use nvme_tcp::command::{BlockRange, IoCommand};
use nvme_tcp::host::{Completion, Outcome, Queue, QueueState, Request};
use nvme_tcp::{Class, Transmit};
use tcp_adapter::Instant;

use super::figures::Figures;
use super::lane::Lane;
use crate::host::Side;
use crate::random::Stream;
use crate::scenario::{AccessPattern, BlockLoad};
use disk::{Disk, LOGICAL_BLOCK, NSID};
use store::{contents, wrong_bytes};

/// Bytes that wait for a stack to take them. Commands overtake data that has not been taken from its queue, so few are.
const MOST_WAITING: usize = 64 << 10;
/// All of a [`Share`](crate::scenario::Share).
const WHOLE: u64 = 1_000_000_000;

/// One I/O queue: what a host asks for, and the controller that answers.
///
/// What counts as sent and delivered is the data of commands: that of reads from the server, that of writes from the client, when the
/// client has the completion.
#[derive(Debug)]
pub(super) struct Job {
    load: BlockLoad,
    stream: Stream,
    /// Where the next command goes to if they follow each other, in blocks.
    next: u64,
    /// Commands that are yet to be submitted.
    left: u64,
    queue: Queue<Issued>,
    disk: Disk,
    /// By [`Side`].
    outgoing: [Outgoing; 2],
}

/// What is remembered of a command.
#[derive(Clone, Copy, Debug)]
struct Issued {
    at: Instant,
    /// Byte of the namespace.
    position: u64,
    is_read: bool,
}

/// What one end has to send and its stack has not taken.
#[derive(Debug, Default)]
struct Outgoing {
    pieces: VecDeque<(Bytes, Message)>,
    len: usize,
    /// Room to work in.
    list: Vec<Bytes>,
}

impl Job {
    /// A queue whose controller is enabled and asked already: that takes place outside the network, before time begins.
    ///
    /// # Errors
    /// What the state machines say if they refuse each other.
    pub(super) fn new(load: &BlockLoad, stream: Stream) -> Result<Self, String> {
        let (disk, config) = Disk::new(load)?;
        Ok(Self {
            load: load.clone(),
            stream,
            next: 0,
            left: load.count.unwrap_or(u64::MAX),
            queue: Queue::new(config, Duration::ZERO),
            disk,
            outgoing: [Outgoing::default(), Outgoing::default()],
        })
    }

    /// Submits as many commands as may be outstanding.
    pub(super) fn submit(&mut self, now: Instant, lanes: &mut [Lane; 2]) {
        while self.left > 0 && (self.queue.outstanding() as u64) < self.load.depth {
            let request = self.draw(now);
            let lane = &mut lanes[lane_of(&request.token)];
            if self.queue.submit(request, since_start(now)).is_err() {
                break;
            }
            self.left -= 1;
            lane.add(now, self.load.block.0);
            lane.wrote_all();
        }
    }

    /// Bytes have come to a side.
    pub(super) fn receive(&mut self, now: Instant, at: Side, mut bytes: Bytes) {
        match at {
            Side::Client => self.queue.receive(&mut bytes),
            Side::Server => self.disk.receive(since_start(now), bytes),
        }
    }

    /// Does what the bytes lead to that have come to a side.
    pub(super) fn progress(&mut self, now: Instant, at: Side, lanes: &mut [Lane; 2], figures: &mut Figures) {
        if at == Side::Server {
            self.disk.work();
            return;
        }
        while let Some(completion) = self.queue.poll_completion() {
            let issued = completion.request.token;
            // Those that are lost end with the queue, and so with the flow.
            if let Some(wrong) = self.judge(&completion) {
                lanes[lane_of(&issued)].complete(now, self.load.block.0, wrong);
                figures.request(now, now - issued.at);
            }
        }
        self.submit(now, lanes);
        if self.left == 0 && self.queue.outstanding() == 0 {
            lanes[Side::Client.index()].seal();
        }
    }

    /// Whether the host has given the queue up.
    pub(super) fn is_broken(&self) -> bool {
        matches!(self.queue.state(), QueueState::Ended(_))
    }

    /// Hands what a side has to send to `send`, which says how much it takes, until it takes less than all.
    pub(super) fn send(&mut self, from: Side, mut send: impl FnMut(Bytes, Message) -> usize) {
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

    /// The next command.
    fn draw(&mut self, now: Instant) -> Request<Issued> {
        let block = self.load.block.0;
        let blocks = self.load.size.0 / block;
        let at = match self.load.pattern {
            AccessPattern::Random => self.stream.below(blocks),
            AccessPattern::Sequential => {
                let next = (self.next + 1) % blocks;
                std::mem::replace(&mut self.next, next)
            }
        };
        let is_read = self.stream.below(WHOLE) < self.load.read.0.unsigned_abs();
        let position = at * block;
        let range = BlockRange {
            start: position / u64::from(LOGICAL_BLOCK),
            // A block has 32 MiB at most.
            count: (block / u64::from(LOGICAL_BLOCK)) as u32,
        };
        let issued = Issued { at: now, position, is_read };
        let (command, length) = match is_read {
            true => (IoCommand::Read { range, force_unit_access: false }, block as u32),
            false => (IoCommand::Write { range, force_unit_access: false }, 0),
        };
        let request = Request::new(command.to_sqe(NSID), issued);
        if is_read { request.receiving(length) } else { request.sending(contents(position, block)) }
    }

    /// How many of a command's bytes are wrong: all of them if it has failed. `None` if it was lost.
    fn judge(&self, completion: &Completion<Issued>) -> Option<u64> {
        let Outcome::Answered { status, .. } = completion.outcome else { return None };
        if !status.is_success() {
            return Some(self.load.block.0);
        }
        let issued = completion.request.token;
        let received = completion.request.payload().filter(|_| issued.is_read);
        Some(received.map_or(0, |payload| wrong_bytes(issued.position, payload)))
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

/// Whose lane the data of a command takes.
fn lane_of(issued: &Issued) -> usize {
    if issued.is_read { Side::Server.index() } else { Side::Client.index() }
}

fn since_start(now: Instant) -> Duration {
    Duration::from_nanos(now.as_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Streams;
    use crate::scenario::{Share, Size};

    fn load(block: u64, read: i64, pattern: AccessPattern) -> BlockLoad {
        let (size, read) = (Size(1 << 30), Share(read));
        BlockLoad { block: Size(block), depth: 8, read, pattern, size, count: Some(100) }
    }

    /// Both ends without a network between them; `alter` may do harm to what passes.
    fn exchange(load: &BlockLoad, alter: impl Fn(Side, &mut Vec<u8>)) -> (Job, [Lane; 2], Figures) {
        let mut job = Job::new(load, Streams::new(3).stream("job")).unwrap();
        let mut lanes = [Lane::new(0), Lane::new(1)];
        let mut figures = Figures::new("nvme", Instant::ZERO);
        job.submit(Instant::ZERO, &mut lanes);
        for round in 1.. {
            let now = Instant::from_millis(round);
            let mut moved = false;
            for side in [Side::Client, Side::Server] {
                let mut sent = Vec::new();
                // A stack that takes a little at a time.
                job.send(side, |bytes, _| {
                    let taken = bytes.len().min(1000);
                    sent.extend_from_slice(&bytes[..taken]);
                    taken
                });
                moved |= !sent.is_empty();
                alter(side, &mut sent);
                job.receive(now, side.other(), sent.into());
                job.progress(now, side.other(), &mut lanes, &mut figures);
            }
            if !moved {
                break;
            }
        }
        (job, lanes, figures)
    }

    #[test]
    fn every_command_completes_with_its_data() {
        for block in [512, 4096, 131_072, 3 << 20] {
            for pattern in [AccessPattern::Random, AccessPattern::Sequential] {
                for (read, data) in [(0, [100, 0]), (1_000_000_000, [0, 100])] {
                    let (job, lanes, figures) = exchange(&load(block, read, pattern), |_, _| {});
                    assert_eq!(lanes.each_ref().map(Lane::delivered), data.map(|blocks| blocks * block));
                    assert_eq!(lanes.each_ref().map(Lane::wrong), [0, 0]);
                    assert_eq!((figures.requests(), figures.latency().count()), (100, 100));
                    assert!(lanes[0].is_sealed() && !job.is_broken());
                }
            }
        }
    }

    #[test]
    fn a_share_of_the_commands_are_reads() {
        let (_, lanes, figures) = exchange(&load(4096, 700_000_000, AccessPattern::Random), |_, _| {});
        let reads = lanes[1].delivered() / 4096;
        assert!((55..85).contains(&reads), "{reads}");
        assert_eq!((lanes[0].delivered() / 4096 + reads, figures.requests()), (100, 100));
    }

    #[test]
    fn harm_to_data_is_found_in_both_directions() {
        for (read, from) in [(1_000_000_000, Side::Server), (0, Side::Client)] {
            let harm = |side: Side, bytes: &mut Vec<u8>| {
                // Data only: what has the length of headers stays as it is.
                if side == from && bytes.len() == 1000 {
                    bytes[999] ^= 1;
                }
            };
            let (_, lanes, _) = exchange(&load(4096, read, AccessPattern::Random), harm);
            assert!(lanes[from.index()].wrong() > 0);
        }
    }

    #[test]
    fn a_queue_that_hears_nonsense_ends() {
        let (job, lanes, figures) = exchange(&load(4096, 0, AccessPattern::Random), |side, bytes| {
            if side == Side::Server {
                bytes.fill(0xff);
            }
        });
        assert!(job.is_broken());
        assert_eq!((lanes[0].delivered(), figures.requests()), (0, 0));
    }
}
