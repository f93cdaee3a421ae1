//! A scheduler that learns when waiting pays.

mod model;
mod weights;

use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tcp_adapter::Instant;

use super::{Acknowledged, CompletionTime, DataView, Decision, Scheduler, SubflowView, burst_len, fastest};
use crate::event::SubflowId;

pub use model::{Arm, Context, FEATURES, Model, Sample};
pub use weights::InvalidWeights;

/// A contextual bandit in the manner of Peekaboo (Wu, Alay, Brunstrom, Ferlin, Caso: "Peekaboo: Learning-Based Multipath Scheduling for Dynamic
/// Heterogeneous Environments", IEEE JSAC 2020).
///
/// Like [`Ecf`](super::Ecf) and [`Blest`](super::Blest) it decides, when the fastest subflow is full, whether to wait for it or to use the next one. A linear
/// model tells from the situation what each brings; what has come of a choice, how much was acknowledged of what the paths could
/// carry, improves the model. A choice holds for two round trips of the slower subflow, until its consequences are seen.
///
/// Where the model is not sure which one is better, [`CompletionTime`] decides. A model comes from a weights file, made in the simulator (`mptcp sim
/// train`); the default one comes with this crate.
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

/// Standard deviations by which one arm must be better to be believed, for rewards of which two thirds lie within 0.25 of the mean.
const CONFIDENCE: f64 = 0.25;

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
        Self { model, first: CompletionTime, epoch: None, recorder }
    }

    /// The choice that holds now; `None` if the model is not sure.
    fn choose(&mut self, fast: &SubflowView, slow: &SubflowView, data: &DataView) -> Option<Arm> {
        let pair = [fast.id, slow.id];
        if let Some(epoch) = self.epoch.filter(|epoch| epoch.pair == pair && data.now < epoch.ends) {
            return Some(epoch.arm);
        }
        let (rtt_fast, rtt_slow) = (fast.srtt?, slow.srtt?);
        let context = context(fast, slow, rtt_fast, rtt_slow, data);
        let chosen = match self.recorder {
            Some(_) => Some(by_chance(data)),
            None => self.better(&context),
        };
        self.epoch = None;
        let arm = chosen?;
        let rate = [fast, slow].map(|subflow| subflow.rate().unwrap_or(0.0)).iter().sum();
        self.epoch = Some(Epoch {
            context,
            arm,
            pair,
            started: data.now,
            ends: data.now + rtt_slow * 2,
            una: data.una,
            target: data.position + data.unsent,
            rate,
        });
        Some(arm)
    }

    /// The arm that brings more, if that is sure.
    fn better(&self, context: &Context) -> Option<Arm> {
        let [wait, used] = Arm::ALL.map(|arm| self.model.estimate(arm, context));
        let sure = (wait.mean - used.mean).abs() > CONFIDENCE * (wait.width + used.width);
        sure.then_some(if wait.mean > used.mean { Arm::Wait } else { Arm::Use })
    }

    fn conclude(&mut self, now: Instant, una: u64) {
        let Some(epoch) = self.epoch.filter(|epoch| now >= epoch.ends || una >= epoch.target) else { return };
        self.epoch = None;
        let ideal = epoch.rate * (now - epoch.started).as_secs_f64();
        if ideal <= 0.0 {
            return;
        }
        let reward = (una.saturating_sub(epoch.una) as f64 / ideal).clamp(0.0, 1.0);
        let sample = Sample { context: epoch.context, arm: epoch.arm, reward };
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
        let (fast, index) = fastest(subflows, data)?;
        let (fast, chosen) = (&subflows[fast], &subflows[index]);
        let simple = Some(Decision { subflow: index, len: burst_len(chosen, data), skip: 0 });
        if data.reinjection || fast.id == chosen.id {
            return simple;
        }
        match self.choose(fast, chosen, data) {
            Some(Arm::Wait) => None,
            // What comes later is better there, if there is enough.
            Some(Arm::Use) => self.first.pick(subflows, data).filter(|decision| decision.subflow == index).or(simple),
            None => self.first.pick(subflows, data),
        }
    }

    fn on_acknowledged(&mut self, acknowledged: &Acknowledged) {
        self.conclude(acknowledged.now, acknowledged.una);
    }
}

