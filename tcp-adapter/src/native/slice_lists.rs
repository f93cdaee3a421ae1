//! The lists of slices that joined frames carry, which are used again.
//!
//! A list leaves the [coalescer](super::Coalescer) with its frame and is empty once a stack has taken that. Neither knows of the other, but
//! both run on the same core, to completion: a few lists of each thread are enough.

use std::cell::RefCell;

use bytes::Bytes;
use smallvec::SmallVec;

/// As in [`Frame::payload`](crate::Frame::payload).
pub(super) type SliceList = SmallVec<[Bytes; 2]>;

/// Slices that a list has room for: those of 64 KiB in segments for an MTU of 1500.
const ROOM: usize = 45;

/// Lists that are kept at most: more are never under way between a coalescer and a stack.
const MOST: usize = super::coalesce::FLOWS;

thread_local! {
    static SPARE: RefCell<Vec<SliceList>> = const { RefCell::new(Vec::new()) };
}

/// An empty list with room for the slices of a joined frame.
pub(super) fn take() -> SliceList {
    SPARE.with_borrow_mut(Vec::pop).unwrap_or_else(|| SliceList::with_capacity(ROOM))
}

/// Keeps the memory of a list of a frame that was taken, if it is one of those.
#[inline]
pub(super) fn give_back(list: &mut SliceList) {
    if list.capacity() >= ROOM {
        keep(std::mem::take(list));
    }
}

fn keep(mut list: SliceList) {
    list.clear();
    SPARE.with_borrow_mut(|spare| {
        if spare.len() < MOST {
            spare.push(list);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_are_used_again_without_what_was_in_them() {
        let mut list = take();
        list.push(Bytes::from_static(b"slice"));
        let memory = list.as_ptr();
        give_back(&mut list);
        let again = take();
        assert!(again.is_empty() && again.as_ptr() == memory, "the same memory");
        give_back(&mut SliceList::new());
        assert_ne!(take().as_ptr(), memory, "what has no memory of its own is not kept");
        for _ in 0..2 * MOST {
            give_back(&mut SliceList::with_capacity(ROOM));
        }
        assert_eq!(SPARE.with_borrow(Vec::len), MOST);
    }
}
