//! Alters options.

use tcp_adapter::Instant;

use mptcp_core::wire::KIND as MPTCP;

use super::options::Selector;
use super::segment::Segment;
use super::stats::Passage;
use super::{Behave, Direction};
use crate::packet::Packet;
use crate::random::Stream;
use crate::scenario::OptionMatch;

/// Flips a bit in the body of options.
#[derive(Debug)]
pub(super) struct AlterOption {
    selector: Selector,
    bits: Stream,
}

impl AlterOption {
    pub(super) fn new(which: OptionMatch, bits: Stream) -> Self {
        Self { selector: Selector::new(which), bits }
    }
}

impl Behave for AlterOption {
    fn handle(&mut self, _now: Instant, mut packet: Packet, direction: Direction, passage: &mut Passage<'_>) {
        if let Some(mut segment) = Segment::open(&mut packet.frame) {
            for option in self.selector.select(&segment, direction) {
                let bits = body_bits(&segment.bytes()[option.clone()]);
                if bits == 0 {
                    continue;
                }
                // Counted from the end, where the body is. There are fewer than 2^11 bits in an option.
                let bit = self.bits.below(bits) as usize;
                let at = option.end - 1 - bit / 8;
                let byte = segment.bytes()[at] ^ 1 << (bit % 8);
                segment.write(at, &[byte]);
            }
        }
        passage.forward(packet, direction);
    }
}

/// Bits behind kind and length, and behind the subtype of an option of RFC 8684: it stays the option that it is.
fn body_bits(option: &[u8]) -> u64 {
    let bits = (option.len() as u64 - 2) * 8;
    if option[0] == MPTCP { bits.saturating_sub(4) } else { bits }
}

#[cfg(test)]
mod tests {
    use crate::middlebox::testing::{Bench, DSS, Family, option_area, tcp};

    #[test]
    fn one_bit_of_the_body_is_flipped() {
        for family in Family::BOTH {
            let mut bench = Bench::new("kind = \"alter-option\"\noption = \"dss\"");
            let mut touched = [0_u32; 8];
            for _ in 0..2000 {
                let area = option_area(&bench.pass(tcp(family).options(&DSS).payload(b"data").up()));
                let flipped: Vec<u32> = area.iter().zip(DSS).map(|(new, old)| (new ^ old).count_ones()).collect();
                assert_eq!(flipped.iter().sum::<u32>(), 1);
                assert_eq!(area[2] >> 4, DSS[2] >> 4, "the subtype stays");
                flipped.iter().zip(&mut touched).for_each(|(new, all)| *all += new);
            }
            assert!(touched[..2] == [0, 0] && touched[2..].iter().all(|count| *count > 50), "{touched:?}");
        }
    }

    #[test]
    fn an_option_without_a_body_stays() {
        let mut bench = Bench::new("kind = \"alter-option\"\noption = \"sack\"");
        assert_eq!(option_area(&bench.pass(tcp(Family::V4).options(&[4, 2, 1, 1]).up())), [4, 2, 1, 1]);
    }
}
