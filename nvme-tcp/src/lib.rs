//! NVMe over Fabrics on TCP, sans-IO: the PDUs of the NVMe/TCP transport, and the commands and structures that hosts and
//! controllers exchange in them.
//!
//! Nothing here reads a clock, opens a socket or draws a random number. Data is [`bytes::Bytes`] on its way in, slices of what
//! the caller received, and gather lists of them on its way out; it is never copied.
//!
//! * [`pdu`]: what travels on the byte stream. A [`pdu::Decoder`] for each direction, a [`pdu::Encoder`], negotiation.
//! * [`command`]: what the PDUs carry: queue entries, Fabrics commands, Identify data, log pages, features, statuses.
//! * [`auth`]: how hosts and subsystems prove who they are.
//! * [`host`]: the hosts' side: queues, controllers, reconnecting and multipath.
//! * [`target`]: the controllers' side: subsystems, discovery, and a [`target::Connection`] for each queue.
#![forbid(unsafe_code)]
#![deny(rustdoc::broken_intra_doc_links)]

pub mod auth;
mod blocks;
pub mod command;
pub mod host;
pub mod pdu;
pub mod target;
mod transmit;

pub use blocks::Blocks;
pub use transmit::{Class, Transmit};
