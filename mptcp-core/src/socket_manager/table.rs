//! The connections, in slots with generations.

use super::connection::Connection;
use crate::event::ConnId;

/// A slot: who is in it, and how many were before.
#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    conn: Option<Box<Connection>>,
}

/// All connections of a stack, by handle.
#[derive(Debug, Default)]
pub(crate) struct ConnTable {
    slots: Vec<Slot>,
    free: Vec<u32>,
    used: usize,
}

impl ConnTable {
    /// Makes a connection in a free slot.
    pub(crate) fn insert(&mut self, make: impl FnOnce(ConnId) -> Connection) -> ConnId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        let slot = &mut self.slots[index as usize];
        let id = ConnId { index, generation: slot.generation };
        slot.conn = Some(Box::new(make(id)));
        self.used += 1;
        id
    }

    pub(crate) fn remove(&mut self, id: ConnId) -> Option<Box<Connection>> {
        let slot = self.slots.get_mut(id.index as usize).filter(|slot| slot.generation == id.generation)?;
        let conn = slot.conn.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(id.index);
        self.used -= 1;
        Some(conn)
    }

    pub(crate) fn get(&self, id: ConnId) -> Option<&Connection> {
        self.slots.get(id.index as usize).filter(|slot| slot.generation == id.generation)?.conn.as_deref()
    }

    pub(crate) fn get_mut(&mut self, id: ConnId) -> Option<&mut Connection> {
        let slot = self.slots.get_mut(id.index as usize).filter(|slot| slot.generation == id.generation)?;
        slot.conn.as_deref_mut()
    }

    /// Whoever is in the slot now.
    pub(crate) fn in_slot(&mut self, index: u32) -> Option<&mut Connection> {
        self.slots.get_mut(index as usize)?.conn.as_deref_mut()
    }

    pub(crate) fn len(&self) -> usize {
        self.used
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = ConnId> + '_ {
        self.slots.iter().filter_map(|slot| slot.conn.as_ref().map(|conn| conn.id))
    }
}
