//! What paths are for, and how much is sent over them.

use std::num::NonZeroU64;
use std::time::Duration;

use mptcp_core::{
    ConnId, Counter, EndpointFlags, Limits, PathPolicy, PathRule, PathUse, PolicyError, ResetReason, StackConfig,
};
use tcp_adapter::InterfaceId;

use super::TCPS;
use super::log::Log;
use super::world::{Link, World, address, config};
use crate::tcp::Tcp;

fn rule(link: usize) -> PathRule {
    PathRule { interface: Some(InterfaceId(link)), ..PathRule::default() }
}

fn used_as(link: usize, usage: PathUse) -> PathRule {
    PathRule { usage: Some(usage), ..rule(link) }
}

fn policy(rules: Vec<PathRule>) -> PathPolicy {
    PathPolicy { rules, ..PathPolicy::default() }
}

/// A world with 20 Mbit/s on each link, whose host 0 has these rules.
fn world(seed: u64, links: usize, rules: Vec<PathRule>) -> World {
    let mut world = World::new(seed, links, [StackConfig { policy: policy(rules), ..config() }, config()]);
    for link in &mut world.links {
        *link = Link { rate: Some(20_000_000), ..Link::default() };
    }
    world
}

/// The links that host 0 has subflows on, by the number of each.
fn on_links(world: &World, conn: ConnId) -> Vec<usize> {
    let subflows = world.hosts[0].stack.subflows(conn);
    let open = subflows.iter().filter(|known| ["established", "stale"].contains(&known.state.to_string().as_str()));
    let mut links: Vec<usize> = open.map(|known| known.tcp.unwrap().interface.0).collect();
    links.sort_unstable();
    links
}

#[test]
fn a_metered_path_is_opened_only_while_no_other_works() {
    let mut world = world(1, 3, vec![used_as(2, PathUse::Spare)]);
    world.mesh(true);
    let conns = world.open();
    world.send(0, conns[0], 20_000_000, false);
    world.run_for(Duration::from_secs(1));
    assert_eq!(on_links(&world, conns[0]), [0, 1]);
    world.links[0].down = true;
    world.run_for(Duration::from_secs(1));
    assert_eq!(on_links(&world, conns[0]), [0, 1], "another path works");
    world.links[1].down = true;
    // That the last path is silent shows late: there is none that works to compare it with.
    let now = world.now;
    world.hosts[0].stack.link_down(now, InterfaceId(1));
    assert!(world.run_until(2, |world| on_links(world, conns[0]).contains(&2)), "{:?}", on_links(&world, conns[0]));
    let before = world.hosts[0].stack.info(conns[0]).unwrap().bytes_acked;
    world.run_for(Duration::from_secs(1));
    let served = world.hosts[0].stack.info(conns[0]).unwrap().bytes_acked - before;
    assert!(served > if TCPS[0] == Tcp::Native { 500_000 } else { 1 }, "it serves: {served}");
    world.links[1].down = false;
    let now = world.now;
    world.hosts[0].stack.link_up(now, InterfaceId(1));
    world.run_for(Duration::from_secs(2));
    assert!(on_links(&world, conns[0]).contains(&2), "not before the other has worked for a while");
    // With smoltcp a subflow falls silent for a second after losses, and is none that works then.
    let limit = if TCPS == [Tcp::Native; 2] { 5 } else { 30 };
    assert!(world.run_until(limit, |world| !on_links(world, conns[0]).contains(&2)));
    assert!(world.run_until(60, |world| world.transferred(conns, false)));
    // The next failure is answered in the same way.
    world.links[1].down = true;
    let now = world.now;
    world.hosts[0].stack.link_down(now, InterfaceId(1));
    assert!(world.run_until(2, |world| on_links(world, conns[0]).contains(&2)));
    for link in 0..2 {
        world.links[link].down = false;
        let now = world.now;
        world.hosts[0].stack.link_up(now, InterfaceId(link));
    }
    world.close_all();
}

