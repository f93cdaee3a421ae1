//! MP_CAPABLE on the wire (RFC 8684 section 3.1).

use std::time::Duration;

use bytes::Bytes;
use mptcp_core::wire::{CapableFlags, MpCapable, MptcpOption};
use mptcp_core::{ConnId, Counter, DataSeq, Event, FallbackCause, Key, StackConfig, SubflowError};
use tcp_adapter::conformance::packet::{ACK, Packet, SYN};

use super::log::{Log, Sent, dsn};
use crate::middlebox::{edit_option, is_syn, on_packets, remove_options, subtypes};
use super::world::{PORT, World, address, config};

const CAPABLE: u8 = 0;
const DSS: u8 = 2;

/// Moves some bytes both ways and expects both ends to speak MPTCP, or neither.
fn carries(world: &mut World, conns: [ConnId; 2], multipath: bool) {
    world.send(0, conns[0], 20_000, true);
    world.send(1, conns[1], 20_000, true);
    assert!(world.run_until(60, |world| world.transferred(conns, true)));
    for host in 0..2 {
        let fallback = world.hosts[host].stack.info(conns[host]).unwrap().fallback;
        assert_eq!(fallback.is_none(), multipath, "host {host}: {fallback:?}");
    }
}

fn is_plain_syn(packet: &Packet) -> bool {
    is_syn(packet) && !packet.has(ACK)
}

#[test]
fn the_options_of_the_handshake_are_those_of_the_rfc() {
    let mut world = World::simple(1, 1);
    let log = Log::watch(&mut world);
    let conns = world.open();
    world.run_for(Duration::from_secs(1));
    let first = |host: usize, nth: usize| log.of(host)[nth].capable();
    let flags = CapableFlags {
        checksum: false,
        extensibility: false,
        deny_join_initial: false,
        crypto: CapableFlags::HMAC_SHA256,
    };
    assert_eq!(first(0, 0), Some(MpCapable::Syn { version: 1, flags }));
    let Some(MpCapable::SynAck { version: 1, flags: answered, key }) = first(1, 0) else { panic!("{:?}", log.all()) };
    assert_eq!(answered, flags);
    let [client, server] = log.keys();
    assert_eq!(key, server);
    let both = MpCapable::Ack { version: 1, flags, sender_key: client, receiver_key: server };
    assert_eq!(first(0, 1), Some(both), "the first ACK, without data");
    assert!(log.of(0)[1].packet.payload.is_empty());
    let infos = [0, 1].map(|host| world.hosts[host].stack.info(conns[host]).unwrap());
    assert_eq!(infos[0].local_token, Some(client.token().0));
    assert_eq!(infos[1].local_token, Some(server.token().0));
    assert_eq!([infos[0].remote_token, infos[1].remote_token], [infos[1].local_token, infos[0].local_token]);
    assert_eq!(log.of(1).iter().find_map(|sent| sent.data_ack()), Some(DataSeq::at(client.idsn(), 0).0));
}

#[test]
fn the_flag_a_follows_the_configuration_and_either_side_prevails() {
    for wanted in [[false, false], [true, false], [false, true], [true, true]] {
        let configs = wanted.map(|checksum| StackConfig { checksum, ..config() });
        let mut world = World::new(2, 1, configs);
        let log = Log::watch(&mut world);
        let conns = world.open();
        carries(&mut world, conns, true);
        let used = wanted[0] || wanted[1];
        for sent in log.all().iter() {
            match sent.capable() {
                Some(capable @ MpCapable::Syn { .. }) => assert_eq!(capable.flags().checksum, wanted[0]),
                Some(capable) => assert_eq!(capable.flags().checksum, used, "{capable:?}"),
                None => {}
            }
            if let Some(MpCapable::AckData { checksum, .. }) = sent.capable() {
                assert_eq!(checksum.is_some(), used);
            }
            if let Some(mapping) = sent.mapping() {
                assert_eq!(mapping.checksum.is_some(), used, "host {}", sent.host);
            }
        }
    }
}

