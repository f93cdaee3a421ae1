//! A connection: its state, and what can be asked of it.
//!
//! What a connection does is spread over the sibling files by subject: `handshake`, `input`, `output`,
//! `sender`, `restraint`, `receiver`, `fallback`, `close`, `paths`, `timers`.

use std::net::SocketAddr;
use std::ops::RangeInclusive;

use tcp_adapter::{IdleQueue, Instant, ListenerId};

use super::early::Early;
use super::receiver::Receiver;
use super::sender::Sender;
use super::shared::{KeyMaterial, Shared};
use super::subflow::{Stage, Subflow};
use crate::congestion::{Coupler, Coupling};
use crate::event::{CloseReason, ConnId, Event, FallbackCause, SubflowId};
use crate::info::{ConnInfo, ConnState, SubflowInfo, SubflowState};
use crate::keys::Idsn;
use crate::path_manager::strategy::SharedStrategy;
use crate::path_manager::{Limits, PathState};
use crate::scheduler::Scheduler;

/// Subflows that are gone and still remembered, at most: as many as there can be at a time.
const MAX_PAST_SUBFLOWS: usize = Limits::MAX_SUBFLOWS as usize + 1;

/// What the two hosts have agreed to speak.
#[derive(Debug)]
pub(crate) enum Protocol {
    /// MP_CAPABLE is offered or answered; the peer's key, or its last word, is not known yet.
    Negotiating(Negotiating),
    /// MPTCP.
    Multipath(Multipath),
    /// Regular TCP on the first subflow.
    Plain(Plain),
}

/// State of an open MP_CAPABLE handshake.
#[derive(Debug)]
pub(crate) struct Negotiating {
    pub(crate) local: KeyMaterial,
    /// One of the sides known so far requires checksums.
    pub(crate) checksum: bool,
}

/// State of a connection that speaks MPTCP.
#[derive(Debug)]
pub(crate) struct Multipath {
    pub(crate) local: KeyMaterial,
    pub(crate) remote: KeyMaterial,
    pub(crate) checksum: bool,
    /// The peer has our keys, as a DSS or the HMAC of an ADD_ADDR shows. Until then MP_CAPABLE is repeated (RFC 8684
    /// section 3.1).
    pub(crate) introduced: bool,
    /// A DSS option has come in. Until then no subflow is added (section 3.1).
    pub(crate) confirmed: bool,
    /// All data so far went over the first subflow, in order and once, so a fallback is possible (section 3.7).
    pub(crate) single_path: bool,
    /// A segment without payload has acknowledged data of the peer.
    pub(crate) has_acked: bool,
    /// A DSS has left on a segment without payload, so that the peer may add subflows (section 3.1) even if the path is too narrow
    /// for data.
    pub(crate) has_confirmed: bool,
    /// Each segment declares its mapping, as one that was declared once seems to have been lost although its bytes were not. For good, once
    /// something was repeated: whether it was needed is not known then, and the next such loss would take a DATA-RTO again.
    pub(crate) maps_all: bool,
}

/// State of a connection that has fallen back, or never spoke MPTCP.
#[derive(Debug)]
pub(crate) struct Plain {
    pub(crate) cause: FallbackCause,
    /// Stream position of subflow offset 0, sending; wraps if the position is the smaller one.
    pub(crate) tx_base: u64,
    /// The same, receiving.
    pub(crate) rx_base: u64,
    /// What the peer numbers its data from, should it not have fallen back.
    pub(crate) rx_idsn: Option<Idsn>,
    /// The infinite mapping that tells the peer.
    pub(crate) infinite: Option<Box<Infinite>>,
    /// Payload that was altered on the way, as long as the peer does not seem to have heard of it.
    pub(crate) altered: Option<Box<Altered>>,
}

/// What MP_FAIL says (RFC 8684 section 3.7). It leaves with segments without payload, which may be lost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Altered {
    pub(crate) dsn: u64,
    /// When it is said again.
    pub(crate) again: Option<Instant>,
}

/// An infinite mapping to be sent on one last DSS option (RFC 8684 section 3.7).
#[derive(Clone, Debug)]
pub(crate) struct Infinite {
    /// Where it starts.
    pub(crate) dsn: u64,
    pub(crate) ssn: u32,
    pub(crate) checksum: bool,
    /// Subflow offsets of the chunks that declare it on each of their segments, so that one that is lost takes it along
    /// again. The last is that of the first new chunk; the FIN declares it if there is none.
    pub(crate) tellers: RangeInclusive<u64>,
    pub(crate) is_sent: bool,
}

