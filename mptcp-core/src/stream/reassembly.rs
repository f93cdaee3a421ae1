//! Puts the bytes of all subflows in the order of the stream.

use std::collections::BTreeMap;

use bytes::{Buf, Bytes};
use tcp_adapter::IdleQueue;

use super::run::Run;

/// The receive side of a connection: bytes from any subflow, in any order, with any overlap.
///
/// The first copy of a byte is the one that is delivered (RFC 8684 section 3.3.1).
///
/// Contiguous bytes that wait for earlier ones form a *fragment*. There are at most
/// `max_fragments`: bytes that would make one more push out the fragment farthest from
/// [`rcv_nxt`](Self::rcv_nxt), or are refused if they are the farthest themselves. What is pushed out
/// was never DATA_ACKed, so the sender still has it and sends it again (section 3.3.2 lets
/// a receiver drop what only the subflow has acknowledged).
///
/// # Memory
///
/// Payload is shared with the buffers it came in, except for slices of under 256 bytes, which
/// are copied and joined with their neighbours, and copied where they are alone in a fragment. At most
/// 2 + [`max_fragments`](Self::new) + [`held`](Self::held) / 256 slices are stored, so that is
/// also the largest number of received buffers that are kept alive.
#[derive(Debug)]
pub struct Reassembly {
    /// In order and unread; ends at `rcv_nxt`.
    ready: Run,
    rcv_nxt: u64,
    /// Fragments by the position of their first byte. They neither overlap nor touch, and
    /// all lie behind `rcv_nxt`.
    fragments: BTreeMap<u64, Run>,
    out_of_order: usize,
    max_fragments: usize,
    /// Empty ones, whose memory is used again.
    spare: IdleQueue<Run>,
}

/// Empty runs that are kept: as many as there are fragments at a time where a few paths bring the stream.
const MAX_SPARE: usize = 4;

/// What became of the bytes of one [`Reassembly::insert`].
///
/// `new + duplicate + beyond` is the number of bytes inserted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inserted {
    /// Bytes stored that were not there before.
    pub new: usize,
    /// Bytes ignored since a copy was there before, read or unread.
    pub duplicate: usize,
    /// Bytes dropped, as they lie at or beyond the end of the window or would make one fragment too many.
    pub beyond: usize,
    /// Bytes of an earlier insertion, farther away, that were dropped to make room.
    pub pushed_out: usize,
    /// Whether [`Reassembly::rcv_nxt`] moved.
    pub advanced: bool,
}

impl Reassembly {
    /// An empty stream that expects position 0.
    ///
    /// With `max_fragments` 0, only bytes in order are taken.
    pub const fn new(max_fragments: usize) -> Self {
        Self {
            ready: Run::new(),
            rcv_nxt: 0,
            fragments: BTreeMap::new(),
            out_of_order: 0,
            max_fragments,
            spare: IdleQueue::new(),
        }
    }

    /// Stores `bytes`, the first of which has position `pos`, as far as they are new and
    /// before `window_end`.
    #[inline]
    pub fn insert(&mut self, pos: u64, bytes: Bytes, window_end: u64) -> Inserted {
        let end = pos.saturating_add(bytes.len() as u64);
        if pos == self.rcv_nxt && end <= window_end && self.fragments.is_empty() && !bytes.is_empty() {
            let inserted = Inserted { new: bytes.len(), advanced: true, ..Inserted::default() };
            self.rcv_nxt = end;
            self.ready.push(bytes);
            return inserted;
        }
        self.insert_anywhere(pos, bytes, window_end)
    }

    /// Stores slices that follow each other, the first byte of which has position `pos`. The same as to
    /// [`insert`](Self::insert) one after the other, with less work.
    #[inline]
    pub fn insert_all(&mut self, pos: u64, slices: &mut Vec<Bytes>, window_end: u64) -> Inserted {
        if slices.len() == 1
            && let Some(only) = slices.pop()
        {
            return self.insert(pos, only, window_end);
        }
        self.insert_several(pos, slices, window_end)
    }

    fn insert_several(&mut self, pos: u64, slices: &mut Vec<Bytes>, window_end: u64) -> Inserted {
        let len: usize = slices.iter().map(Bytes::len).sum();
        let end = pos.saturating_add(len as u64);
        let in_gap = pos >= self.rcv_nxt && self.known_until(pos) <= pos && self.next_fragment(pos) >= end;
        let mut inserted = Inserted::default();
        if len > 0 && in_gap && end <= window_end {
            let before = self.rcv_nxt;
            self.fill(pos, len, &mut inserted, |run| slices.drain(..).for_each(|slice| run.push(slice)));
            slices.clear();
            inserted.advanced = self.rcv_nxt > before;
            return inserted;
        }
        let mut position = pos;
        for slice in slices.drain(..) {
            let (at, len) = (position, slice.len() as u64);
            position += len;
            let one = self.insert(at, slice, window_end);
            inserted.new += one.new;
            inserted.duplicate += one.duplicate;
            inserted.beyond += one.beyond;
            inserted.pushed_out += one.pushed_out;
            inserted.advanced |= one.advanced;
        }
        inserted
    }

