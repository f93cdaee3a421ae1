//! `mptcp sim sweep`.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use mptcp_sim::experiment::{self, Swept, run_sweep};
use mptcp_sim::results::{sweep_json, sweep_text};
use mptcp_sim::run::Effort;

use super::experiment::{ExperimentArgs, failure, not_written};
use super::stop::Stop;
use crate::failure::Failure;
use crate::say_before_verdict as say;

/// Run all points of a scenario's sweep on all cores, and write tables and heat maps
///
/// Ctrl-C stops it: the runs that are done are written as if there were no others, and the exit code is 130. A second
/// Ctrl-C leaves at once.
#[derive(Args, Debug)]
pub(super) struct SweepArgs {
    #[command(flatten)]
    experiment: ExperimentArgs,
}

/// Runs the subcommand.
pub(super) fn run(args: &SweepArgs) -> Result<(), Failure> {
    let experiment = args.experiment.open(None)?;
    let folder = args.experiment.folder()?;
    let stop = Stop::on_interrupt()?;
    let bar = Bar::start(experiment.len());
    let Swept { record, failure: failed_with } = run_sweep(&experiment, &bar, &stop.asked);
    bar.finish();
    let written = folder.write_sweep(&record).map_err(not_written).map(|page| {
        if args.experiment.json {
            say(sweep_json(&record).trim_end());
        } else {
            say(sweep_text(&record).trim_end());
            say(&format!("\nreport: {}", page.display()));
        }
    });
    stop.done();
    written?;
    // What has come to its end is kept, whatever became of the others.
    if let Some(error) = failed_with {
        return Err(failure(error));
    }
    let failed = record.points.iter().filter(|point| !point.failures.is_empty()).count();
    if args.experiment.expect && failed > 0 {
        let runs = record.points.len();
        return Err(Failure::Runtime(format!("{failed} of {runs} runs did not come out as the scenario expects")));
    }
    Ok(())
}

/// Progress on standard error, if a person looks at it.
pub(super) struct Bar {
    bar: ProgressBar,
    started: Instant,
    /// Simulated milliseconds, and packets.
    simulated: AtomicU64,
    packets: AtomicU64,
}

impl Bar {
    /// Starts it.
    pub(super) fn start(runs: u64) -> Self {
        let template = "{pos} of {len} runs [{bar:30}] {eta} left, {msg}";
        let bar = if std::io::stderr().is_terminal() {
            let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::new(runs).with_style(style.progress_chars("=> "))
        } else {
            ProgressBar::with_draw_target(Some(runs), ProgressDrawTarget::hidden())
        };
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { bar, started: Instant::now(), simulated: AtomicU64::new(0), packets: AtomicU64::new(0) }
    }
}

impl Bar {
    /// Removes it.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }

    /// Lets something be printed beside it.
    pub(super) fn aside(&self, print: impl FnOnce()) {
        self.bar.suspend(print);
    }
}

impl experiment::Progress for Bar {
    fn done(&self, effort: Effort) {
        let millis = u64::try_from(effort.time.as_millis()).unwrap_or(u64::MAX);
        let millis = self.simulated.fetch_add(millis, Ordering::Relaxed) + millis;
        let packets = self.packets.fetch_add(effort.packets, Ordering::Relaxed) + effort.packets;
        let elapsed = self.started.elapsed().as_secs_f64().max(1e-3);
        let simulated = Duration::from_millis(millis);
        self.bar.set_message(format!(
            "{} simulated, {:.0} times real time, {:.0} thousand packets/s",
            indicatif::HumanDuration(simulated),
            simulated.as_secs_f64() / elapsed,
            packets as f64 / elapsed / 1e3
        ));
        self.bar.inc(1);
    }
}
