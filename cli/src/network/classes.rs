//! Shares of classes, as they are typed.

use mptcp_sdk::{ClassShare, Qos, TrafficClass};
use mptcp_sim::scenario::{Rate, Unit};

/// Reads `CLASS=WEIGHT[:LIMIT]` with commas between them, the limits in bits per second, such as `latency=16,background=1:10Mbit`. What
/// is not named is as in [`Qos::default`]. An error is a sentence for whoever typed it.
pub(super) fn parse_qos(text: &str) -> Result<Qos, String> {
    let (mut qos, mut said) = (Qos::default(), Vec::new());
    for word in text.split(',') {
        let wrong = || format!("'{word}' is not a class with its weight, such as bulk=8, or background=1:10Mbit");
        let (name, share) = word.split_once('=').ok_or_else(wrong)?;
        let class = TrafficClass::ALL.into_iter().find(|class| class.name() == name);
        let class = class.ok_or_else(|| format!("there is no class '{name}': choose latency, bulk or background"))?;
        if said.contains(&class) {
            return Err(format!("class '{class}' is given twice"));
        }
        said.push(class);
        let (weight, limit) = share.split_once(':').map_or((share, None), |(weight, limit)| (weight, Some(limit)));
        let weight = weight.parse::<u32>().map_err(|_| wrong())?;
        let limit = limit.map(|limit| parse_limit(class, limit)).transpose()?;
        let place = match class {
            TrafficClass::Latency => &mut qos.latency,
            TrafficClass::Bulk => &mut qos.bulk,
            TrafficClass::Background => &mut qos.background,
        };
        *place = ClassShare { weight, limit };
    }
    qos.validate().map_err(|error| error.to_string())?;
    Ok(qos)
}

/// In bytes per second.
fn parse_limit(class: TrafficClass, text: &str) -> Result<u64, String> {
    let Rate(bits) = Rate::parse(text).map_err(|error| format!("the limit of class '{class}' is '{text}': {error}"))?;
    let limit = bits / 8;
    if limit < Qos::MIN_LIMIT {
        return Err(format!("the limit of class '{class}' is {text}, but must be 8kbit at least"));
    }
    Ok(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_read() {
        let share = |weight, limit| ClassShare { weight, limit };
        let all = Qos { latency: share(16, None), bulk: share(4, None), background: share(1, Some(1_250_000)) };
        assert_eq!(parse_qos("latency=16,bulk=4,background=1:10Mbit"), Ok(all));
        let one = Qos { bulk: share(9, Some(1_000)), ..Qos::default() };
        assert_eq!(parse_qos("bulk=9:8kbit"), Ok(one));
    }

    #[test]
    fn mistakes_are_named() {
        for (text, part) in [
            ("", "'' is not a class with its weight"),
            ("bulk", "'bulk' is not a class with its weight"),
            ("bulk=", "'bulk=' is not a class with its weight"),
            ("bulk=8,video=4", "there is no class 'video': choose latency, bulk or background"),
            ("bulk=8,bulk=8", "class 'bulk' is given twice"),
            ("bulk=0", "the weight of class 'bulk' is 0, but must be from 1 to 1000"),
            ("latency=4", "class 'bulk' has more weight than 'latency'"),
            ("bulk=8:10", "the limit of class 'bulk' is '10': a rate needs a unit"),
            ("bulk=8:7999bit", "the limit of class 'bulk' is 7999bit, but must be 8kbit at least"),
        ] {
            let error = parse_qos(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
