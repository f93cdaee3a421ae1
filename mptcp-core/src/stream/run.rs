//! Contiguous received bytes in slices that are never all small.

use bytes::{Bytes, BytesMut};
use tcp_adapter::IdleQueue;

/// Slices shorter than this are copied when stored.
///
/// In bytes. A slice keeps the buffer alive that it was received in, which is at least a
/// frame of 1514 bytes or so and may be pooled at 2048: from 256 bytes on that is a factor
/// of at most 8; below it, copying costs less than the handling of the segment did.
const COPIED_BELOW: usize = 256;

/// Small slices are joined with a neighbour while the result has at most this many bytes.
///
/// Bounds what one joining copies.
const JOINED_MAX: usize = 1024;

/// Contiguous bytes, in the order of the stream, as slices.
///
/// Of two neighbouring slices, either both have at least 256 bytes, or they have more than 1024
/// together; so there are at most 1 + `len` / 256 slices, each the view of one received buffer or
/// a copy. (Reading from the front can shorten the first slice below that.)
#[derive(Debug, Default)]
pub(super) struct Run {
    slices: IdleQueue<Bytes>,
    len: usize,
}

impl Run {
    pub(super) const fn new() -> Self {
        Self { slices: IdleQueue::new(), len: 0 }
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends `bytes`; an empty slice changes nothing.
    #[inline]
    pub(super) fn push(&mut self, bytes: Bytes) {
        self.len += bytes.len();
        if bytes.len() >= COPIED_BELOW && self.slices.back().is_none_or(|back| back.len() >= COPIED_BELOW) {
            return self.slices.push_back(bytes);
        }
        self.push_small(bytes);
    }

    /// Appends `bytes`, that are few or come after few.
    fn push_small(&mut self, bytes: Bytes) {
        let small = bytes.len() < COPIED_BELOW;
        match self.slices.back_mut() {
            _ if bytes.is_empty() => {}
            Some(back) if (small || back.len() < COPIED_BELOW) && back.len() + bytes.len() <= JOINED_MAX => {
                let mut joined = BytesMut::with_capacity(back.len() + bytes.len());
                joined.extend_from_slice(back);
                joined.extend_from_slice(&bytes);
                *back = joined.freeze();
            }
            _ if small => self.slices.push_back(Bytes::copy_from_slice(&bytes)),
            _ => self.slices.push_back(bytes),
        }
    }

    /// Appends all of `next`. Costs no more than the number of slices in the one that has fewer.
    pub(super) fn append(&mut self, mut next: Self) {
        // Joining can only be due where the two meet: neighbours within `next` are as they should be,
        // and the slice that grows by joining the first keeps its second neighbour in bounds.
        if let Some(first) = next.slices.pop_front() {
            next.len -= first.len();
            self.push(first);
        }
        self.len += next.len;
        if self.slices.len() < next.slices.len() {
            // A peer that sends its last segment first makes `next` all that has arrived so far.
            for slice in self.slices.drain(..).rev() {
                next.slices.push_front(slice);
            }
            self.slices = next.slices;
        } else {
            self.slices.append(&mut next.slices);
        }
    }

    /// Gives back the memory of empty slices.
    pub(super) fn trim(&mut self) {
        self.slices.trim();
    }

    /// Takes at most `max` bytes from the front, without copying; `None` if there are none to take.
    pub(super) fn pop(&mut self, max: usize) -> Option<Bytes> {
        let front = self.slices.front_mut().filter(|_| max > 0)?;
        let taken = if front.len() > max { front.split_to(max) } else { self.slices.pop_front()? };
        self.len -= taken.len();
        Some(taken)
    }

    /// Handles on the first `len` bytes, or on all there are.
    pub(super) fn prefix(&self, len: usize) -> Vec<Bytes> {
        let mut left = len;
        let mut prefix = Vec::new();
        for slice in self.slices.iter() {
            if left == 0 {
                break;
            }
            let taken = slice.slice(..slice.len().min(left));
            left -= taken.len();
            prefix.push(taken);
        }
        prefix
    }

    /// The number of slices, each of which may keep one received buffer alive.
    #[cfg(test)]
    pub(super) fn slices(&self) -> usize {
        self.slices.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check, pattern};

    #[test]
    fn keeps_the_bytes_and_the_bound_on_slices() {
        check(500, |(left, right): &(Vec<u16>, Vec<u16>)| {
            let mut position = 0;
            let mut build = |lengths: &[u16]| {
                let mut run = Run::default();
                for &len in lengths {
                    // Most lengths near the limits that matter.
                    let len = usize::from(len) % if len % 2 == 0 { 300 } else { 1_500 };
                    run.push(pattern(position, len));
                    position += len as u64;
                }
                run
            };
            let mut run = build(left);
            run.append(build(right));
            assert_eq!(run.len() as u64, position);
            assert!(run.slices() <= 1 + run.len() / COPIED_BELOW, "{} slices, {} bytes", run.slices(), run.len());
            assert_eq!(run.prefix(777).concat(), pattern(0, run.len().min(777)));
            let mut read = Vec::new();
            while let Some(bytes) = run.pop(1 + read.len() % 700) {
                read.extend_from_slice(&bytes);
            }
            assert_eq!(read, pattern(0, position as usize));
            assert!(run.is_empty() && run.slices() == 0);
        });
    }

    #[test]
    fn only_small_slices_are_copied() {
        let frame = pattern(0, 2_000);
        let mut run = Run::default();
        run.push(frame.slice(..256));
        run.push(frame.slice(256..2_000));
        assert_eq!(run.prefix(2_000)[0].as_ptr(), frame.as_ptr());
        assert_eq!(run.prefix(2_000)[1].as_ptr(), frame[256..].as_ptr());
        let mut run = Run::default();
        run.push(frame.slice(..255));
        assert_ne!(run.prefix(1)[0].as_ptr(), frame.as_ptr());
    }
}
