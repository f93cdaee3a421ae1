//! Weighted Vegas (Cao, Xu, Fu: "Delay-based congestion control for multipath TCP", ICNP 2012;
//! draft-xu-mptcp-congestion-control-05).

use tcp_adapter::congestion::Ack;

use super::board::Paths;
use super::coupled::Rule;

/// Segments that all subflows together are to have in queues: total_alpha of section 3.
const TOTAL_ALPHA: f64 = 10.0;
/// And one at least: below, nothing of a queue is to be seen.
const LEAST_ALPHA: f64 = 2.0;
/// Segments in queues with which slow start ends (Vegas).
const GAMMA: f64 = 1.0;
/// A queueing delay so many times the smallest one may be one of our own making, which hides the true round-trip time: the window gives
/// way until the queue has drained.
const DRAIN_AT: f64 = 2.0;

/// Once per round trip a segment more, if fewer than alpha are in queues, or one less. Alpha is the path's share of the total, by its
/// share of the rate, so that traffic moves to where the queueing delay is smaller.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wvegas {
    /// Segments that this path is to have in queues.
    alpha: f64,
    /// The smallest round-trip time, in seconds.
    base: f64,
    /// The smallest queueing delay with that many, in seconds.
    queue: f64,
    round: Round,
    /// Bytes that the end of slow start is to take back.
    excess: f64,
}

/// Samples of a round trip.
#[derive(Clone, Copy, Debug, Default)]
struct Round {
    /// It ends when everything before this offset is acknowledged.
    end: u64,
    sum: f64,
    count: u32,
}

impl Default for Wvegas {
    fn default() -> Self {
        Self { alpha: TOTAL_ALPHA, base: f64::INFINITY, queue: f64::INFINITY, round: Round::default(), excess: 0.0 }
    }
}

impl Rule for Wvegas {
    const NAME: &'static str = "wvegas";

    fn increase(&mut self, _bytes: f64, mss: f64, paths: &Paths, ack: &Ack) -> f64 {
        let back = -std::mem::take(&mut self.excess);
        back + self.next_round(ack).map_or(0.0, |rtt| self.adapt(rtt, paths, mss) * mss)
    }

    fn ends_slow_start(&mut self, mss: f64, paths: &Paths, ack: &Ack) -> bool {
        let Some(rtt) = self.next_round(ack) else { return false };
        let queued = self.queued(rtt, paths, mss);
        let ends = queued > GAMMA;
        if ends {
            self.excess = (queued - GAMMA) * mss;
        }
        ends
    }

    fn on_restart(&mut self) {
        *self = Self { base: self.base, ..Self::default() };
    }
}

impl Wvegas {
    /// Takes a sample; the mean round-trip time in seconds if that was the last one of a round.
    fn next_round(&mut self, ack: &Ack) -> Option<f64> {
        if let Some(rtt) = ack.rtt {
            let rtt = rtt as f64 / 1e9;
            self.base = self.base.min(rtt);
            self.round.sum += rtt;
            self.round.count += 1;
        }
        if ack.snd_una <= self.round.end {
            return None;
        }
        let Round { sum, count, .. } =
            std::mem::replace(&mut self.round, Round { end: ack.snd_nxt, sum: 0.0, count: 0 });
        (count > 0).then(|| sum / f64::from(count))
    }

    /// Segments in queues: the difference between the expected and the actual rate, for the base round-trip time.
    fn queued(&self, rtt: f64, paths: &Paths, mss: f64) -> f64 {
        paths.own().window / mss * (rtt - self.base) / rtt
    }

    /// What a round trip of `rtt` seconds changes the window by, in segments.
    fn adapt(&mut self, rtt: f64, paths: &Paths, mss: f64) -> f64 {
        let queued = self.queued(rtt, paths, mss);
        let queue = rtt - self.base;
        if queued >= self.alpha {
            // The path is in its equilibrium: its rate tells what it is worth, and its queue what is due to it.
            let weight = paths.own().rate() / paths.rate();
            self.alpha = (weight * TOTAL_ALPHA).max(LEAST_ALPHA);
            self.queue = self.queue.min(queue);
        }
        if queue >= DRAIN_AT * self.queue && queued > self.alpha {
            self.queue = f64::INFINITY;
            let window = paths.own().window / mss;
            return -window * (1.0 - self.base / (2.0 * rtt));
        }
        if queued > self.alpha { -1.0 } else { 1.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::super::coupled::testing::{MSS, assert_near, paths};
    use super::super::samples::testing::{MS, ack};
    use super::*;

    /// A round trip of `ms` with a base of 100 ms, in segments; the first of `windows` is the own one.
    fn round(wvegas: &mut Wvegas, ms: u64, windows: &[f64]) -> f64 {
        wvegas.base = 0.1;
        let paths = paths(&windows.iter().map(|window| (*window, ms as f64)).collect::<Vec<_>>());
        let ack =
            Ack { rtt: Some(ms * MS), snd_una: wvegas.round.end + 1, snd_nxt: wvegas.round.end + 2, ..ack(0, ms * MS) };
        wvegas.increase(MSS, MSS, &paths, &ack) / MSS
    }

    #[test]
    fn a_segment_per_round_trip_towards_alpha_in_queues() {
        let mut wvegas = Wvegas::default();
        // 50 * 25/125 = 10 in queues, which is alpha.
        assert_near(round(&mut wvegas, 125, &[50.0]), 1.0);
        assert_near(round(&mut wvegas, 120, &[50.0]), 1.0);
        assert_near(round(&mut wvegas, 126, &[51.0]), -1.0);
    }

    #[test]
    fn alpha_goes_with_the_share_of_the_rate() {
        let mut wvegas = Wvegas::default();
        round(&mut wvegas, 130, &[60.0, 20.0]);
        assert_near(wvegas.alpha, 7.5);
        round(&mut wvegas, 130, &[60.0, 20.0, 520.0]);
        assert_near(wvegas.alpha, 2.0);
        // Only in the equilibrium.
        round(&mut wvegas, 101, &[60.0, 20.0]);
        assert_near(wvegas.alpha, 2.0);
    }

    #[test]
    fn a_queue_that_grows_is_drained_once() {
        let mut wvegas = Wvegas::default();
        round(&mut wvegas, 120, &[66.0]);
        // 45 ms of queue are more than twice 20 ms: 60 * 100/290 are left.
        assert_near(round(&mut wvegas, 145, &[60.0]), -60.0 * (1.0 - 100.0 / 290.0));
        assert_near(round(&mut wvegas, 145, &[60.0]), -1.0);
    }

    #[test]
    fn slow_start_ends_with_a_segment_in_queues_and_takes_the_others_back() {
        let mut wvegas = Wvegas { base: 0.1, ..Wvegas::default() };
        let sample = |ms| Ack { rtt: Some(ms * MS), snd_una: 1, snd_nxt: 1, ..ack(0, ms * MS) };
        assert!(!wvegas.ends_slow_start(MSS, &paths(&[(10.0, 110.0)]), &sample(110)), "10 * 10/110");
        wvegas.round.end = 0;
        assert!(wvegas.ends_slow_start(MSS, &paths(&[(40.0, 125.0)]), &sample(125)));
        // 40 * 25/125 - 1.
        assert_near(wvegas.increase(MSS, MSS, &paths(&[(40.0, 125.0)]), &sample(125)), -7.0 * MSS);
    }
}