#[test]
fn an_offer_that_cannot_be_taken_is_answered_as_plain_tcp() {
    // Version 0, the extensibility flag, no algorithm, unknown algorithms only, and an offer of version 0 as it was.
    let spoilt: [fn(&mut [u8]); 4] = [
        |option| option[2] &= 0xf0,
        |option| option[3] |= 0x40,
        |option| option[3] &= 0xe0,
        |option| option[3] = option[3] & 0xe0 | 0x1e,
    ];
    for (seed, spoil) in (3..).zip(spoilt) {
        let mut world = World::simple(seed, 1);
        world.middleboxes[0] = Some(on_packets(move |_, mut packet| {
            if is_plain_syn(&packet) {
                assert!(edit_option(&mut packet, CAPABLE, spoil));
            }
            vec![packet]
        }));
        let log = Log::watch(&mut world);
        let conns = world.open();
        carries(&mut world, conns, false);
        assert!(log.of(1).iter().all(|sent| sent.options().is_empty()), "seed {seed}");
        assert_eq!(world.hosts[1].stack.info(conns[1]).unwrap().fallback, Some(FallbackCause::NotRequested));
    }
    let mut world = World::simple(7, 1);
    world.middleboxes[0] = Some(on_packets(|_, mut packet| {
        if is_plain_syn(&packet) {
            remove_options(&mut packet, |_| true);
            packet.options.extend_from_slice(&[30, 12, 0x00, 0x81, 1, 2, 3, 4, 5, 6, 7, 8]);
        }
        vec![packet]
    }));
    let conns = world.open();
    carries(&mut world, conns, false);
}

#[test]
fn of_a_later_version_and_of_several_algorithms_the_known_one_is_chosen() {
    let mut world = World::simple(8, 1);
    world.middleboxes[0] = Some(on_packets(|_, mut packet| {
        if is_plain_syn(&packet) {
            edit_option(&mut packet, CAPABLE, |option| (option[2], option[3]) = (0x0f, 0x1f));
        }
        vec![packet]
    }));
    let log = Log::watch(&mut world);
    let conns = world.open();
    let answer = log.of(1)[0].capable().unwrap();
    assert_eq!((answer.version(), answer.flags().crypto), (1, CapableFlags::HMAC_SHA256));
    carries(&mut world, conns, true);
}

#[test]
fn an_answer_that_is_damaged_ends_multipath_for_good() {
    let damage: [fn(&mut [u8]); 5] = [
        |option| option[2] = 0x02,
        |option| option[3] |= 0x40,
        |option| option[3] &= 0xe0,
        |option| option[3] |= 0x02,
        // An option of no known subtype in its place.
        |option| option[2] = 0xf1,
    ];
    for (seed, damage) in (9..).zip(damage) {
        let mut world = World::simple(seed, 1);
        world.middleboxes[0] = Some(on_packets(move |_, mut packet| {
            if packet.has(SYN | ACK) {
                assert!(edit_option(&mut packet, CAPABLE, damage));
            }
            vec![packet]
        }));
        let log = Log::watch(&mut world);
        let conns = world.open();
        carries(&mut world, conns, false);
        let cause = world.hosts[0].stack.info(conns[0]).unwrap().fallback;
        assert_eq!(cause, Some(FallbackCause::SynAckWithoutCapable));
        assert!(log.of(0).iter().skip(1).all(|sent| sent.options().is_empty()), "seed {seed}: an option after the SYN");
    }
}

#[test]
fn a_third_packet_with_a_wrong_key_ends_multipath_for_good() {
    let mut world = World::simple(14, 1);
    world.middleboxes[0] = Some(on_packets(|host, mut packet| {
        if host == 0 && !is_syn(&packet) {
            edit_option(&mut packet, CAPABLE, |option| option[12] ^= 1);
        }
        vec![packet]
    }));
    let log = Log::watch(&mut world);
    let conns = world.open();
    carries(&mut world, conns, false);
    assert_eq!(world.hosts[1].stack.info(conns[1]).unwrap().fallback, Some(FallbackCause::AckWithoutCapable));
    assert!(log.of(1).iter().skip(1).all(|sent| sent.options().is_empty()), "an option after the SYN/ACK");
}

#[test]
fn no_join_leaves_before_a_dss_has_come_in() {
    let open = std::rc::Rc::new(std::cell::Cell::new(false));
    let opened = open.clone();
    let mut world = World::simple(15, 2);
    world.middleboxes[0] = Some(on_packets(move |host, packet| {
        let holds_back = host == 1 && !is_syn(&packet) && !opened.get();
        if holds_back { Vec::new() } else { vec![packet] }
    }));
    world.mesh(true);
    let conns = world.open();
    world.send(0, conns[0], 1000, false);
    world.run_for(Duration::from_secs(3));
    assert_eq!(world.mib(0, Counter::MPJoinSynTx), 0);
    let (now, remote) = (world.now, (address(1, 0, true), PORT).into());
    let by_hand = world.hosts[0].stack.create_subflow(now, conns[0], address(0, 1, true), remote, false);
    assert_eq!(by_hand, Err(SubflowError::NotMultipath));
    open.set(true);
    assert!(world.run_until(30, |world| world.subflows_up(0, conns[0]) == 2));
}

