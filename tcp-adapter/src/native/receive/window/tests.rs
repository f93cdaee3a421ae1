use rand::rngs::ChaCha8Rng;
use rand::{RngExt as _, SeedableRng as _};

use super::*;

const MSS: u32 = 1000;

fn state(rcv_nxt: u64, read: u64) -> ReceiveState {
    ReceiveState { rcv_nxt, read, held: rcv_nxt.saturating_sub(read), mss: MSS, pressure: false }
}

fn window(initial: usize, limit: usize) -> ReceiveWindow {
    ReceiveWindow::new(Instant::ZERO, initial, limit, ReceiveWindow::shift_for(limit))
}

/// Nanoseconds of a round trip, as far as the window knows.
fn rtt(window: &ReceiveWindow) -> u32 {
    window.tuning.as_ref().map_or(UNKNOWN, |tuning| tuning.rtt)
}

#[test]
fn takes_32_bytes() {
    assert!(size_of::<ReceiveWindow>() <= 32);
}

#[test]
fn the_smallest_shift_that_can_express_the_limit() {
    let table =
        [(1, 0), (65_535, 0), (65_536, 1), (131_070, 1), (131_071, 2), (4 << 20, 7), (1 << 30, 14), (1 << 40, 14)];
    for (limit, shift) in table {
        assert_eq!(ReceiveWindow::shift_for(limit), shift, "{limit}");
    }
    // RFC 7323 section 2.3: less than 2^30.
    let window = ReceiveWindow::new(Instant::ZERO, 1 << 40, 1 << 40, 200);
    assert_eq!((window.buffer(), window.shift), (65_535 << 14, 14));
    assert_eq!(ReceiveWindow::syn_window(1 << 20), 65_535);
}

#[test]
fn a_peer_that_does_not_scale_gets_64_kib() {
    let mut window = ReceiveWindow::new(Instant::ZERO, 1 << 20, 1 << 22, 0);
    let advertised = window.advertise(Instant::ZERO, &state(0, 0));
    assert_eq!((advertised, window.field(advertised), window.edge()), (65_535, 65_535, 65_535));
}

#[test]
fn the_first_segment_after_the_syn_opens_the_whole_window() {
    let mut window = window(128 << 10, 4 << 20);
    assert_eq!(window.edge(), 65_535);
    assert_eq!(window.advertise(Instant::ZERO, &state(0, 0)), 128 << 10);
    assert_eq!((window.field(128 << 10), window.edge()), (1 << 10, 128 << 10));
}

/// RFC 9293 section 3.8.6.2.2: the edge stays until it can move by a segment, or by half of a small buffer.
#[test]
fn the_edge_does_not_move_in_small_steps() {
    // Received, read, advertised.
    let table =
        [(0, 0, 10_000), (3000, 0, 7000), (3000, 999, 7000), (3000, 1000, 8000), (11_000, 1000, 0), (11_000, 1999, 0)];
    let mut large = window(10_000, 10_000);
    for (rcv_nxt, read, advertised) in table {
        assert_eq!(large.advertise(Instant::ZERO, &state(rcv_nxt, read)), advertised, "{rcv_nxt} {read}");
    }
    let mut small = window(600, 600);
    for (rcv_nxt, read, advertised) in [(400, 299, 200), (400, 300, 500)] {
        assert_eq!(small.advertise(Instant::ZERO, &state(rcv_nxt, read)), advertised, "{rcv_nxt} {read}");
    }
}

#[test]
fn an_update_only_when_at_least_half_was_taken_back() {
    let mut window = window(10_000, 10_000);
    window.advertise(Instant::ZERO, &state(0, 0));
    assert!(!window.wants_update(&state(0, 0)));
    assert!(!window.wants_update(&state(4000, 4000)), "6000 of 10000 are left");
    assert!(window.wants_update(&state(5000, 5000)));
    window.advertise(Instant::ZERO, &state(10_000, 0));
    assert!(!window.wants_update(&state(10_000, 999)));
    assert!(window.wants_update(&state(10_000, 1000)));
}

