//! Probabilities, and draws that depend on the one before.

use rand::Rng;

use super::LinkError;
use crate::random::Stream;

/// Draws and probabilities are multiples of 2^-63, so that both certainties are exact.
const ONE: u64 = 1 << 63;

/// A probability between never and always, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Probability(u64);

impl Probability {
    /// Does not happen.
    pub const NEVER: Self = Self(0);
    /// Happens each time.
    pub const ALWAYS: Self = Self(ONE);

    /// The probability `fraction`, from 0.0 to 1.0.
    ///
    /// # Errors
    /// [`LinkError::Probability`] for anything else.
    pub fn new(fraction: f64) -> Result<Self, LinkError> {
        if !(0.0..=1.0).contains(&fraction) {
            return Err(LinkError::Probability(fraction.to_string()));
        }
        // Scaling by a power of two loses nothing, and the product is at most 2^63.
        Ok(Self((fraction * ONE as f64) as u64))
    }

    /// The probability as a fraction, from 0.0 to 1.0, for display.
    pub fn fraction(self) -> f64 {
        self.0 as f64 / ONE as f64
    }

    /// The probability of the opposite.
    #[must_use]
    pub const fn complement(self) -> Self {
        Self(ONE - self.0)
    }

    /// The probability in units of 2^-63.
    pub(super) const fn bits(self) -> u64 {
        self.0
    }

    /// The probability of so many units of 2^-63, at most always.
    pub(crate) fn from_bits(bits: u64) -> Self {
        Self(bits.min(ONE))
    }

    /// Whether it happens, given a draw of [`draw`].
    pub(super) const fn hits(self, draw: u64) -> bool {
        draw < self.0
    }
}

/// A number below 2^63, each as likely as the others.
pub(super) fn draw(stream: &mut Stream) -> u64 {
    stream.next_u64() >> 1
}

/// Something that happens to a packet now and then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Chance {
    /// How often.
    pub probability: Probability,
    /// The share that each draw takes from the one before. As in netem, this narrows the distribution of the draws
    /// around one half, so that it makes events of less than even odds rarer as well.
    pub correlation: Probability,
}

impl Chance {
    /// Independent events of this probability.
    pub const fn independent(probability: Probability) -> Self {
        Self { probability, correlation: Probability::NEVER }
    }
}

/// Draws of which each takes the share `correlation` from the one before and the rest from fresh chance: what
/// netem calls correlation.
#[derive(Debug)]
pub(super) struct Correlated {
    stream: Stream,
    last: u64,
}

impl Correlated {
    pub(super) fn new(mut stream: Stream) -> Self {
        let last = draw(&mut stream);
        Self { stream, last }
    }

    /// The next draw, below 2^63.
    pub(super) fn next(&mut self, correlation: Probability) -> u64 {
        let fresh = draw(&mut self.stream);
        if correlation == Probability::NEVER {
            return fresh;
        }
        let old = u128::from(self.last) * u128::from(correlation.bits());
        let new = u128::from(fresh) * u128::from(correlation.complement().bits());
        self.last = ((old + new) >> 63) as u64;
        self.last
    }

    /// A number below `bound` from the next draw. The high bits decide: taking the remainder, as netem does,
    /// would undo the correlation.
    pub(super) fn below(&mut self, correlation: Probability, bound: u64) -> u64 {
        ((u128::from(self.next(correlation)) * u128::from(bound)) >> 63) as u64
    }
}

/// Decides for each packet whether a [`Chance`] strikes.
#[derive(Debug)]
pub(super) struct Dice {
    pub(super) chance: Chance,
    source: Correlated,
}

impl Dice {
    pub(super) fn new(chance: Chance, stream: Stream) -> Self {
        Self { chance, source: Correlated::new(stream) }
    }

    pub(super) fn roll(&mut self) -> bool {
        if self.chance.probability == Probability::NEVER {
            return false;
        }
        let draw = self.source.next(self.chance.correlation);
        self.chance.probability.hits(draw)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Streams;

    const DRAWS: usize = 200_000;

    #[test]
    fn only_fractions_are_probabilities() {
        for fraction in [-0.1, 1.000_001, f64::NAN, f64::INFINITY] {
            assert!(matches!(Probability::new(fraction), Err(LinkError::Probability(_))), "{fraction}");
        }
        assert_eq!(Probability::new(0.0).unwrap(), Probability::NEVER);
        assert_eq!(Probability::new(1.0).unwrap(), Probability::ALWAYS);
        assert_eq!(Probability::new(0.25).unwrap().complement().fraction(), 0.75);
    }

    #[test]
    fn certainties_are_exact() {
        assert!(!Probability::NEVER.hits(0));
        assert!(Probability::ALWAYS.hits(ONE - 1));
    }

    #[test]
    fn independent_events_have_their_probability() {
        let chance = Chance::independent(Probability::new(0.01).unwrap());
        let mut dice = Dice::new(chance, Streams::new(1).stream("dice"));
        let hits = (0..DRAWS).filter(|_| dice.roll()).count();
        // Mean 2000, deviation 44.5: five deviations.
        assert!(hits.abs_diff(2000) < 223, "{hits}");
    }

    /// A first-order autoregression on uniform numbers: mean 1/2, variance (1-r)/(1+r)/12, lag-one correlation r.
    #[test]
    #[expect(clippy::disallowed_methods, reason = "the last digit does not matter here")]
    fn correlated_draws_have_the_moments_of_their_recurrence() {
        for r in [0.25, 0.9] {
            let correlation = Probability::new(r).unwrap();
            let mut source = Correlated::new(Streams::new(3).stream("correlated"));
            let draws: Vec<f64> = (0..DRAWS).map(|_| source.next(correlation) as f64 / ONE as f64).collect();
            let n = DRAWS as f64;
            let mean = draws.iter().sum::<f64>() / n;
            let variance = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
            let covariance = draws.windows(2).map(|w| (w[0] - mean) * (w[1] - mean)).sum::<f64>() / n;
            let expected = (1.0 - r) / (1.0 + r) / 12.0;
            assert!((mean - 0.5).abs() < 0.005, "{mean}");
            assert!((variance / expected - 1.0).abs() < 0.05, "{variance} {expected}");
            assert!((covariance / variance - r).abs() < 0.01, "{}", covariance / variance);
        }
    }

    #[test]
    fn full_correlation_repeats_the_first_draw() {
        let mut source = Correlated::new(Streams::new(1).stream("fixed"));
        let first = source.next(Probability::ALWAYS);
        assert!((0..100).all(|_| source.next(Probability::ALWAYS) == first));
    }

    #[test]
    fn numbers_below_a_bound_cover_it_evenly() {
        let mut source = Correlated::new(Streams::new(5).stream("below"));
        let mut counts = [0_usize; 10];
        for _ in 0..DRAWS {
            counts[source.below(Probability::NEVER, 10) as usize] += 1;
        }
        // Mean 20 000, deviation 134.
        assert!(counts.iter().all(|count| count.abs_diff(20_000) < 670), "{counts:?}");
    }
}
