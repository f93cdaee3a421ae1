//! What the system tells of links and addresses, and what the connections make of it.

use std::time::Duration;

use mptcp_core::{ConnId, Counter, EndpointFlags, Event, SubflowId, SubflowState};
use tcp_adapter::{InterfaceId, IpCidr, Route};

use super::TCPS;
use super::world::{Link, World, address};
use crate::tcp::Tcp;

fn limited(links: usize, seed: u64) -> World {
    let mut world = World::simple(seed, links);
    for link in &mut world.links {
        *link = Link { rate: Some(20_000_000), ..Link::default() };
    }
    world
}

/// Takes a link down, or up again, and tells one host or both.
fn set_link(world: &mut World, link: usize, up: bool, told: &[usize]) {
    world.links[link].down = !up;
    for host in told {
        let (now, stack) = (world.now, &mut world.hosts[*host].stack);
        let interface = InterfaceId(link);
        assert!(if up { stack.link_up(now, interface) } else { stack.link_down(now, interface) });
    }
}

fn acked(world: &World, conn: ConnId) -> u64 {
    world.hosts[0].stack.info(conn).unwrap().bytes_acked
}

fn states(world: &World, host: usize, conn: ConnId) -> Vec<SubflowState> {
    world.hosts[host].stack.subflows(conn).iter().map(|subflow| subflow.state).collect()
}

/// Has an interface of host 0 lose its addresses of both families, or get them back.
fn set_addresses(world: &mut World, link: usize, there: bool) {
    let now = world.now;
    let config = world.hosts[0].stack.links()[link].config.clone();
    let own = [(true, 24), (false, 64)].map(|(ipv4, prefix)| IpCidr { addr: address(0, link, ipv4), prefix });
    let mut addrs = config.addrs.clone();
    addrs.retain(|addr| !own.contains(addr));
    if there {
        addrs.extend(own);
    }
    assert!(world.hosts[0].stack.set_addresses(now, InterfaceId(link), addrs, config.routes));
}

#[test]
fn what_a_dead_link_holds_is_sent_elsewhere_at_once() {
    // A good round trip, or two. With smoltcp it takes longer, as what is lost on the other link holds it up.
    let native = TCPS[0] == Tcp::Native;
    let most = Duration::from_millis(if native { 40 } else { 100 });
    for dying in 0..2 {
        let [told, untold] = [true, false].map(|told| [0, 1, 2, 3].map(|turn| stall(dying, told, turn)));
        assert!(told.iter().all(|stall| *stall <= most), "link {dying}: {told:?}");
        // Missing answers show soon, too.
        let sooner = told.iter().sum::<Duration>() < untold.iter().sum();
        assert!(sooner || !native, "link {dying}: {told:?}, {untold:?}");
    }
}

/// The longest time without anything for the receiver's application, after the death of a link.
fn stall(dying: usize, told: bool, turn: u64) -> Duration {
    let mut world = limited(2, 1 + dying as u64);
    let conns = world.open_mesh();
    world.send(0, conns[0], 4_000_000, false);
    world.run_for(Duration::from_millis(200 + 37 * turn));
    set_link(&mut world, dying, false, if told { &[0, 1] } else { &[] });
    if told {
        assert_eq!(states(&world, 0, conns[0])[dying], SubflowState::Stale);
        assert_eq!(states(&world, 1, conns[1])[dying], SubflowState::Stale);
    }
    let received = |world: &World| world.hosts[1].flows[&conns[1]].received;
    let (mut longest, mut before, mut since) = (Duration::ZERO, received(&world), world.now);
    for _ in 0..400 {
        world.run_for(Duration::from_millis(1));
        if received(&world) > before {
            (before, since) = (received(&world), world.now);
        }
        longest = longest.max(world.now - since);
    }
    assert!(world.run_until(60, |world| world.transferred(conns, false)));
    world.close_all();
    longest
}

