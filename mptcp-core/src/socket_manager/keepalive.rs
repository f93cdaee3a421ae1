//! Whether a peer of whom nothing is heard is still there (RFC 9293 section 3.8.4).

use tcp_adapter::Instant;

use super::connection::{Connection, Doom};
use super::shared::Cx;
use super::subflow::Subflow;
use crate::config::KeepAlive;
use crate::event::{CloseReason, SubflowId};
use crate::wire::ResetReason;

/// How a subflow is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Watch {
    /// To be looked at then. What is heard in the meantime does not move that time, so that it costs nothing.
    Quiet { at: Instant },
    /// So many probes are out since the peer was last heard.
    Probing { sent: u32, last: Instant, again: Instant },
}

impl Watch {
    pub(crate) fn deadline(&self) -> Instant {
        match *self {
            Self::Quiet { at } => at,
            Self::Probing { again, .. } => again,
        }
    }
}

impl Connection {
    /// Begins to watch subflows that have come up.
    pub(crate) fn watch_subflows(&mut self, cx: &Cx<'_>) {
        let Some(KeepAlive { idle, .. }) = cx.shared.config.keepalive else { return };
        for subflow in self.subflows.iter_mut().filter(|subflow| subflow.watch.is_none() && subflow.alive()) {
            subflow.watch = Some(Box::new(Watch::Quiet { at: cx.now + idle }));
        }
    }

    /// Probes the subflows that were quiet for too long, and gives up those whose peer is gone.
    pub(crate) fn check_quiet(&mut self, cx: &mut Cx<'_>) {
        let Some(keepalive) = cx.shared.config.keepalive else { return };
        let due = |subflow: &&Subflow| subflow.watch.as_ref().is_some_and(|watch| watch.deadline() <= cx.now);
        let quiet: Vec<SubflowId> = self.subflows.iter().filter(due).map(|subflow| subflow.id).collect();
        for id in quiet {
            if self.probe_quiet(id, keepalive, cx) {
                continue;
            }
            tracing::debug!(conn = %self.id, subflow = %id, "the peer does not answer any more");
            if self.multipath().is_none() {
                return self.finish(CloseReason::TimedOut, cx.shared);
            }
            self.doom(id, Doom::Reason(ResetReason::UnacceptablePerformance));
        }
    }

    /// Sends a probe if it is time for one; false if enough were sent.
    fn probe_quiet(&mut self, id: SubflowId, keepalive: KeepAlive, cx: &mut Cx<'_>) -> bool {
        let now = cx.now;
        let Some(subflow) = self.subflow_mut(id) else { return true };
        let sent = match subflow.watch.as_deref() {
            Some(&Watch::Probing { sent, last, .. }) if subflow.heard_at <= last => sent,
            _ => 0,
        };
        // What was sent and is not acknowledged has timers of its own.
        let busy = subflow.waiting_since.is_some().then_some(now);
        let quiet_from = busy.unwrap_or(subflow.heard_at) + keepalive.idle;
        if sent == 0 && quiet_from > now {
            subflow.watch = Some(Box::new(Watch::Quiet { at: quiet_from }));
            return true;
        }
        subflow.watch = Some(Box::new(Watch::Probing { sent: sent + 1, last: now, again: now + keepalive.interval }));
        if sent < keepalive.probes {
            cx.tcp.probe(now, subflow.tcp);
        }
        sent < keepalive.probes
    }
}
