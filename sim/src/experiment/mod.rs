//! A scenario with all its runs: what is compared, swept over, repeated, and shown beside what others have published.

mod cases;
mod published;
mod sweep;

use std::collections::{BTreeMap, BTreeSet};

use crate::results::{Report, RunMeta, RunRecord, file_name, until_new};
use crate::run::{self, Measures, Observer, Outcome, RunError};
use crate::scenario::{Point, Scenario, ScenarioError};
pub use cases::{CaseSelection, run_cases};
pub use sweep::{Progress, Swept, run_sweep};

/// Name of the axis of seeds.
const SEED: &str = "run.seed";

/// A scenario of which some points are to be run.
#[derive(Clone, Debug)]
pub struct Experiment {
    scenario: Scenario,
    /// How the command line names the scenario and what it sets, without what is told by a point.
    invocation: String,
    /// Values of axes that were chosen.
    chosen: Vec<(String, String)>,
}

/// Why an experiment cannot be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExperimentError {
    /// A scenario that is wrong, or is at one of its points.
    #[error(transparent)]
    Scenario(Box<ScenarioError>),
    /// A run that failed.
    #[error(transparent)]
    Run(#[from] RunError),
    /// No axis of the sweep has that name.
    #[error("there is no axis '{axis}' in this scenario; {known}")]
    NoAxis {
        /// What was asked for.
        axis: String,
        /// What there is.
        known: String,
    },
    /// An axis has no such value.
    #[error("the axis '{axis}' has no value '{label}'; its values are {known}")]
    NoLabel {
        /// The axis.
        axis: String,
        /// What was asked for.
        label: String,
        /// What there is.
        known: String,
    },
    /// Two values were chosen of one axis.
    #[error("--at chooses a value of '{axis}' twice: all points of some values are run with a sweep of those")]
    Twice {
        /// The axis.
        axis: String,
    },
    /// More runs than can be compared in one report.
    #[error(
        "this scenario has {points} points, and a report compares {most} at most: use 'mptcp sim sweep', or choose \
         with --at AXIS=VALUE; {known}"
    )]
    TooMany {
        /// How many points there are.
        points: u64,
        /// How many are compared at most.
        most: u64,
        /// The axes.
        known: String,
    },
}

impl From<ScenarioError> for ExperimentError {
    fn from(error: ScenarioError) -> Self {
        Self::Scenario(Box::new(error))
    }
}

/// Runs that one report compares at most.
pub const MOST_COMPARED: u64 = 16;

impl Experiment {
    /// The points of a scenario at which the axes have the chosen values: names of axes with labels.
    ///
    /// `invocation` is how the command line names the scenario and what it sets, such as
    /// `two-paths --set links.wifi.delay=20ms`, for the commands that repeat runs.
    ///
    /// # Errors
    /// An axis or a value that is not there.
    pub fn new(scenario: Scenario, invocation: String, chosen: Vec<(String, String)>) -> Result<Self, ExperimentError> {
        for (number, (axis, label)) in chosen.iter().enumerate() {
            if chosen[..number].iter().any(|(before, _)| before == axis) {
                return Err(ExperimentError::Twice { axis: axis.clone() });
            }
            let Some(known) = scenario.axes.iter().find(|known| known.name() == axis) else {
                return Err(ExperimentError::NoAxis { axis: axis.clone(), known: axes(&scenario) });
            };
            if !known.labels().any(|known| known == label) {
                let known = known.labels().collect::<Vec<_>>().join(", ");
                return Err(ExperimentError::NoLabel { axis: axis.clone(), label: label.clone(), known });
            }
        }
        Ok(Self { scenario, invocation, chosen })
    }

    /// The scenario with its sweep.
    pub fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// How many points are to be run.
    pub fn len(&self) -> u64 {
        let axes = self.scenario.axes.iter().filter(|axis| !self.is_chosen(axis.name()));
        axes.map(|axis| axis.labels().len() as u64).product()
    }

    /// Never: a scenario has at least one point.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The n-th point that is to be run.
    ///
    /// # Errors
    /// Values that are right each for itself but not together.
    pub fn point(&self, number: u64) -> Result<Point, ScenarioError> {
        // The last axis is the fastest, as in the whole sweep.
        let (mut rest, mut index, mut stride) = (number, 0, 1);
        for axis in self.scenario.axes.iter().rev() {
            let rows = axis.labels().len() as u64;
            let row = match self.chosen.iter().find(|(name, _)| name == axis.name()) {
                Some((_, label)) => axis.labels().position(|known| known == label).unwrap_or(0) as u64,
                None => {
                    let row = rest % rows;
                    rest /= rows;
                    row
                }
            };
            index += row * stride;
            stride *= rows;
        }
        // The index is below the number of points.
        self.scenario.sweep().point(index).unwrap_or_else(|| unreachable!("point {index} of the sweep"))
    }

