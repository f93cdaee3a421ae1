//! Arbitrary segments in every state of a connection of the native engine: no panic, no memory without bound, and the
//! variables of its connections stay consistent.
//!
//! The test draws its inputs from the number of the round, so that every run sees the same ones. `cargo bolero test segments` looks for others
//! by coverage.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod game;
mod step;

use bolero::TypeGenerator;
use bolero::generator::bolero_generator::driver::{ByteSliceDriver, Options};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use game::Game;
use step::Step;

/// Steps in all.
const STEPS: usize = 1_000_000;

/// What was seen: connections established, segments that the hook was shown, connections closed.
fn play(seed: u64, steps: &[Step]) -> [usize; 3] {
    let mut game = Game::new(seed);
    for step in steps {
        game.step(step);
    }
    game.finish()
}

#[test]
fn segments_in_every_state_leave_connections_consistent() {
    let options = Options::default();
    let mut entropy = vec![0; 16 << 10];
    let (mut played, mut states) = (0, [0_usize; 3]);
    for seed in 0.. {
        StdRng::seed_from_u64(seed).fill_bytes(&mut entropy);
        let mut driver = ByteSliceDriver::new(&entropy, &options);
        let steps: Vec<Step> = std::iter::from_fn(|| Step::generate(&mut driver)).take(400).collect();
        match std::panic::catch_unwind(|| play(seed, &steps)) {
            Ok(seen) => states.iter_mut().zip(seen).for_each(|(sum, seen)| *sum += seen),
            Err(panic) => {
                eprintln!("round {seed}: {steps:#?}");
                std::panic::resume_unwind(panic);
            }
        }
        played += steps.len();
        if played >= STEPS {
            break;
        }
    }
    let [established, received, closed] = states;
    // Or nothing would have been tested.
    assert!(established > 1_000 && received > 100_000 && closed > 1_000, "{states:?}");
}

/// For a fuzzer that looks for coverage.
#[cfg(fuzzing)]
#[test]
fn segments() {
    bolero::check!().with_type::<(u64, Vec<Step>)>().for_each(|(seed, steps)| {
        play(*seed, steps);
    });
}
