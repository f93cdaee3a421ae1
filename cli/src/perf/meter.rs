//! Interval lines: what every second carried, in all and on each path.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::human::{bits_per_second, bytes, rate};
use crate::network::{StreamReport, deltas};

/// Takes stock once a second.
pub(crate) struct Meter {
    started: Instant,
    last: Instant,
    sent: u64,
    received: u64,
    connection: StreamReport,
    intervals: Vec<Interval>,
    print: bool,
}

/// One second of a test.
#[derive(Debug, Serialize)]
pub(crate) struct Interval {
    /// Seconds since the start.
    start: f64,
    /// Seconds since the start.
    end: f64,
    /// Payload bytes.
    sent: u64,
    /// Payload bytes.
    received: u64,
    /// In the order of the summary's subflows.
    paths: Vec<PathInterval>,
}

#[derive(Debug, Serialize)]
struct PathInterval {
    sent: u64,
    received: u64,
    sent_bits_per_second: f64,
    received_bits_per_second: f64,
}

/// Time between two lines.
const INTERVAL: Duration = Duration::from_secs(1);

impl Meter {
    /// Starts now; prints a line per interval on standard output if `print`.
    pub(crate) fn start(connection: StreamReport, print: bool) -> Self {
        let now = Instant::now();
        Self { started: now, last: now, sent: 0, received: 0, connection, intervals: Vec::new(), print }
    }

    /// Counts what has happened; ends the interval if it is full, or `last` says so.
    pub(crate) fn tick(&mut self, sent: u64, received: u64, connection: StreamReport, last: bool) {
        let elapsed = self.last.elapsed();
        // A short rest at the end would make a line of meaningless rates.
        if elapsed < INTERVAL && !(last && (elapsed > INTERVAL / 10 || self.intervals.is_empty())) {
            return;
        }
        let before = self.connection.clone();
        self.connection.update(connection);
        let paths: Vec<PathInterval> = deltas(&before, &self.connection)
            .map(|(sent, received)| PathInterval {
                sent,
                received,
                sent_bits_per_second: bits_per_second(sent, elapsed),
                received_bits_per_second: bits_per_second(received, elapsed),
            })
            .collect();
        let interval = Interval {
            start: (self.last - self.started).as_secs_f64(),
            end: self.started.elapsed().as_secs_f64(),
            sent: sent - self.sent,
            received: received - self.received,
            paths,
        };
        if self.print {
            crate::say(&interval.line(elapsed));
        }
        self.intervals.push(interval);
        (self.last, self.sent, self.received) = (Instant::now(), sent, received);
    }

    /// The connection with all its subflows, and the intervals.
    pub(crate) fn finish(self) -> (StreamReport, Vec<Interval>) {
        (self.connection, self.intervals)
    }
}

impl Interval {
    fn line(&self, elapsed: Duration) -> String {
        let mut line = format!("{:6.1}-{:<6.1} s", self.start, self.end);
        for (count, arrow) in [(self.sent, "sent"), (self.received, "received")] {
            if count > 0 {
                line += &format!("  {arrow} {:>10} {:>13}", bytes(count), rate(count, elapsed));
            }
        }
        if self.paths.len() > 1 {
            let paths: Vec<String> = self.paths.iter().map(|path| rate(path.sent + path.received, elapsed)).collect();
            line += &format!("  paths {}", paths.join(" + "));
        }
        line
    }
}
