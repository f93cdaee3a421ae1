//! TCP options that were received.

/// End of option list (RFC 9293 section 3.2).
pub(super) const END_OF_LIST: u8 = 0;
/// No-operation (RFC 9293 section 3.2).
pub(super) const NO_OPERATION: u8 = 1;
/// Maximum segment size (RFC 9293 section 3.2).
pub(super) const MAXIMUM_SEGMENT_SIZE: u8 = 2;
/// Window scale (RFC 7323 section 2.2).
pub(super) const WINDOW_SCALE: u8 = 3;
/// SACK permitted (RFC 2018 section 2).
pub(super) const SACK_PERMITTED: u8 = 4;
/// SACK (RFC 2018 section 3).
pub(super) const SACK: u8 = 5;
/// Timestamps (RFC 7323 section 3.2).
pub(super) const TIMESTAMPS: u8 = 8;
/// Fast Open (RFC 7413 section 4.1.1). It is of use on SYNs only, so it is looked for there, see [`each_option`].
pub(in crate::native) const FAST_OPEN: u8 = 34;

/// Largest shift of RFC 7323 section 2.3.
const MAX_SHIFT: u8 = 14;
/// Option bytes of a TCP header at most (RFC 9293 section 3.1).
pub(in crate::native) const MAX_OPTIONS: usize = 40;
/// Blocks that fit into the options of a header (RFC 2018 section 3).
const MAX_SACK_BLOCKS: usize = 4;
/// What a timestamps option that is aligned by two no-operations starts with (RFC 7323 appendix A).
const ALIGNED_TIMESTAMPS: [u8; 4] = [NO_OPERATION, NO_OPERATION, TIMESTAMPS, 10];

/// The options of a received header.
#[derive(Clone, Debug, Default)]
pub(in crate::native) struct Options<'a> {
    pub(in crate::native) mss: Option<u16>,
    /// At most 14.
    pub(in crate::native) window_shift: Option<u8>,
    pub(in crate::native) sack_permitted: bool,
    /// Value and echo reply.
    pub(in crate::native) timestamps: Option<(u32, u32)>,
    pub(in crate::native) sack: SackBlocks,
    /// The options of the layer above.
    pub(in crate::native) foreign: Foreign<'a>,
    /// An option had an impossible length; what came before it counts.
    pub(in crate::native) malformed: bool,
}

/// Blocks of a SACK option, in the order of the header: (left edge, right edge).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::native) struct SackBlocks {
    blocks: [(u32, u32); MAX_SACK_BLOCKS],
    len: u8,
}

impl SackBlocks {
    pub(in crate::native) fn as_slice(&self) -> &[(u32, u32)] {
        &self.blocks[..usize::from(self.len)]
    }

    #[cfg(test)]
    pub(in crate::native) fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn push(&mut self, block: (u32, u32)) {
        if let Some(free) = self.blocks.get_mut(usize::from(self.len)) {
            *free = block;
            self.len += 1;
        }
    }
}

/// Options that the engine does not know, whole, one after another.
#[derive(Clone, Debug)]
pub(in crate::native) enum Foreign<'a> {
    /// As they are in the header: they are next to each other there.
    Adjacent(&'a [u8]),
    /// Copied from between others.
    Gathered { bytes: [u8; MAX_OPTIONS], len: u8 },
}

impl Default for Foreign<'_> {
    fn default() -> Self {
        Self::Adjacent(&[])
    }
}

impl Foreign<'_> {
    #[inline]
    pub(in crate::native) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Adjacent(options) => options,
            Self::Gathered { bytes, len } => &bytes[..usize::from(*len)],
        }
    }
}

impl<'a> Options<'a> {
    /// Sorts the options of a header. Parsing ends at the first option whose length cannot be right (RFC 9293
    /// section 3.2, MUST-7); what came before it counts. A known option of a wrong length is ignored.
    #[inline]
    pub(in crate::native) fn parse(options: &'a [u8]) -> Self {
        // Nearly all segments of a connection carry the timestamps, one option of the layer above, or both.
        let (timestamps, rest) = match options.split_first_chunk() {
            Some((&ALIGNED_TIMESTAMPS, rest)) if rest.len() >= 8 => (Some(pair(rest)), &rest[8..]),
            _ => (None, options),
        };
        match *rest {
            [] => Self { timestamps, ..Self::default() },
            [kind, len, ..] if is_foreign(kind) && len >= 2 && is_padded(rest, len) => {
                Self { timestamps, foreign: Foreign::Adjacent(&rest[..usize::from(len)]), ..Self::default() }
            }
            _ => Self { timestamps, ..Self::default() }.parse_list(rest),
        }
    }

