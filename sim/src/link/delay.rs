//! How long packets take: a delay, its jitter, and whether they may overtake one another.

use std::sync::Arc;
use std::time::Duration;

use tcp_adapter::Instant;

use super::chance::{Correlated, Probability};
use super::distribution::{DistTable, SCALE};
use super::{LinkError, TraceError};
use crate::random::Stream;

/// Longest delay, jitter, and value in a trace.
const MAX_DELAY: Duration = Duration::from_secs(3600);

/// Most entries of a trace of delays.
const MAX_ENTRIES: usize = 10_000_000;

/// How long packets take from when they have been sent.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct DelayModel {
    /// The middle, at most one hour.
    pub base: Duration,
    /// What is added to or taken from it. A sum below zero counts as zero.
    pub jitter: Jitter,
    /// How much each jitter depends on the one before; as in netem, correlation narrows the distribution.
    pub correlation: Probability,
    /// Whether jitter lets packets overtake one another.
    pub order: DeliveryOrder,
}

/// What is added to the middle of a delay.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Jitter {
    /// Nothing.
    #[default]
    None,
    /// Evenly distributed from minus this, included, to plus this, excluded: what netem does without a distribution,
    /// whatever its manual says.
    Uniform(Duration),
    /// An entry of the table times this.
    Distribution {
        /// What one standard deviation of the table stands for.
        scale: Duration,
        /// Where jitter is drawn from.
        table: DistTable,
    },
    /// As written down.
    Trace(DelayTrace),
}

/// Whether packets may overtake one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum DeliveryOrder {
    /// If jitter says so and the link has no rate, as in netem: with a rate, no packet is sent before those before it.
    #[default]
    AsNetem,
    /// If jitter says so.
    Free,
    /// Never by jitter: a packet that would, arrives together with the one before.
    Kept,
}

impl DelayModel {
    /// A constant delay.
    pub fn constant(base: Duration) -> Self {
        Self { base, ..Self::default() }
    }

    pub(super) fn validate(&self) -> Result<(), LinkError> {
        let jitter = match &self.jitter {
            Jitter::None => Duration::ZERO,
            Jitter::Uniform(jitter) => *jitter,
            Jitter::Distribution { scale, .. } => *scale,
            Jitter::Trace(trace) => trace.longest(),
        };
        match [self.base, jitter].into_iter().find(|duration| *duration > MAX_DELAY) {
            Some(duration) => Err(LinkError::DelayTooLong(duration)),
            None => Ok(()),
        }
    }
}

/// Delays that were measured or made up, added to the base of a [`DelayModel`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DelayTrace {
    kind: TraceKind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum TraceKind {
    /// One after the other, and again from the first.
    PerPacket(Arc<[Duration]>),
    /// From a time on, counted from when the model takes effect; again from the first after a period.
    Steps { steps: Arc<[(Duration, Duration)]>, period: Option<Duration> },
}

impl DelayTrace {
    /// The first packet takes the first delay, and so on; after the last they begin anew.
    ///
    /// # Errors
    /// There are none.
    pub fn per_packet(delays: &[Duration]) -> Result<Self, LinkError> {
        if delays.is_empty() {
            return Err(LinkError::Empty);
        }
        Ok(Self { kind: TraceKind::PerPacket(delays.into()) })
    }

    /// Delays, each from its time on. With a period they begin anew each time it has passed; without one the last
    /// stays for ever.
    ///
    /// # Errors
    /// There are none, or times do not increase from 0 to the period.
    pub fn steps(steps: &[(Duration, Duration)], period: Option<Duration>) -> Result<Self, LinkError> {
        let (first, last) = steps.first().zip(steps.last()).ok_or(LinkError::Empty)?;
        let increasing = steps.windows(2).all(|pair| pair[0].0 < pair[1].0);
        if !first.0.is_zero() || !increasing || period.is_some_and(|period| period <= last.0) {
            return Err(LinkError::StepTimes);
        }
        Ok(Self { kind: TraceKind::Steps { steps: steps.into(), period } })
    }

