//! Which subflows still answer, and what becomes of what the others hold.
//!
//! A subflow that goes silent while it holds data is noticed in two ways. As soon as the answer to what it holds is overdue, measured by its
//! own round-trip times, while others do answer, it is *stale*: nothing new is given to it, what it holds is sent elsewhere, and it
//! is probed until it answers. That takes little more than a round trip, where TCP's own timeout takes at least 200 ms with most peers. And
//! when no DATA_ACK comes for a DATA-RTO, whatever the subflows say, the first bytes are sent again.

use std::ops::Range;
use std::time::Duration;

use tcp_adapter::{Instant, RoundTrip, TcpInfo};

use super::connection::{Connection, Doom};
use super::sender::Fin;
use super::shared::Cx;
use super::subflow::{Stage, Stale, Subflow};
use crate::event::{CloseReason, SubflowId};
use crate::mib::Counter;
use crate::stream::SentMapping;
use crate::wire::ResetReason;

/// Smallest DATA-RTO: below it, delayed acknowledgements of the peer would look like losses.
const MIN_DATA_RTO: Duration = Duration::from_millis(200);
/// DATA-RTO while no round-trip time is known (as RFC 6298 section 2.1).
pub(crate) const INITIAL_DATA_RTO: Duration = Duration::from_secs(1);
/// Largest DATA-RTO after back-off.
pub(crate) const MAX_DATA_RTO: Duration = Duration::from_secs(60);
/// First interval between probes of a stale subflow; it doubles up to [`MAX_PROBE_WAIT`].
const FIRST_PROBE_WAIT: Duration = Duration::from_millis(200);
/// Longest interval between probes: how long a path that is back may stay unnoticed.
const MAX_PROBE_WAIT: Duration = Duration::from_secs(1);
/// DATA-RTOs in a row after which data that TCP acknowledged but MPTCP did not proves that options do not pass.
const MAX_UNMATCHED_TIMEOUTS: u32 = 6;

/// An answer may be late by so much at least before it is missed: hosts are busy at times.
const LEAST_ALLOWANCE: Duration = Duration::from_millis(10);
/// What a peer may hold back the acknowledgement of a lone segment: Linux's smallest delay, which is its usual one.
const DELAYED_ACK: Duration = Duration::from_millis(40);
/// Segments in flight for which that counts: more are answered at once (RFC 9293 section 3.8.6.3).
const FEW_SEGMENTS: u64 = 2;
/// The allowance doubles this often at most, each time that a subflow was only late; each time that something was lost it is halved again.
pub(super) const MOST_FALSE_ALARMS: u8 = 4;

impl Connection {
    /// The DATA-RTO: long enough for the slowest subflow that holds the first unacknowledged byte, which would
    /// otherwise be sent again for nothing whenever paths differ.
    fn data_rto(&self, cx: &Cx<'_>) -> Duration {
        let una = self.sender.queue.una();
        let alive = || self.subflows.iter().filter(|subflow| subflow.alive());
        let slowest = match &self.subflows[..] {
            [only] => rto(only, cx).filter(|_| only.alive()),
            _ => {
                let holders = alive().filter(|subflow| subflow.sent.holds(una..una + 1));
                let slowest = holders.filter_map(|subflow| rto(subflow, cx)).max();
                slowest.or_else(|| alive().filter_map(|subflow| rto(subflow, cx)).max())
            }
        };
        let base = slowest.unwrap_or(INITIAL_DATA_RTO);
        match self.sender.timeouts {
            0 => base.min(MAX_DATA_RTO),
            timeouts => base.saturating_mul(1 << timeouts.min(16)).min(MAX_DATA_RTO),
        }
    }

    #[inline]
    pub(crate) fn arm_data_rto(&mut self, cx: &Cx<'_>) {
        if self.multipath().is_none() || !self.sender.outstanding() {
            self.sender.data_rto_at = None;
        } else if self.sender.data_rto_at.is_none() {
            self.begin_data_rto(cx);
        }
    }

    #[inline(never)]
    fn begin_data_rto(&mut self, cx: &Cx<'_>) {
        if self.sender.timeouts == 0 {
            self.sender.stalled_since = cx.now;
        }
        self.sender.data_rto_at = Some(cx.now + self.data_rto(cx));
    }

