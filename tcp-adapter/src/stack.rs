//! The contract between a user-space TCP and the layer above it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;

use crate::congestion::CongestionControl;
use crate::{Frame, Instant, InterfaceConfig, InterfaceId, IpCidr, Route};

/// A user-space TCP on one core, with its interfaces, driven by its caller.
///
/// # Offsets
///
/// The bytes of each direction of a connection are numbered from 0, the first byte after the
/// SYN, in 64 bits; a stack keeps the mapping to 32-bit sequence numbers to itself. A FIN
/// occupies one more offset after the last byte.
///
/// # Chunks and tags
///
/// The bytes of one [`send`](Self::send) call are a *chunk*. A stack never puts bytes of two
/// chunks in one segment (bytes of discontiguous tags must not meet, and a segment carries
/// one mapping only), and remembers the chunk of each byte until the byte is acknowledged, so that a
/// retransmission, however it is cut, shows the hook the same [`Chunk`] again.
///
/// # The hook
///
/// Calls that receive or emit segments take a [`SegmentHook`]: the stack hands it every
/// SYN for no known connection, every acceptable segment, and asks it for the option bytes
/// (and the window) of every segment that leaves. A hook cannot call back into the stack; it
/// changes its own state and gives a verdict.
///
/// # Four families of methods
///
/// * control and data, called by the layer above: `listen`, `connect`, `send`, `recv`,
///   `shutdown`, `abort`, `ack_now`, `probe`;
/// * input, with the current time: `handle_frame`, `handle_timeout`;
/// * output: `poll_transmit`, `poll_timeout`, `poll_event`;
/// * getters: `info`, `send_room`, `capabilities`, `interfaces`.
///
/// The order to call them in: after any number of `handle_*` and mutators, drain
/// `poll_event`, then `poll_transmit`, then arm a timer for `poll_timeout`. `now` must never go
/// backwards. No call blocks, reads a clock, or draws from a global random generator.
pub trait TcpStack {
    /// What this implementation can and cannot do.
    fn capabilities(&self) -> Capabilities;

    /// Adds an interface. Frames are received and sent per interface.
    fn add_interface(&mut self, config: InterfaceConfig) -> InterfaceId;

    /// The interfaces, by [`InterfaceId`].
    fn interfaces(&self) -> &[InterfaceConfig];

    /// Takes SYNs for `port` on `addr`, or on every local address if that is `None`.
    ///
    /// At most `backlog` connections of this listener are in the handshake at a time; a SYN
    /// beyond that is dropped, as the peer will retransmit it, or answered without being remembered
    /// ([`SegmentHook::on_stateless_syn`]).
    fn listen(&mut self, addr: Option<IpAddr>, port: u16, backlog: usize) -> Result<ListenerId, ListenError>;

    /// Stops taking SYNs. Connections that came from the listener live on.
    fn unlisten(&mut self, listener: ListenerId);

    /// Starts the active open of a connection. [`TcpEvent::Established`] or [`TcpEvent::Closed`] follows.
    fn connect(&mut self, now: Instant, request: &ConnectRequest) -> Result<TcpId, ConnectError>;

    /// The same by a certain interface, where several have the source address. [`connect`](Self::connect) takes the first of
    /// them, and so does a stack that knows no better.
    fn connect_by(
        &mut self,
        now: Instant,
        interface: InterfaceId,
        request: &ConnectRequest,
    ) -> Result<TcpId, ConnectError> {
        let _ = interface;
        self.connect(now, request)
    }

    /// Lets SYNs that a listener receives carry data, if they bring a cookie that shows that their sender receives at its address (TCP
    /// Fast Open, RFC 7413). `pending` connections at most are open in that way before their handshake is complete; 0, as at
    /// first, is none. Returns whether the stack can do it ([`Capabilities::fast_open`]).
    ///
    /// Data on a SYN may arrive twice, in two connections: only what is the same when done twice is fit for it (section 6.1).
    fn allow_fast_open(&mut self, listener: ListenerId, pending: usize) -> bool {
        let _ = (listener, pending);
        false
    }

