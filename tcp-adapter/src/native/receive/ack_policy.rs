//! When to acknowledge what has arrived.

#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::Instant;

/// Segments that are acknowledged at once when a connection begins, and when one begins again. The sender is in slow start then, where every
/// acknowledgement lets more leave and its small window may end with a single segment, for which a delayed
/// acknowledgement would stop it. As many as an initial window (RFC 6928) and half of the next.
const QUICK_SEGMENTS: u8 = 16;
/// Without data for this long, the sender may begin again with its restart window (RFC 5681 section 4.1), which happens after its
/// retransmission timeout: 200 ms is the smallest that is common.
const IDLE: u64 = 200_000_000;
/// A timer for less costs more than the acknowledgement that it may save.
const MIN_DELAY: u64 = 1_000_000;
/// A sender that uses smaller segments than this is taken for one that has little to send (RFC 9293 section 3.7.1,
/// default of IPv4).
const MIN_FULL_SIZE: u16 = 536;
/// No deadline, or no interval known.
const NONE: u64 = u64::MAX;

/// Delays acknowledgements (RFC 9293 section 3.8.6.3, RFC 5681 section 4.2) of one connection.
#[derive(Debug)]
pub(crate) struct AckPolicy {
    /// Nanoseconds at which what is pending must be acknowledged, or [`NONE`].
    deadline: u64,
    /// Nanoseconds at which data last arrived.
    last_data: u64,
    /// Bytes that arrived since the last acknowledgement.
    pending: u32,
    /// Smoothed nanoseconds between segments; `u32::MAX` before the second one.
    interval: u32,
    /// Largest segment that the peer has sent, as far as that can be told from coalesced ones.
    full_size: u16,
    /// Segments still to be acknowledged at once.
    quick: u8,
    /// DCTCP.CE of RFC 8257 section 3.2.
    ce: bool,
}

/// When to acknowledge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AckDecision {
    /// With the next segment, which leaves now.
    Now,
    /// With the next segment, which leaves at this time at the latest.
    Delay(Instant),
}

impl AckPolicy {
    /// For a connection that is established.
    pub(crate) fn new() -> Self {
        Self {
            deadline: NONE,
            last_data: 0,
            pending: 0,
            interval: u32::MAX,
            full_size: MIN_FULL_SIZE,
            quick: QUICK_SEGMENTS,
            ce: false,
        }
    }

    /// A segment, or several that were coalesced, with `bytes` of payload has arrived from a peer that was told to send `mss` at most
    /// in each.
    ///
    /// `at_once` for what must not wait: out of order or while there is a gap, a duplicate (RFC 5681 section 4.2), a FIN, a change of
    /// the marks of congestion. `max_delay` is the configured delay, of 500 ms at most (RFC 9293 section 3.8.6.3).
    pub(crate) fn on_data(
        &mut self,
        now: Instant,
        bytes: usize,
        mss: u16,
        at_once: bool,
        max_delay: Duration,
    ) -> AckDecision {
        let now_nanos = now.as_nanos();
        let max_delay = u64::try_from(max_delay.as_nanos()).unwrap_or(NONE);
        self.note_interval(now_nanos, max_delay);
        let len = u32::try_from(bytes).unwrap_or(u32::MAX);
        // The sender may know of a smaller path MTU than we do, and every second of its segments is to be acknowledged. More
        // than fits into one segment has been coalesced, from segments of which we do not know the size.
        self.full_size = self.full_size.max(u16::try_from(bytes).unwrap_or(u16::MAX)).min(mss.max(1));
        self.pending = self.pending.saturating_add(len);
        let quick = self.quick > 0;
        if quick {
            let segments = u8::try_from(len.div_ceil(u32::from(self.full_size)).max(1)).unwrap_or(u8::MAX);
            self.quick = self.quick.saturating_sub(segments);
        }
        if at_once || quick || self.pending >= 2 * u32::from(self.full_size) {
            self.deadline = now_nanos;
            return AckDecision::Now;
        }
        // The delay counts from the first segment that waits.
        if self.deadline == NONE {
            self.deadline = now_nanos.saturating_add(self.delay(max_delay));
        }
        AckDecision::Delay(Instant::from_nanos(self.deadline))
    }

    /// The mark of congestion of a segment from a sender that counts marks: true if it is another than that of the segment before.
    ///
    /// Then this segment must be acknowledged at once. If something is [pending](Self::is_pending) from before, an acknowledgement for that
    /// should leave first, with the old [`ece`](Self::ece), which must be read before this is called: else the
    /// sender counts what is pending as marked as this segment is (RFC 8257 section 3.2).
    pub(crate) fn on_ce(&mut self, marked: bool) -> bool {
        std::mem::replace(&mut self.ce, marked) != marked
    }

    /// What acknowledgements to a sender that counts marks have in their ECE flag (RFC 8257 section 3.2).
    pub(crate) fn ece(&self) -> bool {
        self.ce
    }

    /// Whether something has arrived that is not acknowledged yet.
    pub(crate) fn is_pending(&self) -> bool {
        self.deadline != NONE
    }

    /// When an acknowledgement must leave; `None` if nothing is pending.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        (self.deadline != NONE).then_some(Instant::from_nanos(self.deadline))
    }

    /// A segment that acknowledges everything has left, which also carried payload or not.
    ///
    /// If an acknowledgement found a segment to ride on, the application answers what it gets: from then on there is
    /// something to gain by waiting.
    pub(crate) fn on_ack_sent(&mut self, with_payload: bool) {
        if with_payload && self.is_pending() {
            self.quick = 0;
        }
        self.pending = 0;
        self.deadline = NONE;
    }

    /// Twice the time between segments: if no second one has come by then, the sender waits for us or has nothing to send, and
    /// a longer delay would only stop it longer.
    fn delay(&self, max_delay: u64) -> u64 {
        if self.interval == u32::MAX {
            return max_delay;
        }
        (2 * u64::from(self.interval)).max(MIN_DELAY).min(max_delay)
    }

    fn note_interval(&mut self, now: u64, max_delay: u64) {
        let gone_by = now.saturating_sub(std::mem::replace(&mut self.last_data, now));
        if gone_by >= IDLE {
            self.quick = QUICK_SEGMENTS;
        }
        // A pause in which a delayed acknowledgement would have left says nothing of how close segments follow each other.
        if gone_by > max_delay {
            return;
        }
        let gone_by = u32::try_from(gone_by).unwrap_or(u32::MAX - 1);
        self.interval = if self.interval == u32::MAX { gone_by } else { self.interval / 2 + gone_by / 2 };
    }
}
