//! Bytes to be sent, and sent ones until they are acknowledged.

use std::cell::Cell;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::{Chunk, IdleQueue};

/// The chunks of one connection's stream, from the first that is not acknowledged on.
///
/// Nothing is copied: a chunk is one or more shared slices, and so is each part of it that leaves.
#[derive(Debug, Default)]
pub(in crate::native) struct SendBuffer {
    slices: IdleQueue<Stored>,
    /// Offset after the last byte.
    end: u64,
    /// Bytes held: whole slices, as a part of one holds all of it.
    held: usize,
    /// Index of the slice that was asked for last, most often for new data. To ask changes nothing else.
    next: Cell<usize>,
}

/// A slice of a chunk.
#[derive(Debug)]
struct Stored {
    chunk: Chunk,
    offset: u64,
    bytes: Bytes,
}

impl Stored {
    fn end(&self) -> u64 {
        self.offset + self.bytes.len() as u64
    }

    fn holds(&self, offset: u64) -> bool {
        (self.offset..self.end()).contains(&offset)
    }
}

impl SendBuffer {
    /// Appends a chunk, which must not be empty, nor longer than 4 GiB.
    pub(in crate::native) fn push(&mut self, bytes: Bytes, tag: u64) {
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.store(Chunk { tag, offset: self.end, len }, bytes);
    }

    /// The last chunk, as long as something of it is held.
    pub(in crate::native) fn last(&self) -> Option<Chunk> {
        self.slices.back().map(|stored| stored.chunk)
    }

    /// Makes the last chunk longer by one more slice. Nothing of it has left yet.
    pub(in crate::native) fn append(&mut self, bytes: Bytes) {
        let Some(mut chunk) = self.last() else { return };
        chunk.len = chunk.len.saturating_add(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        let mut index = self.slices.len();
        while let Some(before) = index.checked_sub(1)
            && self.slices[before].chunk.offset == chunk.offset
        {
            self.slices[before].chunk.len = chunk.len;
            index = before;
        }
        self.store(chunk, bytes);
    }

    fn store(&mut self, chunk: Chunk, bytes: Bytes) {
        let offset = self.end;
        self.end += bytes.len() as u64;
        self.held += bytes.len();
        self.slices.push_back(Stored { chunk, offset, bytes });
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

    /// The chunk that the byte at `offset` is in; `None` if there is no such byte.
    pub(in crate::native) fn chunk(&self, offset: u64) -> Option<Chunk> {
        self.find(offset).map(|stored| stored.chunk)
    }

    /// `len` bytes from `offset` on, which are of one chunk.
    pub(in crate::native) fn gather(&self, offset: u64, len: usize) -> SmallVec<[Bytes; 2]> {
        let mut slices = SmallVec::new();
        let (mut from, end) = (offset, offset + len as u64);
        while from < end
            && let Some(stored) = self.find(from)
        {
            // Less than the length of the slice, which is in memory.
            let place = |at: u64| usize::try_from(at - stored.offset).unwrap_or(usize::MAX);
            slices.push(stored.bytes.slice(place(from)..place(end.min(stored.end()))));
            from = stored.end();
        }
        slices
    }

    /// Everything before `una` has been acknowledged.
    pub(in crate::native) fn release(&mut self, una: u64) {
        while let Some(first) = self.slices.front()
            && first.end() <= una
        {
            self.held -= first.bytes.len();
            self.slices.pop_front();
            self.next.set(self.next.get().saturating_sub(1));
        }
    }

    /// Gives back the memory of an empty queue.
    pub(in crate::native) fn trim(&mut self) {
        self.slices.trim();
    }

    /// The slice that the byte at `offset` is in.
    #[inline]
    fn find(&self, offset: u64) -> Option<&Stored> {
        // Asked for several times for each segment, of new data most often, and once more when all has left.
        if offset >= self.end {
            return None;
        }
        match self.slices.get(self.next.get()) {
            Some(stored) if stored.holds(offset) => Some(stored),
            _ => self.search(offset),
        }
    }

    /// The same, of a byte in any other slice than the next.
    #[inline(never)]
    fn search(&self, offset: u64) -> Option<&Stored> {
        // New data follows what was sent last; anything else is a retransmission.
        let following = self.next.get() + 1;
        let follows = self.slices.get(following).is_some_and(|stored| stored.holds(offset));
        let index = if follows { following } else { self.slices.partition_point(|stored| stored.end() <= offset) };
        let found = self.slices.get(index).filter(|stored| stored.holds(offset))?;
        self.next.set(index);
        Some(found)
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
    fn slices_are_shared_and_know_their_chunk() {
        let buffer = buffer();
        for (offset, len, expected, tag, start) in
            [(0, 3, &b"abc"[..], 100, 0), (3, 2, b"de", 100, 0), (5, 3, b"fgh", 7, 5), (9, 1, b"j", 300, 8)]
        {
            let chunk = buffer.chunk(offset).unwrap();
            let slices = buffer.gather(offset, len);
            assert_eq!((&slices.concat()[..], slices.len(), chunk.tag, chunk.offset), (expected, 1, tag, start));
        }
        assert_eq!((buffer.chunk(10), buffer.gather(10, 1).len()), (None, 0));
        let once = buffer.gather(0, 5).remove(0);
        assert_eq!(once.as_ptr(), buffer.gather(0, 1)[0].as_ptr());
    }

    #[test]
    fn a_chunk_of_several_slices_is_one() {
        let mut buffer = buffer();
        buffer.append(Bytes::from_static(b"klm"));
        buffer.append(Bytes::from_static(b"n"));
        buffer.push(Bytes::from_static(b"op"), 400);
        let long = Chunk { tag: 300, offset: 8, len: 6 };
        for offset in 8..14 {
            assert_eq!(buffer.chunk(offset), Some(long), "{offset}");
            for len in 1..=usize::try_from(14 - offset).unwrap() {
                let start = usize::try_from(offset).unwrap();
                assert_eq!(buffer.gather(offset, len).concat(), b"abcdefghijklmnop"[start..start + len]);
            }
        }
        assert_eq!(buffer.gather(9, 4).iter().map(Bytes::len).collect::<Vec<_>>(), [1, 3]);
        assert_eq!((buffer.held(), buffer.end(), buffer.last().unwrap().tag), (16, 16, 400));
        buffer.release(11);
        assert_eq!((buffer.held(), buffer.chunk(12)), (6, Some(long)));
    }

    #[test]
    fn chunks_are_held_until_their_last_byte_is_acknowledged() {
        let mut buffer = buffer();
        buffer.gather(8, 1);
        buffer.release(4);
        assert_eq!(buffer.held(), 10);
        buffer.release(6);
        assert_eq!(buffer.held(), 5);
        assert_eq!(buffer.gather(6, 2)[0], &b"gh"[..]);
        assert_eq!(buffer.chunk(2), None);
        buffer.release(10);
        assert_eq!((buffer.held(), buffer.end()), (0, 10));
        buffer.push(Bytes::from_static(b"k"), 5);
        assert_eq!(buffer.chunk(10), Some(Chunk { tag: 5, offset: 10, len: 1 }));
    }
}
