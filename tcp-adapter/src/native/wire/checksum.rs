//! The Internet checksum (RFC 1071).

use std::net::{Ipv4Addr, Ipv6Addr};

/// Words that are summed side by side: as many as make the compiler use the vector unit.
const LANES: usize = 8;
/// Bytes of a step of the wide loop.
const STEP: usize = 64;

/// A ones' complement sum in progress.
///
/// The words are summed as they lie in memory, whatever the order of bytes: the sum is then in the order of the wire
/// (RFC 1071 section 2, B).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sum(u64);

impl Sum {
    /// Goes on from what [`fold`](Self::fold) gave.
    pub(super) const fn from_folded(sum: u16) -> Self {
        Self(sum as u64)
    }

    /// The pseudo header of RFC 9293 section 3.1 without the length, which [`add_u16`](Self::add_u16) adds.
    pub(super) fn pseudo_v4(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8) -> Self {
        let mut sum = Self::default();
        sum.add_bytes(&source.octets());
        sum.add_bytes(&destination.octets());
        sum.add_u16(u16::from(protocol));
        sum
    }

    /// The pseudo header of RFC 8200 section 8.1 without the length, which [`add_u16`](Self::add_u16) adds.
    pub(super) fn pseudo_v6(source: Ipv6Addr, destination: Ipv6Addr, protocol: u8) -> Self {
        let mut sum = Self::default();
        sum.add_bytes(&source.octets());
        sum.add_bytes(&destination.octets());
        sum.add_u16(u16::from(protocol));
        sum
    }

    /// Adds a number that stands in an aligned 16-bit field.
    pub(super) fn add_u16(&mut self, value: u16) {
        self.0 += u64::from(value.to_be());
    }

    /// Adds a number that stands in two aligned 16-bit fields.
    pub(super) fn add_u32(&mut self, value: u32) {
        // 2^16 is 1 modulo 2^16 - 1: the halves need not be added one by one.
        self.0 += u64::from(value.to_be());
    }

    /// Adds bytes that start at an even distance from the start of what is summed.
    pub(super) fn add_bytes(&mut self, bytes: &[u8]) {
        self.0 += sum(bytes);
    }

    /// Adds slices that follow each other, the first at an even distance from the start.
    pub(super) fn add_slices<'a>(&mut self, slices: impl IntoIterator<Item = &'a [u8]>) {
        let mut odd = false;
        for slice in slices {
            let folded = fold(sum(slice));
            // Words that are split the other way round have their bytes swapped, and so has their sum.
            self.0 += u64::from(if odd { folded.swap_bytes() } else { folded });
            odd ^= slice.len() % 2 == 1;
        }
    }

    /// The sum in 16 bits, as it would lie in memory.
    pub(super) fn fold(self) -> u16 {
        fold(self.0)
    }

    /// What to write into the checksum field.
    pub(super) fn checksum(self) -> [u8; 2] {
        (!self.fold()).to_ne_bytes()
    }

    /// Whether what was summed, the checksum field included, is as it was when the field was written.
    pub(super) fn is_valid(self) -> bool {
        self.fold() == u16::MAX
    }
}

/// The checksum after a 16-bit field has changed (RFC 1624 section 3, equation 3).
pub(super) fn update(checksum: [u8; 2], old: [u8; 2], new: [u8; 2]) -> [u8; 2] {
    let sum = [!u16::from_ne_bytes(checksum), !u16::from_ne_bytes(old), u16::from_ne_bytes(new)];
    (!fold(sum.into_iter().map(u64::from).sum())).to_ne_bytes()
}

fn sum(bytes: &[u8]) -> u64 {
    let (steps, rest) = bytes.as_chunks::<STEP>();
    let mut lanes = [0_u64; LANES];
    for step in steps {
        let (words, _) = step.as_chunks::<4>();
        for (index, word) in words.iter().enumerate() {
            lanes[index % LANES] += u64::from(u32::from_ne_bytes(*word));
        }
    }
    let (words, rest) = rest.as_chunks::<4>();
    let mut sum: u64 = lanes.iter().sum();
    for word in words {
        sum += u64::from(u32::from_ne_bytes(*word));
    }
    let last = match *rest {
        [a] => u32::from_ne_bytes([a, 0, 0, 0]),
        [a, b] => u32::from_ne_bytes([a, b, 0, 0]),
        [a, b, c] => u32::from_ne_bytes([a, b, c, 0]),
        _ => 0,
    };
    sum + u64::from(last)
}

