//! Everything that exists in a run, and what happens next.

use std::collections::VecDeque;

use mptcp_core::Observation;
use mptcp_core::scheduler::Learning;
use tcp_adapter::{Frame, Instant, InterfaceId};

use super::{Observer, RunError};
use crate::engine::Agenda;
use crate::host::{Host, Side};
use crate::network::{Arrival, Network, NetworkContext};
use crate::packet::Boxes;
use crate::random::Streams;
use crate::scenario::Scenario;
use crate::traffic::TrafficSet;

/// Hosts, network and traffic. What happens at the same instant happens in this order: links change, packets leave
/// pipes, applications act, hosts work.
pub(super) struct World {
    pub(super) now: Instant,
    pub(super) hosts: Vec<Host>,
    pub(super) network: Network,
    pub(super) traffic: TrafficSet,
    /// What the stacks, if they are watched, have told of ends of flows since somebody looked here, as far as figures count it.
    pub(super) observed: Vec<(usize, Side, Observation)>,
    agenda: Agenda,
    /// The slot of the traffic in the agenda: those of the network come before it, those of the hosts behind it.
    traffic_slot: usize,
    /// Things that have happened.
    pub(super) events: u64,
    /// More of them are taken for a run that has run away.
    pub(super) most_events: u64,
    /// How many of them at this instant.
    events_now: u64,
    arrivals: VecDeque<Arrival>,
    /// What the host sends whose turn it is.
    frames: VecDeque<(InterfaceId, Box<Frame>)>,
    boxes: Boxes,
    touched: Vec<usize>,
}

/// Events at one instant beyond which time is taken to stand still: a defect, and better told than waited for.
const STANDSTILL: u64 = 10_000_000;

impl World {
    /// `looked_at` if somebody looks at packets, or has their checksums computed for their own sake.
    pub(super) fn new(scenario: &Scenario, seed: u64, looked_at: bool, learning: Learning) -> Result<Self, RunError> {
        let streams = Streams::new(seed);
        let mut network = Network::new(scenario, streams, 0)?;
        let mut hosts = Vec::with_capacity(scenario.hosts.len());
        for host in &scenario.hosts {
            let made = Host::new(scenario, host, streams, looked_at, learning.clone());
            hosts.push(made.map_err(|error| RunError::Host { host: host.name.clone(), error })?);
        }
        let traffic = TrafficSet::new(scenario, streams, &mut hosts, &mut network)?;
        let traffic_slot = network.slots();
        let mut agenda = Agenda::new(traffic_slot + 1 + hosts.len());
        network.schedule(&mut agenda);
        let mut world = Self {
            now: Instant::ZERO,
            hosts,
            network,
            traffic,
            observed: Vec::new(),
            agenda,
            traffic_slot,
            events: 0,
            most_events: u64::MAX,
            events_now: 0,
            arrivals: VecDeque::new(),
            frames: VecDeque::new(),
            boxes: Boxes::default(),
            touched: Vec::new(),
        };
        world.schedule_traffic();
        Ok(world)
    }

    /// When something happens next.
    pub(super) fn next(&self) -> Option<Instant> {
        self.agenda.earliest()
    }

    /// Has what nobody has waited for happen up to `at`, a time before the next thing that somebody waits for.
    pub(super) fn catch_up(&mut self, at: Instant) {
        self.now = self.now.max(self.network.catch_up(at));
    }

    /// Has every host look at once at what there is to do.
    pub(super) fn wake_hosts(&mut self) {
        for index in 0..self.hosts.len() {
            self.hurry_host(index);
        }
    }

    /// Has every host tell what its stack has noted and nobody has asked for yet.
    pub(super) fn take_all_observations(&mut self, observer: &mut Observer) {
        for index in 0..self.hosts.len() {
            self.take_observations(index, observer);
        }
    }

    #[inline]
    fn take_observations(&mut self, index: usize, observer: &mut Observer) {
        while let Some(observation) = self.hosts[index].stack.poll_observation() {
            self.take_observation(index, observation, observer);
        }
    }

