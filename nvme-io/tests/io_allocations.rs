//! In steady state, commands over a transport allocate nothing, at neither end.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, also in its helpers")]

#[path = "../../nvme-tcp/tests/counting/mod.rs"]
mod counting;
mod ends;

use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use counting::all_allocations;
use ends::{BLOCK, PATIENCE, Running, SIZE, config, engines};
use nvme_io::net::{KernelNet, Net, Protocol, StackNet};
use nvme_io::{Host, HostConfig, HostDriver, IoFuture};
use nvme_tcp::command::{BlockRange, IoCommand};
use nvme_tcp::host::{Data, Request};
use nvme_tcp::pdu::{Digests, Payload};

/// A load: as many commands of so many blocks at a time.
#[derive(Clone, Copy, Debug)]
struct Load {
    write: bool,
    blocks: u32,
    depth: u64,
}

/// Executes so many commands of a load.
trait Disk {
    fn run(&mut self, load: Load, count: u64);
}

fn connect<N: Net>(net: N, running: &Running) -> Host<N> {
    Host::connect(net, HostConfig::new(running.address, config(1, Digests::NONE)), PATIENCE).unwrap()
}

/// Whose completions are polled.
struct Polled<N: Net> {
    host: Host<N>,
    lists: Lists,
}

/// Where commands are futures.
struct Awaited<N: Net> {
    driver: HostDriver<N>,
    disk: nvme_io::Disk,
    under_way: Vec<IoFuture>,
    lists: Lists,
}

struct Lists {
    /// Those that are used again.
    spare: Vec<Payload>,
    data: Bytes,
}

impl Lists {
    fn new() -> Self {
        Self { spare: Vec::new(), data: Bytes::from(vec![7; 128 * 1024]) }
    }

    /// One for a command of this load.
    fn next(&mut self, load: Load) -> Payload {
        let mut list = self.spare.pop().unwrap_or_default();
        list.clear();
        if load.write {
            list.push(self.data.slice(..(load.blocks * BLOCK) as usize));
        }
        list
    }
}

impl Load {
    /// The first block of the command of this number.
    fn start(self, number: u64) -> u64 {
        number * u64::from(self.blocks) % (SIZE / u64::from(BLOCK))
    }
}

impl<N: Net> Polled<N> {
    fn new(host: Host<N>) -> Self {
        Self { host, lists: Lists::new() }
    }
}

impl<N: Net> Awaited<N> {
    fn new(host: Host<N>) -> Self {
        let driver = HostDriver::new(host);
        let disk = driver.disk(1).unwrap();
        Self { driver, disk, under_way: Vec::new(), lists: Lists::new() }
    }
}

impl<N: Net> Disk for Polled<N> {
    fn run(&mut self, load: Load, count: u64) {
        let (mut begun, mut done) = (0, 0);
        while done < count {
            while begun < count && begun - done < load.depth {
                let range = BlockRange { start: load.start(begun), count: load.blocks };
                let length = load.blocks * BLOCK;
                let list = self.lists.next(load);
                let (command, data) = if load.write {
                    (IoCommand::Write { range, force_unit_access: false }, Data::Send(list))
                } else {
                    (IoCommand::Read { range, force_unit_access: false }, Data::Receive { length, into: list })
                };
                self.host.submit(0, Request { sqe: command.to_sqe(1), data, token: begun }).unwrap();
                begun += 1;
            }
            self.host.turn(Some(Duration::from_millis(100))).unwrap();
            while let Some(finished) = self.host.poll_finished(0) {
                assert!(finished.outcome.is_success(), "{:?}", finished.outcome);
                if let Data::Send(list) | Data::Receive { into: list, .. } = finished.request.data {
                    self.lists.spare.push(list);
                }
                done += 1;
            }
        }
    }
}

impl<N: Net> Disk for Awaited<N> {
    fn run(&mut self, load: Load, count: u64) {
        let (mut begun, mut done) = (0, 0);
        while done < count {
            while begun < count && begun - done < load.depth {
                let (start, list) = (load.start(begun), self.lists.next(load));
                self.under_way.push(match load.write {
                    true => self.disk.write(start, list),
                    false => self.disk.read_into(start, load.blocks, list),
                });
                begun += 1;
            }
            let (before, spare) = (done, &mut self.lists.spare);
            self.under_way.retain_mut(|future| {
                match Pin::new(future).poll(&mut Context::from_waker(Waker::noop())) {
                    Poll::Pending => return true,
                    Poll::Ready(ended) => spare.push(ended.unwrap()),
                }
                done += 1;
                false
            });
            // What follows those that have ended is to leave first.
            if done == before {
                self.driver.turn(Some(Duration::from_millis(100))).unwrap();
            }
        }
    }
}

/// Commands of a round.
const COMMANDS: u64 = 500;

/// Checks how many allocations both ends make for a round of commands, at most. What only grows for a while, since a burst was longer than those before, is not
/// of the commands: of several rounds, one has to do with so few.
fn check(mut disk: impl Disk, most: impl Fn(Load) -> u64) {
    for blocks in [1, 32] {
        for depth in [1, 16] {
            for write in [false, true] {
                let load = Load { write, blocks, depth };
                let least = (0..8).map(|_| {
                    let before = all_allocations();
                    disk.run(load, COMMANDS);
                    all_allocations() - before
                });
                let least = least.min().unwrap();
                assert!(least <= most(load), "{load:?}: {least} allocations for {COMMANDS} commands");
            }
        }
    }
}

#[test]
fn next_to_nothing_is_allocated_for_commands() {
    let running = Running::over_the_kernel();
    let kernel = || connect(KernelNet::new(Protocol::Tcp).unwrap(), &running);
    check(Polled::new(kernel()), |_| 0);
    check(Awaited::new(kernel()), |_| 0);
    drop(running);
    let [ours, theirs] = engines();
    let running = Running::start(StackNet::new(theirs), "10.9.1.2:4420");
    // Nothing either, as long as no more is under way than before. Two threads that other work of the machine stops in turn have bursts that grow, the more
    // bytes they exchange; each of the 90 frames of a command of 128 KiB would show.
    check(Polled::new(connect(StackNet::new(ours), &running)), |load| match (load.blocks, load.depth) {
        (1, _) | (_, 1) => COMMANDS / 4,
        _ => 20 * COMMANDS,
    });
}
