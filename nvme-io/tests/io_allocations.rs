//! In steady state, commands over a transport allocate nothing, at neither end.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, also in its helpers")]

#[path = "../../nvme-tcp/tests/counting/mod.rs"]
mod counting;
mod ends;

use std::time::Duration;

use bytes::Bytes;
use counting::all_allocations;
use ends::{BLOCK, PATIENCE, Running, SIZE, config, engines};
use nvme_io::net::{KernelNet, Net, Protocol, StackNet};
use nvme_io::{Host, HostConfig};
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

struct Disk<N: Net> {
    host: Host<N>,
    /// Lists that are used again.
    spare: Vec<Payload>,
    data: Bytes,
}

impl<N: Net> Disk<N> {
    fn new(net: N, running: &Running) -> Self {
        let config = HostConfig::new(running.address, config(1, Digests::NONE));
        let host = Host::connect(net, config, PATIENCE).unwrap();
        Self { host, spare: Vec::new(), data: Bytes::from(vec![7; 128 * 1024]) }
    }

    fn run(&mut self, load: Load, count: u64) {
        let (mut begun, mut done) = (0, 0);
        while done < count {
            while begun < count && begun - done < load.depth {
                let start = begun * u64::from(load.blocks) % (SIZE / u64::from(BLOCK));
                let range = BlockRange { start, count: load.blocks };
                let length = load.blocks * BLOCK;
                let mut list = self.spare.pop().unwrap_or_default();
                list.clear();
                let (command, data) = if load.write {
                    list.push(self.data.slice(..length as usize));
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
                    self.spare.push(list);
                }
                done += 1;
            }
        }
    }
}

/// Checks how many allocations both ends make for each command, at most. What only grows for a while, since a burst was longer than those before, is not
/// of the commands: of several rounds, one has to do with so few.
fn check<N: Net>(mut disk: Disk<N>, most: impl Fn(Load) -> u64) {
    const COMMANDS: u64 = 500;
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
                assert!(least <= most(load) * COMMANDS, "{load:?}: {least} allocations for {COMMANDS} commands");
            }
        }
    }
}

#[test]
fn next_to_nothing_is_allocated_for_commands() {
    let running = Running::over_the_kernel();
    check(Disk::new(KernelNet::new(Protocol::Tcp).unwrap(), &running), |_| 0);
    drop(running);
    // Here it is not quite nothing: received bytes are joined to lists of slices, at both ends. One for a command of 4 KiB, and up to seven for 128 KiB.
    let [ours, theirs] = engines();
    let running = Running::start(StackNet::new(theirs), "10.9.1.2:4420");
    check(Disk::new(StackNet::new(ours), &running), |load| if load.blocks == 1 { 2 } else { 10 });
}
