//! What every test with paths starts from.

use std::time::Duration;

use crate::error::Result;
use crate::payload::Payload;
use crate::slots::Slot;
use crate::topology::{Link, Topology};
use crate::workdir::WorkDir;

/// Paths of a laboratory, unless told otherwise.
pub const PATHS: usize = 3;

/// Port on which peers and the stack listen; each laboratory has namespaces of its own, so there is no other use of it.
pub const PORT: u16 = 7700;

/// Time in which a transfer of the usual size ends, many times what it takes on an idle machine.
pub const TRANSFER_LIMIT: Duration = Duration::from_secs(120);

/// Paths, a directory and a place among the running tests.
#[derive(Debug)]
pub struct Lab {
    /// The paths.
    pub topology: Topology,
    /// Files of the test.
    pub dir: WorkDir,
    _slot: Slot,
}

impl Lab {
    /// Waits for a free place and makes the paths.
    ///
    /// # Errors
    /// Not root, or the system refuses.
    pub fn new(label: &str, link: Link) -> Result<Self> {
        Self::with_paths(label, link, PATHS)
    }

    /// The same with another number of paths.
    ///
    /// # Errors
    /// Not root, or the system refuses.
    pub fn with_paths(label: &str, link: Link, paths: usize) -> Result<Self> {
        let slot = Slot::take()?;
        Ok(Self { topology: Topology::new(label, link, paths)?, dir: WorkDir::new(label)?, _slot: slot })
    }

    /// A random file of `len` bytes to send, different for each name.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn payload(&self, name: &str, len: u64) -> Result<Payload> {
        let seed = name.bytes().fold(len, |seed, byte| seed.wrapping_mul(31).wrapping_add(byte.into()));
        Payload::create(self.dir.file(name), len, seed)
    }
}
