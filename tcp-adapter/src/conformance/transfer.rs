//! Moving bytes.

use std::time::Duration;

use bytes::Bytes;

use super::Factory;
use super::packet::Packet;
use super::wire::{Link, Pump, Wire, assert_pattern, pattern};
use crate::{SendError, SendLimits, SendState, TcpEvent, TcpId};

const MIB: u64 = 1 << 20;

/// One MiB each way, at the same time.
pub fn both_directions_over_a_good_wire(factory: Factory) {
    for ipv4 in [true, false] {
        let mut wire = Wire::new(factory, 20);
        wire.listen();
        let ids = wire.open(ipv4);
        exchange(&mut wire, ids, MIB, Duration::from_secs(20));
        for end in [0, 1] {
            let info = wire.ends[end].stack.info(ids[end]).expect("open");
            assert_eq!((info.bytes_sent, info.retransmissions), (MIB, 0), "nothing was lost");
        }
    }
}

/// The same with loss, reordering and duplication.
pub fn both_directions_over_a_bad_wire(factory: Factory) {
    for seed in 0..12 {
        let mut wire = Wire::new(factory, 100 + seed);
        wire.listen();
        wire.set_links(Link { loss: 30, duplicate: 20, reorder: 50, ..Link::default() });
        let ids = wire.open(seed.is_multiple_of(2));
        exchange(&mut wire, ids, MIB / 4, Duration::from_secs(2_000));
    }
}

/// Sends `total` bytes both ways and checks them.
pub fn exchange(wire: &mut Wire, ids: [TcpId; 2], total: u64, limit: Duration) {
    for end in [0, 1] {
        wire.ends[end].pumps.insert(ids[end], Pump::new(total));
    }
    let arrived = |wire: &Wire, end: usize| wire.inbox(end, ids[end]).len() as u64;
    let done = wire.run_until(limit, |wire| arrived(wire, 0) >= total && arrived(wire, 1) >= total);
    assert!(done, "only {} and {} of {total} bytes arrived", arrived(wire, 0), arrived(wire, 1));
    for end in [0, 1] {
        assert_pattern(wire.inbox(end, ids[end]), total);
    }
}

/// One lost segment in a long transfer does not cost a retransmission timeout.
pub fn fast_retransmission_repairs_a_single_loss(factory: Factory) {
    let mut wire = Wire::new(factory, 21);
    wire.listen();
    let [first, second] = wire.open(true);
    let mut seen = 0;
    wire.ends[0].mangle = Some(Box::new(move |frame| {
        seen += u32::from(Packet::parse(&frame).is_some_and(|packet| !packet.payload.is_empty()));
        if seen == 20 {
            seen += 1;
            return vec![];
        }
        vec![frame]
    }));
    wire.ends[0].pumps.insert(first, Pump::new(MIB / 4));
    let start = wire.now;
    let done = wire.run_until(Duration::from_secs(30), |wire| wire.inbox(1, second).len() as u64 == MIB / 4);
    assert!(done);
    assert_pattern(wire.inbox(1, second), MIB / 4);
    let info = wire.ends[0].stack.info(first).expect("open");
    assert!(info.retransmissions >= 1);
    let took = wire.now - start;
    assert!(took < Duration::from_millis(800), "took {took:?}, as if a timeout had been needed");
}

/// No more than one full segment waits for its acknowledgement (RFC 9293 section 3.8.6.3), since the peer's congestion window
/// grows by them. What arrives at the same moment may be acknowledged together.
pub fn every_second_segment_is_acknowledged(factory: Factory) {
    let mut wire = Wire::new(factory, 24);
    wire.listen();
    let [first, second] = wire.open(true);
    wire.ends[0].pumps.insert(first, Pump::new(MIB / 2));
    let start = wire.sent(0).next().expect("a SYN").seq.wrapping_add(1);
    let mut most = 0;
    let done = wire.run_until(Duration::from_secs(20), |wire| {
        let arrived = wire.inbox(1, second).len() as u64;
        let acknowledged = u64::from(wire.sent(1).last().expect("a SYN/ACK").ack.wrapping_sub(start));
        most = most.max(arrived - acknowledged);
        arrived == MIB / 2
    });
    assert!(done);
    assert!(most < 2 * 1_400, "{most} bytes wait for their acknowledgement");
}

/// A long transfer leaves in full segments, whatever the windows allow at the moment: small ones would come back as
/// small acknowledgements, and stay small for good (RFC 9293 section 3.8.6.2.1).
pub fn bulk_leaves_in_full_segments(factory: Factory) {
    let mut wire = Wire::new(factory, 25);
    wire.listen();
    let [first, second] = wire.open(true);
    let mss = wire.ends[0].stack.info(first).map_or(1, |info| info.mss as u64);
    wire.ends[0].pumps.insert(first, Pump { chunk: 10 * mss, ..Pump::new(2 * MIB) });
    assert!(wire.run_until(Duration::from_secs(20), |wire| wire.inbox(1, second).len() as u64 == 2 * MIB));
    let segments = wire.sent(0).filter(|packet| !packet.payload.is_empty()).count() as u64;
    let fewest = 2 * MIB / mss;
    assert!(segments < fewest + fewest / 40, "{segments} segments where {fewest} would do");
}