    /// What is known of the run of a point.
    pub fn meta(&self, point: &Point) -> RunMeta {
        let seed = point.scenario.run.seed;
        let varying = |name: &str| name != SEED && !self.is_chosen(name);
        let is_seed_swept = self.scenario.axes.iter().any(|axis| axis.name() == SEED);
        let mut parts: Vec<String> = point
            .parameters
            .iter()
            .filter(|(name, _)| varying(name))
            .map(|(name, label)| if name.contains('.') { format!("{name}={label}") } else { label.clone() })
            .collect();
        if (self.scenario.run.seeds > 1 || is_seed_swept) && !self.is_chosen(SEED) {
            parts.push(format!("seed {seed}"));
        }
        let variant = if parts.is_empty() { "run".to_owned() } else { parts.join(" ") };
        let parameters: BTreeMap<_, _> = point.parameters.iter().filter(|(name, _)| name != SEED).cloned().collect();
        RunMeta { variant, parameters, command: self.command(point), ..run::meta(&point.scenario, seed) }
    }

    /// The command that repeats a point.
    pub fn command(&self, point: &Point) -> String {
        let mut command = format!("mptcp sim run {}", self.invocation);
        for (name, label) in point.parameters.iter().filter(|(name, _)| name != SEED) {
            command.push_str(" --at ");
            command.push_str(&quoted(&format!("{name}={label}")));
        }
        command.push_str(&format!(" --seed {}", point.scenario.run.seed));
        command
    }

    /// Runs all points one after the other and compares them. `observe` gives what is written down of each; if it lets a
    /// run be interrupted ([`Observer::as_far_as`]), that run is the last, and does not count as done.
    ///
    /// # Errors
    /// More points than [`MOST_COMPARED`], what makes a run fail, or what `observe` says.
    pub fn compare<E: From<ExperimentError>>(
        &self,
        mut observe: impl FnMut(&Point, &RunMeta) -> Result<Observer, E>,
        mut done: impl FnMut(&RunRecord, run::Effort),
    ) -> Result<Report, E> {
        if self.len() > MOST_COMPARED {
            let known = axes(&self.scenario);
            Err(ExperimentError::TooMany { points: self.len(), most: MOST_COMPARED, known })?;
        }
        let mut runs = Vec::new();
        let mut found = Vec::new();
        let mut names = BTreeSet::new();
        for number in 0..self.len() {
            let point = self.point(number).map_err(ExperimentError::from)?;
            let mut meta = self.meta(&point);
            // Each has a folder of its own, though signs that file systems do not take look alike there.
            meta.variant = until_new(&meta.variant, |name| names.insert(file_name(name)));
            let observer = observe(&point, &meta)?;
            let outcome = run::run_observed(&point.scenario, meta, observer);
            let Outcome { record, measures, effort, .. } = outcome.map_err(ExperimentError::from)?;
            if record.interrupted {
                // Of a run that has not begun there is nothing to show.
                runs.extend((effort.events > 0).then_some(record));
                break;
            }
            done(&record, effort);
            found.push((point.parameters, measures));
            runs.push(record);
        }
        let get = |(parameters, measures): &(Vec<_>, Measures), metric, of: &str| {
            Some((parameters.clone(), measures.get(metric, of)?))
        };
        let published = published::figures(&self.scenario, |metric, of| {
            found.iter().filter_map(|run| get(run, metric, of)).collect()
        });
        Ok(Report {
            title: self.scenario.meta.name.clone(),
            description: self.scenario.meta.description.clone(),
            runs,
            published,
            planned: usize::try_from(self.len()).unwrap_or(usize::MAX),
        })
    }

    fn is_chosen(&self, axis: &str) -> bool {
        self.chosen.iter().any(|(name, _)| name == axis)
    }
}

/// The axes of a scenario for a message.
fn axes(scenario: &Scenario) -> String {
    if scenario.axes.is_empty() {
        return "it has none".to_owned();
    }
    let axis = |axis: &crate::scenario::Axis| {
        let count = axis.labels().len();
        let few: Vec<&str> = axis.labels().take(8).collect();
        let more = if count > few.len() { ", ..." } else { "" };
        format!("{} ({}{more})", axis.name(), few.join(", "))
    };
    format!("its axes are {}", scenario.axes.iter().map(axis).collect::<Vec<_>>().join(", "))
}

/// A word for a shell.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests;