    /// Has the SYN of a connection that [`connect`](Self::connect) has begun, and that has not left yet, take along the
    /// beginning of `data`, or ask for the cookie that will let the next one do so. Returns how many bytes it takes, which
    /// may be 0; `None` if it has left, or the stack cannot do it ([`Capabilities::fast_open`]).
    ///
    /// Those that the peer takes are the first bytes of the stream, acknowledged by the SYN/ACK ([`SegmentIn::acked`]). The
    /// others are forgotten, and are to be given to [`send`](Self::send) once the connection is established.
    fn fast_open(&mut self, conn: TcpId, data: &Bytes) -> Option<usize> {
        let _ = (conn, data);
        None
    }

    /// Appends `bytes` as one chunk whose first byte has position `tag` in the stream above.
    ///
    /// Takes all or nothing. An empty slice is refused with [`SendError::Empty`].
    fn send(&mut self, now: Instant, conn: TcpId, bytes: Bytes, tag: u64) -> Result<(), SendError>;

    /// How many bytes [`send`](Self::send) should be given now: what keeps the connection
    /// busy without a long queue of bytes that are bound to it but not yet sent. Zero while the
    /// connection is not established or is closing.
    fn send_room(&self, conn: TcpId) -> usize;

    /// The next received bytes in order, with the offset of the first; `None` if there are none.
    fn recv(&mut self, conn: TcpId) -> Option<Received>;

    /// Sends a FIN after all queued chunks. Sending more is an error from now on.
    fn shutdown(&mut self, now: Instant, conn: TcpId);

    /// Sends a RST that carries `options` (whole options, 40 bytes at most) and forgets the connection.
    /// [`TcpEvent::Closed`] with [`CloseReason::Aborted`] follows.
    fn abort(&mut self, now: Instant, conn: TcpId, options: &[u8]) -> Result<(), AbortError>;

    /// Sends a segment without payload soon, so that options or a window can leave without data.
    /// Several calls before the next `poll_transmit` make one segment.
    fn ack_now(&mut self, now: Instant, conn: TcpId);

    /// Sends a segment that a live peer must answer with an acknowledgement, without
    /// changing either stream (as a keep-alive does, RFC 9293 section 3.8.4).
    fn probe(&mut self, now: Instant, conn: TcpId);

    /// The connection holds up others that carry the same stream: lets it have less in flight, as if the path were congested. Does nothing if
    /// the stack cannot.
    fn penalise(&mut self, now: Instant, conn: TcpId) {
        let _ = (now, conn);
    }

    /// Gives a connection another congestion control, which starts anew; gives it back if the stack or the connection
    /// cannot take it ([`Capabilities::custom_congestion_control`]).
    fn set_congestion_control(
        &mut self,
        conn: TcpId,
        control: Box<dyn CongestionControl>,
    ) -> Result<(), Box<dyn CongestionControl>> {
        let _ = conn;
        Err(control)
    }

    /// Gives a connection the congestion control of the stack's own configuration, which starts anew; false if
    /// [`set_congestion_control`](Self::set_congestion_control) could not have taken that away.
    fn reset_congestion_control(&mut self, conn: TcpId) -> bool {
        let _ = conn;
        false
    }

    /// Lets segments that leave by `interface` be completed by its device. A stack without
    /// [`Capabilities::segmentation_offload`] goes on without.
    fn set_offload(&mut self, interface: InterfaceId, offload: Offload) {
        let _ = (interface, offload);
    }

    /// Gives an interface other addresses and routes; false if there is no such interface or the stack cannot do that.
    ///
    /// Connections at an address that is gone live on but hear nothing more: whoever takes an address away aborts them.
    fn set_addresses(&mut self, interface: InterfaceId, addrs: Vec<IpCidr>, routes: Vec<Route>) -> bool {
        let _ = (interface, addrs, routes);
        false
    }

    /// State of a connection; `None` once it is forgotten.
    fn info(&self, conn: TcpId) -> Option<TcpInfo>;

    /// The smoothed round-trip time of a connection and its variation, as [`info`](Self::info) has them; `None` until one is measured.
    fn round_trip(&self, conn: TcpId) -> Option<RoundTrip> {
        let info = self.info(conn)?;
        let smoothed = info.srtt?;
        Some(RoundTrip { smoothed, variation: info.rttvar.unwrap_or(smoothed / 2) })
    }

