//! Distributions of latencies.

use std::time::Duration;

use hdrhistogram::Histogram;

/// The percentiles that summaries tell, in percent.
pub const PERCENTILES: [f64; 5] = [50.0, 90.0, 99.0, 99.9, 99.99];

/// The distribution of one kind of latency.
///
/// The smallest, the largest and the average are exact; all else has three significant digits, in a histogram of some 250 kB however many there are.
///
/// What was still under way when the measurement ended counts in percentiles, as otherwise those that take long would be left out: it has taken its
/// age at least.
#[derive(Clone, Debug, PartialEq)]
pub struct Latency {
    /// What was measured, such as `request`.
    pub name: String,
    nanos: Histogram<u64>,
    min: u64,
    max: u64,
    sum: u128,
    /// Ages of what had not ended.
    under_way: Vec<u64>,
}

/// A point of a cumulative distribution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct CdfPoint {
    /// Latency in seconds.
    pub(super) seconds: f64,
    /// Fraction of the samples that are not longer.
    pub(super) fraction: f64,
}

const SIGNIFICANT_DIGITS: u8 = 3;
const HOUR: u64 = 3_600_000_000_000;

impl Latency {
    /// Empty.
    #[expect(clippy::expect_used, reason = "these bounds are sound")]
    pub fn new(name: impl Into<String>) -> Self {
        let nanos = Histogram::new_with_bounds(1, HOUR, SIGNIFICANT_DIGITS).expect("1 to an hour, three digits");
        Self { name: name.into(), nanos, min: u64::MAX, max: 0, sum: 0, under_way: Vec::new() }
    }

    /// Adds a sample; less than a nanosecond counts as one, more than an hour as an hour.
    pub fn record(&mut self, latency: Duration) {
        let nanos = in_range(latency);
        self.nanos.saturating_record(nanos);
        self.min = self.min.min(nanos);
        self.max = self.max.max(nanos);
        self.sum += u128::from(nanos);
    }

    /// Notes what was still under way at the end, by its age; what will never end is older than all.
    pub fn record_under_way(&mut self, age: Duration) {
        self.under_way.push(in_range(age));
    }

    /// Number of samples.
    pub fn count(&self) -> u64 {
        self.nanos.len()
    }

    /// How many were under way at the end.
    pub fn under_way(&self) -> usize {
        self.under_way.len()
    }

    /// The least value that `percent` of all do not exceed: of the samples, and of what was under way and older than that value. Younger ones say
    /// nothing of it. `None` without samples, and where the rank lies among those that had not ended.
    pub fn percentile(&self, percent: f64) -> Option<Duration> {
        // The rank is rounded up, and 99.9 percent of 1000 are a little more than 999 in floating point.
        const LESS: f64 = 1.0 - 1e-12;
        let quantile = percent / 100.0 * LESS;
        let mut ages = self.under_way.clone();
        ages.sort_unstable();
        let mut samples = 0;
        self.nanos.iter_recorded().find_map(|step| {
            samples += step.count_since_last_iteration();
            let value = step.value_iterated_to();
            let older = ages.len() - ages.partition_point(|age| *age <= value);
            let all = self.count() + older as u64;
            (samples as f64 >= quantile * all as f64).then(|| self.within(value))
        })
    }

    /// The smallest sample; zero without samples.
    pub fn min(&self) -> Duration {
        self.within(0)
    }

    /// The largest sample, whatever was under way; zero without samples.
    pub fn max(&self) -> Duration {
        self.within(u64::MAX)
    }

    /// The average of the samples; zero without any.
    pub fn mean(&self) -> Duration {
        let mean = self.sum.checked_div(u128::from(self.count())).unwrap_or(0);
        Duration::from_nanos(u64::try_from(mean).unwrap_or(u64::MAX))
    }

