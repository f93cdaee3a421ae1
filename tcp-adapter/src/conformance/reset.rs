//! Resets with options.

use std::time::Duration;

use super::Factory;
use super::packet::RST;
use super::wire::{Pump, Wire};
use crate::{AbortError, CloseReason, OptionSpace, SegmentIn, SynVerdict, TcpId, Verdict};

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
