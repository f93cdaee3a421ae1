//! What the window-based congestion controls share: a window in bytes, its threshold, and the way back.
//!
//! Public, so that congestion controls from above need not do it again.

use super::{Ack, Cause, CongestionEvent, Recovery, initial_window};

/// A threshold that nothing has lowered yet (RFC 5681 section 3.1: "arbitrarily high").
const UNLIMITED: u64 = u64::MAX;

/// A congestion window with its slow-start threshold, in bytes of payload, for congestion controls to build upon.
#[derive(Clone, Debug)]
pub struct Window {
    cwnd: u64,
    ssthresh: u64,
    /// Window and threshold before the last congestion event; a window of 0 if there is no way back.
    before: (u64, u64),
    mss: u32,
    /// Whether it was the window that limited what was in flight, when last heard of.
    used: bool,
}

impl Window {
    /// The initial window for segments of `mss` bytes (RFC 6928 section 2), without a threshold.
    pub fn new(mss: u64) -> Self {
        Self {
            cwnd: initial_window(mss),
            ssthresh: UNLIMITED,
            before: (0, UNLIMITED),
            mss: u32::try_from(mss.max(1)).unwrap_or(u32::MAX),
            used: false,
        }
    }

    /// One that goes on where another congestion control has left off.
    pub fn resume(mss: u64, cwnd: u64, ssthresh: Option<u64>) -> Self {
        let new = Self::new(mss);
        Self { cwnd: cwnd.max(new.mss()), ssthresh: ssthresh.unwrap_or(UNLIMITED), ..new }
    }

    /// The window: a segment at least.
    pub fn cwnd(&self) -> u64 {
        self.cwnd
    }

    /// Payload of a full segment.
    pub fn mss(&self) -> u64 {
        u64::from(self.mss)
    }

    /// The slow-start threshold; `None` while there has been no congestion.
    pub fn ssthresh(&self) -> Option<u64> {
        (self.ssthresh != UNLIMITED).then_some(self.ssthresh)
    }

    /// Whether the window is below the threshold.
    pub fn in_slow_start(&self) -> bool {
        self.cwnd < self.ssthresh
    }

    /// Bytes by whose arrival the window may grow: none while a recovery holds it, and none if it was not used (RFC 7661).
    ///
    /// What is acknowledged selectively counts when the gap before it is filled: a gap may be a loss, and until that is known only
    /// limited transmit may send more (RFC 5681 section 3.2, step 1).
    pub fn earned(&mut self, ack: &Ack) -> u64 {
        self.used = ack.cwnd_limited;
        match ack.recovery {
            Recovery::Open if ack.cwnd_limited => ack.acked,
            Recovery::Timeout if ack.cwnd_limited => ack.delivered,
            _ => 0,
        }
    }

    /// Slow start as RFC 3465 section 2.3 has it: one acknowledgement opens the window by two segments, by one after a timeout, when
    /// it may be about bytes that had arrived long before. Says what is left of `bytes`, which were [earned](Self::earned), for
    /// congestion avoidance.
    pub fn slow_start_in_steps(&mut self, ack: &Ack, bytes: u64) -> u64 {
        let segments = if ack.recovery == Recovery::Timeout { 1 } else { 2 };
        self.slow_start(bytes.min(segments * self.mss()))
    }

    /// Opens the window by `bytes`, but not past the threshold; says what is left of them.
    pub fn slow_start(&mut self, bytes: u64) -> u64 {
        let used = bytes.min(self.ssthresh.saturating_sub(self.cwnd));
        self.cwnd += used;
        bytes - used
    }

    /// Lets the threshold be the window.
    pub fn leave_slow_start(&mut self) {
        self.ssthresh = self.cwnd;
    }

    /// Opens the window by `bytes`.
    pub fn grow(&mut self, bytes: u64) {
        self.cwnd = self.cwnd.saturating_add(bytes);
    }

    /// Closes the window by `bytes`, though nothing was lost: not below two segments, and the threshold follows, so that slow start
    /// does not take it back.
    pub fn shrink(&mut self, bytes: u64) {
        self.cwnd = self.cwnd.saturating_sub(bytes).max((2 * self.mss()).min(self.cwnd));
        self.ssthresh = self.ssthresh.min(self.cwnd);
    }

    /// FlightSize of RFC 5681 equation 4. A window that was used is what was in flight, whatever part of it the
    /// acknowledgements since have taken out.
    pub fn flight(&self, event: &CongestionEvent) -> u64 {
        if self.used { self.cwnd } else { event.in_flight.min(self.cwnd) }
    }

