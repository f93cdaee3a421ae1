//! `summary.json`: the figures for programs.

use serde_json::{Map, Value, json};

use super::digest::digest;
use super::latency::{Latency, PERCENTILES};
use super::record::{FailedConnection, PublishedFigure, Report, RunRecord};
use super::series::{Datum, SERIES};
use super::summary::{ConnectionSummary, LinkSummary, PathSummary, RunSummary};
use super::sweep::SweepRecord;
use super::unit::Unit;

/// Changes with every change of the meaning of a key.
const FORMAT: &str = "mptcp-sim summary 3";

/// The same for [`series_json`].
const SERIES_FORMAT: &str = "mptcp-sim series 1";

/// The figures of a report. Keys are sorted; rates are in bits per second, times in seconds, everything else in bytes
/// or pieces.
pub fn summary_json(report: &Report) -> String {
    text(&json!({
        "format": FORMAT,
        "title": report.title,
        "description": report.description,
        "planned": report.planned,
        "runs": report.runs.iter().map(run).collect::<Vec<_>>(),
        "published": report.published.iter().map(published).collect::<Vec<_>>(),
    }))
}

/// All samples of a run: for each of [`SERIES`] its columns, and its rows, one on a line. What is not known is null.
pub fn series_json(record: &RunRecord) -> String {
    let quoted = |text: &str| json!(text).to_string();
    let mut text = format!("{{\n\"format\": {}", quoted(SERIES_FORMAT));
    for series in &SERIES {
        text.push_str(&format!(",\n{}: {{\n\"columns\": {},\n\"rows\": [", quoted(series.name), json!(series.columns)));
        let mut separator = "\n";
        series.for_each_row(record, |row| {
            let data = row.iter().map(|datum| match datum {
                Datum::Text(name) => quoted(name),
                _ => datum.number().unwrap_or_else(|| "null".to_owned()),
            });
            text.push_str(&format!("{separator}[{}]", data.collect::<Vec<_>>().join(",")));
            separator = ",\n";
        });
        text.push_str("\n]}");
    }
    text + "\n}\n"
}

/// All points of a sweep. Keys are sorted; metrics are in the units that the file names, shares as fractions of one.
pub fn sweep_json(sweep: &SweepRecord) -> String {
    let point = |point: &super::SweepPoint| {
        let parameters: Map<String, Value> = sweep
            .axes
            .iter()
            .zip(&point.position)
            .map(|(axis, index)| (axis.name.clone(), json!(axis.values.get(*index))))
            .collect();
        let metrics: Map<String, Value> = sweep
            .metrics
            .iter()
            .zip(&point.metrics)
            .map(|(metric, value)| (metric.name.clone(), value.map_or(Value::Null, |value| figure(value, metric.unit))))
            .collect();
        json!({
            "parameters": parameters,
            "seed": point.seed,
            "command": point.command,
            "metrics": metrics,
            "failures": point.failures,
        })
    };
    text(&json!({
        "format": FORMAT,
        "title": sweep.title,
        "description": sweep.description,
        "version": sweep.version,
        "assumptions": sweep.assumptions,
        "planned": sweep.planned,
        "metrics": sweep.metrics.iter().map(|metric| json!({"name": metric.name, "unit": unit(metric.unit)})).collect::<Vec<_>>(),
        "axes": sweep.axes.iter().map(|axis| json!({"name": axis.name, "values": axis.values})).collect::<Vec<_>>(),
        "points": sweep.sorted_points().into_iter().map(point).collect::<Vec<_>>(),
        "published": sweep.published.iter().map(published).collect::<Vec<_>>(),
    }))
}

fn run(run: &RunRecord) -> Value {
    let summary = RunSummary::new(run);
    let expectation = |expectation: &super::Expectation| json!({"wanted": expectation.wanted, "found": expectation.found, "passed": expectation.passed});
    json!({
        "scenario": run.meta.scenario,
        "variant": run.meta.variant,
        "seed": run.meta.seed,
        "version": run.meta.version,
        "command": run.meta.command,
        "parameters": run.meta.parameters,
        "assumptions": run.meta.assumptions,
        "end": seconds(run.clock.end - tcp_adapter::Instant::ZERO),
        "delivered": summary.delivered,
        "connections_with_series": run.with_series().count(),
        "goodput": number(summary.goodput),
        "fairness": number(summary.fairness),
        "opened": summary.opened,
        "finished": summary.finished,
        "duration": seconds(summary.duration),
        "most_out_of_order": run.most_out_of_order,
        "connections": summary.connections.iter().map(connection).collect::<Vec<_>>(),
        "paths": summary.paths.iter().map(path).collect::<Vec<_>>(),
        "links": summary.links.iter().map(link).collect::<Vec<_>>(),
        "latencies": run.latencies.iter().map(latency).collect::<Vec<_>>(),
        "counters": run.counters,
        "digest": digest(run),
        "failed": run.failed.iter().map(failed).collect::<Vec<_>>(),
        "expectations": run.expectations.iter().map(expectation).collect::<Vec<_>>(),
        "passed": run.passed(),
        "interrupted": run.interrupted,
    })
}

fn connection(connection: &ConnectionSummary) -> Value {
    json!({
        "name": connection.name,
        "kind": connection.kind,
        "delivered": connection.delivered,
        "duration": seconds(connection.duration),
        "finished": connection.finished,
        "goodput": number(connection.goodput),
        "max_reorder": connection.max_reorder,
    })
}

