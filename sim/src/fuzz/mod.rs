//! Scenarios drawn at random, and whether what must hold of every run held.
//!
//! A seed is a whole scenario: hosts, routers, links, what goes wrong on them, middleboxes, applications. [`check`] runs
//! it until its traffic is over and everything has come to rest, and looks at every byte and every counter: what must
//! hold is told at [`Fault`]. Nothing here knows which TCP is beneath the stacks.

mod counters;
mod dice;
mod draw;
mod grace;
mod patience;
#[cfg(test)]
mod tests;
mod verdict;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

pub(crate) use dice::Dice;
pub use verdict::Fault;

use crate::experiment::Progress;
use crate::run::{Effort, rest};
use crate::scenario::{Scenario, ScenarioError};

/// A scenario in which something was wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// From which it was drawn, and with which it ran.
    pub seed: u64,
    /// The scenario as a file, which runs with the same seed.
    pub text: String,
    /// What was wrong: at least one thing.
    pub faults: Vec<Fault>,
}

/// What became of many random scenarios.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Scenarios that were run.
    pub run: u64,
    /// Those in which something was wrong, by seed.
    pub failures: Vec<Failure>,
}

/// Who wants to know how far it is.
pub trait Watch: Progress {
    /// Something was wrong with a scenario. Called as soon as it is known, from any thread, before
    /// [`done`](Progress::done).
    fn failed(&self, failure: &Failure);
}

/// Runs `count` random scenarios, drawn from `first_seed` up, on all cores, until `stop` is set.
pub fn fuzz(first_seed: u64, count: u64, watch: &impl Watch, stop: &AtomicBool) -> Tally {
    let failures = Mutex::new(Vec::new());
    let one = |offset: u64| -> u64 {
        if stop.load(Ordering::Relaxed) {
            return 0;
        }
        let effort = check(first_seed.wrapping_add(offset)).unwrap_or_else(|failure| {
            watch.failed(&failure);
            failures.lock().unwrap_or_else(PoisonError::into_inner).push(*failure);
            Effort::default()
        });
        watch.done(effort);
        1
    };
    let run = (0..count).into_par_iter().map(one).sum();
    let mut failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
    failures.sort_by_key(|failure: &Failure| failure.seed);
    Tally { run, failures }
}

/// The scenario of a seed, as the text of a file that anybody can run, explain and change.
pub fn scenario(seed: u64) -> String {
    draw::draw(seed)
}

/// Draws the scenario of a seed, runs it and looks for faults.
///
/// # Errors
/// The scenario, and what was wrong.
pub fn check(seed: u64) -> Result<Effort, Box<Failure>> {
    check_text(&scenario(seed), seed)
}

fn check_text(text: &str, seed: u64) -> Result<Effort, Box<Failure>> {
    let scenario = parse(text, seed).map_err(|error| vec![Fault::Scenario(error.to_string())]);
    let result = scenario.and_then(|scenario| check_scenario(&scenario, seed));
    result.map_err(|faults| Box::new(Failure { seed, text: text.to_owned(), faults }))
}

fn parse(text: &str, seed: u64) -> Result<Scenario, ScenarioError> {
    Scenario::parse(text, &format!("random-{seed}.toml"))
}

fn check_scenario(scenario: &Scenario, seed: u64) -> Result<Effort, Vec<Fault>> {
    // A run shares nothing with others, and what is left of it after a panic is not looked at.
    let result = catch_unwind(AssertUnwindSafe(|| rest::run_to_rest(scenario, seed, verdict::REST)));
    match result {
        Ok(Ok(outcome)) => verdict::judge(scenario, &outcome),
        Ok(Err(error)) => Err(vec![Fault::Run(error.to_string())]),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Err(vec![Fault::Panic(text.unwrap_or_default())])
        }
    }
}
