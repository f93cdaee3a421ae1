//! The hash functions of DH-HMAC-CHAP.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256, Sha384, Sha512};
use zeroize::Zeroizing;

/// What comes of a hash function: as long as [`Hash::len`] says, and gone from memory when it is dropped.
pub(super) type Output = Zeroizing<Vec<u8>>;

/// A hash function, which HMACs are made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Hash {
    /// SHA-256.
    Sha256 = 1,
    /// SHA-384.
    Sha384 = 2,
    /// SHA-512.
    Sha512 = 3,
}

impl Hash {
    /// All of them, the shortest first.
    pub const ALL: [Self; 3] = [Self::Sha256, Self::Sha384, Self::Sha512];

    /// The function with this identifier.
    pub const fn from_id(id: u8) -> Option<Self> {
        match id {
            1 => Some(Self::Sha256),
            2 => Some(Self::Sha384),
            3 => Some(Self::Sha512),
            _ => None,
        }
    }

    /// Its identifier in messages and secrets.
    pub const fn id(self) -> u8 {
        self as u8
    }

    /// Bytes of its digests, and of the responses and challenges that are made with it.
    #[expect(clippy::len_without_is_empty, reason = "a hash function is no collection")]
    pub const fn len(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    pub(super) fn digest(self, data: &[u8]) -> Output {
        Zeroizing::new(match self {
            Self::Sha256 => Sha256::digest(data).to_vec(),
            Self::Sha384 => Sha384::digest(data).to_vec(),
            Self::Sha512 => Sha512::digest(data).to_vec(),
        })
    }

    /// The HMAC of these parts, one after the other.
    pub(super) fn hmac(self, key: &[u8], parts: &[&[u8]]) -> Output {
        match self {
            Self::Sha256 => mac::<Hmac<Sha256>>(key, parts),
            Self::Sha384 => mac::<Hmac<Sha384>>(key, parts),
            Self::Sha512 => mac::<Hmac<Sha512>>(key, parts),
        }
    }
}

fn mac<M: Mac + KeyInit>(key: &[u8], parts: &[&[u8]]) -> Output {
    let mut mac = <M as KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length");
    parts.iter().for_each(|part| mac.update(part));
    Zeroizing::new(mac.finalize().into_bytes().to_vec())
}

impl std::fmt::Display for Hash {
    /// As the configuration of the Linux target writes it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Sha256 => "hmac(sha256)",
            Self::Sha384 => "hmac(sha384)",
            Self::Sha512 => "hmac(sha512)",
        })
    }
}

/// There is no such hash function.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no hash function '{0}': it is hmac(sha256), hmac(sha384) or hmac(sha512)")]
pub struct UnknownHash(String);

impl std::str::FromStr for Hash {
    type Err = UnknownHash;

    fn from_str(name: &str) -> Result<Self, UnknownHash> {
        Self::ALL.into_iter().find(|hash| hash.to_string() == name).ok_or_else(|| UnknownHash(name.to_owned()))
    }
}
