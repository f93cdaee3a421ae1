//! One connection: a smoltcp socket in a set of its own, and what the shim knows beside it.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use smallvec::{SmallVec, smallvec};
use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::socket::tcp;

use super::config::{CongestionControl, SmoltcpConfig};
use super::options::PaddedOptions;
use super::receive_side::ReceiveSide;
use super::segment::{Header, ip_header_len};
use super::send_side::SendSide;
use crate::table::FourTuple;
use crate::{Instant, InterfaceId, ListenerId, MacAddr, Received, TcpEvent, TcpId, TcpInfo};

/// Acknowledgements per second and connection for segments that are not acceptable and carry no
/// data (RFC 5961 section 7 asks for a limit).
const CHALLENGES_PER_SECOND: u32 = 10;

/// How far a connection is. The rest is smoltcp's state.
#[derive(Debug)]
pub(super) enum Phase {
    /// Active open, until the time given.
    SynSent { until: Instant },
    /// SYN received, until the time given.
    SynReceived { until: Instant, listener: Option<ListenerId> },
    /// The handshake is complete.
    Open,
}

impl Phase {
    /// Until when the handshake has to be complete.
    pub(super) fn until(&self) -> Option<Instant> {
        match self {
            Self::SynSent { until } | Self::SynReceived { until, .. } => Some(*until),
            Self::Open => None,
        }
    }
}

/// A connection.
pub(super) struct Connection {
    pub(super) id: TcpId,
    pub(super) interface: InterfaceId,
    pub(super) own_mac: MacAddr,
    pub(super) tuple: FourTuple,
    /// Has one socket: smoltcp searches a set from its start, so each connection has its own.
    pub(super) sockets: SocketSet<'static>,
    handle: SocketHandle,
    pub(super) phase: Phase,
    pub(super) send: SendSide,
    pub(super) receive: ReceiveSide,
    /// Chunks that smoltcp gets one after the other, each when it has sent the one before: it would make
    /// segments of two, and once that is so, of every later two.
    staged: VecDeque<SmallVec<[Bytes; 1]>>,
    staged_bytes: usize,
    /// Next hop, once something has been sent or received.
    pub(super) peer_mac: Option<MacAddr>,
    /// Largest payload and options of a segment that fits the interface.
    local_mss: usize,
    pub(super) received: ReceiveQueue,
    /// Whether a FIN is to follow what was queued.
    pub(super) shutdown: bool,
    /// The device completes TCP checksums.
    pub(super) partial_checksum: bool,
    pub(super) ack_pending: bool,
    pub(super) probe_pending: bool,
    /// Whether `send_room` was too small for the layer above.
    pub(super) starved: bool,
    /// Segments with payload received since smoltcp was last let to acknowledge.
    pub(super) unacknowledged_segments: u32,
    /// What smoltcp has written before the hook could be asked, and whether it took the peer's window for closed then.
    pub(super) replies: Vec<(BytesMut, bool)>,
    pub(super) deadline: Option<Instant>,
    /// Whether smoltcp is to be polled for it.
    pub(super) dirty: bool,
    pub(super) last_received: Option<Instant>,
    /// Window advertised last, if it was the stack's own.
    pub(super) own_window: Option<u64>,
    challenges: (Instant, u32),
}

/// Bytes received in order and not yet handed out.
#[derive(Debug, Default)]
pub(super) struct ReceiveQueue {
    pieces: VecDeque<Received>,
    bytes: usize,
}

impl ReceiveQueue {
    pub(super) fn push(&mut self, received: Received) {
        self.bytes += received.bytes.len();
        self.pieces.push_back(received);
    }

    pub(super) fn pop(&mut self) -> Option<Received> {
        let received = self.pieces.pop_front()?;
        self.bytes -= received.bytes.len();
        Some(received)
    }

    pub(super) fn len(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }
}

/// Where a connection is: its place in the world before anything is exchanged.
pub(super) struct Place {
    pub(super) id: TcpId,
    pub(super) interface: InterfaceId,
    pub(super) own_mac: MacAddr,
    pub(super) mtu: usize,
    pub(super) tuple: FourTuple,
}

