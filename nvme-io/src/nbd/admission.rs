//! How much of a connection is executed at a time.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::{MAX_PAYLOAD, MAX_REQUESTS};

/// What the requests of a connection take that are executed.
#[derive(Debug, Default)]
pub(super) struct Admission {
    taken: Mutex<Taken>,
    freed: Condvar,
}

#[derive(Debug, Default)]
struct Taken {
    requests: usize,
    bytes: u64,
    is_closed: bool,
}

impl Taken {
    fn has_room(&self, bytes: u32) -> bool {
        self.requests < MAX_REQUESTS && self.bytes + u64::from(bytes) <= u64::from(MAX_PAYLOAD)
    }
}

impl Admission {
    /// Waits until there is room for a request with so many bytes, `MAX_PAYLOAD` at most, and takes it. False if it is closed.
    pub(super) fn enter(&self, bytes: u32) -> bool {
        let full = |taken: &mut Taken| !taken.is_closed && !taken.has_room(bytes);
        let mut taken = self.freed.wait_while(self.lock(), full).unwrap_or_else(PoisonError::into_inner);
        if taken.is_closed {
            return false;
        }
        taken.requests += 1;
        taken.bytes += u64::from(bytes);
        true
    }

    /// Gives back what `requests` with so many bytes have taken.
    pub(super) fn leave(&self, requests: usize, bytes: u64) {
        let mut taken = self.lock();
        taken.requests -= requests;
        taken.bytes -= bytes;
        self.freed.notify_one();
    }

    /// Lets nothing in any more.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.freed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_bytes_are_bounded() {
        let admission = Admission::default();
        for _ in 0..MAX_REQUESTS {
            assert!(admission.enter(0));
        }
        assert!(!admission.lock().has_room(0));
        admission.leave(MAX_REQUESTS, 0);
        assert!(admission.enter(MAX_PAYLOAD - 1));
        let room = [1, 2].map(|bytes| admission.lock().has_room(bytes));
        assert_eq!(room, [true, false]);
        admission.close();
        assert!(!admission.enter(0), "who waits is let go");
    }
}
