//! What was found, and the JSON in which it is kept.

use serde::{Deserialize, Serialize};

use super::Statistic;
use crate::results::{Better, Unit};

/// What was found of one question.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Name of the question.
    pub question: String,
    /// Version of the simulator.
    pub version: String,
    /// The first seed.
    pub first_seed: u64,
    /// How many seeds each cell has.
    pub seeds: u64,
    /// The tables.
    pub sheets: Vec<Sheet>,
}

/// One metric of one scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sheet {
    /// Name of the scenario.
    pub scenario: String,
    /// What the scenario is, in a sentence.
    pub description: String,
    /// What it assumes, one sentence each.
    pub assumptions: Vec<String>,
    /// What the table shows.
    pub caption: String,
    /// Unit of all figures.
    pub unit: Unit,
    /// Which values are the good ones.
    pub better: Better,
    /// Headings of the columns.
    pub columns: Vec<String>,
    /// Columns that are plotted.
    pub plotted: Vec<String>,
    /// The cases.
    pub rows: Vec<Row>,
}

/// One case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Which.
    pub case: String,
    /// A cell for each column; `None` where no run gave a value.
    pub cells: Vec<Option<Cell>>,
    /// Whether what is demanded holds.
    pub verdicts: Vec<Verdict>,
}

/// How a metric spreads over the seeds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// Seeds that gave a value.
    pub runs: usize,
    /// The worst.
    pub worst: f64,
    /// The 99th percentile: the best that 99 of a hundred are as good as, or better.
    pub hundredth: f64,
    /// One in twenty is as bad, or worse.
    pub twentieth: f64,
    /// The middle one.
    pub median: f64,
    /// The best.
    pub best: f64,
    /// The middle one if those seeds that gave no value were better than all others: what the median is at least as bad as. `None` if it is one of
    /// those, and where every seed gave a value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub least_median: Option<f64>,
}

/// Whether something holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The column that it is about.
    pub of: String,
    /// Which of its runs.
    pub statistic: Statistic,
    /// What they gave; `None`: not one run gave a value, or not all of them.
    pub found: Option<f64>,
    /// What was demanded; `None`: the column that sets it gave no value, or not with so many seeds that the others cannot matter.
    pub limit: Option<f64>,
    /// The column that set the limit, or that failed to; with how many of its runs gave no value and counted as the best, if any did.
    pub against: Option<String>,
    /// Whether it holds.
    pub met: bool,
}

impl Cell {
    /// Of the values of so many runs; `None` without any.
    pub(super) fn of(mut values: Vec<f64>, runs: usize, better: Better) -> Option<Self> {
        // The worst first.
        match better {
            Better::Higher => values.sort_by(f64::total_cmp),
            Better::Lower => values.sort_by(|a, b| b.total_cmp(a)),
        }
        let last = values.len().checked_sub(1)?;
        let at = |index: usize| six_digits(values[index]);
        // The last one of the worst n-th: rounded towards the bad side.
        let rank = |part: usize| at(values.len().div_ceil(part) - 1);
        Some(Self {
            runs: values.len(),
            worst: at(0),
            // By the nearest rank: ceil(0.99 n) values are this one or better.
            hundredth: at(values.len() - (99 * values.len()).div_ceil(100)),
            twentieth: rank(20),
            median: rank(2),
            best: at(last),
            least_median: (values.len() < runs)
                .then(|| values.get(runs.div_ceil(2) - 1).copied())
                .flatten()
                .map(six_digits),
        })
    }

    pub(super) fn get(&self, statistic: Statistic) -> f64 {
        match statistic {
            Statistic::Median => self.median,
            Statistic::Hundredth => self.hundredth,
            Statistic::Worst => self.worst,
        }
    }
}

impl Finding {
    /// How many demands there are, and how many of them hold.
    pub fn tally(&self) -> (usize, usize) {
        let verdicts = || self.sheets.iter().flat_map(|sheet| &sheet.rows).flat_map(|row| &row.verdicts);
        (verdicts().count(), verdicts().filter(|verdict| verdict.met).count())
    }
}

/// More digits would only make the file change.
fn six_digits(value: f64) -> f64 {
    format!("{value:.5e}").parse().unwrap_or(value)
}

/// All findings as JSON, one to a line. Rates are in bits per second, times in seconds.
pub fn findings_json(findings: &[Finding]) -> String {
    // Numbers, texts and lists only: it cannot fail.
    let lines: Vec<String> =
        findings.iter().map(|finding| serde_json::to_string(finding).unwrap_or_default()).collect();
    format!("[\n{}\n]\n", lines.join(",\n"))
}

/// Reads what [`findings_json`] has written.
///
/// # Errors
/// It is not that.
pub fn read_findings(json: &str) -> Result<Vec<Finding>, serde_json::Error> {
    serde_json::from_str(json)
}
