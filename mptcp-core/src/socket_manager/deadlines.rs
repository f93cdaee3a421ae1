//! Which connection must be looked at when.

use std::collections::BTreeSet;

use tcp_adapter::Instant;

/// One deadline per connection slot, ordered by time. A connection without one costs nothing.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    by_slot: Vec<Option<Instant>>,
    ordered: BTreeSet<(Instant, u32)>,
}

impl Deadlines {
    /// Sets or clears the deadline of a slot.
    pub(crate) fn set(&mut self, slot: u32, at: Option<Instant>) {
        let index = slot as usize;
        if self.by_slot.len() <= index {
            self.by_slot.resize(index + 1, None);
        }
        if self.by_slot[index] == at {
            return;
        }
        if let Some(old) = std::mem::replace(&mut self.by_slot[index], at) {
            self.ordered.remove(&(old, slot));
        }
        if let Some(new) = at {
            self.ordered.insert((new, slot));
        }
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        self.ordered.first().map(|(at, _)| *at)
    }

    /// Takes a slot whose deadline has come.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<u32> {
        let (at, slot) = *self.ordered.first()?;
        if at > now {
            return None;
        }
        self.set(slot, None);
        Some(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_come_in_order_of_time() {
        let at = Instant::from_millis;
        let mut deadlines = Deadlines::default();
        deadlines.set(0, Some(at(30)));
        deadlines.set(1, Some(at(10)));
        deadlines.set(2, Some(at(20)));
        deadlines.set(1, Some(at(40)));
        deadlines.set(0, None);
        assert_eq!(deadlines.next(), Some(at(20)));
        assert_eq!(deadlines.pop_due(at(19)), None);
        assert_eq!(deadlines.pop_due(at(50)), Some(2));
        assert_eq!(deadlines.pop_due(at(50)), Some(1));
        assert_eq!(deadlines.pop_due(at(50)), None);
        assert_eq!(deadlines.next(), None);
    }
}
