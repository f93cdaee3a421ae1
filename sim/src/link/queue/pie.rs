//! PIE (RFC 8033): drops on arrival with a probability that a controller steers by the waiting time.

use std::time::Duration;

use tcp_adapter::Instant;

use super::fifo::Fifo;
use super::{Limit, Outlet, Queue};
use crate::link::LinkError;
use crate::link::chance::{Probability, draw};
use crate::link::headers::mark_congestion;
use crate::link::stats::{DropReason, Fates};
use crate::packet::Packet;
use crate::random::Stream;

/// Waiting time to aim at (RFC 8033 section 4.2).
const TARGET: Duration = Duration::from_millis(15);

/// Time between updates of the probability (RFC 8033 section 4.2).
const UPDATE: Duration = Duration::from_millis(15);

/// Time for which a burst into an idle queue is let through (RFC 8033 section 4.4).
const MAX_BURST: Duration = Duration::from_millis(150);

/// Probabilities here are whole numbers of 2^-63, and may be negative as a difference.
const ONE: i128 = 1 << 63;

const NANOS_PER_SECOND: i128 = 1_000_000_000;

/// A queue whose waiting time a controller keeps near `target`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PieConfig {
    /// Waiting time to aim at.
    pub target: Duration,
    /// Time between updates of the probability.
    pub update: Duration,
    /// Time for which a burst into an idle queue is let through.
    pub max_burst: Duration,
    /// What fits at all.
    pub limit: Limit,
    /// Marks packets of ECN-capable transports instead of dropping them, up to a probability of 10 % (RFC 8033
    /// section 5.1).
    pub ecn: bool,
}

impl Default for PieConfig {
    /// 15 ms, 15 ms, 150 ms, a thousand packets, no marks.
    fn default() -> Self {
        Self { target: TARGET, update: UPDATE, max_burst: MAX_BURST, limit: Limit::packets(1000), ecn: false }
    }
}

impl PieConfig {
    pub(super) fn validate(&self) -> Result<(), LinkError> {
        self.limit.validate()?;
        if self.target.is_zero() || self.update < Duration::from_millis(1) {
            return Err(LinkError::Queue("PIE needs a target above 0 and an update time of at least 1 ms"));
        }
        Ok(())
    }
}

#[derive(Debug)]
pub(super) struct Pie {
    config: PieConfig,
    /// Below this many bytes nothing is dropped: two packets (RFC 8033 section 4.1).
    min_backlog: usize,
    fifo: Fifo,
    stream: Stream,
    controller: Controller,
    next_update: Instant,
    /// Sum of the probabilities since the last drop, which keeps drops from bunching (RFC 8033 section 5.4).
    accumulated: i128,
}

impl Pie {
    pub(super) fn new(config: PieConfig, now: Instant, stream: Stream, outlet: Outlet) -> Self {
        let controller = Controller::new(&config);
        let next_update = now + config.update;
        let min_backlog = 2 * outlet.longest;
        Self { config, min_backlog, fifo: Fifo::default(), stream, controller, next_update, accumulated: 0 }
    }

    /// Does the updates that are due. Between calls the queue does not change, except that its head grows older; so
    /// the controller sees at each of them what it would have seen in time.
    fn catch_up(&mut self, now: Instant) {
        while self.next_update <= now {
            if self.fifo.packets() == 0 && self.controller.is_at_rest() {
                let periods = (now - self.next_update).as_nanos() / self.config.update.as_nanos() + 1;
                let skipped = self.config.update.as_nanos() * periods;
                self.next_update += Duration::from_nanos(u64::try_from(skipped).unwrap_or(u64::MAX));
                self.controller.burst_allowance = self.config.max_burst;
                return;
            }
            // The head's age is what it will have waited: section 4.2 allows time stamps instead of an estimate of
            // the departure rate, and unlike that they also work on links that stand still.
            let delay = self.fifo.oldest().map_or(Duration::ZERO, |arrived| self.next_update - arrived);
            self.controller.update(delay, &self.config);
            self.next_update += self.config.update;
        }
    }

    /// Whether to drop or mark an arriving packet (RFC 8033 sections 4.1 and 5.4).
    fn signals(&mut self) -> bool {
        let controller = &self.controller;
        let probability = controller.probability;
        if probability == 0 {
            self.accumulated = 0;
        }
        let calm = controller.old_delay < self.config.target / 2 && probability < ONE / 5;
        if !controller.burst_allowance.is_zero() || calm || self.fifo.bytes() < self.min_backlog {
            return false;
        }
        self.accumulated += probability;
        // Not before 0.85 and always from 8.5 on.
        let drops = self.accumulated >= ONE * 85 / 100
            && (self.accumulated >= ONE * 85 / 10 || i128::from(draw(&mut self.stream)) < probability);
        if drops {
            self.accumulated = 0;
        }
        drops
    }
}

