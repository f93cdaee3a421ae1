//! The figures of a report as tables, and all of them for the terminal.

use std::fmt::Write as _;
use std::time::Duration;

use super::latency::{Latency, PERCENTILES};
use super::record::{PublishedFigure, Report, RunRecord};
use super::summary::RunSummary;
use super::table::{Align, Table, printable};
use super::unit::{Unit, fixed, grouped};

/// Heading of the table of runs.
pub(super) const RUNS: &str = "Runs";
/// Heading of the table of published figures.
pub(super) const PUBLISHED: &str = "Published and simulated";
/// What the table of expectations says of those that did not come true.
pub(super) const FAILED: &str = "FAILED";

/// The tables for the terminal: plain text, no colours.
pub fn summary_text(report: &Report) -> String {
    let mut text = format!("{}\n", printable(&report.title));
    if let Some(first) = report.runs.first() {
        let _ = writeln!(text, "scenario {}, version {}", printable(&first.meta.scenario), first.meta.version);
    }
    if let Some(interruption) = report.interruption() {
        let _ = writeln!(text, "\n{}", printable(&interruption));
    }
    for run in &report.runs {
        if let Some(note) = run.series_note() {
            let _ = writeln!(text, "\n{}: {note}", printable(&run.meta.variant));
        }
    }
    for run in &report.runs {
        let lines = run.failure_lines();
        if !lines.is_empty() {
            let _ = writeln!(text, "\n{}: connections that failed", printable(&run.meta.variant));
        }
        for line in lines {
            let _ = writeln!(text, "  {}", printable(&line));
        }
    }
    for (heading, table) in tables(report) {
        if !table.rows.is_empty() {
            let _ = write!(text, "\n{heading}\n{table}");
        }
    }
    for run in &report.runs {
        if !run.meta.command.is_empty() {
            let _ = writeln!(text, "\n{}: {}", printable(&run.meta.variant), printable(&run.meta.command));
        }
    }
    text
}

/// All tables of a report, with their headings; some may be empty.
pub(super) fn tables(report: &Report) -> Vec<(&'static str, Table)> {
    let summaries: Vec<_> = report.runs.iter().map(|run| (run, RunSummary::new(run))).collect();
    vec![
        (RUNS, run_table(&summaries)),
        ("Paths", path_table(&summaries)),
        ("Latency", latency_table(report)),
        ("Links", link_table(&summaries)),
        (PUBLISHED, published_table(&report.published)),
        ("Expectations", expectation_table(report)),
    ]
}

fn run_table(summaries: &[(&RunRecord, RunSummary)]) -> Table {
    let mut table = Table::new(&[
        ("run", Align::Left),
        ("seed", Align::Right),
        ("connections", Align::Right),
        ("finished", Align::Right),
        ("delivered", Align::Right),
        ("time", Align::Right),
        ("goodput", Align::Right),
        ("fairness", Align::Right),
        ("reorder buffer", Align::Right),
        ("packets", Align::Left),
    ]);
    for (run, summary) in summaries {
        let reorder = run.most_out_of_order;
        let balanced = summary.links.iter().all(|link| link.balanced);
        table.row([
            run.meta.variant.clone(),
            run.meta.seed.to_string(),
            summary.opened.to_string(),
            summary.finished.to_string(),
            Unit::Bytes.format(summary.delivered as f64, 4),
            seconds(summary.duration),
            Unit::BitsPerSecond.format(summary.goodput, 4),
            if summary.opened > 1 { fixed(summary.fairness, 3) } else { String::new() },
            Unit::Bytes.format(reorder as f64, 3),
            if balanced { "all accounted for" } else { "NOT ALL ACCOUNTED FOR" }.to_owned(),
        ]);
    }
    table.without_empty_columns()
}

