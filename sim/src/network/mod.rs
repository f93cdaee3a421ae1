//! The network between the hosts: links, routers and what is on them, wired as the scenario has it.

mod addresses;
mod bond;
mod forward;
mod neighbour;
mod too_big;
mod transit;
mod ways;

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use tcp_adapter::{Frame, Instant, InterfaceId, MacAddr};

pub(crate) use addresses::{LinkEnd, endpoints, ends_at, interfaces, link_of};
pub(crate) use bond::Bond;
pub(crate) use ways::{all_ways, links, middleboxes, usable_ways, ways};

use crate::conditions::{ConditionsError, Timetable};
use crate::engine::Agenda;
use crate::link::{BitRate, Change, DelayModel, Limit, LinkState, Output, Pipe, PipeConfig, QueueConfig, RateModel};
use crate::middlebox::{Chain, Direction, Output as Passed};
use crate::packet::Packet;
use crate::random::Streams;
use crate::run::Observer;
use crate::scenario::{CarrierLoss, Hop, Scenario, TooBig};
use neighbour::Question;

/// The network of one run.
pub(crate) struct Network {
    /// Those of links first: up and down of the first link, then of the second.
    pipes: Vec<Segment>,
    timetables: Vec<Timetable>,
    /// How many pipes are those of links.
    link_pipes: usize,
    /// The middleboxes at the `to` end of each link.
    chains: Vec<Chain>,
    routers: Vec<Router>,
    /// By host and interface.
    ports: Vec<Vec<Port>>,
    bonds: Vec<Bond>,
    counters: NetworkCounters,
    next_id: u64,
    /// Whether links have a carrier, what hosts lose with it, and what has changed of that since somebody looked.
    carriers: Vec<(bool, CarrierLoss)>,
    pub(crate) carrier_changes: VecDeque<CarrierChange>,
    /// First slot of the agenda that is the network's: that of the timetables; those of the pipes follow.
    first_slot: usize,
    moving: VecDeque<(Station, Packet)>,
    output: Output,
    passed: Passed,
    /// What is at the `to` end of each link, behind its middleboxes.
    beyond: Vec<Station>,
}

/// Packets that entered and left the network, those of pipes apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct NetworkCounters {
    /// Given to it by hosts.
    pub(crate) sent: u64,
    /// Given to hosts.
    pub(crate) received: u64,
    /// Dropped by routers.
    pub(crate) unroutable: u64,
    /// Made by routers: answers to packets that are too long for the next link.
    pub(crate) answers: u64,
}

/// A host notices that one of its links has lost or got a carrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CarrierChange {
    pub(crate) host: usize,
    pub(crate) interface: InterfaceId,
    pub(crate) up: bool,
    /// What goes with it, and comes back with it.
    pub(crate) loss: CarrierLoss,
}

/// A packet that has reached a host.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) host: usize,
    pub(crate) interface: InterfaceId,
    pub(crate) frame: Box<Frame>,
}

/// What the network needs of the run when something happens.
pub(crate) struct NetworkContext<'a> {
    pub(crate) now: Instant,
    pub(crate) agenda: &'a mut Agenda,
    pub(crate) observer: &'a mut Observer,
    /// Packets that have reached hosts are appended.
    pub(crate) arrivals: &'a mut VecDeque<Arrival>,
}

/// Where a packet is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Station {
    Pipe(usize),
    /// The middleboxes of a link.
    Chain(usize, Direction),
    Host(usize, InterfaceId),
    Router(usize),
}

struct Segment {
    pipe: Pipe,
    /// How results name it.
    name: String,
    next: Station,
}

struct Router {
    name: String,
    /// What it says of packets that are too long.
    too_big: TooBig,
    table: BTreeMap<IpAddr, Way>,
}

/// A way out of a router.
#[derive(Clone, Copy, Debug)]
struct Way {
    station: Station,
    /// The direction of the link.
    pipe: usize,
    from: MacAddr,
    to: MacAddr,
    /// Of the router on that link.
    addr: IpAddr,
}

