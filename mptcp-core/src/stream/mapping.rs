//! Mappings that the peer declared on one subflow.

use smallvec::SmallVec;
use tcp_adapter::IdleQueue;

/// A mapping received in a DSS option (RFC 8684 section 3.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceivedMapping {
    /// Subflow offset of the first byte.
    pub offset: u64,
    /// Stream position of the first byte.
    pub pos: u64,
    /// Bytes on the subflow. A DATA_FIN, which has no byte there, is not counted although it is in the
    /// Data-Level Length; nor does 0 mean an infinite mapping here.
    pub len: u32,
    /// The DSS checksum, if checksums are in use.
    pub checksum: Option<u16>,
    /// Whether a DATA_FIN follows the last byte; the checksum covers a Data-Level Length of `len` + 1 then.
    pub data_fin: bool,
}

impl ReceivedMapping {
    /// The subflow offset after the last byte.
    pub const fn end(&self) -> u64 {
        self.offset.saturating_add(self.len as u64)
    }

    /// The stream position of the byte at subflow offset `offset`, which the mapping must cover.
    ///
    /// Saturates: no window reaches so far, hence such a byte is dropped anyway.
    pub const fn pos_at(&self, offset: u64) -> u64 {
        self.pos.saturating_add(offset.saturating_sub(self.offset))
    }

    /// Equal for two mappings if and only if they bind a subflow byte to the same position.
    const fn binding(&self) -> u64 {
        self.pos.wrapping_sub(self.offset)
    }

    /// The same binding for the bytes from `start` to `end` only.
    const fn part(&self, start: u64, end: u64) -> Self {
        Self {
            offset: start,
            pos: self.pos_at(start),
            len: (end - start) as u32,
            checksum: self.checksum,
            data_fin: self.data_fin && end == self.end(),
        }
    }
}

/// What became of a mapping given to [`ReceivedMap::insert`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapInsert {
    /// It maps bytes that had no mapping before.
    New,
    /// Everything it maps is mapped so already, or was consumed.
    Duplicate,
    /// It maps a byte elsewhere than an earlier mapping did, or checksums bytes in another
    /// grouping. A mapping MUST NOT change (section 3.3.1): the subflow is broken.
    Conflict,
    /// The map has as many entries as it may have; nothing was stored. The peer repeats
    /// the mapping if it retransmits the segment.
    Full,
}

/// The mappings received on one subflow for bytes not yet consumed, in order of their offset.
///
/// A mapping may arrive repeatedly (each segment of a mapping can carry it), and before earlier
/// ones. Without checksums, a mapping may also repeat part of another and go beyond it, as a
/// middlebox that resegments can make it look; what is new is kept. With
/// checksums, bytes can only be verified in the grouping first declared.
#[derive(Clone, Debug)]
pub struct ReceivedMap {
    /// By offset, not overlapping.
    mappings: IdleQueue<ReceivedMapping>,
    /// Everything before was consumed, and its mappings are forgotten.
    consumed: u64,
    max: usize,
}

impl ReceivedMap {
    /// An empty map for at most `max` mappings.
    pub const fn new(max: usize) -> Self {
        Self { mappings: IdleQueue::new(), consumed: 0, max }
    }

    /// Adds a mapping.
    #[inline]
    pub fn insert(&mut self, mapping: ReceivedMapping) -> MapInsert {
        if mapping.end() <= self.consumed.max(mapping.offset) {
            return MapInsert::Duplicate;
        }
        // Most follow all that are known.
        if self.consumed <= mapping.offset && self.mappings.back().is_none_or(|last| last.end() <= mapping.offset) {
            if self.mappings.len() >= self.max {
                return MapInsert::Full;
            }
            self.mappings.push_back(mapping);
            return MapInsert::New;
        }
        self.insert_among(mapping)
    }

    /// The same of one that maps bytes not consumed, and does not follow all that are known.
    #[inline(never)]
    fn insert_among(&mut self, mapping: ReceivedMapping) -> MapInsert {
        let low = self.mappings.partition_point(|known| known.end() <= mapping.offset);
        let high = self.mappings.partition_point(|known| known.offset < mapping.end());
        let overlapped = self.mappings.range(low..high);
        if overlapped.clone().any(|known| known.binding() != mapping.binding()) {
            return MapInsert::Conflict;
        }
        if let Some(known) = overlapped.clone().next()
            && known.offset == mapping.offset
            && known.len == mapping.len
        {
            // The DATA_FIN may be added to a retransmission, which changes the checksum along with it.
            let same = known.checksum == mapping.checksum || known.data_fin != mapping.data_fin;
            return if same { MapInsert::Duplicate } else { MapInsert::Conflict };
        }
        let mut unmapped = mapping.offset.max(self.consumed);
        let mut parts = SmallVec::<[ReceivedMapping; 1]>::new();
        for known in overlapped.clone() {
            if unmapped < known.offset {
                parts.push(mapping.part(unmapped, known.offset));
            }
            unmapped = known.end();
        }
        if unmapped < mapping.end() {
            parts.push(mapping.part(unmapped, mapping.end()));
        }
        if parts.is_empty() {
            return MapInsert::Duplicate;
        }
        let whole = parts.len() == 1 && parts[0].len == mapping.len;
        if !whole && (mapping.checksum.is_some() || overlapped.clone().any(|known| known.checksum.is_some())) {
            return MapInsert::Conflict;
        }
        if self.mappings.len() + parts.len() > self.max {
            return MapInsert::Full;
        }
        for part in parts {
            let index = self.mappings.partition_point(|known| known.offset < part.offset);
            self.mappings.insert(index, part);
        }
        MapInsert::New
    }

