//! Numbers, times, and what they may be compared with.

use std::fmt;

/// Numbers that a value may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bound {
    /// Smallest.
    pub(super) low: u64,
    /// Largest.
    pub(super) high: u64,
}

impl Bound {
    pub(super) const ANY: Self = Self { low: 0, high: u64::MAX };

    /// `*`, `5`, `5..9` (both included), `>=5`, `<=5`, `>5`, `<5`, each number as `one` reads it.
    pub(super) fn parse(text: &str, one: fn(&str) -> Result<u64, String>) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::ANY);
        }
        if let Some((low, high)) = text.split_once("..") {
            let (low, high) = (one(low)?, one(high)?);
            return if low <= high { Ok(Self { low, high }) } else { Err(format!("'{text}' has nothing in it")) };
        }
        Ok(if let Some(low) = text.strip_prefix(">=") {
            Self { low: one(low)?, ..Self::ANY }
        } else if let Some(high) = text.strip_prefix("<=") {
            Self { high: one(high)?, ..Self::ANY }
        } else if let Some(below) = text.strip_prefix('>') {
            Self { low: one(below)?.saturating_add(1), ..Self::ANY }
        } else if let Some(above) = text.strip_prefix('<') {
            let above = one(above)?;
            Self { low: 0, high: above.checked_sub(1).ok_or("nothing is below 0")? }
        } else {
            let exact = one(text)?;
            Self { low: exact, high: exact }
        })
    }

    pub(super) fn contains(self, value: u64) -> bool {
        (self.low..=self.high).contains(&value)
    }

    /// The number, if there is only one.
    pub(super) fn exact(self) -> Option<u64> {
        (self.low == self.high).then_some(self.low)
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.exact(), self.low, self.high) {
            (Some(exact), ..) => write!(f, "{exact}"),
            (None, 0, u64::MAX) => f.write_str("*"),
            (None, low, u64::MAX) => write!(f, ">={low}"),
            (None, low, high) => write!(f, "{low}..{high}"),
        }
    }
}

/// A number: `1460`, `14_600`, `0xff`.
pub(super) fn number(text: &str) -> Result<u64, String> {
    let plain = text.replace('_', "");
    let value = match plain.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => plain.parse(),
    };
    value.map_err(|_| format!("'{text}' is not a number"))
}

/// A number that fits a smaller type.
pub(super) fn small<T: TryFrom<u64>>(text: &str) -> Result<T, String> {
    T::try_from(number(text)?).map_err(|_| format!("{text} is too large"))
}

/// A time in nanoseconds: `200ms`, `1.5s`, `10us`, `5ns`, `15min`, `0`.
pub(super) fn time(text: &str) -> Result<u64, String> {
    let wrong = || format!("'{text}' is not a time such as 200ms: a number with ns, us, ms, s or min");
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(unit_at);
    let unit: u64 = match unit {
        "ns" => 1,
        "us" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "min" => 60_000_000_000,
        "" if digits == "0" => 0,
        _ => return Err(wrong()),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let mut nanos = number(whole).map_err(|_| wrong())?.checked_mul(unit).ok_or_else(wrong)?;
    let mut place = unit;
    for digit in fraction.chars() {
        place /= 10;
        nanos += u64::from(digit.to_digit(10).ok_or_else(wrong)?) * place;
    }
    Ok(nanos)
}

/// Nanoseconds as people read them.
pub(super) fn show_time(nanos: u64) -> String {
    format!("{}.{:06}s", nanos / 1_000_000_000, nanos / 1_000 % 1_000_000)
}

/// Bytes from hexadecimal digits; dots between them are allowed.
pub(super) fn bytes(text: &str) -> Result<Vec<u8>, String> {
    let digits: Vec<u32> = text.chars().filter(|&c| c != '.').map_while(|c| c.to_digit(16)).collect();
    if digits.len() != text.chars().filter(|&c| c != '.').count() || !digits.len().is_multiple_of(2) {
        return Err(format!("'{text}' is not bytes in pairs of hexadecimal digits"));
    }
    Ok(digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]).to_le_bytes()[0]).collect())
}
