//! What a subflow measures for the detection of shared bottlenecks.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tcp_adapter::congestion::Ack;

/// Sums over the samples of an interval; times are in nanoseconds. Written in TCP, read by the connection, both on one thread.
#[derive(Debug, Default)]
pub(super) struct Samples {
    /// The mean of the intervals before, with which samples are compared; 0 while there is none.
    mean: AtomicU64,
    count: AtomicU64,
    sum: AtomicU64,
    below: AtomicU64,
    above: AtomicU64,
    deviation: AtomicU64,
    delivered: AtomicU64,
    lost: AtomicU64,
}

/// The samples of an interval.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Interval {
    /// Round-trip times that were measured.
    pub(super) count: u64,
    /// Their mean, in nanoseconds.
    pub(super) mean: f64,
    /// How many were below the mean of the intervals before.
    pub(super) below: u64,
    /// And how many above.
    pub(super) above: u64,
    /// The sum of the distances from that mean, in nanoseconds.
    pub(super) deviation: f64,
    /// Bytes that have arrived.
    pub(super) delivered: u64,
    /// Bytes that were taken for lost.
    pub(super) lost: u64,
}

impl Samples {
    /// Takes what an acknowledgement says.
    pub(super) fn take(&self, ack: &Ack) {
        add(&self.delivered, ack.delivered);
        add(&self.lost, ack.lost);
        let Some(rtt) = ack.rtt else { return };
        add(&self.count, 1);
        add(&self.sum, rtt);
        let mean = self.mean.load(Relaxed);
        if mean > 0 {
            add(if rtt < mean { &self.below } else { &self.above }, 1);
            add(&self.deviation, rtt.abs_diff(mean));
        }
    }

    /// Ends an interval.
    pub(super) fn end(&self) -> Interval {
        let take = |sum: &AtomicU64| sum.swap(0, Relaxed);
        let (count, sum) = (take(&self.count), take(&self.sum));
        Interval {
            count,
            mean: sum as f64 / count.max(1) as f64,
            below: take(&self.below),
            above: take(&self.above),
            deviation: take(&self.deviation) as f64,
            delivered: take(&self.delivered),
            lost: take(&self.lost),
        }
    }

    /// The mean to compare with from now on.
    pub(super) fn compare_with(&self, mean: f64) {
        self.mean.store(mean as u64, Relaxed);
    }
}

/// One thread does it, so that no locked instruction is needed.
fn add(sum: &AtomicU64, amount: u64) {
    sum.store(sum.load(Relaxed).wrapping_add(amount), Relaxed);
}

#[cfg(test)]
pub(super) mod testing {
    use tcp_adapter::Instant;
    use tcp_adapter::congestion::{Ack, Recovery};

    /// A millisecond in nanoseconds.
    pub(in crate::congestion) const MS: u64 = 1_000_000;

    /// An acknowledgement of a segment, at this time and with this round-trip time in nanoseconds.
    pub(in crate::congestion) fn ack(now: u64, rtt: u64) -> Ack {
        Ack {
            now: Instant::from_nanos(now),
            delivered: 1000,
            acked: 1000,
            lost: 0,
            marked: 0,
            prior_in_flight: 100_000,
            in_flight: 99_000,
            rtt: (rtt > 0).then_some(rtt),
            srtt: rtt,
            min_rtt: rtt,
            rate: None,
            snd_una: 0,
            snd_nxt: 0,
            recovery: Recovery::Open,
            cwnd_limited: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{MS, ack};
    use super::*;

    #[test]
    fn an_interval_has_what_came_since_the_last() {
        let samples = Samples::default();
        samples.take(&ack(0, 10 * MS));
        samples.take(&Ack { lost: 2000, ..ack(0, 30 * MS) });
        samples.take(&ack(0, 0));
        let first = samples.end();
        assert_eq!((first.count, first.mean as u64, first.delivered, first.lost), (2, 20 * MS, 3000, 2000));
        assert_eq!((first.below, first.above), (0, 0), "nothing to compare with yet");
        samples.compare_with(first.mean);
        samples.take(&ack(0, 10 * MS));
        samples.take(&ack(0, 15 * MS));
        samples.take(&ack(0, 50 * MS));
        let second = samples.end();
        assert_eq!((second.below, second.above, second.deviation as u64), (2, 1, 45 * MS));
        assert_eq!(samples.end(), Interval::default());
    }
}
