//! Payload that the connections of a stack hold, and how much it may be.

use std::cell::Cell;

/// What all connections hold.
#[derive(Debug)]
pub(super) struct Memory {
    held: usize,
    limit: usize,
    /// Somebody has got less than was wanted, and waits to hear that there is more. To ask how much there is changes nothing else.
    awaited: Cell<bool>,
}

/// How much is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    Plenty,
    /// What cannot be handed up yet is not taken any more: it would keep the rest from what can.
    Scarce,
    /// Nothing is taken any more. It is not acknowledged, so it comes again.
    Exhausted,
}

impl Memory {
    pub(super) fn new(limit: usize) -> Self {
        Self { held: 0, limit, awaited: Cell::new(false) }
    }

    pub(super) fn level(&self) -> Level {
        if self.held >= self.limit {
            Level::Exhausted
        } else if self.held >= self.limit / 4 * 3 {
            Level::Scarce
        } else {
            Level::Plenty
        }
    }

    /// Bytes that may still be taken.
    pub(super) fn room(&self) -> usize {
        self.limit.saturating_sub(self.held)
    }

    /// Of `wanted` bytes those that may still be taken. If they are fewer, that there is plenty again is news, see
    /// [`take_relief`](Self::take_relief).
    pub(super) fn room_for(&self, wanted: usize) -> usize {
        let room = self.room();
        // While there is plenty, no news would come: what is too much even then must be asked for in smaller pieces.
        if room < wanted && self.level() != Level::Plenty {
            self.awaited.set(true);
        }
        room.min(wanted)
    }

    /// Whether there is plenty again, for which somebody waits.
    pub(super) fn is_relieved(&self) -> bool {
        self.awaited.get() && self.level() == Level::Plenty
    }

    /// The same, once.
    pub(super) fn take_relief(&self) -> bool {
        let relieved = self.is_relieved();
        if relieved {
            self.awaited.set(false);
        }
        relieved
    }

    /// A connection that was charged with `charged` bytes holds `holds` now.
    pub(super) fn charge(&mut self, charged: &mut usize, holds: usize) {
        self.held = (self.held + holds).saturating_sub(*charged);
        *charged = holds;
    }

    /// Bytes held.
    pub(super) fn held(&self) -> usize {
        self.held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_charged_with_what_they_hold() {
        let mut memory = Memory::new(100);
        let (mut one, mut two) = (0, 0);
        memory.charge(&mut one, 50);
        memory.charge(&mut two, 20);
        assert_eq!((memory.held(), memory.room(), memory.level()), (70, 30, Level::Plenty));
        memory.charge(&mut two, 25);
        assert_eq!(memory.level(), Level::Scarce);
        memory.charge(&mut one, 90);
        assert_eq!((memory.room(), memory.level()), (0, Level::Exhausted));
        memory.charge(&mut one, 0);
        assert_eq!((one, memory.held()), (0, 25));
    }

    #[test]
    fn whoever_got_less_hears_once_that_there_is_plenty() {
        let mut memory = Memory::new(100);
        let mut charged = 0;
        memory.charge(&mut charged, 70);
        assert_eq!((memory.room_for(40), memory.is_relieved()), (30, false));
        memory.charge(&mut charged, 90);
        assert_eq!((memory.room_for(10), memory.room_for(40)), (10, 10));
        memory.charge(&mut charged, 75);
        assert!(!memory.take_relief());
        memory.charge(&mut charged, 74);
        assert!(memory.is_relieved());
        assert_eq!((memory.take_relief(), memory.take_relief()), (true, false));
    }
}