impl Connection {
    pub(super) fn new(place: Place, config: &SmoltcpConfig, phase: Phase) -> Self {
        let buffer = |len| tcp::SocketBuffer::new(vec![0; len]);
        let mut socket = tcp::Socket::new(buffer(config.recv_buffer), buffer(config.send_buffer));
        socket.set_ack_delay(None);
        socket.set_nagle_enabled(false);
        socket.set_congestion_control(match config.congestion_control {
            CongestionControl::None => tcp::CongestionControl::None,
            CongestionControl::Reno => tcp::CongestionControl::Reno,
            CongestionControl::Cubic => tcp::CongestionControl::Cubic,
        });
        let mut sockets = SocketSet::new(Vec::with_capacity(1));
        let handle = sockets.add(socket);
        let Place { id, interface, own_mac, mtu, tuple } = place;
        Self {
            id,
            interface,
            own_mac,
            tuple,
            sockets,
            handle,
            phase,
            send: SendSide::default(),
            receive: ReceiveSide::default(),
            staged: VecDeque::new(),
            staged_bytes: 0,
            peer_mac: None,
            local_mss: mtu - ip_header_len(tuple.local.ip()) - smoltcp::wire::TCP_HEADER_LEN,
            received: ReceiveQueue::default(),
            shutdown: false,
            partial_checksum: false,
            ack_pending: false,
            probe_pending: false,
            starved: false,
            unacknowledged_segments: 0,
            replies: Vec::new(),
            deadline: None,
            dirty: false,
            last_received: None,
            own_window: None,
            challenges: (Instant::ZERO, 0),
        }
    }

