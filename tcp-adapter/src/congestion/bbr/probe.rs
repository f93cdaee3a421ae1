//! How BBR probes: for bandwidth in cycles of Down, Cruise, Refill and Up, and for the round-trip time.

use std::time::Duration;

use super::model::{BETA, NONE, part, too_high};
use super::{Bbr, State};
use crate::Instant;
use crate::congestion::{Ack, RateSample};

/// Part of the long-term bound that is left to others while cruising.
const HEADROOM: f64 = 0.15;
/// Round trips after which a Reno flow in a queue of the same size would have probed; more than that leave to the clock.
const MAX_RENO_ROUNDS: u64 = 63;
/// How long a probe of the round-trip time holds what is in flight down.
const PROBE_RTT_TIME: Duration = Duration::from_millis(200);
/// To what part of the bandwidth-delay product.
const PROBE_RTT_GAIN: f64 = 0.5;

/// Where a cycle of probing for bandwidth stands.
#[derive(Clone, Debug)]
pub(super) struct Cycle {
    /// When Down began, and how long after that Refill is due, in nanoseconds.
    pub(super) since: Instant,
    wait: u64,
    /// Round trips since the last probe.
    rounds: u64,
    /// Bytes that must arrive in Up for each segment that the long-term bound is raised by; this halves in each round trip.
    raise_after: u64,
    raise_rounds: u32,
    raise_acked: u64,
    /// Losses are due to the probe, so they bound what may be in flight.
    samples: bool,
    /// The probe has ended, and its last round trip has not.
    stopping: bool,
    /// Round trips of Cruise that have begun.
    cruised: u8,
}

impl Cycle {
    pub(super) fn new() -> Self {
        Self {
            since: Instant::ZERO,
            wait: 0,
            rounds: 0,
            raise_after: NONE,
            raise_rounds: 0,
            raise_acked: 0,
            samples: false,
            stopping: false,
            cruised: 0,
        }
    }
}

impl Bbr {
    pub(super) fn start_down(&mut self, now: Instant) {
        self.model.reset_signals();
        // Flows that share a queue are not to probe at the same time.
        let chance = self.random();
        self.cycle = Cycle {
            since: now,
            wait: 2_000_000_000 + chance % 1_000_000_000,
            rounds: chance >> 63,
            stopping: true,
            ..Cycle::new()
        };
        self.model.start_round();
        self.state = State::Down;
    }

    fn start_refill(&mut self) {
        self.model.reset_lower_bounds();
        self.cycle.raise_rounds = 0;
        self.cycle.raise_acked = 0;
        self.cycle.stopping = false;
        self.model.start_round();
        self.state = State::Refill;
    }

    pub(super) fn start_up(&mut self, rate: u64) {
        self.cycle.samples = true;
        self.model.start_round();
        self.full.reset(rate);
        self.state = State::Up;
        self.raise_slope();
    }

    pub(super) fn advance_cycle(&mut self, ack: &Ack, rate: &RateSample) {
        if self.model.round_start {
            self.cycle.rounds += 1;
            if self.state == State::Cruise {
                self.cycle.cruised = self.cycle.cruised.saturating_add(1);
            }
        }
        self.adapt_long_term(ack, rate);
        // The bound, not the path, may be what the bandwidth has come up against.
        if self.state == State::Up && ack.cwnd_limited && self.cwnd >= self.model.inflight_hi {
            self.full.reset(rate.rate);
        }
        match self.state {
            State::Down if self.time_to_probe(ack.now) => self.start_refill(),
            State::Down if self.time_to_cruise(ack.in_flight) => self.state = State::Cruise,
            State::Cruise if self.time_to_probe(ack.now) => self.start_refill(),
            State::Refill if self.model.round_start => self.start_up(rate.rate),
            State::Up if self.full.now => self.start_down(ack.now),
            _ => {}
        }
    }

    fn adapt_long_term(&mut self, ack: &Ack, rate: &RateSample) {
        if self.model.round_start && self.cycle.stopping {
            (self.cycle.stopping, self.cycle.samples) = (false, false);
            if self.state.probes_bandwidth() && !rate.app_limited {
                self.model.advance_cycle();
            }
        }
        if too_high(rate) {
            if self.cycle.samples {
                self.bound_long_term(ack.now, rate.tx_in_flight, rate.app_limited);
            }
        } else if self.model.inflight_hi != NONE {
            self.model.inflight_hi = self.model.inflight_hi.max(rate.tx_in_flight);
            if self.state == State::Up {
                self.raise_long_term(ack);
            }
        }
    }

