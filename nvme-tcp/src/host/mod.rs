//! The host's side, sans-IO: what a host does with connections that somebody else carries.
//!
//! * [`Queue`]: one connection, which is one queue: its initialisation, Connect, and commands until it ends.
//! * [`Controller`]: what is done over an admin queue, from enabling the controller to its shutdown, discovery included.
//! * [`Reconnector`]: when to connect to a controller again that was lost.
//! * [`Multipath`]: commands that outlive the connections that carry them, over one path or several.
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

pub use crate::target::{Class, Transmit};
