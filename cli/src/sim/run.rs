//! `mptcp sim run`.

use std::path::PathBuf;

use clap::Args;
use mptcp_sdk::core::scheduler::{Learning, Model};
use mptcp_sim::experiment::ExperimentError;
use mptcp_sim::results::{Folder, Report, RunMeta, RunRecord, WriteError, summary_json, summary_text};
use mptcp_sim::run::Observer;
use mptcp_sim::scenario::Point;

use super::experiment::{ExperimentArgs, failure, not_written};
use super::folder;
use super::stop::Stop;
use crate::failure::Failure;
use crate::network::read_weights;
use crate::say_before_verdict as say;

/// Run a scenario, compare the points of its sweep, and write a report
///
/// Prints a summary, and writes tables, series and a page with plots into a folder. The same seed gives the same bytes in
/// all of them, on any machine. Ctrl-C ends it: what has been simulated by then is written, marked as interrupted, and the
/// exit code is 130. A second Ctrl-C leaves at once.
#[derive(Args, Debug)]
pub(super) struct RunArgs {
    #[command(flatten)]
    experiment: ExperimentArgs,
    /// Capture what passes every interface, one pcapng file each, into this folder
    #[arg(long, value_name = "DIR")]
    pcap: Option<PathBuf>,
    /// Write every event into the folder of the results, one line of JSON each, in the shape of qlog
    #[arg(long)]
    qlog: bool,
    /// Weights of the scheduler 'peekaboo', made by 'mptcp sim train' [default: those that come with the program]
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
}

/// Runs the subcommand.
pub(super) fn run(args: &RunArgs) -> Result<(), Failure> {
    let experiment = args.experiment.open(args.weights.as_deref())?;
    let model = args.weights.as_deref().map(read_weights).transpose()?;
    if let Some(captures) = &args.pcap {
        folder::check("--pcap", captures)?;
    }
    let folder = args.experiment.folder()?;
    let captures = args.pcap.as_ref().map(Folder::create).transpose().map_err(not_written)?;
    let stop = Stop::on_interrupt()?;
    let observe = |point: &Point, meta: &RunMeta| {
        let observer = observe(args, &folder, captures.as_ref(), model, point, meta)?;
        Ok(observer.as_far_as(&stop.asked))
    };
    let report: Result<Report, RunFailure> = experiment.compare(observe, |_, _| ());
    let written = report.map_err(|error| error.0).and_then(|report| {
        let page = folder.write_report(&report).map_err(not_written)?;
        if args.experiment.json {
            say(summary_json(&report).trim_end());
        } else {
            say(summary_text(&report).trim_end());
            say(&format!("\nreport: {}", page.display()));
        }
        Ok(report)
    });
    stop.done();
    let report = written?;
    let failed = report.runs.iter().filter(|run| !RunRecord::passed(run)).count();
    if args.experiment.expect && failed > 0 {
        return Err(Failure::Runtime(format!(
            "{failed} of {} runs did not come out as the scenario expects",
            report.runs.len()
        )));
    }
    Ok(())
}

/// What is written down of a run while it is going on.
fn observe(
    args: &RunArgs,
    folder: &Folder,
    captures: Option<&Folder>,
    model: Option<Model>,
    point: &Point,
    meta: &RunMeta,
) -> Result<Observer, RunFailure> {
    let mut observer = Observer::with_series();
    if let Some(model) = model {
        observer = observer.with_learning(Learning { model, recorder: None });
    }
    if args.qlog {
        observer = observer.with_log(folder.event_log(meta)?.boxed());
    }
    if let Some(captures) = captures {
        observer = observer.with_captures::<RunFailure>(&point.scenario, |interface| {
            Ok(Box::new(captures.capture(meta, interface)?))
        })?;
    }
    Ok(observer)
}

/// A [`Failure`] into which all that can go wrong here turns by itself.
struct RunFailure(Failure);

impl From<ExperimentError> for RunFailure {
    fn from(error: ExperimentError) -> Self {
        Self(failure(error))
    }
}

impl From<WriteError> for RunFailure {
    fn from(error: WriteError) -> Self {
        Self(not_written(error))
    }
}

impl From<std::io::Error> for RunFailure {
    fn from(error: std::io::Error) -> Self {
        Self(Failure::io("cannot write a capture", &error))
    }
}
