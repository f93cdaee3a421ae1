//! The largest packet that the path carries: what routers say of it (RFC 1191, RFC 8201), and what becomes of packets
//! when they say nothing (RFC 4821, RFC 8899).

use std::time::Duration;

use crate::Instant;

/// Smallest MTU that a report may lead to: less than any link of today has, and small enough to be a forger's aim
/// (RFC 5927 section 7.2; Linux' `min_pmtu`).
const LEAST_V4: u32 = 552;
/// RFC 8200 section 5.
const LEAST_V6: u32 = 1280;

/// What carries every path of today (RFC 8899 section 5.1.2, BASE_PLPMTU).
const BASE: u32 = 1200;

/// Timeouts in a row of segments longer than that which mean a black hole.
const TIMEOUTS: u32 = 2;

/// How long a smaller path is believed to be one (RFC 1191 section 6.3, RFC 8201 section 4).
const RAISE_AFTER: Duration = Duration::from_secs(600);

/// MTUs of links that were common when routers did not tell (RFC 1191 section 7.1).
const PLATEAUS: [u32; 9] = [32_000, 17_914, 8166, 4352, 2002, 1492, 1006, 508, 296];

/// What is known of the path.
#[derive(Clone, Copy, Debug)]
pub(super) struct PathMtu {
    /// Of the interface.
    link: u32,
    current: u32,
    /// When it was lowered last.
    lowered_at: Instant,
    ipv6: bool,
}

impl PathMtu {
    pub(super) fn new(link: u32, ipv6: bool) -> Self {
        Self { link, current: link, lowered_at: Instant::ZERO, ipv6 }
    }

    /// Bytes of an IP packet at most.
    pub(super) fn current(&self) -> u32 {
        self.current
    }

    /// A router has reported that a packet of `packet` bytes was too big, and for which MTU, or 0 if it did not say. Returns whether packets
    /// must become smaller.
    pub(super) fn reported(&mut self, now: Instant, packet: u32, mtu: u32) -> bool {
        let least = if self.ipv6 { LEAST_V6 } else { LEAST_V4 };
        let mtu = if mtu > 0 { mtu } else { next_plateau(packet) };
        self.lower(now, mtu.max(least))
    }

    /// Packets of `size` bytes were not acknowledged, `timeouts` times in a row. Returns whether packets must become smaller.
    pub(super) fn timed_out(&mut self, now: Instant, timeouts: u32) -> bool {
        timeouts >= TIMEOUTS && self.lower(now, BASE)
    }

    /// Tries the link's own again after a while; a path that has changed may carry it. Returns whether anything changes.
    pub(super) fn raise(&mut self, now: Instant) -> bool {
        let due = self.current < self.link && now.saturating_since(self.lowered_at) >= RAISE_AFTER;
        if due {
            self.current = self.link;
        }
        due
    }

    fn lower(&mut self, now: Instant, mtu: u32) -> bool {
        if mtu >= self.current {
            return false;
        }
        (self.current, self.lowered_at) = (mtu, now);
        true
    }
}

/// The largest common MTU that is less than `packet`.
fn next_plateau(packet: u32) -> u32 {
    PLATEAUS.into_iter().find(|plateau| *plateau < packet).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_lower_it_within_reason() {
        let mut path = PathMtu::new(1500, false);
        assert!(path.reported(Instant::ZERO, 1500, 1400));
        assert!(!path.reported(Instant::ZERO, 1500, 1450), "no report raises it");
        assert!(path.reported(Instant::ZERO, 1400, 0));
        assert_eq!(path.current(), 1006);
        assert!(path.reported(Instant::ZERO, 1006, 68));
        assert_eq!(path.current(), 552);
        let mut path = PathMtu::new(1500, true);
        assert!(path.reported(Instant::ZERO, 1500, 100));
        assert_eq!(path.current(), 1280);
    }

    #[test]
    fn black_holes_are_left_and_tried_again() {
        let mut path = PathMtu::new(9000, false);
        assert!(!path.timed_out(Instant::ZERO, 1));
        assert!(path.timed_out(Instant::ZERO, 2));
        assert!(!path.timed_out(Instant::ZERO, 3));
        assert_eq!(path.current(), 1200);
        assert!(!path.raise(Instant::from_millis(599_999)));
        assert!(path.raise(Instant::from_millis(600_000)));
        assert_eq!(path.current(), 9000);
    }
}