/// Counters and estimates are what happened.
pub fn info_tells_what_happened(factory: Factory) {
    let mut wire = Wire::new(factory, 22);
    wire.listen();
    let [first, second] = wire.open(true);
    wire.ends[0].pumps.insert(first, Pump::new(100_000));
    assert!(wire.run_until(Duration::from_secs(9), |wire| wire.inbox(1, second).len() == 100_000));
    wire.run_for(Duration::from_millis(100));
    let info = wire.ends[0].stack.info(first).expect("open");
    assert_eq!((info.snd_una, info.in_flight, info.queued, info.bytes_sent), (100_000, 0, 0, 100_000));
    let rtt = info.srtt.expect("measured by now");
    assert!((Duration::from_millis(20)..Duration::from_millis(40)).contains(&rtt), "round trip of {rtt:?}");
    assert_eq!(info.min_rtt, Some(Duration::from_millis(20)));
    assert!(info.rto.is_some_and(|rto| rto >= wire.ends[0].stack.capabilities().min_rto));
    let info = wire.ends[1].stack.info(second).expect("open");
    assert_eq!((info.rcv_nxt, info.bytes_sent), (100_000, 0));
    assert!(info.last_received.is_some_and(|at| at <= wire.now));
}

/// What costs less to ask for is the same.
pub fn limits_and_round_trip_are_those_of_info(factory: Factory) {
    let mut wire = Wire::new(factory, 24);
    wire.listen();
    let [first, second] = wire.open(true);
    wire.ends[0].pumps.insert(first, Pump::new(2 * MIB));
    let (mut looks, mut busy) = (0, 0);
    let done = wire.run_until(Duration::from_secs(20), |wire| {
        let stack = &wire.ends[0].stack;
        let info = stack.info(first).expect("open");
        let limits = stack.send_limits(first).expect("open");
        assert_eq!(limits, SendLimits::from(&info));
        assert_eq!(stack.send_state(first), Some(SendState::from(&info)));
        let round_trip = stack.round_trip(first).map(|time| (time.smoothed, time.variation));
        assert_eq!(round_trip, info.srtt.zip(info.rttvar));
        (looks, busy) = (looks + 1, busy + u32::from(limits.outstanding > 0));
        wire.inbox(1, second).len() as u64 == 2 * MIB
    });
    assert!(done && looks > 20 && busy > 10, "{looks} looks, {busy} of them with bytes under way");
    let now = wire.now;
    assert_eq!(wire.ends[0].stack.abort(now, first, &[]), Ok(()));
    let stack = &wire.ends[0].stack;
    let info = stack.info(first);
    assert_eq!(stack.send_limits(first), info.as_ref().map(SendLimits::from));
    assert_eq!(stack.send_state(first), info.as_ref().map(SendState::from));
}

/// The send buffer is bounded, refuses without taking a part, and room is announced.
pub fn send_buffer_is_bounded_and_room_is_announced(factory: Factory) {
    let mut wire = Wire::new(factory, 23);
    wire.listen();
    let [first, second] = wire.open(true);
    let now = wire.now;
    let stack = &mut wire.ends[0].stack;
    assert_eq!(stack.send(now, first, Bytes::new(), 0), Err(SendError::Empty));
    let piece: Bytes = (0..1_000).map(pattern).collect();
    let mut taken = 0;
    let refused = loop {
        match stack.send(now, first, piece.clone(), taken * piece.len() as u64) {
            Ok(()) => taken += 1,
            Err(error) => break error,
        }
        assert!(taken < 100_000, "the send buffer has no end");
    };
    assert_eq!(refused, SendError::Full);
    assert_eq!(stack.send_room(first), 0);
    let total = taken * piece.len() as u64;
    assert_eq!(stack.info(first).map(|info| info.queued + info.in_flight), Some(total));
    wire.ends[0].events.clear();
    let announced = wire.run_until(Duration::from_secs(60), |wire| {
        wire.ends[0].events.contains(&TcpEvent::Writable(first)) && wire.ends[0].stack.send_room(first) > 0
    });
    assert!(announced, "no room was announced");
    assert!(wire.run_until(Duration::from_secs(60), |wire| wire.inbox(1, second).len() as u64 == total));
    wire.run_for(Duration::from_secs(1));
    let events = wire.ends[0].events.iter().filter(|&&event| event == TcpEvent::Writable(first)).count();
    assert_eq!(events, 1, "room is announced once as long as nothing is sent");
}
