//! Quantities written as text: times, rates, sizes, probabilities. Exact, without floats.

use std::fmt;
use std::time::Duration;

use super::error::UnitError;

/// Bits per second.
///
/// Written `10Mbit`, `1.5Gbit`, `500kbit`, or in bytes as `455MiB/s`. The `k`, `M`, `G` and `T` of bits
/// are powers of 1000, as `tc` has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate(pub u64);

/// Bytes. Written `1448B`, `64KiB`, `16MiB`, `1MB`; a bare number is bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(pub u64);

/// A probability in parts per 10^9, at most [`Probability::ONE`]. Written `0.5%`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Probability(pub u64);

impl Probability {
    /// Never.
    pub const ZERO: Self = Self(0);
    /// Always: 100 %.
    pub const ONE: Self = Self(1_000_000_000);
}

/// A signed share in parts per 10^9. Written `90%`, `+12%`, `-27%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Share(pub i64);

/// A cost in picoseconds. Written `0.25ns`, `400ns`, `1us`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Picoseconds(pub u64);

/// A quantity that is written as text.
pub trait Unit: Sized {
    /// What it is, for messages: `a time such as "10ms"`.
    const WHAT: &'static str;

    /// Reads it.
    ///
    /// # Errors
    /// What is wrong with the text.
    fn parse(text: &str) -> Result<Self, UnitError>;

    /// The shortest text that reads as the same quantity.
    fn print(&self) -> String;
}

const TIME: Family = Family {
    kind: "time",
    units: &[
        ("h", 3_600_000_000_000),
        ("min", 60_000_000_000),
        ("s", 1_000_000_000),
        ("ms", 1_000_000),
        ("us", 1000),
        ("µs", 1000),
        ("ns", 1),
    ],
    listed: "ns, us, ms, s, min, h",
    base: "1 ns",
    bare: 0,
};

const COST: Family = Family {
    kind: "time",
    units: &[("s", 1_000_000_000_000), ("ms", 1_000_000_000), ("us", 1_000_000), ("ns", 1000), ("ps", 1)],
    listed: "ps, ns, us, ms, s",
    base: "1 ps",
    bare: 0,
};

const RATE: Family = Family {
    kind: "rate",
    units: &[
        ("Tbit", 1_000_000_000_000),
        ("Gbit", 1_000_000_000),
        ("Mbit", 1_000_000),
        ("kbit", 1000),
        ("bit", 1),
        ("Tbit/s", 1_000_000_000_000),
        ("Gbit/s", 1_000_000_000),
        ("Mbit/s", 1_000_000),
        ("kbit/s", 1000),
        ("bit/s", 1),
        ("GB/s", 8_000_000_000),
        ("MB/s", 8_000_000),
        ("kB/s", 8000),
        ("GiB/s", 8 << 30),
        ("MiB/s", 8 << 20),
        ("KiB/s", 8 << 10),
        ("B/s", 8),
    ],
    listed: "bit, kbit, Mbit, Gbit, Tbit, or bytes as B/s, kB/s, KiB/s, MB/s, MiB/s, GB/s, GiB/s",
    base: "1 bit/s",
    bare: 0,
};

const SIZE: Family = Family {
    kind: "size",
    units: &[
        ("GiB", 1 << 30),
        ("MiB", 1 << 20),
        ("KiB", 1 << 10),
        ("B", 1),
        ("GB", 1_000_000_000),
        ("MB", 1_000_000),
        ("kB", 1000),
    ],
    listed: "B, kB, KiB, MB, MiB, GB, GiB",
    base: "1 B",
    bare: 1,
};

const SHARE: Family = Family { kind: "share", units: &[("%", 10_000_000)], listed: "%", base: "0.0000001 %", bare: 0 };

impl Unit for Duration {
    const WHAT: &'static str = r#"a time such as "10ms""#;

    fn parse(text: &str) -> Result<Self, UnitError> {
        TIME.parse(text).map(Self::from_nanos)
    }