    /// Takes a frame that an interface has received.
    fn handle_frame(&mut self, now: Instant, interface: InterfaceId, frame: Frame, hook: &mut dyn SegmentHook);

    /// Does what is due at `now`.
    fn handle_timeout(&mut self, now: Instant, hook: &mut dyn SegmentHook);

    /// Gives every frame that can leave now to `sink`.
    fn poll_transmit(&mut self, now: Instant, hook: &mut dyn SegmentHook, sink: &mut dyn FnMut(InterfaceId, Frame));

    /// When to call [`handle_timeout`](Self::handle_timeout) and
    /// [`poll_transmit`](Self::poll_transmit) next if nothing else happens.
    fn poll_timeout(&mut self) -> Option<Instant>;

    /// The next thing that has happened.
    fn poll_event(&mut self) -> Option<TcpEvent>;
}

/// What the layer above says of segments. See [`TcpStack`].
pub trait SegmentHook {
    /// A SYN (without ACK) for no known connection, on a listened port or not.
    ///
    /// With [`SynVerdict::Accept`] the connection `conn` comes into being; with
    /// another verdict the handle is never seen again. A hook must not accept a SYN
    /// with neither a listener nor a reason of its own (such as a join).
    fn on_syn(&mut self, now: Instant, conn: TcpId, syn: &SynSegment<'_>) -> SynVerdict;

    /// A SYN that reached a listener whose backlog is full, if the stack can answer it without remembering anything (RFC 4987
    /// section 3.6): whether it should, and the options of the SYN/ACK. [`on_cookie`](Self::on_cookie) follows if the
    /// handshake is completed.
    fn on_stateless_syn(&mut self, now: Instant, syn: &SynSegment<'_>, options: &mut OptionSpace) -> bool {
        let _ = (now, syn, options);
        true
    }

    /// The third segment of a handshake whose SYN was answered so, with the options that it carries. Verdicts mean what they mean
    /// for a SYN; if it is accepted, the connection is in the handshake, and the segment is shown to
    /// [`on_segment`](Self::on_segment).
    fn on_cookie(&mut self, now: Instant, conn: TcpId, ack: &SynSegment<'_>) -> SynVerdict {
        self.on_syn(now, conn, ack)
    }

    /// A segment that passed the acceptance checks of RFC 9293 section 3.10.7.4 and RFC
    /// 5961, before the connection acts on it.
    fn on_segment(&mut self, now: Instant, conn: TcpId, segment: &SegmentIn<'_>) -> Verdict;

    /// A segment that is about to leave: push options, and return the window to
    /// advertise in bytes, or `None` for the stack's own.
    ///
    /// Called for retransmissions too. The stack pads the options and subtracts
    /// their length from the payload that the segment can carry.
    fn on_transmit(
        &mut self,
        now: Instant,
        conn: TcpId,
        segment: &SegmentOut,
        options: &mut OptionSpace,
    ) -> Option<u32>;
}

/// What an implementation can do. What it cannot do, the layers above cope with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Name for people, such as `smoltcp`.
    pub name: &'static str,
    /// Sends by received selective acknowledgements (RFC 2018).
    pub sack: bool,
    /// Sends and echoes timestamps (RFC 7323).
    pub timestamps: bool,
    /// Spreads segments over time instead of sending windows in bursts.
    pub pacing: bool,
    /// Reports its congestion window in [`TcpInfo::cwnd`].
    pub congestion_window: bool,
    /// Lets the layer above choose the congestion control.
    pub custom_congestion_control: bool,
    /// Payload is shared from `send` to the frame and from the frame to `recv`, never copied.
    pub zero_copy: bool,
    /// Emits and accepts super-segments, see [`crate::FrameMeta::segment_size`].
    pub segmentation_offload: bool,
    /// Sends and takes data on SYNs (RFC 7413).
    pub fast_open: bool,
    /// Smallest retransmission timeout that it uses.
    pub min_rto: Duration,
}

/// What the device of an interface does for the segments that leave by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offload {
    /// Completes TCP checksums ([`crate::ChecksumState::Partial`]).
    pub checksum: bool,
    /// Cuts super-segments ([`crate::FrameMeta::segment_size`]); needs `checksum`.
    pub segmentation: bool,
}

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

