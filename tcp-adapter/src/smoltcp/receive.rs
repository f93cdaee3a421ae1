//! Segments in: acceptance checks and the hook before smoltcp.

use std::net::IpAddr;

use bytes::BytesMut;
use smoltcp::socket::tcp;
use smoltcp::wire::IpListenEndpoint;

use super::arp;
use super::connection::{Connection, Phase};
use super::options::{PaddedOptions, ParsedOptions};
use super::receive_side::Arrival;
use super::segment::{self, Content, EngineView, Header, Segment};
use super::time_wait::Answer;
use super::{Entry, SmoltcpStack, State};
use crate::table::FourTuple;
use crate::{
    ChecksumState, CloseReason, Frame, InterfaceId, OptionSpace, SegmentHook, SegmentIn, SegmentKind, SegmentOut,
    SynSegment, SynVerdict, TcpEvent, TcpFlags, TcpId, Verdict,
};

/// Smallest segment size that smoltcp believes.
const ENGINE_MIN_MSS: usize = 48;

/// Every second segment is acknowledged (RFC 9293 section 3.8.6.3, SHLD-19), however many arrive
/// before the next `poll_transmit`: peers open their congestion window by the acknowledgement.
const SEGMENTS_PER_ACKNOWLEDGEMENT: u32 = 2;

/// What becomes of a connection after a segment.
enum Outcome {
    Lives,
    Ends(CloseReason),
}

impl SmoltcpStack {
    /// Takes a frame.
    pub(super) fn receive(&mut self, interface: InterfaceId, mut frame: Frame, hook: &mut dyn SegmentHook) {
        if interface.0 >= self.interfaces.len() {
            return;
        }
        frame.linearize();
        let verify = frame.meta.checksum == ChecksumState::Complete;
        match segment::parse(&frame.head, verify) {
            Content::Tcp(segment) => self.receive_segment(interface, &segment, frame.head, hook),
            Content::Other => self.receive_other(interface, frame.head),
            Content::Nothing => {}
        }
    }

    /// Whether `addr` can be the address of a single other host.
    pub(super) fn is_peer_address(&self, interface: InterfaceId, addr: IpAddr) -> bool {
        if addr.is_unspecified() || addr.is_multicast() {
            return false;
        }
        let IpAddr::V4(v4) = addr else { return true };
        let is_subnet_broadcast = self.interface_configs[interface.0].addrs.iter().any(|own| {
            let host_bits = u32::MAX.checked_shr(own.prefix.into()).unwrap_or(0);
            // Networks of one or two addresses have no broadcast address (RFC 3021).
            own.prefix < 31 && own.contains(addr) && u32::from(v4) & host_bits == host_bits
        });
        !v4.is_broadcast() && !is_subnet_broadcast
    }

    fn receive_other(&mut self, interface: InterfaceId, frame: BytesMut) {
        if let Some(reply) = arp::answer_stranger(&self.interface_configs[interface.0], &frame) {
            self.ready.push_back((interface, reply));
            return;
        }
        self.interfaces[interface.0].ingest_other(self.now, frame);
        let resolving = self.interfaces[interface.0].is_resolving(self.now);
        self.flush_port(interface);
        if !resolving {
            return;
        }
        // It may have been the answer that any connection waits for.
        let waiting: Vec<_> = self
            .connections
            .iter()
            .filter_map(|(id, state)| match state {
                State::Live(conn) if conn.interface == interface && conn.deadline.is_some() => Some(id),
                _ => None,
            })
            .collect();
        for id in waiting {
            self.wake(id);
        }
    }

