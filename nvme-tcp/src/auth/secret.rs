//! Secrets, and the form in which people hand them about.

use std::fmt;

use base64ct::{Base64, Encoding};
use crc_fast::CrcAlgorithm;
use zeroize::Zeroizing;

use super::Hash;
use super::hash::Output;
use crate::command::Nqn;

/// What a secret is hashed with along with the name of whom it belongs to.
const PURPOSE: &[u8] = b"NVMe-over-Fabrics";
/// Bytes of the CRC-32 at the end of what is encoded.
const CRC_LEN: usize = 4;

/// The secret of a host or of a subsystem: 32, 48 or 64 bytes, and the hash function that makes a key of it.
///
/// It is written `DHHC-1:hh:BASE64:`, where `hh` is `00` if the secret is itself the key, and else the [identifier](Hash::id) of the hash
/// function; the text in base 64 is the secret and its CRC-32, so that typing errors are found.
///
/// Its bytes are not shown by `Debug`, and are gone from memory when it is dropped. There is no `==`, which would tell by its time how much is equal.
#[derive(Clone)]
pub struct Secret {
    hash: Option<Hash>,
    bytes: Zeroizing<Vec<u8>>,
}

/// Why something is no secret. Nothing of it is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// It does not look like one.
    #[error("a secret has the form DHHC-1:hh:BASE64:")]
    Form,
    /// There is no such hash function.
    #[error("the hash function of a secret is 00 (none), 01, 02 or 03")]
    Hash,
    /// It is no base 64.
    #[error("the secret is not in base 64")]
    Base64,
    /// Neither 32, 48 nor 64 bytes.
    #[error("a secret has 32, 48 or 64 bytes, not {0}")]
    Length(usize),
    /// The CRC-32 is another.
    #[error("the secret has a typing error: its check sum is wrong")]
    Crc,
}

impl Secret {
    /// A secret of these bytes.
    ///
    /// # Errors
    /// They are not 32, 48 or 64.
    pub fn new(hash: Option<Hash>, bytes: &[u8]) -> Result<Self, SecretError> {
        if !matches!(bytes.len(), 32 | 48 | 64) {
            return Err(SecretError::Length(bytes.len()));
        }
        Ok(Self { hash, bytes: Zeroizing::new(bytes.to_vec()) })
    }

