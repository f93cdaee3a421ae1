//! A scheduler that learns when waiting pays.

mod model;
mod weights;

use std::fmt;
use std::sync::{Arc, LazyLock};

use tcp_adapter::Instant;

use super::{Acknowledged, CompletionTime, DataView, Decision, Scheduler, SubflowView, burst_len, fastest};
use crate::event::SubflowId;

pub use model::{Arm, Context, FEATURES, Model, Sample};
pub use weights::InvalidWeights;

/// A contextual bandit in the manner of Peekaboo (Wu, Alay, Brunstrom, Ferlin, Caso: "Peekaboo: Learning-Based Multipath Scheduling for Dynamic
/// Heterogeneous Environments", IEEE JSAC 2020).
///
/// Like [`Ecf`](super::Ecf) and [`Blest`](super::Blest) it decides, when the fastest subflow is full, whether to wait for it or to use the next one. A linear
/// model tells from the situation what each brings; what has come of a choice, how much was acknowledged beside what the paths could
/// carry, improves the model. A choice holds for two round trips of the slower subflow, until its consequences are seen.
///
/// [`CompletionTime`] decides wherever there is no such choice. To leave the choice to it is the third arm, and the one that is taken unless the model is
/// sure that another one brings more. A model comes from a weights file, made in the simulator (`mptcp sim train`); the default one
/// comes with this crate. A connection takes it for no more than 1000 samples of its own, so that what it sees itself counts soon.
///
/// Unlike the paper's it never deviates from its choice by chance: where that would help, when the model is wrong about a path that
/// has changed, the confidence that is wanted keeps it with `CompletionTime`.
#[derive(Clone, Debug)]
pub struct Peekaboo {
    model: Model,
    first: CompletionTime,
    epoch: Option<Epoch>,
    recorder: Option<Arc<dyn Recorder>>,
}

/// With what the schedulers of a stack that learn begin.
#[derive(Clone, Debug)]
pub struct Learning {
    /// The model that a new connection begins with.
    pub model: Model,
    /// Choose by chance, and tell what it has brought: for training. Default: do what the model says.
    pub recorder: Option<Arc<dyn Recorder>>,
}

impl Default for Learning {
    /// With the model that comes with this crate.
    fn default() -> Self {
        Self { model: *SHIPPED, recorder: None }
    }
}

/// Hears what choices have brought.
pub trait Recorder: fmt::Debug + Send + Sync {
    /// A choice has had its consequences.
    fn record(&self, sample: Sample);
}

/// Weights from the simulator. A test reads them; without them nothing would be known.
static SHIPPED: LazyLock<Model> = LazyLock::new(|| WEIGHTS.parse().unwrap_or_default());
const WEIGHTS: &str = include_str!("weights.toml");

/// Samples of each arm that a connection believes a model to be made of at most.
const PRIOR: u64 = 1000;

/// Part of the sum of both arms' standard deviations, for noise of 1, by which one arm must be better to be believed. The reward of one choice
/// varies by about 0.1 under the same circumstances: this is half a standard deviation.
const CONFIDENCE: f64 = 0.05;

/// A choice and the time that it holds.
#[derive(Clone, Copy, Debug)]
struct Epoch {
    context: Context,
    arm: Arm,
    pair: [SubflowId; 2],
    started: Instant,
    ends: Instant,
    una: u64,
    /// The end of the data at hand: once it is acknowledged there is nothing left to be judged.
    target: u64,
    /// Bytes per second that both subflows could carry.
    rate: f64,
}

impl Peekaboo {
    /// One that begins as it is told.
    pub fn new(learning: Learning) -> Self {
        let Learning { model, recorder } = learning;
        Self { model: model.as_if_of(PRIOR), first: CompletionTime, epoch: None, recorder }
    }

    /// The choice that holds now. `used`: whether [`CompletionTime`] would use the slower one.
    fn choose(&mut self, fast: &SubflowView, slow: &SubflowView, data: &DataView, used: bool) -> Arm {
        let pair = [fast.id, slow.id];
        if let Some(epoch) = self.epoch.filter(|epoch| epoch.pair == pair && data.now < epoch.ends) {
            return epoch.arm;
        }
        self.epoch = self.begin(fast, slow, data, used);
        self.epoch.map_or(Arm::Leave, |epoch| epoch.arm)
    }

    /// `None` if too little is known of the subflows for a choice.
    fn begin(&self, fast: &SubflowView, slow: &SubflowView, data: &DataView, used: bool) -> Option<Epoch> {
        let context = context(fast, slow, data, used)?;
        Some(Epoch {
            context,
            arm: if self.recorder.is_some() { by_chance(data) } else { self.best(&context) },
            pair: [fast.id, slow.id],
            started: data.now,
            ends: data.now + slow.srtt? * 2,
            una: data.una,
            target: data.position + data.unsent,
            rate: [fast, slow].iter().filter_map(|subflow| subflow.rate()).sum(),
        })
    }

