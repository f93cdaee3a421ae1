//! Probing a closed window of the peer.

use std::time::Duration;

use tcp_adapter::Instant;

use super::connection::{Connection, Doom};
use super::liveness::{INITIAL_DATA_RTO, MAX_DATA_RTO};
use super::shared::Cx;
use super::subflow::Subflow;
use crate::event::SubflowId;
use crate::mib::Counter;
use crate::wire::ResetReason;

/// Intervals that are added up at most: those of hours.
const MOST_INTERVALS: usize = 1000;

impl Connection {
    /// Asks the peer in time if its closed window is all that new data waits for.
    pub(crate) fn arm_window_probe_if_shut(&mut self, now: Instant) {
        let shut = self.sender.queue.unsent() > 0 && self.sender.queue.nxt() >= self.sender.window_end;
        if shut && self.sender.window_probe_at.is_none() {
            self.sender.window_probe_at = Some(now + probe_interval(self.sender.window_probes));
        }
    }

    /// The peer's window is closed and may have opened unheard: ask, as the update is not acknowledged. A subflow on which nobody answers for as long as one may hold data
    /// without an answer is given up (RFC 9293 section 3.8.6.1 keeps only those for ever that answer).
    pub(crate) fn probe_window(&mut self, cx: &mut Cx<'_>) {
        let timeout = cx.shared.config.subflow_timeout;
        // Since the first one.
        let asked: Duration = (1..=self.sender.window_probes).map(probe_interval).take(MOST_INTERVALS).sum();
        if asked >= timeout {
            let silent = |subflow: &&Subflow| subflow.usable() && subflow.heard_at + timeout <= cx.now;
            let silent: Vec<SubflowId> = self.subflows.iter().filter(silent).map(|subflow| subflow.id).collect();
            for id in silent {
                self.doom(id, Doom::Reason(ResetReason::UnacceptablePerformance));
            }
        }
        self.sender.window_probe_at = None;
        self.sender.window_probes = self.sender.window_probes.saturating_add(1);
        cx.shared.mib.bump(Counter::WinProbe);
        self.probe_usable(cx);
    }

    pub(crate) fn probe_usable(&self, cx: &mut Cx<'_>) {
        for subflow in self.subflows.iter().filter(|subflow| subflow.usable()) {
            cx.tcp.probe(cx.now, subflow.tcp);
        }
    }
}

/// How long after so many probes of a window the next one follows.
fn probe_interval(probes: u16) -> Duration {
    INITIAL_DATA_RTO.saturating_mul(1 << probes.min(6)).min(MAX_DATA_RTO)
}
