//! Slices of received bytes, one after the other: how they are cut, joined and kept from holding too much memory.

use std::collections::VecDeque;

use bytes::Bytes;
use smallvec::SmallVec;

/// Contiguous bytes in slices, none empty.
pub(super) type Pieces = VecDeque<Bytes>;

/// Slices of at least this many bytes are never copied. Devices receive several frames into one buffer of 8 KiB: at worst, with nothing else left
/// in there, they hold eight times their length.
const SMALL: usize = 1024;
/// Small slices are copied into larger ones of at most this many bytes.
const MERGED: usize = 4096;

/// The payload of a segment of which parts are stored and parts are known already.
pub(super) struct Payload {
    pieces: SmallVec<[Bytes; 2]>,
    /// The first piece of which something is left.
    first: usize,
    /// Bytes of the whole payload.
    full: usize,
}

impl Payload {
    /// The first `len` bytes of `pieces`, or all if they are fewer.
    pub(super) fn new(pieces: impl Iterator<Item = Bytes>, len: usize) -> Self {
        let mut payload = Self { pieces: SmallVec::new(), first: 0, full: 0 };
        for mut piece in pieces {
            piece.truncate(len - payload.full);
            payload.full += piece.len();
            if !piece.is_empty() {
                payload.pieces.push(piece);
            }
        }
        payload
    }

    /// Bytes that it was made with.
    pub(super) fn len(&self) -> u64 {
        self.full as u64
    }

    /// Leaves out the next `count` bytes.
    pub(super) fn skip(&mut self, count: u64) {
        self.each(count, drop);
    }

    /// Appends the next `count` bytes to `sink`; how many pieces that were.
    ///
    /// A part that is less than a quarter of the payload is copied: a peer whose segments overlap almost completely could
    /// otherwise let each byte hold a whole frame.
    pub(super) fn take(&mut self, count: u64, sink: &mut Pieces) -> usize {
        let (full, before) = (self.full, sink.len());
        self.each(count, |part| {
            sink.push_back(if part.len() < full / 4 { Bytes::copy_from_slice(&part) } else { part });
        });
        sink.len() - before
    }

    fn each(&mut self, mut count: u64, mut sink: impl FnMut(Bytes)) {
        while count > 0
            && let Some(piece) = self.pieces.get_mut(self.first)
        {
            if piece.len() as u64 <= count {
                count -= piece.len() as u64;
                self.first += 1;
                sink(std::mem::take(piece));
            } else {
                sink(piece.split_to(usize::try_from(count).unwrap_or(usize::MAX)));
                count = 0;
            }
        }
    }
}

/// Appends `tail`, moving whichever has fewer pieces: a hole that is filled from its end again and again costs no more
/// than the logarithm of what lies behind it for each piece.
pub(super) fn append(pieces: &mut Pieces, mut tail: Pieces) {
    if tail.len() <= pieces.len() {
        pieces.append(&mut tail);
        return;
    }
    while let Some(piece) = pieces.pop_back() {
        tail.push_front(piece);
    }
    *pieces = tail;
}

/// Puts `head` before `pieces`.
pub(super) fn prepend(pieces: &mut Pieces, mut head: Pieces) {
    while let Some(piece) = head.pop_back() {
        pieces.push_front(piece);
    }
}

/// Copies the slices that are smaller than [`SMALL`], neighbours into one, so that they no longer hold the
/// buffers of the frames that they came in.
pub(super) fn merge_small(pieces: &mut Pieces) {
    if pieces.iter().all(|piece| piece.len() >= SMALL) {
        return;
    }
    let mut run = Vec::with_capacity(MERGED);
    let mut merged = Pieces::new();
    let flush = |run: &mut Vec<u8>, merged: &mut Pieces| {
        if !run.is_empty() {
            merged.push_back(Bytes::copy_from_slice(run));
            run.clear();
        }
    };
    for piece in pieces.drain(..) {
        if piece.len() >= SMALL || run.len() + piece.len() > MERGED {
            flush(&mut run, &mut merged);
        }
        if piece.len() >= SMALL {
            merged.push_back(piece);
        } else {
            run.extend_from_slice(&piece);
        }
    }
    flush(&mut run, &mut merged);
    *pieces = merged;
}
