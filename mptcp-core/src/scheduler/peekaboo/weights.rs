//! The file that a model is kept in: TOML, one line for each list.

use std::fmt;
use std::str::FromStr;

use super::model::{Arm, FEATURES, Model};

/// Version of the meaning of the numbers: the features and the reward. A model of another one would decide at random.
const VERSION: u64 = 1;

impl Arm {
    const fn key(self) -> &'static str {
        match self {
            Self::Wait => "wait",
            Self::Use => "use",
            Self::Leave => "leave",
        }
    }
}

/// As a weights file.
impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# Weights of the scheduler 'peekaboo', made by 'mptcp sim train'.")?;
        writeln!(f, "version = {VERSION}\nmargin = {:?}", self.margin)?;
        for arm in Arm::ALL {
            let regression = &self.arms[arm as usize];
            writeln!(f, "\n[{}]\nsamples = {}", arm.key(), regression.samples)?;
            let inverse: Vec<f64> = regression.inverse.iter().flatten().copied().collect();
            writeln!(f, "inverse = {inverse:?}\nsums = {:?}", regression.sums)?;
        }
        Ok(())
    }
}

/// Why a weights file is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidWeights {
    /// It is of another version.
    #[error(
        "these weights have version {found}, but this program uses version {}: make new ones with 'mptcp sim train'",
        VERSION
    )]
    Version {
        /// What stands there.
        found: String,
    },
    /// It does not say of which version it is.
    #[error("these are no weights of a scheduler: the first key must be 'version = {}'", VERSION)]
    NoVersion,
    /// It does not say how sure to be.
    #[error("the weights lack 'margin', a number of at least 0, after their version")]
    NoMargin,
    /// A line that does not belong there.
    #[error("line {line} of the weights is not understood: it must be {expected}")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What would be understood.
        expected: String,
    },
    /// A key is missing.
    #[error("the weights lack '{key}' in [{section}]")]
    Missing {
        /// The section.
        section: &'static str,
        /// The key.
        key: &'static str,
    },
}

/// A line that says something.
struct Line<'a> {
    number: usize,
    text: &'a str,
}

impl Line<'_> {
    fn wrong(&self, expected: &str) -> InvalidWeights {
        InvalidWeights::Line { line: self.number, expected: expected.to_owned() }
    }

    /// Finite numbers in brackets, exactly so many.
    fn numbers<const N: usize>(&self, value: &str) -> Result<[f64; N], InvalidWeights> {
        let wrong = || self.wrong(&format!("a list of {N} numbers in brackets"));
        let inner = value.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).ok_or_else(wrong)?;
        let mut numbers = [0.0; N];
        let mut words = inner.split(',').map(str::trim);
        for number in &mut numbers {
            let word: f64 = words.next().and_then(|word| word.parse().ok()).ok_or_else(wrong)?;
            *number = if word.is_finite() { word } else { return Err(wrong()) };
        }
        if words.next().is_some_and(|word| !word.is_empty()) { Err(wrong()) } else { Ok(numbers) }
    }
}

impl FromStr for Model {
    type Err = InvalidWeights;

    fn from_str(text: &str) -> Result<Self, InvalidWeights> {
        let lines = text.lines().enumerate().map(|(index, line)| Line { number: index + 1, text: line.trim() });
        let mut lines = lines.filter(|line| !line.text.is_empty() && !line.text.starts_with('#'));
        let first = lines.next().and_then(|line| line.text.split_once('='));
        match first.map(|(key, value)| (key.trim(), value.trim())) {
            Some(("version", found)) if found.parse() == Ok(VERSION) => {}
            Some(("version", found)) => return Err(InvalidWeights::Version { found: found.to_owned() }),
            _ => return Err(InvalidWeights::NoVersion),
        }
        let margin = lines
            .next()
            .and_then(|line| Some(line.text.strip_prefix("margin")?.trim_start().strip_prefix('=')?.trim()));
        let margin =
            margin.and_then(|value| value.parse().ok()).filter(|margin: &f64| *margin >= 0.0 && margin.is_finite());
        let mut model = Self { margin: margin.ok_or(InvalidWeights::NoMargin)?, ..Self::default() };
        let mut seen = [[false; 3]; Arm::ALL.len()];
        let mut section = None;
        for line in lines {
            if let Some(arm) = Arm::ALL.into_iter().find(|arm| line.text == format!("[{}]", arm.key())) {
                section = Some(arm);
                continue;
            }
            let expected = "[wait], [use], [leave], or 'samples', 'inverse' or 'sums' with a value within one of these";
            let (Some(arm), Some((key, value))) = (section, line.text.split_once('=')) else {
                return Err(line.wrong(expected));
            };
            let regression = &mut model.arms[arm as usize];
            let place = KEYS.iter().position(|known| *known == key.trim()).ok_or_else(|| line.wrong(expected))?;
            match place {
                0 => regression.samples = value.trim().parse().map_err(|_| line.wrong("a number of samples"))?,
                1 => {
                    let cells: [f64; FEATURES * FEATURES] = line.numbers(value.trim())?;
                    for (row, cells) in regression.inverse.iter_mut().zip(cells.chunks_exact(FEATURES)) {
                        row.copy_from_slice(cells);
                    }
                }
                _ => regression.sums = line.numbers(value.trim())?,
            }
            seen[arm as usize][place] = true;
        }
        for arm in Arm::ALL {
            if let Some(missing) = seen[arm as usize].iter().position(|seen| !seen) {
                return Err(InvalidWeights::Missing { section: arm.key(), key: KEYS[missing] });
            }
        }
        Ok(model)
    }
}

const KEYS: [&str; 3] = ["samples", "inverse", "sums"];

#[cfg(test)]
mod tests {
    use super::super::model::Sample;
    use super::*;

    #[test]
    fn a_model_survives_its_file() {
        let mut model = Model { margin: 0.025, ..Model::default() };
        for step in 0..50u32 {
            let value = f64::from(step) / 50.0;
            let context = [1.0, value, value * value, 1.0 - value, 0.3, 1e-9, 0.7, 0.0];
            model.learn(&Sample { context, arm: Arm::ALL[step as usize % 3], reward: value / 3.0 });
        }
        assert_eq!(model.to_string().parse(), Ok(model));
    }

    #[test]
    fn mistakes_are_told_in_a_sentence() {
        let good = Model::default().to_string();
        let error = |text: &str| text.parse::<Model>().unwrap_err().to_string();
        assert_eq!(
            error(&good.replace("version = 1", "version = 2")),
            "these weights have version 2, but this program uses version 1: make new ones with 'mptcp sim train'"
        );
        assert_eq!(error(""), "these are no weights of a scheduler: the first key must be 'version = 1'");
        assert_eq!(error("[wait]"), error(""));
        assert_eq!(
            error(&good.replace("sums = [0.0, ", "sums = [NaN, ")),
            "line 8 of the weights is not understood: it must be a list of 8 numbers in brackets"
        );
        for margin in ["", "margin = -1", "margin = NaN", "margins = 1"] {
            assert_eq!(
                error(&good.replace("margin = 0.0", margin)),
                "the weights lack 'margin', a number of at least 0, after their version"
            );
        }
        assert!(error(&good.replace("samples = 0", "samples = many")).contains("a number of samples"));
        assert!(error(&good.replace("[use]", "[abuse]")).contains("it must be [wait], [use], [leave]"));
        let without: String = good.lines().take(7).map(|line| format!("{line}\n")).collect();
        assert_eq!(error(&without), "the weights lack 'sums' in [wait]");
    }
}
