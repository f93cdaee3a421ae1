//! Running a scenario.

pub(crate) mod census;
mod figures;
mod integrity;
mod observe;
pub(crate) mod rest;
mod sampler;
#[cfg(test)]
mod tests;
mod world;

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use mptcp_core::{ConfigError, Watch};
use tcp_adapter::Instant;

pub use figures::{Measures, amount_unit, amount_value};
pub use observe::{Observer, Sink};

use crate::conditions::ConditionsError;
use crate::results::{RunMeta, RunRecord, Unit};
use crate::scenario::Scenario;
use crate::traffic::{State, TrafficError};
pub(crate) use integrity::may_be_wrong;
use observe::Stop;
use sampler::Sampler;
use world::World;

/// What a run has left behind.
#[derive(Debug)]
pub struct Outcome {
    /// Series and figures for the report.
    pub record: RunRecord,
    /// Every metric of all traffic.
    pub measures: Measures,
    /// What happened, for speed: events and packets.
    pub effort: Effort,
    /// Connections that had an end and did not come to it, and what became of them.
    pub unfinished: Vec<(String, String)>,
}

/// How much was simulated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effort {
    /// Events of the engine.
    pub events: u64,
    /// Packets that hosts sent.
    pub packets: u64,
    /// Simulated time.
    pub time: Duration,
}

