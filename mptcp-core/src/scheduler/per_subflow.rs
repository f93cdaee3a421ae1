//! What a scheduler remembers of each subflow.

use smallvec::SmallVec;

use crate::event::SubflowId;

/// As many are remembered without an allocation.
const FEW: usize = 4;

/// As many are remembered at all: more than a connection may have at a time.
const MOST: usize = 80;

/// A value for each of a connection's subflows. Those that were forgotten, the ones with the lowest ids first, are those that are long gone:
/// an id is never used again.
#[derive(Clone, Debug)]
pub(super) struct PerSubflow<T> {
    entries: SmallVec<[(SubflowId, T); FEW]>,
}

impl<T> Default for PerSubflow<T> {
    fn default() -> Self {
        Self { entries: SmallVec::new() }
    }
}

impl<T> PerSubflow<T> {
    pub(super) fn get(&self, id: SubflowId) -> Option<&T> {
        self.entries.iter().find(|(known, _)| *known == id).map(|(_, value)| value)
    }

    pub(super) fn get_or_insert_with(&mut self, id: SubflowId, value: impl FnOnce() -> T) -> &mut T {
        let index = match self.entries.iter().position(|(known, _)| *known == id) {
            Some(index) => index,
            None => {
                if self.entries.len() >= MOST
                    && let Some(oldest) = (0..self.entries.len()).min_by_key(|index| self.entries[*index].0)
                {
                    self.entries.swap_remove(oldest);
                }
                self.entries.push((id, value()));
                self.entries.len() - 1
            }
        };
        &mut self.entries[index].1
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (SubflowId, &mut T)> {
        self.entries.iter_mut().map(|(id, value)| (*id, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_the_youngest() {
        let mut table = PerSubflow::default();
        for id in 0..1000 {
            assert_eq!(*table.get_or_insert_with(SubflowId(id), || id), id);
            assert_eq!(*table.get_or_insert_with(SubflowId(id), || 7777), id);
        }
        assert_eq!((table.get(SubflowId(999)), table.get(SubflowId(0))), (Some(&999), None));
        assert_eq!(table.iter_mut().count(), MOST);
    }
}
