//! Whoever is to be told of changes.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Functions that are called when something has changed, until their [`Subscription`]s are gone.
#[derive(Default)]
pub struct Subscribers(Arc<Mutex<Wakes>>);

#[derive(Default)]
struct Wakes {
    next: u64,
    all: Vec<(u64, Box<dyn Fn() + Send + Sync>)>,
}

/// Has its function called as long as it is there.
#[derive(Debug)]
#[must_use = "without it nothing is told"]
pub struct Subscription {
    wakes: Weak<Mutex<Wakes>>,
    number: u64,
}

impl Subscribers {
    /// Has `wake` called from now on. It must neither subscribe nor drop a subscription.
    pub fn subscribe(&self, wake: impl Fn() + Send + Sync + 'static) -> Subscription {
        let mut wakes = lock(&self.0);
        let number = wakes.next;
        wakes.next += 1;
        wakes.all.push((number, Box::new(wake)));
        Subscription { wakes: Arc::downgrade(&self.0), number }
    }

    /// Calls all of them, in the order in which they came.
    pub fn tell(&self) {
        lock(&self.0).all.iter().for_each(|(_, wake)| wake());
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Some(wakes) = self.wakes.upgrade() {
            lock(&wakes).all.retain(|(number, _)| *number != self.number);
        }
    }
}

impl fmt::Debug for Subscribers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Subscribers").field(&lock(&self.0).all.len()).finish()
    }
}

impl fmt::Debug for Wakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Wakes").field(&self.all.len()).finish()
    }
}

/// Nothing is half done after a panic of one of the functions.
fn lock(wakes: &Mutex<Wakes>) -> MutexGuard<'_, Wakes> {
    wakes.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn who_has_left_is_not_told() {
        let subscribers = Subscribers::default();
        let told = [0, 1].map(|_| Arc::new(AtomicU32::new(0)));
        let [first, second] = told.each_ref().map(|count| {
            let count = Arc::clone(count);
            subscribers.subscribe(move || {
                count.fetch_add(1, Ordering::Relaxed);
            })
        });
        subscribers.tell();
        drop(first);
        subscribers.tell();
        assert_eq!(told.each_ref().map(|count| count.load(Ordering::Relaxed)), [1, 2]);
        drop(second);
        assert_eq!(format!("{subscribers:?}"), "Subscribers(0)");
    }
}
