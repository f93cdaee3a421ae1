//! Random early detection (Floyd and Jacobson, "Random Early Detection Gateways for Congestion Avoidance", 1993).

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

/// Binary places of the average.
const AVERAGE_PLACES: u32 = 24;

/// Drops with a probability that grows with the average length of the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedConfig {
    /// Average bytes below which nothing is dropped.
    pub min: usize,
    /// Average bytes from which on everything is dropped.
    pub max: usize,
    /// Probability just below `max`.
    pub max_probability: Probability,
    /// The average takes this power of one half of each new length: 9 is 0.002, the paper's w_q.
    pub weight_log: u32,
    /// Transmission time of a typical packet: how fast the average falls while the link is idle, as tc-red has it of its `bandwidth`. `None`: that
    /// of the longest packet, at the rate that the link has when the queue is put there.
    pub packet_time: Option<Duration>,
    /// What fits at all.
    pub limit: Limit,
    /// Between the thresholds, marks packets of ECN-capable transports instead of dropping them (RFC 3168 section 7).
    pub ecn: bool,
}

impl Default for RedConfig {
    /// 5 and 15 packets of 1514 bytes, 2 %, weight 1/512, the link's time of a packet, at most 1000 packets, no marks.
    fn default() -> Self {
        Self {
            min: 5 * 1514,
            max: 15 * 1514,
            max_probability: Probability::from_bits(Probability::ALWAYS.bits() / 50),
            weight_log: 9,
            packet_time: None,
            limit: Limit::packets(1000),
            ecn: false,
        }
    }
}

impl RedConfig {
    pub(super) fn validate(&self) -> Result<(), LinkError> {
        self.limit.validate()?;
        if self.min == 0 || self.min >= self.max || self.max > 1 << 32 {
            return Err(LinkError::Queue("RED needs 0 < min < max <= 4 GiB"));
        }
        if !(1..=16).contains(&self.weight_log) || self.packet_time.is_some_and(|time| time.is_zero()) {
            return Err(LinkError::Queue("RED needs a weight of 2^-1 to 2^-16 and a packet time above 0"));
        }
        Ok(())
    }
}

#[derive(Debug)]
pub(super) struct Red {
    config: RedConfig,
    packet_time: Duration,
    fifo: Fifo,
    stream: Stream,
    /// Average bytes, with [`AVERAGE_PLACES`].
    average: u64,
    /// Packets since the last drop or mark; none below the lower threshold.
    count: Option<u64>,
    /// Since when the transmitter has found nothing to send.
    idle_since: Option<Instant>,
}

/// What the average says of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Keep,
    Signal,
    Drop,
}

impl Red {
    pub(super) fn new(config: RedConfig, now: Instant, stream: Stream, outlet: Outlet) -> Self {
        let packet_time = config.packet_time.unwrap_or(outlet.packet_time);
        Self { config, packet_time, fifo: Fifo::default(), stream, average: 0, count: None, idle_since: Some(now) }
    }

    fn update_average(&mut self, now: Instant) {
        let weight = self.config.weight_log;
        if let Some(since) = self.idle_since {
            // As if so many packets had found an empty queue, and nothing besides: the queue is empty still. A part of one counts in proportion, or
            // an average above the upper threshold would stay there while packets come faster than they could be sent.
            let (idle, one) = ((now - since).as_nanos(), self.packet_time.as_nanos().max(1));
            self.average = decay(self.average, weight, u64::try_from(idle / one).unwrap_or(u64::MAX));
            // Less than the average.
            self.average -= (u128::from(self.average >> weight) * (idle % one) / one) as u64;
            return;
        }
        let current = (self.fifo.bytes() as u64) << AVERAGE_PLACES;
        self.average = self.average - (self.average >> weight) + (current >> weight);
    }

