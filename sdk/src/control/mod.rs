//! The control socket: other processes look inside a running one and change its paths.
//!
//! A unix stream socket on which every line is one JSON value: a [`Request`] from the client, then its [`Reply`].
//! [`ControlServer`] answers for a [`Runtime`](crate::Runtime); [`ControlClient`] asks.

mod answer;
mod client;
mod entry;
mod event;
mod message;
mod rule;
mod server;

pub use client::{ControlClient, ControlError};
pub use entry::{BlackholeEntry, Connection, EndpointEntry, LinkEntry, RuleEntry, Subflow};
pub use event::EventEntry;
pub use message::{Reply, Request};
pub use rule::{InvalidRule, check_rule, rule_from_text, rule_to_text};
pub use server::{ControlServer, default_directory, default_path};

/// Longest line that either side reads, in bytes. A thousand connections fit.
const MAX_LINE: u64 = 4 << 20;
