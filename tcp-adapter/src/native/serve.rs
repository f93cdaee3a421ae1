//! Connections that have something to do: timers, segments that leave, and the end.

use super::connection::{Connection, Phase};
use super::fast_open::SynData;
use super::keep_alive::Due;
use super::neighbours::{self, Lookup};
use super::output::Output;
use super::pairs::Entry;
use super::send::{Expired, Fin, NEVER};
use super::time_wait::TimeWait;
use super::wire::Segment;
use super::{Context, Ended, NativeStack, State};
use crate::{
    CloseReason, Frame, Instant, InterfaceId, OptionSpace, SegmentHook, SegmentKind, SegmentOut, TcpEvent, TcpId,
};

/// Addresses and ports kept in TIME-WAIT at most, for each connection of
/// [`NativeConfig::max_connections`](super::NativeConfig::max_connections); beyond that the oldest are let go early.
const TIME_WAITS_PER_CONNECTION: usize = 4;

/// Timeouts in a row after which the next hop is looked up again: it may be another station by now (RFC 1122 section 3.3.1.4).
const ROUTE_AGAIN: u32 = 2;

impl NativeStack {
    /// Does what is due: most often nothing, as it was something else that has the stack look.
    #[inline]
    pub(super) fn expire(&mut self) {
        let reached = self.wheel.turn_to(self.now);
        if reached || self.ask_at <= self.now || self.time_waits.first().is_some_and(|&(at, _)| at <= self.now) {
            self.expire_reached();
        }
    }

    /// The same, where a time has come or may have. The last thing that [`expire`](Self::expire) does, which has nothing to keep for afterwards.
    #[inline(never)]
    fn expire_reached(&mut self) {
        while let Some(&(at, tuple)) = self.time_waits.first()
            && at <= self.now
        {
            self.time_waits.pop_first();
            self.remove_pair(&tuple);
        }
        while let Some(index) = self.wheel.pop_due(self.now) {
            self.expire_connection(index);
        }
        if self.ask_at <= self.now {
            self.ask_neighbours();
        }
    }

    #[cold]
    fn ask_neighbours(&mut self) {
        for (index, interface) in self.interfaces.iter_mut().enumerate() {
            let config = &self.interface_configs[index];
            let ready = &mut self.ready;
            interface.neighbours.on_timeout(self.now, config, &mut |frame| {
                ready.push_back((InterfaceId(index), frame));
            });
        }
        self.note_questions();
    }

    /// Notes when a neighbour is to be asked again, after anything that may have changed that.
    pub(super) fn note_questions(&mut self) {
        let due = self.interfaces.iter().filter_map(|interface| interface.neighbours.poll_timeout());
        self.ask_at = due.min().unwrap_or(NEVER);
    }

    /// Does what is due of a connection.
    fn expire_connection(&mut self, index: u32) {
        let Some((id, State::Live(conn))) = self.connections.at_mut(index) else { return };
        conn.deadline = NEVER;
        let over = conn.on_due(self.now, &self.config);
        if let Some(reason) = over {
            self.end(id, reason);
        } else {
            self.wake(id);
        }
    }

    /// When something is due next.
    pub(super) fn next_deadline(&mut self) -> Option<Instant> {
        // Whoever asks before all was sent is told to send it, and to take the events that there are once memory is free again.
        if !(self.dirty.is_empty() && self.ready.is_empty()) || self.memory.is_relieved() {
            return Some(self.now);
        }
        // Asked for after every burst, where a chain of iterators costs more than all that it goes through.
        let mut earliest = self.wheel.next().unwrap_or(NEVER).min(self.ask_at);
        if let Some(&(at, _)) = self.time_waits.first() {
            earliest = earliest.min(at);
        }
        (earliest < NEVER).then_some(earliest)
    }

    /// Sends what can be sent.
    pub(super) fn transmit(&mut self, hook: &mut dyn SegmentHook, sink: &mut dyn FnMut(InterfaceId, Frame)) {
        while let Some((interface, frame)) = self.ready.pop_front() {
            sink(interface, frame);
        }
        while let Some(id) = self.dirty.pop_front() {
            self.serve(id, hook, sink);
        }
        // Questions for neighbours.
        while let Some((interface, frame)) = self.ready.pop_front() {
            sink(interface, frame);
        }
    }

