use std::collections::BTreeSet;

use rand::rngs::ChaCha8Rng;
use rand::{RngExt as _, SeedableRng as _};

use super::*;

fn at(nanos: u64) -> Instant {
    Instant::from_nanos(nanos)
}

fn drain(wheel: &mut Wheel, now: u64) -> Vec<u32> {
    std::iter::from_fn(|| wheel.pop_due(at(now))).collect()
}

#[test]
fn a_timer_takes_24_bytes() {
    assert!(size_of::<Timer>() <= 24);
}

#[test]
fn due_by_the_nanosecond_and_in_order() {
    let mut wheel = Wheel::new();
    wheel.schedule(7, at(5_000));
    wheel.schedule(3, at(5_001));
    wheel.schedule(9, at(200));
    assert_eq!(wheel.next(), Some(at(200)));
    assert_eq!(drain(&mut wheel, 199), []);
    assert_eq!(drain(&mut wheel, 5_000), [9, 7]);
    assert_eq!(wheel.next(), Some(at(5_001)));
    assert_eq!(drain(&mut wheel, 5_001), [3]);
    assert_eq!(wheel.next(), None);
}

#[test]
fn moved_cancelled_and_past_timers() {
    let mut wheel = Wheel::new();
    wheel.schedule(0, at(1_000_000_000));
    wheel.schedule(0, at(2_000_000_000));
    wheel.schedule(1, at(1_500_000_000));
    wheel.cancel(1);
    wheel.cancel(1);
    wheel.cancel(50);
    assert_eq!(drain(&mut wheel, 1_999_999_999), []);
    assert_eq!(wheel.next(), Some(at(2_000_000_000)));
    wheel.schedule(2, at(3));
    assert_eq!(wheel.next(), Some(at(3)));
    assert_eq!(drain(&mut wheel, 1_999_999_999), [2]);
    assert_eq!(drain(&mut wheel, u64::MAX), [0]);
    wheel.schedule(4, at(u64::MAX));
    assert_eq!(drain(&mut wheel, u64::MAX), [4]);
}

#[test]
fn found_due_and_then_moved_or_cancelled() {
    let mut wheel = Wheel::new();
    for index in 0..4 {
        wheel.schedule(index, at(2_048 + u64::from(index)));
    }
    assert_eq!(wheel.pop_due(at(2_050)), Some(0));
    wheel.cancel(1);
    wheel.schedule(2, at(9_000));
    assert_eq!(drain(&mut wheel, 2_050), []);
    assert_eq!(wheel.next(), Some(at(2_051)));
    assert_eq!(drain(&mut wheel, 10_000), [3, 2]);
}

/// Random operations on few timers over all magnitudes of time, beside a set that is ordered by deadline.
#[test]
fn same_as_an_ordered_set() {
    for seed in 0..60 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let (mut wheel, mut model) = (Wheel::new(), BTreeSet::<(u64, u32)>::new());
        let mut deadlines = [None::<u64>; 64];
        let mut now: u64 = if seed % 2 == 0 { 0 } else { rng.random_range(0..1 << 60) };
        for _ in 0..4_000 {
            let index: u32 = rng.random_range(0..64);
            let magnitude = rng.random_range(0..40);
            let ahead = rng.random_range(0..2u64 << magnitude);
            match rng.random_range(0..10) {
                0..5 => {
                    let deadline = if rng.random_range(0..20) == 0 { now.saturating_sub(ahead) } else { now + ahead };
                    if let Some(old) = deadlines[index as usize].replace(deadline) {
                        model.remove(&(old, index));
                    }
                    model.insert((deadline, index));
                    wheel.schedule(index, at(deadline));
                }
                5 => {
                    if let Some(old) = deadlines[index as usize].take() {
                        model.remove(&(old, index));
                    }
                    wheel.cancel(index);
                }
                6..8 => now += ahead,
                // As a driver does that sleeps until it is told.
                _ => now = wheel.next().map_or(now, |next| next.as_nanos().max(now)),
            }
            if let (Some(next), Some(&(first, _))) = (wheel.next(), model.first()) {
                assert!(next.as_nanos() <= first, "seed {seed}");
            }
            assert_eq!(wheel.next().is_none(), model.is_empty());
            if rng.random_range(0..3) == 0 {
                drain_like_the_model(&mut wheel, &mut model, &mut deadlines, now);
            }
        }
    }
}

fn drain_like_the_model(wheel: &mut Wheel, model: &mut BTreeSet<(u64, u32)>, deadlines: &mut [Option<u64>], now: u64) {
    let mut last = 0;
    let already = wheel.tick;
    while let Some(index) = wheel.pop_due(at(now)) {
        let deadline = deadlines[index as usize].take().expect("a timer that was set");
        assert!(deadline <= now && model.remove(&(deadline, index)));
        let tick = (deadline >> TICK_SHIFT).max(already);
        assert!(tick >= last, "out of order");
        last = tick;
    }
    assert!(model.first().is_none_or(|&(deadline, _)| deadline > now), "one was left");
    assert!(wheel.next().is_none_or(|next| next.as_nanos() > now), "a driver would spin");
}

#[test]
fn a_hundred_thousand_timers() {
    const COUNT: u32 = 100_000;
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut wheel = Wheel::new();
    let mut deadlines = vec![0; COUNT as usize];
    for round in 0..5 {
        for index in 0..COUNT {
            let deadline = rng.random_range(0..20_000_000_000) + round * 1_000_000;
            deadlines[index as usize] = deadline;
            wheel.schedule(index, at(deadline));
        }
    }
    let (mut popped, mut wakeups) = (0, 0);
    while let Some(next) = wheel.next() {
        wakeups += 1;
        while let Some(index) = wheel.pop_due(next) {
            assert_eq!(deadlines[index as usize], next.as_nanos(), "handed out exactly when it is due");
            popped += 1;
        }
    }
    assert_eq!(popped, COUNT);
    assert!(wakeups < 3 * COUNT, "{wakeups} wake-ups");
}

/// Many timers in one tick of which a part is due: handing them out must not look at the rest each time.
#[test]
fn a_crowded_tick_is_walked_once() {
    const COUNT: u32 = 100_000;
    let mut wheel = Wheel::new();
    for index in 0..COUNT {
        wheel.schedule(index, at(1_024 + u64::from(index % 2)));
    }
    assert_eq!(drain(&mut wheel, 1_024).len() as u32, COUNT / 2);
    assert_eq!(wheel.next(), Some(at(1_025)));
    assert_eq!(drain(&mut wheel, 1_025).len() as u32, COUNT / 2);
}
