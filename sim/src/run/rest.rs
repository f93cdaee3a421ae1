//! Running a scenario beyond the end of its traffic, until nothing moves any more.

use std::time::Duration;

use mptcp_core::Mib;
use mptcp_core::scheduler::Learning;
use tcp_adapter::Instant;

use super::census::{Census, Seen};
use super::sampler::Sampler;
use super::world::World;
use super::{Effort, Observer, RunError, simulate};
use crate::host::Host;
use crate::scenario::Scenario;
use crate::traffic::{Flow, State};

/// What is left when nothing moves any more.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) flows: Vec<FlowEnd>,
    pub(crate) hosts: Vec<HostRest>,
    /// Whose books of packets are wrong, be it when the traffic is over or at the end.
    pub(crate) unbalanced: Option<String>,
    /// Packets that are still on links.
    pub(crate) under_way: u64,
    pub(crate) effort: Effort,
}

/// How a connection ended.
#[derive(Debug)]
pub(crate) struct FlowEnd {
    /// Index in [`Scenario::traffic`].
    pub(crate) traffic: usize,
    pub(crate) name: String,
    pub(crate) state: State,
    /// Both ways.
    pub(crate) delivered: u64,
    /// The longest time in which something was under way and nothing arrived, of either direction.
    pub(crate) stall: Duration,
    /// Bytes that were not those that were sent.
    pub(crate) wrong: u64,
    pub(crate) fell_back: bool,
    /// It has had a second subflow.
    pub(crate) joined: bool,
}

/// What a host still has of its connections.
#[derive(Debug)]
pub(crate) struct HostRest {
    pub(crate) name: String,
    pub(crate) memory: usize,
    pub(crate) tables: (usize, usize, usize),
    /// Its stack still waits for something.
    pub(crate) timer: bool,
    /// What it has counted, and what the network has seen.
    pub(crate) mib: Mib,
    pub(crate) seen: Seen,
}

/// Events of a run, beyond which it is taken to have run away.
const MOST_EVENTS: u64 = 20_000_000;

/// Runs a scenario until its traffic is over, closes what is open, and gives it `patience` to come to rest.
///
/// # Errors
/// See [`RunError`].
pub(crate) fn run_to_rest(scenario: &Scenario, seed: u64, patience: Duration) -> Result<Outcome, RunError> {
    let mut observer = Observer::none();
    observer.census = Some(Census::new(scenario.hosts.len()));
    let mut world = World::new(scenario, seed, true, Learning::default())?;
    world.most_events = MOST_EVENTS;
    let mut sampler = Sampler::new(scenario, &mut world, false);
    simulate(scenario, &mut world, &mut sampler, &mut observer)?;
    let unbalanced = world.network.unbalanced().map(str::to_owned);
    let flows = world.traffic.flows.iter().map(|flow| flow_end(flow, world.now)).collect();
    let time = world.now - Instant::ZERO;
    world.traffic.close_all(world.now, &mut world.hosts);
    world.wake_hosts();
    let end = world.now + patience;
    while world.next().is_some_and(|next| next <= end) && !is_at_rest(&mut world) {
        world.step(&mut observer)?;
    }
    world.catch_up(world.now);
    let seen = observer.census.take().map(Census::into_hosts).unwrap_or_default();
    let effort = Effort { events: world.events, packets: world.network.counters().sent, time };
    Ok(Outcome {
        flows,
        unbalanced: unbalanced.or_else(|| world.network.unbalanced().map(str::to_owned)),
        under_way: world.network.in_flight(),
        hosts: world.hosts.iter_mut().zip(seen).map(|(host, seen)| host_rest(host, seen)).collect(),
        effort,
    })
}

fn flow_end(flow: &Flow, now: Instant) -> FlowEnd {
    FlowEnd {
        traffic: flow.traffic,
        name: flow.name.clone(),
        state: flow.state(),
        delivered: flow.delivered(),
        stall: flow.lanes.iter().map(|lane| lane.longest_stall(now)).max().unwrap_or_default(),
        wrong: flow.lanes.iter().map(|lane| lane.wrong()).sum(),
        fell_back: flow.fell_back(),
        joined: flow.joined(),
    }
}

fn host_rest(host: &mut Host, seen: Seen) -> HostRest {
    HostRest {
        name: host.name().to_owned(),
        memory: host.stack.memory_held(),
        tables: host.stack.table_sizes(),
        timer: host.stack.poll_timeout().is_some(),
        mib: host.stack.mib().clone(),
        seen,
    }
}

fn is_at_rest(world: &mut World) -> bool {
    let idle = |host: &mut Host| {
        host.stack.table_sizes() == (0, 0, 0) && host.stack.memory_held() == 0 && host.stack.poll_timeout().is_none()
    };
    world.network.in_flight() == 0 && world.hosts.iter_mut().all(idle)
}
