//! Single options that no honest host sends.

use std::time::Duration;

use mptcp_core::wire::{
    Dss, DssMapping, MpCapable, MpFail, MpFastclose, MpJoin, MptcpOption, ResetReason, VERSION, WireSeq,
};
use mptcp_core::{CloseReason, ConnState, Counter, FallbackCause, Key, Token};
use tcp_adapter::conformance::packet::{RST, SYN};

use super::attacker::{Attacker, Raw, flags, options, raw_option, reset_reason, segment};
use super::{beside_a_good_connection, good_connection_is_unharmed};
use super::super::world::{World, config};

fn dss(raw: &Raw, mapping: DssMapping, data_fin: bool) -> MptcpOption {
    let data_ack = Some(WireSeq::Long(raw.data_ack()));
    MptcpOption::Dss(Dss { data_ack, mapping: Some(mapping), data_fin })
}

/// A mapping of the next `len` bytes to this place in the stream.
fn mapping(raw: &Raw, position: u64, len: u16) -> DssMapping {
    let dsn = WireSeq::Long(raw.first_dsn().wrapping_add(position));
    DssMapping { dsn, ssn: raw.ssn(), len, checksum: None }
}

/// What is made for a connection.
type For<T> = fn(&Raw) -> T;

/// Bytes of the attacker that the application got, and how the connection is.
fn outcome(world: &World, raw: &Raw) -> (u64, Option<ConnState>) {
    (world.hosts[1].flows[&raw.conn].received, world.hosts[1].stack.info(raw.conn).map(|info| info.state))
}

#[test]
fn absurd_mappings_deliver_nothing() {
    const PAYLOAD: [u8; 100] = [7; 100];
    let (mut world, conns) = beside_a_good_connection(20, config());
    let attacker = Attacker::new(&mut world);
    let places: &[(&str, For<DssMapping>)] = &[
        ("beyond the window", |raw| mapping(raw, 1 << 20, 100)),
        ("half the space away", |raw| mapping(raw, 1 << 63, 100)),
        ("just before the stream", |raw| mapping(raw, u64::MAX - 99, 100)),
        ("before the stream", |raw| mapping(raw, u64::MAX - 5000, 100)),
        ("at the end of all positions", |raw| mapping(raw, i64::MAX as u64 - 10, 100)),
        ("short form, out of range", |raw| DssMapping {
            dsn: WireSeq::Short((raw.first_dsn() as u32).wrapping_add(0x8000_0000)),
            ..mapping(raw, 0, 100)
        }),
        ("other bytes of the subflow", |raw| DssMapping {
            ssn: raw.ssn().wrapping_add(1 << 30),
            ..mapping(raw, 0, 100)
        }),
        ("bytes that were never sent", |raw| DssMapping { ssn: 0, ..mapping(raw, 0, 1) }),
        ("with a checksum that was not negotiated", |raw| DssMapping { checksum: Some(1), ..mapping(raw, 0, 100) }),
    ];
    for (number, (what, place)) in places.iter().enumerate() {
        let mut raw = attacker.open(&mut world, 2000 + u16::try_from(number).unwrap());
        // Real bytes first, so that there is no way back to regular TCP.
        let first = options(&[dss(&raw, mapping(&raw, 0, 100), false)]);
        let replies = attacker.send(&mut world, &raw.segment(first, &PAYLOAD));
        raw.follow(&replies);
        raw.seq = raw.seq.wrapping_add(100);
        assert_eq!(outcome(&world, &raw).0, 100, "{what}");
        for _ in 0..3 {
            attacker.send(&mut world, &raw.segment(options(&[dss(&raw, place(&raw), false)]), &PAYLOAD));
            raw.seq = raw.seq.wrapping_add(100);
        }
        assert!(world.hosts[1].stack.memory_held() <= 400, "{what}");
        world.run_for(Duration::from_secs(10));
        assert_eq!(outcome(&world, &raw).0, 100, "{what}");
        raw.forget(&mut world);
    }
    good_connection_is_unharmed(world, conns);
}

