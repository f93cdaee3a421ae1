//! Changes payload.

use tcp_adapter::Instant;

use super::connections::Connections;
use super::segment::Segment;
use super::stats::Passage;
use super::{Behave, Direction};
use crate::packet::Packet;
use crate::random::Stream;

/// Changes one byte in every so many segments with payload of a connection and direction, and mends the checksum.
///
/// The byte becomes larger by one, so that no two changes of a mapping cancel out in a sum of sixteen bits, which DSS checksums are
/// (RFC 8684 section 3.3.1): whoever uses those notices all of them.
#[derive(Debug)]
pub(super) struct AlterPayload {
    every: u64,
    bytes: Stream,
    /// Segments with payload so far, up and down.
    seen: Connections<[u64; 2]>,
}

impl AlterPayload {
    pub(super) fn new(every: u64, bytes: Stream) -> Self {
        Self { every: every.max(1), bytes, seen: Connections::default() }
    }
}

impl Behave for AlterPayload {
    fn handle(&mut self, _now: Instant, mut packet: Packet, direction: Direction, passage: &mut Passage<'_>) {
        if let Some(mut segment) = Segment::open(&mut packet.frame)
            && !segment.payload().is_empty()
        {
            let seen = &mut self.seen.of(segment.connection(direction))[direction as usize];
            *seen += 1;
            if seen.is_multiple_of(self.every) {
                let start = segment.layout().payload;
                let from = self.bytes.below(segment.payload().len() as u64) as usize;
                let payload = segment.payload();
                let (before, after) = payload.split_at(from);
                let around = after.iter().chain(before).position(|byte| *byte < u8::MAX);
                if let Some(distance) = around {
                    let at = (from + distance) % payload.len();
                    let byte = payload[at] + 1;
                    segment.write(start + at, &[byte]);
                }
            }
        }
        passage.forward(packet, direction);
    }
}

#[cfg(test)]
mod tests {
    use crate::middlebox::testing::{Bench, Family, payload, tcp};

    #[test]
    fn every_so_manieth_segment_has_one_other_byte() {
        for family in Family::BOTH {
            let mut bench = Bench::new("kind = \"alter-payload\"\nevery = 3");
            let mut different = |port: u16, data: &[u8]| {
                let passed = payload(&bench.pass(tcp(family).ports(port, 80).payload(data).up()));
                assert_eq!(passed.len(), data.len());
                passed.iter().zip(data).filter(|(new, old)| new != old).count()
            };
            let first: Vec<usize> = (0..9).map(|_| different(1, b"some payload!")).collect();
            assert_eq!(first, [0, 0, 1, 0, 0, 1, 0, 0, 1]);
            assert_eq!(different(2, b"of another connection"), 0);
            assert_eq!(different(1, b""), 0, "not counted");
            assert_eq!([different(1, b"a"), different(1, b"a"), different(1, b"a")], [0, 0, 1]);
        }
    }
}
