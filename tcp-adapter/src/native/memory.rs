//! Payload that the connections of a stack hold, and how much it may be.

use std::cell::Cell;

/// What all connections hold.
#[derive(Debug)]
pub(super) struct Memory {
    held: usize,
    limit: usize,
    /// Somebody could send less than was wanted, and waits to hear that there is more. To ask how much there is changes nothing else.
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
        } else if self.held >= self.for_senders() {
            Level::Scarce
        } else {
            Level::Plenty
        }
    }

    /// Bytes up to which memory is [plenty](Level::Plenty). More is never held of what is to be sent: what applications write must not keep
    /// acknowledgements, and the data that they are waiting for, from being received.
    fn for_senders(&self) -> usize {
        self.limit / 4 * 3
    }

    /// Of `wanted` bytes to be sent those that may be taken. If they are fewer, that there are more again is news, see
    /// [`take_relief`](Self::take_relief).
    pub(super) fn room_for(&self, wanted: usize) -> usize {
        let room = self.for_senders().saturating_sub(self.held);
        // While much is free, no news would come: what is too much even then must be asked for in smaller pieces.
        if room < wanted && !self.is_ample() {
            self.awaited.set(true);
        }
        room.min(wanted)
    }

    /// Whether there is again so much that all who wait get more than a few bytes.
    fn is_ample(&self) -> bool {
        self.held < self.limit / 8 * 5
    }

    /// Whether there is ample room again, for which somebody waits.
    pub(super) fn is_relieved(&self) -> bool {
        self.awaited.get() && self.is_ample()
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
        assert_eq!((memory.held(), memory.level()), (70, Level::Plenty));
        memory.charge(&mut two, 25);
        assert_eq!((memory.held(), memory.level()), (75, Level::Scarce));
        memory.charge(&mut one, 90);
        assert_eq!((memory.held(), memory.level()), (115, Level::Exhausted));
        memory.charge(&mut one, 0);
        assert_eq!((one, memory.held()), (0, 25));
    }

    #[test]
    fn a_quarter_is_kept_for_what_is_received() {
        let mut memory = Memory::new(100);
        let mut charged = 0;
        assert_eq!((memory.room_for(80), memory.room_for(30)), (75, 30));
        memory.charge(&mut charged, 70);
        assert_eq!(memory.room_for(80), 5);
        memory.charge(&mut charged, 80);
        assert_eq!(memory.room_for(80), 0);
    }

    #[test]
    fn whoever_got_less_hears_once_that_there_is_more() {
        let mut memory = Memory::new(80);
        let mut charged = 0;
        memory.charge(&mut charged, 49);
        assert_eq!((memory.room_for(40), memory.is_relieved()), (11, false), "there was ample room before");
        memory.charge(&mut charged, 70);
        assert_eq!(memory.room_for(10), 0);
        memory.charge(&mut charged, 50);
        assert!(!memory.take_relief(), "what came to be free would be used up in small pieces");
        memory.charge(&mut charged, 49);
        assert!(memory.is_relieved());
        assert_eq!((memory.take_relief(), memory.take_relief()), (true, false));
    }
}
