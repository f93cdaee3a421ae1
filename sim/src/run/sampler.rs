//! Series of a run, and the last state of everything.

use std::net::SocketAddr;

use mptcp_core::{Observation, SubflowId, SubflowInfo, SubflowTotals};
use tcp_adapter::Instant;

use super::Observer;
use super::world::World;
use crate::host::Side;
use crate::link::{DropReason, Pipe};
use crate::network::link_of;
use crate::results::{
    ConnectionRecord, ConnectionSample, Event, LatencyRecord, LatencySample, LinkRecord, LinkSample, RunMeta,
    RunRecord, SampleClock, Samples, SubflowRecord, SubflowSample,
};
use crate::scenario::{Link, MOST_SERIES, Scenario};
use crate::traffic::{Figures, Flow, State};

/// Takes samples at fixed times.
pub(super) struct Sampler {
    interval: std::time::Duration,
    /// Samples that have been taken.
    taken: usize,
    /// When the next sample is.
    next_at: Instant,
    /// Whether series are kept at all.
    series: bool,
    flows: Vec<FlowSeries>,
    links: Vec<LinkRecord>,
    /// By traffic; none of that without latencies.
    latencies: Vec<Samples<LatencySample>>,
    scenario_links: Vec<Link>,
}

/// Both directions of a flow.
#[derive(Default)]
struct FlowSeries {
    lanes: [LaneSeries; 2],
    /// Stretches of data that its ends have sent again on another subflow.
    reinjections: u64,
}

#[derive(Default)]
struct LaneSeries {
    samples: Samples<ConnectionSample>,
    last: ConnectionSample,
    subflows: Vec<SubflowSeries>,
    /// Receiving ends of subflows that were gone before it was known whose they are.
    unclaimed: Vec<Received>,
}

/// What has arrived at the receiving end of a subflow that is gone.
struct Received {
    id: SubflowId,
    /// As the receiver sees them: its own address and port and the other.
    ends: [SocketAddr; 2],
    bytes: u64,
}

struct SubflowSeries {
    id: SubflowId,
    /// As the sender sees them: its own address and port and the other.
    ends: [SocketAddr; 2],
    /// What the receiver calls it, if it was seen there.
    peer: Option<SubflowId>,
    /// The receiving end is gone: nothing more arrives.
    is_received: bool,
    path: String,
    samples: Samples<SubflowSample>,
    last: SubflowSample,
    /// The last word of its state.
    state: String,
    /// Whether it was there when it was looked for last.
    is_there: bool,
    /// Whether a sample says that it is not.
    is_told_gone: bool,
}

impl Sampler {
    /// Has the traffic keep latencies for its samples if there are to be `series`.
    pub(super) fn new(scenario: &Scenario, world: &mut World, series: bool) -> Self {
        if series {
            world.traffic.figures.iter_mut().for_each(Figures::keep_recent);
        }
        let link = |name: &str| LinkRecord {
            name: name.to_owned(),
            samples: Samples::default(),
            longest_queue: 0,
            drops: std::collections::BTreeMap::new(),
        };
        Self {
            interval: scenario.report.interval,
            taken: 0,
            next_at: Instant::ZERO,
            series,
            flows: world.traffic.flows.iter().map(|_| FlowSeries::default()).collect(),
            links: world.network.link_names().map(link).collect(),
            latencies: vec![Samples::default(); scenario.traffic.len()],
            scenario_links: scenario.links.clone(),
        }
    }

    /// When the next sample is.
    pub(super) fn next_at(&self) -> Instant {
        self.next_at
    }

    /// When the last sample was.
    pub(super) fn last_at(&self) -> Instant {
        self.time_of(self.taken.saturating_sub(1))
    }

    fn time_of(&self, index: usize) -> Instant {
        SampleClock { interval: self.interval, end: Instant::from_nanos(u64::MAX) }.time(index)
    }

    /// Takes the sample that is next.
    pub(super) fn sample(&mut self, world: &mut World, observer: &mut Observer) {
        self.sample_at(self.next_at(), world, observer);
    }

