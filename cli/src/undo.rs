//! What this process has made and takes away again, however it ends.

use std::sync::{Arc, Mutex, PoisonError};

use crate::failure::Failure;
use crate::interrupt::on_interrupt;

/// Takes something back once: when this is dropped, or when the process is interrupted.
pub(crate) struct Undo {
    pending: Pending,
}

type Pending = Arc<Mutex<Option<Box<dyn FnOnce() + Send>>>>;

impl Undo {
    /// Does something, and keeps what takes it back.
    ///
    /// Interruptions are caught from before the beginning, and wait for the end of `make`: nothing stays that was
    /// half made.
    pub(crate) fn after<T>(
        make: impl FnOnce() -> Result<T, Failure>,
        undo: impl FnOnce() + Send + 'static,
    ) -> Result<(T, Self), Failure> {
        let pending: Pending = Arc::default();
        let interrupted = Arc::clone(&pending);
        let mut slot = pending.lock().unwrap_or_else(PoisonError::into_inner);
        on_interrupt(move || run(&interrupted))?;
        let made = make()?;
        *slot = Some(Box::new(undo));
        drop(slot);
        Ok((made, Self { pending }))
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        run(&self.pending);
    }
}

fn run(pending: &Mutex<Option<Box<dyn FnOnce() + Send>>>) {
    // Held to the end: whoever comes second, at an interruption, must not leave before the work is done.
    let mut pending = pending.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(undo) = pending.take() {
        undo();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn what_was_made_is_undone_once() {
        let undone = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&undone);
        let add = move || {
            count.fetch_add(1, Ordering::Relaxed);
        };
        let ((), undo) = Undo::after(|| Ok(()), add).unwrap();
        run(&undo.pending);
        drop(undo);
        assert_eq!(undone.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn what_was_not_made_is_not_undone() {
        let failed = || Err::<(), _>(Failure::Runtime("no".to_owned()));
        let result = Undo::after(failed, || panic!("there was nothing to undo"));
        assert_eq!(result.err().map(|failure| failure.to_string()).as_deref(), Some("no"));
    }
}
