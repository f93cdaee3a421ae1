//! A store in memory.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::{Backend, Completion, Extent, Operation, Store, Token};
use crate::blocks::Blocks;
use crate::command::StatusCode;
use crate::pdu::Payload;

/// Bytes that share a lock, and that are allocated together when one of them is first written.
const CHUNK: usize = 64 * 1024;
/// Bytes of a block from which read data is cut.
const READ_BLOCK: usize = 1024 * 1024;
/// Blocks of read data that are kept while all of them are in use.
const MAX_READ_BLOCKS: usize = 64;

type Chunk = Option<Box<[u8]>>;

/// Keeps data in memory, as long as the process lives; what was never written takes none.
///
/// Data is divided into chunks with a lock each. A read or write of one chunk is atomic, and so is Compare and Write, however many
/// chunks it takes: it locks them in the order of their positions.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    size: u64,
    shared: Arc<Shared>,
}

/// What the threads share.
#[derive(Debug)]
struct Shared {
    chunks: Box<[RwLock<Chunk>]>,
    /// Chunks that are allocated.
    allocated: AtomicU64,
}

impl MemoryStore {
    /// A store of `size` zeroes.
    pub fn new(size: u64) -> Self {
        let chunks = size.div_ceil(CHUNK as u64);
        let chunks = (0..chunks).map(|_| RwLock::new(None)).collect();
        Self { size, shared: Arc::new(Shared { chunks, allocated: AtomicU64::new(0) }) }
    }
}

impl Store for MemoryStore {
    fn size(&self) -> u64 {
        self.size
    }

    fn used(&self) -> Option<u64> {
        // The last chunk may be longer than what is left of the store.
        Some((self.shared.allocated.load(Ordering::Relaxed) * CHUNK as u64).min(self.size))
    }

    fn open(&self) -> Box<dyn Backend> {
        Box::new(MemoryBackend {
            shared: Arc::clone(&self.shared),
            blocks: Blocks::new(READ_BLOCK, MAX_READ_BLOCKS),
            done: VecDeque::new(),
        })
    }
}

#[derive(Debug)]
struct MemoryBackend {
    shared: Arc<Shared>,
    blocks: Blocks,
    done: VecDeque<Completion>,
}

impl Backend for MemoryBackend {
    fn submit(&mut self, token: Token, operation: Operation) {
        let mut result = Ok(());
        let data = match operation {
            Operation::Read { extent, mut into } => {
                self.read(extent, &mut into);
                into
            }
            Operation::Write { offset, data, .. } => {
                self.write(offset, &data);
                data
            }
            Operation::Compare { offset, data } => {
                let extent = Extent { offset, length: data.len() as u64 };
                let guards: Vec<_> = pieces(extent).map(|piece| self.for_reading(piece.chunk)).collect();
                if !equals(extent, &data, guards.iter().map(|guard| &**guard)) {
                    result = Err(StatusCode::CompareFailure);
                }
                drop(guards);
                data
            }
            Operation::CompareAndWrite { offset, expected, data, .. } => {
                result = self.compare_and_write(offset, &expected, &data);
                data
            }
            Operation::WriteZeroes { extent, .. } => {
                self.clear(extent);
                Payload::new()
            }
            Operation::Deallocate { extents } => {
                extents.into_iter().for_each(|extent| self.clear(extent));
                Payload::new()
            }
            Operation::Copy { sources, destination, .. } => {
                let mut copied = Payload::new();
                sources.into_iter().for_each(|source| self.read(source, &mut copied));
                self.write(destination, &copied);
                copied
            }
            Operation::Flush | Operation::Verify { .. } => Payload::new(),
        };
        self.done.push_back(Completion { token, result, data });
    }

    fn poll(&mut self) -> Option<Completion> {
        self.done.pop_front()
    }
}

/// What a range has of one chunk.
#[derive(Clone, Copy)]
struct Piece {
    chunk: usize,
    /// Where in the chunk.
    start: usize,
    end: usize,
}

/// The chunks of a range, in order.
fn pieces(extent: Extent) -> impl Iterator<Item = Piece> {
    let (mut at, end) = (extent.offset, extent.offset + extent.length);
    std::iter::from_fn(move || {
        if at >= end {
            return None;
        }
        let start = (at % CHUNK as u64) as usize;
        let length = (end - at).min((CHUNK - start) as u64);
        let piece = Piece { chunk: (at / CHUNK as u64) as usize, start, end: start + length as usize };
        at += length;
        Some(piece)
    })
}

