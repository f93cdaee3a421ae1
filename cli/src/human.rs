//! Numbers for people, and from people.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// A count of bytes with a binary unit and three significant digits, such as `1.25 MiB`.
pub(crate) fn bytes(count: u64) -> String {
    scaled(count as f64, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB"])
}

/// A rate with a decimal unit and three significant digits, such as `940 Mbit/s`.
pub(crate) fn rate(bytes: u64, time: Duration) -> String {
    scaled(bits_per_second(bytes, time), 1000.0, &["bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"])
}

/// A rate in bits per second; zero over no time.
pub(crate) fn bits_per_second(bytes: u64, time: Duration) -> f64 {
    let seconds = time.as_secs_f64();
    if seconds > 0.0 { bytes as f64 * 8.0 / seconds } else { 0.0 }
}

fn scaled(value: f64, base: f64, units: &[&str]) -> String {
    let mut value = value;
    let mut unit = 0;
    while value >= base && unit + 1 < units.len() {
        value /= base;
        unit += 1;
    }
    let digits = if unit == 0 || value >= 100.0 {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.digits$} {}", units[unit])
}

/// Reads a count such as `4096`, `64K`, `10M` or `1G`, the letters being powers of 1024.
pub(crate) fn parse_count(text: &str) -> Result<u64, String> {
    let mistake = || format!("'{text}' is not a count of bytes, such as 4096, 64K, 10M or 1G");
    let (digits, shift) = match text.chars().last() {
        Some('k' | 'K') => (&text[..text.len() - 1], 10),
        Some('m' | 'M') => (&text[..text.len() - 1], 20),
        Some('g' | 'G') => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    let count: u64 = digits.parse().map_err(|_| mistake())?;
    count.checked_mul(1 << shift).filter(|count| *count > 0).ok_or_else(mistake)
}

/// The bytes of which these are the hexadecimal digits.
pub(crate) fn parse_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text.chars().map(|digit| Some(digit.to_digit(16)? as u8)).collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2))?;
    Some(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

/// Reads an address with a port. Names are not looked up: a user-space stack has no resolver.
pub(crate) fn parse_remote(text: &str) -> Result<SocketAddr, String> {
    match text.parse::<SocketAddr>() {
        Ok(addr) if addr.port() != 0 => Ok(addr),
        _ => Err(format!(
            "'{text}' is not an address with a port, such as 10.0.0.1:5000 or [fd00::1]:5000 (names are not looked up)"
        )),
    }
}

/// Where to listen: on one address, or on all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ListenAddr {
    /// `None` for every local address.
    pub(crate) addr: Option<IpAddr>,
    /// Never 0.
    pub(crate) port: u16,
}

impl std::fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.addr {
            Some(addr) => SocketAddr::new(addr, self.port).fmt(f),
            None => write!(f, "port {}", self.port),
        }
    }
}

/// Reads `PORT` or `ADDR:PORT`.
pub(crate) fn parse_listen(text: &str) -> Result<ListenAddr, String> {
    let parsed = match text.parse::<u16>() {
        Ok(port) => Some(ListenAddr { addr: None, port }),
        Err(_) => text.parse::<SocketAddr>().ok().map(|addr| ListenAddr { addr: Some(addr.ip()), port: addr.port() }),
    };
    parsed.filter(|listen| listen.port != 0).ok_or_else(|| {
        format!("'{text}' is not a port or an address with a port, such as 5000, 10.0.0.1:5000 or [fd00::1]:5000")
    })
}

/// Reads a number of seconds, with or without a fraction, above 0 and at most a day.
pub(crate) fn parse_seconds(text: &str) -> Result<Duration, String> {
    text.parse::<f64>()
        .ok()
        .filter(|seconds| *seconds > 0.0 && *seconds <= 86_400.0)
        .map(Duration::from_secs_f64)
        .ok_or_else(|| format!("'{text}' is not a number of seconds above 0 and at most 86400"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1536), "1.50 KiB");
        assert_eq!(bytes(64 << 20), "64.0 MiB");
        assert_eq!(rate(125_000_000, Duration::from_secs(1)), "1.00 Gbit/s");
        assert_eq!(rate(5, Duration::ZERO), "0 bit/s");
    }

    #[test]
    fn counts_take_suffixes() {
        assert_eq!(parse_count("64K"), Ok(65536));
        assert_eq!(parse_count("1g"), Ok(1 << 30));
        for wrong in ["", "0", "K", "1T", "-1", "99999999999G"] {
            assert!(parse_count(wrong).unwrap_err().contains("is not a count of bytes"), "{wrong}");
        }
    }

    #[test]
    fn hexadecimal_digits_come_in_pairs() {
        assert_eq!(parse_hex("00fF5d"), Some(vec![0, 0xff, 0x5d]));
        for wrong in ["0", "0x", "+1", "é0"] {
            assert_eq!(parse_hex(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn addresses_need_a_port() {
        assert_eq!(parse_listen("80"), Ok(ListenAddr { addr: None, port: 80 }));
        assert_eq!(parse_listen("[::1]:80").map(|l| l.to_string()), Ok("[::1]:80".to_owned()));
        assert!(parse_listen("0").is_err());
        assert!(parse_listen("70000").is_err());
        assert!(parse_remote("10.0.0.1:80").is_ok());
        assert!(parse_remote("localhost:80").unwrap_err().contains("names are not looked up"));
        assert!(parse_remote("10.0.0.1").is_err());
    }

    #[test]
    fn seconds_are_bounded() {
        assert_eq!(parse_seconds("0.5"), Ok(Duration::from_millis(500)));
        for wrong in ["0", "-1", "nan", "inf", "1e9", "x"] {
            assert!(parse_seconds(wrong).is_err(), "{wrong}");
        }
    }
}
