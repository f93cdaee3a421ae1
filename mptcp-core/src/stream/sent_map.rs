//! Which positions of the stream one subflow carries.

use std::ops::Range;

use tcp_adapter::IdleQueue;

use super::carried::Carried;

/// A mapping that was declared to the peer on one subflow (RFC 8684 section 3.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SentMapping {
    /// Subflow offset of the first byte.
    pub offset: u64,
    /// Stream position of the first byte.
    pub pos: u64,
    /// Bytes on the subflow. A DATA_FIN is sent on its own, so it is never among them.
    pub len: u32,
    /// The DSS checksum, if checksums are in use.
    pub checksum: Option<u16>,
    /// Only the segment with its first byte declares it, as the others are known to be covered (RFC 8684 section 3.3.1). Otherwise
    /// all do.
    pub once: bool,
}

impl SentMapping {
    /// The subflow offset after the last byte.
    pub const fn end(&self) -> u64 {
        self.offset + self.len as u64
    }

    /// The stream positions carried.
    pub const fn positions(&self) -> Range<u64> {
        self.pos..self.pos + self.len as u64
    }
}

/// The mappings of one subflow that the subflow's peer has not acknowledged in whole, by offset.
///
/// A mapping stays whole until its last byte is acknowledged at the subflow level: with
/// checksums a receiver can use no part of it before (section 3.3.1), so if the subflow dies all of it
/// is needed again.
#[derive(Clone, Debug, Default)]
pub struct SentMap {
    mappings: IdleQueue<SentMapping>,
    /// The same by position, if they are not in order of it.
    shuffled: Option<Box<Carried>>,
    /// Index of the mapping that was looked up last.
    found: usize,
}

impl SentMap {
    /// No mappings.
    pub const fn new() -> Self {
        Self { mappings: IdleQueue::new(), shuffled: None, found: 0 }
    }

    /// Adds the mapping of the next bytes of the subflow: not before the end of the last one.
    pub fn push(&mut self, mapping: SentMapping) {
        debug_assert!(
            self.mappings.back().is_none_or(|last| last.end() <= mapping.offset),
            "mapped twice: {mapping:?}"
        );
        let in_order = self.mappings.back().is_none_or(|last| last.positions().end <= mapping.pos);
        if !in_order && !self.is_shuffled() {
            let index = self.shuffled.get_or_insert_default();
            self.mappings.iter().for_each(|known| index.insert(known.pos, known.offset, known.len));
        }
        if let Some(index) = self.shuffled.as_mut().filter(|index| !in_order || !index.is_empty()) {
            index.insert(mapping.pos, mapping.offset, mapping.len);
        }
        self.mappings.push_back(mapping);
    }

    /// Gives back the memory of empty queues.
    pub fn trim(&mut self) {
        self.mappings.trim();
        self.shuffled = self.shuffled.take().filter(|index| !index.is_empty());
    }

    /// Whether everything sent is acknowledged by TCP.
    pub fn is_empty(&self) -> bool {
        self.mappings.is_empty()
    }

    /// The mapping of the subflow byte at `offset`. O(log n).
    pub fn find(&self, offset: u64) -> Option<&SentMapping> {
        let index = self.mappings.partition_point(|mapping| mapping.end() <= offset);
        self.mappings.get(index).filter(|mapping| mapping.offset <= offset)
    }

    /// The same, beginning with the mapping that was found last: segments leave in order.
    #[inline]
    pub fn find_next(&mut self, offset: u64) -> Option<&SentMapping> {
        let holds = |mapping: &&SentMapping| mapping.offset <= offset && offset < mapping.end();
        if self.mappings.get(self.found).filter(holds).is_none() {
            self.found += 1;
            if self.mappings.get(self.found).filter(holds).is_none() {
                self.found = self.mappings.partition_point(|mapping| mapping.end() <= offset);
            }
        }
        self.mappings.get(self.found).filter(holds)
    }

    /// The subflow's peer has acknowledged everything before `offset`: forgets the mappings that lie before it, and returns the
    /// positions of the last of them.
    #[inline]
    pub fn ack(&mut self, offset: u64) -> Option<Range<u64>> {
        // With most segments nothing new is acknowledged, or not all of a mapping.
        if self.mappings.front().is_none_or(|first| first.end() > offset) {
            return None;
        }
        self.forget_before(offset)
    }

    #[inline(never)]
    fn forget_before(&mut self, offset: u64) -> Option<Range<u64>> {
        let mut last = None;
        while self.mappings.front().is_some_and(|first| first.end() <= offset) {
            last = self.mappings.pop_front();
            if let (Some(index), Some(mapping)) = (&mut self.shuffled, last) {
                index.remove(mapping.pos, mapping.offset);
            }
            self.found = self.found.saturating_sub(1);
        }
        last.map(|mapping| mapping.positions())
    }

    /// The mappings in order of their offset.
    pub fn iter(&self) -> impl Iterator<Item = &SentMapping> {
        self.mappings.iter()
    }

    /// Whether any position of `range` is on its way on this subflow. O(log n).
    pub fn holds(&self, range: Range<u64>) -> bool {
        self.first_held(range).is_some()
    }

    /// The first stretch of `range` that is on its way on this subflow, as far as one mapping tells. O(log n).
    #[inline]
    pub fn first_held(&self, range: Range<u64>) -> Option<Range<u64>> {
        // Of several subflows few hold anything, and what is asked for is the first of it, most often.
        let first = self.mappings.front()?;
        if let Some(index) = self.shuffled.as_ref().filter(|index| !index.is_empty()) {
            return index.first_in(range);
        }
        let reaches = |mapping: &SentMapping| mapping.positions().end > range.start;
        let found = match reaches(first) {
            true => Some(first),
            false => self.mappings.get(self.mappings.partition_point(|mapping| !reaches(mapping))),
        };
        let mapping = found.filter(|mapping| mapping.pos < range.end)?;
        Some(mapping.pos.max(range.start)..mapping.positions().end.min(range.end)).filter(|held| !held.is_empty())
    }

