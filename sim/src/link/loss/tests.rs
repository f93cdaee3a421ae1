use super::*;
use crate::random::Streams;

const PACKETS: usize = 400_000;

fn p(fraction: f64) -> Probability {
    Probability::new(fraction).unwrap()
}

fn fates(model: LossModel, packets: usize) -> Vec<bool> {
    let mut process = LossProcess::new(model, Streams::new(11).stream("loss"));
    (0..packets).map(|_| process.next()).collect()
}

fn rate(fates: &[bool]) -> f64 {
    fates.iter().filter(|lost| **lost).count() as f64 / fates.len() as f64
}

/// Mean length of runs of lost packets.
fn burst_length(fates: &[bool]) -> f64 {
    let lost = fates.iter().filter(|lost| **lost).count();
    let starts = fates.windows(2).filter(|pair| !pair[0] && pair[1]).count() + usize::from(fates[0]);
    lost as f64 / starts as f64
}

#[test]
fn random_loss_has_its_rate_and_no_memory() {
    let fates = fates(LossModel::random(p(0.02)), PACKETS);
    // Five deviations of 0.00022.
    assert!((rate(&fates) - 0.02).abs() < 0.0011, "{}", rate(&fates));
    // Runs of independent losses have 1/(1-p) packets.
    assert!((burst_length(&fates) - 1.0 / 0.98).abs() < 0.008, "{}", burst_length(&fates));
    assert_eq!(rate(&super::tests::fates(LossModel::random(p(0.0)), 1000)), 0.0);
    assert_eq!(rate(&super::tests::fates(LossModel::random(p(1.0)), 1000)), 1.0);
}

#[test]
fn correlated_loss_comes_in_bursts_and_is_rarer_as_in_netem() {
    let chance = |correlation| Chance { probability: p(0.3), correlation: p(correlation) };
    let independent = fates(LossModel::Random(chance(0.0)), PACKETS);
    let correlated = fates(LossModel::Random(chance(0.5)), PACKETS);
    assert!(rate(&correlated) < rate(&independent));
    // Independent losses of the same rate p would come in runs of 1/(1-p).
    assert!(burst_length(&correlated) > 1.2 / (1.0 - rate(&correlated)), "{}", burst_length(&correlated));
    assert!((rate(&correlated) - series_distribution(0.3)).abs() < 0.005, "{}", rate(&correlated));
}

/// P(x < t) for x = u/2 + x'/2 with u uniform and x' distributed as x: the fixed point of F(t) = 2 times the integral
/// of F from 2t-1 to 2t over u, iterated on a grid.
fn series_distribution(t: f64) -> f64 {
    const GRID: usize = 4000;
    let at = |f: &[f64], x: f64| match x {
        x if x <= 0.0 => 0.0,
        x if x >= 1.0 => 1.0,
        x => f[(x * GRID as f64) as usize],
    };
    let mut f: Vec<f64> = (0..=GRID).map(|i| i as f64 / GRID as f64).collect();
    for _ in 0..12 {
        // F_new(t) = integral over u in 0..1 of F(2t - u) du, by prefix sums of F.
        let mut prefix = vec![0.0];
        for i in 0..GRID {
            prefix.push(prefix[i] + (f[i] + f[i + 1]) / 2.0 / GRID as f64);
        }
        let integral = |x: f64| match x {
            x if x <= 0.0 => 0.0,
            x if x >= 1.0 => prefix[GRID] + (x - 1.0),
            x => prefix[(x * GRID as f64) as usize],
        };
        f = (0..=GRID).map(|i| 2.0 * i as f64 / GRID as f64).map(|t2| integral(t2) - integral(t2 - 1.0)).collect();
    }
    at(&f, t)
}

#[test]
fn the_simple_gilbert_channel_has_its_stationary_loss_and_bursts() {
    let (to_bad, to_good) = (0.01, 0.2);
    let fates = fates(LossModel::GilbertElliott(GilbertElliott::simple(p(to_bad), p(to_good))), PACKETS);
    let expected = to_bad / (to_bad + to_good);
    // The variance of a mean with autocorrelation (1-p-r)^n is larger by (2-p-r)/(p+r) = 8.5 than without.
    let deviation = (expected * (1.0 - expected) / PACKETS as f64 * 8.5).sqrt();
    assert!((rate(&fates) - expected).abs() < 5.0 * deviation, "{} {expected}", rate(&fates));
    // Geometric bursts: mean 5, deviation sqrt(20) over about 3800 bursts.
    assert!((burst_length(&fates) - 1.0 / to_good).abs() < 0.37, "{}", burst_length(&fates));
}

#[test]
fn both_states_of_the_gilbert_elliott_channel_lose() {
    let model = GilbertElliott { to_bad: p(0.05), to_good: p(0.15), loss_in_bad: p(0.4), loss_in_good: p(0.01) };
    let fates = fates(LossModel::GilbertElliott(model), PACKETS);
    let expected = 0.25 * 0.4 + 0.75 * 0.01;
    assert!((rate(&fates) - expected).abs() < 0.005, "{} {expected}", rate(&fates));
}

