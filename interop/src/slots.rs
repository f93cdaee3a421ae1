//! How many laboratory tests may run at a time.

use std::env;
use std::fs::File;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use crate::error::{IoContext, Result};

/// Tests that may run at once on one machine, over all test programs. Each keeps about one core busy;
/// more of them on a small machine only makes their timers lie.
const SLOTS: u32 = 2;

/// How often a waiting test looks for a free slot.
const RETRY: Duration = Duration::from_millis(50);

/// A place among the tests that run now, given back when dropped.
///
/// A slot is a locked file, so it frees itself when its process dies.
#[derive(Debug)]
pub struct Slot {
    _locked: File,
}

impl Slot {
    /// Waits for a free slot.
    ///
    /// # Errors
    /// The lock files cannot be created.
    pub fn take() -> Result<Self> {
        let mut files = (0..SLOTS).map(open).collect::<Result<Vec<_>>>()?;
        loop {
            if let Some(free) = files.iter().position(|file| file.try_lock().is_ok()) {
                return Ok(Self { _locked: files.swap_remove(free) });
            }
            thread::sleep(RETRY);
        }
    }
}

fn open(number: u32) -> Result<File> {
    let path: PathBuf = env::temp_dir().join(format!("mptcp-lab-slot-{number}.lock"));
    File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .context(|| format!("opening {}", path.display()))
}
