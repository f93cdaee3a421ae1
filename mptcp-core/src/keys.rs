//! Keys of a connection, what is derived from them, and what they authenticate
//! (RFC 8684 sections 3.1, 3.2 and 3.4.1, with HMAC-SHA256).

use std::fmt;
use std::net::IpAddr;

use hmac::{Hmac, KeyInit, Mac};
use rand::CryptoRng;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::wire::AddrId;

/// The key of one host for one connection.
///
/// It is a secret once the handshake is over: it is not shown by `Debug`, and
/// comparing two keys takes the same time whatever they are.
#[derive(Clone, Copy)]
pub struct Key(pub u64);

impl Key {
    /// Draws a key. The generator is a cryptographic one, as keys must be hard to guess
    /// (section 3.1); whether the token is unique among the connections is for the caller to see.
    pub fn random(rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        Self(rng.next_u64())
    }

    /// Draws a key whose token names the core that owns the connection: token modulo `cores` is `core`.
    ///
    /// Takes `cores` attempts on average, one hash each.
    ///
    /// # Panics
    ///
    /// If `core` is not below `cores`: no such key exists.
    pub fn random_for_core(rng: &mut (impl CryptoRng + ?Sized), core: u32, cores: u32) -> Self {
        assert!(core < cores, "core {core} is not one of {cores} cores");
        loop {
            let key = Self::random(rng);
            if key.token().0 % cores == core {
                return key;
            }
        }
    }

    /// What identifies the connection at the host whose key this is: the most significant 32 bits of the hash.
    pub fn token(self) -> Token {
        let [a, b, c, d, ..] = self.digest();
        Token(u32::from_be_bytes([a, b, c, d]))
    }

    /// The initial data sequence number of the host whose key this is: the least significant 64 bits of the hash.
    pub fn idsn(self) -> Idsn {
        Idsn(u64::from_be_bytes(rightmost(&self.digest())))
    }

