//! Strips options.

use tcp_adapter::Instant;

use super::options::{Selector, erase};
use super::segment::Segment;
use super::stats::Passage;
use super::{Behave, Direction};
use crate::packet::Packet;
use crate::scenario::OptionMatch;

/// Replaces options by NOPs.
#[derive(Debug)]
pub(super) struct StripOption {
    selector: Selector,
}

impl StripOption {
    pub(super) fn new(which: OptionMatch) -> Self {
        Self { selector: Selector::new(which) }
    }
}

impl Behave for StripOption {
    fn handle(&mut self, _now: Instant, mut packet: Packet, direction: Direction, passage: &mut Passage<'_>) {
        if let Some(mut segment) = Segment::open(&mut packet.frame) {
            for option in self.selector.select(&segment, direction) {
                erase(&mut segment, &option);
            }
        }
        passage.forward(packet, direction);
    }
}

#[cfg(test)]
mod tests {
    use crate::middlebox::Direction;
    use crate::middlebox::segment::SYN;
    use crate::middlebox::testing::{Bench, DSS, Family, MP_CAPABLE, option_area, tcp};

    #[test]
    fn only_what_is_meant_is_stripped() {
        for family in Family::BOTH {
            let mut bench = Bench::new("kind = \"strip-option\"\noption = \"mp_capable\"\nsegments = \"syn\"");
            let area = [&[2, 4, 5, 180][..], &MP_CAPABLE, &[3, 3, 7, 1]].concat();
            let syn = || tcp(family).flags(SYN).options(&area);
            let stripped = bench.pass(syn().up());
            assert_eq!(option_area(&stripped), [&[2, 4, 5, 180][..], &[1; 4], &[3, 3, 7, 1]].concat());
            assert_eq!(option_area(&bench.pass(tcp(family).options(&area).up())), area, "no SYN");
            assert_eq!(option_area(&bench.pass_down(syn().down())), option_area(&stripped));
        }
    }

    #[test]
    fn the_other_direction_is_left_alone() {
        let mut bench = Bench::new("kind = \"strip-option\"\ndirection = \"up\"");
        assert_eq!(option_area(&bench.pass(tcp(Family::V4).options(&DSS).up())), [1; 8]);
        assert_eq!(option_area(&bench.pass_down(tcp(Family::V4).options(&DSS).down())), DSS);
    }

    #[test]
    fn a_damaged_segment_passes_as_it_is() {
        let mut bench = Bench::new("kind = \"strip-option\"");
        let mut packet = tcp(Family::V4).options(&DSS).payload(b"x").up();
        let len = packet.len();
        packet.frame.head[len - 1] ^= 1;
        let out = bench.handle(packet.clone(), Direction::Up);
        assert_eq!(out.up[0].frame, packet.frame);
    }
}
