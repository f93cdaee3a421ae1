//! Controllers by their identifiers.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::association::Association;

/// Controllers that have their identifiers, and a limit, to themselves.
#[derive(Default)]
pub(super) struct Pool {
    controllers: BTreeMap<u16, Arc<Association>>,
    /// The identifier that was given last.
    last: u16,
}

impl Pool {
    /// Adds a controller with an identifier from `ids`. None if there are `most` already, or no identifier is free.
    pub(super) fn add(
        &mut self,
        ids: &RangeInclusive<u16>,
        most: u16,
        make: impl FnOnce(u16) -> Association,
    ) -> Option<Arc<Association>> {
        if self.controllers.len() >= usize::from(most) {
            return None;
        }
        // The next one that is free, so that a number is not soon given to another host.
        let (first, last) = (*ids.start(), *ids.end());
        let from = if (first..last).contains(&self.last) { self.last + 1 } else { first };
        let id = (from..=last).chain(first..from).find(|id| !self.controllers.contains_key(id))?;
        self.last = id;
        let association = Arc::new(make(id));
        self.controllers.insert(id, Arc::clone(&association));
        Some(association)
    }

    pub(super) fn get(&self, id: u16) -> Option<&Arc<Association>> {
        self.controllers.get(&id)
    }

    pub(super) fn remove(&mut self, id: u16) {
        self.controllers.remove(&id);
    }

    /// All of them, in the order of their identifiers.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Association>> {
        self.controllers.values()
    }

    pub(super) fn count(&self) -> usize {
        self.controllers.len()
    }
}
