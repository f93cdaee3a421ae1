//! Options whose order matters: conditions belong to the interfaces that they follow.

use clap::{ArgMatches, Args, Command, Error, FromArgMatches};

/// The options as clap knows them.
#[derive(Args, Debug)]
struct Options {
    /// A TAP interface; two of them are the ends of a link
    #[arg(long = "tap", value_name = "NAME", required = true)]
    tap: Vec<String>,
    /// Take the conditions of this link profile, of those that 'mptcp sim list' names
    #[arg(long = "profile", value_name = "NAME")]
    profile: Vec<String>,
    /// Bits per second, such as 10Mbit
    #[arg(long = "rate", value_name = "RATE[,BACK]")]
    rate: Vec<String>,
    /// How long a packet travels, such as 5ms
    #[arg(long = "delay", value_name = "TIME[,BACK]")]
    delay: Vec<String>,
    /// How many packets are lost, such as 0.5%
    #[arg(long = "loss", value_name = "SHARE[,BACK]")]
    loss: Vec<String>,
    /// Set any key that a link has in a scenario, such as up.queue.bytes=64KiB
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// Names of the options in [`Options`].
const ORDERED: [&str; 6] = ["tap", "profile", "rate", "delay", "loss", "set"];

/// What was said, in the order of the command line: the name of an option and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ordered(Vec<(&'static str, String)>);

/// Two interfaces and what is said of the link between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    /// The interface at the start of the link's `up` direction, and the other one.
    pub(super) taps: [String; 2],
    /// Keys of a link and their values, in the order in which they hold.
    pub(super) settings: Vec<(String, String)>,
}

impl Ordered {
    /// The links. An error is a sentence for whoever typed the command line.
    pub(super) fn pairs(&self) -> Result<Vec<Pair>, String> {
        let (mut common, mut pairs, mut waiting) = (Vec::new(), Vec::<Pair>::new(), None::<Pair>);
        // Of the link at hand. A link may say otherwise than what is said for all.
        let mut said = Vec::new();
        for (option, value) in &self.0 {
            match (*option, waiting.take()) {
                ("tap", None) => {
                    said.clear();
                    waiting = Some(Pair { taps: [value.clone(), String::new()], settings: common.clone() });
                }
                ("tap", Some(mut pair)) => {
                    value.clone_into(&mut pair.taps[1]);
                    pairs.push(pair);
                }
                (option, mut begun) => {
                    let found = settings(option, value)?;
                    let name = match &found[..] {
                        [(key, _)] if option == "set" => format!("--set {key}"),
                        _ => format!("--{option}"),
                    };
                    let link = begun.as_mut().or(pairs.last_mut());
                    if said.contains(&name) {
                        let link =
                            link.map_or("all links".to_owned(), |pair| format!("the link of '{}'", pair.taps[0]));
                        return Err(format!("{name} is given twice for {link}"));
                    }
                    said.push(name);
                    link.map_or(&mut common, |pair| &mut pair.settings).extend(found);
                    waiting = begun;
                }
            }
        }
        if let Some(pair) = waiting {
            return Err(format!("the interface '{}' has no other end: give a second --tap", pair.taps[0]));
        }
        let mut names: Vec<&String> = pairs.iter().flat_map(|pair| &pair.taps).collect();
        names.sort();
        match names.windows(2).find(|two| two[0] == two[1]) {
            Some(twice) => Err(format!("the interface '{}' is named twice, but has one other end", twice[0])),
            None => Ok(pairs),
        }
    }
}

impl Pair {
    /// A name for the link.
    pub(super) fn name(&self) -> String {
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
        self.taps.join("-").chars().map(plain).collect()
    }
}

