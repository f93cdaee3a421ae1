//! Paths that die and come back.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use mptcp_core::{CloseReason, ConnId, ConnState, Counter, EndpointFlags, Event, StackConfig, SubflowState};

use crate::middlebox::{MPTCP, on_packets, remove_options, whole_options};
use crate::tcp::TcpSettings;
use super::world::{Link, World, address, config};

fn limited(links: usize, seed: u64) -> World {
    let mut world = World::simple(seed, links);
    for link in &mut world.links {
        *link = Link { rate: Some(20_000_000), ..Link::default() };
    }
    world
}

/// Bytes that a host has sent over a link so far, on subflows that exist or are gone.
fn sent_over(world: &World, host: usize, conn: ConnId, link: usize) -> u64 {
    let stack = &world.hosts[host].stack;
    let addr = address(0, link, true);
    let all = stack.subflows(conn).into_iter().chain(stack.past_subflows(conn).iter().cloned());
    all.filter(|subflow| [subflow.local.ip(), subflow.remote.ip()].contains(&addr))
        .map(|subflow| subflow.bytes_sent)
        .sum()
}

#[test]
fn a_path_that_dies_in_mid_transfer_costs_no_byte_and_is_used_again() {
    for dying in 0..3 {
        let mut world = limited(3, 1 + dying as u64);
        let conns = world.open_mesh();
        world.send(0, conns[0], 6_000_000, false);
        world.send(1, conns[1], 6_000_000, false);
        world.run_for(Duration::from_millis(300));
        world.links[dying].down = true;
        world.run_for(Duration::from_millis(1500));
        for host in 0..2 {
            let subflow = &world.hosts[host].stack.subflows(conns[host])[dying];
            let idle = subflow.tcp.is_some_and(|tcp| tcp.in_flight + tcp.queued == 0);
            assert!(subflow.state == SubflowState::Stale || idle, "host {host}, link {dying}: {subflow:?}");
        }
        assert!(world.run_until(60, |world| world.transferred(conns, false)), "link {dying}");
        world.links[dying].down = false;
        world.run_for(Duration::from_secs(3));
        let before = [0, 1].map(|host| sent_over(&world, host, conns[host], dying));
        world.send(0, conns[0], 6_000_000, true);
        world.send(1, conns[1], 6_000_000, true);
        assert!(world.run_until(60, |world| world.transferred(conns, true)), "link {dying}");
        for host in 0..2 {
            let after = sent_over(&world, host, conns[host], dying);
            assert!(
                after > before[host] + 250_000,
                "host {host} left link {dying} unused: {} -> {after}",
                before[host]
            );
        }
        world.close_all();
    }
}

#[test]
fn a_connection_survives_the_loss_of_all_paths_for_a_while() {
    let mut world = limited(2, 9);
    let conns = world.open_mesh();
    world.send(0, conns[0], 3_000_000, true);
    world.send(1, conns[1], 3_000_000, true);
    world.run_for(Duration::from_millis(300));
    for link in &mut world.links {
        link.down = true;
    }
    world.run_for(Duration::from_secs(20));
    for link in &mut world.links {
        link.down = false;
    }
    assert!(world.run_until(120, |world| world.transferred(conns, true)));
    world.close_all();
}

#[test]
fn a_subflow_that_is_reset_is_made_again_and_the_data_is_whole() {
    let mut world = limited(2, 10);
    let conns = world.open_mesh();
    world.send(0, conns[0], 3_000_000, true);
    world.send(1, conns[1], 3_000_000, true);
    world.run_for(Duration::from_millis(200));
    // The state of a firewall is lost: whatever passes is answered with a reset.
    let mut forgotten = None;
    world.middleboxes[1] = Some(on_packets(move |_, mut packet| {
        let ports = packet.source.port() ^ packet.destination.port();
        if !packet.payload.is_empty() && *forgotten.get_or_insert(ports) == ports {
            packet.flags |= tcp_adapter::conformance::packet::RST;
            packet.payload.clear();
            packet.options.clear();
        }
        vec![packet]
    }));
    assert!(world.run_until(60, |world| world.transferred(conns, true)));
    assert!(world.mib(0, Counter::MPJoinSynTx) >= 2, "made again");
    world.close_all();
}

