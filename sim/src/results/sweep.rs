//! The results of many runs of one scenario with different parameters and seeds.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::record::PublishedFigure;
use super::table::{Align, Table, printable};
use super::tables::{PUBLISHED, published_table};
use super::unit::Unit;

/// A sweep: one line per run.
#[derive(Clone, Debug, Default)]
pub struct SweepRecord {
    /// Heading, usually the name of the scenario.
    pub title: String,
    /// What the scenario is about, for people; may be empty.
    pub description: String,
    /// Version of the simulator.
    pub version: String,
    /// What the scenario had to assume, one sentence each.
    pub assumptions: Vec<String>,
    /// What varies besides the seed. The first two make the maps, the others tell the maps apart.
    pub axes: Vec<Axis>,
    /// What was measured in every run.
    pub metrics: Vec<Metric>,
    /// The runs that are done, in any order.
    pub points: Vec<SweepPoint>,
    /// How many runs there were to be.
    pub planned: usize,
    /// Results published elsewhere beside those found here.
    pub published: Vec<PublishedFigure>,
}

/// A parameter that varies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Axis {
    /// Its name, such as `delay`.
    pub name: String,
    /// Its values with their units, in the order in which to show them.
    pub values: Vec<String>,
}

/// A quantity that is measured in every run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name, such as `goodput`.
    pub name: String,
    /// Its unit.
    pub unit: Unit,
    /// Which values are the good ones.
    pub better: Better,
}

/// Which values of a metric are the good ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// Large ones, as of goodput.
    Higher,
    /// Small ones, as of latency.
    Lower,
}

/// One run of a sweep.
#[derive(Clone, Debug, PartialEq)]
pub struct SweepPoint {
    /// For every axis the index of its value.
    pub position: Vec<usize>,
    /// Seed of the run.
    pub seed: u64,
    /// The command that repeats exactly this run, free of anything that depends on the machine.
    pub command: String,
    /// For every metric its value; `None` if the run did not give one.
    pub metrics: Vec<Option<f64>>,
    /// Expectations that did not come true, one sentence each.
    pub failures: Vec<String>,
}

/// All runs with the same parameters, in the order of their seeds.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell<'a> {
    /// For every axis the index of its value.
    pub position: Vec<usize>,
    /// The runs, at least one.
    pub points: Vec<&'a SweepPoint>,
}

/// How the values of one metric spread over runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread<'a> {
    /// The smallest.
    pub min: f64,
    /// The middle one; of an even number the lower of the two, so that it belongs to a run.
    pub median: f64,
    /// The largest.
    pub max: f64,
    /// The run of the median.
    pub typical: &'a SweepPoint,
    /// The run with the worst value.
    pub worst: &'a SweepPoint,
}

impl SweepRecord {
    /// The runs in the order of their parameters and seeds, whichever order they ended in.
    pub fn sorted_points(&self) -> Vec<&SweepPoint> {
        let mut points: Vec<_> = self.points.iter().collect();
        points.sort_by(|a, b| a.position.cmp(&b.position).then(a.seed.cmp(&b.seed)));
        points
    }

    /// The cells that have at least one run, in the order of their parameters.
    pub fn cells(&self) -> Vec<Cell<'_>> {
        let mut cells: BTreeMap<&[usize], Vec<&SweepPoint>> = BTreeMap::new();
        for point in self.sorted_points() {
            cells.entry(&point.position).or_default().push(point);
        }
        cells.into_iter().map(|(position, points)| Cell { position: position.to_vec(), points }).collect()
    }

    /// The name and value of every axis at a position, such as `delay = 5ms`.
    pub fn describe(&self, position: &[usize]) -> Vec<String> {
        let value = |(axis, index): (&Axis, &usize)| {
            format!("{} = {}", axis.name, axis.values.get(*index).map_or("?", String::as_str))
        };
        self.axes.iter().zip(position).map(value).collect()
    }
}

