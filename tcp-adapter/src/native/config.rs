//! Settings of the native engine.

use std::time::Duration;

use super::receive::window::ReceiveWindow;
use crate::congestion::Algorithm;

/// Settings of a [`NativeStack`](super::NativeStack).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NativeConfig {
    /// Bytes that a connection holds at most until they are acknowledged: 1 to 2^30. Never more; a slice counts until its last byte is
    /// acknowledged. Default 4 MiB.
    pub send_buffer: usize,
    /// Receive buffer that a connection may grow to, in bytes: 1 to 2^30 (RFC 7323 section 2.3), and no more than
    /// [`memory_limit`](Self::memory_limit). Never is more held that nobody has read, in order and beyond gaps together, whatever the peer
    /// sends. What the layer above advertises through its hook is cut to what is left of it. Default 4 MiB.
    pub recv_buffer: usize,
    /// Receive window that a connection starts with if the hook has none of its own, in bytes: no less than the smallest that the scale for
    /// [`recv_buffer`](Self::recv_buffer) can express, which is 16 KiB at most, and no more than that buffer. Default 128 KiB.
    pub recv_buffer_initial: usize,
    /// Bytes that all connections of the stack hold at most, received and to be sent, those that have ended but were not read to their end
    /// included. Never more, whatever peers send. The last quarter is for what is received in order: what is to be sent, and what is received
    /// beyond gaps, is not taken where more than three quarters would be held with it. What does not fit is not acknowledged, and if a connection
    /// lacks room for what is next, what it holds beyond gaps makes way. Default 1 GiB.
    ///
    /// Payload is counted, by its length, but for what a SYN carries until that has left (TCP Fast Open), which is one segment at most. The memory
    /// behind it may be more: received slices of at least 1024 bytes are kept as they came in, and pin buffers of which a
    /// [`Device`](crate::device::Device) may have used no more than an eighth for them. Smaller ones are copied together once a connection has more
    /// than 64 slices, or at once when memory becomes short.
    pub memory_limit: usize,
    /// Bytes accepted by `send` but not yet sent, beyond which
    /// [`send_room`](crate::TcpStack::send_room) is zero. Default 128 KiB.
    pub notsent_lowat: usize,
    /// Connections at a time, those in the handshake included. Default 65,536.
    pub max_connections: usize,
    /// Congestion control of new connections. Default CUBIC.
    pub congestion: Algorithm,
    /// Offer and use selective acknowledgements (RFC 2018). Default true.
    pub sack: bool,
    /// Offer and use timestamps (RFC 7323). Default true.
    pub timestamps: bool,
    /// Offer and use window scaling (RFC 7323). Default true.
    pub window_scaling: bool,
    /// Offer and use explicit congestion notification (RFC 3168). Default false, as the kernel's, which only answers; always on with DCTCP, which
    /// is Reno without marks.
    pub ecn: bool,
    /// Send segments at the pace of the congestion window or of the congestion control. Default true.
    pub pacing: bool,
    /// Rate that no connection exceeds, in bytes per second; `None` for no limit. Without [`pacing`](Self::pacing) there is none. One connection
    /// may have a lower one ([`TcpStack::set_max_pacing_rate`](crate::TcpStack::set_max_pacing_rate)). Default none.
    pub max_pacing_rate: Option<u64>,
    /// Smallest retransmission timeout: 1 ms to 60 s. Default 200 ms.
    pub min_rto: Duration,
    /// Largest retransmission timeout: at least 60 s (RFC 6298 section 2.5). Default 120 s.
    pub max_rto: Duration,
    /// How long an acknowledgement may be delayed: at most 500 ms (RFC 9293 section 3.8.6.3). Default 40 ms.
    pub delayed_ack: Duration,
    /// Hold back a small segment while another is not acknowledged (RFC 9293 section 3.7.4). Default false.
    pub nagle: bool,
    /// How long a handshake may take before the connection is closed as
    /// [`TimedOut`](crate::CloseReason::TimedOut). Default 63 s, the first SYN and five more: less than the three minutes for which a TCP has to be
    /// able to try (RFC 9293 section 3.8.3), as who connects here has other paths, and tries again.
    pub handshake_timeout: Duration,
    /// How long bytes may stay unacknowledged before the connection is closed as
    /// [`TimedOut`](crate::CloseReason::TimedOut) (RFC 9293 section 3.8.3, R2). Default 15 minutes.
    pub user_timeout: Duration,
    /// How long nothing must have been heard before the peer of an idle connection is asked whether it is still there (RFC 9293
    /// section 3.8.4); `None` never asks. After nine questions, 75 s apart, the connection is closed as
    /// [`TimedOut`](crate::CloseReason::TimedOut). Default none.
    pub keep_alive: Option<Duration>,
    /// How long the side that closed first answers a retransmitted FIN and keeps the pair of
    /// addresses and ports (RFC 9293 section 3.6.1, MUST-13). Default 10 s: much less than twice the two minutes that RFC 9293 takes a segment
    /// to live at most, which is a choice that may be changed (section 3.4.2). Beyond four for each of
    /// [`max_connections`](Self::max_connections) the oldest are forgotten sooner.
    pub time_wait: Duration,
    /// Answer SYNs statelessly while a listener's backlog is full (RFC 4987 section 3.6), instead of dropping them. Default true.
    pub syn_cookies: bool,
    /// Largest super-segment in bytes of payload where the device cuts them; at most 65,400, so that the longest headers fit into
    /// the 65,535 bytes of an IP packet. Default 65,400.
    pub max_segmented: usize,
}

