//! Resets connections.

use tcp_adapter::Instant;

use super::build::{reset_to_receiver, reset_to_sender};
use super::connections::Connections;
use super::segment::{RST, Segment};
use super::stats::{DropReason, Passage};
use super::{Behave, Direction};
use crate::packet::Packet;
use crate::scenario::{DirectionChoice, Size};

/// Answers a SYN with a reset, or resets both ends after an amount of payload; what still comes is answered likewise.
#[derive(Debug)]
pub(super) struct Reset {
    direction: DirectionChoice,
    after: Option<u64>,
    connections: Connections<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Payload bytes in directions that count.
    passed: u64,
    is_reset: bool,
}

impl Reset {
    pub(super) fn new(direction: DirectionChoice, after: Option<Size>) -> Self {
        Self { direction, after: after.map(|size| size.0), connections: Connections::default() }
    }
}

impl Behave for Reset {
    fn handle(&mut self, now: Instant, mut packet: Packet, direction: Direction, passage: &mut Passage<'_>) {
        let Some(segment) = Segment::open(&mut packet.frame) else { return passage.forward(packet, direction) };
        let state = self.connections.of(segment.connection(direction));
        let meant = direction.is_in(self.direction);
        if segment.is_first() && (state.is_reset || self.after.is_none()) {
            *state = State { passed: 0, is_reset: meant && self.after.is_none() };
        }
        let len = segment.payload().len() as u64;
        let begins = meant && len > 0 && !state.is_reset && self.after.is_some_and(|after| state.passed >= after);
        if meant {
            state.passed += len;
        }
        if segment.has(RST) || !(state.is_reset || begins) {
            return passage.forward(packet, direction);
        }
        state.is_reset = true;
        let to_sender = reset_to_sender(&segment);
        let to_receiver = begins.then(|| reset_to_receiver(&segment));
        let id = packet.id;
        passage.drop(packet, DropReason::Reset);
        passage.make(Packet::new(id, to_sender, now), direction.opposite());
        if let Some(to_receiver) = to_receiver {
            passage.make(Packet::new(id, to_receiver, now), direction);
        }
    }

    fn sees_both(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use crate::middlebox::segment::{ACK, RST, SYN};
    use crate::middlebox::testing::{Bench, Family, is_intact, summary, tcp};
    use crate::middlebox::{Direction, DropReason};

    #[test]
    fn a_syn_is_answered() {
        for family in Family::BOTH {
            let mut bench = Bench::new("kind = \"reset\"");
            for _ in 0..2 {
                let out = bench.handle(tcp(family).flags(SYN).seq(7).up(), Direction::Up);
                assert_eq!(out.dropped[0].reason, DropReason::Reset);
                assert_eq!(out.down.iter().map(summary).collect::<Vec<_>>(), [(0, RST | ACK, 0)]);
                assert!(out.up.is_empty() && is_intact(&out.down[0]));
            }
        }
    }

    #[test]
    fn both_ends_are_reset_after_the_payload() {
        let mut bench = Bench::new("kind = \"reset\"\nafter = \"10B\"");
        bench.pass(tcp(Family::V4).flags(SYN).seq(0).up());
        bench.pass(tcp(Family::V4).seq(1).ack(51).payload(b"123456").up());
        bench.pass_down(tcp(Family::V4).seq(51).ack(7).payload(b"1234").down());
        let out = bench.handle(tcp(Family::V4).seq(7).ack(55).payload(b"x").up(), Direction::Up);
        assert_eq!(out.dropped.len(), 1);
        assert_eq!(out.down.iter().map(summary).collect::<Vec<_>>(), [(55, RST | ACK, 0)]);
        assert_eq!(out.up.iter().map(summary).collect::<Vec<_>>(), [(7, RST | ACK, 0)]);
        // An end that has not heard it is told again; resets pass.
        let out = bench.handle(tcp(Family::V4).seq(55).ack(7).down(), Direction::Down);
        assert_eq!(out.up.iter().map(summary).collect::<Vec<_>>(), [(7, RST | ACK, 0)]);
        assert!(out.down.is_empty());
        bench.pass(tcp(Family::V4).flags(RST).seq(8).up());
        // The same ports again are another connection.
        bench.pass(tcp(Family::V4).flags(SYN).seq(900).up());
        bench.pass(tcp(Family::V4).seq(901).payload(b"x").up());
    }

    #[test]
    fn only_one_direction_may_count() {
        let mut bench = Bench::new("kind = \"reset\"\nafter = \"1B\"\ndirection = \"down\"");
        for seq in 0..9 {
            bench.pass(tcp(Family::V4).seq(seq).payload(b"x").up());
        }
        bench.pass_down(tcp(Family::V4).payload(b"x").down());
        let out = bench.handle(tcp(Family::V4).payload(b"x").down(), Direction::Down);
        assert_eq!((out.dropped.len(), out.up.len(), out.down.len()), (1, 1, 1));
    }
}
