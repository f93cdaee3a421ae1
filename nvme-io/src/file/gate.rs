//! What is to happen with nothing in between, and what else happens.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use nvme_tcp::target::{Subscribers, Subscription};

use crate::net::Waker;

/// Set while an operation is alone, or is to be; below are the operations that are not.
const ALONE: u64 = 1 << 63;

/// Lets operations of all threads happen at the same time, or one of them alone.
///
/// To ask and to go are one atomic instruction each. Only who has to wait for the other kind, and who lets them, take a lock.
#[derive(Debug, Default)]
pub(super) struct Gate {
    state: AtomicU64,
    /// Threads that must not sleep until they are let in.
    pollers: Subscribers,
    /// Held by those that sleep while they look, and by whoever tells them.
    sleepers: Mutex<()>,
    changed: Condvar,
}

/// An operation has been let in; it goes when this is dropped.
#[derive(Debug)]
pub(super) struct Pass {
    gate: Arc<Gate>,
    alone: bool,
}

impl Gate {
    /// Lets an operation in together with others, or says that one is alone there.
    pub(super) fn enter(self: &Arc<Self>) -> Option<Pass> {
        let entered = self
            .state
            .try_update(Ordering::Acquire, Ordering::Relaxed, |state| (state & ALONE == 0).then_some(state + 1));
        entered.ok().map(|_| Pass { gate: Arc::clone(self), alone: false })
    }

    /// Keeps others out from now on, unless somebody else does. The operation [is alone](Pass::is_alone) once those inside have gone.
    pub(super) fn close(self: &Arc<Self>) -> Option<Pass> {
        let before = self.state.fetch_or(ALONE, Ordering::Acquire);
        (before & ALONE == 0).then(|| Pass { gate: Arc::clone(self), alone: true })
    }

    /// Has a thread woken whenever it may be let in after it was not.
    pub(super) fn subscribe(&self, waker: Waker) -> Subscription {
        self.pollers.subscribe(move || waker.wake())
    }

    /// Waits until `attempt` succeeds, for threads that do one thing after the other.
    pub(super) fn wait_for<T>(&self, mut attempt: impl FnMut() -> Option<T>) -> T {
        let mut guard = None;
        loop {
            if let Some(result) = attempt() {
                return result;
            }
            // Whoever opens the gate takes the lock before it says so: from here on nothing is missed.
            guard = Some(match guard {
                None => self.sleepers(),
                Some(guard) => self.changed.wait(guard).unwrap_or_else(PoisonError::into_inner),
            });
        }
    }

    /// Wakes whoever waits.
    pub(super) fn tell(&self) {
        self.pollers.tell();
        let sleepers = self.sleepers();
        self.changed.notify_all();
        drop(sleepers);
    }

    fn sleepers(&self) -> MutexGuard<'_, ()> {
        self.sleepers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass {
    /// Whether nothing else is inside; of a pass that closed the gate.
    pub(super) fn is_alone(&self) -> bool {
        self.gate.state.load(Ordering::Acquire) == ALONE
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if self.alone {
            self.gate.state.fetch_and(!ALONE, Ordering::Release);
            self.gate.tell();
        } else if self.gate.state.fetch_sub(1, Ordering::Release) == ALONE | 1 {
            self.gate.tell();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_alone_or_many() {
        let gate = Arc::new(Gate::default());
        let (one, two) = (gate.enter().unwrap(), gate.enter().unwrap());
        let alone = gate.close().unwrap();
        assert!(gate.enter().is_none() && gate.close().is_none() && !alone.is_alone());
        drop(one);
        assert!(!alone.is_alone());
        drop(two);
        assert!(alone.is_alone());
        drop(alone);
        assert!(gate.enter().is_some());
    }

    #[test]
    fn threads_take_turns() {
        let gate = Arc::new(Gate::default());
        let value = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let pass = gate.wait_for(|| gate.close());
                        gate.wait_for(|| pass.is_alone().then_some(()));
                        let before = value.load(Ordering::Relaxed);
                        std::thread::yield_now();
                        value.store(before + 1, Ordering::Relaxed);
                        drop(pass);
                        let _pass = gate.wait_for(|| gate.enter());
                    }
                });
            }
        });
        assert_eq!((value.into_inner(), gate.state.load(Ordering::Relaxed)), (800, 0));
    }
}
