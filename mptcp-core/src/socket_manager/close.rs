//! The end of connections and of subflows (RFC 8684 sections 3.3.3, 3.5 and 3.6).

use std::net::IpAddr;
use std::time::Duration;

use tcp_adapter::{CloseReason as TcpCloseReason, Instant, OptionSpace, TcpId, TcpInfo};

use super::connection::{Connection, Doom, Protocol};
use super::input::doom_options;
use super::sender::Fin;
use super::shared::Cx;
use super::subflow::{Stage, Subflow};
use crate::event::{CloseReason, Event, FallbackCause, SubflowCloseReason, SubflowId};
use crate::mib::Counter;
use crate::observe::{Observation, SubflowTotals};
use crate::wire::{AddAddr, AddAddrKind, MpFastclose, MptcpOption, ResetReason};

/// How long the FIN exchange of a subflow may take that is closed for itself, from when the peer was last heard on, or with the connection once that is
/// closed on both sides.
const FIN_TIMEOUT: Duration = Duration::from_secs(15);

/// How often that begins anew at most: a peer that never answers, but goes on sending, shall not keep what is to be closed.
const MOST_EXTENSIONS: u8 = 7;

impl Connection {
    /// The application will write no more.
    pub(crate) fn shut(&mut self) {
        if self.sender.fin == Fin::Open {
            self.sender.fin = Fin::Queued;
        }
    }

    /// The application gives the handle back.
    pub(crate) fn release(&mut self, cx: &mut Cx<'_>) {
        self.app.released = true;
        if self.closed.is_some() {
            return;
        }
        if !self.is_open() || self.receiver.is_readable() {
            // Data that no one will read: the peer must learn that it did not arrive (RFC 9293 section 3.6.1).
            self.fast_close(cx);
            return;
        }
        self.shut();
        self.app.acked_at_release = self.sender.queue.una();
        self.give_up_by(cx.now + cx.shared.config.close_timeout);
    }

    /// Gives up at `at`, or earlier if that was decided before.
    fn give_up_by(&mut self, at: Instant) {
        self.give_up_at = Some(self.give_up_at.map_or(at, |earlier| earlier.min(at)));
    }

    /// Both sides have closed, and everything is acknowledged.
    pub(crate) fn is_over(&self) -> bool {
        self.sender.fin == Fin::Acked && self.receiver.is_finished()
    }

    /// Closes at once: MP_FASTCLOSE on a RST of every subflow (RFC 8684 section 3.5, option R), or a plain RST.
    pub(crate) fn fast_close(&mut self, cx: &mut Cx<'_>) {
        self.fast_close_for(CloseReason::Aborted, cx);
    }

    /// The same for another reason, as this side sees it.
    pub(super) fn fast_close_for(&mut self, reason: CloseReason, cx: &mut Cx<'_>) {
        if self.closed.is_some() {
            return;
        }
        let mut space = OptionSpace::new(OptionSpace::MAX);
        if let Some(state) = self.multipath()
            && MptcpOption::Fastclose(MpFastclose { receiver_key: state.remote.key }).emit(&mut space)
        {
            cx.shared.mib.bump(Counter::MPFastcloseTx);
        }
        for subflow in &self.subflows {
            if cx.tcp.abort(cx.now, subflow.tcp, space.as_slice()).is_err() {
                tracing::debug!(conn = %self.id, subflow = %subflow.id, "subflow was gone already");
            }
        }
        self.finish(reason, cx.shared);
    }

