//! Contiguous received bytes in slices that are never all small.

use bytes::{Bytes, BytesMut};
use tcp_adapter::IdleQueue;

/// Slices shorter than this are small.
///
/// In bytes. A slice keeps the buffer alive that it was received in, which is at least a
/// frame of 1514 bytes or so and may be pooled at 2048: from 256 bytes on that is a factor
/// of at most 8; below it, copying costs less than the handling of the segment did.
const SMALL: usize = 256;

/// Small slices are joined with a neighbour while the result has at most this many bytes.
///
/// Bounds what one joining copies. Two neighbours that have more together keep no more alive than a factor of 4.
const JOINED_MAX: usize = 1024;

/// Contiguous bytes, in the order of the stream, as slices.
///
/// Of two neighbouring slices, either both have at least 256 bytes, or they have more than 1024
/// together; so there are at most 1 + `len` / 256 slices, each the view of one received buffer or
/// a copy. (Reading from the front can shorten the first slice below that.) What is about to be read is not copied for that:
/// a slice is only joined when there is another one.
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
        if bytes.len() >= SMALL && self.slices.back().is_none_or(|back| back.len() >= SMALL) {
            return self.slices.push_back(bytes);
        }
        self.push_small(bytes);
    }

    /// Appends `bytes`, that are few or come after few.
    #[inline(never)]
    fn push_small(&mut self, bytes: Bytes) {
        let small = bytes.len() < SMALL;
        match self.slices.back_mut() {
            _ if bytes.is_empty() => {}
            Some(back) if (small || back.len() < SMALL) && back.len() + bytes.len() <= JOINED_MAX => {
                *back = join(std::mem::take(back), &bytes);
            }
            _ => self.slices.push_back(bytes),
        }
    }

    /// Copies a small slice that is the only one: what may wait for long is not to keep a received buffer alive for a few bytes.
    pub(super) fn let_go_of_buffer(&mut self) {
        if self.slices.len() == 1
            && let Some(only) = self.slices.front_mut().filter(|only| only.len() < SMALL)
        {
            *only = Bytes::copy_from_slice(only);
        }
    }

    /// Appends all of `next`, which is empty then. Costs no more than the number of slices in the one that has fewer.
    pub(super) fn append(&mut self, next: &mut Self) {
        // Joining can only be due where the two meet: neighbours within `next` are as they should be,
        // and the slice that grows by joining the first keeps its second neighbour in bounds.
        if let Some(first) = next.slices.pop_front() {
            next.len -= first.len();
            self.push(first);
        }
        self.len += std::mem::take(&mut next.len);
        if self.slices.len() < next.slices.len() {
            // A peer that sends its last segment first makes `next` all that has arrived so far.
            for slice in self.slices.drain(..).rev() {
                next.slices.push_front(slice);
            }
            std::mem::swap(&mut self.slices, &mut next.slices);
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

/// `front` with `bytes` after it: in the same memory if nobody else has it and it has the room, as what was joined before does.
fn join(front: Bytes, bytes: &[u8]) -> Bytes {
    let room = front.len() + bytes.len();
    let mut joined = match front.try_into_mut() {
        Ok(front) if front.capacity() >= room => front,
        Ok(front) => in_room_for_more(&front),
        Err(front) => in_room_for_more(&front),
    };
    joined.extend_from_slice(bytes);
    joined.freeze()
}

fn in_room_for_more(front: &[u8]) -> BytesMut {
    let mut joined = BytesMut::with_capacity(JOINED_MAX);
    joined.extend_from_slice(front);
    joined
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
            let mut next = build(right);
            run.append(&mut next);
            assert!(next.is_empty() && next.slices() == 0);
            assert_eq!(run.len() as u64, position);
            assert!(run.slices() <= 1 + run.len() / SMALL, "{} slices, {} bytes", run.slices(), run.len());
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
    fn only_small_slices_are_joined() {
        let frame = pattern(0, 2_000);
        let mut run = Run::default();
        run.push(frame.slice(..256));
        run.push(frame.slice(256..2_000));
        assert_eq!(run.prefix(2_000)[0].as_ptr(), frame.as_ptr());
        assert_eq!(run.prefix(2_000)[1].as_ptr(), frame[256..].as_ptr());
        let mut run = Run::default();
        run.push(frame.slice(..255));
        assert_eq!(run.prefix(1)[0].as_ptr(), frame.as_ptr());
        run.let_go_of_buffer();
        assert_ne!(run.prefix(1)[0].as_ptr(), frame.as_ptr());
        run.push(frame.slice(255..1_025));
        assert_eq!(run.prefix(2_000)[1].as_ptr(), frame[255..].as_ptr(), "1025 bytes together");
    }

    #[test]
    fn few_bytes_after_few_share_their_memory() {
        let mut run = Run::default();
        run.push(pattern(0, 24));
        let mut places = Vec::new();
        for position in (24..1_008).step_by(24) {
            run.push(pattern(position, 24));
            places.push(run.prefix(1)[0].as_ptr());
        }
        places.dedup();
        assert_eq!((places.len(), run.slices()), (1, 1));
        assert_eq!(run.pop(2_000).unwrap(), pattern(0, 1_008));
    }
}
