//! Random files and their digests: what goes through a connection and what came out of it.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use sha2::{Digest, Sha256};

use crate::error::{IoContext, Result};

/// Bytes that are written or hashed at once.
const CHUNK: usize = 1 << 16;

/// A file of random bytes that a test sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// The file.
    pub path: PathBuf,
    /// Its length in bytes.
    pub len: u64,
    /// Its SHA-256 in hexadecimal.
    pub sha256: String,
}

impl Payload {
    /// Writes `len` bytes that follow from `seed` to a file.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn create(path: PathBuf, len: u64, seed: u64) -> Result<Self> {
        let sha256 = write_random(&path, len, seed).context(|| format!("writing {}", path.display()))?;
        Ok(Self { path, len, sha256 })
    }

    /// Length and digest of a file that a program has written.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn of(path: &Path) -> Result<Self> {
        let context = || format!("reading {}", path.display());
        let mut hash = Sha256::new();
        let mut file = File::open(path).context(context)?;
        let mut chunk = vec![0; CHUNK];
        let mut len = 0;
        loop {
            let read = file.read(&mut chunk).context(context)?;
            if read == 0 {
                break;
            }
            hash.update(&chunk[..read]);
            len += read as u64;
        }
        Ok(Self { path: path.to_owned(), len, sha256: hex(&hash.finalize()) })
    }

    /// What a receiver has of this payload, sent again and again, after `len` bytes.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn repeated(&self, len: u64) -> Result<Self> {
        let bytes = self.bytes()?;
        let mut hash = Sha256::new();
        let mut left = len;
        while left > 0 && !bytes.is_empty() {
            let now = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
            hash.update(&bytes[..now]);
            left -= now as u64;
        }
        Ok(Self { path: self.path.clone(), len, sha256: hex(&hash.finalize()) })
    }

    /// Whether `other` has the same content.
    #[must_use]
    pub fn same_content(&self, other: &Self) -> bool {
        (self.len, &self.sha256) == (other.len, &other.sha256)
    }

    /// All bytes of the file.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn bytes(&self) -> Result<Vec<u8>> {
        fs::read(&self.path).context(|| format!("reading {}", self.path.display()))
    }
}

/// Bytes in hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |text, byte| text + &format!("{byte:02x}"))
}

fn write_random(path: &Path, len: u64, seed: u64) -> io::Result<String> {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut hash = Sha256::new();
    let mut file = BufWriter::new(File::create(path)?);
    let mut chunk = vec![0; CHUNK];
    let mut left = len;
    while left > 0 {
        let now = &mut chunk[..usize::try_from(left).unwrap_or(CHUNK).min(CHUNK)];
        random.fill_bytes(now);
        hash.update(&*now);
        file.write_all(now)?;
        left -= now.len() as u64;
    }
    file.flush()?;
    Ok(hex(&hash.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workdir::WorkDir;

    #[test]
    fn a_payload_is_what_its_file_says() {
        let dir = WorkDir::new("payload").unwrap();
        let payload = Payload::create(dir.file("a"), 100_001, 7).unwrap();
        assert_eq!(Payload::of(&payload.path).unwrap(), payload);
        let same = Payload::create(dir.file("b"), 100_001, 7).unwrap();
        let other = Payload::create(dir.file("c"), 100_001, 8).unwrap();
        assert!(payload.same_content(&same) && !payload.same_content(&other));
        assert_eq!(hex(&[0, 0xab]), "00ab");

        let twice = dir.file("twice");
        let bytes = payload.bytes().unwrap();
        fs::write(&twice, [&bytes[..], &bytes[..5]].concat()).unwrap();
        assert!(payload.repeated(100_006).unwrap().same_content(&Payload::of(&twice).unwrap()));
    }
}
