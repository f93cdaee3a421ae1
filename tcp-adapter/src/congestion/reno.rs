//! Reno: RFC 5681 and RFC 6582, counting bytes as RFC 3465 does.

use super::window::Window;
use super::{Ack, Cause, CongestionControl, CongestionEvent};
use crate::Instant;

/// One segment more per round trip; half the window after a loss.
#[derive(Clone, Debug)]
pub struct Reno {
    window: Window,
    /// Bytes that have arrived since congestion avoidance last opened the window (RFC 3465 section 2.1).
    arrived: u64,
}

impl Reno {
    /// Begins with the initial window for segments of `mss` bytes.
    pub fn new(mss: u64) -> Self {
        Self { window: Window::new(mss), arrived: 0 }
    }

    /// Reduces the window to `to` bytes, whatever half of it would be.
    pub(super) fn reduce(&mut self, to: u64, cause: Cause) {
        self.arrived = 0;
        self.window.reduce(to, cause);
    }
}

impl CongestionControl for Reno {
    fn name(&self) -> &'static str {
        "reno"
    }

    fn cwnd(&self) -> u64 {
        self.window.cwnd()
    }

    fn ssthresh(&self) -> Option<u64> {
        self.window.ssthresh()
    }

    fn on_ack(&mut self, ack: &Ack) {
        let mut bytes = self.window.earned(ack);
        if self.window.in_slow_start() {
            bytes = self.window.slow_start_in_steps(ack, bytes);
        }
        let cwnd = self.window.cwnd();
        self.arrived += bytes.min(cwnd);
        if self.arrived >= cwnd {
            self.arrived -= cwnd;
            self.window.grow(self.window.mss());
        }
    }

    fn on_congestion(&mut self, event: &CongestionEvent) {
        self.reduce(self.window.flight(event) / 2, event.cause);
    }

    fn on_spurious(&mut self, _now: Instant) {
        self.window.undo();
    }

    fn on_restart(&mut self, _now: Instant, _idle: u64) {
        self.arrived = 0;
        self.window.restart();
    }

    fn set_mss(&mut self, mss: u64) {
        self.window.set_mss(mss);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Recovery;
    use super::super::testing::{MSS, ack, congestion};
    use super::*;

    /// One round trip of a full window, an acknowledgement for every `segments` segments.
    fn round(reno: &mut Reno, segments: u64) {
        let mut left = reno.cwnd();
        while left > 0 {
            let bytes = left.min(segments * MSS);
            reno.on_ack(&ack(Instant::ZERO, bytes));
            left -= bytes;
        }
    }

    #[test]
    fn slow_start_doubles_with_delayed_acknowledgements_too() {
        for segments in [1, 2] {
            let mut reno = Reno::new(MSS);
            round(&mut reno, segments);
            assert_eq!(reno.cwnd(), 20 * MSS);
        }
        let mut reno = Reno::new(MSS);
        round(&mut reno, 5);
        assert_eq!(reno.cwnd(), 14 * MSS, "L = 2 segments");
    }

    #[test]
    fn congestion_avoidance_adds_a_segment_per_round_trip() {
        let mut reno = Reno::new(MSS);
        reno.on_congestion(&congestion(Instant::ZERO, Cause::Loss, 10 * MSS));
        assert_eq!((reno.cwnd(), reno.ssthresh()), (5 * MSS, Some(5 * MSS)));
        for rounds in 1..20 {
            round(&mut reno, 2);
            assert_eq!(reno.cwnd(), (5 + rounds) * MSS);
        }
    }

    #[test]
    fn a_timeout_leads_to_slow_start_up_to_the_threshold() {
        let mut reno = Reno::new(MSS);
        reno.on_congestion(&congestion(Instant::ZERO, Cause::Timeout, 10 * MSS));
        assert_eq!((reno.cwnd(), reno.ssthresh()), (MSS, Some(5 * MSS)));
        let repairing = Ack { recovery: Recovery::Timeout, ..ack(Instant::ZERO, 4 * MSS) };
        reno.on_ack(&repairing);
        assert_eq!(reno.cwnd(), 2 * MSS, "L = 1 segment");
        (0..3).for_each(|_| reno.on_ack(&repairing));
        assert_eq!(reno.cwnd(), 5 * MSS);
        reno.on_ack(&repairing);
        assert_eq!(reno.cwnd(), 5 * MSS, "congestion avoidance");
        reno.on_spurious(Instant::ZERO);
        assert_eq!((reno.cwnd(), reno.ssthresh()), (10 * MSS, None));
    }

    #[test]
    fn a_window_that_is_not_used_or_that_is_held_does_not_grow() {
        let mut reno = Reno::new(MSS);
        for recovery in [Recovery::Open, Recovery::Reduced, Recovery::Fast] {
            let cwnd_limited = recovery != Recovery::Open;
            reno.on_ack(&Ack { recovery, cwnd_limited, ..ack(Instant::ZERO, 10 * MSS) });
            assert_eq!(reno.cwnd(), 10 * MSS);
        }
    }

    #[test]
    fn half_of_what_was_in_flight_counts_if_the_window_was_not_used() {
        let mut reno = Reno::new(MSS);
        reno.on_ack(&Ack { cwnd_limited: false, ..ack(Instant::ZERO, MSS) });
        reno.on_congestion(&congestion(Instant::ZERO, Cause::Loss, 6 * MSS));
        assert_eq!(reno.cwnd(), 3 * MSS);
    }
}