impl Queue for Pie {
    fn enqueue(&mut self, now: Instant, mut packet: Packet, fates: &mut Fates<'_>) {
        self.catch_up(now);
        if !self.config.limit.admits(self.fifo.packets(), self.fifo.bytes(), packet.offered_len) {
            fates.drop(packet, DropReason::QueueFull);
            self.accumulated = 0;
            return;
        }
        if self.signals() {
            let may_mark = self.config.ecn && self.controller.probability <= ONE / 10;
            if !may_mark || !mark_congestion(&mut packet.frame) {
                fates.drop(packet, DropReason::Pie);
                return;
            }
            fates.count_mark();
        }
        self.fifo.push(now, packet);
    }

    fn dequeue(&mut self, now: Instant, _fates: &mut Fates<'_>) -> Option<Packet> {
        self.catch_up(now);
        self.fifo.pop().map(|(_, packet)| packet)
    }

    fn drops_late(&self) -> bool {
        false
    }

    fn packets(&self) -> usize {
        self.fifo.packets()
    }

    fn bytes(&self) -> usize {
        self.fifo.bytes()
    }

    fn drain(&mut self) -> Vec<Packet> {
        self.fifo.drain()
    }
}

/// The proportional integral controller (RFC 8033 sections 4.2 and 4.3).
#[derive(Debug)]
struct Controller {
    /// In units of 1/[`ONE`], from 0 to [`ONE`].
    probability: i128,
    old_delay: Duration,
    burst_allowance: Duration,
}

impl Controller {
    fn new(config: &PieConfig) -> Self {
        Self { probability: 0, old_delay: Duration::ZERO, burst_allowance: config.max_burst }
    }

    /// Whether further updates with an empty queue would only fill the allowance for bursts.
    fn is_at_rest(&self) -> bool {
        self.probability == 0 && self.old_delay.is_zero()
    }

    fn update(&mut self, delay: Duration, config: &PieConfig) {
        let nanos = |duration: Duration| duration.as_nanos() as i128;
        // alpha = 1/8 and beta = 1 1/4 per second.
        let error = (nanos(delay) - nanos(config.target)) * ONE / (8 * NANOS_PER_SECOND);
        let trend = (nanos(delay) - nanos(self.old_delay)) * 5 * ONE / (4 * NANOS_PER_SECOND);
        let mut change = (error + trend) / self.damping();
        // No faster than 2 % per update once it is high (section 4.2).
        if self.probability >= ONE / 10 {
            change = change.min(ONE / 50);
        }
        self.probability += change;
        if delay.is_zero() && self.old_delay.is_zero() {
            self.probability = self.probability * 98 / 100;
        }
        self.probability = self.probability.clamp(0, ONE);
        self.burst_allowance = self.burst_allowance.saturating_sub(config.update);
        let half = config.target / 2;
        if self.probability == 0 && delay < half && self.old_delay < half {
            self.burst_allowance = config.max_burst;
        }
        self.old_delay = delay;
    }

    /// The smaller the probability, the smaller the steps (RFC 8033 section 4.2).
    fn damping(&self) -> i128 {
        const STEPS: [(i128, i128); 6] =
            [(1_000_000, 2048), (100_000, 512), (10_000, 128), (1000, 32), (100, 8), (10, 2)];
        STEPS.iter().find(|(limit, _)| self.probability * limit < ONE).map_or(1, |(_, damping)| *damping)
    }
}

