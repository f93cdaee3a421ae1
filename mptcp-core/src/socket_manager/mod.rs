//! The socket manager: connection contexts, and which TCP connections are their subflows.
//!
//! Two ways lead in. TCP shows every segment to the [`SegmentHook`], which changes the state of the connection
//! but cannot act on TCP; whatever needs TCP is done right after, in [`SocketManager::process`], for the
//! connections that a segment, an event, a timer or the application has touched, and for no others.

mod addresses;
mod close;
mod connection;
mod cork;
mod coupling;
mod deadlines;
mod early;
mod fallback;
mod handshake;
mod idle;
mod input;
mod keepalive;
mod links;
mod liveness;
mod lone;
mod outlet;
mod output;
mod paths;
mod policy;
mod rate_limit;
mod receiver;
mod reinjection;
mod repetition;
mod restraint;
mod sender;
mod shared;
mod shares;
mod stateless;
mod subflow;
mod table;
mod timers;
mod turns;
mod views;
mod window_probe;

use std::cmp::Reverse;
use std::collections::VecDeque;

use hashbrown::HashMap;
use tcp_adapter::{
    Instant, ListenerId, OptionSpace, SegmentHook, SegmentIn, SegmentOut, SynSegment, SynVerdict, TcpEvent, TcpId,
    TcpStack, Verdict,
};

pub(crate) use connection::{Connection, Negotiating, NewConnection, Protocol};
use deadlines::Deadlines;
pub(crate) use handshake::plain_from_start;
use handshake::{SynOptions, passive_open, read_syn, reset_options};
pub use paths::SubflowError;
pub(crate) use shared::{Cx, Owners, Shared, TokenTable};
pub(crate) use shares::Shares;
pub(crate) use subflow::{NewSubflow, Stage};
use table::ConnTable;

use crate::event::{ConnId, Event, SubflowId};
use crate::mib::Counter;
use crate::scheduler::TrafficClass;
use crate::wire::ResetReason;

/// Segments after which TCP is read from even if more follow: a burst without end must not wait.
const PATIENCE: u32 = 64;

/// A listener's connections that are not the application's yet.
#[derive(Debug)]
pub(crate) struct Accepting {
    backlog: usize,
    /// In their handshake.
    opening: usize,
    /// Wait for `accept`.
    ready: VecDeque<ConnId>,
}

/// The connections to look at.
#[derive(Debug, Default)]
struct Touched {
    /// Their slots.
    slots: Vec<u32>,
    /// One of them has a subflow to reset.
    resets_due: bool,
}

impl Touched {
    #[inline]
    fn add(&mut self, conn: &mut Connection) {
        self.resets_due |= !conn.doomed.is_empty();
        if !std::mem::replace(&mut conn.dirty, true) {
            self.slots.push(conn.id.index);
        }
    }
}

/// All connections of a stack.
pub(crate) struct SocketManager {
    pub(crate) shared: Shared,
    pub(crate) conns: ConnTable,
    listeners: HashMap<ListenerId, Accepting>,
    touched: Touched,
    /// TCP connections that have something to read, which is read once for a burst of segments.
    readable: Vec<TcpId>,
    /// Segments that may still come before it is.
    patience: u32,
    /// When something was last heard.
    heard_at: Instant,
    pub(crate) deadlines: Deadlines,
}

impl SocketManager {
    pub(crate) fn new(shared: Shared) -> Self {
        Self {
            shared,
            conns: ConnTable::default(),
            listeners: HashMap::new(),
            touched: Touched::default(),
            readable: Vec::new(),
            patience: PATIENCE,
            heard_at: Instant::ZERO,
            deadlines: Deadlines::default(),
        }
    }

    pub(crate) fn listen(&mut self, listener: ListenerId, backlog: usize) {
        self.listeners.insert(listener, Accepting { backlog, opening: 0, ready: VecDeque::new() });
    }

    /// Forgets a listener; returns the connections that no one will accept now.
    pub(crate) fn unlisten(&mut self, listener: ListenerId) -> Vec<ConnId> {
        self.listeners.remove(&listener).map_or_else(Vec::new, |accepting| accepting.ready.into())
    }