    fn sample_at(&mut self, at: Instant, world: &mut World, observer: &mut Observer) {
        if self.series {
            for (samples, figures) in self.latencies.iter_mut().zip(&mut world.traffic.figures) {
                push_latency(samples, self.taken, figures.sample());
            }
            for (index, record) in self.links.iter_mut().enumerate() {
                push_link(record, world.network.link_pipe(index), at);
            }
        }
        // Also for figures alone: addresses that are translated on the way are matched while both ends are there.
        for number in 0..self.flows.len().min(MOST_SERIES) {
            if world.traffic.flows[number].opened().is_some() {
                self.look_at(world, number, observer);
                if self.series {
                    self.push_flow(&world.traffic.flows[number], number);
                }
            }
        }
        self.taken += 1;
        self.next_at = self.time_of(self.taken);
    }

    /// Notes the state of all flows that are under way: some are about to be stopped.
    pub(super) fn look_at_all(&mut self, world: &World, observer: &mut Observer) {
        for number in 0..self.flows.len() {
            let flow = &world.traffic.flows[number];
            if flow.opened().is_some() && !flow.is_over() {
                self.look_at(world, number, observer);
            }
        }
    }

    /// Notes the state of a flow.
    pub(super) fn look_at(&mut self, world: &World, number: usize, observer: &mut Observer) {
        let flow = &world.traffic.flows[number];
        for sender in [Side::Client, Side::Server] {
            let lane = &flow.lanes[sender.index()];
            if !lane.is_used() {
                continue;
            }
            let series = &mut self.flows[number].lanes[sender.index()];
            series.last.delivered = lane.delivered();
            (series.last.reorder, series.last.window) = (0, 0);
            series.subflows.iter_mut().for_each(|subflow| subflow.is_there = false);
            let infos = |side: Side| {
                let host = &world.hosts[flow.plan.hosts[side.index()]];
                flow.conn(side).map(|conn| (host.stack.info(conn), host.stack.subflows(conn)))
            };
            let receiver = infos(sender.other());
            if let Some((Some(info), _)) = &receiver {
                series.last.reorder = info.out_of_order as u64;
                series.last.window = info.recv_window;
            }
            let host = world.hosts[flow.plan.hosts[sender.index()]].name();
            let (_, sending) = infos(sender).unwrap_or_default();
            let receiving = receiver.map(|(_, subflows)| subflows).unwrap_or_default();
            for (index, info) in sending.iter().enumerate() {
                let peer = peer_of(index, &sending, &receiving);
                let ends = [info.local, info.remote];
                let subflow = series.subflow(info.id, ends, self.taken, || path_of(&self.scenario_links, sender, ends));
                subflow.update(world.now, [host, &flow.name], info, peer, observer);
            }
            for gone in series.subflows.iter_mut().filter(|subflow| !subflow.is_there) {
                // The receiver may not have noticed yet, and what is on the way still arrives.
                if let Some(peer) = receiving.iter().find(|peer| gone.is_seen_as(peer)) {
                    gone.hear(peer);
                }
                gone.leave(world.now, [host, &flow.name], observer);
            }
        }
    }

    /// Counts what the stacks have told of flows: what subflows that are gone have done in all, and re-injections.
    #[inline]
    pub(super) fn count(&mut self, world: &mut World) {
        // Asked after each thing that happens, and rarely told anything.
        if !world.observed.is_empty() {
            self.count_observed(world);
        }
    }

    #[cold]
    #[inline(never)]
    fn count_observed(&mut self, world: &mut World) {
        for (number, side, observation) in std::mem::take(&mut world.observed) {
            match observation {
                Observation::Reinjected { .. } => self.flows[number].reinjections += 1,
                Observation::SubflowGone { subflow, local, remote, totals, .. } => {
                    let is_used = |side: Side| world.traffic.flows[number].lanes[side.index()].is_used();
                    let (ends, lanes) = ([local, remote], &mut self.flows[number].lanes);
                    if is_used(side) {
                        let path = || path_of(&self.scenario_links, side, ends);
                        lanes[side.index()].subflow(subflow, ends, self.taken, path).take_totals(&totals);
                    }
                    if is_used(side.other()) {
                        let received = Received { id: subflow, ends, bytes: totals.bytes_received };
                        lanes[side.other().index()].receive(received);
                    }
                }
                _ => {}
            }
        }
    }

