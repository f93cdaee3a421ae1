//! Answers to segments that are not acceptable, within limits (RFC 5961 section 7).

use super::connection::timestamp;
use crate::Instant;

/// Answers per second and connection, of each occasion.
const PER_SECOND: u8 = 10;

/// What is answered. A path that reorders makes many [strays](Self::Stray): the answer to a reset, without which nothing may ever come
/// again, must not wait for these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Occasion {
    /// A segment that is outside the window, too old, or acknowledges what cannot be.
    Stray,
    /// A reset or a SYN that may be meant.
    Signal,
}

/// Answers of the current second.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Challenges {
    /// Milliseconds at which it began, modulo 2^32: to be wrong for a second every 49 days costs nothing.
    since: u32,
    counts: [u8; 2],
}

impl Challenges {
    /// Whether one more answer may be sent.
    pub(super) fn allow(&mut self, now: Instant, occasion: Occasion) -> bool {
        let now = timestamp(now, 0);
        if now.wrapping_sub(self.since) >= 1000 {
            *self = Self { since: now, counts: [0; 2] };
        }
        let count = &mut self.counts[occasion as usize];
        let allowed = *count < PER_SECOND;
        *count += u8::from(allowed);
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_answers_a_second() {
        let mut challenges = Challenges::default();
        let allowed = |challenges: &mut Challenges, millis, occasion| {
            (0..30).filter(|_| challenges.allow(Instant::from_millis(millis), occasion)).count()
        };
        assert_eq!(allowed(&mut challenges, 5_000, Occasion::Stray), 10);
        assert_eq!(allowed(&mut challenges, 5_999, Occasion::Stray), 0);
        assert_eq!(allowed(&mut challenges, 5_999, Occasion::Signal), 10);
        assert_eq!(allowed(&mut challenges, 6_000, Occasion::Stray), 10);
    }
}
