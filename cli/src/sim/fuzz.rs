//! `mptcp sim fuzz`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use mptcp_sim::experiment::Progress;
use mptcp_sim::fuzz::{self, Watch};
use mptcp_sim::run::Effort;

use super::folder;
use super::stop::Stop;
use super::sweep::Bar;
use crate::failure::Failure;
use crate::say_before_verdict as say;

/// Seeds and their number: both together are whole numbers of TOML.
const MOST: u64 = i64::MAX as u64 / 2;

/// Run random scenarios on all cores and check every byte, every packet and every counter
///
/// Topologies, impairments, middleboxes and traffic are drawn from seeds. What does not hold is told with its seed,
/// and its scenario is written to a file. Ctrl-C stops and tells how far it came.
#[derive(Args, Debug)]
pub(super) struct FuzzArgs {
    /// How many scenarios to run
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=MOST))]
    random_scenarios: u64,
    /// Seed of the first scenario; the others have those that follow
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(0..=MOST))]
    seed: u64,
    /// Where to write the scenarios of failures
    #[arg(long, value_name = "DIR", default_value = ".")]
    folder: PathBuf,
    /// Print the scenario of the first seed, as a file that 'mptcp sim run' takes, instead of running any
    #[arg(long)]
    show: bool,
}

/// Runs the subcommand.
pub(super) fn run(args: &FuzzArgs) -> Result<(), Failure> {
    if args.show {
        say(fuzz::scenario(args.seed).trim_end());
        return Ok(());
    }
    folder::check("--folder", &args.folder)?;
    let stop = Stop::on_interrupt()?;
    let watcher = Watcher { bar: Bar::start(args.random_scenarios), folder: &args.folder };
    let tally = fuzz::fuzz(args.seed, args.random_scenarios, &watcher, &stop.asked);
    watcher.bar.finish();
    let stopped = if stop.is_asked() { ", stopped" } else { "" };
    let (run, failed) = (tally.run, tally.failures.len());
    say(&format!("{run} of {} random scenarios run{stopped}, {failed} of them failed", args.random_scenarios));
    stop.done();
    if failed > 0 {
        return Err(Failure::Runtime(format!("{failed} random scenarios did not hold")));
    }
    Ok(())
}

/// Shows how far it is, and each failure at once.
struct Watcher<'a> {
    bar: Bar,
    folder: &'a Path,
}

impl Progress for Watcher<'_> {
    fn done(&self, effort: Effort) {
        self.bar.done(effort);
    }
}

impl Watch for Watcher<'_> {
    fn failed(&self, failure: &fuzz::Failure) {
        self.bar.aside(|| say(&describe(failure, self.folder)));
    }
}

/// What was wrong, and how to see it again. Writes the scenario.
fn describe(failure: &fuzz::Failure, folder: &Path) -> String {
    let fuzz::Failure { seed, text, faults } = failure;
    let mut report = String::new();
    // Writing to a string cannot fail.
    for fault in faults {
        let _ = writeln!(report, "seed {seed}: {fault}");
    }
    let _ = write!(report, "  mptcp sim fuzz --random-scenarios 1 --seed {seed}");
    let file = folder.join(format!("random-{seed}.toml"));
    let _ = match std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&file, text)) {
        Ok(()) => write!(report, "\n  mptcp sim run {} --pcap captures", file.display()),
        Err(error) => write!(report, "\n  its scenario cannot be written to '{}': {error}", file.display()),
    };
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_told_with_what_repeats_it() {
        let folder = std::env::temp_dir().join(format!("mptcp-fuzz-{}", std::process::id()));
        let text = "[links.p1]\n".to_owned();
        let failure = fuzz::Failure { seed: 7, text, faults: vec![fuzz::Fault::UnderWay(3)] };
        let report = describe(&failure, &folder);
        let file = folder.join("random-7.toml");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), failure.text);
        std::fs::remove_dir_all(&folder).unwrap();
        let lines: Vec<&str> = report.lines().collect();
        let replay = format!("  mptcp sim run {} --pcap captures", file.display());
        let again = "  mptcp sim fuzz --random-scenarios 1 --seed 7";
        assert_eq!(lines, ["seed 7: 3 packets are still under way when everything is over", again, &replay]);
    }
}
