//! What people call the storage of a namespace.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use nvme_io::{Caching, FileOptions, FileStore};
use nvme_tcp::target::{MemoryStore, NullStore, Store};
use serde::Deserialize;

use crate::failure::plain;
use crate::human::{bytes, parse_count};

/// `null:SIZE`, `memory:SIZE` or `file:PATH`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) enum StoreSpec {
    /// Takes every write and reads as zeroes.
    Null(u64),
    /// In memory.
    Memory(u64),
    /// In a file or on a block device.
    File(PathBuf),
}

impl FromStr for StoreSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let kinds = "null:SIZE, memory:SIZE or file:PATH, such as memory:64M";
        match text.split_once(':') {
            Some(("null", size)) => parse_count(size).map(Self::Null),
            Some(("memory", size)) => parse_count(size).map(Self::Memory),
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.into())),
            _ => Err(format!("'{text}' is no storage: say {kinds}")),
        }
    }
}

impl TryFrom<String> for StoreSpec {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl StoreSpec {
    /// Opens it. The error is a sentence. Says how a file is read and written, if it is one.
    pub(super) fn open(&self, options: FileOptions, told: &mut Vec<String>) -> Result<Arc<dyn Store>, String> {
        Ok(match self {
            Self::Null(size) => Arc::new(NullStore::new(*size)),
            Self::Memory(size) => {
                let most = memory();
                if *size > most {
                    let (size, most) = (bytes(*size), bytes(most));
                    return Err(format!("{size} of memory are more than the {most} that this machine has"));
                }
                Arc::new(MemoryStore::new(*size))
            }
            Self::File(path) => {
                let store = FileStore::open(path, options);
                let store = store.map_err(|error| format!("cannot open {}: {}", path.display(), plain(&error)))?;
                told.push(match store.caching() {
                    Caching::Direct => format!("{}: O_DIRECT", path.display()),
                    Caching::Buffered(reason) => format!("{}: through the page cache ({reason})", path.display()),
                });
                Arc::new(store)
            }
        })
    }
}

/// Bytes of memory and swap that the machine has: what is promised to hosts has to be somewhere once they use it.
fn memory() -> u64 {
    let machine = rustix::system::sysinfo();
    (machine.totalram + machine.totalswap) * u64::from(machine.mem_unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_not_promised_that_is_not_there() {
        let options = FileOptions { read_only: false, block_size: 4096, direct: true };
        let open = |size| StoreSpec::Memory(size).open(options, &mut Vec::new()).map(|store| store.size());
        assert_eq!(open(1 << 20), Ok(1 << 20));
        let refusal = open(1 << 60).unwrap_err();
        assert!(refusal.contains(" of memory are more than the "), "{refusal}");
    }

    #[test]
    fn storage_is_read_from_text() {
        assert_eq!("null:1G".parse(), Ok(StoreSpec::Null(1 << 30)));
        assert_eq!("memory:64M".parse(), Ok(StoreSpec::Memory(64 << 20)));
        assert_eq!("file:/tmp/a:b".parse(), Ok(StoreSpec::File("/tmp/a:b".into())));
        for mistake in ["", "file:", "disk:3", "memory", "memory:x", "null:0"] {
            assert!(mistake.parse::<StoreSpec>().is_err(), "{mistake}");
        }
    }
}
