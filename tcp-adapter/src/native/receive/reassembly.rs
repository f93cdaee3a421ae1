//! The received bytes of one connection, in order and beyond gaps, as slices of the frames that they came in.

#[cfg(test)]
mod tests;

use std::ops::Range;

use bytes::Bytes;

use super::beyond::{Beyond, MERGE_AT};
use super::pieces::{Payload, append, merge_small};
use super::sack::{self, SackBlocks};
use crate::{IdleQueue, Received};

/// Pieces for which there stays room when all have been read: a burst of frames. A connection that becomes idle gives that back
/// with [`Reassembly::release`].
const KEEP: usize = 512;

/// Puts the bytes of one direction into order.
///
/// # Memory
///
/// A slice holds the whole buffer of its frame, however short it is. Slices of 1024 bytes and more stay as they are. If
/// more than 64 pieces wait, in order or beyond gaps, and each time their number has doubled after that, smaller ones are copied,
/// neighbours into one of up to 4 KiB, which frees the buffers. What is left of a segment that is mostly known already is copied at once
/// if it is less than a quarter. There are at most 1024 blocks beyond gaps; the farthest is forgotten for a nearer one.
#[derive(Debug)]
pub(crate) struct Reassembly {
    /// In order and not read, the last byte being the one before `rcv_nxt`.
    ready: IdleQueue<Bytes>,
    /// Bytes of `ready`.
    buffered: usize,
    rcv_nxt: u64,
    /// Only while there is a gap or a duplicate to report, so that the usual case is one comparison.
    beyond: Option<Box<Beyond>>,
    /// Number of pieces at which small ones in `ready` are merged.
    merge_at: usize,
    sack: bool,
}

/// What a segment has brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Inserted {
    /// Bytes by which [`Reassembly::rcv_nxt`] has moved.
    pub(crate) advanced: u64,
    /// The first part of the segment that had been received before (RFC 2883 section 4.2).
    pub(crate) duplicate: Option<Range<u64>>,
    /// Whether there was a gap before or is one now: the segment left, narrowed or closed one, or came while one was open. It must
    /// be acknowledged at once (RFC 5681 section 4.2).
    pub(crate) gap: bool,
}

impl Reassembly {
    /// Without any bytes. With `sack`, remembers what [`sack_blocks`](Self::sack_blocks) has to report.
    pub(crate) fn new(sack: bool) -> Self {
        Self { ready: IdleQueue::new(), buffered: 0, rcv_nxt: 0, beyond: None, merge_at: MERGE_AT, sack }
    }

    /// Takes the first `len` bytes of `payload`, the first of which is at `offset` and which are all in the window.
    ///
    /// Bytes that are known already are not compared.
    #[inline]
    pub(crate) fn insert(&mut self, offset: u64, payload: impl IntoIterator<Item = Bytes>, len: usize) -> Inserted {
        if offset != self.rcv_nxt || self.beyond.is_some() {
            return self.insert_anywhere(offset, Payload::new(payload.into_iter(), len));
        }
        let mut left = len;
        for mut piece in payload {
            piece.truncate(left);
            if !piece.is_empty() {
                left -= piece.len();
                self.ready.push_back(piece);
            }
        }
        self.advance(len - left);
        Inserted { advanced: (len - left) as u64, duplicate: None, gap: false }
    }

    /// Everything before this offset has been received.
    pub(crate) fn rcv_nxt(&self) -> u64 {
        self.rcv_nxt
    }

