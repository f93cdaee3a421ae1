//! Axes: where the ticks are, and what is written beside them.
//!
//! Positions on the page must come out the same on every machine, so nothing here calls a logarithm or a power of the
//! platform.

use crate::logarithm::log10;
use crate::results::unit::{Prefix, Unit, fixed};

/// An axis that begins and ends at a tick.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::results::html) struct Axis {
    /// Value at the beginning.
    pub(in crate::results::html) min: f64,
    /// Value at the end; larger than `min`.
    pub(in crate::results::html) max: f64,
    /// Values with a line and a label, rising.
    pub(in crate::results::html) ticks: Vec<Tick>,
    /// What all labels are in, for the caption of the axis.
    pub(in crate::results::html) symbol: &'static str,
    /// What to show single values in.
    pub(in crate::results::html) readout: Prefix,
    scale: Scale,
}

/// A labelled position.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::results::html) struct Tick {
    pub(in crate::results::html) value: f64,
    /// Empty for a line without label.
    pub(in crate::results::html) label: String,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Scale {
    Linear,
    Logarithmic,
}

impl Axis {
    /// From 0 to at least `max`, with some `count` ticks.
    pub(in crate::results::html) fn from_zero(max: f64, unit: Unit, count: usize) -> Self {
        let max = if max > 0.0 && max.is_finite() { max } else { unit.prefix(1.0).one };
        let prefix = unit.prefix(max);
        let step = NiceStep::new(max / prefix.one / count.max(1) as f64);
        let last = (1..=4 * count.max(1) as u64)
            .find(|tick| step.multiple(*tick) * prefix.one >= max * (1.0 - 1e-9))
            .unwrap_or(count as u64);
        let ticks = (0..=last).map(|tick| step.tick(tick, prefix)).collect();
        let max = step.multiple(last) * prefix.one;
        Self { min: 0.0, max, ticks, symbol: prefix.symbol, readout: prefix, scale: Scale::Linear }
    }

    /// From 0 to exactly `end`, with a tick at every round value between.
    pub(in crate::results::html) fn until(end: f64, unit: Unit, count: usize) -> Self {
        let mut axis = Self::from_zero(end, unit, count);
        if end > 0.0 && end.is_finite() {
            axis.ticks.retain(|tick| tick.value <= end * (1.0 + 1e-9));
            axis.max = end;
        }
        axis
    }

    /// From a power of ten (or twice or five times one) to another, covering `min` to `max`, both above 0.
    pub(in crate::results::html) fn logarithmic(min: f64, max: f64, unit: Unit) -> Self {
        let steps = steps_of_decades(min, max);
        let wide = log10(steps[steps.len() - 1].0) - log10(steps[0].0) > 3.0;
        let label = |(value, mantissa): (f64, u32)| {
            let label = if mantissa == 1 || !wide { label_with_prefix(value, unit) } else { String::new() };
            Tick { value, label }
        };
        let (min, max) = (steps[0].0, steps[steps.len() - 1].0);
        // One prefix for values of many magnitudes: that of thousandths suits latencies.
        let readout = unit.prefix(if unit == Unit::Seconds { 1e-3 } else { max });
        let ticks = steps.into_iter().map(label).collect();
        Self { min, max, ticks, symbol: "", readout, scale: Scale::Logarithmic }
    }

    /// Names side by side, the first at 0, the next at 1 and so on, each with its half of the way to its neighbours, so that
    /// long ones stay within the chart. Where there are many, some are not labelled.
    pub(in crate::results::html) fn of_names(names: &[String]) -> Self {
        const LABELS: usize = 10;
        let every = names.len().div_ceil(LABELS).max(1);
        let label = |(index, name): (usize, &String)| {
            let label = if index % every == 0 { name.clone() } else { String::new() };
            Tick { value: index as f64, label }
        };
        let ticks = names.iter().enumerate().map(label).collect();
        let max = names.len().max(1) as f64 - 0.5;
        let readout = Unit::Plain.prefix(1.0);
        Self { min: -0.5, max, ticks, symbol: "", readout, scale: Scale::Linear }
    }

    /// Where a value lies: 0 at the beginning, 1 at the end; never outside.
    pub(in crate::results::html) fn position(&self, value: f64) -> f64 {
        let position = match self.scale {
            Scale::Linear => (value - self.min) / (self.max - self.min),
            Scale::Logarithmic => {
                let (min, max) = (log10(self.min), log10(self.max));
                (log10(value.max(self.min)) - min) / (max - min)
            }
        };
        if position.is_finite() { position.clamp(0.0, 1.0) } else { 0.0 }
    }

    /// Whether equal factors are equally long.
    pub(in crate::results::html) fn is_logarithmic(&self) -> bool {
        self.scale == Scale::Logarithmic
    }
}

/// 1, 2 or 5 times a power of ten.
#[derive(Clone, Copy)]
struct NiceStep {
    mantissa: u64,
    /// Power of ten to multiply with, or to divide by.
    power: f64,
    divide: bool,
    decimals: usize,
}

impl NiceStep {
    /// The smallest that is not below `rough`.
    fn new(rough: f64) -> Self {
        let mut step = Self { mantissa: 1, power: 1.0, divide: false, decimals: 0 };
        if !(rough.is_finite() && rough > 0.0) {
            return step;
        }
        // Nothing that is simulated needs more decimals.
        while step.multiple(1) > rough * (1.0 + 1e-9) && step.decimals < 15 {
            step = Self { power: step.power * 10.0, divide: true, decimals: step.decimals + 1, ..step };
        }
        while step.multiple(1) < rough * (1.0 - 1e-9) {
            step = step.next();
        }
        step
    }