#[test]
fn a_connection_without_subflows_ends_after_its_timeout() {
    let config =
        || StackConfig { close_timeout: Duration::from_secs(10), subflow_timeout: Duration::from_secs(5), ..config() };
    let mut world = World::new(11, 2, [config(), config()]);
    let conns = world.open_mesh();
    for link in &mut world.links {
        link.down = true;
    }
    for host in 0..2 {
        world.send(host, conns[host], 1000, false);
    }
    assert!(world.run_until(15, |world| (0..2).all(|host| world.subflows_up(host, conns[host]) == 0)));
    world.run_for(Duration::from_secs(2));
    for host in 0..2 {
        let state = world.hosts[host].stack.info(conns[host]).unwrap().state;
        assert_eq!(state, ConnState::Established, "make after break: the connection lives on");
    }
    assert!(world.run_until(20, |world| world.saw(0, Event::Closed(conns[0], CloseReason::TimedOut))));
    assert!(world.run_until(20, |world| world.saw(1, Event::Closed(conns[1], CloseReason::TimedOut))));
    world.close_all();
}

/// Longer than it takes to find out that nothing that is sent is ever answered.
#[test]
fn a_connection_that_is_cut_off_for_minutes_goes_on() {
    let config = || StackConfig { close_timeout: Duration::from_secs(600), ..config() };
    let mut world = World::new(15, 2, [config(), config()]);
    for link in &mut world.links {
        *link = Link { rate: Some(20_000_000), ..Link::default() };
    }
    let conns = world.open_mesh();
    world.send(0, conns[0], 3_000_000, true);
    world.run_for(Duration::from_millis(200));
    for middlebox in &mut world.middleboxes {
        *middlebox = Some(on_packets(|_, mut packet| {
            packet.flags |= tcp_adapter::conformance::packet::RST;
            packet.payload.clear();
            packet.options.clear();
            vec![packet]
        }));
    }
    let nobody = |world: &World| (0..2).all(|host| world.subflows_up(host, conns[host]) == 0);
    // smoltcp keeps subflows that have nothing to send.
    world.run_until(10, nobody);
    world.middleboxes = vec![None, None];
    for _ in 0..2 {
        world.links.iter_mut().for_each(|link| link.down = true);
        world.run_for(Duration::from_secs(200));
        world.links.iter_mut().for_each(|link| link.down = false);
        assert!(world.run_until(100, |world| world.subflows_up(0, conns[0]) > 0));
    }
    assert!(world.run_until(100, |world| world.transferred(conns, false)));
    world.close_all();
}

#[test]
fn a_subflow_closed_because_its_path_is_dead_holds_nothing_up() {
    let mut world = limited(2, 12);
    let endpoint = world.endpoint(0, 1, true, EndpointFlags { subflow: true, ..EndpointFlags::default() });
    let conns = world.open();
    assert!(world.run_until(5, |world| world.subflows_up(0, conns[0]) == 2));
    world.send(0, conns[0], 3_000_000, false);
    world.run_for(Duration::from_millis(300));
    world.links[1].down = true;
    let now = world.now;
    world.hosts[0].stack.remove_endpoint(now, endpoint).unwrap();
    let mapped = world.hosts[0].stack.info(conns[0]).unwrap().snd_nxt;
    let acked = |world: &World| world.hosts[0].stack.info(conns[0]).unwrap().bytes_acked;
    assert!(world.run_until(2, |world| acked(world) >= mapped), "{} of {mapped}", acked(&world));
    assert!(world.run_until(60, |world| world.transferred(conns, false)));
    let alone = |world: &World| world.hosts[0].stack.subflows(conns[0]).len() == 1;
    assert!(world.run_until(60, alone), "{:#?}", world.hosts[0].stack.subflows(conns[0]));
}

