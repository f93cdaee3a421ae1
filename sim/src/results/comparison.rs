//! Ways of doing the same, side by side in several cases.

use serde_json::json;

use super::record::{Report, RunRecord};
use super::table::{Align, Table};
use super::unit::Unit;

/// Ways of doing the same, side by side in several cases.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// Heading.
    pub title: String,
    /// What is compared, for people.
    pub description: String,
    /// The cases, each with the same ways.
    pub cases: Vec<Case>,
}

/// What the ways come to in one case.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its name.
    pub name: String,
    /// Of each run of the report, in its order.
    pub figures: Vec<CaseFigures>,
    /// The runs: their [variants](super::RunMeta::variant) are the ways.
    pub report: Report,
}

/// The figures of one way in one case; what is not a number was not found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CaseFigures {
    /// Mebibytes per second.
    pub goodput: f64,
    /// The 99th percentile, in seconds.
    pub latency_p99: f64,
}

impl Comparison {
    /// The ways, in the order of the columns.
    pub fn ways(&self) -> impl Iterator<Item = &str> {
        self.cases.iter().take(1).flat_map(|case| &case.report.runs).map(|run| run.meta.variant.as_str())
    }

    /// All runs, case after case.
    pub fn runs(&self) -> impl Iterator<Item = &RunRecord> {
        self.cases.iter().flat_map(|case| &case.report.runs)
    }

    /// A row for each case; for each way what is carried, and the 99th percentile of the latency.
    pub fn table(&self) -> Table {
        let mut columns = vec![("case", Align::Left)];
        for way in self.ways() {
            columns.extend([(way, Align::Right), ("p99", Align::Right)]);
        }
        let mut table = Table::new(&columns);
        for case in &self.cases {
            let figures = case.figures.iter().flat_map(|figures| {
                let goodput =
                    if figures.goodput.is_finite() { format!("{:.0}", figures.goodput) } else { "–".into() };
                [goodput, Unit::Seconds.format(figures.latency_p99, 3)]
            });
            table.row(std::iter::once(case.name.clone()).chain(figures));
        }
        table
    }

    /// What the columns of the [table](Self::table) are.
    pub(super) fn legend() -> &'static str {
        "MiB/s, and the 99th percentile of the latency of a command"
    }
}

/// A comparison as text.
pub fn comparison_text(comparison: &Comparison) -> String {
    let mut text = format!("{}\n{}:\n\n{}", comparison.title, Comparison::legend(), comparison.table());
    if comparison.cases.iter().flat_map(|case| &case.figures).any(|figures| figures.latency_p99.is_nan()) {
        text += "\n–: at the end more commands were under way than this percentile leaves out\n";
    }
    text
}

/// A comparison as JSON.
pub fn comparison_json(comparison: &Comparison) -> String {
    let number = |value: f64| if value.is_finite() { json!(value) } else { json!(null) };
    let case = |case: &Case| {
        let ways = case.report.runs.iter().zip(&case.figures).map(|(run, figures)| {
            json!({
                "way": run.meta.variant,
                "mebibytes_per_second": number(figures.goodput),
                "latency_p99_seconds": number(figures.latency_p99),
                "command": run.meta.command,
            })
        });
        json!({ "case": case.name, "ways": ways.collect::<Vec<_>>() })
    };
    let cases: Vec<_> = comparison.cases.iter().map(case).collect();
    let text = json!({ "title": comparison.title, "description": comparison.description, "cases": cases });
    format!("{text:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::fixture;

    fn comparison() -> Comparison {
        let report = fixture::report();
        let figures = vec![CaseFigures { goodput: 455.6, latency_p99: 0.0123 }; report.runs.len()];
        let case = Case { name: "one <slow>".to_owned(), figures, report };
        Comparison { title: "t".to_owned(), description: "d".to_owned(), cases: vec![case.clone(), case] }
    }

    #[test]
    fn a_row_for_each_case_and_two_columns_for_each_way() {
        let comparison = comparison();
        let text = comparison_text(&comparison);
        let rows: Vec<&str> = text.lines().filter(|line| line.contains("one <slow>")).collect();
        assert_eq!(rows.len(), 2, "{text}");
        assert!(rows[0].contains("456  12.3 ms"), "{text}");
        assert!(!text.contains('–'), "{text}");
        assert_eq!(comparison.table().columns.len(), 1 + 2 * comparison.ways().count());
    }

    #[test]
    fn what_was_not_found_is_null_and_said() {
        let mut comparison = comparison();
        comparison.cases[0].figures[0].latency_p99 = f64::NAN;
        let value: serde_json::Value = serde_json::from_str(&comparison_json(&comparison)).unwrap();
        assert!(value["cases"][0]["ways"][0]["latency_p99_seconds"].is_null());
        assert!(comparison_text(&comparison).ends_with("than this percentile leaves out\n"));
        assert_eq!(value["cases"][1]["ways"][0]["mebibytes_per_second"], 455.6);
    }

    #[test]
    fn the_page_has_bars_and_every_case() {
        let page = crate::results::html::comparison(&comparison());
        for part in ["one &lt;slow&gt;", "class=\"bar curve c0\"", "99th percentile", "<svg"] {
            assert!(page.contains(part), "{part}");
        }
    }
}
