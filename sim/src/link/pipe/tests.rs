use std::time::Duration;

use super::*;
use crate::link::testing::{Ecn, checksum_holds, tcp, udp, udp_ecn, udp_flow};
use crate::link::{
    BitRate, Chance, CoDelConfig, DelayModel, DelayTrace, DeliveryOrder, FqCoDelConfig, Framing, GSO_MAX_BYTES, Jitter,
    Limit, LossList, LossModel, LossUnit, MahimahiTrace, PieConfig, Probability, RateModel, RateSteps, RedConfig,
};

mod random;

/// A pipe and all that came out of it, with the times.
struct Run {
    pipe: Pipe,
    arrivals: Vec<(Instant, Packet)>,
    drops: Vec<(Instant, u64, DropReason)>,
}

impl Run {
    fn new(config: PipeConfig) -> Self {
        Self::seeded(config, 1)
    }

    fn seeded(config: PipeConfig, seed: u64) -> Self {
        let pipe = Pipe::new(config, "link.test.up", &Streams::new(seed)).unwrap();
        Self { pipe, arrivals: Vec::new(), drops: Vec::new() }
    }

    /// Lets time pass until just before `until`, as a simulator would.
    fn run_until(&mut self, until: Instant) {
        while let Some(at) = self.pipe.poll_timeout().filter(|at| *at < until) {
            self.call(at, |pipe, out| pipe.handle_timeout(at, out));
        }
    }

    fn finish(&mut self) {
        self.run_until(Instant::from_nanos(u64::MAX));
        assert_eq!(self.pipe.stats().in_flight.packets, 0);
    }

    fn offer(&mut self, at: Instant, mut packet: Packet) {
        self.run_until(at);
        packet.sent_at = at;
        self.call(at, |pipe, out| pipe.offer(at, packet, out));
    }

    fn apply(&mut self, at: Instant, change: &Change) {
        self.run_until(at);
        self.call(at, |pipe, out| pipe.apply(at, change, out).unwrap());
    }

    fn call(&mut self, at: Instant, call: impl FnOnce(&mut Pipe, &mut Output)) {
        let mut out = Output::default();
        call(&mut self.pipe, &mut out);
        self.arrivals.extend(out.delivered.into_iter().map(|packet| (at, packet)));
        self.drops.extend(out.dropped.into_iter().map(|(packet, reason)| (at, packet.id, reason)));
        assert!(self.pipe.stats().is_conserved(), "{:?}", self.pipe.stats());
        assert!(self.pipe.poll_timeout().is_none_or(|next| next > at), "something is due at once");
        let seen = (self.arrivals.len() as u64, self.drops.len() as u64);
        let stats = self.pipe.stats();
        assert_eq!(seen, (stats.delivered.packets, stats.dropped_total().packets));
    }

    fn ids(&self) -> Vec<u64> {
        self.arrivals.iter().map(|(_, packet)| packet.id).collect()
    }

    fn times(&self) -> Vec<u64> {
        self.arrivals.iter().map(|(at, _)| at.as_nanos()).collect()
    }

    fn dropped(&self, reason: DropReason) -> Vec<u64> {
        self.drops.iter().filter(|drop| drop.2 == reason).map(|drop| drop.1).collect()
    }
}

fn rate(bits_per_second: u64) -> Option<RateModel> {
    Some(RateModel::Constant(BitRate::new(bits_per_second).unwrap()))
}

fn p(fraction: f64) -> Probability {
    Probability::new(fraction).unwrap()
}

fn millis(millis: u64) -> DelayModel {
    DelayModel::constant(Duration::from_millis(millis))
}