    /// Sends everything that a connection can send now, and sets its timer.
    fn serve(&mut self, id: TcpId, hook: &mut dyn SegmentHook, sink: &mut dyn FnMut(InterfaceId, Frame)) {
        let Some(State::Live(conn)) = self.connections.get_mut(id) else { return };
        conn.dirty = false;
        let conn = if conn.routed {
            conn
        } else {
            self.route(id);
            let Some(State::Live(conn)) = self.connections.get_mut(id) else { return };
            conn
        };
        if conn.routed {
            let mut cx =
                Context { now: self.now, config: &self.config, memory: &self.memory, hook, events: &mut self.events };
            let offload = self.interfaces[conn.interface.0].offload;
            let mut out = Output { heads: &mut self.heads, sink, offload, ident: &mut self.ident };
            conn.transmit(&mut cx, &mut out);
        }
        if conn.no_longer_starved(&self.config, &self.memory) {
            self.events.push_back(TcpEvent::Writable(id));
        }
        if conn.is_over() {
            return self.finish(id);
        }
        let deadline = conn.next_deadline(self.now, &self.config);
        if deadline != conn.deadline {
            conn.deadline = deadline;
            if deadline == NEVER {
                self.wheel.cancel(id.index);
            } else {
                self.wheel.schedule(id.index, deadline);
            }
        }
    }

    /// Looks for the link-layer address of a connection's next hop; if it is not known, it is asked for.
    #[cold]
    fn route(&mut self, id: TcpId) {
        let Some(State::Live(conn)) = self.connections.get_mut(id) else { return };
        let interface_id = conn.interface;
        let config = &self.interface_configs[interface_id.0];
        let Some(next_hop) = neighbours::next_hop(config, conn.template.tuple().remote.ip()) else {
            // Until there is a route again.
            conn.waits_for_neighbour = true;
            return;
        };
        let interface = &mut self.interfaces[interface_id.0];
        let ready = &mut self.ready;
        let mut ask = |frame| ready.push_back((interface_id, frame));
        match interface.neighbours.lookup(self.now, config, next_hop, &mut ask) {
            Lookup::Known(mac) => {
                conn.template.set_link_destination(mac);
                conn.routed = true;
                conn.waits_for_neighbour = false;
            }
            Lookup::Asked | Lookup::Unreachable => {
                if !std::mem::replace(&mut conn.waits_for_neighbour, true) {
                    interface.waiting.push(id);
                }
            }
        }
        self.note_questions();
    }

    /// Both FINs are acknowledged.
    pub(super) fn finish(&mut self, id: TcpId) {
        let Some(conn) = self.live(id) else { return };
        let tuple = conn.template.tuple();
        let expires = self.now + self.config.time_wait;
        // Whoever closed last has left LAST-ACK, and needs not wait.
        let wait = (!conn.closed_by_peer).then(|| Box::new(TimeWait::new(conn, expires)));
        self.end(id, CloseReason::Normal);
        let Some(wait) = wait else { return };
        self.enter_pair(&tuple, Entry::TimeWait(wait));
        self.time_waits.insert((expires, tuple));
        let limit = self.config.max_connections.saturating_mul(TIME_WAITS_PER_CONNECTION);
        if self.time_waits.len() > limit
            && let Some((_, oldest)) = self.time_waits.pop_first()
        {
            self.remove_pair(&oldest);
        }
    }

    /// Forgets a connection. Bytes that wait to be read delay the event.
    pub(super) fn end(&mut self, id: TcpId, reason: CloseReason) {
        let Some(State::Live(conn)) = self.connections.get(id) else { return };
        let tuple = conn.template.tuple();
        self.remove_pair(&tuple);
        let Some(State::Live(mut conn)) = self.connections.take(id) else { return };
        let cut = self.interfaces[conn.interface.0].offload.cuts();
        self.last_infos.keep(id, || conn.info(cut));
        self.wheel.cancel(id.index);
        self.memory.charge(&mut conn.charged, 0);
        if let Some(listener) = conn.backlog.take() {
            self.listeners.end(listener);
        }
        if let Some(listener) = conn.fast_open.take() {
            self.no_longer_fast(listener, reason == CloseReason::Reset);
        }
        // Only if the service was asked at all: it may have been the next hop that did not answer.
        let asked = matches!(conn.syn_data.as_deref(), Some(SynData::Left { .. }));
        if conn.is_syn_sent() && asked && reason == CloseReason::TimedOut {
            self.fast_open_failed(&tuple);
        }
        let received = conn.receive.drain();
        if received.is_empty() || reason == CloseReason::Aborted {
            self.close(id, reason);
        } else {
            let mut ended = Ended { reason, charged: 0, received };
            let unread = ended.received.iter().map(|received| received.bytes.len()).sum();
            self.memory.charge(&mut ended.charged, unread);
            self.connections.put(id, State::Ended(Box::new(ended)));
        }
    }

