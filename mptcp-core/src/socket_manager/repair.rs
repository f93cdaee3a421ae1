//! What a subflow repairs is sent on another one too, where that has nothing else to carry.

use std::time::Duration;

use super::connection::Connection;
use super::shared::Cx;
use crate::event::SubflowId;
use crate::scheduler::SubflowView;

/// A repetition that gets lost as well is missed after a round trip and some, and then sent once more: a copy on another subflow arrives before that
/// if its round trip is shorter than so many of these.
const IN_TIME: u32 = 3;

impl Connection {
    /// Whether [`copy_repair`](Self::copy_repair) may find something to do: there is nothing to send, and some subflow sends again what was lost on it.
    pub(crate) fn may_copy_repair(&self, cx: &Cx<'_>) -> bool {
        let has_nothing = self.sender.queue.unsent() == 0 && !self.app.wants_room && self.sender.reinject.is_empty();
        has_nothing
            && self.scheduler.helps_out()
            && self.subflows.iter().any(|subflow| subflow.usable() && cx.tcp.under_repair(subflow.tcp).is_some())
    }

    /// The application has no more to send, perhaps until it hears of what is under way, and the first byte of that is repaired by the TCP that has lost
    /// it. Sends it on another subflow too: it is all that the peer waits for, and takes nothing from anything else.
    pub(crate) fn copy_repair(&mut self, views: &mut [SubflowView], cx: &mut Cx<'_>) {
        let (una, nxt) = (self.sender.queue.una(), self.sender.queue.nxt());
        if una >= nxt || !self.may_copy_repair(cx) {
            return;
        }
        let holds = |id: SubflowId| self.subflow(id).is_some_and(|subflow| subflow.sent.holds(una..una + 1));
        let mut holders = views.iter().filter(|view| holds(view.id));
        // Twice is enough.
        let (Some(holder), None) = (holders.next().copied(), holders.next()) else { return };
        let Some(subflow) = self.subflow(holder.id) else { return };
        let Some(mapping) = subflow.sent.iter().find(|mapping| mapping.positions().contains(&una)) else { return };
        if cx.tcp.under_repair(subflow.tcp) != Some(mapping.offset + (una - mapping.pos)) {
            return;
        }
        let end = mapping.positions().end.min(una + holder.mss as u64);
        let latest = holder.srtt.map_or(Duration::MAX, |srtt| srtt.saturating_mul(IN_TIME));
        let is_in_time = |view: &&SubflowView| {
            view.id != holder.id && view.room > 0 && !view.backup && view.srtt.is_some_and(|srtt| srtt < latest)
        };
        if let Some(chosen) = views.iter().filter(is_in_time).min_by_key(|view| view.srtt).copied() {
            self.send_again(chosen, una..end, views, cx);
        }
    }
}
