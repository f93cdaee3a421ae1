//! TCP options to send.

use super::options::{MAX_OPTIONS, MAXIMUM_SEGMENT_SIZE, NO_OPERATION, SACK, SACK_PERMITTED, TIMESTAMPS, WINDOW_SCALE};

/// The options of a header, written one after another.
///
/// What does not fit is left out; the methods tell whether it did.
#[derive(Clone, Debug)]
pub(in crate::native) struct OptionWriter {
    bytes: [u8; MAX_OPTIONS],
    len: u8,
}

impl Default for OptionWriter {
    fn default() -> Self {
        Self { bytes: [0; MAX_OPTIONS], len: 0 }
    }
}

impl OptionWriter {
    /// Bytes that can still be written.
    #[inline]
    pub(in crate::native) fn room(&self) -> usize {
        MAX_OPTIONS - usize::from(self.len)
    }

    #[inline]
    pub(in crate::native) fn len(&self) -> usize {
        usize::from(self.len)
    }

    #[inline]
    pub(in crate::native) fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    pub(in crate::native) fn mss(&mut self, mss: u16) -> bool {
        let [high, low] = mss.to_be_bytes();
        self.raw(&[MAXIMUM_SEGMENT_SIZE, 4, high, low])
    }

    pub(in crate::native) fn window_scale(&mut self, shift: u8) -> bool {
        self.raw(&[WINDOW_SCALE, 3, shift])
    }

    pub(in crate::native) fn sack_permitted(&mut self) -> bool {
        self.raw(&[SACK_PERMITTED, 2])
    }

    /// With two no-operations before it, so that the numbers are aligned (RFC 7323 appendix A).
    #[inline]
    pub(in crate::native) fn timestamps(&mut self, value: u32, echo: u32) -> bool {
        let [a, b, c, d] = value.to_be_bytes();
        let [e, f, g, h] = echo.to_be_bytes();
        self.raw(&[NO_OPERATION, NO_OPERATION, TIMESTAMPS, 10, a, b, c, d, e, f, g, h])
    }

    /// As many of `blocks` as fit, the first ones; returns how many (RFC 2018 section 3). Two no-operations align the
    /// numbers.
    pub(in crate::native) fn sack(&mut self, blocks: &[(u32, u32)]) -> usize {
        let fitting = blocks.len().min(self.room().saturating_sub(4) / 8);
        if fitting == 0 {
            return 0;
        }
        let mut option = [NO_OPERATION; 4 + 8 * 4];
        #[expect(clippy::cast_possible_truncation, reason = "at most 4 blocks fit")]
        let len = (2 + 8 * fitting) as u8;
        option[2..4].copy_from_slice(&[SACK, len]);
        for ((left, right), bytes) in blocks[..fitting].iter().zip(option[4..].chunks_exact_mut(8)) {
            bytes[..4].copy_from_slice(&left.to_be_bytes());
            bytes[4..].copy_from_slice(&right.to_be_bytes());
        }
        self.raw(&option[..4 + 8 * fitting]);
        fitting
    }

    /// Whole options as they are.
    #[inline]
    pub(in crate::native) fn raw(&mut self, options: &[u8]) -> bool {
        let Some(free) = self.bytes[usize::from(self.len)..].get_mut(..options.len()) else { return false };
        free.copy_from_slice(options);
        #[expect(clippy::cast_possible_truncation, reason = "it fitted into 40 bytes")]
        let added = options.len() as u8;
        self.len += added;
        true
    }

    /// No-operations up to the end of the word (RFC 9293 section 3.1: the data offset counts words).
    #[inline]
    pub(in crate::native) fn pad(&mut self) {
        while !self.len.is_multiple_of(4) {
            self.bytes[usize::from(self.len)] = NO_OPERATION;
            self.len += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::options::Options;
    use super::*;

    #[test]
    fn options_round_trip() {
        let mut writer = OptionWriter::default();
        assert!(writer.mss(8960) && writer.sack_permitted() && writer.timestamps(0x8000_0001, 7));
        assert!(writer.window_scale(9) && writer.raw(&[30, 4, 1, 2]));
        writer.pad();
        assert_eq!(writer.len(), 28);
        let options = Options::parse(writer.as_slice());
        assert_eq!((options.mss, options.window_shift, options.sack_permitted), (Some(8960), Some(9), true));
        assert_eq!(options.timestamps, Some((0x8000_0001, 7)));
        assert_eq!(options.foreign.as_slice(), &[30, 4, 1, 2]);
        assert!(!options.malformed);
    }

    #[test]
    fn sack_takes_the_room_there_is() {
        let blocks = [(1, 2), (3, 4), (5, 6), (7, 8), (9, 10)];
        for (others, fitting) in [(0, 4), (12, 3), (24, 1), (28, 1), (32, 0)] {
            let mut writer = OptionWriter::default();
            assert!(writer.raw(&vec![NO_OPERATION; others]));
            assert_eq!(writer.sack(&blocks), fitting, "{others}");
            assert_eq!(Options::parse(writer.as_slice()).sack.as_slice(), &blocks[..fitting]);
        }
        assert_eq!(OptionWriter::default().sack(&[]), 0);
    }

    #[test]
    fn what_does_not_fit_changes_nothing() {
        let mut writer = OptionWriter::default();
        assert!(writer.raw(&[NO_OPERATION; 37]));
        assert!(!writer.mss(1460) && !writer.timestamps(1, 2) && !writer.raw(&[0; 300]));
        assert_eq!(writer.len(), 37);
        assert!(writer.window_scale(3));
        assert_eq!(writer.room(), 0);
        writer.pad();
        assert_eq!(writer.as_slice()[37..], [3, 3, 3]);
    }
}
