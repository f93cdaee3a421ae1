//! Sans-IO Multipath TCP version 1 (RFC 8684).
//!
//! No sockets, no clock, no threads: time, random numbers and packets come from the caller,
//! and the TCP below is anything that implements [`tcp_adapter::TcpStack`]. [`Stack`] is
//! where to start.
#![forbid(unsafe_code)]
#![deny(rustdoc::broken_intra_doc_links)]

mod config;
mod congestion;
mod earliest;
mod event;
mod info;
mod keys;
mod mib;
mod observe;
mod path_manager;
mod qos;
pub mod scheduler;
mod seq;
mod socket_manager;
mod stack;
pub mod stream;
#[cfg(test)]
mod testing;
pub mod wire;

pub use config::{ChecksumFailure, ConfigError, ConnConfig, KeepAlive, ListenConfig, StackConfig};
pub use congestion::{Coupling, CouplingError, UnknownCoupling};
pub use event::{CloseReason, ConnId, Event, FallbackCause, SubflowCloseReason, SubflowId};
pub use info::{ConnInfo, ConnState, SubflowInfo, SubflowState};
pub use keys::{Idsn, Key, Token, add_addr_hmac, join_hmac, truncate_64, truncate_160, verify};
pub use mib::{Counter, Mib};
pub use observe::{Observation, SubflowTotals, Watch};
pub use path_manager::strategy::{self, PathStrategy, PathStrategyKind, UnknownStrategy};
pub use path_manager::{
    Blackhole, BlackholeScope, Endpoint, EndpointError, EndpointFlags, EndpointId, Limits, Link, PathPolicy, PathRule,
    PathUse, PolicyError, RemoteAddr,
};
pub use qos::{ClassShare, Qos, QosError};
pub use scheduler::{Message, Scheduler, SchedulerKind, TrafficClass, UnknownScheduler};
pub use seq::{DataSeq, SubflowSeq};
pub use socket_manager::SubflowError;
pub use stack::{Recv, RecvError, SendError, Stack};
pub use wire::ResetReason;
