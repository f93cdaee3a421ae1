//! The default scheduler beside the best one of each table.

use std::fmt::Write as _;

use mptcp_core::SchedulerKind;

use super::questions::OURS;
use super::{Finding, QUESTIONS, Row, Sheet};
use crate::results::Better;

/// By how much a median may be behind the best one and be as good.
const CLOSE: f64 = 0.01;

/// Where the default scheduler is the best, and where it is not: a line for each table with others beside it.
pub(super) fn summary(findings: &[Finding]) -> String {
    let mut text = String::from(
        "| Section | Figure | Cases | Best, or within 1 % | Mean part behind the best | Furthest behind |\n\
         | --- | --- | ---: | ---: | ---: | --- |\n",
    );
    for question in QUESTIONS {
        let Some(finding) = findings.iter().find(|finding| finding.question == question.name) else { continue };
        for sheet in &finding.sheets {
            if let Some(standing) = Standing::of(sheet) {
                // Writing to a string cannot fail.
                let _ = writeln!(
                    text,
                    "| {} | {}, `{}` |{}",
                    question.title,
                    sheet.caption,
                    sheet.scenario,
                    standing.cells(sheet)
                );
            }
        }
    }
    text
}

/// How the default scheduler does in the rows of a table.
struct Standing<'a> {
    gaps: Vec<Gap<'a>>,
}

/// How far the default is behind the best one in a row.
struct Gap<'a> {
    case: &'a str,
    /// Median of the default.
    ours: f64,
    best: f64,
    /// Which is the best.
    by: &'a str,
    /// What is the better part of the two over the other: 1 if the default is the best, else more.
    factor: f64,
}

impl<'a> Standing<'a> {
    /// `None` if there is nothing to compare: one scheduler, or no medians above 0.
    fn of(sheet: &'a Sheet) -> Option<Self> {
        let gaps: Vec<Gap<'a>> = sheet.rows.iter().filter_map(|row| gap(sheet, row)).collect();
        (!gaps.is_empty()).then_some(Self { gaps })
    }

    #[expect(clippy::disallowed_methods, reason = "the mean is shown to a tenth of a percent")]
    fn cells(&self, sheet: &Sheet) -> String {
        let cases = self.gaps.len();
        let close = self.gaps.iter().filter(|gap| gap.factor <= 1.0 + CLOSE).count();
        let logarithms: f64 = self.gaps.iter().map(|gap| gap.factor.ln()).sum();
        let mean = (logarithms / cases as f64).exp() - 1.0;
        let furthest = self.gaps.iter().max_by(|a, b| a.factor.total_cmp(&b.factor));
        let furthest = furthest.filter(|gap| gap.factor > 1.0).map(|gap| {
            let number = |value| sheet.unit.format(value, 4);
            format!("{}: {}, {} has {}", gap.case, number(gap.ours), gap.by, number(gap.best))
        });
        format!(" {cases} | {close} | {:.1} % | {} |", 100.0 * mean, furthest.unwrap_or_default())
    }
}

fn gap<'a>(sheet: &'a Sheet, row: &'a Row) -> Option<Gap<'a>> {
    let medians = || {
        let columns = sheet.columns.iter().map(String::as_str).zip(&row.cells);
        columns.filter_map(|(column, cell)| cell.map(|cell| (column, cell.median)))
    };
    let is_other = |column: &str| column != OURS && SchedulerKind::ALL.iter().any(|kind| kind.name() == column);
    let (_, ours) = medians().find(|(column, _)| *column == OURS)?;
    let others = medians().filter(|(column, _)| is_other(column));
    let (by, best) = match sheet.better {
        Better::Higher => others.max_by(|a, b| a.1.total_cmp(&b.1))?,
        Better::Lower => others.min_by(|a, b| a.1.total_cmp(&b.1))?,
    };
    let factor = match sheet.better {
        Better::Higher => best / ours,
        Better::Lower => ours / best,
    };
    let (factor, by, best) = if factor > 1.0 { (factor, by, best) } else { (1.0, OURS, ours) };
    (ours > 0.0 && best > 0.0).then_some(Gap { case: &row.case, ours, best, by, factor })
}
