//! Namespaces in files and on block devices.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::{Bytes, BytesMut};
use nvme_tcp::command::StatusCode;
use nvme_tcp::pdu::Payload;
use nvme_tcp::target::{Backend, Completion, Extent, Operation, Store, Token};
use rustix::fs::{FallocateFlags, fallocate};

/// A file or block device. Its size is what it is when it is opened.
///
/// Operations are done in the thread that submits them, before it goes on. What Flush has completed, and writes with FUA, have passed `fdatasync`.
#[derive(Debug)]
pub struct FileStore {
    shared: Arc<Shared>,
    size: u64,
}

#[derive(Debug)]
struct Shared {
    file: File,
    /// Held for writing by what compares and writes with nothing in between.
    exclusive: RwLock<()>,
}

/// Zeroes that are written where the file system cannot make any.
static ZEROES: [u8; 64 * 1024] = [0; 64 * 1024];

impl FileStore {
    /// Opens a file; `read_only` for a namespace that is.
    ///
    /// # Errors
    /// It cannot be opened, or is empty.
    pub fn open(path: &Path, read_only: bool) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).write(!read_only).open(path)?;
        // A block device has a length of zero, but an end.
        let size = file.seek(SeekFrom::End(0))?;
        if size == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is empty"));
        }
        Ok(Self { shared: Arc::new(Shared { file, exclusive: RwLock::new(()) }), size })
    }
}

impl Store for FileStore {
    fn size(&self) -> u64 {
        self.size
    }

    fn open(&self) -> Box<dyn Backend> {
        Box::new(FileBackend { shared: Arc::clone(&self.shared), done: VecDeque::new() })
    }
}

#[derive(Debug)]
struct FileBackend {
    shared: Arc<Shared>,
    done: VecDeque<Completion>,
}

impl Backend for FileBackend {
    fn submit(&mut self, token: Token, operation: Operation) {
        let (result, data) = self.shared.run(operation);
        self.done.push_back(Completion { token, result, data });
    }

    fn poll(&mut self) -> Option<Completion> {
        self.done.pop_front()
    }
}

impl Shared {
    fn run(&self, operation: Operation) -> (Result<(), StatusCode>, Payload) {
        match operation {
            Operation::Read { extent, mut into } => {
                let _guard = self.with_others();
                let result = self.read(extent).map(|bytes| into.push(bytes)).map_err(|error| unread(&error));
                (result, into)
            }
            Operation::Write { offset, data, force_unit_access } => {
                let _guard = self.with_others();
                (self.write(offset, &data, force_unit_access), data)
            }
            Operation::Flush => (self.sync(), Payload::new()),
            Operation::WriteZeroes { extent, deallocate, force_unit_access } => {
                let _guard = self.with_others();
                let mode = if deallocate { PUNCH } else { FallocateFlags::ZERO_RANGE };
                let zeroed = match fallocate(&self.file, mode, extent.offset, extent.length) {
                    Ok(()) => Ok(()),
                    Err(_) => self.write_zeroes(extent).map_err(|error| unwritten(&error)),
                };
                (zeroed.and_then(|()| if force_unit_access { self.sync() } else { Ok(()) }), Payload::new())
            }
            Operation::Deallocate { extents } => {
                let _guard = self.with_others();
                for extent in extents {
                    // A file system that cannot give anything back need not.
                    let _ = fallocate(&self.file, PUNCH, extent.offset, extent.length);
                }
                (Ok(()), Payload::new())
            }
            Operation::Verify { extent } => {
                (self.read(extent).map(drop).map_err(|error| unread(&error)), Payload::new())
            }
            Operation::Compare { offset, data } => {
                let _guard = self.with_others();
                (self.compare(offset, &data), data)
            }
            Operation::CompareAndWrite { offset, expected, data, force_unit_access } => {
                let _guard = self.alone();
                let result = self.compare(offset, &expected);
                (result.and_then(|()| self.write(offset, &data, force_unit_access)), data)
            }
            Operation::Copy { sources, destination, force_unit_access } => {
                let _guard = self.with_others();
                let read: io::Result<Payload> = sources.into_iter().map(|source| self.read(source)).collect();
                match read {
                    Ok(data) => (self.write(destination, &data, force_unit_access), data),
                    Err(error) => (Err(unread(&error)), Payload::new()),
                }
            }
        }
    }

    /// Nothing is lost by a thread that has panicked: the lock guards no memory.
    fn with_others(&self) -> RwLockReadGuard<'_, ()> {
        self.exclusive.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn alone(&self) -> RwLockWriteGuard<'_, ()> {
        self.exclusive.write().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn read(&self, extent: Extent) -> io::Result<Bytes> {
        // The controller has bounded what one command transfers.
        let mut bytes = BytesMut::zeroed(usize::try_from(extent.length).unwrap_or(usize::MAX));
        self.file.read_exact_at(&mut bytes, extent.offset)?;
        Ok(bytes.freeze())
    }

    fn write(&self, offset: u64, data: &Payload, force_unit_access: bool) -> Result<(), StatusCode> {
        let mut at = offset;
        for piece in data.pieces() {
            self.file.write_all_at(piece, at).map_err(|error| unwritten(&error))?;
            at += piece.len() as u64;
        }
        if force_unit_access { self.sync() } else { Ok(()) }
    }

