//! TCP Fast Open with MPTCP (RFC 7413, RFC 8684 appendix B).

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use mptcp_core::wire::MpCapable;
use mptcp_core::{ConnConfig, ConnId, Counter, Event, FallbackCause, ListenConfig, StackConfig};
use tcp_adapter::ConnectRequest;
use tcp_adapter::conformance::packet::{ACK, Packet, SYN};

use super::log::{Log, dsn};
use super::world::{Flow, PORT, World, address, config};
use crate::middlebox::{is_syn, on_packets, remove_options};

/// Kind of the option.
const FAST_OPEN: u8 = 34;
/// Bytes that are written before the SYN leaves.
const EARLY: u64 = 500;

/// Hosts of which the second takes data on SYNs, and of which the first has its cookie already.
fn acquainted(seed: u64, links: usize, configs: [StackConfig; 2]) -> World {
    let mut world = strangers(seed, links, configs);
    let first = connect(&mut world, EARLY);
    assert!(world.run_until(5, |world| world.server_conn().is_some() && world.saw(0, Event::Established(first))));
    let conns = [first, world.server_conn().unwrap()];
    assert!(world.run_until(5, |world| world.transferred(conns, false)));
    assert_eq!(early(&world, conns), [(0, 0), (0, 0)], "without a cookie nothing leaves early");
    world.close_all();
    world
}

/// Hosts of which the second takes data on SYNs.
fn strangers(seed: u64, links: usize, configs: [StackConfig; 2]) -> World {
    let mut world = World::new(seed, links, configs);
    let (now, listener) = (world.now, world.hosts[1].listener.unwrap());
    world.hosts[1].stack.unlisten(now, listener);
    let config = ListenConfig { fast_open: 64, ..ListenConfig::default() };
    world.hosts[1].listener = Some(world.hosts[1].stack.listen(None, PORT, config).unwrap());
    world
}

/// Host 0 connects, and has written so much before anything leaves.
fn connect(world: &mut World, bytes: u64) -> ConnId {
    let remote = SocketAddr::new(address(1, 0, true), PORT);
    let request = ConnectRequest { local: address(0, 0, true), local_port: None, remote };
    let config = ConnConfig { fast_open: true, ..ConnConfig::default() };
    let id = world.hosts[0].stack.connect(world.now, &request, config).unwrap();
    world.hosts[0].flows.insert(id, Flow::default());
    world.send(0, id, bytes, false);
    id
}

/// Connects with data, and waits until both ends are open and the data is there.
fn open(world: &mut World, bytes: u64) -> [ConnId; 2] {
    let before = world.server_conn();
    let client = connect(world, bytes);
    let there = |world: &World| world.server_conn().filter(|conn| Some(*conn) != before);
    assert!(world.run_until(30, |world| there(world).is_some() && world.saw(0, Event::Established(client))));
    let conns = [client, there(world).unwrap()];
    assert!(world.run_until(30, |world| world.transferred(conns, false)), "{:?}", world.hosts[1].flows);
    conns
}

/// Bytes sent and received with SYNs, by host.
fn early(world: &World, conns: [ConnId; 2]) -> [(u64, u64); 2] {
    [0, 1].map(|host| {
        let info = world.hosts[host].stack.info(conns[host]).unwrap();
        (info.early_sent, info.early_received)
    })
}

fn fallbacks(world: &World, conns: [ConnId; 2]) -> [Option<FallbackCause>; 2] {
    [0, 1].map(|host| world.hosts[host].stack.info(conns[host]).unwrap().fallback)
}

/// Moves data both ways, all of it verified, and closes.
fn carries_on(world: &mut World, conns: [ConnId; 2]) {
    world.send(0, conns[0], 100_000, true);
    world.send(1, conns[1], 100_000, true);
    assert!(world.run_until(60, |world| world.transferred(conns, true)));
    for host in 0..2 {
        assert_eq!(world.mib(host, Counter::DataCsumErr) + world.mib(host, Counter::DSSNotMatching), 0, "host {host}");
    }
    world.close_all();
    assert_eq!([world.mib(0, Counter::MPCurrEstab), world.mib(1, Counter::MPCurrEstab)], [0, 0]);
}

fn is_fast(packet: &Packet) -> bool {
    is_syn(packet) && !packet.has(ACK) && !packet.payload.is_empty()
}

