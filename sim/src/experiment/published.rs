//! What others have published beside what was found here.

use crate::results::PublishedFigure;
use crate::results::Unit;
use crate::run::{amount_unit, amount_value};
use crate::scenario::{Amount, Condition, Metric, Published, Scenario};

/// Parameters of a run, and what a metric came to.
pub(super) type Found = (Vec<(String, String)>, Amount);

/// The published figures of a scenario. `find` gives a metric of some traffic in all runs.
pub(super) fn figures(scenario: &Scenario, find: impl Fn(Metric, &str) -> Vec<Found>) -> Vec<PublishedFigure> {
    let figure = |published: &Published| {
        let Published { source, label, metric, of, when, value, relative_to } = published;
        let found = find(*metric, of);
        let at = |condition: &Condition| median(&found, condition);
        let simulated = when.as_ref().and_then(|when| match relative_to {
            None => at(when),
            Some(base) => Some(at(when)? / at(base)? - 1.0).filter(|ratio| ratio.is_finite()),
        });
        let conditions = when.iter().flat_map(|when| &when.parameters).map(|(name, label)| format!("{name} = {label}"));
        let relative = relative_to.as_ref().map(|_| "relative".to_owned());
        let mut words: Vec<String> = relative.into_iter().chain(conditions).collect();
        if !label.is_empty() {
            words.insert(0, label.clone());
        }
        let (unit, one) = match (relative_to, value.unit()) {
            (Some(_), _) => (Unit::Difference, 1.0),
            (None, Some(("MiB/s", bits))) => (Unit::MebibytesPerSecond, bits as f64),
            (None, _) => (amount_unit(*metric), 1.0),
        };
        PublishedFigure {
            name: format!("{metric} of {of}: {}", words.join(", ")),
            unit,
            published: amount_value(value.amount) / one,
            simulated: simulated.map(|simulated| simulated / one),
            source: source.clone(),
            assumption: String::new(),
        }
    };
    scenario.published.iter().map(figure).collect()
}

/// The middle of the values of all runs that a condition holds for; of an even number the lower of the two.
fn median(found: &[Found], condition: &Condition) -> Option<f64> {
    let holds = |parameters: &[(String, String)]| condition.parameters.iter().all(|one| parameters.contains(one));
    let mut values: Vec<f64> =
        found.iter().filter(|(parameters, _)| holds(parameters)).map(|(_, amount)| amount_value(*amount)).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len().checked_sub(1)? / 2).copied()
}