    /// A probe with `in_flight` bytes has lost too much.
    pub(super) fn bound_long_term(&mut self, now: Instant, in_flight: u64, app_limited: bool) {
        self.cycle.samples = false;
        if !app_limited {
            self.model.inflight_hi = in_flight.max(part(self.target_inflight(), BETA));
        }
        if self.state == State::Up {
            self.start_down(now);
        }
    }

    /// While probes push against the long-term bound, it gives way, exponentially faster from round trip to round trip.
    fn raise_long_term(&mut self, ack: &Ack) {
        if !ack.cwnd_limited || self.cwnd < self.model.inflight_hi {
            return;
        }
        self.cycle.raise_acked += ack.delivered;
        let steps = self.cycle.raise_acked / self.cycle.raise_after;
        self.cycle.raise_acked -= steps * self.cycle.raise_after;
        self.model.inflight_hi += steps * self.mss;
        if self.model.round_start {
            self.raise_slope();
        }
    }

    fn raise_slope(&mut self) {
        self.cycle.raise_after = (self.cwnd >> self.cycle.raise_rounds).max(self.mss);
        self.cycle.raise_rounds = (self.cycle.raise_rounds + 1).min(30);
    }

    fn time_to_probe(&self, now: Instant) -> bool {
        now > self.cycle.since + Duration::from_nanos(self.cycle.wait)
            || self.cycle.rounds >= (self.target_inflight() / self.mss).min(MAX_RENO_ROUNDS)
    }

    fn time_to_cruise(&self, in_flight: u64) -> bool {
        in_flight <= self.with_headroom() && in_flight <= self.inflight(self.model.max_bw(), 1.0)
    }

    /// Whether what is delivered now was sent in Cruise, and so was everything that it is measured against.
    pub(super) fn is_steady(&self) -> bool {
        self.state == State::Cruise && self.cycle.cruised > 2
    }

    fn target_inflight(&self) -> u64 {
        self.bdp(self.model.bw(), 1.0).min(self.cwnd)
    }

    pub(super) fn with_headroom(&self) -> u64 {
        let hi = self.model.inflight_hi;
        if hi == NONE { NONE } else { (hi - part(hi, HEADROOM).max(self.mss).min(hi)).max(self.min_pipe()) }
    }

    pub(super) fn check_probe_rtt(&mut self, ack: &Ack) {
        if self.min_rtt.probe_due && !self.idle_restart && !matches!(self.state, State::ProbeRtt { .. }) {
            self.save_cwnd();
            self.cycle.stopping = true;
            self.model.start_round();
            self.state = State::ProbeRtt { until: None, round_done: false };
        }
        if let State::ProbeRtt { until, round_done } = self.state {
            match until {
                None if ack.in_flight <= self.probe_rtt_cwnd() => {
                    self.model.start_round();
                    self.state = State::ProbeRtt { until: Some(ack.now + PROBE_RTT_TIME), round_done: false };
                }
                Some(_) if round_done || self.model.round_start => {
                    self.state = State::ProbeRtt { until, round_done: true };
                    self.end_probe_rtt(ack.now);
                }
                _ => {}
            }
        }
    }

    /// Ends the probe of the round-trip time if it has lasted long enough.
    pub(super) fn end_probe_rtt(&mut self, now: Instant) {
        let State::ProbeRtt { until: Some(until), .. } = self.state else { return };
        if now < until {
            return;
        }
        self.min_rtt.probed(now);
        self.restore_cwnd();
        self.model.reset_lower_bounds();
        if self.full.reached {
            // The queue is empty: nothing is left to drain.
            self.start_down(now);
            self.state = State::Cruise;
        } else {
            self.state = State::Startup;
        }
    }

    pub(super) fn probe_rtt_cwnd(&self) -> u64 {
        self.bdp(self.model.bw(), PROBE_RTT_GAIN).max(self.min_pipe())
    }
}
