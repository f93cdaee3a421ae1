//! Answers to segments that are not acceptable, within limits (RFC 5961 section 7).

use super::connection::timestamp;
use crate::Instant;

/// Answers per second and connection.
const PER_SECOND: u8 = 10;

/// Answers of the current second.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Challenges {
    /// Milliseconds at which it began, modulo 2^32: to be wrong for a second every 49 days costs nothing.
    since: u32,
    count: u8,
}

impl Challenges {
    /// Whether one more answer may be sent.
    pub(super) fn allow(&mut self, now: Instant) -> bool {
        let now = timestamp(now, 0);
        if now.wrapping_sub(self.since) >= 1000 {
            *self = Self { since: now, count: 0 };
        }
        let allowed = self.count < PER_SECOND;
        self.count += u8::from(allowed);
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_answers_a_second() {
        let mut challenges = Challenges::default();
        let allowed = |challenges: &mut Challenges, millis| {
            (0..30).filter(|_| challenges.allow(Instant::from_millis(millis))).count()
        };
        assert_eq!(allowed(&mut challenges, 5_000), 10);
        assert_eq!(allowed(&mut challenges, 5_999), 0);
        assert_eq!(allowed(&mut challenges, 6_000), 10);
    }
}
