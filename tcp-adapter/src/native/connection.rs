//! One connection.

use std::time::Duration;

use super::challenge::Challenges;
use super::config::NativeConfig;
use super::fast_open::SynData;
use super::keep_alive::KeepAlive;
use super::memory::Memory;
use super::path_mtu::PathMtu;
use super::receiver::Receiver;
use super::send::{Fin, MayProbe, NEVER, ProbeFate, Sender};
use super::wire::{HeaderTemplate, MAX_OPTIONS};
use crate::table::FourTuple;
use crate::{Instant, InterfaceId, ListenerId, SendLimits, SendState, TcpId, TcpInfo};

/// Bytes of a timestamps option with its padding (RFC 7323 appendix A).
pub(super) const TIMESTAMPS_LEN: u32 = 12;

/// Least payload of a segment, however small the peer's MSS is: 88 is Linux' `tcp_min_snd_mss` of 48 and the 40 bytes of options.
pub(super) const MIN_SEGMENT: u32 = 88;

/// How far a connection is (RFC 9293 section 3.3.2). What comes after the handshake is told by the two FINs, see [`Connection::is_over`].
#[derive(Debug)]
pub(super) enum Phase {
    /// SYN-SENT.
    SynSent(Box<Handshake>),
    /// SYN-RECEIVED.
    SynReceived(Box<Handshake>),
    /// SYN-RECEIVED too, but data of the SYN was taken, so that data moves already (RFC 7413 section 4.2.2).
    FastOpen(Box<Handshake>),
    /// ESTABLISHED and later.
    Open,
}

/// A SYN or SYN/ACK that is repeated until it is answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Handshake {
    /// When it is given up.
    pub(super) until: Instant,
    /// When it is sent next.
    pub(super) resend_at: Instant,
    /// Times sent.
    pub(super) sent: u32,
    /// How often the next timeout is doubled.
    pub(super) doublings: u32,
    /// When it was first sent.
    pub(super) first_at: Instant,
    /// It answers a SYN that crossed our own, of an active open (RFC 9293 section 3.5, MUST-11).
    pub(super) crossed: bool,
}

impl Handshake {
    pub(super) fn new(now: Instant, limit: Duration) -> Self {
        Self { until: now + limit, resend_at: now, sent: 0, doublings: 0, first_at: now, crossed: false }
    }

    /// It leaves once more, and again after the timeout (RFC 6298 section 5.5).
    pub(super) fn leaves(&mut self, now: Instant) {
        const FIRST: Duration = Duration::from_secs(1);
        if self.sent == 0 {
            self.first_at = now;
        }
        self.resend_at = now + FIRST * (1 << self.doublings.min(6));
        self.doublings += 1;
        self.sent += 1;
    }

    /// It is to leave now, as the peer has repeated what it answers, or sent what is out of place. Our timeout begins anew, and is not doubled,
    /// as it was not over (RFC 6298 section 5.5): if each repetition of the peer doubled it, both would come into step, and nothing would leave
    /// between them any more.
    pub(super) fn repeat(&mut self, now: Instant) {
        if self.resend_at > now {
            self.resend_at = now;
            self.doublings = self.doublings.saturating_sub(1);
        }
    }
}

/// What both sides have agreed on in their SYNs.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Agreed {
    pub(super) timestamps: bool,
    pub(super) window_scaling: bool,
    pub(super) ecn: bool,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) id: TcpId,
    pub(super) interface: InterfaceId,
    pub(super) phase: Phase,
    /// The listener whose backlog it is in until the handshake is complete.
    pub(super) backlog: Option<ListenerId>,
    pub(super) agreed: Agreed,
    /// The listener among whose pending fast opens it is until the handshake is complete.
    pub(super) fast_open: Option<ListenerId>,
    /// What our SYN, or the answer to the peer's, does about Fast Open.
    pub(super) syn_data: Option<Box<SynData>>,
    /// Whether it is in the list of those to be served.
    pub(super) dirty: bool,
    /// An acknowledgement is to leave now.
    pub(super) ack_now: bool,
    /// The layer above wants a segment without payload to leave.
    pub(super) bare_now: bool,
    /// A segment is to leave that the peer must answer.
    pub(super) probe: bool,
    /// `send_room` was too small for the layer above.
    pub(super) starved: bool,
    /// No next hop is known: the neighbour has been asked.
    pub(super) waits_for_neighbour: bool,
    /// The link-layer address in the template is one that is known.
    pub(super) routed: bool,
    /// Memory of empty queues was given back.
    pub(super) trimmed: bool,
    /// The peer's FIN arrived before ours left.
    pub(super) closed_by_peer: bool,
    /// Option bytes of the layer above in the last super-segment, which all of its pieces repeat.
    pub(super) foreign_options: u8,
    pub(super) send: Sender,
    pub(super) receive: Receiver,
    pub(super) template: HeaderTemplate,
    pub(super) path_mtu: PathMtu,
    /// Of the peer's SYN; does not count options (RFC 6691).
    pub(super) peer_mss: u32,
    /// Added to the clock in our timestamps (RFC 7323 section 5.4).
    pub(super) timestamp_offset: u32,
    /// Bytes that the stack knows it to hold.
    pub(super) charged: usize,
    /// Deadline in the wheel.
    pub(super) deadline: Instant,
    pub(super) last_received: Instant,
    pub(super) last_active: Instant,
    pub(super) challenges: Challenges,
    pub(super) keep_alive: KeepAlive,
}

