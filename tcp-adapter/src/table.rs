//! Handles of connections, and what finds them.

use std::hash::BuildHasher;
use std::net::SocketAddr;

use siphasher::sip::SipHasher13;

use crate::TcpId;

/// Both ends of a connection, as seen from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FourTuple {
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
}

/// Keyed hash functions: peers choose part of what is hashed, so they must not be able to
/// predict collisions, initial sequence numbers or ports.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    first: u64,
    second: u64,
}

impl Keys {
    pub(crate) fn from_seed(seed: u64) -> Self {
        let mut expand = SipHasher13::new_with_keys(seed, seed.rotate_left(32));
        let mut next = |label: u64| {
            use std::hash::Hasher;
            expand.write_u64(label);
            expand.finish()
        };
        Self { first: next(1), second: next(2) }
    }

    /// A value for `purpose` that only the holder of the keys can tell.
    pub(crate) fn hash<T: std::hash::Hash>(&self, purpose: u8, value: &T) -> u64 {
        self.hash_one((purpose, value))
    }
}

impl BuildHasher for Keys {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.first, self.second)
    }
}

/// Values by [`TcpId`]. A value can be taken out while it is worked on; its slot stays reserved.
pub(crate) struct Slab<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    limit: usize,
}

struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Slab<T> {
    pub(crate) fn new(limit: usize) -> Self {
        Self { slots: Vec::new(), free: Vec::new(), limit }
    }

    /// Reserves a slot; `None` if as many as the limit are in use.
    pub(crate) fn reserve(&mut self) -> Option<TcpId> {
        let index = match self.free.pop() {
            Some(index) => index,
            None if self.slots.len() < self.limit => {
                self.slots.push(Slot { generation: 0, value: None });
                u32::try_from(self.slots.len() - 1).ok()?
            }
            None => return None,
        };
        Some(TcpId { index, generation: self.slots[index as usize].generation })
    }

    /// Gives a reserved slot back; its handle is never valid again.
    pub(crate) fn release(&mut self, id: TcpId) {
        if let Some(slot) = self.slots.get_mut(id.index as usize)
            && slot.generation == id.generation
        {
            slot.value = None;
            slot.generation = slot.generation.wrapping_add(1);
            self.free.push(id.index);
        }
    }

    pub(crate) fn put(&mut self, id: TcpId, value: T) {
        if let Some(slot) = self.slots.get_mut(id.index as usize)
            && slot.generation == id.generation
        {
            slot.value = Some(value);
        }
    }

    pub(crate) fn take(&mut self, id: TcpId) -> Option<T> {
        let slot = self.slots.get_mut(id.index as usize)?;
        if slot.generation == id.generation { slot.value.take() } else { None }
    }

    pub(crate) fn get(&self, id: TcpId) -> Option<&T> {
        let slot = self.slots.get(id.index as usize)?;
        if slot.generation == id.generation { slot.value.as_ref() } else { None }
    }

    pub(crate) fn get_mut(&mut self, id: TcpId) -> Option<&mut T> {
        let slot = self.slots.get_mut(id.index as usize)?;
        if slot.generation == id.generation { slot.value.as_mut() } else { None }
    }

    /// The value in a slot, with its handle.
    pub(crate) fn at_mut(&mut self, index: u32) -> Option<(TcpId, &mut T)> {
        let slot = self.slots.get_mut(index as usize)?;
        let id = TcpId { index, generation: slot.generation };
        Some((id, slot.value.as_mut()?))
    }

    /// All values, with their handles.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (TcpId, &T)> {
        (0u32..).zip(&self.slots).filter_map(|(index, slot)| {
            let id = TcpId { index, generation: slot.generation };
            Some((id, slot.value.as_ref()?))
        })
    }

    /// Slots in use.
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_are_never_valid_twice() {
        let mut slab = Slab::new(1);
        let first = slab.reserve().unwrap();
        slab.put(first, 'a');
        assert_eq!(slab.reserve(), None);
        slab.release(first);
        slab.release(first);
        let second = slab.reserve().unwrap();
        assert_eq!(second.index, first.index);
        slab.put(second, 'b');
        assert_eq!(slab.get(first), None);
        assert_eq!(slab.take(second), Some('b'));
        assert_eq!(slab.len(), 1);
    }

    #[test]
    fn keys_depend_on_the_seed() {
        assert_ne!(Keys::from_seed(1).hash(0, &5), Keys::from_seed(2).hash(0, &5));
        assert_ne!(Keys::from_seed(1).hash(0, &5), Keys::from_seed(1).hash(1, &5));
    }
}
