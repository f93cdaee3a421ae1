//! The smallest round-trip time of the path, and when it is time to measure it again.

use std::time::Duration;

use crate::Instant;

/// How long a minimum counts.
const FILTER: Duration = Duration::from_secs(10);
/// How long the round-trip time may have stayed above it before the queue is drained to measure.
const PROBE_INTERVAL: Duration = Duration::from_secs(5);
/// No sample.
const UNKNOWN: u64 = u64::MAX;

/// A windowed minimum, in nanoseconds.
#[derive(Clone, Debug)]
pub(super) struct MinRtt {
    min: u64,
    min_at: Instant,
    /// The minimum since the last probe.
    recent: u64,
    recent_at: Instant,
    /// Whether it is time to probe.
    pub(super) probe_due: bool,
}

impl MinRtt {
    pub(super) fn new() -> Self {
        Self { min: UNKNOWN, min_at: Instant::ZERO, recent: UNKNOWN, recent_at: Instant::ZERO, probe_due: false }
    }

    pub(super) fn get(&self) -> Option<u64> {
        (self.min != UNKNOWN).then_some(self.min)
    }

    pub(super) fn on_ack(&mut self, now: Instant, rtt: Option<u64>) {
        self.probe_due = self.recent != UNKNOWN && now > self.recent_at + PROBE_INTERVAL;
        if let Some(rtt) = rtt
            && (rtt < self.recent || self.probe_due)
        {
            (self.recent, self.recent_at) = (rtt, now);
        }
        if self.recent < self.min || now > self.min_at + FILTER {
            (self.min, self.min_at) = (self.recent, self.recent_at);
        }
    }

    /// A probe has ended: the next one is due after another interval.
    pub(super) fn probed(&mut self, now: Instant) {
        self.recent_at = now;
        self.probe_due = false;
    }
}