    /// Consumes the bytes from subflow offset `start` to `end`, before which all is consumed, if one mapping without checksum covers all of them.
    /// Gives the stream position of the first; `None`, with nothing changed, if none does.
    #[inline]
    pub fn pass(&mut self, start: u64, end: u64) -> Option<u64> {
        let first = self.mappings.front()?;
        let first_end = first.end();
        if first.checksum.is_some() || start < first.offset || end > first_end {
            return None;
        }
        let pos = first.pos_at(start);
        self.consumed = self.consumed.max(end);
        if end == first_end {
            self.mappings.pop_front();
        }
        Some(pos)
    }

    /// The mapping of the subflow byte at `offset`. O(log n).
    pub fn lookup(&self, offset: u64) -> Option<&ReceivedMapping> {
        let index = self.mappings.partition_point(|mapping| mapping.end() <= offset);
        self.mappings.get(index).filter(|mapping| mapping.offset <= offset)
    }

    /// The subflow bytes before `offset` will not be looked up again: forgets the mappings that lie before it.
    #[inline]
    pub fn consumed(&mut self, offset: u64) {
        self.consumed = self.consumed.max(offset);
        while self.mappings.front().is_some_and(|first| first.end() <= self.consumed) {
            self.mappings.pop_front();
        }
    }

    /// Gives back the memory of empty queues.
    pub fn trim(&mut self) {
        self.mappings.trim();
    }

    /// The number of mappings held.
    pub fn len(&self) -> usize {
        self.mappings.len()
    }

