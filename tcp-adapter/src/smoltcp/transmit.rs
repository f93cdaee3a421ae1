//! Segments out: what smoltcp writes is cut at chunk boundaries and gets options, window and new headers.

use std::time::Duration;

use bytes::{Buf, BytesMut};
use smoltcp::socket::tcp;

use super::connection::{Connection, Phase};
use super::options::{PaddedOptions, ParsedOptions};
use super::port::{HEADROOM, without_headroom};
use super::segment::{self, Segment};
use super::time_wait::TimeWait;
use super::{Entry, HASH_ISN, SmoltcpStack, TIME_WAITS_PER_CONNECTION};
use crate::{CloseReason, Frame, Instant, InterfaceId, OptionSpace, SegmentHook, SegmentKind, SegmentOut, TcpEvent};

/// If smoltcp asks to be polled at once but has nothing to send, it is asked again
/// after this time instead of in an endless loop.
const IDLE_POLL: Duration = Duration::from_millis(1);

/// Initial sequence numbers advance by one in this many nanoseconds (RFC 9293 section 3.4.1).
const ISN_TICK: u64 = 4_000;

/// Whom to ask and whom to give frames to.
struct Output<'a> {
    hook: &'a mut dyn SegmentHook,
    sink: &'a mut dyn FnMut(InterfaceId, Frame),
}

impl SmoltcpStack {
    /// Sends what can be sent.
    pub(super) fn transmit(&mut self, hook: &mut dyn SegmentHook, sink: &mut dyn FnMut(InterfaceId, Frame)) {
        for index in 0..self.interfaces.len() {
            if self.interfaces[index].egress_other(self.now) {
                self.flush_port(InterfaceId(index));
            }
        }
        while let Some((interface, frame)) = self.ready.pop_front() {
            sink(interface, frame);
        }
        let mut output = Output { hook, sink };
        while let Some(id) = self.dirty.pop_front() {
            if let Some(mut conn) = self.take(id) {
                conn.dirty = false;
                self.service(conn, &mut output);
            }
        }
    }

    /// Queues what smoltcp has written that is of no connection.
    pub(super) fn flush_port(&mut self, interface: InterfaceId) {
        let interface_state = &mut self.interfaces[interface.0];
        interface_state.note_resolution(self.now);
        while let Some(frame) = interface_state.port.sent.pop_front() {
            let frame = without_headroom(frame);
            // A segment without connection would be a mistake of the shim's; it must not get out.
            if !segment::is_tcp(&frame) {
                self.ready.push_back((interface, Frame::linear(frame)));
            }
        }
    }

    /// Sends everything that a connection can send now, and sets its timer.
    fn service(&mut self, mut conn: Box<Connection>, output: &mut Output<'_>) {
        if !self.has_address(&conn) {
            return self.pause(conn);
        }
        let mut bare = false;
        conn.partial_checksum = self.interfaces[conn.interface.0].offload.checksum;
        for (frame, shut) in std::mem::take(&mut conn.replies) {
            bare |= self.emit(&mut conn, frame, shut, output);
        }
        conn.feed();
        conn.avoid_silly_windows(&self.config);
        let mut deadline = loop {
            let interface = &mut self.interfaces[conn.interface.0];
            let more = interface.egress(self.now, &mut conn.sockets);
            interface.note_resolution(self.now);
            bare |= self.emit_sent(&mut conn, output);
            conn.feed();
            conn.avoid_silly_windows(&self.config);
            // It has to be asked for in any case, and tells whether smoltcp has more to send for less than an attempt does.
            let deadline = self.interfaces[conn.interface.0].deadline(self.now, &conn.sockets);
            if !more || deadline.is_none_or(|at| at > self.now) {
                break deadline;
            }
        };
        conn.unacknowledged_segments = 0;
        if let Some(edge) = conn.unheard_edge() {
            // An acknowledgement that has left before says less.
            bare = self.retell_window(&mut conn, edge, output);
            deadline = self.interfaces[conn.interface.0].deadline(self.now, &conn.sockets);
        }
        let synchronized = !matches!(conn.phase, Phase::SynSent { .. }) && conn.send.syns > 0;
        if std::mem::take(&mut conn.ack_pending) && !bare && synchronized {
            let seq = conn.send.seq(conn.send.max);
            self.forge(&mut conn, seq, output);
        }
        if std::mem::take(&mut conn.probe_pending) && synchronized {
            self.forge_probe(&mut conn, output);
        }
        if conn.no_longer_starved(&self.config) {
            self.events.push_back(TcpEvent::Writable(conn.id));
        }
        self.settle(conn, deadline);
    }