/// An interface of a host.
#[derive(Clone, Copy, Debug)]
struct Port {
    /// Where its frames go.
    out: Station,
    /// The pipe of its link in its direction.
    pipe: usize,
    /// The pipe that is its own ring, if it has a rate of its own.
    ring: Option<usize>,
    mac: MacAddr,
    addr: IpAddr,
    /// The other end of the link.
    peer: (MacAddr, IpAddr),
}

impl Network {
    /// Slots that the network needs in the agenda.
    pub(crate) fn slots(&self) -> usize {
        1 + self.pipes.len() + self.chains.len()
    }

    /// The network of a scenario, whose slots in the agenda begin with `first_slot`.
    ///
    /// # Errors
    /// Conditions of a link that cannot be.
    pub(crate) fn new(scenario: &Scenario, streams: Streams, first_slot: usize) -> Result<Self, ConditionsError> {
        let mut network = Self {
            pipes: Vec::new(),
            timetables: Vec::new(),
            chains: (0..scenario.links.len()).map(|link| Chain::new(scenario, link, streams)).collect(),
            link_pipes: scenario.links.len() * 2,
            routers: Vec::new(),
            ports: Vec::new(),
            bonds: Vec::new(),
            counters: NetworkCounters::default(),
            next_id: 0,
            carriers: scenario.links.iter().map(|link| (true, link.carrier_loss)).collect(),
            carrier_changes: VecDeque::new(),
            first_slot,
            moving: VecDeque::new(),
            output: Output::default(),
            passed: Passed::default(),
            beyond: Vec::new(),
        };
        for (index, link) in scenario.links.iter().enumerate() {
            network.beyond.push(node_station(scenario, LinkEnd { link: index, at_to: true }));
            for up in [true, false] {
                let pipe = Pipe::new(link.pipe(up)?, &link.pipe_name(up), &streams);
                let pipe = pipe.map_err(|error| ConditionsError::Link { link: link.name.clone(), error })?;
                let name = format!("{} {}", link.name, if up { "up" } else { "down" });
                let end = LinkEnd { link: index, at_to: up };
                let next = match network.chains[index].is_empty() {
                    false if up => Station::Chain(index, Direction::Up),
                    _ => node_station(scenario, end),
                };
                network.pipes.push(Segment { pipe, name, next });
                network.timetables.push(link.timetable(up, streams)?);
            }
        }
        for router in &scenario.routers {
            network.add_router(scenario, router, &streams);
        }
        for host in &scenario.hosts {
            network.add_ports(scenario, host, &streams);
        }
        network.bonds = bond::bonds(scenario);
        Ok(network)
    }

    /// Puts the deadlines of the network into the agenda for the first time.
    pub(crate) fn schedule(&self, agenda: &mut Agenda) {
        agenda.set(self.first_slot, self.timetables.iter().filter_map(Timetable::next_at).min());
    }

    /// Names of the directions of links, in the order of [`link_pipe`](Self::link_pipe).
    pub(crate) fn link_names(&self) -> impl Iterator<Item = &str> {
        self.pipes[..self.link_pipes].iter().map(|segment| segment.name.as_str())
    }

    /// A direction of a link: twice the index of the link, and one more for that to its `from`.
    pub(crate) fn link_pipe(&self, index: usize) -> &Pipe {
        &self.pipes[index].pipe
    }

    /// The transmit ring of the host at the beginning of a direction of a link, if there is one.
    pub(crate) fn ring_before(&self, link_pipe: usize) -> Option<&Pipe> {
        let port = self.ports.iter().flatten().find(|port| port.pipe == link_pipe)?;
        port.ring.map(|ring| &self.pipes[ring].pipe)
    }

    /// Who has dropped packets besides links and routers, and how many: transmit rings and middleboxes.
    pub(crate) fn other_drops(&self) -> impl Iterator<Item = (&str, u64)> {
        let rings = self.ports.iter().flatten().filter_map(|port| port.ring).map(|ring| &self.pipes[ring]);
        let rings = rings.map(|ring| (ring.name.as_str(), ring.pipe.stats().dropped_total().packets));
        let boxes = self.chains.iter().flat_map(Chain::stats).map(|(name, stats)| (name, stats.dropped));
        rings.chain(boxes).filter(|(_, dropped)| *dropped > 0)
    }