#[test]
fn of_several_metered_paths_the_cheapest_serves_and_the_next_if_it_fails() {
    let spare = |link, cost| PathRule { cost: Some(cost), ..used_as(link, PathUse::Spare) };
    let mut world = world(2, 4, vec![spare(1, 9), spare(2, 3), spare(3, 5)]);
    world.mesh(true);
    let conns = world.open();
    world.send(0, conns[0], 10_000_000, false);
    world.run_for(Duration::from_secs(1));
    assert_eq!(on_links(&world, conns[0]), [0]);
    for (failing, next) in [(0, 2), (2, 3), (3, 1)] {
        world.links[failing].down = true;
        let now = world.now;
        world.hosts[0].stack.link_down(now, InterfaceId(failing));
        assert!(world.run_until(2, |world| on_links(world, conns[0]).contains(&next)), "{failing} -> {next}");
        world.run_for(Duration::from_millis(300));
        let working: Vec<_> = on_links(&world, conns[0]).into_iter().filter(|link| !world.links[*link].down).collect();
        assert_eq!(working, [next]);
    }
    assert!(world.run_until(60, |world| world.transferred(conns, false)));
}

#[test]
fn a_metered_path_that_has_carried_all_that_it_may_makes_way_for_the_next() {
    let cheap = PathRule { cost: Some(1), max_bytes: Some(300_000), ..used_as(1, PathUse::Spare) };
    let dear = PathRule { cost: Some(2), ..used_as(2, PathUse::Spare) };
    let mut world = world(14, 3, vec![cheap, dear]);
    world.mesh(true);
    let conns = world.open();
    world.send(0, conns[0], 5_000_000, false);
    world.run_for(Duration::from_millis(300));
    world.links[0].down = true;
    let now = world.now;
    world.hosts[0].stack.link_down(now, InterfaceId(0));
    assert!(world.run_until(2, |world| on_links(world, conns[0]).contains(&1)));
    assert!(world.run_until(60, |world| world.transferred(conns, false)), "{:?}", on_links(&world, conns[0]));
    let carried = |link: usize| {
        let subflows = world.hosts[0].stack.subflows(conns[0]);
        let over = subflows.iter().filter(|known| known.tcp.is_some_and(|tcp| tcp.interface.0 == link));
        over.map(|known| known.bytes_sent).sum::<u64>()
    };
    assert!((300_000..400_000).contains(&carried(1)) && carried(2) > 1_000_000, "{} {}", carried(1), carried(2));
}

#[test]
fn a_metered_path_that_serves_becomes_regular_when_the_policy_goes() {
    for seconds in [0, 1] {
        let mut world = world(15, 2, vec![used_as(1, PathUse::Spare)]);
        world.mesh(true);
        let conns = world.open();
        world.run_for(Duration::from_millis(300));
        let now = world.now;
        world.hosts[0].stack.link_down(now, InterfaceId(0));
        assert!(world.run_until(2, |world| world.subflows_up(0, conns[0]) == 1 && on_links(world, conns[0]) == [0, 1]));
        let now = world.now;
        world.hosts[0].stack.link_up(now, InterfaceId(0));
        // It is about to be closed, and then it is not.
        world.run_for(Duration::from_secs(seconds));
        world.hosts[0].stack.set_policy(PathPolicy::default()).unwrap();
        world.run_for(Duration::from_secs(10));
        assert_eq!(on_links(&world, conns[0]), [0, 1]);
        let before = world.hosts[0].stack.subflows(conns[0])[1].bytes_sent;
        world.send(0, conns[0], 4_000_000, false);
        assert!(world.run_until(60, |world| world.transferred(conns, false)));
        assert!(world.hosts[0].stack.subflows(conns[0])[1].bytes_sent > before + 100_000);
        world.close_all();
    }
}

