//! Two whole stacks over the smoltcp plug-in, on wires in memory and in virtual time.
#![expect(clippy::unwrap_used, reason = "a test that meets something unexpected shall fail")]
#![expect(clippy::needless_range_loop, reason = "hosts are told apart by their number")]

mod addresses;
mod closing;
mod ends;
mod failover;
mod fallback;
mod handshake;
mod hostile;
mod joins;
mod keepalive;
mod log;
mod mappings;
mod middlebox;
mod random;
mod resets;
mod signalling;
mod transfer;
mod world;
