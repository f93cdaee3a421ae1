//! Which connection must be looked at when.

use std::collections::BTreeSet;

use tcp_adapter::Instant;

/// One deadline per connection slot, ordered by time. A connection without one costs nothing.
///
/// Deadlines move with nearly every segment, and mostly to a later time, or away. So a slot keeps the place in the order that it has; when
/// its turn comes too early, it gets a later one.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    by_slot: Vec<Deadline>,
    ordered: BTreeSet<(Instant, u32)>,
    /// The first of them.
    first: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Deadline {
    due: Option<Instant>,
    /// Its place in the order: not later than it is due.
    place: Option<Instant>,
}

impl Deadlines {
    /// Sets or clears the deadline of a slot.
    #[inline]
    pub(crate) fn set(&mut self, slot: u32, at: Option<Instant>) {
        let index = slot as usize;
        if self.by_slot.len() <= index {
            self.by_slot.resize(index + 1, Deadline::default());
        }
        let deadline = &mut self.by_slot[index];
        deadline.due = at;
        if let Some(at) = at
            && deadline.place.is_none_or(|place| at < place)
        {
            self.place(slot, Some(at));
        }
    }

    /// When to call [`pop_due`](Self::pop_due) next: not later than the first deadline.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.first
    }

    /// Takes a slot whose deadline has come.
    #[inline]
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<u32> {
        while self.first.is_some_and(|first| first <= now) {
            let (_, slot) = *self.ordered.first()?;
            let deadline = &mut self.by_slot[slot as usize];
            if deadline.due.is_some_and(|due| due <= now) {
                deadline.due = None;
                self.place(slot, None);
                return Some(slot);
            }
            let later = deadline.due;
            self.place(slot, later);
        }
        None
    }

    fn place(&mut self, slot: u32, at: Option<Instant>) {
        let former = std::mem::replace(&mut self.by_slot[slot as usize].place, at);
        if let Some(former) = former {
            self.ordered.remove(&(former, slot));
        }
        if let Some(at) = at {
            self.ordered.insert((at, slot));
        }
        self.first = self.ordered.first().map(|(at, _)| *at);
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
        assert!(deadlines.next().is_some_and(|next| next <= at(20)));
        assert_eq!(deadlines.pop_due(at(19)), None);
        assert_eq!(deadlines.next(), Some(at(20)), "what has moved is not looked at again");
        assert_eq!(deadlines.pop_due(at(50)), Some(2));
        assert_eq!(deadlines.pop_due(at(50)), Some(1));
        assert_eq!(deadlines.pop_due(at(50)), None);
        assert_eq!(deadlines.next(), None);
    }

    #[test]
    fn a_slot_moves_to_the_front_at_once() {
        let at = Instant::from_millis;
        let mut deadlines = Deadlines::default();
        deadlines.set(0, Some(at(30)));
        deadlines.set(1, Some(at(20)));
        deadlines.set(0, Some(at(10)));
        assert_eq!((deadlines.next(), deadlines.pop_due(at(15))), (Some(at(10)), Some(0)));
        assert_eq!((deadlines.next(), deadlines.pop_due(at(15))), (Some(at(20)), None));
    }
}
