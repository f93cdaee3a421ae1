//! Bytes that are sent once more, on another subflow than the first time: because that one has failed, because it keeps the window from
//! moving on, or because the scheduler wants two chances.

use std::ops::Range;
use std::time::Duration;

use super::connection::Connection;
use super::outlet::Outlet;
use super::sender::MAX_MAPPING;
use super::shared::Cx;
use super::views::shrink;
use crate::event::SubflowId;
use crate::mib::Counter;
use crate::observe::Observation;
use crate::scheduler::{DataView, OutstandingView, Sent, SubflowView};

impl Connection {
    /// Sends one stretch that was sent before elsewhere; false if there is nothing to do or no room.
    #[inline(never)]
    pub(crate) fn push_again(&mut self, views: &mut [SubflowView], cx: &mut Cx<'_>) -> bool {
        let Some(range) = self.sender.reinject.next(MAX_MAPPING) else { return false };
        let held = |id: SubflowId| self.subflow(id).and_then(|subflow| subflow.sent.first_held(range.clone()));
        let holds_start = |id: SubflowId| held(id).filter(|held| held.start == range.start);
        let others: Vec<SubflowView> = views.iter().filter(|view| holds_start(view.id).is_none()).copied().collect();
        if others.is_empty() {
            // Whoever could take the first part holds it already, and TCP sends it again there. If that subflow
            // fails, it is marked anew.
            let Some(end) = views.iter().filter_map(|view| holds_start(view.id)).map(|held| held.end).min() else {
                return false;
            };
            self.sender.reinject.taken(range.start..end);
            return true;
        }
        if self.multipath().is_some_and(|state| state.single_path) {
            // The only path that there has been holds it no more: TCP has delivered it. If the peer has fallen back since, unheard, it would take it for new data.
            return false;
        }
        let lost = self.subflows.iter().all(|subflow| !subflow.sent.holds(range.start..range.start + 1));
        let others = match lost && self.sender.timeouts > 0 {
            // Whoever has carried it claims to have delivered it: the next one in turn may really do so.
            true => vec![others[self.sender.timeouts as usize % others.len()]],
            false => others,
        };
        let available = range.end - range.start;
        let data = DataView {
            now: cx.now,
            position: range.start,
            una: self.sender.queue.una(),
            available,
            unsent: self.sender.reinject.len_bytes(),
            window: available,
            reinjection: true,
            message: self.sender.messages.at(range.start),
        };
        let decision = self.choose(&others, &data);
        let Some(decision) = decision else { return false };
        let chosen = others[decision.subflow];
        // Of a mapping with a checksum nothing is delivered before all of it has come: what no subflow has brought as a whole may come in pieces.
        let summed = self.multipath().is_some_and(|state| state.checksum);
        let most = if lost && summed { decision.len.min(chosen.mss) } else { decision.len };
        let end = range.end.min(range.start + most as u64);
        self.send_again(chosen, range.start..end, views, cx) > 0
    }

    /// Sends the beginning of `range` once more, on a subflow that does not carry it already: as much as there is room for, and not into
    /// what the subflow carries. Returns the number of bytes.
    fn send_again(
        &mut self,
        chosen: SubflowView,
        range: Range<u64>,
        views: &mut [SubflowView],
        cx: &mut Cx<'_>,
    ) -> u64 {
        let carried = self.subflow(chosen.id).and_then(|subflow| subflow.sent.first_held(range.clone()));
        let free = carried.map_or(range.end, |carried| carried.start) - range.start;
        let len = chosen.room.min(MAX_MAPPING).min(usize::try_from(free).unwrap_or(MAX_MAPPING));
        let len = len.min(self.share(chosen.id, range.start, cx).0);
        if len == 0 {
            return 0;
        }
        let Some(bytes) = self.sender.queue.gather(range.start, len) else { return 0 };
        let from = self.subflows.iter().find(|subflow| subflow.sent.holds(range.start..range.start + 1));
        let from = from.map(|subflow| subflow.id);
        let Some((dsn, len)) = self.map(&Outlet::from(&chosen), range.start, bytes, cx) else { return 0 };
        let (conn, to) = (self.id, chosen.id);
        cx.shared.observations.note_exception(|| Observation::Reinjected { conn, from, to, dsn, len });
        let sent = u64::from(len);
        let taken = range.start..range.start + sent;
        self.sender.reinject.taken(taken.clone());
        self.scheduler.on_sent(&Sent { now: cx.now, subflow: to, range: taken, again: true });
        self.sender.bytes_reinjected += sent;
        if let Some(multipath) = self.multipath_mut() {
            // Data that was sent twice is no longer contiguous on one subflow (RFC 8684 section 3.7).
            multipath.single_path = false;
        }
        if let Some(subflow) = self.subflow_mut(chosen.id) {
            subflow.bytes_reinjected += sent;
        }
        cx.shared.mib.bump(Counter::MPTCPRetrans);
        shrink(views, chosen.id, sent);
        sent
    }

    /// Whether [`unblock_window`](Self::unblock_window) may find something to do when the window, or the send buffer, has no room: some subflow is
    /// so much faster than another one that it could bring the first bytes before they arrive there, had they just left.
    pub(crate) fn may_unblock_window(&self, cx: &Cx<'_>) -> bool {
        let blocked = self.sender.queue.unsent() > 0 || self.app.wants_room;
        if !blocked || !self.scheduler.helps_out() {
            return false;
        }
        let usable = self.subflows.iter().filter(|subflow| subflow.usable());
        let times = usable.filter_map(|subflow| cx.tcp.round_trip(subflow.tcp)).map(|time| time.smoothed);
        let (fastest, slowest) = times
            .fold((Duration::MAX, Duration::ZERO), |(fastest, slowest), time| (fastest.min(time), slowest.max(time)));
        slowest > arrives_after(fastest)
    }