fn path_table(summaries: &[(&RunRecord, RunSummary)]) -> Table {
    let mut table = Table::new(&[
        ("run", Align::Left),
        ("kind", Align::Left),
        ("path", Align::Left),
        ("subflows", Align::Right),
        ("payload", Align::Right),
        ("share", Align::Right),
        ("mean srtt", Align::Right),
        ("losses", Align::Right),
        ("retransmitted", Align::Right),
        ("re-injected", Align::Right),
    ]);
    for (run, summary) in summaries {
        let total: u64 = summary.paths.iter().map(|path| path.delivered).sum();
        for path in &summary.paths {
            table.row([
                run.meta.variant.clone(),
                path.kind.clone(),
                path.path.clone(),
                path.subflows.to_string(),
                Unit::Bytes.format(path.delivered as f64, 4),
                Unit::Fraction.format(path.delivered as f64 / total.max(1) as f64, 3),
                path.mean_srtt.map(seconds).unwrap_or_default(),
                path.losses.map(grouped).unwrap_or_default(),
                grouped(path.retransmissions),
                Unit::Bytes.format(path.reinjected as f64, 3),
            ]);
        }
    }
    table.without_empty_columns()
}

fn latency_table(report: &Report) -> Table {
    let names: Vec<String> = PERCENTILES.iter().map(|percent| format!("p{percent}")).collect();
    let mut columns = vec![("run", Align::Left), ("latency", Align::Left), ("samples", Align::Right)];
    columns.extend(["min", "mean"].map(|name| (name, Align::Right)));
    columns.extend(names.iter().map(|name| (name.as_str(), Align::Right)));
    columns.push(("max", Align::Right));
    let mut table = Table::new(&columns);
    for run in &report.runs {
        for latency in run.latencies.iter().filter(|latency| latency.count() > 0) {
            let percentile = |percent: &f64| latency.percentile(*percent).map(seconds).unwrap_or_default();
            let percentiles = PERCENTILES.iter().map(percentile);
            let head = [run.meta.variant.clone(), latency.name.clone(), grouped(latency.count())];
            let row = head.into_iter().chain([Latency::min, Latency::mean].map(|of| seconds(of(latency))));
            table.row(row.chain(percentiles).chain([seconds(latency.max())]));
        }
    }
    table
}

fn link_table(summaries: &[(&RunRecord, RunSummary)]) -> Table {
    let mut table = Table::new(&[
        ("run", Align::Left),
        ("link", Align::Left),
        ("throughput", Align::Right),
        ("offered", Align::Right),
        ("delivered", Align::Right),
        ("in flight", Align::Right),
        ("copies", Align::Right),
        ("longest queue", Align::Right),
        ("dropped", Align::Left),
    ]);
    for (run, summary) in summaries {
        for link in &summary.links {
            let drops = link.drops.iter().map(|(reason, count)| format!("{} {reason}", grouped(*count)));
            table.row([
                run.meta.variant.clone(),
                link.name.clone(),
                Unit::BitsPerSecond.format(link.throughput, 4),
                grouped(link.offered),
                grouped(link.delivered),
                grouped(link.in_flight),
                if link.duplicated > 0 { grouped(link.duplicated) } else { String::new() },
                format!("{} packets", grouped(link.longest_queue)),
                drops.collect::<Vec<_>>().join(", "),
            ]);
        }
    }
    table.without_empty_columns()
}

pub(super) fn published_table(published: &[PublishedFigure]) -> Table {
    let mut table = Table::new(&[
        ("figure", Align::Left),
        ("published", Align::Right),
        ("simulated", Align::Right),
        ("ratio", Align::Right),
        ("assumption", Align::Left),
        ("source", Align::Left),
    ]);
    for figure in published {
        // The same prefix for both, so that they compare at a glance.
        let prefix = figure.unit.prefix(figure.published);
        table.row([
            figure.name.clone(),
            prefix.format(figure.published, 4),
            figure.simulated.map_or("–".to_owned(), |simulated| prefix.format(simulated, 4)),
            figure.ratio().map_or("–".to_owned(), |ratio| fixed(ratio, 3)),
            figure.assumption.clone(),
            figure.source.clone(),
        ]);
    }
    table.without_empty_columns()
}

