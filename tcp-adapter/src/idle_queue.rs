//! A queue of which there are very many, most of them empty.

use std::collections::VecDeque;
use std::fmt;
use std::ops::{Deref, DerefMut};

/// A [`VecDeque`] that takes the room of a pointer until something is put into it, and again after [`trim`](Self::trim).
///
/// For state of connections that is not there while they are idle. Room is made when something is put in, and stays until it is
/// trimmed, so that a queue in use is not allocated again and again. The methods of its own make no room where those of
/// [`VecDeque`] would.
#[derive(Clone)]
#[expect(clippy::box_collection, reason = "the queue itself is four times as large as a pointer")]
pub struct IdleQueue<T>(Option<Box<VecDeque<T>>>);

impl<T: 'static> IdleQueue<T> {
    const EMPTY: &'static VecDeque<T> = &VecDeque::new();

    /// An empty queue.
    pub const fn new() -> Self {
        Self(None)
    }

    /// Gives back the memory of an empty queue, and what a longer one has too much.
    pub fn trim(&mut self) {
        match &mut self.0 {
            Some(queue) if queue.is_empty() => self.0 = None,
            Some(queue) => queue.shrink_to_fit(),
            None => {}
        }
    }

    /// See [`VecDeque::pop_front`].
    #[inline]
    pub fn pop_front(&mut self) -> Option<T> {
        self.0.as_mut()?.pop_front()
    }

    /// See [`VecDeque::front_mut`].
    #[inline]
    pub fn front_mut(&mut self) -> Option<&mut T> {
        self.0.as_mut()?.front_mut()
    }

    /// See [`VecDeque::back_mut`].
    #[inline]
    pub fn back_mut(&mut self) -> Option<&mut T> {
        self.0.as_mut()?.back_mut()
    }

    /// See [`VecDeque::iter_mut`].
    #[inline]
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.0.iter_mut().flat_map(|queue| queue.iter_mut())
    }

    /// See [`VecDeque::retain_mut`].
    pub fn retain(&mut self, keep: impl FnMut(&mut T) -> bool) {
        if let Some(queue) = &mut self.0 {
            queue.retain_mut(keep);
        }
    }

    /// Takes all of them out, and gives back the memory.
    pub fn take(&mut self) -> impl Iterator<Item = T> + use<T> {
        self.0.take().into_iter().flat_map(|queue| *queue)
    }
}

impl<T> Default for IdleQueue<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: fmt::Debug> fmt::Debug for IdleQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().flat_map(|queue| queue.iter())).finish()
    }
}

impl<T: 'static> Deref for IdleQueue<T> {
    type Target = VecDeque<T>;

    #[inline]
    fn deref(&self) -> &VecDeque<T> {
        self.0.as_deref().unwrap_or(Self::EMPTY)
    }
}

impl<T: 'static> DerefMut for IdleQueue<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut VecDeque<T> {
        self.0.get_or_insert_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_made_and_given_back() {
        let mut queue = IdleQueue::new();
        assert_eq!((size_of_val(&queue), queue.len(), queue.pop_front()), (8, 0, None));
        queue.push_back(1);
        queue.push_back(2);
        queue.trim();
        assert_eq!((queue.pop_front(), format!("{queue:?}")), (Some(1), "[2]".to_string()));
        queue.retain(|_| false);
        assert!(queue.0.is_some(), "it may be used again soon");
        queue.trim();
        assert!(queue.0.is_none());
        assert_eq!(queue.front_mut(), None);
        assert_eq!(queue.iter_mut().count() + queue.take().count(), 0);
        queue.retain(|_| false);
        assert!(queue.0.is_none(), "nothing was put in");
        queue.push_back(3);
        assert_eq!(queue.take().collect::<Vec<_>>(), [3]);
        assert!(queue.0.is_none());
    }
}