#[test]
fn mappings_that_contradict_each_other_end_the_subflow() {
    let (mut world, conns) = beside_a_good_connection(21, config());
    let attacker = Attacker::new(&mut world);
    // Of a mapping of 200 bytes, the second half is still missing when another one says where that belongs.
    for (number, position, len) in [(0, 0, 100), (1, 101, 200), (2, 1000, 100), (3, 99, 1)] {
        let mut raw = attacker.open(&mut world, 2000 + number);
        let first = raw.segment(options(&[dss(&raw, mapping(&raw, 0, 200), false)]), &[1; 100]);
        attacker.send(&mut world, &first);
        raw.seq = raw.seq.wrapping_add(100);
        let other = raw.segment(options(&[dss(&raw, mapping(&raw, position, len), false)]), &[2; 100]);
        let replies = attacker.send(&mut world, &other);
        let reset = replies.iter().find(|reply| reply.has(RST) && reply.destination.port() == raw.port);
        assert_eq!(reset.map(reset_reason), Some(Some(ResetReason::MiddleboxInterference)), "{position} {len}");
        assert_eq!(outcome(&world, &raw).0, 100);
        raw.forget(&mut world);
    }
    assert_eq!(world.mib(1, Counter::DSSCorruptionReset), 4);
    good_connection_is_unharmed(world, conns);
}

#[test]
fn acknowledgements_and_ends_that_cannot_be_are_not_believed() {
    let (mut world, conns) = beside_a_good_connection(22, config());
    let attacker = Attacker::new(&mut world);
    let mut raw = attacker.open(&mut world, 2000);
    world.flow(1, raw.conn).to_send = 1000;
    for ahead in [1, 2, 1 << 16, (1 << 31) - 1, 1 << 32, 1 << 62, u64::MAX / 2, u64::MAX - 5000] {
        let beyond = raw.data_ack().wrapping_add(1000).wrapping_add(ahead);
        let short = raw.data_ack().wrapping_add(1001 + ahead % 0x7fff_0000) as u32;
        for data_ack in [WireSeq::Long(beyond), WireSeq::Short(short)] {
            let ack = MptcpOption::Dss(Dss { data_ack: Some(data_ack), mapping: None, data_fin: false });
            let packet = raw.segment(options(&[ack]), &[]);
            let replies = attacker.send(&mut world, &packet);
            assert!(raw.follow(&replies));
        }
    }
    assert_eq!(world.hosts[1].stack.info(raw.conn).unwrap().bytes_acked, 0);
    // The stream ends far away, and then once more and nearer: the first word counts, and the end never comes.
    for position in [1 << 40, 50, 0] {
        let end = options(&[dss(&raw, DssMapping { ssn: 0, ..mapping(&raw, position, 1) }, true)]);
        let replies = attacker.send(&mut world, &raw.segment(end, &[]));
        assert!(raw.follow(&replies));
    }
    assert!(!world.hosts[1].flows[&raw.conn].finished);
    raw.forget(&mut world);
    good_connection_is_unharmed(world, conns);
}

#[test]
fn an_infinite_mapping_or_mp_fail_ends_multipath_for_that_connection_only() {
    let (mut world, conns) = beside_a_good_connection(23, config());
    let attacker = Attacker::new(&mut world);
    let wild: &[(u16, For<MptcpOption>, FallbackCause)] = &[
        (2000, |raw| dss(raw, mapping(raw, 0, 0), false), FallbackCause::InfiniteMapping),
        (2001, |raw| dss(raw, mapping(raw, 1 << 50, 0), false), FallbackCause::InfiniteMapping),
        (2002, |raw| MptcpOption::Fail(MpFail { dsn: raw.first_dsn() }), FallbackCause::PeerFailed),
        (2003, |_| MptcpOption::Fail(MpFail { dsn: u64::MAX }), FallbackCause::PeerFailed),
        (2004, |raw| MptcpOption::Fail(MpFail { dsn: raw.data_ack() ^ 1 << 63 }), FallbackCause::PeerFailed),
    ];
    for (port, option, cause) in wild {
        let mut raw = attacker.open(&mut world, *port);
        let replies = attacker.send(&mut world, &raw.segment(options(&[option(&raw)]), &[]));
        assert!(raw.follow(&replies));
        assert_eq!(world.hosts[1].stack.info(raw.conn).unwrap().fallback, Some(*cause));
        attacker.send(&mut world, &raw.segment(Vec::new(), b"plain"));
        assert_eq!(outcome(&world, &raw), (5, Some(ConnState::Established)));
        raw.forget(&mut world);
    }
    good_connection_is_unharmed(world, conns);
}

