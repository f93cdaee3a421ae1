//! Stretches of the stream, by their positions.

use std::collections::BTreeMap;
use std::ops::Range;

/// The stretches that one subflow carries. Mostly they are no two of the same bytes, but bytes may be sent again on a subflow that carried
/// them already, so they may overlap.
///
/// Every operation is O(log n), unless stretches overlap: then a question may also look at all that begin within the length of the longest one before
/// what is asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Carried {
    /// Length of each by its first position; the subflow offset tells those apart that begin at the same one.
    stretches: BTreeMap<(u64, u64), u32>,
    /// Where the last one ended, of all that were added since there were none.
    end: u64,
    /// Length of the longest of those.
    longest: u64,
    /// Some of those overlap.
    overlap: bool,
}

impl Carried {
    pub(super) fn is_empty(&self) -> bool {
        self.stretches.is_empty()
    }

    /// Adds `len` bytes from `pos` that are at `offset` on the subflow.
    pub(super) fn insert(&mut self, pos: u64, offset: u64, len: u32) {
        if self.is_empty() {
            *self = Self::default();
        }
        let end = pos + u64::from(len);
        self.overlap |= pos < self.end && self.first_in(pos..end).is_some();
        self.end = self.end.max(end);
        self.longest = self.longest.max(u64::from(len));
        self.stretches.insert((pos, offset), len);
    }

    pub(super) fn remove(&mut self, pos: u64, offset: u64) {
        self.stretches.remove(&(pos, offset));
    }

    /// The lowest position.
    pub(super) fn first(&self) -> Option<u64> {
        self.stretches.first_key_value().map(|((pos, _), _)| *pos)
    }

    /// The first part of `range` that one stretch covers.
    pub(super) fn first_in(&self, range: Range<u64>) -> Option<Range<u64>> {
        // Often the answer is that all is later, or was before.
        if range.is_empty() || range.start >= self.end || range.end <= self.first()? {
            return None;
        }
        let (start, end) = (range.start, range.end);
        let from = if self.overlap { start.saturating_sub(self.longest) } else { 0 };
        let before = self.stretches.range((from, 0)..=(start, u64::MAX)).rev();
        let most = if self.overlap { usize::MAX } else { 1 };
        let reaching = before.take(most).map(|((pos, _), len)| pos + u64::from(*len)).find(|reached| *reached > start);
        if let Some(reached) = reaching {
            return Some(start..reached.min(end));
        }
        let ((pos, _), len) = self.stretches.range((start + 1, 0)..(end, 0)).next()?;
        Some(*pos..(pos + u64::from(*len)).min(end))
    }
}