#[test]
fn data_of_the_syn_is_in_no_sequence_space() {
    for checksum in [false, true] {
        let config = || StackConfig { checksum, ..config() };
        let mut world = acquainted(1, 2, [config(), config()]);
        let log = Log::watch(&mut world);
        let begun = world.now;
        let client = connect(&mut world, EARLY);
        // Half a round trip later the application has it, which the handshake would have let leave only after a whole one.
        assert!(world.run_until(1, |world| world.server_conn().is_some_and(|conn| {
            world.hosts[1].flows[&conn].received == EARLY
        })));
        assert!(world.now - begun <= Duration::from_millis(10), "{:?}", world.now - begun);
        let conns = [client, world.server_conn().unwrap()];
        // What the listener answers before it has the keys must wait for them, and no longer.
        world.send(1, conns[1], 3000, false);
        assert!(world.run_until(1, |world| world.transferred(conns, false)));
        assert!(world.now - begun <= Duration::from_millis(30), "{:?}", world.now - begun);
        world.send(0, conns[0], 20, false);
        assert!(world.run_until(1, |world| world.transferred(conns, false)));
        assert_eq!(early(&world, conns), [(EARLY, 0), (0, EARLY)]);
        assert_eq!(fallbacks(&world, conns), [None, None]);

        // Figure 19: the first byte after the data of the SYN has SSN 1 and the DSN after the initial one.
        let sent = log.of(0);
        assert!(is_fast(&sent[0].packet) && sent[0].capable().is_some());
        assert_eq!(sent[0].packet.payload.len() as u64, EARLY);
        let iss = sent[0].packet.seq;
        let answer = &log.of(1)[0];
        assert!(answer.packet.has(SYN | ACK) && matches!(answer.capable(), Some(MpCapable::SynAck { .. })));
        assert_eq!(answer.packet.ack, iss.wrapping_add(501));
        let [client_key, _] = log.keys();
        let first = sent.iter().skip(1).find(|sent| !sent.packet.payload.is_empty()).unwrap();
        assert_eq!(first.packet.seq, iss.wrapping_add(501));
        match (first.capable(), first.mapping()) {
            (Some(MpCapable::AckData { data_len, .. }), None) => assert_eq!(data_len, 20),
            (None, Some(mapping)) => {
                assert_eq!((mapping.ssn, mapping.len), (1, 20));
                assert_eq!(dsn(&mapping), client_key.idsn().0.wrapping_add(1));
            }
            other => panic!("{other:?}"),
        }
        world.mesh(true);
        assert!(world.run_until(10, |world| (0..2).all(|host| world.subflows_up(host, conns[host]) == 2)));
        carries_on(&mut world, conns);
    }
}

#[test]
fn a_cookie_is_asked_for_and_fits_beside_mp_capable() {
    let mut world = strangers(2, 1, [config(), config()]);
    let log = Log::watch(&mut world);
    let conns = open(&mut world, EARLY);
    let (syn, answer) = (&log.of(0)[0], &log.of(1)[0]);
    assert_eq!(syn.packet.option(FAST_OPEN), Some(&[][..]));
    assert!(syn.packet.payload.is_empty() && syn.capable().is_some());
    let cookie = answer.packet.option(FAST_OPEN).unwrap().to_vec();
    assert!(cookie.len() >= 4 && answer.capable().is_some());
    for kind in [2, 3, 4, 8] {
        assert!(answer.packet.option(kind).is_some(), "option {kind} had to make room");
    }
    assert_eq!(fallbacks(&world, conns), [None, None]);
    log.clear();
    let conns = open(&mut world, EARLY);
    let syn = |host: usize| log.of(host).into_iter().find(|sent| is_syn(&sent.packet)).unwrap().packet;
    assert_eq!((syn(0).option(FAST_OPEN), syn(1).option(FAST_OPEN)), (Some(&cookie[..]), None));
    assert_eq!(early(&world, conns), [(EARLY, 0), (0, EARLY)]);
    carries_on(&mut world, conns);
}

#[test]
fn a_syn_that_is_lost_costs_time_only() {
    let mut world = acquainted(3, 1, [config(), config()]);
    world.middleboxes[0] =
        Some(on_packets(|_, packet| if is_fast(&packet) { Vec::new() } else { vec![packet] }));
    let log = Log::watch(&mut world);
    let conns = open(&mut world, EARLY);
    assert_eq!((early(&world, conns), fallbacks(&world, conns)), ([(0, 0), (0, 0)], [None, None]));
    let syns: Vec<_> = log.of(0).into_iter().filter(|sent| is_syn(&sent.packet)).collect();
    assert!(is_fast(&syns[0].packet) && !is_fast(&syns[1].packet));
    assert!(syns[1].packet.option(FAST_OPEN).is_none() && syns[1].capable().is_some());
    assert_eq!(syns.len(), 2);
    log.clear();
    // It is remembered that the path drops them.
    let others = open(&mut world, EARLY);
    assert!(log.of(0).iter().all(|sent| !is_fast(&sent.packet)));
    assert_eq!(early(&world, others), [(0, 0), (0, 0)]);
    carries_on(&mut world, others);
}