    /// Takes the last sample.
    pub(super) fn finish(&mut self, world: &mut World, observer: &mut Observer) {
        let clock = self.clock(world);
        for number in 0..self.flows.len() {
            // What is over for the application may still have repeated something.
            if world.traffic.flows[number].opened().is_some() {
                self.look_at(world, number, observer);
            }
        }
        self.flows.iter_mut().flat_map(|flow| &mut flow.lanes).for_each(LaneSeries::claim_rest);
        while self.series && self.taken < clock.len() {
            self.sample_at(clock.time(self.taken), world, observer);
        }
        if !self.series {
            for (index, record) in self.links.iter_mut().enumerate() {
                record.samples.first = clock.len() - 1;
                push_link(record, world.network.link_pipe(index), world.now);
            }
        }
        for flow in self.flows.iter_mut().skip(if self.series { MOST_SERIES } else { 0 }) {
            flow.lanes.iter_mut().for_each(|lane| lane.push_last(clock.len() - 1));
        }
    }

    fn clock(&self, world: &World) -> SampleClock {
        SampleClock { interval: self.interval, end: world.now }
    }

    fn push_flow(&mut self, flow: &Flow, number: usize) {
        let taken = self.taken;
        for (lane, series) in flow.lanes.iter().zip(&mut self.flows[number].lanes) {
            if lane.is_used() {
                series.push(taken);
            }
        }
    }

    /// Segments that were sent again by all flows of some traffic.
    pub(super) fn retransmissions(&self, world: &World, traffic: usize) -> u64 {
        self.last_of(world, traffic).map(|last| last.retransmissions).sum()
    }

    /// Stretches of data that the connections of some traffic have sent again on another subflow.
    pub(super) fn reinjections(&self, world: &World, traffic: usize) -> u64 {
        let flows = self.flows.iter().zip(&world.traffic.flows).filter(|(_, flow)| flow.traffic == traffic);
        flows.map(|(series, _)| series.reinjections).sum()
    }

    /// Payload bytes that the subflows of all flows of some traffic have received, duplicates of each other included.
    pub(super) fn carried(&self, world: &World, traffic: usize) -> u64 {
        self.last_of(world, traffic).map(|last| last.delivered).sum()
    }

    /// The last state of all subflows of some traffic.
    fn last_of(&self, world: &World, traffic: usize) -> impl Iterator<Item = &SubflowSample> {
        let flows = self.flows.iter().zip(&world.traffic.flows).filter(move |(_, flow)| flow.traffic == traffic);
        let lanes = flows.flat_map(|(series, _)| &series.lanes);
        lanes.flat_map(|lane| &lane.subflows).map(|subflow| &subflow.last)
    }