    /// Answers a congestion event by a window of `to` bytes; after a timeout by one of one segment that slow start opens up to `to`.
    ///
    /// The threshold is at least two segments (RFC 5681 equation 4). Marks may take the window itself down to one (RFC 3168 section 6.1.2).
    pub fn reduce(&mut self, to: u64, cause: Cause) {
        let (mss, before) = (self.mss(), (self.cwnd, self.ssthresh));
        let ssthresh = to.max(2 * mss);
        match cause {
            Cause::Loss => self.cwnd = ssthresh.min(self.cwnd),
            Cause::Mark => self.cwnd = to.max(mss).min(self.cwnd),
            // The same segment once more: the threshold is held (RFC 5681 section 3.1), and the way back as well.
            Cause::Timeout if self.cwnd <= mss => return,
            Cause::Timeout => self.cwnd = mss,
        }
        self.ssthresh = ssthresh;
        // A mark is never spurious.
        self.before = if cause == Cause::Mark { (0, UNLIMITED) } else { before };
    }

    /// Goes back to before the last congestion event, unless the window has outgrown that: says whether it did.
    pub fn undo(&mut self) -> bool {
        let (cwnd, ssthresh) = std::mem::replace(&mut self.before, (0, UNLIMITED));
        let back = self.cwnd < cwnd;
        if back {
            (self.cwnd, self.ssthresh) = (cwnd, ssthresh);
        }
        back
    }

    /// Restart window of RFC 5681 section 4.1. The threshold remembers how far the window had come (RFC 7661 section 4.4.3), so
    /// that slow start leads back there.
    pub fn restart(&mut self) {
        if self.ssthresh != UNLIMITED {
            self.ssthresh = self.ssthresh.max(self.cwnd / 4 * 3);
        }
        self.cwnd = self.cwnd.min(initial_window(self.mss()));
    }

    /// A window that nothing has changed begins anew with the new size. One of a single segment, as a timeout leaves it, stays one: what is
    /// cut from the segment that was lost does not leave all at once (RFC 5681 section 3.1, loss window). Another is one of bytes and stays.
    pub fn set_mss(&mut self, mss: u64) {
        let untouched = self.cwnd == initial_window(self.mss()) && self.ssthresh == UNLIMITED;
        let single = self.cwnd <= self.mss();
        self.mss = u32::try_from(mss.max(1)).unwrap_or(u32::MAX);
        self.cwnd = if untouched {
            initial_window(mss)
        } else if single {
            self.mss()
        } else {
            self.cwnd.max(mss)
        };
        self.ssthresh = self.ssthresh.max(2 * self.mss());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_timeout_holds_the_threshold_and_the_way_back() {
        let mut window = Window::new(1000);
        window.grow(10_000);
        window.reduce(10_000, Cause::Timeout);
        window.reduce(500, Cause::Timeout);
        assert_eq!((window.cwnd(), window.ssthresh()), (1000, Some(10_000)));
        assert!(window.undo());
        assert_eq!((window.cwnd(), window.ssthresh()), (20_000, None));
        assert!(!window.undo(), "only once");
    }

    #[test]
    fn marks_lead_to_one_segment_and_losses_to_two() {
        let mut window = Window::new(1000);
        window.reduce(0, Cause::Loss);
        assert_eq!(window.cwnd(), 2000);
        window.reduce(1000, Cause::Mark);
        assert_eq!((window.cwnd(), window.ssthresh()), (1000, Some(2000)));
    }

    #[test]
    fn a_restart_keeps_the_threshold_near_the_window() {
        let mut window = Window::new(1000);
        window.restart();
        assert_eq!((window.cwnd(), window.ssthresh()), (10_000, None));
        window.reduce(5000, Cause::Loss);
        window.grow(75_000);
        window.restart();
        assert_eq!((window.cwnd(), window.ssthresh()), (10_000, Some(60_000)));
    }

    #[test]
    fn a_window_that_shrinks_keeps_two_segments_and_takes_the_threshold_along() {
        let mut window = Window::new(1000);
        window.shrink(1500);
        assert_eq!((window.cwnd(), window.ssthresh()), (8500, Some(8500)));
        window.shrink(50_000);
        assert_eq!((window.cwnd(), window.ssthresh()), (2000, Some(2000)));
        window.reduce(5000, Cause::Timeout);
        window.shrink(50_000);
        assert_eq!(window.cwnd(), 1000, "never opened");
    }

    #[test]
    fn the_initial_window_follows_the_segment_size() {
        let mut window = Window::new(1460);
        window.set_mss(536);
        assert_eq!(window.cwnd(), 5360);
        window.reduce(2000, Cause::Loss);
        window.set_mss(9000);
        assert_eq!((window.cwnd(), window.ssthresh()), (9000, Some(18_000)));
    }

    #[test]
    fn a_window_of_one_segment_stays_one() {
        let mut window = Window::new(1460);
        window.reduce(10_000, Cause::Timeout);
        window.set_mss(512);
        assert_eq!((window.cwnd(), window.ssthresh()), (512, Some(10_000)));
        window.grow(1000);
        window.set_mss(400);
        assert_eq!(window.cwnd(), 1512, "a window of bytes");
    }
}