// `Probability` has the same unit.
const _: () = assert!(Probability::ALWAYS.bits() as i128 == ONE);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::queue::testing::{Bench, GIGABIT};
    use crate::link::testing::{Ecn, udp, udp_ecn};
    use crate::random::Streams;

    fn pie(config: PieConfig) -> Pie {
        config.validate().unwrap();
        Pie::new(config, Instant::ZERO, Streams::new(4).stream("queue"), GIGABIT)
    }

    fn with_probability(probability: f64) -> Controller {
        let mut controller = Controller::new(&PieConfig::default());
        controller.probability = (probability * ONE as f64) as i128;
        controller
    }

    #[test]
    fn one_update_is_the_formula() {
        let config = PieConfig::default();
        for (old, damping) in [
            (0.0, 2048.0),
            (0.000_005, 512.0),
            (0.000_05, 128.0),
            (0.0005, 32.0),
            (0.005, 8.0),
            (0.05, 2.0),
            (0.5, 1.0),
        ] {
            let mut controller = with_probability(old);
            controller.old_delay = Duration::from_millis(20);
            controller.update(Duration::from_millis(25), &config);
            let expected = old + (0.125 * 0.010 + 1.25 * 0.005) / damping;
            let new = controller.probability as f64 / ONE as f64;
            assert!((new - expected).abs() < 1e-12, "{old}: {new} {expected}");
        }
    }

    #[test]
    fn steps_are_bounded_and_idleness_decays() {
        let config = PieConfig::default();
        let mut controller = with_probability(0.3);
        controller.update(Duration::from_secs(1), &config);
        assert!((controller.probability as f64 / ONE as f64 - 0.32).abs() < 1e-12);
        let mut controller = with_probability(0.5);
        controller.update(Duration::ZERO, &config);
        let expected = (0.5 - 0.125 * 0.015) * 0.98;
        assert!((controller.probability as f64 / ONE as f64 - expected).abs() < 1e-12);
        for _ in 0..1000 {
            controller.update(Duration::ZERO, &config);
        }
        assert!(controller.is_at_rest());
        assert_eq!(controller.burst_allowance, MAX_BURST);
    }

    #[test]
    fn a_burst_of_less_than_150_ms_passes() {
        let mut bench = Bench::new(Box::new(pie(PieConfig::default())));
        // Ten times as much as fits, for 140 ms.
        bench.run((100, 1000, 140_000), |id| udp(id, 1514), |_, _| {});
        assert_eq!(bench.dropped(DropReason::Pie), 0);
    }

    #[test]
    fn a_constant_overload_is_cut_to_the_target() {
        let mut bench = Bench::new(Box::new(pie(PieConfig { limit: Limit::packets(10_000), ..PieConfig::default() })));
        // 25 % too much. Drops are not answered, so the probability has to settle at 20 %.
        let mut waits = Vec::new();
        let mut count = 0_u64;
        bench.run(
            (800, 1000, 120_000_000),
            |id| {
                count += 1;
                udp(id, 1514)
            },
            |now, packet| {
                if now > 60_000_000 {
                    waits.push(now - packet.sent_at.as_micros());
                }
            },
        );
        let mean = waits.iter().sum::<u64>() as f64 / waits.len() as f64 / 1000.0;
        assert!((8.0..22.0).contains(&mean), "{mean} ms");
        let dropped = bench.dropped(DropReason::Pie) as f64 / count as f64;
        assert!((dropped - 0.2).abs() < 0.02, "{dropped}");
        assert_eq!(bench.dropped(DropReason::QueueFull), 0);
    }

    #[test]
    fn capable_packets_are_marked_up_to_ten_percent() {
        let run = |probability: f64| {
            let mut queue = pie(PieConfig { ecn: true, update: Duration::from_secs(1000), ..PieConfig::default() });
            queue.controller = with_probability(probability);
            queue.controller.old_delay = Duration::from_millis(100);
            queue.controller.burst_allowance = Duration::ZERO;
            let mut bench = Bench::new(Box::new(queue));
            for n in 0..10_000 {
                bench.enqueue(n, udp_ecn(n, 1514, Ecn::Capable));
                while bench.queue.packets() > 10 {
                    bench.dequeue(n);
                }
            }
            (bench.dropped(DropReason::Pie), bench.stats.marked)
        };
        let (dropped, marked) = run(0.09);
        assert!(dropped == 0 && marked > 300, "{dropped} {marked}");
        let (dropped, marked) = run(0.3);
        assert!(dropped > 1000 && marked == 0, "{dropped} {marked}");
    }

    /// Not before the sum of probabilities is 0.85, always when it is 8.5.
    #[test]
    fn drops_do_not_bunch() {
        let mut queue = pie(PieConfig { update: Duration::from_secs(1000), ..PieConfig::default() });
        queue.controller = with_probability(0.1);
        queue.controller.old_delay = Duration::from_millis(100);
        queue.controller.burst_allowance = Duration::ZERO;
        (0..5).for_each(|id| queue.fifo.push(Instant::ZERO, udp(id, 1514)));
        let drops: Vec<bool> = (0..20_000).map(|_| queue.signals()).collect();
        let at: Vec<usize> = drops.iter().enumerate().filter(|(_, drop)| **drop).map(|(n, _)| n).collect();
        let spacing: Vec<usize> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(spacing.iter().all(|n| (9..=85).contains(n)), "{spacing:?}");
        // Eight without, then one in ten: 18 on average.
        let mean = spacing.iter().sum::<usize>() as f64 / spacing.len() as f64;
        assert!((mean - 18.0).abs() < 1.5, "{mean}");
    }

    #[test]
    fn updates_are_done_in_time_however_late_the_call() {
        let run = |calls: &[u64]| {
            let mut queue = pie(PieConfig::default());
            (0..5).for_each(|id| queue.fifo.push(Instant::ZERO, udp(id, 1514)));
            calls.iter().for_each(|millis| queue.catch_up(Instant::from_millis(*millis)));
            (queue.controller.probability, queue.controller.old_delay, queue.next_update)
        };
        assert_eq!(run(&[600]), run(&(0..=600).collect::<Vec<_>>()));
        let mut idle = pie(PieConfig::default());
        idle.catch_up(Instant::from_millis(15_000_000));
        assert_eq!(idle.next_update, Instant::from_millis(15_000_015));
    }
}
