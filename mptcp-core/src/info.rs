//! What can be asked of connections and subflows, in the manner of the kernel's `mptcp_info`.

use std::fmt;
use std::net::SocketAddr;

use tcp_adapter::TcpInfo;

use crate::congestion::Coupling;
use crate::event::{CloseReason, FallbackCause, SubflowId};
use crate::wire::AddrId;

/// State of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnState {
    /// The first subflow is in its handshake.
    Opening,
    /// Data can flow both ways.
    Established,
    /// This side has closed, the peer has not.
    HalfClosedLocal,
    /// The peer has closed, this side has not.
    HalfClosedRemote,
    /// Both sides have closed; acknowledgements or FINs are outstanding.
    Closing,
    /// Over, for this reason.
    Closed(CloseReason),
}

impl fmt::Display for ConnState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Opening => "opening",
            Self::Established => "established",
            Self::HalfClosedLocal => "half-closed-local",
            Self::HalfClosedRemote => "half-closed-remote",
            Self::Closing => "closing",
            Self::Closed(_) => "closed",
        })
    }
}

/// State of a subflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubflowState {
    /// The SYN is out.
    SynSent,
    /// A SYN was answered.
    SynReceived,
    /// Join: waits for the acknowledgement of the third ACK (RFC 8684 section 3.2).
    PreEstablished,
    /// Carries data.
    Established,
    /// Does not answer; its data was sent again on others.
    Stale,
    /// In its FIN exchange.
    Closing,
    /// Gone; of [`Stack::past_subflows`](crate::Stack::past_subflows) only.
    Closed,
}

impl fmt::Display for SubflowState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SynSent => "syn-sent",
            Self::SynReceived => "syn-received",
            Self::PreEstablished => "pre-established",
            Self::Established => "established",
            Self::Stale => "stale",
            Self::Closing => "closing",
            Self::Closed => "closed",
        })
    }
}

/// A connection at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnInfo {
    /// How far it is.
    pub state: ConnState,
    /// Address and port of this end of the first subflow.
    pub local: SocketAddr,
    /// Address and port of the other end of the first subflow.
    pub remote: SocketAddr,
    /// Token of this host; `None` without MPTCP.
    pub local_token: Option<u32>,
    /// Token of the peer; `None` without MPTCP or before it is known.
    pub remote_token: Option<u32>,
    /// Why it runs as regular TCP; `None` with MPTCP.
    pub fallback: Option<FallbackCause>,
    /// DSS checksums are in use.
    pub checksum: bool,
    /// Name of the scheduler.
    pub scheduler: &'static str,
    /// How the congestion windows of its subflows depend on each other.
    pub coupling: Coupling,
    /// Name of the strategy that says which subflows to open.
    pub path_strategy: &'static str,
    /// What does not fill a segment is held back ([`Stack::set_cork`](crate::Stack::set_cork)).
    pub corked: bool,
    /// Bytes per second that it sends at most ([`Stack::set_max_pacing_rate`](crate::Stack::set_max_pacing_rate)); `None` without a limit.
    pub max_pacing_rate: Option<u64>,
    /// Subflows that exist now, in whatever state.
    pub subflows: usize,
    /// Bytes that the application wrote and that were given to a subflow at least once.
    pub bytes_sent: u64,
    /// Bytes that the peer has acknowledged (DATA_ACK).
    pub bytes_acked: u64,
    /// Bytes received in order.
    pub bytes_received: u64,
    /// Of the bytes sent, those that the peer took with the SYN (TCP Fast Open). Positions do not count them.
    pub early_sent: u64,
    /// Of the bytes received, those that were taken with the SYN.
    pub early_received: u64,
    /// Bytes given to a second subflow.
    pub bytes_retransmitted: u64,
    /// Stream position of the first unacknowledged byte.
    pub snd_una: u64,
    /// Stream position of the next byte to be given to a subflow.
    pub snd_nxt: u64,
    /// Stream position of the next byte expected.
    pub rcv_nxt: u64,
    /// Bytes that the peer's window still allows beyond `snd_una`.
    pub send_window: u64,
    /// Bytes of receive window advertised beyond `rcv_nxt`.
    pub recv_window: u64,
    /// Receive buffer that auto-tuning has reached, in bytes.
    pub recv_buffer: usize,
    /// Bytes received beyond a gap.
    pub out_of_order: usize,
}

/// A subflow at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubflowInfo {
    /// Which subflow.
    pub id: SubflowId,
    /// How far it is.
    pub state: SubflowState,
    /// This end.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
    /// Address id of this end.
    pub local_addr_id: AddrId,
    /// Address id of the other end.
    pub remote_addr_id: AddrId,
    /// This side asks the peer to send here only if nothing else works.
    pub backup: bool,
    /// The peer asks this side to.
    pub backup_by_peer: bool,
    /// State of its TCP connection; `None` once that is gone.
    pub tcp: Option<TcpInfo>,
    /// Payload bytes given to it.
    pub bytes_sent: u64,
    /// Payload bytes received on it.
    pub bytes_received: u64,
    /// Bytes among those sent that another subflow was given before.
    pub bytes_reinjected: u64,
}