#[expect(clippy::cast_possible_truncation, reason = "the carries have been added")]
fn fold(sum: u64) -> u16 {
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, RngExt, SeedableRng};

    use super::*;

    /// RFC 1071 section 1, word by word.
    fn naive(bytes: &[u8]) -> u16 {
        let mut sum = 0_u32;
        for pair in bytes.chunks(2) {
            sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !u16::try_from(sum).unwrap()
    }

    fn checksum(bytes: &[u8]) -> u16 {
        let mut sum = Sum::default();
        sum.add_bytes(bytes);
        u16::from_be_bytes(sum.checksum())
    }

    #[test]
    fn the_example_of_the_rfc() {
        // RFC 1071 section 3: the sum of these is ddf2.
        assert_eq!(checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
    }

    #[test]
    fn equals_the_sum_word_by_word() {
        let mut rng = StdRng::seed_from_u64(1071);
        let mut bytes = vec![0; 70_000];
        rng.fill_bytes(&mut bytes);
        for len in (0..300).chain([1459, 1460, 8960, 65_535]) {
            assert_eq!(checksum(&bytes[..len]), naive(&bytes[..len]), "{len}");
            assert_eq!(checksum(&bytes[3..3 + len]), naive(&bytes[3..3 + len]), "{len} unaligned");
        }
        let ones = vec![0xff; 65_535];
        assert_eq!(checksum(&ones), naive(&ones), "the most carries");
    }

    #[test]
    fn slices_of_odd_length_may_be_anywhere() {
        let mut rng = StdRng::seed_from_u64(2);
        for _ in 0..2_000 {
            let mut bytes = vec![0; rng.random_range(0..400)];
            rng.fill_bytes(&mut bytes);
            let mut slices = Vec::new();
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let (slice, after) = rest.split_at(rng.random_range(0..=rest.len()));
                slices.push(slice);
                rest = after;
            }
            let mut sum = Sum::default();
            sum.add_slices(slices);
            assert_eq!(u16::from_be_bytes(sum.checksum()), naive(&bytes));
        }
    }

    #[test]
    fn fields_and_bytes_add_alike() {
        let mut fields = Sum::default();
        fields.add_u16(0xfedc);
        fields.add_u32(0x8765_4321);
        let mut bytes = Sum::default();
        bytes.add_bytes(&[0xfe, 0xdc, 0x87, 0x65, 0x43, 0x21]);
        assert_eq!(fields.checksum(), bytes.checksum());
        let mut resumed = Sum::from_folded(fields.fold());
        resumed.add_bytes(&fields.checksum());
        assert!(resumed.is_valid());
    }

    #[test]
    fn the_update_of_rfc_1624() {
        // Section 4: dd2f, with 5555 becoming 3285, is 0000 and not ffff.
        assert_eq!(update([0xdd, 0x2f], [0x55, 0x55], [0x32, 0x85]), [0x00, 0x00]);
        let mut rng = StdRng::seed_from_u64(1624);
        for _ in 0..10_000 {
            let mut bytes = [0; 20];
            rng.fill_bytes(&mut bytes);
            let before = checksum(&bytes).to_be_bytes();
            let new: [u8; 2] = rng.random();
            let updated = update(before, [bytes[6], bytes[7]], new);
            bytes[6..8].copy_from_slice(&new);
            assert_eq!(updated, checksum(&bytes).to_be_bytes());
        }
    }

    #[test]
    fn pseudo_headers_are_what_the_rfcs_draw() {
        let mut v4 = Sum::pseudo_v4([10, 0, 0, 1].into(), [10, 0, 0, 2].into(), 6);
        v4.add_u16(20);
        assert_eq!(u16::from_be_bytes(v4.checksum()), naive(&[10, 0, 0, 1, 10, 0, 0, 2, 0, 6, 0, 20]));
        let (source, destination): (Ipv6Addr, Ipv6Addr) = ("fd00::1".parse().unwrap(), "fd00::2".parse().unwrap());
        let mut v6 = Sum::pseudo_v6(source, destination, 58);
        v6.add_u16(65_000);
        let drawn = [&source.octets()[..], &destination.octets(), &65_000_u32.to_be_bytes(), &[0, 0, 0, 58]].concat();
        assert_eq!(u16::from_be_bytes(v6.checksum()), naive(&drawn));
    }
}
