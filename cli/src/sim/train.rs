//! `mptcp sim train`.

use std::path::PathBuf;

use clap::Args;
use mptcp_sdk::core::scheduler::Arm;
use mptcp_sim::train::train;

use crate::failure::Failure;
use crate::say;

/// Train the scheduler 'peekaboo' in simulated networks, and write its weights
///
/// The networks are drawn from seeds; the same arguments write the same file. Other programs load it with --weights.
#[derive(Args, Debug)]
pub(super) struct TrainArgs {
    /// Where to write the weights
    #[arg(long, value_name = "FILE", default_value = "weights.toml")]
    out: PathBuf,
    /// How many networks
    #[arg(long, value_name = "N", default_value = "1000", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    runs: u64,
    /// Seed of the first network; the others have those that follow
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u64).range(0..=1_000_000_000_000))]
    seed: u64,
}

/// Runs the subcommand.
pub(super) fn run(args: &TrainArgs) -> Result<(), Failure> {
    // Found out now, not when everything is over.
    std::fs::File::create(&args.out).map_err(|error| Failure::file("write", &args.out, &error))?;
    let model = train(args.seed, args.runs).map_err(|error| Failure::Runtime(error.to_string()))?;
    std::fs::write(&args.out, model.to_string()).map_err(|error| Failure::file("write", &args.out, &error))?;
    let [wait, used] = Arm::ALL.map(|arm| model.samples(arm));
    say(&format!("{}: {} runs, {wait} times waited, {used} times used the next path", args.out.display(), args.runs));
    Ok(())
}
