//! What a connection gives back while it has nothing to do: there may be very many of them.

use std::time::Duration;

use tcp_adapter::Instant;

use super::connection::Connection;

/// How long after queues came into use they are looked at. A connection that is busy then is looked at as much later again, so
/// that it costs nothing to keep it busy.
const LOOK_AFTER: Duration = Duration::from_secs(1);

impl Connection {
    /// Queues are in use.
    #[inline]
    pub(crate) fn uses_queues(&mut self, now: Instant) {
        if self.trim_at.is_none() {
            self.trim_at = Some(now + LOOK_AFTER);
        }
    }

    /// Gives back the memory of empty queues if it is time to look at them.
    pub(crate) fn trim_if_due(&mut self, now: Instant) {
        if self.trim_at.is_none_or(|at| at > now) {
            return;
        }
        let busy = self.memory() > 0
            || self.subflows.iter().any(|subflow| !subflow.sent.is_empty() || !subflow.received.is_empty());
        if busy {
            self.trim_at = Some(now + LOOK_AFTER);
            return;
        }
        self.trim_at = None;
        self.sender.queue.trim();
        self.sender.messages.trim();
        self.sender.reinject.trim();
        self.trim_restraint();
        self.receiver.stream.trim();
        for subflow in &mut self.subflows {
            subflow.sent.trim();
            subflow.received.trim();
            subflow.reader.trim();
            subflow.control.trim();
            subflow.lately = None;
        }
        self.doomed.trim();
        self.past.shrink_to_fit();
        self.paths.trim();
    }
}
