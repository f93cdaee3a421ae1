//! A set of positions in a stream of bytes, kept as disjoint ranges.

use std::collections::BTreeMap;
use std::ops::Range;

/// A sorted set of disjoint, non-touching half-open ranges of positions.
///
/// Finding a place costs O(log n) in the number of ranges; ranges that an insertion
/// swallows were each inserted once, so that insertion is O(log n) amortised.
///
/// It takes the room of a pointer until something is put into it, and again after [`trim`](Self::trim): there are very many, most of
/// them empty.
#[derive(Clone, Debug, Default)]
pub struct RangeSet(Option<Box<Ranges>>);

#[derive(Clone, Debug, Default)]
struct Ranges {
    /// End of each range by its start.
    ends: BTreeMap<u64, u64>,
    bytes: u64,
}

impl RangeSet {
    /// The empty set.
    pub const fn new() -> Self {
        Self(None)
    }

    /// Adds every position of `range`; an empty range adds none.
    pub fn insert(&mut self, range: Range<u64>) {
        if !range.is_empty() {
            self.0.get_or_insert_default().insert(range);
        }
    }

    /// Takes out every position of `range`.
    pub fn remove(&mut self, range: Range<u64>) {
        if let Some(ranges) = &mut self.0
            && !range.is_empty()
        {
            ranges.remove(range);
        }
    }

    /// Takes out every position before `position`.
    pub fn remove_before(&mut self, position: u64) {
        self.remove(0..position);
    }

    /// Gives back the memory of an empty set.
    pub fn trim(&mut self) {
        if self.is_empty() {
            self.0 = None;
        }
    }

    /// The lowest range.
    pub fn first(&self) -> Option<Range<u64>> {
        self.iter().next()
    }

    /// The highest range.
    pub fn last(&self) -> Option<Range<u64>> {
        self.0.as_ref()?.ends.last_key_value().map(|(&start, &end)| start..end)
    }

    /// Whether `position` is in the set.
    pub fn contains(&self, position: u64) -> bool {
        let before = self.0.as_ref().and_then(|ranges| ranges.ends.range(..=position).next_back());
        before.is_some_and(|(_, &end)| position < end)
    }

    /// Whether the set has no positions.
    pub fn is_empty(&self) -> bool {
        self.0.as_ref().is_none_or(|ranges| ranges.ends.is_empty())
    }

    /// How many positions the set has.
    pub fn len_bytes(&self) -> u64 {
        self.0.as_ref().map_or(0, |ranges| ranges.bytes)
    }

    /// The lowest positions of `range` that the set has not, up to the next that it has; `None` if it has all.
    pub fn first_gap(&self, range: Range<u64>) -> Option<Range<u64>> {
        let mut gap = range;
        if let Some(ranges) = &self.0 {
            if let Some((_, &end)) = ranges.ends.range(..=gap.start).next_back() {
                gap.start = gap.start.max(end);
            }
            if let Some((&start, _)) = ranges.ends.range(gap.start..).next() {
                gap.end = gap.end.min(start);
            }
        }
        (!gap.is_empty()).then_some(gap)
    }

    /// The ranges in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = Range<u64>> {
        self.0.iter().flat_map(|ranges| ranges.ends.iter()).map(|(&start, &end)| start..end)
    }
}

impl Ranges {
    fn insert(&mut self, range: Range<u64>) {
        let Range { mut start, mut end } = range;
        if let Some((&before, &before_end)) = self.ends.range(..start).next_back()
            && before_end >= start
        {
            start = before;
        }
        while let Some((&inside, &inside_end)) = self.ends.range(start..=end).next() {
            end = end.max(inside_end);
            self.ends.remove(&inside);
            self.bytes -= inside_end - inside;
        }
        self.ends.insert(start, end);
        self.bytes += end - start;
    }

    fn remove(&mut self, range: Range<u64>) {
        if let Some((_, before_end)) = self.ends.range_mut(..range.start).next_back()
            && *before_end > range.start
        {
            let cut_end = std::mem::replace(before_end, range.start);
            self.bytes -= cut_end.min(range.end) - range.start;
            if cut_end > range.end {
                self.ends.insert(range.end, cut_end);
            }
        }
        while let Some((&inside, &inside_end)) = self.ends.range(range.clone()).next() {
            self.ends.remove(&inside);
            self.bytes -= inside_end.min(range.end) - inside;
            if inside_end > range.end {
                self.ends.insert(range.end, inside_end);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::ChaCha8Rng;
    use rand::{RngExt as _, SeedableRng as _};

    use super::*;

    #[test]
    fn behaves_like_an_array_of_flags() {
        for seed in 0..500 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let mut set = RangeSet::new();
            let mut model = [false; 256];
            for _ in 0..rng.random_range(1..40) {
                let [start, end] = [rng.random_range(0..256_usize), rng.random_range(0..256)];
                let range = start as u64..end as u64;
                match rng.random_range(0..5) {
                    0..3 => {
                        set.insert(range);
                        (start..end).for_each(|i| model[i] = true);
                    }
                    3 => {
                        set.remove(range);
                        (start..end).for_each(|i| model[i] = false);
                    }
                    _ => {
                        set.remove_before(start as u64 / 4);
                        (0..start / 4).for_each(|i| model[i] = false);
                    }
                }
                assert_same(&set, &model);
                let gap = (start..end).find(|&i| !model[i]);
                let gap = gap.map(|from| from as u64..(from..end).find(|&i| model[i]).unwrap_or(end) as u64);
                assert_eq!(set.first_gap(start as u64..end as u64), gap, "seed {seed}, {start}..{end} of {set:?}");
            }
        }
    }

    fn assert_same(set: &RangeSet, model: &[bool; 256]) {
        for (position, &flag) in (0..).zip(model) {
            assert_eq!(set.contains(position), flag, "position {position}");
        }
        assert_eq!(set.len_bytes(), (0..).zip(model).filter(|(_, flag)| **flag).count() as u64);
        assert_eq!(set.is_empty(), !model.contains(&true));
        assert_eq!(set.first().map(|range| range.start), (0..).zip(model).find(|(_, flag)| **flag).map(|(at, _)| at));
        let ranges: Vec<_> = set.iter().collect();
        assert!(ranges.iter().all(|range| !range.is_empty()));
        assert!(ranges.windows(2).all(|pair| pair[0].end < pair[1].start), "{ranges:?}");
        assert_eq!(ranges.iter().map(|range| range.end - range.start).sum::<u64>(), set.len_bytes());
    }

    #[test]
    fn touching_ranges_become_one() {
        let mut set = RangeSet::new();
        set.insert(10..20);
        set.insert(30..40);
        set.insert(20..30);
        assert!(set.iter().eq(std::iter::once(10..40)));
    }

    #[test]
    fn reaches_to_the_last_position() {
        let mut set = RangeSet::new();
        set.insert(5..u64::MAX);
        set.remove(7..9);
        assert_eq!(set.iter().collect::<Vec<_>>(), [5..7, 9..u64::MAX]);
        set.remove_before(u64::MAX);
        assert!(set.is_empty());
    }
}