    /// The positions not before `una` that are on their way on this subflow, in the order they were sent.
    ///
    /// This is what to send again elsewhere when the subflow dies. Ranges may touch, and
    /// overlap where positions were sent twice on the same subflow.
    pub fn unacked_ranges(&self, una: u64) -> impl Iterator<Item = Range<u64>> {
        self.mappings.iter().map(move |mapping| mapping.pos.max(una)..mapping.positions().end).filter(|r| !r.is_empty())
    }

    /// The lowest position that is on its way on this subflow.
    pub fn first_pos(&self) -> Option<u64> {
        match &self.shuffled {
            Some(index) if !index.is_empty() => index.first(),
            _ => self.mappings.front().map(|mapping| mapping.pos),
        }
    }

    fn is_shuffled(&self) -> bool {
        self.shuffled.as_ref().is_some_and(|index| !index.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(offset: u64, pos: u64, len: u32) -> SentMapping {
        SentMapping { offset, pos, len, checksum: None, once: false }
    }

    fn sample() -> SentMap {
        let mut map = SentMap::new();
        map.push(mapping(0, 1_000, 500));
        map.push(mapping(500, 3_000, 500));
        // Sent again here after another subflow failed.
        map.push(mapping(1_000, 200, 100));
        map
    }

    #[test]
    fn finds_the_mapping_of_a_byte() {
        let map = sample();
        let pos_at = |offset| map.find(offset).map(|mapping| mapping.pos);
        assert_eq!([0, 499, 500, 999, 1_000, 1_099].map(pos_at), [1_000, 1_000, 3_000, 3_000, 200, 200].map(Some));
        assert_eq!(pos_at(1_100), None);
    }

    #[test]
    fn a_partly_acknowledged_mapping_stays_whole() {
        let mut map = sample();
        map.ack(999);
        assert_eq!(map.iter().map(|mapping| mapping.offset).collect::<Vec<_>>(), [500, 1_000]);
        assert_eq!(map.unacked_ranges(0).collect::<Vec<_>>(), [3_000..3_500, 200..300]);
        assert_eq!(map.find(600).map(|mapping| mapping.pos), Some(3_000));
        assert_eq!(map.find(0), None);
        map.ack(1_100);
        assert_eq!((map.iter().count(), map.first_pos()), (0, None));
    }

    #[test]
    fn says_what_a_dead_subflow_leaves_behind() {
        let map = sample();
        assert_eq!(map.unacked_ranges(250).collect::<Vec<_>>(), [1_000..1_500, 3_000..3_500, 250..300]);
        assert_eq!(map.unacked_ranges(1_200).collect::<Vec<_>>(), [1_200..1_500, 3_000..3_500]);
        assert_eq!(map.unacked_ranges(3_500).count(), 0);
        assert_eq!(map.first_pos(), Some(200));
    }

    #[test]
    fn holds_asks_for_any_overlap() {
        let map = sample();
        assert!(map.holds(1_499..1_600) && map.holds(0..201) && map.holds(0..10_000));
        assert!(!map.holds(1_500..3_000) && !map.holds(0..200) && !map.holds(1_200..1_200));
        assert_eq!(map.first_held(0..10_000), Some(200..300));
        assert_eq!(map.first_held(1_400..10_000), Some(1_400..1_500));
        assert_eq!(map.first_held(1_500..3_001), Some(3_000..3_001));
    }

    /// Mappings of one byte each, as a sender makes them that writes them one by one, all of which are asked for.
    #[test]
    fn many_small_mappings_are_looked_up_quickly() {
        const EACH: u64 = 200_000;
        let mut map = SentMap::new();
        for offset in 0..2 * EACH {
            map.push(mapping(offset, offset % EACH + offset / EACH * 7, 1));
        }
        // One after the other would be 10^10 steps, minutes even in a release build.
        for pos in 0..EACH {
            assert_eq!(map.first_held(pos..pos + 1000).map(|held| held.start), Some(pos));
        }
        map.ack(EACH + 5);
        assert_eq!((map.first_pos(), map.holds(0..12), map.holds(0..13)), (Some(12), false, true));
    }

    #[test]
    fn looking_up_agrees_with_looking_at_all() {
        let mut state = 1_u64;
        let mut below = |limit: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % limit
        };
        for _ in 0..200 {
            let (mut map, mut offset) = (SentMap::new(), 0);
            for _ in 0..30 {
                let len = 1 + below(5) as u32;
                map.push(mapping(offset, below(60), len));
                offset += u64::from(len);
                if below(8) == 0 {
                    map.ack(below(offset + 1));
                }
                let start = below(64);
                let range = start..start + below(9);
                let held = map.unacked_ranges(range.start).map(|held| held.start..held.end.min(range.end));
                let expected = held.filter(|held| !held.is_empty()).map(|held| held.start).min();
                let found = map.first_held(range.clone());
                assert_eq!(found.as_ref().map(|held| held.start), expected, "{range:?} of {map:?}");
                assert!(found.is_none_or(|held| !held.is_empty()
                    && map.unacked_ranges(0).any(|one| { one.start <= held.start && held.end <= one.end })));
                let first = map.unacked_ranges(0).map(|held| held.start).min();
                assert_eq!(map.first_pos(), first, "{map:?}");
            }
        }
    }
}
