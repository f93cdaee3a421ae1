//! A cork: what does not fill a segment waits for more (`TCP_CORK`, tcp(7)).

use std::time::Duration;

use tcp_adapter::Instant;

/// How long anything is held back, at most: the ceiling of Linux.
const CEILING: Duration = Duration::from_millis(200);

/// Whether the end of what was written is held back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cork {
    is_in: bool,
    /// What begins before this position leaves all the same: it was there when the cork was last out, or has waited for long enough.
    released_to: u64,
    /// Where what is held back begins, and when that ends.
    held: Option<(u64, Instant)>,
}

impl Cork {
    /// Puts it in, or takes it out; `end` is where what was written by now ends.
    pub(crate) fn set(&mut self, corked: bool, end: u64) {
        if self.is_in && !corked {
            self.release(end);
        }
        self.is_in = corked;
    }

    pub(crate) fn is_in(&self) -> bool {
        self.is_in
    }

    /// Whether what begins at `start`, and was not sent yet, has to fill its segments.
    pub(crate) fn holds(&self, start: u64) -> bool {
        self.is_in && start >= self.released_to
    }

    /// Notes what is left after all that may leave has left: what was not sent yet begins at `start` and ends at `end`. Time counts
    /// anew once what was held back at first has left, filled up by what came later.
    pub(crate) fn watch(&mut self, start: u64, end: u64, now: Instant) {
        self.held = match self.held {
            _ if start >= end || !self.holds(start) => None,
            Some((held, until)) if held == start => Some((held, until)),
            _ => Some((start, now + CEILING)),
        };
    }

    /// When something has been held back for long enough.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.held.map(|(_, until)| until)
    }

    /// What was written before `end` leaves, in or out.
    pub(crate) fn release(&mut self, end: u64) {
        (self.released_to, self.held) = (end, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    #[test]
    fn what_is_held_back_leaves_in_time_and_what_follows_is_held_back_anew() {
        let mut cork = Cork::default();
        assert!(!cork.holds(0));
        cork.watch(0, 100, at(1));
        assert_eq!(cork.deadline(), None, "it is out");
        cork.set(true, 100);
        assert!(cork.holds(0), "that was not sent yet, either");
        cork.watch(0, 100, at(1));
        cork.watch(0, 300, at(50));
        assert_eq!(cork.deadline(), Some(at(201)), "more came, and nothing left");
        cork.watch(200, 300, at(60));
        assert_eq!(cork.deadline(), Some(at(260)), "a segment was filled");
        cork.release(300);
        assert_eq!((cork.holds(200), cork.holds(299), cork.holds(300)), (false, false, true));
        cork.watch(200, 300, at(260));
        assert_eq!(cork.deadline(), None, "it waits for something else");
        cork.watch(300, 300, at(261));
        assert_eq!(cork.deadline(), None, "there is nothing");
    }

    #[test]
    fn out_and_in_again_lets_go_of_what_is_there() {
        let mut cork = Cork::default();
        cork.set(true, 0);
        cork.watch(0, 100, at(1));
        cork.set(false, 100);
        assert_eq!((cork.is_in(), cork.deadline()), (false, None));
        cork.set(true, 100);
        assert_eq!((cork.holds(0), cork.holds(100)), (false, true));
    }
}
