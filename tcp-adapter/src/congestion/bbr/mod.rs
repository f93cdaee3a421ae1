//! BBR, version 3 (draft-ietf-ccwg-bbr): sends at the bandwidth that it measures, with about a bandwidth-delay product in flight.
//!
//! Losses matter only as far as they show that a probe has gone too far, or that a round trip delivered less than the model
//! expects. That makes it nearly indifferent to losses that are not due to congestion.
//!
//! Arithmetic is on integers and on additions, multiplications and divisions of IEEE numbers, the same on every machine.

mod min_rtt;
mod model;
mod probe;

use self::min_rtt::MinRtt;
use self::model::{Aggregation, Model, NONE, part, too_high};
use self::probe::Cycle;
use super::{Ack, Cause, CongestionControl, CongestionEvent, RateSample, Sent, initial_window};
use crate::Instant;

/// Pacing gain of Startup: the smallest that lets the delivery rate double in a round trip, 4 ln 2.
const STARTUP_GAIN: f64 = 2.77;
/// Pacing gain of Drain: what Startup has queued is gone in about a round trip.
const DRAIN_GAIN: f64 = 0.35;
/// Windows are twice the bandwidth-delay product, for acknowledgements that are late or bunched.
const CWND_GAIN: f64 = 2.0;
/// What the pace stays below the bandwidth, so that a queue becomes shorter with time.
const PACING_MARGIN: f64 = 0.99;
/// Growth of the bandwidth by which a round trip of Startup shows that the pipe is not full.
const FULL_GROWTH: f64 = 1.25;
/// Round trips without it that show that it is.
const FULL_ROUNDS: u8 = 3;
/// Losses in one round trip that do so as well, if they are also too large a part.
const FULL_LOSSES: u8 = 6;
/// Smallest window in segments: enough that a receiver's delayed acknowledgements do not stop it.
const MIN_PIPE: u64 = 4;

/// Models the path, and sends as fast as it carries.
#[derive(Clone, Debug)]
pub struct Bbr {
    cwnd: u64,
    /// Bytes per second; 0 while the bandwidth is unknown.
    pacing_rate: u64,
    mss: u64,
    state: State,
    model: Model,
    min_rtt: MinRtt,
    full: FullPipe,
    cycle: Cycle,
    aggregation: Aggregation,
    before: Before,
    /// The window before a timeout or a probe of the round-trip time; 0 if there is none.
    saved_cwnd: u64,
    /// Sending has begun again after a pause, and nothing has been delivered since.
    idle_restart: bool,
    random: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Looks for the bandwidth exponentially.
    Startup,
    /// Empties the queue that this has made.
    Drain,
    /// Sends a little slower, to leave room.
    Down,
    /// Sends at the bandwidth.
    Cruise,
    /// The same without short-term bounds for a round trip, so that a probe does not lose for want of a full pipe.
    Refill,
    /// Sends faster, to see whether there is more.
    Up,
    /// Holds what is in flight down `until` then, and for a round trip, to see the round-trip time without a queue.
    ProbeRtt { until: Option<Instant>, round_done: bool },
}

impl State {
    fn probes_bandwidth(self) -> bool {
        matches!(self, Self::Down | Self::Cruise | Self::Refill | Self::Up)
    }

    /// Whether it puts more into the path than it is known to carry: losses are then expected.
    fn pushes(self) -> bool {
        matches!(self, Self::Startup | Self::Refill | Self::Up)
    }

    fn pacing_gain(self) -> f64 {
        match self {
            Self::Startup => STARTUP_GAIN,
            Self::Drain => DRAIN_GAIN,
            Self::Down => 0.9,
            Self::Cruise | Self::Refill | Self::ProbeRtt { .. } => 1.0,
            Self::Up => 1.25,
        }
    }

    fn cwnd_gain(self) -> f64 {
        match self {
            Self::Up => 2.25,
            _ => CWND_GAIN,
        }
    }
}

/// Whether the bandwidth has stopped to grow.
#[derive(Clone, Debug)]
struct FullPipe {
    bw: u64,
    rounds: u8,
    /// It has since it was last asked.
    now: bool,
    /// It has once.
    reached: bool,
}

impl FullPipe {
    fn reset(&mut self, bw: u64) {
        *self = Self { bw, rounds: 0, now: false, reached: self.reached };
    }

