//! Applications: what hosts do with their stacks.

pub(crate) mod datagram;
mod figures;
mod flow;
mod lane;
pub(crate) mod nvme;
mod pattern;
mod work;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tcp_adapter::{Frame, Instant, InterfaceId};

pub(crate) use figures::Figures;
pub(crate) use flow::{Flow, State};

use crate::deadline::earlier;
use crate::host::{FlowEvent, Host, Side};
use crate::network::{self, Network};
use crate::random::Streams;
use crate::results::FailedConnection;
use crate::scenario::{BlockLoad, Scenario, ScenarioError, Traffic, Transport, Work};
use datagram::Ends;
use flow::{DatagramPlan, Plan};
use lane::Lane;
use nvme::{Changed, Exchange, Jobs, Surroundings};
use work::Worker;
pub(crate) use work::parse_trace;

/// All traffic of a run.
pub(crate) struct TrafficSet {
    pub(crate) flows: Vec<Flow>,
    /// For each `[[traffic]]`, in the order of the file.
    pub(crate) figures: Vec<Figures>,
    /// Starts and ends that are yet to come, in the order of time.
    moments: VecDeque<(Instant, Moment)>,
    /// When flows have something to do by themselves.
    ticks: BTreeSet<(Instant, usize)>,
    tick_of: Vec<Option<Instant>>,
    /// Flows of datagrams by host and port.
    datagrams: BTreeMap<(usize, u16), (usize, Side)>,
    /// Jobs whose connections are the queues of disks, and by flow which of them it belongs to.
    exchanges: Vec<Exchange>,
    exchange_of: Vec<Option<usize>>,
    /// Room to work in.
    changed: Vec<Changed>,
    /// Flows that are not over.
    left: usize,
    /// Flows that have ended since somebody looked here.
    pub(crate) ended: Vec<usize>,
    /// Whether the [`deadline`](Self::deadline) may be another since somebody looked here.
    pub(crate) is_rescheduled: bool,
}

/// Ports of the ends that send datagrams first.
const FIRST_DATAGRAM_PORT: u16 = 20_000;

/// Some traffic and what its connections have in common.
struct Application<'a> {
    scenario: &'a Scenario,
    streams: Streams,
    index: usize,
    traffic: &'a Traffic,
    /// Indices of the hosts.
    ends: [usize; 2],
    writes: Option<Arc<[(Duration, u64)]>>,
}

/// Something that happens to some traffic as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Moment {
    Start(usize),
    Stop(usize),
    WarmUpEnds,
}

/// Why the traffic of a scenario cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrafficError {
    /// Connections outnumber ports.
    #[error("host '{host}' is to listen for more connections than there are ports: at most 60000 in all")]
    Ports {
        /// The host.
        host: String,
    },
    /// The stack of the listening host refuses.
    #[error("{flow} cannot be listened for: {reason}")]
    Listen {
        /// The connection.
        flow: String,
        /// What the stack says.
        reason: String,
    },
    /// The ends of an NVMe queue refuse each other.
    #[error("{flow} cannot be an NVMe queue: {reason}")]
    Nvme {
        /// The connection.
        flow: String,
        /// What they say.
        reason: String,
    },
    /// A trace cannot be read, or is none.
    #[error(transparent)]
    File(Box<ScenarioError>),
}

impl From<ScenarioError> for TrafficError {
    fn from(error: ScenarioError) -> Self {
        Self::File(Box::new(error))
    }
}

impl TrafficSet {
    /// The traffic of a scenario, which listens already.
    ///
    /// # Errors
    /// What a scenario asks for cannot be.
    pub(crate) fn new(
        scenario: &Scenario,
        streams: Streams,
        hosts: &mut [Host],
        network: &mut Network,
    ) -> Result<Self, TrafficError> {
        let warmup = Instant::ZERO + scenario.run.warmup;
        let mut set = Self {
            flows: Vec::new(),
            figures: scenario.traffic.iter().map(|traffic| Figures::new(&traffic.name, warmup)).collect(),
            moments: VecDeque::new(),
            ticks: BTreeSet::new(),
            tick_of: Vec::new(),
            datagrams: BTreeMap::new(),
            exchanges: Vec::new(),
            exchange_of: Vec::new(),
            changed: Vec::new(),
            left: 0,
            ended: Vec::new(),
            is_rescheduled: true,
        };
        for (index, traffic) in scenario.traffic.iter().enumerate() {
            let start = Instant::ZERO + traffic.start;
            set.moments.push_back((start, Moment::Start(index)));
            set.moments.extend(traffic.time.map(|time| (start + time, Moment::Stop(index))));
            let writes = match &traffic.work {
                Work::Trace { file, .. } => Some(file.read("trace of writes", parse_trace)?),
                _ => None,
            };
            let host = |name: &str| scenario.hosts.iter().position(|host| host.name == *name).unwrap_or(0);
            let ends = [host(&traffic.from), host(&traffic.to)];
            let application = Application { scenario, streams, index, traffic, ends, writes };
            let paths = scenario.paths_of(traffic);
            for connection in 0..traffic.connections {
                // At most as many as there are paths.
                let turn = usize::try_from(connection % paths.len().max(1) as u64).unwrap_or(0);
                let ways = match traffic.transport {
                    _ if traffic.is_on_each_path() => &paths[..],
                    Transport::TcpBalanced => &paths[turn..=turn],
                    _ => &paths[..1],
                };
                for way in 0..ways.len() {
                    set.add_flow(&application, connection, ways, way, hosts, network)?;
                }
            }
        }
        if scenario.run.warmup > Duration::ZERO {
            set.moments.push_back((warmup, Moment::WarmUpEnds));
        }
        set.moments.make_contiguous().sort_unstable();
        set.tick_of = vec![None; set.flows.len()];
        set.left = set.flows.len();
        Ok(set)
    }

