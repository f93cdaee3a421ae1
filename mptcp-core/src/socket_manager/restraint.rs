//! What an application has its own sending held to: a [cork](super::cork), and a [rate](super::rate_limit).
//!
//! Both hold back what no subflow was given yet, so they are the same for Multipath TCP, after a fallback, and above every TCP.

use tcp_adapter::Instant;

use super::connection::Connection;
use super::cork::Cork;
use super::rate_limit::RateLimit;
use super::sender::Fin;
use super::shared::Cx;
use crate::event::SubflowId;
use crate::scheduler::SubflowView;

/// Boxed in its connection, as few have any.
#[derive(Debug, Default)]
pub(crate) struct Restraint {
    cork: Cork,
    limit: Option<RateLimit>,
    /// When what waits for the rate may go on.
    resume_at: Option<Instant>,
}

impl Restraint {
    /// When something that it holds back may leave.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        [self.cork.deadline(), self.resume_at].into_iter().flatten().min()
    }
}

impl Connection {
    /// The application wants segments to be full, or no longer.
    pub(crate) fn set_cork(&mut self, corked: bool) {
        let end = self.sender.queue.end();
        if corked || self.sender.restraint.is_some() {
            self.sender.restraint.get_or_insert_default().cork.set(corked, end);
        }
    }

    pub(crate) fn is_corked(&self) -> bool {
        self.sender.restraint.as_deref().is_some_and(|restraint| restraint.cork.is_in())
    }

    /// Whether bytes up to the position `end` may leave in full segments only: nothing was written behind them yet, and more is to come.
    pub(crate) fn must_fill_segments(&self, end: u64) -> bool {
        let Some(restraint) = self.sender.restraint.as_deref() else { return false };
        let queue = &self.sender.queue;
        self.sender.fin == Fin::Open && end == queue.end() && restraint.cork.holds(queue.sent_end())
    }

    /// The application wants no more than so many bytes per second to leave, on all subflows together.
    pub(crate) fn set_max_pacing_rate(&mut self, rate: Option<u64>, cx: &mut Cx<'_>) {
        let rate = rate.map(|rate| rate.max(1));
        if rate.is_some() || self.sender.restraint.is_some() {
            let limit = &mut self.sender.restraint.get_or_insert_default().limit;
            *limit = rate.map(|rate| match *limit {
                Some(before) => before.with_rate(rate, cx.now),
                None => RateLimit::new(rate),
            });
        }
        for subflow in &self.subflows {
            cx.tcp.set_max_pacing_rate(cx.now, subflow.tcp, rate);
        }
    }

    pub(crate) fn max_pacing_rate(&self) -> Option<u64> {
        self.rate_limit().map(RateLimit::rate)
    }

    /// Has a new subflow keep to the rate that there is.
    pub(crate) fn limit_pace(&self, id: SubflowId, cx: &mut Cx<'_>) {
        let Some(subflow) = self.subflow(id) else { return };
        let rate = self.max_pacing_rate();
        if rate.is_some() && !cx.tcp.set_max_pacing_rate(cx.now, subflow.tcp, rate) {
            tracing::debug!(conn = %self.id, subflow = %id, "the TCP stack does not pace");
        }
    }

    /// Bytes that the rate lets a subflow have now, whose full segments have `mss` bytes.
    pub(crate) fn rate_allowance(&self, mss: usize, now: Instant) -> usize {
        self.rate_limit().map_or(usize::MAX, |limit| limit.allowance(mss, now))
    }

    /// Whether it is the rate that what is left waits for.
    pub(crate) fn waits_for_rate(&self, now: Instant) -> bool {
        self.rate_limit().is_some_and(|limit| limit.ready_at(now).is_some())
    }

    /// Takes from what subflows have room for what the rate does not allow.
    #[inline]
    pub(crate) fn cut_to_rate(&self, views: &mut [SubflowView], now: Instant) {
        if let Some(limit) = self.rate_limit() {
            cut_to(limit, views, now);
        }
    }

    /// Counts what was handed to a subflow.
    pub(crate) fn count_against_rate(&mut self, bytes: u64, now: Instant) {
        if let Some(limit) = self.sender.restraint.as_deref_mut().and_then(|restraint| restraint.limit.as_mut()) {
            limit.charge(bytes, now);
        }
    }

    /// After all that may leave has left: sets the time at which more may.
    pub(crate) fn await_release(&mut self, now: Instant) {
        let Some(restraint) = self.sender.restraint.as_deref_mut() else { return };
        let queue = &self.sender.queue;
        let waits = queue.unsent() > 0 || !self.sender.reinject.is_empty();
        restraint.resume_at = restraint.limit.filter(|_| waits).and_then(|limit| limit.ready_at(now));
        // Nothing comes to it any more.
        let end = if self.sender.fin == Fin::Open { queue.end() } else { 0 };
        restraint.cork.watch(queue.sent_end(), end, now);
    }

    /// Lets go of what was corked for as long as anything may be.
    pub(crate) fn end_cork_if_due(&mut self, now: Instant) {
        let end = self.sender.queue.end();
        if let Some(restraint) = self.sender.restraint.as_deref_mut()
            && restraint.cork.deadline().is_some_and(|at| at <= now)
        {
            restraint.cork.release(end);
        }
    }

    /// Gives back the memory of what holds nothing back, where nothing waits to be sent.
    pub(crate) fn trim_restraint(&mut self) {
        let is_idle = |restraint: &Restraint| restraint.limit.is_none() && !restraint.cork.is_in();
        if self.sender.restraint.as_deref().is_some_and(is_idle) {
            self.sender.restraint = None;
        }
    }

    fn rate_limit(&self) -> Option<&RateLimit> {
        self.sender.restraint.as_deref()?.limit.as_ref()
    }
}

/// Takes from what subflows have room for what a rate does not allow.
#[inline(never)]
fn cut_to(limit: &RateLimit, views: &mut [SubflowView], now: Instant) {
    for view in views {
        view.room = view.room.min(limit.allowance(view.mss, now));
    }
}
