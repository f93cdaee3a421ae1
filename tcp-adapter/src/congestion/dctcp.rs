//! DCTCP (RFC 8257): for data centres, whose switches mark what waits in a queue longer than a few packets.

use super::reno::Reno;
use super::{Ack, Cause, CongestionControl, CongestionEvent, EcnResponse, Recovery, Sent};
use crate::Instant;

/// A marked fraction of 1 (section 4.2).
const SCALE: u64 = 1 << 16;
/// The estimation gain, 1/16, as a shift.
const GAIN: u32 = 4;

/// Reno, but marks reduce the window in proportion to how many there are.
#[derive(Clone, Debug)]
pub struct Dctcp {
    reno: Reno,
    /// Moving average of the fraction of bytes that were marked, of [`SCALE`].
    alpha: u64,
    /// The observation ends when everything before this offset is acknowledged.
    window_end: u64,
    acked: u64,
    marked: u64,
    /// Whether the window has been reduced during the observation.
    reduced: bool,
}

impl Dctcp {
    /// Begins with the initial window for segments of `mss` bytes.
    pub fn new(mss: u64) -> Self {
        Self { reno: Reno::new(mss), alpha: SCALE, window_end: 0, acked: 0, marked: 0, reduced: false }
    }

    /// Section 3.3, of the bytes that arrived and not of those acknowledged in order, so that a loss does not
    /// move marks from one round trip to another.
    fn observe(&mut self, ack: &Ack) {
        self.acked += ack.delivered;
        self.marked += ack.marked.min(ack.delivered);
        if ack.snd_una <= self.window_end || self.acked == 0 {
            return;
        }
        let level = SCALE * self.marked / self.acked;
        // What the shift would never take away is nothing (section 4.2).
        let decay = if self.alpha >> GAIN == 0 { self.alpha } else { self.alpha >> GAIN };
        self.alpha = (self.alpha - decay + (level >> GAIN)).min(SCALE);
        // Once per window of data, whatever the signals (section 3.5); in a recovery it has been.
        if self.marked > 0 && !self.reduced && ack.recovery == Recovery::Open {
            let cwnd = self.reno.cwnd();
            self.reno.reduce(cwnd - cwnd.saturating_mul(self.alpha) / (2 * SCALE), Cause::Mark);
        }
        self.window_end = ack.snd_nxt;
        (self.acked, self.marked, self.reduced) = (0, 0, false);
    }
}

impl CongestionControl for Dctcp {
    fn name(&self) -> &'static str {
        "dctcp"
    }

    fn cwnd(&self) -> u64 {
        self.reno.cwnd()
    }

    fn ssthresh(&self) -> Option<u64> {
        self.reno.ssthresh()
    }

    fn ecn(&self) -> EcnResponse {
        EcnResponse::Proportional
    }

    fn on_sent(&mut self, sent: &Sent) {
        self.reno.on_sent(sent);
    }

    fn on_ack(&mut self, ack: &Ack) {
        self.observe(ack);
        self.reno.on_ack(ack);
    }

    fn on_congestion(&mut self, event: &CongestionEvent) {
        self.reduced = true;
        self.reno.on_congestion(event);
    }

    fn on_spurious(&mut self, now: Instant) {
        self.reno.on_spurious(now);
    }

    fn on_restart(&mut self, now: Instant, idle: u64) {
        self.reno.on_restart(now, idle);
    }

    fn set_mss(&mut self, mss: u64) {
        self.reno.set_mss(mss);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{MSS, ack, congestion};
    use super::*;

    /// One observation window of 100 segments, `marked` of which are.
    fn observe(dctcp: &mut Dctcp, round: u64, marked: u64) {
        let ack = Ack {
            marked: marked * MSS,
            snd_una: round + 1,
            snd_nxt: round + 1,
            cwnd_limited: false,
            ..ack(Instant::ZERO, 100 * MSS)
        };
        dctcp.on_ack(&ack);
    }

    #[test]
    fn alpha_is_the_moving_average_of_the_marked_fraction() {
        let mut dctcp = Dctcp::new(MSS);
        let mut expected = 1.0_f64;
        for round in 0..100 {
            let marked = [0, 10, 50, 100][round as usize % 4];
            observe(&mut dctcp, round, marked);
            expected = expected * (1.0 - 1.0 / 16.0) + marked as f64 / 100.0 / 16.0;
            let alpha = dctcp.alpha as f64 / SCALE as f64;
            assert!((alpha - expected).abs() < 0.001, "round {round}: {alpha}, expected {expected}");
        }
    }

    #[test]
    fn alpha_reaches_nothing_and_everything() {
        let mut dctcp = Dctcp::new(MSS);
        (0..300).for_each(|round| observe(&mut dctcp, round, 0));
        assert_eq!(dctcp.alpha, 0);
        (300..800).for_each(|round| observe(&mut dctcp, round, 100));
        assert!(dctcp.alpha > SCALE - 16 && dctcp.alpha <= SCALE, "{}", dctcp.alpha);
    }

    #[test]
    fn marks_take_half_of_alpha_and_losses_half_of_the_window() {
        let mut dctcp = Dctcp::new(MSS);
        observe(&mut dctcp, 0, 100);
        assert_eq!((dctcp.cwnd(), dctcp.ssthresh()), (5 * MSS, Some(5 * MSS)), "alpha begins with 1");
        dctcp.alpha = SCALE / 4;
        observe(&mut dctcp, 1, 25);
        assert_eq!(dctcp.cwnd(), 5 * MSS * 7 / 8);
        let cwnd = dctcp.cwnd();
        dctcp.on_congestion(&congestion(Instant::ZERO, Cause::Loss, cwnd));
        assert_eq!(dctcp.cwnd(), cwnd / 2);
        observe(&mut dctcp, 2, 25);
        assert_eq!(dctcp.cwnd(), cwnd / 2, "once per window");
        dctcp.on_spurious(Instant::ZERO);
        assert_eq!(dctcp.cwnd(), cwnd);
    }
}