    fn receive_segment(
        &mut self,
        interface: InterfaceId,
        segment: &Segment,
        frame: BytesMut,
        hook: &mut dyn SegmentHook,
    ) {
        let config = &self.interface_configs[interface.0];
        let to_us = segment.link_destination == config.mac
            && config.addrs.iter().any(|own| own.addr == segment.destination.ip());
        if !to_us {
            return;
        }
        let tuple = FourTuple { local: segment.destination, remote: segment.source };
        // Who sent what a connection was found for before has been looked at.
        if let Some(id) = self.found_before(&tuple) {
            return self.receive_found(interface, id, segment, frame, hook);
        }
        if !self.is_peer_address(interface, segment.source.ip()) || segment.source == segment.destination {
            return;
        }
        match self.table.get_mut(&tuple) {
            Some(Entry::Connection(id)) => {
                let id = *id;
                self.found.note(&tuple.local, &tuple.remote, id);
                self.receive_found(interface, id, segment, frame, hook);
            }
            Some(Entry::TimeWait(wait)) if wait.interface != interface => {}
            Some(Entry::TimeWait(wait)) => match wait.answer(segment) {
                Answer::NewConnection => {
                    if self.listeners.find(tuple.local).is_some_and(|(_, room)| !room) {
                        // It will come again, and TIME-WAIT goes on until then.
                        return;
                    }
                    let (expires, beyond) = (wait.expires, wait.next_seq());
                    self.time_waits.remove(&(expires, tuple));
                    self.table.remove(&tuple);
                    self.receive_unknown(interface, tuple, segment, frame, hook);
                    if let Some(Entry::Connection(id)) = self.table.get(&tuple)
                        && let Some(conn) = self.live_mut(*id)
                    {
                        conn.send.begin_beyond(beyond);
                    }
                }
                Answer::Acknowledge(header) => {
                    if segment.flags.fin {
                        self.time_waits.remove(&(wait.expires, tuple));
                        wait.expires = self.now + self.config.time_wait;
                        self.time_waits.insert((wait.expires, tuple));
                    }
                    self.ready.push_back((interface, header.frame(header.with_payload(&[]))));
                }
                Answer::Silence => {}
            },
            None => self.receive_unknown(interface, tuple, segment, frame, hook),
        }
    }

    /// The connection between two ends, if it is one of those found lately.
    #[inline]
    fn found_before(&self, tuple: &FourTuple) -> Option<TcpId> {
        let id = self.found.guess(&tuple.local, &tuple.remote);
        (self.live(id)?.tuple == *tuple).then_some(id)
    }

    /// A segment of a connection that was found.
    fn receive_found(
        &mut self,
        interface: InterfaceId,
        id: TcpId,
        segment: &Segment,
        frame: BytesMut,
        hook: &mut dyn SegmentHook,
    ) {
        let Some(conn) = self.take(id) else { return };
        if conn.interface == interface {
            self.deliver(conn, segment, frame, hook);
        } else {
            self.put(conn);
        }
    }

    /// A segment of no connection.
    fn receive_unknown(
        &mut self,
        interface: InterfaceId,
        tuple: FourTuple,
        segment: &Segment,
        frame: BytesMut,
        hook: &mut dyn SegmentHook,
    ) {
        let TcpFlags { syn, ack, fin, rst } = segment.flags;
        if rst || (syn && fin) {
            return;
        }
        if !syn || ack {
            self.reply_with_reset(interface, segment, &[]);
            return;
        }
        let listener = self.listeners.find(tuple.local);
        if listener.is_some_and(|(_, room)| !room) {
            return;
        }
        let listener = listener.map(|(id, _)| id);
        let Some(id) = self.connections.reserve() else { return };
        let options = ParsedOptions::parse(&frame[segment.options.clone()]);
        let syn =
            SynSegment { listener, local: tuple.local, remote: tuple.remote, early: 0, options: options.unknown() };
        match hook.on_syn(self.now, id, &syn) {
            SynVerdict::Accept => {}
            SynVerdict::Drop => return self.connections.release(id),
            SynVerdict::Reset(space) => {
                self.connections.release(id);
                return self.reply_with_reset(interface, segment, space.as_slice());
            }
        }
        let until = self.now + self.config.handshake_timeout;
        let phase = Phase::SynReceived { until, listener };
        let mut conn = Box::new(Connection::new(self.place(id, interface, tuple), &self.config, phase));
        let endpoint = IpListenEndpoint { addr: Some(tuple.local.ip().into()), port: tuple.local.port() };
        // A new socket on a port that is not 0 can always listen.
        let _ = conn.socket_mut().listen(endpoint);
        if let Some(listener) = listener {
            self.listeners.begin(listener);
        }
        self.set_deadline(&mut conn, Some(until));
        self.table.insert(tuple, Entry::Connection(id));
        self.take_peer_syn(&mut conn, segment, &options);
        let view = self.syn_view(&conn, segment, &options);
        self.ingest(&mut conn, segment, frame, &view);
        self.put_awake(conn);
    }

    /// A segment of a connection that was taken out.
    fn deliver(&mut self, mut conn: Box<Connection>, segment: &Segment, frame: BytesMut, hook: &mut dyn SegmentHook) {
        let outcome = match conn.phase {
            Phase::SynSent { until } => self.deliver_syn_sent(&mut conn, until, segment, frame, hook),
            Phase::SynReceived { .. } | Phase::Open => self.deliver_synchronized(&mut conn, segment, frame, hook),
        };
        match outcome {
            Outcome::Lives => self.put_awake(conn),
            Outcome::Ends(reason) => self.end(conn, reason),
        }
    }

