//! What must be sent again on another subflow (RFC 8684 section 3.3.6).

use std::ops::Range;

use tcp_adapter::RangeSet;

/// Ranges of positions that wait to be sent again, lowest first.
#[derive(Clone, Debug, Default)]
pub struct ReinjectQueue {
    ranges: RangeSet,
    /// Everything before was DATA_ACKed and is never queued again.
    una: u64,
}

impl ReinjectQueue {
    /// A queue with nothing to send.
    pub const fn new() -> Self {
        Self { ranges: RangeSet::new(), una: 0 }
    }

    /// Queues `range`, less what was already DATA_ACKed.
    pub fn mark(&mut self, range: Range<u64>) {
        self.ranges.insert(range.start.max(self.una)..range.end);
    }

    /// Everything before `to` was DATA_ACKed: none of it needs to be sent again.
    pub fn acked(&mut self, to: u64) {
        self.una = self.una.max(to);
        if !self.ranges.is_empty() {
            self.ranges.remove_before(self.una);
        }
    }

    /// The lowest range to send, cut to `max` bytes. It stays queued until it is [`taken`](Self::taken).
    pub fn next(&self, max: usize) -> Option<Range<u64>> {
        let Range { start, end } = self.ranges.first()?;
        let end = end.min(start.saturating_add(max as u64));
        (start < end).then_some(start..end)
    }

    /// `range` was handed to a subflow.
    pub fn taken(&mut self, range: Range<u64>) {
        self.ranges.remove(range);
    }

    /// Gives back the memory of an empty queue.
    pub fn trim(&mut self) {
        self.ranges.trim();
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// How many bytes wait.
    pub fn len_bytes(&self) -> u64 {
        self.ranges.len_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_the_lowest_range_first_and_in_pieces() {
        let mut queue = ReinjectQueue::new();
        queue.mark(5_000..6_000);
        queue.mark(1_000..3_000);
        assert_eq!(queue.next(1_500), Some(1_000..2_500));
        assert_eq!(queue.next(1_500), Some(1_000..2_500), "still queued");
        queue.taken(1_000..2_500);
        assert_eq!(queue.next(1_500), Some(2_500..3_000), "does not run into the next range");
        queue.taken(2_500..3_000);
        assert_eq!(queue.next(1_500), Some(5_000..6_000));
        assert_eq!(queue.next(0), None);
        queue.taken(5_000..6_000);
        assert_eq!((queue.next(1_500), queue.is_empty()), (None, true));
    }

    #[test]
    fn what_was_acknowledged_is_never_sent_again() {
        let mut queue = ReinjectQueue::new();
        queue.mark(0..100);
        queue.acked(60);
        assert_eq!((queue.next(1_000), queue.len_bytes()), (Some(60..100), 40));
        queue.acked(200);
        assert!(queue.is_empty());
        queue.acked(150);
        queue.mark(120..180);
        assert!(queue.is_empty(), "a late mark of acknowledged bytes");
        queue.mark(180..210);
        assert_eq!(queue.next(1_000), Some(200..210));
    }
}