impl<'a> Cell<'a> {
    /// The runs that gave no value of metric `index`.
    pub fn without(&self, index: usize) -> impl Iterator<Item = &'a SweepPoint> {
        let value = move |point: &SweepPoint| point.metrics.get(index).copied().flatten();
        self.points.iter().copied().filter(move |point| value(point).is_none_or(|value| !value.is_finite()))
    }

    /// How metric `index` spreads over the runs; `None` if no run gave a value.
    pub fn spread(&self, index: usize, better: Better) -> Option<Spread<'a>> {
        let value = |point: &&'a SweepPoint| {
            let value = point.metrics.get(index).copied().flatten().filter(|value| value.is_finite())?;
            Some((value, *point))
        };
        let mut values: Vec<(f64, &SweepPoint)> = self.points.iter().filter_map(value).collect();
        values.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (first, last) = (*values.first()?, *values.last()?);
        let median = values[(values.len() - 1) / 2];
        let worst = match better {
            Better::Higher => first.1,
            Better::Lower => last.1,
        };
        Some(Spread { min: first.0, median: median.0, max: last.0, typical: median.1, worst })
    }

    /// How many of the runs did not meet all expectations.
    pub fn failed(&self) -> usize {
        self.points.iter().filter(|point| !point.failures.is_empty()).count()
    }
}

/// The table for the terminal: one row per cell, with the median and the range of every metric.
pub fn sweep_text(sweep: &SweepRecord) -> String {
    let mut text = format!("{}\n", printable(&sweep.title));
    let _ = writeln!(text, "{} of {} runs done, version {}", sweep.points.len(), sweep.planned, sweep.version);
    let _ = write!(text, "\n{}", cell_table(sweep));
    let published = published_table(&sweep.published);
    if !published.rows.is_empty() {
        let _ = write!(text, "\n{PUBLISHED}\n{published}");
    }
    for point in sweep.sorted_points() {
        for failure in &point.failures {
            let _ = writeln!(text, "\nFAILED: {}\n  {}", printable(failure), printable(&point.command));
        }
    }
    text
}

fn cell_table(sweep: &SweepRecord) -> Table {
    let mut columns: Vec<(&str, Align)> = sweep.axes.iter().map(|axis| (axis.name.as_str(), Align::Right)).collect();
    columns.push(("runs", Align::Right));
    let ranges: Vec<String> = sweep.metrics.iter().map(|metric| format!("{} (min – max)", metric.name)).collect();
    for (metric, range) in sweep.metrics.iter().zip(&ranges) {
        columns.extend([(metric.name.as_str(), Align::Right), (range.as_str(), Align::Left)]);
    }
    columns.push(("failed", Align::Right));
    let mut table = Table::new(&columns);
    for cell in sweep.cells() {
        let values = sweep.axes.iter().zip(&cell.position).map(|(axis, index)| axis.values.get(*index).cloned());
        let mut row: Vec<String> = values.map(Option::unwrap_or_default).collect();
        row.push(cell.points.len().to_string());
        for (index, metric) in sweep.metrics.iter().enumerate() {
            match cell.spread(index, metric.better) {
                Some(spread) => {
                    row.push(metric.unit.format(spread.median, 4));
                    let (min, max) = (metric.unit.format(spread.min, 3), metric.unit.format(spread.max, 3));
                    row.push(if cell.points.len() > 1 { format!("{min} – {max}") } else { String::new() });
                }
                None => row.extend(["–".to_owned(), String::new()]),
            }
        }
        row.push(if cell.failed() > 0 { cell.failed().to_string() } else { String::new() });
        table.row(row);
    }
    table.without_empty_columns()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::fixture;

    #[test]
    fn a_cell_knows_its_typical_and_its_worst_run() {
        let sweep = fixture::sweep();
        let cells = sweep.cells();
        let goodput = cells[0].spread(0, Better::Higher).unwrap();
        assert_eq!((goodput.min, goodput.median, goodput.max), (9e6, 9.2e6, 9.5e6));
        assert_eq!((goodput.typical.seed, goodput.worst.seed), (3, 1));
        assert_eq!(cells[0].spread(0, Better::Lower).unwrap().worst.seed, 2);
        assert_eq!(cells[0].spread(7, Better::Lower), None);
    }

    #[test]
    fn the_order_in_which_runs_end_does_not_show() {
        let sweep = fixture::sweep();
        let mut other = sweep.clone();
        other.points.reverse();
        assert_eq!(sweep_text(&sweep), sweep_text(&other));
        assert_eq!(crate::results::sweep_json(&sweep), crate::results::sweep_json(&other));
        assert_eq!(crate::results::html::sweep(&sweep), crate::results::html::sweep(&other));
    }

    #[test]
    fn the_table_tells_ranges_and_failures() {
        let text = sweep_text(&fixture::sweep());
        assert!(text.contains(" 10Mbit    5ms  random     3  9.200 Mbit/s  9.00 Mbit/s – 9.50 Mbit/s"), "{text}");
        assert!(text.contains("FAILED: goodput 1 Mbit/s < 2 Mbit/s\n  mptcp sim run grid.toml"), "{text}");
    }
}