    /// RFC 9293 section 3.10.7.3.
    fn deliver_syn_sent(
        &mut self,
        conn: &mut Connection,
        until: crate::Instant,
        segment: &Segment,
        frame: BytesMut,
        hook: &mut dyn SegmentHook,
    ) -> Outcome {
        let flags = segment.flags;
        if conn.send.syns == 0 {
            return Outcome::Lives;
        }
        let acknowledges = flags.ack && segment.ack == conn.send.seq(0);
        if flags.ack && !acknowledges {
            if !flags.rst {
                self.reset_from(conn, segment, hook);
            }
            return Outcome::Lives;
        }
        if flags.rst && !acknowledges || !flags.rst && (!flags.syn || flags.fin) {
            return Outcome::Lives;
        }
        let options = ParsedOptions::parse(&frame[segment.options.clone()]);
        let seen = SegmentIn {
            flags,
            offset: 0,
            len: 0,
            acked: flags.ack.then_some(0),
            window: u32::from(segment.window),
            options: options.unknown(),
        };
        match hook.on_segment(self.now, conn.id, &seen) {
            Verdict::Accept | Verdict::AcceptSignal => {}
            Verdict::Drop => return Outcome::Lives,
            Verdict::Reset(space) => {
                if !flags.rst {
                    self.reply_with_reset(conn.interface, segment, space.as_slice());
                }
                return Outcome::Ends(CloseReason::Aborted);
            }
        }
        if flags.rst {
            return Outcome::Ends(CloseReason::Refused);
        }
        if flags.ack {
            conn.send.acknowledged(self.now, 0);
        } else {
            conn.phase = Phase::SynReceived { until, listener: None };
        }
        self.take_peer_syn(conn, segment, &options);
        let view = self.syn_view(conn, segment, &options);
        self.ingest(conn, segment, frame, &view);
        self.observe(conn)
    }

    /// RFC 9293 section 3.10.7.4, with RFC 5961's answers to what may be forged.
    fn deliver_synchronized(
        &mut self,
        conn: &mut Connection,
        segment: &Segment,
        frame: BytesMut,
        hook: &mut dyn SegmentHook,
    ) -> Outcome {
        let flags = segment.flags;
        if flags.syn
            && !flags.ack
            && matches!(conn.phase, Phase::SynReceived { .. })
            && segment.seq == conn.receive.irs()
        {
            // A retransmission; smoltcp repeats the SYN/ACK by its own timer.
            return Outcome::Lives;
        }
        let has_data = !segment.payload.is_empty() || flags.fin;
        let Arrival::Acceptable { offset, len, fin, cut } = conn.receive.check(segment) else {
            if !flags.rst {
                conn.challenge(self.now, has_data && !flags.syn);
            }
            return Outcome::Lives;
        };
        if (flags.rst && segment.seq != conn.receive.seq(conn.receive.next)) || (flags.syn && !flags.rst) {
            conn.challenge(self.now, false);
            return Outcome::Lives;
        }
        let acked = conn.send.offset(segment.ack);
        if !flags.rst {
            if !flags.ack {
                return Outcome::Lives;
            }
            if matches!(conn.phase, Phase::SynReceived { .. }) && acked != 0 {
                self.reset_from(conn, segment, hook);
                return Outcome::Lives;
            }
            if !conn.send.acknowledgement_is_acceptable(acked) {
                conn.challenge(self.now, false);
                return Outcome::Lives;
            }
        }
        let acked = acked.max(0).cast_unsigned();
        let options = ParsedOptions::parse(&frame[segment.options.clone()]);
        let seen = SegmentIn {
            flags: TcpFlags { fin, ..flags },
            offset,
            len,
            acked: flags.ack.then_some(acked),
            window: u32::from(segment.window) << conn.send.window_shift,
            options: options.unknown(),
        };
        let signal = match hook.on_segment(self.now, conn.id, &seen) {
            Verdict::Accept => false,
            Verdict::AcceptSignal => true,
            Verdict::Drop => return Outcome::Lives,
            Verdict::Reset(space) => {
                if !flags.rst {
                    self.send_reset(conn, space.as_slice());
                }
                return Outcome::Ends(CloseReason::Aborted);
            }
        };
        if flags.rst {
            // Nothing is lost by a reset in CLOSING or LAST-ACK (RFC 9293 section 3.10.7.4): the peer has
            // left TIME-WAIT.
            let over = conn.receive.finished && conn.send.fin_sent && conn.send.in_flight() + conn.send.unsent() == 0;
            return Outcome::Ends(if over { CloseReason::Normal } else { CloseReason::Reset });
        }
        conn.last_received = Some(self.now);
        conn.ack_pending |= cut;
        let bare = len == 0 && !fin;
        let duplicate = bare && acked == conn.send.una;
        let stale = bare && acked < conn.send.una;
        conn.send.update_window(i64::try_from(offset).unwrap_or(i64::MAX), acked, segment.window);
        conn.send.acknowledged(self.now, acked);
        let hidden = duplicate && conn.send.counts_duplicates() && (signal || !conn.send.duplicate_is_safe());
        if matches!(conn.phase, Phase::SynReceived { .. }) || !(stale || hidden) {
            let view = EngineView {
                // smoltcp drops the payload of a segment whose acknowledgement is old.
                ack: conn.send.seq_in_engine(conn.send.una),
                window: conn.send.present_window(duplicate),
                fin,
                payload_len: len,
                syn_options: PaddedOptions::default(),
            };
            if offset > conn.receive.next {
                conn.receive.early.arrived(offset..offset + len as u64);
            }
            self.ingest(conn, segment, frame, &view);
        }
        self.observe(conn)
    }