    /// Whether no mapping is held.
    pub fn is_empty(&self) -> bool {
        self.mappings.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::check;

    fn mapping(offset: u64, pos: u64, len: u32) -> ReceivedMapping {
        ReceivedMapping { offset, pos, len, checksum: None, data_fin: false }
    }

    fn summed(offset: u64, pos: u64, len: u32, checksum: u16) -> ReceivedMapping {
        ReceivedMapping { checksum: Some(checksum), ..mapping(offset, pos, len) }
    }

    #[test]
    fn behaves_like_an_array_of_positions() {
        check(2_000, |inserts: &Vec<(u8, u8, u8, u8)>| {
            let mut map = ReceivedMap::new(inserts.len() * 4);
            let mut model = [None; 600];
            let mut consumed = 0;
            for &(offset, len, wrong, consume) in inserts {
                // One in 16 declares another binding.
                let pos = 1_000 + u64::from(offset) + u64::from(wrong < 16);
                let outcome = map.insert(mapping(offset.into(), pos, len.into()));
                let bytes = usize::from(offset)..usize::from(offset) + usize::from(len);
                let binds = |at: usize| Some(pos + at as u64 - u64::from(offset));
                let alive = bytes.start.max(consumed)..bytes.end.max(consumed);
                // What was consumed is forgotten byte by byte in the model, mapping by mapping in the map.
                let conflict = map_known(&model, bytes.clone()).any(|at| model[at] != binds(at));
                let alive_conflict = map_known(&model, alive.clone()).any(|at| model[at] != binds(at));
                assert!(outcome == MapInsert::Conflict || !alive_conflict);
                match outcome {
                    MapInsert::Conflict => assert!(conflict),
                    MapInsert::Duplicate => assert!(alive.clone().all(|at| model[at].is_some())),
                    MapInsert::New => {
                        assert!(alive.clone().any(|at| model[at].is_none()));
                        alive.for_each(|at| model[at] = binds(at));
                    }
                    MapInsert::Full => unreachable!("the bound is out of reach"),
                }
                consumed = consumed.max(usize::from(consume) / 16);
                map.consumed(consumed as u64);
                for (at, expected) in model.iter().enumerate().skip(consumed) {
                    let found = map.lookup(at as u64).map(|found| found.pos_at(at as u64));
                    assert_eq!(found, *expected, "offset {at}");
                }
            }
        });
    }

    fn map_known(model: &[Option<u64>], mut bytes: std::ops::Range<usize>) -> impl Iterator<Item = usize> {
        std::iter::from_fn(move || bytes.find(|&at| model[at].is_some()))
    }

    #[test]
    fn repeats_are_recognised_and_changes_refused() {
        let mut map = ReceivedMap::new(10);
        assert_eq!(map.insert(mapping(100, 5_000, 100)), MapInsert::New);
        assert_eq!(map.insert(mapping(0, 4_000, 100)), MapInsert::New, "out of order");
        assert_eq!(map.insert(mapping(100, 5_000, 100)), MapInsert::Duplicate);
        assert_eq!(map.insert(mapping(120, 5_020, 10)), MapInsert::Duplicate, "a part of it");
        assert_eq!(map.insert(mapping(120, 5_021, 10)), MapInsert::Conflict);
        assert_eq!(map.insert(mapping(50, 4_050, 100)), MapInsert::Conflict, "runs into the next one");
        assert_eq!(map.insert(mapping(150, 5_050, 100)), MapInsert::New);
        assert_eq!(map.lookup(220).map(|found| found.pos_at(220)), Some(5_120));
        assert_eq!(map.len(), 3);
    }

    #[test]
    fn checksums_bind_the_grouping_too() {
        let mut map = ReceivedMap::new(10);
        assert_eq!(map.insert(summed(0, 0, 100, 7)), MapInsert::New);
        assert_eq!(map.insert(summed(0, 0, 100, 7)), MapInsert::Duplicate);
        assert_eq!(map.insert(summed(0, 0, 100, 8)), MapInsert::Conflict);
        assert_eq!(map.insert(summed(50, 50, 100, 7)), MapInsert::Conflict);
        assert_eq!(map.insert(summed(50, 50, 50, 9)), MapInsert::Duplicate, "all of it is verified anyway");
        assert_eq!(map.insert(summed(100, 100, 50, 9)), MapInsert::New);
        map.consumed(150);
        assert_eq!(map.insert(summed(140, 140, 20, 1)), MapInsert::Conflict, "could not be verified any more");
    }

    #[test]
    fn a_retransmission_may_add_the_data_fin() {
        let mut map = ReceivedMap::new(10);
        map.insert(summed(0, 0, 100, 7));
        assert_eq!(map.insert(ReceivedMapping { data_fin: true, ..summed(0, 0, 100, 6) }), MapInsert::Duplicate);
        assert_eq!(map.lookup(0), Some(&summed(0, 0, 100, 7)));
    }

    #[test]
    fn forgets_what_was_consumed_and_is_bounded() {
        let mut map = ReceivedMap::new(2);
        assert_eq!(map.insert(mapping(0, 0, 10)), MapInsert::New);
        assert_eq!(map.insert(mapping(10, 10, 10)), MapInsert::New);
        assert_eq!(map.insert(mapping(20, 20, 10)), MapInsert::Full);
        map.consumed(9);
        assert_eq!(map.len(), 2, "one byte of the first is left");
        map.consumed(10);
        assert_eq!((map.len(), map.lookup(9)), (1, None));
        assert_eq!(map.insert(mapping(0, 0, 10)), MapInsert::Duplicate, "of consumed bytes");
        assert_eq!(map.insert(mapping(20, 20, 10)), MapInsert::New);
        assert_eq!(map.insert(mapping(30, 30, 0)), MapInsert::Duplicate, "maps nothing");
    }

    #[test]
    fn what_one_mapping_without_checksum_covers_passes() {
        let mut map = ReceivedMap::new(10);
        map.insert(mapping(0, 1_000, 10));
        map.insert(mapping(10, 5_000, 10));
        map.insert(summed(20, 30, 10, 7));
        assert_eq!((map.pass(0, 4), map.len()), (Some(1_000), 3));
        assert_eq!(map.pass(4, 11), None, "runs into the next one");
        assert_eq!((map.pass(4, 10), map.len()), (Some(1_004), 2));
        assert_eq!(map.insert(mapping(0, 1_000, 10)), MapInsert::Duplicate, "of consumed bytes");
        assert_eq!((map.pass(10, 20), map.len()), (Some(5_000), 1));
        assert_eq!((map.pass(20, 30), map.len()), (None, 1), "must be verified");
        map.consumed(30);
        assert_eq!(map.pass(30, 31), None);
    }

    #[test]
    fn absurd_values_do_no_harm() {
        let mut map = ReceivedMap::new(4);
        assert_eq!(map.insert(mapping(u64::MAX - 1, u64::MAX - 1, u32::MAX)), MapInsert::New);
        assert_eq!(map.lookup(u64::MAX - 1).map(|found| found.pos_at(u64::MAX)), Some(u64::MAX));
        assert_eq!(map.insert(mapping(0, u64::MAX, u32::MAX)), MapInsert::New);
        assert_eq!(map.insert(mapping(1, 0, 10)), MapInsert::Duplicate, "the same binding, modulo 2^64");
    }
}
