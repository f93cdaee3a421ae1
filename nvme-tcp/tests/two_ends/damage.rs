//! Bytes that are altered on their way: with digests no end takes them for what was sent.

use bytes::Bytes;
use nvme_tcp::command::{BlockRange, IoCommand, StatusCode};
use nvme_tcp::host::{ControllerConfig, Outcome, Queue, QueueState, Request};
use nvme_tcp::pdu::Digests;
use nvme_tcp::target::TargetConfig;
use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::world::*;

/// What is stored in these blocks, whatever happens: nothing else is ever written.
fn content(range: BlockRange) -> Vec<u8> {
    let begin = range.start as usize * BLOCK;
    (begin..begin + range.count as usize * BLOCK).map(|at| (at / 3 + at / 512) as u8).collect()
}

fn write(range: BlockRange) -> Request<BlockRange> {
    let sqe = IoCommand::Write { range, force_unit_access: false }.to_sqe(1);
    Request::new(sqe, range).sending(Bytes::from(content(range)))
}

fn read(range: BlockRange) -> Request<BlockRange> {
    let sqe = IoCommand::Read { range, force_unit_access: false }.to_sqe(1);
    Request::new(sqe, range).receiving(range.count * BLOCK as u32)
}

fn compare(range: BlockRange) -> Request<BlockRange> {
    Request::new(IoCommand::Compare { range }.to_sqe(1), range).sending(Bytes::from(content(range)))
}

fn config() -> ControllerConfig {
    let mut config = ControllerConfig::new(identity(), 1);
    config.admin.offer.digests = Digests::BOTH;
    config
}

#[derive(Default)]
struct Counts {
    right: usize,
    found: usize,
    lost: usize,
}

/// Takes what has completed: success, or damage that was found.
fn take(queue: &mut Queue<BlockRange>, counts: &mut Counts) {
    while let Some(completion) = queue.poll_completion() {
        let request = completion.request;
        match completion.outcome {
            Outcome::Answered { status, .. } if status.is_success() => {
                counts.right += 1;
                let (is_read, range) = (request.sqe.opcode == 2, request.token);
                assert!(!is_read || request.into_received().to_contiguous() == content(range), "{range:?}");
            }
            Outcome::Answered { status, .. } => {
                assert_eq!(status.code, StatusCode::TransientTransportError);
                counts.found += 1;
            }
            Outcome::Lost { .. } => counts.lost += 1,
        }
    }
}

fn run(seed: u64, counts: &mut Counts) {
    let mut world = World::new(TargetConfig { in_capsule_data: 4096, ..TargetConfig::default() }, seed);
    let mut rng = StdRng::seed_from_u64(seed);
    let (_, controller) = world.attach(1, config());
    let everything = BlockRange { start: 0, count: BLOCKS as u32 };
    let (id, mut queue) = world.io_queue(1, &controller, 1);
    queue.submit(write(everything), world.now).unwrap();
    world.settle(id, &mut queue);
    assert!(queue.poll_completion().unwrap().outcome.is_success());

    world.damage = 0.01;
    let mut submitted = 0;
    let before = counts.right + counts.found + counts.lost;
    for _ in 0..200 {
        let count = rng.random_range(1..=32);
        let range = BlockRange { start: rng.random_range(0..=BLOCKS - u64::from(count)), count };
        let request = [read, write, compare][rng.random_range(0..3)](range);
        submitted += usize::from(queue.submit(request, world.now).is_ok());
        world.step(id, &mut queue);
        take(&mut queue, counts);
        if world.is_closed(id) || matches!(queue.state(), QueueState::Ended(_)) {
            break;
        }
    }
    queue.connection_lost();
    world.cut(id);
    take(&mut queue, counts);
    assert_eq!(counts.right + counts.found + counts.lost - before, submitted, "seed {seed}: each ends once");

    world.damage = 0.0;
    let (_, controller) = world.attach(2, config());
    let (id, mut queue) = world.io_queue(2, &controller, 1);
    queue.submit(read(everything), world.now).unwrap();
    world.settle(id, &mut queue);
    let stored = queue.poll_completion().unwrap().request.into_received().to_contiguous();
    assert!(stored == content(everything), "seed {seed}: something else was written");
}

#[test]
fn nothing_damaged_is_read_or_written() {
    let mut counts = Counts::default();
    for seed in 0..150 {
        run(seed, &mut counts);
    }
    let Counts { right, found, lost } = counts;
    assert!(right > 1000 && found > 100 && lost > 100, "{right} right, {found} found, {lost} lost");
}
