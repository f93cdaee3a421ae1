//! Threads that end together.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// Threads of which none goes on without the others: a target that has lost some of its threads would keep hosts waiting that were theirs.
#[derive(Default)]
pub(super) struct Crew {
    stopper: CrewStopper,
    threads: Vec<JoinHandle<io::Result<()>>>,
}

/// Ends all threads of a crew.
#[derive(Clone, Default)]
pub(super) struct CrewStopper(Arc<Mutex<Stops>>);

#[derive(Default)]
struct Stops {
    is_used: bool,
    stops: Vec<Box<dyn Fn() + Send>>,
}

/// Ends the crew when its thread ends, in whatever way.
struct Last(CrewStopper);

impl Crew {
    /// Runs `work` in a thread of its own, until `stop` is called.
    ///
    /// # Errors
    /// There can be no further thread.
    pub(super) fn start(
        &mut self,
        stop: impl Fn() + Send + 'static,
        work: impl FnOnce() -> io::Result<()> + Send + 'static,
    ) -> io::Result<()> {
        self.stopper.add(stop);
        let last = Last(self.stopper.clone());
        let thread = std::thread::Builder::new().name("nvme-target".to_owned()).spawn(move || {
            let _last = last;
            work()
        })?;
        self.threads.push(thread);
        Ok(())
    }

    /// What ends all of them.
    pub(super) fn stopper(&self) -> CrewStopper {
        self.stopper.clone()
    }

    /// Waits for the end of all of them.
    ///
    /// # Errors
    /// The first that one of them has ended with.
    pub(super) fn join(self) -> io::Result<()> {
        let join =
            |thread: JoinHandle<io::Result<()>>| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let results: Vec<io::Result<()>> = self.threads.into_iter().map(join).collect();
        results.into_iter().collect()
    }
}

impl CrewStopper {
    /// Has all threads end, those included that are still to be started.
    pub(super) fn stop(&self) {
        let mut stops = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        stops.is_used = true;
        stops.stops.iter().for_each(|stop| stop());
    }

    fn add(&self, stop: impl Fn() + Send + 'static) {
        let mut stops = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if stops.is_used {
            stop();
        }
        stops.stops.push(Box::new(stop));
    }
}

impl Drop for Last {
    fn drop(&mut self) {
        self.0.stop();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn who_fails_takes_the_others_along() {
        let mut crew = Crew::default();
        for fails in [false, true, false] {
            let (stop, stopped) = mpsc::channel();
            let stop = move || {
                let _ = stop.send(());
            };
            let work = move || match fails {
                true => Err(io::Error::other("no ring")),
                false => stopped.recv().map_err(io::Error::other),
            };
            crew.start(stop, work).unwrap();
        }
        assert_eq!(crew.join().unwrap_err().to_string(), "no ring");
    }
}
