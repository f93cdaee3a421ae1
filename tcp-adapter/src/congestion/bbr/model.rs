//! What BBR knows of the path: its bandwidth, what may be in flight, and how acknowledgements are bunched.

use super::PACING_MARGIN;
use crate::Instant;
use crate::congestion::RateSample;

/// A bound that nothing has set.
pub(super) const NONE: u64 = u64::MAX;
/// Part of what is in flight that may be lost before it is taken for too much.
const LOSS_THRESHOLD: f64 = 0.02;
/// What was delivered, to what was sent at the pace of the model, if no more is lost than that. Without it every tolerable loss would
/// lower the short-term bounds, and the pace by it, round trip after round trip.
const TOLERANCE: f64 = 1.0 / ((1.0 - LOSS_THRESHOLD) * PACING_MARGIN);
/// What a round trip with losses leaves of the short-term bounds.
pub(super) const BETA: f64 = 0.7;
/// Round trips after which one of the two halves of the aggregation filter is forgotten, 10 in all.
const AGGREGATION_ROUNDS: u8 = 5;

/// Bandwidth (bytes per second) and inflight bounds (bytes), updated by rate samples.
#[derive(Clone, Debug)]
pub(super) struct Model {
    /// Largest delivery rate of the present cycle and of the one before.
    max_bw: [u64; 2],
    /// Short-term bound of the bandwidth, since the last probe.
    pub(super) bw_lo: u64,
    /// Short-term bound of what is in flight.
    pub(super) inflight_lo: u64,
    /// Long-term bound of what is in flight: more has lost too much.
    pub(super) inflight_hi: u64,
    /// Bytes of the connection that have been delivered.
    pub(super) delivered: u64,
    /// A round trip ends when a segment is acknowledged that left after so much was delivered.
    round_end: u64,
    /// The same for round trips that begin with a loss.
    loss_round_end: u64,
    /// Largest delivery rate and volume of the present round trip of losses.
    bw_latest: u64,
    pub(super) inflight_latest: u64,
    pub(super) round_start: bool,
    pub(super) loss_round_start: bool,
    pub(super) loss_in_round: bool,
    /// Acknowledgements of the round trip that told of losses.
    pub(super) loss_events: u8,
}

impl Model {
    pub(super) fn new() -> Self {
        Self {
            max_bw: [0; 2],
            bw_lo: NONE,
            inflight_lo: NONE,
            inflight_hi: NONE,
            delivered: 0,
            round_end: 0,
            loss_round_end: 0,
            bw_latest: 0,
            inflight_latest: 0,
            round_start: false,
            loss_round_start: false,
            loss_in_round: false,
            loss_events: 0,
        }
    }

    pub(super) fn max_bw(&self) -> u64 {
        self.max_bw[0].max(self.max_bw[1])
    }

    /// The bandwidth to send at.
    pub(super) fn bw(&self) -> u64 {
        self.max_bw().min(self.bw_lo)
    }

    pub(super) fn start_round(&mut self) {
        self.round_end = self.delivered;
    }

    pub(super) fn no_sample(&mut self) {
        (self.round_start, self.loss_round_start) = (false, false);
    }

    pub(super) fn sample(&mut self, rate: &RateSample) {
        self.bw_latest = self.bw_latest.max(rate.rate);
        self.inflight_latest = self.inflight_latest.max(rate.delivered);
        self.loss_round_start = rate.prior_delivered >= self.loss_round_end;
        if self.loss_round_start {
            self.loss_round_end = self.delivered;
        }
        self.round_start = rate.prior_delivered >= self.round_end;
        if self.round_start {
            self.start_round();
        }
        // What the application limited says how fast the path is at least.
        if !rate.app_limited || rate.rate >= self.max_bw() {
            self.max_bw[0] = self.max_bw[0].max(rate.rate);
        }
    }

    /// Forgets what was measured two cycles ago.
    pub(super) fn advance_cycle(&mut self) {
        if self.max_bw[0] > 0 {
            self.max_bw = [0, self.max_bw[0]];
        }
    }

    /// A round trip of losses begins with the first.
    pub(super) fn note_loss(&mut self) {
        if !self.loss_in_round {
            self.loss_in_round = true;
            self.loss_round_end = self.delivered;
        }
        self.loss_events = self.loss_events.saturating_add(1);
    }

    /// At the end of a round trip of losses: the short-term bounds follow what was delivered, but not faster than by [`BETA`].
    pub(super) fn lower_bounds(&mut self, cwnd: u64) {
        let lower = |bound: u64, latest| part(latest, TOLERANCE).clamp(part(bound, BETA), bound);
        self.bw_lo = lower(self.bw_lo.min(self.max_bw()), self.bw_latest);
        self.inflight_lo = lower(self.inflight_lo.min(cwnd), self.inflight_latest);
    }

    pub(super) fn reset_lower_bounds(&mut self) {
        (self.bw_lo, self.inflight_lo) = (NONE, NONE);
    }

    pub(super) fn reset_signals(&mut self) {
        self.loss_in_round = false;
        (self.bw_latest, self.inflight_latest) = (0, 0);
    }

    /// When everything else has seen the sample: what the next round trip of losses begins with.
    pub(super) fn end_sample(&mut self, rate: &RateSample) {
        if self.loss_round_start {
            (self.bw_latest, self.inflight_latest) = (rate.rate, rate.delivered);
            self.loss_in_round = false;
            self.loss_events = 0;
        }
    }
}

/// Whether more was in flight than the path carries without losing too much.
pub(super) fn too_high(rate: &RateSample) -> bool {
    rate.lost > part(rate.tx_in_flight, LOSS_THRESHOLD)
}

pub(super) fn part(of: u64, gain: f64) -> u64 {
    (of as f64 * gain) as u64
}

/// How many more bytes are acknowledged at once than the bandwidth explains: they must be in flight besides.
#[derive(Clone, Debug)]
pub(super) struct Aggregation {
    since: Instant,
    acked: u64,
    /// The largest excess of the last round trips, and of those before.
    max: [u64; 2],
    rounds: u8,
}

impl Aggregation {
    pub(super) fn new() -> Self {
        Self { since: Instant::ZERO, acked: 0, max: [0; 2], rounds: 0 }
    }

    pub(super) fn extra(&self) -> u64 {
        self.max[0].max(self.max[1])
    }

    pub(super) fn restart(&mut self, now: Instant) {
        (self.since, self.acked) = (now, 0);
    }

    /// `bytes` have been acknowledged of which the bandwidth `bw` explains a part, with a window of `cwnd`. `rounds` ends a round
    /// trip, and says whether the pipe has been filled: before that only the last round trip counts.
    pub(super) fn on_ack(&mut self, now: Instant, bytes: u64, bw: u64, cwnd: u64, rounds: Option<bool>) {
        if let Some(filled) = rounds {
            self.rounds += 1;
            if self.rounds >= if filled { AGGREGATION_ROUNDS } else { 1 } {
                self.rounds = 0;
                self.max = [0, self.max[0]];
            }
        }
        let time = now.saturating_since(self.since).as_nanos() as f64 / 1e9;
        let mut expected = part(bw, time);
        if self.acked <= expected {
            self.restart(now);
            expected = 0;
        }
        self.acked += bytes;
        self.max[0] = self.max[0].max((self.acked - expected).min(cwnd));
    }
}
