//! Random commands on an I/O queue, with every byte verified.

use std::collections::BTreeMap;

use bytes::Bytes;
use nvme_tcp::command::{BlockRange, DatasetRange, Fuse, IoCommand, IoOpcode, Status, StatusCode};
use nvme_tcp::host::{ControllerConfig, Data, Outcome, Queue, QueueState, Request};
use nvme_tcp::pdu::{ControllerOffer, Digests, HostOffer, Payload};
use nvme_tcp::target::{SuccessPolicy, TargetConfig};
use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};
use zerocopy::IntoBytes;

use super::world::*;

/// What a command is expected to lead to.
#[derive(Debug)]
pub(crate) enum Expected {
    Read,
    Success,
    Code(StatusCode),
}

pub(crate) struct Disk {
    content: Vec<u8>,
    /// Ranges in use, so that the outcome of each command is certain; by token.
    pub(crate) outstanding: BTreeMap<u64, (BlockRange, Expected)>,
    next: u64,
    pub(crate) counts: BTreeMap<&'static str, usize>,
}

impl Disk {
    pub(crate) fn new() -> Self {
        let content = vec![0; BLOCKS as usize * BLOCK];
        Self { content, outstanding: BTreeMap::new(), next: 0, counts: BTreeMap::new() }
    }

    fn bytes(&self, range: BlockRange) -> &[u8] {
        &self.content[range.start as usize * BLOCK..][..range.count as usize * BLOCK]
    }

    fn set(&mut self, range: BlockRange, data: &[u8]) {
        self.content[range.start as usize * BLOCK..][..range.count as usize * BLOCK].copy_from_slice(data);
    }

    fn free_range(&self, rng: &mut StdRng, longest: u32) -> Option<BlockRange> {
        let count = if rng.random_bool(0.6) { rng.random_range(1..=8) } else { rng.random_range(1..=longest) };
        let start = rng.random_range(0..=BLOCKS - u64::from(count));
        let range = BlockRange { start, count };
        let clashes = |other: &BlockRange| {
            range.start < other.start + u64::from(other.count) && other.start < range.start + u64::from(range.count)
        };
        (!self.outstanding.values().any(|(other, _)| clashes(other))).then_some(range)
    }

    /// Submits a random command, or two that are fused.
    pub(crate) fn submit(&mut self, submit: &mut dyn FnMut(Request<u64>), rng: &mut StdRng, longest: u32, fused: bool) {
        let Some(range) = self.free_range(rng, longest) else { return };
        let mut go = |disk: &mut Self, name, sqe, data: Data, expected| {
            *disk.counts.entry(name).or_default() += 1;
            submit(Request { sqe, data, token: disk.next });
            disk.outstanding.insert(disk.next, (range, expected));
            disk.next += 1;
        };
        let mut random = vec![0; range.count as usize * BLOCK];
        rng.fill_bytes(&mut random);
        let force_unit_access = rng.random();
        let now_there = self.bytes(range).to_vec();
        match rng.random_range(0..12) {
            0..4 => {
                let sqe = IoCommand::Read { range, force_unit_access }.to_sqe(1);
                let length = range.count * BLOCK as u32;
                go(self, "read", sqe, Data::Receive { length, into: Payload::new() }, Expected::Read);
            }
            4..7 => {
                self.set(range, &random);
                let sqe = IoCommand::Write { range, force_unit_access }.to_sqe(1);
                go(self, "write", sqe, Data::Send(in_pieces(rng, random)), Expected::Success);
            }
            7 => {
                let sqe = IoCommand::Compare { range }.to_sqe(1);
                go(self, "compare", sqe, Data::Send(in_pieces(rng, now_there)), Expected::Success);
            }
            8 => {
                let mut other = now_there;
                let at = rng.random_range(0..other.len());
                other[at] ^= 1;
                let (sqe, expected) = (IoCommand::Compare { range }.to_sqe(1), StatusCode::CompareFailure);
                go(self, "compare", sqe, Data::Send(in_pieces(rng, other)), Expected::Code(expected));
            }
            9 => {
                self.set(range, &vec![0; random.len()]);
                let sqe = IoCommand::WriteZeroes { range, force_unit_access, deallocate: true }.to_sqe(1);
                go(self, "write zeroes", sqe, Data::None, Expected::Success);
            }
            10 if fused && range.count <= 8 => {
                self.set(range, &random);
                let compare = IoCommand::Compare { range }.to_sqe(1).with_fuse(Fuse::First);
                let write = IoCommand::Write { range, force_unit_access }.to_sqe(1).with_fuse(Fuse::Second);
                go(self, "fused", compare, Data::Send(in_pieces(rng, now_there)), Expected::Success);
                go(self, "fused", write, Data::Send(in_pieces(rng, random)), Expected::Success);
            }
            10 => go(self, "flush", IoCommand::Flush.to_sqe(1), Data::None, Expected::Success),
            _ => {
                let beyond = BlockRange { start: BLOCKS, count: 1 };
                let ranges = DatasetRange::new(beyond);
                let sqe = IoCommand::DatasetManagement { ranges: 1, deallocate: true }.to_sqe(1);
                let data = Payload::from(Bytes::copy_from_slice(ranges.as_bytes()));
                go(self, "discard", sqe, Data::Send(data), Expected::Code(StatusCode::LbaOutOfRange));
            }
        }
    }

