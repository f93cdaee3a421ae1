//! `mptcp sim`: the same stack over simulated networks in virtual time, and their links in real time.

mod demonstration;
mod evaluate;
mod experiment;
mod explain;
mod folder;
mod fuzz;
mod list;
mod relay;
mod run;
mod scenario;
mod stop;
mod sweep;
mod train;

use std::path::Path;

use clap::{Args, Subcommand};

use crate::failure::Failure;

/// Simulate: the same stack over modelled networks, in virtual time, the same from the same seed
///
/// A scenario is a TOML file, or the name of one that comes with the program ('mptcp sim list').
#[derive(Args, Debug)]
pub(crate) struct SimArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Run(run::RunArgs),
    Sweep(sweep::SweepArgs),
    Fuzz(fuzz::FuzzArgs),
    Train(train::TrainArgs),
    List(list::ListArgs),
    Relay(relay::RelayArgs),
    Explain(explain::ExplainArgs),
    Evaluate(evaluate::EvaluateArgs),
}

/// Runs the subcommand.
pub(crate) fn run(args: &SimArgs) -> Result<(), Failure> {
    match &args.command {
        Command::Run(args) => run::run(args),
        Command::Sweep(args) => sweep::run(args),
        Command::Fuzz(args) => fuzz::run(args),
        Command::Train(args) => train::run(args),
        Command::List(args) => list::run(args),
        Command::Relay(args) => relay::run(args),
        Command::Explain(args) => explain::run(args),
        Command::Evaluate(args) => evaluate::run(args),
    }
}

/// Runs the demonstration of the house, and leaves its results in a folder.
pub(crate) fn demonstrate(folder: &Path, json: bool) -> Result<(), Failure> {
    demonstration::run(folder, json)
}
