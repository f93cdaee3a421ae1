//! The bytes that applications send, and the proof that they arrived.

use std::ops::Range;
use std::sync::LazyLock;

use bytes::Bytes;

/// Bytes after which the pattern repeats. A prime, so that no slice of the size of a segment, a mapping or a buffer
/// looks the same one place further on.
const PERIOD: usize = 131_071;

static PATTERN: LazyLock<Bytes> = LazyLock::new(|| {
    let mixed = |at: u64| at.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23).wrapping_mul(0xd6e8_feb8_6659_fd93);
    (0..PERIOD as u64).map(|at| mixed(at).to_be_bytes()[0]).collect()
});

/// The pattern of one stream. Those of other streams begin elsewhere, so that bytes of one in another are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    offset: u64,
}

impl Pattern {
    /// The pattern of stream number `stream`.
    pub(crate) fn new(stream: u64) -> Self {
        Self { offset: stream.wrapping_mul(0x9e37_79b9_7f4a_7c15) % PERIOD as u64 }
    }

    /// At least 1 and at most `max` bytes from `position` on, shared and not copied; `max` is above 0.
    pub(crate) fn bytes(self, position: u64, max: usize) -> Bytes {
        PATTERN.slice(self.range(position, max))
    }

    /// Where in the period these bytes are, at most as many as there are up to its end.
    fn range(self, position: u64, max: usize) -> Range<usize> {
        // The remainder is below the period, which is a usize.
        let start = ((self.offset + position) % PERIOD as u64) as usize;
        start..PERIOD.min(start.saturating_add(max))
    }

    /// How many of these bytes are those from `position` on, up to the first that is not.
    pub(crate) fn matching(self, position: u64, bytes: &[u8]) -> usize {
        let mut checked = 0;
        while checked < bytes.len() {
            let expected = &PATTERN[self.range(position + checked as u64, bytes.len() - checked)];
            let found = &bytes[checked..checked + expected.len()];
            if found != expected {
                let same = found.iter().zip(expected).take_while(|(found, expected)| found == expected);
                return checked + same.count();
            }
            checked += expected.len();
        }
        checked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_byte_is_found_where_it_is() {
        let pattern = Pattern::new(3);
        let mut bytes: Vec<u8> = Vec::new();
        while bytes.len() < 300_000 {
            bytes.extend_from_slice(&pattern.bytes(7 + bytes.len() as u64, 300_000 - bytes.len()));
        }
        assert_eq!(pattern.matching(7, &bytes), 300_000);
        assert!(pattern.matching(8, &bytes) < 10);
        assert!(Pattern::new(4).matching(7, &bytes) < 10);
        bytes[200_000] ^= 1;
        assert_eq!(pattern.matching(7, &bytes), 200_000);
    }
}
