//! Many runs at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use rayon::prelude::*;

use super::published::{self, Found};
use super::{Experiment, ExperimentError, SEED};
use crate::results::{Axis, Better, Metric as Column, SweepPoint, SweepRecord};
use crate::run::{self, Effort, Measures, Observer, RunError, amount_unit, amount_value};
use crate::scenario::{Amount, Metric, Point};

/// Told of every run that is done, from several threads at once.
pub trait Progress: Sync {
    /// A run is done.
    fn done(&self, effort: Effort);
}

/// What the published figures need of a run.
type Amounts = Vec<((Metric, String), Amount)>;

/// One run: its line, and what is to be compared.
struct Line {
    point: SweepPoint,
    parameters: Vec<(String, String)>,
    amounts: Amounts,
}

/// Traffic of which all metrics are shown; of more, only that which the file has first.
const MOST_TRAFFIC: usize = 3;

/// What has become of a sweep.
#[derive(Debug)]
pub struct Swept {
    /// The runs that came to their end. One that merely misses an expectation does.
    pub record: SweepRecord,
    /// What the first run that did not, in the order of points, failed with.
    pub failure: Option<ExperimentError>,
}

/// Runs every point of an experiment on all cores, until `stop` is set: what is under way then is given up. What the record says does not depend on
/// the number of cores, nor on the order in which runs end.
pub fn run_sweep(experiment: &Experiment, progress: &impl Progress, stop: &Arc<AtomicBool>) -> Swept {
    let columns = columns(experiment);
    let failure: Mutex<Option<(u64, ExperimentError)>> = Mutex::new(None);
    let run = |number: u64| -> Option<Line> {
        if stop.load(Ordering::Relaxed) {
            return None;
        }
        match line(experiment, &columns, number, stop) {
            Ok((line, effort)) => {
                progress.done(effort);
                Some(line)
            }
            Err(ExperimentError::Run(RunError::Stopped)) => None,
            Err(error) => {
                let mut first = failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                if first.as_ref().is_none_or(|(before, _)| number < *before) {
                    *first = Some((number, error));
                }
                None
            }
        }
    };
    let lines: Vec<Line> = (0..experiment.len()).into_par_iter().filter_map(run).collect();
    let failure = failure.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    Swept { record: record(experiment, &columns, lines), failure: failure.map(|(_, error)| error) }
}

/// A metric of some traffic.
struct Shown {
    metric: Metric,
    of: String,
    name: String,
}

/// What is shown of each run: the metrics of heat maps first, since the first is what one looks at.
fn columns(experiment: &Experiment) -> Vec<Shown> {
    let scenario = experiment.scenario();
    let all: Vec<&str> = scenario.traffic.iter().map(|traffic| traffic.name.as_str()).collect();
    let shown = if all.len() > MOST_TRAFFIC { &all[..1] } else { &all[..] };
    let mut metrics: Vec<Metric> = Vec::new();
    for metric in scenario.report.heatmaps.iter().map(|map| map.metric).chain(scenario.report.metrics.iter().copied()) {
        if !metrics.contains(&metric) {
            metrics.push(metric);
        }
    }
    let mut columns = Vec::new();
    for of in shown {
        for metric in &metrics {
            let name = if shown.len() > 1 { format!("{metric} of {of}") } else { metric.to_string() };
            columns.push(Shown { metric: *metric, of: (*of).to_owned(), name });
        }
    }
    columns
}

fn line(
    experiment: &Experiment,
    columns: &[Shown],
    number: u64,
    stop: &Arc<AtomicBool>,
) -> Result<(Line, Effort), ExperimentError> {
    let point = experiment.point(number)?;
    let meta = run::meta(&point.scenario, point.scenario.run.seed);
    let outcome = run::run_observed(&point.scenario, meta, Observer::none().until(stop))?;
    let measures = &outcome.measures;
    let value = |column: &Shown| measures.get(column.metric, &column.of).map(amount_value);
    let failed = outcome.record.expectations.iter().filter(|expectation| !expectation.passed);
    let command = experiment.command(&point);
    let amounts = amounts(experiment, measures);
    let Point { parameters, scenario, .. } = point;
    let swept = SweepPoint {
        position: position(experiment, &parameters),
        seed: scenario.run.seed,
        command,
        metrics: columns.iter().map(value).collect(),
        failures: failed.map(|expectation| format!("{}: found {}", expectation.wanted, expectation.found)).collect(),
    };
    Ok((Line { point: swept, parameters, amounts }, outcome.effort))
}

fn amounts(experiment: &Experiment, measures: &Measures) -> Amounts {
    let published = experiment.scenario().published.iter();
    let mut wanted: Vec<(Metric, String)> = published.map(|figure| (figure.metric, figure.of.clone())).collect();
    wanted.sort_by(|left, right| (left.0.to_string(), &left.1).cmp(&(right.0.to_string(), &right.1)));
    wanted.dedup();
    wanted.into_iter().filter_map(|key| Some((key.clone(), measures.get(key.0, &key.1)?))).collect()
}

/// The axes in the order in which they are shown: those of the first heat map first.
fn shown_axes(experiment: &Experiment) -> Vec<&crate::scenario::Axis> {
    let scenario = experiment.scenario();
    let mut axes: Vec<_> =
        scenario.axes.iter().filter(|axis| axis.name() != SEED && !experiment.is_chosen(axis.name())).collect();
    if let Some(map) = scenario.report.heatmaps.first() {
        let rank = |name: &str| if name == map.x { 0 } else { 2 - usize::from(name == map.y) };
        axes.sort_by_key(|axis| rank(axis.name()));
    }
    axes
}

fn position(experiment: &Experiment, parameters: &[(String, String)]) -> Vec<usize> {
    let index = |axis: &crate::scenario::Axis| {
        let label = parameters.iter().find(|(name, _)| name == axis.name()).map(|(_, label)| label.as_str());
        axis.labels().position(|known| Some(known) == label).unwrap_or(0)
    };
    shown_axes(experiment).into_iter().map(index).collect()
}

fn record(experiment: &Experiment, columns: &[Shown], lines: Vec<Line>) -> SweepRecord {
    let scenario = experiment.scenario();
    let axis = |axis: &crate::scenario::Axis| Axis {
        name: axis.name().to_owned(),
        values: axis.labels().map(str::to_owned).collect(),
    };
    let find = |metric: Metric, of: &str| -> Vec<Found> {
        let amount = |line: &Line| {
            let (_, amount) = line.amounts.iter().find(|((known, name), _)| *known == metric && name == of)?;
            Some((line.parameters.clone(), *amount))
        };
        lines.iter().filter_map(amount).collect()
    };
    let published = published::figures(scenario, find);
    SweepRecord {
        title: scenario.meta.name.clone(),
        description: scenario.meta.description.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        assumptions: scenario.meta.assumptions.clone(),
        axes: shown_axes(experiment).into_iter().map(axis).collect(),
        metrics: columns.iter().map(column).collect(),
        points: lines.into_iter().map(|line| line.point).collect(),
        planned: usize::try_from(experiment.len()).unwrap_or(usize::MAX),
        published,
    }
}

fn column(shown: &Shown) -> Column {
    let better = match shown.metric {
        Metric::Goodput | Metric::Utilisation | Metric::Delivered | Metric::RequestsPerSecond | Metric::DeadlineMet => {
            Better::Higher
        }
        _ => Better::Lower,
    };
    Column { name: shown.name.clone(), unit: amount_unit(shown.metric), better }
}