    /// The arm that brings most, if that is sure.
    fn best(&self, context: &Context) -> Arm {
        let [wait, used, leave] = Arm::ALL.map(|arm| self.model.estimate(arm, context));
        let (arm, best) = if wait.mean > used.mean { (Arm::Wait, wait) } else { (Arm::Use, used) };
        let wanted = self.model.margin() + CONFIDENCE * (best.width + leave.width);
        if best.mean - leave.mean > wanted { arm } else { Arm::Leave }
    }

    fn conclude(&mut self, now: Instant, una: u64) {
        let Some(epoch) = self.epoch.filter(|epoch| now >= epoch.ends || una >= epoch.target) else { return };
        self.epoch = None;
        let could = epoch.rate * (now - epoch.started).as_secs_f64();
        if could <= 0.0 {
            return;
        }
        let acknowledged = una.saturating_sub(epoch.una) as f64;
        // Without a bound that everything good would reach: rates rise while a choice holds.
        let sample = Sample { context: epoch.context, arm: epoch.arm, reward: acknowledged / (acknowledged + could) };
        self.model.learn(&sample);
        if let Some(recorder) = &self.recorder {
            recorder.record(sample);
        }
    }
}

impl Scheduler for Peekaboo {
    fn name(&self) -> &'static str {
        "peekaboo"
    }

    fn pick(&mut self, subflows: &[SubflowView], data: &DataView) -> Option<Decision> {
        let first = self.first.pick(subflows, data);
        let (fast, index) = fastest(subflows, data)?;
        let (fast, slow) = (&subflows[fast], &subflows[index]);
        if data.reinjection || fast.id == slow.id {
            return first;
        }
        let used = first.filter(|decision| decision.subflow == index);
        match self.choose(fast, slow, data, used.is_some()) {
            Arm::Wait => None,
            // What comes later is better there, if there is enough.
            Arm::Use => used.or(Some(Decision { subflow: index, len: burst_len(slow, data), skip: 0 })),
            Arm::Leave => first,
        }
    }

    fn on_acknowledged(&mut self, acknowledged: &Acknowledged) {
        self.conclude(acknowledged.now, acknowledged.una);
    }
}

