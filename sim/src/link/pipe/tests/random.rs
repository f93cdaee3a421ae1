//! Any configuration, any traffic, any changes: nothing is lost from the books, and the same seed gives the same result.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;
use crate::link::{Composition, FourState, GilbertElliott, LossTrace, Periodic};

fn probability() -> impl Strategy<Value = Probability> {
    prop_oneof![Just(Probability::NEVER), (0.0..=1.0).prop_map(p), Just(Probability::ALWAYS)]
}

fn chance() -> impl Strategy<Value = Chance> {
    (probability(), probability()).prop_map(|(probability, correlation)| Chance { probability, correlation })
}

fn rate_model() -> impl Strategy<Value = Option<RateModel>> {
    let steps = proptest::collection::vec(0..20_000_000_u64, 1..4).prop_map(|rates| {
        let times = (0..).map(|n| Duration::from_millis(n * 3));
        let mut steps: Vec<_> = times.zip(rates).collect();
        steps[0].1 += 100_000;
        let period = Duration::from_millis(20);
        Some(RateModel::Steps(RateSteps::new(&steps, Some(period)).unwrap()))
    });
    let trace = proptest::collection::vec(0..9_u32, 1..6).prop_map(|mut times| {
        times.sort_unstable();
        times.push(9);
        let text: String = times.iter().map(|time| format!("{time}\n")).collect();
        Some(RateModel::Trace(MahimahiTrace::parse(&text).unwrap()))
    });
    prop_oneof![Just(None), (50_000..2_000_000_000_u64).prop_map(rate), steps, trace]
}

fn delay_model() -> impl Strategy<Value = DelayModel> {
    let micros = |most: u64| (0..most).prop_map(Duration::from_micros);
    let jitter = prop_oneof![
        Just(Jitter::None),
        micros(8000).prop_map(Jitter::Uniform),
        (micros(3000), 0..3_u8).prop_map(|(scale, table)| {
            let table = match table {
                0 => crate::link::DistTable::normal(),
                1 => crate::link::DistTable::pareto(),
                _ => crate::link::DistTable::paretonormal(),
            };
            Jitter::Distribution { scale, table }
        }),
        micros(5000).prop_map(|delay| Jitter::Trace(DelayTrace::per_packet(&[delay, delay / 3]).unwrap())),
    ];
    let order = prop_oneof![Just(DeliveryOrder::AsNetem), Just(DeliveryOrder::Free), Just(DeliveryOrder::Kept)];
    (micros(20_000), jitter, probability(), order).prop_map(|(base, jitter, correlation, order)| DelayModel {
        base,
        jitter,
        correlation,
        order,
    })
}

fn loss_model() -> impl Strategy<Value = LossModel> {
    let half = || (0.0..0.5).prop_map(p);
    prop_oneof![
        chance().prop_map(LossModel::Random),
        (probability(), probability(), probability(), probability()).prop_map(
            |(to_bad, to_good, loss_in_bad, loss_in_good)| {
                LossModel::GilbertElliott(GilbertElliott { to_bad, to_good, loss_in_bad, loss_in_good })
            }
        ),
        (half(), half(), half(), half(), half())
            .prop_map(|(a, b, c, d, e)| LossModel::FourState(FourState::new(a, b, c, d, e).unwrap())),
        (1..9_u64).prop_map(|n| LossModel::Periodic(Periodic::new(n, 1, n).unwrap())),
        Just(LossModel::List(LossList::new(&[1, 5, 6]).unwrap())),
        Just(LossModel::Trace(LossTrace::new(&[true, false, false]).unwrap())),
    ]
}

fn queue_config() -> impl Strategy<Value = QueueConfig> {
    let limit = || prop_oneof![(1..40_usize).prop_map(Limit::packets), (1514..60_000_usize).prop_map(Limit::bytes)];
    let codel = || {
        (limit(), any::<bool>()).prop_map(|(limit, ecn)| CoDelConfig {
            limit,
            ecn,
            target: Duration::from_micros(500),
            interval: Duration::from_millis(5),
        })
    };
    prop_oneof![
        limit().prop_map(QueueConfig::DropTail),
        (limit(), any::<bool>()).prop_map(|(limit, ecn)| {
            QueueConfig::Red(RedConfig { limit, ecn, weight_log: 1, max_probability: p(0.5), ..RedConfig::default() })
        }),
        codel().prop_map(QueueConfig::CoDel),
        (codel(), 1..5_usize).prop_map(|(codel, flows)| QueueConfig::FqCoDel(FqCoDelConfig {
            codel,
            flows,
            quantum: 300
        })),
        (limit(), any::<bool>()).prop_map(|(limit, ecn)| {
            let [target, update] = [1, 2].map(Duration::from_millis);
            QueueConfig::Pie(PieConfig { limit, ecn, target, update, max_burst: Duration::ZERO })
        }),
    ]
}

