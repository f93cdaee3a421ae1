//! What the property tests of this crate share.

use bolero::TypeGenerator;
use bolero::generator::bolero_generator::driver::{ByteSliceDriver, Options};
use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Runs `test` on `iterations` generated inputs.
///
/// `bolero::check!` draws its seeds from the operating system; these come from the number of
/// the iteration, so that every run sees the same inputs and a failure names the one to look at.
pub(crate) fn check<T: TypeGenerator + std::fmt::Debug>(iterations: u64, test: impl Fn(&T)) {
    let options = Options::default();
    let mut entropy = vec![0; 4096];
    for seed in 0..iterations {
        StdRng::seed_from_u64(seed).fill_bytes(&mut entropy);
        let used = 64 + (seed as usize * 61) % (entropy.len() - 64);
        let Some(input) = T::generate(&mut ByteSliceDriver::new(&entropy[..used], &options)) else { continue };
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| test(&input)));
        if let Err(panic) = outcome {
            eprintln!("input {seed}: {input:?}");
            std::panic::resume_unwind(panic);
        }
    }
}

/// `len` bytes of a stream in which each byte tells its position, modulo 251.
pub(crate) fn pattern(position: u64, len: usize) -> Bytes {
    (position..).take(len).map(|at| (at % 251) as u8).collect()
}