    /// Releases a handle.
    pub(super) fn close(&mut self, id: TcpId, reason: CloseReason) {
        self.connections.release(id);
        self.events.push_back(TcpEvent::Closed(id, reason));
    }

    /// Tells the peer that a connection is no more.
    pub(super) fn reset_connection(&mut self, id: TcpId, options: &[u8]) {
        let Some(State::Live(conn)) = self.connections.get_mut(id) else { return };
        // Before the SYN/ACK there is nobody to tell, and without a neighbour no way.
        if matches!(conn.phase, Phase::SynSent(_)) || !conn.routed {
            return;
        }
        let ready = &mut self.ready;
        let mut sink = |interface, frame| ready.push_back((interface, frame));
        let offload = self.interfaces[conn.interface.0].offload;
        let mut out = Output { heads: &mut self.heads, sink: &mut sink, offload, ident: &mut self.ident };
        conn.emit_reset(&mut out, options);
    }

    /// Answers a segment by a RST of a connection that ends: in SYN-SENT nothing of the peer's is known but that segment.
    pub(super) fn reset_answering(&mut self, id: TcpId, segment: &Segment<'_>, options: &[u8]) {
        let Some(conn) = self.live(id) else { return };
        if matches!(conn.phase, Phase::SynSent(_)) {
            let interface = conn.interface;
            self.refuse(interface, segment, options);
        } else {
            self.reset_connection(id, options);
        }
    }

    /// Answers a segment of another connection between the same ports by a RST; the hook may add options.
    pub(super) fn refuse_with_hook(&mut self, id: TcpId, segment: &Segment<'_>, hook: &mut dyn SegmentHook) {
        let Some(conn) = self.live(id) else { return };
        let interface = conn.interface;
        let out = SegmentOut {
            kind: SegmentKind::Reset,
            fin: false,
            offset: 0,
            len: 0,
            chunk: None,
            retransmission: false,
            window_shift: 0,
        };
        let mut space = OptionSpace::new(OptionSpace::MAX);
        let _ = hook.on_transmit(self.now, id, &out, &mut space);
        self.refuse(interface, segment, space.as_slice());
    }
}

impl Connection {
    /// Does what is due; the reason if that is the end.
    fn on_due(&mut self, now: Instant, config: &super::NativeConfig) -> Option<CloseReason> {
        if let Phase::SynSent(handshake) | Phase::SynReceived(handshake) = &self.phase {
            return (handshake.until <= now).then_some(CloseReason::TimedOut);
        }
        if let Phase::FastOpen(handshake) = &self.phase
            && handshake.until <= now
        {
            return Some(CloseReason::TimedOut);
        }
        match self.send.on_timeout(now, config.user_timeout) {
            Expired::Nothing => {}
            Expired::ProbeWindow => self.probe = true,
            Expired::GivenUp => return Some(CloseReason::TimedOut),
        }
        self.learn_from_mtu_probe(now);
        // Packets that vanish again and again while the path is silent: perhaps they are too long for it. Not those for which the peer has no room.
        if let Some(payload) = self.send.first_unacknowledged()
            && self.path_mtu.timed_out(now, self.longest_packet(payload), self.send.unanswered_timeouts())
        {
            self.update_mss();
        }
        if self.send.rtt.timeouts() >= ROUTE_AGAIN {
            self.routed = false;
        }
        match self.keep_alive.poll(now, config, self.last_received, self.send.is_idle()) {
            Due::Nothing => {}
            Due::Ask => self.probe = true,
            Due::GiveUp => return Some(CloseReason::TimedOut),
        }
        self.trim_if_idle(now);
        None
    }

    pub(super) fn is_syn_sent(&self) -> bool {
        matches!(self.phase, Phase::SynSent(_))
    }

    /// Our FIN has been queued or sent when the peer's arrives: then it is this side that closed first.
    pub(super) fn note_peer_closed(&mut self) {
        self.closed_by_peer = !matches!(self.send.fin, Fin::Sent | Fin::Acked);
    }
}