#[test]
fn the_first_data_of_the_client_carries_the_keys_in_place_of_a_mapping() {
    for checksum in [false, true] {
        let config = || StackConfig { checksum, ..config() };
        let mut world = World::new(16, 1, [config(), config()]);
        let log = Log::watch(&mut world);
        let client = world.connect(true);
        world.send(0, client, 5000, false);
        assert!(world.run_until(5, |world| world.server_conn().is_some()));
        world.run_for(Duration::from_secs(1));
        let keys = log.keys();
        let data: Vec<_> = log.of(0).into_iter().filter(|sent| !sent.packet.payload.is_empty()).collect();
        let Some(MpCapable::AckData { sender_key, receiver_key, data_len, checksum: sum, .. }) = data[0].capable()
        else {
            panic!("{:?}", data[0]);
        };
        assert_eq!([sender_key, receiver_key], keys);
        assert_eq!((data_len, sum.is_some(), data[0].dss()), (5000, checksum, None));
        assert_eq!(world.hosts[1].flows[&world.server_conn().unwrap()].received, 5000);
        assert_eq!(world.mib(1, Counter::DataCsumErr), 0);
    }
}

#[test]
fn the_answer_to_a_repeated_syn_ack_bears_the_keys_although_data_has_left() {
    let mut world = World::simple(8, 1);
    world.middleboxes[0] = Some(on_packets(|host, packet| {
        // No data of the client arrives.
        if host == 0 && !packet.payload.is_empty() { Vec::new() } else { vec![packet] }
    }));
    let client = world.connect(true);
    world.send(0, client, 10_000, false);
    assert!(world.run_until(5, |world| world.server_conn().is_some()), "{:?}", world.hosts[1].stack.mib());
    world.middleboxes[0] = None;
    let conns = [client, world.server_conn().unwrap()];
    assert!(world.run_until(20, |world| world.transferred(conns, false)));
    for (host, conn) in conns.into_iter().enumerate() {
        assert_eq!(world.hosts[host].stack.info(conn).unwrap().fallback, None);
    }
}

#[test]
fn the_mapping_in_mp_capable_may_come_twice_and_after_data_of_the_listener() {
    let mut world = World::simple(17, 1);
    let mut introduced = false;
    world.middleboxes[0] = Some(on_packets(move |host, packet| {
        let doubled = host == 0 && !packet.payload.is_empty() && subtypes(&packet).contains(&CAPABLE);
        introduced |= doubled;
        if host == 1 && !is_syn(&packet) && !introduced {
            // Nothing tells the client yet that its keys have arrived.
            return Vec::new();
        }
        if !doubled {
            return vec![packet];
        }
        // As offloads do: the option stands on each piece.
        let at = packet.payload.len() / 2;
        let mut pieces = [packet.clone(), packet.clone()];
        pieces[0].payload.truncate(at);
        pieces[1].payload.drain(..at);
        pieces[1].seq = pieces[1].seq.wrapping_add(u32::try_from(at).unwrap());
        let [head, tail] = pieces;
        vec![packet, head, tail]
    }));
    let log = Log::watch(&mut world);
    let client = world.connect(true);
    assert!(world.run_until(5, |world| world.server_conn().is_some()));
    let conns = [client, world.server_conn().unwrap()];
    world.send(1, conns[1], 3000, false);
    world.run_for(Duration::from_millis(1));
    world.send(0, conns[0], 3000, false);
    assert!(world.run_until(5, |world| world.transferred(conns, false)));
    let first = |host: usize, with: u8| {
        let data = |sent: &Sent| sent.host == host && !sent.packet.payload.is_empty();
        log.all().iter().position(|sent| data(sent) && subtypes(&sent.packet).contains(&with)).unwrap()
    };
    assert!(first(1, DSS) < first(0, CAPABLE), "the listener has sent first");
    carries(&mut world, conns, true);
}

#[test]
fn data_of_the_listener_tells_that_the_keys_have_arrived() {
    let mut world = World::simple(18, 1);
    let log = Log::watch(&mut world);
    let conns = world.open();
    world.send(1, conns[1], 3000, false);
    assert!(world.run_until(5, |world| world.transferred(conns, false)));
    log.clear();
    world.send(0, conns[0], 3000, false);
    assert!(world.run_until(5, |world| world.transferred(conns, false)));
    assert!(log.of(0).iter().all(|sent| sent.capable().is_none()));
    assert!(log.of(0).iter().any(|sent| sent.mapping().is_some_and(|mapping| mapping.ssn == 1)));
}

