//! CoDel (RFC 8289): drops at the head while packets have waited too long for too long.

use std::time::Duration;

use tcp_adapter::Instant;

use super::fifo::Fifo;
use super::{Limit, Outlet, Queue};
use crate::link::LinkError;
use crate::link::headers::mark_congestion;
use crate::link::stats::{DropReason, Fates};
use crate::packet::Packet;

/// Acceptable standing delay (RFC 8289 section 4.3).
const TARGET: Duration = Duration::from_millis(5);

/// A round trip of the worst usual case (RFC 8289 section 4.3).
const INTERVAL: Duration = Duration::from_millis(100);

/// A queue that drops as soon as packets have waited longer than `target` for an `interval`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoDelConfig {
    /// Acceptable standing delay. More than the transmission time of a packet.
    pub target: Duration,
    /// About the round-trip time of the slowest connections.
    pub interval: Duration,
    /// What fits at all.
    pub limit: Limit,
    /// Marks packets of ECN-capable transports instead of dropping them.
    pub ecn: bool,
}

impl Default for CoDelConfig {
    /// 5 ms, 100 ms, a thousand packets, no marks.
    fn default() -> Self {
        Self { target: TARGET, interval: INTERVAL, limit: Limit::packets(1000), ecn: false }
    }
}

impl CoDelConfig {
    pub(super) fn validate(&self) -> Result<(), LinkError> {
        self.limit.validate()?;
        if self.target.is_zero() || self.interval <= self.target {
            return Err(LinkError::Queue("CoDel needs 0 < target < interval"));
        }
        Ok(())
    }

    pub(super) const fn control(&self, outlet: Outlet) -> Control {
        Control { target: self.target, interval: self.interval, ecn: self.ecn, max_packet: outlet.longest }
    }
}

#[derive(Debug)]
pub(super) struct CoDel {
    fifo: Fifo,
    limit: Limit,
    control: Control,
    state: State,
}

impl CoDel {
    pub(super) fn new(config: CoDelConfig, outlet: Outlet) -> Self {
        Self { fifo: Fifo::default(), limit: config.limit, control: config.control(outlet), state: State::default() }
    }
}

impl Queue for CoDel {
    fn enqueue(&mut self, now: Instant, packet: Packet, fates: &mut Fates<'_>) {
        if self.limit.admits(self.fifo.packets(), self.fifo.bytes(), packet.offered_len) {
            self.fifo.push(now, packet);
        } else {
            fates.drop(packet, DropReason::QueueFull);
        }
    }

    fn dequeue(&mut self, now: Instant, fates: &mut Fates<'_>) -> Option<Packet> {
        self.state.dequeue(self.control, &mut self.fifo, now, fates)
    }

