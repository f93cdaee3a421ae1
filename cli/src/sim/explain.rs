//! `mptcp sim explain`.

use clap::Args;

use super::scenario::ScenarioArgs;
use crate::failure::Failure;
use crate::say;

/// Print a scenario with all defaults, as a file that says the same
#[derive(Args, Debug)]
pub(super) struct ExplainArgs {
    #[command(flatten)]
    scenario: ScenarioArgs,
}

/// Runs the subcommand.
pub(super) fn run(args: &ExplainArgs) -> Result<(), Failure> {
    say(args.scenario.open()?.explain().trim_end());
    Ok(())
}
