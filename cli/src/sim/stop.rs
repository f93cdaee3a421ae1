//! Ctrl-C while something is simulated: what is there is written before the program leaves.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::failure::Failure;
use crate::interrupt;

/// A wish to stop, and whether it has come true.
#[derive(Default)]
pub(super) struct Stop {
    pub(super) asked: Arc<AtomicBool>,
    written: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    /// One that Ctrl-C and its like ask for. They wait until [`done`](Self::done) before the program leaves.
    pub(super) fn on_interrupt() -> Result<Arc<Self>, Failure> {
        let stop = Arc::new(Self::default());
        let on_interrupt = Arc::clone(&stop);
        interrupt::on_interrupt(move || on_interrupt.and_wait())?;
        Ok(stop)
    }

    /// Whether somebody has asked for it.
    pub(super) fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// The results are written.
    pub(super) fn done(&self) {
        *self.written.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    /// Asks for the end and waits until the results are written.
    fn and_wait(&self) {
        self.asked.store(true, Ordering::Relaxed);
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        while !*written {
            written = self.changed.wait(written).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
