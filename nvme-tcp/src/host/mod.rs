//! The host's side, sans-IO: what a host does with connections that somebody else carries.
//!
//! * [`Queue`]: one connection, which is one queue: its initialisation, Connect, and commands until it ends.
//! * [`Controller`]: what is done over an admin queue, from enabling the controller to its shutdown, discovery included.
//!
//! Time is a [`Duration`](std::time::Duration) since any moment that the caller chooses, the same for all calls.

mod ana;
mod controller;
mod discovery;
mod namespace;
mod queue;
mod request;

pub use ana::AnaStates;
pub use controller::{Controller, ControllerConfig, ControllerError, ControllerEvent, Defect};
pub use discovery::{DiscoveryLog, DiscoveryRecord, Referrals};
pub use namespace::{Namespace, Unusable};
pub use queue::{HostIdentity, MAX_ENTRIES, Queue, QueueConfig, QueueError, QueueState, Refusal, Refused};
pub use request::{CommandId, Completion, Data, Outcome, Request};

pub use crate::target::{Class, Transmit};