    #[inline(never)]
    fn insert_anywhere(&mut self, pos: u64, mut bytes: Bytes, window_end: u64) -> Inserted {
        let mut inserted = Inserted::default();
        let before = self.rcv_nxt;
        let old = clamp_len(self.rcv_nxt.saturating_sub(pos), bytes.len());
        bytes.advance(old);
        inserted.duplicate = old;
        let mut cursor = pos + old as u64;
        let inside = clamp_len(window_end.saturating_sub(cursor), bytes.len());
        inserted.beyond = bytes.len() - inside;
        bytes.truncate(inside);
        while !bytes.is_empty() {
            let known = clamp_len(self.known_until(cursor).saturating_sub(cursor), bytes.len());
            bytes.advance(known);
            inserted.duplicate += known;
            cursor += known as u64;
            let gap = clamp_len(self.next_fragment(cursor).saturating_sub(cursor), bytes.len());
            if gap > 0 {
                let part = bytes.split_to(gap);
                self.fill(cursor, gap, &mut inserted, |run| run.push(part));
                cursor += gap as u64;
            }
        }
        inserted.advanced = self.rcv_nxt > before;
        inserted
    }

    /// The first position that was not received: everything before is in order. This is what to DATA_ACK.
    pub const fn rcv_nxt(&self) -> u64 {
        self.rcv_nxt
    }

    /// Bytes in order that were not read yet.
    pub const fn readable(&self) -> usize {
        self.ready.len()
    }

    /// The next bytes in order, at most `max` and possibly fewer than are readable; `None` if there are none.
    pub fn read(&mut self, max: usize) -> Option<Bytes> {
        self.ready.pop(max)
    }

    /// Bytes that wait for earlier ones.
    pub const fn out_of_order(&self) -> usize {
        self.out_of_order
    }

    /// Drops whole fragments, the farthest first, until they had at least `bytes` together or none is left; how many bytes they had. They
    /// were never DATA_ACKed, see [`Reassembly`].
    pub fn prune(&mut self, bytes: usize) -> usize {
        let mut dropped = 0;
        while dropped < bytes
            && let Some((_, run)) = self.fragments.pop_last()
        {
            dropped += run.len();
        }
        self.out_of_order -= dropped;
        dropped
    }

    /// Gives back the memory of empty queues.
    pub fn trim(&mut self) {
        self.ready.trim();
        drop(self.spare.take());
    }

    /// Bytes held: readable ones and those out of order.
    pub const fn held(&self) -> usize {
        self.ready.len() + self.out_of_order
    }

    /// The number of fragments out of order.
    pub fn fragments(&self) -> usize {
        self.fragments.len()
    }

    /// Where the received bytes end that include `position`; not after `position` if it was not received.
    fn known_until(&self, position: u64) -> u64 {
        self.fragments.range(..=position).next_back().map_or(self.rcv_nxt, |(&start, run)| start + run.len() as u64)
    }

    /// The start of the first fragment at or after `position`.
    fn next_fragment(&self, position: u64) -> u64 {
        self.fragments.range(position..).next().map_or(u64::MAX, |(&start, _)| start)
    }

    /// Stores `len` bytes that `push` appends, none of which is there, at `pos`, not before `rcv_nxt`.
    fn fill(&mut self, pos: u64, len: usize, inserted: &mut Inserted, push: impl FnOnce(&mut Run)) {
        let end = pos + len as u64;
        if pos == self.rcv_nxt {
            inserted.new += len;
            push(&mut self.ready);
            self.rcv_nxt = end;
            if let Some(mut run) = self.fragments.remove(&end) {
                self.rcv_nxt += run.len() as u64;
                self.out_of_order -= run.len();
                self.ready.append(&mut run);
                self.keep(run);
            }
            return;
        }
        let touched = self.fragments.range(..pos).next_back();
        let touched = touched.filter(|(start, run)| **start + run.len() as u64 == pos).map(|(&start, _)| start);
        // A fragment that only grows or joins another does not add to their number.
        if touched.is_none() && !self.fragments.contains_key(&end) && !self.make_room(pos, inserted) {
            inserted.beyond += len;
            return;
        }
        inserted.new += len;
        self.out_of_order += len;
        let following = self.fragments.remove(&end);
        let run =
            self.fragments.entry(touched.unwrap_or(pos)).or_insert_with(|| self.spare.pop_front().unwrap_or_default());
        push(run);
        let followed = following.map(|mut following| {
            run.append(&mut following);
            following
        });
        if touched.is_none() {
            run.let_go_of_buffer();
        }
        if let Some(empty) = followed {
            self.keep(empty);
        }
    }

    fn keep(&mut self, empty: Run) {
        if self.spare.len() < MAX_SPARE {
            self.spare.push_back(empty);
        }
    }

    /// Makes room for one more fragment, at `pos`; says whether there is some.
    fn make_room(&mut self, pos: u64, inserted: &mut Inserted) -> bool {
        if self.fragments.len() < self.max_fragments {
            return true;
        }
        let Some(farthest) = self.fragments.last_entry().filter(|farthest| *farthest.key() > pos) else {
            return false;
        };
        let dropped = farthest.remove().len();
        self.out_of_order -= dropped;
        inserted.pushed_out += dropped;
        true
    }
}

/// `distance` as a number of bytes of a slice of `len`.
fn clamp_len(distance: u64, len: usize) -> usize {
    usize::try_from(distance).map_or(len, |distance| distance.min(len))
}

#[cfg(test)]
mod tests;
