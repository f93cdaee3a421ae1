//! What the metrics of a scenario come to.

use std::collections::BTreeSet;
use std::time::Duration;

use tcp_adapter::Instant;

use super::sampler::Sampler;
use super::world::World;
use crate::link::{Pipe, PipeStats};
use crate::network;
use crate::results::{self, Unit, significant};
use crate::scenario::{
    Amount, Bound, Dimension, Expectation, Metric, Rate, Scenario, Share, Size, Traffic, Transport, Work,
};
use crate::traffic::{Figures, Flow, State};

/// Parts of a whole in a [`Share`].
const WHOLE: u128 = 1_000_000_000;

/// Every metric of all traffic of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measures {
    /// By traffic, in the order of the file.
    traffic: Vec<(String, Vec<(Metric, Amount)>)>,
}

impl Measures {
    pub(super) fn new(scenario: &Scenario, world: &World, sampler: &Sampler) -> Self {
        let measure = |(index, traffic): (usize, &Traffic)| {
            let of = Of { scenario, world, sampler, traffic, index };
            let amounts = Metric::ALL.iter().copied().filter_map(|metric| Some((metric, of.amount(metric)?)));
            (traffic.name.clone(), amounts.collect())
        };
        Self { traffic: scenario.traffic.iter().enumerate().map(measure).collect() }
    }

    /// A metric of some traffic; `None` if the run did not give it.
    pub fn get(&self, metric: Metric, of: &str) -> Option<Amount> {
        let (_, amounts) = self.traffic.iter().find(|(name, _)| name == of)?;
        amounts.iter().find(|(known, _)| *known == metric).map(|(_, amount)| *amount)
    }

    /// Names of all traffic, in the order of the file.
    pub fn traffic(&self) -> impl Iterator<Item = &str> {
        self.traffic.iter().map(|(name, _)| name.as_str())
    }

    /// Whether the expectations of the scenario have come true.
    pub fn expectations(&self, scenario: &Scenario) -> Vec<results::Expectation> {
        scenario.expect.iter().map(|expectation| self.judge(expectation)).collect()
    }

    fn judge(&self, expectation: &Expectation) -> results::Expectation {
        let Expectation { metric, of, min, max, equals, tolerance, .. } = expectation;
        let found = self.get(*metric, of);
        let like = [equals, min, max].into_iter().flatten().next();
        let mut conditions = Vec::new();
        let mut passed = found.is_some();
        let value = found.map_or(0, amount_number);
        if let Some(min) = min {
            conditions.push(format!(">= {min}"));
            passed &= value >= amount_number(min.amount);
        }
        if let Some(max) = max {
            conditions.push(format!("<= {max}"));
            passed &= value <= amount_number(max.amount);
        }
        if let Some(equals) = equals {
            let exact = tolerance.0 == 0;
            conditions.push(if exact { format!("= {equals}") } else { format!("= {equals} ± {tolerance}") });
            let target = amount_number(equals.amount);
            passed &= (value - target).abs() * WHOLE as i128 <= target.abs() * i128::from(tolerance.0);
        }
        let found = found.map_or_else(|| "nothing".to_owned(), |amount| amount_text(*metric, amount, like));
        let wanted = format!("{metric} of {of} {}", conditions.join(" and "));
        results::Expectation { wanted, found, passed }
    }
}

/// A metric's value as a number in the unit that [`amount_unit`] names.
pub fn amount_value(amount: Amount) -> f64 {
    match amount {
        Amount::Rate(Rate(bits)) => bits as f64,
        Amount::Time(time) => time.as_nanos() as f64 / 1e9,
        Amount::Size(Size(bytes)) => bytes as f64,
        Amount::Share(Share(parts)) => parts as f64 / WHOLE as f64,
        Amount::Count(thousandths) => thousandths as f64 / 1000.0,
    }
}

/// The unit of a metric.
pub fn amount_unit(metric: Metric) -> Unit {
    match metric.dimension() {
        Dimension::Rate => Unit::BitsPerSecond,
        Dimension::Time => Unit::Seconds,
        Dimension::Size => Unit::Bytes,
        Dimension::Share => Unit::Fraction,
        Dimension::Count => Unit::Count,
    }
}

