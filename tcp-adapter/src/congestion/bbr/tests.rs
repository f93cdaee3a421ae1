use std::collections::VecDeque;

use super::super::Recovery;
use super::super::testing::{MSS, ack, congestion};
use super::*;

const SECOND: u64 = 1_000_000_000;

/// A segment on its way.
struct Segment {
    sent_at: u64,
    /// When it is acknowledged; `None` if it is lost.
    acked_at: Option<u64>,
    delivered: u64,
    delivered_at: u64,
    first_sent_at: u64,
    lost: u64,
    tx_in_flight: u64,
}

/// A sender that always has something and a path of one queue.
struct Path {
    bbr: Bbr,
    rate: u64,
    rtt: u64,
    buffer: u64,
    /// One of so many segments is lost, if not 0.
    loss: u64,
    now: u64,
    /// When the queue will be empty.
    busy_until: u64,
    next_send: u64,
    segments: VecDeque<Segment>,
    in_flight: u64,
    delivered: u64,
    delivered_at: u64,
    first_sent_at: u64,
    lost: u64,
    recover: Option<u64>,
    sent: u64,
    chance: u64,
    largest_queue: u64,
}

impl Path {
    fn new(rate: u64, rtt: u64, buffer: u64, loss: u64) -> Self {
        Self {
            bbr: Bbr::new(MSS, 7),
            rate,
            rtt,
            buffer,
            loss,
            now: 0,
            busy_until: 0,
            next_send: 0,
            segments: VecDeque::new(),
            in_flight: 0,
            delivered: 0,
            delivered_at: 0,
            first_sent_at: 0,
            lost: 0,
            recover: None,
            sent: 0,
            chance: 1,
            largest_queue: 0,
        }
    }

    fn bdp(&self) -> u64 {
        self.rate * (self.rtt / 1_000) / 1_000_000
    }

    fn is_lost(&mut self) -> bool {
        self.chance = self.chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.loss > 0 && (self.chance >> 33).is_multiple_of(self.loss)
    }

    fn send(&mut self) {
        if self.in_flight == 0 {
            (self.first_sent_at, self.delivered_at) = (self.now, self.now);
        }
        self.bbr.on_sent(&Sent {
            now: Instant::from_nanos(self.now),
            bytes: MSS,
            in_flight: self.in_flight,
            delivered: self.delivered,
            snd_nxt: self.sent,
            retransmission: false,
            app_limited: false,
        });
        self.in_flight += MSS;
        self.sent += MSS;
        let queue = self.busy_until.saturating_sub(self.now) as u128 * u128::from(self.rate) / u128::from(SECOND);
        let dropped = self.is_lost() || queue as u64 > self.buffer;
        let acked_at = (!dropped).then(|| {
            self.busy_until = self.busy_until.max(self.now) + MSS * SECOND / self.rate;
            self.busy_until + self.rtt
        });
        self.largest_queue = self.largest_queue.max(queue as u64);
        self.segments.push_back(Segment {
            sent_at: self.now,
            acked_at,
            delivered: self.delivered,
            delivered_at: self.delivered_at,
            first_sent_at: self.first_sent_at,
            lost: self.lost,
            tx_in_flight: self.in_flight,
        });
        let rate = self.bbr.pacing_rate().unwrap_or(2 * self.bbr.cwnd() * SECOND / self.rtt);
        self.next_send = self.next_send.max(self.now) + MSS * SECOND / rate;
    }

    /// The first segment that arrives is acknowledged; those before it are lost.
    fn acknowledge(&mut self) {
        let mut newly_lost = 0;
        let prior_in_flight = self.in_flight;
        while let Some(segment) = self.segments.pop_front() {
            self.in_flight -= MSS;
            if segment.acked_at.is_none() {
                newly_lost += MSS;
                continue;
            }
            self.lost += newly_lost;
            self.delivered += MSS;
            self.delivered_at = self.now;
            self.first_sent_at = segment.sent_at;
            let interval = (segment.sent_at - segment.first_sent_at).max(self.now - segment.delivered_at);
            let delivered = self.delivered - segment.delivered;
            let now = Instant::from_nanos(self.now);
            if self.recover.is_some_and(|recover| self.delivered + self.lost > recover) {
                self.recover = None;
                self.bbr.on_recovered(now);
            }
            if newly_lost > 0 && self.recover.is_none() {
                self.recover = Some(self.sent);
                self.bbr.on_congestion(&congestion(now, Cause::Loss, prior_in_flight));
            }
            let rate = RateSample {
                rate: (u128::from(delivered) * u128::from(SECOND) / u128::from(interval)) as u64,
                delivered,
                interval,
                prior_delivered: segment.delivered,
                total_delivered: self.delivered,
                tx_in_flight: segment.tx_in_flight,
                lost: self.lost - segment.lost,
                app_limited: false,
            };
            self.bbr.on_ack(&Ack {
                lost: newly_lost,
                prior_in_flight,
                in_flight: self.in_flight,
                rtt: Some(self.now - segment.sent_at),
                rate: Some(rate),
                recovery: if self.recover.is_some() { Recovery::Fast } else { Recovery::Open },
                cwnd_limited: prior_in_flight + MSS > self.bbr.cwnd() || self.bbr.in_slow_start(),
                ..ack(now, MSS)
            });
            return;
        }
    }