    // By itself, so that the above is short enough to be part of what calls it.
    #[inline(never)]
    fn parse_list(mut self, list: &'a [u8]) -> Self {
        let mut foreign = 0..0;
        let mut at = 0;
        while let Some(&kind) = list.get(at) {
            match kind {
                END_OF_LIST => break,
                NO_OPERATION => {
                    at += 1;
                    continue;
                }
                _ => {}
            }
            let len = list.get(at + 1).map_or(0, |len| usize::from(*len));
            let Some(option) = list.get(at..at + len).filter(|_| len >= 2) else {
                self.malformed = true;
                break;
            };
            if is_foreign(kind) {
                if foreign.is_empty() {
                    foreign = at..at;
                }
                if foreign.end == at {
                    foreign.end = at + len;
                } else {
                    self.gather(&list[foreign.clone()], option);
                }
                if let Foreign::Adjacent(adjacent) = &mut self.foreign {
                    *adjacent = &list[foreign.clone()];
                }
            } else {
                self.add(kind, option);
            }
            at += len;
        }
        self
    }

    /// Appends an option that is not next to the `adjacent` ones before it.
    fn gather(&mut self, adjacent: &[u8], option: &[u8]) {
        if let Foreign::Adjacent(_) = self.foreign {
            let mut bytes = [0; MAX_OPTIONS];
            bytes[..adjacent.len()].copy_from_slice(adjacent);
            #[expect(clippy::cast_possible_truncation, reason = "a header has at most 40 bytes of options")]
            let len = adjacent.len() as u8;
            self.foreign = Foreign::Gathered { bytes, len };
        }
        if let Foreign::Gathered { bytes, len } = &mut self.foreign
            && let Some(free) = bytes[usize::from(*len)..].get_mut(..option.len())
        {
            free.copy_from_slice(option);
            // It is in a list where lengths have 8 bits.
            *len += option[1];
        }
    }

    fn add(&mut self, kind: u8, option: &'a [u8]) {
        let value = &option[2..];
        match (kind, value) {
            (MAXIMUM_SEGMENT_SIZE, &[high, low]) => self.mss = Some(u16::from_be_bytes([high, low])),
            (WINDOW_SCALE, &[shift]) => self.window_shift = Some(shift.min(MAX_SHIFT)),
            (SACK_PERMITTED, []) => self.sack_permitted = true,
            (TIMESTAMPS, _) if value.len() == 8 => self.timestamps = Some(pair(value)),
            (SACK, _) if value.len().is_multiple_of(8) => {
                for block in value.chunks_exact(8) {
                    self.sack.push(pair(block));
                }
            }
            _ => {}
        }
    }
}

/// Kind and value of each option of a header, up to the first whose length cannot be right.
pub(in crate::native) fn each_option(options: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = options;
    std::iter::from_fn(move || {
        loop {
            match *rest {
                [] | [END_OF_LIST, ..] => return None,
                [NO_OPERATION, ref after @ ..] => rest = after,
                [kind, len, ..] => {
                    let option = rest.get(..usize::from(len)).filter(|_| len >= 2)?;
                    rest = &rest[option.len()..];
                    return Some((kind, &option[2..]));
                }
                [_] => return None,
            }
        }
    })
}

/// Whether only padding up to the end of a word follows an option of so many bytes at the start of an area.
#[inline]
fn is_padded(area: &[u8], len: u8) -> bool {
    match area.get(usize::from(len)..) {
        Some([]) => true,
        Some(padding @ ([_] | [_, _] | [_, _, _])) => padding.iter().all(|byte| *byte == NO_OPERATION),
        _ => false,
    }
}

#[inline]
fn is_foreign(kind: u8) -> bool {
    !matches!(
        kind,
        END_OF_LIST | NO_OPERATION | MAXIMUM_SEGMENT_SIZE | WINDOW_SCALE | SACK_PERMITTED | SACK | TIMESTAMPS
    )
}

