//! What is asked of a disk.

use std::sync::Arc;

use bytes::Bytes;
use nvme_tcp::target::{MemoryStore, NullStore, Operation, Store, Token};

/// Bytes of a disk in memory: more than the processor caches.
const MEMORY: u64 = 64 << 20;
/// Bytes of a disk that keeps nothing.
const NULL: u64 = 64 << 30;

/// What holds the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backing {
    /// Nothing: what is read is zeroes.
    Null,
    /// Memory, all of it written.
    Memory,
}

impl Backing {
    /// Name in the groups of benchmarks.
    pub fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Memory => "memory",
        }
    }

    pub(super) fn size(self) -> u64 {
        match self {
            Self::Null => NULL,
            Self::Memory => MEMORY,
        }
    }

    pub(super) fn store(self) -> Arc<dyn Store> {
        match self {
            Self::Null => Arc::new(NullStore::new(NULL)),
            Self::Memory => {
                let store = MemoryStore::new(MEMORY);
                let data = Bytes::from(vec![0x5a; 1 << 20]);
                let mut backend = store.open();
                for offset in (0..MEMORY).step_by(data.len()) {
                    let operation = Operation::Write { offset, data: data.clone().into(), force_unit_access: false };
                    backend.submit(Token { connection: 0, slot: 0 }, operation);
                    while backend.poll().is_some() {}
                }
                Arc::new(store)
            }
        }
    }
}

/// Commands of one kind, anywhere on the disk.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// What holds the data.
    pub backing: Backing,
    /// All PDUs carry digests of headers and data.
    pub digests: bool,
    /// Reads; otherwise writes.
    pub is_read: bool,
    /// Bytes of each command.
    pub block: u32,
    /// Commands that are outstanding.
    pub depth: usize,
}

const READ: Load = Load { backing: Backing::Null, digests: false, is_read: true, block: 4 << 10, depth: 1 };

/// Loads that figures are given for, on a disk that keeps nothing and without digests.
pub const LOADS: [Load; 5] = [
    READ,
    Load { depth: 32, ..READ },
    Load { depth: 128, ..READ },
    Load { block: 128 << 10, depth: 32, ..READ },
    Load { is_read: false, block: 128 << 10, depth: 32, ..READ },
];

impl Load {
    /// Name in the groups of benchmarks, without disk and digests.
    pub fn name(&self) -> String {
        let kind = if self.is_read { "read" } else { "write" };
        format!("{kind}{}k-{}", self.block >> 10, self.depth)
    }

    /// Commands that take a few milliseconds.
    pub fn commands(&self) -> u64 {
        // What does not depend on a command's length costs about as much as 8 KiB of it.
        (32 << 20) / u64::from(self.block + 8192)
    }
}
