//! Memory for the headers of frames.

use std::collections::VecDeque;

use bytes::BytesMut;

/// Bytes of a buffer: two cache lines, which hold the longest headers there are (114 bytes).
const BUFFER: usize = 128;
/// A block has 256 buffers.
const BLOCK: usize = 256 * BUFFER;
/// Blocks that are kept, 2 MiB: 16,384 frames under way. With more of them a block is allocated for every 256.
const MAX_KEPT: usize = 64;

/// Buffers that came back and are kept: a burst or two.
const MAX_RETURNED: usize = 256;

/// Hands out buffers for headers without an allocation for each.
///
/// Buffers are cut from blocks. A block that is used up waits in line until all its frames are gone, and is then cut
/// again: there are as many blocks as it takes for the frames that are under way at a time. Heads of received frames that
/// nobody needs any more can be given back, which costs least.
#[derive(Debug)]
pub(in crate::native) struct HeadPool {
    /// Empty; its capacity is what can still be cut.
    block: BytesMut,
    /// Used up: handles without capacity that keep their blocks.
    used: VecDeque<BytesMut>,
    /// Buffers that came back.
    returned: Vec<BytesMut>,
}

impl HeadPool {
    pub(in crate::native) fn new() -> Self {
        Self { block: BytesMut::with_capacity(BLOCK), used: VecDeque::new(), returned: Vec::new() }
    }

    /// An empty buffer with room for at least 128 bytes.
    #[inline]
    pub(in crate::native) fn take(&mut self) -> BytesMut {
        if let Some(buffer) = self.returned.pop() {
            return buffer;
        }
        if self.block.capacity() < BUFFER {
            self.next_block();
        }
        let rest = self.block.split_off(BUFFER);
        std::mem::replace(&mut self.block, rest)
    }

    /// Takes the head of a frame that has been dealt with, to be used again.
    #[inline]
    pub(in crate::native) fn give_back(&mut self, mut head: BytesMut) {
        // Larger ones are frames as a device has read them: kept as heads, they would hold much memory for little.
        if self.returned.len() < MAX_RETURNED && (BUFFER..=4 * BUFFER).contains(&head.capacity()) {
            head.clear();
            self.returned.push(head);
        }
    }

    #[cold]
    fn next_block(&mut self) {
        self.used.push_back(std::mem::take(&mut self.block));
        // Frames leave in about the order in which they were made: most often it is the oldest block that is free.
        let free = self.used.iter_mut().position(|block| block.try_reclaim(BLOCK));
        if free.is_none() && self.used.len() > MAX_KEPT {
            self.used.pop_front();
        }
        self.block = free.and_then(|index| self.used.remove(index)).unwrap_or_else(|| BytesMut::with_capacity(BLOCK));
    }

    #[cfg(test)]
    fn blocks(&self) -> usize {
        self.used.len() + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_do_not_overlap_and_have_room() {
        let mut pool = HeadPool::new();
        let mut taken: Vec<BytesMut> = (0..1_000).map(|_| pool.take()).collect();
        for (index, buffer) in taken.iter_mut().enumerate() {
            assert!(buffer.is_empty() && buffer.capacity() == BUFFER);
            buffer.extend_from_slice(&[u8::try_from(index % 251).unwrap(); BUFFER]);
        }
        for (index, buffer) in taken.iter().enumerate() {
            assert!(buffer.iter().all(|byte| usize::from(*byte) == index % 251));
        }
    }

    #[test]
    fn blocks_are_used_again() {
        let mut pool = HeadPool::new();
        let mut under_way = VecDeque::new();
        for _ in 0..100_000 {
            under_way.push_back(pool.take());
            if under_way.len() > 1_000 {
                under_way.pop_front();
            }
        }
        assert!(pool.blocks() <= 6, "{}", pool.blocks());
    }

    #[test]
    fn a_frame_that_is_held_keeps_one_block() {
        let mut pool = HeadPool::new();
        let _held = pool.take();
        for _ in 0..100_000 {
            pool.take();
        }
        assert!(pool.blocks() <= 2, "{}", pool.blocks());
    }

    #[test]
    fn what_comes_back_is_used_first_and_empty() {
        let mut pool = HeadPool::new();
        let mut buffer = BytesMut::with_capacity(200);
        buffer.extend_from_slice(b"headers");
        let at = buffer.as_ptr();
        pool.give_back(buffer);
        let again = pool.take();
        assert!(again.is_empty() && again.as_ptr() == at);
        for unfit in [BytesMut::with_capacity(100), BytesMut::with_capacity(2_048)] {
            pool.give_back(unfit);
        }
        assert_eq!(pool.take().capacity(), BUFFER);
        for _ in 0..1_000 {
            pool.give_back(BytesMut::with_capacity(BUFFER));
        }
        assert_eq!(pool.returned.len(), MAX_RETURNED);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut pool = HeadPool::new();
        let _all: Vec<BytesMut> = (0..100 * 256).map(|_| pool.take()).collect();
        assert!(pool.blocks() <= MAX_KEPT + 1, "{}", pool.blocks());
    }
}