/// Flags of a TCP header that the layer above may need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpFlags {
    /// Synchronise.
    pub syn: bool,
    /// The acknowledgement field is meaningful.
    pub ack: bool,
    /// No more data from the sender.
    pub fin: bool,
    /// The connection is reset.
    pub rst: bool,
}

/// A SYN without ACK for no known connection.
#[derive(Clone, Copy, Debug)]
pub struct SynSegment<'a> {
    /// The listener that it reached; `None` if no one listens there.
    pub listener: Option<ListenerId>,
    /// Address and port that it was sent to.
    pub local: SocketAddr,
    /// Where it came from.
    pub remote: SocketAddr,
    /// Payload bytes of it that are taken if the connection is accepted ([`TcpStack::allow_fast_open`]): the first of the
    /// stream, to be [received](TcpStack::recv) at once. [`TcpEvent::Established`] follows at once too.
    pub early: usize,
    /// The options that the stack does not know, one after the other, each with kind and length.
    pub options: &'a [u8],
}

/// What to do with a SYN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SynVerdict {
    /// Answer with a SYN/ACK.
    Accept,
    /// Pretend that it was lost.
    Drop,
    /// Answer with a RST that carries these options.
    Reset(OptionSpace),
}

/// An acceptable segment of a connection.
#[derive(Clone, Copy, Debug)]
pub struct SegmentIn<'a> {
    /// Header flags.
    pub flags: TcpFlags,
    /// Offset of the first payload byte.
    pub offset: u64,
    /// Payload bytes.
    pub len: usize,
    /// Everything before this offset of our own stream is acknowledged; one past the last byte once our
    /// FIN is. In a SYN/ACK, the bytes that came with the SYN ([`TcpStack::fast_open`]). `None` without ACK flag.
    pub acked: Option<u64>,
    /// Advertised window in bytes, scaled (RFC 7323 section 2.2).
    pub window: u32,
    /// The options that the stack does not know, one after the other, each with kind and length.
    pub options: &'a [u8],
}

/// What to do with an acceptable segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Process it.
    Accept,
    /// Process it, but never count it as a duplicate acknowledgement: it is there for
    /// its options (RFC 8684 section 4, "Duplicate ACK").
    AcceptSignal,
    /// Pretend that it was lost.
    Drop,
    /// Reset the connection with a RST that carries these options.
    Reset(OptionSpace),
}

/// What kind of segment is about to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentKind {
    /// The SYN of an active open.
    Syn,
    /// The SYN/ACK of a passive open.
    SynAck,
    /// Anything later that is not a reset, with or without payload or FIN.
    Established,
    /// A reset that the stack itself decided to send. (Those of [`TcpStack::abort`] and
    /// [`Verdict::Reset`] bring their options along.)
    Reset,
}

/// The chunk that a segment's payload is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// The tag given to [`TcpStack::send`]: position of the chunk's first byte in the stream above.
    pub tag: u64,
    /// Offset of the chunk's first byte in this connection's stream.
    pub offset: u64,
    /// Bytes of the whole chunk.
    pub len: u32,
}

/// A segment that is about to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentOut {
    /// Which kind.
    pub kind: SegmentKind,
    /// Whether it carries a FIN.
    pub fin: bool,
    /// Offset of the first payload byte, or of the next one to send if there is no payload.
    pub offset: u64,
    /// Payload bytes at most; options may leave room for fewer.
    pub len: usize,
    /// The chunk of the payload; `None` without payload.
    pub chunk: Option<Chunk>,
    /// Whether some of the payload was sent before.
    pub retransmission: bool,
    /// Scale of the window field: a window that is no multiple of `1 << window_shift` bytes is rounded down.
    pub window_shift: u8,
}

/// Room for TCP options in a header, filled from the front.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionSpace {
    bytes: [u8; Self::MAX],
    len: u8,
    room: u8,
}

impl OptionSpace {
    /// Option bytes of a TCP header at most (RFC 9293 section 3.1: data offset of 15 words).
    pub const MAX: usize = 40;

