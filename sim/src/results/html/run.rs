//! The page of a report.

use super::charts::{Palette, of_run};
use super::compare::comparison;
use super::markup::Markup;
use super::plot::Chart;
use crate::results::record::{Report, RunRecord};
use crate::results::tables;
use crate::results::unit::grouped;

/// Points of all curves of a page. A point takes some six bytes.
const POINTS_PER_PAGE: usize = 160_000;

pub(super) fn body(report: &Report) -> Markup {
    let palette = Palette::new(&report.runs);
    let comparison = comparison(report);
    let runs: Vec<_> = report.runs.iter().map(|run| (run, of_run(run, &palette))).collect();
    let charts = comparison.len() + runs.iter().map(|(_, charts)| charts.len()).sum::<usize>();
    let budget = POINTS_PER_PAGE / charts.max(1);
    let mut out = Markup::new();
    let version = report.runs.first().map_or("", |run| run.meta.version.as_str());
    super::header(&mut out, &report.title, &report.description, version);
    out.open("main", &[]);
    verdict(&mut out, report);
    overview(&mut out, report, &comparison, budget);
    super::published(&mut out, &report.published);
    figures(&mut out, report);
    super::assumptions(&mut out, report.runs.iter().flat_map(|run| &run.meta.assumptions));
    for (run, charts) in runs {
        out.open("section", &[]);
        run_heading(&mut out, run);
        failures(&mut out, run);
        let marks = super::charts::marks(run);
        let marked: Vec<_> = charts.into_iter().map(|chart| Chart { marks: &marks, ..chart }).collect();
        draw(&mut out, &marked, budget);
        mark_list(&mut out, run);
        details(&mut out, run);
        out.close();
    }
    out.close();
    out
}

fn draw(out: &mut Markup, charts: &[Chart<'_>], budget: usize) {
    out.open("div", &[("class", "charts")]);
    for chart in charts {
        out.append(chart.draw(budget));
    }
    out.close();
}

fn verdict(out: &mut Markup, report: &Report) {
    if let Some(interruption) = report.interruption() {
        out.element("p", &[("class", "verdict bad")], &interruption);
    }
    let expectations = report.runs.iter().flat_map(|run| &run.expectations);
    let (total, failed) =
        expectations.fold((0, 0), |(total, failed), one| (total + 1, failed + usize::from(!one.passed)));
    if total == 0 {
        return;
    }
    let (class, text) = match failed {
        0 => ("verdict good", format!("All {total} expectations came true.")),
        _ => ("verdict bad", format!("{failed} of {total} expectations did not come true.")),
    };
    out.element("p", &[("class", class)], &text);
}

/// The figures and the charts that say most.
fn overview(out: &mut Markup, report: &Report, comparison: &[Chart<'_>], budget: usize) {
    out.open("section", &[]);
    for (heading, table) in tables::tables(report).iter().filter(|(heading, _)| *heading == tables::RUNS) {
        out.element("h2", &[], heading);
        super::table(out, table);
    }
    draw(out, comparison, budget);
    out.close();
}

fn figures(out: &mut Markup, report: &Report) {
    out.open("section", &[]);
    for (heading, table) in tables::tables(report) {
        let has_its_own_section = heading == tables::RUNS || heading == tables::PUBLISHED;
        if !table.rows.is_empty() && !has_its_own_section {
            out.element("h3", &[], heading);
            super::table(out, &table);
        }
    }
    out.close();
}

fn run_heading(out: &mut Markup, run: &RunRecord) {
    out.element("h2", &[], &run.meta.variant);
    super::command(out, &run.meta.command);
    out.open("dl", &[]);
    let seed = ("seed".to_owned(), run.meta.seed.to_string());
    let parameters = run.meta.parameters.iter().map(|(name, value)| (name.clone(), value.clone()));
    for (name, value) in [seed].into_iter().chain(parameters) {
        out.open("div", &[]);
        out.element("dt", &[], &name);
        out.element("dd", &[], &value);
        out.close();
    }
    out.close();
    if let Some(note) = run.series_note() {
        out.element("p", &[("class", "note")], &note);
    }
}

fn failures(out: &mut Markup, run: &RunRecord) {
    let lines = run.failure_lines();
    if lines.is_empty() {
        return;
    }
    out.element("p", &[("class", "verdict bad")], "Connections failed:");
    out.open("ul", &[]);
    for line in lines {
        out.element("li", &[], &line);
    }
    out.close();
}

fn mark_list(out: &mut Markup, run: &RunRecord) {
    const SHOWN: usize = 40;
    if run.marks.is_empty() {
        return;
    }
    out.open("ol", &[("class", "marks")]);
    for (_, text) in super::charts::marks(run).iter().take(SHOWN) {
        out.element("li", &[], text);
    }
    out.close();
    if let Some(more @ 1..) = run.marks.len().checked_sub(SHOWN) {
        out.element("p", &[("class", "note")], &format!("and {more} more"));
    }
}

fn details(out: &mut Markup, run: &RunRecord) {
    if run.counters.is_empty() {
        return;
    }
    out.open("details", &[]);
    out.element("summary", &[], "Counters");
    out.open("dl", &[]);
    for (name, value) in &run.counters {
        out.open("div", &[]);
        out.element("dt", &[], name);
        out.element("dd", &[], &grouped(*value));
        out.close();
    }
    out.close();
    out.close();
}
