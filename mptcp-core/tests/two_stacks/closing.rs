//! The end of connections (RFC 8684 sections 3.3.3 and 3.5), listeners and memory.

use std::time::Duration;

use bytes::Bytes;
use mptcp_core::{CloseReason, ConnState, Counter, Event, ListenConfig, Recv, SendError, StackConfig};
use tcp_adapter::conformance::packet::FIN;

use crate::middlebox::{on_packets, subtypes};
use super::world::{Flow, MAX_WRITE, PORT, World, config};

#[test]
fn each_direction_closes_on_its_own() {
    let mut world = World::simple(1, 2);
    let conns = world.open_mesh();
    world.send(0, conns[0], 50_000, true);
    assert!(world.run_until(10, |world| world.saw(1, Event::Finished(conns[1]))));
    let states = [0, 1].map(|host| world.hosts[host].stack.info(conns[host]).unwrap().state);
    assert_eq!(states, [ConnState::HalfClosedLocal, ConnState::HalfClosedRemote]);
    let now = world.now;
    assert_eq!(world.hosts[0].stack.send(now, conns[0], Bytes::from_static(b"x")), Err(SendError::Shutdown));
    // The other direction goes on for as long as it likes.
    world.send(1, conns[1], 300_000, false);
    assert!(world.run_until(10, |world| world.hosts[0].flows[&conns[0]].received == 300_000));
    world.send(1, conns[1], 0, true);
    assert!(world.run_until(10, |world| world.saw(0, Event::Closed(conns[0], CloseReason::Normal))));
    assert!(world.run_until(10, |world| world.saw(1, Event::Closed(conns[1], CloseReason::Normal))));
    world.close_all();
}

#[test]
fn subflows_close_only_after_both_data_fins_are_acknowledged() {
    let mut world = World::simple(2, 2);
    let conns = world.open_mesh();
    let log = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    for link in 0..2 {
        let seen = log.clone();
        world.middleboxes[link] = Some(on_packets(move |host, packet| {
            let data_fin = subtypes(&packet).contains(&2) && packet.option(30).is_some_and(|dss| dss[1] & 0x10 != 0);
            seen.borrow_mut().push((host, data_fin, packet.has(FIN)));
            vec![packet]
        }));
    }
    world.send(0, conns[0], 100_000, true);
    world.run_for(Duration::from_secs(3));
    assert!(log.borrow().iter().any(|(host, data_fin, _)| *host == 0 && *data_fin));
    assert!(!log.borrow().iter().any(|(_, _, fin)| *fin), "no FIN while one direction is open");
    world.send(1, conns[1], 100_000, true);
    assert!(world.run_until(10, |world| world.saw(0, Event::Closed(conns[0], CloseReason::Normal))));
    for host in 0..2 {
        assert!(log.borrow().iter().any(|(from, _, fin)| *from == host && *fin), "host {host} sent no FIN");
    }
    assert_eq!(world.mib(0, Counter::MPRstTx) + world.mib(1, Counter::MPRstTx), 0);
}

#[test]
fn a_lost_data_fin_is_repeated() {
    let mut lost = 0;
    let mut world = World::simple(3, 1);
    world.middleboxes[0] = Some(on_packets(move |_, packet| {
        let data_fin = packet.option(30).is_some_and(|dss| dss[0] >> 4 == 2 && dss[1] & 0x10 != 0);
        if data_fin && lost < 4 {
            lost += 1;
            return Vec::new();
        }
        vec![packet]
    }));
    let conns = world.open();
    world.send(0, conns[0], 10_000, true);
    world.send(1, conns[1], 10_000, true);
    assert!(world.run_until(60, |world| world.transferred(conns, true)));
    world.close_all();
}

#[test]
fn an_end_that_never_arrives_is_given_up_though_the_peer_answers() {
    let mut world = World::simple(3, 1);
    let conns = world.open();
    world.middleboxes[0] = Some(on_packets(move |host, mut packet| {
        if host == 0 && packet.payload.is_empty() {
            packet.options.clear();
        }
        vec![packet]
    }));
    world.send(0, conns[0], 10_000, true);
    assert!(world.run_until(10, |world| world.hosts[1].flows[&conns[1]].received == 10_000));
    let over = |world: &World, host: usize| world.saw(host, Event::Closed(conns[host], CloseReason::TimedOut));
    assert!(world.run_until(600, |world| over(world, 0) && over(world, 1)), "somebody waits for ever");
}

#[test]
fn abort_reaches_the_peer_as_fast_close_on_every_subflow() {
    let mut world = World::simple(4, 3);
    let conns = world.open_mesh();
    world.send(0, conns[0], 5_000_000, false);
    world.run_for(Duration::from_millis(50));
    let now = world.now;
    world.hosts[0].flows.remove(&conns[0]);
    world.hosts[0].stack.abort(now, conns[0]);
    assert!(world.run_until(5, |world| world.saw(1, Event::Closed(conns[1], CloseReason::Reset))));
    assert_eq!(world.mib(0, Counter::MPFastcloseTx), 1);
    assert_eq!(world.mib(1, Counter::MPFastcloseRx), 1);
    assert!(world.run_until(5, |world| world.hosts[0].stack.table_sizes() == (0, 0, 0)));
    world.close_all();
}

#[test]
fn a_fast_close_with_a_wrong_key_closes_its_subflow_only() {
    let mut world = World::simple(5, 2);
    let conns = world.open_mesh();
    let mut done = false;
    world.middleboxes[1] = Some(on_packets(move |host, mut packet| {
        if host == 0 && !done && packet.payload.is_empty() {
            done = true;
            packet.options = vec![30, 12, 0x70, 0, 1, 2, 3, 4, 5, 6, 7, 8];
        }
        vec![packet]
    }));
    world.send(0, conns[0], 500_000, true);
    world.send(1, conns[1], 500_000, true);
    assert!(world.run_until(60, |world| world.transferred(conns, true)));
    assert_eq!(world.mib(1, Counter::MPFastcloseRx), 0);
}

