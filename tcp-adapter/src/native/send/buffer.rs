//! Bytes to be sent, and sent ones until they are acknowledged.

use bytes::Bytes;

use crate::{Chunk, IdleQueue};

/// The chunks of one connection's stream, from the first that is not acknowledged on.
///
/// Nothing is copied: a chunk is a shared slice, and so is each part of it that leaves.
#[derive(Debug, Default)]
pub(in crate::native) struct SendBuffer {
    chunks: IdleQueue<Stored>,
    /// Offset after the last byte.
    end: u64,
    /// Bytes held: whole chunks, as a slice of one holds all of it.
    held: usize,
    /// Index of the chunk that new data is taken from.
    next: usize,
}

#[derive(Debug)]
struct Stored {
    tag: u64,
    offset: u64,
    bytes: Bytes,
}

impl Stored {
    fn end(&self) -> u64 {
        self.offset + self.bytes.len() as u64
    }
}

/// Bytes of one chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::native) struct Slice {
    pub(in crate::native) chunk: Chunk,
    pub(in crate::native) bytes: Bytes,
}

impl SendBuffer {
    /// Appends a chunk, which must not be empty.
    pub(in crate::native) fn push(&mut self, bytes: Bytes, tag: u64) {
        let offset = self.end;
        self.end += bytes.len() as u64;
        self.held += bytes.len();
        self.chunks.push_back(Stored { tag, offset, bytes });
    }

    /// The stream begins at `offset` here; nothing has been appended yet.
    pub(in crate::native) fn skip(&mut self, offset: u64) {
        self.end = offset;
    }

    /// Offset after the last byte.
    pub(in crate::native) fn end(&self) -> u64 {
        self.end
    }

    /// Bytes held.
    pub(in crate::native) fn held(&self) -> usize {
        self.held
    }

    /// The end of the chunk that the byte at `offset` is in; `None` if there is no such byte.
    pub(in crate::native) fn chunk_end(&mut self, offset: u64) -> Option<u64> {
        self.find(offset).map(|index| self.chunks[index].end())
    }

    /// At most `max` bytes from `offset` on, of one chunk; `None` if there are none.
    pub(in crate::native) fn slice(&mut self, offset: u64, max: usize) -> Option<Slice> {
        let index = self.find(offset)?;
        let stored = &self.chunks[index];
        // Less than the length of the chunk, which is in memory.
        let start = usize::try_from(offset - stored.offset).ok()?;
        let end = stored.bytes.len().min(start.saturating_add(max));
        let len = u32::try_from(stored.bytes.len()).unwrap_or(u32::MAX);
        let chunk = Chunk { tag: stored.tag, offset: stored.offset, len };
        Some(Slice { chunk, bytes: stored.bytes.slice(start..end) })
    }

    /// Everything before `una` has been acknowledged.
    pub(in crate::native) fn release(&mut self, una: u64) {
        while let Some(first) = self.chunks.front()
            && first.end() <= una
        {
            self.held -= first.bytes.len();
            self.chunks.pop_front();
            self.next = self.next.saturating_sub(1);
        }
    }

    /// Gives back the memory of an empty queue.
    pub(in crate::native) fn trim(&mut self) {
        self.chunks.trim();
    }

    fn find(&mut self, offset: u64) -> Option<usize> {
        let inside = |stored: &Stored| stored.offset <= offset && offset < stored.end();
        // New data follows what was sent last; anything else is a retransmission.
        let near = [self.next, self.next + 1].into_iter().find(|index| self.chunks.get(*index).is_some_and(inside));
        let index = near.unwrap_or_else(|| self.chunks.partition_point(|stored| stored.end() <= offset));
        self.chunks.get(index).filter(|stored| inside(stored))?;
        self.next = index;
        Some(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffer() -> SendBuffer {
        let mut buffer = SendBuffer::default();
        for (bytes, tag) in [(&b"abcde"[..], 100), (b"fgh", 7), (b"ij", 300)] {
            buffer.push(Bytes::from_static(bytes), tag);
        }
        buffer
    }

    #[test]
    fn slices_end_with_their_chunk_and_are_shared() {
        let mut buffer = buffer();
        for (offset, max, expected, tag, start) in
            [(0, 3, &b"abc"[..], 100, 0), (3, 9, b"de", 100, 0), (5, 9, b"fgh", 7, 5), (9, 1, b"j", 300, 8)]
        {
            let slice = buffer.slice(offset, max).unwrap();
            assert_eq!((&slice.bytes[..], slice.chunk.tag, slice.chunk.offset), (expected, tag, start));
        }
        assert_eq!(buffer.slice(10, 1), None);
        assert_eq!(buffer.chunk_end(6), Some(8));
        let once = buffer.slice(0, 5).unwrap().bytes;
        assert_eq!(once.as_ptr(), buffer.slice(0, 1).unwrap().bytes.as_ptr());
    }

    #[test]
    fn chunks_are_held_until_their_last_byte_is_acknowledged() {
        let mut buffer = buffer();
        buffer.slice(8, 1);
        buffer.release(4);
        assert_eq!(buffer.held(), 10);
        buffer.release(6);
        assert_eq!(buffer.held(), 5);
        assert_eq!(buffer.slice(6, 9).unwrap().bytes, &b"gh"[..]);
        assert_eq!(buffer.slice(2, 1), None);
        buffer.release(10);
        assert_eq!((buffer.held(), buffer.end()), (0, 10));
        buffer.push(Bytes::from_static(b"k"), 5);
        assert_eq!(buffer.slice(10, 5).unwrap().chunk, Chunk { tag: 5, offset: 10, len: 1 });
    }
}
