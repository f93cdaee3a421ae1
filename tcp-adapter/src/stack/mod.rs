//! The contract between a user-space TCP and the layer above it.

mod boxed;
mod capabilities;
mod connection;
mod error;
mod hook;
mod segment;

use std::net::IpAddr;

use bytes::Bytes;

use crate::congestion::CongestionControl;
use crate::{Frame, Instant, InterfaceConfig, InterfaceId, IpCidr, Route};

pub use capabilities::{Capabilities, Offload};
pub use connection::{
    CloseReason, ConnectRequest, ListenerId, RoundTrip, SendLimits, SendState, TcpEvent, TcpId, TcpInfo,
};
pub use error::{AbortError, ConnectError, ListenError, SendError};
pub use hook::SegmentHook;
pub use segment::{
    Chunk, OptionSpace, Received, SegmentIn, SegmentKind, SegmentOut, SynSegment, SynVerdict, TcpFlags, Verdict,
};

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

    /// Makes the chunk of the last [`send`](Self::send) longer by `bytes`, which are elsewhere in memory: its segments are cut
    /// without regard to where the slices end.
    ///
    /// Takes all or nothing, as `send` does. Once any of the chunk may have left it is refused with [`SendError::Full`], as its segments
    /// have told how long it is.
    fn append(&mut self, now: Instant, conn: TcpId, bytes: Bytes) -> Result<(), SendError>;

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

    /// The answer to what is outstanding is overdue, as the layer above knows from elsewhere: its last segment is sent once more, as if a tail loss
    /// probe were due (RFC 8985 section 7.3). Does nothing if the stack has no such probes, or one is on its way already.
    fn probe_tail(&mut self, now: Instant, conn: TcpId) {
        let _ = (now, conn);
    }

    /// The connection holds up others that carry the same stream: lets it have less in flight, as if the path were congested. Does nothing if
    /// the stack cannot.
    fn penalise(&mut self, now: Instant, conn: TcpId) {
        let _ = (now, conn);
    }

    /// Has a connection send no more than so many bytes of payload per second from now on, those sent again included (`SO_MAX_PACING_RATE`, socket(7)); at
    /// least 1. `None` is as fast as the configuration of the stack and congestion control let it, as at first.
    ///
    /// Returns whether it does: false without [`Capabilities::pacing`], where nothing holds it to a rate, and if there is no such connection.
    fn set_max_pacing_rate(&mut self, now: Instant, conn: TcpId, bytes_per_second: Option<u64>) -> bool {
        let _ = (now, conn, bytes_per_second);
        false
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

    /// Keeps what connections were when they ended for [`take_last_info`](Self::take_last_info), or stops to and forgets what is kept.
    ///
    /// Whoever asks must take what is kept of every connection that [`TcpEvent::Closed`] names.
    fn keep_last_infos(&mut self, wanted: bool) {
        let _ = wanted;
    }

    /// State of a connection right before it ended, once; `None` if it has not, [`keep_last_infos`](Self::keep_last_infos) was not called, or the
    /// stack cannot tell.
    fn take_last_info(&mut self, conn: TcpId) -> Option<TcpInfo> {
        let _ = conn;
        None
    }

    /// The smoothed round-trip time of a connection and its variation, as [`info`](Self::info) has them; `None` until one is measured.
    fn round_trip(&self, conn: TcpId) -> Option<RoundTrip> {
        let info = self.info(conn)?;
        let smoothed = info.srtt?;
        Some(RoundTrip { smoothed, variation: info.rttvar.unwrap_or(smoothed / 2) })
    }

    /// What limits how much a connection should be given, as [`info`](Self::info) has it, for those who ask at every
    /// acknowledgement; `None` once it is forgotten.
    fn send_limits(&self, conn: TcpId) -> Option<SendLimits> {
        self.info(conn).as_ref().map(SendLimits::from)
    }

    /// What a scheduler that chooses between connections looks at, as [`info`](Self::info) has it, for those who choose once for every
    /// mapping; `None` once it is forgotten.
    fn send_state(&self, conn: TcpId) -> Option<SendState> {
        self.info(conn).as_ref().map(SendState::from)
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
