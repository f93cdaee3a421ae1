//! One direction of a connection as its application sees it.

use std::collections::VecDeque;
use std::time::Duration;

use tcp_adapter::Instant;

use super::pattern::Pattern;

/// A stream of bytes from one application to the other.
#[derive(Debug)]
pub(crate) struct Lane {
    pattern: Pattern,
    /// Bytes that the application has to send so far.
    supply: u64,
    /// It will have no more.
    sealed: bool,
    /// Bytes that the stack has taken.
    written: u64,
    /// Bytes that the other application has received.
    delivered: u64,
    /// Bytes that were not what was sent.
    wrong: u64,
    /// Ends of messages that have not arrived yet, and when they were written.
    messages: VecDeque<(u64, Instant)>,
    /// Since when something is under way.
    outstanding_since: Option<Instant>,
    last_delivery: Option<Instant>,
    longest_stall: Duration,
    /// Nothing is waited for any more, even if an application that does not know of the end yet writes something.
    halted: bool,
    /// The receiver has seen the end of the stream.
    finished: bool,
}

impl Lane {
    pub(crate) fn new(stream: u64) -> Self {
        Self {
            pattern: Pattern::new(stream),
            supply: 0,
            sealed: false,
            written: 0,
            delivered: 0,
            wrong: 0,
            messages: VecDeque::new(),
            outstanding_since: None,
            last_delivery: None,
            longest_stall: Duration::ZERO,
            halted: false,
            finished: false,
        }
    }

    /// The application has so many bytes more.
    pub(super) fn add(&mut self, now: Instant, bytes: u64) {
        if bytes > 0 {
            self.outstanding_since.get_or_insert(now);
        }
        self.supply = self.supply.saturating_add(bytes);
    }

    /// The application has a message more.
    pub(super) fn add_message(&mut self, now: Instant, bytes: u64) {
        self.add(now, bytes);
        self.messages.push_back((self.supply, now));
    }

    /// The application will have no more.
    pub(super) fn seal(&mut self) {
        self.sealed = true;
    }

    /// The next bytes to be written, at most `max`; `None` if all are.
    pub(super) fn unwritten(&self, max: usize) -> Option<bytes::Bytes> {
        let left = usize::try_from(self.supply - self.written).unwrap_or(usize::MAX);
        (left > 0).then(|| self.pattern.bytes(self.written, left.min(max)))
    }

    /// The stack has taken so many bytes.
    pub(super) fn wrote(&mut self, bytes: usize) {
        self.written += bytes as u64;
    }

    /// Bytes have arrived: how many are right.
    pub(super) fn deliver(&mut self, now: Instant, bytes: &[u8]) -> usize {
        let right = self.pattern.matching(self.delivered, bytes);
        if right < bytes.len() {
            self.wrong += (bytes.len() - right) as u64;
        }
        self.note_delivery(now, bytes.len() as u64);
        right
    }

    /// Bytes are written whose way to the stack is not this one.
    pub(super) fn wrote_all(&mut self) {
        self.written = self.supply;
    }

    /// Bytes have arrived that were checked elsewhere.
    pub(super) fn complete(&mut self, now: Instant, bytes: u64, wrong: u64) {
        self.wrong += wrong;
        self.note_delivery(now, bytes);
    }

    /// The application takes bytes back that have not arrived, and will send them elsewhere.
    pub(super) fn withdraw(&mut self, now: Instant, bytes: u64) {
        self.longest_stall = self.longest_stall(now);
        self.supply -= bytes;
        self.written = self.written.min(self.supply);
        if self.delivered == self.supply {
            self.outstanding_since = None;
        }
    }

    /// The next message as a whole: where it begins and its length. It counts as written.
    pub(super) fn take_message(&mut self) -> Option<(u64, u64)> {
        let (end, _) = self.messages.pop_front()?;
        let start = std::mem::replace(&mut self.written, end);
        Some((start, end - start))
    }

    pub(super) fn pattern(&self) -> Pattern {
        self.pattern
    }

    /// A datagram has arrived; others may have been lost before.
    pub(super) fn deliver_datagram(&mut self, now: Instant, len: usize, wrong: usize) {
        self.note_progress(now);
        self.delivered += len as u64;
        self.wrong += wrong as u64;
        self.last_delivery = Some(now);
        // What was lost will not come: what is under way counts again from the next one on.
        self.outstanding_since = None;
    }