    fn judge(&mut self) -> Verdict {
        let [min, max] = [self.config.min, self.config.max].map(|bytes| (bytes as u64) << AVERAGE_PLACES);
        if self.average < min {
            self.count = None;
            return Verdict::Keep;
        }
        if self.average >= max {
            self.count = Some(0);
            return Verdict::Drop;
        }
        let count = self.count.map_or(0, |count| count + 1);
        self.count = Some(count);
        // p_b / (1 - count p_b), compared with a random fraction without dividing.
        let scale = u128::from(self.config.max_probability.bits());
        let base = scale * u128::from(self.average - min) / u128::from(max - min);
        let one = u128::from(Probability::ALWAYS.bits());
        let rest = one.saturating_sub(u128::from(count) * base);
        if u128::from(draw(&mut self.stream)) * rest < base * one {
            self.count = Some(0);
            return Verdict::Signal;
        }
        Verdict::Keep
    }
}

/// `average` times (1 - 2^-weight)^packets, by repeated squaring.
fn decay(average: u64, weight: u32, mut packets: u64) -> u64 {
    const PLACES: u32 = 62;
    let mut base = (1_u128 << PLACES) - (1 << (PLACES - weight));
    let mut factor = 1_u128 << PLACES;
    while packets > 0 && factor > 0 {
        if packets & 1 == 1 {
            factor = (factor * base) >> PLACES;
        }
        base = (base * base) >> PLACES;
        packets >>= 1;
    }
    ((u128::from(average) * factor) >> PLACES) as u64
}

impl Queue for Red {
    fn enqueue(&mut self, now: Instant, mut packet: Packet, fates: &mut Fates<'_>) {
        self.update_average(now);
        let keep = match self.judge() {
            Verdict::Keep => true,
            Verdict::Drop => false,
            Verdict::Signal => {
                let marked = self.config.ecn && mark_congestion(&mut packet.frame);
                if marked {
                    fates.count_mark();
                }
                marked
            }
        };
        let fits = self.config.limit.admits(self.fifo.packets(), self.fifo.bytes(), packet.offered_len);
        // The idle period has been counted, and goes on if the packet does not end it.
        self.idle_since = self.idle_since.map(|_| now);
        match (keep, fits) {
            (true, true) => {
                self.idle_since = None;
                self.fifo.push(now, packet);
            }
            (true, false) => fates.drop(packet, DropReason::QueueFull),
            (false, _) => fates.drop(packet, DropReason::Red),
        }
    }

    fn dequeue(&mut self, _now: Instant, _fates: &mut Fates<'_>) -> Option<Packet> {
        self.fifo.pop().map(|(_, packet)| packet)
    }

