//! From the runs of a sweep to a table with its verdicts.

use super::finding::{Cell, Row, Sheet, Verdict};
use super::{Bound, Case, Comparison, Limit};
use crate::results::{Better, SweepPoint, SweepRecord, Unit};

/// The table of a comparison.
pub(super) fn sheet(scenario: &str, comparison: &Comparison, record: &SweepRecord) -> Sheet {
    let find = |name: &str| {
        let metric = record.metrics.iter().position(|metric| metric.name == name);
        metric.unwrap_or_else(|| unreachable!("{scenario} measures {name}"))
    };
    let (metric, over) = (find(comparison.metric), comparison.over.map(find));
    let axis = record.axes.iter().position(|axis| axis.name == comparison.columns);
    let axis = axis.unwrap_or_else(|| unreachable!("{scenario} has an axis {}", comparison.columns));
    let (unit, better) = match &comparison.view {
        Some(view) => (view.unit, view.better),
        None if over.is_some() => (Unit::Plain, record.metrics[metric].better),
        None => (record.metrics[metric].unit, record.metrics[metric].better),
    };
    let is_shown = |column: &&String| comparison.shown.is_empty() || comparison.shown.contains(&column.as_str());
    let columns: Vec<String> = record.axes[axis].values.iter().filter(is_shown).cloned().collect();
    let mut rows: Vec<(Vec<usize>, Row)> = Vec::new();
    let cells = record.cells();
    for cell in &cells {
        let mut others = cell.position.clone();
        let heading = &record.axes[axis].values[others.remove(axis)];
        let Some(column) = columns.iter().position(|column| column == heading) else { continue };
        let names = record.axes.iter().enumerate().filter(|(index, _)| *index != axis);
        let case: Vec<(&str, &str)> =
            names.zip(&others).map(|((_, axis), value)| (&*axis.name, &*axis.values[*value])).collect();
        let at = rows.iter().position(|(known, _)| *known == others).unwrap_or_else(|| {
            let text = case.iter().map(|(_, value)| *value).collect::<Vec<_>>().join(", ");
            rows.push((others, Row { case: text, cells: vec![None; columns.len()], verdicts: Vec::new() }));
            rows.len() - 1
        });
        let value = |point: &&SweepPoint| {
            let value = point.metrics[metric]? / over.map_or(Some(1.0), |over| point.metrics[over])?;
            Some(comparison.view.as_ref().map_or(value, |view| (view.value)(&Case(&case), value)))
        };
        rows[at].1.cells[column] = Cell::of(cell.points.iter().filter_map(value).collect(), better);
    }
    let names: Vec<&crate::results::Axis> =
        record.axes.iter().enumerate().filter(|(index, _)| *index != axis).map(|(_, axis)| axis).collect();
    let runs = cells.iter().map(|cell| cell.points.len()).max().unwrap_or(0);
    let judged = rows.into_iter().map(|(position, mut row)| {
        let case: Vec<(&str, &str)> =
            names.iter().zip(&position).map(|(axis, value)| (&*axis.name, &*axis.values[*value])).collect();
        let verdicts = comparison.limits.iter().filter_map(|limit| {
            let judge = Judge { limit, case: Case(&case), columns: &columns, cells: &row.cells, better, runs };
            judge.verdict()
        });
        row.verdicts = verdicts.collect();
        row
    });
    Sheet {
        scenario: scenario.to_owned(),
        description: record.description.clone(),
        assumptions: record.assumptions.clone(),
        caption: comparison.caption.to_owned(),
        unit,
        better,
        rows: judged.collect(),
        plotted: comparison.plotted.iter().map(|column| (*column).to_owned()).collect(),
        columns,
    }
}

/// A demand and what it is about.
struct Judge<'a> {
    limit: &'a Limit,
    case: Case<'a>,
    columns: &'a [String],
    cells: &'a [Option<Cell>],
    better: Better,
    /// Runs of every cell: one that gave no value has failed.
    runs: usize,
}

impl Judge<'_> {
    fn verdict(&self) -> Option<Verdict> {
        let (limit, against) = self.bound()?;
        let cell = self.cell(self.limit.of).filter(|cell| cell.runs == self.runs);
        let found = cell.map(|cell| cell.get(self.limit.statistic));
        let met = found.is_some_and(|found| match self.better {
            Better::Higher => found >= limit,
            Better::Lower => found <= limit,
        });
        let of = self.limit.of.to_owned();
        Some(Verdict { of, statistic: self.limit.statistic, found, limit, against, met })
    }

    fn bound(&self) -> Option<(f64, Option<String>)> {
        let (share, among) = match self.limit.bound {
            Bound::Amount(amount) => return Some((amount, None)),
            Bound::ByCase(amount) => return amount(&self.case).map(|amount| (amount, None)),
            Bound::OfBest(share, among) => (share(&self.case)?, among),
        };
        let candidates = self.columns.iter().filter(|column| among.is_empty() || among.contains(&column.as_str()));
        let medians = candidates.filter_map(|column| Some((column, self.cell(column)?.median)));
        let (column, best) = match self.better {
            Better::Higher => medians.max_by(|a, b| a.1.total_cmp(&b.1)),
            Better::Lower => medians.min_by(|a, b| a.1.total_cmp(&b.1)),
        }?;
        Some((share * best, Some(column.clone())))
    }

    fn cell(&self, column: &str) -> Option<&Cell> {
        self.cells[self.columns.iter().position(|known| known == column)?].as_ref()
    }
}