fn failed(failed: &FailedConnection) -> Value {
    json!({ "name": failed.name, "reason": failed.reason })
}

fn path(path: &PathSummary) -> Value {
    json!({
        "kind": path.kind,
        "path": path.path,
        "subflows": path.subflows,
        "delivered": path.delivered,
        "mean_srtt": path.mean_srtt.map(seconds),
        "losses": path.losses,
        "retransmissions": path.retransmissions,
        "reinjected": path.reinjected,
    })
}

fn link(link: &LinkSummary) -> Value {
    json!({
        "name": link.name,
        "offered": link.offered,
        "delivered": link.delivered,
        "drops": link.drops,
        "duplicated": link.duplicated,
        "in_flight": link.in_flight,
        "throughput": number(link.throughput),
        "longest_queue": link.longest_queue,
        "balanced": link.balanced,
    })
}

fn latency(latency: &Latency) -> Value {
    let percentile = |percent: &f64| latency.percentile(*percent).map_or(Value::Null, seconds);
    let percentiles: Map<String, Value> =
        PERCENTILES.iter().map(|percent| (format!("p{percent}"), percentile(percent))).collect();
    json!({
        "name": latency.name,
        "count": latency.count(),
        "under_way": latency.under_way(),
        "min": seconds(latency.min()),
        "mean": seconds(latency.mean()),
        "max": seconds(latency.max()),
        "percentiles": percentiles,
    })
}

fn published(figure: &PublishedFigure) -> Value {
    json!({
        "name": figure.name,
        "unit": figure.unit,
        "published": number(figure.published),
        "simulated": figure.simulated.map(number),
        "source": figure.source,
        "assumption": figure.assumption,
    })
}

fn seconds(duration: std::time::Duration) -> Value {
    json!(duration.as_nanos() as f64 / 1e9)
}

/// A number to a millionth: what lies below is noise. What is not finite has no place in JSON.
fn number(value: f64) -> Value {
    if value.is_finite() && value.abs() < 1e15 { json!((value * 1e6).round() / 1e6) } else { json!(value) }
}

/// The same of something with a unit: of times nanoseconds count.
fn figure(value: f64, unit: Unit) -> Value {
    match unit {
        Unit::Seconds if value.is_finite() => json!((value * 1e9).round() / 1e9),
        _ => number(value),
    }
}

/// The unit that a number in the file is in: shares are fractions of one, and percent only where people read them.
fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Fraction | Unit::Difference => "fraction",
        _ => unit.symbol(),
    }
}

fn text(value: &Value) -> String {
    format!("{value:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::{Better, Metric, SweepPoint, csv, fixture};

    #[test]
    fn series_are_those_of_the_tables() {
        let report = fixture::report();
        for run in &report.runs {
            let parsed: Value = serde_json::from_str(&series_json(run)).unwrap();
            for series in &SERIES {
                let table = &parsed[series.name];
                let columns = table["columns"].as_array().unwrap();
                assert_eq!(columns.len(), series.columns.len());
                let rows = table["rows"].as_array().unwrap();
                let text = csv::series(series, run);
                assert_eq!(rows.len() + 1, text.lines().count(), "{}", series.name);
                for (row, line) in rows.iter().zip(text.lines().skip(1)) {
                    for (value, field) in row.as_array().unwrap().iter().zip(line.split(',')) {
                        match value {
                            Value::Null => assert_eq!(field, ""),
                            Value::String(name) => assert_eq!(field, name),
                            _ => assert_eq!(value.as_f64(), field.parse().ok(), "{}: {line}", series.name),
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn keys_are_sorted_and_figures_are_plain_numbers() {
        let text = summary_json(&fixture::report());
        let parsed: Value = serde_json::from_str(&text).unwrap();
        let run = parsed["runs"][1].as_object().unwrap();
        assert!(run.keys().is_sorted(), "a feature of serde_json that keeps the order of insertion is on");
        assert_eq!(run["delivered"], 3_000_000);
        assert_eq!(run["digest"], digest(&fixture::report().runs[1]));
        assert_eq!(run["goodput"], 6_000_000.0);
        assert_eq!(run["paths"][1]["mean_srtt"], 0.03);
        assert_eq!(run["latencies"][0]["percentiles"]["p99.9"].as_f64().map(|value| value > 0.0), Some(true));
        assert_eq!(parsed["runs"][0]["links"][0]["drops"]["queue full"], 5);
        assert_eq!(number(f64::NAN), Value::Null);
        assert_eq!(number(1.0 / 3.0).to_string(), "0.333333");
        let sweep = SweepRecord {
            metrics: vec![Metric { name: "used".to_owned(), unit: Unit::Fraction, better: Better::Higher }],
            points: vec![SweepPoint {
                position: Vec::new(),
                seed: 1,
                command: String::new(),
                metrics: vec![Some(0.95)],
                failures: Vec::new(),
            }],
            ..SweepRecord::default()
        };
        let parsed: Value = serde_json::from_str(&sweep_json(&sweep)).unwrap();
        assert_eq!(
            (&parsed["metrics"][0]["unit"], &parsed["points"][0]["metrics"]["used"]),
            (&json!("fraction"), &json!(0.95))
        );
        assert_eq!(figure(0.000_003_488, Unit::Seconds).to_string(), "3.488e-6");
    }
}
