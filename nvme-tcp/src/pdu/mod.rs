//! The PDUs of NVMe/TCP: bytes to values and back.
//!
//! [`Decoder`] is fed the received stream and yields [`Event`]s; [`Encoder`] makes gather lists. Both start with the exchange
//! of ICReq and ICResp, whose outcome, [`Parameters`], they are then told. What breaks the protocol is a [`Violation`], which
//! knows the status and the field that a [`TermReq`] has to name. There is no way back from one: nothing marks where the next
//! PDU would begin.
//!
//! Reserved bytes are sent as zero and ignored on receipt. All integers are little-endian.

mod decoder;
mod digest;
mod encoder;
mod error;
#[cfg(test)]
mod fuzz;
mod header;
mod headers;
mod parameters;
mod payload;
#[cfg(test)]
mod tests;

pub use decoder::{Decoder, Event};
pub use digest::{Crc32c, crc32c};
pub use encoder::Encoder;
pub use error::{Fes, Violation};
pub use header::{PduType, Role};
pub use headers::{C2hData, CapsuleCmd, CapsuleResp, H2cData, IcReq, IcResp, Pdu, R2t, TermReq};
pub use parameters::{Alignment, ControllerOffer, Digests, HostOffer, Parameters};
pub use payload::Payload;

/// Data that a capsule for the admin queue, or for Fabrics, may carry, in bytes; for I/O queues IOCCSZ of Identify Controller says it.
pub const ADMIN_IN_CAPSULE_DATA: u32 = 8192;
