//! What the tests of the congestion controls share.

use super::{Ack, Cause, CongestionEvent, Recovery};
use crate::Instant;

pub(super) const MSS: u64 = 1000;
pub(super) const MS: u64 = 1_000_000;

/// An acknowledgement of `bytes` in order, while the window is full and nothing is lost.
pub(super) fn ack(now: Instant, bytes: u64) -> Ack {
    Ack {
        now,
        delivered: bytes,
        acked: bytes,
        lost: 0,
        marked: 0,
        prior_in_flight: bytes,
        in_flight: 0,
        rtt: None,
        srtt: 0,
        min_rtt: 0,
        rate: None,
        snd_una: 0,
        snd_nxt: 0,
        recovery: Recovery::Open,
        cwnd_limited: true,
    }
}

pub(super) fn congestion(now: Instant, cause: Cause, in_flight: u64) -> CongestionEvent {
    CongestionEvent { now, cause, in_flight, lost: MSS, snd_nxt: 0 }
}