#[test]
fn a_syn_ack_that_is_lost_does_not_deliver_twice() {
    let mut world = acquainted(4, 1, [config(), config()]);
    let lost = Rc::new(Cell::new(false));
    let once = Rc::clone(&lost);
    world.middleboxes[0] = Some(on_packets(move |_, packet| {
        let drop = packet.has(SYN | ACK) && !once.replace(true);
        if drop { Vec::new() } else { vec![packet] }
    }));
    let conns = open(&mut world, EARLY);
    assert!(lost.get());
    assert_eq!((early(&world, conns), fallbacks(&world, conns)), ([(EARLY, 0), (0, EARLY)], [None, None]));
    assert_eq!(world.hosts[1].flows[&conns[1]].received, EARLY);
    carries_on(&mut world, conns);
}

#[test]
fn a_third_packet_that_is_lost_is_made_up_for_by_what_follows() {
    let mut world = acquainted(5, 1, [config(), config()]);
    let lost = Rc::new(Cell::new(0));
    let counted = Rc::clone(&lost);
    world.middleboxes[0] = Some(on_packets(move |host, packet| {
        let drop = host == 0 && !is_syn(&packet) && counted.get() < 2;
        if drop {
            counted.set(counted.get() + 1);
            return Vec::new();
        }
        vec![packet]
    }));
    let client = connect(&mut world, EARLY);
    assert!(world.run_until(5, |world| world.saw(0, Event::Established(client))));
    let conns = [client, world.server_conn().unwrap()];
    world.send(1, conns[1], 4000, false);
    world.send(0, conns[0], 4000, false);
    assert!(world.run_until(20, |world| world.transferred(conns, false)));
    assert_eq!((lost.get(), fallbacks(&world, conns)), (2, [None, None]));
    carries_on(&mut world, conns);
}

#[test]
fn data_that_is_refused_becomes_part_of_the_mapping() {
    let mut world = acquainted(6, 1, [config(), config()]);
    // Another key: the cookie is not known any more.
    world.middleboxes[0] = Some(on_packets(|host, mut packet| {
        let at = packet.options.windows(2).position(|pair| pair == [FAST_OPEN, 8]);
        if let (0, Some(at)) = (host, at) {
            packet.options[at + 4] ^= 0x55;
        }
        vec![packet]
    }));
    let log = Log::watch(&mut world);
    let conns = open(&mut world, EARLY);
    assert!(is_fast(&log.of(0)[0].packet));
    assert_eq!((early(&world, conns), fallbacks(&world, conns)), ([(0, 0), (0, 0)], [None, None]));
    // Figure 20: nothing of it was acknowledged, so it is sent with MP_CAPABLE or a DSS, in the first segment that can carry it.
    let again = log.of(0).into_iter().skip(1).find(|sent| !sent.packet.payload.is_empty()).unwrap();
    assert!(matches!(again.capable(), Some(MpCapable::AckData { data_len: 500, .. })), "{again:?}");
    carries_on(&mut world, conns);
}

#[test]
fn what_is_taken_of_the_data_in_part_is_continued_with_a_mapping() {
    for kept in [1, 200, 499] {
        let mut world = acquainted(7, 1, [config(), config()]);
        world.middleboxes[0] = Some(on_packets(move |_, mut packet| {
            if is_fast(&packet) {
                packet.payload.truncate(kept);
            }
            vec![packet]
        }));
        let log = Log::watch(&mut world);
        let conns = open(&mut world, EARLY);
        assert_eq!(early(&world, conns), [(kept as u64, 0), (0, kept as u64)]);
        // Figure 21.
        let rest = log.of(0).into_iter().skip(1).find(|sent| !sent.packet.payload.is_empty()).unwrap();
        assert_eq!(rest.packet.seq, log.of(0)[0].packet.seq.wrapping_add(1 + u32::try_from(kept).unwrap()));
        assert!(matches!(rest.capable(), Some(MpCapable::AckData { data_len, .. }) if usize::from(data_len) == 500 - kept));
        carries_on(&mut world, conns);
    }
}

/// Whether a packet of a host is meant.
type Which = fn(usize, &Packet) -> bool;

#[test]
fn a_peer_that_falls_back_gets_the_data_too() {
    let plain = || StackConfig { mptcp: false, ..config() };
    // Neither, one of them, and options that are lost with the first, the second, and the third segment.
    let strip: [(StackConfig, StackConfig, Which); 6] = [
        (plain(), plain(), |_, _| false),
        (plain(), config(), |_, _| false),
        (config(), plain(), |_, _| false),
        (config(), config(), |host, packet| host == 0 && is_syn(packet)),
        (config(), config(), |host, packet| host == 1 && is_syn(packet)),
        (config(), config(), |host, packet| host == 0 && !is_syn(packet)),
    ];
    for (seed, (client, server, which)) in (8..).zip(strip) {
        let mut world = acquainted(seed, 1, [client, server]);
        world.middleboxes[0] = Some(on_packets(move |host, mut packet| {
            if which(host, &packet) {
                remove_options(&mut packet, |_| true);
            }
            vec![packet]
        }));
        let conns = open(&mut world, EARLY);
        world.send(0, conns[0], 5000, false);
        world.send(1, conns[1], 5000, false);
        assert!(world.run_until(20, |world| world.transferred(conns, false)));
        assert_eq!(early(&world, conns), [(EARLY, 0), (0, EARLY)], "seed {seed}");
        assert!(fallbacks(&world, conns).iter().all(Option::is_some), "seed {seed}");
        carries_on(&mut world, conns);
    }
}

