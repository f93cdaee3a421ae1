//! A connection that is limited to a rate keeps to it on all of its subflows together.

use std::time::Duration;

use mptcp_core::{ConnId, SchedulerKind, StackConfig};

use super::TCPS;
use super::world::{Link, World, config};
use crate::tcp::Tcp;

/// Bytes per second.
const RATE: u64 = 1_000_000;

/// Two hosts with so many links, of which each could carry all of the rate, and a scheduler that uses them all.
fn world(seed: u64, links: usize) -> World {
    let config = || StackConfig { scheduler: SchedulerKind::RoundRobin, recv_buffer_initial: 512 << 10, ..config() };
    World::new(seed, links, [config(), config()])
}

fn limit(world: &mut World, conn: ConnId, rate: Option<u64>) {
    let now = world.now;
    assert!(world.hosts[0].stack.set_max_pacing_rate(now, conn, rate));
    assert_eq!(world.hosts[0].stack.info(conn).unwrap().max_pacing_rate, rate);
}

/// Bytes that arrive within so many milliseconds.
fn arrives_in(world: &mut World, conns: [ConnId; 2], millis: u64) -> u64 {
    let before = world.hosts[1].flows[&conns[1]].received;
    world.run_for(Duration::from_millis(millis));
    world.hosts[1].flows[&conns[1]].received - before
}

fn assert_within_a_hundredth(bytes: u64, expected: u64) {
    assert!(bytes.abs_diff(expected) * 100 <= expected, "{bytes} instead of {expected}");
}

#[test]
fn the_rate_is_that_of_all_subflows_together() {
    let mut world = world(1, 2);
    let conns = world.open_mesh();
    limit(&mut world, conns[0], Some(RATE));
    world.send(0, conns[0], 100 << 20, false);
    world.run_for(Duration::from_secs(1));
    assert_within_a_hundredth(arrives_in(&mut world, conns, 4000), 4 * RATE);
    let subflows = world.hosts[0].stack.subflows(conns[0]);
    assert!(subflows.iter().all(|subflow| subflow.bytes_sent > RATE), "both carry a good part: {subflows:?}");
    limit(&mut world, conns[0], Some(RATE / 4));
    world.run_for(Duration::from_secs(1));
    assert_within_a_hundredth(arrives_in(&mut world, conns, 4000), 4 * RATE / 4);
    limit(&mut world, conns[0], None);
    world.run_for(Duration::from_millis(200));
    let unlimited = arrives_in(&mut world, conns, 200);
    assert!(unlimited > 3 * RATE / 5, "{unlimited}");
    world.flow(0, conns[0]).to_send = 0;
    let now = world.now;
    world.hosts[0].stack.abort(now, conns[0]);
    world.close_all();
}

#[test]
fn a_pause_earns_one_burst() {
    let mut world = world(2, 2);
    let conns = world.open_mesh();
    limit(&mut world, conns[0], Some(RATE));
    for _ in 0..5 {
        world.run_for(Duration::from_secs(3));
        world.send(0, conns[0], 300_000, false);
        assert_eq!(arrives_in(&mut world, conns, 1000), 300_000, "300 ms");
        world.send(0, conns[0], 300_000, false);
        let arrived = arrives_in(&mut world, conns, 205);
        // The time without the way, and a burst.
        assert!((190_000..=200_000 + 5_840).contains(&arrived), "{arrived}");
    }
    world.close_all();
}

#[test]
fn subflows_that_come_later_keep_to_the_rate_too() {
    let mut world = world(3, 3);
    // As early as can be.
    let client = world.connect(true);
    limit(&mut world, client, Some(RATE));
    assert!(world.run_until(10, |world| world.server_conn().is_some()));
    let conns = [client, world.server_conn().unwrap()];
    world.send(0, client, 100 << 20, false);
    world.run_for(Duration::from_secs(1));
    world.mesh(true);
    assert!(world.run_until(10, |world| world.subflows_up(0, client) == 3));
    world.run_for(Duration::from_secs(1));
    assert_within_a_hundredth(arrives_in(&mut world, conns, 4000), 4 * RATE);
    let expected = if TCPS[0] == Tcp::Native { Some(RATE) } else { None };
    for subflow in world.hosts[0].stack.subflows(client) {
        assert_eq!(subflow.tcp.unwrap().max_pacing_rate, expected);
    }
    world.flow(0, client).to_send = 0;
    let now = world.now;
    world.hosts[0].stack.abort(now, client);
    world.close_all();
}

#[test]
fn the_rate_holds_without_multipath_too() {
    let config = || StackConfig { mptcp: false, ..config() };
    let mut world = World::new(4, 1, [config(), config()]);
    let conns = world.open();
    limit(&mut world, conns[0], Some(RATE));
    world.send(0, conns[0], 8_000_000, false);
    world.run_for(Duration::from_secs(1));
    assert_within_a_hundredth(arrives_in(&mut world, conns, 4000), 4 * RATE);
    assert!(world.run_until(10, |world| world.transferred(conns, false)));
    world.close_all();
}

/// Neither path has as much room as the rate: what one cannot carry the other one may.
#[test]
fn what_one_subflow_leaves_of_the_rate_others_have() {
    if TCPS != [Tcp::Native; 2] {
        // The other one waits a second for each segment that the queue of a link drops.
        return;
    }
    let config = || StackConfig { recv_buffer_initial: 512 << 10, ..config() };
    let mut world = World::new(5, 2, [config(), config()]);
    for (link, rate) in world.links.iter_mut().zip([20_000_000, 8_000_000]) {
        *link = Link { rate: Some(rate), ..Link::default() };
    }
    let conns = world.open_mesh();
    limit(&mut world, conns[0], Some(2_800_000));
    world.send(0, conns[0], 100 << 20, false);
    world.run_for(Duration::from_secs(3));
    let arrived = arrives_in(&mut world, conns, 10_000);
    // Half of it for each would be 2,400,000 bytes per second at most.
    assert!((28_000_000 * 94 / 100..=28_000_000 * 101 / 100).contains(&arrived), "{arrived}");
    world.flow(0, conns[0]).to_send = 0;
    let now = world.now;
    world.hosts[0].stack.abort(now, conns[0]);
    world.close_all();
}
