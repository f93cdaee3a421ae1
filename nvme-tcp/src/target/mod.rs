//! The controllers' side: subsystems, the discovery service, and a state machine for each connection.
//!
//! A [`Target`] is what all threads share. A [`Connection`] is one queue of one controller; the thread that received the connection drives it
//! with the bytes that come, the time, and the completions of its [`Backends`]:
//!
//! ```
//! # use nvme_tcp::Transmit;
//! # use nvme_tcp::target::*;
//! # use std::time::Duration;
//! # fn round(
//! #     connection: &mut Connection,
//! #     backends: &mut Backends,
//! #     received: Vec<bytes::Bytes>,
//! #     now: Duration,
//! #     mut send: impl FnMut(&mut Vec<bytes::Bytes>, Transmit),
//! # ) {
//! for bytes in received {
//!     connection.receive(now, bytes);
//! }
//! let mut pieces = Vec::new();
//! loop {
//!     while let Some(submission) = connection.poll_submission() {
//!         backends.submit(submission);
//!     }
//!     while let Some(completion) = backends.poll() {
//!         // With several connections: the one that `completion.token` names.
//!         connection.handle_completion(completion);
//!     }
//!     while let Some(transmit) = connection.poll_transmit(&mut pieces) {
//!         send(&mut pieces, transmit);
//!     }
//!     // What has left makes room for other commands.
//!     if !connection.has_submissions() {
//!         break;
//!     }
//! }
//! if connection.poll_timeout().is_some_and(|deadline| deadline <= now) {
//!     connection.handle_timeout(now);
//! }
//! # }
//! ```
//!
//! Time is a [`Duration`](std::time::Duration) since any moment that all calls agree on.
//!
//! **What threads share.** The admin queue's connection owns its controller; nobody else touches it. What I/O queues need of the subsystem they
//! keep themselves, as a view that never changes. Between them there are three words of memory: whether the controller is ready, which reset it has seen,
//! and whether a command came lately, for the keep-alive timer; and the error log. Only commands that fail take its lock. When something changes, the target's
//! [generation](Target::generation) moves, and each connection is told to look again: [`Connection::handle_change`]. A Preempt and Abort reaches the
//! queues of the hosts that it shuts out, and is answered, in this way, and so does an Abort the queue of its command.

mod abort;
mod association;
mod authentication;
mod backend;
mod config;
mod connect;
mod connection;
mod controller;
mod discovery;
mod errors;
mod events;
mod execute;
mod fence;
mod identify;
mod io;
mod logs;
mod pool;
mod queue;
mod registry;
mod reservations;
mod subscribers;
mod subsystem;
#[cfg(test)]
mod tests;
mod usage;

pub use backend::{
    Backend, Backends, Completion, Extent, MemoryStore, NullStore, Operation, Store, StoreId, Submission, Token,
};
pub use config::{SuccessPolicy, TargetConfig, TargetError};
pub use connection::{CloseReason, Connection, ConnectionSettings, ConnectionState};
pub use registry::{Port, Referral, Target};
pub use subscribers::{Subscribers, Subscription};
pub use subsystem::{AllowedHosts, Credentials, Namespace, Subsystem};