#[test]
fn a_subflow_that_tcp_cannot_open_now_is_opened_later() {
    let mut world = World::with_tcp(13, 2, [config(), config()], TcpSettings { max_connections: 2, ..TcpSettings::default() });
    let conns = world.open();
    let other = world.connect(true);
    assert!(world.run_until(5, |world| world.saw(0, Event::Established(other))));
    world.send(0, conns[0], 1000, false);
    world.mesh(true);
    world.run_for(Duration::from_secs(20));
    assert_eq!(world.subflows_up(0, conns[0]), 1);
    assert!(world.mib(0, Counter::MPJoinSynTxConnectErr) > 0, "TCP has no room for a third connection");
    let now = world.now;
    world.hosts[0].flows.remove(&other);
    world.hosts[0].stack.abort(now, other);
    assert!(world.run_until(10, |world| world.subflows_up(0, conns[0]) == 2), "{:?}", world.hosts[0].stack.mib());
}

/// Host 1 has announced its address on the second link, which was down, and host 0 has given it up. Whoever sets the flag
/// has the announcement repeated.
fn given_up(seed: u64) -> (World, [ConnId; 2], Rc<Cell<bool>>) {
    const ADD_ADDR: u8 = 3;
    let again = Rc::new(Cell::new(false));
    let (repeat, mut announcement) = (Rc::clone(&again), Vec::new());
    let mut world = World::simple(seed, 2);
    world.links[1].down = true;
    world.middleboxes[0] = Some(on_packets(move |host, mut packet| {
        let announces = |option: &Vec<u8>| option[0] == MPTCP && option[2] >> 4 == ADD_ADDR;
        let announced = whole_options(&packet.options).into_iter().find(announces);
        if let Some(option) = announced.filter(|_| host == 1) {
            announcement = option;
        } else if host == 1 && packet.payload.is_empty() && repeat.take() {
            remove_options(&mut packet, |_| true);
            packet.options.extend_from_slice(&announcement);
        }
        vec![packet]
    }));
    let conns = world.open();
    world.send(0, conns[0], 1000, false);
    world.endpoint(1, 1, true, EndpointFlags { signal: true, ..EndpointFlags::default() });
    world.run_for(Duration::from_secs(600));
    assert_eq!(world.hosts[0].stack.past_subflows(conns[0]).len(), 3);
    world.run_for(Duration::from_secs(3600));
    assert_eq!(world.hosts[0].stack.past_subflows(conns[0]).len(), 3);
    world.links[1].down = false;
    world.run_for(Duration::from_secs(100));
    assert_eq!(world.subflows_up(0, conns[0]), 1);
    (world, conns, again)
}

#[test]
fn an_announced_address_that_never_answers_is_given_up_until_an_interface_is_added() {
    let (mut world, conns, _) = given_up(14);
    world.add_link();
    assert!(world.run_until(1, |world| world.subflows_up(0, conns[0]) == 2));
}

#[test]
fn an_announced_address_that_was_given_up_is_tried_when_it_is_announced_again() {
    let (mut world, conns, again) = given_up(15);
    again.set(true);
    world.send(0, conns[0], 1000, false);
    assert!(world.run_until(1, |world| world.subflows_up(0, conns[0]) == 2));
}

#[test]
fn a_path_that_has_worked_is_tried_for_ever() {
    let mut world = limited(2, 16);
    let conns = world.open();
    world.send(0, conns[0], 1000, false);
    world.endpoint(1, 1, true, EndpointFlags { signal: true, ..EndpointFlags::default() });
    assert!(world.run_until(5, |world| world.subflows_up(0, conns[0]) == 2));
    world.links[1].down = true;
    world.send(0, conns[0], 1_000_000, false);
    world.run_for(Duration::from_secs(3600));
    assert!(world.hosts[0].stack.past_subflows(conns[0]).len() > 20, "lost, and attempted ever since");
    world.links[1].down = false;
    assert!(world.run_until(80, |world| world.subflows_up(0, conns[0]) == 2));
}
