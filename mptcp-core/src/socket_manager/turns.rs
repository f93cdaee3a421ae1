//! Sending where classes share interfaces: only as much as the [`Shares`](super::shares::Shares) allow, and in turn.

use std::time::Duration;

use tcp_adapter::{Instant, TcpId};

use super::connection::{Connection, Protocol};
use super::sender::MAX_MAPPING;
use super::shared::Cx;
use crate::event::SubflowId;
use crate::scheduler::{SubflowView, TrafficClass};

impl Connection {
    /// The class of the next bytes to be sent, new ones or again.
    pub(crate) fn class(&self) -> TrafficClass {
        let again = self.sender.reinject.next(1).map(|range| range.start);
        self.sender.messages.at(again.unwrap_or_else(|| self.sender.queue.nxt())).class
    }

    /// Whether the next bytes are of the class that is being sent; `None` is any.
    pub(crate) fn is_of(&self, class: Option<TrafficClass>) -> bool {
        class.is_none_or(|class| self.class() == class)
    }

    /// Gives subflows what may be sent now, as far as its classes have a share left and it is its turn. Otherwise it waits.
    pub(crate) fn push_in_turn(&mut self, cx: &mut Cx<'_>) {
        loop {
            let (class, before) = (self.class(), self.waiting(cx.now));
            let slot = self.id.index;
            let has_turn = cx.shared.shares.as_ref().is_none_or(|shares| shares.has_turn(class, slot));
            if !has_turn {
                return if before > 0 {
                    self.wait(class, false, cx)
                };
            }
            self.push_class(Some(class), cx);
            if self.class() == class || self.waiting(cx.now) == before {
                return self.end_turn(class, cx);
            }
        }
    }

    /// Takes from what subflows have room for what the connection's own rate does not allow, and what the class must leave to others.
    #[inline]
    pub(crate) fn cut_to_share(&self, views: &mut [SubflowView], class: Option<TrafficClass>, cx: &Cx<'_>) {
        self.cut_to_rate(views, cx.now);
        if class.is_some() {
            self.leave_to_others(views, class, cx);
        }
    }

    #[inline(never)]
    fn leave_to_others(&self, views: &mut [SubflowView], class: Option<TrafficClass>, cx: &Cx<'_>) {
        for view in views {
            let tcp = self.subflow(view.id).map(|subflow| subflow.tcp);
            view.room = tcp.map_or(0, |tcp| view.room.min(self.allowance(tcp, class, cx)));
        }
    }

    /// Bytes that the class may hand to a subflow now.
    pub(crate) fn allowance(&self, tcp: TcpId, class: Option<TrafficClass>, cx: &Cx<'_>) -> usize {
        let (Some(class), Some(shares)) = (class, &cx.shared.shares) else { return usize::MAX };
        let Some(info) = cx.tcp.info(tcp) else { return 0 };
        shares.allowance(class, info.interface, (self.at_hand(), info.mss), cx.now)
    }

    /// Bytes from `start` on that their class may hand to a subflow now, and where others may begin, of another class with other limits.
    pub(crate) fn share(&self, id: SubflowId, start: u64, cx: &Cx<'_>) -> (usize, u64) {
        if cx.shared.shares.is_none() {
            return (usize::MAX, u64::MAX);
        }
        let (class, until) = self.sender.messages.class_at(start, MAX_MAPPING as u64);
        let until = until.unwrap_or(u64::MAX);
        let allowed = self.subflow(id).map_or(0, |subflow| self.allowance(subflow.tcp, Some(class), cx));
        (allowed.min(usize::try_from(until - start).unwrap_or(usize::MAX)), until)
    }

    /// Counts what was handed to a subflow.
    pub(crate) fn charge(&self, index: usize, position: u64, bytes: u64, cx: &mut Cx<'_>) {
        let Some(shares) = &mut cx.shared.shares else { return };
        let Some(info) = cx.tcp.info(self.subflows[index].tcp) else { return };
        shares.charge(self.sender.messages.at(position).class, info.interface, bytes, cx.now);
    }

    /// After it has sent what it could: says where its congestion windows hold it back, and waits where its share does.
    fn end_turn(&mut self, class: TrafficClass, cx: &mut Cx<'_>) {
        let at_hand = self.waiting(cx.now);
        let mut held_by_share = false;
        for subflow in self.subflows.iter().filter(|subflow| subflow.usable()) {
            let allowed = self.allowance(subflow.tcp, Some(class), cx) > 0;
            held_by_share |= at_hand > 0 && !allowed && cx.tcp.send_room(subflow.tcp) > 0;
            let (Some(info), Some(shares)) = (cx.tcp.info(subflow.tcp), &mut cx.shared.shares) else { continue };
            // What waits for its share does not wait for the congestion window.
            let more = info.queued + if allowed { at_hand } else { 0 };
            if info.in_flight > 0 && more > 0 && info.cwnd.is_some_and(|cwnd| info.in_flight + more > cwnd) {
                shares.hold_back(class, info.interface, info.srtt.unwrap_or(Duration::ZERO), cx.now);
            }
        }
        if held_by_share {
            self.wait(class, true, cx);
        }
    }

    /// Waits until the class may send again.
    pub(crate) fn wait(&mut self, class: TrafficClass, had_turn: bool, cx: &mut Cx<'_>) {
        let Some(shares) = &mut cx.shared.shares else { return };
        if !std::mem::replace(&mut self.waits_for_turn, true) {
            shares.wait(class, self.id.index, had_turn, cx.now);
        }
    }

    /// Bytes that wait for their turn, or for room on subflows: none while it is the connection's own rate that holds them back.
    fn waiting(&self, now: Instant) -> u64 {
        if self.waits_for_rate(now) { 0 } else { self.at_hand() }
    }

    /// Bytes that could be sent if subflows had room.
    fn at_hand(&self) -> u64 {
        let edge = match self.protocol {
            Protocol::Multipath(_) => self.sender.window_end,
            Protocol::Plain(_) => u64::MAX,
            Protocol::Negotiating(_) => return 0,
        };
        self.sender.queue.unsent_before(edge) + self.sender.reinject.len_bytes()
    }
}
