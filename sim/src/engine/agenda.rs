//! Who must be looked at when.

use tcp_adapter::Instant;

/// One deadline for each of a fixed number of slots; of equal ones, that of the lowest slot comes first, so that the
/// order of events never depends on the order of insertion.
///
/// A tournament: setting a deadline costs O(log n), the earliest one is at hand.
#[derive(Debug)]
pub(crate) struct Agenda {
    /// A heap-shaped tree: the winner of node `n` is the earlier of those of nodes `2n` and `2n + 1`; the leaves, from
    /// `width` on, are the slots.
    winners: Vec<(Instant, u32)>,
    width: usize,
}

/// Later than anything that happens.
const NEVER: Instant = Instant::from_nanos(u64::MAX);

impl Agenda {
    /// So many slots without deadlines.
    pub(crate) fn new(slots: usize) -> Self {
        let width = slots.next_power_of_two().max(1);
        let mut winners = vec![(NEVER, u32::MAX); 2 * width];
        for (slot, leaf) in (0..).zip(&mut winners[width..]) {
            leaf.1 = slot;
        }
        for node in (1..width).rev() {
            winners[node] = winners[2 * node];
        }
        Self { winners, width }
    }

    /// Sets or clears the deadline of a slot.
    pub(crate) fn set(&mut self, slot: usize, at: Option<Instant>) {
        let mut node = self.width + slot;
        let at = at.unwrap_or(NEVER);
        if self.winners[node].0 == at {
            return;
        }
        let mut winner = (at, self.winners[node].1);
        self.winners[node] = winner;
        while node > 1 {
            let rival = self.winners[node ^ 1];
            // Of equal ones the left: its slots are the lower ones.
            let is_right = node % 2 == 1;
            if rival.0 < winner.0 || (is_right && rival.0 == winner.0) {
                winner = rival;
            }
            node /= 2;
            // What has not changed here changes nothing above.
            if std::mem::replace(&mut self.winners[node], winner) == winner {
                break;
            }
        }
    }

    /// Brings the deadline of a slot forward.
    pub(crate) fn hurry(&mut self, slot: usize, at: Instant) {
        if self.winners[self.width + slot].0 > at {
            self.set(slot, Some(at));
        }
    }

    /// The earliest deadline and its slot.
    pub(crate) fn next(&self) -> Option<(Instant, usize)> {
        let (at, slot) = self.winners[1];
        (at < NEVER).then_some((at, slot as usize))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