#[test]
fn closing_with_unread_data_tells_the_peer_that_it_did_not_arrive() {
    let mut world = World::simple(6, 1);
    let conns = world.open();
    world.hosts[1].lazy = true;
    world.send(0, conns[0], 20_000, false);
    world.run_for(Duration::from_secs(1));
    let now = world.now;
    world.hosts[1].flows.remove(&conns[1]);
    world.hosts[1].stack.close(now, conns[1]);
    assert!(world.run_until(5, |world| world.saw(0, Event::Closed(conns[0], CloseReason::Reset))));
    world.close_all();
}

#[test]
fn a_full_backlog_drops_syns_and_takes_them_later() {
    let mut world = World::simple(7, 1);
    let now = world.now;
    let listener = world.hosts[1].listener.unwrap();
    world.hosts[1].stack.unlisten(now, listener);
    let listener = world.hosts[1].stack.listen(None, PORT, ListenConfig { backlog: 2, ..ListenConfig::default() }).unwrap();
    world.hosts[1].deaf = true;
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(world.connect(true));
        world.run_for(Duration::from_millis(100));
    }
    assert_eq!(world.hosts[1].stack.table_sizes().0, 2, "{:?}", world.hosts[1].stack.mib());
    assert!(world.mib(1, Counter::BacklogDrop) > 0);
    // Whoever waits is accepted now, and then those whose SYNs come again.
    world.hosts[1].deaf = false;
    while let Some(conn) = world.hosts[1].stack.accept(listener) {
        world.hosts[1].flows.insert(conn, Flow::default());
    }
    world.run_until(20, |world| world.hosts[1].flows.len() == 4);
    let accepted = world.hosts[1].flows.len();
    assert_eq!(accepted, 4, "{:?}", world.hosts[1].stack.mib());
    assert!(clients.iter().all(|client| world.saw(0, Event::Established(*client))));
    let now = world.now;
    world.hosts[1].stack.unlisten(now, listener);
    let refused = world.connect(true);
    assert!(world.run_until(5, |world| world.saw(0, Event::Closed(refused, CloseReason::Refused))));
    world.close_all();
}

#[test]
fn the_memory_limit_stops_writers_and_new_connections() {
    const LIMIT: usize = 100_000;
    let small = StackConfig { memory_limit: LIMIT, ..config() };
    let near = StackConfig { recv_buffer_max: 64 << 10, ..config() };
    let mut world = World::new(8, 1, [near, small]);
    let mut writers = vec![world.open()];
    let second = world.connect(true);
    assert!(world.run_until(10, |world| world.hosts[1].flows.len() == 2));
    writers.push([second, world.server_conn().unwrap()]);
    world.hosts[0].lazy = true;
    // In turn, until nobody takes more: neither the peers, whose windows are full then, nor host 1.
    for _ in 0..30 {
        for conns in &writers {
            world.send(1, conns[1], MAX_WRITE as u64, false);
            world.run_for(Duration::from_millis(50));
        }
    }
    // The rest is for what is received.
    assert_eq!(world.hosts[1].stack.memory_held(), LIMIT / 4 * 3);
    let late = world.connect(true);
    world.run_for(Duration::from_secs(2));
    assert!(!world.saw(0, Event::Established(late)));
    assert_eq!(world.hosts[1].stack.table_sizes().0, 2);
    assert!(world.mib(1, Counter::BacklogDrop) > 0);
    // Reading makes room for all of them.
    world.hosts[0].lazy = false;
    let done = |world: &World| writers.iter().all(|conns| world.transferred(*conns, false));
    assert!(world.run_until(60, |world| done(world) && world.saw(0, Event::Established(late))));
    world.close_all();
}

#[test]
fn a_silent_peer_is_given_up_after_close() {
    let config = || StackConfig { close_timeout: Duration::from_secs(5), ..config() };
    let mut world = World::new(9, 1, [config(), config()]);
    let conns = world.open();
    world.links[0].down = true;
    world.close_all();
    let now = world.now;
    assert!(matches!(world.hosts[0].stack.recv(now, conns[0], 1), Err(mptcp_core::RecvError::NoConnection)));
}

#[test]
fn a_peer_that_vanishes_behind_its_closed_window_is_given_up() {
    let mut world = World::simple(57, 1);
    let conns = world.open();
    world.hosts[1].lazy = true;
    world.send(0, conns[0], 10 << 20, false);
    // Whoever answers may take any time.
    world.run_for(Duration::from_secs(3600));
    assert!(world.mib(0, Counter::WinProbe) > 10);
    assert_eq!(world.subflows_up(0, conns[0]), 1);
    world.links[0].down = true;
    assert!(world.run_until(1200, |world| world.subflows_up(0, conns[0]) == 0));
}

#[test]
fn reading_after_the_end_keeps_saying_so() {
    let mut world = World::simple(10, 1);
    let conns = world.open();
    world.send(0, conns[0], 1000, true);
    world.send(1, conns[1], 1000, true);
    assert!(world.run_until(10, |world| world.saw(0, Event::Closed(conns[0], CloseReason::Normal))));
    let now = world.now;
    for _ in 0..2 {
        assert_eq!(world.hosts[0].stack.recv(now, conns[0], 100), Ok(Recv::Finished));
    }
    world.close_all();
}