    /// Sends the DATA_FIN when its turn has come, and closes the subflows after both sides' (section 3.3.3).
    pub(crate) fn advance_close(&mut self, cx: &mut Cx<'_>) {
        if self.closed.is_some() || !self.is_open() || matches!(self.protocol, Protocol::Negotiating(_)) {
            return;
        }
        if self.sender.fin == Fin::Queued && self.sender.queue.nxt() == self.sender.queue.end() {
            self.sender.fin = Fin::Sent;
            match self.protocol {
                Protocol::Plain(_) => self.close_subflows(cx),
                _ => {
                    self.acknowledge(cx);
                    self.arm_data_rto(cx);
                }
            }
        }
        // After a fallback the FIN is acknowledged by TCP, which reports the end itself.
        if self.multipath().is_none() {
            return;
        }
        if self.subflows.iter().any(|subflow| subflow.fin_received && !subflow.fin_sent) {
            self.answer_fins(cx);
        }
        if self.is_over() {
            self.close_subflows(cx);
            if self.subflows.is_empty() {
                self.finish(CloseReason::Normal, cx.shared);
            }
        }
    }

    /// FINs on all subflows.
    fn close_subflows(&mut self, cx: &mut Cx<'_>) {
        let multipath = self.multipath().is_some();
        let mut stuck = Vec::new();
        for subflow in &mut self.subflows {
            if subflow.fin_sent {
                continue;
            }
            subflow.fin_sent = true;
            if !subflow.connected {
                stuck.push((subflow.id, Doom::Bare));
            } else if multipath && subflow.stale.is_some() {
                // Everything it holds has arrived over the others (section 3.3.3).
                stuck.push((subflow.id, Doom::Reason(ResetReason::TooMuchOutstanding)));
            } else {
                if multipath {
                    subflow.stage = Stage::Closing;
                }
                cx.tcp.shutdown(cx.now, subflow.tcp);
            }
        }
        if multipath {
            self.give_up_by(cx.now + FIN_TIMEOUT);
        }
        for (id, doom) in stuck {
            self.doom(id, doom);
        }
    }

    /// The peer has sent a FIN on a subflow.
    pub(crate) fn on_subflow_fin(&mut self, id: SubflowId, cx: &mut Cx<'_>) {
        let confirmed = self.multipath().is_none_or(|state| state.confirmed);
        if !confirmed && id == SubflowId(0) && self.can_fall_back() {
            // No DSS has come before the end: the peer speaks regular TCP, and this is the end of its stream (section 3.7).
            self.fall_back(FallbackCause::DataWithoutMapping, 0, cx.shared);
        }
        self.pull(id, cx);
        let multipath = match self.protocol {
            Protocol::Plain(_) => {
                let end = self.receiver.stream.rcv_nxt();
                self.receiver.learn_fin(end);
                self.check_fin(cx);
                false
            }
            _ => true,
        };
        let end = self.sender.queue.end();
        let Some(subflow) = self.subflow_mut(id) else { return };
        (subflow.fin_received, subflow.written_before_fin) = (true, end.into());
        if multipath {
            self.answer_fins(cx);
        }
    }

    /// Answers the FINs of single subflows. They carry nothing more from the peer; what this side has new goes over the others. Where
    /// there is no other that works, what was written by then goes over this one first (section 3.3.3).
    fn answer_fins(&mut self, cx: &mut Cx<'_>) {
        let works = self.subflows.iter().any(|subflow| subflow.usable() && !subflow.fin_received);
        let ending = matches!(self.sender.fin, Fin::Queued | Fin::Sent);
        let una = self.sender.queue.una();
        for index in 0..self.subflows.len() {
            let Subflow { id, fin_received, written_before_fin, fin_sent, .. } = self.subflows[index];
            let waits = fin_received && !fin_sent;
            if waits && (works || (!written_before_fin.is_after(una) && !ending)) {
                self.end_subflow(id, cx);
            }
        }
    }

    /// Whether a subflow is the last one that works, and either side may still have something to say (RFC 8684 section 3.3.3): a peer
    /// that has nothing else would take its end for our wish.
    pub(crate) fn needs(&self, id: SubflowId) -> bool {
        !self.is_over() && self.has_only(|subflow| subflow.id == id)
    }

    /// Whether all subflows that work use an address of ours, and either side may still have something to say.
    pub(crate) fn needs_address(&self, addr: IpAddr) -> bool {
        !self.is_over() && self.has_only(|subflow| subflow.local.ip() == addr)
    }