    /// No DATA_ACK has come for too long.
    pub(crate) fn on_data_rto(&mut self, cx: &mut Cx<'_>) {
        self.sender.data_rto_at = None;
        if !self.subflows.iter().any(Subflow::alive) {
            // Nobody is there to answer, so nothing is learned of anybody: joins on their way least of all.
            self.sender.stalled_since = cx.now;
            return;
        }
        self.sender.timeouts += 1;
        let answered = std::mem::take(&mut self.sender.answered);
        let full = self.sender.queue.nxt() >= self.sender.window_end;
        let all_arrived = self.sender.queue.una() == self.sender.queue.sent_end();
        if answered && full && !all_arrived {
            // It lives: it has no room (as in RFC 9293 section 3.8.6.1).
            self.sender.stalled_since = cx.now;
        }
        if self.sender.stalled_since + cx.shared.config.subflow_timeout <= cx.now {
            if answered && all_arrived {
                // Everybody is there, yet the peer never hears of our end, whose signal needs an option on a segment without data. It will not on
                // another subflow either.
                return self.fast_close_for(CloseReason::TimedOut, cx);
            }
            // No path brings it any further.
            return self.doom_all(ResetReason::UnacceptablePerformance, |_| true);
        }
        let una = self.sender.queue.una();
        let nxt = self.sender.queue.sent_end();
        if una < nxt {
            self.find_stale(cx);
            let whole = self.subflows.iter().any(|subflow| subflow.sent.holds(una..una + 1));
            if let Some(state) = self.multipath_mut().filter(|_| !whole) {
                state.maps_all = true;
            }
            let held = self.subflows.iter().find_map(|subflow| {
                subflow.sent.iter().find(|mapping| mapping.positions().contains(&una)).map(SentMapping::positions)
            });
            let single_path = self.multipath().is_some_and(|state| state.single_path);
            match held {
                // On the only path that there has been, TCP sends it again.
                Some(_) if single_path => {}
                Some(range) => self.sender.reinject.mark(una..range.end.min(nxt)),
                // TCP has delivered it, yet it is not acknowledged: the peer had to drop it, or options do not pass.
                None if self.sender.timeouts > MAX_UNMATCHED_TIMEOUTS && !answered => {
                    // Options do not pass on any subflow, as data is acknowledged by TCP only (RFC 8684 section 3.7).
                    return self.doom_all(ResetReason::MiddleboxInterference, |subflow| subflow.next_offset > 0);
                }
                // On a single path hardly anything is dropped that TCP has acknowledged, so the DATA_ACK was lost, or the peer has
                // fallen back, unheard, for which a repetition would be new data: ask. DATA_ACKs that came before all of it was acknowledged by TCP prove nothing.
                None if single_path => self.probe_usable(cx),
                None => self.repeat_unheld(una, nxt),
            }
        }
        if self.sender.fin == Fin::Sent {
            self.acknowledge(cx);
            // TCP answers this, even if the peer takes the DATA_FIN for a repetition that needs no answer.
            self.probe_usable(cx);
        }
        self.push(cx);
    }

    /// Sends again what TCP has delivered and the peer has dropped, a piece of it, up to what a subflow holds.
    fn repeat_unheld(&mut self, una: u64, nxt: u64) {
        let sender = &mut self.sender;
        let end = nxt.min(una + sender.repetition.longest(una));
        let held =
            self.subflows.iter().flat_map(|subflow| subflow.sent.iter()).map(|mapping| mapping.positions().start);
        let end = held.filter(|start| *start > una).fold(end, u64::min);
        sender.repetition.end_at(end);
        sender.reinject.mark(una..end);
    }

    /// Resets the subflows that have failed, but none that is being opened.
    fn doom_all(&mut self, reason: ResetReason, failed: impl Fn(&Subflow) -> bool) {
        let failed = |subflow: &&Subflow| subflow.alive() && failed(subflow);
        let doomed: Vec<SubflowId> = self.subflows.iter().filter(failed).map(|subflow| subflow.id).collect();
        for id in doomed {
            self.doom(id, Doom::Reason(reason));
        }
    }