    /// Packets that entered and left.
    pub(crate) fn counters(&self) -> NetworkCounters {
        self.counters
    }

    /// Spreads the frames of connections of this server port over several links.
    pub(crate) fn bond(&mut self, port: u16, traffic: usize) {
        if let Some(bond) = self.bonds.iter_mut().find(|bond| bond.traffic == traffic) {
            bond.ports.insert(port);
        }
    }

    /// Packets on links and in middleboxes.
    pub(crate) fn in_flight(&self) -> u64 {
        let pipes = self.pipes.iter().map(|segment| segment.pipe.stats().in_flight.packets);
        let held = self.chains.iter().flat_map(Chain::stats).map(|(_, stats)| stats.held);
        pipes.chain(held).sum()
    }

    /// Whether every packet is accounted for.
    pub(crate) fn is_conserved(&self) -> bool {
        self.unbalanced().is_none()
    }

    /// Whose books are wrong: those of a pipe, of a middlebox, or of all of them together.
    pub(crate) fn unbalanced(&self) -> Option<&str> {
        let pipe = self.pipes.iter().find(|segment| !segment.pipe.stats().is_conserved());
        let middlebox = || self.chains.iter().flat_map(Chain::stats).find(|(_, stats)| !stats.balance());
        let part = pipe.map(|segment| segment.name.as_str()).or_else(|| middlebox().map(|(name, _)| name));
        part.or_else(|| (!self.adds_up()).then_some("the network"))
    }

    /// Whether what hosts sent and what was made on the way, by routers too, is what hosts received, what ended, and what is under way.
    fn adds_up(&self) -> bool {
        let stats = || self.pipes.iter().map(|segment| segment.pipe.stats());
        let duplicated: u64 = stats().map(|stats| stats.duplicated.packets).sum();
        let dropped: u64 = stats().map(|stats| stats.dropped_total().packets).sum();
        let in_flight: u64 = stats().map(|stats| stats.in_flight.packets).sum();
        let boxes = || self.chains.iter().flat_map(Chain::stats).map(|(_, stats)| stats);
        let made: u64 = boxes().map(|stats| stats.made).sum();
        let ended: u64 = boxes().map(|stats| stats.dropped + stats.absorbed + stats.held).sum();
        let NetworkCounters { sent, received, unroutable, answers } = self.counters;
        sent + duplicated + made + answers == received + unroutable + dropped + in_flight + ended
    }

    /// Takes a frame from a host. What asks for the other end of the link is answered at once.
    pub(crate) fn send(
        &mut self,
        host: usize,
        interface: InterfaceId,
        frame: Box<Frame>,
        cx: &mut NetworkContext<'_>,
    ) -> Option<Frame> {
        let port = &self.ports[host][interface.0];
        match neighbour::question(&frame, port.peer.0, port.peer.1) {
            Question::Answer(answer) => return Some(answer),
            Question::Silence => return None,
            Question::None => {}
        }
        let mut packet = Packet::new(self.next_id, frame, cx.now);
        self.next_id += 1;
        self.counters.sent += 1;
        cx.observer.sending(cx.now, host, interface, &packet);
        let bonded = self.bonds.iter_mut().find_map(|bond| bond.choose(host, &packet.frame));
        let chosen = bonded.and_then(|end| self.port_of(end)).unwrap_or(port);
        if chosen.pipe != port.pipe {
            packet.frame.head[..6].copy_from_slice(&chosen.peer.0.0);
            packet.frame.head[6..12].copy_from_slice(&chosen.mac.0);
        }
        let station = chosen.out;
        self.enter(station, packet, cx);
        self.carry(cx);
        cx.observer.sent(cx.now);
        None
    }

    /// Bytes that wait in the transmit rings of a host's interfaces.
    pub(crate) fn rings(&self, host: usize) -> impl Iterator<Item = (InterfaceId, u64)> {
        let waiting = |ring: usize| self.pipes[ring].pipe.queue_len().1 as u64;
        let ports = self.ports[host].iter().enumerate();
        ports.map(move |(index, port)| (InterfaceId(index), port.ring.map_or(0, waiting)))
    }

