//! Tables of distributions as netem has them: quantiles in units of 1/8192 standard deviation.

use std::sync::{Arc, LazyLock};

use super::{LinkError, TraceError};

/// One standard deviation (`NETEM_DIST_SCALE`).
pub(super) const SCALE: i64 = 8192;

/// Most entries of a table (`NETEM_DIST_MAX`).
const MAX_ENTRIES: usize = 16_384;

/// Entries of the tables that are built here, as many as those that come with iproute2.
const ENTRIES: u32 = 4096;

const NOT_A_NUMBER: &str = "whole numbers from -32768 to 32767";

/// A distribution of jitter: one of its entries, each as likely as the others, is taken times the jitter.
///
/// The three that have names are those of iproute2, to a unit. They are computed with additions, multiplications and
/// divisions only, which give the same bits on every machine, unlike the functions of a mathematical library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DistTable {
    entries: Arc<[i16]>,
}

impl DistTable {
    /// The normal distribution.
    pub fn normal() -> Self {
        static TABLE: LazyLock<Arc<[i16]>> = LazyLock::new(|| normal_quantiles().map(clamp).collect());
        Self { entries: TABLE.clone() }
    }

    /// The Pareto distribution of shape 3, shifted to mean 0; cut off at four times the jitter, which takes 3 % of the
    /// jitter from the mean.
    pub fn pareto() -> Self {
        static TABLE: LazyLock<Arc<[i16]>> = LazyLock::new(|| pareto_quantiles().map(clamp).collect());
        Self { entries: TABLE.clone() }
    }

    /// A quarter of the normal and three quarters of the Pareto quantile.
    pub fn paretonormal() -> Self {
        static TABLE: LazyLock<Arc<[i16]>> = LazyLock::new(|| {
            normal_quantiles().zip(pareto_quantiles()).map(|(n, p)| clamp(0.25 * n + 0.75 * p)).collect()
        });
        Self { entries: TABLE.clone() }
    }

    /// A table of the caller's, in units of 1/8192 of the jitter.
    ///
    /// # Errors
    /// No entries or more than 16 384.
    pub fn new(entries: &[i16]) -> Result<Self, LinkError> {
        if entries.is_empty() || entries.len() > MAX_ENTRIES {
            Err(LinkError::Empty)
        } else {
            Ok(Self { entries: entries.into() })
        }
    }

    /// Reads a file as those in iproute2's directory `tc`, which end in `.dist`: numbers between white space; what
    /// follows a `#` is a comment.
    ///
    /// # Errors
    /// [`TraceError`] names the line that is wrong.
    pub fn parse(text: &str) -> Result<Self, TraceError> {
        let mut entries = Vec::new();
        for (line, content) in (1..).zip(text.lines()) {
            let numbers = content.split('#').next().unwrap_or_default();
            for number in numbers.split_whitespace() {
                if entries.len() == MAX_ENTRIES {
                    return Err(TraceError::TooLong { line, limit: MAX_ENTRIES });
                }
                entries.push(number.parse().map_err(|_| TraceError::syntax(line, NOT_A_NUMBER, number))?);
            }
        }
        if entries.is_empty() { Err(TraceError::Empty) } else { Ok(Self { entries: entries.into() }) }
    }

    /// Number of entries.
    pub(super) fn len(&self) -> u64 {
        self.entries.len() as u64
    }

    /// An entry below [`DistTable::len`].
    pub(super) fn entry(&self, index: u64) -> i64 {
        i64::from(self.entries[index as usize])
    }
}

fn clamp(value: f64) -> i16 {
    // Casts saturate, so an unlikely value is cut off and not wrapped round.
    value.round() as i16
}

/// Quantiles at 1, 1 - 16/65536 and so on of u^(-1/3), shifted by its mean 3/2 and cut off, as in iproute2.
fn pareto_quantiles() -> impl Iterator<Item = f64> {
    (0..ENTRIES).map(|index| {
        let u = f64::from(ENTRIES - index) / f64::from(ENTRIES);
        let quantile = (cube_root(1.0 / u) - 1.5) * (4.0 / 3.0) * SCALE as f64;
        quantile.min(f64::from(i16::MAX))
    })
}

/// Newton's method from above, for `a` from 1 to 4096.
fn cube_root(a: f64) -> f64 {
    (0..64).fold(a, |x, _| (2.0 * x + a / (x * x)) / 3.0)
}

/// Quantiles at the middle of every fourth of 16384 equal parts, as in iproute2.
fn normal_quantiles() -> impl Iterator<Item = f64> {
    let parts = f64::from(ENTRIES) * 4.0;
    (0..ENTRIES).scan(-4.0, move |x, index| {
        let probability = (4.0 * f64::from(index) + 0.5) / parts;
        // Newton's method from the quantile before.
        for _ in 0..12 {
            *x -= (normal_distribution(*x) - probability) / normal_density(*x);
        }
        Some(*x * SCALE as f64)
    })
}