/// The length of an IP packet has 16 bits; an IPv6 and a TCP header with all options take 100 bytes of them, and Linux
/// counts the one of Ethernet besides (`GSO_LEGACY_MAX_SIZE`).
const MAX_SEGMENTED: usize = 65_400;

impl Default for NativeConfig {
    fn default() -> Self {
        Self {
            send_buffer: 4 << 20,
            recv_buffer: 4 << 20,
            recv_buffer_initial: 128 << 10,
            memory_limit: 1 << 30,
            notsent_lowat: 128 << 10,
            max_connections: 65_536,
            congestion: Algorithm::default(),
            sack: true,
            timestamps: true,
            window_scaling: true,
            ecn: false,
            pacing: true,
            max_pacing_rate: None,
            min_rto: Duration::from_millis(200),
            max_rto: Duration::from_secs(120),
            delayed_ack: Duration::from_millis(40),
            nagle: false,
            handshake_timeout: Duration::from_secs(63),
            user_timeout: Duration::from_secs(15 * 60),
            keep_alive: None,
            time_wait: Duration::from_secs(10),
            syn_cookies: true,
            max_segmented: MAX_SEGMENTED,
        }
    }
}

impl NativeConfig {
    /// The same with every value brought into its range.
    pub(super) fn clamped(mut self) -> Self {
        const MAX_BUFFER: usize = 1 << 30;
        self.send_buffer = self.send_buffer.clamp(1, MAX_BUFFER);
        self.recv_buffer = self.recv_buffer.min(self.memory_limit).clamp(1, MAX_BUFFER);
        // Less than one unit of the scale could not be expressed after the SYN, which would have promised something else.
        self.recv_buffer_initial = self.recv_buffer_initial.clamp(1 << self.window_shift(), self.recv_buffer);
        self.notsent_lowat = self.notsent_lowat.max(1);
        // Handles index with 32 bits.
        self.max_connections = self.max_connections.min(1 << 24);
        self.ecn |= self.congestion == Algorithm::Dctcp;
        self.min_rto = self.min_rto.clamp(Duration::from_millis(1), Duration::from_secs(60));
        self.max_rto = self.max_rto.max(Duration::from_secs(60));
        self.delayed_ack = self.delayed_ack.min(Duration::from_millis(500));
        self.max_segmented = self.max_segmented.clamp(1, MAX_SEGMENTED);
        self
    }

    /// Scale of the windows that we advertise (RFC 7323 section 2.2).
    pub(super) fn window_shift(&self) -> u8 {
        if self.window_scaling { ReceiveWindow::shift_for(self.recv_buffer) } else { 0 }
    }
}