    /// Learns from the peer's SYN, in either role.
    fn take_peer_syn(&mut self, conn: &mut Connection, segment: &Segment, options: &ParsedOptions) {
        conn.peer_mac.get_or_insert(segment.link_source);
        conn.last_received = Some(self.now);
        conn.receive.peer_syn(segment.seq);
        // Scaling is for both directions or for none (RFC 7323 section 2.2).
        if options.window_scale.is_none() {
            conn.receive.window_shift = 0;
            conn.receive.engine_edge = conn.receive.engine_edge.min(u16::MAX.into());
        }
        let shift = options.window_scale.unwrap_or(0);
        conn.send.peer_syn(segment.window, shift, options.mss, segment.source.is_ipv4());
    }

    fn syn_view(&self, conn: &Connection, segment: &Segment, options: &ParsedOptions) -> EngineView {
        // The peer's MSS does not count options (RFC 6691), so smoltcp must cut smaller segments.
        let mss = conn.send.peer_mss.saturating_sub(self.config.option_reserve).max(ENGINE_MIN_MSS);
        let mss = u16::try_from(mss).unwrap_or(u16::MAX);
        let mut syn_options = PaddedOptions::syn(mss, options.window_scale).padded();
        if syn_options.as_slice().len() > segment.options.len() {
            // The peer has not said its MSS; scaling takes the room that it has taken.
            syn_options = PaddedOptions::scale(options.window_scale).padded();
        }
        EngineView {
            ack: if segment.flags.ack { conn.send.seq_in_engine(0) } else { 0 },
            window: segment.window,
            fin: false,
            payload_len: 0,
            syn_options,
        }
    }

    /// Lays a segment before smoltcp.
    fn ingest(&mut self, conn: &mut Connection, segment: &Segment, mut frame: BytesMut, view: &EngineView) {
        segment.rewrite(&mut frame, view);
        let interface = &mut self.interfaces[conn.interface.0];
        interface.ingest(self.now, frame, &mut conn.sockets);
        conn.unacknowledged_segments += u32::from(view.payload_len > 0);
        if conn.unacknowledged_segments >= SEGMENTS_PER_ACKNOWLEDGEMENT {
            conn.unacknowledged_segments = 0;
            conn.drain_to(&mut self.events);
            interface.egress(self.now, &mut conn.sockets);
        }
        interface.note_resolution(self.now);
        let shut = conn.send.window_is_closed();
        while let Some(frame) = interface.port.sent.pop_front() {
            conn.replies.push((frame, shut));
        }
    }

