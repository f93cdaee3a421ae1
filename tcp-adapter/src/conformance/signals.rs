//! Segments without payload, and verdicts on segments.

use std::time::Duration;

use super::Factory;
use super::packet::{ACK, Packet};
use super::wire::{Pump, Wire, assert_pattern};
use crate::Verdict;

/// Several requests make one segment without payload, with the hook's options.
pub fn ack_now_sends_one_segment(factory: Factory) {
    let mut wire = Wire::new(factory, 60);
    wire.listen();
    let [first, _] = wire.open(true);
    wire.run_for(Duration::from_secs(1));
    wire.ends[0].hook.on_transmit = Box::new(|_, segment, options| {
        assert!(segment.len == 0 && segment.chunk.is_none());
        assert!(options.push(&[254, 3, 5]));
        None
    });
    wire.log.clear();
    wire.ends[1].hook.segments.clear();
    let now = wire.now;
    for _ in 0..3 {
        wire.ends[0].stack.ack_now(now, first);
    }
    wire.run_for(Duration::from_secs(1));
    assert!(matches!(&wire.log[..], [(0, packet)] if packet.payload.is_empty()), "{:?}", wire.log);
    assert!(matches!(&wire.ends[1].hook.segments[..], [segment] if segment.options == [254, 3, 5]));
}

/// A segment without payload leaves although data leaves at the same time, which may have no room for what the hook has to say.
pub fn ack_now_is_not_satisfied_by_data(factory: Factory) {
    let mut wire = Wire::new(factory, 63);
    wire.listen();
    let [first, second] = wire.open(true);
    wire.run_for(Duration::from_secs(1));
    wire.log.clear();
    let now = wire.now;
    wire.ends[0].pumps.insert(first, Pump::new(1_000));
    wire.ends[0].stack.ack_now(now, first);
    wire.run_for(Duration::from_secs(1));
    let sent: Vec<bool> = wire.sent(0).map(|packet| packet.payload.is_empty()).collect();
    assert_eq!(sent.iter().filter(|empty| **empty).count(), 1, "{sent:?}");
    assert_pattern(wire.inbox(1, second), 1_000);
}

/// A probe is answered by a live peer, every time, and changes neither stream.
pub fn probe_is_answered(factory: Factory) {
    let mut wire = Wire::new(factory, 61);
    wire.listen();
    let [first, second] = wire.open(true);
    wire.ends[0].pumps.insert(first, Pump::new(10_000));
    wire.run_for(Duration::from_secs(1));
    for _ in 0..3 {
        wire.log.clear();
        let now = wire.now;
        wire.ends[0].stack.probe(now, first);
        wire.run_for(Duration::from_millis(100));
        assert!(matches!(&wire.log[..], [(0, _), (1, answer)] if answer.payload.is_empty()), "{:?}", wire.log);
    }
    wire.ends[0].pumps.insert(first, Pump { total: 20_000, position: 10_000, ..Pump::new(0) });
    wire.run_for(Duration::from_secs(1));
    assert_pattern(wire.inbox(1, second), 20_000);
}

/// Acknowledgements that are there for their options do not make the peer retransmit.
pub fn signals_are_no_duplicate_acknowledgements(factory: Factory) {
    for (verdict, spurious) in [(Verdict::AcceptSignal, false), (Verdict::Accept, true)] {
        let mut wire = Wire::new(factory, 62);
        wire.listen();
        let [first, second] = wire.open(true);
        wire.ends[0].pumps.insert(first, Pump::new(50_000));
        assert!(wire.run_until(Duration::from_secs(5), |wire| wire.inbox(1, second).len() == 50_000));
        wire.run_for(Duration::from_secs(1));
        let signalled = verdict.clone();
        wire.ends[0].hook.on_segment = Box::new(move |_, _| signalled.clone());
        wire.ends[0].pumps.insert(first, Pump { total: 60_000, position: 50_000, ..Pump::new(0) });
        // While the data is on its way, five acknowledgements come the other way.
        for _ in 0..5 {
            wire.settle();
            let now = wire.now;
            wire.ends[1].stack.ack_now(now, second);
            wire.run_for(Duration::from_millis(1));
        }
        wire.run_for(Duration::from_secs(5));
        assert_pattern(wire.inbox(1, second), 60_000);
        let info = wire.ends[0].stack.info(first).expect("open");
        // With SACK no duplicate counts that does not tell of anything new.
        let sack = wire.ends[0].stack.capabilities().sack;
        let expected = spurious && !sack;
        assert_eq!(info.retransmissions > 0, expected, "{verdict:?}: {} retransmissions", info.retransmissions);
    }
}

