//! Payload that the connections of a stack hold, and how much it may be.

/// What all connections hold.
#[derive(Debug)]
pub(super) struct Memory {
    held: usize,
    limit: usize,
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
        Self { held: 0, limit }
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
}
