//! Sans-IO Multipath TCP version 1 (RFC 8684).
//!
//! No sockets, no clock, no threads: time, random numbers and packets come from the caller,
//! and the TCP below is anything that implements [`tcp_adapter::TcpStack`].
#![forbid(unsafe_code)]
#![deny(rustdoc::broken_intra_doc_links)]

mod keys;
mod seq;
pub mod stream;
#[cfg(test)]
mod testing;
pub mod wire;

pub use keys::{Idsn, Key, Token, add_addr_hmac, join_hmac, truncate_64, truncate_160, verify};
pub use seq::{DataSeq, SubflowSeq};