#[test]
fn the_first_byte_has_the_number_after_the_initial_one() {
    let mut world = World::simple(19, 1);
    let log = Log::watch(&mut world);
    let conns = world.open();
    world.send(1, conns[1], 100, false);
    assert!(world.run_until(5, |world| world.transferred(conns, false)));
    let [_, server] = log.keys();
    let mapping = log.of(1).iter().find_map(|sent| sent.mapping()).unwrap();
    assert_eq!(dsn(&mapping), server.idsn().0.wrapping_add(1));
    assert_eq!(mapping.ssn, 1);
}

#[test]
fn after_syns_without_answer_the_option_is_left_out() {
    let mut world = World::simple(20, 1);
    world.middleboxes[0] =
        Some(on_packets(|_, packet| if subtypes(&packet).contains(&CAPABLE) { Vec::new() } else { vec![packet] }));
    let log = Log::watch(&mut world);
    let conns = world.open();
    carries(&mut world, conns, false);
    let offers: Vec<bool> =
        log.of(0).iter().filter(|sent| is_syn(&sent.packet)).map(|sent| sent.capable().is_some()).collect();
    assert_eq!(offers, [true, true, true, false]);
}

#[test]
fn where_both_kinds_of_syn_are_on_their_way_the_third_packet_decides() {
    // Slow enough that the plain SYN leaves too, but the first one arrives first.
    let mut world = World::simple(21, 1);
    world.links[0].delay = Duration::from_secs(6);
    let log = Log::watch(&mut world);
    let conns = world.open();
    let plain = |sent: &Sent| is_syn(&sent.packet) && sent.options().is_empty();
    assert!(log.of(0).iter().any(plain), "only one kind of SYN was sent");
    world.links[0].delay = Duration::from_millis(5);
    world.run_for(Duration::from_secs(15));
    carries(&mut world, conns, true);

    // The plain one arrives first, and the others after it.
    let mut world = World::simple(22, 1);
    let mut held = Vec::new();
    world.middleboxes[0] = Some(on_packets(move |_, packet| {
        if !is_plain_syn(&packet) {
            return vec![packet];
        }
        if subtypes(&packet).contains(&CAPABLE) {
            held.push(packet);
            return Vec::new();
        }
        let mut out = vec![packet];
        out.append(&mut held);
        out
    }));
    let conns = world.open();
    carries(&mut world, conns, false);
}

#[test]
fn keys_come_from_the_generator_and_are_never_the_same() {
    let keys = |seed: u64| {
        let mut world = World::simple(seed, 1);
        let mut keys: Vec<Key> = Vec::new();
        for _ in 0..20 {
            let log = Log::watch(&mut world);
            let conn = world.connect(true);
            assert!(world.run_until(5, |world| world.saw(0, Event::Established(conn))));
            world.run_for(Duration::from_millis(100));
            keys.extend(log.keys());
        }
        keys.into_iter().map(|key| key.0).collect::<Vec<_>>()
    };
    let first = keys(23);
    assert_eq!(first, keys(23));
    let mut all = [first, keys(24)].concat();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 80);
}

#[test]
fn keys_stand_in_mp_capable_and_mp_fastclose_only() {
    let mut world = World::simple(25, 3);
    let log = Log::watch(&mut world);
    let conns = world.open_mesh();
    world.endpoint(1, 2, false, mptcp_core::EndpointFlags { signal: true, ..Default::default() });
    world.hosts[0].lazy = true;
    let now = world.now;
    let zeros = Bytes::from_static(&[0; 50_000]);
    assert!(world.hosts[1].stack.send(now, conns[1], zeros).unwrap() > 0);
    world.run_for(Duration::from_secs(1));
    let now = world.now;
    world.hosts[0].flows.remove(&conns[0]);
    world.hosts[0].stack.abort(now, conns[0]);
    world.run_for(Duration::from_secs(1));
    let keys = log.keys().map(|key| key.0.to_be_bytes());
    let mut carriers = 0;
    for sent in log.all().iter() {
        let may = |option: &MptcpOption| matches!(option, MptcpOption::Capable(_) | MptcpOption::Fastclose(_));
        let shows = |bytes: &[u8]| keys.iter().any(|key| bytes.windows(8).any(|window| window == key));
        let found = shows(&sent.packet.options) || shows(&sent.packet.payload);
        carriers += u32::from(found);
        assert!(!found || sent.options().iter().any(may), "{sent:?}");
    }
    assert!(carriers >= 3, "both kinds of carriers were there");
}