/// What the application has done and was told.
#[derive(Debug, Default)]
pub(crate) struct Application {
    /// The first subflow is connected, so that bytes can be written and read.
    pub(crate) opened: bool,
    /// The handle is given back: no one will read or write.
    pub(crate) released: bool,
    /// It was told that it is established, or handed out by `accept`.
    pub(crate) announced: bool,
    /// It was told of bytes that it has not read to the end yet.
    pub(crate) told_readable: bool,
    /// A write took less than it was given.
    pub(crate) wants_room: bool,
    pub(crate) told_finished: bool,
    /// What was acknowledged when the handle was given back, or when patience with the peer was last renewed.
    pub(crate) acked_at_release: u64,
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) id: ConnId,
    /// The listener that it came from, if passive.
    pub(crate) listener: Option<ListenerId>,
    pub(crate) protocol: Protocol,
    pub(crate) subflows: Vec<Subflow>,
    /// Subflows that are gone, the last ones at the end.
    pub(crate) past: Vec<SubflowInfo>,
    pub(crate) next_subflow: u32,
    pub(crate) sender: Sender,
    pub(crate) receiver: Receiver,
    pub(crate) paths: PathState,
    pub(crate) scheduler: Box<dyn Scheduler>,
    pub(crate) coupler: Coupler,
    pub(crate) app: Application,
    pub(crate) early: Early,
    /// Set once, when it is over.
    pub(crate) closed: Option<CloseReason>,
    /// When to give up: no subflow is left, or the peer does not answer our close.
    pub(crate) give_up_at: Option<Instant>,
    /// It is on the list of connections to look at.
    pub(crate) dirty: bool,
    /// It is in a queue of those that may not send now, as classes share.
    pub(crate) waits_for_turn: bool,
    /// What it contributes to the stack's count of held bytes.
    pub(crate) memory_counted: usize,
    /// Subflows to reset as soon as TCP can be reached: a hook cannot.
    pub(crate) doomed: IdleQueue<(SubflowId, Doom)>,
    /// When to look whether queues that were in use are empty.
    pub(crate) trim_at: Option<Instant>,
}

/// How a subflow is to be reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doom {
    /// MP_TCPRST with this reason.
    Reason(crate::wire::ResetReason),
    /// MP_FAIL at this absolute DSN (RFC 8684 section 3.7).
    Fail(u64),
    /// The peer asked for it with MP_FASTCLOSE or the connection is over: a bare RST.
    Bare,
}

/// What identifies a new connection.
pub(crate) struct NewConnection {
    pub(crate) id: ConnId,
    pub(crate) listener: Option<ListenerId>,
    pub(crate) protocol: Protocol,
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) scheduler: Box<dyn Scheduler>,
    pub(crate) coupling: Coupling,
    pub(crate) strategy: SharedStrategy,
}

impl Connection {
    pub(crate) fn new(new: NewConnection, shared: &Shared) -> Self {
        let NewConnection { id, listener, protocol, local, remote, scheduler, coupling, strategy } = new;
        Self {
            id,
            listener,
            protocol,
            // Most have one for most of their lives, and there may be very many.
            subflows: Vec::with_capacity(1),
            past: Vec::new(),
            next_subflow: 0,
            sender: Sender::new(),
            receiver: Receiver::new(&shared.config),
            paths: PathState::new((local, remote), listener.is_none(), strategy),
            scheduler,
            coupler: Coupler::new(coupling),
            app: Application::default(),
            early: Early::default(),
            closed: None,
            give_up_at: None,
            dirty: false,
            waits_for_turn: false,
            memory_counted: 0,
            doomed: IdleQueue::new(),
            trim_at: None,
        }
    }

    pub(crate) fn multipath(&self) -> Option<&Multipath> {
        match &self.protocol {
            Protocol::Multipath(multipath) => Some(multipath),
            Protocol::Negotiating(_) | Protocol::Plain(_) => None,
        }
    }

    pub(crate) fn multipath_mut(&mut self) -> Option<&mut Multipath> {
        match &mut self.protocol {
            Protocol::Multipath(multipath) => Some(multipath),
            Protocol::Negotiating(_) | Protocol::Plain(_) => None,
        }
    }

