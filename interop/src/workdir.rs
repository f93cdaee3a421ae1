//! Scratch directories of a test.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use crate::error::{IoContext, Result};

/// How the names of all our directories start.
const PREFIX: &str = "mptcp-lab-";

/// For how long what explains a failure is kept.
const KEPT: Duration = Duration::from_secs(24 * 3600);

/// A directory of its own for one test: removed in the end, or kept where the test failed, since
/// the captures and logs in it are what explains the failure.
#[derive(Debug)]
pub struct WorkDir {
    path: PathBuf,
}

impl WorkDir {
    /// Makes a directory whose name starts with `label`.
    ///
    /// # Errors
    /// The directory cannot be created.
    pub fn new(label: &str) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        static SWEPT: Once = Once::new();
        SWEPT.call_once(|| sweep(&env::temp_dir()));
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("{PREFIX}{label}-{}-{number}", process::id()));
        // A directory of that name can only be left over from a dead process with the same id.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).context(|| format!("creating {}", path.display()))?;
        Ok(Self { path })
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file in the directory.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the files of this test are kept in {}", self.path.display());
        } else {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Removes from `temporary` what dead processes have kept for long enough.
fn sweep(temporary: &Path) {
    let Ok(entries) = fs::read_dir(temporary) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(PREFIX)).and_then(|name| name.rsplit('-').nth(1));
        let Some(pid) = pid.and_then(|pid| pid.parse::<u32>().ok()) else { continue };
        let changed = entry.metadata().and_then(|metadata| metadata.modified());
        let is_old = changed.is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|age| age > KEPT));
        if is_old && !Path::new(&format!("/proc/{pid}")).exists() {
            // Two that sweep may both try; the second finds nothing, which is what it wants.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_dead_processes_kept_is_removed_after_a_day() {
        let dir = WorkDir::new("sweep").unwrap();
        // No process has the largest number.
        let dead = u32::MAX;
        let own = process::id();
        let names = [format!("old-a-{dead}-0"), format!("new-{dead}-1"), format!("old-{own}-2"), "old".to_owned()];
        let directories = names.map(|name| dir.file(&format!("{PREFIX}{name}")));
        for (directory, is_old) in directories.iter().zip([true, false, true, true]) {
            fs::create_dir(directory).unwrap();
            fs::write(directory.join("log"), "kept").unwrap();
            let age = if is_old { KEPT * 2 } else { Duration::ZERO };
            fs::File::open(directory).unwrap().set_modified(SystemTime::now() - age).unwrap();
        }
        sweep(dir.path());
        assert_eq!(directories.map(|directory| directory.exists()), [false, true, true, true]);
    }
}
