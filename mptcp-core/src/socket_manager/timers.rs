//! What a connection does when time passes.

use tcp_adapter::Instant;

use super::connection::{Connection, Doom, Protocol};
use super::handshake::{PRE_ESTABLISHED_TRIES, PRE_ESTABLISHED_WAIT};
use super::restraint::Restraint;
use super::shared::{Cx, Shared};
use super::subflow::{Stage, Subflow};
use crate::earliest::Earliest;
use crate::event::{CloseReason, SubflowId};
use crate::path_manager::Spares;
use crate::wire::ResetReason;

impl Connection {
    /// The next time at which something is due.
    pub(crate) fn deadline(&self, shared: &Shared) -> Option<Instant> {
        if self.closed.is_some() {
            return None;
        }
        let config = &shared.config;
        let mut earliest = Earliest::default();
        earliest.or(self.sender.data_rto_at);
        earliest.or(self.sender.window_probe_at);
        earliest.or(self.sender.restraint.as_deref().and_then(Restraint::deadline));
        if self.subflows.len() > 1 {
            earliest.or(self.scheduler.poll_timeout());
        }
        earliest.or(self.give_up_at);
        earliest.or(self.trim_at);
        earliest.or(self.plain_silence().map(|since| since + config.subflow_timeout));
        if !self.paths.is_at_rest() {
            earliest.or(self.path_deadline());
        }
        for subflow in &self.subflows {
            if let Stage::PreEstablished(ack) = &subflow.stage {
                earliest.or(Some(ack.again));
            }
            if let Some(stale) = &subflow.stale {
                earliest.or(Some(stale.probe_at.min(stale.since + config.subflow_timeout)));
            }
            earliest.or(subflow.miss_at);
            earliest.or(subflow.judged.as_deref().and_then(|judged| judged.allowed_at));
            earliest.or(subflow.remove_at);
            earliest.or(subflow.watch.as_ref().map(|watch| watch.deadline()));
            earliest.or(subflow.close_by);
            earliest.or(subflow.signal_at);
            earliest.or(subflow.unmapped_since.map(|since| since + config.unmapped_timeout));
        }
        earliest.get()
    }

    /// The next time at which something is due of the paths that there are to be.
    #[inline(never)]
    fn path_deadline(&self) -> Option<Instant> {
        let mut earliest = Earliest::default();
        if self.tells_addresses() {
            earliest.or(self.paths.announced.deadline().filter(|_| self.subflows.iter().any(Subflow::can_announce)));
            earliest.or(self.paths.withdrawn.deadline().filter(|_| self.subflows.iter().any(Subflow::can_withdraw)));
        }
        if self.wants_paths() {
            earliest.or(self.paths.retries.deadline());
            earliest.or(self.paths.spares.as_deref().and_then(Spares::deadline));
            earliest.or(self.paths.pace.deadline().filter(|_| self.paths.changed));
        }
        earliest.get()
    }

    /// Does what is due.
    pub(crate) fn on_timers(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now;
        if self.closed.is_some() {
            return;
        }
        self.trim_if_due(now);
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if due(self.give_up_at) {
            self.give_up_at = None;
            return self.give_up(cx);
        }
        let timeout = cx.shared.config.subflow_timeout;
        if self.plain_silence().is_some_and(|since| since + timeout <= now) {
            return self.finish(CloseReason::TimedOut, cx.shared);
        }
        self.end_cork_if_due(now);
        self.miss_answers(cx);
        if due(self.sender.data_rto_at) {
            self.on_data_rto(cx);
        }
        if due(self.sender.window_probe_at) {
            self.probe_window(cx);
        }
        if self.subflows.len() > 1 && due(self.scheduler.poll_timeout()) {
            self.scheduler.handle_timeout(now);
            self.push(cx);
        }
        self.resume_signals(cx);
        self.repeat_third_acks(cx);
        self.probe_stale(cx);
        self.remove_silent(cx);
        self.check_quiet(cx);
        self.end_closing(now);
        if let Some(id) = self.unmapped_overdue(now, cx.shared.config.unmapped_timeout) {
            self.break_unmapped(id, cx);
        }
        let dead = |subflow: &&Subflow| subflow.stale.as_ref().is_some_and(|stale| stale.since + timeout <= now);
        let gone: Vec<SubflowId> = self.subflows.iter().filter(dead).map(|subflow| subflow.id).collect();
        for id in gone {
            self.doom(id, Doom::Reason(ResetReason::UnacceptablePerformance));
        }
    }

    /// Since when a connection that speaks regular TCP has had no answer to what it has sent. With MPTCP the
    /// DATA-RTO counts.
    fn plain_silence(&self) -> Option<Instant> {
        match self.protocol {
            Protocol::Plain(_) => self.subflows.first()?.waiting_since,
            Protocol::Negotiating(_) | Protocol::Multipath(_) => None,
        }
    }

    /// The third ACK of a join is sent until it is acknowledged (RFC 8684 section 3.2).
    fn repeat_third_acks(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now;
        let mut given_up = Vec::new();
        for subflow in &mut self.subflows {
            let Stage::PreEstablished(ack) = &mut subflow.stage else { continue };
            if ack.again > now {
                continue;
            }
            ack.sent += 1;
            ack.again = now + PRE_ESTABLISHED_WAIT * (1 << ack.sent);
            if ack.sent > PRE_ESTABLISHED_TRIES {
                given_up.push(subflow.id);
            } else {
                cx.tcp.ack_now(now, subflow.tcp);
            }
        }
        for id in given_up {
            self.doom(id, Doom::Reason(ResetReason::UnacceptablePerformance));
        }
    }
}