    pub(crate) fn local_key(&self) -> Option<&KeyMaterial> {
        match &self.protocol {
            Protocol::Negotiating(state) => Some(&state.local),
            Protocol::Multipath(state) => Some(&state.local),
            Protocol::Plain(_) => None,
        }
    }

    #[inline]
    pub(crate) fn subflow(&self, id: SubflowId) -> Option<&Subflow> {
        self.subflow_index(id).map(|index| &self.subflows[index])
    }

    #[inline]
    pub(crate) fn subflow_mut(&mut self, id: SubflowId) -> Option<&mut Subflow> {
        self.subflow_index(id).map(|index| &mut self.subflows[index])
    }

    /// Where a subflow is: at the place of its number as long as none before it has gone.
    #[inline]
    pub(crate) fn subflow_index(&self, id: SubflowId) -> Option<usize> {
        let place = id.0 as usize;
        if self.subflows.get(place).is_some_and(|subflow| subflow.id == id) {
            return Some(place);
        }
        self.subflows.iter().position(|subflow| subflow.id == id)
    }

    /// The handshake of the first subflow is complete, so that the application can use the connection.
    pub(crate) fn is_open(&self) -> bool {
        self.app.opened
    }

    /// The next number for a subflow.
    pub(crate) fn draw_subflow_id(&mut self) -> SubflowId {
        let id = SubflowId(self.next_subflow);
        self.next_subflow += 1;
        id
    }

    /// Subflows besides the first one that exist or are in the making.
    pub(crate) fn extra_subflows(&self) -> usize {
        let counted = self.subflows.iter().filter(|subflow| subflow.counts()).count();
        counted.saturating_sub(1)
    }

    /// Whether the peer can have no other subflow within the limit. Those whose address it has withdrawn do not count as long as they do not
    /// answer: it may be moving, and what replaces them comes at the same time. But they may answer yet.
    pub(crate) fn is_full(&self, limit: u8) -> bool {
        let leaving = self.subflows.iter().filter(|subflow| subflow.counts() && subflow.is_leaving()).count();
        let extra = self.extra_subflows();
        let limit = usize::from(limit);
        extra.saturating_sub(leaving) >= limit || extra >= (2 * limit).min(usize::from(Limits::MAX_SUBFLOWS))
    }

    /// Marks for a reset at the next opportunity.
    pub(crate) fn doom(&mut self, subflow: SubflowId, doom: Doom) {
        if !self.doomed.iter().any(|(known, _)| *known == subflow) {
            self.doomed.push_back((subflow, doom));
        }
    }

    /// The connection is over; the application is told once.
    pub(crate) fn finish(&mut self, reason: CloseReason, shared: &mut Shared) {
        if self.closed.is_some() {
            return;
        }
        if self.app.announced && matches!(self.protocol, Protocol::Multipath(_)) {
            shared.mib.lower(crate::mib::Counter::MPCurrEstab);
        }
        self.closed = Some(reason);
        self.give_up_at = None;
        self.forget_token(shared);
        for index in 0..self.subflows.len() {
            let id = self.subflows[index].id;
            self.doom(id, Doom::Bare);
        }
        tracing::debug!(conn = %self.id, %reason, "connection closed");
        if self.app.announced && !self.app.released || self.listener.is_none() {
            shared.events.push_back(Event::Closed(self.id, reason));
        }
    }

    pub(crate) fn forget_token(&mut self, shared: &mut Shared) {
        if let Some(local) = self.local_key() {
            let token = local.token;
            if shared.tokens.find(token) == Some(self.id) {
                shared.tokens.remove(token);
            }
        }
    }

    /// Nothing more is expected: no TCP connection is left, and no one holds the handle.
    pub(crate) fn is_spent(&self) -> bool {
        self.closed.is_some()
            && self.subflows.is_empty()
            && (self.app.released || (self.listener.is_some() && !self.app.announced))
    }

    #[inline]
    pub(crate) fn memory(&self) -> usize {
        let waiting: usize = match &self.subflows[..] {
            [only] => only.reader.waiting(),
            several => several.iter().map(|subflow| subflow.reader.waiting()).sum(),
        };
        self.sender.queue.len() + self.receiver.held() + waiting
    }

