//! How fast a link sends: constant, in steps, or by a trace.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use tcp_adapter::Instant;

use super::LinkError;
use super::mahimahi::MahimahiTrace;

/// Bits per second, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BitRate(NonZeroU64);

impl BitRate {
    /// So many bits per second.
    ///
    /// # Errors
    /// [`LinkError::ZeroRate`] for none.
    pub fn new(bits_per_second: u64) -> Result<Self, LinkError> {
        NonZeroU64::new(bits_per_second).map(Self).ok_or(LinkError::ZeroRate)
    }

    /// Bits per second.
    pub const fn get(self) -> u64 {
        self.0.get()
    }
}

/// How fast a link sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RateModel {
    /// Always the same.
    Constant(BitRate),
    /// From time to time another.
    Steps(RateSteps),
    /// By opportunities.
    Trace(MahimahiTrace),
}

/// A rate that is constant between given times, which count from when the model takes effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateSteps {
    /// Start in nanoseconds and bits per second.
    steps: Arc<[(u64, u64)]>,
    /// Nanoseconds after which the steps begin anew.
    period: Option<u64>,
    /// [`Work`] of a whole period.
    work_per_period: u128,
}

/// Bits times nanoseconds per second: what a rate of one bit per second does in a nanosecond. A rate of r bits per
/// second does r units in each nanosecond, so that whole numbers suffice for every rate.
pub(super) type Work = u128;

impl RateSteps {
    /// Rates in bits per second, each from its time on; zero is an outage. With a period the steps begin anew each
    /// time it has passed; without one the last goes on for ever.
    ///
    /// # Errors
    /// The first time is not 0, times do not increase, or the link would never send again.
    pub fn new(steps: &[(Duration, u64)], period: Option<Duration>) -> Result<Self, LinkError> {
        let steps: Arc<[(u64, u64)]> = steps.iter().map(|(at, rate)| (nanos(*at), *rate)).collect();
        let period = period.map(nanos);
        let &(last_at, last_rate) = steps.last().ok_or(LinkError::Empty)?;
        let starts_at_zero = steps.first().is_some_and(|step| step.0 == 0);
        if !starts_at_zero
            || steps.windows(2).any(|pair| pair[0].0 >= pair[1].0)
            || period.is_some_and(|p| p <= last_at)
        {
            return Err(LinkError::StepTimes);
        }
        if steps.iter().all(|step| step.1 == 0) {
            return Err(LinkError::NoRate);
        }
        if period.is_none() && last_rate == 0 {
            return Err(LinkError::EndlessOutage(Duration::from_nanos(last_at)));
        }
        let mut new = Self { steps, period, work_per_period: 0 };
        if let Some(period) = period {
            new.work_per_period = new.work_within(period);
        }
        Ok(new)
    }

    /// How much is done by `at`, counted from the start.
    fn work_until(&self, at: u64) -> Work {
        match self.period {
            None => self.work_within(at),
            Some(period) => u128::from(at / period) * self.work_per_period + self.work_within(at % period),
        }
    }

    /// How much is done by `at` of the first period.
    fn work_within(&self, at: u64) -> Work {
        let ends = self.steps.iter().skip(1).map(|step| step.0).chain([u64::MAX]);
        self.steps
            .iter()
            .zip(ends)
            .take_while(|(step, _)| step.0 < at)
            .map(|(step, end)| u128::from(step.1) * u128::from(end.min(at) - step.0))
            .sum()
    }