    /// The cumulative distribution of the samples, one point per distinct value, rising.
    pub(super) fn cdf(&self) -> Vec<CdfPoint> {
        let total = self.count().max(1) as f64;
        let mut below = 0;
        self.nanos
            .iter_recorded()
            .map(|step| {
                below += step.count_since_last_iteration();
                let seconds = self.within(step.value_iterated_to()).as_nanos() as f64 / 1e9;
                CdfPoint { seconds, fraction: below as f64 / total }
            })
            .collect()
    }

    /// The histogram tells a value that may lie a little beyond all samples.
    fn within(&self, nanos: u64) -> Duration {
        if self.count() == 0 { Duration::ZERO } else { Duration::from_nanos(nanos.clamp(self.min, self.max)) }
    }
}

/// Nanoseconds that the histogram takes.
fn in_range(latency: Duration) -> u64 {
    u64::try_from(latency.as_nanos()).unwrap_or(HOUR).clamp(1, HOUR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_a_thousand_is_beyond_the_last_percentile_but_one() {
        let mut latency = Latency::new("request");
        (1..=1000).for_each(|millis| latency.record(Duration::from_millis(millis)));
        let at = |percent| latency.percentile(percent).unwrap().as_millis();
        assert_eq!((at(50.0) / 10, at(99.9), at(99.99)), (50, 999, 1000));
    }

    #[test]
    fn percentiles_are_within_a_thousandth() {
        let mut latency = Latency::new("request");
        for millis in 1..=1000 {
            latency.record(Duration::from_millis(millis));
        }
        assert_eq!(latency.count(), 1000);
        for (percent, millis) in [(50.0, 500), (99.0, 990), (100.0, 1000)] {
            let found = latency.percentile(percent).unwrap().as_micros().abs_diff(millis * 1000);
            assert!(found <= millis, "{percent} %: off by {found} µs");
        }
        assert_eq!(latency.mean(), Duration::from_micros(500_500));
        assert_eq!((latency.min(), latency.max()), (Duration::from_millis(1), Duration::from_secs(1)));
        assert!(latency.cdf().is_sorted_by(|a, b| a.seconds < b.seconds && a.fraction < b.fraction));
        assert_eq!(latency.cdf().last().map(|point| point.fraction), Some(1.0));
    }

    #[test]
    fn no_sample_is_lost_at_the_ends() {
        let mut latency = Latency::new("request");
        latency.record(Duration::ZERO);
        latency.record(Duration::MAX);
        assert_eq!(latency.count(), 2);
        assert_eq!(latency.min(), Duration::from_nanos(1));
        assert_eq!(latency.max(), Duration::from_secs(3600));
        assert_eq!(Latency::new("none").percentile(99.0), None);
    }

    /// 90 requests of 1 to 90 ms have ended.
    #[test]
    fn what_is_under_way_counts_with_its_age() {
        let mut latency = Latency::new("request");
        (1..=90).for_each(|millis| latency.record(Duration::from_millis(millis)));
        let at = |latency: &Latency, percent| latency.percentile(percent).map(|value| value.as_millis());
        // Those that are younger than all may yet be of any length.
        (0..10).for_each(|_| latency.record_under_way(Duration::from_micros(1)));
        assert_eq!((at(&latency, 50.0), at(&latency, 99.0), at(&latency, 100.0)), (Some(45), Some(90), Some(90)));
        // Ten are older than all: the 90th of 100 is known, and no later one.
        (0..10).for_each(|_| latency.record_under_way(Duration::from_secs(1)));
        assert_eq!((at(&latency, 50.0), at(&latency, 90.0), at(&latency, 91.0)), (Some(50), Some(90), None));
        assert_eq!((latency.count(), latency.under_way(), latency.max()), (90, 20, Duration::from_millis(90)));
        // One more that is older than 44 ms: 44 are less than 44 % of 101. Of 50 ms it says nothing.
        assert_eq!(at(&latency, 44.0), Some(44));
        latency.record_under_way(Duration::from_millis(45));
        assert_eq!((at(&latency, 44.0), at(&latency, 50.0)), (Some(45), Some(50)));
    }
}
