//! Units and the text of numbers.

/// What a number is measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Bits per second, with SI prefixes.
    BitsPerSecond,
    /// Bytes, with SI prefixes (1 kB is 1000 bytes).
    Bytes,
    /// Seconds, down to nanoseconds.
    Seconds,
    /// A number of things.
    Count,
    /// A fraction of one, shown in percent.
    Fraction,
    /// How much more than something else, as a fraction of that; shown in percent.
    Difference,
    /// 1,048,576 bytes per second, never with a prefix, as storage people count.
    MebibytesPerSecond,
    /// Without unit.
    Plain,
}

/// A unit with its prefix, the same for all numbers of one axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prefix {
    /// One of this unit, in the unit without prefix.
    pub one: f64,
    /// What to write after the number; may be empty.
    pub symbol: &'static str,
}

impl Unit {
    /// The prefix that suits numbers of this magnitude: the largest that leaves at least 1 before the point.
    pub fn prefix(self, magnitude: f64) -> Prefix {
        let magnitude = magnitude.abs();
        let mut choice = self.prefixes()[0];
        for prefix in self.prefixes() {
            // A little slack, so that what prints as 1000 gets the larger prefix.
            if magnitude >= prefix.0 * 0.999_999 {
                choice = *prefix;
            }
        }
        let zero = magnitude < f64::MIN_POSITIVE;
        let (one, symbol) = if zero { (1.0, self.symbol()) } else { choice };
        Prefix { one, symbol }
    }

    /// The number with `digits` significant digits, prefix and unit, such as `445.2 Mbit/s`.
    pub fn format(self, value: f64, digits: usize) -> String {
        self.prefix(value).format(value, digits)
    }

    /// The unit without a prefix.
    pub fn symbol(self) -> &'static str {
        match self {
            Self::BitsPerSecond => "bit/s",
            Self::Bytes => "B",
            Self::Seconds => "s",
            Self::Fraction | Self::Difference => "%",
            Self::MebibytesPerSecond => "MiB/s",
            Self::Count | Self::Plain => "",
        }
    }

    fn prefixes(self) -> &'static [(f64, &'static str)] {
        match self {
            Self::BitsPerSecond => {
                &[(1.0, "bit/s"), (1e3, "kbit/s"), (1e6, "Mbit/s"), (1e9, "Gbit/s"), (1e12, "Tbit/s")]
            }
            Self::Bytes => &[(1.0, "B"), (1e3, "kB"), (1e6, "MB"), (1e9, "GB"), (1e12, "TB")],
            Self::Seconds => &[(1e-9, "ns"), (1e-6, "µs"), (1e-3, "ms"), (1.0, "s")],
            Self::Count => &[(1.0, ""), (1e6, "million")],
            Self::Fraction | Self::Difference => &[(0.01, "%")],
            Self::MebibytesPerSecond => &[(1.0, "MiB/s")],
            Self::Plain => &[(1.0, "")],
        }
    }
}

impl Prefix {
    /// The number, given in the unit without prefix, with `digits` significant digits and this prefix.
    pub fn format(self, value: f64, digits: usize) -> String {
        if !value.is_finite() {
            return "–".to_owned();
        }
        let number = significant(value / self.one, digits);
        if self.symbol.is_empty() { number } else { format!("{number} {}", self.symbol) }
    }
}

/// A number with so many significant digits, but never fewer than those before the point.
pub(crate) fn significant(value: f64, digits: usize) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let mut decimals = digits.saturating_sub(1);
    let mut bound = 10.0;
    while decimals > 0 && value.abs() >= bound {
        bound *= 10.0;
        decimals -= 1;
    }
    let text = fixed(value, decimals);
    // 9.996 with three digits is 10.0, not 10.00.
    let grown = text.trim_start_matches('-').chars().filter(char::is_ascii_digit).count() > digits;
    if decimals > 0 && value.abs() >= 1.0 && grown { fixed(value, decimals - 1) } else { text }
}

/// A number with so many digits after the point; never a negative zero.
pub(super) fn fixed(value: f64, decimals: usize) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    let text = format!("{value:.decimals$}");
    let is_zero = text.bytes().all(|byte| matches!(byte, b'-' | b'0' | b'.'));
    if is_zero { text.trim_start_matches('-').to_owned() } else { text }
}

/// `units` of which `10^decimals` make one, exactly: `decimal(1_500, 3)` is `1.500`.
pub(super) fn decimal(units: u64, decimals: u32) -> String {
    let one = 10u64.pow(decimals);
    format!("{}.{:0width$}", units / one, units % one, width = decimals as usize)
}

/// A whole number in groups of three digits, as `12 345`, with narrow spaces that do not break.
pub(super) fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_follow_the_magnitude() {
        let cases = [
            (Unit::BitsPerSecond, 445_200_000.0, "445.2 Mbit/s"),
            (Unit::BitsPerSecond, 999_999_999.9, "1.000 Gbit/s"),
            (Unit::BitsPerSecond, 0.0, "0 bit/s"),
            (Unit::Bytes, 65_536.0, "65.54 kB"),
            (Unit::Seconds, 0.010_5, "10.50 ms"),
            (Unit::Seconds, 0.000_000_25, "250.0 ns"),
            (Unit::Seconds, 61.0, "61.00 s"),
            (Unit::Fraction, 0.005, "0.500 %"),
            (Unit::MebibytesPerSecond, 4560.0, "4560 MiB/s"),
            (Unit::Count, 12_345.0, "12345"),
            (Unit::Plain, f64::NAN, "–"),
        ];
        for (unit, value, text) in cases {
            assert_eq!(unit.format(value, 4), text);
        }
    }

    #[test]
    fn numbers_keep_their_digits() {
        assert_eq!(significant(9.996, 3), "10.0");
        assert_eq!(significant(99.96, 3), "100");
        assert_eq!(significant(0.012_34, 3), "0.01");
        assert_eq!(significant(-1.5, 3), "-1.50");
        assert_eq!(fixed(-0.000_1, 2), "0.00");
        assert_eq!(decimal(1_500_000_001, 9), "1.500000001");
        assert_eq!(decimal(7, 3), "0.007");
        assert_eq!(grouped(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(grouped(999), "999");
    }
}