    /// The record of the run, without what others than the sampler know.
    pub(super) fn into_record(self, scenario: &Scenario, world: &World, meta: RunMeta) -> RunRecord {
        let clock = self.clock(world);
        let mut connections = Vec::new();
        for (number, (flow, series)) in world.traffic.flows.iter().zip(self.flows).enumerate() {
            let traffic = &scenario.traffic[flow.traffic];
            let Some(opened) = flow.opened() else { continue };
            let both = flow.lanes.iter().all(|lane| lane.is_used());
            for (side, series) in [Side::Client, Side::Server].into_iter().zip(series.lanes) {
                let lane = &flow.lanes[side.index()];
                if !lane.is_used() {
                    continue;
                }
                let (way, from, to) = match side {
                    Side::Client => ("up", &traffic.from, &traffic.to),
                    Side::Server => ("down", &traffic.to, &traffic.from),
                };
                let finished = match flow.state() {
                    State::Complete => lane.last_delivery(),
                    State::Stopped => flow.completed(),
                    _ => None,
                };
                connections.push(ConnectionRecord {
                    number,
                    name: if both { format!("{} {way}", flow.name) } else { flow.name.clone() },
                    kind: traffic.transport.to_string(),
                    from: from.clone(),
                    to: to.clone(),
                    opened,
                    finished,
                    has_series: self.series && number < MOST_SERIES,
                    samples: series.samples,
                    subflows: series.subflows.into_iter().map(SubflowSeries::into_record).collect(),
                });
            }
        }
        let latencies = world.traffic.figures.iter().map(|figures| figures.latency().clone());
        let latency_series = scenario.traffic.iter().zip(self.latencies);
        let latency_series = latency_series.filter(|(_, samples)| !samples.values.is_empty());
        RunRecord {
            meta,
            clock,
            connections,
            links: self.links,
            latencies: latencies.filter(|latency| latency.count() > 0).collect(),
            latency_series: latency_series
                .map(|(traffic, samples)| LatencyRecord { name: traffic.name.clone(), samples })
                .collect(),
            counters: std::collections::BTreeMap::new(),
            failed: Vec::new(),
            most_out_of_order: world.traffic.figures.iter().map(|figures| figures.most_out_of_order).max().unwrap_or(0),
            expectations: Vec::new(),
            marks: Vec::new(),
            interrupted: false,
        }
    }
}

impl LaneSeries {
    /// The series of a subflow, which is new from sample `first` on if it is not known.
    fn subflow(
        &mut self,
        id: SubflowId,
        ends: [SocketAddr; 2],
        first: usize,
        path: impl FnOnce() -> String,
    ) -> &mut SubflowSeries {
        let known = self.subflows.iter().position(|known| known.id == id);
        let at = known.unwrap_or_else(|| {
            let mut new = SubflowSeries {
                id,
                ends,
                peer: None,
                is_received: false,
                path: path(),
                samples: Samples::starting_at(first),
                last: SubflowSample::default(),
                state: String::new(),
                is_there: false,
                is_told_gone: false,
            };
            if let Some(claimed) = self.unclaimed.iter().position(|received| new.is_sender_of(received)) {
                new.take_received(&self.unclaimed.remove(claimed));
            }
            // Most have one, and there may be very many.
            self.subflows.reserve_exact(1);
            self.subflows.push(new);
            self.subflows.len() - 1
        });
        &mut self.subflows[at]
    }

    /// The receiving end of a subflow is gone.
    fn receive(&mut self, received: Received) {
        // By what they call it only if no addresses are right: these have been translated on the way.
        let open = || self.subflows.iter().enumerate().rev().filter(|(_, subflow)| !subflow.is_received);
        let exact = open().find(|(_, subflow)| subflow.is_sender_of(&received));
        let found = exact.or_else(|| open().find(|(_, subflow)| subflow.peer == Some(received.id)));
        match found.map(|(index, _)| index) {
            Some(index) => self.subflows[index].take_received(&received),
            None => self.unclaimed.push(received),
        }
    }

    /// Gives what has arrived under addresses that no sender has to those that nobody has seen the other end of, in their order.
    fn claim_rest(&mut self) {
        let mut unseen = self.subflows.iter_mut().filter(|subflow| !subflow.is_received && subflow.peer.is_none());
        for received in self.unclaimed.drain(..) {
            if let Some(subflow) = unseen.next() {
                subflow.take_received(&received);
            }
        }
    }

    fn push(&mut self, index: usize) {
        if self.samples.values.is_empty() {
            self.samples.first = index;
        }
        self.samples.push(self.last);
        for subflow in self.subflows.iter_mut().filter(|subflow| !subflow.is_told_gone) {
            // What was there only between two samples is shown once as it was.
            subflow.is_told_gone = !subflow.is_there && !subflow.samples.values.is_empty();
            if subflow.is_told_gone {
                subflow.last = subflow.last.without_gauges();
            }
            subflow.samples.push(subflow.last);
        }
    }

