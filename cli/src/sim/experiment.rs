//! Which runs of a scenario are meant, and where their results go.

use std::path::{Path, PathBuf};

use clap::Args;
use mptcp_sim::RunError;
use mptcp_sim::experiment::{Experiment, ExperimentError, quoted};
use mptcp_sim::results::{Folder, WriteError};

use super::folder;
use super::scenario::{ScenarioArgs, parse_setting};
use crate::failure::Failure;

/// Runs of a scenario.
#[derive(Args, Debug)]
pub(super) struct ExperimentArgs {
    #[command(flatten)]
    scenario: ScenarioArgs,
    /// Run only the points of the scenario's sweep at which an axis has this value, such as variant=tcp
    #[arg(long = "at", value_name = "AXIS=VALUE", value_parser = parse_setting)]
    chosen: Vec<(String, String)>,
    /// Seed of all random numbers, instead of those of the scenario
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(0..=i64::MAX as u64))]
    seed: Option<u64>,
    /// Run every point so many times, each with the next seed
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    repeat: Option<u64>,
    /// Put the results into this folder [default: mptcp-sim/SCENARIO]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print the summary as JSON, and nothing else on standard output
    #[arg(long)]
    pub(super) json: bool,
    /// Exit with 1 if anything is not as the scenario expects it
    #[arg(long)]
    pub(super) expect: bool,
}

impl ExperimentArgs {
    /// Reads the scenario. `weights` are part of the command that repeats a run.
    pub(super) fn open(&self, weights: Option<&Path>) -> Result<Experiment, Failure> {
        let mut scenario = self.scenario.open()?;
        let mut set = |key: &str, value: u64| {
            scenario.set(key, &value.to_string()).map_err(|error| Failure::Usage(error.to_string()))
        };
        if let Some(seed) = self.seed {
            set("run.seed", seed)?;
        }
        if self.seed.is_some() || self.repeat.is_some() {
            set("run.seeds", self.repeat.unwrap_or(1))?;
        }
        if self.expect && scenario.expect.is_empty() {
            return Err(Failure::Usage("--expect: the scenario has no [[expect]]".to_owned()));
        }
        let mut invocation = quoted(&self.scenario.portable_name());
        for (key, value) in self.scenario.settings() {
            invocation.push_str(" --set ");
            invocation.push_str(&quoted(&format!("{key}={value}")));
        }
        if let Some(weights) = weights {
            invocation.push_str(" --weights ");
            invocation.push_str(&quoted(&weights.to_string_lossy()));
        }
        Experiment::new(scenario, invocation, self.chosen.clone()).map_err(failure)
    }

    /// Makes the folder for the results.
    pub(super) fn folder(&self) -> Result<Folder, Failure> {
        let default = || Path::new("mptcp-sim").join(self.scenario.stem());
        let path = self.out.clone().unwrap_or_else(default);
        folder::check("--out", &path)?;
        Folder::create(path).map_err(not_written)
    }
}

/// What cannot be run is a mistake in the scenario, and what must never happen is not.
pub(super) fn failure(error: ExperimentError) -> Failure {
    match error {
        ExperimentError::Run(
            error @ (RunError::Output(_)
            | RunError::WrongBytes { .. }
            | RunError::Unaccounted { .. }
            | RunError::Standstill { .. }),
        ) => Failure::Runtime(error.to_string()),
        error => Failure::Usage(error.to_string()),
    }
}

/// Results that cannot be written.
pub(super) fn not_written(error: WriteError) -> Failure {
    Failure::file("write", &error.path, &error.source)
}