    /// Finds subflows that hold data and have not answered for longer than they should, and has what they
    /// hold sent elsewhere. Not if there is nowhere else.
    pub(crate) fn find_stale(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now;
        let silent = |subflow: &Subflow, cx: &Cx<'_>| {
            let patience = rto(subflow, cx).unwrap_or(INITIAL_DATA_RTO);
            subflow.waiting_since.is_some_and(|since| since + patience <= now)
        };
        let usable: Vec<SubflowId> =
            self.subflows.iter().filter(|subflow| subflow.usable()).map(|subflow| subflow.id).collect();
        let stale: Vec<SubflowId> = self
            .subflows
            .iter()
            .filter(|subflow| subflow.usable() && silent(subflow, cx))
            .map(|subflow| subflow.id)
            .collect();
        if stale.len() == usable.len() {
            return;
        }
        for id in stale {
            self.set_stale(id, cx);
        }
    }

    pub(crate) fn set_stale(&mut self, id: SubflowId, cx: &mut Cx<'_>) {
        self.reinject_all(id);
        let Some(subflow) = self.subflow_mut(id) else { return };
        tracing::debug!(subflow = %id, "subflow is stale");
        let (snd_una, retransmissions) =
            cx.tcp.info(subflow.tcp).map_or((0, 0), |info| (info.snd_una, info.retransmissions));
        subflow.stale = Some(Box::new(Stale {
            since: cx.now,
            probe_at: cx.now,
            probe_wait: FIRST_PROBE_WAIT,
            told: false,
            snd_una,
            retransmissions,
        }));
        cx.shared.mib.bump(Counter::SubflowStale);
    }

    /// Marks everything that a subflow holds and that is not acknowledged to be sent elsewhere.
    pub(crate) fn reinject_all(&mut self, id: SubflowId) {
        let una = self.sender.queue.una();
        let Some(subflow) = self.subflow(id) else { return };
        let ranges: Vec<Range<u64>> = subflow.sent.unacked_ranges(una).collect();
        for range in ranges {
            self.sender.reinject.mark(range);
        }
    }

    /// Probes the stale subflows whose time has come.
    pub(crate) fn probe_stale(&mut self, cx: &mut Cx<'_>) {
        for subflow in &mut self.subflows {
            let Some(stale) = subflow.stale.as_mut().filter(|stale| stale.probe_at <= cx.now) else { continue };
            stale.probe_wait = (stale.probe_wait * 2).min(MAX_PROBE_WAIT);
            stale.probe_at = cx.now + stale.probe_wait;
            cx.tcp.probe(cx.now, subflow.tcp);
        }
    }

    /// Finds the subflows whose answers are overdue and, if others work, has what they hold sent there.
    pub(crate) fn miss_answers(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now;
        for index in 0..self.subflows.len() {
            if self.subflows[index].miss_at.is_none_or(|at| at > now) {
                continue;
            }
            let due = overdue_at(&self.subflows[index], cx);
            self.subflows[index].miss_at = due.filter(|at| *at > now);
            let Some(silent_since) = self.subflows[index].waiting_since.filter(|_| due.is_some_and(|at| at <= now))
            else {
                continue;
            };
            let (id, is_closing) = (self.subflows[index].id, self.subflows[index].stage == Stage::Closing);
            // Not if all are silent: then it is not the path.
            let works = |other: &Subflow| {
                other.id != id && other.usable() && (other.waiting_since.is_none() || other.heard_at > silent_since)
            };
            if !is_closing && !self.subflows[index].usable() {
                self.subflows[index].miss_at = None;
            } else if self.subflows.iter().any(works) {
                match is_closing {
                    true => self.reinject_all(id),
                    false => self.set_stale(id, cx),
                }
            } else {
                self.subflows[index].miss_at = Some(now + LEAST_ALLOWANCE);
            }
        }
    }

    /// Looks, from when data is given to a subflow on, whether it answers in time.
    pub(crate) fn expect_answers(&mut self, index: usize, cx: &Cx<'_>) {
        if self.subflows.len() > 1 && self.subflows[index].miss_at.is_none() {
            self.subflows[index].miss_at = overdue_at(&self.subflows[index], cx).map(|at| at.max(cx.now));
        }
    }
}

/// When the answer to what a subflow holds becomes overdue: a round trip after the first unacknowledged byte left, and an allowance for
/// the round-trip times' variation. `None` if nothing is outstanding or no round-trip time is known.
fn overdue_at(subflow: &Subflow, cx: &Cx<'_>) -> Option<Instant> {
    let since = subflow.waiting_since?;
    let info = cx.tcp.info(subflow.tcp)?;
    let allowance = allowance(subflow, &info)?;
    let left = info.una_sent_at.unwrap_or(since);
    Some((left + info.srtt? + allowance).max(since + allowance))
}

fn allowance(subflow: &Subflow, info: &TcpInfo) -> Option<Duration> {
    let variation = info.rttvar.unwrap_or(info.srtt? / 2) * 4;
    // What fills a gap is answered at once (RFC 5681 section 4.2).
    let lone = info.in_flight <= FEW_SEGMENTS * info.mss as u64 && info.sacked == 0;
    let base = variation.max(LEAST_ALLOWANCE) + if lone { DELAYED_ACK } else { Duration::ZERO };
    Some(base * (1 << subflow.false_alarms))
}

/// How long a subflow may take to answer: RFC 6298's formula over its measurements, with our own lower bound.
fn rto(subflow: &Subflow, cx: &Cx<'_>) -> Option<Duration> {
    let RoundTrip { smoothed, variation } = cx.tcp.round_trip(subflow.tcp)?;
    Some((smoothed + variation * 4).max(MIN_DATA_RTO))
}
