//! The words of the scenario language as parameters of a pipe.

use std::time::Duration;

use super::ConditionsError;
use crate::link::{
    BitRate, Chance, CoDelConfig, Composition, DelayModel, DelayTrace, DeliveryOrder, DistTable, FourState,
    FqCoDelConfig, Framing, GilbertElliott, Jitter, Limit, LinkError, LossList, LossModel, LossTrace, LossUnit,
    MahimahiTrace, Periodic, PieConfig, PipeConfig, Probability, QueueConfig, RateModel, RateSteps, RedConfig, Reorder,
    StepConfig,
};
use crate::scenario::{self, Link, LinkSpec, RateSpec};

/// Losses of a pipe, all that a scenario says with `loss`.
#[derive(Clone, Debug, Default)]
pub(super) struct Losses {
    pub(super) models: Vec<LossModel>,
    pub(super) unit: LossUnit,
    pub(super) ecn: bool,
}

/// Conditions of one direction.
pub(super) fn pipe(link: &Link, spec: &LinkSpec) -> Result<PipeConfig, ConditionsError> {
    let Losses { models, unit, ecn } = losses(link, spec.loss.as_ref())?;
    let in_flight = matches!(spec.queue, scenario::Queue::DropTail { count_in_flight: true, .. });
    Ok(PipeConfig {
        composition: if in_flight { Composition::Netem } else { Composition::Wire },
        rate: rate(link, &spec.rate)?,
        framing: framing(spec.overhead),
        delay: DelayModel { base: spec.delay, ..jitter(spec.jitter.as_ref())? },
        loss: models,
        loss_unit: unit,
        loss_ecn: ecn,
        duplicate: chance(spec.duplicate),
        corrupt: chance(spec.corrupt),
        reorder: reorder(spec.reorder),
        mtu: Some(usize::from(link.mtu)),
        queue: queue(spec.queue),
    })
}

pub(super) fn framing(overhead: scenario::Size) -> Framing {
    // The scenario has 65535 bytes at most.
    Framing { overhead: i32::try_from(overhead.0).unwrap_or(i32::MAX), ..Framing::default() }
}

pub(super) fn rate(link: &Link, spec: &RateSpec) -> Result<Option<RateModel>, ConditionsError> {
    let model = match spec {
        RateSpec::Unlimited => return Ok(None),
        RateSpec::Constant(rate) => BitRate::new(rate.0).map(RateModel::Constant),
        RateSpec::Steps { steps, repeat } => {
            let mut at = Duration::ZERO;
            let starts: Vec<(Duration, u64)> = steps
                .iter()
                .map(|(lasts, rate)| {
                    let start = at;
                    at = at.saturating_add(*lasts);
                    (start, rate.0)
                })
                .collect();
            RateSteps::new(&starts, repeat.then_some(at)).map(RateModel::Steps)
        }
        RateSpec::Trace(file) => {
            Ok(RateModel::Trace(file.read("trace of delivery opportunities", MahimahiTrace::parse)?))
        }
    };
    model.map(Some).map_err(|error| link.wrong(error))
}

/// A delay without its middle.
pub(super) fn jitter(spec: Option<&scenario::Jitter>) -> Result<DelayModel, ConditionsError> {
    let Some(spec) = spec else { return Ok(DelayModel::default()) };
    let table = |table| Jitter::Distribution { scale: spec.amount, table };
    let jitter = match &spec.distribution {
        scenario::Distribution::Uniform => Jitter::Uniform(spec.amount),
        scenario::Distribution::Normal => table(DistTable::normal()),
        scenario::Distribution::Pareto => table(DistTable::pareto()),
        scenario::Distribution::ParetoNormal => table(DistTable::paretonormal()),
        scenario::Distribution::Table(file) => table(file.read("table of a distribution", DistTable::parse)?),
        scenario::Distribution::Trace(file) => Jitter::Trace(file.read("trace of delays", DelayTrace::parse)?),
    };
    let order = match spec.order {
        scenario::Order::AsNetem => DeliveryOrder::AsNetem,
        scenario::Order::Free => DeliveryOrder::Free,
        scenario::Order::Kept => DeliveryOrder::Kept,
    };
    Ok(DelayModel { base: Duration::ZERO, jitter, correlation: probability(spec.correlation), order })
}

