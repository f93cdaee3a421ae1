use std::collections::BTreeSet;

use super::*;
use crate::random::Streams;
use crate::scenario::{AccessPattern, BlockLoad, PathPolicy, Share, Size};
use crate::traffic::figures::Figures;
use crate::traffic::lane::Lane;

/// A stack that takes a little at a time.
const TAKEN: usize = 1000;

fn load(block: u64, read: i64, pattern: AccessPattern) -> BlockLoad {
    let (size, read) = (Size(1 << 30), Share(read));
    let (policy, timeout) = (PathPolicy::None, None);
    BlockLoad { block: Size(block), depth: 8, read, pattern, size, count: Some(100), policy, timeout }
}

/// Jobs with their queues, without a network between the ends.
struct Bench {
    jobs: Jobs,
    /// Job after job, over each path.
    queues: Vec<(IoQueue, [Lane; 2])>,
    figures: Figures,
    /// How many commands each queue has been given.
    given: Vec<u64>,
    round: u64,
}

impl Bench {
    fn new(load: &BlockLoad, jobs: u64, paths: usize) -> Self {
        let mut bench = Self {
            jobs: Jobs::new(load, jobs, paths).unwrap(),
            queues: Vec::new(),
            figures: Figures::new("nvme", Instant::ZERO),
            given: Vec::new(),
            round: 0,
        };
        for job in 0..jobs {
            for path in 0..paths {
                let queue = bench.jobs.add_queue(path, Streams::new(3).stream(&format!("job {job}")));
                bench.queues.push((queue, [Lane::new(0), Lane::new(1)]));
                bench.given.push(0);
            }
        }
        bench.submit();
        bench
    }

    fn submit(&mut self) {
        let now = Instant::from_millis(self.round);
        let paths = self.jobs.paths();
        let jobs = &mut self.jobs;
        jobs.submit(now);
        for path in 0..paths {
            let queues = &mut self.queues;
            while let Some(job) = jobs.hand_out(now, path, |job| {
                let (queue, lanes) = &mut queues[job * paths + path];
                Some((queue, lanes))
            }) {
                self.given[job * paths + path] += 1;
            }
        }
    }

    /// Has everything pass once that is to be sent over these paths, altered so; whether there was anything.
    fn pass(&mut self, paths: &BTreeSet<usize>, alter: &impl Fn(Side, &mut Vec<u8>)) -> bool {
        self.round += 1;
        let now = Instant::from_millis(self.round);
        let mut moved = false;
        for number in 0..self.queues.len() {
            if !paths.contains(&(number % self.jobs.paths())) {
                continue;
            }
            for side in [Side::Client, Side::Server] {
                let (queue, lanes) = &mut self.queues[number];
                let mut sent = Vec::new();
                queue.send(side, |bytes, _| {
                    let taken = bytes.len().min(TAKEN);
                    sent.extend_from_slice(&bytes[..taken]);
                    taken
                });
                moved |= !sent.is_empty();
                alter(side, &mut sent);
                queue.receive(now, side.other(), sent.into());
                match side {
                    Side::Client => queue.work(),
                    Side::Server => self.jobs.collect(now, queue, lanes, &mut self.figures),
                }
                self.submit();
            }
        }
        moved
    }

    fn lose(&mut self, path: usize) {
        let now = Instant::from_millis(self.round);
        self.jobs.lose(now, path, &mut self.figures);
        for (queue, lanes) in self.queues.iter_mut().skip(path).step_by(self.jobs.paths()) {
            queue.end();
            self.jobs.collect(now, queue, lanes, &mut self.figures);
        }
        self.submit();
    }

    fn sum(&self, what: impl Fn(&Lane) -> u64) -> [u64; 2] {
        [0, 1].map(|side| self.queues.iter().map(|(_, lanes)| what(&lanes[side])).sum())
    }
}

/// One queue, until nothing moves any more.
fn exchange(load: &BlockLoad, alter: impl Fn(Side, &mut Vec<u8>)) -> Bench {
    let mut bench = Bench::new(load, 1, 1);
    while bench.pass(&BTreeSet::from([0]), &alter) {}
    bench
}

#[test]
fn every_command_completes_with_its_data() {
    for block in [512, 4096, 131_072, 3 << 20] {
        for pattern in [AccessPattern::Random, AccessPattern::Sequential] {
            for (read, data) in [(0, [100, 0]), (1_000_000_000, [0, 100])] {
                let bench = exchange(&load(block, read, pattern), |_, _| {});
                assert_eq!(bench.sum(Lane::delivered), data.map(|blocks| blocks * block));
                assert_eq!(bench.sum(Lane::wrong), [0, 0]);
                assert_eq!((bench.figures.requests(), bench.figures.latency().count()), (100, 100));
                assert!(bench.jobs.is_done() && !bench.queues[0].0.is_broken());
            }
        }
    }
}

