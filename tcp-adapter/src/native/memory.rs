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

/// Bytes of received data that may be taken now. What is not taken is not acknowledged, so it comes again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    /// Of what can be handed up at once.
    pub(super) in_order: usize,
    /// Of what cannot be handed up yet. Less, as it would keep the rest from what can.
    pub(super) beyond: usize,
}

impl Room {
    /// Bytes that every connection may still be sent while memory is short, as far as there are any: a few segments, or the largest unit in
    /// which a window can be expressed (RFC 7323 section 2.3).
    const FEW: usize = 1 << 14;

    /// Whether memory is short.
    pub(super) fn is_short(self) -> bool {
        self.beyond == 0
    }

    /// Bytes that a peer may be told to send: they could be held if they came now, in whatever order.
    pub(super) fn to_promise(self) -> usize {
        self.beyond.max(self.in_order.min(Self::FEW))
    }
}

impl Memory {
    pub(super) fn new(limit: usize) -> Self {
        Self { held: 0, limit, awaited: Cell::new(false) }
    }

    /// What may be received.
    pub(super) fn room(&self) -> Room {
        Room { in_order: self.limit.saturating_sub(self.held), beyond: self.unreserved().saturating_sub(self.held) }
    }

    /// Bytes of which more is held only of what is received in order: neither what applications write nor what waits for something that was lost
    /// must keep from being received what they are waiting for.
    fn unreserved(&self) -> usize {
        self.limit / 4 * 3
    }

    /// Of `wanted` bytes to be sent those that may be taken. If they are fewer, that there are more again is news, see
    /// [`take_relief`](Self::take_relief).
    pub(super) fn room_for(&self, wanted: usize) -> usize {
        let room = self.unreserved().saturating_sub(self.held);
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
        assert_eq!((memory.held(), memory.room()), (70, Room { in_order: 30, beyond: 5 }));
        assert!(!memory.room().is_short());
        memory.charge(&mut two, 25);
        assert_eq!((memory.held(), memory.room()), (75, Room { in_order: 25, beyond: 0 }));
        assert!(memory.room().is_short());
        memory.charge(&mut one, 75);
        assert_eq!((memory.held(), memory.room()), (100, Room { in_order: 0, beyond: 0 }));
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
    fn what_is_promised_can_be_held() {
        let table = [(400_000, 300_000, 300_000), (90_000, 0, Room::FEW), (500, 0, 500), (0, 0, 0)];
        for (in_order, beyond, promised) in table {
            assert_eq!(Room { in_order, beyond }.to_promise(), promised);
        }
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
