//! Sequence numbers of the two levels, as types that cannot be mixed (RFC 8684 section 3.3.1).

use crate::keys::Idsn;

/// A data sequence number: absolute, 64 bits, wrapping.
///
/// Deliberately without an order, since sequence numbers wrap: compare
/// [positions](Self::position) instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DataSeq(pub u64);

impl DataSeq {
    /// The sequence number of the byte at `position` in the stream.
    ///
    /// The MP_CAPABLE of the SYN occupies the IDSN itself (section 3.1), so that position 0 is IDSN + 1.
    pub const fn at(idsn: Idsn, position: u64) -> Self {
        Self(idsn.0.wrapping_add(1).wrapping_add(position))
    }

    /// Position in the stream of the byte with this sequence number; inverse of [`at`](Self::at).
    ///
    /// The IDSN itself, which is no byte of the stream, has position [`u64::MAX`].
    pub const fn position(self, idsn: Idsn) -> u64 {
        self.0.wrapping_sub(idsn.0.wrapping_add(1))
    }

    /// Promotes the lower 32 bits of a sequence number to the value that is nearest to `near`.
    ///
    /// `near` is a number whose vicinity is expected: for a DSN, the next one to receive; for
    /// a DATA_ACK, the oldest one not acknowledged. As the result is within 2^31 of it, a
    /// wrap of the lower half moves the upper half by one, forwards for new data and
    /// backwards for data out of order. Of two equally near values it is the lower one.
    pub const fn expand(low: u32, near: Self) -> Self {
        Self(near.0.wrapping_add_signed(signed_distance(low, near.low()) as i64))
    }

    /// The lower 32 bits, as the short forms on the wire have them.
    #[expect(clippy::cast_possible_truncation, reason = "the lower half is what is asked for")]
    pub const fn low(self) -> u32 {
        self.0 as u32
    }

    /// The sequence number `count` bytes further on.
    #[must_use]
    pub const fn advance(self, count: u64) -> Self {
        Self(self.0.wrapping_add(count))
    }
}

/// The lower half of a position in the stream, where it is kept by many and compared with positions less than 2^31 away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct LowPosition(u32);

impl LowPosition {
    /// Whether it comes after this position.
    pub(crate) const fn is_after(self, position: u64) -> bool {
        signed_distance(self.0, DataSeq(position).low()) > 0
    }
}

impl From<u64> for LowPosition {
    fn from(position: u64) -> Self {
        Self(DataSeq(position).low())
    }
}

/// A subflow sequence number as on the wire: relative to the subflow's initial sequence
/// number, so that the SYN has 0 and the first byte 1; 32 bits, wrapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SubflowSeq(pub u32);

impl SubflowSeq {
    /// The number of the byte at `offset`, counted from 0 for the first byte after the SYN.
    #[expect(clippy::cast_possible_truncation, reason = "the wire has the lower half only")]
    pub const fn from_offset(offset: u64) -> Self {
        Self(offset.wrapping_add(1) as u32)
    }

    /// The offset with this number that is nearest to `near`; inverse of [`from_offset`](Self::from_offset).
    ///
    /// `None` if that would lie before the first byte (the SYN has no offset) or past the
    /// end of the 64-bit offsets.
    pub const fn to_offset(self, near: u64) -> Option<u64> {
        near.checked_add_signed(signed_distance(self.0, Self::from_offset(near).0) as i64)
    }
}

