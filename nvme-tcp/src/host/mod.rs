//! The host's side, sans-IO: what a host does with connections that somebody else carries.
//!
//! * [`Queue`]: one connection, which is one queue: its initialisation, Connect, and commands until it ends.
//!
//! Time is a [`Duration`](std::time::Duration) since any moment that the caller chooses, the same for all calls.

mod queue;
mod request;

pub use queue::{HostIdentity, MAX_ENTRIES, Queue, QueueConfig, QueueError, QueueState, Refusal, Refused, Transmit};
pub use request::{CommandId, Completion, Data, Outcome, Request};
