//! Settings of the smoltcp plug-in.

use std::time::Duration;

/// Congestion control that smoltcp offers. It cannot be coupled across connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CongestionControl {
    /// Sends whatever the peer's window allows. For loss-free links and tests only.
    None,
    /// RFC 5681.
    Reno,
    /// RFC 9438.
    #[default]
    Cubic,
}

impl CongestionControl {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Reno => "reno",
            Self::Cubic => "cubic",
        }
    }
}

/// Settings of a [`SmoltcpStack`](super::SmoltcpStack).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmoltcpConfig {
    /// Bytes that a connection keeps until they are acknowledged: at least 1. Default 1 MiB.
    pub send_buffer: usize,
    /// Bytes that a connection accepts beyond the last one received in order: 1 to 2^30 (RFC 7323 section
    /// 2.3). Default 4 MiB. It must not be less than the window that the layer above advertises through its
    /// hook, which is cut to it.
    pub recv_buffer: usize,
    /// Bytes accepted by `send` but not yet sent, beyond which
    /// [`send_room`](crate::TcpStack::send_room) is zero. Default 64 KiB.
    pub notsent_lowat: usize,
    /// Connections at a time, those in the handshake included. Default 1024.
    pub max_connections: usize,
    /// Option bytes per segment that the segment size leaves room for, 0-40. More can be pushed; such a
    /// segment is cut in two. Default 28, the largest DSS option of RFC 8684.
    pub option_reserve: usize,
    /// Congestion control of every connection. Default CUBIC.
    pub congestion_control: CongestionControl,
    /// How long a handshake may take before the connection is closed as
    /// [`TimedOut`](crate::CloseReason::TimedOut). Default 63 s, the first SYN and five more.
    pub handshake_timeout: Duration,
    /// How long the side that closed first answers a retransmitted FIN and keeps the pair of
    /// addresses and ports (RFC 9293 section 3.6.1). Default 10 s.
    pub time_wait: Duration,
}

impl Default for SmoltcpConfig {
    fn default() -> Self {
        Self {
            send_buffer: 1 << 20,
            recv_buffer: 4 << 20,
            notsent_lowat: 64 << 10,
            max_connections: 1024,
            option_reserve: 28,
            congestion_control: CongestionControl::default(),
            handshake_timeout: Duration::from_secs(63),
            time_wait: Duration::from_secs(10),
        }
    }
}

impl SmoltcpConfig {
    /// The same with every value brought into its range.
    pub(super) fn clamped(mut self) -> Self {
        /// smoltcp panics above this: the largest window that RFC 7323 can express.
        const MAX_BUFFER: usize = 1 << 30;
        self.send_buffer = self.send_buffer.clamp(1, MAX_BUFFER);
        self.recv_buffer = self.recv_buffer.clamp(1, MAX_BUFFER);
        self.notsent_lowat = self.notsent_lowat.max(1);
        // Handles index with 32 bits.
        self.max_connections = self.max_connections.min(1 << 24);
        self.option_reserve = self.option_reserve.min(40).next_multiple_of(4);
        self
    }
}