/// Whether a range has this data; its chunks are given in order.
fn equals<'a>(extent: Extent, data: &Payload, chunks: impl Iterator<Item = &'a Chunk>) -> bool {
    let mut expected = data.pieces().flatten();
    pieces(extent).zip(chunks).all(|(piece, chunk)| {
        expected.by_ref().take(piece.end - piece.start).enumerate().all(|(index, byte)| match chunk {
            Some(stored) => stored[piece.start + index] == *byte,
            None => *byte == 0,
        })
    })
}

/// Hands out the bytes of a list in order.
struct Reader<'a, I> {
    sources: I,
    source: &'a [u8],
}

impl<'a, I: Iterator<Item = &'a [u8]>> Reader<'a, I> {
    fn new(sources: I) -> Self {
        Self { sources, source: &[] }
    }

    /// Writes the next bytes to this piece of a chunk.
    fn store(&mut self, piece: Piece, chunk: &mut [u8]) {
        let mut rest = &mut chunk[piece.start..piece.end];
        while !rest.is_empty() {
            if self.source.is_empty() {
                let Some(next) = self.sources.next() else { return };
                self.source = next;
            }
            let length = rest.len().min(self.source.len());
            let (to, behind) = rest.split_at_mut(length);
            to.copy_from_slice(&self.source[..length]);
            (rest, self.source) = (behind, &self.source[length..]);
        }
    }
}

impl MemoryBackend {
    fn read(&mut self, extent: Extent, into: &mut Payload) {
        for piece in pieces(extent) {
            let length = piece.end - piece.start;
            let block = self.blocks.room(length);
            match &*lock(&self.shared.chunks[piece.chunk]) {
                Some(stored) => block.extend_from_slice(&stored[piece.start..piece.end]),
                None => block.resize(length, 0),
            }
            into.push(block.split().freeze());
        }
    }

    fn write(&self, offset: u64, data: &Payload) {
        let mut reader = Reader::new(data.pieces());
        for piece in pieces(Extent { offset, length: data.len() as u64 }) {
            reader.store(piece, self.allocated(&mut self.for_writing(piece.chunk)));
        }
    }

    fn compare_and_write(&self, offset: u64, expected: &Payload, data: &Payload) -> Result<(), StatusCode> {
        let extent = Extent { offset, length: data.len() as u64 };
        let mut guards: Vec<_> = pieces(extent).map(|piece| self.for_writing(piece.chunk)).collect();
        if !equals(extent, expected, guards.iter().map(|guard| &**guard)) {
            return Err(StatusCode::CompareFailure);
        }
        let mut reader = Reader::new(data.pieces());
        for (piece, guard) in pieces(extent).zip(&mut guards) {
            reader.store(piece, self.allocated(guard));
        }
        Ok(())
    }

    fn clear(&self, extent: Extent) {
        for piece in pieces(extent) {
            let mut chunk = self.for_writing(piece.chunk);
            if piece.end - piece.start == CHUNK {
                if chunk.take().is_some() {
                    self.shared.allocated.fetch_sub(1, Ordering::Relaxed);
                }
            } else if let Some(stored) = &mut *chunk {
                stored[piece.start..piece.end].fill(0);
            }
        }
    }

