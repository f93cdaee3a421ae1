//! ECF: earliest completion first.

use std::time::Duration;

use super::{DataView, Decision, Scheduler, SubflowView, burst_len, fastest};

/// Earliest completion first (Lim, Nahum, Towsley, Gibbens: "ECF: An MPTCP Path Scheduler to Manage Heterogeneous Paths", CoNEXT 2017,
/// algorithm 1).
///
/// Like [`LowestRtt`](super::LowestRtt), except that with the fastest subflow F full and k bytes unsent, the next one, S, is left out if waiting for F completes
/// the data earlier:
///
/// > (1 + k / cwnd_F) * RTT_F < (1 + waiting * beta) * (RTT_S + delta), and
/// > k / cwnd_S * RTT_S >= 2 * RTT_F + delta
///
/// delta is the larger of the two variations of the round-trip time. beta, 0.25, keeps it waiting once it waits. The second condition asks
/// whether S, which takes a round trip at least, is really later than F with a wait of one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ecf {
    waiting: bool,
}

const BETA: f64 = 0.25;

impl Scheduler for Ecf {
    fn name(&self) -> &'static str {
        "ecf"
    }

    fn pick(&mut self, subflows: &[SubflowView], data: &DataView) -> Option<Decision> {
        let (fast, index) = fastest(subflows, data)?;
        let (fast, slow) = (&subflows[fast], &subflows[index]);
        if fast.id != slow.id && !data.reinjection && self.waits(fast, slow, data) {
            return None;
        }
        Some(Decision { subflow: index, len: burst_len(slow, data), skip: 0 })
    }
}

impl Ecf {
    pub(super) fn waits(&mut self, fast: &SubflowView, slow: &SubflowView, data: &DataView) -> bool {
        let (Some(rtt_fast), Some(rtt_slow)) = (fast.srtt, slow.srtt) else { return false };
        let delta = fast.rttvar.max(slow.rttvar).unwrap_or(Duration::ZERO).as_secs_f64();
        let (rtt_fast, rtt_slow) = (rtt_fast.as_secs_f64(), rtt_slow.as_secs_f64());
        let (unsent, cwnd_slow) = (data.unsent as f64, slow.window() as f64);
        let by_fast = (1.0 + unsent / fast.window() as f64) * rtt_fast;
        let patience = if self.waiting { 1.0 + BETA } else { 1.0 };
        if by_fast >= patience * (rtt_slow + delta) {
            self.waiting = false;
            return false;
        }
        let slow_is_later = (unsent / cwnd_slow).max(1.0) * rtt_slow >= 2.0 * rtt_fast + delta;
        self.waiting |= slow_is_later;
        slow_is_later
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{data, view};
    use super::*;

    fn subflow(id: u32, room: usize, rtt_ms: u64, rttvar_ms: u64) -> SubflowView {
        SubflowView { cwnd: Some(10_000), rttvar: Some(Duration::from_millis(rttvar_ms)), ..view(id, room, rtt_ms) }
    }

    #[test]
    fn waits_for_the_fast_one_and_goes_on_waiting_a_little_longer() {
        let subflows = [subflow(0, 0, 10, 1), subflow(1, 9000, 100, 5)];
        let mut ecf = Ecf::default();
        let mut uses_slow = |unsent| ecf.pick(&subflows, &data(unsent)).is_some();
        // (1 + k / 10) * 10 ms against 100 + 5 ms: even at 95 segments; once it waits, against 131.25 ms: even at 121.25.
        assert!(uses_slow(100_000));
        assert!(!uses_slow(50_000));
        assert!(!uses_slow(100_000));
        assert!(!uses_slow(121_000));
        assert!(uses_slow(122_000));
        assert!(uses_slow(100_000));
    }

    #[test]
    fn does_not_wait_for_one_that_is_hardly_faster() {
        // The first condition holds: (1 + 1) * 10 < 19 + 5. The second does not: 19 < 2 * 10 + 5.
        let close = [subflow(0, 0, 10, 5), subflow(1, 9000, 19, 1)];
        assert!(Ecf::default().pick(&close, &data(10_000)).is_some());
        // The same with 26 ms: 20 < 31, 26 >= 25.
        let further = [subflow(0, 0, 10, 5), subflow(1, 9000, 26, 1)];
        assert!(Ecf::default().pick(&further, &data(10_000)).is_none());
        let again = DataView { reinjection: true, ..data(10_000) };
        assert!(Ecf::default().pick(&further, &again).is_some());
    }
}
