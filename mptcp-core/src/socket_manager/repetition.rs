//! How much to send again of what TCP has delivered and the peer has dropped.

use super::sender::MAX_MAPPING;
use crate::seq::LowPosition;

/// The longest mapping is doubled so often at most: a window of 64 MiB takes eleven pieces.
const MOST_DOUBLED: i8 = 10;

/// It is halved so often at most, to about a segment.
const MOST_HALVED: i8 = 6;

/// The pieces in which data is sent again that no subflow holds any more, one for each DATA-RTO.
///
/// What the peer has dropped may be a single mapping or, if it is short of memory, a whole window: so a piece is as long as the longest mapping, and
/// twice as long as the last one if that was taken. One that was not taken, or only in part, may have been too long for the memory that the peer has
/// left, as Linux keeps what lies behind a hole and drops what would fill it: the next one is half as long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Repetition {
    /// Where the last piece ends.
    to: LowPosition,
    /// How often the longest mapping is doubled; negative if it is halved.
    doubled: i8,
}

impl Repetition {
    /// Nothing was sent again yet.
    pub(crate) fn new() -> Self {
        // As if a piece had ended where the stream begins, after which this one is not doubled.
        Self { to: 0.into(), doubled: -1 }
    }

    /// The bytes of the next piece at most, which begins at `una`.
    pub(crate) fn longest(&mut self, una: u64) -> u64 {
        self.doubled = if self.to == una.into() {
            (self.doubled + 1).min(MOST_DOUBLED)
        } else if self.to.is_after(una) {
            (self.doubled - 1).max(-MOST_HALVED)
        } else {
            0
        };
        match u32::try_from(self.doubled) {
            Ok(times) => (MAX_MAPPING as u64) << times,
            Err(_) => (MAX_MAPPING as u64) >> self.doubled.unsigned_abs(),
        }
    }

    /// It ends there.
    pub(crate) fn end_at(&mut self, end: u64) {
        self.to = end.into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: u64 = MAX_MAPPING as u64;

    /// The next piece from `una` on, all of which is sent.
    fn next(repetition: &mut Repetition, una: u64) -> u64 {
        let len = repetition.longest(una);
        repetition.end_at(una + len);
        len
    }

    #[test]
    fn the_first_piece_is_as_long_as_a_mapping() {
        for una in [0, 1, 5_000] {
            assert_eq!(next(&mut Repetition::new(), una), LONGEST);
        }
    }

    #[test]
    fn pieces_double_while_they_are_taken() {
        let (mut repetition, mut una) = (Repetition::new(), 5_000);
        for times in (0..=10).chain([10]) {
            let len = next(&mut repetition, una);
            assert_eq!(len, LONGEST << times);
            una += len;
        }
        // Somewhere else.
        assert_eq!(next(&mut repetition, una + 1), LONGEST);
    }

    #[test]
    fn pieces_are_halved_while_they_are_not_taken() {
        let (mut repetition, una) = (Repetition::new(), 5_000);
        for times in (0..=6).chain([6]) {
            assert_eq!(next(&mut repetition, una), LONGEST >> times);
        }
        // One was: there may be room for two.
        let una = una + (LONGEST >> 6);
        assert_eq!(next(&mut repetition, una), LONGEST >> 5);
        assert_eq!(next(&mut repetition, una + 1_000), LONGEST >> 6, "a part of it");
    }
}
