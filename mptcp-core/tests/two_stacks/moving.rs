//! Hosts whose addresses change, and what the peer is told of new subflows.

use std::time::Duration;

use mptcp_core::{
    Counter, EndpointFlags, Event, Limits, PathPolicy, PathRule, PathUse, StackConfig, SubflowId,
};

use super::world::{World, config};

/// The client has as many subflows as the server takes when it moves to another network: what it had there vanishes in silence.
#[test]
fn a_host_can_move_to_a_new_address_at_the_limit() {
    // The join comes after the news of the old address, or before it, which takes another attempt.
    for (delay, patience) in [(20, 1), (1, 15)] {
        let limited = || StackConfig { limits: Limits { subflows: 2, add_addr_accepted: 0 }, ..config() };
        let mut world = World::new(1, 4, [limited(), limited()]);
        let flags = EndpointFlags { subflow: true, ..EndpointFlags::default() };
        let [moves, _] = [1, 2].map(|link| world.endpoint(0, link, true, flags));
        let conns = world.open();
        assert!(world.run_until(5, |world| world.subflows_up(1, conns[1]) == 3));
        world.run_for(Duration::from_secs(1));
        world.links[1].down = true;
        world.links[3].delay = Duration::from_millis(delay);
        let now = world.now;
        world.hosts[0].stack.remove_endpoint(now, moves).unwrap();
        world.endpoint(0, 3, true, flags);
        assert!(world.run_until(patience, |world| world.subflows_up(0, conns[0]) == 3), "{:?}", world.hosts[0].events);
    }
}

/// The SYN of a join says what was true when it left; a change until the join is complete must not be lost.
#[test]
fn a_priority_that_changes_during_the_handshake_is_told_after_it() {
    let mut world = World::simple(2, 2);
    world.mesh(true);
    world.links[1].delay = Duration::from_millis(200);
    let conns = world.open();
    assert!(world.run_until(5, |world| world.hosts[0].stack.subflows(conns[0]).len() == 2));
    assert_eq!(world.subflows_up(0, conns[0]), 1, "the SYN is under way");
    world.run_for(Duration::from_millis(1));
    let now = world.now;
    world.hosts[0].stack.set_backup(now, conns[0], SubflowId(1), true).unwrap();
    let told = Event::SubflowPriority(conns[1], SubflowId(1), true);
    assert!(world.run_until(5, |world| world.saw(1, told)), "{:?}", world.hosts[1].events);
    assert_eq!(world.mib(0, Counter::MPPrioTx), 1);
}

/// A policy that makes the only subflow a backup says so before it is connected.
#[test]
fn a_first_subflow_that_a_policy_makes_a_backup_is_told_to_be_one() {
    let mut world = World::simple(3, 1);
    let rule = PathRule { usage: Some(PathUse::Backup), ..PathRule::default() };
    let policy = PathPolicy { rules: vec![rule], ..PathPolicy::default() };
    world.hosts[0].stack.set_policy(policy).unwrap();
    let conns = world.open();
    let told = Event::SubflowPriority(conns[1], SubflowId(0), true);
    assert!(world.run_until(5, |world| world.saw(1, told)), "{:?}", world.hosts[1].events);
}
