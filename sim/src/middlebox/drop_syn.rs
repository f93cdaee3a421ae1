//! Drops SYNs that carry an option.

use tcp_adapter::Instant;

use super::options::{is_meant, ranges};
use super::segment::Segment;
use super::stats::{DropReason, Passage};
use super::{Behave, Direction};
use crate::packet::Packet;
use crate::scenario::OptionChoice;

/// Lets no connection begin with an option.
#[derive(Debug)]
pub(super) struct DropSyn {
    option: OptionChoice,
}

impl DropSyn {
    pub(super) const fn new(option: OptionChoice) -> Self {
        Self { option }
    }
}

impl Behave for DropSyn {
    fn handle(&mut self, _now: Instant, mut packet: Packet, direction: Direction, passage: &mut Passage<'_>) {
        let refused = Segment::open(&mut packet.frame).is_some_and(|segment| {
            segment.is_first()
                && ranges(&segment).into_iter().any(|range| is_meant(self.option, &segment.bytes()[range]))
        });
        if refused {
            passage.drop(packet, DropReason::SynWithOption);
        } else {
            passage.forward(packet, direction);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::middlebox::segment::{ACK, SYN};
    use crate::middlebox::testing::{Bench, Family, MP_CAPABLE, tcp};
    use crate::middlebox::{Direction, DropReason};

    #[test]
    fn a_syn_with_the_option_is_dropped_and_nothing_else() {
        for family in Family::BOTH {
            let mut bench = Bench::new("kind = \"drop-syn\"");
            let out = bench.handle(tcp(family).flags(SYN).options(&MP_CAPABLE).up(), Direction::Up);
            assert!(out.up.is_empty() && out.down.is_empty());
            assert_eq!((out.dropped[0].reason, &*out.dropped[0].by), (DropReason::SynWithOption, "m"));
            bench.pass(tcp(family).flags(SYN).options(&[2, 4, 5, 180]).up());
            bench.pass_down(tcp(family).flags(SYN | ACK).options(&MP_CAPABLE).down());
            bench.pass(tcp(family).options(&MP_CAPABLE).payload(b"x").up());
        }
    }
}
