//! What is offered.

use super::MAX_PAYLOAD;
use super::wire::flag;

/// An export. The empty name is another name of it.
#[derive(Clone, Debug)]
pub struct Export {
    /// Its name: at most 4096 bytes.
    pub name: String,
    /// Bytes: a multiple of the block size.
    pub size: u64,
    /// Bytes of a block: a power of two. Requests are for whole blocks.
    pub block_size: u32,
    /// It cannot be written.
    pub is_read_only: bool,
    /// TRIM is offered.
    pub can_trim: bool,
    /// WRITE_ZEROES is offered.
    pub can_write_zeroes: bool,
}

/// What is worth more than the smallest blocks: the pages of those who read.
const PREFERRED: u32 = 4096;

impl Export {
    /// The transmission flags.
    pub(super) fn flags(&self) -> u16 {
        let flag = |set: bool, bit: u16| if set { bit } else { 0 };
        // A flush is a Flush of the namespace: it covers what was acknowledged on whichever connection. Nothing is cached here.
        let always = flag::HAS_FLAGS | flag::SEND_FLUSH | flag::SEND_FUA | flag::CAN_MULTI_CONN;
        always
            | flag(self.is_read_only, flag::READ_ONLY)
            | flag(self.can_trim && !self.is_read_only, flag::SEND_TRIM)
            | flag(self.can_write_zeroes && !self.is_read_only, flag::SEND_WRITE_ZEROES)
    }

    /// Minimum, preferred and maximum block size.
    pub(super) fn block_sizes(&self) -> [u32; 3] {
        [self.block_size, self.block_size.max(PREFERRED), MAX_PAYLOAD]
    }

    pub(super) fn is_called(&self, name: &[u8]) -> bool {
        name.is_empty() || name == self.name.as_bytes()
    }
}
