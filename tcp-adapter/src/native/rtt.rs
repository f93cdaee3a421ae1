//! Round-trip times and the retransmission timeout (RFC 6298), in nanoseconds.

use std::time::Duration;

use crate::{Instant, RoundTrip};

/// Retransmission timeout before anything is known (RFC 6298 section 2.1).
const INITIAL_RTO: u32 = 1_000_000_000;

/// How long the smallest round-trip time stays the smallest: paths change (RFC 8985 section 6.2 leaves the length open; Linux
/// takes five minutes).
const MIN_RTT_WINDOW: Duration = Duration::from_secs(300);

/// Estimates of one connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct RttEstimator {
    /// Smoothed; 0 if unknown.
    srtt: u64,
    rttvar: u64,
    latest: u64,
    min: u64,
    min_since: Instant,
    /// Timeout while nothing is known.
    initial_rto: u32,
    /// Bounds of the timeout, in microseconds: they are configured, and there are very many connections.
    min_rto: u32,
    max_rto: u32,
    /// Timeouts in a row without an acknowledgement of anything new.
    timeouts: u16,
    /// The timeout is so many times doubled.
    backoff: u16,
}

impl RttEstimator {
    pub(super) fn new(min_rto: Duration, max_rto: Duration) -> Self {
        let micros = |time: Duration| u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
        Self {
            srtt: 0,
            rttvar: 0,
            latest: 0,
            min: u64::MAX,
            min_since: Instant::ZERO,
            initial_rto: INITIAL_RTO,
            min_rto: micros(min_rto),
            max_rto: micros(max_rto),
            timeouts: 0,
            backoff: 0,
        }
    }

    /// A segment that was sent once was acknowledged after `rtt`; `smallest` is the time of the newest one that was acknowledged at once,
    /// which contains no delay of the receiver's.
    pub(super) fn sample(&mut self, now: Instant, rtt: u64, smallest: u64) {
        // A time of zero would be no time at all, in virtual time too.
        let (rtt, smallest) = (rtt.max(1), smallest.max(1));
        self.backoff = 0;
        self.latest = smallest;
        if smallest <= self.min || now.saturating_since(self.min_since) > MIN_RTT_WINDOW {
            (self.min, self.min_since) = (smallest, now);
        }
        if self.srtt == 0 {
            (self.srtt, self.rttvar) = (rtt, rtt / 2);
        } else {
            self.rttvar = (self.rttvar * 3 + self.srtt.abs_diff(rtt)) / 4;
            self.srtt = (self.srtt * 7 + rtt) / 8;
        }
    }

    /// Smoothed round-trip time; 0 if unknown.
    pub(super) fn srtt(&self) -> u64 {
        self.srtt
    }

    /// Whether what is not answered after two round trips is not merely late: that is no sooner than the timeout would be without its lower bound
    /// (RFC 6298 section 2.3).
    pub(super) fn is_steady(&self) -> bool {
        self.srtt > 0 && 4 * self.rttvar <= self.srtt
    }

    /// Measured last; 0 if unknown.
    pub(super) fn latest(&self) -> u64 {
        self.latest
    }

    /// See [`TcpStack::round_trip`](crate::TcpStack::round_trip).
    pub(super) fn round_trip(&self) -> Option<RoundTrip> {
        let time = Duration::from_nanos;
        (self.srtt > 0).then(|| RoundTrip { smoothed: time(self.srtt), variation: time(self.rttvar) })
    }

    pub(super) fn rttvar(&self) -> u64 {
        self.rttvar
    }

    /// Smallest round-trip time; 0 if unknown.
    pub(super) fn min(&self) -> u64 {
        if self.min == u64::MAX { 0 } else { self.min }
    }

    /// The timeout, backed off (RFC 6298 sections 2 and 5.5). The variation counts for the granularity of a clock at least, here
    /// the smallest timeout, so that a path without jitter does not time out by a hair (RFC 6298 section 2.3, G).
    pub(super) fn rto(&self) -> u64 {
        let [least, most] = [self.min_rto, self.max_rto].map(|micros| u64::from(micros) * 1_000);
        let base = if self.srtt == 0 { self.initial_rto.into() } else { self.srtt + (self.rttvar * 4).max(least) };
        base.max(least).saturating_mul(1 << self.backoff.min(16)).min(most)
    }