/// What an option says of a link.
fn settings(option: &str, value: &str) -> Result<Vec<(String, String)>, String> {
    Ok(match option {
        "profile" => vec![(option.to_owned(), value.to_owned())],
        "set" => vec![super::super::scenario::parse_setting(value)?],
        _ => {
            let (there, back) = value.split_once(',').unwrap_or((value, value));
            // A key of a direction goes before one of the link, so this holds whatever was said before.
            [("up", there), ("down", back)].map(|(way, value)| (format!("{way}.{option}"), value.to_owned())).into()
        }
    })
}

impl Args for Ordered {
    fn augment_args(command: Command) -> Command {
        Options::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Options::augment_args_for_update(command)
    }
}

impl FromArgMatches for Ordered {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let said = |option: &'static str| {
            let indices = matches.indices_of(option).into_iter().flatten();
            let values = matches.get_many::<String>(option).into_iter().flatten();
            indices.zip(values).map(move |(index, value)| (index, option, value.clone()))
        };
        let mut all: Vec<(usize, &'static str, String)> = ORDERED.into_iter().flat_map(said).collect();
        all.sort_by_key(|(index, ..)| *index);
        Ok(Self(all.into_iter().map(|(_, option, value)| (option, value)).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(line: &str) -> Result<Vec<Pair>, String> {
        let command = Ordered::augment_args(Command::new("relay").no_binary_name(true));
        let matches = command.try_get_matches_from(line.split_whitespace()).unwrap();
        Ordered::from_arg_matches(&matches).unwrap().pairs()
    }

    fn pair(from: &str, to: &str, settings: &[(&str, &str)]) -> Pair {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        Pair { taps: [from.to_owned(), to.to_owned()], settings: settings.iter().map(owned).collect() }
    }

    #[test]
    fn conditions_belong_to_the_interfaces_that_they_follow() {
        let found =
            pairs("--loss 1% --tap a --tap b --rate 1Mbit,2Mbit --tap c --set queue.packets=9 --tap d --profile lte");
        let loss = [("up.loss", "1%"), ("down.loss", "1%")];
        let first = [&loss[..], &[("up.rate", "1Mbit"), ("down.rate", "2Mbit")]].concat();
        let second = [&loss[..], &[("queue.packets", "9"), ("profile", "lte")]].concat();
        assert_eq!(found, Ok(vec![pair("a", "b", &first), pair("c", "d", &second)]));
    }

    #[test]
    fn every_interface_has_one_other_end() {
        let alone = pairs("--tap a --tap b --tap c --rate 1Mbit").unwrap_err();
        assert_eq!(alone, "the interface 'c' has no other end: give a second --tap");
        let twice = pairs("--tap a --tap b --tap c --tap a").unwrap_err();
        assert_eq!(twice, "the interface 'a' is named twice, but has one other end");
        assert!(pairs("--tap a --tap b --set delay").unwrap_err().contains("is not KEY=VALUE"));
    }

    #[test]
    fn a_condition_is_said_once_for_a_link() {
        let twice = |line: &str| pairs(line).unwrap_err();
        assert_eq!(twice("--tap a --tap b --rate 1Mbit --rate 2Mbit"), "--rate is given twice for the link of 'a'");
        assert_eq!(twice("--tap a --delay 1ms --tap b --delay 1ms"), "--delay is given twice for the link of 'a'");
        assert_eq!(twice("--loss 1% --loss 2% --tap a --tap b"), "--loss is given twice for all links");
        let key = twice("--tap a --tap b --set queue.packets=9 --set up.rate=1Mbit --set queue.packets=8");
        assert_eq!(key, "--set queue.packets is given twice for the link of 'a'");
        assert!(twice("--tap a --tap b --profile lte --profile wifi").starts_with("--profile is given twice"));
        // Another link's, and one of its own instead of what is said for all.
        assert!(pairs("--rate 1Mbit --tap a --tap b --rate 2Mbit --tap c --tap d --rate 3Mbit").is_ok());
    }

    #[test]
    fn a_link_has_a_name_that_a_scenario_could_have() {
        assert_eq!(pair("br0.7", "t_1", &[]).name(), "br0-7-t_1");
    }
}
