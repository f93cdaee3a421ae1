//! What a stack tells its application.

use std::fmt;
use std::net::IpAddr;

use tcp_adapter::ListenerId;

use crate::wire::{AddrId, ResetReason};

/// Handle of a connection. Never used again for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index, self.generation)
    }
}

/// A subflow within its connection, numbered from 0 in the order of creation; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubflowId(pub u32);

impl fmt::Display for SubflowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Something that happened in a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A listener has a connection to accept.
    Incoming(ListenerId),
    /// An active open has succeeded, with or without MPTCP.
    Established(ConnId),
    /// There are bytes to read.
    Readable(ConnId),
    /// There is room to write after `send` took less than it was given.
    Writable(ConnId),
    /// The peer will send no more; what it sent before can still be read.
    Finished(ConnId),
    /// The connection is over; bytes that were received before can still be read until it is closed here too.
    Closed(ConnId, CloseReason),
    /// The connection goes on as regular TCP.
    FellBack(ConnId, FallbackCause),
    /// A subflow can carry data.
    SubflowEstablished(ConnId, SubflowId),
    /// A subflow is gone, or could not be made.
    SubflowClosed(ConnId, SubflowId, SubflowCloseReason),
    /// The peer asks for a subflow to be a backup (true) or a regular one (false).
    SubflowPriority(ConnId, SubflowId, bool),
    /// The peer has announced an address, with the port if it named one.
    AddressAnnounced(ConnId, AddrId, IpAddr, Option<u16>),
    /// The peer has withdrawn an address.
    AddressRemoved(ConnId, AddrId),
}

/// Why a connection is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// Both sides have closed and all data is acknowledged.
    Normal,
    /// The peer refused it.
    Refused,
    /// The peer aborted it (MP_FASTCLOSE, or a RST after fallback).
    Reset,
    /// No answer for too long, or no subflow for too long.
    TimedOut,
    /// Aborted on this side.
    Aborted,
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Normal => "closed by both sides",
            Self::Refused => "connection refused",
            Self::Reset => "connection reset by peer",
            Self::TimedOut => "connection timed out",
            Self::Aborted => "connection aborted",
        })
    }
}

/// Why a connection goes on as regular TCP (RFC 8684 section 3.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FallbackCause {
    /// MPTCP was not offered by this side.
    NotOffered,
    /// SYNs with MP_CAPABLE have stayed without an answer before, and plain ones have not.
    Blackhole,
    /// The peer's SYN had no acceptable MP_CAPABLE.
    NotRequested,
    /// The SYN/ACK had no acceptable MP_CAPABLE.
    SynAckWithoutCapable,
    /// The third ACK had no valid MP_CAPABLE.
    AckWithoutCapable,
    /// The first data came without a mapping.
    DataWithoutMapping,
    /// The first data was acknowledged without DATA_ACK.
    AckWithoutDataAck,
    /// A DSS checksum failed on the only subflow.
    ChecksumFailed,
    /// The peer sent MP_FAIL.
    PeerFailed,
    /// The peer sent an infinite mapping.
    InfiniteMapping,
}

impl fmt::Display for FallbackCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotOffered => "MPTCP was not offered",
            Self::Blackhole => "SYNs with MP_CAPABLE have vanished on the way before",
            Self::NotRequested => "the peer did not ask for MPTCP",
            Self::SynAckWithoutCapable => "the SYN/ACK had no MP_CAPABLE",
            Self::AckWithoutCapable => "the third ACK had no MP_CAPABLE",
            Self::DataWithoutMapping => "the first data had no mapping",
            Self::AckWithoutDataAck => "the first data was acknowledged without a DATA_ACK",
            Self::ChecksumFailed => "a DSS checksum failed",
            Self::PeerFailed => "the peer reported a failed checksum",
            Self::InfiniteMapping => "the peer sent an infinite mapping",
        })
    }
}

/// Why a subflow is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubflowCloseReason {
    /// FINs both ways.
    Normal,
    /// The peer refused the SYN, for good.
    Refused,
    /// The peer reset it, with the reason that it gave and whether it is transient.
    Reset(Option<(ResetReason, bool)>),
    /// No answer for too long.
    TimedOut,
    /// Reset by this side, for this reason.
    Aborted(ResetReason),
}