    /// Puts a connection back with its timer set, or to rest if it is over. At `deadline` smoltcp wants to be polled for it.
    fn settle(&mut self, mut conn: Box<Connection>, mut deadline: Option<Instant>) {
        match conn.socket().state() {
            tcp::State::Closed => {
                // smoltcp closes for reasons of its own as well, and throws away what it holds.
                let over = conn.send.fin_sent && conn.receive.finished;
                return self.end(conn, if over { CloseReason::Normal } else { CloseReason::Reset });
            }
            tcp::State::TimeWait if conn.receive.acked == conn.receive.next => return self.wait(conn),
            _ => {}
        }
        if deadline.is_none() && conn.send.in_flight() > 0 {
            deadline = self.remind(&mut conn);
        }
        if deadline.is_some_and(|at| at <= self.now) {
            deadline = Some(self.now + IDLE_POLL);
        }
        if let Some(until) = conn.phase.until() {
            deadline = Some(deadline.map_or(until, |at| at.min(until)));
        }
        self.set_deadline(&mut conn, deadline);
        self.put(conn);
    }

    /// Has smoltcp send again what is not acknowledged, and says when to poll it.
    ///
    /// It takes a fast retransmission for sent, and stops its timer, although the neighbour had to be asked for first. What makes it begin
    /// one is shown to it anew: acknowledgements that repeat the last one.
    fn remind(&mut self, conn: &mut Connection) -> Option<Instant> {
        let mut repeated = conn.header_of_peer(conn.receive.seq(conn.receive.next))?;
        let interface = &mut self.interfaces[conn.interface.0];
        for window in conn.send.fresh_duplicates() {
            repeated.window = window;
            interface.ingest(self.now, repeated.with_payload(&[]), &mut conn.sockets);
        }
        // The peer has not said any of it.
        interface.port.sent.clear();
        interface.deadline(self.now, &conn.sockets)
    }

    /// Tells a window up to `edge` that smoltcp takes for told; true if smoltcp has told it.
    ///
    /// It counts the answer to a segment as sent although it has dropped it, since the neighbour had to be asked for first, and accepts what its
    /// window in there allows. If that leaves it nothing to announce, it is silent from then on, whatever the peer has heard: one that has used up
    /// its window would wait for ever. A byte that it has received long ago is answered at once, with all of its window (RFC 9293 section 3.10.7.4),
    /// so that it accepts that much from now on, whether or not the answer leaves.
    fn retell_window(&mut self, conn: &mut Connection, edge: u64, output: &mut Output<'_>) -> bool {
        let old = conn.receive.seq(conn.receive.next).wrapping_sub(1);
        let Some(header) = conn.header_of_peer(old) else { return false };
        let interface = &mut self.interfaces[conn.interface.0];
        interface.ingest(self.now, header.with_payload(&[0]), &mut conn.sockets);
        interface.note_resolution(self.now);
        conn.receive.engine_edge = conn.receive.engine_edge.max(edge);
        conn.ack_pending = true;
        self.emit_sent(conn, output)
    }

    /// Lets what smoltcp has just sent leave; true if one of the segments was without payload.
    fn emit_sent(&mut self, conn: &mut Connection, output: &mut Output<'_>) -> bool {
        let shut = conn.send.window_is_closed();
        let mut bare = false;
        while let Some(frame) = self.interfaces[conn.interface.0].port.sent.pop_front() {
            bare |= self.emit(conn, frame, shut, output);
        }
        bare
    }

    fn has_address(&self, conn: &Connection) -> bool {
        self.interface_configs[conn.interface.0].addrs.iter().any(|own| own.addr == conn.tuple.local.ip())
    }

    /// Puts a connection back whose address is not there. smoltcp would end it, were it to send.
    fn pause(&mut self, mut conn: Box<Connection>) {
        let until = conn.phase.until();
        self.set_deadline(&mut conn, until);
        self.put(conn);
    }

    /// TIME-WAIT begins: the last acknowledgement has left.
    fn wait(&mut self, conn: Box<Connection>) {
        let tuple = conn.tuple;
        let expires = self.now + self.config.time_wait;
        let wait = TimeWait::new(&conn, expires);
        self.end(conn, CloseReason::Normal);
        if let Some(wait) = wait {
            self.table.insert(tuple, Entry::TimeWait(wait));
            self.time_waits.insert((expires, tuple));
        }
        let limit = self.config.max_connections.saturating_mul(TIME_WAITS_PER_CONNECTION);
        if self.time_waits.len() > limit
            && let Some((_, oldest)) = self.time_waits.pop_first()
        {
            self.table.remove(&oldest);
        }
    }

