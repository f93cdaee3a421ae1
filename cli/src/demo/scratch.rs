//! Files of the demonstration.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::failure::Failure;
use crate::undo::Undo;

/// A directory that is removed with everything in it at the end.
pub(super) struct Scratch {
    dir: PathBuf,
    _removal: Undo,
}

impl Scratch {
    /// Makes it.
    pub(super) fn new() -> Result<Self, Failure> {
        let dir = std::env::temp_dir().join(format!("mptcp-demo-{}", std::process::id()));
        let make = || std::fs::create_dir(&dir).map_err(|error| Failure::file("make", &dir, &error));
        let doomed = dir.clone();
        let ((), removal) = Undo::after(make, move || remove(&doomed))?;
        Ok(Self { dir, _removal: removal })
    }

    /// A name in it.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// A file of `len` bytes that no compression or deduplication makes shorter.
    pub(super) fn random_file(&self, len: u64) -> Result<PathBuf, Failure> {
        let path = self.path("sent");
        let write = || {
            let mut random = File::open("/dev/urandom")?.take(len);
            let mut file = BufWriter::with_capacity(1 << 20, File::create(&path)?);
            io::copy(&mut random, &mut file)?;
            file.flush()
        };
        write().map_err(|error| Failure::file("write", &path, &error))?;
        Ok(path)
    }
}

fn remove(dir: &Path) {
    // There is nothing more to do about a directory that cannot be removed.
    let _ = std::fs::remove_dir_all(dir);
}

/// Length of a file in bytes.
pub(super) fn length(path: &Path) -> Result<u64, Failure> {
    Ok(std::fs::metadata(path).map_err(|error| Failure::file("read", path, &error))?.len())
}

/// SHA-256 of a file, in hexadecimal.
pub(super) fn sha256(path: &Path) -> Result<String, Failure> {
    let hash = || {
        let (mut file, mut hash, mut block) = (File::open(path)?, Sha256::new(), vec![0; 1 << 20]);
        loop {
            match file.read(&mut block)? {
                0 => break,
                len => hash.update(&block[..len]),
            }
        }
        io::Result::Ok(hash.finalize())
    };
    let digest = hash().map_err(|error| Failure::file("read", path, &error))?;
    Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_the_standard() {
        let path = std::env::temp_dir().join(format!("mptcp-demo-test-{}", std::process::id()));
        std::fs::write(&path, "abc").unwrap();
        // FIPS 180-2, appendix B.1.
        assert_eq!(sha256(&path).unwrap(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        std::fs::remove_file(&path).unwrap();
        assert!(length(&path).unwrap_err().to_string().starts_with("cannot read "));
    }
}
