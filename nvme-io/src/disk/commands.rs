//! What tasks and the thread of the host share: commands that have not ended, and ends that nobody has taken.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use nvme_tcp::host::Request;
use nvme_tcp::pdu::Payload;

use super::DiskError;
use crate::net;

/// How a command has ended: the list with its data, or why it did not succeed.
pub(super) type Ended = Result<Payload, DiskError>;

/// Commands, each in a slot from the first poll of its future until the future has taken the end, or was dropped and the command has ended too.
///
/// Wakers and data are foreign code, which may come back here: they are cloned, dropped and used without the lock.
#[derive(Debug)]
pub(super) struct Commands {
    table: Mutex<Table>,
    /// Wakes the thread of the host.
    host: net::Waker,
}

#[derive(Debug, Default)]
struct Table {
    slots: Vec<Slot>,
    /// Free ones.
    free: Vec<usize>,
    /// What the host does not have yet, in the order in which it came. Tokens are slots.
    waiting: VecDeque<Request<u64>>,
    is_closed: bool,
}

#[derive(Debug)]
enum Slot {
    Free,
    /// The command has not ended.
    Pending {
        /// Of the task that is to know. None once the future was dropped; then the host has the command.
        waker: Option<Waker>,
        /// The host has it.
        is_submitted: bool,
    },
    /// The future has not taken it.
    Ended(Ended),
}

impl Commands {
    /// No commands, for the thread that this wakes.
    pub(super) fn new(host: net::Waker) -> Self {
        Self { table: Mutex::default(), host }
    }

    /// Has a command wait for the host, behind those that wait already. Returns its slot.
    ///
    /// # Errors
    /// There is no host any more.
    pub(super) fn enter(&self, request: Request<()>, waker: &Waker) -> Result<usize, DiskError> {
        let Request { sqe, data, token: () } = request;
        let waker = waker.clone();
        let (slot, is_first) = {
            let mut table = self.lock();
            if table.is_closed {
                return Err(DiskError::Closed { sent: false });
            }
            let slot = table.take_slot(waker);
            let is_first = table.waiting.is_empty();
            table.waiting.push_back(Request { sqe, data, token: slot as u64 });
            (slot, is_first)
        };
        // Where others wait, the thread was woken for them, or its queues are full, and it looks here again when they are not.
        if is_first {
            self.host.wake();
        }
        Ok(slot)
    }

    /// The end of a command, of which this is the future's slot; or else `waker` is told of it, and no other.
    pub(super) fn poll(&self, slot: usize, waker: &Waker) -> Poll<Ended> {
        // Outlives the lock, as does what it is exchanged for.
        let mut other = None;
        loop {
            let mut table = self.lock();
            let Slot::Pending { waker: known, .. } = &mut table.slots[slot] else {
                let Slot::Ended(ended) = table.release(slot) else { unreachable!("a future leaves its slot once") };
                return Poll::Ready(ended);
            };
            if known.as_ref().is_some_and(|known| known.will_wake(waker)) {
                return Poll::Pending;
            }
            if other.is_some() {
                std::mem::swap(known, &mut other);
                return Poll::Pending;
            }
            drop(table);
            other = Some(waker.clone());
        }
    }

    /// The future was dropped. A command that waits does not leave any more; one that the host has goes on.
    pub(super) fn leave(&self, slot: usize) {
        // In two steps, so that the lock is not held for the second.
        let left = self.lock().leave(slot);
        drop(left);
    }

    /// The next command for the host, with its slot as token.
    pub(super) fn next(&self) -> Option<Request<u64>> {
        let mut table = self.lock();
        let request = table.waiting.pop_front()?;
        if let Slot::Pending { is_submitted, .. } = &mut table.slots[request.token as usize] {
            *is_submitted = true;
        }
        Some(request)
    }

    /// A command that the host had has ended.
    pub(super) fn complete(&self, slot: usize, ended: Ended) {
        // What nobody wants is dropped here.
        let (waker, _unwanted) = self.lock().complete(slot, ended);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// There is no host any more: everything ends.
    pub(super) fn close(&self) {
        let (wakers, _waiting) = self.lock().close();
        wakers.into_iter().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn take_slot(&mut self, waker: Waker) -> usize {
        let pending = Slot::Pending { waker: Some(waker), is_submitted: false };
        match self.free.pop() {
            Some(slot) => {
                self.slots[slot] = pending;
                slot
            }
            None => {
                self.slots.push(pending);
                self.slots.len() - 1
            }
        }
    }

    fn release(&mut self, slot: usize) -> Slot {
        self.free.push(slot);
        std::mem::replace(&mut self.slots[slot], Slot::Free)
    }

    /// What is left of it, to be dropped.
    fn leave(&mut self, slot: usize) -> (Slot, Option<Request<u64>>) {
        match &mut self.slots[slot] {
            Slot::Pending { waker, is_submitted: true } => {
                (Slot::Pending { waker: waker.take(), is_submitted: true }, None)
            }
            Slot::Pending { .. } => {
                let place = self.waiting.iter().position(|request| request.token == slot as u64);
                let request = place.and_then(|place| self.waiting.remove(place));
                (self.release(slot), request)
            }
            Slot::Free | Slot::Ended(_) => (self.release(slot), None),
        }
    }

    /// Whom to wake, or else what nobody wants.
    fn complete(&mut self, slot: usize, ended: Ended) -> (Option<Waker>, Option<Ended>) {
        // After the end of all commands, the host may still have some.
        let Slot::Pending { waker, .. } = &mut self.slots[slot] else { return (None, Some(ended)) };
        match waker.take() {
            Some(waker) => {
                self.slots[slot] = Slot::Ended(ended);
                (Some(waker), None)
            }
            None => {
                self.release(slot);
                (None, Some(ended))
            }
        }
    }

    /// Whom to wake, and what nobody executes.
    fn close(&mut self) -> (Vec<Waker>, VecDeque<Request<u64>>) {
        self.is_closed = true;
        let mut wakers = Vec::new();
        for slot in 0..self.slots.len() {
            if let Slot::Pending { is_submitted: sent, .. } = self.slots[slot] {
                let (waker, _) = self.complete(slot, Err(DiskError::Closed { sent }));
                wakers.extend(waker);
            }
        }
        (wakers, std::mem::take(&mut self.waiting))
    }
}
