//! Outstanding commands, and the CIDs by which responses find them.

use std::time::Duration;

use crate::host::{CommandId, Data, Request};

/// No slot.
const NONE: u16 = u16::MAX;

/// An outstanding command.
#[derive(Debug)]
pub(super) struct Command<T> {
    pub(super) request: Request<T>,
    /// Whether its capsule was handed out to be sent.
    pub(super) sent: bool,
    /// Whether its data, if it has any for the controller, goes in the capsule.
    pub(super) in_capsule: bool,
    /// Bytes of data that have come, or that R2Ts have asked for.
    pub(super) transferred: u32,
    /// R2Ts that were not served to their end.
    pub(super) r2ts: u32,
    /// Whether the controller has said that there is no further data.
    pub(super) last: bool,
    /// Whether a digest showed that data was altered on its way.
    pub(super) damaged: bool,
    /// When it is overdue, if ever.
    pub(super) deadline: Option<Duration>,
}

impl<T> Command<T> {
    /// Bytes to be transferred in PDUs of their own.
    pub(super) fn to_transfer(&self) -> u32 {
        match &self.request.data {
            Data::None => 0,
            Data::Send(_) if self.in_capsule => 0,
            Data::Send(payload) => payload.len() as u32,
            Data::Receive { length, .. } => *length,
        }
    }
}

/// A slot is used by one command after the other.
///
/// A CID is the index of the slot and, in the bits above it, how often the slot was used. So a response to an earlier command,
/// repeated or late, is not taken for that of the present one.
#[derive(Debug)]
pub(super) struct Slots<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u16>,
    limit: usize,
    index_bits: u32,
    oldest: u16,
    newest: u16,
}

#[derive(Debug)]
struct Slot<T> {
    uses: u16,
    command: Option<Command<T>>,
    /// Its neighbours in the order of submission.
    older: u16,
    newer: u16,
}

impl<T> Slots<T> {
    /// Room for `limit` commands, 1 to 4095.
    pub(super) fn new(limit: usize) -> Self {
        debug_assert!((1..=4095).contains(&limit));
        // One bit more than the largest index needs, so that no index has all bits set: the CID FFFFh is reserved.
        let index_bits = limit.ilog2() + 1;
        Self { slots: Vec::new(), free: Vec::new(), limit, index_bits, oldest: NONE, newest: NONE }
    }

    /// How many commands can be added.
    pub(super) fn room(&self) -> usize {
        self.free.len() + self.limit - self.slots.len()
    }

    /// How many commands there are.
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Adds a command; there has to be room.
    pub(super) fn insert(&mut self, command: Command<T>) -> CommandId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { uses: 0, command: None, older: NONE, newer: NONE });
            (self.slots.len() - 1) as u16
        });
        let older = std::mem::replace(&mut self.newest, index);
        match self.slots.get_mut(usize::from(older)) {
            Some(slot) => slot.newer = index,
            None => self.oldest = index,
        }
        let slot = &mut self.slots[usize::from(index)];
        slot.uses = slot.uses.wrapping_add(1);
        slot.command = Some(command);
        (slot.older, slot.newer) = (older, NONE);
        self.id(index)
    }

    /// The command with this CID.
    pub(super) fn get_mut(&mut self, cid: u16) -> Option<&mut Command<T>> {
        let index = self.index(cid)?;
        self.slots[index].command.as_mut()
    }

    /// Takes the command with this CID out.
    pub(super) fn remove(&mut self, cid: u16) -> Option<Command<T>> {
        let index = self.index(cid)?;
        let slot = &mut self.slots[index];
        let command = slot.command.take()?;
        let (older, newer) = (slot.older, slot.newer);
        match self.slots.get_mut(usize::from(older)) {
            Some(slot) => slot.newer = newer,
            None => self.oldest = newer,
        }
        match self.slots.get_mut(usize::from(newer)) {
            Some(slot) => slot.older = older,
            None => self.newest = older,
        }
        self.free.push(index as u16);
        Some(command)
    }

    /// The command that was added first.
    pub(super) fn oldest(&self) -> Option<CommandId> {
        self.in_order().next().map(|(index, _)| self.id(index))
    }

    /// The first that is overdue, and when. All deadlines being equally far from the submission, it is the oldest that has one.
    pub(super) fn first_deadline(&self) -> Option<(CommandId, Duration)> {
        self.in_order().find_map(|(index, command)| Some((self.id(index), command.deadline?)))
    }

    fn in_order(&self) -> impl Iterator<Item = (u16, &Command<T>)> {
        let mut next = self.oldest;
        std::iter::from_fn(move || {
            let index = next;
            let slot = self.slots.get(usize::from(index))?;
            next = slot.newer;
            Some((index, slot.command.as_ref()?))
        })
    }

    fn id(&self, index: u16) -> CommandId {
        CommandId(self.slots[usize::from(index)].uses << self.index_bits | index)
    }

    fn index(&self, cid: u16) -> Option<usize> {
        let index = cid & ((1 << self.index_bits) - 1);
        let slot = self.slots.get(usize::from(index))?;
        (slot.command.is_some() && self.id(index).0 == cid).then_some(usize::from(index))
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng, rngs::StdRng};

    use super::*;
    use crate::command::Sqe;

    fn command(token: u64) -> Command<u64> {
        Command {
            request: Request::new(Sqe::new(0, 1), token),
            sent: false,
            in_capsule: false,
            transferred: 0,
            r2ts: 0,
            last: false,
            damaged: false,
            deadline: None,
        }
    }

    #[test]
    fn a_cid_of_an_earlier_use_finds_nothing() {
        let mut slots = Slots::new(1);
        let first = slots.insert(command(1));
        assert_eq!(slots.room(), 0);
        assert!(slots.remove(first.0).is_some());
        let second = slots.insert(command(2));
        assert_ne!(first, second);
        assert!(slots.get_mut(first.0).is_none() && slots.remove(first.0).is_none());
        assert_eq!(slots.get_mut(second.0).unwrap().request.token, 2);
    }

    #[test]
    fn like_a_list_and_never_with_the_reserved_cid() {
        let mut rng = StdRng::seed_from_u64(1);
        for limit in [1, 2, 7, 8, 127, 128, 4095] {
            let mut slots = Slots::new(limit);
            let mut model: Vec<(u16, u64)> = Vec::new();
            for token in 0..40_000 {
                if rng.random_bool(0.52) && slots.room() > 0 {
                    let id = slots.insert(command(token)).0;
                    assert_ne!(id, 0xffff);
                    model.push((id, token));
                } else if !model.is_empty() {
                    let (id, token) = model.remove(rng.random_range(0..model.len()));
                    assert_eq!(slots.remove(id).unwrap().request.token, token);
                }
                assert_eq!((slots.len(), slots.room()), (model.len(), limit - model.len()));
                assert_eq!(slots.oldest().map(|id| id.0), model.first().map(|(id, _)| *id));
            }
            let order: Vec<_> = slots.in_order().map(|(_, command)| command.request.token).collect();
            assert_eq!(order, model.iter().map(|(_, token)| *token).collect::<Vec<_>>());
        }
    }
}
