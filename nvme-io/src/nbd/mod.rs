//! A namespace as a disk for everybody: a server of the NBD protocol.
//!
//! * [`Session`]: the protocol, sans-IO: the fixed newstyle negotiation, then requests. Replies are simple ones; structured replies are refused.
//! * [`Export`]: what is offered.
//! * [`NbdServer`]: connections, and the [`Host`](crate::Host) that does what they ask for.
//!
//! Memory is bounded: a connection may have [`MAX_REQUESTS`] requests and [`MAX_PAYLOAD`] bytes of data on their way, and one more request that is
//! being received; there may be [`MAX_CONNECTIONS`] connections.

mod admission;
mod connection;
mod export;
mod negotiation;
mod operation;
mod server;
mod session;
mod wire;

pub use connection::MAX_CONNECTIONS;
pub use export::Export;
pub use server::NbdServer;
pub use session::{Event, Request, RequestKind, Session};
pub use wire::{ErrorCode, simple_reply};

/// Bytes of one request at most, and of the data of all requests of a connection that are executed at a time. It is what clients assume that do
/// not ask for it.
pub const MAX_PAYLOAD: u32 = 32 << 20;

/// Requests of a connection that are executed at a time; further ones stay in the connection until there is room.
pub const MAX_REQUESTS: usize = 256;
