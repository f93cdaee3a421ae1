use super::super::testing::{MS, MSS, ack, congestion};
use super::*;

const SECOND: u64 = 1_000 * MS;

/// A connection that fills its window and loses nothing.
struct Path {
    cubic: Cubic,
    now: u64,
    rtt: u64,
}

impl Path {
    /// In congestion avoidance after a loss at `w_max` segments.
    fn after_loss(w_max: u64, rtt: u64) -> Self {
        let mut cubic = Cubic::new(MSS);
        cubic.window.grow(w_max * MSS - cubic.cwnd());
        cubic.on_congestion(&congestion(Instant::ZERO, Cause::Loss, w_max * MSS));
        Self { cubic, now: 0, rtt }
    }

    fn acknowledge(&mut self, bytes: u64) {
        self.cubic.on_ack(&Ack { srtt: self.rtt, ..ack(Instant::from_nanos(self.now), bytes) });
    }

    /// Windows' worth of acknowledgements, evenly in time, for `time`.
    fn run(&mut self, time: u64) {
        let end = self.now + time;
        while self.now < end {
            let segments = self.segments();
            self.acknowledge(2 * MSS);
            self.now += (self.rtt as f64 * 2.0 / segments) as u64;
        }
    }

    fn segments(&self) -> f64 {
        self.cubic.cwnd() as f64 / MSS as f64
    }
}

fn assert_near(value: f64, expected: f64, percent: f64) {
    assert!((value / expected - 1.0).abs() * 100.0 <= percent, "{value}, expected {expected}");
}

