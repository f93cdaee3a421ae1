//! CRC-32C, the checksum of header and data digests.

use std::fmt;

use crc_fast::{CrcAlgorithm, Digest};

/// The digest of `bytes`: reflected Castagnoli polynomial, all ones at the start and inverted at the end.
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

/// The digest of bytes that come in pieces.
#[derive(Clone)]
pub struct Crc32c(Digest);

impl Crc32c {
    /// The digest of nothing yet.
    pub fn new() -> Self {
        Self(Digest::new(CrcAlgorithm::Crc32Iscsi))
    }

    /// Goes on with `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of everything so far.
    pub fn value(&self) -> u32 {
        // The crate returns 32-bit checksums in the lower half of 64 bits.
        self.0.finalize() as u32
    }

    /// Begins anew.
    pub fn reset(&mut self) {
        self.0.reset();
    }
}

impl Default for Crc32c {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Crc32c {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Crc32c({:#010x})", self.value())
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn known_values() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa, "RFC 3720 appendix B.4");
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43, "RFC 3720 appendix B.4");
        assert_eq!(crc32c(b""), 0);
    }

    #[test]
    fn agrees_with_another_implementation_however_it_is_cut() {
        let mut rng = StdRng::seed_from_u64(32);
        let mut bytes = vec![0; 70_000];
        rng.fill_bytes(&mut bytes);
        for length in [0, 1, 3, 4, 24, 72, 255, 256, 4095, 4096, 65_537, 70_000] {
            let bytes = &bytes[..length];
            let expected = crc32c::crc32c(bytes);
            assert_eq!(crc32c(bytes), expected, "{length} bytes");
            for step in [1, 7, 1448] {
                let mut digest = Crc32c::new();
                bytes.chunks(step).for_each(|piece| digest.update(piece));
                assert_eq!(digest.value(), expected, "{length} bytes in pieces of {step}");
            }
        }
    }
}
