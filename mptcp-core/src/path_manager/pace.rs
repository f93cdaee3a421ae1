//! How fast subflows are added (RFC 8684 section 3.9.2).

use std::time::Duration;

use tcp_adapter::Instant;

/// Subflows that a connection starts to open within a [`PERIOD`] at most; the others wait for the next one.
const BURST: u32 = 8;
const PERIOD: Duration = Duration::from_secs(1);

/// The pace of one connection. Attempts on paths that have failed have a pace of their own.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pace {
    opened: u32,
    until: Instant,
}

impl Pace {
    /// Counts a subflow that is about to be opened.
    pub(crate) fn count(&mut self, now: Instant) {
        if now >= self.until {
            *self = Self { opened: 0, until: now + PERIOD };
        }
        self.opened += 1;
    }

    /// When more may be opened, if there were enough for a period.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        (self.opened >= BURST).then_some(self.until)
    }
}