    fn round(&mut self, rate: &RateSample) {
        if self.now || rate.app_limited {
            return;
        }
        if rate.rate >= part(self.bw, FULL_GROWTH) {
            self.reset(rate.rate);
            return;
        }
        self.rounds += 1;
        self.now = self.rounds >= FULL_ROUNDS;
        self.reached |= self.now;
    }
}

/// What a spurious loss must not have changed.
#[derive(Clone, Debug)]
struct Before {
    bw_lo: u64,
    inflight_lo: u64,
    inflight_hi: u64,
    state: State,
}

impl Bbr {
    /// Begins with the initial window for segments of `mss` bytes. When it probes follows from `seed`.
    pub fn new(mss: u64, seed: u64) -> Self {
        Self {
            cwnd: initial_window(mss),
            pacing_rate: 0,
            mss: mss.max(1),
            state: State::Startup,
            model: Model::new(),
            min_rtt: MinRtt::new(),
            full: FullPipe { bw: 0, rounds: 0, now: false, reached: false },
            cycle: Cycle::new(),
            aggregation: Aggregation::new(),
            before: Before { bw_lo: 0, inflight_lo: 0, inflight_hi: 0, state: State::Startup },
            saved_cwnd: 0,
            idle_restart: false,
            random: seed,
        }
    }

    fn update_model(&mut self, ack: &Ack, rate: &RateSample) {
        self.model.sample(rate);
        if self.model.loss_round_start && self.model.loss_in_round {
            // What a slower phase has sent is delivered more slowly without any congestion.
            if !self.state.pushes() && (self.is_steady() || too_high(rate)) {
                self.model.lower_bounds(self.cwnd);
            }
            self.check_startup_losses(rate);
        }
        let rounds = self.model.round_start.then_some(self.full.reached);
        self.aggregation.on_ack(ack.now, ack.delivered, self.model.bw(), self.cwnd, rounds);
        if self.model.round_start {
            self.full.round(rate);
        }
        if self.state == State::Startup && self.full.reached {
            self.state = State::Drain;
        }
        if self.state == State::Drain && ack.in_flight <= self.inflight(self.model.max_bw(), 1.0) {
            self.start_down(ack.now);
        }
        if self.full.reached {
            self.advance_cycle(ack, rate);
        }
    }

    /// A full round trip that keeps losing: the pipe is full, and so is the buffer.
    fn check_startup_losses(&mut self, rate: &RateSample) {
        if self.state == State::Startup && self.model.loss_events >= FULL_LOSSES && too_high(rate) {
            self.full.reached = true;
            self.model.inflight_hi = self.bdp(self.model.max_bw(), 1.0).max(self.model.inflight_latest);
        }
    }

    fn set_pacing_rate(&mut self, gain: f64) {
        let rate = part(self.model.bw(), gain * PACING_MARGIN);
        if rate > self.pacing_rate || (self.full.reached && rate > 0) {
            self.pacing_rate = rate;
        }
    }

    fn set_cwnd(&mut self, ack: &Ack) {
        let cap = self.inflight(self.model.bw(), self.state.cwnd_gain()).saturating_add(self.aggregation.extra());
        let grown = if ack.cwnd_limited { self.cwnd + ack.delivered } else { self.cwnd };
        if self.full.reached {
            self.cwnd = grown.min(cap);
        } else if self.cwnd < cap || self.model.delivered < initial_window(self.mss) {
            self.cwnd = grown;
        }
        let bound = match self.state {
            State::Startup | State::Drain => NONE,
            State::Down | State::Refill | State::Up => self.model.inflight_hi,
            State::Cruise => self.with_headroom(),
            State::ProbeRtt { .. } => self.with_headroom().min(self.probe_rtt_cwnd()),
        };
        self.cwnd = self.cwnd.min(bound).min(self.model.inflight_lo).max(self.min_pipe());
    }

    /// `gain` times the bandwidth-delay product, and enough for a device that takes super-segments.
    fn inflight(&self, bw: u64, gain: f64) -> u64 {
        let quantum = (self.pacing_rate / 1_000).clamp(2 * self.mss, (64 << 10).max(2 * self.mss));
        let probe = if self.state == State::Up { 2 * self.mss } else { 0 };
        self.bdp(bw, gain).max(3 * quantum).max(self.min_pipe()) + probe
    }

    fn bdp(&self, bw: u64, gain: f64) -> u64 {
        match self.min_rtt.get() {
            Some(min_rtt) => (gain * bw as f64 * min_rtt as f64 / 1e9) as u64,
            None => initial_window(self.mss),
        }
    }