#[test]
fn cube_roots_are_exact_to_the_last_digits() {
    for x in [1e-9, 0.3, 1.0, 8.0, 27.0, 750.0, 1e6, 3.7e12] {
        let root = cube_root(x);
        assert!((root * root * root / x - 1.0).abs() < 1e-14, "{x}: {root}");
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the last digit does not matter here")]
fn the_window_follows_the_curve_of_equation_1() {
    let mut path = Path::after_loss(1_000, 100 * MS);
    assert_eq!(path.cubic.cwnd(), 700 * MSS);
    // Equation 2.
    let k = (300.0_f64 / 0.4).cbrt();
    path.acknowledge(MSS);
    assert_near(f64::from(path.cubic.curve.k), k, 0.001);
    for second in 1..=15 {
        path.run(SECOND);
        // What is reached is the target, which is a round trip ahead, a round trip later.
        let t = f64::from(second);
        assert_near(path.segments(), 0.4 * (t - k).powi(3) + 1_000.0, 1.0);
    }
    assert!(path.segments() > 1_050.0, "convex after the plateau");
}

#[test]
fn one_acknowledgement_for_a_whole_window_opens_it_as_many_small_ones_do() {
    let mut small = Path::after_loss(1_000, 100 * MS);
    small.run(5 * SECOND);
    let mut large = Path::after_loss(1_000, 100 * MS);
    for _ in 0..50 {
        large.acknowledge(large.cubic.cwnd());
        large.now += large.rtt;
    }
    assert_near(large.segments(), small.segments(), 1.0);
}

#[test]
fn short_paths_are_reno_friendly() {
    // The curve would need 4.2 s to the plateau, Reno's AIMD 57 round trips of 10 ms.
    let mut path = Path::after_loss(100, 10 * MS);
    path.run(200 * MS);
    assert_near(path.segments(), 70.0 + 20.0 * ALPHA, 1.0);
    path.run(400 * MS);
    let reached = path.segments();
    assert!(reached > 100.0, "{reached}");
    // As Reno from where it was before the loss.
    path.run(200 * MS);
    assert_near(path.segments() - reached, 20.0, 5.0);
}

#[test]
fn the_window_grows_by_half_per_round_trip_at_most() {
    let mut path = Path::after_loss(100, 100 * MS);
    path.run(100 * MS);
    path.now += 60 * SECOND;
    let before = path.cubic.cwnd();
    path.acknowledge(before);
    assert!(path.cubic.cwnd().abs_diff(before * 3 / 2) <= 1);
}

#[test]
fn a_smaller_window_at_a_loss_gives_way_faster() {
    let mut path = Path::after_loss(1_000, 100 * MS);
    path.cubic.on_congestion(&congestion(Instant::ZERO, Cause::Loss, 700 * MSS));
    assert_near(f64::from(path.cubic.curve.w_max), 700.0 * 0.85, 0.001);
    assert_eq!((path.cubic.cwnd(), path.cubic.ssthresh()), (490 * MSS, Some(490 * MSS)));
}

#[test]
fn after_a_timeout_the_curve_begins_on_its_plateau() {
    let mut path = Path::after_loss(1_000, 100 * MS);
    path.cubic.on_congestion(&congestion(Instant::ZERO, Cause::Timeout, 700 * MSS));
    assert_eq!((path.cubic.cwnd(), path.cubic.ssthresh()), (MSS, Some(490 * MSS)));
    for _ in 0..490 {
        path.acknowledge(MSS);
    }
    assert_eq!((path.cubic.cwnd() / MSS, path.cubic.curve.w_max, path.cubic.curve.k), (490, 490.0, 0.0));
    path.run(3 * SECOND);
    assert_near(path.segments(), 490.0 + 30.0 * ALPHA, 1.0);
}

#[test]
fn a_spurious_loss_leaves_no_trace() {
    let mut path = Path::after_loss(1_000, 100 * MS);
    path.run(2 * SECOND);
    let before = (path.cubic.cwnd(), path.cubic.ssthresh(), path.cubic.curve.w_max, path.cubic.curve.epoch);
    path.cubic.on_congestion(&congestion(Instant::from_nanos(path.now), Cause::Loss, path.cubic.cwnd()));
    path.run(100 * MS);
    path.cubic.on_spurious(Instant::from_nanos(path.now));
    let after = (path.cubic.cwnd(), path.cubic.ssthresh(), path.cubic.curve.w_max, path.cubic.curve.epoch);
    assert_eq!(before, after);
}

#[test]
fn time_in_which_the_window_is_not_used_does_not_count() {
    let (mut busy, mut pausing) = (Path::after_loss(1_000, 100 * MS), Path::after_loss(1_000, 100 * MS));
    busy.run(6 * SECOND);
    pausing.run(3 * SECOND);
    let paused = pausing.segments();
    for _ in 0..100 {
        pausing.now += 100 * MS;
        let unused = Ack { cwnd_limited: false, ..ack(Instant::from_nanos(pausing.now), 2 * MSS) };
        pausing.cubic.on_ack(&unused);
    }
    pausing.now += 10 * SECOND;
    pausing.cubic.on_sent(&Sent {
        now: Instant::from_nanos(pausing.now),
        bytes: MSS,
        in_flight: 0,
        delivered: 0,
        snd_nxt: 0,
        retransmission: false,
        app_limited: false,
    });
    assert_eq!(pausing.segments(), paused);
    pausing.run(3 * SECOND);
    assert_near(pausing.segments(), busy.segments(), 0.1);
}

#[test]
fn slow_start_ends_when_the_round_trip_time_rises() {
    let mut cubic = Cubic::new(MSS);
    let mut sent = cubic.cwnd();
    let mut acked = 0;
    for round in 0..20 {
        // From the fourth round on a queue grows.
        let rtt = (40 + 6 * 4_u64.max(round) - 24) * MS;
        for _ in 0..cubic.cwnd() / MSS {
            acked += MSS;
            let now = Instant::from_nanos(round * rtt);
            cubic.on_ack(&Ack { rtt: Some(rtt), srtt: rtt, snd_una: acked, snd_nxt: sent, ..ack(now, MSS) });
            sent = acked + cubic.cwnd();
        }
        if !cubic.in_slow_start() {
            break;
        }
    }
    // 160 segments at the rise, then a round of an eighth in full and five that add a quarter each.
    assert!(!cubic.in_slow_start());
    assert!(cubic.cwnd() < 1_300 * MSS, "{}", cubic.cwnd());
    assert_eq!(cubic.curve.k, 0.0);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the last digit does not matter here")]
fn a_part_of_a_flow_takes_its_time_to_the_plateau_and_beyond() {
    let mut path = Path::after_loss(1_000, 100 * MS);
    path.cubic.set_share(0.5);
    path.acknowledge(MSS);
    // C is 0.4 / 16.
    let k = (300.0_f64 * 16.0 / 0.4).cbrt();
    assert_near(f64::from(path.cubic.curve.k), k, 0.001);
    path.run(10 * SECOND);
    assert_near(path.segments(), 0.025 * (10.0 - k).powi(3) + 1_000.0, 1.0);
}

#[test]
fn the_reno_friendly_part_of_a_flow_grows_with_its_square() {
    let mut path = Path::after_loss(100, 10 * MS);
    path.cubic.set_share(0.5);
    path.run(400 * MS);
    assert_near(path.segments(), 70.0 + 40.0 * ALPHA / 4.0, 1.0);
}

#[test]
fn another_share_leads_on_from_where_the_window_is() {
    let mut path = Path::after_loss(1_000, 100 * MS);
    path.run(3 * SECOND);
    let before = path.segments();
    path.cubic.set_share(0.9);
    assert!(path.cubic.curve.epoch.is_some(), "nearly the same");
    path.cubic.set_share(0.25);
    assert!(path.cubic.curve.epoch.is_none());
    path.run(100 * MS);
    assert_near(path.segments(), before, 1.0);
    assert_near(f64::from(path.cubic.curve.w_max), 1_000.0, 0.001);
    path.cubic.set_share(0.0);
    assert_near(f64::from(path.cubic.share), 1.0 / 64.0, 0.001);
}

#[test]
fn it_is_small() {
    assert!(size_of::<Cubic>() <= 160, "{}", size_of::<Cubic>());
}