#[test]
fn the_state_before_the_transition_decides() {
    // To the bad state and back at once: every second packet is lost, and the first is not.
    let model = GilbertElliott::simple(Probability::ALWAYS, Probability::ALWAYS);
    assert_eq!(fates(LossModel::GilbertElliott(model), 4), [false, true, false, true]);
}

#[test]
fn the_four_state_channel_has_its_stationary_loss() {
    let (p13, p31, p32, p23, p14) = (0.02, 0.1, 0.3, 0.4, 0.01);
    let model = FourState::new(p(p13), p(p31), p(p32), p(p23), p(p14)).unwrap();
    let fates = fates(LossModel::FourState(model), PACKETS);
    // Balance: pi4 = p14 pi1; pi2 p23 = pi3 p32; pi3 (p31 + p32) = p13 pi1 + p23 pi2.
    let pi3 = p13 / p31;
    let sum = 1.0 + pi3 * p32 / p23 + pi3 + p14;
    let expected = (pi3 + p14) / sum;
    assert!((rate(&fates) - expected).abs() < 0.006, "{} {expected}", rate(&fates));
}

#[test]
fn special_cases_of_the_four_state_channel() {
    // p14 alone: isolated losses only.
    let none = Probability::NEVER;
    let isolated = FourState::new(none, none, none, none, p(0.2)).unwrap();
    let isolated = fates(LossModel::FourState(isolated), PACKETS);
    assert!(!isolated.windows(2).any(|pair| pair[0] && pair[1]));
    // A loss and then at least one packet: 0.2 of those from state 1, so 0.2 / 1.2.
    assert!((rate(&isolated) - 0.2 / 1.2).abs() < 0.003, "{}", rate(&isolated));
    // p13 and p31 alone: the simple Gilbert channel.
    let gilbert = fates(LossModel::FourState(FourState::new(p(0.05), p(0.25), none, none, none).unwrap()), PACKETS);
    assert!((rate(&gilbert) - 0.05 / 0.3).abs() < 0.007, "{}", rate(&gilbert));
    assert!((burst_length(&gilbert) - 4.0).abs() < 0.15, "{}", burst_length(&gilbert));
}

#[test]
fn transitions_from_one_state_must_fit_into_one() {
    let none = Probability::NEVER;
    assert_eq!(FourState::new(p(0.6), none, none, none, p(0.5)), Err(LinkError::Transitions("first")));
    assert_eq!(FourState::new(none, p(0.6), p(0.5), none, none), Err(LinkError::Transitions("third")));
}

#[test]
fn periodic_listed_and_traced_losses_are_exact() {
    let lost = |model, packets| -> Vec<usize> {
        fates(model, packets).iter().zip(1..).filter(|(lost, _)| **lost).map(|(_, number)| number).collect()
    };
    assert_eq!(lost(LossModel::Periodic(Periodic::new(5, 2, 3).unwrap()), 15), [3, 4, 8, 9, 13, 14]);
    assert_eq!(lost(LossModel::Periodic(Periodic::new(1, 1, 1).unwrap()), 3), [1, 2, 3]);
    assert_eq!(lost(LossModel::List(LossList::new(&[1, 4, 5]).unwrap()), 100), [1, 4, 5]);
    assert_eq!(lost(LossModel::Trace(LossTrace::parse("0 0 1 # two\n01\n").unwrap()), 10), [3, 5, 8, 10]);
}

#[test]
fn bad_patterns_are_refused() {
    assert_eq!(Periodic::new(0, 0, 1), Err(LinkError::Period));
    assert_eq!(Periodic::new(2, 3, 1), Err(LinkError::Period));
    assert_eq!(Periodic::new(2, 1, 0), Err(LinkError::Period));
    assert_eq!(LossList::new(&[0, 1]), Err(LinkError::LossList));
    assert_eq!(LossList::new(&[2, 2]), Err(LinkError::LossList));
    assert_eq!(LossTrace::new(&[]), Err(LinkError::Empty));
    let error = LossTrace::parse("01\n0x1\n").unwrap_err();
    assert_eq!(error.to_string(), "line 2: expected 0 or 1 for each packet, found \"0x1\"");
    assert_eq!(LossTrace::parse("#\n"), Err(TraceError::Empty));
}

#[test]
fn models_side_by_side_do_not_disturb_one_another() {
    let list = LossModel::List(LossList::new(&[2, 4]).unwrap());
    let random = LossModel::random(p(0.5));
    let streams = Streams::new(11);
    let losses = |models: Vec<LossModel>| {
        let models = models.into_iter().map(|model| (model, streams.stream("loss"))).collect();
        let mut losses = Losses::new(models, LossUnit::Packet);
        let packet = crate::link::testing::udp(0, 100);
        (0..100).map(|_| losses.next(Instant::ZERO, &packet)).collect::<Vec<_>>()
    };
    let alone = losses(vec![random.clone()]);
    let both = losses(vec![list, random]);
    for (number, (alone, both)) in (1..).zip(alone.iter().zip(&both)) {
        let expected = if [2, 4].contains(&number) { Some(DropReason::Listed) } else { *alone };
        assert_eq!(*both, expected);
    }
}
