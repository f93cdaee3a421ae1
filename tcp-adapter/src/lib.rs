//! Pluggable user-space TCP beneath a multipath transport.
//!
//! [`TcpStack`] is the contract between the layer above (Multipath TCP) and any
//! user-space TCP. It speaks of TCP connections and opaque option bytes and knows
//! nothing of MPTCP. [`smoltcp`] implements it over the smoltcp crate.
//! [`device`] holds what moves Ethernet frames: an in-memory pair, TAP, packet
//! sockets, unix datagram sockets, and a capturing wrapper around any of them.
#![deny(rustdoc::broken_intra_doc_links)]

#[cfg(feature = "conformance")]
pub mod conformance;
pub mod congestion;
pub mod device;
mod found;
mod frame;
mod idle_queue;
mod interface;
mod last_infos;
mod listeners;
mod mss;
pub mod native;
mod ranges;
#[cfg(feature = "conformance")]
pub mod script;
#[cfg(feature = "smoltcp")]
pub mod smoltcp;
mod stack;
mod table;
mod time;

pub use frame::{ChecksumState, Frame, FrameMeta};
pub use idle_queue::IdleQueue;
pub use interface::{InterfaceConfig, InterfaceId, IpCidr, MacAddr, Route};
pub use ranges::RangeSet;
pub use stack::{
    AbortError, Capabilities, Chunk, CloseReason, ConnectError, ConnectRequest, ListenError, ListenerId, Offload,
    OptionSpace, Received, RoundTrip, SegmentHook, SegmentIn, SegmentKind, SegmentOut, SendError, SendLimits,
    SendState, SynSegment, SynVerdict, TcpEvent, TcpFlags, TcpId, TcpInfo, TcpStack, Verdict,
};
pub use time::Instant;