    /// Bytes delivered in `time`.
    fn run(&mut self, time: u64) -> u64 {
        let (end, before) = (self.now + time, self.delivered);
        self.largest_queue = 0;
        while self.now < end {
            let ack = self.segments.iter().find_map(|segment| segment.acked_at);
            let send = (self.in_flight + MSS <= self.bbr.cwnd()).then_some(self.next_send.max(self.now));
            match (ack, send) {
                (Some(ack), Some(send)) if send < ack => {
                    self.now = send;
                    self.send();
                }
                (Some(ack), _) => {
                    self.now = ack;
                    self.acknowledge();
                }
                (None, Some(send)) => {
                    self.now = send;
                    self.send();
                }
                // Everything was lost: as after a timeout.
                (None, None) => {
                    self.segments.clear();
                    self.in_flight = 0;
                }
            }
        }
        self.delivered - before
    }

    /// Runs until the state is that one: when.
    fn run_until(&mut self, state: fn(&State) -> bool) -> u64 {
        let limit = self.now + 20 * SECOND;
        while !state(&self.bbr.state) {
            assert!(self.now < limit, "still {:?}", self.bbr.state);
            self.run(self.rtt / 20);
        }
        self.now
    }
}

#[test]
fn random_loss_does_not_slow_it_down() {
    // 100 Mbit/s and 1 Gbit/s.
    for (rate, rtt) in [(12_500_000, 40_000_000), (125_000_000, 10_000_000)] {
        let mut path = Path::new(rate, rtt, rate, 200);
        path.run(2 * SECOND);
        let delivered = path.run(20 * SECOND);
        let share = delivered as f64 / (20 * rate) as f64;
        assert!(share >= 0.95, "{share} of {rate}, {:?}", path.bbr);
        assert!(path.largest_queue <= path.bdp() * 3 / 2, "{} beside {}", path.largest_queue, path.bdp());
    }
}

#[test]
fn startup_finds_the_bandwidth_in_a_few_round_trips() {
    let mut path = Path::new(12_500_000, 40_000_000, 12_500_000, 0);
    // From 10 segments to 500 by doubling are 6 round trips, and 3 without growth are twice as long by the queue.
    let at = path.run_until(|state| *state == State::Drain);
    assert!(at <= 15 * path.rtt, "{at}");
    assert!(path.bbr.model.max_bw().abs_diff(path.rate) < path.rate / 50, "{}", path.bbr.model.max_bw());
    let drained = path.run_until(|state| state.probes_bandwidth());
    assert!(drained - at <= 3 * path.rtt);
    assert!(path.in_flight <= path.bdp() * 11 / 10, "{}", path.in_flight);
}

#[test]
fn startup_ends_when_a_short_buffer_overflows() {
    let mut path = Path::new(12_500_000, 40_000_000, 50_000, 0);
    path.run_until(|state| *state != State::Startup);
    assert!(path.bbr.model.inflight_hi != NONE, "{:?}", path.bbr);
    let delivered = path.run(10 * SECOND);
    assert!(delivered >= 112_500_000, "{delivered}");
}

#[test]
fn a_cycle_goes_down_cruises_refills_and_goes_up() {
    let mut path = Path::new(12_500_000, 40_000_000, 12_500_000, 0);
    path.run_until(|state| *state == State::Cruise);
    let began = path.bbr.cycle.since.as_nanos();
    let refilled = path.run_until(|state| *state == State::Refill);
    // 63 round trips are 2.52 s.
    assert!((2 * SECOND..=3 * SECOND).contains(&(refilled - began)), "{}", refilled - began);
    let up = path.run_until(|state| *state == State::Up);
    assert!(up - refilled <= 2 * path.rtt);
    let down = path.run_until(|state| *state == State::Down);
    assert!(down - up <= 8 * path.rtt, "{}", down - up);
}