#[test]
fn pressure_closes_the_window_but_for_a_few_segments_and_takes_nothing_back() {
    let mut window = window(100_000, 100_000);
    assert_eq!(window.advertise(Instant::ZERO, &state(0, 0)), 100_000);
    let pressed = |rcv_nxt, read| ReceiveState { pressure: true, ..state(rcv_nxt, read) };
    assert_eq!(window.advertise(Instant::ZERO, &pressed(60_000, 60_000)), 40_000);
    assert_eq!(window.advertise(Instant::ZERO, &pressed(99_900, 99_900)), 4000);
    assert_eq!(window.advertise(Instant::ZERO, &pressed(103_900, 99_900)), 0);
    assert_eq!(window.advertise(Instant::ZERO, &state(103_900, 103_900)), 100_000);
}

/// A few segments are less than one unit of the scale of a large buffer, and rounded down they would be nothing.
#[test]
fn pressure_leaves_a_window_that_the_scale_can_express() {
    let mut window = window(1 << 20, 500 << 20);
    assert_eq!((window.advertise(Instant::ZERO, &state(0, 0)), window.shift), (1 << 20, 13));
    let pressed = ReceiveState { pressure: true, ..state(1 << 20, 1 << 20) };
    assert_eq!(window.advertise(Instant::ZERO, &pressed), 1 << 13);
}

#[test]
fn a_window_from_above_is_cut_and_remembered() {
    let mut window = window(128 << 10, 4 << 20);
    assert_eq!(window.advertise_told(0, 0, 200_000), 200_000 / 128 * 128);
    assert_eq!(window.edge(), 200_000 / 128 * 128);
    assert_eq!(window.advertise_told(100, 0, 1000), 896);
    assert_eq!(window.edge(), 200_000 / 128 * 128);
    assert_eq!(window.advertise_told(0, 0, u32::MAX), 4 << 20);
    assert_eq!(window.advertise_told(1 << 20, 1 << 20, u32::MAX), 3 << 20, "what nobody reads counts");
    assert_eq!((window.told_in_syn(70_000), window.edge()), (65_535, 65_535));
    let mut small = self::window(4096, 4096);
    assert_eq!((small.told_in_syn(65_535), small.edge()), (4096, 4096));
}

#[test]
fn no_more_is_promised_than_there_is_memory_for() {
    let mut window = window(100_000, 100_000);
    assert_eq!(window.edge(), 65_535, "of the SYN");
    window.note_free(80_000);
    assert_eq!(window.advertise(Instant::ZERO, &state(0, 0)), 80_000);
    window.note_free(0);
    assert_eq!(window.advertise(Instant::ZERO, &state(30_000, 0)), 50_000, "what was promised stays so");
    assert_eq!(window.advertise(Instant::ZERO, &state(80_000, 60_000)), 0);
    assert_eq!(window.advertise(Instant::ZERO, &state(80_000, 80_000)), 0);
    window.note_free(5_000);
    assert_eq!(window.advertise(Instant::ZERO, &state(80_000, 80_000)), 5_000);
    window.note_free(1 << 40);
    assert_eq!(window.advertise(Instant::ZERO, &state(85_000, 85_000)), 100_000);
}

/// What the application reads per round trip decides how far the buffer grows.
#[test]
fn the_buffer_grows_to_twice_what_is_read_in_a_round_trip() {
    // Bytes per millisecond, limit, buffer in the end, with 10 ms of round trip.
    for (rate, limit, buffer) in
        [(10_000, 4 << 20, 256 << 10), (100_000, 16 << 20, 2 << 20), (100_000, 1 << 20, 1 << 20)]
    {
        let mut window = window(128 << 10, limit);
        window.on_rtt(Duration::from_millis(10));
        let mut edges = std::collections::VecDeque::from([window.edge(); 10]);
        let mut read = 0;
        for millis in 1..1000 {
            read = edges.pop_front().map_or(read, |edge| edge.min(read + rate));
            window.on_data(Instant::from_millis(millis), &state(read, read));
            window.advertise(Instant::from_millis(millis), &state(read, read));
            edges.push_back(window.edge());
        }
        assert_eq!(window.buffer(), buffer, "{rate} bytes per ms");
    }
}