    /// Brings the books and queues of all pipes up to `now`, up to which nothing is due any more; says when something last
    /// moved in one.
    pub(crate) fn catch_up(&mut self, now: Instant) -> Instant {
        for segment in &mut self.pipes {
            segment.pipe.handle_timeout(now, &mut self.output);
            debug_assert!(self.output.delivered.is_empty() && self.output.dropped.is_empty(), "{}", segment.name);
        }
        self.pipes.iter().map(|segment| segment.pipe.acted_at()).max().unwrap_or_default()
    }

    /// Does what is due in a slot, counted from the first one.
    pub(crate) fn work(&mut self, slot: usize, cx: &mut NetworkContext<'_>) {
        match slot.checked_sub(1) {
            None => self.change_links(cx),
            Some(chain) if chain >= self.pipes.len() => {
                let link = chain - self.pipes.len();
                self.chains[link].handle_timeout(cx.now, &mut self.passed);
                self.take_passed(link, cx);
                self.carry(cx);
            }
            Some(pipe) => {
                self.pipes[pipe].pipe.handle_timeout(cx.now, &mut self.output);
                self.follow(pipe, cx);
                self.carry(cx);
            }
        }
    }

    fn change_links(&mut self, cx: &mut NetworkContext<'_>) {
        for index in 0..self.timetables.len() {
            while self.timetables[index].next_at().is_some_and(|at| at <= cx.now) {
                let Some((_, changes)) = self.timetables[index].next() else { break };
                for change in changes {
                    let segment = &mut self.pipes[index];
                    // Every change was tried when the timetable was made, and one that fails changes nothing.
                    let _ = segment.pipe.apply(cx.now, &change, &mut self.output);
                    cx.observer.link_changed(cx.now, &segment.name, &describe(&change));
                    self.take_output(index, cx);
                }
            }
        }
        self.carry(cx);
        self.look_at_carriers();
        cx.agenda.set(self.first_slot, self.timetables.iter().filter_map(Timetable::next_at).min());
    }

    /// Notes which hosts notice that a link has gone down, or come up. It is down if either direction is.
    fn look_at_carriers(&mut self) {
        for link in 0..self.carriers.len() {
            let up = [0, 1].iter().all(|way| self.pipes[2 * link + way].pipe.state() != LinkState::Down);
            let (before, loss) = &mut self.carriers[link];
            let loss = *loss;
            if std::mem::replace(before, up) == up {
                continue;
            }
            for (host, ports) in self.ports.iter().enumerate() {
                let own = ports.iter().enumerate().filter(|(_, port)| port.pipe / 2 == link);
                let change = |(index, _)| CarrierChange { host, interface: InterfaceId(index), up, loss };
                self.carrier_changes.extend(own.map(change));
            }
        }
    }

    /// The interface of a host at an end of a link.
    fn port_of(&self, end: LinkEnd) -> Option<&Port> {
        let pipe = 2 * end.link + usize::from(end.at_to);
        self.ports.iter().flatten().find(|port| port.pipe == pipe)
    }

    fn add_router(&mut self, scenario: &Scenario, router: &crate::scenario::Router, streams: &Streams) {
        let nanos = router.forwarding.0.div_ceil(1000);
        let mut table = BTreeMap::new();
        for (addr, Hop { link, up }) in addresses::forwarding(scenario, &router.name) {
            let mut station = self.entrance(link, up);
            if nanos > 0 {
                let delay = DelayModel::constant(Duration::from_nanos(nanos));
                let config = PipeConfig { delay, queue: unbounded(), ..PipeConfig::default() };
                let name = format!("router.{}.{link}.{}", router.name, if up { "up" } else { "down" });
                station = self.add_pipe(config, &name, station, streams);
            }
            let own = LinkEnd { link, at_to: !up };
            let pipe = 2 * link + usize::from(!up);
            let (from, to) = (own.mac(), own.other().mac());
            table.insert(addr, Way { station, pipe, from, to, addr: own.addr(scenario).addr });
        }
        self.routers.push(Router { name: router.name.clone(), too_big: router.too_big, table });
    }