    /// Reads the form in which secrets are written.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let (hash, encoded) = text
            .strip_prefix("DHHC-1:")
            .and_then(|rest| rest.strip_suffix(':'))
            .and_then(|rest| rest.split_once(':'))
            .ok_or(SecretError::Form)?;
        let hash = match hash {
            "00" => None,
            "01" => Some(Hash::Sha256),
            "02" => Some(Hash::Sha384),
            "03" => Some(Hash::Sha512),
            _ => return Err(SecretError::Hash),
        };
        let decoded = Zeroizing::new(Base64::decode_vec(encoded).map_err(|_| SecretError::Base64)?);
        let (bytes, crc) = decoded.split_last_chunk::<CRC_LEN>().ok_or(SecretError::Length(0))?;
        let secret = Self::new(hash, bytes)?;
        if check_sum(bytes) != *crc {
            return Err(SecretError::Crc);
        }
        Ok(secret)
    }

    /// The form in which [`parse`](Self::parse) reads it. It is the secret itself: it belongs into no log.
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(self.bytes.len() + CRC_LEN));
        bytes.extend_from_slice(&self.bytes);
        bytes.extend_from_slice(&check_sum(&self.bytes));
        let encoded = Zeroizing::new(Base64::encode_string(&bytes));
        Zeroizing::new(format!("DHHC-1:{:02}:{}:", self.hash.map_or(0, Hash::id), *encoded))
    }

    /// The key that is made of it for the host or subsystem of this name.
    pub(super) fn key(&self, owner: &Nqn) -> Output {
        match self.hash {
            None => self.bytes.clone(),
            Some(hash) => hash.hmac(&self.bytes, &[owner.as_str().as_bytes(), PURPOSE]),
        }
    }

    /// The secret that nvme-cli makes of bytes with a hash function: their HMAC for this name.
    pub fn derive(hash: Hash, bytes: &[u8], owner: &Nqn) -> Self {
        Self { hash: Some(hash), bytes: hash.hmac(bytes, &[owner.as_str().as_bytes(), PURPOSE]) }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl std::str::FromStr for Secret {
    type Err = SecretError;

    fn from_str(text: &str) -> Result<Self, SecretError> {
        Self::parse(text)
    }
}

fn check_sum(bytes: &[u8]) -> [u8; CRC_LEN] {
    (crc_fast::checksum(CrcAlgorithm::Crc32IsoHdlc, bytes) as u32).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification, with which any hash function goes.
    const EXAMPLE: &str = "ia6zGodOr4SEG0Zzaw398rpY0wqipUWj4jWjUh4HWUz6aQ2n";

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_form_is_read_and_written() {
        for hash in ["00", "01", "02", "03"] {
            let text = format!("DHHC-1:{hash}:{EXAMPLE}:");
            assert_eq!(*Secret::parse(&text).unwrap().to_text(), text);
        }
        for len in [32, 48, 64] {
            let secret = Secret::new(Some(Hash::Sha384), &vec![0x5a; len]).unwrap();
            assert_eq!(secret.bytes, Secret::parse(&secret.to_text()).unwrap().bytes);
        }
    }

    #[test]
    fn what_is_no_secret() {
        let short = format!("DHHC-1:00:{}:", Base64::encode_string(&[0; 20]));
        for (text, error) in [
            ("", SecretError::Form),
            ("DHHC-1:00:", SecretError::Form),
            ("DHHC-1:00:ia6z", SecretError::Form),
            (&format!("DHHC-2:00:{EXAMPLE}:"), SecretError::Form),
            (&format!("DHHC-1:04:{EXAMPLE}:"), SecretError::Hash),
            (&format!("DHHC-1:1:{EXAMPLE}:"), SecretError::Hash),
            ("DHHC-1:00:ia6z?odO:", SecretError::Base64),
            ("DHHC-1:00::", SecretError::Length(0)),
            (&short, SecretError::Length(16)),
            (&format!("DHHC-1:00:{}:", EXAMPLE.replace("ia6z", "ia6y")), SecretError::Crc),
        ] {
            assert_eq!(Secret::parse(text).err(), Some(error), "{text}");
        }
    }

    /// Against Python's `hmac`.
    #[test]
    fn keys_depend_on_the_hash_function_and_the_name() {
        let name = Nqn::new("nqn.2026-01.example:host").unwrap();
        for (hash, key) in [
            ("00", "89aeb31a874eaf84841b46736b0dfdf2ba58d30aa2a545a3e235a3521e07594c"),
            ("01", "fcf13bd56b172e0f4567a04352ce591631ecd69a2dec8a6dca6a8bc209fa5846"),
            ("02", "09496c5e707ad3e36da699bda768885e9fa7b913e0a485a1b9882c339a3d0a610002f89751b1a4601b567d4c5f9460f9"),
            (
                "03",
                "e110f9b7b2b0443a75325d1f0fe027f879bb3332670f816eebf8db3cb65abf7e64f2947ac600baa4a591a13c404cfdd5\
                 6751ea07e1c5a66e938764175e7f9576",
            ),
        ] {
            let secret = Secret::parse(&format!("DHHC-1:{hash}:{EXAMPLE}:")).unwrap();
            assert_eq!(hex(&secret.key(&name)), key);
        }
    }

    #[test]
    fn nothing_of_it_is_shown() {
        let secret = Secret::parse(&format!("DHHC-1:01:{EXAMPLE}:")).unwrap();
        assert_eq!(format!("{secret:?} {secret:#?}"), "Secret(..) Secret(..)");
        for error in [Secret::parse(&format!("{EXAMPLE}:")), Secret::parse(&format!("DHHC-1:00:{EXAMPLE}x:"))] {
            let error = error.unwrap_err();
            assert!(!format!("{error} {error:?}").contains(&EXAMPLE[..6]));
        }
    }
}
