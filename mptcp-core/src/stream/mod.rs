//! The connection-level byte stream: what is kept of it on either side.
//!
//! A *position* is a `u64` count of bytes from the start of one direction of the
//! connection: position 0 is the first byte of data, whose DSN is IDSN + 1 (RFC 8684 section
//! 3.1). Positions never wrap; the conversion to and from data sequence numbers is the
//! business of the layer that reads and writes options. An *offset* counts the bytes of one
//! subflow in the same way.
//!
//! On the sending side, [`SendQueue`] holds what the application wrote, [`SentMap`] says
//! which subflow carries which positions, [`ReinjectQueue`] holds what must travel again, and
//! [`Messages`] what the application has said of them.
//! On the receiving side, [`MappedReader`] and [`ReceivedMap`] turn the bytes of a subflow into
//! positioned bytes, [`Reassembly`] puts these in order, and [`ReceiveWindow`] says how much
//! more the peer may send.
//!
//! Payload is held as shared slices. Slices received from the peer that are short are copied
//! instead, so that memory stays in proportion to the bytes held however the peer cuts them.

mod carried;
mod mapping;
mod messages;
mod reader;
mod reassembly;
mod reinject;
mod run;
mod send_queue;
mod sent_map;
mod window;

pub use mapping::{MapInsert, ReceivedMap, ReceivedMapping};
pub use messages::Messages;
pub use reader::{MappedReader, Piece};
pub use reassembly::{Inserted, Reassembly};
pub use reinject::ReinjectQueue;
pub use send_queue::{Gathered, SendQueue};
pub use sent_map::{SentMap, SentMapping};
pub use window::ReceiveWindow;
