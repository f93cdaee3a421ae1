//! Opening connections.

use std::net::SocketAddr;
use std::time::Duration;

use super::Factory;
use super::packet::{ACK, Packet, RST, SYN};
use super::transfer::exchange;
use super::wire::{PORT, Wire, address};
use crate::{CloseReason, ConnectError, ConnectRequest, ListenError, SegmentKind, SynVerdict};

/// Both ends learn of the connection, and the hooks are asked about the right segments.
pub fn opens_over_ipv4_and_ipv6(factory: Factory) {
    for ipv4 in [true, false] {
        let mut wire = Wire::new(factory, 1);
        wire.listen();
        let [first, second] = wire.open(ipv4);
        let info = wire.ends[0].stack.info(first).expect("just established");
        assert!(info.established);
        assert_eq!((info.local.ip(), info.remote), (address(0, ipv4), SocketAddr::new(address(1, ipv4), PORT)));
        assert!((49152..).contains(&info.local.port()), "ephemeral port {}", info.local.port());
        let info = wire.ends[1].stack.info(second).expect("just established");
        assert!(info.established);
        assert_eq!(info.local, SocketAddr::new(address(1, ipv4), PORT));
        let kinds = |end: usize| wire.ends[end].hook.sent.iter().map(|sent| sent.segment.kind).collect::<Vec<_>>();
        assert_eq!(kinds(0), [SegmentKind::Syn, SegmentKind::Established]);
        assert_eq!(kinds(1), [SegmentKind::SynAck]);
        let syn = &wire.ends[1].hook.syns[..];
        assert!(matches!(syn, [syn] if syn.conn == second && syn.listener.is_some()), "{syn:?}");
        let mss = u16::from_be_bytes(
            wire.sent(0).next().and_then(|syn| syn.option(2)).expect("an MSS").try_into().expect("two bytes"),
        );
        assert_eq!(mss, if ipv4 { 1460 } else { 1440 }, "the MSS does not count options (RFC 6691)");
    }
}

/// A SYN to a port that nobody listens on is shown to the hook, and reset if that says so.
pub fn refused_without_listener(factory: Factory) {
    let mut wire = Wire::new(factory, 2);
    let conn = wire.connect(true);
    wire.run_for(Duration::from_secs(1));
    assert_eq!(wire.closed(0, conn), Some(CloseReason::Refused));
    assert!(wire.ends[0].stack.info(conn).is_none());
    assert!(matches!(&wire.ends[1].hook.syns[..], [syn] if syn.listener.is_none()));
}

/// Nobody answers: the connection is given up.
pub fn unanswered_syn_times_out(factory: Factory) {
    let mut wire = Wire::new(factory, 3);
    wire.ends[1].hook.on_syn = Box::new(|_| SynVerdict::Drop);
    let conn = wire.connect(true);
    wire.run_for(Duration::from_secs(600));
    assert_eq!(wire.closed(0, conn), Some(CloseReason::TimedOut));
    let syns = wire.sent(0).filter(|packet| packet.has(SYN)).count();
    assert!((3..20).contains(&syns), "{syns} SYNs");
}

/// A SYN that the hook drops looks lost; a later one is accepted.
pub fn dropped_syn_is_retransmitted(factory: Factory) {
    let mut wire = Wire::new(factory, 4);
    wire.listen();
    let mut seen = 0;
    wire.ends[1].hook.on_syn = Box::new(move |_| {
        seen += 1;
        if seen < 3 { SynVerdict::Drop } else { SynVerdict::Accept }
    });
    wire.open(true);
    assert_eq!(wire.ends[1].hook.syns.len(), 3);
    let handles: Vec<_> = wire.ends[1].hook.syns.iter().map(|syn| syn.conn).collect();
    assert!(handles[0] != handles[1] && handles[1] != handles[2], "a handle was used twice: {handles:?}");
}

/// Any one of the three segments of the handshake may be lost.
pub fn lost_segments_are_retransmitted(factory: Factory) {
    for lost in 0..3 {
        let mut wire = Wire::new(factory, 5 + lost);
        wire.listen();
        let (end, index) = if lost == 1 { (1, 0) } else { (0, lost / 2) };
        let mut seen = 0;
        wire.ends[end].mangle = Some(Box::new(move |frame| {
            if Packet::parse(&frame).is_none() {
                return vec![frame];
            }
            seen += 1;
            if seen == index + 1 { vec![] } else { vec![frame] }
        }));
        wire.open(true);
    }
}

/// No more handshakes than the backlog are begun; when they end, others begin.
pub fn backlog_bounds_handshakes(factory: Factory) {
    let mut wire = Wire::new(factory, 10);
    wire.ends[1].stack.listen(None, PORT, 2).expect("a free port");
    // The third segment of the handshake never arrives.
    wire.ends[0].mangle =
        Some(Box::new(
            |frame| if Packet::parse(&frame).is_some_and(|packet| !packet.has(SYN)) { vec![] } else { vec![frame] },
        ));
    for _ in 0..5 {
        wire.connect(true);
    }
    wire.run_for(Duration::from_millis(900));
    let answered = wire.sent(1).filter(|packet| packet.has(SYN | ACK)).count();
    assert_eq!(answered, 2);
    assert!(!wire.sent(1).any(|packet| packet.has(RST)), "a SYN beyond the backlog is dropped, not reset");
    wire.ends[0].mangle = None;
    let all = wire.run_until(Duration::from_secs(60), |wire| wire.established(1).len() == 5);
    assert!(all, "{} of 5 established", wire.established(1).len());
}