    fn next(self) -> Self {
        match (self.mantissa, self.divide) {
            (1, _) => Self { mantissa: 2, ..self },
            (2, _) => Self { mantissa: 5, ..self },
            (_, false) => Self { mantissa: 1, power: self.power * 10.0, ..self },
            (_, true) => {
                let (power, decimals) = (self.power / 10.0, self.decimals - 1);
                Self { mantissa: 1, power, decimals, divide: decimals > 0 }
            }
        }
    }

    /// Rounded once only, so that ticks print as the decimal numbers they are.
    fn multiple(self, count: u64) -> f64 {
        let count = (count * self.mantissa) as f64;
        if self.divide { count / self.power } else { count * self.power }
    }

    fn tick(self, count: u64, prefix: Prefix) -> Tick {
        let number = self.multiple(count);
        Tick { value: number * prefix.one, label: fixed(number, self.decimals) }
    }
}

/// All 1, 2 and 5 times powers of ten from the last not above `min` to the first not below `max`, at least two.
fn steps_of_decades(min: f64, max: f64) -> Vec<(f64, u32)> {
    const FIRST_POWER: i32 = -12;
    const LAST_POWER: i32 = 15;
    let all: Vec<(f64, u32)> = (FIRST_POWER..=LAST_POWER)
        .flat_map(|power| [1, 2, 5].map(|mantissa| (f64::from(mantissa) * power_of_ten(power), mantissa)))
        .collect();
    let slack = 1e-9;
    let first = all.iter().rposition(|(value, _)| *value <= min * (1.0 + slack)).unwrap_or(0).min(all.len() - 2);
    let last = all.iter().position(|(value, _)| *value >= max * (1.0 - slack)).unwrap_or(all.len() - 1).max(first + 1);
    all[first..=last].to_vec()
}

fn power_of_ten(power: i32) -> f64 {
    let factor = (0..power.unsigned_abs()).fold(1.0, |product, _| product * 10.0);
    if power < 0 { 1.0 / factor } else { factor }
}

fn label_with_prefix(value: f64, unit: Unit) -> String {
    let prefix = unit.prefix(value);
    let number = value / prefix.one;
    let decimals = (0..6).find(|decimals| number * power_of_ten(*decimals) >= 1.0 - 1e-9).unwrap_or(0);
    let number = fixed(number, decimals.unsigned_abs() as usize);
    if prefix.symbol.is_empty() { number } else { format!("{number}\u{a0}{}", prefix.symbol) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|tick| tick.label.as_str()).collect()
    }

    #[test]
    fn ticks_are_round_and_cover_the_data() {
        let cases: [(f64, Unit, &[&str], &str); 6] = [
            (447e6, Unit::BitsPerSecond, &["0", "100", "200", "300", "400", "500"], "Mbit/s"),
            (1.0, Unit::Plain, &["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"], ""),
            (0.0123, Unit::Seconds, &["0", "5", "10", "15"], "ms"),
            (3.0, Unit::Count, &["0", "1", "2", "3"], ""),
            (65_536.0, Unit::Bytes, &["0", "20", "40", "60", "80"], "kB"),
            (0.000_3, Unit::Fraction, &["0.00", "0.01", "0.02", "0.03"], "%"),
        ];
        for (max, unit, expected, symbol) in cases {
            let axis = Axis::from_zero(max, unit, 5);
            assert_eq!((labels(&axis), axis.symbol), (expected.to_vec(), symbol), "{max}");
            assert!(axis.max >= max * 0.999_999 && axis.max < max * 2.1);
        }
    }

    #[test]
    fn nothing_to_show_still_gives_an_axis() {
        for max in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let axis = Axis::from_zero(max, Unit::Bytes, 5);
            assert!(axis.max > 0.0 && axis.ticks.len() > 1);
            assert!((0.0..=1.0).contains(&axis.position(f64::NAN)));
        }
    }

    #[test]
    fn time_ends_where_the_run_ends() {
        let axis = Axis::until(23.0, Unit::Seconds, 6);
        assert_eq!(labels(&axis), ["0", "5", "10", "15", "20"]);
        assert_eq!(axis.position(23.0), 1.0);
    }

    #[test]
    fn decades_are_equally_long() {
        let axis = Axis::logarithmic(0.000_9, 0.7, Unit::Seconds);
        assert_eq!((axis.min, axis.max), (0.0005, 1.0));
        assert_eq!(labels(&axis).iter().filter(|label| !label.is_empty()).count(), 4);
        let (a, b, c) = (axis.position(0.001), axis.position(0.01), axis.position(0.1));
        assert!((b - a - (c - b)).abs() < 1e-12);
        let short = Axis::logarithmic(0.011, 0.3, Unit::Seconds);
        assert_eq!(
            labels(&short),
            ["10\u{a0}ms", "20\u{a0}ms", "50\u{a0}ms", "100\u{a0}ms", "200\u{a0}ms", "500\u{a0}ms"]
        );
        assert!(Axis::logarithmic(5.0, 5.0, Unit::Plain).max > 5.0);
    }
}