    fn print(&self) -> String {
        TIME.print(u64::try_from(self.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl Unit for Picoseconds {
    const WHAT: &'static str = r#"a cost such as "0.25ns""#;

    fn parse(text: &str) -> Result<Self, UnitError> {
        COST.parse(text).map(Self)
    }

    fn print(&self) -> String {
        COST.print(self.0)
    }
}

impl Unit for Rate {
    const WHAT: &'static str = r#"a rate such as "10Mbit""#;

    fn parse(text: &str) -> Result<Self, UnitError> {
        RATE.parse(text).map(Self)
    }

    fn print(&self) -> String {
        RATE.print(self.0)
    }
}

impl Unit for Size {
    const WHAT: &'static str = r#"a size such as "64KiB""#;

    fn parse(text: &str) -> Result<Self, UnitError> {
        SIZE.parse(text).map(Self)
    }

    fn print(&self) -> String {
        SIZE.print(self.0)
    }
}

impl Unit for Probability {
    const WHAT: &'static str = r#"a probability such as "0.5%""#;

    fn parse(text: &str) -> Result<Self, UnitError> {
        let parsed = SHARE.parse(text)?;
        if parsed > Self::ONE.0 { Err(UnitError::AboveOne) } else { Ok(Self(parsed)) }
    }

    fn print(&self) -> String {
        print_percent(self.0)
    }
}

impl Unit for Share {
    const WHAT: &'static str = r#"a percentage such as "90%" or "+12%""#;

    fn parse(text: &str) -> Result<Self, UnitError> {
        let (negative, digits) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let size = i64::try_from(SHARE.parse(digits)?).map_err(|_| UnitError::TooLarge { kind: SHARE.kind })?;
        Ok(Self(if negative { -size } else { size }))
    }

    fn print(&self) -> String {
        format!("{}{}", if self.0 < 0 { "-" } else { "" }, print_percent(self.0.unsigned_abs()))
    }
}

macro_rules! display {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.print())
            }
        }
    )*};
}

display!(Rate, Size, Probability, Share, Picoseconds);

/// Expands `A..B step C` and `A..B x N` into its values, in the unit of its text; `None` if `text` is no range.
///
/// The ends are included. A step without a unit has that of the second end.
pub(crate) fn expand_range(text: &str) -> Option<Result<Vec<String>, UnitError>> {
    let (from, rest) = text.split_once("..")?;
    let (to, way) = rest.trim().split_once(char::is_whitespace)?;
    let (by, amount) = way.trim().split_once(char::is_whitespace)?;
    if !matches!(by, "step" | "x") || !from.trim().starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    Some(Range { from: from.trim(), to: to.trim(), by, amount: amount.trim() }.expand())
}

/// Values that a range may have.
const RANGE_LIMIT: usize = 10_000;

struct Range<'a> {
    from: &'a str,
    to: &'a str,
    by: &'a str,
    amount: &'a str,
}

impl Range<'_> {
    fn expand(&self) -> Result<Vec<String>, UnitError> {
        if let Ok(to) = self.to.parse::<u64>() {
            let from = self.from.parse::<u64>().map_err(|_| UnitError::Range)?;
            return self.values(from, to, |amount| amount.parse().map_err(|_| UnitError::Range), |n| n.to_string());
        }
        let unit = self.to.trim_start_matches(|c: char| c.is_ascii_digit() || matches!(c, '.' | '_'));
        let family =
            [TIME, RATE, SIZE, SHARE].into_iter().find(|family| family.scale(unit).is_ok()).ok_or(UnitError::Range)?;
        let with_unit = |amount: &str| {
            if amount.ends_with(|last: char| last.is_ascii_digit()) { format!("{amount}{unit}") } else { amount.into() }
        };
        let (from, to) = (family.parse(&with_unit(self.from))?, family.parse(self.to)?);
        let print = |value| if family.kind == SHARE.kind { print_percent(value) } else { family.print(value) };
        self.values(from, to, |amount| family.parse(&with_unit(amount)), print)
    }

    fn values(
        &self,
        from: u64,
        to: u64,
        step: impl Fn(&str) -> Result<u64, UnitError>,
        print: impl Fn(u64) -> String,
    ) -> Result<Vec<String>, UnitError> {
        let next: Box<dyn Fn(u64) -> Option<u64>> = if self.by == "step" {
            let step = step(self.amount)?;
            Box::new(move |value: u64| value.checked_add(step))
        } else {
            let factor: u64 = self.amount.parse().map_err(|_| UnitError::Range)?;
            Box::new(move |value: u64| value.checked_mul(factor))
        };
        if from > to || next(from).is_none_or(|second| second <= from) {
            return Err(UnitError::Range);
        }
        let values: Vec<String> = std::iter::successors(Some(from), |value| next(*value))
            .take_while(|value| *value <= to)
            .take(RANGE_LIMIT + 1)
            .map(print)
            .collect();
        if values.len() > RANGE_LIMIT { Err(UnitError::RangeTooLong { limit: RANGE_LIMIT }) } else { Ok(values) }
    }
}

