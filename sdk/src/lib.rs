//! Multipath TCP (RFC 8684) in user space, for a process to link.
//!
//! Two ways to use it:
//!
//! * [`Engine`], poll mode: the caller's thread drives everything with [`Engine::poll`], and can sleep on one
//!   descriptor together with its own. No threads, no locks.
//! * [`Runtime`], blocking: a thread of its own drives an engine, and any thread uses [`MptcpStream`] and
//!   [`MptcpListener`] as it would use their namesakes in [`std::net`].
//!
//! Both start from a [`Config`]: the interfaces that carry the paths, and the settings of the stack.
//!
//! ```no_run
//! use std::io::Write;
//!
//! use mptcp_sdk::{Config, Runtime};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let mut config = Config::default();
//!     config.interfaces.push("tap:mptcp0,10.0.1.2/24".parse()?);
//!     config.interfaces.push("tap:mptcp1,10.0.2.2/24,subflow".parse()?);
//!     let runtime = Runtime::new(config)?;
//!     let mut stream = runtime.connect("10.0.1.1:5000".parse()?)?;
//!     stream.write_all(b"over both paths")?;
//!     Ok(())
//! }
//! ```
#![forbid(unsafe_code)]
#![deny(rustdoc::broken_intra_doc_links)]

mod config;
#[cfg(feature = "control")]
pub mod control;
mod engine;
mod follow;
mod interface;
mod network;
mod path_log;
mod readiness;
mod runtime;
mod start;

pub use config::{Config, NoEcn, NoSuchCongestionControl, TcpPlugIn, UnknownTcp};
pub use engine::{ConnReport, Engine, Progress};
pub use interface::{DeviceSpec, InterfaceSpec, InvalidInterface};
pub use mptcp_core as core;
pub use mptcp_core::{
    Blackhole, BlackholeScope, ClassShare, CloseReason, ConfigError, ConnConfig, ConnId, ConnInfo, ConnState, Coupling,
    CouplingError, Endpoint, EndpointError, EndpointFlags, EndpointId, Event, FallbackCause, KeepAlive, Limits, Link,
    ListenConfig, Message, PathPolicy, PathRule, PathStrategy, PathStrategyKind, PathUse, PolicyError, Qos, QosError,
    Recv, RecvError, Scheduler, SchedulerKind, SendError, StackConfig, SubflowCloseReason, SubflowError, SubflowId,
    SubflowInfo, SubflowState, TrafficClass, UnknownScheduler, UnknownStrategy,
};
pub use network::{KernelLink, NetworkMonitor};
pub use path_log::{PathEvent, PathLogEntry};
pub use readiness::Waker;
pub use runtime::{MptcpListener, MptcpStream, Runtime, StreamMessage, WeakRuntime};
pub use start::StartError;
pub use tcp_adapter as adapter;
pub use tcp_adapter::{InterfaceConfig, InterfaceId, IpCidr, ListenerId, MacAddr, Route};

/// The examples of the README are compiled, too.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