/// An amount in the unit of that which it is compared with.
fn amount_text(metric: Metric, amount: Amount, like: Option<&Bound>) -> String {
    match like.and_then(Bound::unit) {
        Some((unit, one)) => format!("{} {unit}", significant(amount_number(amount) as f64 / one as f64, 5)),
        None => amount_unit(metric).format(amount_value(amount), 5),
    }
}

/// Exact, for comparisons.
fn amount_number(amount: Amount) -> i128 {
    match amount {
        Amount::Rate(Rate(bits)) => i128::from(bits),
        Amount::Time(time) => i128::try_from(time.as_nanos()).unwrap_or(i128::MAX),
        Amount::Size(Size(bytes)) => i128::from(bytes),
        Amount::Share(Share(parts)) => i128::from(parts),
        Amount::Count(thousandths) => i128::from(thousandths),
    }
}

/// Some traffic and all that is known of it.
struct Of<'a> {
    scenario: &'a Scenario,
    world: &'a World,
    sampler: &'a Sampler,
    traffic: &'a Traffic,
    index: usize,
}

impl Of<'_> {
    fn amount(&self, metric: Metric) -> Option<Amount> {
        let figures = self.figures();
        let latency = |percent: f64| self.latency(|latency| latency.percentile(percent));
        match metric {
            Metric::Goodput => self.goodput().map(|bits| Amount::Rate(Rate(bits))),
            Metric::Utilisation => self.utilisation(),
            Metric::Completion => self.completion().map(Amount::Time),
            Metric::Delivered => Some(Amount::Size(Size(self.delivered()))),
            Metric::RequestsPerSecond => {
                let thousandths = u128::from(figures.requests()) * 1000 * 1_000_000_000;
                let per_second = thousandths.checked_div(self.duration()?.as_nanos())?;
                (figures.requests() > 0).then(|| Amount::Count(i64::try_from(per_second).unwrap_or(i64::MAX)))
            }
            Metric::LatencyMean => self.latency(|latency| Some(latency.mean())),
            Metric::LatencyP50 => latency(50.0),
            Metric::LatencyP90 => latency(90.0),
            Metric::LatencyP99 => latency(99.0),
            Metric::LatencyP999 => latency(99.9),
            Metric::LatencyMax => latency(100.0),
            Metric::DeadlineMet => figures.deadlines().map(|(met, all)| share(met, all)),
            Metric::LongestStall => {
                let lanes = self.flows().flat_map(|flow| &flow.lanes);
                lanes.map(|lane| lane.longest_stall(self.world.now)).max().map(Amount::Time)
            }
            Metric::Retransmissions => Some(count(self.sampler.retransmissions(self.world, self.index))),
            Metric::Reinjections => {
                let multipath = self.traffic.transport == Transport::Mptcp;
                multipath.then(|| count(self.sampler.reinjections(self.world, self.index)))
            }
            // What is carried is more than data, and counted otherwise.
            Metric::Duplicates if matches!(self.traffic.work, Work::Nvme(_)) => None,
            Metric::Duplicates => {
                let delivered = self.world.traffic.delivered(self.index);
                let carried = self.sampler.carried(self.world, self.index);
                (delivered > 0).then(|| share(carried.saturating_sub(delivered), delivered))
            }
            Metric::ReorderBuffer => Some(Amount::Size(Size(figures.most_out_of_order))),
            Metric::Drops => Some(count(self.pipes().map(|stats| stats.dropped_total().packets).sum())),
            Metric::QueueDelay => self.pipes().map(|stats| stats.longest_wait).max().map(Amount::Time),
        }
    }

    fn figures(&self) -> &Figures {
        &self.world.traffic.figures[self.index]
    }

    fn flows(&self) -> impl Iterator<Item = &Flow> {
        self.world.traffic.flows_of(self.index)
    }

    /// Bytes that arrived after the warm-up.
    fn delivered(&self) -> u64 {
        self.world.traffic.delivered(self.index) - self.figures().delivered_before
    }

    /// The flows that have kept their work.
    fn lasting(&self) -> impl Iterator<Item = &Flow> {
        self.flows().filter(|flow| flow.state() != State::Replaced)
    }

    fn started(&self) -> Option<Instant> {
        self.flows().filter_map(Flow::opened).min()
    }

    /// From the start or the end of the warm-up to the end.
    fn interval(&self) -> Option<(Instant, Instant)> {
        let start = self.started()?.max(Instant::ZERO + self.scenario.run.warmup);
        let ends = self.lasting().map(|flow| flow.completed().unwrap_or(self.world.now));
        Some((start, ends.max()?)).filter(|(start, end)| end > start)
    }

    fn duration(&self) -> Option<Duration> {
        self.interval().map(|(start, end)| end - start)
    }

    fn goodput(&self) -> Option<u64> {
        let bits = u128::from(self.delivered()) * 8 * 1_000_000_000;
        bits.checked_div(self.duration()?.as_nanos()).map(|bits| u64::try_from(bits).unwrap_or(u64::MAX))
    }

    fn completion(&self) -> Option<Duration> {
        let complete = |flow: &Flow| flow.completed().filter(|_| flow.state() == State::Complete);
        let ends: Option<Vec<Instant>> = self.lasting().map(complete).collect();
        Some(ends?.into_iter().max()? - self.started()?)
    }

    fn latency(&self, figure: impl Fn(&results::Latency) -> Option<Duration>) -> Option<Amount> {
        let latency = self.figures().latency();
        (latency.count() > 0).then(|| figure(latency)).flatten().map(Amount::Time)
    }

    /// What arrived as a share of what the slowest links on the ways could have carried meanwhile, each counted once.
    fn utilisation(&self) -> Option<Amount> {
        let used = |lane: usize| self.flows().any(|flow| flow.lanes[lane].is_used());
        let mut slowest = BTreeSet::new();
        for ways in network::usable_ways(self.scenario, self.traffic) {
            for (_, way) in ways.iter().enumerate().filter(|(lane, _)| used(*lane)) {
                let capacities = way.iter().filter_map(|hop| {
                    let pipe = 2 * hop.link + usize::from(!hop.up);
                    Some((self.capacity(pipe)?, pipe))
                });
                slowest.insert(capacities.min()?);
            }
        }
        let sum: u128 = slowest.iter().map(|(bits, _)| u128::from(*bits)).sum();
        let parts = (u128::from(self.delivered()) * 8 * WHOLE).checked_div(sum)?;
        Some(Amount::Share(Share(i64::try_from(parts).unwrap_or(i64::MAX))))
    }

    /// Bits that a direction of a link could have carried in the time that goodput is of: none while it was down or a black hole. `None` without a
    /// rate.
    fn capacity(&self, pipe: usize) -> Option<u64> {
        let (start, end) = self.interval()?;
        let pipe = self.world.network.link_pipe(pipe);
        Some(pipe.capacity(end)?.saturating_sub(pipe.capacity(start)?))
    }

    /// The books of the links that the traffic may use, both ways, and of the transmit rings before them.
    fn pipes(&self) -> impl Iterator<Item = PipeStats> {
        let links = network::links(self.scenario, self.traffic);
        let pipes = links.into_iter().flat_map(|link| [2 * link, 2 * link + 1]);
        let network = &self.world.network;
        let stats = |pipe: usize| [Some(network.link_pipe(pipe)), network.ring_before(pipe)];
        pipes.flat_map(stats).flatten().map(Pipe::stats)
    }
}

fn count(number: u64) -> Amount {
    Amount::Count(i64::try_from(number).unwrap_or(i64::MAX).saturating_mul(1000))
}

fn share(part: u64, whole: u64) -> Amount {
    let parts = (u128::from(part) * WHOLE).checked_div(u128::from(whole)).unwrap_or(0);
    Amount::Share(Share(i64::try_from(parts).unwrap_or(i64::MAX)))
}

#[cfg(test)]
mod tests;