    fn drops_late(&self) -> bool {
        true
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

/// The parameters of the control loop.
#[derive(Clone, Copy, Debug)]
pub(super) struct Control {
    target: Duration,
    interval: Duration,
    ecn: bool,
    /// Bytes of the longest packet: a backlog of one packet is no reason to drop (RFC 8289 section 5.3).
    max_packet: usize,
}

impl Control {
    /// When the next drop is due: the interval over the square root of the number of drops after `from`
    /// (RFC 8289 section 5.4). In whole numbers, with sixteen binary places in the root.
    fn law(self, from: Instant, count: u32) -> Instant {
        let root = (u64::from(count) << 32).isqrt();
        let nanos = (self.interval.as_nanos() << 16) / u128::from(root.max(1));
        from + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// The state of the control loop of one queue, with the names of RFC 8289 section 5.
#[derive(Debug, Default)]
pub(super) struct State {
    first_above_time: Option<Instant>,
    drop_next: Instant,
    count: u32,
    last_count: u32,
    dropping: bool,
}

impl State {
    /// Takes the next packet to send out of `fifo` (RFC 8289 section 5.5).
    pub(super) fn dequeue(
        &mut self,
        control: Control,
        fifo: &mut Fifo,
        now: Instant,
        fates: &mut Fates<'_>,
    ) -> Option<Packet> {
        let (mut packet, ok_to_drop) = self.take(control, fifo, now)?;
        if self.dropping {
            self.dropping = ok_to_drop;
            while self.dropping && now >= self.drop_next {
                self.count = self.count.saturating_add(1);
                self.drop_next = control.law(self.drop_next, self.count);
                packet = match signal(control, packet, fates) {
                    Some(marked) => return Some(marked),
                    None => {
                        let next = self.take(control, fifo, now);
                        self.dropping = next.as_ref().is_some_and(|next| next.1);
                        next?.0
                    }
                };
            }
        } else if ok_to_drop {
            self.enter_dropping(control, now);
            let marked = signal(control, packet, fates);
            if marked.is_some() {
                return marked;
            }
            // The packet behind goes out however long it has waited.
            packet = self.take(control, fifo, now)?.0;
        }
        Some(packet)
    }

    /// Begins to drop, at the rate that was reached before if that was not long ago (RFC 8289 section 5.5).
    fn enter_dropping(&mut self, control: Control, now: Instant) {
        self.dropping = true;
        let delta = self.count.saturating_sub(self.last_count);
        let recent = now.saturating_since(self.drop_next) < control.interval * 16;
        self.count = if delta > 1 && recent { delta } else { 1 };
        self.drop_next = control.law(now, self.count);
        self.last_count = self.count;
    }

    /// The first packet, and whether it may be dropped since packets have waited too long for an interval
    /// (RFC 8289 section 5.6).
    fn take(&mut self, control: Control, fifo: &mut Fifo, now: Instant) -> Option<(Packet, bool)> {
        let Some((arrived, packet)) = fifo.pop() else {
            self.first_above_time = None;
            self.dropping = false;
            return None;
        };
        if now - arrived < control.target || fifo.bytes() <= control.max_packet {
            self.first_above_time = None;
            return Some((packet, false));
        }
        match self.first_above_time {
            None => {
                self.first_above_time = Some(now + control.interval);
                Some((packet, false))
            }
            Some(time) => Some((packet, now >= time)),
        }
    }
}

/// Marks the packet, which then goes on, or drops it.
fn signal(control: Control, mut packet: Packet, fates: &mut Fates<'_>) -> Option<Packet> {
    if control.ecn && mark_congestion(&mut packet.frame) {
        fates.count_mark();
        return Some(packet);
    }
    fates.drop(packet, DropReason::CoDel);
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::queue::testing::{Bench, GIGABIT};
    use crate::link::testing::{Ecn, udp, udp_ecn};

    fn bench(config: CoDelConfig) -> Bench {
        config.validate().unwrap();
        Bench::new(Box::new(CoDel::new(config, GIGABIT)))
    }

    #[test]
    fn the_control_law_is_the_interval_over_the_root_of_the_count() {
        let control = CoDelConfig::default().control(GIGABIT);
        for (count, micros) in [(1, 100_000), (2, 70_710), (4, 50_000), (9, 33_333), (100, 10_000), (1_000_000, 100)] {
            let next = control.law(Instant::from_millis(7), count).as_micros() - 7000;
            assert!(next.abs_diff(micros) <= 1, "{count}: {next}");
        }
    }

    #[test]
    fn short_waits_and_short_bursts_are_not_touched() {
        // Every packet waits 4.9 ms; then a burst of 90 ms drains before an interval has passed.
        let mut bench = bench(CoDelConfig::default());
        for n in 0..1000_u64 {
            bench.enqueue(n * 1000, udp(n, 1514));
            if n >= 4 {
                bench.dequeue(n * 1000 + 900);
            }
        }
        for n in 0..90 {
            bench.enqueue(1_000_000, udp(n, 1514));
        }
        for n in 0..94 {
            assert!(bench.dequeue(1_000_000 + n * 1000).is_some());
        }
        assert!(bench.out.dropped.is_empty());
    }

    #[test]
    fn the_first_drop_is_an_interval_after_the_target_is_exceeded_and_the_next_follow_the_law() {
        let mut bench = bench(CoDelConfig::default());
        // Twice as many packets as fit. Packet n departs at n ms and arrived at n/2 ms.
        let mut previous = 0;
        let mut drops = Vec::new();
        for n in 1..600_u64 {
            bench.enqueue(n * 1000 - 500, udp(0, 1514));
            bench.enqueue(n * 1000, udp(0, 1514));
            bench.dequeue(n * 1000);
            let dropped = bench.dropped(DropReason::CoDel);
            assert!(dropped - previous <= 1);
            if dropped > previous {
                drops.push(n);
            }
            previous = dropped;
        }
        // No longer below the target at 10 ms, so the first drop is at 110 ms, and the next follow after 100, 70.7,
        // 57.7, 50 ... ms, rounded up to the next departure.
        assert_eq!(drops[..5], [110, 210, 281, 339, 389]);
    }

    #[test]
    fn one_packet_of_backlog_is_no_reason_to_drop() {
        let mut bench = bench(CoDelConfig::default());
        for n in 0..100_u64 {
            // Each waits 50 ms, but alone or with one behind it.
            bench.enqueue(n * 50_000, udp(n, 1514));
            if n > 0 {
                assert!(bench.dequeue(n * 50_000).is_some());
            }
        }
        assert!(bench.out.dropped.is_empty());
    }

    /// Of jumbo frames too.
    #[test]
    fn the_link_says_how_long_a_packet_is() {
        for (longest, dropped) in [(9014, 0), (1514, 1)] {
            let outlet = Outlet { longest, ..GIGABIT };
            let mut bench = Bench::new(Box::new(CoDel::new(CoDelConfig::default(), outlet)));
            // Each waits 50 ms, with one behind it.
            bench.enqueue(0, udp(0, 9014));
            for n in 1..5_u64 {
                bench.enqueue(n * 50_000, udp(n, 9014));
                assert!(bench.dequeue(n * 50_000).is_some());
            }
            assert_eq!(bench.dropped(DropReason::CoDel), dropped, "{longest}");
        }
    }

    #[test]
    fn capable_packets_are_marked_instead() {
        let mut bench = bench(CoDelConfig { ecn: true, ..CoDelConfig::default() });
        let mut marked = 0;
        bench.run(
            (500, 1000, 2_000_000),
            |id| udp_ecn(id, 1514, Ecn::Capable),
            |_, packet| marked += u64::from(packet.frame.head[15] & 3 == 3),
        );
        assert_eq!(bench.dropped(DropReason::CoDel), 0);
        assert!(marked > 50 && bench.stats.marked == marked, "{marked}");
    }

    #[test]
    fn packets_beyond_the_limit_are_dropped() {
        let mut bench = bench(CoDelConfig { limit: Limit::packets(2), ..CoDelConfig::default() });
        (0..5).for_each(|id| bench.enqueue(0, udp(id, 1514)));
        assert_eq!(bench.dropped(DropReason::QueueFull), 3);
    }

    #[test]
    fn parameters_must_make_sense() {
        let wrong = CoDelConfig { interval: TARGET, ..CoDelConfig::default() };
        assert_eq!(wrong.validate(), Err(LinkError::Queue("CoDel needs 0 < target < interval")));
        let wrong = CoDelConfig { limit: Limit::bytes(100), ..CoDelConfig::default() };
        assert_eq!(wrong.validate(), Err(LinkError::QueueLimit));
    }
}