fn reorder() -> impl Strategy<Value = Reorder> {
    (chance(), 1..5_u32).prop_map(|(chance, gap)| Reorder { chance, gap })
}

fn config() -> impl Strategy<Value = PipeConfig> {
    let impairments = (chance(), chance(), reorder(), proptest::collection::vec(loss_model(), 0..3), any::<bool>());
    let unit = prop_oneof![
        Just(LossUnit::Packet),
        Just(LossUnit::Gso { cap: GSO_MAX_BYTES, gap: Duration::from_micros(300) })
    ];
    let mtu = prop_oneof![Just(None), Just(Some(1200))];
    (rate_model(), delay_model(), impairments, unit, mtu, queue_config(), any::<bool>()).prop_map(
        |(rate, delay, (duplicate, corrupt, reorder, loss, loss_ecn), loss_unit, mtu, queue, netem)| {
            let netem = netem && matches!(queue, QueueConfig::DropTail(_));
            let composition = if netem { Composition::Netem } else { Composition::Wire };
            PipeConfig {
                composition,
                rate,
                delay,
                loss,
                loss_unit,
                loss_ecn,
                duplicate,
                corrupt,
                reorder,
                mtu,
                queue,
                ..PipeConfig::default()
            }
        },
    )
}

/// What is done, and how many microseconds after the step before.
#[derive(Clone, Debug)]
enum Step {
    Offer { flow: u16, payload: usize, ecn: bool },
    Change(Change),
    Wait,
}

fn step() -> impl Strategy<Value = (u64, Step)> {
    let offer =
        || (0..4_u16, 0..1460_usize, any::<bool>()).prop_map(|(flow, payload, ecn)| Step::Offer { flow, payload, ecn });
    let change = prop_oneof![
        4 => Just(Change::Up),
        1 => Just(Change::Down),
        1 => Just(Change::Blackhole),
        1 => rate_model().prop_map(Change::Rate),
        1 => delay_model().prop_map(Change::Delay),
        1 => proptest::collection::vec(loss_model(), 0..3).prop_map(Change::Loss),
        1 => chance().prop_map(Change::Duplicate),
        1 => chance().prop_map(Change::Corrupt),
        1 => reorder().prop_map(Change::Reorder),
        1 => queue_config().prop_map(Change::Queue),
        1 => Just(Change::Mtu(Some(700))),
    ];
    (0..1500_u64, prop_oneof![20 => offer(), 2 => change.prop_map(Step::Change), 2 => Just(Step::Wait)])
}

/// Everything that could be seen from outside.
fn outcome(config: PipeConfig, steps: &[(u64, Step)], seed: u64) -> impl PartialEq + std::fmt::Debug {
    let mut run = Run::seeded(config, seed);
    let mut now = Instant::ZERO;
    for (id, (wait, step)) in (0..).zip(steps) {
        now += Duration::from_micros(*wait);
        match step {
            Step::Offer { flow, payload, ecn: false } => {
                run.offer(now, tcp(id, *flow, (id as u32).wrapping_mul(1000), *payload));
            }
            Step::Offer { payload, ecn: true, .. } => run.offer(now, udp_ecn(id, 42 + payload, Ecn::Capable)),
            // A change may contradict the composition.
            Step::Change(change) => {
                run.run_until(now);
                run.call(now, |pipe, out| {
                    if pipe.apply(now, change, out).is_err() {
                        pipe.handle_timeout(now, out);
                    }
                });
            }
            Step::Wait => run.run_until(now),
        }
    }
    run.finish();
    let arrivals: Vec<_> = run.arrivals.into_iter().map(|(at, packet)| (at, packet.id, packet.frame)).collect();
    (arrivals, run.drops, run.pipe.stats())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_packet_is_accounted_for_and_one_seed_has_one_result(
        config in config(),
        steps in proptest::collection::vec(step(), 1..200),
        seed in any::<u64>(),
    ) {
        // Each call within checks the books.
        let first = outcome(config.clone(), &steps, seed);
        prop_assert_eq!(first, outcome(config, &steps, seed));
    }
}