    /// Hands out a connection that waits.
    pub(crate) fn accept(&mut self, listener: ListenerId) -> Option<ConnId> {
        let id = self.listeners.get_mut(&listener)?.ready.pop_front()?;
        let conn = self.conns.get_mut(id)?;
        conn.app.announced = true;
        if conn.closed.is_none() && conn.multipath().is_some() {
            self.shared.mib.bump(Counter::MPCurrEstab);
        }
        conn.tell_readable(&mut self.shared);
        if let Some(reason) = conn.closed {
            self.shared.events.push_back(Event::Closed(id, reason));
        }
        self.touch(id);
        Some(id)
    }

    /// Whether the application has something to hear, or a connection is to be looked at.
    pub(crate) fn has_work(&self) -> bool {
        !self.shared.events.is_empty() || !self.touched.slots.is_empty() || !self.readable.is_empty()
    }

    /// Has a connection looked at in the next [`process`](Self::process).
    pub(crate) fn touch(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.get_mut(id) {
            self.touched.add(conn);
        }
    }

    /// Lets a connection act if `is_meant` says so of it, and has it looked at in the next [`process`](Self::process).
    #[inline]
    pub(crate) fn act<R>(
        &mut self,
        id: ConnId,
        is_meant: impl FnOnce(&Connection) -> bool,
        act: impl FnOnce(&mut Connection, &mut Shared) -> R,
    ) -> Option<R> {
        let conn = self.conns.get_mut(id).filter(|conn| is_meant(conn))?;
        let result = act(conn, &mut self.shared);
        self.touched.add(conn);
        Some(result)
    }

    /// Has all connections looked at: something that concerns each has changed.
    pub(crate) fn touch_all(&mut self) {
        for id in self.conns.ids().collect::<Vec<_>>() {
            self.touch(id);
        }
    }

    /// Takes what TCP tells after a segment. What follows from it waits for [`process`](Self::process), so that a
    /// burst of segments is followed up once. Resets do not wait: no more is to be heard of their subflows.
    #[inline]
    pub(crate) fn hear(&mut self, now: Instant, tcp: &mut dyn TcpStack) {
        self.heard_at = now;
        while let Some(event) = tcp.poll_event() {
            if let TcpEvent::Readable(handle) = event {
                self.readable.push(handle);
            } else {
                // In the order in which they happened.
                self.read(tcp);
                self.on_tcp_event(event, now, tcp);
            }
        }
        self.patience -= 1;
        if self.patience == 0 {
            self.read(tcp);
        }
        if std::mem::take(&mut self.touched.resets_due) {
            self.settle_all(now, tcp);
        }
    }

    /// Takes what TCP has to read.
    #[inline]
    pub(crate) fn read(&mut self, tcp: &mut dyn TcpStack) {
        self.patience = PATIENCE;
        if !self.readable.is_empty() {
            self.pull_all(tcp);
        }
    }

    /// Takes what these TCP connections have to read.
    fn pull_all(&mut self, tcp: &mut dyn TcpStack) {
        for handle in self.readable.drain(..) {
            let Some(owner) = self.shared.owners.get(handle) else { continue };
            let Some(conn) = self.conns.get_mut(owner.conn) else { continue };
            conn.pull(owner.subflow, &mut Cx { now: self.heard_at, tcp, shared: &mut self.shared });
            self.touched.add(conn);
        }
    }

    /// Acts on what happened since the last call.
    #[inline]
    pub(crate) fn process(&mut self, now: Instant, tcp: &mut dyn TcpStack) {
        self.expire(now, tcp);
        if !self.touched.slots.is_empty() || self.shared.shares.is_some() {
            self.settle_all(now, tcp);
        }
    }

    /// Takes what TCP tells, and does what is due.
    #[inline]
    pub(crate) fn expire(&mut self, now: Instant, tcp: &mut dyn TcpStack) {
        self.hear(now, tcp);
        self.read(tcp);
        if self.deadlines.next().is_some_and(|first| first <= now) {
            self.do_due(now, tcp);
        }
    }