/// Why a scenario could not be run, or what went wrong that never may.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// A link cannot be as the scenario has it.
    #[error(transparent)]
    Conditions(#[from] ConditionsError),
    /// Traffic cannot be as the scenario has it.
    #[error(transparent)]
    Traffic(#[from] TrafficError),
    /// The stack of a host refuses its settings.
    #[error("host '{host}': {error}")]
    Host {
        /// The host.
        host: String,
        /// What the stack says.
        error: ConfigError,
    },
    /// Captures or events cannot be written.
    #[error("cannot write captures or events: {0}")]
    Output(#[from] io::Error),
    /// A defect: bytes arrived that nobody had sent.
    #[error("seed {seed}: {flow} delivered {wrong} bytes that were not those that were sent")]
    WrongBytes {
        /// Seed of the run.
        seed: u64,
        /// The connection.
        flow: String,
        /// How many.
        wrong: u64,
    },
    /// A defect: packets are missing in the books.
    #[error("seed {seed}: packets are unaccounted for")]
    Unaccounted {
        /// Seed of the run.
        seed: u64,
    },
    /// A defect: things happen without end while time stands still.
    #[error("time stands still at {at:?}")]
    Standstill {
        /// When.
        at: Instant,
    },
    /// Somebody wanted it to end.
    #[error("stopped")]
    Stopped,
}

/// Without a time of its own a run ends when nothing has arrived and no application has begun anything for so long, though connections are still open.
const PATIENCE: Duration = Duration::from_secs(900);

/// Runs a scenario that is no sweep, without captures or events.
///
/// # Errors
/// See [`RunError`].
pub fn run(scenario: &Scenario, seed: u64) -> Result<Outcome, RunError> {
    run_observed(scenario, meta(scenario, seed), Observer::with_series())
}

/// Runs a scenario that is no sweep for its figures: the record has no series.
///
/// # Errors
/// See [`RunError`].
pub fn run_for_figures(scenario: &Scenario, seed: u64) -> Result<Outcome, RunError> {
    run_observed(scenario, meta(scenario, seed), Observer::none())
}

/// What is known of a run before it starts.
pub fn meta(scenario: &Scenario, seed: u64) -> RunMeta {
    RunMeta {
        scenario: scenario.meta.name.clone(),
        variant: "run".to_owned(),
        seed,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        command: String::new(),
        parameters: BTreeMap::new(),
        assumptions: assumptions(scenario),
    }
}

/// Runs a scenario that is no sweep with the seed of `meta`.
///
/// # Errors
/// See [`RunError`].
pub fn run_observed(scenario: &Scenario, meta: RunMeta, mut observer: Observer) -> Result<Outcome, RunError> {
    let seed = meta.seed;
    observer.name(scenario);
    let learning = observer.learning.clone().unwrap_or_default();
    let mut world = World::new(scenario, seed, observer.captures(), learning)?;
    let watch = if observer.logs() { Watch::Everything } else { Watch::Exceptions };
    world.hosts.iter_mut().for_each(|host| host.stack.watch(watch));
    let mut sampler = Sampler::new(scenario, &mut world, observer.series);
    let end = simulate(scenario, &mut world, &mut sampler, &mut observer)?;
    world.catch_up(world.now);
    world.traffic.conclude(world.now, scenario.run.time.map(|time| Instant::ZERO + time));
    world.take_all_observations(&mut observer);
    sampler.count(&mut world);
    sampler.finish(&mut world, &mut observer);
    check(scenario, &world, seed)?;
    let measures = Measures::new(scenario, &world, &sampler);
    let effort =
        Effort { events: world.events, packets: world.network.counters().sent, time: world.now - Instant::ZERO };
    let mut record = sampler.into_record(scenario, &world, meta);
    record.counters = counters(&world);
    record.failed = world.traffic.failed();
    record.interrupted = end == End::Interrupted;
    if !record.interrupted {
        record.expectations = measures.expectations(scenario);
    }
    record.marks = std::mem::take(&mut observer.marks);
    observer.finish()?;
    let unfinished = world.traffic.unfinished();
    Ok(Outcome { record, measures, effort, unfinished })
}

/// How a run comes to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Of itself.
    Reached,
    /// Somebody wanted it to end before.
    Interrupted,
}

/// Lets happen what happens, until the end.
fn simulate(
    scenario: &Scenario,
    world: &mut World,
    sampler: &mut Sampler,
    observer: &mut Observer,
) -> Result<End, RunError> {
    let end = scenario.run.time.map(|time| Instant::ZERO + time);
    let (mut delivered, mut progress_at) = (0, Instant::ZERO);
    while let Some(next) = world.next().filter(|next| end.is_none_or(|end| *next <= end)) {
        if world.traffic.is_over() {
            return Ok(End::Reached);
        }
        // A sample shows what has happened up to its time.
        while sampler.next_at() < next {
            world.catch_up(sampler.next_at());
            sampler.sample(world, observer);
            let now = (0..scenario.traffic.len()).map(|traffic| world.traffic.delivered(traffic)).sum();
            let is_due_later = world.traffic.deadline().is_some_and(|at| at > world.now);
            if delivered != now || is_due_later {
                (delivered, progress_at) = (now, sampler.last_at());
            } else if end.is_none() && sampler.last_at() - progress_at > PATIENCE {
                world.now = sampler.last_at();
                return Ok(End::Reached);
            }
        }
        match observer.stop() {
            Some(Stop::GiveUp) => return Err(RunError::Stopped),
            Some(Stop::Keep) => {
                world.now = world.now.max(sampler.last_at());
                return Ok(End::Interrupted);
            }
            None => {}
        }
        if world.traffic.stops_by(next) {
            sampler.look_at_all(world, observer);
        }
        world.step(observer)?;
        sampler.count(world);
        if !world.traffic.ended.is_empty() {
            for flow in std::mem::take(&mut world.traffic.ended) {
                sampler.look_at(world, flow, observer);
            }
        }
    }
    world.now = end.unwrap_or(world.now);
    Ok(End::Reached)
}

/// What the scenario says, and how its report is to be read.
fn assumptions(scenario: &Scenario) -> Vec<String> {
    let mut all = scenario.meta.assumptions.clone();
    if scenario.run.warmup > Duration::ZERO {
        all.push(format!(
            "Latencies, expectations and sweeps leave out the first {}; totals and series of a run do not.",
            Unit::Seconds.format(scenario.run.warmup.as_secs_f64(), 4)
        ));
    }
    all
}

/// What must hold in every run.
fn check(scenario: &Scenario, world: &World, seed: u64) -> Result<(), RunError> {
    if !world.network.is_conserved() {
        return Err(RunError::Unaccounted { seed });
    }
    for flow in &world.traffic.flows {
        let wrong = flow.lanes.iter().map(|lane| lane.wrong()).sum();
        if wrong > 0 && !may_be_wrong(scenario, &scenario.traffic[flow.traffic], flow.fell_back()) {
            return Err(RunError::WrongBytes { seed, flow: flow.name.clone(), wrong });
        }
    }
    Ok(())
}

/// Counters that say something: those of the stacks that are not zero, and those of the run.
fn counters(world: &World) -> BTreeMap<String, u64> {
    let mut counters = BTreeMap::new();
    for host in &world.hosts {
        for (name, value) in host.stack.mib().iter().filter(|(_, value)| *value > 0) {
            counters.insert(format!("{} {name}", host.name()), value);
        }
        if host.ring_drops() > 0 {
            counters.insert(format!("{} ring drops", host.name()), host.ring_drops());
        }
    }
    for (name, dropped) in world.network.other_drops() {
        counters.insert(format!("{name} drops"), dropped);
    }
    let failed =
        world.traffic.flows.iter().filter(|flow| matches!(flow.state(), State::Failed(_) | State::Replaced)).count();
    counters.insert("connections failed".to_owned(), failed as u64);
    counters.insert("packets sent".to_owned(), world.network.counters().sent);
    if world.network.counters().unroutable > 0 {
        counters.insert("packets without a route".to_owned(), world.network.counters().unroutable);
    }
    counters
}
