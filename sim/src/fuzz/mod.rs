//! Random scenarios: topologies, impairments, middleboxes and traffic drawn from a seed, with everything checked.
//!
//! In every scenario, every byte that arrives must be the one that was sent, and every packet must be accounted
//! for. Where nothing stands in the way for good, all traffic must also end with everything delivered.

mod draw;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

pub use draw::Drawn;

use crate::experiment::Progress;
use crate::run::{self, Outcome, RunError};
use crate::scenario::{Scenario, ScenarioError};

/// A scenario that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The seed that it was drawn from.
    pub seed: u64,
    /// What went wrong.
    pub what: String,
}

/// What became of many random scenarios.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Scenarios that were run.
    pub run: u64,
    /// Those that did not hold, by seed.
    pub failures: Vec<Failure>,
}

/// Why a random scenario does not hold.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("the drawn scenario is wrong: {0}")]
    Scenario(Box<ScenarioError>),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error("{flow} did not end with everything delivered: {state}")]
    Incomplete { flow: String, state: String },
}

/// Runs `count` random scenarios, drawn from `first_seed` up, on all cores, until `stop` is set.
pub fn fuzz(first_seed: u64, count: u64, progress: &impl Progress, stop: &AtomicBool) -> Verdict {
    let failures = Mutex::new(Vec::new());
    let one = |offset: u64| -> u64 {
        if stop.load(Ordering::Relaxed) {
            return 0;
        }
        let seed = first_seed.wrapping_add(offset);
        match check(seed) {
            Ok(outcome) => progress.done(outcome.effort),
            Err(broken) => {
                let failure = Failure { seed, what: broken.to_string() };
                failures.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(failure);
                progress.done(run::Effort::default());
            }
        }
        1
    };
    let run = (0..count).into_par_iter().map(one).sum();
    let mut failures = failures.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    failures.sort_by_key(|failure: &Failure| failure.seed);
    Verdict { run, failures }
}

fn check(seed: u64) -> Result<Outcome, Broken> {
    let drawn = Drawn::new(seed);
    let scenario = Scenario::parse(&drawn.text, "random").map_err(|error| Broken::Scenario(Box::new(error)))?;
    let outcome = run::run_for_figures(&scenario, seed)?;
    if drawn.must_end
        && let Some((flow, state)) = outcome.unfinished.first()
    {
        return Err(Broken::Incomplete { flow: flow.clone(), state: state.clone() });
    }
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Silent;

    impl Progress for Silent {
        fn done(&self, _: run::Effort) {}
    }

    #[test]
    fn five_hundred_random_scenarios_hold() {
        let verdict = fuzz(1, 500, &Silent, &AtomicBool::new(false));
        assert_eq!(verdict.run, 500);
        assert!(verdict.failures.is_empty(), "{:#?}", verdict.failures);
    }

    #[test]
    fn scenarios_come_from_their_seed_and_differ() {
        let texts: std::collections::BTreeSet<String> = (0..50).map(|seed| Drawn::new(seed).text).collect();
        assert_eq!(texts.len(), 50);
        assert!(texts.contains(&Drawn::new(7).text));
    }
}