    /// Tells what a segment has changed.
    fn observe(&mut self, conn: &mut Connection) -> Outcome {
        let state = conn.socket().state();
        let handshake_done = !matches!(state, tcp::State::SynSent | tcp::State::SynReceived | tcp::State::Listen);
        if handshake_done && !matches!(conn.phase, Phase::Open) {
            self.leave_backlog(conn);
            conn.phase = Phase::Open;
            conn.close_if_open();
            self.events.push_back(TcpEvent::Established(conn.id));
        }
        conn.drain_to(&mut self.events);
        let fin_received =
            matches!(state, tcp::State::CloseWait | tcp::State::LastAck | tcp::State::Closing | tcp::State::TimeWait);
        if fin_received && !conn.receive.finished {
            conn.receive.finished = true;
            conn.receive.next += 1;
            self.events.push_back(TcpEvent::Finished(conn.id));
        }
        if conn.no_longer_starved(&self.config) {
            self.events.push_back(TcpEvent::Writable(conn.id));
        }
        if conn.socket().state() == tcp::State::Closed { Outcome::Ends(CloseReason::Normal) } else { Outcome::Lives }
    }

    /// Answers a segment that no connection can take (RFC 9293 section 3.10.7.1).
    fn reply_with_reset(&mut self, interface: InterfaceId, segment: &Segment, options: &[u8]) {
        let (seq, ack) = if segment.flags.ack {
            (segment.ack, None)
        } else {
            (0, Some(segment.seq.wrapping_add(segment.sequence_len())))
        };
        let mut padded = PaddedOptions::default();
        padded.push(options);
        let header = Header {
            link_source: segment.link_destination,
            link_destination: segment.link_source,
            source: segment.destination,
            destination: segment.source,
            seq,
            ack,
            syn: false,
            fin: false,
            rst: true,
            psh: false,
            window: 0,
            options: padded.padded(),
            partial: false,
        };
        self.ready.push_back((interface, header.frame(header.with_payload(&[]))));
    }

    /// Answers a segment whose acknowledgement is of another incarnation, leaving the connection as it is.
    fn reset_from(&mut self, conn: &Connection, segment: &Segment, hook: &mut dyn SegmentHook) {
        let out = SegmentOut {
            kind: SegmentKind::Reset,
            fin: false,
            offset: 0,
            len: 0,
            chunk: None,
            retransmission: false,
            window_shift: 0,
        };
        let mut options = OptionSpace::new(OptionSpace::MAX);
        let _ = hook.on_transmit(self.now, conn.id, &out, &mut options);
        self.reply_with_reset(conn.interface, segment, options.as_slice());
    }

    /// Tells the peer of a connection that it is reset, if the peer can know of it.
    pub(super) fn send_reset(&mut self, conn: &Connection, options: &[u8]) {
        if matches!(conn.phase, Phase::SynSent { .. }) || conn.send.syns == 0 {
            return;
        }
        let Some(mut header) = conn.header() else { return };
        header.rst = true;
        header.options.push(options);
        header.options = header.options.padded();
        self.ready.push_back((conn.interface, header.frame(header.with_payload(&[]))));
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::smoltcp::SmoltcpConfig;
    use crate::{ConnectRequest, Instant, InterfaceConfig, MacAddr, TcpStack};

    fn tuple(port: u16) -> FourTuple {
        let address = |host: u8| IpAddr::from([10, 0, 0, host]);
        FourTuple { local: SocketAddr::new(address(1), port), remote: SocketAddr::new(address(2), 80) }
    }

    #[test]
    fn a_connection_found_lately_is_told_from_those_that_share_its_place() {
        let mut stack = SmoltcpStack::new(SmoltcpConfig::default(), 1);
        let mac = MacAddr([2, 0, 0, 0, 0, 1]);
        let addrs = vec!["10.0.0.1/24".parse().unwrap()];
        stack.add_interface(InterfaceConfig { mac, mtu: 1500, addrs, routes: Vec::new() });
        let ports = [5000, 5000 + 1024, 5000 + 2048];
        let ids = ports.map(|port| {
            let FourTuple { local, remote } = tuple(port);
            let request = ConnectRequest { local: local.ip(), local_port: Some(port), remote };
            stack.connect(Instant::ZERO, &request).unwrap()
        });
        assert_eq!(stack.found_before(&tuple(ports[0])), None, "no segment has come");
        for (port, id) in ports.into_iter().zip(ids) {
            stack.found.note(&tuple(port).local, &tuple(port).remote, id);
            let found = ports.map(|port| stack.found_before(&tuple(port)));
            assert_eq!(found, ids.map(|known| (known == id).then_some(known)));
        }
        stack.abort(Instant::ZERO, ids[2], &[]).unwrap();
        assert_eq!(stack.found_before(&tuple(ports[2])), None, "it is gone");
    }
}