#[test]
fn a_connection_that_starts_on_a_metered_path_leaves_it() {
    let mut world = world(3, 2, vec![used_as(0, PathUse::Spare)]);
    world.mesh(true);
    let conns = world.open();
    world.send(0, conns[0], 3_000_000, false);
    world.send(1, conns[1], 3_000_000, false);
    assert!(world.run_until(10, |world| on_links(world, conns[0]) == [1]), "{:?}", on_links(&world, conns[0]));
    assert!(world.run_until(60, |world| world.transferred(conns, false)));
    world.close_all();
}

#[test]
fn cheap_paths_are_opened_first_where_not_all_can_be_had() {
    let cost = |link, cost| PathRule { cost: Some(cost), ..rule(link) };
    let by_source = PathRule { source: Some("10.0.2.0/24".parse().unwrap()), cost: Some(1), ..PathRule::default() };
    let mut world = world(4, 5, vec![cost(1, 7), by_source, cost(3, 2), cost(4, 4)]);
    world.hosts[0].stack.set_limits(Limits { subflows: 2, add_addr_accepted: 0 });
    world.mesh(true);
    let conns = world.open();
    assert!(world.run_until(5, |world| world.subflows_up(0, conns[0]) == 3));
    world.run_for(Duration::from_secs(3));
    assert_eq!(on_links(&world, conns[0]), [0, 2, 3]);
    world.close_all();
}

#[test]
fn paths_of_the_own_node_are_cheaper() {
    let mut world = world(5, 3, Vec::new());
    let stack = &mut world.hosts[0].stack;
    for (link, node) in [(0, 0), (1, 0), (2, 1)] {
        assert!(stack.set_interface_node(InterfaceId(link), Some(node)));
    }
    stack.set_policy(PathPolicy { node: Some(1), ..PathPolicy::default() }).unwrap();
    stack.set_limits(Limits { subflows: 1, add_addr_accepted: 0 });
    assert_eq!(stack.source_for(address(1, 0, true)), Some(address(0, 2, true)));
    world.mesh(true);
    let conns = world.open();
    assert!(world.run_until(5, |world| world.subflows_up(0, conns[0]) == 2));
    assert_eq!(on_links(&world, conns[0]), [0, 2]);
    world.close_all();
}

#[test]
fn a_rate_is_kept_and_what_it_holds_back_goes_elsewhere() {
    let slow = PathRule { max_rate: NonZeroU64::new(200_000), ..rule(1) };
    let mut world = world(6, 2, vec![slow]);
    let conns = world.open_mesh();
    let begin = world.now;
    world.send(0, conns[0], 10_000_000, false);
    assert!(world.run_until(60, |world| world.transferred(conns, false)));
    let seconds = (world.now - begin).as_secs_f64();
    let sent = world.hosts[0].stack.subflows(conns[0])[1].bytes_sent as f64;
    assert!(sent <= 200_000.0 * seconds + 40_000.0, "{sent} in {seconds} s");
    assert!(sent >= 200_000.0 * seconds * 0.8, "{sent} in {seconds} s");
    assert!(seconds < if TCPS[0] == Tcp::Native { 5.0 } else { 40.0 }, "the other path is as fast as ever: {seconds}");
    let usage: Vec<_> = world.hosts[0].stack.policy_usage().collect();
    assert_eq!(usage, [Some(sent as u64)]);
    world.close_all();
}

#[test]
fn nothing_waits_for_a_fast_path_whose_rate_is_limited() {
    let times = [None, Some(200_000)].map(|rate| {
        // Without the first link, or with a little of it.
        let first = PathRule { max_rate: rate.and_then(NonZeroU64::new), usage: Some(PathUse::Regular), ..rule(0) };
        let mut world = world(13, 2, vec![first]);
        world.links[1].delay = Duration::from_millis(40);
        let conns = world.open_mesh();
        if rate.is_none() {
            let now = world.now;
            world.hosts[0].stack.link_down(now, InterfaceId(0));
        }
        let begin = world.now;
        world.send(0, conns[0], 10_000_000, false);
        assert!(world.run_until(60, |world| world.transferred(conns, false)));
        world.now - begin
    });
    assert!(TCPS[0] != Tcp::Native || times[1] < times[0], "a slower path that carries data helps: {times:?}");
}