    fn idle(&mut self, now: Instant) {
        self.idle_since.get_or_insert(now);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::queue::testing::{Bench, GIGABIT};
    use crate::link::testing::{Ecn, udp, udp_ecn};
    use crate::random::Streams;

    fn red(config: RedConfig) -> Red {
        config.validate().unwrap();
        Red::new(config, Instant::ZERO, Streams::new(2).stream("queue"), GIGABIT)
    }

    /// Keeps a constant number of packets in the queue, so that the average is known; counts signals.
    fn signals(config: RedConfig, packets: usize, arrivals: u64, ecn: Ecn) -> (usize, u64) {
        let mut queue = red(config);
        // The average has long settled.
        queue.average = ((packets * 1514) as u64) << AVERAGE_PLACES;
        queue.idle_since = None;
        (0..packets as u64).for_each(|id| queue.fifo.push(Instant::ZERO, udp_ecn(id, 1514, ecn)));
        let mut bench = Bench::new(Box::new(queue));
        for n in 0..arrivals {
            bench.enqueue(n, udp_ecn(n, 1514, ecn));
            while bench.queue.packets() > packets {
                bench.dequeue(n);
            }
        }
        (bench.dropped(DropReason::Red), bench.stats.marked)
    }

    fn config() -> RedConfig {
        RedConfig { max_probability: Probability::new(0.1).unwrap(), ..RedConfig::default() }
    }

    #[test]
    fn nothing_below_the_lower_and_everything_above_the_upper_threshold() {
        assert_eq!(signals(config(), 4, 10_000, Ecn::Not), (0, 0));
        assert_eq!(signals(config(), 16, 1000, Ecn::Not), (1000, 0));
        // Marking does not protect above the upper threshold.
        assert_eq!(signals(RedConfig { ecn: true, ..config() }, 16, 1000, Ecn::Capable), (1000, 0));
    }

    /// The number of packets from one drop to the next is evenly distributed from 1 to 1/p_b - 1, so its mean is
    /// 1 / (2 p_b) (section 7 of the paper, its second method).
    #[test]
    fn between_the_thresholds_drops_are_evenly_spaced() {
        for (packets, base) in [(10, 0.05), (7, 0.02), (14, 0.09)] {
            let arrivals = 100_000;
            let (dropped, _) = signals(config(), packets, arrivals, Ecn::Not);
            let expected = arrivals as f64 * 2.0 * base;
            assert!((dropped as f64 / expected - 1.0).abs() < 0.05, "{packets}: {dropped} {expected}");
        }
    }

    #[test]
    fn capable_packets_are_marked_between_the_thresholds() {
        let (dropped, marked) = signals(RedConfig { ecn: true, ..config() }, 10, 10_000, Ecn::Capable);
        assert_eq!(dropped, 0);
        assert!(marked.abs_diff(1000) < 100, "{marked}");
    }

    #[test]
    fn the_average_follows_slowly_and_falls_while_idle() {
        let mut queue = red(RedConfig { packet_time: Some(Duration::from_micros(10)), ..config() });
        queue.idle_since = None;
        queue.fifo.push(Instant::ZERO, udp(0, 1000));
        for _ in 0..512 {
            queue.update_average(Instant::ZERO);
        }
        let average = queue.average >> AVERAGE_PLACES;
        // 1000 (1 - (511/512)^512) = 632.5.
        assert!(average.abs_diff(632) <= 1, "{average}");
        queue.fifo.drain();
        queue.idle_since = Some(Instant::ZERO);
        queue.update_average(Instant::from_micros(5120));
        // Times (511/512)^512.
        assert!((queue.average >> AVERAGE_PLACES).abs_diff(232) <= 1, "{}", queue.average >> AVERAGE_PLACES);
        assert_eq!(decay(u64::MAX, 9, u64::MAX), 0);
    }

    /// While the last packet is being sent the link is not idle, and an empty queue counts like any other.
    #[test]
    fn idle_is_the_link_and_not_the_queue() {
        let mut queue = red(config());
        queue.average = 1 << (AVERAGE_PLACES + 9);
        queue.idle_since = None;
        let mut bench = Bench::new(Box::new(queue));
        let average = |bench: &Bench| {
            let text = format!("{:?}", bench.queue);
            let from = text.find("average: ").unwrap() + "average: ".len();
            text[from..].split(',').next().unwrap().parse::<u64>().unwrap() >> AVERAGE_PLACES
        };
        bench.enqueue(0, udp(0, 1514));
        assert_eq!(average(&bench), 511, "a 512th less, as nothing waited");
        bench.dequeue(0);
        bench.enqueue(1_000_000, udp(1, 1514));
        assert_eq!(average(&bench), 510, "it was not idle, however long that took");
        bench.dequeue(1_000_000);
        bench.queue.idle(Instant::from_micros(1_000_012));
        bench.enqueue(1_000_012 + 512 * 12, udp(2, 1514));
        assert_eq!(average(&bench), 187, "times (511/512)^512");
    }

    #[test]
    fn parameters_must_make_sense() {
        let message = "RED needs 0 < min < max <= 4 GiB";
        assert_eq!(RedConfig { min: 30_000, ..config() }.validate(), Err(LinkError::Queue(message)));
        let message = "RED needs a weight of 2^-1 to 2^-16 and a packet time above 0";
        assert_eq!(RedConfig { weight_log: 0, ..config() }.validate(), Err(LinkError::Queue(message)));
    }
}
