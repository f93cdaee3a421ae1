//! The earliest of some times.

use tcp_adapter::Instant;

/// The earliest of those that it was given. Deadlines are looked at after every segment, where a chain of iterators costs more than all
/// that it goes through.
#[derive(Default)]
pub(crate) struct Earliest(Option<Instant>);

impl Earliest {
    /// Takes one that there may be.
    #[inline]
    pub(crate) fn or(&mut self, at: Option<Instant>) {
        if let Some(at) = at {
            self.0 = Some(self.0.map_or(at, |earliest| earliest.min(at)));
        }
    }

    /// The earliest so far; `None` if there was none.
    #[inline]
    pub(crate) fn get(self) -> Option<Instant> {
        self.0
    }
}
