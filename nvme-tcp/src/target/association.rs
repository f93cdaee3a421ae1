//! What the queues of a controller share.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use super::errors::ErrorLog;
use crate::command::Nqn;

/// The epoch of a controller that is gone. So many resets do not happen.
const ENDED: u32 = u32::MAX;

/// A controller as all of its connections see it, from any thread.
///
/// I/O queues read two flags and set a third, without locks; locks are for connecting and disconnecting queues, and for commands that fail.
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
    queues: Mutex<Vec<u16>>,
    pub(super) errors: ErrorLog,
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
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        let free = !queues.contains(&queue);
        if free {
            queues.push(queue);
        }
        free
    }

    pub(super) fn detach(&self, queue: u16) {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner).retain(|connected| *connected != queue);
    }

    pub(super) fn has_io_queues(&self) -> bool {
        !self.queues.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}
