//! A rate that all subflows of a connection keep to together.
//!
//! A bucket holds a burst, and what is handed to any subflow's TCP is taken from it. Each TCP spreads its part over time, if it can.

use std::time::Duration;

use tcp_adapter::Instant;

use super::shares::{bytes_in, time_of};

/// A burst is what passes in this time, so that few timers are needed.
const BURST: Duration = Duration::from_millis(2);

/// Bytes of a burst at least: four segments of the common size, so that half of it makes a receiver acknowledge at once.
const LEAST_BURST: u64 = 4 * 1460;

/// How much may be handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RateLimit {
    /// Bytes per second, at least 1.
    rate: u64,
    /// When what was handed over would all have left at this rate.
    busy_until: Instant,
}

impl RateLimit {
    /// One that has a burst to begin with.
    pub(crate) fn new(rate: u64) -> Self {
        Self { rate: rate.max(1), busy_until: Instant::ZERO }
    }

    /// The same with another rate. What has not left yet by the old one takes its time by the new one.
    pub(crate) fn with_rate(self, rate: u64, now: Instant) -> Self {
        let rate = rate.max(1);
        Self { rate, busy_until: now + time_of(rate, self.owed(now)) }
    }

    pub(crate) fn rate(&self) -> u64 {
        self.rate
    }

    /// Bytes that may be handed over now to a subflow whose full segments have `mss` bytes: one of them at least, however long they are, or none.
    pub(crate) fn allowance(&self, mss: usize, now: Instant) -> usize {
        let (burst, mss) = (self.burst(), mss as u64);
        let left = burst.saturating_sub(self.owed(now));
        if left < mss.min(burst / 2) { 0 } else { usize::try_from(left.max(mss)).unwrap_or(usize::MAX) }
    }

    /// When half a burst may be handed over; `None` if it may now.
    pub(crate) fn ready_at(&self, now: Instant) -> Option<Instant> {
        let burst = self.burst();
        let too_much = self.owed(now).saturating_sub(burst - burst / 2);
        (too_much > 0).then(|| now + time_of(self.rate, too_much))
    }

    /// Bytes were handed over.
    pub(crate) fn charge(&mut self, bytes: u64, now: Instant) {
        self.busy_until = self.busy_until.max(now) + time_of(self.rate, bytes);
    }

    /// Bytes that have not left yet, by the rate.
    fn owed(&self, now: Instant) -> u64 {
        bytes_in(self.rate, self.busy_until - now)
    }

    fn burst(&self) -> u64 {
        bytes_in(self.rate, BURST).max(LEAST_BURST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Instant = Instant::from_millis(1000);

    #[test]
    fn the_rate_is_kept_whatever_it_is_and_however_long_segments_are() {
        for rate in [1_000_u64, 1_000_000, 1_250_000_007, 50_000_000_000] {
            for mss in [536, 1460, 8960, 65_000] {
                let mut limit = RateLimit::new(rate);
                // In a thousand bursts or segments.
                let time = time_of(rate, 1000 * limit.burst().max(mss as u64));
                let (mut now, mut sent) = (START, 0);
                while now < START + time {
                    match limit.allowance(mss, now) {
                        0 => now = limit.ready_at(now).unwrap(),
                        bytes => {
                            assert!(bytes >= mss, "{bytes} at {rate}");
                            // Whole segments, as of most data.
                            let bytes = (bytes / mss * mss) as u64;
                            limit.charge(bytes, now);
                            sent += bytes;
                        }
                    }
                }
                let expected = bytes_in(rate, time);
                assert!(sent.abs_diff(expected) < expected / 200, "{sent} of {expected} at {rate} with {mss}");
            }
        }
    }

    #[test]
    fn idleness_earns_one_burst() {
        let mut limit = RateLimit::new(1_000_000);
        assert_eq!((limit.allowance(1460, START), limit.ready_at(START)), (5840, None));
        limit.charge(5840, START);
        assert_eq!(limit.allowance(1460, START), 0);
        assert_eq!(limit.ready_at(START), Some(START + Duration::from_micros(2920)));
        assert_eq!(limit.allowance(1460, START + Duration::from_micros(1460)), 1460, "one segment");
        assert_eq!(limit.allowance(1460, START + Duration::from_secs(100)), 5840);
    }

    #[test]
    fn what_is_owed_is_bytes() {
        let mut limit = RateLimit::new(1_000);
        limit.charge(5840 + 10_000, START);
        let faster = limit.with_rate(1_000_000, START);
        assert_eq!((faster.rate(), faster.owed(START)), (1_000_000, 15_840));
        assert_eq!(faster.ready_at(START), Some(START + Duration::from_micros(15_840 - 2920)));
    }
}