pub(super) fn losses(link: &Link, spec: Option<&scenario::Loss>) -> Result<Losses, ConditionsError> {
    let Some(spec) = spec else { return Ok(Losses::default()) };
    let model = match &spec.model {
        scenario::LossModel::Trace { file } => LossModel::Trace(file.read("trace of losses", LossTrace::parse)?),
        model => loss_model(model).map_err(|error| link.wrong(error))?,
    };
    let unit = match spec.unit {
        scenario::LossUnit::Packet => LossUnit::Packet,
        scenario::LossUnit::Gso => LossUnit::Gso { cap: size(spec.burst.0), gap: spec.gap },
    };
    Ok(Losses { models: vec![model], unit, ecn: spec.ecn })
}

fn loss_model(model: &scenario::LossModel) -> Result<LossModel, LinkError> {
    use scenario::LossModel as Spec;
    Ok(match model {
        Spec::Random { p, correlation } => {
            LossModel::Random(chance(scenario::Chance { p: *p, correlation: *correlation }))
        }
        Spec::GilbertElliott { p, r, loss_bad, loss_good } => LossModel::GilbertElliott(GilbertElliott {
            to_bad: probability(*p),
            to_good: probability(*r),
            loss_in_bad: probability(*loss_bad),
            loss_in_good: probability(*loss_good),
        }),
        Spec::FourState { p13, p31, p32, p23, p14 } => {
            let [p13, p31, p32, p23, p14] = [p13, p31, p32, p23, p14].map(|p| probability(*p));
            LossModel::FourState(FourState::new(p13, p31, p32, p23, p14)?)
        }
        Spec::Periodic { every, length, first } => LossModel::Periodic(Periodic::new(*every, *length, *first)?),
        Spec::List { packets } => LossModel::List(LossList::new(packets)?),
        Spec::Trace { .. } => unreachable!("a trace is read by the caller"),
    })
}

pub(super) fn chance(spec: scenario::Chance) -> Chance {
    Chance { probability: probability(spec.p), correlation: probability(spec.correlation) }
}

pub(super) fn reorder(spec: Option<scenario::Reorder>) -> Reorder {
    spec.map_or_else(Reorder::default, |spec| Reorder {
        chance: chance(scenario::Chance { p: spec.p, correlation: spec.correlation }),
        // The scenario has 32 bits at most.
        gap: u32::try_from(spec.gap).unwrap_or(u32::MAX),
    })
}

pub(super) fn queue(spec: scenario::Queue) -> QueueConfig {
    use scenario::Queue as Spec;
    let packets = |packets: u64| Limit::packets(size(packets));
    match spec {
        Spec::DropTail { packets, bytes, count_in_flight: _ } => {
            QueueConfig::DropTail(Limit { packets: packets.map(size), bytes: bytes.map(|bytes| size(bytes.0)) })
        }
        Spec::Red { limit, min, max, probability: most, weight_log, packet_time, ecn } => QueueConfig::Red(RedConfig {
            min: size(min.0),
            max: size(max.0),
            max_probability: probability(most),
            // The scenario has 16 at most.
            weight_log: u32::try_from(weight_log).unwrap_or(u32::MAX),
            packet_time,
            limit: Limit::bytes(size(limit.0)),
            ecn,
        }),
        Spec::Codel { packets: limit, target, interval, ecn } => {
            QueueConfig::CoDel(CoDelConfig { target, interval, limit: packets(limit), ecn })
        }
        Spec::FqCodel { packets: limit, flows, quantum, target, interval, ecn } => {
            QueueConfig::FqCoDel(FqCoDelConfig {
                codel: CoDelConfig { target, interval, limit: packets(limit), ecn },
                flows: size(flows),
                quantum: size(quantum.0),
            })
        }
        Spec::Pie { packets: limit, target, tupdate, max_burst, ecn } => {
            QueueConfig::Pie(PieConfig { target, update: tupdate, max_burst, limit: packets(limit), ecn })
        }
        Spec::Step { packets: limit, mark } => {
            QueueConfig::Step(StepConfig { limit: packets(limit), mark: size(mark.0) })
        }
    }
}

/// Parts per 10^9 in the units of draws, rounded down: what sums to one at most does so afterwards.
pub(super) fn probability(spec: scenario::Probability) -> Probability {
    let bits = (u128::from(spec.0) << 63) / u128::from(scenario::Probability::ONE.0);
    Probability::from_bits(u64::try_from(bits).unwrap_or(u64::MAX))
}

/// The scenario's limits are all below 2^32, the length of what fits into the memory of any machine that runs this.
fn size(size: u64) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_that_sum_to_one_do_so_as_probabilities() {
        for percent in 0..=100 {
            let [one, other] =
                [percent, 100 - percent].map(|percent| probability(scenario::Probability(percent * 10_000_000)));
            assert!(one <= other.complement(), "{percent}");
        }
        assert_eq!(probability(scenario::Probability::ONE), Probability::ALWAYS);
    }
}
