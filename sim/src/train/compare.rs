//! The scheduler that learns beside others, where it was not trained.

use std::fmt::Write;

use mptcp_core::SchedulerKind;
use mptcp_core::scheduler::{Learning, Model};
use rayon::prelude::*;

use super::held_out::{FIRST_HELD_OUT_SEED, HELD_OUT, HeldOut};
use super::{TrainError, simulate, time_taken};
use crate::experiment::Progress;

/// The scheduler that learns comes third: [`Row`] judges it by the first two.
const COMPARED: [SchedulerKind; 4] =
    [SchedulerKind::CompletionTime, SchedulerKind::Ecf, SchedulerKind::Peekaboo, SchedulerKind::LowestRtt];

/// Less than this part more or less is no difference.
const EQUAL: f64 = 0.02;

/// One condition.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Its name.
    pub condition: &'static str,
    /// Seconds until everything is delivered, or that an object takes in the mean: the medians over all seeds, of completion-time, ecf, peekaboo and
    /// lowest-rtt.
    pub medians: [f64; 4],
    /// The same, of the slowest twentieth.
    pub slowest: [f64; 4],
}

/// All conditions.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// Seeds of each condition.
    pub seeds: u64,
    /// A row for each condition.
    pub rows: Vec<Row>,
}

/// Has each scheduler carry the traffic of each condition, for so many seeds each. `shown` gets every row as soon as it is known.
///
/// # Errors
/// See [`TrainError`].
pub fn compare(
    model: Model,
    seeds: u64,
    progress: &impl Progress,
    mut shown: impl FnMut(&Row),
) -> Result<Comparison, TrainError> {
    let mut rows = Vec::with_capacity(HELD_OUT.len());
    for held_out in HELD_OUT {
        let row = row(held_out, model, seeds, progress)?;
        shown(&row);
        rows.push(row);
    }
    Ok(Comparison { seeds, rows })
}

/// Runs that a comparison takes.
pub fn compared_runs(seeds: u64) -> u64 {
    (HELD_OUT.len() * COMPARED.len()) as u64 * seeds
}

fn row(held_out: &HeldOut, model: Model, seeds: u64, progress: &impl Progress) -> Result<Row, TrainError> {
    let one = |run: u64| {
        let (seed, scheduler) = (FIRST_HELD_OUT_SEED + run / 4, COMPARED[(run % 4) as usize]);
        let outcome = simulate(&held_out.scenario(seed, scheduler), seed, Learning { model, recorder: None })?;
        progress.done(outcome.effort);
        time_taken(&outcome).ok_or(TrainError::Unfinished { seed, condition: held_out.name })
    };
    let times: Result<Vec<f64>, _> = (0..seeds * 4).into_par_iter().map(one).collect();
    let times = times?;
    let mut sorted: [Vec<f64>; 4] = std::array::from_fn(|which| times.iter().skip(which).step_by(4).copied().collect());
    sorted.iter_mut().for_each(|times| times.sort_by(f64::total_cmp));
    let at = |part: usize| sorted.each_ref().map(|times| times.get(times.len() * part / 100).copied().unwrap_or(0.0));
    Ok(Row { condition: held_out.name, medians: at(50), slowest: at(95) })
}

impl Row {
    /// How much more time peekaboo takes than completion-time and ecf, as parts of theirs.
    pub fn more_than(&self) -> [f64; 2] {
        let [first, ecf, learned, _] = self.medians;
        [learned / first - 1.0, learned / ecf - 1.0]
    }

    /// As a line of a table in Markdown.
    pub fn line(&self) -> String {
        let mut line = format!("| {} |", self.condition);
        for (median, slowest) in self.medians.iter().zip(self.slowest) {
            // Writing to a string cannot fail.
            let _ = write!(line, " {} / {} |", millis(*median), millis(slowest));
        }
        let [first, ecf] = self.more_than().map(|more| format!("{:+.1} %", more * 100.0));
        let _ = write!(line, " {first} | {ecf} |");
        line
    }
}

impl Comparison {
    /// The first lines of the table.
    pub fn heading() -> String {
        let names = COMPARED.map(SchedulerKind::name).join(" | ");
        format!(
            "| Condition (ms, median / 95th percentile) | {names} | peekaboo beside completion-time | beside ecf |\n\
             |---|---|---|---|---|---|---|"
        )
    }

    /// What it shows, in sentences.
    #[expect(clippy::disallowed_methods, reason = "the mean is shown to a tenth of a percent")]
    pub fn verdict(&self) -> String {
        let judge = |other: usize| {
            let differences = || self.rows.iter().map(move |row| row.more_than()[other]);
            let quicker = differences().filter(|more| *more < -EQUAL).count();
            let slower = differences().filter(|more| *more > EQUAL).count();
            let mean = (differences().map(|more| more.ln_1p()).sum::<f64>() / self.rows.len().max(1) as f64).exp_m1();
            (quicker, slower, mean)
        };
        let say = |name: SchedulerKind, (quicker, slower, mean): (usize, usize, f64)| {
            format!(
                "Beside {name}, peekaboo is quicker in {quicker} and slower in {slower} of {} conditions by more than {:.0} %; the geometric mean of its times is {:+.1} %.",
                self.rows.len(),
                EQUAL * 100.0,
                mean * 100.0
            )
        };
        let (first, ecf) = (judge(0), judge(1));
        let beats = |(quicker, slower, mean): (usize, usize, f64)| quicker > slower && mean < 0.0;
        let verdict = match (beats(first), beats(ecf)) {
            (true, true) => "It beats both.",
            (false, true) => "It beats ecf and not completion-time: it stays opt-in.",
            (true, false) => "It beats completion-time and not ecf: it stays opt-in.",
            (false, false) => "It beats neither: it stays opt-in.",
        };
        format!("{}\n{}\n{verdict}", say(COMPARED[0], first), say(COMPARED[1], ecf))
    }
}

fn millis(seconds: f64) -> String {
    let millis = seconds * 1000.0;
    if millis < 1000.0 { format!("{millis:.1}") } else { format!("{millis:.0}") }
}