    /// Lets those connections act whose time has come.
    #[inline(never)]
    fn do_due(&mut self, now: Instant, tcp: &mut dyn TcpStack) {
        while let Some(slot) = self.deadlines.pop_due(now) {
            let Some(conn) = self.conns.in_slot(slot) else { continue };
            conn.on_timers(&mut Cx { now, tcp, shared: &mut self.shared });
            self.touched.add(conn);
        }
    }

    fn settle_all(&mut self, now: Instant, tcp: &mut dyn TcpStack) {
        self.settle_touched(now, tcp);
        if self.shared.shares.is_some() {
            self.serve_waiting(now, tcp);
        }
        if self.shared.memory_awaited && self.shared.memory_ample() {
            self.offer_memory(now, tcp);
        }
    }

    /// There is memory again: any connection's writer may wait for what another one has freed, and any peer for a window.
    #[cold]
    fn offer_memory(&mut self, now: Instant, tcp: &mut dyn TcpStack) {
        self.shared.memory_awaited = false;
        for id in self.conns.ids().collect::<Vec<_>>() {
            if let Some(conn) = self.conns.get_mut(id) {
                conn.receiver.reconsider_window();
                self.touched.add(conn);
            }
        }
        self.settle_touched(now, tcp);
    }

    #[inline]
    fn settle_touched(&mut self, now: Instant, tcp: &mut dyn TcpStack) {
        if self.shared.shares.is_some() && self.touched.slots.len() > 1 {
            // The last one comes first.
            let conns = &mut self.conns;
            self.touched.slots.sort_by_cached_key(|slot| Reverse(conns.in_slot(*slot).map(|conn| conn.class())));
        }
        while let Some(slot) = self.touched.slots.pop() {
            self.settle(slot, now, tcp);
        }
    }

    /// Serves the connections that have waited for their turn, the most important class first.
    fn serve_waiting(&mut self, now: Instant, tcp: &mut dyn TcpStack) {
        for class in TrafficClass::ALL {
            let due = self.shared.shares.as_ref().map_or(0, |shares| shares.due(class, now));
            if due == 0 {
                continue;
            }
            for _ in 0..due {
                let Some(slot) = self.shared.shares.as_mut().and_then(|shares| shares.serve(class)) else { break };
                if let Some(conn) = self.conns.in_slot(slot) {
                    conn.waits_for_turn = false;
                }
                self.settle(slot, now, tcp);
            }
            if let Some(shares) = &mut self.shared.shares {
                shares.end_round(class, now);
            }
        }
    }

    /// Brings one connection to rest.
    fn settle(&mut self, slot: u32, now: Instant, tcp: &mut dyn TcpStack) {
        let Some(conn) = self.conns.in_slot(slot) else { return };
        conn.dirty = false;
        let cx = &mut Cx { now, tcp, shared: &mut self.shared };
        conn.offer_early(cx);
        conn.announce_joins(cx);
        conn.drain_after_fallback(SubflowId(0), cx);
        conn.check_fin(cx);
        conn.manage_paths(cx);
        conn.push(cx);
        conn.await_allowance(cx);
        conn.advance_close(cx);
        conn.update_window(cx);
        conn.offer_room(cx);
        conn.follow_up(cx);
        conn.watch_subflows(cx);
        conn.carry_out_dooms(cx);
        conn.coupler.regroup(now);
        conn.settle_memory(&mut self.shared);
        let deadline = conn.deadline(&self.shared);
        self.deadlines.set(slot, deadline);
        if conn.is_spent() {
            let id = conn.id;
            self.forget(id);
        }
    }

    fn forget(&mut self, id: ConnId) {
        let Some(conn) = self.conns.remove(id) else { return };
        self.shared.memory_held -= conn.memory_counted;
        self.deadlines.set(id.index, None);
        if let Some(shares) = self.shared.shares.as_mut().filter(|_| conn.waits_for_turn) {
            shares.forget(id.index);
        }
        // One that died before it was accepted must neither hold a place nor be handed out.
        let accepting = conn.listener.filter(|_| !conn.app.announced).and_then(|from| self.listeners.get_mut(&from));
        if let Some(accepting) = accepting {
            accepting.ready.retain(|waiting| *waiting != id);
        }
    }

