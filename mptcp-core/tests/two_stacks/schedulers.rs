//! What each scheduler must do, whatever its rule: deliver every byte; and what the ones that send copies promise.

use std::time::Duration;

use mptcp_core::scheduler::{DataView, Decision, Duplicate, OutstandingView, SubflowView};
use mptcp_core::{ConnId, Scheduler, SchedulerKind, StackConfig};

use super::TCPS;
use super::world::{Link, World, config};
use crate::middlebox::on_packets;
use crate::tcp::Tcp;

/// Two hosts with two paths of 20 Mbit/s: 2 ms, and a longer one.
fn unequal(scheduler: SchedulerKind, seed: u64, longer: Duration) -> World {
    let config = || StackConfig { scheduler, ..config() };
    let mut world = World::new(seed, 2, [config(), config()]);
    for (link, delay) in world.links.iter_mut().zip([Duration::from_millis(2), longer]) {
        *link = Link { rate: Some(20_000_000), delay, ..Link::default() };
    }
    world
}

fn exchange(world: &mut World, conns: [ConnId; 2], bytes: u64, close: bool, what: &str) {
    world.send(0, conns[0], bytes, close);
    world.send(1, conns[1], bytes / 4, close);
    let done = world.run_until(240, |world| world.transferred(conns, close));
    assert!(done, "{what}: {:?}", world.hosts[0].stack.info(conns[0]));
}

/// Bytes that a host has given to its subflows, and how many of them were sent before.
fn given(world: &World, host: usize, conn: ConnId) -> (u64, u64) {
    let stack = &world.hosts[host].stack;
    let all = stack.subflows(conn).into_iter().chain(stack.past_subflows(conn).iter().cloned());
    all.fold((0, 0), |sum, subflow| (sum.0 + subflow.bytes_sent, sum.1 + subflow.bytes_reinjected))
}

#[test]
fn all_deliver_every_byte_over_paths_that_differ_and_lose() {
    for scheduler in SchedulerKind::ALL {
        for (loss, longer) in [(0, 40), (10, 40), (10, 3)] {
            let mut world = unequal(scheduler, 11, Duration::from_millis(longer));
            for link in &mut world.links {
                link.loss = loss;
            }
            let conns = world.open_mesh();
            exchange(&mut world, conns, 600_000, true, &format!("{scheduler}, loss {loss}"));
            world.close_all();
        }
    }
}

#[test]
fn all_survive_a_path_that_dies_and_can_be_changed_under_way() {
    for (number, scheduler) in SchedulerKind::ALL.into_iter().enumerate() {
        for dying in 0..2 {
            let mut world = unequal(scheduler, 12, Duration::from_millis(20));
            let conns = world.open_mesh();
            world.send(0, conns[0], 800_000, false);
            world.run_for(Duration::from_millis(100));
            world.links[dying].down = true;
            exchange(&mut world, conns, 400_000, false, &format!("{scheduler}, link {dying} down"));
            world.links[dying].down = false;
            let next = SchedulerKind::ALL[(number + 1) % SchedulerKind::ALL.len()];
            world.send(0, conns[0], 200_000, false);
            world.run_for(Duration::from_millis(20));
            let now = world.now;
            assert!(world.hosts[0].stack.set_scheduler(now, conns[0], next.build()));
            assert_eq!(world.hosts[0].stack.info(conns[0]).unwrap().scheduler, next.name());
            exchange(&mut world, conns, 200_000, true, &format!("{scheduler}, then {next}"));
            world.close_all();
        }
    }
}

#[test]
fn redundant_sends_everything_over_every_path() {
    let mut world = unequal(SchedulerKind::Redundant, 13, Duration::from_millis(3));
    let conns = world.open_mesh();
    // As much as no window holds back, so that no copy is given up because the other one has arrived.
    for _ in 0..10 {
        exchange(&mut world, conns, 4000, false, "redundant");
        world.run_for(Duration::from_millis(50));
    }
    let (sent, again) = given(&world, 0, conns[0]);
    assert_eq!((sent, again), (80_000, 40_000));
    world.close_all();
}

/// A loss whose bytes have come over the other path holds up nothing: it is repaired before what follows, and not after two round trips and more.
#[test]
fn a_path_that_was_overtaken_is_repaired_before_the_next_request() {
    // The other TCP has no such probes, nor the selective acknowledgements that they need.
    if TCPS.contains(&Tcp::Smoltcp) {
        return;
    }
    let mut world = unequal(SchedulerKind::Redundant, 15, Duration::from_millis(2));
    let conns = world.open_mesh();
    for _ in 0..5 {
        exchange(&mut world, conns, 1000, false, "before");
        world.run_for(Duration::from_millis(100));
    }
    // The first path loses a request, and the second one the next.
    for link in 0..2 {
        let mut left = 1;
        world.middleboxes[link] = Some(on_packets(move |host, packet| {
            let lost = host == 0 && left > 0 && !packet.payload.is_empty();
            left -= i32::from(lost);
            if lost { Vec::new() } else { vec![packet] }
        }));
        let start = world.now;
        world.send(0, conns[0], 1000, false);
        assert!(world.run_until(1, |world| world.transferred(conns, false)));
        assert!(world.now - start < Duration::from_millis(5), "{:?} on link {link}", world.now - start);
        world.run_for(Duration::from_millis(4));
    }
    world.close_all();
}