#[test]
fn the_buffer_does_not_grow_for_an_application_that_does_not_read_or_under_pressure() {
    for (reads, pressure) in [(false, false), (true, true)] {
        let mut window = window(128 << 10, 4 << 20);
        window.on_rtt(Duration::from_millis(10));
        for millis in 1..1000 {
            let rcv_nxt = 100_000 * millis;
            let read = if reads { rcv_nxt } else { 0 };
            window.on_data(Instant::from_millis(millis), &ReceiveState { pressure, ..state(rcv_nxt, read) });
        }
        assert_eq!(window.buffer(), 128 << 10);
    }
}

/// Without timestamps: a sender that fills the window in each round trip of 20 ms, for 64 KiB of the SYN at first.
#[test]
fn the_time_to_receive_a_window_stands_for_the_round_trip() {
    let mut window = window(128 << 10, 1 << 20);
    let mut rcv_nxt = 0;
    for round in 1..20 {
        window.advertise(Instant::from_millis(20 * (round - 1)), &state(rcv_nxt, rcv_nxt));
        rcv_nxt = window.edge();
        window.on_data(Instant::from_millis(20 * round), &state(rcv_nxt, rcv_nxt));
        assert_eq!(rtt(&window), 20_000_000);
    }
    assert_eq!(window.buffer(), 1 << 20);
}

#[test]
fn longer_round_trips_count_by_and_by() {
    let mut window = window(1000, 1000);
    window.on_rtt(Duration::from_millis(8));
    window.on_rtt(Duration::from_millis(16));
    assert_eq!(rtt(&window), 9_000_000);
    window.on_rtt(Duration::from_millis(2));
    assert_eq!(rtt(&window), 2_000_000);
    window.on_rtt(Duration::MAX);
    window.on_rtt(Duration::ZERO);
    assert_eq!(rtt(&window), 1);
}

/// The peer sends what it may, in segments of any size, and the application reads when it wants.
#[test]
fn never_taken_back_never_stuck_and_never_beyond_the_limit() {
    for seed in 0..200 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let limit = 1usize << rng.random_range(0..24);
        let initial = rng.random_range(1..=limit);
        let mut window = window(initial, limit);
        let unit = 1u64 << window.shift;
        let longest = 1u64 << rng.random_range(0..12);
        let (mut rcv_nxt, mut read, mut promised, mut now) = (0u64, 0u64, 0u64, 0);
        for _ in 0..5000 {
            now += rng.random_range(0..3);
            let pressure = rng.random_range(0..50) == 0;
            let current = ReceiveState { pressure, ..state(rcv_nxt, read) };
            let advertised = u64::from(window.advertise(Instant::from_millis(now), &current));
            assert_eq!(advertised, u64::from(window.field(advertised as u32)) * unit, "expressible");
            assert!(rcv_nxt + advertised + unit > promised, "seed {seed}: less than a unit is lost in rounding");
            promised = promised.max(rcv_nxt + advertised);
            assert!(window.edge() >= promised);
            assert!(window.edge() <= read + limit as u64, "seed {seed}");
            assert!(read < rcv_nxt || advertised > 0, "seed {seed}: everything is read and the window is closed");
            rcv_nxt += rng.random_range(0..=longest).min(advertised);
            if rng.random_range(0..4) == 0 {
                read = rng.random_range(read..=rcv_nxt);
            }
            window.on_data(Instant::from_millis(now), &ReceiveState { pressure, ..state(rcv_nxt, read) });
        }
    }
}

/// Single bytes that are never read, each acknowledged: rounding must not open the window for ever.
#[test]
fn single_bytes_do_not_open_the_window() {
    let mut window = window(128 << 10, 4 << 20);
    let mut rcv_nxt = 0;
    while window.advertise(Instant::ZERO, &state(rcv_nxt, 0)) > 0 {
        rcv_nxt += 1;
        assert!(rcv_nxt <= 140 << 10);
    }
    assert!(rcv_nxt >= 128 << 10);
}
