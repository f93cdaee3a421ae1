//! Namespaces in files and on block devices.

mod blocking;
mod direct;
mod gate;
mod ring;
mod syncs;
mod task;

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

pub use direct::Caching;
use nvme_tcp::target::{Backend, Store};
pub use ring::FileRing;

use gate::Gate;
use syncs::Syncs;

/// Bytes of a block from which read data is cut.
const READ_BLOCK: usize = 1 << 20;
/// What `stat` counts storage in, in bytes, whatever the blocks of the file system are.
const ALLOCATION_UNIT: u64 = 512;
/// Blocks of read data that are remembered while all of them are in use.
const READ_BLOCKS: usize = 64;

/// A file or block device. Its size is what it is when it is opened.
///
/// A [`Server`](crate::Server) with a ring has the kernel do operations while it goes on; otherwise they are done in the thread that submits them. What Flush
/// has completed has passed `fdatasync`, and so have writes with FUA through the page cache; past it they are written with `RWF_DSYNC`. Once one has failed, so does every Flush, and what ran beside it: the
/// kernel tells only one of those who ask that it has lost something, and not what. Compare and Write has the file to itself, on whatever thread: it waits until the
/// operations that have begun are done, and others wait for it.
#[derive(Debug)]
pub struct FileStore {
    shared: Arc<Shared>,
    size: u64,
    /// A file, which has storage where it was written, and no block device.
    is_regular: bool,
}

/// How a [`FileStore`] is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileOptions {
    /// The namespace is read-only.
    pub read_only: bool,
    /// Bytes of its blocks, 1 to 65536: no operation begins or ends anywhere else.
    pub block_size: u32,
    /// Read and write past the page cache, if the file system can in blocks of that size.
    pub direct: bool,
}

/// What the threads share.
#[derive(Debug)]
struct Shared {
    file: Arc<File>,
    caching: Caching,
    /// Closed by what compares and writes with nothing in between.
    gate: Arc<Gate>,
    /// What makes durable what was written, by whomever.
    syncs: Arc<Syncs>,
}

impl FileStore {
    /// Opens a file.
    ///
    /// # Errors
    /// It cannot be opened, or is empty.
    pub fn open(path: &Path, options: FileOptions) -> io::Result<Self> {
        let mut how = OpenOptions::new();
        how.read(true).write(!options.read_only);
        let mut file = how.open(path)?;
        // A block device has a length of zero, but an end.
        let size = file.seek(SeekFrom::End(0))?;
        if size == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is empty"));
        }
        let direct = match options.direct {
            true => direct::open(&how, path, options.block_size, size),
            false => Err("asked for".to_owned()),
        };
        let (file, caching) = match direct {
            Ok(direct) => (direct, Caching::Direct),
            Err(reason) => (file, Caching::Buffered(reason)),
        };
        Ok(Self::new(file, size, caching))
    }

    fn new(file: File, size: u64, caching: Caching) -> Self {
        let gate = Arc::default();
        let syncs = Arc::new(Syncs::new(Arc::clone(&gate)));
        let is_regular = file.metadata().is_ok_and(|metadata| metadata.is_file());
        Self { shared: Arc::new(Shared { file: Arc::new(file), caching, gate, syncs }), size, is_regular }
    }

    /// How it is read and written.
    pub fn caching(&self) -> &Caching {
        &self.shared.caching
    }
}

impl Store for FileStore {
    fn size(&self) -> u64 {
        self.size
    }

    fn used(&self) -> Option<u64> {
        if !self.is_regular {
            return None;
        }
        // What the file system takes for itself may be counted with it.
        let allocated = self.shared.file.metadata().map(|metadata| metadata.blocks() * ALLOCATION_UNIT);
        Some(allocated.map_or(self.size, |bytes| bytes.min(self.size)))
    }

    fn open(&self) -> Box<dyn Backend> {
        Box::new(blocking::BlockingBackend::new(Arc::clone(&self.shared)))
    }
}

#[cfg(test)]
mod tests;
