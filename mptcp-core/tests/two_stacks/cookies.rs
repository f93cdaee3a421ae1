//! MPTCP through SYN cookies: a listener whose backlog is full remembers nothing of a SYN, and the third packet brings back
//! all that is needed (RFC 4987 section 3.6, RFC 8684 section 3.1).

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use mptcp_core::wire::{self, MpCapable, MptcpOption, VERSION};
use mptcp_core::{Counter, Event, Key, ListenConfig, ResetReason, SchedulerKind, StackConfig};
use tcp_adapter::conformance::packet::{ACK, Packet, RST, SYN};

use super::hostile::attacker::{Attacker, OWN_KEY, flags, options, reset_reason, segment};
use super::world::{PORT, World, config};
use crate::middlebox::{Middlebox, is_syn, on_packets, subtypes};

const CAPABLE: u8 = 0;
const BACKLOG: usize = 4;

/// A world with two links whose host 1 has a small backlog, all of it taken by SYNs that nobody follows up.
fn flooded(seed: u64, listener_config: StackConfig) -> (World, Attacker) {
    // In turn, so that every subflow carries something.
    let client_config = StackConfig { scheduler: SchedulerKind::RoundRobin, ..config() };
    let mut world = World::new(seed, 2, [client_config, listener_config]);
    let (now, listener) = (world.now, world.hosts[1].listener.unwrap());
    world.hosts[1].stack.unlisten(now, listener);
    let listener = world.hosts[1].stack.listen(None, PORT, ListenConfig { backlog: BACKLOG, ..ListenConfig::default() }).unwrap();
    world.hosts[1].listener = Some(listener);
    let attacker = Attacker::new(&mut world);
    flood(&mut world, &attacker, 0);
    assert_eq!(attacker.replies().len(), 1000, "all are answered, remembered or not");
    assert_eq!(world.hosts[1].stack.table_sizes(), (BACKLOG, BACKLOG, BACKLOG));
    (world, attacker)
}

/// A thousand SYNs, each with another port and sequence number.
fn flood(world: &mut World, attacker: &Attacker, round: u32) {
    let syn = options(&[MptcpOption::Capable(MpCapable::Syn { version: VERSION, flags: flags() })]);
    for number in 0..1000 {
        let port = 2000 + u16::try_from(number).unwrap();
        attacker.launch(world, &segment(port, SYN, [round * 1000 + number, 0], syn.clone()));
    }
    world.run_for(Duration::from_millis(1));
}

/// The key that a SYN/ACK bears.
fn key_of(answer: &Packet) -> Key {
    let key = wire::options(&answer.options).find_map(|option| match option {
        Ok(MptcpOption::Capable(MpCapable::SynAck { key, .. })) => Some(key),
        _ => None,
    });
    key.unwrap()
}

/// Puts another middlebox in front of the one of a link.
fn in_front(world: &mut World, link: usize, mut front: Middlebox) {
    let mut behind = world.middleboxes[link].take();
    world.middleboxes[link] = Some(Box::new(move |host, frame| {
        let passed = front(host, frame);
        match &mut behind {
            Some(behind) => passed.into_iter().flat_map(|frame| behind(host, frame)).collect(),
            None => passed,
        }
    }));
}

#[test]
fn a_flood_keeps_no_multipath_connection_out() {
    for checksum in [false, true] {
        let (mut world, attacker) = flooded(1, StackConfig { checksum, ..config() });
        let client = world.connect(true);
        flood(&mut world, &attacker, 1);
        // One round trip and what neighbours take: nobody had to try twice.
        world.run_for(Duration::from_millis(50));
        assert!(world.saw(0, Event::Established(client)), "{:?}", world.hosts[0].events);
        let conns = [client, world.server_conn().unwrap()];
        assert_eq!(world.hosts[1].stack.table_sizes().0, BACKLOG + 1, "the backlog is still full");
        world.send(0, conns[0], 100_000, false);
        world.send(1, conns[1], 100_000, false);
        flood(&mut world, &attacker, 2);
        assert!(world.run_until(5, |world| world.transferred(conns, false)));
        let infos = [0, 1].map(|host| world.hosts[host].stack.info(conns[host]).unwrap());
        assert!(infos.iter().all(|info| info.fallback.is_none() && info.checksum == checksum), "{infos:?}");
        assert_eq!([infos[0].remote_token, infos[1].remote_token], [infos[1].local_token, infos[0].local_token]);
        assert_eq!(world.mib(1, Counter::MPCapableACKRX), 1);
        assert_eq!(world.mib(1, Counter::DataCsumErr), 0);

        // The key was derived, not drawn, and its token leads to the connection all the same. The SYN of a join cannot be
        // answered by a cookie: it gets through once the half-open connections have timed out.
        world.mesh(true);
        world.run_for(Duration::from_secs(2));
        assert_eq!(world.subflows_up(0, conns[0]), 1);
        assert!(world.run_until(180, |world| (0..2).all(|host| world.subflows_up(host, conns[host]) == 2)));
        world.send(0, conns[0], 400_000, true);
        world.send(1, conns[1], 400_000, true);
        assert!(world.run_until(60, |world| world.transferred(conns, true)));
        let carried = world.hosts[0].stack.subflows(conns[0]);
        assert!(carried.iter().all(|subflow| subflow.bytes_sent > 0), "{carried:?}");
        world.close_all();
    }
}