fn at_ms(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

#[test]
fn the_default_link_delivers_at_once() {
    let mut run = Run::new(PipeConfig::default());
    (0..3).for_each(|id| run.offer(at_ms(id), udp(id, 100)));
    assert_eq!((run.ids(), run.times()), (vec![0, 1, 2], vec![0, 1_000_000, 2_000_000]));
    assert_eq!(run.pipe.poll_timeout(), None);
}

#[test]
fn a_packet_takes_its_transmission_time_and_the_delay() {
    let framing = Framing { overhead: 24, ..Framing::default() };
    for (framing, expected) in [(Framing::default(), 12_112), (framing, 12_304)] {
        let config = PipeConfig { rate: rate(1_000_000_000), delay: millis(5), framing, ..PipeConfig::default() };
        let mut run = Run::new(config);
        run.offer(at_ms(1), udp(0, 1514));
        run.finish();
        assert_eq!(run.times(), [1_000_000 + expected + 5_000_000]);
    }
}

/// A full queue of n packets delays by n transmissions and what is left of the one under way.
#[test]
fn a_drop_tail_queue_delays_by_what_is_in_it() {
    let queue = QueueConfig::DropTail(Limit::packets(50));
    let mut run = Run::new(PipeConfig { rate: rate(10_000_000), delay: millis(20), queue, ..PipeConfig::default() });
    (0..100).for_each(|id| run.offer(Instant::ZERO, udp(id, 1250)));
    assert_eq!(run.pipe.queue_len(), (50, 50 * 1250));
    // Half way through the first of 1 ms.
    run.offer(Instant::from_micros(1500), udp(100, 1250));
    run.finish();
    assert_eq!(run.dropped(DropReason::QueueFull), (51..100).collect::<Vec<_>>());
    let expected: Vec<u64> = (1..=52).map(|n| n * 1_000_000 + 20_000_000).collect();
    assert_eq!(run.times(), expected);
    assert_eq!(run.pipe.stats().longest_queue, 50);
}

#[test]
fn a_packet_that_leaves_makes_room_for_one_that_comes_at_the_same_instant() {
    let queue = QueueConfig::DropTail(Limit::packets(1));
    let mut run = Run::new(PipeConfig { rate: rate(10_000_000), queue, ..PipeConfig::default() });
    (0..2).for_each(|id| run.offer(Instant::ZERO, udp(id, 1250)));
    (2..5).for_each(|id| run.offer(at_ms(id - 1), udp(id, 1250)));
    run.finish();
    assert_eq!(run.ids(), [0, 1, 2, 3, 4]);
}

/// 1 Gbit/s, full: the goodput is that of the headers' arithmetic, to the nanosecond.
#[test]
fn a_saturated_link_carries_exactly_its_rate() {
    let queue = QueueConfig::DropTail(Limit::bytes(100_000));
    let mut run = Run::new(PipeConfig { rate: rate(1_000_000_000), delay: millis(5), queue, ..PipeConfig::default() });
    for id in 0..100_000 {
        run.offer(Instant::from_micros(id * 10), udp(id, 1514));
    }
    run.finish();
    let n = run.arrivals.len() as u64;
    assert!(n > 80_000);
    for (count, (at, _)) in (1..).zip(&run.arrivals) {
        assert_eq!(at.as_nanos(), count * 12_112 + 5_000_000);
    }
}

#[test]
fn a_rate_that_does_not_divide_does_not_drift() {
    let mut run = Run::new(PipeConfig { rate: rate(3_000_000), ..PipeConfig::default() });
    (0..500).for_each(|id| run.offer(Instant::ZERO, udp(id, 1514)));
    run.finish();
    let expected: Vec<u64> = (1..=500).map(|n| n * 1514 * 8 * 1000 / 3).collect();
    assert_eq!(run.times(), expected);
}

#[test]
fn the_rate_of_a_packet_can_change_while_it_is_sent() {
    let mut run = Run::new(PipeConfig { rate: rate(1_000_000), ..PipeConfig::default() });
    // 10 ms at 1 Mbit/s; after 4 ms the rest goes ten times as fast.
    (0..2).for_each(|id| run.offer(Instant::ZERO, udp(id, 1250)));
    run.apply(at_ms(4), &Change::Rate(rate(10_000_000)));
    run.finish();
    assert_eq!(run.times(), [4_600_000, 5_600_000]);

    let mut run = Run::new(PipeConfig { rate: rate(1_000_000), ..PipeConfig::default() });
    (0..2).for_each(|id| run.offer(Instant::ZERO, udp(id, 1250)));
    run.apply(at_ms(4), &Change::Rate(None));
    assert_eq!(run.times(), [4_000_000; 2]);

    let outage = RateSteps::new(&[(Duration::ZERO, 0), (Duration::from_secs(1), 1_000_000)], None).unwrap();
    let mut run = Run::new(PipeConfig { rate: rate(1_000_000), ..PipeConfig::default() });
    run.offer(Instant::ZERO, udp(0, 1250));
    run.apply(at_ms(4), &Change::Rate(Some(RateModel::Steps(outage))));
    run.finish();
    assert_eq!(run.times(), [1_010_000_000]);
}

#[test]
fn mahimahi_opportunities_carry_ip_packets_and_are_lost_unused() {
    // Two opportunities at 2 ms and one at 5 ms, which is also the length of the round.
    let trace = RateModel::Trace(MahimahiTrace::parse("2\n2\n5\n").unwrap());
    let mut run = Run::new(PipeConfig { rate: Some(trace), delay: millis(10), ..PipeConfig::default() });
    // Full packets of 1500 bytes of IP take one opportunity each.
    (0..4).for_each(|id| run.offer(Instant::ZERO, udp(id, 1514)));
    // Three of 500 share the one at 12 ms; those at 10 ms and the other at 12 ms have nothing to carry.
    (4..7).for_each(|id| run.offer(at_ms(11), udp(id, 514)));
    run.finish();
    assert_eq!(run.times(), [12, 12, 15, 17, 22, 22, 22].map(|ms| ms * 1_000_000));
}

#[test]
fn jitter_reorders_or_not() {
    let delay = |order| DelayModel {
        base: Duration::from_millis(20),
        jitter: Jitter::Uniform(Duration::from_millis(10)),
        order,
        ..DelayModel::default()
    };
    let run = |order, rate| {
        let mut run = Run::new(PipeConfig { rate, delay: delay(order), ..PipeConfig::default() });
        (0..1000).for_each(|id| run.offer(at_ms(id), udp(id, 100)));
        run.finish();
        assert_eq!(run.arrivals.len(), 1000);
        run.ids().is_sorted()
    };
    assert!(!run(DeliveryOrder::AsNetem, None));
    assert!(run(DeliveryOrder::AsNetem, rate(10_000_000)));
    assert!(!run(DeliveryOrder::Free, rate(10_000_000)));
    assert!(run(DeliveryOrder::Kept, None));
}

#[test]
fn delays_of_a_trace_begin_when_the_trace_does() {
    let trace = DelayTrace::parse("0 1\n10 2\n").unwrap();
    let delay = DelayModel { jitter: Jitter::Trace(trace), ..DelayModel::default() };
    let mut run = Run::new(PipeConfig::default());
    run.apply(at_ms(100), &Change::Delay(delay));
    run.offer(at_ms(109), udp(0, 100));
    run.offer(at_ms(110), udp(1, 100));
    run.finish();
    assert_eq!(run.times(), [110_000_000, 112_000_000]);
}

mod netem {
    use super::*;

    fn config(limit: usize, delay: u64) -> PipeConfig {
        let queue = QueueConfig::DropTail(Limit::packets(limit));
        PipeConfig { composition: Composition::Netem, delay: millis(delay), queue, ..PipeConfig::default() }
    }

    /// The limit counts what travels: 1 Gbit/s times 5 ms are more than 400 packets of a thousand.
    #[test]
    fn the_limit_counts_what_travels() {
        let mut run = Run::new(PipeConfig { rate: rate(1_000_000_000), ..config(100, 5) });
        (0..1000).for_each(|id| run.offer(Instant::from_nanos(id * 12_112), udp(id, 1514)));
        run.finish();
        // A hundred fit, and the next when the first has left, 5 ms later.
        assert_eq!(run.arrivals[99].0.as_nanos(), 100 * 12_112 + 5_000_000);
        assert_eq!(run.arrivals[100].1.id, 414);
        assert_eq!(run.arrivals.len(), 300);
        let mut wire =
            Run::new(PipeConfig { composition: Composition::Wire, rate: rate(1_000_000_000), ..config(100, 5) });
        (0..1000).for_each(|id| wire.offer(Instant::from_nanos(id * 12_112), udp(id, 1514)));
        wire.finish();
        assert_eq!(wire.arrivals.len(), 1000);
    }

    /// max(now + delay, time of the last) + length / rate.
    #[test]
    fn a_packet_leaves_after_the_one_before() {
        let mut run = Run::new(PipeConfig { rate: rate(10_000_000), ..config(100, 5) });
        run.offer(Instant::ZERO, udp(0, 1250));
        run.offer(Instant::ZERO, udp(1, 1250));
        run.offer(at_ms(1), udp(2, 1250));
        run.offer(at_ms(9), udp(3, 1250));
        run.finish();
        assert_eq!(run.times(), [6, 7, 8, 15].map(|ms| ms * 1_000_000));
    }

    #[test]
    fn jitter_sorts_by_time_to_send_unless_there_is_a_rate() {
        let jitter = Jitter::Uniform(Duration::from_millis(5));
        let delay = DelayModel { base: Duration::from_millis(5), jitter, ..DelayModel::default() };
        for (rate, sorted) in [(None, false), (rate(100_000_000), true)] {
            let mut run = Run::new(PipeConfig { delay: delay.clone(), rate, ..config(1000, 0) });
            (0..500).for_each(|id| run.offer(Instant::from_micros(id * 100), udp(id, 100)));
            run.finish();
            assert_eq!(run.ids().is_sorted(), sorted);
        }
    }

    #[test]
    fn overtaking_packets_leave_at_once() {
        let chance = Chance::independent(Probability::ALWAYS);
        let reorder = Reorder { chance, gap: 5 };
        let mut run = Run::new(PipeConfig { reorder, ..config(100, 10) });
        (0..10).for_each(|id| run.offer(at_ms(id), udp(id, 100)));
        run.finish();
        assert_eq!(run.ids(), [4, 9, 0, 1, 2, 3, 5, 6, 7, 8]);
        assert_eq!(run.pipe.stats().reordered, 2);
    }

    #[test]
    fn only_drop_tail_limits_are_netems() {
        let config = PipeConfig { queue: QueueConfig::CoDel(CoDelConfig::default()), ..config(1, 1) };
        assert_eq!(config.validate(), Err(LinkError::NetemQueue));
    }
}

#[test]
fn reordering_has_its_rate() {
    let reorder = Reorder { chance: Chance::independent(p(0.25)), gap: 1 };
    let mut run = Run::new(PipeConfig { reorder, delay: millis(10), ..PipeConfig::default() });
    (0..40_000).for_each(|id| run.offer(at_ms(id), udp(id, 100)));
    run.finish();
    // Deviation 87.
    assert!(run.pipe.stats().reordered.abs_diff(10_000) < 435);
    let early = run.arrivals.iter().filter(|(at, packet)| *at == packet.sent_at).count() as u64;
    assert_eq!(early, run.pipe.stats().reordered);
}

#[test]
fn copies_arrive_first_and_are_lost_on_their_own() {
    let duplicate = Chance::independent(Probability::ALWAYS);
    let mut run = Run::new(PipeConfig { duplicate, delay: millis(1), ..PipeConfig::default() });
    (0..3).for_each(|id| run.offer(at_ms(id), udp(id, 100)));
    run.finish();
    assert_eq!(run.ids(), [0, 0, 1, 1, 2, 2]);
    assert_eq!(run.pipe.stats().duplicated.packets, 3);
    // One draw each for the original and for the copy: of the first pair the original is lost, so netem keeps a
    // single packet; of the second pair the copy is lost.
    let loss = vec![LossModel::List(LossList::new(&[1, 3]).unwrap())];
    let mut run = Run::new(PipeConfig { duplicate, loss, ..PipeConfig::default() });
    (0..3).for_each(|id| run.offer(at_ms(id), udp(id, 100)));
    assert_eq!(run.ids(), [0, 1, 2, 2]);
    assert_eq!(run.dropped(DropReason::Listed), [0, 1]);
}

#[test]
fn duplication_and_damage_have_their_rates() {
    let chance = Chance::independent(p(0.1));
    let mut run = Run::new(PipeConfig { duplicate: chance, corrupt: chance, ..PipeConfig::default() });
    (0..20_000).for_each(|id| run.offer(at_ms(id), udp(id, 100)));
    let stats = run.pipe.stats();
    assert!(stats.duplicated.packets.abs_diff(2000) < 213, "{}", stats.duplicated.packets);
    // Originals and copies alike: 22 000.
    assert!(stats.corrupted.abs_diff(2200) < 223, "{}", stats.corrupted);
    let damaged = run.arrivals.iter().filter(|(_, packet)| packet.frame.head != udp(0, 100).frame.head).count() as u64;
    assert_eq!(damaged, stats.corrupted);
}

#[test]
fn frames_that_a_checksum_cannot_protect_are_lost_instead_of_damaged() {
    let corrupt = Chance::independent(Probability::ALWAYS);
    let mut run = Run::new(PipeConfig { corrupt, ..PipeConfig::default() });
    let mut packet = tcp(7, 1, 0, 10_000);
    packet.frame.meta.segment_size = std::num::NonZeroU16::new(1448);
    run.offer(Instant::ZERO, packet);
    assert_eq!(run.dropped(DropReason::Damaged), [7]);
}

#[test]
fn packets_beyond_the_mtu_are_dropped() {
    let mut run = Run::new(PipeConfig { mtu: Some(1500), ..PipeConfig::default() });
    run.offer(Instant::ZERO, udp(0, 1514));
    run.offer(Instant::ZERO, udp(1, 1515));
    run.apply(at_ms(1), &Change::Mtu(Some(1501)));
    run.offer(at_ms(1), udp(2, 1515));
    assert_eq!((run.ids(), run.dropped(DropReason::TooLarge)), (vec![0, 2], vec![1]));
}

#[test]
fn marks_replace_losses_where_packets_are_capable() {
    let loss = vec![LossModel::random(Probability::ALWAYS)];
    let mut run = Run::new(PipeConfig { loss, loss_ecn: true, ..PipeConfig::default() });
    run.offer(Instant::ZERO, udp_ecn(0, 100, Ecn::Capable));
    run.offer(Instant::ZERO, udp_ecn(1, 100, Ecn::Not));
    assert_eq!((run.ids(), run.dropped(DropReason::Random)), (vec![0], vec![1]));
    assert_eq!(run.pipe.stats().marked, 1);
    assert!(checksum_holds(&run.arrivals[0].1.frame.head[14..34]));
}

/// With 10 % loss of bursts, whole bursts are lost; the rate is the same, the losses are not independent.
#[test]
fn bursts_share_their_fate() {
    let unit = LossUnit::Gso { cap: GSO_MAX_BYTES, gap: Duration::ZERO };
    let loss = vec![LossModel::random(p(0.1))];
    let mut run = Run::new(PipeConfig { loss, loss_unit: unit, ..PipeConfig::default() });
    let bursts = 4000;
    for id in 0..bursts * 10 {
        let sequence = (id as u32).wrapping_mul(1448);
        run.offer(at_ms(id / 10), tcp(id, 1, sequence, 1448));
    }
    let lost = run.dropped(DropReason::Random);
    // Deviation 19 bursts.
    assert!((lost.len() / 10).abs_diff(400) < 95, "{}", lost.len());
    assert!(lost.chunks(10).all(|burst| burst[0] % 10 == 0 && burst[9] == burst[0] + 9));
}

#[test]
fn a_link_that_goes_down_loses_what_it_holds_and_comes_back_empty() {
    let mut run = Run::new(PipeConfig { rate: rate(10_000_000), delay: millis(2), ..PipeConfig::default() });
    (0..5).for_each(|id| run.offer(Instant::ZERO, udp(id, 1250)));
    run.apply(Instant::from_micros(3500), &Change::Down);
    assert_eq!(run.pipe.state(), LinkState::Down);
    assert_eq!(run.pipe.poll_timeout(), None);
    run.offer(at_ms(4), udp(5, 1250));
    run.apply(at_ms(5), &Change::Up);
    run.offer(at_ms(5), udp(6, 1250));
    run.finish();
    assert_eq!((run.ids(), run.times()), (vec![0, 6], vec![3_000_000, 8_000_000]));
    assert_eq!(run.dropped(DropReason::Down), [1, 2, 3, 4, 5]);
}

#[test]
fn a_blackhole_takes_what_is_offered_and_delivers_what_it_had() {
    let mut run = Run::new(PipeConfig { delay: millis(2), ..PipeConfig::default() });
    run.offer(Instant::ZERO, udp(0, 100));
    run.apply(at_ms(1), &Change::Blackhole);
    run.offer(at_ms(1), udp(1, 100));
    run.apply(at_ms(3), &Change::Up);
    run.offer(at_ms(3), udp(2, 100));
    run.finish();
    assert_eq!((run.ids(), run.dropped(DropReason::Blackhole)), (vec![0, 2], vec![1]));
}

#[test]
fn every_parameter_can_change() {
    let mut run = Run::new(PipeConfig { rate: rate(1_000_000), ..PipeConfig::default() });
    (0..10).for_each(|id| run.offer(Instant::ZERO, udp(id, 1250)));
    run.apply(at_ms(5), &Change::Queue(QueueConfig::DropTail(Limit::packets(4))));
    assert_eq!(run.dropped(DropReason::QueueFull), [5, 6, 7, 8, 9]);
    run.apply(at_ms(5), &Change::Queue(QueueConfig::FqCoDel(FqCoDelConfig::default())));
    run.apply(at_ms(5), &Change::Rate(None));
    assert_eq!(run.ids(), [0, 1, 2, 3, 4]);
    let always = Chance::independent(Probability::ALWAYS);
    for change in [
        Change::Duplicate(always),
        Change::Corrupt(always),
        Change::Delay(millis(3)),
        Change::Reorder(Reorder { chance: always, gap: 1 }),
        Change::Framing(Framing { overhead: 24, ..Framing::default() }),
        Change::LossUnit(LossUnit::Gso { cap: GSO_MAX_BYTES, gap: Duration::ZERO }),
        Change::LossEcn(true),
        Change::Loss(vec![LossModel::random(Probability::NEVER)]),
    ] {
        run.apply(at_ms(6), &change);
    }
    run.offer(at_ms(6), udp(10, 100));
    let stats = run.pipe.stats();
    assert_eq!((stats.duplicated.packets, stats.corrupted, stats.reordered), (1, 2, 2));
    run.apply(at_ms(7), &Change::Loss(vec![LossModel::random(Probability::ALWAYS)]));
    run.offer(at_ms(7), udp(11, 100));
    // Of two one is lost: what netem calls a duplicate that is dropped.
    assert_eq!(run.dropped(DropReason::Random), [11]);
}

#[test]
fn a_change_that_contradicts_the_rest_changes_nothing() {
    let mut pipe = Pipe::new(PipeConfig::default(), "x", &Streams::new(1)).unwrap();
    let before = pipe.config().clone();
    let mut out = Output::default();
    assert_eq!(pipe.apply(Instant::ZERO, &Change::Mtu(Some(67)), &mut out), Err(LinkError::Mtu(67)));
    let empty = QueueConfig::DropTail(Limit { packets: None, bytes: None });
    assert_eq!(pipe.apply(Instant::ZERO, &Change::Queue(empty), &mut out), Err(LinkError::QueueLimit));
    let reorder = Change::Reorder(Reorder { gap: 0, ..Reorder::default() });
    assert_eq!(pipe.apply(Instant::ZERO, &reorder, &mut out), Err(LinkError::ReorderGap));
    assert_eq!(*pipe.config(), before);
}

/// Losses of a link stay the same packets whatever else is added to it, and differ by seed and name.
#[test]
fn purposes_draw_from_their_own_streams() {
    let loss = vec![LossModel::random(p(0.2))];
    let lost = |config: PipeConfig, name: &str, seed| {
        let mut pipe = Pipe::new(config, name, &Streams::new(seed)).unwrap();
        let mut out = Output::default();
        (0..500).for_each(|id| pipe.offer(at_ms(id), udp(id, 200), &mut out));
        out.dropped.iter().map(|(packet, _)| packet.id).collect::<Vec<_>>()
    };
    let plain = PipeConfig { loss: loss.clone(), ..PipeConfig::default() };
    let jitter = Jitter::Uniform(Duration::from_millis(3));
    let busy = PipeConfig {
        loss,
        delay: DelayModel { base: Duration::from_millis(10), jitter, ..DelayModel::default() },
        corrupt: Chance::independent(p(0.3)),
        reorder: Reorder { chance: Chance::independent(p(0.3)), gap: 1 },
        queue: QueueConfig::Pie(PieConfig::default()),
        rate: rate(100_000_000),
        ..PipeConfig::default()
    };
    let expected = lost(plain.clone(), "link.a.up", 1);
    assert_eq!(lost(busy, "link.a.up", 1), expected);
    assert_ne!(lost(plain.clone(), "link.a.down", 1), expected);
    assert_ne!(lost(plain, "link.a.up", 2), expected);
}

/// Flows that share a link through FQ-CoDel do not feel the one that floods it; with drop-tail they do.
#[test]
fn a_shared_bottleneck_isolates_flows_with_fq_codel_only() {
    let longest = |queue| {
        let mut run = Run::new(PipeConfig { rate: rate(10_000_000), queue, ..PipeConfig::default() });
        // A flood of 20 Mbit/s, and every 20 ms a packet of another flow.
        for id in 0..10_000 {
            if id % 40 == 0 {
                run.offer(Instant::from_micros(id * 500), udp_flow(id, 2, 200));
            }
            run.offer(Instant::from_micros(id * 500), udp_flow(id, 1, 1250));
        }
        run.finish();
        let sparse = run.arrivals.iter().filter(|(_, packet)| packet.len() == 200);
        sparse.map(|(at, packet)| *at - packet.sent_at).max().unwrap()
    };
    assert!(longest(QueueConfig::FqCoDel(FqCoDelConfig::default())) < Duration::from_millis(3));
    assert!(longest(QueueConfig::DropTail(Limit::packets(100))) > Duration::from_millis(90));
}

#[test]
fn managed_queues_keep_their_link_busy_and_their_packets_in_order() {
    for queue in [
        QueueConfig::Red(RedConfig { packet_time: Some(Duration::from_millis(1)), ..RedConfig::default() }),
        QueueConfig::CoDel(CoDelConfig::default()),
        QueueConfig::Pie(PieConfig::default()),
    ] {
        let mut run = Run::new(PipeConfig { rate: rate(10_000_000), queue: queue.clone(), ..PipeConfig::default() });
        (0..20_000).for_each(|id| run.offer(Instant::from_micros(id * 900), udp(id, 1250)));
        run.finish();
        assert!(run.ids().is_sorted(), "{queue:?}");
        let busy = run.arrivals.len() as f64 / 18_000.0;
        assert!(busy > 0.98, "{queue:?}: {busy}");
        assert!(!run.drops.is_empty(), "{queue:?}");
    }
}

/// As the `bandwidth` of tc-red would be set.
#[test]
fn a_queue_knows_how_long_a_packet_takes() {
    let nanos = |config: &PipeConfig| outlet(config).packet_time.as_nanos();
    let rate = |bits: u64| Some(RateModel::Constant(BitRate::new(bits).unwrap()));
    let config = |rate, mtu| PipeConfig { rate, mtu, ..PipeConfig::default() };
    assert_eq!(nanos(&config(rate(20_000_000), Some(1500))), 605_600);
    assert_eq!(nanos(&config(rate(1_000_000_000), None)), 12_112);
    assert_eq!(nanos(&config(None, Some(9000))), 72_112);
    let steps = [(Duration::ZERO, 30_000_000), (Duration::from_secs(1), 10_000_000)];
    let steps = RateSteps::new(&steps, Some(Duration::from_secs(2))).unwrap();
    assert_eq!(nanos(&config(Some(RateModel::Steps(steps)), Some(1500))), 605_600);
    assert_eq!(outlet(&config(None, Some(9000))).longest, 9014);
    let framing = Framing { overhead: 24, ..Framing::default() };
    assert_eq!(nanos(&PipeConfig { framing, ..config(rate(1_000_000_000), None) }), 12_304);
    // Four of its first 64 minutes.
    let late = RateSteps::new(&[(Duration::ZERO, 0), (Duration::from_secs(3600), 16_000_000)], None).unwrap();
    assert_eq!(nanos(&config(Some(RateModel::Steps(late)), Some(1500))), 12_112_000);
}

#[test]
fn what_came_before_a_change_can_be_forgotten() {
    let mut run = Run::new(PipeConfig { rate: rate(1000), ..PipeConfig::default() });
    let at = |seconds: u64| Instant::from_millis(1000 * seconds);
    let flaps =
        [(1, Change::Down), (2, Change::Up), (3, Change::Rate(rate(5000))), (4, Change::Blackhole), (5, Change::Up)];
    for (seconds, change) in flaps {
        run.apply(at(seconds), &change);
    }
    let capacity = |run: &Run, until: u64| run.pipe.capacity(at(until)).unwrap();
    assert_eq!([1, 2, 3, 4, 5, 6].map(|until| capacity(&run, until)), [1000, 1000, 2000, 7000, 7000, 12_000]);
    run.pipe.forget_eras();
    assert_eq!(run.pipe.eras.len(), 1);
    assert_eq!([5, 6].map(|until| capacity(&run, until)), [7000, 12_000]);
    run.apply(at(7), &Change::Down);
    assert_eq!([7, 8].map(|until| capacity(&run, until)), [17_000, 17_000]);
}