    fn digest(self) -> [u8; 32] {
        Sha256::digest(self.0.to_be_bytes()).into()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Key {}

/// Identifies a connection at one host (section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u32);

/// Initial data sequence number of one direction (section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Idsn(pub u64);

/// What the sender of a MP_JOIN proves its knowledge of the keys with (section 3.2), whole.
///
/// `local` is the key and `local_nonce` the random number of the host that sends it. The
/// SYN/ACK carries [64 bits](truncate_64) of it, the third packet [160 bits](truncate_160).
pub fn join_hmac(local: Key, remote: Key, local_nonce: u32, remote_nonce: u32) -> [u8; 32] {
    let mut mac = keyed(local, remote);
    mac.update(&local_nonce.to_be_bytes());
    mac.update(&remote_nonce.to_be_bytes());
    mac.finalize().into_bytes().into()
}

/// The leftmost 64 bits of an HMAC, for the MP_JOIN of a SYN/ACK.
pub fn truncate_64(hmac: &[u8; 32]) -> [u8; 8] {
    leftmost(hmac)
}

/// The leftmost 160 bits of an HMAC, for the MP_JOIN of the third packet.
pub fn truncate_160(hmac: &[u8; 32]) -> [u8; 20] {
    leftmost(hmac)
}

/// The truncated HMAC of an ADD_ADDR (section 3.4.1): the rightmost 64 bits.
///
/// `local` is the key of the host that sends it. A port that is absent counts as 0.
pub fn add_addr_hmac(local: Key, remote: Key, id: AddrId, addr: IpAddr, port: Option<u16>) -> [u8; 8] {
    let mut mac = keyed(local, remote);
    mac.update(&[id.0]);
    match addr {
        IpAddr::V4(addr) => mac.update(&addr.octets()),
        IpAddr::V6(addr) => mac.update(&addr.octets()),
    }
    mac.update(&port.unwrap_or(0).to_be_bytes());
    rightmost(&mac.finalize().into_bytes().into())
}

/// Whether two HMACs are the same, in a time that does not tell where they differ.
pub fn verify(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

/// An HMAC whose key is the sender's key followed by the receiver's.
fn keyed(local: Key, remote: Key) -> Hmac<Sha256> {
    // A key shorter than the hash's block of 64 bytes is padded with zeros (RFC 2104 section 2).
    let mut block = [0; 64];
    block[..8].copy_from_slice(&local.0.to_be_bytes());
    block[8..16].copy_from_slice(&remote.0.to_be_bytes());
    Hmac::new(&block.into())
}

fn leftmost<const N: usize>(hmac: &[u8; 32]) -> [u8; N] {
    std::array::from_fn(|i| hmac[i])
}

fn rightmost<const N: usize>(hmac: &[u8; 32]) -> [u8; N] {
    std::array::from_fn(|i| hmac[hmac.len() - N + i])
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    const A: Key = Key(0x0123_4567_89ab_cdef);
    const B: Key = Key(0xfedc_ba98_7654_3210);

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    // The expected figures come from Python's hashlib and hmac.

    #[test]
    fn tokens_and_initial_numbers_are_parts_of_the_hash() {
        for (key, token, idsn) in [
            (Key(0), 0xaf55_70f5, 0xe5b2_328d_e0e8_3dfc),
            (Key(1), 0xcd26_6215, 0x19ec_5090_83d0_0a50),
            (A, 0x55c5_3f5d, 0x5707_62cd_38be_9818),
            (B, 0x18f9_781b, 0x2808_18bf_0fa7_e28e),
        ] {
            assert_eq!((key.token(), key.idsn()), (Token(token), Idsn(idsn)));
        }
    }

    #[test]
    fn each_side_of_a_join_has_its_own_hmac() {
        let (ra, rb) = (0xdead_beef, 0x00c0_ffee);
        let from_a = join_hmac(A, B, ra, rb);
        assert_eq!(hex(&from_a), "f0fd1de6f16b7cda69f2b766691661451f9bfcb976736d7ce4c7b81c626c8ef9");
        let from_b = join_hmac(B, A, rb, ra);
        assert_eq!(hex(&from_b), "d3a9ac17b281c1686320f17e35d5f239ac91014ff5fe01994375d7694ee6f8b9");
        assert_eq!(hex(&truncate_64(&from_b)), "d3a9ac17b281c168");
        assert_eq!(hex(&truncate_160(&from_a)), "f0fd1de6f16b7cda69f2b766691661451f9bfcb9");
    }

    #[test]
    fn an_announcement_is_authenticated_by_the_end_of_the_hmac() {
        let v4 = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
        let v6 = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 5));
        assert_eq!(hex(&add_addr_hmac(A, B, AddrId(2), v4, None)), "be58623450dd3801");
        assert_eq!(hex(&add_addr_hmac(A, B, AddrId(2), v4, Some(8080))), "551095995c7143b3");
        assert_eq!(hex(&add_addr_hmac(B, A, AddrId(255), v6, None)), "b651c3949a0d2057");
        assert_eq!(hex(&add_addr_hmac(B, A, AddrId(255), v6, Some(4420))), "d6aa7f96aeced8f3");
        assert_eq!(add_addr_hmac(A, B, AddrId(2), v4, None), add_addr_hmac(A, B, AddrId(2), v4, Some(0)));
    }

    #[test]
    fn hmacs_are_the_same_or_not() {
        assert!(verify(&[1, 2, 3], &[1, 2, 3]));
        assert!(!verify(&[1, 2, 3], &[1, 2, 4]));
        assert!(!verify(&[1, 2, 3], &[1, 2]));
    }

    #[test]
    fn a_key_can_be_drawn_for_a_core() {
        let mut rng = StdRng::seed_from_u64(1);
        for cores in [1, 2, 3, 16, 61] {
            for core in 0..cores {
                let key = Key::random_for_core(&mut rng, core, cores);
                assert_eq!(key.token().0 % cores, core);
                assert_ne!(key, Key::random_for_core(&mut rng, core, cores));
            }
        }
    }

    #[test]
    #[should_panic(expected = "core 4 is not one of 4 cores")]
    fn a_core_that_is_not_there_has_no_key() {
        Key::random_for_core(&mut StdRng::seed_from_u64(1), 4, 4);
    }

    #[test]
    fn a_key_is_not_shown() {
        assert_eq!(format!("{A:?}"), "Key(..)");
    }
}
