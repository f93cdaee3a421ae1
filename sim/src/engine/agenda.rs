//! Who must be looked at when.

use tcp_adapter::Instant;

/// One deadline for each of a fixed number of slots; of equal ones, that of the lowest slot comes first, so that the
/// order of events never depends on the order of insertion.
///
/// A tournament: setting a deadline costs O(log n), the earliest one is at hand.
#[derive(Debug)]
pub(crate) struct Agenda {
    /// A heap-shaped tree: the winner of node `n` is the lower of those of nodes `2n` and `2n + 1`; the leaves, from
    /// `width` on, are the slots.
    winners: Vec<Entry>,
    width: usize,
}

/// A deadline in nanoseconds and, in the lower half, its slot: the order of entries is that in which they come.
type Entry = u128;

/// Later than anything that happens.
const NEVER: Instant = Instant::from_nanos(u64::MAX);

fn entry(at: Instant, slot: u64) -> Entry {
    Entry::from(at.as_nanos()) << 64 | Entry::from(slot)
}

fn deadline(entry: Entry) -> Instant {
    Instant::from_nanos((entry >> 64) as u64)
}

impl Agenda {
    /// So many slots without deadlines.
    pub(crate) fn new(slots: usize) -> Self {
        let width = slots.next_power_of_two().max(1);
        let mut winners = vec![Entry::MAX; 2 * width];
        for (slot, leaf) in (0..).zip(&mut winners[width..]) {
            *leaf = entry(NEVER, slot);
        }
        for node in (1..width).rev() {
            winners[node] = winners[2 * node];
        }
        Self { winners, width }
    }

    /// Sets or clears the deadline of a slot.
    pub(crate) fn set(&mut self, slot: usize, at: Option<Instant>) {
        let mut node = self.width + slot;
        let mut winner = entry(at.unwrap_or(NEVER), slot as u64);
        // What has not changed here changes nothing above.
        while std::mem::replace(&mut self.winners[node], winner) != winner && node > 1 {
            winner = winner.min(self.winners[node ^ 1]);
            node /= 2;
        }
    }

    /// Brings the deadline of a slot forward.
    pub(crate) fn hurry(&mut self, slot: usize, at: Instant) {
        if deadline(self.winners[self.width + slot]) > at {
            self.set(slot, Some(at));
        }
    }

    /// The earliest deadline and its slot.
    pub(crate) fn next(&self) -> Option<(Instant, usize)> {
        let first = self.winners[1];
        let at = deadline(first);
        (at < NEVER).then_some((at, first as u64 as usize))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    use super::*;

    #[test]
    fn ties_go_to_the_lowest_slot() {
        let mut agenda = Agenda::new(5);
        assert_eq!(agenda.next(), None);
        let at = Instant::from_millis(3);
        for slot in [4, 2, 3] {
            agenda.set(slot, Some(at));
        }
        assert_eq!(agenda.next(), Some((at, 2)));
        agenda.hurry(4, Instant::from_millis(1));
        agenda.hurry(3, Instant::from_millis(9));
        assert_eq!(agenda.next(), Some((Instant::from_millis(1), 4)));
        agenda.set(4, None);
        agenda.set(2, None);
        assert_eq!(agenda.next(), Some((at, 3)));
    }

    proptest! {
        #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_earliest_is_found(
            slots in 1_usize..40,
            changes in prop::collection::vec((0_usize..40, prop::option::of(0_u64..50)), 0..200),
        ) {
            let mut agenda = Agenda::new(slots);
            let mut model = vec![None; slots];
            for (slot, at) in changes {
                let (slot, at) = (slot % slots, at.map(Instant::from_nanos));
                agenda.set(slot, at);
                model[slot] = at;
                let expected = (0..slots).filter_map(|slot| model[slot].map(|at| (at, slot))).min();
                prop_assert_eq!(agenda.next(), expected);
            }
        }
    }
}