    /// The receiver has seen the end of the stream.
    pub(super) fn finish(&mut self) {
        self.finished = true;
    }

    /// When the next message was written that has arrived by now.
    pub(super) fn pop_message(&mut self) -> Option<Instant> {
        let (_, written) = self.messages.pop_front_if(|(end, _)| *end <= self.delivered)?;
        Some(written)
    }

    /// When the oldest message was written that has not arrived.
    pub(super) fn messages_under_way(&self) -> impl Iterator<Item = Instant> {
        self.messages.iter().map(|(_, written)| *written)
    }

    /// The longest time until now in which something was under way and nothing arrived.
    pub(crate) fn longest_stall(&self, now: Instant) -> Duration {
        self.longest_stall.max(self.stall(now))
    }

    /// Stalls that are over do not count.
    pub(super) fn forget_stalls(&mut self) {
        self.longest_stall = Duration::ZERO;
    }

    /// Nothing is waited for any more.
    pub(super) fn halt(&mut self, now: Instant) {
        self.note_progress(now);
        self.halted = true;
    }

    fn note_delivery(&mut self, now: Instant, bytes: u64) {
        self.note_progress(now);
        self.delivered += bytes;
        self.last_delivery = Some(now);
        if self.delivered == self.supply {
            self.outstanding_since = None;
        }
    }

    fn note_progress(&mut self, now: Instant) {
        self.longest_stall = self.longest_stall(now);
    }

    fn stall(&self, now: Instant) -> Duration {
        let Some(since) = self.outstanding_since.filter(|_| !self.halted) else { return Duration::ZERO };
        now - self.last_delivery.map_or(since, |last| last.max(since))
    }

    /// Everything is written, and no more will come.
    pub(super) fn is_written(&self) -> bool {
        self.sealed && self.written == self.supply
    }

    /// Everything has arrived, and no more will come.
    pub(super) fn is_over(&self) -> bool {
        self.sealed && self.delivered == self.supply && self.finished
    }

    pub(super) fn is_sealed(&self) -> bool {
        self.sealed
    }

    pub(super) fn is_finished(&self) -> bool {
        self.finished
    }

    pub(crate) fn delivered(&self) -> u64 {
        self.delivered
    }

    pub(crate) fn wrong(&self) -> u64 {
        self.wrong
    }

    pub(crate) fn last_delivery(&self) -> Option<Instant> {
        self.last_delivery
    }

    /// Whether it has ever had anything to send.
    pub(crate) fn is_used(&self) -> bool {
        self.supply > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    #[test]
    fn stalls_are_counted_while_something_is_under_way() {
        let mut lane = Lane::new(1);
        lane.add_message(at(10), 100);
        let bytes = lane.unwritten(1000).unwrap();
        assert_eq!(bytes.len(), 100);
        lane.wrote(100);
        assert_eq!(lane.unwritten(1), None);
        assert_eq!(lane.longest_stall(at(25)), Duration::from_millis(15));
        assert_eq!(lane.deliver(at(30), &bytes[..40]), 40);
        assert_eq!(lane.pop_message(), None);
        assert_eq!(lane.deliver(at(35), &bytes[40..]), 60);
        assert_eq!(lane.pop_message(), Some(at(10)));
        assert_eq!(lane.longest_stall(at(1000)), Duration::from_millis(20));
        lane.forget_stalls();
        assert_eq!(lane.longest_stall(at(1000)), Duration::ZERO);
        assert!(!lane.is_over());
        lane.seal();
        lane.finish();
        assert!(lane.is_over());
    }

    #[test]
    fn nobody_waits_for_what_is_written_after_the_end() {
        let mut lane = Lane::new(1);
        lane.add(at(10), 100);
        lane.halt(at(15));
        assert_eq!(lane.longest_stall(at(1000)), Duration::from_millis(5));
        lane.add(at(20), 100);
        assert_eq!(lane.longest_stall(at(1000)), Duration::from_millis(5));
    }

    #[test]
    fn wrong_bytes_are_counted() {
        let mut lane = Lane::new(1);
        lane.add(at(0), 3);
        let mut bytes = lane.unwritten(3).unwrap().to_vec();
        bytes[1] ^= 1;
        assert_eq!(lane.deliver(at(1), &bytes), 1);
        assert_eq!(lane.wrong(), 2);
    }
}
