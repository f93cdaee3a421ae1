//! The receiving half of a connection: what has arrived, and what to tell the peer of it.

pub(crate) mod ack_policy;
mod beyond;
pub(crate) mod marks;
mod pieces;
pub(crate) mod reassembly;
pub(crate) mod sack;
pub(crate) mod window;