    /// When `need` is done if it begins at `at`, and what is then missing for less than a nanosecond.
    fn finish(&self, mut at: u64, mut need: Work) -> (u64, Work) {
        loop {
            let within = self.period.map_or(at, |period| at % period);
            if let Some(period) = self.period.filter(|_| within == 0) {
                // Whole periods at once: a slow rate with a short period must not take a step for each.
                let whole = need.saturating_sub(1) / self.work_per_period;
                need -= whole * self.work_per_period;
                at = at.saturating_add(u64::try_from(whole).unwrap_or(u64::MAX).saturating_mul(period));
                if at == u64::MAX {
                    return (at, 0);
                }
            }
            let index = self.steps.partition_point(|step| step.0 <= within) - 1;
            let rate = u128::from(self.steps[index].1);
            let end = self.steps.get(index + 1).map(|step| step.0).or(self.period);
            let capacity = end.map_or(Work::MAX, |end| rate * u128::from(end - within));
            if need <= capacity && rate > 0 {
                let finish = at.saturating_add(u64::try_from(need / rate).unwrap_or(u64::MAX));
                return (finish, need % rate);
            }
            let Some(end) = end else { return (u64::MAX, 0) };
            need -= capacity;
            at = at.saturating_add(end - within);
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Times transmissions at a rate to the nanosecond, rounded down, and carries what was rounded to the packet that
/// follows without a pause. So n packets end when their sum would.
#[derive(Clone, Debug)]
pub(super) struct Clocked {
    model: ClockedModel,
    /// When the model took effect.
    epoch: Instant,
    /// End of the last transmission, and the work that was rounded away there.
    free_at: Instant,
    owed: Work,
    /// Work of the transmission under way, without what was owed before.
    job: Work,
    job_from: Instant,
}

/// A [`RateModel`] other than a trace.
#[derive(Clone, Debug)]
pub(super) enum ClockedModel {
    Constant(BitRate),
    Steps(RateSteps),
}

impl Clocked {
    pub(super) fn new(model: ClockedModel, epoch: Instant) -> Self {
        Self { model, epoch, free_at: epoch, owed: 0, job: 0, job_from: epoch }
    }

    /// Sends `work` from `at` on; says when it ends.
    pub(super) fn send(&mut self, at: Instant, work: Work) -> Instant {
        self.job = work + if at == self.free_at { self.owed } else { 0 };
        self.job_from = at;
        (self.free_at, self.owed) = self.finish(at, self.job);
        self.free_at
    }

    /// What is left at `now` of the transmission under way.
    pub(super) fn remaining(&self, now: Instant) -> Work {
        let done = match &self.model {
            ClockedModel::Constant(rate) => u128::from(rate.get()) * (now - self.job_from).as_nanos(),
            ClockedModel::Steps(steps) => {
                steps.work_until(self.since_epoch(now)) - steps.work_until(self.since_epoch(self.job_from))
            }
        };
        self.job.saturating_sub(done)
    }

    /// Forgets the transmission under way.
    pub(super) fn abort(&mut self) {
        (self.job, self.owed) = (0, 0);
    }

    /// Bits that can be sent from one time to a later one, as far as the model was in effect.
    pub(super) fn capacity(&self, from: Instant, to: Instant) -> u128 {
        let (from, to) = (self.since_epoch(from), self.since_epoch(to));
        let work = match &self.model {
            ClockedModel::Constant(rate) => u128::from(rate.get()) * u128::from(to - from),
            ClockedModel::Steps(steps) => steps.work_until(to) - steps.work_until(from),
        };
        work / 1_000_000_000
    }

    fn finish(&self, at: Instant, need: Work) -> (Instant, Work) {
        match &self.model {
            ClockedModel::Constant(rate) => {
                let rate = rate.get();
                // One division of 64 bits in all but extreme cases.
                let (time, owed) = match u64::try_from(need) {
                    Ok(need) => (need / rate, u128::from(need % rate)),
                    Err(_) => {
                        let time = u64::try_from(need / u128::from(rate)).unwrap_or(u64::MAX);
                        (time, need % u128::from(rate))
                    }
                };
                (Instant::from_nanos(at.as_nanos().saturating_add(time)), owed)
            }
            ClockedModel::Steps(steps) => {
                let (finish, owed) = steps.finish(self.since_epoch(at), need);
                (self.epoch + Duration::from_nanos(finish), owed)
            }
        }
    }

    fn since_epoch(&self, at: Instant) -> u64 {
        at.as_nanos().saturating_sub(self.epoch.as_nanos())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BITS_OF_1514: Work = 1514 * 8 * 1_000_000_000;

    fn constant(bits_per_second: u64) -> Clocked {
        Clocked::new(ClockedModel::Constant(BitRate::new(bits_per_second).unwrap()), Instant::ZERO)
    }

    fn stepped(steps: &[(Duration, u64)], period: Option<Duration>) -> Clocked {
        Clocked::new(ClockedModel::Steps(RateSteps::new(steps, period).unwrap()), Instant::ZERO)
    }

    #[test]
    fn a_packet_takes_its_bits_over_the_rate() {
        assert_eq!(constant(1_000_000_000).send(Instant::ZERO, BITS_OF_1514), Instant::from_nanos(12_112));
        assert_eq!(constant(1).send(Instant::ZERO, BITS_OF_1514), Instant::from_nanos(12_112_000_000_000));
        assert_eq!(constant(100_000_000_000).send(Instant::ZERO, BITS_OF_1514), Instant::from_nanos(121));
    }

    #[test]
    fn packets_in_a_row_do_not_drift() {
        // 3 Mbit/s: a packet takes 4 037 333.3 ns.
        for rate in [3_000_000_u64, 999_999_999, 7] {
            let mut link = constant(rate);
            let mut steps = stepped(&[(Duration::ZERO, rate)], None);
            let mut periodic = stepped(&[(Duration::ZERO, rate)], Some(Duration::from_millis(1)));
            let mut at = [Instant::ZERO; 3];
            for n in 1..=1000_u128 {
                let expected = Instant::from_nanos((n * BITS_OF_1514 / u128::from(rate)) as u64);
                at = [
                    link.send(at[0], BITS_OF_1514),
                    steps.send(at[1], BITS_OF_1514),
                    periodic.send(at[2], BITS_OF_1514),
                ];
                assert_eq!(at, [expected; 3], "packet {n} at {rate}");
            }
        }
    }

    #[test]
    fn a_pause_settles_what_was_rounded() {
        let mut link = constant(3);
        let end = link.send(Instant::ZERO, 10);
        assert_eq!((end, link.owed), (Instant::from_nanos(3), 1));
        assert_eq!(link.clone().send(end, 2), Instant::from_nanos(4));
        assert_eq!(link.send(Instant::from_nanos(4), 2), Instant::from_nanos(4));
    }

    #[test]
    fn a_transmission_spans_steps_and_outages() {
        let second = Duration::from_secs(1);
        let steps = [(Duration::ZERO, 8), (second, 0), (second * 3, 16)];
        let mut link = stepped(&steps, None);
        // 24 bits: 8 in the first second, none in two, 16 in the fourth.
        assert_eq!(link.send(Instant::ZERO, 24_000_000_000), Instant::from_millis(4000));
        // With a period of 4 s, 24 bits per round.
        let mut link = stepped(&steps, Some(second * 4));
        assert_eq!(link.send(Instant::ZERO, 48_000_000_000), Instant::from_millis(8000));
        assert_eq!(link.send(Instant::from_millis(8500), 4_000_000_000), Instant::from_millis(9000));
        // Half a second of 8 bit/s, an outage, then 16 bit/s.
        assert_eq!(link.send(Instant::from_millis(12_500), 12_000_000_000), Instant::from_millis(15_500));
        let mut far = stepped(&[(Duration::ZERO, 1)], Some(Duration::from_nanos(1)));
        assert_eq!(far.send(Instant::ZERO, BITS_OF_1514), Instant::from_nanos(12_112_000_000_000));
    }

    #[test]
    fn the_capacity_of_steps_is_that_of_their_parts() {
        let second = Duration::from_secs(1);
        let link = stepped(&[(Duration::ZERO, 8), (second, 0), (second * 3, 16)], Some(second * 4));
        let capacity = |from, to| link.capacity(Instant::from_millis(from), Instant::from_millis(to));
        assert_eq!([capacity(0, 1000), capacity(1000, 3000), capacity(500, 1500), capacity(0, 8000)], [8, 0, 4, 48]);
        assert_eq!(capacity(2000, 2000), 0);
        assert_eq!(constant(1000).capacity(Instant::ZERO, Instant::from_millis(5)), 5);
    }

    #[test]
    fn what_remains_is_what_was_not_sent() {
        let mut link = constant(1000);
        link.send(Instant::ZERO, 5_000);
        assert_eq!(link.remaining(Instant::from_nanos(2)), 3_000);
        let mut link =
            stepped(&[(Duration::ZERO, 1000), (Duration::from_nanos(2), 500)], Some(Duration::from_nanos(4)));
        link.send(Instant::from_nanos(1), 6_000);
        assert_eq!(link.remaining(Instant::from_nanos(3)), 6_000 - 1000 - 500);
        assert_eq!(link.remaining(Instant::from_nanos(7)), 6_000 - 1000 - 1000 - 2000 - 500);
    }

    #[test]
    fn steps_must_cover_time_and_send_something() {
        let second = Duration::from_secs(1);
        let new = |steps: &[(Duration, u64)], period| RateSteps::new(steps, period).unwrap_err();
        assert_eq!(new(&[], None), LinkError::Empty);
        assert_eq!(new(&[(second, 1)], None), LinkError::StepTimes);
        assert_eq!(new(&[(Duration::ZERO, 1), (Duration::ZERO, 2)], None), LinkError::StepTimes);
        assert_eq!(new(&[(Duration::ZERO, 1), (second, 2)], Some(second)), LinkError::StepTimes);
        assert_eq!(new(&[(Duration::ZERO, 1), (second, 0)], None), LinkError::EndlessOutage(second));
        assert_eq!(new(&[(Duration::ZERO, 0)], Some(second)), LinkError::NoRate);
        assert_eq!(BitRate::new(0).unwrap_err(), LinkError::ZeroRate);
    }
}
