//! Where random numbers come from.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// A source of random numbers for challenges and private values. Clones of it share it, so that no two exchanges get the same.
#[derive(Clone)]
pub struct Entropy(Arc<Mutex<StdRng>>);

impl Entropy {
    /// A source that is as hard to guess as this seed is: in earnest it comes from the operating system.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(Arc::new(Mutex::new(StdRng::from_seed(seed))))
    }

    /// A generator for one exchange.
    pub(super) fn draw(&self) -> StdRng {
        let mut seed = [0; 32];
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(&mut seed);
        StdRng::from_seed(seed)
    }
}

impl fmt::Debug for Entropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Entropy(..)")
    }
}
