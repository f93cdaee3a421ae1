//! Training of the scheduler that learns, and what has come of it: [`train`] lets it explore in many small networks that are drawn from seeds,
//! and [`compare`] has it and others carry the same traffic under conditions and with seeds that training never sees.

mod compare;
mod draw;
mod held_out;

use std::sync::{Arc, Mutex, PoisonError};

use mptcp_core::SchedulerKind;
use mptcp_core::scheduler::{Learning, Model, Recorder, Sample};
use rayon::prelude::*;

pub use compare::{Comparison, Row, compare, compared_runs};

use crate::experiment::Progress;
use crate::logarithm::log10;
use crate::run::{Observer, Outcome, RunError, amount_value, meta, run_observed};
use crate::scenario::{Metric, Scenario, ScenarioError};

/// Why training or a comparison was given up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// A scenario that was drawn is wrong.
    #[error("the scenario of seed {seed} is wrong: {error}")]
    Scenario {
        /// Its seed.
        seed: u64,
        /// What is wrong.
        error: Box<ScenarioError>,
    },
    /// A run has failed.
    #[error("the run of seed {seed} has failed: {error}")]
    Run {
        /// Its seed.
        seed: u64,
        /// How.
        error: Box<RunError>,
    },
    /// A run has come to no end, so there is nothing to compare.
    #[error("the run of seed {seed} under '{condition}' has not delivered everything")]
    Unfinished {
        /// Its seed.
        seed: u64,
        /// The condition.
        condition: &'static str,
    },
}

/// Seeds that a margin is judged with; training uses lower ones only.
const FIRST_MARGIN_SEED: u64 = 999_000_000;

/// Training may use the seeds below.
pub const SEEDS: u64 = 998_000_000;

/// The margins to choose from. With the last one everything is left to completion-time.
const MARGINS: [f64; 6] = [0.0, 0.005, 0.01, 0.02, 0.05, 1.0];

/// Lets the scheduler choose by chance in `runs` networks with the seeds from `seed` on, on all cores, and learns what it brings. Then it chooses
/// the margin with which the model brings most in other networks of the same kind. The same arguments make the same model, whatever the
/// number of threads.
///
/// # Errors
/// See [`TrainError`].
pub fn train(seed: u64, runs: u64, progress: &impl Progress) -> Result<Model, TrainError> {
    let samples: Result<Vec<_>, _> = (seed..seed + runs).into_par_iter().map(|seed| explore(seed, progress)).collect();
    let mut model = Model::default();
    samples?.iter().flatten().for_each(|sample| model.learn(sample));

    let seeds = FIRST_MARGIN_SEED..FIRST_MARGIN_SEED + margin_networks(runs);
    let judged: Result<Vec<_>, _> = seeds.into_par_iter().map(|seed| judge_margins(model, seed, progress)).collect();
    let judged = judged?;
    let cost = |which: usize| judged.iter().map(|costs| costs[which]).sum::<f64>();
    let best = (0..MARGINS.len()).min_by(|one, two| cost(*one).total_cmp(&cost(*two))).unwrap_or(MARGINS.len() - 1);
    Ok(model.with_margin(MARGINS[best]))
}

/// Runs that a training of so many takes in all.
pub fn all_runs(runs: u64) -> u64 {
    runs + margin_networks(runs) * MARGINS.len() as u64
}

fn margin_networks(runs: u64) -> u64 {
    (runs / 4).clamp(1, 1000)
}

/// What each margin costs in a network: the logarithm of the time that it takes.
fn judge_margins(model: Model, seed: u64, progress: &impl Progress) -> Result<[f64; MARGINS.len()], TrainError> {
    let mut costs = [0.0; MARGINS.len()];
    for (margin, cost) in MARGINS.into_iter().zip(&mut costs) {
        let learning = Learning { model: model.with_margin(margin), recorder: None };
        let outcome = simulate(&draw::network(seed, SchedulerKind::Peekaboo), seed, learning)?;
        progress.done(outcome.effort);
        *cost = log10(time_taken(&outcome).ok_or(TrainError::Unfinished { seed, condition: "training" })?);
    }
    Ok(costs)
}

/// Seconds that a request takes in the mean, or until everything is delivered; `None` if not everything was.
fn time_taken(outcome: &Outcome) -> Option<f64> {
    let figure = |metric| outcome.measures.get(metric, draw::TRAFFIC).map(amount_value);
    outcome.unfinished.is_empty().then(|| figure(Metric::LatencyMean).or_else(|| figure(Metric::Completion)))?
}

#[derive(Debug, Default)]
struct Samples(Mutex<Vec<Sample>>);

impl Recorder for Samples {
    fn record(&self, sample: Sample) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(sample);
    }
}

fn explore(seed: u64, progress: &impl Progress) -> Result<Vec<Sample>, TrainError> {
    let samples = Arc::new(Samples::default());
    let recorder: Arc<dyn Recorder> = samples.clone();
    let learning = Learning { model: Model::default(), recorder: Some(recorder) };
    let outcome = simulate(&draw::network(seed, SchedulerKind::Peekaboo), seed, learning)?;
    progress.done(outcome.effort);
    Ok(std::mem::take(&mut samples.0.lock().unwrap_or_else(PoisonError::into_inner)))
}

fn simulate(text: &str, seed: u64, learning: Learning) -> Result<Outcome, TrainError> {
    let scenario = Scenario::parse(text, &format!("seed-{seed}"));
    let scenario = scenario.map_err(|error| TrainError::Scenario { seed, error: Box::new(error) })?;
    let observer = Observer::none().with_learning(learning);
    run_observed(&scenario, meta(&scenario, seed), observer)
        .map_err(|error| TrainError::Run { seed, error: Box::new(error) })
}

#[cfg(test)]
mod tests {
    use mptcp_core::scheduler::Arm;

    use super::*;
    use crate::run::Effort;

    struct Silent;

    impl Progress for Silent {
        fn done(&self, _: Effort) {}
    }

    #[test]
    fn the_same_seeds_teach_the_same_and_both_choices_are_tried() {
        let one = train(1, 12, &Silent).unwrap();
        assert_eq!(one, train(1, 12, &Silent).unwrap());
        assert!(Arm::ALL.iter().all(|arm| one.samples(*arm) > 0), "{one:?}");
        assert_ne!(one, train(13, 12, &Silent).unwrap());
    }

    #[test]
    fn a_comparison_repeats_and_shows_every_condition() {
        let rows = || {
            let mut rows = Vec::new();
            compare(Model::default(), 1, &Silent, |row| rows.push(row.clone())).unwrap();
            rows
        };
        let one = rows();
        assert_eq!(one, rows());
        assert_eq!(one.len() as u64 * 4, compared_runs(1));
    }

    #[test]
    fn a_model_that_knows_nothing_does_what_completion_time_does() {
        let held_out = compare(Model::default(), 1, &Silent, |_| ()).unwrap();
        for row in &held_out.rows {
            assert_eq!(row.medians[2], row.medians[0], "{}", row.condition);
        }
    }
}