    /// Reads a trace. One number per line: the delay of one packet, in milliseconds. Two numbers per line: the time
    /// in milliseconds from which a delay holds, and that delay. Numbers may have up to six decimals. What
    /// follows a `#` is a comment. A trace by time has no period; see [`DelayTrace::repeated`].
    ///
    /// # Errors
    /// [`TraceError`] names the line that is wrong.
    pub fn parse(text: &str) -> Result<Self, TraceError> {
        const EXPECTED: &str = "one or two numbers of milliseconds, as many as on the lines before";
        const START: &str = "a first step at 0 ms";
        let mut per_packet = Vec::new();
        let mut steps: Vec<(Duration, Duration)> = Vec::new();
        for (line, content) in (1..).zip(text.lines()) {
            let numbers: Vec<&str> = content.split('#').next().unwrap_or_default().split_whitespace().collect();
            let parsed: Option<Vec<Duration>> = numbers.iter().map(|number| parse_millis(number)).collect();
            match parsed.as_deref() {
                Some([]) => continue,
                Some([delay]) if steps.is_empty() => per_packet.push(*delay),
                Some([at, delay]) if per_packet.is_empty() => match steps.last() {
                    None if !at.is_zero() => return Err(TraceError::syntax(line, START, content)),
                    Some(last) if last.0 >= *at => return Err(TraceError::Backwards { line }),
                    _ => steps.push((*at, *delay)),
                },
                _ => return Err(TraceError::syntax(line, EXPECTED, content)),
            }
            if per_packet.len() + steps.len() > MAX_ENTRIES {
                return Err(TraceError::TooLong { line, limit: MAX_ENTRIES });
            }
        }
        match (per_packet.is_empty(), steps.is_empty()) {
            (true, true) => Err(TraceError::Empty),
            (false, _) => Ok(Self { kind: TraceKind::PerPacket(per_packet.into()) }),
            (true, false) => Ok(Self { kind: TraceKind::Steps { steps: steps.into(), period: None } }),
        }
    }

    /// The same trace by time, beginning anew each time `period` has passed. A trace by packet repeats anyway.
    ///
    /// # Errors
    /// The period is not later than the last step.
    pub fn repeated(self, period: Duration) -> Result<Self, LinkError> {
        match self.kind {
            TraceKind::PerPacket(_) => Ok(self),
            TraceKind::Steps { steps, .. } => Self::steps(&steps, Some(period)),
        }
    }

    /// The longest of the delays.
    pub(crate) fn longest(&self) -> Duration {
        match &self.kind {
            TraceKind::PerPacket(delays) => delays.iter().max().copied(),
            TraceKind::Steps { steps, .. } => steps.iter().map(|step| step.1).max(),
        }
        .unwrap_or_default()
    }

    fn at(&self, since: Duration, packet: u64) -> Duration {
        match &self.kind {
            TraceKind::PerPacket(delays) => delays[(packet % delays.len() as u64) as usize],
            TraceKind::Steps { steps, period } => {
                let within = match period {
                    Some(period) => Duration::from_nanos_u128(since.as_nanos() % period.as_nanos()),
                    None => since,
                };
                steps[steps.partition_point(|step| step.0 <= within) - 1].1
            }
        }
    }
}

/// Milliseconds with up to six decimals, without a sign, exactly.
pub(crate) fn parse_millis(text: &str) -> Option<Duration> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(decimals) || decimals.len() > 6 {
        return None;
    }
    let nanos: u64 = format!("{decimals:0<6}").parse().ok()?;
    let millis: u32 = whole.parse().ok()?;
    Some(Duration::from_nanos(u64::from(millis) * 1_000_000 + nanos))
}

/// Draws the delay of each packet.
#[derive(Debug)]
pub(super) struct DelaySampler {
    model: DelayModel,
    source: Correlated,
    /// When the model took effect, and how many packets it has served.
    epoch: Instant,
    packets: u64,
}

impl DelaySampler {
    pub(super) fn new(model: DelayModel, stream: Stream) -> Self {
        Self { model, source: Correlated::new(stream), epoch: Instant::ZERO, packets: 0 }
    }

    pub(super) fn change(&mut self, now: Instant, model: DelayModel) {
        self.model = model;
        self.epoch = now;
        self.packets = 0;
    }

    /// Whether packets must not overtake one another on a link with or without a rate.
    pub(super) const fn keeps_order(&self, rate_limited: bool) -> bool {
        match self.model.order {
            DeliveryOrder::AsNetem => rate_limited,
            DeliveryOrder::Free => false,
            DeliveryOrder::Kept => true,
        }
    }

    /// The delay of all packets, if they have the same.
    pub(super) fn constant(&self) -> Option<Duration> {
        matches!(self.model.jitter, Jitter::None).then_some(self.model.base)
    }

    /// The delay of a packet that is sent at `now`.
    #[inline]
    pub(super) fn sample(&mut self, now: Instant) -> Duration {
        self.constant().unwrap_or_else(|| self.draw(now))
    }