    /// The last state as the only sample.
    fn push_last(&mut self, index: usize) {
        self.samples = Samples { first: index, values: vec![self.last] };
        for subflow in &mut self.subflows {
            subflow.samples = Samples { first: index, values: vec![subflow.last] };
        }
    }
}

impl SubflowSeries {
    /// Whether something was received under the addresses under which this is sent.
    fn is_sender_of(&self, received: &Received) -> bool {
        let [local, remote] = received.ends;
        self.ends == [remote, local]
    }

    /// Whether this is its receiving end.
    fn is_seen_as(&self, receiver: &SubflowInfo) -> bool {
        match self.peer {
            Some(peer) => peer == receiver.id,
            None => self.ends == [receiver.remote, receiver.local],
        }
    }

    /// Takes what its receiving end says.
    fn hear(&mut self, receiver: &SubflowInfo) {
        if !self.is_received {
            self.peer = Some(receiver.id);
            self.last.delivered = receiver.bytes_received;
        }
    }

    /// The receiving end is gone.
    fn take_received(&mut self, received: &Received) {
        (self.peer, self.is_received) = (Some(received.id), true);
        self.last.delivered = received.bytes;
    }

    /// The sending end is gone.
    fn take_totals(&mut self, totals: &SubflowTotals) {
        self.last.reinjected = totals.bytes_reinjected;
        self.last.retransmissions = totals.retransmissions;
        self.last.losses = totals.losses.or(self.last.losses);
    }

    fn update(
        &mut self,
        now: Instant,
        [host, connection]: [&str; 2],
        info: &SubflowInfo,
        peer: Option<&SubflowInfo>,
        observer: &mut Observer,
    ) {
        if let Some(tcp) = &info.tcp {
            self.last.cwnd = tcp.cwnd;
            self.last.srtt = tcp.srtt;
            self.last.in_flight = tcp.in_flight;
            self.last.queued = tcp.queued;
            self.last.losses = tcp.losses;
            self.last.retransmissions = tcp.retransmissions;
        }
        self.is_there = true;
        self.last.reinjected = info.bytes_reinjected;
        if let Some(peer) = peer {
            self.hear(peer);
        }
        let receiving = peer.and_then(|peer| peer.tcp.as_ref());
        self.last.out_of_order = receiving.and_then(|tcp| tcp.out_of_order).unwrap_or(0);
        if !observer.logs() {
            return;
        }
        self.tell_state(now, [host, connection], info.state.to_string(), observer);
        if let Some(tcp) = &info.tcp {
            let event = Event::MetricsUpdated {
                host,
                connection,
                subflow: &self.id.to_string(),
                smoothed_rtt: tcp.srtt,
                congestion_window: tcp.cwnd,
                ssthresh: tcp.ssthresh,
                bytes_in_flight: tcp.in_flight,
            };
            observer.event(now, &event);
        }
    }

    /// It is not there any more.
    fn leave(&mut self, now: Instant, of: [&str; 2], observer: &mut Observer) {
        if observer.logs() {
            self.tell_state(now, of, "closed".to_owned(), observer);
        }
    }

    fn tell_state(&mut self, now: Instant, [host, connection]: [&str; 2], state: String, observer: &mut Observer) {
        if state == self.state {
            return;
        }
        let event = Event::SubflowState {
            host,
            connection,
            subflow: &self.id.to_string(),
            path: &self.path,
            old: &self.state,
            new: &state,
        };
        observer.event(now, &event);
        self.state = state;
    }

    fn into_record(mut self) -> SubflowRecord {
        // The other end may have ended after the sample that said so of this one.
        if let Some(sample) = self.samples.values.last_mut() {
            let SubflowSample { delivered, losses, retransmissions, reinjected, .. } = self.last;
            *sample = SubflowSample { delivered, losses, retransmissions, reinjected, ..*sample };
        }
        SubflowRecord { name: self.id.to_string(), path: self.path, samples: self.samples }
    }
}

