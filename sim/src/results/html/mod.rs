//! Reports as one page that needs nothing else: no network, no other file.
//!
//! Plots are SVG within the page. A small script adds the values under the pointer, hides curves and shows the command
//! that repeats a cell of a sweep; without it everything is still there to see.

mod charts;
mod compare;
mod comparison;
mod markup;
mod plot;
mod run;
mod standalone;
mod sweep;

#[cfg(test)]
mod tests;

use super::comparison::Comparison;
use super::record::{PublishedFigure, Report};
use super::sweep::SweepRecord;
use super::table::{Align, Table};
use super::tables::{FAILED, PUBLISHED, published_table};
use markup::Markup;
pub use standalone::lines;

/// The page of one run, or of several that are compared.
pub fn report(report: &Report) -> String {
    page(&report.title, run::body(report))
}

/// The page of ways that are compared in several cases.
pub fn comparison(comparison: &Comparison) -> String {
    page(&comparison.title, comparison::body(comparison))
}

/// The page of a sweep.
pub fn sweep(sweep: &SweepRecord) -> String {
    page(&sweep.title, sweep::body(sweep))
}

fn page(title: &str, body: Markup) -> String {
    let mut out = Markup::new();
    out.raw("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n");
    out.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n");
    out.raw("<meta name=\"color-scheme\" content=\"light dark\"/>\n");
    // Nothing is ever fetched, whatever a name in a scenario tries.
    out.raw("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; ");
    out.raw("style-src 'unsafe-inline'; script-src 'unsafe-inline'\"/>\n");
    out.element("title", &[], title);
    out.raw("\n<style>\n");
    out.raw(include_str!("page.css"));
    out.raw("</style>\n</head>\n<body>\n");
    out.append(body);
    out.raw("<script>\n");
    out.raw(include_str!("page.js"));
    out.raw("</script>\n</body>\n</html>\n");
    out.finish()
}

fn header(out: &mut Markup, title: &str, description: &str, version: &str) {
    out.open("header", &[]);
    out.element("h1", &[], title);
    if !description.is_empty() {
        out.element("p", &[], description);
    }
    out.element("p", &[("class", "note")], &format!("mptcp-sim {version}"));
    out.close();
}

fn table(out: &mut Markup, table: &Table) {
    out.open("div", &[("class", "scroll")]);
    out.open("table", &[("class", "figures")]);
    out.open("tr", &[]);
    for (name, align) in &table.columns {
        out.element("th", class_of(*align), name);
    }
    out.close();
    for row in &table.rows {
        out.open("tr", &[]);
        for (cell, (_, align)) in row.iter().zip(&table.columns) {
            let attributes = if cell == FAILED { &[("class", "bad")] } else { class_of(*align) };
            out.element("td", attributes, cell);
        }
        out.close();
    }
    out.close();
    out.close();
}

fn class_of(align: Align) -> markup::Attributes<'static> {
    match align {
        Align::Left => &[],
        Align::Right => &[("class", "number")],
    }
}

fn published(out: &mut Markup, figures: &[PublishedFigure]) {
    if figures.is_empty() {
        return;
    }
    out.open("section", &[]);
    out.element("h2", &[], PUBLISHED);
    table(out, &published_table(figures));
    if figures.iter().any(|figure| figure.simulated.is_none()) {
        out.element("p", &[("class", "note")], "–: no run here compares with it.");
    }
    out.close();
}

fn assumptions<'a>(out: &mut Markup, assumptions: impl Iterator<Item = &'a String>) {
    let mut told: Vec<&str> = Vec::new();
    for assumption in assumptions {
        if !told.contains(&assumption.as_str()) {
            told.push(assumption);
        }
    }
    if told.is_empty() {
        return;
    }
    out.open("section", &[]);
    out.element("h2", &[], "Assumptions");
    out.open("ul", &[]);
    for assumption in told {
        out.element("li", &[], assumption);
    }
    out.close();
    out.close();
}

/// A command that can be copied.
fn command(out: &mut Markup, command: &str) {
    if !command.is_empty() {
        out.open("p", &[("class", "command")]);
        out.element("code", &[], command);
        out.element("button", &[("type", "button"), ("class", "copy")], "copy");
        out.close();
    }
}