fn expectation_table(report: &Report) -> Table {
    let mut table = Table::new(&[
        ("run", Align::Left),
        ("expected", Align::Left),
        ("found", Align::Right),
        ("result", Align::Left),
    ]);
    for run in &report.runs {
        for expectation in &run.expectations {
            let result = if expectation.passed { "ok" } else { FAILED };
            let cells = [&run.meta.variant, &expectation.wanted, &expectation.found];
            table.row(cells.into_iter().cloned().chain([result.to_owned()]));
        }
    }
    table
}

fn seconds(duration: Duration) -> String {
    Unit::Seconds.format(duration.as_nanos() as f64 / 1e9, 4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::{FailedConnection, fixture};

    #[test]
    fn the_summary_of_two_runs() {
        let text = summary_text(&fixture::report()).replace('\u{202f}', " ");
        assert_eq!(text, GOLDEN);
    }

    #[test]
    fn the_first_connections_that_failed_are_told() {
        let mut report = fixture::report();
        let failed = |number| FailedConnection { name: format!("bulk {number}"), reason: "reset".to_owned() };
        report.runs[1].failed = (1..=12).map(failed).collect();
        let text = summary_text(&report);
        assert!(text.contains("\nmptcp: connections that failed\n  bulk 1: reset\n  bulk 2: reset\n"), "{text}");
        assert!(text.contains("\n  bulk 10: reset\n  and 2 more\n\nRuns\n"), "{text}");
    }

    const GOLDEN: &str = "\
two paths & \"a\" <script>
scenario two-paths, version 0.1.0

Runs
run     seed  connections  finished  delivered     time       goodput  reorder buffer  packets
tcp p1    42            1         1   2.000 MB  4.000 s  4.000 Mbit/s         4.00 kB  all accounted for
mptcp     42            1         1   3.000 MB  4.000 s  6.000 Mbit/s         4.00 kB  all accounted for

Paths
run     kind   path  subflows   payload   share  mean srtt  losses  retransmitted  re-injected
tcp p1  tcp    p1           1  2.000 MB   100 %   10.00 ms       4              4          0 B
mptcp   mptcp  p1           1  2.000 MB  66.7 %   10.00 ms       4              4          0 B
mptcp   mptcp  p2           1  1.000 MB  33.3 %   30.00 ms       4              4          0 B

Latency
run     latency  samples       min      mean       p50       p90       p99     p99.9   p99.99      max
tcp p1  request    1 000  1.000 ms  500.5 ms  500.2 ms  900.2 ms  990.4 ms  999.3 ms  1.000 s  1.000 s
mptcp   request    1 000  1.000 ms  500.5 ms  500.2 ms  900.2 ms  990.4 ms  999.3 ms  1.000 s  1.000 s

Links
run     link     throughput  offered  delivered  in flight  longest queue  dropped
tcp p1  p1 up  1.179 Mbit/s      400        393          2      4 packets  5 queue full
mptcp   p1 up  1.179 Mbit/s      400        393          2      4 packets  5 queue full
mptcp   p2 up  1.179 Mbit/s      400        393          2      4 packets  5 queue full

Published and simulated
figure                      published     simulated  ratio  assumption           source
goodput of <both> paths  6.200 Mbit/s  6.000 Mbit/s  0.968  queue of 50 packets  a paper

Expectations
run     expected                found  result
tcp p1  goodput >= 5 Mbit/s  6 Mbit/s  FAILED
mptcp   goodput >= 5 Mbit/s  6 Mbit/s  ok

tcp p1: mptcp sim run two-paths.toml --seed 42

mptcp: mptcp sim run two-paths.toml --seed 42
";
}