/// The other end of a subflow: that with its addresses, or, if they have been translated on the way, the one that is as far back in the list, unless it is
/// the other end of another.
fn peer_of<'a>(index: usize, sending: &[SubflowInfo], receiving: &'a [SubflowInfo]) -> Option<&'a SubflowInfo> {
    let matches = |own: &SubflowInfo, peer: &SubflowInfo| peer.local == own.remote && peer.remote == own.local;
    let exact = receiving.iter().find(|peer| matches(&sending[index], peer));
    exact.or_else(|| receiving.get(index).filter(|peer| !sending.iter().any(|other| matches(other, peer))))
}

/// The path of a subflow: the link at the client, whose address it has, or else that at the server.
fn path_of(links: &[Link], sender: Side, [local, remote]: [SocketAddr; 2]) -> String {
    let (client, server) = match sender {
        Side::Client => (local, remote),
        Side::Server => (remote, local),
    };
    let link = link_of(links, client).or_else(|| link_of(links, server));
    link.map_or_else(|| client.ip().to_string(), |link| links[link].name.clone())
}

/// Appends sample `index`. The series begins with the run, and is there once something has ended.
fn push_latency(samples: &mut Samples<LatencySample>, index: usize, sample: LatencySample) {
    if sample.ended > 0 || !samples.values.is_empty() {
        samples.values.resize(index, LatencySample::default());
        samples.push(sample);
    }
}

fn push_link(record: &mut LinkRecord, pipe: &Pipe, at: Instant) {
    let stats = pipe.stats();
    let (queue_packets, queue_bytes) = pipe.queue_len();
    let sample = LinkSample {
        offered: stats.offered.packets,
        delivered: stats.delivered.packets,
        delivered_bytes: stats.delivered.bytes,
        duplicated: stats.duplicated.packets,
        in_flight: stats.in_flight.packets,
        queue_packets: queue_packets as u64,
        queue_bytes: queue_bytes as u64,
        capacity: pipe.capacity(at),
    };
    let drops = DropReason::ALL.map(|reason| (reason.as_str(), stats.dropped(reason).packets));
    record.longest_queue = stats.longest_queue;
    record.push(sample, drops);
}

#[cfg(test)]
mod tests {
    use mptcp_core::SubflowState;
    use mptcp_core::wire::AddrId;

    use super::*;

    fn subflow(local: &str, remote: &str) -> SubflowInfo {
        SubflowInfo {
            id: SubflowId(0),
            state: SubflowState::Established,
            local: local.parse().unwrap(),
            remote: remote.parse().unwrap(),
            local_addr_id: AddrId(0),
            remote_addr_id: AddrId(0),
            backup: false,
            backup_by_peer: false,
            tcp: None,
            bytes_sent: 0,
            bytes_received: 0,
            bytes_reinjected: 0,
        }
    }

    /// The port of the second one is translated; at the receiver the first is gone already.
    #[test]
    fn no_subflow_is_the_other_end_of_two() {
        let sending = [
            subflow("10.0.1.1:1", "10.0.1.2:5"),
            subflow("10.0.2.1:2", "10.0.2.2:5"),
            subflow("10.0.3.1:3", "10.0.3.2:5"),
        ];
        let receiving = [subflow("10.0.2.2:5", "10.0.2.1:77"), subflow("10.0.3.2:5", "10.0.3.1:3")];
        let peer = |index| peer_of(index, &sending, &receiving).map(|peer| peer.remote.port());
        assert_eq!([peer(0), peer(1), peer(2)], [Some(77), None, Some(3)]);
        let receiving = [subflow("10.0.1.2:5", "10.0.1.1:1"), subflow("10.0.2.2:5", "10.0.2.1:77")];
        let peer = |index| peer_of(index, &sending, &receiving).map(|peer| peer.remote.port());
        assert_eq!([peer(0), peer(1), peer(2)], [Some(1), Some(77), None]);
    }
}
