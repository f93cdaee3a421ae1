//! Values sampled at a fixed interval of virtual time.

use std::time::Duration;

use tcp_adapter::Instant;

/// When the samples of a run were taken: at 0, at every multiple of the interval, and once more at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SampleClock {
    /// Time between two samples.
    pub interval: Duration,
    /// When the run ended.
    pub end: Instant,
}

impl SampleClock {
    /// The time of sample `index`.
    pub fn time(&self, index: usize) -> Instant {
        let index = u64::try_from(index).unwrap_or(u64::MAX);
        Instant::from_nanos(self.interval_nanos().saturating_mul(index)).min(self.end)
    }

    /// How many samples a run has that is sampled from the beginning to the end.
    pub fn len(&self) -> usize {
        usize::try_from(self.end.as_nanos().div_ceil(self.interval_nanos())).unwrap_or(usize::MAX).saturating_add(1)
    }

    /// Never: there is at least the sample at 0.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Time between sample `index` and the one before it, in nanoseconds.
    pub(super) fn step(&self, index: usize) -> u64 {
        match index.checked_sub(1) {
            Some(before) => self.time(index).saturating_since(self.time(before)).as_nanos() as u64,
            None => 0,
        }
    }

    fn interval_nanos(&self) -> u64 {
        u64::try_from(self.interval.as_nanos()).unwrap_or(u64::MAX).max(1)
    }
}

/// Consecutive samples of something that may have begun, or ended, within the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Samples<T> {
    /// Index of the first one, see [`SampleClock`].
    pub first: usize,
    /// The values.
    pub values: Vec<T>,
}

impl<T> Default for Samples<T> {
    fn default() -> Self {
        Self { first: 0, values: Vec::new() }
    }
}

impl<T> Samples<T> {
    /// None yet; the next one has the index `first`.
    pub fn starting_at(first: usize) -> Self {
        Self { first, values: Vec::new() }
    }

    /// Appends a sample.
    pub fn push(&mut self, value: T) {
        self.values.push(value);
    }

    /// The sample with this index.
    pub fn get(&self, index: usize) -> Option<&T> {
        self.values.get(index.checked_sub(self.first)?)
    }

    /// The sample with this index or, after the end, the last one: counters keep their value.
    pub fn latest(&self, index: usize) -> Option<&T> {
        index.checked_sub(self.first)?;
        self.get(index).or(self.last())
    }

    /// The last sample.
    pub fn last(&self) -> Option<&T> {
        self.values.last()
    }

    /// All samples with their indices.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &T)> {
        (self.first..).zip(&self.values)
    }

    /// How much a counter grew from the sample before `index` to that with `index`. Before its first sample a counter
    /// was 0, after its last one it stands still.
    pub fn growth(&self, index: usize, counter: impl Fn(&T) -> u64) -> u64 {
        let Some(now) = self.get(index) else { return 0 };
        let before = index.checked_sub(1).and_then(|before| self.get(before)).map_or(0, &counter);
        counter(now).saturating_sub(before)
    }

    /// Growth of a counter of bytes in bits per second, rounded down.
    pub fn bit_rate(&self, clock: &SampleClock, index: usize, counter: impl Fn(&T) -> u64) -> u64 {
        let nanos = clock.step(index);
        if nanos == 0 {
            return 0;
        }
        let bits = u128::from(self.growth(index, counter)) * 8 * 1_000_000_000;
        u64::try_from(bits / u128::from(nanos)).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOCK: SampleClock = SampleClock { interval: Duration::from_millis(10), end: Instant::from_millis(25) };

    #[test]
    fn the_last_sample_is_taken_at_the_end() {
        assert_eq!(CLOCK.len(), 4);
        let times: Vec<_> = (0..CLOCK.len()).map(|index| CLOCK.time(index).as_micros()).collect();
        assert_eq!(times, [0, 10_000, 20_000, 25_000]);
    }

    #[test]
    fn rates_are_those_of_the_interval_that_ends_with_the_sample() {
        let mut samples = Samples::starting_at(1);
        samples.push(1000u64);
        samples.push(3000);
        samples.push(3500);
        let rates: Vec<_> = (0..5).map(|index| samples.bit_rate(&CLOCK, index, |bytes| *bytes)).collect();
        // 1000 bytes in 10 ms, 2000 in 10 ms, 500 in 5 ms.
        assert_eq!(rates, [0, 800_000, 1_600_000, 800_000, 0]);
        assert_eq!(samples.growth(2, |bytes| *bytes), 2000);
        assert_eq!((samples.latest(0), samples.latest(1), samples.latest(9)), (None, Some(&1000), Some(&3500)));
    }
}
