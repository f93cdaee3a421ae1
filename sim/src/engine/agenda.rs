//! Who must be looked at when.

use tcp_adapter::Instant;

/// One deadline for each of a fixed number of slots; of equal ones, that of the lowest slot comes first, so that the
/// order of events never depends on the order of insertion.
///
/// A tournament with eight in each round: the earliest deadline is at hand, and setting one costs O(log n). It ends in the first round
/// for a slot that wins there neither before nor after, and the slots of a small scenario are a single round.
#[derive(Debug)]
pub(crate) struct Agenda {
    /// A heap-shaped tree: place 0 has the earliest deadline of all, and each that is not a slot's the earliest of the
    /// [`ROUND`] places that compete for it.
    places: Vec<Instant>,
    /// The place of the first slot: slots are the last ones.
    slots_from: usize,
}

/// Places that compete with one another: as many as a cache line has room for, so that to look at all of them costs little.
const ROUND: usize = 8;

/// Later than anything that happens.
const NEVER: Instant = Instant::from_nanos(u64::MAX);

/// The first of the places that compete for a place.
const fn below(place: usize) -> usize {
    place * ROUND + 1
}

/// The place that a place competes for; the first one competes for none.
const fn above(place: usize) -> usize {
    (place - 1) / ROUND
}

impl Agenda {
    /// So many slots without deadlines.
    pub(crate) fn new(slots: usize) -> Self {
        let (mut slots_from, mut width) = (below(0), ROUND);
        while width < slots {
            slots_from = below(slots_from);
            width *= ROUND;
        }
        // Of the rounds of slots only those are there that have any, and they are whole.
        let places = slots_from + slots.max(1).next_multiple_of(ROUND);
        Self { places: vec![NEVER; places], slots_from }
    }

    /// Sets or clears the deadline of a slot.
    pub(crate) fn set(&mut self, slot: usize, at: Option<Instant>) {
        let mut place = self.slots_from + slot;
        let mut new = at.unwrap_or(NEVER);
        loop {
            let old = std::mem::replace(&mut self.places[place], new);
            // What has not changed here changes nothing above.
            if old == new || place == 0 {
                return;
            }
            place = above(place);
            let winner = self.places[place];
            if new > winner {
                // Another one may win only if this one did.
                if old > winner {
                    return;
                }
                new = self.round(place).iter().fold(NEVER, |first, at| first.min(*at));
            }
        }
    }

    /// Brings the deadline of a slot forward.
    pub(crate) fn hurry(&mut self, slot: usize, at: Instant) {
        if self.places[self.slots_from + slot] > at {
            self.set(slot, Some(at));
        }
    }

    /// The earliest deadline.
    pub(crate) fn earliest(&self) -> Option<Instant> {
        let at = self.places[0];
        (at < NEVER).then_some(at)
    }

    /// The earliest deadline and its slot.
    pub(crate) fn next(&self) -> Option<(Instant, usize)> {
        let at = self.earliest()?;
        let mut place = 0;
        while place < self.slots_from {
            // It is among them, as it has won.
            let winner = self.round(place).iter().position(|deadline| *deadline == at).unwrap_or(0);
            place = below(place) + winner;
        }
        Some((at, place - self.slots_from))
    }

    /// The deadlines that compete for a place.
    fn round(&self, place: usize) -> &[Instant] {
        &self.places[below(place)..][..ROUND]
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
            slots in 1_usize..100,
            changes in prop::collection::vec((0_usize..100, prop::option::of(0_u64..50)), 0..200),
        ) {
            let mut agenda = Agenda::new(slots);
            let mut model = vec![None; slots];
            for (slot, at) in changes {
                let (slot, at) = (slot % slots, at.map(Instant::from_nanos));
                agenda.set(slot, at);
                model[slot] = at;
                let expected = (0..slots).filter_map(|slot| model[slot].map(|at| (at, slot))).min();
                prop_assert_eq!(agenda.next(), expected);
                prop_assert_eq!(agenda.earliest(), expected.map(|(at, _)| at));
            }
        }
    }
}
