//! The completion queue entry.

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Status;

/// A completion queue entry (16 bytes).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Cqe {
    /// The result, which depends on the command.
    pub dw0: U32,
    /// The upper half of 64-bit results.
    pub dw1: U32,
    /// SQ head: up to where the controller has taken commands from the queue.
    pub sqhd: U16,
    /// Reserved with Fabrics.
    pub sqid: U16,
    /// The command that is complete.
    pub cid: U16,
    /// The status field as it is on the wire; see [`status`](Self::status).
    pub raw_status: U16,
}

impl Cqe {
    /// The completion of `cid` with `status`, result 0 and SQ head 0.
    pub fn new(cid: u16, status: Status) -> Self {
        Self {
            dw0: U32::ZERO,
            dw1: U32::ZERO,
            sqhd: U16::ZERO,
            sqid: U16::ZERO,
            cid: cid.into(),
            raw_status: status.to_wire().into(),
        }
    }

    /// The completion with this result.
    #[must_use]
    pub fn with_result(mut self, result: u64) -> Self {
        self.dw0 = (result as u32).into();
        self.dw1 = ((result >> 32) as u32).into();
        self
    }

    /// Both dwords of the result as one number.
    pub fn result(&self) -> u64 {
        u64::from(self.dw1.get()) << 32 | u64::from(self.dw0.get())
    }

    /// How the command ended.
    pub fn status(&self) -> Status {
        Status::from_wire(self.raw_status.get())
    }
}
