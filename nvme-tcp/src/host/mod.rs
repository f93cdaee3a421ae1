//! The host's side, sans-IO: what a host does with connections that somebody else carries.
//!
//! * [`Queue`]: one connection, which is one queue: its initialisation, Connect, and commands until it ends.
//! * [`Controller`]: what is done over an admin queue, from enabling the controller to its shutdown, discovery included.
//! * [`Reconnector`]: when to connect to a controller again that was lost.
//! * [`Multipath`]: commands that outlive the connections that carry them, over one path or several.
//!
//! A program drives an I/O queue so; a [`Controller`] likewise, with [`ControllerEvent`]s for completions:
//!
//! ```
//! # use nvme_tcp::Transmit;
//! # use nvme_tcp::host::*;
//! # use std::time::Duration;
//! # fn round(
//! #     queue: &mut Queue<u64>,
//! #     received: Vec<bytes::Bytes>,
//! #     now: Duration,
//! #     mut send: impl FnMut(&mut Vec<bytes::Bytes>, Transmit),
//! # ) {
//! use nvme_tcp::command::{BlockRange, IoCommand};
//!
//! let read = IoCommand::Read { range: BlockRange { start: 0, count: 8 }, force_unit_access: false };
//! let request = Request::new(read.to_sqe(1), 42).receiving(4096);
//! if let Err(refused) = queue.submit(request, now) {
//!     // The queue is full, or has ended: here is the request back.
//!     assert_eq!(refused.request.token, 42);
//! }
//! for mut bytes in received {
//!     queue.receive(&mut bytes);
//! }
//! while let Some(completion) = queue.poll_completion() {
//!     if completion.outcome.is_success() {
//!         let data = completion.request.into_received();
//!     }
//! }
//! let mut pieces = Vec::new();
//! while let Some(transmit) = queue.poll_transmit(&mut pieces) {
//!     send(&mut pieces, transmit);
//! }
//! if queue.poll_timeout().is_some_and(|deadline| deadline <= now) {
//!     queue.handle_timeout(now);
//! }
//! # }
//! ```
//!
//! Time is a [`Duration`](std::time::Duration) since any moment that the caller chooses, the same for all calls.

mod ana;
mod controller;
mod discovery;
mod multipath;
mod namespace;
mod queue;
mod reconnect;
mod replay;
mod request;

pub use ana::AnaStates;
pub use controller::{Controller, ControllerConfig, ControllerError, ControllerEvent, Defect};
pub use discovery::{DiscoveryLog, DiscoveryRecord, Referrals};
pub use multipath::{Finished, Multipath, PathId, PathState, Policy, Ticket, UnknownPolicy};
pub use namespace::{Namespace, Unusable};
pub use queue::{HostIdentity, MAX_ENTRIES, Queue, QueueConfig, QueueError, QueueState, Refusal, Refused};
pub use reconnect::{ReconnectAction, ReconnectPolicy, Reconnector};
pub use replay::{Verdict, is_repeatable, judge};
pub use request::{CommandId, Completion, Data, Outcome, Request};