    pub(super) fn socket(&self) -> &tcp::Socket<'static> {
        self.sockets.get(self.handle)
    }

    pub(super) fn socket_mut(&mut self) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(self.handle)
    }

    /// The true MSS of the interface, which the SYN names.
    pub(super) fn local_mss(&self) -> usize {
        self.local_mss
    }

    /// Payload and options of a segment at most, by the MTU and the peer's MSS
    /// (which does not count options, RFC 6691).
    pub(super) fn segment_limit(&self) -> usize {
        if self.send.peer_mss == 0 { self.local_mss } else { self.local_mss.min(self.send.peer_mss) }
    }

    /// Payload of a segment, or all that there may ever be room for if that is less.
    fn mss(&self, config: &SmoltcpConfig) -> usize {
        self.segment_limit().saturating_sub(config.option_reserve).min(most_room(config))
    }

    /// Room below which a sender is told when there is more: that for a segment at least, which it may wait for.
    fn starvation(&self, config: &SmoltcpConfig) -> usize {
        most_room(config).div_ceil(2).max(self.mss(config))
    }

    /// See [`TcpStack::send_room`](crate::TcpStack::send_room).
    pub(super) fn send_room(&self, config: &SmoltcpConfig) -> usize {
        if !matches!(self.phase, Phase::Open) || self.shutdown || !self.socket().may_send() {
            return 0;
        }
        let unsent = usize::try_from(self.send.unsent()).unwrap_or(usize::MAX);
        self.send_buffer_room().min(config.notsent_lowat.saturating_sub(unsent))
    }

    pub(super) fn send_buffer_room(&self) -> usize {
        let socket = self.socket();
        socket.send_capacity() - socket.send_queue() - self.staged_bytes
    }

    /// Takes a chunk for which there is room.
    pub(super) fn stage(&mut self, bytes: Bytes) {
        self.staged_bytes += bytes.len();
        self.staged.push_back(smallvec![bytes]);
    }

    /// Takes more of the last chunk; false if smoltcp has been given that already, and may have sent it.
    pub(super) fn stage_more(&mut self, bytes: Bytes) -> bool {
        let Some(chunk) = self.staged.back_mut() else { return false };
        self.staged_bytes += bytes.len();
        chunk.push(bytes);
        true
    }

    /// Gives smoltcp the next chunk if it has sent the one before, and the end if there are no more.
    pub(super) fn feed(&mut self) {
        while self.before_engine() == 0
            && let Some(chunk) = self.staged.pop_front()
        {
            for bytes in chunk {
                self.staged_bytes -= bytes.len();
                // There was room for all of it when it was staged, and a socket that cannot send any more is about to
                // be closed.
                let _ = self.socket_mut().send_slice(&bytes);
            }
        }
        self.close_if_open();
    }

    /// Bytes that smoltcp is yet to send or to repeat.
    fn before_engine(&self) -> u64 {
        self.send.before_engine(self.send.end - self.staged_bytes as u64)
    }

    /// Whether enough room has come about to say so.
    pub(super) fn no_longer_starved(&mut self, config: &SmoltcpConfig) -> bool {
        let enough = self.starved && self.send_room(config) >= self.starvation(config);
        if enough {
            self.starved = false;
        }
        enough
    }

    /// Notes whether the room left is too small.
    pub(super) fn note_room(&mut self, config: &SmoltcpConfig) {
        self.starved |= self.send_room(config) < self.starvation(config);
    }

    /// Has smoltcp wait for windows that allow a full segment, as long as there are bytes for one (RFC 9293 section
    /// 3.8.6.2.1). Segments that are small only because of the windows of the moment would come back as small
    /// acknowledgements, which make the next ones smaller still. What is less than a full segment leaves as soon as
    /// the peer's window takes all of it.
    pub(super) fn avoid_silly_windows(&mut self, config: &SmoltcpConfig) {
        let full = self.segment_limit().saturating_sub(config.option_reserve) as u64;
        let left = self.before_engine();
        let wait = left >= full || left > self.send.window_left();
        self.socket_mut().set_nagle_enabled(wait);
    }

    /// Lets smoltcp send its FIN if the layer above has asked for it.
    ///
    /// Not before smoltcp has all bytes, nor before the handshake is complete: smoltcp would take the acknowledgement of its SYN for
    /// that of its FIN.
    pub(super) fn close_if_open(&mut self) {
        if self.shutdown && self.staged.is_empty() && matches!(self.phase, Phase::Open) {
            self.socket_mut().close();
        }
    }

    /// Moves what smoltcp holds in order to the receive queue.
    pub(super) fn drain_to(&mut self, events: &mut VecDeque<TcpEvent>) {
        let was_empty = self.received.is_empty();
        while self.socket().can_recv() {
            let Ok(bytes) = self.socket_mut().recv(|slice| (slice.len(), Bytes::copy_from_slice(slice))) else { break };
            let offset = self.receive.next;
            self.receive.next += bytes.len() as u64;
            self.received.push(Received { offset, bytes });
        }
        self.receive.early.delivered(self.receive.next);
        if was_empty && !self.received.is_empty() {
            events.push_back(TcpEvent::Readable(self.id));
        }
    }

    /// Owes the peer an acknowledgement for a segment that is not acceptable, within limits.
    pub(super) fn challenge(&mut self, now: Instant, has_data: bool) {
        // Data outside the window is a retransmission or a probe, paced by the peer's timers;
        // withholding the answer would strand it in backoff.
        if !has_data {
            let (since, count) = &mut self.challenges;
            if now.saturating_since(*since) >= Duration::from_secs(1) {
                (*since, *count) = (now, 0);
            }
            if *count >= CHALLENGES_PER_SECOND {
                return;
            }
            *count += 1;
        }
        self.ack_pending = true;
    }

    /// The window field of the next segment, given what the hook wants, which then is advertised.
    ///
    /// It never exceeds what smoltcp accepts, since smoltcp drops what is beyond its own window. One byte
    /// less, because smoltcp also drops an acknowledgement that is numbered just after it.
    pub(super) fn window_field(&mut self, wanted: Option<u32>, syn: bool) -> u16 {
        let shift = if syn { 0 } else { self.receive.window_shift };
        let own = (self.socket().recv_capacity() as u64).saturating_sub(self.received.len() as u64);
        let receive = &mut self.receive;
        let limit = receive.engine_edge.saturating_sub(receive.acked).saturating_sub(1);
        let window = wanted.map_or(own, u64::from).min(limit);
        let field = u16::try_from(window >> shift).unwrap_or(u16::MAX);
        let advertised = u64::from(field) << shift;
        receive.edge = receive.edge.max(receive.acked + advertised);
        self.own_window = wanted.is_none().then_some(advertised);
        field
    }

    /// Where the window ends that smoltcp has now, if the peer has heard of so little of it that smoltcp would have told by itself, had it not
    /// done so already: what it has said was dropped. To be asked when it has nothing more to say.
    ///
    /// By its own rule, with what has left in place of what it takes for sent, which never reaches less far.
    pub(super) fn unheard_edge(&self) -> Option<u64> {
        let socket = self.socket();
        let tells = matches!(socket.state(), tcp::State::Established | tcp::State::FinWait1 | tcp::State::FinWait2);
        let receive = &self.receive;
        let shift = receive.window_shift;
        // Nothing that came in order stays with smoltcp.
        let field = u64::from(u16::try_from(socket.recv_capacity() >> shift).unwrap_or(u16::MAX));
        let heard = receive.engine_edge.saturating_sub(receive.next) >> shift;
        (tells && field > 0 && field / 2 >= heard).then_some(receive.next + (field << shift))
    }

    /// Whether the window advertised last was the stack's own and has since grown from too
    /// little to plenty (RFC 9293 section 3.8.6.2.2).
    pub(super) fn window_has_opened(&self) -> bool {
        let capacity = self.socket().recv_capacity() as u64;
        let room = capacity.saturating_sub(self.received.len() as u64);
        self.own_window.is_some_and(|advertised| advertised < capacity / 4 && room >= capacity / 2)
    }

    /// See [`TcpStack::info`](crate::TcpStack::info).
    pub(super) fn info(&self, config: &SmoltcpConfig) -> TcpInfo {
        let send = &self.send;
        TcpInfo {
            interface: self.interface,
            local: self.tuple.local,
            remote: self.tuple.remote,
            established: matches!(self.phase, Phase::Open) && !self.shutdown && !self.receive.finished,
            srtt: send.rtt.srtt(),
            rttvar: send.rtt.rttvar(),
            latest_rtt: None,
            min_rtt: send.rtt.min(),
            rto: Some(send.rtt.rto(send.timeouts)),
            congestion: Some(config.congestion_control.name()),
            cwnd: None,
            ssthresh: None,
            slow_start: false,
            in_flight: send.in_flight(),
            queued: send.unsent(),
            delivery_rate: None,
            delivery_rate_app_limited: false,
            pacing_rate: None,
            max_pacing_rate: None,
            mss: self.mss(config),
            mss_before_hook: false,
            bytes_sent: send.bytes_sent,
            bytes_retransmitted: send.bytes_retransmitted,
            retransmissions: send.retransmissions,
            losses: None,
            timeouts: send.timeouts,
            snd_una: send.una,
            una_sent_at: None,
            sacked: 0,
            rcv_nxt: self.receive.next,
            out_of_order: Some(self.receive.early.bytes()),
            last_received: self.last_received,
        }
    }

    /// A segment of this connection without payload and options; `None` while the next hop is unknown.
    pub(super) fn header(&self) -> Option<Header> {
        Some(Header {
            link_source: self.own_mac,
            link_destination: self.peer_mac?,
            source: self.tuple.local,
            destination: self.tuple.remote,
            seq: self.send.seq(self.send.max),
            ack: Some(self.receive.seq(self.receive.acked)),
            syn: false,
            fin: false,
            rst: false,
            psh: false,
            window: 0,
            options: PaddedOptions::default(),
            partial: self.partial_checksum,
        })
    }

    /// A segment that says nothing new, as smoltcp would get it from the peer, without payload and options; `None` while the next hop is unknown.
    pub(super) fn header_of_peer(&self, seq: u32) -> Option<Header> {
        let own = self.header()?;
        Some(Header {
            link_source: own.link_destination,
            link_destination: own.link_source,
            source: own.destination,
            destination: own.source,
            seq,
            ack: Some(self.send.seq_in_engine(self.send.una)),
            ..own
        })
    }
}

/// What [`Connection::send_room`] is while nothing waits.
fn most_room(config: &SmoltcpConfig) -> usize {
    config.notsent_lowat.min(config.send_buffer)
}