#[test]
fn a_fastclose_needs_the_right_key() {
    let (mut world, conns) = beside_a_good_connection(24, config());
    let attacker = Attacker::new(&mut world);
    let mut raw = attacker.open(&mut world, 2000);
    let close =
        |raw: &Raw, key| raw.segment(options(&[MptcpOption::Fastclose(MpFastclose { receiver_key: key })]), &[]);
    for bit in 0..64 {
        let replies = attacker.send(&mut world, &close(&raw, Key(raw.victim_key.0 ^ 1 << bit)));
        assert!(raw.follow(&replies));
    }
    assert_eq!(outcome(&world, &raw).1, Some(ConnState::Established));
    attacker.send(&mut world, &close(&raw, raw.victim_key));
    assert_eq!(outcome(&world, &raw).1, Some(ConnState::Closed(CloseReason::Reset)));
    raw.forget(&mut world);
    good_connection_is_unharmed(world, conns);
}

#[test]
fn options_of_every_length_and_subtype_are_survived() {
    let (mut world, conns) = beside_a_good_connection(25, config());
    let attacker = Attacker::new(&mut world);
    let mut raw = attacker.open(&mut world, 1000);
    let mut port = 1000;
    for subtype in 0..16 {
        for len in 0..=255 {
            let filler = (0..).map(|at: u32| (at * 37 + u32::from(len)) as u8);
            let bytes = raw_option(len, subtype, filler);
            port += 1;
            attacker.launch(&mut world, &segment(port, SYN, [1, 0], bytes.clone()));
            let replies = attacker.send(&mut world, &raw.segment(bytes, &[]));
            if !raw.follow(&replies) || world.hosts[1].stack.info(raw.conn).is_none_or(|info| info.fallback.is_some()) {
                raw.forget(&mut world);
                port += 1;
                world.run_for(Duration::from_secs(70));
                raw = attacker.open(&mut world, port);
            }
        }
    }
    raw.forget(&mut world);
    good_connection_is_unharmed(world, conns);
}

#[test]
fn an_option_twice_is_no_more_than_once_and_contradictions_are_refused() {
    let (mut world, conns) = beside_a_good_connection(26, config());
    let attacker = Attacker::new(&mut world);
    let capable = MptcpOption::Capable(MpCapable::Syn { version: VERSION, flags: flags() });
    let join = MptcpOption::Join(MpJoin::Syn {
        backup: false,
        addr_id: mptcp_core::wire::AddrId(1),
        token: Token(1),
        nonce: 1,
    });
    for (port, list) in [(3000, [capable, capable]), (3001, [capable, join]), (3002, [join, join])] {
        let answers = attacker.send(&mut world, &segment(port, SYN, [1, 0], options(&list)));
        assert_eq!(reset_reason(&answers[0]), Some(ResetReason::MptcpSpecific), "{list:?}");
    }
    let mut raw = attacker.open(&mut world, 2000);
    let ack = MptcpOption::Dss(Dss { data_ack: Some(WireSeq::Long(raw.data_ack())), mapping: None, data_fin: false });
    let mapped = Dss { data_ack: None, mapping: Some(mapping(&raw, 0, 4)), data_fin: false };
    let mapped = MptcpOption::Dss(mapped);
    let replies = attacker.send(&mut world, &raw.segment(options(&[mapped, mapped]), b"data"));
    assert!(raw.follow(&replies));
    assert_eq!(outcome(&world, &raw), (4, Some(ConnState::Established)));
    raw.seq = raw.seq.wrapping_add(4);
    let replies = attacker.send(&mut world, &raw.segment(options(&[ack, ack, ack]), &[]));
    assert!(raw.follow(&replies));
    let end = options(&[dss(&raw, DssMapping { ssn: 0, ..mapping(&raw, 4, 1) }, true)]);
    attacker.send(&mut world, &raw.segment(end, &[]));
    assert!(world.hosts[1].flows[&raw.conn].finished);
    raw.forget(&mut world);
    good_connection_is_unharmed(world, conns);
}
