//! Sending where one subflow alone can be used: nothing is to be chosen, no scheduler is asked, and of TCP only its limits matter.

use tcp_adapter::SendLimits;

use super::connection::Connection;
use super::outlet::Outlet;
use super::policy::send_room;
use super::sender::is_silly;
use super::shared::Cx;
use super::subflow::Subflow;
use super::views::{is_worth_a_mapping, window_room};
use crate::scheduler::{self, TrafficClass};

impl Connection {
    /// The only subflow that can be used, if there is no other, no policy has a say in what it may have, and nothing must go again.
    pub(crate) fn lone_subflow(&self, cx: &Cx<'_>) -> Option<usize> {
        let mut usable = (0..self.subflows.len()).filter(|index| self.subflows[*index].usable());
        let lone = usable.next()?;
        let is_lone = usable.next().is_none();
        (is_lone && cx.shared.policy.generation() == 0 && self.sender.reinject.is_empty()).then_some(lone)
    }

    /// Gives it new data, as far as there is room for it.
    pub(crate) fn push_lone(&mut self, index: usize, class: Option<TrafficClass>, cx: &mut Cx<'_>) {
        let mut available = self.sender.queue.unsent_before(self.sender.window_end);
        if available == 0 {
            return;
        }
        let Some((mut outlet, limits)) = self.lone_outlet(&self.subflows[index], cx) else { return };
        let (longest, mut is_idle) = (self.longest_alone(limits.pacing_rate, limits.mss), limits.outstanding == 0);
        let tcp = self.subflows[index].tcp;
        while available > 0 && outlet.room > 0 && self.is_of(class) {
            let allowed = self.rate_allowance(outlet.mss, cx.now).min(self.allowance(tcp, class, cx));
            let part = Outlet { room: outlet.room.min(allowed).min(longest), ..outlet };
            let sent = self.push_to(&part, available, is_idle, cx);
            if sent == 0 {
                break;
            }
            available -= sent;
            outlet.room = outlet.room.saturating_sub(usize::try_from(sent).unwrap_or(usize::MAX));
            is_idle = false;
        }
    }

    /// What [`look`](Self::look) finds of it, as far as it matters here; `None` without room.
    fn lone_outlet(&self, subflow: &Subflow, cx: &Cx<'_>) -> Option<(Outlet, SendLimits)> {
        let room = send_room(subflow, cx);
        if room == 0 {
            return None;
        }
        let limits = cx.tcp.send_limits(subflow.tcp)?;
        let (mss, mapping_cost) = self.segment_shape(subflow, &limits, false, cx);
        let limits = SendLimits { mss, ..limits };
        let room = if limits.slow_start { room.min(window_room(&limits)) } else { room };
        let is_worth = is_worth_a_mapping(&limits, mapping_cost, room, self.sender.queue.unsent());
        is_worth.then_some((Outlet { id: subflow.id, room, mss, mapping_cost }, limits))
    }

    /// Bytes of a mapping at most on a subflow that is alone, with this pacing rate. Of one with a checksum nothing is delivered before all of it has come.
    pub(crate) fn longest_alone(&self, pacing_rate: Option<u64>, mss: usize) -> usize {
        match self.multipath() {
            Some(state) if state.checksum => scheduler::longest_burst(pacing_rate, mss),
            _ => usize::MAX,
        }
    }

    /// Sends one stretch of the new data that is `available`; returns its length, which is 0 without room.
    fn push_to(&mut self, outlet: &Outlet, available: u64, is_idle: bool, cx: &mut Cx<'_>) -> u64 {
        let queue = &self.sender.queue;
        if outlet.room == 0 {
            return 0;
        }
        let waits_for_more = available < outlet.mss.saturating_sub(outlet.mapping_cost) as u64
            && self.must_fill_segments(queue.nxt() + available);
        if waits_for_more || is_silly(queue, available, outlet.mss) {
            return 0;
        }
        // Nobody waits for room for a whole segment while nothing is under way.
        let len = scheduler::len_alone(outlet.room, outlet.mss, available);
        let Some(len) = len.or(is_idle.then_some(outlet.mss.max(1))) else { return 0 };
        let stretch = queue.unsent_after(0);
        self.send_new(outlet, stretch, len, cx)
    }
}
