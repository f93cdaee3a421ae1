//! What is counted of some traffic.

use std::time::Duration;

use tcp_adapter::Instant;

use crate::results::{Latency, LatencySample};

/// Counts of all flows of one `[[traffic]]`.
#[derive(Debug)]
pub(crate) struct Figures {
    /// What came before is left out.
    warmup: Instant,
    latency: Latency,
    /// Latencies of what has ended since the last sample, be it in the warm-up; `None` if nobody takes samples.
    recent: Option<Vec<Duration>>,
    requests: u64,
    met: u64,
    missed: u64,
    has_deadline: bool,
    /// Bytes that had arrived when the warm-up ended.
    pub(crate) delivered_before: u64,
    /// Most bytes that waited out of order at any flow.
    pub(crate) most_out_of_order: u64,
}

impl Figures {
    pub(crate) fn new(name: &str, warmup: Instant) -> Self {
        Self {
            warmup,
            latency: Latency::new(name),
            recent: None,
            requests: 0,
            met: 0,
            missed: 0,
            has_deadline: false,
            delivered_before: 0,
            most_out_of_order: 0,
        }
    }

    /// Has latencies kept for [`Figures::sample`] from now on, which must be called again and again.
    pub(crate) fn keep_recent(&mut self) {
        self.recent = Some(Vec::new());
    }

    /// What has ended since the last call.
    pub(crate) fn sample(&mut self) -> LatencySample {
        let Some(recent) = &mut self.recent else { return LatencySample::default() };
        let sample = LatencySample::of(recent);
        recent.clear();
        sample
    }

    /// A response is complete.
    pub(super) fn request(&mut self, now: Instant, latency: Duration) {
        self.note_recent(latency);
        if now >= self.warmup {
            self.requests += 1;
            self.latency.record(latency);
        }
    }

    /// A message has arrived.
    pub(super) fn message(&mut self, now: Instant, latency: Duration, deadline: Option<Duration>) {
        self.note_recent(latency);
        if now < self.warmup {
            return;
        }
        self.latency.record(latency);
        if let Some(deadline) = deadline {
            self.has_deadline = true;
            if latency <= deadline {
                self.met += 1;
            } else {
                self.missed += 1;
            }
        }
    }

    fn note_recent(&mut self, latency: Duration) {
        if let Some(recent) = &mut self.recent {
            recent.push(latency);
        }
    }

    /// A request or message has not ended: it has taken `age` so far.
    pub(super) fn under_way(&mut self, now: Instant, age: Duration) {
        if now >= self.warmup {
            self.latency.record_under_way(age);
        }
    }

    /// Messages have not arrived in time.
    pub(super) fn missed(&mut self, messages: u64) {
        self.has_deadline |= messages > 0;
        self.missed += messages;
    }

    pub(crate) fn latency(&self) -> &Latency {
        &self.latency
    }

    pub(crate) fn requests(&self) -> u64 {
        self.requests
    }

    /// Messages that met their deadline, and all that had one.
    pub(crate) fn deadlines(&self) -> Option<(u64, u64)> {
        self.has_deadline.then_some((self.met, self.met + self.missed))
    }
}
