//! What is believed of those that sync a file at the same time.
//!
//! The kernel tells of pages that it could not write once per open file: of several that sync at the same time one gets the error, and the others hear that all
//! is well. So that is believed of none before all that ran beside it have ended.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::gate::Gate;

/// Everything that syncs one file, on whatever thread.
#[derive(Debug)]
pub(super) struct Syncs {
    state: Mutex<State>,
    /// Those who wait are woken as those who wait for the file are.
    gate: Arc<Gate>,
}

#[derive(Debug, Default)]
struct State {
    /// The number of the next.
    next: u64,
    /// Those that have begun and not ended, in their order.
    running: VecDeque<u64>,
    /// Somebody may wait for all that are below this number.
    awaited: u64,
    /// How many have been told that something is lost.
    failures: u64,
}

/// One that the kernel is at; it has ended when this is dropped.
#[derive(Debug)]
pub(super) struct UnderWay {
    syncs: Arc<Syncs>,
    number: u64,
    /// Failures before it began.
    failures: u64,
}

/// The kernel has said that all is well, or is still to say so of what is being written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Doubt {
    /// It is, if it is for all that ran by then: those with lower numbers.
    until: u64,
    /// Failures before the sync began, or before that was written which it makes durable.
    failures: u64,
}

/// What has become of a file meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Losses {
    /// Something was lost while the one in doubt ran.
    pub(super) meanwhile: bool,
    /// Or before.
    pub(super) ever: bool,
}

impl Syncs {
    pub(super) fn new(gate: Arc<Gate>) -> Self {
        Self { state: Mutex::default(), gate }
    }

    /// One begins.
    pub(super) fn begin(self: &Arc<Self>) -> UnderWay {
        let mut state = self.state();
        let number = state.next;
        state.next += 1;
        state.running.push_back(number);
        UnderWay { syncs: Arc::clone(self), number, failures: state.failures }
    }

    /// For who writes something that will be synced by a step of its own: others who sync before that may be told that it is lost.
    pub(super) fn watch(&self) -> Doubt {
        Doubt { until: 0, failures: self.state().failures }
    }

    /// What was lost while the one in doubt ran, and before; nothing as long as others that ran then still do.
    pub(super) fn judge(&self, doubt: Doubt) -> Option<Losses> {
        let state = self.state();
        let is_settled = state.running.front().is_none_or(|first| *first >= doubt.until);
        is_settled.then(|| Losses { meanwhile: state.failures > doubt.failures, ever: state.failures > 0 })
    }

    /// How many have begun and not ended.
    #[cfg(test)]
    pub(super) fn under_way(&self) -> usize {
        self.state().running.len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UnderWay {
    /// It was told that something is lost; whether it is the first one.
    pub(super) fn fail(self) -> bool {
        let mut state = self.syncs.state();
        state.failures += 1;
        state.failures == 1
    }

    /// It was told that all is well. `watched` is since when losses count, if that is since [before](Syncs::watch) it began.
    pub(super) fn succeed(self, watched: Option<Doubt>) -> Doubt {
        let mut state = self.syncs.state();
        let until = state.next;
        if state.running.len() > 1 {
            state.awaited = until;
        }
        Doubt { until, failures: watched.map_or(self.failures, |watched| watched.failures) }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut state = self.syncs.state();
        state.running.retain(|number| *number != self.number);
        let is_awaited = self.number < state.awaited;
        drop(state);
        if is_awaited {
            self.syncs.gate.tell();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Losses = Losses { meanwhile: false, ever: false };

    #[test]
    fn nobody_is_believed_before_those_beside_have_ended() {
        let syncs = Arc::new(Syncs::new(Arc::default()));
        let [one, two] = [syncs.begin(), syncs.begin()];
        let doubt = two.succeed(None);
        assert_eq!(syncs.judge(doubt), None);
        // One that begins now is told of what is lost from now on.
        let three = syncs.begin();
        drop(one);
        assert_eq!(syncs.judge(doubt), Some(NONE));
        assert!(three.fail());
        assert_eq!(syncs.judge(doubt), Some(Losses { meanwhile: true, ever: true }), "whoever asks late hears more");
        let later = syncs.begin().succeed(None);
        assert_eq!(syncs.judge(later), Some(Losses { meanwhile: false, ever: true }));
        assert!(!syncs.begin().fail());
    }

    #[test]
    fn the_one_beside_fails_for_both() {
        let syncs = Arc::new(Syncs::new(Arc::default()));
        let [one, two] = [syncs.begin(), syncs.begin()];
        let doubt = one.succeed(None);
        assert!(two.fail());
        assert_eq!(syncs.judge(doubt), Some(Losses { meanwhile: true, ever: true }));
    }

    #[test]
    fn losses_count_from_when_it_was_written() {
        let syncs = Arc::new(Syncs::new(Arc::default()));
        let watched = syncs.watch();
        syncs.begin().fail();
        let doubt = syncs.begin().succeed(Some(watched));
        assert_eq!(syncs.judge(doubt), Some(Losses { meanwhile: true, ever: true }));
    }
}