    fn add_ports(&mut self, scenario: &Scenario, host: &crate::scenario::Host, streams: &Streams) {
        let mut ports = Vec::new();
        for end in ends_at(scenario, &host.name) {
            let pipe = 2 * end.link + usize::from(end.at_to);
            let mut out = self.entrance(end.link, !end.at_to);
            let mut own_ring = None;
            // The scenario has no rate of zero, and at most 65536 packets.
            if let Some(rate) = host.nic.rate.and_then(|rate| BitRate::new(rate.0).ok()) {
                let ring = usize::try_from(host.nic.ring).unwrap_or(usize::MAX);
                let config = PipeConfig {
                    rate: Some(RateModel::Constant(rate)),
                    queue: QueueConfig::DropTail(Limit::packets(ring)),
                    ..PipeConfig::default()
                };
                let name = format!("nic.{}.{}", host.name, scenario.links[end.link].name);
                out = self.add_pipe(config, &name, out, streams);
                own_ring = Some(self.pipes.len() - 1);
            }
            let peer = (end.other().mac(), end.other().addr(scenario).addr);
            ports.push(Port { out, pipe, ring: own_ring, mac: end.mac(), addr: end.addr(scenario).addr, peer });
        }
        self.ports.push(ports);
    }

    /// Where a packet enters a direction of a link: on the way down the middleboxes come first.
    fn entrance(&self, link: usize, up: bool) -> Station {
        match (up, self.chains[link].is_empty()) {
            (true, _) => Station::Pipe(2 * link),
            (false, true) => Station::Pipe(2 * link + 1),
            (false, false) => Station::Chain(link, Direction::Down),
        }
    }

    /// Adds a pipe that is not of a link.
    fn add_pipe(&mut self, config: PipeConfig, name: &str, next: Station, streams: &Streams) -> Station {
        match Pipe::new(config, name, streams) {
            Ok(pipe) => {
                self.pipes.push(Segment { pipe, name: name.to_owned(), next });
                Station::Pipe(self.pipes.len() - 1)
            }
            // These configurations are sound; without the pipe the packet goes straight on.
            Err(_) => next,
        }
    }
}

/// What is at an end of a link.
fn node_station(scenario: &Scenario, end: LinkEnd) -> Station {
    let node = end.node(scenario);
    if let Some(router) = scenario.routers.iter().position(|router| router.name == node) {
        return Station::Router(router);
    }
    // A link ends at a host or at a router, and a host has an interface for each of its links.
    let host = scenario.hosts.iter().position(|host| host.name == node).unwrap_or(0);
    let interface = ends_at(scenario, node).position(|own| own == end).unwrap_or(0);
    Station::Host(host, InterfaceId(interface))
}

/// The queue of a pipe without a rate, which is always empty.
fn unbounded() -> QueueConfig {
    QueueConfig::DropTail(Limit::packets(usize::MAX))
}

/// A change in a few words.
fn describe(change: &Change) -> String {
    let millis = |delay: Duration| format!("{} ms", delay.as_nanos() as f64 / 1e6);
    match change {
        Change::Up => "up".to_owned(),
        Change::Down => "down".to_owned(),
        Change::Blackhole => "blackhole".to_owned(),
        Change::Rate(Some(RateModel::Constant(rate))) => format!("rate = {} bit/s", rate.get()),
        Change::Rate(_) => "rate".to_owned(),
        Change::Delay(delay) => format!("delay = {}", millis(delay.base)),
        Change::Loss(models) if models.is_empty() => "no loss".to_owned(),
        Change::Loss(_) | Change::LossUnit(_) | Change::LossEcn(_) => "loss".to_owned(),
        Change::Framing(_) => "overhead".to_owned(),
        Change::Duplicate(chance) => format!("duplicate = {} %", chance.probability.fraction() * 100.0),
        Change::Corrupt(chance) => format!("corrupt = {} %", chance.probability.fraction() * 100.0),
        Change::Reorder(_) => "reorder".to_owned(),
        Change::Mtu(Some(mtu)) => format!("MTU = {mtu}"),
        Change::Mtu(None) => "no MTU".to_owned(),
        Change::Queue(_) => "queue".to_owned(),
    }
}
