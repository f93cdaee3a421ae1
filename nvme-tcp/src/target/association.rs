//! What the queues of a controller share.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::abort::Appeal;
use super::errors::ErrorLog;
use crate::command::Nqn;

/// The epoch of a controller that is gone. So many resets do not happen.
const ENDED: u32 = u32::MAX;

/// A controller as all of its connections see it, from any thread.
///
/// I/O queues read two flags and set a third, without locks; locks are for connecting and disconnecting queues, for Aborts, and for commands that
/// fail.
#[derive(Debug)]
pub(super) struct Association {
    /// CNTLID.
    pub(super) controller: u16,
    pub(super) subsystem: Nqn,
    pub(super) host: Nqn,
    pub(super) host_id: [u8; 16],
    /// CSTS.RDY.
    ready: AtomicBool,
    /// Counts resets; [`ENDED`] when the controller is gone. No I/O queue may outlive the number that it was connected at.
    epoch: AtomicU32,
    /// A command came on some I/O queue since this was last asked.
    active: AtomicBool,
    /// I/O queues that the host was granted.
    granted: AtomicU32,
    /// Those that are connected.
    queues: Mutex<Vec<Connected>>,
    pub(super) errors: ErrorLog,
}

/// An I/O queue that is connected.
#[derive(Debug)]
struct Connected {
    queue: u16,
    /// Those that it has not heard.
    appeals: Vec<Appeal>,
}

impl Association {
    pub(super) fn new(controller: u16, subsystem: Nqn, host: Nqn, host_id: [u8; 16], granted: u32) -> Self {
        Self {
            controller,
            subsystem,
            host,
            host_id,
            ready: AtomicBool::new(false),
            epoch: AtomicU32::new(0),
            active: AtomicBool::new(false),
            granted: AtomicU32::new(granted),
            queues: Mutex::new(Vec::new()),
            errors: ErrorLog::default(),
        }
    }

    pub(super) fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Release);
    }

    pub(super) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// The controller was reset: its I/O queues end. One that has gone stays gone.
    pub(super) fn reset(&self) {
        let next = |epoch: u32| (epoch != ENDED).then(|| epoch.wrapping_add(1) % ENDED);
        let _ = self.epoch.fetch_update(Ordering::AcqRel, Ordering::Acquire, next);
    }

    /// The controller goes, and its queues with it.
    pub(super) fn end(&self) {
        self.epoch.store(ENDED, Ordering::Release);
    }

    pub(super) fn has_ended(&self) -> bool {
        self.epoch() == ENDED
    }

    pub(super) fn epoch(&self) -> u32 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Notes that a command or data came, or that data or a completion is taken. It writes only the first time, so that queues on different cores do not
    /// disturb each other.
    pub(super) fn note_activity(&self) {
        if !self.active.load(Ordering::Relaxed) {
            self.active.store(true, Ordering::Relaxed);
        }
    }

    /// Whether anything came since this was last called.
    pub(super) fn take_activity(&self) -> bool {
        self.active.swap(false, Ordering::Relaxed)
    }

    pub(super) fn grant(&self, queues: u32) {
        self.granted.store(queues, Ordering::Release);
    }

    pub(super) fn granted(&self) -> u32 {
        self.granted.load(Ordering::Acquire)
    }

    /// Takes the queue; false if it is connected already.
    pub(super) fn attach(&self, queue: u16) -> bool {
        let mut queues = self.lock();
        let free = !queues.iter().any(|connected| connected.queue == queue);
        if free {
            queues.push(Connected { queue, appeals: Vec::new() });
        }
        free
    }

    pub(super) fn detach(&self, queue: u16) {
        let mut queues = self.lock();
        let place = queues.iter().position(|connected| connected.queue == queue);
        let gone = place.map(|place| queues.swap_remove(place));
        // Appeals that go have others look again, which is nothing to do under a lock.
        drop(queues);
        drop(gone);
    }

    pub(super) fn has_io_queues(&self) -> bool {
        !self.lock().is_empty()
    }

    /// Leaves an appeal for an I/O queue; false if that is not connected.
    pub(super) fn leave_appeal(&self, queue: u16, make: impl FnOnce() -> Appeal) -> bool {
        let mut queues = self.lock();
        let found = queues.iter_mut().find(|connected| connected.queue == queue);
        found.map(|connected| connected.appeals.push(make())).is_some()
    }

    /// The appeals that were left for an I/O queue.
    pub(super) fn take_appeals(&self, queue: u16) -> Vec<Appeal> {
        let mut queues = self.lock();
        let found = queues.iter_mut().find(|connected| connected.queue == queue);
        found.map(|connected| std::mem::take(&mut connected.appeals)).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Connected>> {
        // Lists are as they were before or after one insertion or removal.
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