    /// Not part of [`take_observations`](Self::take_observations), which mostly finds none.
    #[inline(never)]
    fn take_observation(&mut self, index: usize, observation: Observation, observer: &mut Observer) {
        let host = &self.hosts[index];
        let Some((flow, side)) = host.end_of(&observation) else { return };
        observer.observed(self.now, host.name(), &self.traffic.flows[flow].name, &observation);
        if matches!(observation, Observation::Reinjected { .. } | Observation::SubflowGone { .. }) {
            self.observed.push((flow, side, observation));
        }
    }

    /// Does the one thing that happens next.
    pub(super) fn step(&mut self, observer: &mut Observer) -> Result<(), RunError> {
        let Some((at, slot)) = self.agenda.next() else { return Ok(()) };
        if at > self.now {
            self.now = at;
            self.events_now = 0;
        }
        self.events += 1;
        self.events_now += 1;
        if self.events_now > STANDSTILL || self.events > self.most_events {
            return Err(RunError::Standstill { at: self.now });
        }
        if slot < self.traffic_slot {
            let cx =
                &mut NetworkContext { now: self.now, agenda: &mut self.agenda, observer, arrivals: &mut self.arrivals };
            self.network.work(slot, cx);
            self.hand_over();
            while let Some(change) = self.network.carrier_changes.pop_front() {
                self.hosts[change.host].carrier(self.now, change);
                self.hurry_host(change.host);
            }
        } else if slot == self.traffic_slot {
            self.traffic.work(self.now, &mut self.hosts, &mut self.touched);
            while let Some(host) = self.touched.pop() {
                self.hurry_host(host);
            }
            self.schedule_traffic();
        } else {
            self.host(slot - self.traffic_slot - 1, observer);
        }
        Ok(())
    }

    /// Gives packets to the hosts that they have reached.
    #[inline]
    fn hand_over(&mut self) {
        while let Some(arrival) = self.arrivals.pop_front() {
            self.hand_over_one(arrival);
        }
    }

    /// Not part of [`hand_over`](Self::hand_over), which finds nothing at every other call.
    #[inline(never)]
    fn hand_over_one(&mut self, Arrival { host, interface, frame }: Arrival) {
        self.hosts[host].receive(self.now, interface, frame, &mut self.boxes);
        self.hurry_host(host);
    }

    /// Has a host work at once.
    fn hurry_host(&mut self, index: usize) {
        self.agenda.hurry(self.traffic_slot + 1 + index, self.now);
    }

    /// Lets a host work: receive, serve its applications, send.
    fn host(&mut self, index: usize, observer: &mut Observer) {
        let now = self.now;
        let host = &mut self.hosts[index];
        let mut send = |interface, frame| self.frames.push_back((interface, frame));
        host.give_ready(now, &mut send);
        if host.holds_back() {
            for (interface, bytes) in self.network.rings(index) {
                host.tell_ring(interface, bytes);
            }
        }
        if host.take_in(now, &mut self.boxes) {
            while let Some(frame) = host.poll_datagram() {
                self.traffic.take_datagram(now, index, &frame);
            }
            while let Some(event) = host.poll_event() {
                self.traffic.serve(now, event, host);
            }
            host.give_out(now, &mut self.boxes, &mut send);
            self.take_observations(index, observer);
        }
        let cx = &mut NetworkContext { now, agenda: &mut self.agenda, observer, arrivals: &mut self.arrivals };
        while let Some((interface, frame)) = self.frames.pop_front() {
            if let Some(answer) = self.network.send(index, interface, frame, cx) {
                self.hosts[index].stack.handle_frame(now, interface, answer);
            }
        }
        self.hand_over();
        let deadline = self.hosts[index].deadline(now);
        self.agenda.set(self.traffic_slot + 1 + index, deadline);
        self.schedule_traffic();
    }

    /// Puts the deadline of the traffic into the agenda, if it is another.
    fn schedule_traffic(&mut self) {
        if std::mem::take(&mut self.traffic.is_rescheduled) {
            self.agenda.set(self.traffic_slot, self.traffic.deadline());
        }
    }
}
