//! Round-trip time estimation in nanoseconds (RFC 6298), since smoltcp keeps its own to itself.

use std::time::Duration;

use crate::Instant;

/// Smallest retransmission timeout of smoltcp, which cannot be changed.
pub(super) const MIN_RTO: Duration = Duration::from_secs(1);
/// Largest retransmission timeout of smoltcp.
const MAX_RTO: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct RttEstimator {
    estimate: Option<Estimate>,
    min: Option<Duration>,
    /// The segment being timed: offset that its acknowledgement must reach, and when it left.
    timed: Option<(u64, Instant)>,
}

#[derive(Clone, Copy, Debug)]
struct Estimate {
    srtt: Duration,
    rttvar: Duration,
}

impl RttEstimator {
    /// A segment that ends before `end` leaves for the first time.
    pub(super) fn sent(&mut self, now: Instant, end: u64) {
        self.timed.get_or_insert((end, now));
    }

    /// A segment that begins at `offset` leaves again: its acknowledgement
    /// would be ambiguous (Karn's rule, RFC 6298 section 3).
    pub(super) fn ambiguous_from(&mut self, offset: u64) {
        if self.timed.is_some_and(|(end, _)| offset < end) {
            self.timed = None;
        }
    }

    /// What is being timed, if anything, has left again.
    pub(super) fn ambiguous(&mut self) {
        self.timed = None;
    }

    /// Everything before `offset` has been acknowledged.
    pub(super) fn acknowledged(&mut self, now: Instant, offset: u64) {
        if let Some((end, at)) = self.timed
            && offset >= end
        {
            self.timed = None;
            self.sample(now.saturating_since(at));
        }
    }

    pub(super) fn srtt(&self) -> Option<Duration> {
        self.estimate.map(|estimate| estimate.srtt)
    }

    pub(super) fn rttvar(&self) -> Option<Duration> {
        self.estimate.map(|estimate| estimate.rttvar)
    }

    pub(super) fn min(&self) -> Option<Duration> {
        self.min
    }

    /// The timeout after `timeouts` timeouts in a row (RFC 6298 sections 2 and 5.5).
    pub(super) fn rto(&self, timeouts: u32) -> Duration {
        let base = self.estimate.map_or(MIN_RTO, |estimate| estimate.srtt + estimate.rttvar * 4);
        base.clamp(MIN_RTO, MAX_RTO).saturating_mul(1 << timeouts.min(6)).min(MAX_RTO)
    }

    fn sample(&mut self, rtt: Duration) {
        self.min = Some(self.min.map_or(rtt, |min| min.min(rtt)));
        self.estimate = Some(match self.estimate {
            None => Estimate { srtt: rtt, rttvar: rtt / 2 },
            Some(Estimate { srtt, rttvar }) => {
                Estimate { srtt: (srtt * 7 + rtt) / 8, rttvar: (rttvar * 3 + srtt.abs_diff(rtt)) / 4 }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates_follow_rfc_6298() {
        let mut rtt = RttEstimator::default();
        assert_eq!(rtt.rto(0), MIN_RTO);
        rtt.sent(Instant::from_millis(0), 100);
        rtt.sent(Instant::from_millis(5), 200);
        rtt.acknowledged(Instant::from_millis(8), 99);
        assert_eq!(rtt.srtt(), None);
        rtt.acknowledged(Instant::from_millis(10), 100);
        assert_eq!(rtt.srtt(), Some(Duration::from_millis(10)));
        assert_eq!(rtt.rttvar(), Some(Duration::from_millis(5)));
        rtt.sent(Instant::from_millis(20), 300);
        rtt.acknowledged(Instant::from_millis(38), 300);
        assert_eq!(rtt.srtt(), Some(Duration::from_millis(11)));
        assert_eq!(rtt.rttvar(), Some(Duration::from_micros(5_750)));
        assert_eq!(rtt.min(), Some(Duration::from_millis(10)));
        assert_eq!(rtt.rto(2), Duration::from_secs(4));
        assert_eq!(rtt.rto(31), MAX_RTO);
    }

    #[test]
    fn a_retransmitted_segment_is_not_timed() {
        let mut rtt = RttEstimator::default();
        rtt.sent(Instant::from_millis(0), 100);
        rtt.ambiguous_from(100);
        rtt.ambiguous_from(50);
        rtt.acknowledged(Instant::from_millis(900), 100);
        assert_eq!(rtt.srtt(), None);
    }
}
