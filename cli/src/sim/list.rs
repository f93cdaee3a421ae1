//! `mptcp sim list`.

use clap::Args;
use mptcp_sim::profiles;

use crate::failure::Failure;
use crate::say;

/// List the scenarios and link profiles that come with the program
#[derive(Args, Debug)]
pub(super) struct ListArgs {}

/// Runs the subcommand.
pub(super) fn run(_: &ListArgs) -> Result<(), Failure> {
    say(profiles::list().trim_end());
    Ok(())
}