    /// Checks the end of a command. One that was lost can only be a Compare.
    pub(crate) fn complete(&mut self, outcome: Outcome, request: Request<u64>) {
        let (range, expected) = self.outstanding.remove(&request.token).expect("each command completes once");
        let Outcome::Answered { status, .. } = outcome else {
            assert_eq!(request.sqe.opcode, IoOpcode::Compare as u8, "lost");
            *self.counts.entry("lost").or_default() += 1;
            return;
        };
        match expected {
            Expected::Read => {
                assert_eq!(status, Status::SUCCESS);
                assert!(request.into_received().to_contiguous() == self.bytes(range), "{range:?} has other data");
            }
            Expected::Success => assert_eq!(status, Status::SUCCESS, "{:?}", request.sqe),
            Expected::Code(code) => assert_eq!(status.code, code),
        }
    }
}

fn in_pieces(rng: &mut StdRng, data: Vec<u8>) -> Payload {
    let mut rest = Bytes::from(data);
    let mut payload = Payload::new();
    while !rest.is_empty() {
        let length = rng.random_range(1..=4096).min(rest.len());
        payload.push(rest.split_to(length));
    }
    payload
}

fn take_completions(disk: &mut Disk, queue: &mut Queue<u64>) {
    while let Some(completion) = queue.poll_completion() {
        disk.complete(completion.outcome, completion.request);
    }
}

fn run(seed: u64, digests: Digests, segment: usize) -> BTreeMap<&'static str, usize> {
    let mut rng = StdRng::seed_from_u64(seed);
    let config = TargetConfig {
        offer: ControllerOffer { max_h2c_data: [4096, 8192, 131_072][rng.random_range(0..3)], ..Default::default() },
        in_capsule_data: [0, 512, 4096, 16_384][rng.random_range(0..4)],
        max_r2t_length: [4096, 10_240, 1 << 20][rng.random_range(0..3)],
        max_c2h_data: [4096, 131_072][rng.random_range(0..2)],
        success: [SuccessPolicy::Always, SuccessPolicy::Never, SuccessPolicy::WithoutFlowControl]
            [rng.random_range(0..3)],
        ..TargetConfig::default()
    };
    let mut world = World::new(config, seed);
    let mut config = ControllerConfig::new(identity(), 1);
    config.admin.offer = HostOffer { digests, max_r2t: rng.random_range(1..4), ..HostOffer::default() };
    config.io_entries = rng.random_range(3..40);
    config.io_flow_control = rng.random();
    let (_, controller) = world.attach(1, config);
    let (id, mut queue) = world.io_queue::<u64>(1, &controller, 1);
    world.segment = segment;
    let (steps, longest) = if segment < 100 { (60, 16) } else { (300, 256) };
    let mut disk = Disk::new();
    for _ in 0..steps {
        if queue.room() >= 2 {
            let now = world.now;
            let mut submit = |request| {
                queue.submit(request, now).unwrap();
            };
            disk.submit(&mut submit, &mut rng, longest, true);
        }
        if rng.random_bool(0.6) {
            world.step(id, &mut queue);
        }
        take_completions(&mut disk, &mut queue);
    }
    world.settle(id, &mut queue);
    take_completions(&mut disk, &mut queue);
    assert!(disk.outstanding.is_empty(), "seed {seed}: {:?}", disk.outstanding);
    assert!(matches!(queue.state(), QueueState::Ready(_)) && !world.is_closed(id), "seed {seed}");
    disk.counts
}

#[test]
fn random_commands_with_every_byte_verified() {
    let mut counts = BTreeMap::<_, usize>::new();
    for seed in 0..120 {
        let digests = Digests { header: seed & 1 != 0, data: seed & 2 != 0 };
        let segment = [1, 20, 1448, 9000, 65_536][seed as usize % 5];
        for (name, count) in run(seed, digests, segment) {
            *counts.entry(name).or_default() += count;
        }
    }
    for name in ["read", "write", "compare", "write zeroes", "fused", "flush", "discard"] {
        assert!(counts[name] > 100, "{counts:?}");
    }
}
