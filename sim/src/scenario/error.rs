//! What can be wrong with a scenario, each in one sentence with its place.

use std::fmt;

/// Where something stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At {
    /// Boxed, as errors are handed through every function of the parser.
    spot: Box<Spot>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Spot {
    file: String,
    place: Place,
}

impl At {
    pub(crate) fn new(file: &str, place: Place) -> Self {
        Self { spot: Box::new(Spot { file: file.to_owned(), place }) }
    }

    /// The line in the file, from 1, if it stands in the file.
    pub fn line(&self) -> Option<usize> {
        match self.spot.place {
            Place::Line(line) => Some(line),
            Place::Override(_) | Place::Default => None,
        }
    }

    /// Name of the file.
    pub fn file(&self) -> &str {
        &self.spot.file
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Spot { file, place } = &*self.spot;
        match place {
            Place::Line(line) => write!(f, "{file}:{line}"),
            Place::Override(text) => write!(f, "{file} with --set {text}"),
            Place::Default => f.write_str(file),
        }
    }
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Line of the file, from 1.
    Line(usize),
    /// An override, as it was given: `links.p1.delay=20ms`.
    Override(String),
    /// Nobody wrote it.
    Default,
}

/// Why a scenario cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScenarioError {
    /// Neither a file nor a scenario of the house.
    #[error("there is no file '{name}', and no scenario of this name{}", did_you_mean(suggestion))]
    NoSuchScenario {
        /// What was looked for.
        name: String,
        /// The most similar name of a scenario of the house.
        suggestion: Option<String>,
    },
    /// The file cannot be read.
    #[error("{path}: {reason}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// The file is not TOML.
    #[error("{at}: {reason}")]
    Syntax {
        /// Where.
        at: At,
        /// What the parser expected.
        reason: String,
    },
    /// A key that the section does not have.
    #[error("{at}: {section} has no key '{key}'{}; its keys are {}", did_you_mean(suggestion), allowed.join(", "))]
    UnknownKey {
        /// Where.
        at: At,
        /// The section, as in `[links.p1]`.
        section: String,
        /// The key.
        key: String,
        /// The keys that the section has.
        allowed: Vec<String>,
        /// The most similar of them.
        suggestion: Option<String>,
    },
    /// A key that must be there.
    #[error("{at}: {section} lacks '{key}', {expected}")]
    MissingKey {
        /// Where the section starts.
        at: At,
        /// The section.
        section: String,
        /// The key.
        key: String,
        /// What it says.
        expected: String,
    },
    /// A value of a wrong type or out of its range.
    #[error("{at}: {key} is {found}, but must be {expected}")]
    Invalid {
        /// Where.
        at: At,
        /// The key, with the path to it.
        key: String,
        /// What is there.
        found: String,
        /// What is allowed.
        expected: String,
    },
    /// A quantity that cannot be read.
    #[error("{at}: {key} is {found}: {error}")]
    Unit {
        /// Where.
        at: At,
        /// The key, with the path to it.
        key: String,
        /// What is there.
        found: String,
        /// What is wrong with it.
        error: UnitError,
    },
    /// A name that nothing has.
    #[error(
        "{at}: {key} is '{found}', but there is no such {kind}{}; there {}",
        did_you_mean(suggestion),
        known(known_names)
    )]
    UnknownName {
        /// Where.
        at: At,
        /// The key, with the path to it.
        key: String,
        /// The name.
        found: String,
        /// What it should name: `link`, `host`.
        kind: &'static str,
        /// The names that exist.
        known_names: Vec<String>,
        /// The most similar of them.
        suggestion: Option<String>,
    },
    /// Traffic between hosts that no links join.
    #[error("{at}: {key} goes from '{from}' to '{to}', but no links lead there{through}")]
    Unreachable {
        /// Where.
        at: At,
        /// The traffic.
        key: String,
        /// Its source.
        from: String,
        /// Its destination.
        to: String,
        /// ` through link 'x'` where one was named.
        through: String,
    },
    /// A file that the scenario names and that is not there.
    #[error("{at}: {key} names the file '{path}', which cannot be read: {reason}")]
    MissingFile {
        /// Where.
        at: At,
        /// The key, with the path to it.
        key: String,
        /// The file, as looked for.
        path: String,
        /// Why not.
        reason: String,
    },
    /// A file that the scenario names and that is not what the scenario takes it for.
    #[error("{at}: {key} names the file '{path}', which is no {kind}: {reason}")]
    WrongFile {
        /// Where.
        at: At,
        /// The key, with the path to it.
        key: String,
        /// The file, as looked for.
        path: String,
        /// What it should be.
        kind: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// Values that exclude each other.
    #[error("{at}: {key} {problem}")]
    Contradiction {
        /// Where.
        at: At,
        /// The key, with the path to it.
        key: String,
        /// What does not fit.
        problem: String,
    },
    /// A sweep with too many points.
    #[error("{at}: the sweep has {points} points, more than {limit}")]
    TooManyPoints {
        /// The file.
        at: At,
        /// Its points.
        points: u128,
        /// What is allowed.
        limit: u64,
    },
}

