//! What people call the storage of a namespace.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use nvme_io::FileStore;
use nvme_tcp::target::{MemoryStore, NullStore, Store};
use serde::Deserialize;

use crate::failure::plain;
use crate::human::parse_count;

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
    /// Opens it. The error is a sentence.
    pub(super) fn open(&self, read_only: bool) -> Result<Arc<dyn Store>, String> {
        Ok(match self {
            Self::Null(size) => Arc::new(NullStore::new(*size)),
            Self::Memory(size) => Arc::new(MemoryStore::new(*size)),
            Self::File(path) => {
                let store = FileStore::open(path, read_only);
                Arc::new(store.map_err(|error| format!("cannot open {}: {}", path.display(), plain(&error)))?)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
