//! NVMe/TCP: an I/O queue's host and target, and a load that keeps commands outstanding.

mod kernel;
mod load;

use std::time::Duration;

use bytes::Bytes;
use mptcp_sim::{Disk, LOGICAL_BLOCK, NSID, Storage, StorageOptions};
use nvme_io::net::Outgoing;
use nvme_tcp::command::{BlockRange, IoCommand};
use nvme_tcp::host::{Queue, QueueState, Request};
use nvme_tcp::pdu::Digests;

pub use kernel::Kernel;
pub use load::{Backing, LOADS, Load};

/// Turns without a command that ends after which a load has failed: many retransmission timeouts.
const PATIENCE: u32 = 1_000;
/// No command has a deadline, so it is always now.
const NOW: Duration = Duration::ZERO;

/// A connection whose ends are in one thread: 0 is the host, 1 the target.
pub trait Carrier {
    /// Sends from one end what the connection takes.
    fn send(&mut self, from: usize, outgoing: &mut Outgoing);

    /// Has what one end has sent arrive at the other.
    fn carry(&mut self, from: usize);

    /// The next bytes that have arrived at an end.
    fn receive(&mut self, at: usize) -> Option<Bytes>;
}

/// A load over an I/O queue.
pub struct Job<C> {
    carrier: C,
    load: Load,
    queue: Queue<()>,
    disk: Disk,
    /// The controller lives as long as this.
    _storage: Storage,
    /// By end.
    outgoing: [Outgoing; 2],
    /// Room to work in.
    pieces: Vec<Bytes>,
    /// Requests that have ended, to be submitted again with their memory.
    idle: Vec<Request<()>>,
    nsid: u32,
    random: u64,
    finished: u64,
}

impl<C: Carrier> Job<C> {
    /// A queue that is connected over `carrier`.
    ///
    /// # Panics
    /// If it is refused.
    pub fn new(carrier: C, load: Load) -> Self {
        let digests = if load.digests { Digests::BOTH } else { Digests::NONE };
        let (block, depth) = (load.block.into(), load.depth as u64);
        let (store, timeout) = (load.backing.store(), None);
        let options = StorageOptions { store, block, depth, digests, queues: 1, paths: 1, timeout };
        let mut storage = Storage::new(&options).expect("a controller that is enabled");
        let (disk, config) = storage.queue(0, 1);
        let data: Bytes = (0..load.block).map(|at| (at % 251) as u8).collect();
        let request = |_| {
            let request = Request::new(command(load, 0).to_sqe(NSID), ());
            if load.is_read { request.receiving(load.block) } else { request.sending(data.clone()) }
        };
        let mut job = Self {
            carrier,
            load,
            queue: Queue::new(config, NOW),
            disk,
            _storage: storage,
            outgoing: [Outgoing::default(), Outgoing::default()],
            pieces: Vec::new(),
            idle: (0..load.depth).map(request).collect(),
            nsid: NSID,
            random: 0x9e37_79b9_7f4a_7c15,
            finished: 0,
        };
        job.repeat("no queue", |job| matches!(job.queue.state(), QueueState::Ready(_)));
        job
    }

    /// Runs until so many commands more have ended. As many as the depth allows are outstanding then.
    ///
    /// # Panics
    /// If one of them fails.
    pub fn run(&mut self, commands: u64) {
        let end = self.finished + commands;
        self.repeat("a command does not end", |job| job.finished >= end);
    }

    fn repeat(&mut self, failure: &str, done: impl Fn(&Self) -> bool) {
        let mut idle = 0;
        while !done(self) {
            let before = self.finished;
            self.turn();
            idle = if self.finished == before { idle + 1 } else { 0 };
            assert!(idle < PATIENCE, "{failure} after {} others: {:?}", self.finished, self.queue.state());
        }
    }

    /// Both ends do what there is to do, the host first.
    fn turn(&mut self) {
        self.complete();
        if let QueueState::Ready(_) = self.queue.state() {
            self.submit();
        }
        self.flush(0);
        self.carrier.carry(0);
        while let Some(bytes) = self.carrier.receive(1) {
            self.disk.receive(NOW, bytes);
        }
        self.disk.work();
        self.flush(1);
        self.carrier.carry(1);
    }

    /// Takes what has come to the host.
    fn complete(&mut self) {
        while let Some(mut bytes) = self.carrier.receive(0) {
            self.queue.receive(&mut bytes);
        }
        while let Some(completion) = self.queue.poll_completion() {
            let len = completion.request.payload().map_or(0, nvme_tcp::pdu::Payload::len);
            assert!(completion.outcome.is_success() && len == self.load.block as usize, "{:?}", completion.outcome);
            self.finished += 1;
            self.idle.push(completion.request);
        }
    }

    fn submit(&mut self) {
        while let Some(mut request) = self.idle.pop() {
            let place = self.draw() % (self.load.backing.size() / u64::from(self.load.block));
            request.sqe = command(self.load, place).to_sqe(self.nsid);
            self.queue.submit(request, NOW).expect("the queue has room for the depth");
        }
    }

    fn flush(&mut self, from: usize) {
        let Self { carrier, queue, disk, outgoing, pieces, .. } = self;
        let outgoing = &mut outgoing[from];
        loop {
            match from {
                0 => outgoing.fill(pieces, |out| queue.poll_transmit(out)),
                _ => outgoing.fill(pieces, |out| disk.poll_transmit(out)),
            }
            if outgoing.is_empty() {
                return;
            }
            carrier.send(from, outgoing);
            if !outgoing.is_empty() {
                return;
            }
        }
    }

    /// Xorshift: places need not be hard to guess.
    fn draw(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}

fn command(load: Load, place: u64) -> IoCommand {
    let count = load.block / LOGICAL_BLOCK;
    let range = BlockRange { start: place * u64::from(count), count };
    match load.is_read {
        true => IoCommand::Read { range, force_unit_access: false },
        false => IoCommand::Write { range, force_unit_access: false },
    }
}

#[cfg(test)]
mod tests {
    use tcp_adapter::native::NativeStack;

    use super::*;
    use crate::{Setup, World};

    fn runs<C: Carrier>(carrier: impl Fn() -> C) {
        for load in LOADS {
            for digests in [false, true] {
                Job::new(carrier(), Load { digests, ..load }).run(300);
            }
        }
    }

    #[test]
    fn every_load_runs_over_every_carrier() {
        runs(Kernel::connected);
        for (links, mptcp) in [(1, false), (1, true), (3, true)] {
            runs(|| World::<NativeStack>::connected(&Setup { links, mptcp, ..Setup::default() }));
        }
    }

    #[test]
    #[should_panic(expected = "InvalidNamespace")]
    fn a_command_that_fails_is_noticed() {
        let mut job = Job::new(World::<NativeStack>::connected(&Setup::default()), LOADS[1]);
        job.nsid = 2;
        // Some are outstanding already.
        job.run(2 * LOADS[1].depth as u64);
    }

    #[test]
    fn memory_is_written_before_it_is_read() {
        let mut job = Job::new(Kernel::connected(), Load { backing: Backing::Memory, ..LOADS[0] });
        job.run(1);
        // The next command has been answered too, but not been looked at.
        job.complete();
        let read = job.idle.pop().unwrap().into_received();
        assert!(read.len() == 4096 && read.pieces().flatten().all(|byte| *byte == 0x5a));
    }
}
