//! TCP options: the three that this plug-in knows, and the rest, which belongs to the layer above.

use crate::OptionSpace;

pub(super) const END_OF_LIST: u8 = 0;
const NO_OPERATION: u8 = 1;
const MAXIMUM_SEGMENT_SIZE: u8 = 2;
const WINDOW_SCALE: u8 = 3;
const SACK_PERMITTED: u8 = 4;
const SACK: u8 = 5;
const TIMESTAMPS: u8 = 8;

/// Largest shift of RFC 7323 section 2.3.
const MAX_SHIFT: u8 = 14;

/// The options of a received header, sorted.
#[derive(Debug)]
pub(super) struct ParsedOptions {
    /// Maximum segment size (RFC 9293 section 3.2).
    pub(super) mss: Option<u16>,
    /// Window scale shift, at most 14 (RFC 7323 section 2.3).
    pub(super) window_scale: Option<u8>,
    unknown: OptionSpace,
}

impl ParsedOptions {
    /// Sorts `bytes`. Parsing ends at the first option whose length cannot be right
    /// (RFC 9293 section 3.2, MUST-7); what came before it counts.
    pub(super) fn parse(mut bytes: &[u8]) -> Self {
        let mut parsed = Self { mss: None, window_scale: None, unknown: OptionSpace::new(OptionSpace::MAX) };
        loop {
            match *bytes {
                [] | [END_OF_LIST, ..] => return parsed,
                [NO_OPERATION, ref rest @ ..] => bytes = rest,
                [kind, len, ..] if len >= 2 && usize::from(len) <= bytes.len() => {
                    let (option, rest) = bytes.split_at(usize::from(len));
                    parsed.add(kind, option);
                    bytes = rest;
                }
                _ => return parsed,
            }
        }
    }

    /// Whole options of other kinds, in order.
    pub(super) fn unknown(&self) -> &[u8] {
        self.unknown.as_slice()
    }

    fn add(&mut self, kind: u8, option: &[u8]) {
        match (kind, option) {
            (MAXIMUM_SEGMENT_SIZE, &[_, _, high, low]) => self.mss = Some(u16::from_be_bytes([high, low])),
            (WINDOW_SCALE, &[_, _, shift]) => self.window_scale = Some(shift.min(MAX_SHIFT)),
            // smoltcp ignores SACK blocks, and neither sends nor reads timestamps here.
            (MAXIMUM_SEGMENT_SIZE | WINDOW_SCALE | SACK_PERMITTED | SACK | TIMESTAMPS, _) => {}
            _ => {
                // The options of one header always fit.
                let _ = self.unknown.push(option);
            }
        }
    }
}

/// Options as they stand in a header, padded to 32-bit words.
#[derive(Clone, Debug)]
pub(super) struct PaddedOptions {
    bytes: [u8; OptionSpace::MAX],
    len: usize,
}

impl Default for PaddedOptions {
    fn default() -> Self {
        Self { bytes: [0; OptionSpace::MAX], len: 0 }
    }
}

impl PaddedOptions {
    /// The options of a SYN: maximum segment size and, if there is one, window scale.
    ///
    /// SACK-permitted is not among them although smoltcp would offer it: smoltcp ignores the blocks that it
    /// receives and reports at most one, so a peer that agreed would wait for blocks that never come instead
    /// of counting duplicate acknowledgements.
    pub(super) fn syn(mss: u16, window_scale: Option<u8>) -> Self {
        let mut options = Self::default();
        let [high, low] = mss.to_be_bytes();
        options.push(&[MAXIMUM_SEGMENT_SIZE, 4, high, low]);
        options.push(Self::scale(window_scale).as_slice());
        options
    }

    /// The window scale alone, if there is one.
    pub(super) fn scale(window_scale: Option<u8>) -> Self {
        let mut options = Self::default();
        if let Some(shift) = window_scale {
            options.push(&[WINDOW_SCALE, 3, shift]);
        }
        options
    }

    /// Bytes that can still be pushed.
    pub(super) fn room(&self) -> usize {
        OptionSpace::MAX - self.len
    }

    /// Appends whole options; nothing if they do not fit.
    pub(super) fn push(&mut self, options: &[u8]) {
        if let Some(space) = self.bytes.get_mut(self.len..self.len + options.len()) {
            space.copy_from_slice(options);
            self.len += options.len();
        }
    }

    /// The same, with no-operations up to the end of the word.
    pub(super) fn padded(mut self) -> Self {
        while !self.len.is_multiple_of(4) {
            self.bytes[self.len] = NO_OPERATION;
            self.len += 1;
        }
        self
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_options_are_kept_whole_and_in_order() {
        let parsed = ParsedOptions::parse(&[1, 2, 4, 5, 0xb4, 30, 3, 7, 1, 3, 3, 20, 34, 2, 0, 30, 2]);
        assert_eq!(parsed.mss, Some(1460));
        assert_eq!(parsed.window_scale, Some(14));
        assert_eq!(parsed.unknown(), &[30, 3, 7, 34, 2]);
    }

    #[test]
    fn impossible_lengths_end_the_list() {
        for bytes in [&[30, 3, 7, 30, 0][..], &[30, 3, 7, 30, 1], &[30, 3, 7, 30, 4, 0], &[30, 3, 7, 30]] {
            assert_eq!(ParsedOptions::parse(bytes).unknown(), &[30, 3, 7], "{bytes:?}");
        }
        assert_eq!(ParsedOptions::parse(&[2, 3, 1]).mss, None);
    }

    #[test]
    fn padding_fills_words_and_overflow_changes_nothing() {
        let mut options = PaddedOptions::syn(1460, Some(7));
        assert_eq!(options.room(), 33);
        options.push(&[30, 34]);
        options.push(&[0; 40]);
        assert_eq!(options.padded().as_slice(), &[2, 4, 5, 0xb4, 3, 3, 7, 30, 34, 1, 1, 1]);
    }
}