    /// Whether there are subflows that work, and these are all.
    fn has_only(&self, which: impl Fn(&Subflow) -> bool) -> bool {
        let mut usable = self.subflows.iter().filter(|subflow| subflow.usable()).peekable();
        usable.peek().is_some() && usable.all(which)
    }

    /// Closes one subflow in order, on request of the application or for want of its address.
    pub(crate) fn close_subflow(&mut self, id: SubflowId, cx: &mut Cx<'_>) {
        if self.end_subflow(id, cx) {
            // Its path may be dead, which is a reason to close it: nothing shall wait for it.
            self.reinject_all(id);
        }
    }

    /// Sends a FIN after what a subflow holds, or resets it if it cannot have one. False if that has been done before.
    fn end_subflow(&mut self, id: SubflowId, cx: &mut Cx<'_>) -> bool {
        let Some(subflow) = self.subflow_mut(id).filter(|subflow| !subflow.fin_sent) else { return false };
        subflow.fin_sent = true;
        if subflow.connected && subflow.stage == Stage::Established {
            subflow.stage = Stage::Closing;
            subflow.close_by = Some(cx.now + FIN_TIMEOUT);
            cx.tcp.shutdown(cx.now, subflow.tcp);
        } else {
            self.doom(id, Doom::Reason(ResetReason::Prohibited));
        }
        true
    }

    /// Resets subflows whose FIN exchange takes too long. The peer may have much to send before it answers: while it does, it has time, within reason.
    pub(crate) fn end_closing(&mut self, now: Instant) {
        for subflow in &mut self.subflows {
            let heard_until = subflow.heard_at + FIN_TIMEOUT;
            let may_wait = !subflow.fin_received && subflow.extensions < MOST_EXTENSIONS;
            if may_wait && subflow.close_by.is_some_and(|at| at <= now) && heard_until > now {
                subflow.close_by = Some(heard_until);
                subflow.extensions += 1;
            }
        }
        let late = |subflow: &&Subflow| subflow.close_by.is_some_and(|at| at <= now);
        let gone: Vec<SubflowId> = self.subflows.iter().filter(late).map(|subflow| subflow.id).collect();
        for id in gone {
            self.doom(id, Doom::Reason(ResetReason::Unspecified));
        }
    }

    /// Resets what was marked for it.
    #[inline]
    pub(crate) fn carry_out_dooms(&mut self, cx: &mut Cx<'_>) {
        if !self.doomed.is_empty() {
            self.reset_doomed(cx);
        }
    }

    #[inline(never)]
    fn reset_doomed(&mut self, cx: &mut Cx<'_>) {
        for (id, doom) in self.doomed.take() {
            let Some(subflow) = self.subflow_mut(id) else { continue };
            if let Doom::Reason(reason) = doom {
                subflow.own_reset = Some(reason);
            }
            let tcp = subflow.tcp;
            let options = doom_options(doom, cx.shared);
            if cx.tcp.abort(cx.now, tcp, options.as_slice()).is_err() {
                // TCP has forgotten it, and its last event has been or will be handled like any other.
                tracing::trace!(conn = %self.id, subflow = %id, "subflow was gone already");
            }
        }
    }

