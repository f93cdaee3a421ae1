//! `mptcp sim fuzz`.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use clap::Args;
use mptcp_sim::fuzz::{Drawn, fuzz};

use super::sweep::{Bar, Stop};
use crate::failure::Failure;
use crate::interrupt;
use crate::say;

/// Run random scenarios on all cores and check every byte and every packet
///
/// Topologies, impairments, middleboxes and traffic are drawn from seeds. Prints the seed of what does not hold.
#[derive(Args, Debug)]
pub(super) struct FuzzArgs {
    /// How many scenarios to run
    #[arg(long, value_name = "N", default_value_t = 1000)]
    random_scenarios: u64,
    /// Seed of the first scenario; the others have those that follow
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Print the scenario of the first seed, as a file that 'mptcp sim run' takes, instead of running any
    #[arg(long)]
    show: bool,
}

/// Runs the subcommand.
pub(super) fn run(args: &FuzzArgs) -> Result<(), Failure> {
    if args.show {
        say(Drawn::new(args.seed).text.trim_end());
        return Ok(());
    }
    let stop = Arc::new(Stop::default());
    let on_interrupt = Arc::clone(&stop);
    interrupt::on_interrupt(move || on_interrupt.and_wait())?;
    let bar = Bar::start(args.random_scenarios);
    let verdict = fuzz(args.seed, args.random_scenarios, &bar, &stop.asked);
    bar.finish();
    for failure in &verdict.failures {
        let seed = failure.seed;
        say(&format!("seed {seed}: {}\n  mptcp sim fuzz --seed {seed} --random-scenarios 1", failure.what));
    }
    let stopped = if stop.asked.load(Ordering::Relaxed) { ", stopped" } else { "" };
    let (run, failed) = (verdict.run, verdict.failures.len());
    say(&format!("{run} of {} random scenarios run{stopped}, {failed} of them failed", args.random_scenarios));
    stop.done();
    if failed > 0 {
        return Err(Failure::Runtime(format!("{failed} random scenarios did not hold")));
    }
    Ok(())
}