#[test]
fn a_link_that_works_again_is_used_at_once() {
    for seconds in [0, 1, 30] {
        let mut world = limited(2, 7);
        let conns = world.open_mesh();
        world.send(0, conns[0], 2_000_000, false);
        world.run_for(Duration::from_millis(200));
        set_link(&mut world, 1, false, &[0, 1]);
        world.run_for(Duration::from_millis(300) + Duration::from_secs(seconds));
        assert_eq!(world.subflows_up(0, conns[0]), 1);
        set_link(&mut world, 1, true, &[0, 1]);
        world.send(0, conns[0], 8_000_000, false);
        let begin = world.now;
        assert!(world.run_until(10, |world| world.subflows_up(0, conns[0]) == 2), "{:?}", states(&world, 0, conns[0]));
        let time = world.now - begin;
        assert!(TCPS != [Tcp::Native; 2] || time < Duration::from_millis(700), "{time:?} after {seconds} s");
        let before = world.delivered[1][1];
        assert!(world.run_until(60, |world| world.transferred(conns, false)));
        let carried = world.delivered[1][1] - before;
        assert!(carried > 300, "after {seconds} s it carries {carried} segments of 5600");
        world.close_all();
    }
}

#[test]
fn all_links_can_fail_and_come_back() {
    let mut world = limited(2, 8);
    let conns = world.open_mesh();
    world.send(0, conns[0], 3_000_000, true);
    world.send(1, conns[1], 3_000_000, true);
    world.run_for(Duration::from_millis(200));
    for link in 0..2 {
        set_link(&mut world, link, false, &[0, 1]);
    }
    world.run_for(Duration::from_secs(20));
    assert_eq!(world.subflows_up(0, conns[0]), 0);
    set_link(&mut world, 1, true, &[0, 1]);
    assert!(world.run_until(30, |world| world.transferred(conns, true)), "{:?}", states(&world, 0, conns[0]));
    set_link(&mut world, 0, true, &[0, 1]);
    world.close_all();
}

#[test]
fn nothing_is_opened_over_a_link_that_is_down_until_it_works() {
    let mut world = World::simple(9, 3);
    set_link(&mut world, 1, false, &[0]);
    world.mesh(true);
    let conns = world.open();
    world.run_for(Duration::from_secs(60));
    assert_eq!((world.subflows_up(0, conns[0]), world.mib(0, Counter::MPJoinSynTx)), (2, 1));
    set_link(&mut world, 1, true, &[0]);
    assert!(world.run_until(1, |world| world.subflows_up(0, conns[0]) == 3));
    assert!(!world.hosts[0].stack.link_down(world.now, InterfaceId(7)), "there is no such interface");
    world.close_all();
}

#[test]
fn a_join_that_is_under_way_when_its_link_fails_is_made_when_it_is_back() {
    let mut world = World::simple(10, 2);
    world.links[1].down = true;
    world.mesh(true);
    let conns = world.open();
    world.run_for(Duration::from_millis(200));
    assert_eq!(world.hosts[0].stack.subflows(conns[0]).len(), 2);
    set_link(&mut world, 1, false, &[0]);
    world.run_for(Duration::from_secs(100));
    let syns = world.mib(0, Counter::MPJoinSynTx);
    assert_eq!(world.hosts[0].stack.subflows(conns[0]).len(), 1);
    world.run_for(Duration::from_secs(100));
    assert_eq!(world.mib(0, Counter::MPJoinSynTx), syns, "nothing is tried meanwhile");
    set_link(&mut world, 1, true, &[0]);
    assert!(world.run_until(1, |world| world.subflows_up(0, conns[0]) == 2));
    world.close_all();
}