    /// The TCP connection of a subflow is gone. `last` is its state before, if somebody watches.
    pub(crate) fn on_subflow_closed(
        &mut self,
        tcp: TcpId,
        reason: TcpCloseReason,
        last: Option<&TcpInfo>,
        cx: &mut Cx<'_>,
    ) {
        let Some(index) = self.subflows.iter().position(|subflow| subflow.tcp == tcp) else { return };
        let id = self.subflows[index].id;
        self.pull(id, cx);
        self.reinject_all(id);
        let Some(index) = self.subflows.iter().position(|subflow| subflow.id == id) else { return };
        let subflow = self.subflows.remove(index);
        self.remember(&subflow);
        let conn = self.id;
        cx.shared.observations.note_exception(|| Observation::SubflowGone {
            conn,
            subflow: id,
            local: subflow.local.into(),
            remote: subflow.remote.into(),
            totals: SubflowTotals {
                bytes_received: subflow.bytes_received,
                bytes_reinjected: subflow.bytes_reinjected,
                retransmissions: last.map_or(0, |tcp| tcp.retransmissions),
                losses: last.and_then(|tcp| tcp.losses),
            },
        });
        for option in subflow.control.iter() {
            if let MptcpOption::AddAddr(AddAddr { addr_id, kind: AddAddrKind::Announce { .. }, .. }) = option {
                self.paths.announced.not_sent(*addr_id);
            }
        }
        let why = match (reason, subflow.own_reset) {
            (_, Some(own)) => SubflowCloseReason::Aborted(own),
            (TcpCloseReason::Normal, None) => SubflowCloseReason::Normal,
            (TcpCloseReason::Refused, None) => match subflow.peer_reset {
                Some((reason, true)) => SubflowCloseReason::Reset(Some((reason, true))),
                _ => SubflowCloseReason::Refused,
            },
            (TcpCloseReason::Reset, None) => SubflowCloseReason::Reset(subflow.peer_reset),
            (TcpCloseReason::TimedOut, None) => SubflowCloseReason::TimedOut,
            (TcpCloseReason::Aborted, None) => SubflowCloseReason::Aborted(ResetReason::Unspecified),
        };
        tracing::debug!(conn = %self.id, subflow = %id, ?why, "subflow closed");
        if self.closed.is_some() {
            return;
        }
        if self.multipath().is_none() || !self.is_open() {
            if !subflow.is_join() {
                self.finish(plain_close_reason(reason), cx.shared);
            }
            return;
        }
        cx.shared.events.push_back(Event::SubflowClosed(self.id, id, why));
        if self.is_over() {
            if self.subflows.is_empty() {
                self.finish(CloseReason::Normal, cx.shared);
            }
            return;
        }
        let confirmed = self.multipath().is_some_and(|state| state.confirmed);
        if !confirmed && subflow.initiator && !subflow.is_join() {
            // The peer is not known to have the keys: there can be no other subflow (section 3.1).
            let on_our_own = subflow.own_reset.is_some();
            let why = match plain_close_reason(reason) {
                _ if on_our_own => CloseReason::TimedOut,
                // Without DATA_FINs the FINs of both sides are no orderly end.
                CloseReason::Normal => CloseReason::Reset,
                why => why,
            };
            return self.finish(why, cx.shared);
        }
        self.reconsider_path(&subflow, why, cx);
        if !self.subflows.iter().any(Subflow::alive) && self.give_up_at.is_none() {
            // Another subflow may be made in time (make after break); attempts are none yet.
            self.give_up_at = Some(cx.now + cx.shared.config.close_timeout);
        }
    }

    /// The time to wait for subflows or for the peer's close is over.
    pub(crate) fn give_up(&mut self, cx: &mut Cx<'_>) {
        if self.is_over() {
            self.finish(CloseReason::Normal, cx.shared);
        } else if self.subflows.is_empty() || !self.app.released {
            // A subflow that is there is an attempt that has not succeeded in time.
            self.finish(CloseReason::TimedOut, cx.shared);
        } else if self.sender.queue.una() > self.app.acked_at_release {
            // The peer still takes what is queued, however slowly.
            self.app.acked_at_release = self.sender.queue.una();
            self.give_up_by(cx.now + cx.shared.config.close_timeout);
        } else {
            self.fast_close(cx);
        }
    }
}

fn plain_close_reason(reason: TcpCloseReason) -> CloseReason {
    match reason {
        TcpCloseReason::Normal => CloseReason::Normal,
        TcpCloseReason::Refused => CloseReason::Refused,
        TcpCloseReason::Reset => CloseReason::Reset,
        TcpCloseReason::TimedOut => CloseReason::TimedOut,
        TcpCloseReason::Aborted => CloseReason::Aborted,
    }
}
