//! Connections and listeners, what happens to them, and what is known of them.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::{Instant, InterfaceId};

/// Handle of a connection. Never used again for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TcpId {
    /// Slot, small and reused: fit for indexing a table.
    pub index: u32,
    /// Distinguishes the successive users of a slot.
    pub generation: u32,
}

/// Handle of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenerId(pub u32);

/// An active open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectRequest {
    /// Source address, one of an interface's own.
    pub local: IpAddr,
    /// Source port; `None` lets the stack draw an unused one from 49152-65535 (RFC 6335).
    pub local_port: Option<u16>,
    /// Destination.
    pub remote: SocketAddr,
}

/// Something that happened to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpEvent {
    /// The handshake is complete, active or passive, or data of a SYN was taken ([`SynSegment::early`](crate::SynSegment::early)): bytes can be sent.
    Established(TcpId),
    /// There is something to [`TcpStack::recv`](crate::TcpStack::recv).
    Readable(TcpId),
    /// [`TcpStack::send_room`](crate::TcpStack::send_room) has grown after it was too small.
    Writable(TcpId),
    /// The peer's FIN has been received in order; what came before it can still be read.
    Finished(TcpId),
    /// The connection is gone; the last event of this handle.
    Closed(TcpId, CloseReason),
}

/// Why a connection is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// Both sides have sent a FIN, and both are acknowledged.
    Normal,
    /// The peer answered the SYN with a RST.
    Refused,
    /// The peer reset it.
    Reset,
    /// No answer for too long.
    TimedOut,
    /// [`TcpStack::abort`](crate::TcpStack::abort), or a verdict of the hook.
    Aborted,
}

/// How long a connection's segments take to be acknowledged (RFC 6298 section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoundTrip {
    /// SRTT.
    pub smoothed: Duration,
    /// RTTVAR.
    pub variation: Duration,
}

/// What limits how much a connection should be given, see [`TcpStack::send_limits`](crate::TcpStack::send_limits).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendLimits {
    /// Congestion window in bytes, if known.
    pub cwnd: Option<u64>,
    /// Bytes given to it that are not acknowledged: [`TcpInfo::in_flight`] and [`TcpInfo::queued`].
    pub outstanding: u64,
    /// Pacing rate in bytes per second, if known.
    pub pacing_rate: Option<u64>,
    /// As [`TcpInfo::slow_start`].
    pub slow_start: bool,
    /// As [`TcpInfo::mss`].
    pub mss: usize,
    /// As [`TcpInfo::mss_before_hook`].
    pub mss_before_hook: bool,
}

impl From<&TcpInfo> for SendLimits {
    fn from(info: &TcpInfo) -> Self {
        Self::from(&SendState::from(info))
    }
}

impl From<&SendState> for SendLimits {
    fn from(state: &SendState) -> Self {
        Self {
            cwnd: state.cwnd,
            outstanding: state.in_flight.saturating_add(state.queued),
            pacing_rate: state.pacing_rate,
            slow_start: state.slow_start,
            mss: state.mss,
            mss_before_hook: state.mss_before_hook,
        }
    }
}

/// What a scheduler that chooses between connections looks at, see [`TcpStack::send_state`](crate::TcpStack::send_state): the part of
/// [`TcpInfo`] that says how soon more bytes would arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendState {
    /// [`TcpInfo::interface`].
    pub interface: InterfaceId,
    /// [`TcpInfo::srtt`].
    pub srtt: Option<Duration>,
    /// [`TcpInfo::rttvar`].
    pub rttvar: Option<Duration>,
    /// [`TcpInfo::latest_rtt`].
    pub latest_rtt: Option<Duration>,
    /// [`TcpInfo::min_rtt`].
    pub min_rtt: Option<Duration>,
    /// [`TcpInfo::cwnd`], in bytes.
    pub cwnd: Option<u64>,
    /// [`TcpInfo::ssthresh`], in bytes.
    pub ssthresh: Option<u64>,
    /// [`TcpInfo::slow_start`].
    pub slow_start: bool,
    /// [`TcpInfo::in_flight`], in bytes.
    pub in_flight: u64,
    /// [`TcpInfo::queued`], in bytes.
    pub queued: u64,
    /// [`TcpInfo::delivery_rate`], in bytes per second.
    pub delivery_rate: Option<u64>,
    /// [`TcpInfo::delivery_rate_app_limited`].
    pub delivery_rate_app_limited: bool,
    /// [`TcpInfo::pacing_rate`], in bytes per second.
    pub pacing_rate: Option<u64>,
    /// [`TcpInfo::mss`], in bytes.
    pub mss: usize,
    /// [`TcpInfo::mss_before_hook`].
    pub mss_before_hook: bool,
}

