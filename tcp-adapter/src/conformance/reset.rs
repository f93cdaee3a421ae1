//! Resets with options.

use std::time::Duration;

use super::Factory;
use super::packet::{ACK, Packet, RST, SYN};
use super::wire::{Pump, Wire};
use crate::{AbortError, CloseReason, OptionSpace, SegmentIn, SegmentKind, SynVerdict, TcpId, Verdict};

const OPTION: [u8; 5] = [254, 5, 1, 2, 3];

fn space() -> OptionSpace {
    let mut space = OptionSpace::new(OptionSpace::MAX);
    assert!(space.push(&OPTION));
    space
}

/// The only reset that an end was shown had the option.
fn assert_reset_seen(wire: &Wire, end: usize) {
    let resets: Vec<_> = wire.ends[end].hook.segments.iter().filter(|segment| segment.flags.rst).collect();
    assert!(matches!(&resets[..], [reset] if reset.options == OPTION), "{resets:?}");
}

/// `abort` resets the peer, with options, at any time: idle, and with bytes in flight.
pub fn abort_carries_options(factory: Factory) {
    for busy in [false, true] {
        let mut wire = Wire::new(factory, 50);
        wire.listen();
        let [first, second] = wire.open(true);
        if busy {
            wire.ends[0].pumps.insert(first, Pump::new(500_000));
            wire.run_for(Duration::from_millis(75));
            wire.ends[0].pumps.clear();
        }
        let now = wire.now;
        wire.ends[0].stack.abort(now, first, &OPTION).expect("open");
        assert!(wire.ends[0].stack.info(first).is_none());
        assert_eq!(wire.ends[0].stack.abort(now, first, &[]), Err(AbortError::Closed));
        wire.run_for(Duration::from_secs(1));
        assert_eq!(wire.closed(0, first), Some(CloseReason::Aborted));
        assert_eq!(wire.closed(1, second), Some(CloseReason::Reset));
        assert_reset_seen(&wire, 1);
    }
}

/// `Verdict::Reset` ends the connection, with options.
pub fn verdict_carries_options(factory: Factory) {
    let mut wire = Wire::new(factory, 51);
    wire.listen();
    let [first, second] = wire.open(true);
    wire.ends[1].hook.on_segment = Box::new(
        |_: TcpId, segment: &SegmentIn<'_>| {
            if segment.len > 0 { Verdict::Reset(space()) } else { Verdict::Accept }
        },
    );
    wire.ends[0].pumps.insert(first, Pump::new(100));
    wire.run_for(Duration::from_secs(1));
    assert_eq!(wire.closed(1, second), Some(CloseReason::Aborted));
    assert_eq!(wire.closed(0, first), Some(CloseReason::Reset));
    assert_reset_seen(&wire, 0);
}

/// `SynVerdict::Reset` refuses the connection, with options.
pub fn syn_verdict_carries_options(factory: Factory) {
    let mut wire = Wire::new(factory, 52);
    wire.listen();
    wire.ends[1].hook.on_syn = Box::new(|_| SynVerdict::Reset(space()));
    let conn = wire.connect(false);
    wire.run_for(Duration::from_secs(1));
    assert_eq!(wire.closed(0, conn), Some(CloseReason::Refused));
    assert_reset_seen(&wire, 0);
    assert_eq!(wire.sent(1).filter(|packet| packet.has(RST)).count(), 1);
}

/// An answer to the SYN that is of another connection is reset, with options; the SYN stays alive.
pub fn stale_answer_to_a_syn_is_reset(factory: Factory) {
    let mut wire = Wire::new(factory, 53);
    wire.listen();
    wire.ends[0].hook.on_transmit = Box::new(|_, segment, options| {
        assert!(segment.kind != SegmentKind::Reset || options.push(&OPTION));
        None
    });
    let conn = wire.connect(true);
    let sent = wire.run_until(Duration::from_secs(1), |wire| wire.sent(0).count() == 1);
    assert!(sent, "no SYN was sent");
    let syn = wire.sent(0).next().expect("just checked").clone();
    let stale = Packet {
        link: [syn.link[1], syn.link[0]],
        source: syn.destination,
        destination: syn.source,
        seq: 77,
        ack: syn.seq.wrapping_sub(1_000),
        flags: ACK,
        window: 1_000,
        urgent: 0,
        ecn: 0,
        options: Vec::new(),
        payload: Vec::new(),
    };
    wire.log.clear();
    wire.inject(0, stale.to_frame());
    wire.settle();
    let expected = |reset: &Packet| reset.flags == RST && reset.seq == stale.ack && reset.options[..5] == OPTION;
    let is_syn = |packet: &Packet| packet.flags == SYN && packet.seq == syn.seq;
    // The SYN may follow at once.
    assert!(
        matches!(&wire.log[..], [(0, reset), rest @ ..] if expected(reset) && rest.iter().all(|(_, next)| is_syn(next))),
        "{:?}",
        wire.log
    );
    assert!(wire.run_until(Duration::from_secs(5), |wire| wire.established(0) == [conn]));
}
