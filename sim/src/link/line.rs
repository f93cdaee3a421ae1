//! Packets on their way, by the time of their arrival.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use tcp_adapter::Instant;

use crate::deadline::earlier;
use crate::packet::Packet;

/// Packets sorted by when they arrive; those of the same time in the order in which they were sent.
///
/// Nearly all arrive in the order of sending, so those wait in a queue; only a packet that overtakes goes into a
/// heap. (netem does the same with a list and a tree.)
#[derive(Debug, Default)]
pub(super) struct DelayLine {
    ordered: VecDeque<Travelling>,
    overtaking: BinaryHeap<Reverse<Travelling>>,
    /// When the first packet arrives: asked more often than it changes.
    next: Option<Instant>,
    sent: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Travelling {
    at: Instant,
    number: u64,
    packet: Packet,
}

impl Travelling {
    const fn key(&self) -> (Instant, u64) {
        (self.at, self.number)
    }
}

impl PartialEq for Travelling {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Travelling {}

impl PartialOrd for Travelling {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Travelling {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

impl DelayLine {
    pub(super) fn push(&mut self, at: Instant, packet: Packet) {
        self.bytes += packet.offered_len;
        let travelling = Travelling { at, number: self.sent, packet };
        self.sent += 1;
        if self.ordered.back().is_none_or(|last| last.at <= at) {
            self.ordered.push_back(travelling);
        } else {
            self.overtaking.push(Reverse(travelling));
        }
        self.next = earlier(self.next, Some(at));
    }

    /// When the first packet arrives.
    pub(super) const fn next(&self) -> Option<Instant> {
        self.next
    }

    /// Takes out the first packet.
    pub(super) fn pop(&mut self) -> Option<Packet> {
        let first = match (self.ordered.front(), self.overtaking.peek()) {
            (Some(ordered), Some(overtaking)) if overtaking.0.key() < ordered.key() => self.overtaking.pop()?.0,
            (Some(_), _) => self.ordered.pop_front()?,
            (None, _) => self.overtaking.pop()?.0,
        };
        self.bytes -= first.packet.offered_len;
        let ordered = self.ordered.front().map(|first| first.at);
        let overtaking = self.overtaking.peek().map(|first| first.0.at);
        self.next = earlier(ordered, overtaking);
        Some(first.packet)
    }

    pub(super) fn packets(&self) -> usize {
        self.ordered.len() + self.overtaking.len()
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::testing::udp;

    #[test]
    fn packets_leave_by_time_and_then_by_the_order_of_sending() {
        let mut line = DelayLine::default();
        for (id, at) in [(0, 5), (1, 3), (2, 5), (3, 3), (4, 7), (5, 1), (6, 7), (7, 5)] {
            line.push(Instant::from_nanos(at), udp(id, 100));
        }
        assert_eq!((line.packets(), line.bytes()), (8, 800));
        let mut order = Vec::new();
        while let Some(at) = line.next() {
            order.push((line.pop().unwrap().id, at.as_nanos()));
        }
        assert_eq!(order, [(5, 1), (1, 3), (3, 3), (0, 5), (2, 5), (7, 5), (4, 7), (6, 7)]);
        assert_eq!((line.packets(), line.bytes()), (0, 0));
        assert!(line.pop().is_none());
    }
}