/// Units of one kind.
struct Family {
    kind: &'static str,
    /// Each with its size in base units. Printing takes the first that divides exactly, unless that makes a number nobody
    /// can read and another makes a shorter one.
    units: &'static [(&'static str, u64)],
    listed: &'static str,
    base: &'static str,
    /// What a bare number counts in base units, 0 if a unit is needed.
    bare: u64,
}

impl Family {
    fn scale(&self, unit: &str) -> Result<u64, UnitError> {
        if unit.is_empty() && self.bare > 0 {
            return Ok(self.bare);
        }
        if unit.is_empty() {
            return Err(UnitError::NoUnit { kind: self.kind, listed: self.listed });
        }
        if matches!(unit, "bps" | "kbps" | "Mbps" | "Gbps" | "mbps" | "gbps" | "Kbps") {
            return Err(UnitError::BitsOrBytes { unit: unit.to_owned() });
        }
        // Case tells nothing about bits (tc takes "1gbit" too); of bytes it tells kilo from kibi.
        let same = |known: &str| known == unit || (known.contains("bit") && known.eq_ignore_ascii_case(unit));
        self.units
            .iter()
            .find(|(known, _)| same(known))
            .map(|(_, scale)| *scale)
            .ok_or_else(|| UnitError::UnknownUnit { unit: unit.to_owned(), kind: self.kind, listed: self.listed })
    }

    fn parse(&self, text: &str) -> Result<u64, UnitError> {
        let text = text.trim();
        let split = text.find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | '_')).unwrap_or(text.len());
        let (number, unit) = (text[..split].replace('_', ""), text[split..].trim());
        let (whole, fraction) = number.split_once('.').unwrap_or((&number, ""));
        if whole.is_empty() || fraction.contains('.') {
            return Err(UnitError::NoNumber { kind: self.kind });
        }
        // Zero is the same in every unit.
        if unit.is_empty() && whole.bytes().chain(fraction.bytes()).all(|digit| digit == b'0') {
            return Ok(0);
        }
        let too_large = UnitError::TooLarge { kind: self.kind };
        let scale = u128::from(self.scale(unit)?);
        let fraction = fraction.trim_end_matches('0');
        let digits: u128 = format!("{whole}{fraction}").parse().map_err(|_| too_large.clone())?;
        let scaled = digits.checked_mul(scale).ok_or_else(|| too_large.clone())?;
        let divisor = u32::try_from(fraction.len()).ok().and_then(|places| 10_u128.checked_pow(places));
        let divisor = divisor.ok_or(UnitError::TooFine { kind: self.kind, base: self.base })?;
        if scaled % divisor != 0 {
            return Err(UnitError::TooFine { kind: self.kind, base: self.base });
        }
        u64::try_from(scaled / divisor).map_err(|_| too_large)
    }

    fn print(&self, value: u64) -> String {
        let exact = |(_, scale): &&(&str, u64)| value.is_multiple_of(*scale) && (value > 0 || *scale == 1);
        let mut choices = self.units.iter().filter(exact).copied();
        let first = choices.next().unwrap_or(("", 1));
        let is_readable = value / first.1 <= READABLE;
        let shortest = choices.chain([first]).max_by_key(|(_, scale)| *scale).unwrap_or(first);
        let (unit, scale) = if is_readable { first } else { shortest };
        format!("{}{unit}", value / scale)
    }
}

/// The largest number that is read at a glance.
const READABLE: u64 = 99_999;

fn print_percent(billionths: u64) -> String {
    let (whole, rest) = (billionths / 10_000_000, billionths % 10_000_000);
    let fraction = format!("{rest:07}");
    let fraction = fraction.trim_end_matches('0');
    if fraction.is_empty() { format!("{whole}%") } else { format!("{whole}.{fraction}%") }
}

#[cfg(test)]
mod tests;
