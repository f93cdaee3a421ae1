//! A DSS as it is on the wire, kept for the segments that carry the same.

use super::room;

/// The bytes of a DSS, to be known again without being read, or to be sent again without being put together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RawDss {
    len: u8,
    bytes: [u8; room::MAX_DSS],
}

impl RawDss {
    /// Nothing if it is too long for a DSS.
    pub(crate) fn new(option: &[u8]) -> Self {
        let mut raw = Self::default();
        if let Some(bytes) = raw.bytes.get_mut(..option.len()) {
            bytes.copy_from_slice(option);
            raw.len = u8::try_from(option.len()).unwrap_or(0);
        }
        raw
    }

    /// The first `len` bytes of these, at most all.
    #[inline]
    pub(super) fn beginning(bytes: [u8; room::MAX_DSS], len: usize) -> Self {
        Self { len: u8::try_from(len.min(bytes.len())).unwrap_or(0), bytes }
    }

    #[inline]
    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// Whether these are the bytes of `area`. Always false if one is as short as a DSS without a mapping.
    #[inline]
    pub(crate) fn is(&self, area: &[u8]) -> bool {
        /// By parts of fixed lengths, which overlap, where a comparison of slices would be a call.
        const HEAD: usize = 16;
        const TAIL: usize = room::MAX_DSS - HEAD;
        let known = self.as_slice();
        known.len() == area.len()
            && known.len() >= HEAD
            && known.first_chunk::<HEAD>() == area.first_chunk()
            && known.last_chunk::<TAIL>() == area.last_chunk()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_counts() {
        for len in [18, 20, 26, 28] {
            let area: Vec<u8> = (0..len).collect();
            let raw = RawDss::new(&area);
            assert_eq!((raw.is(&area), raw.as_slice()), (true, &area[..]));
            for at in 0..area.len() {
                let mut other = area.clone();
                other[at] ^= 1;
                assert!(!raw.is(&other), "byte {at} of {len}");
            }
            assert!(!raw.is(&area[1..]) && !raw.is(&[]));
        }
        assert!(!RawDss::default().is(&[]) && !RawDss::new(&[30, 8, 0, 0, 0, 0, 0, 0]).is(&[30, 8, 0, 0, 0, 0, 0, 0]));
        assert_eq!(RawDss::new(&[0; 29]).as_slice(), []);
    }
}