    /// Sends a frame that smoltcp has written for `conn`, when the peer's window was `shut` or not; true if it was an acknowledgement and nothing more.
    fn emit(&mut self, conn: &mut Connection, frame: BytesMut, shut: bool, output: &mut Output<'_>) -> bool {
        match segment::written(&frame[HEADROOM..], conn.tuple.local, conn.tuple.remote) {
            Some(segment) if segment.flags.rst => false,
            Some(segment) if segment.flags.syn => {
                self.emit_syn(conn, &segment, &frame[HEADROOM..], output);
                false
            }
            Some(segment) => self.emit_segment(conn, &segment, frame, shut, output),
            None => {
                (output.sink)(conn.interface, Frame::linear(without_headroom(frame)));
                false
            }
        }
    }

    fn emit_syn(&mut self, conn: &mut Connection, segment: &Segment, frame: &[u8], output: &mut Output<'_>) {
        let again = conn.send.syns > 0;
        let (now, tuple, keys) = (self.now, conn.tuple, &self.keys);
        conn.send.syn_sent(now, segment.seq, || initial_sequence_number(now, keys.hash(HASH_ISN, &tuple)));
        conn.peer_mac = Some(segment.link_destination);
        let written = ParsedOptions::parse(&frame[segment.options.clone()]);
        conn.receive.window_shift = written.window_scale.unwrap_or(0);
        // smoltcp takes what its buffer can hold, as far as the field says it once it is scaled.
        let most = u64::from(u16::MAX) << conn.receive.window_shift;
        conn.receive.engine_edge = (conn.socket().recv_capacity() as u64).min(most);
        let kind = if segment.flags.ack { SegmentKind::SynAck } else { SegmentKind::Syn };
        let out =
            SegmentOut { kind, fin: false, offset: 0, len: 0, chunk: None, retransmission: again, window_shift: 0 };
        let mss = u16::try_from(conn.local_mss()).unwrap_or(u16::MAX);
        let mut options = PaddedOptions::syn(mss, written.window_scale);
        let mut space = OptionSpace::new(options.room());
        let wanted = output.hook.on_transmit(now, conn.id, &out, &mut space);
        options.push(space.as_slice());
        let window = conn.window_field(wanted, true);
        let Some(mut header) = conn.header() else { return };
        header.syn = true;
        header.seq = conn.send.iss();
        header.ack = segment.flags.ack.then(|| conn.receive.seq(0));
        header.window = window;
        header.options = options.padded();
        conn.send.count(0, again);
        (output.sink)(conn.interface, header.frame(header.with_payload(&[])));
    }

    fn emit_segment(
        &mut self,
        conn: &mut Connection,
        segment: &Segment,
        frame: BytesMut,
        shut: bool,
        output: &mut Output<'_>,
    ) -> bool {
        conn.peer_mac = Some(segment.link_destination);
        let acked = conn.receive.offset(segment.ack).max(0).cast_unsigned();
        conn.receive.acked = conn.receive.acked.max(acked);
        let edge = acked + (u64::from(segment.window) << conn.receive.window_shift);
        conn.receive.engine_edge = conn.receive.engine_edge.max(edge);
        let payload = HEADROOM + segment.payload.start..HEADROOM + segment.payload.end;
        let fin = segment.flags.fin;
        let bare = payload.is_empty() && !fin;
        if !payload.is_empty() && shut {
            // smoltcp probes a closed window with a byte of data, without counting it as sent. Both ends
            // could take such bytes and then each other's acknowledgements for old ones, for good.
            self.forge_probe(conn, output);
            return false;
        }
        let offset = if bare { conn.send.max } else { conn.send.offset_in_engine(segment.seq) };
        let sent_before = conn.send.max;
        conn.send.emitted(self.now, offset, payload.len() as u64, fin);
        let psh = segment.psh;
        // Acknowledged since smoltcp has written it: its chunks are gone.
        let old = usize::try_from(conn.send.una.saturating_sub(offset)).unwrap_or(usize::MAX).min(payload.len());
        if old > 0 && old == payload.len() && !fin {
            return false;
        }
        let (offset, start) = (offset + old as u64, payload.start + old);
        let mut piece = Piece { offset, fin, psh, sent_before, start, end: payload.end };
        let mut frame = Some(frame);
        while let Some(rest) = self.emit_piece(conn, piece, &mut frame, output) {
            piece = rest;
        }
        bare
    }

