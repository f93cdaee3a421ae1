//! File I/O over `io_uring`, one [`Ring`] per thread.
//!
//! A [`Request`] brings its file and its [`Buffer`] along, and both belong to the ring until the kernel is done with them: whatever becomes of whoever
//! asked, nothing is read into memory that something else uses by then. All unsafe code of storage is here.
//!
//! Buffers are cut from a [`Memory`] of fixed size, aligned for direct I/O and, where the limit on locked memory allows, registered with the kernel, which
//! then need not map them for each request.
//!
//! What comes over sockets, without a ring, is read with [`read_into`].
#![deny(rustdoc::broken_intra_doc_links)]

mod memory;
mod read;
mod ring;

pub use memory::{ALIGNMENT, Buffer, Memory};
pub use read::read_into;
pub use ring::{Action, Done, Request, Ring, RingError};