#[test]
fn the_first_data_brings_back_what_the_lost_third_packet_had() {
    let (mut world, _attacker) = flooded(2, config());
    let lost = Rc::new(Cell::new(0));
    let counted = Rc::clone(&lost);
    in_front(
        &mut world,
        0,
        on_packets(move |host, packet| {
            let bare = host == 0 && !is_syn(&packet) && packet.payload.is_empty() && counted.get() == 0;
            if bare && subtypes(&packet).contains(&CAPABLE) {
                counted.set(counted.get() + 1);
                return Vec::new();
            }
            vec![packet]
        }),
    );
    let client = world.connect(true);
    assert!(world.run_until(5, |world| world.saw(0, Event::Established(client))));
    world.run_for(Duration::from_millis(50));
    assert_eq!(world.server_conn(), None);
    world.send(0, client, 5000, false);
    assert!(world.run_until(5, |world| world.server_conn().is_some()));
    assert_eq!(lost.get(), 1, "the third packet was lost");
    let conns = [client, world.server_conn().unwrap()];
    assert!(world.run_until(5, |world| world.transferred(conns, false)));
    for host in 0..2 {
        assert_eq!(world.hosts[host].stack.info(conns[host]).unwrap().fallback, None);
    }
    world.send(1, conns[1], 5000, true);
    world.send(0, conns[0], 5000, true);
    assert!(world.run_until(5, |world| world.transferred(conns, true)));
    world.close_all();
}

#[test]
fn a_client_without_the_option_gets_plain_tcp() {
    let (mut world, _attacker) = flooded(3, config());
    in_front(&mut world, 0, crate::middlebox::strip(|host, _| host == 0));
    let conns = world.open();
    world.send(0, conns[0], 20_000, true);
    world.send(1, conns[1], 20_000, true);
    assert!(world.run_until(5, |world| world.transferred(conns, true)));
    assert!((0..2).all(|host| world.hosts[host].stack.info(conns[host]).unwrap().fallback.is_some()));
    world.close_all();
}

/// Whoever has a cookie but not the key that came with it has not read our answer, or comes from elsewhere.
#[test]
fn a_key_of_another_handshake_is_refused() {
    let (mut world, attacker) = flooded(4, config());
    let before = world.hosts[1].stack.table_sizes();
    let syn = options(&[MptcpOption::Capable(MpCapable::Syn { version: VERSION, flags: flags() })]);
    let mut answers = Vec::new();
    for port in [5000, 5001] {
        answers.extend(attacker.send(&mut world, &segment(port, SYN, [77, 0], syn.clone())));
    }
    let keys: Vec<Key> = answers.iter().map(key_of).collect();
    assert_ne!(keys[0], keys[1]);
    let third = |port: u16, answer: &Packet, receiver_key: Key| {
        let capable = MpCapable::Ack { version: VERSION, flags: flags(), sender_key: OWN_KEY, receiver_key };
        segment(port, ACK, [78, answer.seq.wrapping_add(1)], options(&[MptcpOption::Capable(capable)]))
    };
    let refusals = attacker.send(&mut world, &third(5000, &answers[0], keys[1]));
    assert_eq!(refusals.len(), 1);
    assert!(refusals[0].has(RST));
    assert_eq!(reset_reason(&refusals[0]), Some(ResetReason::MptcpSpecific));
    assert_eq!(world.hosts[1].stack.table_sizes(), before);
    // The same handshake with its own key.
    attacker.send(&mut world, &third(5000, &answers[0], keys[0]));
    assert_eq!(world.hosts[1].stack.table_sizes().0, before.0 + 1);
    assert_eq!(world.hosts[1].flows.len(), 1);
}

/// The key of a SYN that is not remembered cannot be another one: if its token is that of a connection that has lost this subflow and waits for another, there is
/// none.
#[test]
fn a_token_that_is_taken_leaves_tcp() {
    let (mut world, attacker) = flooded(5, config());
    let syn = options(&[MptcpOption::Capable(MpCapable::Syn { version: VERSION, flags: flags() })]);
    let [answer] = &attacker.send(&mut world, &segment(5000, SYN, [77, 0], syn.clone()))[..] else { panic!("no answer") };
    let capable = MpCapable::Ack { version: VERSION, flags: flags(), sender_key: OWN_KEY, receiver_key: key_of(answer) };
    let third = segment(5000, ACK, [78, answer.seq.wrapping_add(1)], options(&[MptcpOption::Capable(capable)]));
    attacker.send(&mut world, &third);
    attacker.send(&mut world, &segment(5000, RST, [78, 0], Vec::new()));
    assert_eq!(world.hosts[1].flows.len(), 1, "the connection is there");
    let again = attacker.send(&mut world, &segment(5000, SYN, [7700, 0], syn.clone()));
    assert!(matches!(&again[..], [answer] if is_syn(answer) && subtypes(answer).is_empty()), "{again:?}");
    let [other] = &attacker.send(&mut world, &segment(5001, SYN, [7700, 0], syn))[..] else { panic!("no answer") };
    assert_eq!(subtypes(other), [CAPABLE]);
}