    /// Sends as much of `piece` as one segment can carry, and returns the rest.
    fn emit_piece(
        &self,
        conn: &mut Connection,
        piece: Piece,
        frame: &mut Option<BytesMut>,
        output: &mut Output<'_>,
    ) -> Option<Piece> {
        let remaining = piece.end - piece.start;
        let chunk = if remaining > 0 { conn.send.chunk(piece.offset) } else { None };
        let in_chunk = chunk.map_or(remaining, |chunk| {
            let end = chunk.end();
            usize::try_from(end - piece.offset).unwrap_or(remaining).min(remaining)
        });
        let retransmission = remaining > 0 && piece.offset < piece.sent_before;
        let out = SegmentOut {
            kind: SegmentKind::Established,
            fin: piece.fin && in_chunk == remaining,
            offset: piece.offset,
            len: in_chunk,
            chunk,
            retransmission,
            window_shift: conn.receive.window_shift,
        };
        let mut space = OptionSpace::new(OptionSpace::MAX);
        let wanted = output.hook.on_transmit(self.now, conn.id, &out, &mut space);
        let window = conn.window_field(wanted, false);
        let mut header = conn.header()?;
        header.options.push(space.as_slice());
        header.options = header.options.padded();
        let len = in_chunk.min(conn.segment_limit() - header.options.as_slice().len());
        let last = len == remaining;
        header.seq = conn.send.seq(piece.offset);
        header.fin = piece.fin && last;
        header.psh = piece.psh && last;
        header.window = window;
        conn.send.count(len as u64, retransmission);
        let written = if last {
            // The last piece, usually the only one, keeps smoltcp's buffer: the
            // headers are written right in front of it.
            let mut frame = frame.take()?;
            frame.advance(piece.start - header.len());
            header.write(&mut frame);
            frame
        } else {
            header.with_payload(&frame.as_ref()?[piece.start..piece.start + len])
        };
        (output.sink)(conn.interface, header.frame(written));
        (!last).then_some(Piece { offset: piece.offset + len as u64, start: piece.start + len, ..piece })
    }

    /// Sends a segment numbered one before what is unacknowledged: it is never acceptable, so a live
    /// peer answers it.
    fn forge_probe(&self, conn: &mut Connection, output: &mut Output<'_>) {
        let seq = conn.send.seq(conn.send.una).wrapping_sub(1);
        self.forge(conn, seq, output);
    }

    /// Sends a segment without payload that smoltcp knows nothing of.
    ///
    /// It acknowledges all that has been received. What smoltcp has acknowledged on the wire may be less: it takes an
    /// acknowledgement for sent that it has dropped since its neighbour had to be asked for first.
    fn forge(&self, conn: &mut Connection, seq: u32, output: &mut Output<'_>) {
        conn.receive.acked = conn.receive.acked.max(conn.receive.next);
        let out = SegmentOut {
            kind: SegmentKind::Established,
            fin: false,
            offset: conn.send.max,
            len: 0,
            chunk: None,
            retransmission: false,
            window_shift: conn.receive.window_shift,
        };
        let mut space = OptionSpace::new(OptionSpace::MAX);
        let wanted = output.hook.on_transmit(self.now, conn.id, &out, &mut space);
        let window = conn.window_field(wanted, false);
        let Some(mut header) = conn.header() else { return };
        header.seq = seq;
        header.window = window;
        header.options.push(space.as_slice());
        header.options = header.options.padded();
        (output.sink)(conn.interface, header.frame(header.with_payload(&[])));
    }
}

/// What is still to be sent of a segment that smoltcp has written.
#[derive(Clone, Copy)]
struct Piece {
    offset: u64,
    fin: bool,
    psh: bool,
    /// Offset before which everything had been sent when smoltcp wrote the segment.
    sent_before: u64,
    /// Where the payload is in smoltcp's frame.
    start: usize,
    end: usize,
}

/// RFC 6528: a clock, plus what nobody can guess about these two addresses and ports.
fn initial_sequence_number(now: Instant, secret: u64) -> u32 {
    let ticks = now.as_nanos() / ISN_TICK;
    super::send_side::low(ticks.wrapping_add(secret))
}