    fn on_tcp_event(&mut self, event: TcpEvent, now: Instant, tcp: &mut dyn TcpStack) {
        let (TcpEvent::Established(handle)
        | TcpEvent::Readable(handle)
        | TcpEvent::Writable(handle)
        | TcpEvent::Finished(handle)
        | TcpEvent::Closed(handle, _)) = event;
        let last = if matches!(event, TcpEvent::Closed(..)) { tcp.take_last_info(handle) } else { None };
        let Some(owner) = self.shared.owners.get(handle) else { return };
        if matches!(event, TcpEvent::Closed(..)) {
            self.shared.owners.remove(handle);
        }
        let Some(conn) = self.conns.get_mut(owner.conn) else { return };
        let opening = conn.listener.is_some() && !conn.app.announced && !conn.is_open();
        let listener = conn.listener;
        let cx = &mut Cx { now, tcp, shared: &mut self.shared };
        match event {
            TcpEvent::Established(_) => {
                conn.on_established_event(owner.subflow, cx);
                if opening && conn.is_open() {
                    self.enqueue(owner.conn, listener);
                }
            }
            // What has come is taken by `pull_all`, once for a burst; for room, TCP is asked.
            TcpEvent::Readable(_) | TcpEvent::Writable(_) => {}
            TcpEvent::Finished(_) => conn.on_subflow_fin(owner.subflow, cx),
            TcpEvent::Closed(handle, reason) => {
                conn.on_subflow_closed(handle, reason, last.as_ref(), cx);
                if opening {
                    self.leave_backlog(listener);
                }
            }
        }
        self.touch(owner.conn);
    }

    /// A passive connection is open: it waits for `accept`.
    fn enqueue(&mut self, id: ConnId, listener: Option<ListenerId>) {
        self.leave_backlog(listener);
        let Some(listener) = listener else { return };
        match self.listeners.get_mut(&listener) {
            Some(accepting) => {
                accepting.ready.push_back(id);
                self.shared.events.push_back(Event::Incoming(listener));
            }
            // The listener has gone in the meantime, and no one will ever take it.
            None => {
                if let Some(conn) = self.conns.get_mut(id) {
                    conn.finish(crate::event::CloseReason::Aborted, &mut self.shared);
                }
            }
        }
    }

    fn leave_backlog(&mut self, listener: Option<ListenerId>) {
        if let Some(accepting) = listener.and_then(|listener| self.listeners.get_mut(&listener)) {
            accepting.opening = accepting.opening.saturating_sub(1);
        }
    }

    /// A SYN that is no join.
    fn on_opening_syn(
        &mut self,
        tcp: TcpId,
        syn: &SynSegment<'_>,
        request: Option<handshake::CapableRequest>,
    ) -> SynVerdict {
        let Some(accepting) = syn.listener.and_then(|listener| self.listeners.get_mut(&listener)) else {
            return SynVerdict::Reset(OptionSpace::new(0));
        };
        let full = accepting.opening + accepting.ready.len() >= accepting.backlog
            || self.conns.len() >= self.shared.config.max_connections
            || self.shared.memory_unreserved() < syn.early.max(1);
        if full {
            self.shared.mib.bump(Counter::BacklogDrop);
            return SynVerdict::Drop;
        }
        accepting.opening += 1;
        let shared = &mut self.shared;
        let request = request.filter(|_| shared.config.mptcp);
        self.conns.insert(|id| {
            let key = request.as_ref().and_then(|_| shared.draw_key(id));
            let mut conn = passive_open(id, tcp, syn, request, key, shared);
            conn.early.received = u32::try_from(syn.early).unwrap_or(u32::MAX);
            conn
        });
        SynVerdict::Accept
    }
}