#[test]
fn the_only_path_is_kept_to_its_rate_with_and_without_mptcp() {
    for mptcp in [true, false] {
        let slow = PathRule { max_rate: NonZeroU64::new(100_000), ..rule(0) };
        let configs = [StackConfig { policy: policy(vec![slow]), ..config() }, StackConfig { mptcp, ..config() }];
        let mut world = World::new(7, 1, configs);
        let conns = world.open();
        let begin = world.now;
        world.send(0, conns[0], 500_000, true);
        world.send(1, conns[1], 500_000, true);
        assert!(world.run_until(60, |world| world.transferred(conns, true)));
        let seconds = (world.now - begin).as_secs_f64();
        assert!((4.5..5.5).contains(&seconds), "mptcp {mptcp}: {seconds}");
        world.close_all();
    }
}

#[test]
fn connections_share_a_rate_in_turn() {
    let slow = PathRule { max_rate: NonZeroU64::new(500_000), ..rule(0) };
    let mut world = world(16, 1, vec![slow]);
    let conns = [0; 3].map(|_| {
        let accepted = world.hosts[1].flows.len();
        let client = world.connect(true);
        assert!(world.run_until(60, |world| world.hosts[1].flows.len() > accepted));
        [client, world.server_conn().unwrap()]
    });
    for conn in conns {
        world.send(0, conn[0], 4_000_000, false);
    }
    world.run_for(Duration::from_secs(9));
    let received = conns.map(|conn| world.hosts[1].flows[&conn[1]].received);
    assert!(received.iter().all(|bytes| (1_350_000..1_700_000).contains(bytes)), "{received:?}");
    assert!((4_400_000..4_650_000).contains(&received.iter().sum::<u64>()), "{received:?}");
}

#[test]
fn a_path_that_has_carried_its_volume_carries_no_more() {
    let volume = PathRule { max_bytes: Some(1_000_000), ..rule(1) };
    let mut world = world(8, 2, vec![volume]);
    let conns = world.open_mesh();
    world.send(0, conns[0], 6_000_000, false);
    world.send(1, conns[1], 6_000_000, false);
    assert!(world.run_until(60, |world| world.transferred(conns, false)));
    let carried = |world: &World| {
        let subflow = &world.hosts[0].stack.subflows(conns[0])[1];
        (subflow.bytes_sent + subflow.bytes_received, subflow.backup)
    };
    let (bytes, backup) = carried(&world);
    // What the peer had sent before it heard of that still came. With smoltcp, the other path does not answer for a second after losses, and
    // the backup helps out.
    let still = if TCPS == [Tcp::Native; 2] { 600_000 } else { 4_000_000 };
    assert!((1_000_000..1_000_000 + still).contains(&bytes) && backup, "{bytes}");
    assert!(world.hosts[1].stack.subflows(conns[1])[1].backup_by_peer);
    let sent = world.hosts[0].stack.subflows(conns[0])[1].bytes_sent;
    world.send(0, conns[0], 2_000_000, false);
    assert!(world.run_until(60, |world| world.transferred(conns, false)));
    assert_eq!(world.hosts[0].stack.subflows(conns[0])[1].bytes_sent, sent);
    // With another policy it does again.
    world.hosts[0].stack.set_policy(PathPolicy::default()).unwrap();
    world.send(0, conns[0], 4_000_000, false);
    assert!(world.run_until(60, |world| world.transferred(conns, false)));
    assert!(world.hosts[0].stack.subflows(conns[0])[1].bytes_sent > sent && !carried(&world).1);
    world.close_all();
}

