//! The page of a sweep.

use super::markup::Markup;
use super::plot::{self, Chart, Curve, Form, HeatCell, HeatMap, HeatScale, Stroke};
use crate::results::sweep::{Axis, Better, Cell, Metric, Spread, SweepRecord};

/// Points of a chart; there are far fewer.
const POINTS: usize = 10_000;

pub(super) fn body(sweep: &SweepRecord) -> Markup {
    let cells = sweep.cells();
    let mut out = Markup::new();
    super::header(&mut out, &sweep.title, &sweep.description, &sweep.version);
    out.open("main", &[]);
    verdict(&mut out, sweep);
    super::published(&mut out, &sweep.published);
    super::assumptions(&mut out, sweep.assumptions.iter());
    for (index, metric) in sweep.metrics.iter().enumerate() {
        out.open("section", &[]);
        metric_section(&mut out, sweep, &cells, index, metric);
        out.close();
    }
    failures(&mut out, sweep);
    out.open("div", &[("id", "cell"), ("hidden", "hidden")]);
    out.close();
    out.close();
    out
}

fn verdict(out: &mut Markup, sweep: &SweepRecord) {
    let failed = sweep.points.iter().filter(|point| !point.failures.is_empty()).count();
    let done = format!("{} of {} runs are done", sweep.points.len(), sweep.planned);
    let (class, text) = match failed {
        0 => ("verdict good", format!("{done}; none failed.")),
        _ => ("verdict bad", format!("{done}; {failed} failed.")),
    };
    out.element("p", &[("class", class)], &text);
}

