//! What ends the loop of a thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::net::Waker;

/// Ends a [`Server`](crate::Server), an [`NbdServer`](crate::nbd::NbdServer) or a [`HostDriver`](crate::HostDriver), from any thread.
#[derive(Clone, Debug)]
pub struct Stopper {
    stop: Arc<AtomicBool>,
    waker: Waker,
}

impl Stopper {
    /// For the thread that this waker wakes.
    pub(crate) fn new(waker: Waker) -> Self {
        Self { stop: Arc::new(AtomicBool::new(false)), waker }
    }

    /// Has `run` return.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Whether the loop is to end.
    pub(crate) fn is_used(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }
}