fn normal_density(x: f64) -> f64 {
    const ROOT_OF_2_PI: f64 = 2.506_628_274_631_000_7;
    exponential(-x * x / 2.0) / ROOT_OF_2_PI
}

/// The distribution function by its series x + x^3/3 + x^5/(3*5) + ..., which converges for every x.
fn normal_distribution(x: f64) -> f64 {
    let (mut term, mut sum) = (x, x);
    for n in 1..100 {
        term *= x * x / f64::from(2 * n + 1);
        sum += term;
    }
    0.5 + normal_density(x) * sum
}

/// The exponential function by its series for a 64th of `x`, raised to the 64th power.
fn exponential(x: f64) -> f64 {
    let x = x / 64.0;
    let (mut term, mut sum) = (1.0, 1.0);
    for n in 1..20 {
        term *= x / f64::from(n);
        sum += term;
    }
    (0..6).fold(sum, |power: f64, _| power * power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "the last digit does not matter here")]
    fn moments(table: &DistTable) -> (f64, f64) {
        let n = table.len() as f64;
        let values = table.entries.iter().map(|entry| f64::from(*entry) / SCALE as f64);
        let mean = values.clone().sum::<f64>() / n;
        (mean, (values.map(|value| (value - mean).powi(2)).sum::<f64>() / n).sqrt())
    }

    #[test]
    fn normal_has_the_moments_and_quantiles_of_its_distribution() {
        let table = DistTable::normal();
        let (mean, deviation) = moments(&table);
        assert!(mean.abs() < 0.001 && (deviation - 1.0).abs() < 0.002, "{mean} {deviation}");
        // Quantiles at 2.5 %, 16 %, 50 %, 84 %, 97.5 % by the tables.
        for (fraction, quantile) in
            [(0.025, -1.959_96), (0.158_655, -1.0), (0.5, 0.0), (0.841_345, 1.0), (0.975, 1.959_96)]
        {
            let entry = table.entry((fraction * f64::from(ENTRIES)) as u64) as f64 / SCALE as f64;
            assert!((entry - quantile).abs() < 0.003, "{fraction}: {entry}");
        }
    }

    /// y = u^(-1/3) is cut off at 4.5, so its mean is 1 + (1 - 4.5^-2) / 2 = 1.4753 instead of 1.5, and its mean square
    /// 1 + 2 (1 - 1/4.5) = 2.5556; shifted and scaled by 4/3 that is a mean of -0.0329 and a deviation of 0.8209.
    #[test]
    fn pareto_has_the_moments_of_its_cut_off_distribution() {
        let table = DistTable::pareto();
        let (mean, deviation) = moments(&table);
        assert!((mean + 0.0329).abs() < 0.001 && (deviation - 0.8209).abs() < 0.002, "{mean} {deviation}");
        assert_eq!(table.entry(0), -5461);
        assert_eq!(table.entries.iter().copied().max(), Some(i16::MAX));
        let at_four = table.entries.iter().filter(|entry| **entry == i16::MAX).count();
        // P(u^(-1/3) > 4.5) = 4.5^-3 = 1.1 % of 4096.
        assert!(at_four.abs_diff(45) <= 1, "{at_four}");
    }

    #[test]
    fn paretonormal_is_a_quarter_and_three_quarters() {
        let (mixed, normal, pareto) = (DistTable::paretonormal(), DistTable::normal(), DistTable::pareto());
        // The lowest normal quantile alone is cut off in its table and not in the sum.
        for index in 1..4096 {
            let expected = (normal.entry(index) + 3 * pareto.entry(index)) / 4;
            assert!(mixed.entry(index).abs_diff(expected) <= 1, "{index}");
        }
    }

    #[test]
    fn tables_are_sorted_quantiles() {
        for table in [DistTable::normal(), DistTable::pareto(), DistTable::paretonormal()] {
            assert_eq!(table.len(), 4096);
            assert!(table.entries.is_sorted());
        }
    }

    #[test]
    fn files_are_read_and_errors_name_the_line() {
        let table = DistTable::parse("# comment\n -1 2\n3 # more\n").unwrap();
        assert_eq!(&*table.entries, [-1, 2, 3]);
        let message = |text| DistTable::parse(text).unwrap_err().to_string();
        assert_eq!(message("1\n2 x\n"), "line 2: expected whole numbers from -32768 to 32767, found \"x\"");
        assert_eq!(message("32768\n"), "line 1: expected whole numbers from -32768 to 32767, found \"32768\"");
        assert_eq!(message("# nothing\n"), "the trace has no entries");
        assert_eq!(DistTable::parse(&"0\n".repeat(16_385)), Err(TraceError::TooLong { line: 16_385, limit: 16_384 }));
        assert_eq!(DistTable::new(&[]), Err(LinkError::Empty));
    }
}
