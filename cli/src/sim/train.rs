//! `mptcp sim train`.

use std::path::{Path, PathBuf};

use clap::Args;
use mptcp_sdk::core::scheduler::{Arm, Learning, Model};
use mptcp_sim::train::{Comparison, SEEDS, TrainError, all_runs, compare, compared_runs, train};

use super::sweep::Bar;
use crate::failure::Failure;
use crate::network::read_weights;
use crate::say;

/// What training needs and a comparison does not.
const TRAINING: [&str; 3] = ["out", "runs", "seed"];

/// Train the scheduler 'peekaboo' in simulated networks, or show what has come of it
///
/// The networks are drawn from seeds; the same arguments write the same file. Other programs load it with --weights. With --compare nothing is trained:
/// the scheduler carries traffic beside others, under conditions and with seeds that training never sees, and a table is printed.
#[derive(Args, Debug)]
pub(super) struct TrainArgs {
    /// Where to write the weights
    #[arg(long, value_name = "FILE", default_value = "weights.toml")]
    out: PathBuf,
    /// How many networks
    #[arg(long, value_name = "N", default_value_t = 4000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    runs: u64,
    /// Seed of the first network; the others have those that follow
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(0..SEEDS))]
    seed: u64,
    /// Compare with other schedulers instead
    #[arg(long, conflicts_with_all = TRAINING)]
    compare: bool,
    /// Weights to compare [default: those that come with the program]
    #[arg(long, value_name = "FILE", requires = "compare", conflicts_with_all = TRAINING)]
    weights: Option<PathBuf>,
    /// Seeds of each condition of the comparison
    #[arg(long, value_name = "N", default_value_t = 40, requires = "compare", conflicts_with_all = TRAINING, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    seeds: u64,
}

/// Runs the subcommand.
pub(super) fn run(args: &TrainArgs) -> Result<(), Failure> {
    if args.compare {
        return show(args.weights.as_deref(), args.seeds);
    }
    // Found out now, not when everything is over; what is there stays until then.
    let open = std::fs::OpenOptions::new().create(true).append(true).open(&args.out);
    open.map_err(|error| Failure::file("write", &args.out, &error))?;
    let bar = Bar::start(all_runs(args.runs));
    let model = train(args.seed, args.runs, &bar);
    bar.finish();
    let model = model.map_err(failure)?;
    std::fs::write(&args.out, model.to_string()).map_err(|error| Failure::file("write", &args.out, &error))?;
    let [wait, used, left] = Arm::ALL.map(|arm| model.samples(arm));
    say(&format!(
        "{}: of {} networks, {wait} times waited, {used} times used the next path, {left} times left it to completion-time; margin {}",
        args.out.display(),
        args.runs,
        model.margin()
    ));
    Ok(())
}

fn show(weights: Option<&Path>, seeds: u64) -> Result<(), Failure> {
    let shipped = || Learning::default().model;
    let model: Model = weights.map(read_weights).transpose()?.unwrap_or_else(shipped);
    let bar = Bar::start(compared_runs(seeds));
    bar.aside(|| say(&Comparison::heading()));
    let comparison = compare(model, seeds, &bar, |row| bar.aside(|| say(&row.line())));
    bar.finish();
    say(&format!("\n{}", comparison.map_err(failure)?.verdict()));
    Ok(())
}

fn failure(error: TrainError) -> Failure {
    Failure::Runtime(error.to_string())
}
