//! What others have published beside what was found here.

use super::SEED;
use crate::results::{PublishedFigure, Unit};
use crate::run::{amount_unit, amount_value};
use crate::scenario::{Amount, Condition, Metric, Published, Scenario};

/// Names of axes, and the values that they have.
type Parameters = Vec<(String, String)>;

/// Parameters of a run, and what a metric came to.
pub(super) type Found = (Parameters, Amount);

/// Readings of the conditions of one figure that are told one by one; of more, only their median.
const MOST_READINGS: usize = 16;

/// What was found for a figure: for each combination of what its conditions leave open, or once.
struct Reading {
    /// Which of them it is, for people.
    words: Vec<String>,
    simulated: Option<f64>,
}

/// The published figures of a scenario. `find` gives a metric of some traffic in all runs. Where a source leaves open what
/// the scenario sweeps over, there is a figure for every reading, so that none is chosen by its result.
pub(super) fn figures(scenario: &Scenario, find: impl Fn(Metric, &str) -> Vec<Found>) -> Vec<PublishedFigure> {
    let figures = |published: &Published| {
        let Published { source, label, metric, of, when, value, relative_to } = published;
        let (unit, one) = match (relative_to, value.unit()) {
            (Some(_), _) => (Unit::Difference, 1.0),
            (None, Some(("MiB/s", bits))) => (Unit::MebibytesPerSecond, bits as f64),
            (None, _) => (amount_unit(*metric), 1.0),
        };
        let conditions = when.iter().flat_map(|when| &when.parameters).map(described);
        let relative = relative_to.as_ref().map(|_| "relative".to_owned());
        let label = Some(label.clone()).filter(|label| !label.is_empty());
        let words: Vec<String> = label.into_iter().chain(relative).chain(conditions).collect();
        let figure = |reading: Reading| PublishedFigure {
            name: format!("{metric} of {of}: {}", [words.clone(), reading.words].concat().join(", ")),
            unit,
            published: amount_value(value.amount) / one,
            simulated: reading.simulated.map(|simulated| simulated / one),
            source: source.clone(),
            assumption: String::new(),
        };
        let readings = match when {
            Some(when) => readings(&find(*metric, of), when, relative_to.as_ref()),
            None => vec![Reading { words: Vec::new(), simulated: None }],
        };
        readings.into_iter().map(figure).collect::<Vec<_>>()
    };
    scenario.published.iter().flat_map(figures).collect()
}

fn readings(found: &[Found], when: &Condition, relative_to: Option<&Condition>) -> Vec<Reading> {
    let mut open: Vec<Parameters> = Vec::new();
    for (parameters, _) in found.iter().filter(|(parameters, _)| contains(parameters, &when.parameters)) {
        let left = without(parameters, &when.parameters);
        if !open.contains(&left) {
            open.push(left);
        }
    }
    let simulated = |left: &Parameters| {
        let at = [when.parameters.clone(), left.clone()].concat();
        let here = median(amounts(found, &at))?;
        let Some(base) = relative_to else { return Some(here) };
        // What is compared differs in nothing else.
        let base = [base.parameters.clone(), without(&at, &base.parameters)].concat();
        Some(here / median(amounts(found, &base))? - 1.0).filter(|difference| difference.is_finite())
    };
    match &open[..] {
        [] => vec![Reading { words: Vec::new(), simulated: None }],
        [only] => vec![Reading { words: Vec::new(), simulated: simulated(only) }],
        some if some.len() <= MOST_READINGS => {
            let reading =
                |left: &Parameters| Reading { words: left.iter().map(described).collect(), simulated: simulated(left) };
            some.iter().map(reading).collect()
        }
        many => {
            let words = vec![format!("median of {} readings", many.len())];
            vec![Reading { words, simulated: median(many.iter().filter_map(simulated).collect()) }]
        }
    }
}

fn described((name, label): &(String, String)) -> String {
    format!("{name} = {label}")
}

/// Those parameters that are not among `named`; nor is the seed, over which medians are taken.
fn without(parameters: &Parameters, named: &Parameters) -> Parameters {
    let is_open = |name: &str| name != SEED && !named.iter().any(|(other, _)| other == name);
    parameters.iter().filter(|(name, _)| is_open(name)).cloned().collect()
}

fn contains(parameters: &Parameters, wanted: &Parameters) -> bool {
    wanted.iter().all(|one| parameters.contains(one))
}

fn amounts(found: &[Found], wanted: &Parameters) -> Vec<f64> {
    let holds = found.iter().filter(|(parameters, _)| contains(parameters, wanted));
    holds.map(|(_, amount)| amount_value(*amount)).collect()
}

/// The middle one; of an even number the lower of the two.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len().checked_sub(1)? / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Size;

    fn parameters(all: &[(&str, &str)]) -> Parameters {
        all.iter().map(|(name, label)| ((*name).to_owned(), (*label).to_owned())).collect()
    }

    /// Both variants over the numbers of `sizes`, three seeds each: TCP has the size, MPTCP twice as much.
    fn found(sizes: u64) -> Vec<Found> {
        let mut found = Vec::new();
        for (variant, factor) in [("tcp", 1), ("mptcp", 2)] {
            for size in 1..=sizes {
                for seed in 0..3 {
                    let at = [("variant", variant), ("size", &size.to_string()), (SEED, &seed.to_string())];
                    found.push((parameters(&at), Amount::Size(Size(factor * (size * 10 + seed)))));
                }
            }
        }
        found
    }

    fn read(sizes: u64, when: &[(&str, &str)], relative_to: Option<&[(&str, &str)]>) -> Vec<(String, Option<f64>)> {
        let condition = |all: &[(&str, &str)]| Condition { parameters: parameters(all) };
        let readings = readings(&found(sizes), &condition(when), relative_to.map(condition).as_ref());
        readings.into_iter().map(|reading| (reading.words.join(", "), reading.simulated)).collect()
    }

    #[test]
    fn what_a_source_leaves_open_is_told_for_each_reading() {
        let mptcp = [("variant", "mptcp")];
        let each = [("size = 1".to_owned(), Some(22.0)), ("size = 2".to_owned(), Some(42.0))];
        assert_eq!(read(2, &mptcp, None), each);
        assert_eq!(read(2, &[("variant", "mptcp"), ("size", "2")], None), [(String::new(), Some(42.0))]);
        assert_eq!(read(2, &[("variant", "none")], None), [(String::new(), None)]);
        assert_eq!(read(99, &mptcp, None), [("median of 99 readings".to_owned(), Some(1002.0))]);
    }

    #[test]
    fn what_is_compared_differs_in_nothing_else() {
        let base: &[(&str, &str)] = &[("variant", "tcp")];
        assert_eq!(read(9, &[("variant", "mptcp"), ("size", "9")], Some(base)), [(String::new(), Some(1.0))]);
        assert!(read(9, &[("variant", "mptcp")], Some(base)).iter().all(|(_, difference)| *difference == Some(1.0)));
    }
}