#[test]
fn more_bandwidth_is_found_and_less_is_noticed() {
    let mut path = Path::new(12_500_000, 40_000_000, 12_500_000, 0);
    path.run(5 * SECOND);
    path.rate = 25_000_000;
    path.run(15 * SECOND);
    assert!(path.run(5 * SECOND) >= 5 * 23_750_000);
    path.rate = 6_250_000;
    path.run(15 * SECOND);
    assert!(path.run(5 * SECOND) >= 5 * 5_900_000);
    assert!(path.largest_queue <= path.bdp() * 3 / 2, "{} beside {}", path.largest_queue, path.bdp());
}

#[test]
fn the_round_trip_time_is_probed_after_5_s() {
    let mut path = Path::new(12_500_000, 40_000_000, 12_500_000, 0);
    let at = path.run_until(|state| matches!(state, State::ProbeRtt { .. }));
    assert!((5 * SECOND..6 * SECOND).contains(&at), "{at}");
    path.run(2 * path.rtt);
    assert!(path.in_flight <= path.bdp() * 6 / 10, "{}", path.in_flight);
    let end = path.run_until(|state| !matches!(state, State::ProbeRtt { .. }));
    assert!(end - at >= SECOND / 5 && end - at < SECOND / 2, "{}", end - at);
    assert_eq!(path.bbr.min_rtt.get().unwrap() / 1_000_000, 40);
}

#[test]
fn a_timeout_leads_to_one_segment_and_a_spurious_one_back() {
    let mut path = Path::new(12_500_000, 40_000_000, 12_500_000, 0);
    path.run(4 * SECOND);
    let (cwnd, now) = (path.bbr.cwnd(), Instant::from_nanos(path.now));
    path.bbr.on_congestion(&congestion(now, Cause::Timeout, cwnd));
    assert_eq!(path.bbr.cwnd(), MSS);
    path.bbr.on_spurious(now);
    assert_eq!(path.bbr.cwnd(), cwnd);
}

#[test]
fn the_segment_after_a_timeout_stays_one_when_it_becomes_shorter() {
    let mut path = Path::new(12_500_000, 40_000_000, 12_500_000, 0);
    path.run(4 * SECOND);
    let (cwnd, now) = (path.bbr.cwnd(), Instant::from_nanos(path.now));
    path.bbr.on_congestion(&congestion(now, Cause::Timeout, cwnd));
    path.bbr.set_mss(MSS / 2);
    assert_eq!(path.bbr.cwnd(), MSS / 2);
    path.bbr.on_spurious(now);
    assert_eq!(path.bbr.cwnd(), cwnd);
}

#[test]
fn a_pause_ends_at_the_pace_of_the_path() {
    let mut path = Path::new(12_500_000, 40_000_000, 12_500_000, 0);
    path.run_until(|state| *state == State::Up);
    let sent = Sent {
        now: Instant::from_nanos(path.now + 10 * SECOND),
        bytes: MSS,
        in_flight: 0,
        delivered: path.delivered,
        snd_nxt: path.sent,
        retransmission: false,
        app_limited: true,
    };
    path.bbr.on_sent(&sent);
    let pace = path.bbr.pacing_rate().unwrap();
    assert!(pace <= path.bbr.model.max_bw(), "{pace}");
    // The samples of the pause say nothing of the round-trip time's rise: no probe for it now.
    path.bbr.on_ack(&Ack { rtt: Some(path.rtt), ..ack(sent.now, MSS) });
    assert!(!matches!(path.bbr.state, State::ProbeRtt { .. }));
}

#[test]
fn flows_of_different_seeds_probe_at_different_times() {
    let waits: Vec<u64> = (0..20).map(|seed| Bbr::new(MSS, seed).random() % 1_000_000_000).collect();
    let spread = waits.iter().max().unwrap() - waits.iter().min().unwrap();
    assert!(spread > 500_000_000, "{waits:?}");
}

#[test]
fn it_is_small() {
    assert!(size_of::<Bbr>() <= 512, "{}", size_of::<Bbr>());
}
