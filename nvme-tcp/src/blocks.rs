//! Memory that is cut into shared slices, and used again once all of them have been dropped.

use std::collections::VecDeque;

use bytes::BytesMut;

/// Buffers cut from blocks of one size. In steady state, cutting one allocates nothing.
#[derive(Debug)]
pub struct Blocks {
    size: usize,
    /// Used-up blocks that are kept while slices of them are in use.
    max_used: usize,
    current: BytesMut,
    used: VecDeque<BytesMut>,
}

impl Blocks {
    /// Blocks of `size` bytes, of which up to `max_used` are remembered while slices of them are in use. They are allocated as they are needed.
    pub fn new(size: usize, max_used: usize) -> Self {
        Self { size, max_used, current: BytesMut::new(), used: VecDeque::new() }
    }

    /// An empty buffer with room for `length` bytes, to be filled and split off.
    pub fn room(&mut self, length: usize) -> &mut BytesMut {
        debug_assert!(self.current.is_empty(), "what was written before was split off");
        let size = self.size.max(length);
        if self.current.capacity() < length && !self.current.try_reclaim(size) {
            let free = self.used.iter_mut().position(|block| block.try_reclaim(size));
            let next = match free.and_then(|index| self.used.remove(index)) {
                Some(block) => block,
                None => BytesMut::with_capacity(size),
            };
            let used = std::mem::replace(&mut self.current, next);
            if self.used.len() < self.max_used {
                self.used.push_back(used);
            }
        }
        &mut self.current
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_used_again() {
        const SIZE: usize = 4096;
        let mut blocks = Blocks::new(SIZE, 16);
        let mut addresses = std::collections::BTreeSet::new();
        let mut in_use = VecDeque::new();
        for _ in 0..10_000 {
            let block = blocks.room(76);
            block.resize(76, 1);
            let header = block.split().freeze();
            addresses.insert(header.as_ptr().addr() / SIZE);
            in_use.push_back(header);
            if in_use.len() > 100 {
                in_use.pop_front();
            }
        }
        // Each of the four blocks needed may straddle two units of its size.
        assert!(addresses.len() <= 8, "{} places", addresses.len());
    }
}