    /// Tells the stack what it holds.
    #[inline]
    pub(crate) fn settle_memory(&mut self, shared: &mut Shared) {
        let held = self.memory();
        shared.memory_held = shared.memory_held + held - self.memory_counted;
        self.memory_counted = held;
    }

    /// The same in the middle of something that ends with it, if there is so little left that what is not counted yet could matter.
    #[inline]
    pub(crate) fn settle_memory_if_scarce(&mut self, shared: &mut Shared) {
        /// The longest of segments, and the fragments that it may make.
        const UNCOUNTED: usize = 1 << 17;
        if shared.memory_held.saturating_add(UNCOUNTED) > shared.config.memory_limit / 2 {
            self.settle_memory(shared);
        }
    }

    pub(crate) fn state(&self) -> ConnState {
        if let Some(reason) = self.closed {
            return ConnState::Closed(reason);
        }
        if !self.is_open() {
            return ConnState::Opening;
        }
        match (self.sender.is_shut(), self.receiver.is_finished()) {
            (false, false) => ConnState::Established,
            (true, false) => ConnState::HalfClosedLocal,
            (false, true) => ConnState::HalfClosedRemote,
            (true, true) => ConnState::Closing,
        }
    }

    pub(crate) fn info(&self) -> ConnInfo {
        let queue = &self.sender.queue;
        let (remote_token, checksum) = match &self.protocol {
            Protocol::Multipath(state) => (Some(state.remote.token.0), state.checksum),
            Protocol::Negotiating(state) => (None, state.checksum),
            Protocol::Plain(_) => (None, false),
        };
        ConnInfo {
            state: self.state(),
            local: self.paths.local.into(),
            remote: self.paths.remote.into(),
            local_token: self.local_key().map(|local| local.token.0),
            remote_token,
            fallback: match &self.protocol {
                Protocol::Plain(plain) => Some(plain.cause),
                Protocol::Negotiating(_) | Protocol::Multipath(_) => None,
            },
            checksum,
            scheduler: self.scheduler.name(),
            coupling: self.coupler.coupling(),
            path_strategy: self.paths.strategy.name(),
            corked: self.is_corked(),
            max_pacing_rate: self.max_pacing_rate(),
            subflows: self.subflows.len(),
            bytes_sent: queue.end() - queue.unsent() + u64::from(self.early.sent),
            bytes_acked: queue.una() + u64::from(self.early.sent),
            bytes_received: self.receiver.stream.rcv_nxt() + u64::from(self.early.received),
            early_sent: self.early.sent.into(),
            early_received: self.early.received.into(),
            bytes_retransmitted: self.sender.bytes_reinjected,
            snd_una: queue.una(),
            snd_nxt: queue.nxt(),
            rcv_nxt: self.receiver.stream.rcv_nxt(),
            send_window: self.sender.window_end.saturating_sub(queue.una()),
            recv_window: self.receiver.window.right_edge().saturating_sub(self.receiver.stream.rcv_nxt()),
            recv_buffer: self.receiver.window.buffer(),
            out_of_order: self.out_of_order(),
        }
    }

    pub(crate) fn out_of_order(&self) -> usize {
        self.receiver.stream.out_of_order()
    }

    pub(crate) fn subflow_infos(&self, tcp: &dyn tcp_adapter::TcpStack) -> Vec<SubflowInfo> {
        let info = |subflow: &Subflow| SubflowInfo { tcp: tcp.info(subflow.tcp), ..subflow.info() };
        self.subflows.iter().map(info).collect()
    }

    /// Keeps what a subflow that is gone has carried.
    pub(crate) fn remember(&mut self, subflow: &Subflow) {
        if self.past.len() >= MAX_PAST_SUBFLOWS {
            self.past.remove(0);
        }
        self.past.push(SubflowInfo { state: SubflowState::Closed, ..subflow.info() });
    }

    /// Subflows whose MP_JOIN this side has answered and that are not authenticated yet.
    pub(crate) fn half_open_joins(&self) -> usize {
        self.subflows.iter().filter(|subflow| matches!(subflow.stage, Stage::JoinAnswered { .. })).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// There may be very many that do nothing: what few of them need at a time belongs into boxes that are given back.
    #[test]
    fn an_idle_connection_is_small() {
        assert!(size_of::<Connection>() <= 728, "{}", size_of::<Connection>());
        assert!(size_of::<Subflow>() <= 328, "{}", size_of::<Subflow>());
    }
}
