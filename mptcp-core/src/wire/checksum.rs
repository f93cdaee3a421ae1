//! The DSS checksum (RFC 8684 section 3.3.1): the TCP checksum over the data of a mapping and
//! a pseudo-header.

/// The ones-complement sum of bytes that come in pieces (RFC 1071).
///
/// Pieces of odd length are fine: the next piece goes on in the middle of a 16-bit word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChecksumAccumulator {
    sum: u16,
    odd: bool,
}

impl ChecksumAccumulator {
    /// Of no bytes.
    pub const fn new() -> Self {
        Self { sum: 0, odd: false }
    }

    /// Appends bytes.
    pub fn add(&mut self, bytes: &[u8]) {
        self.combine(Self { sum: sum_words(bytes), odd: bytes.len() % 2 == 1 });
    }

    /// Appends bytes that were summed apart, starting with an even position of their own.
    pub fn combine(&mut self, next: Self) {
        // Starting in the middle of a word swaps the bytes of every word, and with them those of the sum.
        let sum = if self.odd { next.sum.swap_bytes() } else { next.sum };
        self.sum = ones_add(self.sum, sum);
        self.odd ^= next.odd;
    }

    /// The sum so far, not complemented, an odd last byte padded with zero.
    pub const fn sum(self) -> u16 {
        self.sum
    }
}

/// The checksum of a mapping whose data has the sum `payload_sum`.
///
/// `dsn` is always the whole number, whatever form the option has. `ssn` and `len` are as in the option.
pub fn dss_checksum(dsn: u64, ssn: u32, len: u16, payload_sum: u16) -> u16 {
    !with_pseudo_header(dsn, ssn, len, payload_sum)
}

/// Whether `received` is a right checksum of a mapping whose data has the sum `payload_sum`.
pub fn verify_dss_checksum(dsn: u64, ssn: u32, len: u16, payload_sum: u16, received: u16) -> bool {
    ones_add(with_pseudo_header(dsn, ssn, len, payload_sum), received) == u16::MAX
}

/// Adds the pseudo-header of Figure 10, whose last 2 bytes are zero.
fn with_pseudo_header(dsn: u64, ssn: u32, len: u16, payload_sum: u16) -> u16 {
    let dsn = (dsn >> 32) + (dsn & 0xffff_ffff);
    fold(dsn + u64::from(ssn) + u64::from(len) + u64::from(payload_sum))
}

fn ones_add(a: u16, b: u16) -> u16 {
    let (sum, carry) = a.overflowing_add(b);
    sum + u16::from(carry)
}

/// Sum of the big-endian 16-bit words, a last odd byte padded with zero.
fn sum_words(bytes: &[u8]) -> u16 {
    // Four independent sums of 32-bit words: no carries to follow, and the compiler makes
    // vector code of it. None can overflow below 2^32 rounds of 16 bytes.
    let mut lanes = [0u64; 4];
    let (blocks, tail) = bytes.as_chunks::<16>();
    for block in blocks {
        add_block(&mut lanes, block);
    }
    let mut last = [0; 16];
    last[..tail.len()].copy_from_slice(tail);
    add_block(&mut lanes, &last);
    // The words were read in the machine's order, which the sum can be put right from (RFC 1071 section 2 (B)).
    lanes.into_iter().fold(0, |sum, lane| ones_add(sum, u16::from_be(fold(lane))))
}

fn add_block(lanes: &mut [u64; 4], block: &[u8; 16]) {
    let (words, _) = block.as_chunks::<4>();
    for (lane, word) in lanes.iter_mut().zip(words) {
        *lane += u64::from(u32::from_ne_bytes(*word));
    }
}

