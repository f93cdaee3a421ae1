//! The bytes that the application sends, and the proof that they arrived.

use std::sync::LazyLock;

use bytes::Bytes;

/// Bytes after which the stream repeats. A prime, so that no slice of a segment's, a mapping's or a buffer's size
/// looks the same one place further on.
const PERIOD: usize = 65_521;

static PATTERN: LazyLock<Bytes> = LazyLock::new(|| {
    let mixed = |at: u64| at.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23).wrapping_mul(0xd6e8_feb8_6659_fd93);
    (0..PERIOD as u64).map(|at| mixed(at).to_be_bytes()[0]).collect()
});

/// At least 1 and at most `max` bytes of the stream from `position` on, shared and not copied.
///
/// # Panics
/// If `max` is 0.
pub fn pattern(position: u64, max: usize) -> Bytes {
    assert!(max > 0, "no bytes asked for");
    let start = (position % PERIOD as u64) as usize;
    PATTERN.slice(start..PERIOD.min(start + max))
}

/// How far a reader of the stream has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position(pub u64);

/// Bytes that are not those that were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Altered {
    /// Position of the slice of the stream that has a wrong byte.
    pub near: u64,
}

impl Position {
    /// Goes on by `bytes` if they are those of the stream.
    ///
    /// # Errors
    /// They are not.
    pub fn check(&mut self, mut bytes: &[u8]) -> Result<(), Altered> {
        while !bytes.is_empty() {
            let expected = pattern(self.0, bytes.len());
            let (head, rest) = bytes.split_at(expected.len());
            if head != expected {
                return Err(Altered { near: self.0 });
            }
            self.0 += head.len() as u64;
            bytes = rest;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn altered_and_misplaced_bytes_are_noticed() {
        let mut position = Position(PERIOD as u64 - 700);
        let whole = [pattern(position.0, 1448), pattern(PERIOD as u64, 748)].concat();
        assert_eq!(whole.len(), 1448);
        assert_eq!(position.check(&whole), Ok(()), "across the end of a period");
        for shift in [1, 748, 1448, 64_000] {
            let elsewhere = pattern(position.0 + shift, 500);
            assert!(position.check(&elsewhere).is_err(), "{shift} bytes further on");
        }
        let mut altered = pattern(position.0, 500).to_vec();
        altered[499] ^= 1;
        assert_eq!(position.check(&altered), Err(Altered { near: position.0 }));
    }
}