/// Acknowledgements that were late say nothing of losses.
pub fn late_acknowledgements_are_no_duplicates(factory: Factory) {
    let mut wire = Wire::new(factory, 64);
    wire.listen();
    let [first, second] = wire.open(true);
    wire.ends[0].pumps.insert(first, Pump::new(20_000));
    wire.run_for(Duration::from_secs(1));
    let old = wire.sent(1).find(|packet| packet.flags == ACK).expect("an acknowledgement").clone();
    wire.ends[0].pumps.insert(first, Pump { position: 20_000, total: 30_000, ..Pump::new(0) });
    wire.settle();
    for _ in 0..5 {
        wire.inject(0, old.to_frame());
        wire.settle();
    }
    wire.run_for(Duration::from_secs(1));
    assert_pattern(wire.inbox(1, second), 30_000);
    assert_eq!(wire.ends[0].stack.info(first).map(|info| info.retransmissions), Some(0));
}

/// Bytes leave with the chunk that they belong to or not at all, also if they are acknowledged in the moment in which they are sent again.
pub fn what_is_sent_again_has_its_chunk(factory: Factory) {
    let mut wire = Wire::new(factory, 65);
    wire.listen();
    let [first, second] = wire.open(true);
    wire.ends[0].hook.on_transmit = Box::new(|_, segment, _| {
        assert!(segment.len == 0 || segment.chunk.is_some(), "{segment:?}");
        None
    });
    wire.ends[0].pumps.insert(first, Pump::new(8_000));
    wire.run_for(Duration::from_secs(1));
    let old = wire.sent(1).filter(|packet| packet.flags == ACK).last().expect("an acknowledgement").clone();
    wire.ends[0].pumps.insert(first, Pump { position: 8_000, total: 16_000, chunk: 500, ..Pump::new(0) });
    wire.settle();
    // Data of the peer, with a gap before it, has acknowledgements written at once.
    let early = |gap: u32| Packet { seq: old.seq.wrapping_add(gap), payload: vec![0; 10], ..old.clone() };
    let new = Packet { ack: old.ack.wrapping_add(7_000), ..old.clone() };
    for packet in
        [[old.clone(), old.clone(), old.clone(), old.clone()], [early(1_000), early(1_010), early(1_020), new]].concat()
    {
        wire.inject(0, packet.to_frame());
    }
    wire.run_for(Duration::from_secs(1));
    assert_pattern(wire.inbox(1, second), 16_000);
}

/// A segment that the hook drops looks lost to the peer.
pub fn dropped_segments_are_retransmitted(factory: Factory) {
    let mut wire = Wire::new(factory, 63);
    wire.listen();
    let [first, second] = wire.open(true);
    let mut dropped = 0;
    wire.ends[1].hook.on_segment = Box::new(move |_, segment| {
        if segment.len > 0 && dropped < 3 {
            dropped += 1;
            return Verdict::Drop;
        }
        Verdict::Accept
    });
    wire.ends[0].pumps.insert(first, Pump::new(30_000));
    assert!(wire.run_until(Duration::from_secs(60), |wire| wire.inbox(1, second).len() == 30_000));
    assert_pattern(wire.inbox(1, second), 30_000);
    assert!(wire.ends[0].stack.info(first).is_some_and(|info| info.retransmissions > 0));
}
