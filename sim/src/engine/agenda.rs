//! Who must be looked at when.

use tcp_adapter::Instant;

/// One deadline for each of a fixed number of slots; of equal ones, that of the lowest slot comes first, so that the
/// order of events never depends on the order of insertion.
///
/// A tournament: setting a deadline costs O(log n), the earliest one is at hand.
#[derive(Debug)]
pub(crate) struct Agenda {
    /// A heap-shaped tree: node `n`, from 1 on, holds the winners of places `2n` and `2n + 1`, of which each is that of
    /// the node with that number; places from the number of nodes on are the slots. So one look finds both that compete.
    nodes: Vec<[Entry; 2]>,
    /// The winner of all.
    first: Entry,
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
        let width = slots.next_power_of_two().max(2);
        let mut nodes = vec![[Entry::MAX; 2]; width];
        for slot in 0..width {
            nodes[(width + slot) / 2][slot % 2] = entry(NEVER, slot as u64);
        }
        for node in (2..width).rev() {
            nodes[node / 2][node % 2] = nodes[node][0];
        }
        Self { first: nodes[1][0], nodes }
    }

    /// Sets or clears the deadline of a slot.
    pub(crate) fn set(&mut self, slot: usize, at: Option<Instant>) {
        let mut place = self.nodes.len() + slot;
        let mut winner = entry(at.unwrap_or(NEVER), slot as u64);
        while place > 1 {
            let pair = &mut self.nodes[place / 2];
            // What has not changed here changes nothing above.
            if std::mem::replace(&mut pair[place % 2], winner) == winner {
                return;
            }
            winner = winner.min(pair[1 - place % 2]);
            place /= 2;
        }
        self.first = winner;
    }

    /// Brings the deadline of a slot forward.
    pub(crate) fn hurry(&mut self, slot: usize, at: Instant) {
        if deadline(self.nodes[(self.nodes.len() + slot) / 2][slot % 2]) > at {
            self.set(slot, Some(at));
        }
    }

    /// The earliest deadline and its slot.
    pub(crate) fn next(&self) -> Option<(Instant, usize)> {
        let at = deadline(self.first);
        (at < NEVER).then_some((at, self.first as u64 as usize))
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