    /// Empty, with room for `room` bytes, at most [`Self::MAX`].
    pub fn new(room: usize) -> Self {
        let room = u8::try_from(room.min(Self::MAX)).unwrap_or(u8::MAX);
        Self { bytes: [0; Self::MAX], len: 0, room }
    }

    /// Bytes that can still be pushed.
    pub fn remaining(&self) -> usize {
        usize::from(self.room - self.len)
    }

    /// Appends a whole option; false, changing nothing, if it does not fit.
    #[must_use]
    pub fn push(&mut self, option: &[u8]) -> bool {
        let start = usize::from(self.len);
        if option.len() > self.remaining() {
            return false;
        }
        self.bytes[start..start + option.len()].copy_from_slice(option);
        self.len = u8::try_from(start + option.len()).unwrap_or(self.room);
        true
    }

    /// What was pushed so far.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// Received bytes in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Offset of the first byte.
    pub offset: u64,
    /// The bytes, at least one.
    pub bytes: Bytes,
}

/// Something that happened to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpEvent {
    /// The handshake is complete, active or passive, or data of a SYN was taken ([`SynSegment::early`]): bytes can be sent.
    Established(TcpId),
    /// There is something to [`TcpStack::recv`].
    Readable(TcpId),
    /// [`TcpStack::send_room`] has grown after it was too small.
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
    /// [`TcpStack::abort`], or a verdict of the hook.
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
    /// Payload bytes of a full segment, after the room that options take.
    pub mss: usize,
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
    /// Offset before which everything has been received in order.
    pub rcv_nxt: u64,
    /// Payload bytes received beyond [`rcv_nxt`](Self::rcv_nxt), which wait for others before them.
    pub out_of_order: Option<u64>,
    /// When a segment of this connection was last received.
    pub last_received: Option<Instant>,
}

/// Why [`TcpStack::listen`] failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// The port is taken on that address, or on all.
    #[error("port {0} is already in use")]
    InUse(u16),
    /// Port 0 cannot be listened on.
    #[error("port 0 cannot be listened on")]
    PortZero,
    /// The address belongs to no interface.
    #[error("address {0} belongs to no interface of this stack")]
    NotLocal(IpAddr),
}

/// Why [`TcpStack::connect`] failed at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The source address belongs to no interface.
    #[error("source address {0} belongs to no interface of this stack")]
    NotLocal(IpAddr),
    /// The interface of the source address has no route to the destination.
    #[error("no route from {local} to {remote}: add a gateway to the interface, or use an address of its network")]
    Unreachable {
        /// Source address.
        local: IpAddr,
        /// Destination.
        remote: SocketAddr,
    },
    /// The same pair of addresses and ports is in use.
    #[error("source port {0} is already connected to that destination")]
    InUse(u16),
    /// Every ephemeral port to this destination is in use.
    #[error("no free source port towards {0}")]
    NoPort(SocketAddr),
    /// Port 0 cannot be connected to.
    #[error("port 0 cannot be connected to")]
    PortZero,
    /// The stack has as many connections as it was configured for.
    #[error("the stack's limit of {0} connections is reached")]
    TooMany(usize),
    /// The TCP has congestion controls of its own only, so that the windows of subflows cannot be coupled.
    #[error("{0} takes no congestion control from above, which the coupling of this connection needs")]
    NoCongestionControl(&'static str),
}

/// Why [`TcpStack::send`] took nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// More than the buffer has room for; wait for [`TcpEvent::Writable`].
    #[error("the send buffer is full")]
    Full,
    /// An empty chunk has no meaning.
    #[error("a chunk must have at least one byte")]
    Empty,
    /// Not established yet, shut down, or gone.
    #[error("the connection cannot send")]
    Closed,
}

/// Why [`TcpStack::abort`] did nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AbortError {
    /// The connection is already gone.
    #[error("the connection is already gone")]
    Closed,
}

impl<T: TcpStack + ?Sized> TcpStack for Box<T> {
    fn capabilities(&self) -> Capabilities {
        (**self).capabilities()
    }

    fn add_interface(&mut self, config: InterfaceConfig) -> InterfaceId {
        (**self).add_interface(config)
    }

    fn interfaces(&self) -> &[InterfaceConfig] {
        (**self).interfaces()
    }

