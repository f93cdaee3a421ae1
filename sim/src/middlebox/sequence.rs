//! Rewrites sequence numbers.

use tcp_adapter::Instant;

use super::connections::Connections;
use super::options::{SACK, ranges};
use super::quoted::Quoting;
use super::segment::{ACK, Segment};
use super::stats::Passage;
use super::{Behave, Direction};
use crate::packet::Packet;
use crate::random::Stream;
use crate::scenario::DirectionChoice;

/// Adds a random number to the sequence numbers of each connection, as firewalls do that do not trust a host's initial
/// ones, and takes it from what acknowledges them, and from what errors quote. A connection whose SYN it has not seen stays as it is.
#[derive(Debug)]
pub(super) struct RewriteSequence {
    direction: DirectionChoice,
    offsets: Stream,
    /// Up and down.
    connections: Connections<Option<[u32; 2]>>,
}

impl RewriteSequence {
    pub(super) fn new(direction: DirectionChoice, offsets: Stream) -> Self {
        Self { direction, offsets, connections: Connections::default() }
    }

    fn offset(&mut self, direction: Direction) -> u32 {
        // Drawn in any case, so that the direction does not shift the numbers of other connections.
        let drawn = self.offsets.below(1 << 32) as u32;
        if direction.is_in(self.direction) { drawn } else { 0 }
    }
}

impl Behave for RewriteSequence {
    fn handle(&mut self, _now: Instant, mut packet: Packet, direction: Direction, passage: &mut Passage<'_>) {
        if let Some(mut segment) = Segment::open(&mut packet.frame) {
            let connection = segment.connection(direction);
            if segment.is_first() && self.connections.of(connection).is_none() {
                let offsets = [self.offset(Direction::Up), self.offset(Direction::Down)];
                *self.connections.of(connection) = Some(offsets);
            }
            if let Some(offsets) = self.connections.of(connection) {
                let (own, other) = (offsets[direction as usize], offsets[direction.opposite() as usize]);
                rewrite(&mut segment, own, other);
            }
        } else if let Some(mut error) = Quoting::open(&mut packet.frame) {
            let sent = direction.opposite();
            if let Some(Some(offsets)) = self.connections.get_mut(&error.connection(direction)) {
                error.set_seq(error.seq().wrapping_sub(offsets[sent as usize]));
            }
        }
        passage.forward(packet, direction);
    }

    fn sees_both(&self) -> bool {
        true
    }
}

fn rewrite(segment: &mut Segment<'_>, own: u32, other: u32) {
    segment.set_seq(segment.seq().wrapping_add(own));
    if segment.has(ACK) {
        segment.set_ack(segment.ack().wrapping_sub(other));
    }
    for option in ranges(segment) {
        if segment.bytes()[option.start] != SACK {
            continue;
        }
        // Edges of 4 bytes behind kind and length (RFC 2018 section 3).
        for at in (option.start + 2..option.end.saturating_sub(3)).step_by(4) {
            let edge = segment.u32(at).wrapping_sub(other);
            segment.write(at, &edge.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::middlebox::Direction;
    use crate::middlebox::quoted::testing::{quoted, read, too_long};
    use crate::middlebox::segment::{ACK, SYN, Segment};
    use crate::middlebox::testing::{Bench, Family, option_area, summary, tcp};
    use crate::packet::Packet;

    fn numbers(mut packet: Packet) -> (u32, u32) {
        let segment = Segment::open(&mut packet.frame).unwrap();
        (segment.seq(), segment.ack())
    }

    #[test]
    fn each_end_sees_its_own_numbers_acknowledged() {
        for family in Family::BOTH {
            let mut bench = Bench::new("kind = \"rewrite-sequence\"");
            let (syn, _) = numbers(bench.pass(tcp(family).flags(SYN).seq(1000).up()));
            assert_ne!(syn, 1000);
            let synack = tcp(family).flags(SYN | ACK).seq(9000).ack(syn.wrapping_add(1)).down();
            let (server, acked) = numbers(bench.pass_down(synack));
            assert_eq!(acked, 1001);
            assert_ne!(server, 9000);
            let data = tcp(family).seq(1001).ack(server.wrapping_add(1)).payload(b"x").up();
            assert_eq!(numbers(bench.pass(data)), (syn.wrapping_add(1), 9001));
        }
    }

    #[test]
    fn sacked_blocks_are_of_the_other_end() {
        let mut bench = Bench::new("kind = \"rewrite-sequence\"\ndirection = \"up\"");
        let (syn, _) = numbers(bench.pass(tcp(Family::V4).flags(SYN).seq(0).up()));
        let edges = [syn.wrapping_add(100), syn.wrapping_add(200)].map(u32::to_be_bytes).concat();
        let sack = [&[1, 1, 5, 10][..], &edges].concat();
        let passed = bench.pass_down(tcp(Family::V4).seq(5).ack(syn.wrapping_add(1)).options(&sack).down());
        assert_eq!(option_area(&passed), [1, 1, 5, 10, 0, 0, 0, 100, 0, 0, 0, 200]);
        assert_eq!(numbers(passed), (5, 1), "the other direction keeps its own");
    }

    #[test]
    fn errors_quote_the_number_that_was_sent() {
        for family in Family::BOTH {
            let mut bench = Bench::new("kind = \"rewrite-sequence\"");
            let [_, router] = family.addresses();
            bench.pass(tcp(family).flags(SYN).seq(1000).up());
            let passed = bench.pass(tcp(family).seq(1001).payload(b"x").up());
            assert_ne!(quoted(&too_long(&passed, router)), 1001);
            let told = bench.handle(too_long(&passed, router), Direction::Down).down.remove(0);
            assert_eq!(quoted(&told), 1001);
            read(&told);
        }
    }

    #[test]
    fn a_connection_without_a_syn_stays_as_it_is() {
        let mut bench = Bench::new("kind = \"rewrite-sequence\"");
        assert_eq!(summary(&bench.pass(tcp(Family::V4).seq(77).up())).0, 77);
    }

    #[test]
    fn a_repeated_syn_gets_the_same_number() {
        let mut bench = Bench::new("kind = \"rewrite-sequence\"");
        let mut syn = |port: u16| numbers(bench.pass(tcp(Family::V4).ports(port, 80).flags(SYN).seq(1).up())).0;
        let (first, again, other) = (syn(1), syn(1), syn(2));
        assert_eq!(first, again);
        assert_ne!(first, other);
    }
}
