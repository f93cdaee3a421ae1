//! What smoltcp holds of bytes that came before others: its assembler does not tell.

use std::ops::Range;

use smoltcp::config::ASSEMBLER_MAX_SEGMENT_COUNT;

/// Stretches of received bytes that wait for others before them. Takes no memory while all comes in order.
#[derive(Debug, Default)]
pub(super) struct Early {
    /// Ascending; none touches the next.
    stretches: Vec<Range<u64>>,
}

impl Early {
    /// How many bytes wait.
    pub(super) fn bytes(&self) -> u64 {
        self.stretches.iter().map(|stretch| stretch.end - stretch.start).sum()
    }

    /// A segment brought these bytes, which are not the next ones. As smoltcp does, forgets those that would make one
    /// stretch too many.
    pub(super) fn arrived(&mut self, mut bytes: Range<u64>) {
        if bytes.is_empty() {
            return;
        }
        let first = self.stretches.partition_point(|stretch| stretch.end < bytes.start);
        let end = self.stretches.partition_point(|stretch| stretch.start <= bytes.end);
        if first == end && self.stretches.len() >= ASSEMBLER_MAX_SEGMENT_COUNT {
            return;
        }
        if let Some(joined) = self.stretches.get(first..end).filter(|joined| !joined.is_empty()) {
            bytes.start = bytes.start.min(joined[0].start);
            bytes.end = bytes.end.max(joined[joined.len() - 1].end);
        }
        self.stretches.splice(first..end, [bytes]);
    }

    /// Everything before `next` was given on.
    pub(super) fn delivered(&mut self, next: u64) {
        self.stretches.retain(|stretch| stretch.start > next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_join_and_leave() {
        let mut early = Early::default();
        for bytes in [20..30, 40..50, 25..35, 60..70, 50..60, 5..5] {
            early.arrived(bytes);
        }
        assert_eq!(early.stretches, [20..35, 40..70]);
        assert_eq!(early.bytes(), 45);
        early.arrived(35..40);
        assert_eq!((early.stretches.len(), early.bytes()), (1, 50));
        early.arrived(80..90);
        early.delivered(10);
        assert_eq!(early.bytes(), 60);
        early.delivered(70);
        assert_eq!((early.stretches.len(), early.bytes()), (1, 10));
    }

    #[test]
    fn there_is_a_limit() {
        let mut early = Early::default();
        let most = ASSEMBLER_MAX_SEGMENT_COUNT as u64;
        for number in 0..most + 5 {
            early.arrived(number * 10..number * 10 + 5);
        }
        assert_eq!(early.bytes(), most * 5);
        early.arrived(5..10);
        assert_eq!(early.bytes(), most * 5 + 5, "what joins others needs no place of its own");
    }
}