/// A clock of milliseconds, `offset` ahead.
pub(super) fn timestamp(now: Instant, offset: u32) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "timestamps are modulo 2^32 (RFC 7323 section 4)")]
    let millis = (now.as_nanos() / 1_000_000) as u32;
    millis.wrapping_add(offset)
}

impl Connection {
    /// Payload and options of a segment at most, by the path and the peer.
    pub(super) fn segment_limit(&self) -> u32 {
        let by_path = self.path_mtu.current().saturating_sub(self.headers());
        by_path.min(self.peer_mss).max(MIN_SEGMENT)
    }

    /// Bytes of the headers of a packet without options.
    pub(super) fn headers(&self) -> u32 {
        u32::try_from(self.template.packet_overhead()).unwrap_or(u32::MAX)
    }

    /// Payload and options of the layer above of a segment at most.
    pub(super) fn payload_limit(&self) -> u32 {
        self.segment_limit() - if self.agreed.timestamps { TIMESTAMPS_LEN } else { 0 }
    }

    /// Bytes of a packet with so much payload at most: which options it left with is not kept.
    pub(super) fn longest_packet(&self, payload: u32) -> u32 {
        payload + u32::try_from(MAX_OPTIONS).unwrap_or(u32::MAX) + self.headers()
    }

    /// Lets the sender know how long a full segment is.
    pub(super) fn update_mss(&mut self) {
        self.send.set_mss(self.payload_limit().saturating_sub(u32::from(self.foreign_options)));
    }

    /// Whether a packet that is longer than the path is known to carry should leave, and whether it may now.
    pub(super) fn may_probe_mtu(&mut self, now: Instant) -> MayProbe {
        // As nearly always; asked before each segment.
        if self.path_mtu.is_unrestricted() {
            return MayProbe::No;
        }
        let headers = self.headers();
        let Some(size) = self.path_mtu.probe_size(now, self.peer_mss.saturating_add(headers)) else {
            return MayProbe::No;
        };
        let options = if self.agreed.timestamps { TIMESTAMPS_LEN } else { 0 };
        self.send.may_probe_mtu(size, u64::from(size.saturating_sub(headers + options)))
    }

    /// Draws the conclusions once it is known what became of a probe.
    pub(super) fn learn_from_mtu_probe(&mut self, now: Instant) {
        let Some((size, fate)) = self.send.take_mtu_probe() else { return };
        match fate {
            ProbeFate::Arrived => self.path_mtu.probe_arrived(now, size),
            ProbeFate::Lost => self.path_mtu.probe_lost(now, size),
            ProbeFate::Unknown => self.path_mtu.probe_inconclusive(now),
        }
        self.update_mss();
    }

    /// Our timestamp (RFC 7323 section 4.1): milliseconds.
    pub(super) fn timestamp(&self, now: Instant) -> u32 {
        timestamp(now, self.timestamp_offset)
    }

