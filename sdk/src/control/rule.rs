//! Rules of the policy in words.

use std::fmt::Write;
use std::num::NonZeroU64;

use tcp_adapter::InterfaceId;

use crate::{PathRule, PathUse};

/// Text that is no rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidRule(String);

const WORDS: &str = "dev=, src=, dst=, cost=, max-rate=, max-bytes=, regular, backup, metered and never";

/// Reads a rule: words with commas between them. `dev=NAME`, `src=ADDR/PREFIX` and `dst=ADDR/PREFIX` say which paths are meant;
/// `regular`, `backup`, `metered` or `never` what they are for; `cost=N` what they cost; `max-rate=N` (bits per second) and
/// `max-bytes=N` how much they may carry, both with `k`, `M` or `G` for thousands, millions or billions. `metered` paths are
/// opened only while no others work. `interfaces` are the names of the interfaces, in their order.
///
/// # Errors
/// A word that is not known, a value that is none, or a rule that says nothing.
pub fn rule_from_text(text: &str, interfaces: &[&str]) -> Result<PathRule, InvalidRule> {
    let mut rule = PathRule::default();
    for word in text.split(',') {
        let wrong = |what: &str| InvalidRule(format!("'{word}' is not {what}"));
        let network = |value: &str| value.parse().map_err(|_| wrong("a network, such as src=10.0.1.0/24"));
        let amount = |value: &str| amount(value).ok_or_else(|| wrong("an amount, such as 500k, 20M or 1G"));
        match word.split_once('=') {
            Some(("dev", name)) => {
                let found = interfaces.iter().position(|known| *known == name);
                let choices = interfaces.join(", ");
                let unknown = || InvalidRule(format!("there is no interface '{name}': choose one of {choices}"));
                rule.interface = Some(InterfaceId(found.ok_or_else(unknown)?));
            }
            Some(("src", value)) => rule.source = Some(network(value)?),
            Some(("dst", value)) => rule.destination = Some(network(value)?),
            Some(("cost", value)) => rule.cost = Some(value.parse().map_err(|_| wrong("a cost from 0 to 4294967295"))?),
            Some(("max-rate", value)) => {
                let rate = NonZeroU64::new(amount(value)? / 8);
                rule.max_rate = Some(rate.ok_or_else(|| wrong("a rate of at least 8 bits per second"))?);
            }
            Some(("max-bytes", value)) => rule.max_bytes = Some(amount(value)?),
            None if word == "regular" => rule.usage = Some(PathUse::Regular),
            None if word == "backup" => rule.usage = Some(PathUse::Backup),
            None if word == "metered" => rule.usage = Some(PathUse::Spare),
            None if word == "never" => rule.usage = Some(PathUse::Never),
            _ => return Err(InvalidRule(format!("'{word}' is not known: a rule has {WORDS}"))),
        }
    }
    if rule
        == (PathRule {
            interface: rule.interface,
            source: rule.source,
            destination: rule.destination,
            ..PathRule::default()
        })
    {
        return Err(InvalidRule(format!("'{text}' says nothing of the paths: give it a use, a cost or a limit")));
    }
    Ok(rule)
}

/// Writes a rule so that it can be read again; `name` gives the name of an interface.
pub fn rule_to_text(rule: &PathRule, name: impl Fn(InterfaceId) -> String) -> String {
    let mut words = String::new();
    let mut word = |args: std::fmt::Arguments<'_>| {
        let comma = if words.is_empty() { "" } else { "," };
        // A string takes everything.
        let _ = write!(words, "{comma}{args}");
    };
    if let Some(interface) = rule.interface {
        word(format_args!("dev={}", name(interface)));
    }
    if let Some(network) = rule.source {
        word(format_args!("src={network}"));
    }
    if let Some(network) = rule.destination {
        word(format_args!("dst={network}"));
    }
    match rule.usage {
        None => {}
        Some(PathUse::Regular) => word(format_args!("regular")),
        Some(PathUse::Backup) => word(format_args!("backup")),
        Some(PathUse::Spare) => word(format_args!("metered")),
        Some(PathUse::Never) => word(format_args!("never")),
    }
    if let Some(cost) = rule.cost {
        word(format_args!("cost={cost}"));
    }
    if let Some(rate) = rule.max_rate {
        word(format_args!("max-rate={}", rate.get().saturating_mul(8)));
    }
    if let Some(bytes) = rule.max_bytes {
        word(format_args!("max-bytes={bytes}"));
    }
    words
}

fn amount(text: &str) -> Option<u64> {
    let units = [('k', 1_000), ('M', 1_000_000), ('G', 1_000_000_000)];
    let unit = units.into_iter().find_map(|(letter, unit)| Some((text.strip_suffix(letter)?, unit)));
    let (digits, unit) = unit.unwrap_or((text, 1));
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<PathRule, String> {
        rule_from_text(text, &["eth0", "wwan0"]).map_err(|error| error.to_string())
    }

    #[test]
    fn rules_are_read_and_written() {
        for text in [
            "dev=wwan0,metered",
            "dev=wwan0,src=10.0.1.0/24,dst=fd00::/8,backup,cost=7,max-rate=20000000,max-bytes=1000",
            "never",
            "cost=0",
        ] {
            assert_eq!(rule_to_text(&read(text).unwrap(), |_| "wwan0".to_owned()), text);
        }
        let limited = read("max-rate=20M,max-bytes=2G").unwrap();
        assert_eq!((limited.max_rate.unwrap().get(), limited.max_bytes), (2_500_000, Some(2_000_000_000)));
    }

    #[test]
    fn mistakes_are_named() {
        for (text, part) in [
            ("", "'' is not known: a rule has dev="),
            ("metred", "'metred' is not known"),
            ("dev=eth9,never", "there is no interface 'eth9': choose one of eth0, wwan0"),
            ("src=10.0.1.0,never", "'src=10.0.1.0' is not a network"),
            ("cost=-1", "'cost=-1' is not a cost"),
            ("max-rate=7", "'max-rate=7' is not a rate"),
            ("max-bytes=1T", "'max-bytes=1T' is not an amount"),
            ("max-bytes=99999999999G", "is not an amount"),
            ("dev=wwan0", "'dev=wwan0' says nothing of the paths"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