#[test]
fn a_share_of_the_commands_are_reads() {
    let bench = exchange(&load(4096, 700_000_000, AccessPattern::Random), |_, _| {});
    let [writes, reads] = bench.sum(Lane::delivered).map(|bytes| bytes / 4096);
    assert!((55..85).contains(&reads), "{reads}");
    assert_eq!((writes + reads, bench.figures.requests()), (100, 100));
}

#[test]
fn harm_to_data_is_found_in_both_directions() {
    for (read, from) in [(1_000_000_000, Side::Server), (0, Side::Client)] {
        let harm = |side: Side, bytes: &mut Vec<u8>| {
            // Data only: what has the length of headers stays as it is.
            if side == from && bytes.len() == TAKEN {
                bytes[TAKEN - 1] ^= 1;
            }
        };
        let bench = exchange(&load(4096, read, AccessPattern::Random), harm);
        assert!(bench.sum(Lane::wrong)[from.index()] > 0);
    }
}

#[test]
fn a_queue_that_hears_nonsense_ends() {
    let bench = exchange(&load(4096, 0, AccessPattern::Random), |side, bytes| {
        if side == Side::Server {
            bytes.fill(0xff);
        }
    });
    assert!(bench.queues[0].0.is_broken());
    assert_eq!((bench.sum(Lane::delivered), bench.figures.requests()), ([0, 0], 0));
}

/// Two jobs over three paths, of which only these carry anything.
fn three_paths(policy: PathPolicy, paths: &[usize]) -> Bench {
    let mut bench = Bench::new(&BlockLoad { policy, ..load(4096, 500_000_000, AccessPattern::Random) }, 2, 3);
    while bench.pass(&paths.iter().copied().collect(), &|_, _| {}) {}
    bench
}

fn given_to_paths(bench: &Bench) -> [u64; 3] {
    [0, 1, 2].map(|path| bench.given.iter().skip(path).step_by(3).sum())
}

#[test]
fn policies_choose_as_they_are_meant_to() {
    let numa = three_paths(PathPolicy::Numa, &[0, 1, 2]);
    assert_eq!(given_to_paths(&numa), [200, 0, 0]);
    let turns = three_paths(PathPolicy::RoundRobin, &[0, 1, 2]);
    assert_eq!(given_to_paths(&turns), [67, 67, 66]);
    for bench in [numa, turns] {
        assert!(bench.jobs.is_done());
        assert_eq!(bench.figures.requests(), 200);
    }

    // With a deaf path, commands that go in turn are soon all there, and others leave it with what it has.
    let turns = three_paths(PathPolicy::RoundRobin, &[0, 1]);
    let [first, second, deaf] = given_to_paths(&turns);
    assert_eq!((deaf, turns.figures.requests()), (16, first + second));
    assert!((30..34).contains(&(first + second)), "{first} {second}");
    let depth = three_paths(PathPolicy::QueueDepth, &[0, 1]);
    let [first, second, deaf] = given_to_paths(&depth);
    assert_eq!((first + second + deaf, depth.figures.requests()), (200, 200 - deaf));
    assert!(deaf <= 6, "a third of what is outstanding: {deaf}");
}

#[test]
fn what_a_lost_path_had_completes_on_the_others_once() {
    for policy in [PathPolicy::Numa, PathPolicy::RoundRobin, PathPolicy::QueueDepth] {
        for rounds in [0, 1, 4, 10, 30] {
            let mut bench =
                Bench::new(&BlockLoad { policy, ..load(16_384, 500_000_000, AccessPattern::Sequential) }, 2, 3);
            for _ in 0..rounds {
                bench.pass(&BTreeSet::from([0, 1, 2]), &|_, _| {});
            }
            bench.lose(0);
            while bench.pass(&BTreeSet::from([1, 2]), &|_, _| {}) {}
            assert!(bench.jobs.is_done(), "{policy} after {rounds}");
            assert_eq!(bench.figures.requests(), 200, "{policy} after {rounds}");
            assert_eq!(bench.sum(Lane::delivered).iter().sum::<u64>(), 200 * 16_384, "{policy} after {rounds}");
            assert_eq!(bench.sum(Lane::wrong), [0, 0]);
            let given: u64 = bench.given.iter().sum();
            assert!(given > 200, "nothing was sent again: {policy} after {rounds}");
        }
    }
}

#[test]
fn without_any_path_commands_are_lost() {
    let mut bench =
        Bench::new(&BlockLoad { policy: PathPolicy::RoundRobin, ..load(4096, 0, AccessPattern::Random) }, 1, 2);
    bench.lose(1);
    bench.lose(0);
    assert!(!bench.jobs.has_path() && !bench.jobs.is_done());
    assert_eq!((bench.figures.requests(), bench.sum(Lane::delivered)), (0, [0, 0]));
    assert_eq!(bench.jobs.begun().count(), 0);
    let lost = u64::try_from(bench.figures.latency().under_way()).unwrap();
    assert_eq!(lost, load(4096, 0, AccessPattern::Random).depth, "no answer is not a short one");
}
