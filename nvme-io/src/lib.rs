//! NVMe/TCP on real transports: what drives the state machines of `nvme-tcp` with bytes, time and storage.
//!
//! * [`net`]: one thread's connections, without blocking: over the kernel's sockets ([`net::KernelNet`], TCP or Multipath TCP) or over this
//!   project's own stack ([`net::StackNet`]).
//! * [`Server`]: a target on one thread.
//! * [`Host`]: a controller and its I/O queues on one thread.
//! * [`nbd`]: a namespace as a disk for everybody, over the NBD protocol.
//! * [`FileStore`]: namespaces in files and on block devices.
#![forbid(unsafe_code)]
#![deny(rustdoc::broken_intra_doc_links)]

mod client;
mod file;
pub mod nbd;
pub mod net;
mod server;

pub use client::{Host, HostError};
pub use file::FileStore;
pub use server::{Server, Stopper};