    fn write_zeroes(&self, extent: Extent) -> io::Result<()> {
        let (mut at, end) = (extent.offset, extent.offset + extent.length);
        while at < end {
            let len = usize::try_from(end - at).unwrap_or(usize::MAX).min(ZEROES.len());
            self.file.write_all_at(&ZEROES[..len], at)?;
            at += len as u64;
        }
        Ok(())
    }

    fn compare(&self, offset: u64, data: &Payload) -> Result<(), StatusCode> {
        let stored = self.read(Extent { offset, length: data.len() as u64 });
        let stored = stored.map_err(|error| unread(&error))?;
        let equal = data.pieces().flatten().eq(stored.iter());
        if equal { Ok(()) } else { Err(StatusCode::CompareFailure) }
    }

    fn sync(&self) -> Result<(), StatusCode> {
        self.file.sync_data().map_err(|error| unwritten(&error))
    }
}

const PUNCH: FallocateFlags = FallocateFlags::PUNCH_HOLE.union(FallocateFlags::KEEP_SIZE);

/// What a host is told of an error in reading.
fn unread(error: &io::Error) -> StatusCode {
    tracing::warn!(%error, "storage cannot be read");
    StatusCode::UnrecoveredRead
}

/// What a host is told of an error in writing.
fn unwritten(error: &io::Error) -> StatusCode {
    tracing::warn!(%error, "storage cannot be written");
    if error.kind() == io::ErrorKind::StorageFull { StatusCode::CapacityExceeded } else { StatusCode::WriteFault }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: Token = Token { connection: 1, slot: 2 };

    /// A store in a file without a name.
    fn store(size: u64) -> (FileStore, std::path::PathBuf) {
        let path = std::env::temp_dir().join(format!("nvme-io-{}-{size}", std::process::id()));
        let file = File::create(&path).unwrap();
        file.set_len(size).unwrap();
        (FileStore::open(&path, false).unwrap(), path)
    }

    fn run(backend: &mut dyn Backend, operation: Operation) -> (Result<(), StatusCode>, Vec<u8>) {
        backend.submit(TOKEN, operation);
        let Completion { token, result, data } = backend.poll().unwrap();
        assert_eq!(token, TOKEN);
        (result, data.pieces().flatten().copied().collect())
    }

    fn read(backend: &mut dyn Backend, offset: u64, length: u64) -> Vec<u8> {
        let (result, data) = run(backend, Operation::Read { extent: Extent { offset, length }, into: Payload::new() });
        result.unwrap();
        data
    }

    #[test]
    fn what_is_written_is_read() {
        let (store, path) = store(1 << 20);
        assert_eq!(store.size(), 1 << 20);
        let mut backend = store.open();
        let data: Payload = [Bytes::from_static(b"hello "), Bytes::from_static(b"world")].into_iter().collect();
        let write = |force_unit_access| Operation::Write { offset: 4090, data: data.clone(), force_unit_access };
        run(&mut *backend, write(true)).0.unwrap();
        assert_eq!(read(&mut *backend, 4088, 14), b"\0\0hello world\0");
        run(&mut *backend, Operation::Flush).0.unwrap();
        let sources = vec![Extent { offset: 4096, length: 5 }, Extent { offset: 4090, length: 6 }];
        run(&mut *backend, Operation::Copy { sources, destination: 0, force_unit_access: false }).0.unwrap();
        assert_eq!(read(&mut *backend, 0, 11), b"worldhello ");
        let extent = Extent { offset: 4090, length: 6 };
        let zeroes = Operation::WriteZeroes { extent, deallocate: false, force_unit_access: true };
        run(&mut *backend, zeroes).0.unwrap();
        assert_eq!(read(&mut *backend, 4090, 11), b"\0\0\0\0\0\0world");
        run(&mut *backend, Operation::Deallocate { extents: vec![Extent { offset: 0, length: 4096 }] }).0.unwrap();
        assert_eq!(read(&mut *backend, 0, 11), [0; 11]);
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn what_is_compared_and_written_is_as_expected() {
        let (store, path) = store(8192);
        let mut backend = store.open();
        let payload = |bytes: &'static [u8]| Payload::from(Bytes::from_static(bytes));
        let exchange = |expected, data| Operation::CompareAndWrite {
            offset: 100,
            expected: payload(expected),
            data: payload(data),
            force_unit_access: false,
        };
        run(&mut *backend, exchange(b"\0\0\0", b"abc")).0.unwrap();
        assert_eq!(run(&mut *backend, exchange(b"abd", b"xyz")).0, Err(StatusCode::CompareFailure));
        assert_eq!(read(&mut *backend, 100, 3), b"abc");
        run(&mut *backend, Operation::Compare { offset: 101, data: payload(b"bc") }).0.unwrap();
        run(&mut *backend, Operation::Verify { extent: Extent { offset: 0, length: 8192 } }).0.unwrap();
        let beyond = Operation::Verify { extent: Extent { offset: 8000, length: 8192 } };
        assert_eq!(run(&mut *backend, beyond).0, Err(StatusCode::UnrecoveredRead));
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn an_empty_file_is_refused() {
        let path = std::env::temp_dir().join(format!("nvme-io-empty-{}", std::process::id()));
        File::create(&path).unwrap();
        assert_eq!(FileStore::open(&path, true).unwrap_err().to_string(), "it is empty");
        std::fs::remove_file(path).unwrap();
    }
}