/// The arms by chance: samples that were chosen by what is known already would teach nothing of the rest. Half of them leave it to
/// [`CompletionTime`], so that the situations are not only those to which chance leads.
fn by_chance(data: &DataView) -> Arm {
    let mixed = (data.now.as_nanos() ^ data.una.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    match mixed >> 62 {
        0 => Arm::Wait,
        1 => Arm::Use,
        _ => Arm::Leave,
    }
}

/// The situation, in numbers that do not depend on how fast the paths are; `None` if a round-trip time is not known yet.
fn context(fast: &SubflowView, slow: &SubflowView, data: &DataView, used: bool) -> Option<Context> {
    let [rtt_fast, rtt_slow] = [fast.srtt?, slow.srtt?].map(|rtt| rtt.as_secs_f64().max(1e-9));
    let [rate_fast, rate_slow] = [fast.window() as f64 / rtt_fast, slow.window() as f64 / rtt_slow];
    // From 0 to 1, a half if both are the same.
    let part = |one: f64, other: f64| if one > 0.0 { one / (one + other.max(0.0)) } else { 0.0 };
    let window = (data.position.saturating_sub(data.una) + data.window) as f64;
    let variation = slow.rttvar.map_or(0.5, |variation| variation.as_secs_f64() / rtt_slow);
    let least = slow.min_rtt.map_or(rtt_slow, |least| least.as_secs_f64());
    Some([
        1.0,
        part(rtt_slow, rtt_fast),
        part(rate_fast, rate_slow),
        // The time that the fast one needs for all, and a round trip of the slow one (ECF's question).
        part(data.unsent as f64 / rate_fast + rtt_fast, rtt_slow),
        // What the fast one sends during a round trip of the slow one, and the window (BLEST's).
        part(rate_fast * rtt_slow, window - slow.outstanding() as f64),
        variation.min(1.0),
        // What waits in the slow one's queues.
        part(rtt_slow, least),
        if used { 1.0 } else { 0.0 },
    ])
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::super::tests::{data, view};
    use super::*;

    #[derive(Debug, Default)]
    struct Samples(Mutex<Vec<Sample>>);

    impl Recorder for Samples {
        fn record(&self, sample: Sample) {
            self.0.lock().unwrap().push(sample);
        }
    }

    fn pair() -> [SubflowView; 2] {
        let fast = SubflowView { cwnd: Some(20_000), in_flight: 20_000, ..view(0, 0, 10) };
        [fast, SubflowView { cwnd: Some(20_000), ..view(1, 9000, 40) }]
    }

    fn at(now_ms: u64) -> DataView {
        DataView { now: Instant::from_millis(now_ms), ..data(100_000) }
    }

    fn acknowledge(scheduler: &mut Peekaboo, now_ms: u64, una: u64) {
        let now = Instant::from_millis(now_ms);
        scheduler.on_acknowledged(&Acknowledged { now, subflow: SubflowId(0), delivered: None, una });
    }

    /// A model that has learned that this arm is better in the situation of the tests.
    fn taught(better: Arm) -> Model {
        let [fast, slow] = pair();
        let used = CompletionTime.pick(&pair(), &at(0)).is_some();
        let context = context(&fast, &slow, &at(0), used).unwrap();
        let mut model = Model::default();
        for _ in 0..200 {
            for arm in Arm::ALL {
                model.learn(&Sample { context, arm, reward: if arm == better { 0.8 } else { 0.5 } });
            }
        }
        model
    }

    #[test]
    fn does_what_it_has_learned() {
        let pick = |model| Peekaboo::new(Learning { model, recorder: None }).pick(&pair(), &at(0));
        assert_eq!(pick(taught(Arm::Wait)), None);
        assert_eq!(pick(taught(Arm::Use)).map(|decision| decision.subflow), Some(1));
    }

    #[test]
    fn leaves_what_it_does_not_know_to_completion_time() {
        let mut blank = Peekaboo::new(Learning { model: Model::default(), recorder: None });
        assert_eq!(blank.pick(&pair(), &at(0)), CompletionTime.pick(&pair(), &at(0)));
    }

    /// The first time from `from` on at which chance makes a choice.
    fn time_of_choice(from: u64, una: u64) -> (u64, Arm) {
        let chance = |now| (now, by_chance(&DataView { una, ..at(now) }));
        (from..).map(chance).find(|(_, arm)| *arm != Arm::Leave).unwrap()
    }

    #[test]
    fn a_choice_holds_for_two_round_trips_and_is_judged_by_what_came_of_it() {
        let samples = Arc::new(Samples::default());
        let recorder: Arc<dyn Recorder> = samples.clone();
        let mut scheduler = Peekaboo::new(Learning { model: Model::default(), recorder: Some(recorder) });
        let (start, chosen) = time_of_choice(0, 0);
        assert_eq!(scheduler.pick(&pair(), &at(start)).is_none(), chosen == Arm::Wait);
        assert_eq!(scheduler.pick(&pair(), &at(start + 79)).is_none(), chosen == Arm::Wait);
        acknowledge(&mut scheduler, start + 79, 50_000);
        assert!(samples.0.lock().unwrap().is_empty());
        // 2 MB/s and 0.5 MB/s make 200,000 bytes in 80 ms.
        acknowledge(&mut scheduler, start + 80, 50_000);
        let first = samples.0.lock().unwrap()[0];
        assert_eq!((first.arm, (first.reward * 1000.0).round()), (chosen, 200.0));
        // Everything at hand is acknowledged after 20 ms: 50,000, as much as there could be.
        let (start, _) = time_of_choice(200, 50_000);
        let rest = DataView { position: 50_000, una: 50_000, unsent: 50_000, ..at(start) };
        scheduler.pick(&pair(), &rest);
        acknowledge(&mut scheduler, start + 20, 100_000);
        assert_eq!((samples.0.lock().unwrap()[1].reward * 1000.0).round(), 500.0);
    }

    #[test]
    fn training_leaves_some_of_the_time_to_completion_time() {
        let recorder: Arc<dyn Recorder> = Arc::new(Samples::default());
        let mut scheduler = Peekaboo::new(Learning { model: taught(Arm::Use), recorder: Some(recorder) });
        let start = (0..).find(|now| by_chance(&at(*now)) == Arm::Leave).unwrap();
        assert_eq!(scheduler.pick(&pair(), &at(start)), CompletionTime.pick(&pair(), &at(start)));
    }

    #[test]
    fn what_is_no_such_choice_is_left_to_completion_time() {
        let mut scheduler = Peekaboo::new(Learning { model: taught(Arm::Wait), recorder: None });
        let mut free = pair();
        free[0].room = 9000;
        assert_eq!(scheduler.pick(&free, &at(0)), CompletionTime.pick(&free, &at(0)));
        let again = DataView { reinjection: true, ..at(0) };
        assert!(scheduler.pick(&pair(), &again).is_some(), "nothing waits that must go again");
    }

    #[test]
    fn the_weights_of_this_crate_can_be_read() {
        let model: Model = WEIGHTS.parse().unwrap();
        assert_eq!(model, *SHIPPED);
        assert!(Arm::ALL.iter().all(|arm| model.samples(*arm) > 100), "nobody has trained it");
    }
}
