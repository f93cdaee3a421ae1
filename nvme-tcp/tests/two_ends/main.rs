//! The host's side against the controllers' side, in memory.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod attach;
mod authenticate;
mod damage;
mod failover;
mod io;
mod world;
