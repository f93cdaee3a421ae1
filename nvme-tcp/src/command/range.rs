//! The ranges that come with Dataset Management and with Copy.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::BlockRange;

/// A range of Dataset Management (16 bytes).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct DatasetRange {
    /// Context attributes: hints on how it is accessed.
    pub attributes: U32,
    /// Blocks, from 0: here the field does not count from 0.
    pub length: U32,
    /// The first block.
    pub start: U64,
}

impl DatasetRange {
    /// These blocks, without hints.
    pub fn new(range: BlockRange) -> Self {
        Self { attributes: U32::ZERO, length: range.count.into(), start: range.start.into() }
    }

    /// The blocks; the count may be 0.
    pub fn blocks(&self) -> BlockRange {
        BlockRange { start: self.start.get(), count: self.length.get() }
    }
}

/// A source range of Copy, format 0 (32 bytes).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct CopyRange {
    reserved0: [u8; 8],
    /// SLBA: the first block.
    pub start: U64,
    /// NLB: blocks, counted from 0.
    pub length: U16,
    reserved18: [u8; 6],
    /// Expected initial reference tag, for protection information.
    pub reference_tag: U32,
    /// Expected application tag, for protection information.
    pub application_tag: U16,
    /// Mask of the application tag, for protection information.
    pub application_mask: U16,
}

impl CopyRange {
    /// These blocks: 1 to 65536.
    pub fn new(range: BlockRange) -> Self {
        Self {
            reserved0: [0; 8],
            start: range.start.into(),
            length: (range.count.saturating_sub(1).min(0xffff) as u16).into(),
            reserved18: [0; 6],
            reference_tag: U32::ZERO,
            application_tag: U16::ZERO,
            application_mask: U16::ZERO,
        }
    }

    /// The blocks.
    pub fn blocks(&self) -> BlockRange {
        BlockRange { start: self.start.get(), count: u32::from(self.length.get()) + 1 }
    }
}