/// How far `to` is from `from` on the circle of 32 bits, on the shorter way.
const fn signed_distance(to: u32, from: u32) -> i32 {
    to.wrapping_sub(from).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::check;

    const HALF: u64 = 1 << 31;

    #[test]
    fn the_first_byte_follows_the_initial_number() {
        let idsn = Idsn(u64::MAX - 1);
        assert_eq!(DataSeq::at(idsn, 0), DataSeq(u64::MAX));
        assert_eq!(DataSeq::at(idsn, 1), DataSeq(0));
        assert_eq!(DataSeq(5).position(idsn), 6);
        assert_eq!(DataSeq(u64::MAX - 1).position(idsn), u64::MAX);
    }

    #[test]
    fn a_wrapped_low_half_moves_the_upper_half() {
        let near = DataSeq(0x7_ffff_fff0);
        assert_eq!(DataSeq::expand(0x0000_0010, near), DataSeq(0x8_0000_0010));
        assert_eq!(DataSeq::expand(0xffff_ffff, near), DataSeq(0x7_ffff_ffff));
        // Old data after the wrap belongs before it.
        assert_eq!(DataSeq::expand(0xffff_fff0, DataSeq(0x8_0000_0010)), DataSeq(0x7_ffff_fff0));
        // Both ways around the end of the 64 bits.
        assert_eq!(DataSeq::expand(5, DataSeq(u64::MAX)), DataSeq(5));
        assert_eq!(DataSeq::expand(u32::MAX, DataSeq(5)), DataSeq(u64::MAX));
    }

    #[test]
    fn of_two_equally_near_numbers_the_lower_is_taken() {
        let near = DataSeq(0x5_8000_0000);
        assert_eq!(DataSeq::expand(0, near), DataSeq(0x5_0000_0000));
        assert_eq!(DataSeq::expand(0xffff_ffff, near), DataSeq(0x5_ffff_ffff));
        assert_eq!(near.advance(HALF), DataSeq(0x6_0000_0000));
    }

    #[test]
    fn the_first_byte_of_a_subflow_has_number_1() {
        assert_eq!(SubflowSeq::from_offset(0), SubflowSeq(1));
        assert_eq!(SubflowSeq::from_offset(0xffff_ffff), SubflowSeq(0));
        assert_eq!(SubflowSeq(1).to_offset(0), Some(0));
        assert_eq!(SubflowSeq(0).to_offset(0), None, "the SYN");
        assert_eq!(SubflowSeq(0).to_offset(0xffff_fff0), Some(0xffff_ffff));
        assert_eq!(SubflowSeq(0xffff_ffff).to_offset(3), None);
        assert_eq!(SubflowSeq(0xffff_ffff).to_offset(0x1_0000_0003), Some(0xffff_fffe));
        assert_eq!(SubflowSeq(5).to_offset(u64::MAX), None);
    }

    /// Numbers near what a wrap of 32 or 64 bits depends on, as well as anywhere.
    fn at_an_edge(anywhere: u64, edge: u8, off: i8) -> u64 {
        let edge = match edge % 6 {
            0 => 0,
            1 => HALF,
            2 => 1 << 32,
            3 => (1 << 32) + HALF,
            4 => 1 << 63,
            _ => return anywhere,
        };
        edge.wrapping_add_signed(off.into())
    }

    #[test]
    fn a_short_number_means_the_nearest_long_one() {
        check(50_000, |(near, distance): &((u64, u8, i8), (i32, u8, i8))| {
            let near = DataSeq(at_an_edge(near.0, near.1, near.2));
            let distance = match distance.1 % 4 {
                0 => i32::MAX.wrapping_add(distance.2.into()),
                1 => distance.2.into(),
                _ => distance.0,
            };
            let dsn = DataSeq(near.0.wrapping_add_signed(distance.into()));
            assert_eq!(DataSeq::expand(dsn.low(), near), dsn);
        });
    }

    #[test]
    fn a_position_and_its_number_are_one() {
        check(10_000, |(idsn, position): &((u64, u8, i8), (u64, u8, i8))| {
            let idsn = Idsn(at_an_edge(idsn.0, idsn.1, idsn.2));
            let position = at_an_edge(position.0, position.1, position.2);
            assert_eq!(DataSeq::at(idsn, position).position(idsn), position);
            assert_eq!(DataSeq::at(idsn, position), DataSeq(idsn.0).advance(1).advance(position));
        });
    }

    #[test]
    fn a_subflow_number_means_the_nearest_offset() {
        check(50_000, |(near, distance): &((u64, u8, i8), (i32, u8, i8))| {
            let near = at_an_edge(near.0, near.1, near.2);
            let distance = match distance.1 % 4 {
                0 => i32::MAX.wrapping_add(distance.2.into()),
                1 => distance.2.into(),
                _ => distance.0,
            };
            let offset = i128::from(near) + i128::from(distance);
            let ssn = SubflowSeq((offset + 1).rem_euclid(1 << 32) as u32);
            assert_eq!(ssn.to_offset(near), u64::try_from(offset).ok());
            if let Ok(offset) = u64::try_from(offset) {
                assert_eq!(SubflowSeq::from_offset(offset), ssn);
            }
        });
    }
}