/// One of the arms, each as often as the other: samples that were chosen by what is known already would teach nothing of the rest.
fn by_chance(data: &DataView) -> Arm {
    let mixed = (data.now.as_nanos() ^ data.una.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    if mixed >> 63 == 0 { Arm::Wait } else { Arm::Use }
}

/// The situation, in numbers that do not depend on how fast the paths are.
fn context(fast: &SubflowView, slow: &SubflowView, rtt_fast: Duration, rtt_slow: Duration, data: &DataView) -> Context {
    let [rtt_fast, rtt_slow] = [rtt_fast, rtt_slow].map(|rtt| rtt.as_secs_f64().max(1e-9));
    let [rate_fast, rate_slow] = [fast.window() as f64 / rtt_fast, slow.window() as f64 / rtt_slow];
    // From 0 to 1, a half if both are the same.
    let part = |one: f64, other: f64| if one > 0.0 { one / (one + other.max(0.0)) } else { 0.0 };
    let window = (data.position.saturating_sub(data.una) + data.window) as f64;
    let variation = slow.rttvar.map_or(0.5, |variation| variation.as_secs_f64() / rtt_slow);
    [
        1.0,
        part(rtt_slow, rtt_fast),
        part(rate_fast, rate_slow),
        // The time that the fast one needs for all, and a round trip of the slow one (ECF's question).
        part(data.unsent as f64 / rate_fast + rtt_fast, rtt_slow),
        // What the fast one sends during a round trip of the slow one, and the window (BLEST's).
        part(rate_fast * rtt_slow, window - slow.outstanding() as f64),
        variation.min(1.0),
    ]
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
        let context = context(&fast, &slow, fast.srtt.unwrap(), slow.srtt.unwrap(), &at(0));
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
        assert!(blank.epoch.is_none());
    }

    #[test]
    fn a_choice_holds_for_two_round_trips_and_is_judged_by_what_came_of_it() {
        let samples = Arc::new(Samples::default());
        let recorder: Arc<dyn Recorder> = samples.clone();
        let mut scheduler = Peekaboo::new(Learning { model: Model::default(), recorder: Some(recorder) });
        let chosen = if scheduler.pick(&pair(), &at(0)).is_none() { Arm::Wait } else { Arm::Use };
        assert_eq!(scheduler.pick(&pair(), &at(79)).is_none(), chosen == Arm::Wait);
        acknowledge(&mut scheduler, 79, 50_000);
        assert!(samples.0.lock().unwrap().is_empty());
        // 2 MB/s and 0.5 MB/s make 200,000 bytes in 80 ms.
        acknowledge(&mut scheduler, 80, 60_000);
        let first = samples.0.lock().unwrap()[0];
        assert_eq!((first.arm, (first.reward * 1000.0).round()), (chosen, 300.0));
        // Everything at hand is acknowledged after 20 ms: 40,000 of 50,000.
        let rest = DataView { position: 60_000, una: 60_000, unsent: 40_000, ..at(100) };
        scheduler.pick(&pair(), &rest);
        acknowledge(&mut scheduler, 120, 100_000);
        assert_eq!((samples.0.lock().unwrap()[1].reward * 1000.0).round(), 800.0);
    }

    #[test]
    fn the_weights_of_this_crate_can_be_read() {
        let model: Model = WEIGHTS.parse().unwrap();
        assert_eq!(model, *SHIPPED);
        assert!(Arm::ALL.iter().all(|arm| model.samples(*arm) > 100), "nobody has trained it");
    }
}
