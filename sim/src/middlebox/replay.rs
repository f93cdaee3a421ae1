//! Repeats packets.

use std::collections::VecDeque;
use std::time::Duration;

use tcp_adapter::Instant;

use super::stats::Passage;
use super::{Behave, Direction};
use crate::packet::Packet;

/// Repetitions that wait at most; while so many do, no more are made.
const MOST: usize = 4096;

/// Sends every so many packets of a direction a second time, later.
#[derive(Debug)]
pub(super) struct Replay {
    every: u64,
    delay: Duration,
    seen: [u64; 2],
    /// In the order of their times, as all wait equally long.
    waiting: VecDeque<(Instant, Packet, Direction)>,
}

impl Replay {
    pub(super) fn new(every: u64, delay: Duration) -> Self {
        Self { every: every.max(1), delay, seen: [0; 2], waiting: VecDeque::new() }
    }
}

impl Behave for Replay {
    fn handle(&mut self, now: Instant, packet: Packet, direction: Direction, passage: &mut Passage<'_>) {
        let seen = &mut self.seen[direction as usize];
        *seen += 1;
        if seen.is_multiple_of(self.every) && self.waiting.len() < MOST {
            passage.stats.made += 1;
            self.waiting.push_back((now + self.delay, packet.clone(), direction));
        }
        passage.forward(packet, direction);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.waiting.front().map(|(at, ..)| *at)
    }

    fn handle_timeout(&mut self, now: Instant, passage: &mut Passage<'_>) {
        while self.waiting.front().is_some_and(|(at, ..)| *at <= now) {
            if let Some((_, packet, direction)) = self.waiting.pop_front() {
                passage.forward(packet, direction);
            }
        }
    }

    fn held(&self) -> u64 {
        self.waiting.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use tcp_adapter::Instant;

    use crate::middlebox::Direction;
    use crate::middlebox::testing::{Bench, Family, summary, tcp};

    #[test]
    fn every_so_manieth_packet_comes_again() {
        let mut bench = Bench::new("kind = \"replay\"\nevery = 2\ndelay = \"50ms\"");
        for seq in 0..5 {
            bench.now = Instant::from_millis(u64::from(seq));
            bench.pass(tcp(Family::V6).seq(seq).payload(b"x").up());
        }
        bench.pass_down(tcp(Family::V6).seq(77).down());
        assert_eq!(bench.middlebox.poll_timeout(), Some(Instant::from_millis(51)));
        let repeated = bench.run_until(Instant::from_millis(52));
        assert_eq!(repeated.up.iter().map(|packet| summary(packet).0).collect::<Vec<_>>(), [1]);
        let out = bench.handle(tcp(Family::V6).seq(78).down(), Direction::Down);
        assert_eq!(out.down.len(), 1);
        let repeated = bench.run_until(Instant::from_millis(200));
        assert_eq!(repeated.up.iter().map(|packet| summary(packet).0).collect::<Vec<_>>(), [3]);
        assert_eq!(repeated.down.iter().map(|packet| summary(packet).0).collect::<Vec<_>>(), [78]);
        assert_eq!(bench.middlebox.poll_timeout(), None);
    }
}