#[test]
fn adaptive_redundancy_stays_within_its_budget_and_uses_it() {
    let mut world = unequal(SchedulerKind::AdaptiveRedundant, 14, Duration::from_millis(3));
    let conns = world.open_mesh();
    for _ in 0..40 {
        exchange(&mut world, conns, 60_000, false, "adaptive-redundant");
        world.run_for(Duration::from_millis(50));
    }
    let (sent, again) = given(&world, 0, conns[0]);
    assert!(again > 0 && again * 20 <= sent - again, "{again} of {sent}");
    assert!(again * 40 > sent, "{again} of {sent}: half of the budget is left");
    world.close_all();
}

#[test]
fn backup_uses_the_next_path_only_when_the_first_one_fails() {
    let mut world = unequal(SchedulerKind::Backup, 15, Duration::from_millis(1));
    let conns = world.open_mesh();
    for _ in 0..20 {
        // No queue builds up, so that nothing is taken for a failure.
        exchange(&mut world, conns, 20_000, false, "backup");
        world.run_for(Duration::from_millis(20));
    }
    let second = |world: &World| world.hosts[0].stack.subflows(conns[0])[1].bytes_sent;
    assert_eq!(second(&world), 0);
    world.links[0].down = true;
    exchange(&mut world, conns, 400_000, false, "backup");
    assert!(second(&world) >= 400_000);
    world.close_all();
}

/// Answers as no scheduler should.
#[derive(Debug, Default)]
struct Odd(usize);

impl Scheduler for Odd {
    fn name(&self) -> &'static str {
        "odd"
    }

    fn pick(&mut self, subflows: &[SubflowView], data: &DataView) -> Option<Decision> {
        self.0 += 1;
        let last = subflows.len() - 1;
        let (subflow, len, skip) = match self.0 % 8 {
            0 => (last + 1, 1000, 0),
            1 => (0, usize::MAX, 0),
            2 => (last, 0, u64::MAX),
            3 => (0, 1 << 20, data.available),
            4 => (usize::MAX, usize::MAX, u64::MAX),
            5 => (last, usize::MAX, 100_000),
            6 => return None,
            _ => (last, 0, 0),
        };
        Some(Decision { subflow, len, skip })
    }

    fn duplicates(&self) -> bool {
        true
    }

    fn duplicate(&mut self, subflows: &[SubflowView], outstanding: &OutstandingView<'_>) -> Option<Duplicate> {
        self.0 += 1;
        let subflow = self.0 % (subflows.len() + 2);
        Some(Duplicate { subflow, range: outstanding.range.start.saturating_sub(10)..u64::MAX })
    }
}

#[test]
fn what_a_scheduler_cannot_have_meant_harms_nobody() {
    for dying in [0, 1] {
        let mut world = unequal(SchedulerKind::RoundRobin, 16, Duration::from_millis(15));
        let conns = world.open_mesh();
        let now = world.now;
        assert!(world.hosts[0].stack.set_scheduler(now, conns[0], Box::new(Odd::default())));
        exchange(&mut world, conns, 10_000, false, "a little");
        world.send(0, conns[0], 300_000, false);
        world.run_for(Duration::from_millis(30));
        world.links[dying].down = true;
        exchange(&mut world, conns, 100_000, false, "a path is gone");
        world.links[dying].down = false;
        exchange(&mut world, conns, 100_000, true, "it is back");
        world.close_all();
    }
}

/// Waits for the end of what is at hand before it sends the beginning.
#[derive(Debug)]
struct Behind;

impl Scheduler for Behind {
    fn name(&self) -> &'static str {
        "behind"
    }

    fn pick(&mut self, _: &[SubflowView], _: &DataView) -> Option<Decision> {
        Some(Decision { subflow: 0, len: 1000, skip: 100_000 })
    }
}

#[test]
fn a_scheduler_that_leaves_out_all_there_is_is_overruled() {
    let mut world = unequal(SchedulerKind::RoundRobin, 17, Duration::from_millis(15));
    let conns = world.open_mesh();
    let now = world.now;
    assert!(world.hosts[0].stack.set_scheduler(now, conns[0], Box::new(Behind)));
    exchange(&mut world, conns, 250_000, true, "behind");
    world.close_all();
}