    /// The window has no room, or the send buffer, because the first bytes are on their way on a slow subflow, while a faster one
    /// could send: sends them there too, and has the slow one send less (opportunistic retransmission and penalisation, Raiciu et
    /// al., NSDI 2012, section 4.2).
    pub(crate) fn unblock_window(&mut self, views: &mut [SubflowView], cx: &mut Cx<'_>) {
        let queue = &self.sender.queue;
        let (una, unsent) = (queue.una(), queue.unsent());
        // Most often all has left, and more can be written.
        if una >= queue.nxt() || (unsent == 0 && !self.app.wants_room) {
            return;
        }
        let least = views.iter().map(|view| Outlet::from(view).least_segment() as u64).max().unwrap_or(0).min(unsent);
        let window_full = unsent > 0 && queue.nxt() + least >= self.sender.window_end;
        let buffer_full = unsent == 0 && self.app.wants_room;
        let helped = self.scheduler.helps_out() && self.sender.reinject.is_empty();
        if !(window_full || buffer_full) || !helped {
            return;
        }
        let carries =
            |id: SubflowId| self.subflow(id).and_then(|subflow| subflow.sent.first_held(una..una + 1)).is_some();
        let mut holders = views.iter().filter(|view| carries(view.id));
        // Twice is enough.
        let (Some(holder), None) = (holders.next().copied(), holders.next()) else { return };
        let Some(slow) = self.subflow(holder.id) else { return };
        let tcp = slow.tcp;
        let held =
            slow.sent.iter().find(|mapping| mapping.positions().contains(&una)).map(|mapping| mapping.positions().end);
        let (Some(srtt), Some(end)) = (holder.srtt, held) else { return };
        // What is to be sent again there takes another round trip at least.
        let answer = cx.tcp.info(tcp).and_then(|info| info.una_sent_at).map_or(cx.now + srtt, |sent| sent + srtt);
        let sooner = |view: &&SubflowView| {
            view.room >= view.mss && !view.backup && view.srtt.is_some_and(|srtt| cx.now + arrives_after(srtt) < answer)
        };
        let Some(chosen) = views.iter().filter(sooner).min_by_key(|view| view.srtt).copied() else { return };
        if self.send_again(chosen, una..end, views, cx) == 0 {
            return;
        }
        self.scheduler.on_window_blocked(cx.now);
        let Some(slow) = self.subflow_mut(holder.id) else { return };
        // Less in flight makes what waits in a queue of its path sooner, but not what is on a long way. Once in a round trip: it shows no
        // sooner what has come of it.
        let queues = holder.min_rtt.is_none_or(|least| srtt > arrives_after(least));
        if queues && slow.penalised.is_none_or(|at| at + srtt <= cx.now) {
            slow.penalised = Some(cx.now);
            cx.tcp.penalise(cx.now, tcp);
        }
    }

    /// Sends what the scheduler wants to have on a second subflow; false if there is nothing.
    pub(crate) fn push_duplicate(&mut self, views: &mut [SubflowView], cx: &mut Cx<'_>) -> bool {
        let queue = &self.sender.queue;
        let (una, end) = (queue.una(), queue.nxt());
        if una >= end {
            return false;
        }
        let subflows = &self.subflows;
        let outstanding = OutstandingView {
            now: cx.now,
            range: una..end,
            unsent: queue.unsent(),
            message: self.sender.messages.at(una),
            sent: &|id, range| subflows.iter().find(|subflow| subflow.id == id)?.sent.first_held(range),
        };
        let Some(duplicate) = self.scheduler.duplicate(views, &outstanding) else { return false };
        let Some(chosen) = views.get(duplicate.subflow).copied() else { return false };
        let range = duplicate.range.start.max(una)..duplicate.range.end.min(end);
        if range.is_empty() || chosen.room == 0 {
            return false;
        }
        self.send_again(chosen, range, views, cx) > 0
    }

    /// Has TCP repair the subflows on which everything under way should have been answered and has arrived on others meanwhile: a loss there would hold
    /// up what follows, of which nobody would wait for the loss itself.
    pub(crate) fn repair_overtaken(&self, views: &[SubflowView], cx: &mut Cx<'_>) {
        let una = self.sender.queue.una();
        for view in views {
            let Some(subflow) = self.subflow(view.id) else { continue };
            let overtaken = subflow.sent.iter().all(|mapping| mapping.positions().end <= una);
            if subflow.sent.is_empty() || !overtaken {
                continue;
            }
            let sent = cx.tcp.info(subflow.tcp).and_then(|info| info.una_sent_at);
            if sent.zip(view.srtt).is_some_and(|(sent, srtt)| sent + arrives_after(srtt) <= cx.now) {
                cx.tcp.probe_tail(cx.now, subflow.tcp);
            }
        }
    }
}

/// When a subflow is taken to have brought what it is sent: a round trip, and some more for what varies.
fn arrives_after(srtt: Duration) -> Duration {
    srtt.saturating_mul(5) / 4
}
