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
/// opened only while no others work. Each of these is said once at most. `interfaces` are the names of the interfaces, in their order.
///
/// # Errors
/// A word that is not known, a value that is none, what is said twice, or a rule that says nothing.
pub fn rule_from_text(text: &str, interfaces: &[&str]) -> Result<PathRule, InvalidRule> {
    read(text, |name| {
        let found = interfaces.iter().position(|known| *known == name).map(InterfaceId);
        let choices = interfaces.join(", ");
        found.ok_or_else(|| InvalidRule(format!("there is no interface '{name}': choose one of {choices}")))
    })
}

/// Checks a rule as far as that goes without knowing which interfaces there are; see [`rule_from_text`].
///
/// # Errors
/// As [`rule_from_text`], but any interface may be named.
pub fn check_rule(text: &str) -> Result<(), InvalidRule> {
    // Which one it is does not matter to a rule that nobody uses.
    read(text, |_| Ok(InterfaceId(0))).map(drop)
}

fn read(text: &str, interface: impl Fn(&str) -> Result<InterfaceId, InvalidRule>) -> Result<PathRule, InvalidRule> {
    let mut rule = PathRule::default();
    for word in text.split(',') {
        let wrong = |what: &str| InvalidRule(format!("'{word}' is not {what}"));
        let network = |value: &str| value.parse().map_err(|_| wrong("a network, such as src=10.0.1.0/24"));
        let amount = |value: &str| amount(value).ok_or_else(|| wrong("an amount, such as 500k, 20M or 1G"));
        match word.split_once('=') {
            Some(("dev", name)) => set(&mut rule.interface, interface(name)?, word)?,
            Some(("src", value)) => set(&mut rule.source, network(value)?, word)?,
            Some(("dst", value)) => set(&mut rule.destination, network(value)?, word)?,
            Some(("cost", value)) => {
                let cost: u32 = value.parse().map_err(|_| wrong("a cost from 0 to 4294967295"))?;
                set(&mut rule.cost, cost, word)?;
            }
            Some(("max-rate", value)) => {
                let rate = NonZeroU64::new(amount(value)? / 8);
                set(&mut rule.max_rate, rate.ok_or_else(|| wrong("a rate of at least 8 bits per second"))?, word)?;
            }
            Some(("max-bytes", value)) => set(&mut rule.max_bytes, amount(value)?, word)?,
            None if word == "regular" => set(&mut rule.usage, PathUse::Regular, word)?,
            None if word == "backup" => set(&mut rule.usage, PathUse::Backup, word)?,
            None if word == "metered" => set(&mut rule.usage, PathUse::Spare, word)?,
            None if word == "never" => set(&mut rule.usage, PathUse::Never, word)?,
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

/// Gives a rule what a word says, which no word before it may have said.
fn set<T>(setting: &mut Option<T>, value: T, word: &str) -> Result<(), InvalidRule> {
    match setting.replace(value) {
        None => Ok(()),
        Some(_) => Err(InvalidRule(format!("'{word}' says otherwise or again what a word before it has said"))),
    }
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

    fn rule(text: &str) -> Result<PathRule, String> {
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
            assert_eq!(rule_to_text(&rule(text).unwrap(), |_| "wwan0".to_owned()), text);
        }
        let limited = rule("max-rate=20M,max-bytes=2G").unwrap();
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
            ("regular,never,backup", "'never' says otherwise or again what a word before it has said"),
            ("dev=wwan0,never,dev=eth0", "'dev=eth0' says otherwise or again"),
            ("src=10.0.0.0/8,never,src=10.1.0.0/16", "'src=10.1.0.0/16' says otherwise or again"),
            ("dst=fd00::/8,never,dst=fd00::/8", "'dst=fd00::/8' says otherwise or again"),
            ("cost=1,cost=2", "'cost=2' says otherwise or again"),
            ("max-rate=8M,max-rate=9M", "'max-rate=9M' says otherwise or again"),
            ("max-bytes=1,max-bytes=1", "'max-bytes=1' says otherwise or again"),
        ] {
            let error = rule(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn a_rule_can_be_checked_where_the_interfaces_are_not_known() {
        assert_eq!(check_rule("dev=eth9,metered"), Ok(()));
        assert!(check_rule("dev=eth9,meterd").unwrap_err().to_string().contains("'meterd' is not known"));
        assert!(check_rule("dev=eth9").unwrap_err().to_string().contains("says nothing of the paths"));
        assert!(check_rule("dev=eth9,never,dev=eth8").is_err());
    }
}