    /// Adds a connection over one of the ways that it, and what belongs with it, may take.
    fn add_flow(
        &mut self,
        application: &Application<'_>,
        connection: u64,
        ways: &[usize],
        way: usize,
        hosts: &mut [Host],
        network: &mut Network,
    ) -> Result<(), TrafficError> {
        let Application { scenario, streams, index, traffic, ends, writes } = application;
        let port = hosts[ends[1]].take_port().filter(|port| *port < 65_000);
        let port = port.ok_or_else(|| TrafficError::Ports { host: traffic.to.clone() })?;
        // A scenario's traffic has a way over each of its paths.
        let Some([local, remote]) = network::endpoints(scenario, traffic, ways[way]) else { return Ok(()) };
        network.bond(port, *index);
        let mut name = traffic.name.clone();
        if traffic.connections > 1 {
            name = format!("{name} {}", connection + 1);
        }
        if traffic.is_on_each_path() {
            name = format!("{name} {}", scenario.links[ways[way]].name);
        }
        let multipath = traffic.transport == Transport::Mptcp;
        let number = self.flows.len();
        let remote = SocketAddr::new(remote, port);
        let class = traffic.class;
        let mut plan = Plan { hosts: *ends, local, remote, multipath, class, datagrams: None };
        if traffic.transport == Transport::Udp {
            let both = network::ways(scenario, traffic, ways[way]).into_iter().flatten();
            let mtu = both.flatten().map(|hop| scenario.links[hop.link].mtu).min();
            let planned = mtu.and_then(|mtu| self.plan_datagrams(scenario, &plan, mtu, number));
            plan.datagrams = Some(planned.ok_or_else(|| TrafficError::Ports { host: traffic.from.clone() })?);
        }
        let jobs = if traffic.is_on_each_path() { traffic.connections } else { 1 };
        let is_first = way == 0 && (connection == 0 || jobs == 1);
        let queue = |load: &BlockLoad, stream| {
            if is_first {
                self.exchanges.push(Exchange::new(Jobs::new(load, jobs, ways.len())?, number));
            }
            let exchange = self.exchanges.last_mut().ok_or_else(|| "it has no jobs".to_owned())?;
            Ok(exchange.jobs_mut().add_queue(way, stream))
        };
        let stream = streams.stream(&format!("traffic.{}.{connection}", traffic.name));
        let worker = Worker::new(&traffic.work, writes.as_ref(), stream, queue)
            .map_err(|reason| TrafficError::Nvme { flow: name.clone(), reason })?;
        let is_queue = matches!(worker, Worker::Nvme(_));
        self.exchange_of.push(self.exchanges.len().checked_sub(1).filter(|_| is_queue));
        let mut flow = Flow::new(*index, name, number as u64, plan, worker);
        flow.listen(number, hosts)?;
        self.flows.push(flow);
        Ok(())
    }

    /// Gives a flow of datagrams its ports and finds its ends. No link on its way takes more than `mtu`.
    fn plan_datagrams(&mut self, scenario: &Scenario, plan: &Plan, mtu: u16, number: usize) -> Option<DatagramPlan> {
        let port = FIRST_DATAGRAM_PORT.checked_add(u16::try_from(number).ok()?)?;
        let local = SocketAddr::new(plan.local, port);
        let find = |host: usize, addr| {
            let ends = network::ends_at(scenario, &scenario.hosts[host].name);
            ends.enumerate().find(|(_, end)| end.addr(scenario).addr == addr)
        };
        let (client, from) = find(plan.hosts[0], local.ip())?;
        let (server, to) = find(plan.hosts[1], plan.remote.ip())?;
        self.datagrams.insert((plan.hosts[0], local.port()), (number, Side::Client));
        self.datagrams.insert((plan.hosts[1], plan.remote.port()), (number, Side::Server));
        let up = Ends { from: local, to: plan.remote, macs: [from.mac(), from.other().mac()] };
        let down = Ends { from: plan.remote, to: local, macs: [to.mac(), to.other().mac()] };
        Some(DatagramPlan {
            interfaces: [InterfaceId(client), InterfaceId(server)],
            ends: [up, down],
            longest: datagram::longest(usize::from(mtu), plan.remote.ip()),
        })
    }

