//! The protocol of iperf3, as client and as server, so that an unmodified iperf3 is the peer.
//!
//! A control connection carries one-byte states and length-prefixed JSON; every stream of payload is a connection
//! of its own. All connections of a test begin with the same cookie.

mod client;
mod control;
mod messages;
mod server;
mod streams;

pub(crate) use client::measure;
pub(crate) use server::serve;

/// The port on which iperf3 listens unless told otherwise.
pub(crate) const PORT: u16 = 5201;
