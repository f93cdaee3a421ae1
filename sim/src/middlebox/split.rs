//! Cuts segments into pieces.

use tcp_adapter::Instant;

use super::build::pieces;
use super::segment::{RST, SYN, Segment, URG};
use super::stats::Passage;
use super::{Behave, Direction};
use crate::packet::Packet;
use crate::scenario::Size;

/// Cuts payload, and copies all options to each piece, as segmentation offload does.
#[derive(Debug)]
pub(super) struct Split {
    size: usize,
}

impl Split {
    pub(super) fn new(size: Size) -> Self {
        // The scenario has 65535 at most.
        Self { size: usize::try_from(size.0).unwrap_or(usize::MAX).max(1) }
    }
}

impl Behave for Split {
    fn handle(&mut self, _now: Instant, mut packet: Packet, direction: Direction, passage: &mut Passage<'_>) {
        let frames = match Segment::open(&mut packet.frame) {
            // An urgent pointer counts from the start of its segment.
            Some(segment) if segment.payload().len() > self.size && !segment.has(SYN | RST | URG) => {
                pieces(&segment, self.size)
            }
            _ => return passage.forward(packet, direction),
        };
        passage.stats.made += frames.len() as u64 - 1;
        for frame in frames {
            passage.forward(packet.with_frame(frame), direction);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::middlebox::Direction;
    use crate::middlebox::segment::{ACK, FIN, PSH, SYN, URG};
    use crate::middlebox::testing::{Bench, DSS, Family, is_intact, option_area, payload, summary, tcp};

    #[test]
    fn pieces_have_all_options_and_join_to_the_whole() {
        for family in Family::BOTH {
            let mut bench = Bench::new("kind = \"split\"\nsize = \"4B\"");
            let whole = tcp(family).seq(10).flags(ACK | PSH | FIN).options(&DSS).payload(b"0123456789").up();
            let out = bench.handle(whole, Direction::Up);
            let summaries: Vec<_> = out.up.iter().map(summary).collect();
            assert_eq!(summaries, [(10, ACK, 4), (14, ACK, 4), (18, ACK | PSH | FIN, 2)]);
            assert_eq!(out.up.iter().flat_map(payload).collect::<Vec<u8>>(), b"0123456789");
            assert!(out.up.iter().all(|piece| is_intact(piece) && option_area(piece) == DSS));
        }
    }

    #[test]
    fn what_fits_or_must_not_be_cut_stays_whole() {
        let mut bench = Bench::new("kind = \"split\"\nsize = \"4B\"");
        for flags in [ACK, SYN, ACK | URG] {
            let data: &[u8] = if flags == ACK { b"1234" } else { b"12345" };
            bench.pass(tcp(Family::V4).flags(flags).payload(data).up());
        }
    }
}
