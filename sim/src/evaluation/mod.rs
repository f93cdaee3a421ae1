//! The evaluation of the schedulers: what must hold of them, measured in the simulator over many seeds, as tables for people and as JSON.
//!
//! A [`Question`] is something that must hold. Its trials are scenarios with sweeps, which `mptcp sim run` and `mptcp sim sweep` take by
//! their names as well; each is looked at by comparisons, which say of which cells what is demanded. What was found goes into the generated
//! sections of a document ([`render`]), of which everything else is written by people.
//!
//! Limits are fixed here, and the seeds are used for nothing else.

mod chart;
mod document;
mod finding;
mod judge;
mod questions;
mod scenarios;
mod summary;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

pub use chart::charts;
pub use document::render;
pub use finding::{Cell, Finding, Row, Sheet, Verdict, findings_json, read_findings};
pub use questions::QUESTIONS;
pub(crate) use scenarios::SCENARIOS;

use crate::experiment::{Experiment, ExperimentError, Progress, Swept, run_sweep};
use crate::results::{Better, Unit};
use crate::scenario::{Scenario, ScenarioError, Shipped};

/// The first seed. Nothing else uses it or those that follow.
pub const FIRST_SEED: u64 = 10_000;

/// Something that must hold.
#[derive(Debug)]
pub struct Question {
    /// Its name on the command line and in the document.
    pub name: &'static str,
    /// Heading.
    pub title: &'static str,
    /// What must hold, in a sentence.
    pub demand: &'static str,
    /// The scenarios that show it.
    pub trials: &'static [Trial],
}

/// A scenario and how one looks at it.
#[derive(Debug)]
pub struct Trial {
    /// Name of the scenario.
    pub scenario: &'static str,
    /// The tables.
    pub comparisons: &'static [Comparison],
}

/// One metric: a column for each value of an axis, a row for each combination of the others.
#[derive(Debug)]
pub struct Comparison {
    /// What it shows, in a few words.
    pub caption: &'static str,
    /// The metric, as the sweep names it.
    pub metric: &'static str,
    /// Another metric that it is divided by, run by run.
    pub over: Option<&'static str>,
    /// What is shown instead of the metric.
    pub view: Option<View>,
    /// The axis of the columns.
    pub columns: &'static str,
    /// The columns that are shown; empty: all.
    pub shown: &'static [&'static str],
    /// What is demanded.
    pub limits: &'static [Limit],
    /// The columns that are plotted; empty: there is no plot.
    pub plotted: &'static [&'static str],
}

/// A figure that says more than the metric it is made of.
#[derive(Debug)]
pub struct View {
    /// From the case and the value of the metric.
    pub value: fn(&Case<'_>, f64) -> f64,
    /// Its unit.
    pub unit: Unit,
    /// Which values are the good ones.
    pub better: Better,
}

/// A demand on one column.
#[derive(Debug)]
pub struct Limit {
    /// The column.
    pub of: &'static str,
    /// Which of its runs.
    pub statistic: Statistic,
    /// How much: the least where more is better, else the most.
    pub bound: Bound,
}

/// Which runs of a cell count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Statistic {
    /// The middle one.
    Median,
    /// The 99th percentile: 99 of a hundred are as good, or better.
    Hundredth,
    /// The worst one.
    Worst,
}

/// How much is demanded.
#[derive(Clone, Copy, Debug)]
pub enum Bound {
    /// So much in every case.
    Amount(f64),
    /// So much, by the case; cases without a figure have no limit.
    ByCase(fn(&Case<'_>) -> Option<f64>),
    /// This part of the best median among these columns; of all shown if there are none. Cases without a figure have no limit. Where one of
    /// the columns has not given a value with every seed the demand is not met.
    OfBest(fn(&Case<'_>) -> Option<f64>, &'static [&'static str]),
}

/// The values of the axes that make a row.
#[derive(Debug)]
pub struct Case<'a>(pub &'a [(&'a str, &'a str)]);

impl<'a> Case<'a> {
    /// The value of an axis; empty if there is no such axis.
    pub fn get(&self, axis: &str) -> &'a str {
        self.0.iter().find(|(name, _)| *name == axis).map_or("", |(_, value)| value)
    }
}

impl Question {
    /// The question of this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        QUESTIONS.iter().find(|question| question.name == name)
    }

    /// How many runs it takes.
    ///
    /// # Errors
    /// None, as the tests read all scenarios.
    pub fn runs(&self, seeds: u64) -> Result<u64, ExperimentError> {
        self.trials.iter().map(|trial| Ok(trial.experiment(seeds)?.len())).sum()
    }

    /// Runs everything and judges it; `None` if `stop` was set before everything had been run.
    ///
    /// # Errors
    /// What makes a run fail.
    pub fn answer(
        &self,
        seeds: u64,
        progress: &impl Progress,
        stop: &Arc<AtomicBool>,
    ) -> Result<Option<Finding>, ExperimentError> {
        let mut sheets = Vec::new();
        for trial in self.trials {
            let Swept { record, failure } = run_sweep(&trial.experiment(seeds)?, progress, stop);
            if let Some(failure) = failure {
                return Err(failure);
            }
            if record.points.len() < record.planned {
                return Ok(None);
            }
            sheets.extend(trial.comparisons.iter().map(|comparison| judge::sheet(trial.scenario, comparison, &record)));
        }
        let version = env!("CARGO_PKG_VERSION").to_owned();
        Ok(Some(Finding { question: self.name.to_owned(), version, first_seed: FIRST_SEED, seeds, sheets }))
    }
}

impl Trial {
    fn experiment(&self, seeds: u64) -> Result<Experiment, ExperimentError> {
        let scenario = Shipped::find(self.scenario)
            .map(Shipped::scenario)
            .unwrap_or_else(|| Err(ScenarioError::NoSuchScenario { name: self.scenario.to_owned(), suggestion: None }));
        let mut scenario: Scenario = scenario?;
        scenario.set("run.seed", &FIRST_SEED.to_string())?;
        scenario.set("run.seeds", &seeds.to_string())?;
        Experiment::new(scenario, self.scenario.to_owned(), Vec::new())
    }
}