/// A port can be listened on once per address, and again after `unlisten`.
pub fn port_is_listened_on_once(factory: Factory) {
    let mut wire = Wire::new(factory, 11);
    let stack = &mut wire.ends[1].stack;
    let first = stack.listen(Some(address(1, true)), 80, 1).expect("a free port");
    stack.listen(Some(address(1, false)), 80, 1).expect("another address");
    assert_eq!(stack.listen(None, 80, 1), Err(ListenError::InUse(80)));
    assert_eq!(stack.listen(Some(address(1, true)), 80, 1), Err(ListenError::InUse(80)));
    assert_eq!(stack.listen(None, 0, 1), Err(ListenError::PortZero));
    assert_eq!(stack.listen(Some(address(0, true)), 81, 1), Err(ListenError::NotLocal(address(0, true))));
    stack.unlisten(first);
    stack.listen(Some(address(1, true)), 80, 1).expect("free again");
}

/// Mistakes are named at once.
pub fn connect_refuses_what_cannot_work(factory: Factory) {
    let mut wire = Wire::new(factory, 12);
    let remote = SocketAddr::new(address(1, true), PORT);
    let good = ConnectRequest { local: address(0, true), local_port: Some(5000), remote };
    let now = wire.now;
    let stack = &mut wire.ends[0].stack;
    let mut connect = |request: ConnectRequest| stack.connect(now, &request);
    let foreign = ConnectRequest { local: address(1, true), ..good };
    assert_eq!(connect(foreign), Err(ConnectError::NotLocal(address(1, true))));
    let far = SocketAddr::new([192, 0, 2, 1].into(), PORT);
    let expected = ConnectError::Unreachable { local: good.local, remote: far };
    assert_eq!(connect(ConnectRequest { remote: far, ..good }), Err(expected));
    let other_family = SocketAddr::new(address(1, false), PORT);
    let expected = ConnectError::Unreachable { local: good.local, remote: other_family };
    assert_eq!(connect(ConnectRequest { remote: other_family, ..good }), Err(expected));
    assert_eq!(connect(ConnectRequest { local_port: Some(0), ..good }), Err(ConnectError::PortZero));
    assert_eq!(
        connect(ConnectRequest { remote: SocketAddr::new(remote.ip(), 0), ..good }),
        Err(ConnectError::PortZero)
    );
    assert!(connect(good).is_ok());
    assert_eq!(connect(good), Err(ConnectError::InUse(5000)));
}

/// Both ends connect to each other at the same time (RFC 9293 section 3.5, MUST-10).
pub fn simultaneous_open_makes_one_connection(factory: Factory) {
    let mut wire = Wire::new(factory, 13);
    let ids = [0, 1].map(|end| {
        let request = ConnectRequest {
            local: address(end, true),
            local_port: Some(5000),
            remote: SocketAddr::new(address(1 - end, true), 5000),
        };
        wire.ends[end].stack.connect(wire.now, &request).expect("a free port")
    });
    let open = wire
        .run_until(Duration::from_secs(30), |wire| wire.established(0) == ids[..1] && wire.established(1) == ids[1..]);
    assert!(open, "{:?} {:?}", wire.ends[0].events, wire.ends[1].events);
    assert!(wire.ends.iter().all(|end| end.hook.syns.is_empty()), "a SYN of a known connection is not a new one");
    exchange(&mut wire, ids, 50_000, Duration::from_secs(30));
}

/// Initial sequence numbers depend on addresses, ports, the time and a secret (RFC 6528): they tell nobody those of
/// another connection.
pub fn initial_sequence_numbers_are_hard_to_guess(factory: Factory) {
    let numbers = |seed: u64, wait: Duration| {
        let mut wire = Wire::new(factory, seed);
        wire.run_for(wait);
        for port in 5000..5020 {
            let request = ConnectRequest {
                local: address(0, true),
                local_port: Some(port),
                remote: SocketAddr::new(address(1, true), PORT),
            };
            wire.ends[0].stack.connect(wire.now, &request).expect("a free port");
        }
        wire.run_for(Duration::from_millis(500));
        let mut syns: Vec<_> = wire.sent(0).filter(|packet| packet.has(SYN)).collect();
        syns.sort_by_key(|packet| packet.source.port());
        syns.iter().map(|packet| packet.seq).collect::<Vec<_>>()
    };
    let distances = |numbers: &[u32]| numbers.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect::<Vec<_>>();
    let first = numbers(15, Duration::ZERO);
    assert_eq!(first.len(), 20);
    let mut sorted = distances(&first);
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(sorted.len(), 19, "ports at equal distances have numbers at equal distances: {first:?}");
    let other = numbers(16, Duration::ZERO);
    assert!(first.iter().zip(&other).all(|(one, two)| one != two), "they do not depend on a secret");
    assert_ne!(distances(&first), distances(&other));
    let later = numbers(15, Duration::from_secs(1));
    let passed: Vec<u32> = first.iter().zip(&later).map(|(one, two)| two.wrapping_sub(*one)).collect();
    // One in 4 microseconds; the tests of the state of neighbours may take different times.
    assert!(passed.iter().all(|ticks| (200_000..300_000).contains(ticks)), "{passed:?}");
}

/// A hook may accept a SYN that reached no listener, and connections outlive their listener.
pub fn connections_need_no_listener(factory: Factory) {
    let mut wire = Wire::new(factory, 14);
    wire.ends[1].hook.on_syn = Box::new(|_| SynVerdict::Accept);
    let ids = wire.open(true);
    assert!(matches!(&wire.ends[1].hook.syns[..], [syn] if syn.listener.is_none()));
    exchange(&mut wire, ids, 10_000, Duration::from_secs(5));
    let listener = wire.ends[1].stack.listen(None, PORT, 1).expect("connections do not occupy the port");
    let other = wire.open(true);
    wire.ends[1].stack.unlisten(listener);
    exchange(&mut wire, other, 10_000, Duration::from_secs(5));
}