#[test]
fn a_forbidden_path_is_neither_opened_nor_announced_nor_accepted() {
    let mut world = world(9, 3, vec![used_as(1, PathUse::Never)]);
    let log = Log::watch(&mut world);
    world.mesh(true);
    world.endpoint(0, 0, true, EndpointFlags { signal: true, ..EndpointFlags::default() });
    let conns = world.open();
    world.send(0, conns[0], 1000, false);
    world.run_for(Duration::from_secs(2));
    assert_eq!(on_links(&world, conns[0]), [0, 2]);
    let now = world.now;
    let port = world.hosts[0].stack.info(conns[0]).unwrap().local.port();
    let remote = (address(0, 1, true), port).into();
    world.hosts[1].stack.create_subflow(now, conns[1], address(1, 1, true), remote, false).unwrap();
    world.run_for(Duration::from_secs(2));
    assert_eq!(log.resets(1, 0), [Some(ResetReason::Prohibited)]);
    // Changed at run time: what is there is closed, and what is allowed is opened.
    world.hosts[0].stack.set_policy(policy(vec![used_as(2, PathUse::Never)])).unwrap();
    assert!(world.run_until(5, |world| on_links(world, conns[0]) == [0, 1]), "{:?}", on_links(&world, conns[0]));
    world.hosts[0].stack.set_policy(PathPolicy::default()).unwrap();
    assert!(world.run_until(5, |world| on_links(world, conns[0]) == [0, 1, 2]), "{:?}", on_links(&world, conns[0]));
    world.close_all();
}

#[test]
fn a_backup_by_policy_is_told_to_the_peer_and_taken_back() {
    let mut world = world(10, 2, vec![used_as(1, PathUse::Backup)]);
    let conns = world.open_mesh();
    assert!(world.run_until(5, |world| world.hosts[1].stack.subflows(conns[1]).iter().any(|known| known.backup_by_peer)));
    world.send(0, conns[0], 2_000_000, false);
    world.send(1, conns[1], 2_000_000, false);
    assert!(world.run_until(60, |world| world.transferred(conns, false)));
    let carried = |world: &World| world.hosts[0].stack.subflows(conns[0])[1].bytes_sent;
    if TCPS == [Tcp::Native; 2] {
        // With smoltcp, the regular path does not answer for a second after losses, and the backup helps out.
        assert_eq!(carried(&world), 0);
    }
    let before = carried(&world);
    world.hosts[0].stack.set_policy(PathPolicy::default()).unwrap();
    world.run_for(Duration::from_secs(1));
    assert!(world.mib(1, Counter::MPPrioRx) >= 1);
    world.send(0, conns[0], 2_000_000, false);
    assert!(world.run_until(60, |world| world.transferred(conns, false)));
    assert!(carried(&world) > before);
    world.close_all();
}

#[test]
fn connections_start_on_the_best_path() {
    let mut world = world(11, 3, vec![used_as(0, PathUse::Spare), PathRule { cost: Some(5), ..rule(1) }]);
    let remote = address(1, 0, true);
    let source = |world: &World| world.hosts[0].stack.source_for(remote).unwrap();
    assert_eq!(source(&world), address(0, 2, true));
    let now = world.now;
    world.hosts[0].stack.link_down(now, InterfaceId(2));
    assert_eq!(source(&world), address(0, 1, true));
    world.hosts[0].stack.link_down(now, InterfaceId(1));
    assert_eq!(source(&world), address(0, 0, true));
}

#[test]
fn mistakes_in_a_policy_change_nothing() {
    let mut world = world(12, 1, vec![used_as(0, PathUse::Backup)]);
    let before = world.hosts[0].stack.policy().clone();
    let refused = world.hosts[0].stack.set_policy(policy(vec![PathRule::default()]));
    assert_eq!((refused, world.hosts[0].stack.policy()), (Err(PolicyError::SaysNothing(0)), &before));
}