fn metric_section(out: &mut Markup, sweep: &SweepRecord, cells: &[Cell<'_>], index: usize, metric: &Metric) {
    out.element("h2", &[], &metric.name);
    let spreads: Vec<_> = cells.iter().map(|cell| cell.spread(index, metric.better)).collect();
    let values = || spreads.iter().flatten().map(|spread| spread.median);
    let (min, max) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
    if min > max {
        out.element("p", &[("class", "note")], "No run gave a value.");
        return;
    }
    let scale = HeatScale::new(min, max, metric.unit);
    let better = match metric.better {
        Better::Higher => "higher is better",
        Better::Lower => "lower is better",
    };
    let unit = if scale.caption().is_empty() { String::new() } else { format!(" in {}", scale.caption()) };
    let frame = if cells.iter().any(|cell| cell.failed() > 0) { " A red frame: some of its runs failed." } else { "" };
    let note = format!(
        "Median of the seeds{unit}; {better}. Choose a cell to see its range and the command that repeats it.{frame}"
    );
    out.element("p", &[("class", "note")], &note);
    if let Some(chart) = curve(sweep, &spreads, cells, metric) {
        out.open("div", &[("class", "charts")]);
        out.append(chart.draw(POINTS));
        out.close();
    }
    out.append(scale.draw());
    out.open("div", &[("class", "maps"), ("data-metric", &metric.name)]);
    for map in maps(sweep, cells, &spreads, metric) {
        out.append(map.draw(&scale));
    }
    cell_texts(out, sweep, cells, &spreads, (index, metric));
    out.close();
}

/// Something that a spread tells.
type Quantity = fn(&Spread<'_>) -> f64;

/// With a single axis a curve shows more than a map with a single row.
fn curve<'a>(
    sweep: &'a SweepRecord,
    spreads: &[Option<Spread<'_>>],
    cells: &[Cell<'_>],
    metric: &Metric,
) -> Option<Chart<'a>> {
    let [axis] = &*sweep.axes else { return None };
    let curves = |(label, stroke, value): (&str, Stroke, Quantity)| {
        let points = cells.iter().zip(spreads).filter_map(|(cell, spread)| {
            let position = *cell.position.first()?;
            Some((position as f64, spread.as_ref().map_or(f64::NAN, value)))
        });
        Curve { label: label.to_owned(), colour: 0, stroke, points: points.collect() }
    };
    let max = spreads.iter().flatten().map(|spread| spread.max).fold(0.0, f64::max);
    let all: [(&str, Stroke, Quantity); 3] = [
        ("median", Stroke::Solid, |spread| spread.median),
        ("largest", Stroke::Dashed, |spread| spread.max),
        ("smallest", Stroke::Dotted, |spread| spread.min),
    ];
    Some(Chart {
        title: format!("{} by {}", metric.name, axis.name),
        note: String::new(),
        x: plot::Axis::of_names(&axis.values),
        x_title: &axis.name,
        y: plot::Axis::from_zero(max, metric.unit, 5),
        curves: all.map(curves).into(),
        form: Form::Lines,
        marks: &[],
    })
}

/// One map for each combination of the axes beyond the first two.
fn maps<'a>(
    sweep: &'a SweepRecord,
    cells: &[Cell<'_>],
    spreads: &[Option<Spread<'_>>],
    metric: &Metric,
) -> Vec<HeatMap<'a>> {
    let (x_title, x) = values(sweep.axes.first());
    let (y_title, y) = values(sweep.axes.get(1));
    let mut maps: Vec<(Vec<usize>, HeatMap<'a>)> = Vec::new();
    for (id, (cell, spread)) in cells.iter().zip(spreads).enumerate() {
        let beyond: Vec<usize> = cell.position.iter().skip(2).copied().collect();
        let position = maps.iter().position(|(of, _)| *of == beyond).unwrap_or_else(|| {
            let title = sweep.describe(&cell.position).split_off(sweep.axes.len().min(2)).join(", ");
            maps.push((beyond, HeatMap { title, x_title, x, y_title, y, cells: vec![None; x.len() * y.len()] }));
            maps.len() - 1
        });
        let (column, row) = (cell.position.first().unwrap_or(&0), cell.position.get(1).unwrap_or(&0));
        let Some(place) = maps[position].1.cells.get_mut(row * x.len() + column) else { continue };
        let value = spread.map(|spread| spread.median);
        let text = value.map_or_else(|| "no run gave a value".to_owned(), |value| metric.unit.format(value, 4));
        let tooltip = format!("{}: {} {text}", sweep.describe(&cell.position).join(", "), metric.name);
        *place = Some(HeatCell { value, failed: cell.failed() > 0, id, tooltip });
    }
    // Cells come in the order of their positions, in which the maps are mixed.
    maps.sort_by(|a, b| a.0.cmp(&b.0));
    maps.into_iter().map(|(_, map)| map).collect()
}

fn values(axis: Option<&Axis>) -> (&str, &[String]) {
    static ONE: [String; 1] = [String::new()];
    axis.map_or(("", &ONE), |axis| (&axis.name, &axis.values))
}

/// What the script shows for each cell, in the order of their numbers; hidden until then.
fn cell_texts(
    out: &mut Markup,
    sweep: &SweepRecord,
    cells: &[Cell<'_>],
    spreads: &[Option<Spread<'_>>],
    (index, metric): (usize, &Metric),
) {
    for (id, (cell, spread)) in cells.iter().zip(spreads).enumerate() {
        let id = id.to_string();
        out.open("div", &[("class", "cell-text"), ("data-for", &id), ("hidden", "hidden")]);
        out.element("h3", &[], &sweep.describe(&cell.position).join(", "));
        let runs = match cell.points.len() {
            1 => "1 run".to_owned(),
            runs => format!("{runs} runs"),
        };
        let without: Vec<_> = cell.without(index).collect();
        let runs = match without.len() {
            0 => runs,
            without => format!("{runs}, {without} without a value"),
        };
        let failed = match cell.failed() {
            0 => String::new(),
            failed => format!(", {failed} failed"),
        };
        let range = spread.map(|spread| {
            let [min, median, max] = [spread.min, spread.median, spread.max].map(|value| metric.unit.format(value, 4));
            format!("median {median}, from {min} to {max}; ")
        });
        out.element("p", &[], &format!("{}: {}{runs}{failed}", metric.name, range.unwrap_or_default()));
        // What gave no value is worse than any.
        let worst = without.first().copied().or(spread.map(|spread| spread.worst));
        if let Some(spread) = spread.filter(|spread| worst.is_some_and(|worst| worst.seed != spread.typical.seed)) {
            out.element("p", &[("class", "note")], &format!("the median, seed {}", spread.typical.seed));
            super::command(out, &spread.typical.command);
        }
        if let Some(worst) = worst {
            if cell.points.len() > 1 {
                out.element("p", &[("class", "note")], &format!("the worst, seed {}", worst.seed));
            }
            super::command(out, &worst.command);
        }
        out.close();
    }
}

fn failures(out: &mut Markup, sweep: &SweepRecord) {
    const SHOWN: usize = 30;
    let failed = sweep.sorted_points().into_iter().filter(|point| !point.failures.is_empty());
    let failed: Vec<_> = failed.collect();
    if failed.is_empty() {
        return;
    }
    out.open("section", &[]);
    out.element("h2", &[], "Failed runs");
    for point in failed.iter().take(SHOWN) {
        let place = sweep.describe(&point.position).join(", ");
        out.element("p", &[], &format!("{place}, seed {}: {}", point.seed, point.failures.join("; ")));
        super::command(out, &point.command);
    }
    if let Some(more @ 1..) = failed.len().checked_sub(SHOWN) {
        out.element("p", &[("class", "note")], &format!("and {more} more, all in summary.json"));
    }
    out.close();
}