impl ScenarioError {
    /// Where it stands; `None` if there is no file that could be read.
    pub fn at(&self) -> Option<&At> {
        match self {
            Self::NoSuchScenario { .. } | Self::Read { .. } => None,
            Self::Syntax { at, .. }
            | Self::UnknownKey { at, .. }
            | Self::MissingKey { at, .. }
            | Self::Invalid { at, .. }
            | Self::Unit { at, .. }
            | Self::UnknownName { at, .. }
            | Self::Unreachable { at, .. }
            | Self::MissingFile { at, .. }
            | Self::WrongFile { at, .. }
            | Self::Contradiction { at, .. }
            | Self::TooManyPoints { at, .. } => Some(at),
        }
    }
}

/// Why a text is no quantity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnitError {
    /// It does not start with a number.
    #[error("a {kind} starts with a number")]
    NoNumber {
        /// Kind of quantity.
        kind: &'static str,
    },
    /// The unit is missing.
    #[error("a {kind} needs a unit ({listed})")]
    NoUnit {
        /// Kind of quantity.
        kind: &'static str,
        /// Its units.
        listed: &'static str,
    },
    /// There is no such unit.
    #[error("'{unit}' is not a unit of {kind} ({listed})")]
    UnknownUnit {
        /// The unit.
        unit: String,
        /// Kind of quantity.
        kind: &'static str,
        /// Its units.
        listed: &'static str,
    },
    /// A unit that some read as bits and some as bytes.
    #[error("'{unit}' means bytes to tc and bits to others; write Mbit or MB/s")]
    BitsOrBytes {
        /// The unit.
        unit: String,
    },
    /// Not a whole number of base units.
    #[error("a {kind} is a multiple of {base}")]
    TooFine {
        /// Kind of quantity.
        kind: &'static str,
        /// The base unit.
        base: &'static str,
    },
    /// It does not fit in 64 bits of base units.
    #[error("this {kind} is too large")]
    TooLarge {
        /// Kind of quantity.
        kind: &'static str,
    },
    /// More than 100 %.
    #[error("a probability is 100% at most")]
    AboveOne,
    /// A range that cannot be counted.
    #[error("a range is 'FIRST..LAST step STEP' or 'FIRST..LAST x FACTOR' in one kind of unit, and must ascend")]
    Range,
    /// A range of too many values.
    #[error("the range has more than {limit} values")]
    RangeTooLong {
        /// What is allowed.
        limit: usize,
    },
}

fn did_you_mean(suggestion: &Option<String>) -> String {
    suggestion.as_ref().map_or_else(String::new, |name| format!(" (did you mean '{name}'?)"))
}

fn known(names: &[String]) -> String {
    if names.is_empty() { "is none".to_owned() } else { format!("are {}", names.join(", ")) }
}

/// The name most similar to `text`, if one is similar enough to be what was meant.
pub(crate) fn nearest<'a>(text: &str, names: impl IntoIterator<Item = &'a str>) -> Option<String> {
    names
        .into_iter()
        .map(|name| (distance(text, name), name))
        .filter(|(distance, name)| *distance <= (name.len().max(text.len()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name.to_owned())
}

/// Edits that make one text of the other, an exchange of neighbours counting once.
fn distance(left: &str, right: &str) -> usize {
    let (left, right): (Vec<char>, Vec<char>) =
        (left.to_lowercase().chars().collect(), right.to_lowercase().chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=right.len()).collect()];
    for i in 1..=left.len() {
        let mut row = vec![i];
        for j in 1..=right.len() {
            let substitute = rows[i - 1][j - 1] + usize::from(left[i - 1] != right[j - 1]);
            let mut best = substitute.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[left.len()][right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_suggested_if_it_is_near() {
        let keys = ["rate", "delay", "jitter", "loss", "queue"];
        assert_eq!(nearest("dealy", keys).as_deref(), Some("delay"));
        assert_eq!(nearest("Rate", keys).as_deref(), Some("rate"));
        assert_eq!(nearest("los", keys).as_deref(), Some("loss"));
        assert_eq!(nearest("bandwidth", keys), None);
    }
}
