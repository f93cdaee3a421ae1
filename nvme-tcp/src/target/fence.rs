//! Fences: Preempt and Abort ends once nothing is under way any more of the hosts that it has shut out (NVMe base specification, Reservation Acquire).
//!
//! A [`Fence`] goes to each I/O queue of these hosts, whichever thread has it. The queue aborts what no store has begun, and keeps its share of the fence until
//! what was under way has ended. The last share that goes has all connections look again, and so the one that waits.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::Target;
use super::backend::StoreId;
use super::connection::{Connection, Phase};
use super::io::FirstHalf;
use super::queue::{Slot, SlotId, Stage};
use super::reservations::HostId;
use crate::command::StatusCode;

/// What stores had begun for hosts that have lost their registration, in one namespace.
#[derive(Debug)]
pub(super) struct Fence {
    store: StoreId,
    target: Arc<Target>,
}

impl Drop for Fence {
    fn drop(&mut self) {
        self.target.announce();
    }
}

/// Where fences come for one I/O queue.
#[derive(Debug)]
struct Mailbox {
    host: HostId,
    fences: Mutex<Vec<Arc<Fence>>>,
}

impl Mailbox {
    fn put(&self, fence: &Arc<Fence>) {
        let mut fences = lock(&self.fences);
        // This one does for those, too. So hosts that come and go cannot fill the mailbox of a queue whose thread is at something that takes long.
        fences.retain(|older| older.store != fence.store || is_awaited(older));
        fences.push(Arc::clone(fence));
    }
}

/// The mailboxes of all I/O queues of a target.
#[derive(Debug, Default)]
pub(super) struct Mailboxes(Mutex<Vec<Arc<Mailbox>>>);

/// An I/O queue as fences find it, for as long as this is there.
#[derive(Debug)]
pub(super) struct Membership {
    target: Arc<Target>,
    mailbox: Arc<Mailbox>,
}

impl Drop for Membership {
    fn drop(&mut self) {
        lock(&self.target.mailboxes().0).retain(|mailbox| !Arc::ptr_eq(mailbox, &self.mailbox));
    }
}

/// A queue's share of a fence.
#[derive(Debug)]
pub(super) struct Share {
    fence: Arc<Fence>,
    /// The operations that it waits for.
    operations: Vec<SlotId>,
}

impl Target {
    /// Has fences find an I/O queue of this host.
    pub(super) fn join_fences(self: &Arc<Self>, host: HostId) -> Membership {
        let mailbox = Arc::new(Mailbox { host, fences: Mutex::default() });
        lock(&self.mailboxes().0).push(Arc::clone(&mailbox));
        Membership { target: Arc::clone(self), mailbox }
    }

    /// Sends a fence to the I/O queues of these hosts, whose registrations are gone already: who joins later finds that. None if there are no such queues.
    fn raise_fence(self: &Arc<Self>, store: StoreId, hosts: &[HostId]) -> Option<Weak<Fence>> {
        let is_shut_out = |mailbox: &&Arc<Mailbox>| hosts.contains(&mailbox.host);
        let mailboxes: Vec<_> = lock(&self.mailboxes().0).iter().filter(is_shut_out).cloned().collect();
        if mailboxes.is_empty() {
            return None;
        }
        let fence = Arc::new(Fence { store, target: Arc::clone(self) });
        // Before anybody can find that nobody waits for it.
        let awaited = Arc::downgrade(&fence);
        mailboxes.iter().for_each(|mailbox| mailbox.put(&fence));
        drop(fence);
        self.announce();
        Some(awaited)
    }
}

impl Connection {
    /// Completes a Preempt and Abort once nothing of these hosts is under way any more.
    pub(super) fn fence_off(&mut self, id: SlotId, store: StoreId, hosts: &[HostId]) {
        let Some(fence) = self.target.raise_fence(store, hosts) else { return self.complete(id, Ok(0)) };
        self.queue.slot(id).stage = Stage::Waiting;
        if let Phase::Io(queue) = &mut self.phase {
            queue.awaited.push((id, fence));
        }
    }

    /// Takes the fences that have come. One that finds nothing under way is passed at once.
    pub(super) fn take_fences(&mut self) {
        let Some(membership) = &self.membership else { return };
        let fences = std::mem::take(&mut *lock(&membership.mailbox.fences));
        if fences.is_empty() {
            return;
        }
        self.shares.retain(|share| is_awaited(&share.fence));
        for fence in fences {
            self.abort_unbegun(fence.store);
            let operations = self.queue.find_all(|_, slot| slot.is_operation() && slot.is_for(fence.store));
            if !operations.is_empty() {
                self.shares.push(Share { fence, operations });
            }
        }
    }

    /// An operation has ended, for which fences may have waited.
    pub(super) fn pass_fences(&mut self, operation: SlotId) {
        for share in &mut self.shares {
            share.operations.retain(|waited_for| *waited_for != operation);
        }
        self.shares.retain(|share| !share.operations.is_empty());
    }

    /// Completes those that have waited for fences which all have passed.
    pub(super) fn answer_fenced(&mut self) {
        let Phase::Io(queue) = &mut self.phase else { return };
        let passed: Vec<_> = queue.awaited.extract_if(.., |(_, fence)| fence.strong_count() == 0).collect();
        for (id, _) in passed {
            self.complete(id, Ok(0));
        }
    }

    /// Aborts the commands for a namespace that its store has not begun.
    fn abort_unbegun(&mut self, store: StoreId) {
        let Phase::Io(queue) = &mut self.phase else { return };
        // What comes next cannot make an operation of it any more.
        if let FirstHalf::Here(first) = queue.fused
            && self.queue.slot(first).is_for(store)
        {
            queue.fused = FirstHalf::Failed;
        }
        self.submissions.retain(|submission| submission.store != store);
        self.queue.drop_held(|_, slot| slot.is_for(store));
        let is_unbegun = |id, slot: &Slot| slot.is_unbegun() && slot.is_for(store) && !queue.awaits_fence(id);
        let aborted = self.queue.find_all(is_unbegun);
        for id in aborted {
            let slot = self.queue.slot(id);
            // The other half is aborted for the same reason.
            slot.partner = None;
            self.abandon(id, StatusCode::AbortedByPreempt);
        }
    }
}

/// Whether a Preempt and Abort still waits for it, and its connection is there.
fn is_awaited(fence: &Arc<Fence>) -> bool {
    Arc::weak_count(fence) > 0
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Lists are as they were before or after one insertion or removal.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::super::TargetConfig;
    use super::*;

    #[test]
    fn a_mailbox_that_nobody_empties_does_not_fill() {
        let target = Target::new(TargetConfig::default()).unwrap();
        let host = [1; 16];
        let member = target.join_fences(host);
        let mut awaited: Vec<_> = (0..3).filter_map(|_| target.raise_fence(StoreId(1), &[host])).collect();
        let count = || lock(&member.mailbox.fences).len();
        assert_eq!((awaited.len(), count()), (3, 3));
        // Their connections go.
        awaited.clear();
        for _ in 0..10 {
            assert!(target.raise_fence(StoreId(1), &[host]).is_some());
            assert!(target.raise_fence(StoreId(2), &[[2; 16]]).is_none());
            assert_eq!(count(), 1);
        }
        drop(member);
        assert!(target.raise_fence(StoreId(1), &[host]).is_none());
    }
}
