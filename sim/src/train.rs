//! Training of the scheduler that learns: many small networks, drawn from seeds, in which it explores.

use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};

use mptcp_core::SchedulerKind;
use mptcp_core::scheduler::{Learning, Model, Recorder, Sample};
use rayon::prelude::*;

use crate::fuzz::Dice;
use crate::random::Streams;
use crate::run::{Observer, RunError, meta, run_observed};
use crate::scenario::{Scenario, ScenarioError};

/// Why training was given up.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// A scenario that was drawn is wrong.
    #[error("the scenario of seed {seed} is wrong: {error}")]
    Scenario {
        /// Its seed.
        seed: u64,
        /// What is wrong.
        error: ScenarioError,
    },
    /// A run has failed.
    #[error("the run of seed {seed} has failed: {error}")]
    Run {
        /// Its seed.
        seed: u64,
        /// How.
        error: RunError,
    },
}

/// Lets the scheduler choose by chance in `runs` networks with the seeds from `seed` on, on all cores, and learns what it brings. The same
/// arguments make the same model, whatever the number of threads.
///
/// # Errors
/// See [`TrainError`].
pub fn train(seed: u64, runs: u64) -> Result<Model, TrainError> {
    let samples: Result<Vec<_>, _> = (seed..seed + runs).into_par_iter().map(explore).collect();
    let mut model = Model::default();
    samples?.iter().flatten().for_each(|sample| model.learn(sample));
    Ok(model)
}

#[derive(Debug, Default)]
struct Samples(Mutex<Vec<Sample>>);

impl Recorder for Samples {
    fn record(&self, sample: Sample) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(sample);
    }
}

fn explore(seed: u64) -> Result<Vec<Sample>, TrainError> {
    let scenario = Scenario::parse(&draw(seed), &format!("training-{seed}"));
    let scenario = scenario.map_err(|error| TrainError::Scenario { seed, error })?;
    let samples = Arc::new(Samples::default());
    let recorder: Arc<dyn Recorder> = samples.clone();
    let observer = Observer::none().with_learning(Learning { model: Model::default(), recorder: Some(recorder) });
    run_observed(&scenario, meta(&scenario, seed), observer).map_err(|error| TrainError::Run { seed, error })?;
    Ok(std::mem::take(&mut samples.0.lock().unwrap_or_else(PoisonError::into_inner)))
}

/// Two paths, the second one 2 to 30 times as long as the first, with rates, queues and losses of all kinds; bulk data on windows from tight to wide, or
/// objects one after the other.
fn draw(seed: u64) -> String {
    let mut dice = Dice(Streams::new(seed).stream("train"));
    let delay = dice.scaled(2_000, 16_000);
    let longer = delay * dice.between(4, 60) / 2;
    let mut text =
        format!("[mptcp]\nscheduler = \"{}\"\n\n[run]\nseed = {seed}\ntime = \"20s\"\n", SchedulerKind::Peekaboo);
    // Writing to a string cannot fail.
    for (link, delay) in [("near", delay), ("far", longer)] {
        let (rate, packets) = (dice.scaled(2, 32), dice.scaled(16, 128));
        let loss = if dice.percent(30) { dice.probability(10, 1000) } else { "\"none\"".to_owned() };
        let _ = writeln!(
            text,
            "\n[links.{link}]\nrate = \"{rate}Mbit\"\ndelay = \"{delay}us\"\nqueue = {{ packets = {packets} }}\nloss = {loss}"
        );
    }
    let window = dice.scaled(32, 1024);
    let _ = writeln!(
        text,
        "\n[hosts.client]\nrecv_buffer = \"{window}KiB\"\n\n[hosts.server]\nrecv_buffer = \"{window}KiB\""
    );
    if dice.percent(50) {
        let _ = writeln!(text, "\n[[traffic]]\nkind = \"bulk\"\nbytes = \"{}kB\"", dice.scaled(512, 4096));
    } else {
        let (size, count) = (dice.scaled(16, 512), dice.between(5, 30));
        let _ = writeln!(
            text,
            "\n[[traffic]]\nkind = \"request\"\nrequest = \"200B\"\nresponse = \"{size}kB\"\ncount = {count}"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use mptcp_core::scheduler::Arm;

    use super::*;

    #[test]
    fn the_same_seeds_teach_the_same_and_both_choices_are_tried() {
        let one = train(1, 6).unwrap();
        assert_eq!(one, train(1, 6).unwrap());
        assert!(Arm::ALL.iter().all(|arm| one.samples(*arm) > 0), "{one:?}");
    }
}
