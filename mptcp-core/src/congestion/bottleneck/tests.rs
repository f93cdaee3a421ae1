use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tcp_adapter::congestion::Ack;

use super::super::board::Member;
use super::super::samples::testing::{MS, ack};
use super::*;

/// Subflows whose queues are simulated: each is where a walk of its own, between an empty and a full queue, has come.
struct World {
    board: Arc<Board>,
    detector: Detector,
    subflows: Vec<(Member, Arc<Samples>)>,
    rng: StdRng,
    queues: Vec<f64>,
    now: u64,
}

impl World {
    fn new(subflows: usize, seed: u64) -> Self {
        let board = Arc::<Board>::default();
        let mut detector = Detector::default();
        let join = |_| {
            let mut member = Board::join_alone(&board);
            let samples = detector.watch(member.place());
            member.sample(Arc::clone(&samples));
            (member, samples)
        };
        let subflows: Vec<_> = (0..subflows).map(join).collect();
        let queues = vec![20.0; subflows.len()];
        Self { board, detector, subflows, rng: StdRng::seed_from_u64(seed), queues, now: 0 }
    }

    /// Lets `seconds` pass, in which each subflow waits in the queue of its number in `queues`, among noise of so many milliseconds.
    fn run(&mut self, seconds: u64, queues: &[usize], noise: f64) {
        for _ in 0..seconds * 100 {
            self.now += 10 * MS;
            for queue in &mut self.queues {
                *queue = (*queue + self.rng.random_range(-6.0..6.0)).clamp(0.0, 40.0);
            }
            for (subflow, queue) in queues.iter().enumerate() {
                // Base round-trip times differ.
                let ms = 20.0 + 15.0 * subflow as f64 + self.queues[*queue] + self.rng.random_range(0.0..=noise);
                let sample = Ack { rtt: Some((ms * MS as f64) as u64), ..ack(self.now, MS) };
                self.subflows[subflow].1.take(&sample);
            }
            let now = Instant::from_nanos(self.now);
            if self.detector.is_due(now) {
                self.detector.observe(now, &self.board);
            }
        }
    }

    fn groups(&self) -> Vec<u32> {
        self.subflows.iter().map(|(member, _)| self.board.group(member.place())).collect()
    }
}

#[test]
fn those_in_one_queue_are_found_and_others_left_alone() {
    for seed in 0..20 {
        let mut world = World::new(4, seed);
        world.run(10, &[0, 1, 0, 2], 2.0);
        assert_eq!(world.groups(), [0, 1, 2, 3], "too early to say");
        world.run(10, &[0, 1, 0, 2], 2.0);
        assert_eq!(world.groups(), [0, 1, 0, 3], "seed {seed}");
    }
}

#[test]
fn all_in_one_queue_are_one_group() {
    let mut world = World::new(3, 7);
    world.run(20, &[0, 0, 0], 5.0);
    assert_eq!(world.groups(), [0, 0, 0]);
}

#[test]
fn who_moves_to_another_queue_leaves_the_group() {
    let mut world = World::new(3, 3);
    world.run(20, &[0, 0, 1], 2.0);
    assert_eq!(world.groups(), [0, 0, 2]);
    world.run(20, &[0, 1, 1], 2.0);
    assert_eq!(world.groups(), [0, 1, 1]);
}

/// Delays that are mostly the least possible are skewed: there is no queue, whatever moves together.
#[test]
fn without_a_queue_there_is_no_bottleneck() {
    let mut world = World::new(2, 5);
    for step in 0..2000 {
        world.now += 10 * MS;
        // One segment in ten waits, for a time that both have in common.
        let ms = if step % 10 == 0 { 30 + (step / 35) % 7 * 13 } else { 20 };
        world.subflows.iter().for_each(|(_, samples)| samples.take(&ack(world.now, ms * MS)));
        let now = Instant::from_nanos(world.now);
        if world.detector.is_due(now) {
            world.detector.observe(now, &world.board);
        }
    }
    assert!(correlation(&world.detector.watched[0], &world.detector.watched[1]).is_some_and(|found| found > 0.99));
    assert_eq!(world.groups(), [0, 1]);
}

#[test]
fn a_pause_makes_what_was_known_void() {
    let mut world = World::new(2, 1);
    world.run(20, &[0, 0], 2.0);
    assert_eq!(world.groups(), [0, 0]);
    world.now += 60_000 * MS;
    world.run(1, &[0, 0], 2.0);
    assert_eq!(world.groups(), [0, 1]);
}

/// Both overflow their queues when they begin, which is no reason to couple them.
#[test]
fn one_large_change_in_common_proves_nothing() {
    let mut world = World::new(2, 11);
    for step in 0..2000 {
        let spike = if (100..140).contains(&step) { 400.0 } else { 0.0 };
        world.now += 10 * MS;
        for subflow in 0..2 {
            world.queues[subflow] = (world.queues[subflow] + world.rng.random_range(-6.0..6.0)).clamp(0.0, 40.0);
            let ms = 20.0 + world.queues[subflow] + spike;
            world.subflows[subflow].1.take(&ack(world.now, (ms * MS as f64) as u64));
        }
        let now = Instant::from_nanos(world.now);
        if world.detector.is_due(now) {
            world.detector.observe(now, &world.board);
            assert_eq!(world.groups(), [0, 1], "step {step}");
        }
    }
}

#[test]
fn who_is_gone_is_forgotten_and_its_place_begins_anew() {
    let mut world = World::new(2, 1);
    world.run(20, &[0, 0], 2.0);
    world.subflows.pop();
    let now = Instant::from_nanos(world.now + 1000 * MS);
    world.detector.observe(now, &world.board);
    assert_eq!(world.detector.watched.len(), 1);
    let mut member = Board::join_alone(&world.board);
    let samples = world.detector.watch(member.place());
    member.sample(Arc::clone(&samples));
    assert_eq!(member.place(), 1);
    world.subflows.push((member, samples));
    assert_eq!(world.groups(), [0, 1]);
}
