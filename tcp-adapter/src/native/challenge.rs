//! Answers to segments that are not acceptable, within limits (RFC 5961 section 7).

use std::time::Duration;

use crate::Instant;

/// Answers per second and connection.
const PER_SECOND: u32 = 10;

/// Answers of the current second.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Challenges {
    since: Instant,
    count: u32,
}

impl Challenges {
    /// Whether one more answer may be sent.
    pub(super) fn allow(&mut self, now: Instant) -> bool {
        if now.saturating_since(self.since) >= Duration::from_secs(1) {
            *self = Self { since: now, count: 0 };
        }
        self.count += 1;
        self.count <= PER_SECOND
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
