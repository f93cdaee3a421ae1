//! `mptcp sim`: the same stack over simulated networks, in virtual time.

mod explain;
mod list;
mod scenario;

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
    List(list::ListArgs),
    Explain(explain::ExplainArgs),
}

/// Runs the subcommand.
pub(crate) fn run(args: &SimArgs) -> Result<(), Failure> {
    match &args.command {
        Command::List(args) => list::run(args),
        Command::Explain(args) => explain::run(args),
    }
}
