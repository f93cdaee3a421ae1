//! Measuring side by side, so that what else runs on the machine hits all sides alike.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Turns of a few milliseconds for each side, after which medians hardly move.
pub const TURNS: usize = 41;

/// One side of a comparison.
pub struct Side {
    /// What it is called.
    pub name: String,
    /// What a turn amounts to, in `unit`.
    pub amount: f64,
    /// What is counted.
    pub unit: &'static str,
    /// One turn.
    pub turn: Box<dyn FnMut()>,
}

impl Side {
    /// One side of a comparison.
    pub fn new(name: String, amount: f64, unit: &'static str, turn: impl FnMut() + 'static) -> Self {
        Self { name, amount, unit, turn: Box::new(turn) }
    }
}

/// Lets each side have so many turns in alternation: how much each does in a second of the thread's time, as the median of its turns.
pub fn medians(turns: usize, sides: &mut [Side]) -> Vec<f64> {
    let mut times = vec![Vec::new(); sides.len()];
    for _ in 0..turns {
        for (side, times) in sides.iter_mut().zip(&mut times) {
            let before = thread_time();
            (side.turn)();
            times.push(thread_time() - before);
        }
    }
    times.iter_mut().zip(sides).map(|(times, side)| side.amount / median(times)).collect()
}

fn median(times: &mut [Duration]) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64()
}

fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}