#[test]
fn an_address_that_is_gone_is_withdrawn_and_used_again_when_it_is_back() {
    let mut world = limited(3, 11);
    let conns = world.open_mesh();
    world.send(0, conns[0], 3_000_000, false);
    world.run_for(Duration::from_millis(200));
    set_addresses(&mut world, 1, false);
    let (begin, mapped) = (world.now, world.hosts[0].stack.info(conns[0]).unwrap().snd_nxt);
    assert!(world.run_until(10, |world| acked(world, conns[0]) >= mapped));
    assert!(TCPS[0] != Tcp::Native || world.now - begin < Duration::from_millis(200), "{:?}", world.now - begin);
    world.run_for(Duration::from_secs(10));
    assert!(world.mib(1, Counter::RmAddr) > 0);
    for host in 0..2 {
        assert_eq!(world.hosts[host].stack.subflows(conns[host]).len(), 2, "host {host}");
    }
    set_addresses(&mut world, 1, true);
    assert!(world.run_until(1, |world| world.subflows_up(0, conns[0]) == 3), "{:?}", states(&world, 0, conns[0]));
    let ids: Vec<u8> = world.hosts[1].stack.subflows(conns[1]).iter().map(|known| known.remote_addr_id.0).collect();
    assert!(ids.contains(&1), "its endpoint has the number that it had: {ids:?}");
    assert!(world.run_until(60, |world| world.transferred(conns, false)));
    world.close_all();
}

#[test]
fn a_signalled_address_is_withdrawn_when_it_is_gone_and_announced_again() {
    let mut world = World::simple(12, 2);
    world.endpoint(0, 1, true, EndpointFlags { signal: true, ..EndpointFlags::default() });
    let conns = world.open();
    world.send(0, conns[0], 1000, false);
    assert!(world.run_until(5, |world| world.subflows_up(1, conns[1]) == 2));
    set_addresses(&mut world, 1, false);
    let removed = |event: &Event| matches!(event, Event::AddressRemoved(..));
    assert!(world.run_until(5, |world| world.hosts[1].events.iter().any(removed)));
    assert!(world.run_until(20, |world| world.hosts[1].stack.subflows(conns[1]).len() == 1));
    world.hosts[1].events.clear();
    set_addresses(&mut world, 1, true);
    let announced = |event: &Event| matches!(event, Event::AddressAnnounced(..));
    assert!(world.run_until(5, |world| world.hosts[1].events.iter().any(announced)));
    assert!(world.run_until(5, |world| world.subflows_up(1, conns[1]) == 2), "{:?}", states(&world, 1, conns[1]));
    world.close_all();
}

/// The other interface has it too, as an address of the host; so both lose it.
fn lose_first_address(world: &mut World) {
    let now = world.now;
    for link in 0..2 {
        let config = world.hosts[0].stack.links()[link].config.clone();
        let first = [true, false].map(|ipv4| address(0, 0, ipv4));
        let addrs = config.addrs.iter().copied().filter(|own| !first.contains(&own.addr)).collect();
        assert!(world.hosts[0].stack.set_addresses(now, InterfaceId(link), addrs, config.routes));
    }
}

#[test]
fn the_first_address_can_go_and_the_connection_lives_on() {
    let mut world = limited(2, 13);
    let conns = world.open_mesh();
    world.send(0, conns[0], 3_000_000, false);
    world.send(1, conns[1], 3_000_000, false);
    world.run_for(Duration::from_millis(200));
    lose_first_address(&mut world);
    assert!(world.run_until(if TCPS.contains(&Tcp::Smoltcp) { 300 } else { 60 }, |world| world.transferred(conns, false)));
    assert!(world.run_until(20, |world| (0..2).all(|host| world.hosts[host].stack.subflows(conns[host]).len() == 1)));
    assert!(world.mib(1, Counter::RmAddr) > 0);
    world.close_all();
}

/// A peer that only receives would never learn that a connection has ended whose reset could not leave.
#[test]
fn the_only_address_can_be_gone_for_a_moment() {
    for sender in 0..2 {
        let mut world = World::simple(17, 1);
        let conns = world.open();
        world.send(sender, conns[sender], 3_000_000, true);
        world.run_for(Duration::from_millis(200));
        set_addresses(&mut world, 0, false);
        world.run_for(Duration::from_millis(140));
        assert_eq!(world.hosts[0].stack.subflows(conns[0]).len(), 1, "sender {sender}");
        set_addresses(&mut world, 0, true);
        assert!(world.run_until(60, |world| world.transferred(conns, false)), "sender {sender}");
        assert_eq!(world.mib(1, Counter::RmAddr), 0);
        world.close_all();
    }
}

