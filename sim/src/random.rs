//! Chance, one stream for each element and purpose.

use std::convert::Infallible;
use std::hash::Hasher;
use std::time::Duration;

use rand::rngs::ChaCha8Rng;
use rand::{Rng, SeedableRng, TryRng};
use siphasher::sip128::{Hasher128, SipHasher24};

/// The source of all chance in a run.
///
/// Every element draws from a stream of its own, named by what it is and what it draws for, such as
/// `link.p1.up.loss`. So an element that is added, or that draws more often, does not shift the numbers of
/// the others, and two runs that differ in one parameter differ by that parameter only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Streams {
    seed: u64,
}

impl Streams {
    /// The streams of a run.
    pub const fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The seed of the run.
    pub const fn seed(self) -> u64 {
        self.seed
    }

    /// The stream of this name, from its start.
    pub fn stream(self, name: &str) -> Stream {
        let mut seed = [0; 32];
        for (half, part) in seed.chunks_exact_mut(16).zip(0_u8..) {
            let mut hasher = SipHasher24::new_with_keys(self.seed, u64::from(part));
            hasher.write(name.as_bytes());
            half.copy_from_slice(&hasher.finish128().as_bytes());
        }
        Stream { generator: ChaCha8Rng::from_seed(seed) }
    }
}

/// A stream of random numbers: an [`Rng`].
#[derive(Debug)]
pub struct Stream {
    generator: ChaCha8Rng,
}

impl Stream {
    /// A number below `bound`, each as likely as the others to one part in 2^64 divided by `bound`; 0 if `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// A time with an exponential distribution: the time to the next of events that happen at random, `mean` apart on
    /// average.
    pub fn exponential(&mut self, mean: Duration) -> Duration {
        // From 2^-53 to 1, so that there is a logarithm.
        let uniform = ((self.next_u64() >> 11) + 1) as f64 / (1_u64 << 53) as f64;
        let nanos = u64::try_from(mean.as_nanos()).unwrap_or(u64::MAX);
        // Casts saturate.
        Duration::from_nanos((-natural_logarithm(uniform) * nanos as f64) as u64)
    }
}

/// The natural logarithm of a number from 2^-53 to 1, by its series. It takes additions, multiplications and divisions
/// only, which give the same bits on every machine, unlike the functions of a mathematical library.
fn natural_logarithm(mut x: f64) -> f64 {
    let mut halvings = 0.0;
    while x < 0.5 {
        x *= 2.0;
        halvings += 1.0;
    }
    // ln x = 2 artanh((x - 1) / (x + 1)); the square is at most 1/9.
    let ratio = (x - 1.0) / (x + 1.0);
    let square = ratio * ratio;
    let series = (0..20).rev().fold(0.0, |sum, n| sum * square + 1.0 / f64::from(2 * n + 1));
    2.0 * ratio * series - halvings * std::f64::consts::LN_2
}

impl TryRng for Stream {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.generator.next_u32())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.generator.next_u64())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.generator.fill_bytes(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(seed: u64, name: &str) -> u64 {
        Streams::new(seed).stream(name).next_u64()
    }

    #[test]
    fn a_stream_depends_on_seed_and_name_and_nothing_else() {
        assert_eq!(first(1, "link.p1.up.loss"), first(1, "link.p1.up.loss"));
        assert_ne!(first(1, "link.p1.up.loss"), first(2, "link.p1.up.loss"));
        assert_ne!(first(1, "link.p1.up.loss"), first(1, "link.p1.down.loss"));
    }

    #[test]
    fn the_numbers_are_the_same_on_every_machine() {
        // Reports name seeds: a change here would make every one of them mean another run.
        let numbers: Vec<u64> = ["a", "b"].map(|name| first(42, name)).into();
        assert_eq!(numbers, FIXED);
    }

    #[test]
    fn exponential_times_have_their_distribution() {
        let mut stream = Streams::new(3).stream("times");
        let mean = Duration::from_secs(40);
        let times: Vec<f64> = (0..100_000).map(|_| stream.exponential(mean).as_secs_f64()).collect();
        let average = times.iter().sum::<f64>() / times.len() as f64;
        // Five deviations of 40 / sqrt(100 000).
        assert!((average - 40.0).abs() < 0.64, "{average}");
        let longer = times.iter().filter(|time| **time > 80.0).count();
        // exp(-2) = 13.53 %, deviation 108.
        assert!(longer.abs_diff(13_534) < 540, "{longer}");
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "it is what this is compared with")]
    fn the_logarithm_is_that_of_the_library() {
        for x in [1.0, 0.999_999, 0.75, 0.5, 0.499_999, 0.1, 1e-6, 1.0 / (1_u64 << 53) as f64] {
            let difference = natural_logarithm(x) - x.ln();
            assert!(difference.abs() <= 1e-14 * x.ln().abs(), "{x}: {difference}");
        }
    }

    #[test]
    fn numbers_below_a_bound_are_even() {
        let mut stream = Streams::new(4).stream("numbers");
        let mut counts = [0_u32; 7];
        (0..70_000).for_each(|_| counts[stream.below(7) as usize] += 1);
        // Mean 10 000, deviation 93.
        assert!(counts.iter().all(|count| count.abs_diff(10_000) < 470), "{counts:?}");
        assert_eq!(stream.below(0), 0);
    }

    const FIXED: [u64; 2] = [12_199_012_746_129_158_403, 14_087_935_671_101_718_022];
}
