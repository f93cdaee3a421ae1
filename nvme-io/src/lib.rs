//! NVMe/TCP on real transports: what drives the state machines of `nvme-tcp` with bytes, time and storage.
//!
//! * [`net`]: one thread's connections, without blocking: over the kernel's sockets ([`net::KernelNet`], TCP or Multipath TCP) or over this
//!   project's own stack ([`net::StackNet`]).
//! * [`Server`]: a target on one thread.
//! * [`Host`]: a subsystem's controllers and their I/O queues on one thread, connected again when they are lost.
//! * [`HostDriver`]: drives a [`Host`] for tasks, to which a namespace is a [`Disk`] and a command a future, [`IoFuture`], for any executor.
//! * [`nbd`]: a namespace as a disk for everybody, over the NBD protocol.
//! * [`FileStore`]: namespaces in files and on block devices, over `io_uring` where a [`Server`] has a ring ([`Server::with_ring`]).
#![forbid(unsafe_code)]
#![deny(rustdoc::broken_intra_doc_links)]

mod client;
mod disk;
mod file;
pub mod nbd;
pub mod net;
mod server;
mod stopper;

pub use client::{Host, HostConfig, HostError, PathChange, PathEvent};
pub use disk::{Disk, DiskError, HostDriver, IoFuture};
pub use file::{Caching, FileOptions, FileRing, FileStore};
pub use server::Server;
pub use stopper::Stopper;
pub use uring::{Memory, Ring, RingError};

/// The examples of the guide are compiled, too.
#[cfg(doctest)]
#[doc = include_str!("../../docs/nvme-host.md")]
struct Guide;
