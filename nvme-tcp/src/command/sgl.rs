//! SGL descriptors: where a command's data is.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Data Block, subtype Offset: in the capsule.
const IN_CAPSULE: u8 = 0x01;
/// Data Block, subtype Address. Without data, some hosts send it all zero.
const DATA_BLOCK: u8 = 0x00;
/// Transport Data Block, subtype transport-specific.
const TRANSPORT: u8 = 0x5a;

/// The one SGL descriptor of a command (16 bytes).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Sgl {
    /// With in-capsule data its offset, which is 0.
    pub address: U64,
    /// Bytes of data.
    pub length: U32,
    reserved: [u8; 3],
    /// Type and subtype.
    pub identifier: u8,
}

/// Where data is, according to a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// In the capsule.
    InCapsule,
    /// In PDUs of its own: C2HData, or H2CData after R2T.
    Transport,
}

impl Sgl {
    /// `length` bytes in the capsule.
    pub fn in_capsule(length: u32) -> Self {
        Self { address: U64::ZERO, length: length.into(), reserved: [0; 3], identifier: IN_CAPSULE }
    }

    /// `length` bytes in PDUs of their own; also what a command without data has, with 0.
    pub fn transport(length: u32) -> Self {
        Self { address: U64::ZERO, length: length.into(), reserved: [0; 3], identifier: TRANSPORT }
    }

    /// Where the data is. None if the transport does not know the descriptor.
    pub fn placement(&self) -> Option<Placement> {
        match self.identifier {
            IN_CAPSULE => Some(Placement::InCapsule),
            TRANSPORT => Some(Placement::Transport),
            DATA_BLOCK if self.length.get() == 0 => Some(Placement::Transport),
            _ => None,
        }
    }
}
