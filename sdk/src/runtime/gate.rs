//! Where application threads sleep.

use std::sync::atomic::{AtomicUsize, Ordering, fence};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crossbeam_queue::ArrayQueue;

/// Lets threads sleep until something has changed. Telling so costs next to nothing while nobody sleeps.
#[derive(Debug, Default)]
pub(super) struct Gate {
    sleepers: AtomicUsize,
    lock: Mutex<()>,
    changed: Condvar,
}

impl Gate {
    /// Sleeps until `ready` gives something; `None` if that has not happened by `deadline`.
    pub(super) fn wait<T>(&self, deadline: Option<Instant>, mut ready: impl FnMut() -> Option<T>) -> Option<T> {
        if let Some(result) = ready() {
            return Some(result);
        }
        let mut guard = self.lock();
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        // With the fence in `tell`: either this thread sees the change, or the other one sees this sleeper.
        fence(Ordering::SeqCst);
        let result = loop {
            if let Some(result) = ready() {
                break Some(result);
            }
            guard = match deadline {
                None => self.changed.wait(guard).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    match deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
                        None => break None,
                        Some(left) => self.changed.wait_timeout(guard, left).unwrap_or_else(PoisonError::into_inner).0,
                    }
                }
            };
        };
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
        result
    }

    /// Wakes the sleepers, after a change.
    pub(super) fn tell(&self) {
        fence(Ordering::SeqCst);
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            // A sleeper holds the lock from its last look at the change until it sleeps.
            drop(self.lock());
            self.changed.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Carries one answer from the driver to the thread that waits for it.
#[derive(Debug)]
pub(super) struct Answer<T> {
    slot: ArrayQueue<Option<T>>,
    gate: Gate,
}

impl<T> Answer<T> {
    /// The two ends.
    pub(super) fn channel() -> (AnswerSender<T>, std::sync::Arc<Self>) {
        let answer = std::sync::Arc::new(Self { slot: ArrayQueue::new(1), gate: Gate::default() });
        (AnswerSender(std::sync::Arc::clone(&answer)), answer)
    }

    /// Waits for the answer: `None` if there is none by `deadline`, `Some(None)` if there will never be one.
    pub(super) fn wait(&self, deadline: Option<Instant>) -> Option<Option<T>> {
        self.gate.wait(deadline, || self.slot.pop())
    }
}

/// The driver's end of an [`Answer`]. Dropping it tells that there will be none.
#[derive(Debug)]
pub(super) struct AnswerSender<T>(std::sync::Arc<Answer<T>>);

impl<T> AnswerSender<T> {
    /// Answers.
    pub(super) fn send(self, answer: T) {
        // The slot is free: there is one sender, and this uses it up.
        let _ = self.0.slot.push(Some(answer));
        self.0.gate.tell();
    }
}

impl<T> Drop for AnswerSender<T> {
    fn drop(&mut self) {
        // After an answer the slot is taken, or nobody looks at it again.
        let _ = self.0.slot.push(None);
        self.0.gate.tell();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicU64;
    use std::time::Duration;

    use super::*;

    #[test]
    fn no_change_is_slept_through() {
        const ROUNDS: u64 = 20_000;
        let shared = Arc::new((Gate::default(), Gate::default(), AtomicU64::new(0)));
        let other = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            for round in 0..ROUNDS {
                other.0.wait(None, || (other.2.load(Ordering::Relaxed) > 2 * round).then_some(()));
                other.2.fetch_add(1, Ordering::Relaxed);
                other.1.tell();
            }
        });
        for round in 0..ROUNDS {
            shared.2.fetch_add(1, Ordering::Relaxed);
            shared.0.tell();
            shared.1.wait(None, || (shared.2.load(Ordering::Relaxed) > 2 * round + 1).then_some(()));
        }
        thread.join().unwrap();
        assert_eq!(shared.2.load(Ordering::Relaxed), 2 * ROUNDS);
    }

    #[test]
    fn waiting_ends_at_the_deadline() {
        let start = Instant::now();
        let deadline = start + Duration::from_millis(20);
        assert_eq!(Gate::default().wait::<()>(Some(deadline), || None), None);
        assert!(start.elapsed() >= Duration::from_millis(20));
    }

    #[test]
    fn an_answer_comes_or_is_known_never_to_come() {
        let (sender, answer) = Answer::channel();
        sender.send(7);
        assert_eq!(answer.wait(None), Some(Some(7)));
        let (sender, answer) = Answer::<u8>::channel();
        assert_eq!(answer.wait(Some(Instant::now())), None);
        drop(sender);
        assert_eq!(answer.wait(None), Some(None));
    }
}