    /// Not part of [`sample`](Self::sample), as on most links all packets have the same delay.
    #[inline(never)]
    fn draw(&mut self, now: Instant) -> Duration {
        let base = self.model.base.as_nanos() as i64;
        let correlation = self.model.correlation;
        let jitter = match &self.model.jitter {
            Jitter::None => 0,
            Jitter::Uniform(jitter) => {
                let jitter = jitter.as_nanos() as i64;
                self.source.below(correlation, 2 * jitter.unsigned_abs()) as i64 - jitter
            }
            Jitter::Distribution { scale, table } => {
                let entry = table.entry(self.source.below(correlation, table.len()));
                let product = scale.as_nanos() as i64 * entry;
                // Rounded to the nearest, halves away from zero.
                (product + product.signum() * SCALE / 2) / SCALE
            }
            Jitter::Trace(trace) => {
                self.packets += 1;
                trace.at(now - self.epoch, self.packets - 1).as_nanos() as i64
            }
        };
        Duration::from_nanos(u64::try_from(base + jitter).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Streams;

    const DRAWS: usize = 100_000;
    const MS: i64 = 1_000_000;

    fn samples(model: DelayModel) -> Vec<f64> {
        model.validate().unwrap();
        let mut sampler = DelaySampler::new(model, Streams::new(9).stream("delay"));
        (0..DRAWS).map(|_| sampler.sample(Instant::ZERO).as_nanos() as f64 / MS as f64).collect()
    }

    fn jittered(jitter: Jitter) -> DelayModel {
        DelayModel { base: Duration::from_millis(100), jitter, ..DelayModel::default() }
    }

    #[expect(clippy::disallowed_methods, reason = "the last digit does not matter here")]
    fn moments(samples: &[f64]) -> (f64, f64) {
        let n = samples.len() as f64;
        let mean = samples.iter().sum::<f64>() / n;
        (mean, (samples.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt())
    }

    fn distribution(table: DistTable) -> DelayModel {
        jittered(Jitter::Distribution { scale: Duration::from_millis(10), table })
    }

    #[test]
    fn without_jitter_the_delay_is_constant() {
        assert!(samples(jittered(Jitter::None)).iter().all(|delay| *delay == 100.0));
    }

    #[test]
    fn uniform_jitter_is_even_on_its_interval() {
        let samples = samples(jittered(Jitter::Uniform(Duration::from_millis(10))));
        assert!(samples.iter().all(|delay| (90.0..110.0).contains(delay)));
        let (mean, deviation) = moments(&samples);
        // Deviation 10/sqrt(3) = 5.7735; the mean of 100 000 is within 5 * 5.77 / 316.
        assert!((mean - 100.0).abs() < 0.0913, "{mean}");
        assert!((deviation - 5.7735).abs() < 0.05, "{deviation}");
        // The Kolmogorov-Smirnov distance of 100 000 draws is below 1.95/316 in 999 of 1000 cases.
        let mut sorted = samples;
        sorted.sort_by(f64::total_cmp);
        let n = sorted.len() as f64;
        let distance =
            sorted.iter().zip(1..).map(|(x, rank)| ((x - 90.0) / 20.0 - f64::from(rank) / n).abs()).fold(0.0, f64::max);
        assert!(distance < 0.0062, "{distance}");
    }

    #[test]
    fn the_lowest_jitter_is_reached_and_the_highest_is_not() {
        let jitter = Jitter::Uniform(Duration::from_nanos(2));
        let mut sampler = DelaySampler::new(jittered(jitter), Streams::new(9).stream("delay"));
        let mut seen: Vec<i64> = (0..200).map(|_| sampler.sample(Instant::ZERO).as_nanos() as i64 - 100 * MS).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen, [-2, -1, 0, 1]);
    }

    #[test]
    fn normal_jitter_has_its_moments_and_tails() {
        let samples = samples(distribution(DistTable::normal()));
        let (mean, deviation) = moments(&samples);
        assert!((mean - 100.0).abs() < 0.17, "{mean}");
        assert!((deviation - 10.0).abs() < 0.12, "{deviation}");
        let within = samples.iter().filter(|delay| (**delay - 100.0).abs() < 10.0).count() as f64 / DRAWS as f64;
        assert!((within - 0.6827).abs() < 0.008, "{within}");
    }

    #[test]
    fn pareto_jitter_is_bounded_below_and_long_above() {
        let samples = samples(distribution(DistTable::pareto()));
        let (mean, deviation) = moments(&samples);
        // Mean -0.0329 and deviation 0.8209 times the jitter, see the table; five deviations of the mean.
        assert!((mean - 99.671).abs() < 0.13, "{mean}");
        assert!((deviation - 8.209).abs() < 0.15, "{deviation}");
        let least = samples.iter().copied().fold(f64::MAX, f64::min);
        let most = samples.iter().copied().fold(0.0, f64::max);
        assert!((least - 93.333).abs() < 0.01 && (most - 140.0).abs() < 0.01, "{least} {most}");
        // Median of u^(-1/3) is 1.2599: (1.2599 - 1.5) * 4/3 * 10 = -3.2 ms.
        let below = samples.iter().filter(|delay| **delay < 96.799).count() as f64 / DRAWS as f64;
        assert!((below - 0.5).abs() < 0.008, "{below}");
    }

    #[test]
    fn paretonormal_jitter_lies_between() {
        let (mean, deviation) = moments(&samples(distribution(DistTable::paretonormal())));
        // Three quarters of the mean of the cut off Pareto distribution.
        assert!((mean - 99.753).abs() < 0.14, "{mean}");
        assert!((8.0..9.0).contains(&deviation), "{deviation}");
    }

    #[test]
    fn correlated_delays_follow_one_another() {
        let correlation = Probability::new(0.5).unwrap();
        let samples = samples(DelayModel { correlation, ..jittered(Jitter::Uniform(Duration::from_millis(10))) });
        let (mean, deviation) = moments(&samples);
        let n = samples.len() as f64;
        let covariance = samples.windows(2).map(|w| (w[0] - mean) * (w[1] - mean)).sum::<f64>() / n;
        assert!((covariance / (deviation * deviation) - 0.5).abs() < 0.01);
        // The variance shrinks by (1 - 0.5) / (1 + 0.5).
        assert!((deviation - 5.7735 / 3_f64.sqrt()).abs() < 0.05, "{deviation}");
    }

    #[test]
    fn a_delay_is_never_negative() {
        let jitter = Jitter::Uniform(Duration::from_millis(10));
        let model = DelayModel { base: Duration::from_millis(1), jitter, ..DelayModel::default() };
        let zero = samples(model).iter().filter(|delay| **delay == 0.0).count();
        // Nine of twenty.
        assert!(zero.abs_diff(45_000) < 800, "{zero}");
    }

    #[test]
    fn traces_by_packet_and_by_time() {
        let delays = |text: &str, times: &[u64]| -> Vec<u64> {
            let jitter = Jitter::Trace(DelayTrace::parse(text).unwrap());
            let mut sampler =
                DelaySampler::new(DelayModel { jitter, ..DelayModel::default() }, Streams::new(1).stream("delay"));
            times.iter().map(|at| sampler.sample(Instant::from_millis(*at)).as_nanos() as u64).collect()
        };
        assert_eq!(delays("1.5\n2\n# three\n0.000001\n", &[0, 9, 9, 9]), [1_500_000, 2_000_000, 1, 1_500_000]);
        assert_eq!(delays("0 10\n15000 20\n", &[0, 14_999, 15_000, 99_999]), [10, 10, 20, 20].map(|ms| ms * 1_000_000));
        let steps = DelayTrace::parse("0 10\n15 20\n").unwrap().repeated(Duration::from_millis(30)).unwrap();
        assert_eq!(steps.at(Duration::from_millis(31), 0), Duration::from_millis(10));
        assert_eq!(steps.at(Duration::from_millis(45), 0), Duration::from_millis(20));
    }

    #[test]
    fn errors_of_traces_name_the_line() {
        let message = |text| DelayTrace::parse(text).unwrap_err().to_string();
        let expected = "one or two numbers of milliseconds, as many as on the lines before";
        assert_eq!(message("1\n2 3\n"), format!("line 2: expected {expected}, found \"2 3\""));
        assert_eq!(message("1\n-2\n"), format!("line 2: expected {expected}, found \"-2\""));
        assert_eq!(message("1.0000001\n"), format!("line 1: expected {expected}, found \"1.0000001\""));
        assert_eq!(message("1 2\n"), "line 1: expected a first step at 0 ms, found \"1 2\"");
        assert_eq!(message("0 2\n5 1\n5 2\n"), "line 3: earlier than the line before");
        assert_eq!(message("\n"), "the trace has no entries");
        let hour = DelayModel::constant(Duration::from_secs(3601));
        assert_eq!(hour.validate(), Err(LinkError::DelayTooLong(Duration::from_secs(3601))));
    }
}
