//! The page of a comparison.

use super::compare::{goodput_of_runs, latency_charts};
use super::markup::Markup;
use super::plot::{Axis, Chart, Curve, Form, Stroke};
use crate::results::comparison::{CaseFigures, Comparison};
use crate::results::unit::Unit;

/// Points of all curves of a chart. A point takes some six bytes.
const POINTS_PER_CHART: usize = 6_000;

pub(super) fn body(comparison: &Comparison) -> Markup {
    let mut out = Markup::new();
    let version = comparison.runs().next().map_or("", |run| run.meta.version.as_str());
    super::header(&mut out, &comparison.title, &comparison.description, version);
    out.open("main", &[]);
    out.open("section", &[]);
    super::table(&mut out, &comparison.table());
    out.element("p", &[("class", "note")], &format!("{}.", Comparison::legend()));
    let goodput = by_case(comparison, "Goodput", "more is better", Unit::MebibytesPerSecond, |one| one.goodput);
    let note = "less is better";
    let latency = by_case(comparison, "99th percentile of the latency", note, Unit::Seconds, |one| one.latency_p99);
    draw(&mut out, [goodput, latency]);
    out.close();
    super::assumptions(&mut out, comparison.runs().flat_map(|run| &run.meta.assumptions));
    for case in &comparison.cases {
        out.open("section", &[]);
        out.element("h2", &[], &case.name);
        // The tail of the latency says more than the whole.
        draw(&mut out, goodput_of_runs(&case.report).into_iter().chain(latency_charts(&case.report).pop()));
        out.open("details", &[]);
        out.element("summary", &[], "Commands that repeat these runs, with the plots of each path");
        for run in &case.report.runs {
            super::command(&mut out, &run.meta.command);
        }
        out.close();
        out.close();
    }
    out.close();
    out
}

fn draw<'a>(out: &mut Markup, charts: impl IntoIterator<Item = Chart<'a>>) {
    out.open("div", &[("class", "charts")]);
    for chart in charts {
        out.append(chart.draw(POINTS_PER_CHART));
    }
    out.close();
}

/// Bars side by side, one for each way in each case.
fn by_case(
    comparison: &Comparison,
    title: &str,
    note: &str,
    unit: Unit,
    value: fn(&CaseFigures) -> f64,
) -> Chart<'static> {
    let names: Vec<String> = comparison.cases.iter().map(|case| case.name.clone()).collect();
    let curve = |(colour, way): (usize, &str)| {
        let of_case = |case: &crate::results::Case| case.figures.get(colour).map_or(f64::NAN, value);
        let points = comparison.cases.iter().enumerate().map(|(index, case)| (index as f64, of_case(case)));
        Curve { label: way.to_owned(), colour, stroke: Stroke::Solid, points: points.collect() }
    };
    let curves: Vec<Curve> = comparison.ways().enumerate().map(curve).collect();
    let values = curves.iter().flat_map(|curve| &curve.points).map(|(_, value)| *value);
    let max = values.filter(|value| value.is_finite()).fold(0.0, f64::max);
    Chart {
        title: title.to_owned(),
        note: note.to_owned(),
        x: Axis::of_names(&names),
        x_title: "",
        y: Axis::from_zero(max, unit, 5),
        curves,
        form: Form::Bars,
        marks: &[],
    }
}
