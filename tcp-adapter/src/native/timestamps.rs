//! Timestamps of the peer: which to echo, and which are too old (RFC 7323).

use std::time::Duration;

use crate::Instant;

/// After this time without a segment, the peer's clock may have wrapped (RFC 7323 section 5.5).
const OUTDATED: Duration = Duration::from_secs(24 * 24 * 3600);

/// `TS.Recent` of RFC 7323.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PeerTimestamps {
    recent: u32,
    taken_at: Instant,
}

impl PeerTimestamps {
    /// The timestamp of the peer's SYN.
    pub(super) fn start(&mut self, now: Instant, value: u32) {
        *self = Self { recent: value, taken_at: now };
    }

    /// What to echo.
    pub(super) fn recent(&self) -> u32 {
        self.recent
    }

    /// Whether a segment with this timestamp is an old duplicate (section 5.3, step R1).
    pub(super) fn is_old(&self, now: Instant, value: u32) -> bool {
        is_before(value, self.recent) && now.saturating_since(self.taken_at) <= OUTDATED
    }

    /// The timestamp of an acceptable segment; `in_order` tells whether it begins at or before what was last acknowledged (section 4.3),
    /// so that a delayed acknowledgement echoes the first of the segments it is about.
    pub(super) fn take(&mut self, now: Instant, value: u32, in_order: bool) {
        if in_order && !self.is_old(now, value) {
            *self = Self { recent: value, taken_at: now };
        }
    }
}

/// Whether one timestamp is before another, modulo 2^32 (RFC 7323 section 5.2).
pub(super) fn is_before(value: u32, other: u32) -> bool {
    value.wrapping_sub(other).cast_signed() < 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_segments_are_known_by_their_timestamps() {
        let mut peer = PeerTimestamps::default();
        peer.start(Instant::ZERO, u32::MAX - 5);
        let now = Instant::from_millis(1000);
        assert!(peer.is_old(now, u32::MAX - 6) && !peer.is_old(now, u32::MAX - 5) && !peer.is_old(now, 10));
        peer.take(now, 10, true);
        peer.take(now, 20, false);
        assert_eq!(peer.recent(), 10);
        assert!(peer.is_old(now, 9));
        peer.take(now, 9, true);
        assert_eq!(peer.recent(), 10);
        assert!(!peer.is_old(Instant::from_millis(1000) + OUTDATED + Duration::from_nanos(1), 9), "an idle month");
    }
}
