//! What has arrived beyond a gap.

use std::collections::VecDeque;
use std::ops::Range;

use super::pieces::{Payload, Pieces, append, merge_small, prepend};
use super::sack::SackState;

/// Contiguous blocks at most. More gaps than that in one window are no loss but an attack, on the memory or on the time that
/// it takes to find a place; the farthest block is forgotten then, which is allowed as it has not been acknowledged (RFC 2018
/// section 8).
pub(super) const MAX_BLOCKS: usize = 1024;
/// Pieces from which on it is looked whether small ones should be merged.
pub(super) const MERGE_AT: usize = 64;

/// The bytes received beyond a gap, and what to report of them. Only there while there is something in it.
#[derive(Debug)]
pub(super) struct Beyond {
    /// In order, neither overlapping nor adjacent.
    blocks: VecDeque<Block>,
    bytes: u64,
    pieces: usize,
    merge_at: usize,
    pub(super) sack: SackState,
}

/// A contiguous block between two gaps.
#[derive(Debug, Default)]
pub(super) struct Block {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) pieces: Pieces,
}

impl Default for Beyond {
    fn default() -> Self {
        Self { blocks: VecDeque::new(), bytes: 0, pieces: 0, merge_at: MERGE_AT, sack: SackState::default() }
    }
}

impl Beyond {
    /// Whether there is no gap.
    pub(super) fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The first block.
    pub(super) fn first(&self) -> Option<Range<u64>> {
        self.blocks.front().map(Block::range)
    }

    /// End of the last block.
    pub(super) fn end(&self) -> Option<u64> {
        self.blocks.back().map(|block| block.end)
    }

    /// Every block, the farthest first.
    pub(super) fn ranges(&self) -> impl Iterator<Item = Range<u64>> {
        self.blocks.iter().rev().map(Block::range)
    }

    /// The block that holds the byte at `offset`.
    pub(super) fn enclosing(&self, offset: u64) -> Option<Range<u64>> {
        let at = self.blocks.partition_point(|block| block.end <= offset);
        self.blocks.get(at).filter(|block| block.start <= offset).map(Block::range)
    }

    /// Removes the first block if it starts at `offset`.
    pub(super) fn take_first(&mut self, offset: u64) -> Option<Block> {
        let block = self.blocks.pop_front_if(|block| block.start == offset)?;
        self.forget(&block);
        Some(block)
    }

    /// Keeps what is new of a payload that covers `range`, which starts after a gap. Returns the block that it is part of now,
    /// `None` if it was dropped, and the first part that was there already.
    pub(super) fn store(
        &mut self,
        payload: &mut Payload,
        range: &Range<u64>,
    ) -> (Option<Range<u64>>, Option<Range<u64>>) {
        let at = self.blocks.partition_point(|block| block.end < range.start);
        let touched = self.blocks.iter().skip(at).take_while(|block| block.start <= range.end).count();
        let duplicate = if touched == 0 {
            if !self.make_room(at) {
                return (None, None);
            }
            let mut block = Block { start: range.start, end: range.end, pieces: Pieces::new() };
            self.pieces += payload.take(range.end - range.start, &mut block.pieces);
            self.bytes += range.end - range.start;
            self.blocks.insert(at, block);
            None
        } else {
            self.join(payload, range, at, touched)
        };
        let block = self.blocks[at].range();
        if self.pieces >= self.merge_at {
            self.merge();
        }
        (Some(block), duplicate)
    }

    /// Lets go of whole pieces from the farthest on, until they have at least `bytes` together or nothing is left; how many bytes they had.
    pub(super) fn prune(&mut self, bytes: usize) -> usize {
        let mut freed = 0;
        while freed < bytes
            && let Some(block) = self.blocks.back_mut()
        {
            if let Some(piece) = block.pieces.pop_back() {
                freed += piece.len();
                block.end -= piece.len() as u64;
                self.pieces -= 1;
            }
            if block.pieces.is_empty() {
                self.blocks.pop_back();
            }
        }
        self.bytes -= freed as u64;
        freed
    }

    /// Merges small pieces, see [`merge_small`].
    pub(super) fn merge(&mut self) {
        self.blocks.iter_mut().for_each(|block| merge_small(&mut block.pieces));
        self.pieces = self.blocks.iter().map(|block| block.pieces.len()).sum();
        // Looked at again only when there are twice as many, so the cost of looking is constant for each piece.
        self.merge_at = MERGE_AT.max(2 * self.pieces);
    }

    /// Joins the `touched` blocks from `at` on and what is between them in the payload.
    fn join(&mut self, payload: &mut Payload, range: &Range<u64>, at: usize, touched: usize) -> Option<Range<u64>> {
        let mut joined = std::mem::take(&mut self.blocks[at]);
        let mut duplicate = None;
        let mut overlap = |payload: &mut Payload, block: &Range<u64>| {
            let known = range.start.max(block.start)..range.end.min(block.end);
            if !known.is_empty() {
                payload.skip(known.end - known.start);
                duplicate.get_or_insert(known);
            }
        };
        let known = joined.range();
        if range.start < known.start {
            let mut head = Pieces::new();
            self.pieces += payload.take(known.start - range.start, &mut head);
            self.bytes += known.start - range.start;
            prepend(&mut joined.pieces, head);
            joined.start = range.start;
        }
        overlap(payload, &known);
        for next in self.blocks.drain(at + 1..at + touched) {
            self.pieces += payload.take(next.start - joined.end, &mut joined.pieces);
            self.bytes += next.start - joined.end;
            overlap(payload, &next.range());
            joined.end = next.end;
            append(&mut joined.pieces, next.pieces);
        }
        if range.end > joined.end {
            self.pieces += payload.take(range.end - joined.end, &mut joined.pieces);
            self.bytes += range.end - joined.end;
            joined.end = range.end;
        }
        self.blocks[at] = joined;
        duplicate
    }

    /// Whether a block can be inserted at `at`, if necessary in place of the farthest.
    fn make_room(&mut self, at: usize) -> bool {
        if self.blocks.len() < MAX_BLOCKS {
            return true;
        }
        if at == self.blocks.len() {
            return false;
        }
        if let Some(block) = self.blocks.pop_back() {
            self.forget(&block);
        }
        true
    }

    fn forget(&mut self, block: &Block) {
        self.bytes -= block.end - block.start;
        self.pieces -= block.pieces.len();
    }
}

impl Block {
    fn range(&self) -> Range<u64> {
        self.start..self.end
    }
}
