//! Charts that show all runs of a report together, and the latencies.

use super::charts::{MAX_CURVES, average_note, bin, points, rate_points, time_chart};
use super::plot::{Axis, Chart, Curve, Form, Stroke, averages};
use crate::results::latency::Latency;
use crate::results::record::{Report, RunRecord};
use crate::results::unit::Unit;

/// Charts that show all runs together.
pub(super) fn comparison(report: &Report) -> Vec<Chart<'static>> {
    let mut charts = Vec::new();
    if report.runs.len() > 1 {
        charts.extend(goodput_of_runs(report));
        charts.extend(delivered_by_runs(report));
    }
    charts.extend(latency_charts(report));
    charts
}

pub(super) fn goodput_of_runs(report: &Report) -> Option<Chart<'static>> {
    let longest = report.runs.iter().max_by_key(|run| run.clock.end)?;
    let curve = |(colour, run): (usize, &RunRecord)| {
        let rate = |index| {
            let connections = run.with_series();
            let rates = connections.map(|one| one.samples.bit_rate(&run.clock, index, |sample| sample.delivered));
            rates.sum::<u64>() as f64
        };
        let points = averages(&rate_points(&run.clock, rate), bin(&longest.clock));
        Curve { label: run.meta.variant.clone(), colour, stroke: Stroke::Solid, points }
    };
    let curves = report.runs.iter().enumerate().map(curve).take(MAX_CURVES).collect();
    let note = format!("what the applications received, {}", average_note(&longest.clock));
    Some(Chart { note, ..time_chart(longest, "Goodput", Unit::BitsPerSecond, curves) })
}

fn delivered_by_runs(report: &Report) -> Option<Chart<'static>> {
    let longest = report.runs.iter().max_by_key(|run| run.clock.end)?;
    let curve = |(colour, run): (usize, &RunRecord)| {
        let sum = |index| {
            let delivered = run.with_series().filter_map(|connection| connection.samples.latest(index));
            delivered.map(|sample| sample.delivered).sum::<u64>() as f64
        };
        Curve { label: run.meta.variant.clone(), colour, stroke: Stroke::Solid, points: points(&run.clock, sum) }
    };
    let curves = report.runs.iter().enumerate().map(curve).take(MAX_CURVES).collect();
    let note = "what the applications have received so far".to_owned();
    Some(Chart { note, ..time_chart(longest, "Delivered", Unit::Bytes, curves) })
}

pub(super) fn latency_charts(report: &Report) -> Vec<Chart<'static>> {
    let strokes = [Stroke::Solid, Stroke::Dashed, Stroke::Dotted];
    let mut latencies: Vec<(String, usize, Stroke, &Latency)> = Vec::new();
    let one_name = report.runs.iter().all(|run| run.latencies.len() <= 1);
    for (number, run) in report.runs.iter().enumerate() {
        for (latency, stroke) in run.latencies.iter().filter(|latency| latency.count() > 0).zip(strokes.iter().cycle())
        {
            let label = match (report.runs.len(), one_name) {
                (1, _) => latency.name.clone(),
                (_, true) => run.meta.variant.clone(),
                (_, false) => format!("{}: {}", run.meta.variant, latency.name),
            };
            // Runs have the colours of the chart of their goodput; within a single run each latency has its own.
            let colour = if report.runs.len() > 1 { number } else { latencies.len() };
            latencies.push((label, colour, *stroke, latency));
        }
    }
    latencies.truncate(MAX_CURVES);
    let min = latencies.iter().map(|(.., latency)| latency.min()).min();
    let (Some(min), Some(max)) = (min, latencies.iter().map(|(.., latency)| latency.max()).max()) else {
        return Vec::new();
    };
    let x = Axis::logarithmic(min.as_nanos() as f64 / 1e9, max.as_nanos() as f64 / 1e9, Unit::Seconds);
    let chart = |title: &str, note: &str, y: Axis, value: fn(f64) -> f64| {
        let curve = |(label, colour, stroke, latency): &(String, usize, Stroke, &Latency)| {
            let cdf = latency.cdf();
            let first = cdf.first().map(|point| (point.seconds, value(0.0)));
            let rest = cdf.iter().map(|point| (point.seconds, value(point.fraction)));
            Curve {
                label: label.clone(),
                colour: *colour,
                stroke: *stroke,
                points: first.into_iter().chain(rest).collect(),
            }
        };
        Chart {
            title: title.to_owned(),
            note: note.to_owned(),
            x: x.clone(),
            x_title: "latency",
            y,
            curves: latencies.iter().map(curve).collect(),
            form: Form::Lines,
            marks: &[],
        }
    };
    let rarest = latencies.iter().map(|(.., latency)| 1.0 / latency.count() as f64).fold(0.1, f64::min);
    vec![
        chart("Latency", "how many are done within a time", Axis::from_zero(1.0, Unit::Fraction, 5), |done| done),
        chart(
            "Tail of the latency",
            "how many take longer than a time",
            Axis::logarithmic(rarest.max(1e-6), 1.0, Unit::Fraction),
            // The largest value itself has none above it, and no place on this axis.
            |done| if done < 1.0 { 1.0 - done } else { 0.0 },
        ),
    ]
}