    /// The bytes of a chunk that is to be written.
    fn allocated<'a>(&self, chunk: &'a mut Chunk) -> &'a mut [u8] {
        chunk.get_or_insert_with(|| {
            self.shared.allocated.fetch_add(1, Ordering::Relaxed);
            vec![0; CHUNK].into_boxed_slice()
        })
    }

    fn for_reading(&self, chunk: usize) -> RwLockReadGuard<'_, Chunk> {
        lock(&self.shared.chunks[chunk])
    }

    fn for_writing(&self, chunk: usize) -> RwLockWriteGuard<'_, Chunk> {
        self.shared.chunks[chunk].write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lock(chunk: &RwLock<Chunk>) -> RwLockReadGuard<'_, Chunk> {
    // Nothing panics while it holds a lock, and bytes cannot be inconsistent.
    chunk.read().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const TOKEN: Token = Token { connection: 0, slot: 0 };

    fn run(backend: &mut dyn Backend, operation: Operation) -> Result<Bytes, StatusCode> {
        backend.submit(TOKEN, operation);
        let completion = backend.poll().unwrap();
        completion.result.map(|()| completion.data.to_contiguous())
    }

    fn extent(offset: u64, length: u64) -> Extent {
        Extent { offset, length }
    }

    fn payload(bytes: &[u8]) -> Payload {
        bytes.chunks(1000).map(Bytes::copy_from_slice).collect()
    }

    fn read(backend: &mut dyn Backend, offset: u64, length: u64) -> Vec<u8> {
        run(backend, Operation::Read { extent: extent(offset, length), into: Payload::new() }).unwrap().to_vec()
    }

    fn write(backend: &mut dyn Backend, offset: u64, bytes: &[u8]) {
        run(backend, Operation::Write { offset, data: payload(bytes), force_unit_access: false }).unwrap();
    }

    #[test]
    fn data_across_chunks_and_threads() {
        let store = MemoryStore::new(1 << 20);
        let (mut one, mut two) = (store.open(), store.open());
        let bytes: Vec<u8> = (0..100_000u32).map(|i| (i % 251) as u8).collect();
        let start = CHUNK as u64 - 3;
        write(&mut *one, start, &bytes);
        assert_eq!(read(&mut *two, start, 100_000), bytes);
        assert_eq!(read(&mut *two, start - 2, 4), [0, 0, 0, 1]);
        assert_eq!(read(&mut *two, (1 << 20) - 5, 5), [0; 5]);
    }

    #[test]
    fn what_is_written_is_in_use_until_it_is_deallocated() {
        const CHUNKS: u64 = CHUNK as u64;
        let store = MemoryStore::new(3 * CHUNKS + 512);
        let backend = &mut *store.open();
        assert_eq!(store.used(), Some(0));
        write(backend, CHUNKS - 1, &[7; 2]);
        write(backend, 0, &[7; 2]);
        read(backend, 2 * CHUNKS, 512);
        assert_eq!(store.used(), Some(2 * CHUNKS), "what is only read takes nothing");
        write(backend, 3 * CHUNKS, &[7; 512]);
        assert_eq!(store.clone().used(), Some(3 * CHUNKS));
        write(backend, 2 * CHUNKS, &[7; 1]);
        assert_eq!(store.used(), Some(store.size()));
        for _ in 0..2 {
            run(backend, Operation::Deallocate { extents: vec![extent(0, 2 * CHUNKS)] }).unwrap();
            assert_eq!(store.used(), Some(2 * CHUNKS));
        }
        let (offset, expected, data) = (0, payload(&[0; 4]), payload(b"abcd"));
        run(backend, Operation::CompareAndWrite { offset, expected, data, force_unit_access: false }).unwrap();
        assert_eq!(store.used(), Some(3 * CHUNKS));
    }

    #[test]
    fn clearing_and_copying() {
        let store = MemoryStore::new(1 << 20);
        let backend = &mut *store.open();
        write(backend, 0, &[7; 3 * CHUNK]);
        let zeroed = extent(10, 2 * CHUNK as u64);
        run(backend, Operation::WriteZeroes { extent: zeroed, deallocate: true, force_unit_access: false }).unwrap();
        assert_eq!(read(backend, 8, 4), [7, 7, 0, 0]);
        assert_eq!(read(backend, 2 * CHUNK as u64 + 8, 4), [0, 0, 7, 7]);
        let sources = vec![extent(8, 4), extent(2 * CHUNK as u64 + 8, 4)];
        run(backend, Operation::Copy { sources, destination: 9, force_unit_access: true }).unwrap();
        assert_eq!(read(backend, 8, 10), [7, 7, 7, 0, 0, 0, 0, 7, 7, 0], "read as a whole before it is written");
        run(backend, Operation::Deallocate { extents: vec![extent(0, 9)] }).unwrap();
        assert_eq!(read(backend, 8, 2), [0, 7]);
    }

    #[test]
    fn comparing() {
        let store = MemoryStore::new(1 << 20);
        let backend = &mut *store.open();
        let offset = CHUNK as u64 - 2;
        let compare = |data: &[u8]| Operation::Compare { offset, data: payload(data) };
        let swap = |expected: &[u8], data: &[u8]| Operation::CompareAndWrite {
            offset,
            expected: payload(expected),
            data: payload(data),
            force_unit_access: false,
        };
        assert!(run(backend, compare(&[0; 4])).is_ok());
        assert_eq!(run(backend, compare(&[0, 0, 0, 1])), Err(StatusCode::CompareFailure));
        assert!(run(backend, swap(&[0; 4], b"abcd")).is_ok());
        assert_eq!(run(backend, swap(&[0; 4], b"efgh")), Err(StatusCode::CompareFailure));
        assert_eq!(read(backend, offset, 4), b"abcd");
        assert!(run(backend, compare(b"abcd")).is_ok());
    }
}
