//! The demonstration of the house: NVMe over several paths, in the ways there are.

use std::path::Path;

use mptcp_sim::experiment::{CaseSelection, run_cases};
use mptcp_sim::results::{Folder, comparison_json, comparison_text};
use mptcp_sim::scenario::Scenario;

use super::experiment::{failure, not_written};
use super::sweep::Bar;
use crate::failure::Failure;
use crate::say;

/// The scenario that has all of it.
const SCENARIO: &str = "nvme-multipath";

/// What is shown of its transports.
const WAYS: [&str; 5] = ["tcp-round-robin", "tcp-queue-depth", "bond", "mptcp", "mptcp-round-robin"];

/// Runs the comparison, prints its table, and leaves its page in a folder.
pub(super) fn run(folder: &Path, json: bool) -> Result<(), Failure> {
    let scenario = Scenario::open(SCENARIO).map_err(|error| Failure::Usage(error.to_string()))?;
    let selection = CaseSelection {
        invocation: SCENARIO.to_owned(),
        cases: "case".to_owned(),
        ways: ("transport".to_owned(), WAYS.map(str::to_owned).to_vec()),
        chosen: vec![("pattern".to_owned(), "read".to_owned())],
        traffic: "nvme".to_owned(),
    };
    let folder = Folder::create(folder).map_err(not_written)?;
    let bar = Bar::start(selection.runs(&scenario));
    let comparison = run_cases(&scenario, &selection, &bar);
    bar.finish();
    let comparison = comparison.map_err(failure)?;
    let page = folder.write_comparison(&comparison).map_err(not_written)?;
    if json {
        say(comparison_json(&comparison).trim_end());
    } else {
        say(&comparison.description);
        say(&format!("\n{}", comparison_text(&comparison).trim_end()));
        say(&format!("\nSee the plots: {}", page.display()));
    }
    Ok(())
}