    /// Whether data can move.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::FastOpen(_) | Phase::Open)
    }

    /// Whether the handshake is complete.
    pub(super) fn is_synchronized(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }

    /// Whether the SYN of an active open has not left yet.
    pub(super) fn syn_is_due(&self) -> bool {
        matches!(&self.phase, Phase::SynSent(handshake) if handshake.sent == 0)
    }

    /// Bytes that our SYN had when it was first sent.
    pub(super) fn offered_on_syn(&self) -> u32 {
        match self.syn_data.as_deref() {
            Some(SynData::Left { bytes }) => *bytes,
            _ => 0,
        }
    }

    /// Whether the layer above may still send.
    pub(super) fn may_send(&self) -> bool {
        self.is_open() && self.send.fin == Fin::None
    }

    /// See [`TcpStack::send_room`](crate::TcpStack::send_room).
    pub(super) fn send_room(&self, config: &NativeConfig) -> usize {
        if !self.may_send() {
            return 0;
        }
        let unsent = usize::try_from(self.send.unsent()).unwrap_or(usize::MAX);
        let buffer = config.send_buffer.saturating_sub(self.send.buffer.held());
        let room = buffer.min(self.low_water(config).saturating_sub(unsent));
        if room < self.probe_room(config) { 0 } else { room }
    }

    /// Room that is worth telling of while the path's MTU is searched for. A probe is of one chunk, and who is told of each segment that has
    /// left makes a chunk of each.
    fn probe_room(&self, config: &NativeConfig) -> usize {
        let Some(size) = self.path_mtu.searched_size() else { return 0 };
        let mss = self.send.mss.max(1);
        let whole = usize::try_from(size.div_ceil(mss).saturating_mul(mss)).unwrap_or(usize::MAX);
        // As much must come about once what is there has left.
        if whole <= self.low_water(config).min(config.send_buffer) / 4 { whole } else { 0 }
    }

    /// Bytes that may wait to be sent: enough that the window never starves between two calls of the layer above.
    fn low_water(&self, config: &NativeConfig) -> usize {
        config.notsent_lowat.min(config.send_buffer)
    }

    /// Notes whether the room left is too small for the layer above.
    pub(super) fn note_room(&mut self, config: &NativeConfig) {
        self.starved |= self.send_room(config) < self.starvation(config);
    }

    /// Whether enough room has come about to say so. Without memory there is none, however empty the buffer is.
    pub(super) fn no_longer_starved(&mut self, config: &NativeConfig, memory: &Memory) -> bool {
        let room = self.starved && self.send_room(config) >= self.starvation(config);
        let enough = room && memory.room_for(1) > 0;
        if enough {
            self.starved = false;
        }
        enough
    }

    fn starvation(&self, config: &NativeConfig) -> usize {
        let most = self.low_water(config);
        most.div_ceil(2).max((self.send.mss as usize).min(most))
    }

    /// Whether both sides have sent a FIN and both are acknowledged.
    pub(super) fn is_over(&self) -> bool {
        self.send.fin == Fin::Acked && self.receive.finished() && !self.receive.owes_ack()
    }

    /// The earliest time at which something is due.
    pub(super) fn next_deadline(&mut self, now: Instant, config: &NativeConfig) -> Instant {
        match &self.phase {
            Phase::SynSent(handshake) | Phase::SynReceived(handshake) if self.waits_for_neighbour => {
                handshake.until.min(now + ASK_AGAIN)
            }
            Phase::SynSent(handshake) | Phase::SynReceived(handshake) => handshake.resend_at.min(handshake.until),
            Phase::FastOpen(_) | Phase::Open => {
                let answer = match &self.phase {
                    Phase::FastOpen(handshake) if self.waits_for_neighbour => handshake.until.min(now + ASK_AGAIN),
                    Phase::FastOpen(handshake) => handshake.resend_at.min(handshake.until),
                    // Nobody wakes whoever waits for a neighbour that did not answer.
                    _ if self.waits_for_neighbour && !self.send.is_idle() => now + ASK_AGAIN,
                    _ => NEVER,
                };
                // Without a neighbour nothing leaves, however overdue.
                let paced = if config.pacing && !self.waits_for_neighbour {
                    self.send.paced_until(now).unwrap_or(NEVER)
                } else {
                    NEVER
                };
                let acknowledge = if self.waits_for_neighbour { NEVER } else { self.receive.deadline() };
                let idle = if self.trimmed { NEVER } else { self.last_active + TRIM_AFTER };
                let asked = self.keep_alive.deadline(config, self.last_received, self.send.is_idle());
                self.send.deadline(config.user_timeout).min(acknowledge).min(paced).min(idle).min(asked).min(answer)
            }
        }
    }

    /// Tells the stack what it holds.
    pub(super) fn settle_memory(&mut self, memory: &mut Memory) {
        memory.charge(&mut self.charged, self.send.buffer.held() + self.receive.held());
    }

    /// Gives back the memory of empty queues if nothing has happened for a while.
    pub(super) fn trim_if_idle(&mut self, now: Instant) {
        if !self.trimmed && now >= self.last_active + TRIM_AFTER {
            self.send.trim();
            self.receive.trim();
            self.trimmed = true;
        }
    }

    /// Something happens: the queues are in use.
    pub(super) fn touch(&mut self, now: Instant) {
        self.last_active = now;
        self.trimmed = false;
    }

    /// See [`TcpStack::send_limits`](crate::TcpStack::send_limits).
    ///
    /// `cut` says whether the device cuts super-segments.
    pub(super) fn send_limits(&self, cut: bool) -> SendLimits {
        let send = &self.send;
        SendLimits {
            cwnd: Some(send.control.cwnd()),
            outstanding: send.flight.in_flight() + send.queued(),
            pacing_rate: send.pacer.rate(),
            slow_start: send.control.in_slow_start(),
            mss: send.mss as usize,
            mss_before_hook: !cut,
        }
    }

    /// See [`TcpStack::send_state`](crate::TcpStack::send_state), and [`send_limits`](Self::send_limits) for `cut`.
    pub(super) fn send_state(&self, cut: bool) -> SendState {
        let send = &self.send;
        let SendLimits { cwnd, pacing_rate, slow_start, mss, mss_before_hook, .. } = self.send_limits(cut);
        let (srtt, delivered) = (send.rtt.srtt(), send.delivery_rate.get());
        let time = |nanos: u64| (nanos > 0).then(|| Duration::from_nanos(nanos));
        SendState {
            interface: self.interface,
            srtt: time(srtt),
            rttvar: (srtt > 0).then(|| Duration::from_nanos(send.rtt.rttvar())),
            latest_rtt: time(send.rtt.latest()),
            min_rtt: time(send.rtt.min()),
            cwnd,
            ssthresh: send.control.ssthresh(),
            slow_start,
            in_flight: send.flight.in_flight(),
            queued: send.queued(),
            delivery_rate: delivered.map(|(rate, _)| rate),
            delivery_rate_app_limited: delivered.is_some_and(|(_, limited)| limited),
            pacing_rate,
            mss,
            mss_before_hook,
        }
    }

    /// See [`TcpStack::info`](crate::TcpStack::info), and [`send_limits`](Self::send_limits) for `cut`.
    pub(super) fn info(&self, cut: bool) -> TcpInfo {
        let send = &self.send;
        let repairs = send.stats.repairs();
        let state = self.send_state(cut);
        let FourTuple { local, remote } = self.template.tuple();
        TcpInfo {
            interface: state.interface,
            local,
            remote,
            established: self.is_open() && send.fin == Fin::None && !self.receive.finished(),
            srtt: state.srtt,
            rttvar: state.rttvar,
            latest_rtt: state.latest_rtt,
            min_rtt: state.min_rtt,
            rto: Some(Duration::from_nanos(send.rtt.rto())),
            congestion: Some(send.control.name()),
            cwnd: state.cwnd,
            ssthresh: state.ssthresh,
            slow_start: state.slow_start,
            in_flight: state.in_flight,
            queued: state.queued,
            delivery_rate: state.delivery_rate,
            delivery_rate_app_limited: state.delivery_rate_app_limited,
            pacing_rate: state.pacing_rate,
            max_pacing_rate: send.pacer.max_rate(),
            mss: state.mss,
            mss_before_hook: state.mss_before_hook,
            bytes_sent: send.stats.bytes_sent,
            bytes_retransmitted: repairs.bytes_retransmitted,
            retransmissions: repairs.retransmissions,
            losses: Some(repairs.losses),
            timeouts: send.timeouts(),
            snd_una: send.una,
            una_sent_at: send.flight.una_sent_at(),
            sacked: send.flight.sacked(),
            rcv_nxt: self.receive.next(),
            out_of_order: Some(self.receive.out_of_order() as u64),
            last_received: (self.last_received > Instant::ZERO).then_some(self.last_received),
        }
    }
}

/// After this time a neighbour that did not answer is asked for once more.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Time without activity after which empty queues give their memory back.
const TRIM_AFTER: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::congestion::Cubic;

    /// There may be very many that do nothing: what few of them need at a time belongs into boxes that are given back.
    #[test]
    fn an_idle_connection_is_small() {
        assert!(size_of::<Connection>() <= 880, "{}", size_of::<Connection>());
        assert!(size_of::<Cubic>() <= 120, "{}", size_of::<Cubic>());
    }
}