/// What is kept for want of anything better goes as soon as there is.
#[test]
fn the_only_address_can_be_exchanged_for_another() {
    let mut world = limited(2, 18);
    let conns = world.open();
    world.send(0, conns[0], 3_000_000, false);
    world.run_for(Duration::from_millis(200));
    lose_first_address(&mut world);
    world.mesh(true);
    let done = world.run_until(300, |world| world.transferred(conns, false));
    assert!(done, "{:?}", states(&world, 0, conns[0]));
    assert!(world.run_until(30, |world| (0..2).all(|host| world.hosts[host].stack.subflows(conns[host]).len() == 1)));
    assert!(world.mib(1, Counter::RmAddr) > 0);
    world.close_all();
}

/// An address that nobody has made an endpoint of has a number too, by which the peer knows it when it is gone for good.
#[test]
fn an_address_without_an_endpoint_is_withdrawn_when_another_works() {
    let mut world = limited(3, 19);
    let conns = world.open();
    world.run_for(Duration::from_secs(1));
    let now = world.now;
    let remote = world.hosts[0].stack.subflows(conns[0])[0].remote;
    let by_hand = world.hosts[0].stack.create_subflow(now, conns[0], address(0, 1, true), remote, false).unwrap();
    assert!(world.run_until(5, |world| (0..2).all(|host| world.subflows_up(host, conns[host]) == 2)));
    let now = world.now;
    world.hosts[0].stack.close_subflow(now, conns[0], SubflowId(0)).unwrap();
    assert!(world.run_until(5, |world| world.subflows_up(1, conns[1]) == 1));
    world.send(0, conns[0], 1_000_000, false);
    world.run_for(Duration::from_millis(100));
    let lost = world.hosts[0].stack.subflows(conns[0]).remove(0);
    assert_eq!((lost.id, lost.local.ip()), (by_hand, address(0, 1, true)));
    set_addresses(&mut world, 1, false);
    // What replaces it has no endpoint either, and not the number of what is still there.
    let now = world.now;
    world.hosts[0].stack.create_subflow(now, conns[0], address(0, 2, true), remote, false).unwrap();
    assert!(world.run_until(60, |world| world.transferred(conns, false)), "{:?}", states(&world, 0, conns[0]));
    assert!(world.run_until(5, |world| (0..2).all(|host| world.hosts[host].stack.subflows(conns[host]).len() == 1)));
    assert!(world.saw(1, Event::AddressRemoved(conns[1], lost.local_addr_id)), "{:?}", world.hosts[1].events);
    let new = world.hosts[0].stack.subflows(conns[0]).remove(0);
    assert_ne!(new.local_addr_id, lost.local_addr_id);
    world.close_all();
}

#[test]
fn routes_can_come_later_than_endpoints() {
    let mut world = World::simple(14, 2);
    let config = world.hosts[0].stack.links()[1].config.clone();
    let now = world.now;
    assert!(world.hosts[0].stack.set_addresses(now, InterfaceId(1), config.addrs.clone(), Vec::new()));
    world.mesh(true);
    let conns = world.open();
    world.run_for(Duration::from_secs(20));
    assert_eq!(world.mib(0, Counter::MPJoinSynTx), 0, "the peer's first address is on another network");
    let now = world.now;
    let routes: Vec<Route> = config.routes.clone();
    assert!(world.hosts[0].stack.set_addresses(now, InterfaceId(1), config.addrs, routes));
    assert!(world.run_until(1, |world| world.subflows_up(0, conns[0]) == 2));
    world.close_all();
}