/// The first two words; the caller has seen that there are 8 bytes.
fn pair(bytes: &[u8]) -> (u32, u32) {
    match *bytes {
        [a, b, c, d, e, f, g, h, ..] => (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h])),
        _ => (0, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TS: [u8; 12] = [1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2];

    #[test]
    fn the_usual_layouts_are_borrowed() {
        let dss = [30, 8, 0x20, 1, 9, 9, 9, 9];
        let second = [30, 4, 0x30, 0];
        for (options, timestamps, foreign) in [
            (vec![], None, vec![]),
            (TS.to_vec(), Some((1, 2)), vec![]),
            ([&TS[..], &dss].concat(), Some((1, 2)), dss.to_vec()),
            (dss.to_vec(), None, dss.to_vec()),
            ([&TS[..], &dss, &second].concat(), Some((1, 2)), [&dss[..], &second].concat()),
            ([&dss[..], &TS].concat(), Some((1, 2)), dss.to_vec()),
            ([&TS[..], &[30, 5, 1, 2, 3, 1, 1, 1]].concat(), Some((1, 2)), vec![30, 5, 1, 2, 3]),
            ([&TS[..], &[1, 30, 3, 7]].concat(), Some((1, 2)), vec![30, 3, 7]),
        ] {
            let parsed = Options::parse(&options);
            assert_eq!(parsed.timestamps, timestamps, "{options:?}");
            assert_eq!(parsed.foreign.as_slice(), foreign, "{options:?}");
            assert!(matches!(parsed.foreign, Foreign::Adjacent(_)) && !parsed.malformed, "{options:?}");
        }
    }

    #[test]
    fn foreign_options_are_gathered_from_between_others() {
        let options = [30, 3, 7, 30, 2, 1, 30, 3, 8, 3, 3, 20, 99, 4, 5, 6, 0, 30, 2];
        let parsed = Options::parse(&options);
        assert_eq!(parsed.foreign.as_slice(), &[30, 3, 7, 30, 2, 30, 3, 8, 99, 4, 5, 6]);
        assert_eq!(parsed.window_shift, Some(14), "capped");
        assert!(matches!(parsed.foreign, Foreign::Gathered { .. }) && !parsed.malformed);
    }

    #[test]
    fn options_of_a_syn() {
        let options = [2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 9, 0, 0, 0, 0, 1, 3, 3, 7, 34, 6, 1, 2, 3, 4];
        let parsed = Options::parse(&options);
        assert_eq!((parsed.mss, parsed.window_shift, parsed.sack_permitted), (Some(1460), Some(7), true));
        assert_eq!((parsed.timestamps, parsed.foreign.as_slice()), (Some((9, 0)), &[34, 6, 1, 2, 3, 4][..]));
    }

    #[test]
    fn sack_blocks_keep_their_order() {
        let mut options = TS.to_vec();
        options.extend([1, 1, 5, 26]);
        for edge in [30_u32, 40, 10, 20, 50, u32::MAX] {
            options.extend(edge.to_be_bytes());
        }
        let parsed = Options::parse(&options);
        assert_eq!(parsed.sack.as_slice(), &[(30, 40), (10, 20), (50, u32::MAX)]);
        assert!(Options::parse(&[5, 9, 0, 0, 0, 0, 0, 0, 0]).sack.is_empty(), "not whole blocks");
    }

    #[test]
    fn impossible_lengths_end_the_list() {
        for bad in [&[30, 0][..], &[30, 1], &[30, 4, 0], &[30], &[2, 4, 1], &[8, 10, 0, 0], &[5]] {
            let options = [&[30, 3, 7], bad].concat();
            let parsed = Options::parse(&options);
            assert!(parsed.malformed, "{options:?}");
            assert_eq!(parsed.foreign.as_slice(), &[30, 3, 7], "{options:?}");
            assert_eq!(parsed.mss, None);
        }
        assert!(Options::parse(&[1, 1, 8, 10, 0, 0, 0, 1]).malformed, "cut");
    }

    #[test]
    fn known_options_of_a_wrong_length_are_ignored() {
        let options = [2, 3, 1, 3, 2, 4, 3, 0, 8, 4, 0, 0, 30, 2];
        let parsed = Options::parse(&options);
        assert_eq!((parsed.mss, parsed.window_shift, parsed.sack_permitted), (None, None, false));
        assert_eq!(parsed.timestamps, None);
        assert_eq!(parsed.foreign.as_slice(), &[30, 2]);
        assert!(!parsed.malformed);
    }
}