    fn min_pipe(&self) -> u64 {
        MIN_PIPE * self.mss
    }

    fn save_cwnd(&mut self) {
        self.saved_cwnd = self.saved_cwnd.max(self.cwnd);
    }

    fn restore_cwnd(&mut self) {
        self.cwnd = self.cwnd.max(std::mem::take(&mut self.saved_cwnd));
    }

    /// SplitMix64: what is asked of it is that two flows differ.
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.random;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }
}

impl CongestionControl for Bbr {
    fn name(&self) -> &'static str {
        "bbr"
    }

    fn cwnd(&self) -> u64 {
        self.cwnd
    }

    fn ssthresh(&self) -> Option<u64> {
        None
    }

    fn pacing_rate(&self) -> Option<u64> {
        (self.pacing_rate > 0).then_some(self.pacing_rate)
    }

    fn in_slow_start(&self) -> bool {
        self.state == State::Startup
    }

    fn uses_prr(&self) -> bool {
        false
    }

    fn on_sent(&mut self, sent: &Sent) {
        self.model.delivered = sent.delivered;
        if sent.in_flight > 0 || !sent.app_limited {
            return;
        }
        // The pipe is empty: the pace is that of the path, whatever phase the pause fell into.
        self.idle_restart = true;
        self.aggregation.restart(sent.now);
        if self.state.probes_bandwidth() {
            self.set_pacing_rate(1.0);
        } else {
            self.end_probe_rtt(sent.now);
        }
    }

    fn on_ack(&mut self, ack: &Ack) {
        self.model.delivered += ack.delivered;
        if ack.lost > 0 {
            self.model.note_loss();
        }
        self.min_rtt.on_ack(ack.now, ack.rtt);
        match &ack.rate {
            Some(rate) => {
                self.model.delivered = rate.total_delivered;
                self.update_model(ack, rate);
            }
            None => self.model.no_sample(),
        }
        self.check_probe_rtt(ack);
        if ack.delivered > 0 {
            self.idle_restart = false;
        }
        if let Some(rate) = &ack.rate {
            self.model.end_sample(rate);
        }
        if let (0, Some(min_rtt)) = (self.pacing_rate, self.min_rtt.get()) {
            // As if the initial window were the bandwidth-delay product, until more is known.
            self.pacing_rate = (STARTUP_GAIN * self.cwnd as f64 * 1e9 / min_rtt.max(1) as f64) as u64;
        }
        self.set_pacing_rate(self.state.pacing_gain());
        self.set_cwnd(ack);
    }

    fn on_congestion(&mut self, event: &CongestionEvent) {
        let Model { bw_lo, inflight_lo, inflight_hi, .. } = self.model;
        self.before = Before { bw_lo, inflight_lo, inflight_hi, state: self.state };
        match event.cause {
            Cause::Loss => {}
            Cause::Mark => {
                self.model.note_loss();
                if self.state == State::Up {
                    self.bound_long_term(event.now, event.in_flight, false);
                }
            }
            Cause::Timeout => {
                self.model.note_loss();
                self.save_cwnd();
                self.cwnd = self.mss;
            }
        }
    }

    fn on_recovered(&mut self, _now: Instant) {
        if !matches!(self.state, State::ProbeRtt { .. }) {
            self.restore_cwnd();
        }
    }

    fn on_spurious(&mut self, now: Instant) {
        self.on_recovered(now);
        self.model.loss_in_round = false;
        self.full.reset(0);
        self.model.bw_lo = self.model.bw_lo.max(self.before.bw_lo);
        self.model.inflight_lo = self.model.inflight_lo.max(self.before.inflight_lo);
        self.model.inflight_hi = self.model.inflight_hi.max(self.before.inflight_hi);
        if self.state == self.before.state || matches!(self.state, State::ProbeRtt { .. }) {
            return;
        }
        match self.before.state {
            State::Startup => {
                self.full.reached = false;
                self.state = State::Startup;
            }
            State::Up => self.start_up(0),
            _ => {}
        }
    }

    fn set_mss(&mut self, mss: u64) {
        let untouched = self.cwnd == initial_window(self.mss) && self.pacing_rate == 0;
        // After a timeout. More is for the next acknowledgement to allow.
        let single = self.cwnd <= self.mss;
        self.mss = mss.max(1);
        self.cwnd = if untouched {
            initial_window(self.mss)
        } else if single {
            self.mss
        } else {
            self.cwnd.max(self.min_pipe())
        };
    }
}

#[cfg(test)]
mod tests;