impl SegmentHook for SocketManager {
    fn on_syn(&mut self, _now: Instant, conn: TcpId, syn: &SynSegment<'_>) -> SynVerdict {
        match read_syn(syn, &mut self.shared) {
            SynOptions::Plain => self.on_opening_syn(conn, syn, None),
            SynOptions::Capable(request) => self.on_opening_syn(conn, syn, Some(request)),
            // Data on the SYN of a join could have no mapping.
            SynOptions::Join { .. } if syn.early > 0 => {
                SynVerdict::Reset(reset_options(ResetReason::MptcpSpecific, &mut self.shared))
            }
            SynOptions::Contradictory => SynVerdict::Reset(reset_options(ResetReason::MptcpSpecific, &mut self.shared)),
            SynOptions::Join { backup, addr_id, token, nonce } => {
                let joined = self.shared.tokens.find(token).and_then(|id| self.conns.get_mut(id));
                match joined {
                    Some(joined) => joined.on_join_syn(conn, syn, (backup, addr_id, nonce), &mut self.shared),
                    None => {
                        self.shared.mib.bump(Counter::MPJoinNoTokenFound);
                        SynVerdict::Reset(reset_options(ResetReason::MptcpSpecific, &mut self.shared))
                    }
                }
            }
        }
    }

    fn on_stateless_syn(&mut self, _now: Instant, syn: &SynSegment<'_>, options: &mut OptionSpace) -> bool {
        self.answer_stateless(syn, options)
    }

    fn on_cookie(&mut self, _now: Instant, conn: TcpId, ack: &SynSegment<'_>) -> SynVerdict {
        self.resume(conn, ack)
    }

    fn on_segment(&mut self, now: Instant, conn: TcpId, segment: &SegmentIn<'_>) -> Verdict {
        let Some(owner) = self.shared.owners.get(conn) else { return Verdict::Accept };
        let Some(connection) = self.conns.get_mut(owner.conn) else { return Verdict::Accept };
        let counted = connection.without_early(owner.subflow, segment);
        let segment = counted.as_ref().unwrap_or(segment);
        let verdict = connection.on_segment(now, owner.subflow, segment, &mut self.shared);
        self.touched.add(connection);
        verdict
    }

    fn on_transmit(
        &mut self,
        now: Instant,
        conn: TcpId,
        segment: &SegmentOut,
        options: &mut OptionSpace,
    ) -> Option<u32> {
        let owner = self.shared.owners.get(conn)?;
        let connection = self.conns.get_mut(owner.conn)?;
        // More of them may follow, or what has waited for the last one.
        let signals = connection.has_signals(owner.subflow);
        let counted = connection.without_early_sent(owner.subflow, segment);
        let segment = counted.as_ref().unwrap_or(segment);
        let window = connection.on_transmit(owner.subflow, now, segment, options, &mut self.shared);
        if signals {
            self.touched.add(connection);
        }
        window
    }
}

impl Connection {
    /// The TCP handshake of a subflow is complete.
    fn on_established_event(&mut self, id: SubflowId, cx: &mut Cx<'_>) {
        let active = self.listener.is_none();
        let multipath = self.multipath().is_some();
        let Some(subflow) = self.subflow_mut(id) else { return };
        subflow.connected = true;
        let tcp = subflow.tcp;
        if multipath {
            self.couple(id, cx);
        }
        self.limit_pace(id, cx);
        let Some(subflow) = self.subflow(id) else { return };
        if subflow.is_join() {
            if subflow.stage == Stage::Established {
                // Proof of arrival for the third ACK (RFC 8684 section 3.2).
                cx.tcp.ack_now(cx.now, tcp);
            }
            return;
        }
        self.app.opened = true;
        if active && !self.app.announced {
            self.app.announced = true;
            cx.shared.events.push_back(Event::Established(self.id));
            if multipath {
                cx.shared.mib.bump(Counter::MPCurrEstab);
            }
        } else if multipath {
            // A first DSS, so that the peer may add subflows without waiting for data.
            cx.tcp.ack_now(cx.now, tcp);
        }
    }
}
