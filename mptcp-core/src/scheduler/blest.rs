//! BLEST: what would block the window is left to the fast subflow.

use tcp_adapter::Instant;

use super::{DataView, Decision, Scheduler, SubflowView, burst_len, fastest};

/// Blocking estimation (Ferlin, Alay, Mehani, Boreli: "BLEST: Blocking Estimation-based MPTCP Scheduler for Heterogeneous Networks", IFIP
/// Networking 2016).
///
/// Like [`LowestRtt`](super::LowestRtt), except that a slower subflow S gets nothing while what the fastest one, F, could send during a round
/// trip of S needs the window that is left once S has its segment:
///
/// > X * lambda > window - MSS_S * (in flight on S + 1), X = MSS_F * (cwnd_F + (n - 1) / 2) * n, n = RTT_S / RTT_F
///
/// lambda corrects the estimate. It starts at 1.2, grows by 0.04 after a round trip of F in which the window was blocked, shrinks by 0.01
/// after any other, and stays between 1.0 and 1.3 (constants of the authors' implementation).
#[derive(Clone, Copy, Debug)]
pub struct Blest {
    lambda: f64,
    /// The window was blocked since lambda changed last.
    blocked: bool,
    adapted_at: Option<Instant>,
}

const FIRST_LAMBDA: f64 = 1.2;
const LEAST_LAMBDA: f64 = 1.0;
const MOST_LAMBDA: f64 = 1.3;
const GROWTH: f64 = 0.04;
const DECAY: f64 = 0.01;

impl Default for Blest {
    fn default() -> Self {
        Self { lambda: FIRST_LAMBDA, blocked: false, adapted_at: None }
    }
}

impl Scheduler for Blest {
    fn name(&self) -> &'static str {
        "blest"
    }

    fn pick(&mut self, subflows: &[SubflowView], data: &DataView) -> Option<Decision> {
        let (fast, index) = fastest(subflows, data)?;
        let (fast, slow) = (&subflows[fast], &subflows[index]);
        if fast.id != slow.id && !data.reinjection && self.would_block(fast, slow, data) {
            return None;
        }
        Some(Decision { subflow: index, len: burst_len(slow, data), skip: 0 })
    }

    fn on_window_blocked(&mut self, _now: Instant) {
        self.blocked = true;
    }
}

impl Blest {
    fn would_block(&mut self, fast: &SubflowView, slow: &SubflowView, data: &DataView) -> bool {
        let (Some(rtt_fast), Some(rtt_slow)) = (fast.srtt, slow.srtt) else { return false };
        match self.adapted_at {
            None => self.adapted_at = Some(data.now),
            Some(at) if data.now >= at + rtt_fast => {
                let change = if std::mem::take(&mut self.blocked) { GROWTH } else { -DECAY };
                self.lambda = (self.lambda + change).clamp(LEAST_LAMBDA, MOST_LAMBDA);
                self.adapted_at = Some(data.now);
            }
            Some(_) => {}
        }
        let rounds = rtt_slow.as_secs_f64() / rtt_fast.as_secs_f64().max(1e-9);
        let fast_bytes = (fast.window() as f64 + fast.mss as f64 * (rounds - 1.0) / 2.0) * rounds;
        let window = (data.position.saturating_sub(data.una) + data.window) as f64;
        fast_bytes * self.lambda > window - slow.outstanding().saturating_add(slow.mss as u64) as f64
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::tests::{data, view};
    use super::*;

    /// F has 10 ms, ten segments, and no room; S has 100 ms, and so many segments in flight.
    fn pair(in_flight: u64) -> [SubflowView; 2] {
        let fast = SubflowView { cwnd: Some(10_000), in_flight: 10_000, ..view(0, 0, 10) };
        [fast, SubflowView { cwnd: Some(50_000), in_flight: in_flight * 1000, ..view(1, 9000, 100) }]
    }

    /// The window is 200 segments, of which 40 are used.
    fn window(now_ms: u64) -> DataView {
        DataView { position: 40_000, una: 0, window: 160_000, now: Instant::from_millis(now_ms), ..data(160_000) }
    }

    #[test]
    fn a_slow_subflow_gets_nothing_that_blocks_the_window() {
        // n = 10, X = (10 + 9 / 2) * 10 = 145 segments, 174 with lambda; 200 - (25 + 1) = 174 are left.
        assert_eq!(Blest::default().pick(&pair(25), &window(0)).map(|decision| decision.subflow), Some(1));
        assert_eq!(Blest::default().pick(&pair(26), &window(0)), None);
        let again = DataView { reinjection: true, ..window(0) };
        assert!(Blest::default().pick(&pair(26), &again).is_some(), "what blocks already is not kept back");
    }

    #[test]
    fn lambda_follows_what_the_window_does() {
        let mut blest = Blest::default();
        let mut at = |ms: u64, blocked: bool| {
            if blocked {
                blest.on_window_blocked(Instant::from_millis(ms));
            }
            blest.pick(&pair(0), &window(ms));
            (blest.lambda * 100.0).round() / 100.0
        };
        assert_eq!(
            [at(0, false), at(9, true), at(10, false), at(19, false), at(20, false)],
            [1.2, 1.2, 1.24, 1.24, 1.23]
        );
        assert_eq!((3..40).map(|round| at(round * 10, false)).last(), Some(1.0));
        assert_eq!((40..60).map(|round| at(round * 10, true)).last(), Some(1.3));
    }

    #[test]
    fn room_on_the_fast_one_is_used_first() {
        let [fast, slow] = pair(100);
        let fast = SubflowView { room: 9000, ..fast };
        assert_eq!(Blest::default().pick(&[slow, fast], &window(0)).map(|decision| decision.subflow), Some(1));
        let unknown = SubflowView { srtt: None, ..slow };
        assert!(Blest::default().pick(&[unknown], &window(0)).is_some());
        assert_eq!(pair(0)[0].srtt, Some(Duration::from_millis(10)));
    }
}