#[test]
fn regular_tcp_is_answered_before_the_handshake_is_complete() {
    let plain = || StackConfig { mptcp: false, ..config() };
    let mut world = acquainted(20, 1, [plain(), plain()]);
    // Nothing but the SYN gets through from the client.
    let held = Rc::new(Cell::new(true));
    let holds = Rc::clone(&held);
    world.middleboxes[0] = Some(on_packets(move |host, packet| {
        let drop = host == 0 && !is_syn(&packet) && holds.get();
        if drop { Vec::new() } else { vec![packet] }
    }));
    let client = connect(&mut world, EARLY);
    assert!(world.run_until(1, |world| world.server_conn().is_some()));
    let conns = [client, world.server_conn().unwrap()];
    world.send(1, conns[1], 2000, false);
    assert!(world.run_until(1, |world| world.transferred(conns, false)));
    held.set(false);
    carries_on(&mut world, conns);
}

#[test]
fn a_listener_may_answer_and_close_before_it_has_the_keys() {
    for mptcp in [true, false] {
        let mut world = acquainted(21, 1, [config(), StackConfig { mptcp, ..config() }]);
        let client = connect(&mut world, EARLY);
        assert!(world.run_until(1, |world| world.server_conn().is_some()));
        let conns = [client, world.server_conn().unwrap()];
        world.send(1, conns[1], 30_000, true);
        assert!(world.run_until(5, |world| world.hosts[0].flows[&conns[0]].finished));
        assert!(world.run_until(5, |world| world.transferred(conns, false)));
        world.send(0, conns[0], 10, true);
        assert!(world.run_until(5, |world| world.transferred(conns, true)));
        world.close_all();
    }
}

#[test]
fn a_client_that_vanishes_after_its_syn_is_forgotten() {
    let mut world = acquainted(22, 1, [config(), config()]);
    let before = world.hosts[1].stack.table_sizes();
    world.middleboxes[0] =
        Some(on_packets(|host, packet| if host == 0 && !is_syn(&packet) { Vec::new() } else { vec![packet] }));
    let client = connect(&mut world, EARLY);
    assert!(world.run_until(1, |world| world.server_conn().is_some()));
    let server = world.server_conn().unwrap();
    assert!(world.run_until(200, |world| world.hosts[1].events.iter().any(|event| matches!(event, Event::Closed(conn, _) if *conn == server))));
    world.hosts[1].flows.clear();
    let now = world.now;
    world.hosts[1].stack.close(now, server);
    world.hosts[0].flows.clear();
    world.hosts[0].stack.abort(now, client);
    world.run_for(Duration::from_secs(5));
    assert_eq!(world.hosts[1].stack.table_sizes(), before);
}

#[test]
fn whatever_is_lost_every_byte_arrives_once() {
    for seed in 30..50 {
        let mut world = acquainted(seed, 1, [config(), config()]);
        let link = &mut world.links[0];
        (link.loss, link.duplicate, link.jitter) = (100, 200, Duration::from_millis(20));
        let mut opened = 0;
        for _ in 0..10 {
            // A path that has swallowed a SYN with data is tried again after an hour.
            world.run_for(Duration::from_secs(3700));
            let before = world.server_conn();
            let client = connect(&mut world, EARLY);
            world.send(0, client, 3000, true);
            let arrived = world.run_until(60, |world| {
                let server = world.server_conn().filter(|conn| Some(*conn) != before);
                server.is_some_and(|server| world.hosts[1].flows[&server].received == EARLY + 3000)
            });
            assert!(arrived, "seed {seed}");
            let conns = [client, world.server_conn().unwrap()];
            opened += u32::from(early(&world, conns)[1].1 > 0);
            world.send(1, conns[1], 3000, true);
            assert!(world.run_until(120, |world| world.transferred(conns, true)), "seed {seed}");
        }
        let link = &mut world.links[0];
        (link.loss, link.duplicate, link.jitter) = (0, 0, Duration::ZERO);
        world.close_all();
        assert!(opened > 3, "seed {seed}: {opened} of 10 with data on the SYN");
    }
}