    /// Timeouts in a row.
    pub(super) fn timeouts(&self) -> u32 {
        self.timeouts.into()
    }

    /// Whether the timeout is longer than what was measured, since nothing was measured after it expired.
    pub(super) fn is_backed_off(&self) -> bool {
        self.backoff > 0
    }

    /// The timer has expired (RFC 6298 section 5.5).
    pub(super) fn back_off(&mut self) {
        self.timeouts = self.timeouts.saturating_add(1);
        self.backoff = self.backoff.saturating_add(1);
    }

    /// Something new was acknowledged. If it was sent again, that says nothing of the round trip: the timeout stays as long as it is until there
    /// is a [`sample`](Self::sample), or it would go on to expire too early on a path that has become longer (RFC 6298 section 5).
    pub(super) fn progressed(&mut self) {
        self.timeouts = 0;
    }

    /// The timeout was spurious.
    pub(super) fn reset_backoff(&mut self) {
        (self.timeouts, self.backoff) = (0, 0);
    }

    /// The SYN had to be repeated, and its round-trip time is not known: RFC 6298 section 5.7 asks for 3 s once data is sent.
    pub(super) fn after_lost_syn(&mut self) {
        const RTO_AFTER_LOST_SYN: u32 = 3_000_000_000;
        self.reset_backoff();
        self.initial_rto = RTO_AFTER_LOST_SYN;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn estimator() -> RttEstimator {
        RttEstimator::new(Duration::from_millis(200), Duration::from_secs(120))
    }

    #[test]
    fn estimates_follow_rfc_6298() {
        let mut rtt = estimator();
        assert_eq!((rtt.srtt(), rtt.min(), rtt.rto()), (0, 0, 1000 * MS));
        rtt.sample(Instant::from_millis(0), 100 * MS, 90 * MS);
        assert_eq!((rtt.srtt(), rtt.rttvar(), rtt.min()), (100 * MS, 50 * MS, 90 * MS));
        assert_eq!(rtt.rto(), 300 * MS);
        rtt.sample(Instant::from_millis(1), 180 * MS, 180 * MS);
        assert_eq!((rtt.srtt(), rtt.rttvar()), (110 * MS, (150 + 80) * MS / 4));
        assert_eq!(rtt.min(), 90 * MS);
    }

    #[test]
    fn a_lost_syn_makes_the_timeout_longer_and_says_nothing_of_the_round_trip() {
        let mut rtt = estimator();
        rtt.after_lost_syn();
        assert_eq!((rtt.srtt(), rtt.rto()), (0, 3000 * MS));
        rtt.sample(Instant::ZERO, 10 * MS, 10 * MS);
        assert_eq!((rtt.srtt(), rtt.rto()), (10 * MS, 210 * MS));
    }

    #[test]
    fn timeouts_back_off_within_their_bounds() {
        let mut rtt = estimator();
        rtt.sample(Instant::ZERO, MS, MS);
        assert_eq!(rtt.rto(), 201 * MS);
        rtt.back_off();
        rtt.back_off();
        assert_eq!(rtt.rto(), 804 * MS);
        for _ in 0..100 {
            rtt.back_off();
        }
        assert_eq!(rtt.rto(), 120_000 * MS);
        rtt.reset_backoff();
        assert_eq!(rtt.rto(), 201 * MS);
    }

    #[test]
    fn the_smallest_time_is_forgotten() {
        let mut rtt = estimator();
        rtt.sample(Instant::ZERO, MS, MS);
        rtt.sample(Instant::from_millis(299_000), 5 * MS, 5 * MS);
        assert_eq!(rtt.min(), MS);
        rtt.sample(Instant::from_millis(301_000), 5 * MS, 5 * MS);
        assert_eq!(rtt.min(), 5 * MS);
    }

    #[test]
    fn a_repeated_syn_makes_the_first_timeout_long() {
        let mut rtt = estimator();
        rtt.back_off();
        rtt.after_lost_syn();
        assert_eq!(rtt.rto(), 3000 * MS);
    }
}