    /// A datagram has reached a host.
    pub(crate) fn take_datagram(&mut self, now: Instant, host: usize, frame: &Frame) {
        let flow = datagram::port(frame).and_then(|port| self.datagrams.get(&(host, port)));
        let Some((number, side)) = flow.copied() else { return };
        let flow = &mut self.flows[number];
        flow.take_datagram(now, side, frame, &mut self.figures[flow.traffic]);
    }

    /// When [`work`](Self::work) has something to do.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let moment = self.moments.front().map(|(at, _)| *at);
        let tick = self.ticks.first().map(|(at, _)| *at);
        earlier(moment, tick)
    }

    /// Whether some traffic is stopped at `at`, or was to be before.
    pub(crate) fn stops_by(&self, at: Instant) -> bool {
        // Asked before each thing that happens, and mostly nothing is due.
        if self.moments.front().is_none_or(|(due, _)| *due > at) {
            return false;
        }
        let mut due = self.moments.iter().take_while(|(due, _)| *due <= at);
        due.any(|(_, moment)| matches!(moment, Moment::Stop(_)))
    }

    /// Whether every flow has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.left == 0
    }

    /// Bytes that have arrived at the application, of all flows of some traffic.
    pub(crate) fn delivered(&self, traffic: usize) -> u64 {
        self.flows_of(traffic).map(Flow::delivered).sum()
    }

    /// The flows of some traffic.
    pub(crate) fn flows_of(&self, traffic: usize) -> impl Iterator<Item = &Flow> {
        self.flows.iter().filter(move |flow| flow.traffic == traffic)
    }

    /// Flows that were not stopped and have not delivered everything, and what became of them.
    pub(crate) fn unfinished(&self) -> Vec<(String, String)> {
        self.flows.iter().filter_map(|flow| Some((flow.name.clone(), flow.shortfall()?))).collect()
    }

    /// Connections that broke, or that were opened and have delivered nothing.
    pub(crate) fn failed(&self) -> Vec<FailedConnection> {
        let is_failed = |flow: &&Flow| match flow.state() {
            State::Failed(_) => true,
            State::Running => flow.delivered() == 0,
            State::Waiting | State::Complete | State::Stopped | State::Replaced => false,
        };
        let describe = |flow: &Flow| Some(FailedConnection { name: flow.name.clone(), reason: flow.shortfall()? });
        self.flows.iter().filter(is_failed).filter_map(describe).collect()
    }

    /// Does what is due. The hosts whose stacks have been used are added to `touched`.
    pub(crate) fn work(&mut self, now: Instant, hosts: &mut [Host], touched: &mut Vec<usize>) {
        self.is_rescheduled = true;
        while let Some((_, moment)) = self.moments.pop_front_if(|(at, _)| *at <= now) {
            match moment {
                Moment::WarmUpEnds => {
                    for index in 0..self.figures.len() {
                        self.figures[index].delivered_before = self.delivered(index);
                    }
                    self.flows.iter_mut().flat_map(|flow| &mut flow.lanes).for_each(Lane::forget_stalls);
                }
                Moment::Start(index) => {
                    self.each_of(index, |set, number| {
                        let flow = &mut set.flows[number];
                        flow.start(number, now, hosts);
                        touched.extend(flow.plan.hosts);
                    });
                    self.begin_jobs(index, now, hosts);
                }
                Moment::Stop(index) => {
                    self.each_of(index, |set, number| {
                        let flow = &mut set.flows[number];
                        flow.stop(now, &mut set.figures[index], hosts);
                        touched.extend(flow.plan.hosts);
                    });
                }
            }
        }
        while let Some((at, number)) = self.ticks.first().copied().filter(|(at, _)| *at <= now) {
            self.ticks.remove(&(at, number));
            self.tick_of[number] = None;
            let flow = &mut self.flows[number];
            let was_over = flow.is_over();
            flow.tick(now, hosts);
            touched.extend(flow.plan.hosts);
            let host = flow.plan.hosts[Side::Client.index()];
            self.exchange(number, now, &mut hosts[host], Exchange::proceed);
            self.settle(number, was_over);
        }
    }

    /// Something has happened to a flow at a host.
    pub(crate) fn serve(&mut self, now: Instant, event: FlowEvent, host: &mut Host) {
        let (number, was_over) = match event {
            FlowEvent::Incoming(listener, number) => {
                let flow = &mut self.flows[number];
                let was_over = flow.is_over();
                flow.accept(number, now, &mut self.figures[flow.traffic], host, listener);
                (number, was_over)
            }
            FlowEvent::Stack(event, number, side) => {
                let flow = &mut self.flows[number];
                let was_over = flow.is_over();
                flow.serve(now, side, event, &mut self.figures[flow.traffic], host);
                if side == Side::Client {
                    self.exchange(number, now, host, Exchange::proceed);
                }
                (number, was_over)
            }
        };
        self.settle(number, was_over);
    }

    /// Counts what is unfinished when the run ends. It was to end at `end`, if its time is limited; it ends sooner when nothing is left of the traffic.
    pub(crate) fn conclude(&mut self, now: Instant, end: Option<Instant>) {
        for flow in &mut self.flows {
            let stop = self.moments.iter().find(|(_, moment)| *moment == Moment::Stop(flow.traffic));
            let until = stop.map(|(at, _)| *at).into_iter().chain(end).min().unwrap_or(now);
            flow.conclude(now, until, &mut self.figures[flow.traffic]);
        }
        for exchange in &self.exchanges {
            let flows = &self.flows[exchange.connections()];
            // One whose path was given up has not ended, and others went on for it.
            let lasting = flows.iter().filter(|flow| flow.state() != State::Replaced);
            let end = lasting.map(|flow| flow.completed().unwrap_or(now)).max().unwrap_or(now);
            let figures = &mut self.figures[flows[0].traffic];
            exchange.jobs().begun().for_each(|begun| figures.under_way(end, end - begun));
        }
    }

    /// Gives every connection back, whatever has become of it.
    pub(crate) fn close_all(&mut self, now: Instant, hosts: &mut [Host]) {
        self.is_rescheduled = true;
        self.moments.clear();
        for flow in &mut self.flows {
            flow.close(now, hosts);
        }
    }

    /// The jobs of some traffic begin, whose connections are all asked for.
    fn begin_jobs(&mut self, traffic: usize, now: Instant, hosts: &mut [Host]) {
        for number in 0..self.flows.len() {
            let is_first = number == 0 || self.exchange_of[number - 1] != self.exchange_of[number];
            if self.flows[number].traffic == traffic && is_first {
                let host = self.flows[number].plan.hosts[Side::Client.index()];
                self.exchange(number, now, &mut hosts[host], |exchange, _, around| exchange.begin(around));
            }
        }
    }

    /// Has the jobs go on to which a flow belongs, if it is the queue of any, after something has happened to it at the host.
    fn exchange(
        &mut self,
        number: usize,
        now: Instant,
        host: &mut Host,
        act: impl FnOnce(&mut Exchange, usize, &mut Surroundings<'_>),
    ) {
        let Some(exchange) = self.exchange_of[number] else { return };
        let figures = &mut self.figures[self.flows[number].traffic];
        let mut changed = std::mem::take(&mut self.changed);
        let flows = &mut self.flows;
        act(
            &mut self.exchanges[exchange],
            number,
            &mut Surroundings { now, flows, figures, host, changed: &mut changed },
        );
        for change in changed.drain(..) {
            match change {
                // Of the one that this is about, the caller knows whether it has ended.
                Changed::Used(other) | Changed::Ended(other) if other == number => {}
                Changed::Used(other) => self.settle(other, true),
                Changed::Ended(other) => self.settle(other, false),
            }
        }
        self.changed = changed;
    }

    fn each_of(&mut self, traffic: usize, mut act: impl FnMut(&mut Self, usize)) {
        for number in 0..self.flows.len() {
            if self.flows[number].traffic == traffic {
                let was_over = self.flows[number].is_over();
                act(self, number);
                self.settle(number, was_over);
            }
        }
    }

    /// Notes whether a flow has ended, and puts its next tick into the order of time.
    fn settle(&mut self, number: usize, was_over: bool) {
        if !was_over && self.flows[number].is_over() {
            self.left -= 1;
            self.ended.push(number);
        }
        let next = self.flows[number].next_tick();
        if self.tick_of[number] != next {
            self.reschedule(number, next);
        }
    }

    /// Not part of [`settle`](Self::settle), as most of what happens to a flow leaves its next tick where it is.
    #[inline(never)]
    fn reschedule(&mut self, number: usize, next: Option<Instant>) {
        if let Some(old) = self.tick_of[number] {
            self.ticks.remove(&(old, number));
        }
        self.ticks.extend(next.map(|at| (at, number)));
        self.tick_of[number] = next;
        self.is_rescheduled = true;
    }
}