    fn listen(&mut self, addr: Option<IpAddr>, port: u16, backlog: usize) -> Result<ListenerId, ListenError> {
        (**self).listen(addr, port, backlog)
    }

    fn unlisten(&mut self, listener: ListenerId) {
        (**self).unlisten(listener);
    }

    fn connect(&mut self, now: Instant, request: &ConnectRequest) -> Result<TcpId, ConnectError> {
        (**self).connect(now, request)
    }

    fn connect_by(
        &mut self,
        now: Instant,
        interface: InterfaceId,
        request: &ConnectRequest,
    ) -> Result<TcpId, ConnectError> {
        (**self).connect_by(now, interface, request)
    }

    fn allow_fast_open(&mut self, listener: ListenerId, pending: usize) -> bool {
        (**self).allow_fast_open(listener, pending)
    }

    fn fast_open(&mut self, conn: TcpId, data: &Bytes) -> Option<usize> {
        (**self).fast_open(conn, data)
    }

    fn send(&mut self, now: Instant, conn: TcpId, bytes: Bytes, tag: u64) -> Result<(), SendError> {
        (**self).send(now, conn, bytes, tag)
    }

    fn send_room(&self, conn: TcpId) -> usize {
        (**self).send_room(conn)
    }

    fn recv(&mut self, conn: TcpId) -> Option<Received> {
        (**self).recv(conn)
    }

    fn shutdown(&mut self, now: Instant, conn: TcpId) {
        (**self).shutdown(now, conn);
    }

    fn abort(&mut self, now: Instant, conn: TcpId, options: &[u8]) -> Result<(), AbortError> {
        (**self).abort(now, conn, options)
    }

    fn ack_now(&mut self, now: Instant, conn: TcpId) {
        (**self).ack_now(now, conn);
    }

    fn probe(&mut self, now: Instant, conn: TcpId) {
        (**self).probe(now, conn);
    }

    fn penalise(&mut self, now: Instant, conn: TcpId) {
        (**self).penalise(now, conn);
    }

    fn set_congestion_control(
        &mut self,
        conn: TcpId,
        control: Box<dyn CongestionControl>,
    ) -> Result<(), Box<dyn CongestionControl>> {
        (**self).set_congestion_control(conn, control)
    }

    fn reset_congestion_control(&mut self, conn: TcpId) -> bool {
        (**self).reset_congestion_control(conn)
    }

    fn set_offload(&mut self, interface: InterfaceId, offload: Offload) {
        (**self).set_offload(interface, offload);
    }

    fn set_addresses(&mut self, interface: InterfaceId, addrs: Vec<IpCidr>, routes: Vec<Route>) -> bool {
        (**self).set_addresses(interface, addrs, routes)
    }

    fn info(&self, conn: TcpId) -> Option<TcpInfo> {
        (**self).info(conn)
    }

    fn round_trip(&self, conn: TcpId) -> Option<RoundTrip> {
        (**self).round_trip(conn)
    }

    fn handle_frame(&mut self, now: Instant, interface: InterfaceId, frame: Frame, hook: &mut dyn SegmentHook) {
        (**self).handle_frame(now, interface, frame, hook);
    }

    fn handle_timeout(&mut self, now: Instant, hook: &mut dyn SegmentHook) {
        (**self).handle_timeout(now, hook);
    }

    fn poll_transmit(&mut self, now: Instant, hook: &mut dyn SegmentHook, sink: &mut dyn FnMut(InterfaceId, Frame)) {
        (**self).poll_transmit(now, hook, sink);
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        (**self).poll_timeout()
    }

    fn poll_event(&mut self) -> Option<TcpEvent> {
        (**self).poll_event()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn option_space_takes_whole_options_only() {
        let mut space = OptionSpace::new(10);
        assert!(space.push(&[30, 4, 0, 0]));
        assert!(!space.push(&[30, 8, 0, 0, 0, 0, 0, 0]));
        assert_eq!(space.as_slice(), &[30, 4, 0, 0]);
        assert_eq!(space.remaining(), 6);
        assert_eq!(OptionSpace::new(99).remaining(), OptionSpace::MAX);
    }
}