/// Brings a sum down to 16 bits by adding the carries back.
#[expect(clippy::cast_possible_truncation, reason = "the loop ends with what fits into 16 bits")]
fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::check;

    fn sum(bytes: &[u8]) -> u16 {
        let mut accumulator = ChecksumAccumulator::new();
        accumulator.add(bytes);
        accumulator.sum()
    }

    fn pattern() -> Vec<u8> {
        (0..1001u32).map(|i| ((i * 7 + 3) & 0xff) as u8).collect()
    }

    #[test]
    fn sums_are_those_of_rfc_1071() {
        // The example of RFC 1071 section 3.
        assert_eq!(sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), 0xddf2);
        assert_eq!(sum(b"Multipath"), 0xecce);
        assert_eq!(sum(&pattern()), 0x71c5);
        assert_eq!(sum(&[]), 0);
        assert_eq!(sum(&[0xff; 4096]), 0xffff);
    }

    #[test]
    fn pieces_of_any_length_make_the_same_sum() {
        let bytes = pattern();
        for size in 1..40 {
            let mut accumulator = ChecksumAccumulator::new();
            bytes.chunks(size).for_each(|piece| accumulator.add(piece));
            assert_eq!(accumulator.sum(), 0x71c5, "pieces of {size}");
        }
    }

    #[test]
    fn the_pseudo_header_is_that_of_figure_10() {
        let data = sum(b"Multipath");
        assert_eq!(dss_checksum(0x0123_4567_89ab_cdef, 1, 9, data), 0x7501);
        assert!(verify_dss_checksum(0x0123_4567_89ab_cdef, 1, 9, data, 0x7501));
        assert!(!verify_dss_checksum(0x0123_4567_89ab_cdef, 1, 9, data, 0x7502));
        assert!(!verify_dss_checksum(0x0123_4567_89ab_cdef, 2, 9, data, 0x7501));
        assert!(!verify_dss_checksum(0x0123_4567_89ab_cdee, 1, 9, data, 0x7501));
        assert!(!verify_dss_checksum(0x0123_4567_89ab_cdef, 1, 8, data, 0x7501));
        assert!(!verify_dss_checksum(0x0123_4567_89ab_cdef, 1, 9, data ^ 0x0100, 0x7501));
    }

    #[test]
    fn a_lone_data_fin_sums_the_pseudo_header_only() {
        assert_eq!(dss_checksum(u64::MAX, 0, 1, 0), 0xfffe);
        assert!(verify_dss_checksum(u64::MAX, 0, 1, 0, 0xfffe));
    }

    /// RFC 1071 section 1, word by word.
    fn naive(bytes: &[u8]) -> u16 {
        let mut sum = 0u32;
        for pair in bytes.chunks(2) {
            sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum as u16
    }

    #[test]
    fn any_split_makes_the_sum_of_the_definition() {
        check(3_000, |pieces: &Vec<Vec<u8>>| {
            let mut accumulator = ChecksumAccumulator::new();
            let mut combined = ChecksumAccumulator::new();
            for piece in pieces {
                accumulator.add(piece);
                let mut apart = ChecksumAccumulator::new();
                apart.add(piece);
                combined.combine(apart);
            }
            assert_eq!(accumulator.sum(), naive(&pieces.concat()));
            assert_eq!(combined, accumulator);
        });
    }

    #[test]
    fn the_checksum_is_that_of_data_and_pseudo_header_in_one() {
        check(3_000, |(dsn, ssn, data, damage): &(u64, u32, Vec<u8>, u16)| {
            let len = u16::try_from(data.len()).unwrap();
            let mut whole = data.clone();
            whole.resize(data.len().next_multiple_of(2), 0);
            whole.extend_from_slice(&dsn.to_be_bytes());
            whole.extend_from_slice(&ssn.to_be_bytes());
            whole.extend_from_slice(&len.to_be_bytes());
            whole.extend_from_slice(&[0, 0]);
            let checksum = dss_checksum(*dsn, *ssn, len, sum(data));
            assert_eq!(checksum, !naive(&whole));
            assert!(verify_dss_checksum(*dsn, *ssn, len, sum(data), checksum));
            // 0 and 0xffff are the same number in ones complement.
            let same = (checksum ^ damage) % 0xffff == checksum % 0xffff;
            assert_eq!(verify_dss_checksum(*dsn, *ssn, len, sum(data), checksum ^ damage), same);
        });
    }
}