    /// The next piece in order; `None` if everything in order has been read.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<Received> {
        let bytes = self.ready.pop_front()?;
        let offset = self.rcv_nxt - self.buffered as u64;
        self.buffered -= bytes.len();
        if self.ready.is_empty() {
            self.merge_at = MERGE_AT;
            if self.ready.capacity() > KEEP {
                self.ready.shrink_to(KEEP);
            }
        }
        Some(Received { offset, bytes })
    }

    /// Bytes in order that have not been read.
    pub(crate) fn buffered(&self) -> usize {
        self.buffered
    }

    /// Bytes held beyond gaps.
    pub(crate) fn out_of_order(&self) -> usize {
        self.beyond.as_ref().map_or(0, |beyond| usize::try_from(beyond.bytes()).unwrap_or(usize::MAX))
    }

    /// Whether bytes are held beyond a gap.
    pub(crate) fn has_gap(&self) -> bool {
        self.beyond.as_ref().is_some_and(|beyond| !beyond.is_empty())
    }

    /// End of the farthest byte that is held; [`rcv_nxt`](Self::rcv_nxt) without gaps.
    pub(crate) fn end_of_known(&self) -> u64 {
        self.beyond.as_ref().and_then(|beyond| beyond.end()).unwrap_or(self.rcv_nxt)
    }

    /// `range`, all of which had arrived before, has arrived again: the peer is to be told (RFC 2883 section 4.1).
    pub(crate) fn note_duplicate(&mut self, range: Range<u64>) {
        if self.sack && !range.is_empty() && range.end <= self.rcv_nxt {
            self.beyond.get_or_insert_default().sack.on_duplicate(range);
        }
    }

    /// Whether [`sack_blocks`](Self::sack_blocks) would return any.
    #[inline]
    pub(crate) fn has_sack_blocks(&self) -> bool {
        self.sack && self.beyond.is_some()
    }

    /// The blocks for the acknowledgement that is about to leave, which has room for `room`: first, once only, what has been received twice
    /// (RFC 2883), then the block of the segment that came last, then others (RFC 2018 section 4).
    pub(crate) fn sack_blocks(&mut self, room: usize) -> SackBlocks {
        let Some(beyond) = self.beyond.as_mut().filter(|_| self.sack) else {
            return SackBlocks::new();
        };
        let blocks = sack::blocks(beyond, room);
        self.drop_beyond_if_unused();
        blocks
    }

    /// Lets go of at least `bytes` that are held beyond gaps, or of all of them, the farthest first; how many they were. They have not been
    /// acknowledged but selectively, so the peer still has them (RFC 2018 section 8).
    #[cold]
    pub(crate) fn prune(&mut self, bytes: usize) -> usize {
        let freed = self.beyond.as_mut().map_or(0, |beyond| beyond.prune(bytes));
        self.drop_beyond_if_unused();
        freed
    }

    /// Merges small pieces now, however few they are: for a stack that runs short of memory.
    pub(crate) fn compact(&mut self) {
        self.merge_ready();
        if let Some(beyond) = &mut self.beyond {
            beyond.merge();
        }
    }

    /// Gives back the memory that is not in use: for a connection that has become idle.
    pub(crate) fn release(&mut self) {
        self.ready.trim();
    }

    #[cold]
    #[inline(never)]
    fn insert_anywhere(&mut self, offset: u64, mut payload: Payload) -> Inserted {
        let end = offset.saturating_add(payload.len());
        let (before, had_gap) = (self.rcv_nxt, self.has_gap());
        let below = offset..end.min(before);
        let range = offset.max(before)..end;
        let mut duplicate = (!below.is_empty()).then_some(below);
        if !range.is_empty() {
            payload.skip(range.start - offset);
            let known =
                if range.start == before { self.fill(&mut payload, end) } else { self.store(&mut payload, &range) };
            duplicate = duplicate.or(known);
        }
        if let Some(range) = duplicate.clone().filter(|_| self.sack) {
            self.beyond.get_or_insert_default().sack.on_duplicate(range);
        }
        let gap = had_gap || self.has_gap();
        self.drop_beyond_if_unused();
        Inserted { advanced: self.rcv_nxt - before, duplicate, gap }
    }

    /// Takes a payload that continues `ready` and ends at `end`, and every block that then continues it; the first part
    /// that was known already.
    fn fill(&mut self, payload: &mut Payload, end: u64) -> Option<Range<u64>> {
        let mut duplicate = None;
        while self.rcv_nxt < end {
            let first = self.beyond.as_ref().and_then(|beyond| beyond.first());
            let stop = first.map_or(end, |block| block.start.min(end));
            payload.take(stop - self.rcv_nxt, &mut self.ready);
            self.advance((stop - self.rcv_nxt) as usize);
            if let Some(block) = self.beyond.as_mut().and_then(|beyond| beyond.take_first(stop)) {
                let known = block.start..block.end.min(end);
                if !known.is_empty() {
                    payload.skip(known.end - known.start);
                    duplicate.get_or_insert(known);
                }
                append(&mut self.ready, block.pieces);
                self.advance((block.end - block.start) as usize);
            }
        }
        duplicate
    }

    /// Keeps a payload beyond a gap; the first part that was known already.
    fn store(&mut self, payload: &mut Payload, range: &Range<u64>) -> Option<Range<u64>> {
        let beyond = self.beyond.get_or_insert_default();
        let (block, duplicate) = beyond.store(payload, range);
        if let Some(block) = block {
            beyond.sack.on_segment(&block);
        }
        duplicate
    }

    #[inline]
    fn advance(&mut self, count: usize) {
        self.rcv_nxt += count as u64;
        self.buffered += count;
        if self.ready.len() >= self.merge_at {
            self.merge_ready();
        }
    }

    #[cold]
    fn merge_ready(&mut self) {
        merge_small(&mut self.ready);
        self.merge_at = MERGE_AT.max(2 * self.ready.len());
    }

    fn drop_beyond_if_unused(&mut self) {
        self.beyond.take_if(|beyond| beyond.is_empty() && !beyond.sack.has_duplicate());
    }
}