impl From<&TcpInfo> for SendState {
    fn from(info: &TcpInfo) -> Self {
        Self {
            interface: info.interface,
            srtt: info.srtt,
            rttvar: info.rttvar,
            latest_rtt: info.latest_rtt,
            min_rtt: info.min_rtt,
            cwnd: info.cwnd,
            ssthresh: info.ssthresh,
            slow_start: info.slow_start,
            in_flight: info.in_flight,
            queued: info.queued,
            delivery_rate: info.delivery_rate,
            delivery_rate_app_limited: info.delivery_rate_app_limited,
            pacing_rate: info.pacing_rate,
            mss: info.mss,
            mss_before_hook: info.mss_before_hook,
        }
    }
}

/// State of a connection. What a stack cannot tell is `None`, and schedulers cope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpInfo {
    /// Interface that it uses.
    pub interface: InterfaceId,
    /// This end.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
    /// Whether the handshake is complete and neither side has closed.
    pub established: bool,
    /// Smoothed round-trip time (RFC 6298).
    pub srtt: Option<Duration>,
    /// Variation of the round-trip time (RFC 6298).
    pub rttvar: Option<Duration>,
    /// Round-trip time measured last.
    pub latest_rtt: Option<Duration>,
    /// Smallest round-trip time seen.
    pub min_rtt: Option<Duration>,
    /// Current retransmission timeout.
    pub rto: Option<Duration>,
    /// Name of the congestion control.
    pub congestion: Option<&'static str>,
    /// Congestion window in bytes.
    pub cwnd: Option<u64>,
    /// Slow-start threshold in bytes.
    pub ssthresh: Option<u64>,
    /// Whether the window grows exponentially.
    pub slow_start: bool,
    /// Bytes sent and not acknowledged.
    pub in_flight: u64,
    /// Bytes accepted by `send` that wait to be sent, or to be sent again.
    pub queued: u64,
    /// Delivery rate in bytes per second, measured last.
    pub delivery_rate: Option<u64>,
    /// The sender had too little to send when that was measured: a lower bound.
    pub delivery_rate_app_limited: bool,
    /// Pacing rate in bytes per second.
    pub pacing_rate: Option<u64>,
    /// What that is never more than, in bytes per second: the lower of what the connection and its stack are limited to; `None` without a limit.
    pub max_pacing_rate: Option<u64>,
    /// Payload bytes of a full segment, after the room that options take.
    pub mss: usize,
    /// That is before the options of the [hook](crate::SegmentHook::on_transmit), and they shorten only the segments that
    /// carry them. Otherwise they are taken off, as all segments are cut alike.
    pub mss_before_hook: bool,
    /// Payload bytes sent, retransmissions included.
    pub bytes_sent: u64,
    /// Payload bytes sent again.
    pub bytes_retransmitted: u64,
    /// Segments sent again.
    pub retransmissions: u64,
    /// Segments taken for lost, where the stack tells them from retransmissions.
    pub losses: Option<u64>,
    /// Consecutive retransmission timeouts without progress.
    pub timeouts: u32,
    /// Offset before which everything is acknowledged by the peer.
    pub snd_una: u64,
    /// When the byte at that offset last left; `None` if it has not, is taken for lost, or the stack cannot tell.
    pub una_sent_at: Option<Instant>,
    /// Bytes beyond that offset that the peer has acknowledged selectively (RFC 2018).
    pub sacked: u64,
    /// Offset before which everything has been received in order.
    pub rcv_nxt: u64,
    /// Payload bytes received beyond [`rcv_nxt`](Self::rcv_nxt), which wait for others before them.
    pub out_of_order: Option<u64>,
    /// When a segment of this connection was last received.
    pub last_received: Option<Instant>,
}
