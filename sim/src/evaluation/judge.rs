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
    let runs = cells.iter().map(|cell| cell.points.len()).max().unwrap_or(0);
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
        rows[at].1.cells[column] = Cell::of(cell.points.iter().filter_map(value).collect(), runs, better);
    }
    let names: Vec<&crate::results::Axis> =
        record.axes.iter().enumerate().filter(|(index, _)| *index != axis).map(|(_, axis)| axis).collect();
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

/// How much a demand comes to in a case.
struct Threshold {
    /// `None` if what would set it has failed.
    limit: Option<f64>,
    /// The column that sets it, or that has failed to.
    against: Option<String>,
}

/// A demand and what it is about.
struct Judge<'a> {
    limit: &'a Limit,
    case: Case<'a>,
    columns: &'a [String],
    cells: &'a [Option<Cell>],
    better: Better,
    /// Runs of every cell: one that gave no value has failed, or was better than all others if it is compared with.
    runs: usize,
}

impl Judge<'_> {
    /// Whether the demand holds; `None` if nothing is demanded in this case.
    fn verdict(&self) -> Option<Verdict> {
        let Threshold { limit, against } = self.threshold()?;
        let found = self.complete(self.limit.of).map(|cell| cell.get(self.limit.statistic));
        let met = found.zip(limit).is_some_and(|(found, limit)| match self.better {
            Better::Higher => found >= limit,
            Better::Lower => found <= limit,
        });
        let of = self.limit.of.to_owned();
        Some(Verdict { of, statistic: self.limit.statistic, found, limit, against, met })
    }

    fn threshold(&self) -> Option<Threshold> {
        let (share, among) = match self.limit.bound {
            Bound::Amount(amount) => return Some(Threshold { limit: Some(amount), against: None }),
            Bound::ByCase(amount) => {
                return amount(&self.case).map(|amount| Threshold { limit: Some(amount), against: None });
            }
            Bound::OfBest(share, among) => (share(&self.case)?, among),
        };
        let is_candidate = |column: &&String| among.is_empty() || among.contains(&column.as_str());
        let mut best: Option<(&String, f64)> = None;
        for column in self.columns.iter().filter(is_candidate) {
            // Which one is the best is known only if each has a median, be it that which it would have if seeds without a value were its best.
            let Some(median) = self.least_median(column) else {
                return Some(Threshold { limit: None, against: Some(column.clone()) });
            };
            let is_better = best.is_none_or(|(_, best)| match self.better {
                Better::Higher => median > best,
                Better::Lower => median < best,
            });
            if is_better {
                best = Some((column, median));
            }
        }
        let against = best.map(|(column, _)| match self.runs - self.cell(column).map_or(0, |cell| cell.runs) {
            0 => column.clone(),
            missing => format!("{column}, of which {missing} runs without a value count as the best"),
        });
        Some(Threshold { limit: best.map(|(_, best)| share * best), against })
    }

    fn cell(&self, column: &str) -> Option<&Cell> {
        self.cells[self.columns.iter().position(|known| known == column)?].as_ref()
    }

    /// What the median of a column is at least as bad as, whatever seeds would have given that gave no value.
    fn least_median(&self, column: &str) -> Option<f64> {
        let cell = self.cell(column)?;
        if cell.runs == self.runs { Some(cell.median) } else { cell.least_median }
    }

    /// The cell of a column that has a value of every run.
    fn complete(&self, column: &str) -> Option<&Cell> {
        self.cell(column).filter(|cell| cell.runs == self.runs)
    }
}
