//! A host: a whole stack, and the machine beneath it.

mod offload;
mod processor;
mod tcp;

use std::collections::{BTreeMap, VecDeque};

use mptcp_core::scheduler::Learning;
use mptcp_core::{
    ConfigError, ConnId, Endpoint, EndpointFlags, Event, Limits, Observation, SchedulerKind, Stack, StackConfig,
};
use rand::Rng;
use tcp_adapter::{Frame, Instant, InterfaceConfig, InterfaceId, ListenerId, Offload, TcpStack};

use crate::deadline::earlier;
use crate::network::{self, CarrierChange};
use crate::packet::Boxes;
use crate::random::Streams;
use crate::scenario::{self, CarrierLoss, EndpointFlag, Endpoints, Scenario, Transport};
use crate::traffic::datagram;
use processor::Processor;

/// The stack of a host, whatever its TCP.
pub(crate) type HostStack = Stack<Box<dyn TcpStack>>;

/// A host in a run.
pub(crate) struct Host {
    name: String,
    pub(crate) stack: HostStack,
    /// Interfaces complete the checksums of what they send.
    seals: bool,
    processor: Processor,
    /// Frames that the interfaces have received and the processor has not taken yet, each ring in its order of
    /// arrival; the processor takes them in the order in which they came.
    ring: VecDeque<(InterfaceId, Box<Frame>)>,
    ring_use: Vec<usize>,
    ring_size: usize,
    ring_drops: u64,
    /// Frames may wait beneath the stack: for the processor, or in the ring of an interface with a rate of its own.
    holds_back: bool,
    /// Datagrams that were received, and that are to be sent.
    datagrams: VecDeque<Frame>,
    outgoing: VecDeque<(InterfaceId, Frame)>,
    /// Frames that the processor is still busy with, and when it has done.
    leaving: VecDeque<(Instant, InterfaceId, Box<Frame>)>,
    /// Bytes of these at each interface, as its driver knows them.
    leaving_bytes: Vec<u64>,
    /// Who uses a connection, or did.
    conns: BTreeMap<ConnId, User>,
    /// Which flow's listening end a listener belongs to.
    listeners: BTreeMap<ListenerId, usize>,
    next_port: u16,
    /// The interfaces, with the addresses that they have while their links work.
    interfaces: Vec<InterfaceConfig>,
}

/// An end of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// That which connects.
    Client,
    /// That which listens.
    Server,
}

impl Side {
    /// As an index.
    pub(crate) fn index(self) -> usize {
        self as usize
    }

    /// The other end.
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// Who uses a connection.
struct User {
    /// The number of a flow.
    flow: usize,
    /// Which of its ends.
    side: Side,
    /// It wants to hear of the connection.
    listens: bool,
}

/// What has happened to a flow at a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FlowEvent {
    /// A connection has come in.
    Incoming(ListenerId, usize),
    /// Anything else.
    Stack(Event, usize, Side),
}

/// Frames that the processor takes before it looks at what is to be sent, as Linux's NAPI budget.
const BUDGET: usize = 64;

/// The first port that is listened on.
const FIRST_PORT: u16 = 5001;

/// Bytes that a receive buffer starts with, unless it may not become so large.
const RECV_BUFFER_INITIAL: usize = 256 << 10;

impl Host {
    /// A host of a scenario; `looked_at` if somebody looks at its packets, or has their checksums computed for their own sake.
    ///
    /// # Errors
    /// Its stack refuses its settings.
    pub(crate) fn new(
        scenario: &Scenario,
        host: &scenario::Host,
        streams: Streams,
        looked_at: bool,
        learning: Learning,
    ) -> Result<Self, ConfigError> {
        let mut random = streams.stream(&format!("host.{}", host.name));
        let mut seed = [0; 32];
        random.fill_bytes(&mut seed);
        let tcp = tcp::stack(scenario, host, random.next_u64());
        let mut stack = Stack::new(tcp, StackConfig { learning, ..stack_config(scenario, host) }, seed)?;
        let interfaces = network::interfaces(scenario, &host.name);
        let seals = looked_at || !offload::are_bytes_kept(scenario);
        for interface in &interfaces {
            let id = stack.add_interface(interface.clone());
            let offload = Offload { checksum: host.nic.tso || !seals, segmentation: host.nic.tso };
            stack.set_offload(id, offload);
        }
        for endpoint in endpoints(scenario, host) {
            // Addresses are those of interfaces and differ from one another, and flags that contradict each other are no scenario. Of more endpoints than
            // there are ids, the last ones have none.
            let _ = stack.add_endpoint(endpoint);
        }
        let processor = Processor::new(host.cpu, host.nic.tso);
        Ok(Self {
            name: host.name.clone(),
            stack,
            seals,
            holds_back: !processor.is_free_of_charge() || host.nic.rate.is_some(),
            processor,
            ring: VecDeque::new(),
            ring_use: vec![0; interfaces.len()],
            ring_size: usize::try_from(host.nic.ring).unwrap_or(usize::MAX),
            ring_drops: 0,
            datagrams: VecDeque::new(),
            outgoing: VecDeque::new(),
            leaving: VecDeque::new(),
            leaving_bytes: vec![0; interfaces.len()],
            conns: BTreeMap::new(),
            listeners: BTreeMap::new(),
            next_port: FIRST_PORT,
            interfaces,
        })
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Frames that came while a ring was full.
    pub(crate) fn ring_drops(&self) -> u64 {
        self.ring_drops
    }

    /// A port that nothing listens on yet; `None` once there is none.
    pub(crate) fn take_port(&mut self) -> Option<u16> {
        let port = self.next_port;
        self.next_port = port.checked_add(1)?;
        Some(port)
    }

    /// The listener is that of a flow.
    pub(crate) fn own_listener(&mut self, listener: ListenerId, flow: usize) {
        self.listeners.insert(listener, flow);
    }

    /// The connection is that of an end of a flow.
    pub(crate) fn own_conn(&mut self, conn: ConnId, flow: usize, side: Side) {
        self.conns.insert(conn, User { flow, side, listens: true });
    }

    /// Nobody wants to hear of the connection any more. What its stack still does with it counts as the flow's.
    pub(crate) fn disown(&mut self, conn: ConnId) {
        if let Some(user) = self.conns.get_mut(&conn) {
            user.listens = false;
        }
    }

    /// Takes a packet from the network. The frame stays in its box until the stack takes it; then the box goes to `boxes`.
    pub(crate) fn receive(&mut self, now: Instant, interface: InterfaceId, frame: Box<Frame>, boxes: &mut Boxes) {
        if self.processor.is_free_of_charge() {
            self.take(now, interface, frame, boxes);
        } else if self.ring_use[interface.0] >= self.ring_size {
            self.ring_drops += 1;
        } else {
            self.ring_use[interface.0] += 1;
            self.ring.push_back((interface, frame));
        }
    }

    /// A link has lost its carrier, or has one again: the stack is told as the SDK tells it what the kernel says of its interfaces.
    pub(crate) fn carrier(&mut self, now: Instant, CarrierChange { interface, up, loss, .. }: CarrierChange) {
        match up {
            true => self.stack.link_up(now, interface),
            false => self.stack.link_down(now, interface),
        };
        if loss == CarrierLoss::Address {
            let config = Some(&self.interfaces[interface.0]).filter(|_| up);
            let (addrs, routes) =
                config.map(|config| (config.addrs.clone(), config.routes.clone())).unwrap_or_default();
            self.stack.set_addresses(now, interface, addrs, routes);
        }
    }

    /// Takes what waits in the rings, and does what is due; false, doing nothing, while the processor is busy.
    pub(crate) fn take_in(&mut self, now: Instant, boxes: &mut Boxes) -> bool {
        if self.processor.is_busy(now) {
            return false;
        }
        for _ in 0..BUDGET {
            let Some((interface, frame)) = self.ring.pop_front() else { break };
            self.ring_use[interface.0] -= 1;
            self.processor.receive(now, frame.len());
            self.take(now, interface, frame, boxes);
        }
        if self.stack.poll_timeout().is_some_and(|at| at <= now) {
            self.stack.handle_timeout(now);
        }
        true
    }

    fn take(&mut self, now: Instant, interface: InterfaceId, frame: Box<Frame>, boxes: &mut Boxes) {
        if datagram::port(&frame).is_some() {
            self.datagrams.push_back(boxes.unpack(frame));
        } else {
            self.stack.handle_frame(now, interface, boxes.unpack(frame));
        }
    }

    /// The next datagram that was received.
    pub(crate) fn poll_datagram(&mut self) -> Option<Frame> {
        self.datagrams.pop_front()
    }

    /// Sends a datagram when the processor has time.
    pub(crate) fn send_datagram(&mut self, interface: InterfaceId, frame: Frame) {
        self.outgoing.push_back((interface, frame));
    }

    /// The next thing that has happened to one of the flows.
    pub(crate) fn poll_event(&mut self) -> Option<FlowEvent> {
        loop {
            let event = self.stack.poll_event()?;
            let found = match event {
                Event::Incoming(listener) => {
                    self.listeners.get(&listener).map(|flow| FlowEvent::Incoming(listener, *flow))
                }
                Event::Established(conn)
                | Event::Readable(conn)
                | Event::Writable(conn)
                | Event::Finished(conn)
                | Event::Closed(conn, _)
                | Event::FellBack(conn, _)
                | Event::SubflowEstablished(conn, _)
                | Event::SubflowClosed(conn, _, _)
                | Event::SubflowPriority(conn, _, _)
                | Event::AddressAnnounced(conn, ..)
                | Event::AddressRemoved(conn, _) => {
                    let user = self.conns.get(&conn).filter(|user| user.listens);
                    user.map(|user| FlowEvent::Stack(event, user.flow, user.side))
                }
            };
            if found.is_some() {
                return found;
            }
        }
    }

    /// The end of a flow whose data or subflows the stack has done something with.
    pub(crate) fn end_of(&self, observation: &Observation) -> Option<(usize, Side)> {
        let (Observation::Scheduled { conn, .. }
        | Observation::Reinjected { conn, .. }
        | Observation::Mapped { conn, .. }
        | Observation::Acknowledged { conn, .. }
        | Observation::SubflowGone { conn, .. }) = observation
        else {
            return None;
        };
        self.conns.get(conn).map(|user| (user.flow, user.side))
    }

    /// Gives the frames to `sink` that the processor has readied.
    pub(crate) fn give_ready(&mut self, now: Instant, sink: &mut impl FnMut(InterfaceId, Box<Frame>)) {
        while self.leaving.front().is_some_and(|(at, ..)| *at <= now) {
            if let Some((_, interface, frame)) = self.leaving.pop_front() {
                self.leaving_bytes[interface.0] -= frame.len() as u64;
                sink(interface, frame);
            }
        }
    }

    /// Has the stack send what it can, each frame in one of `boxes`. What takes the processor no time goes to `sink`.
    pub(crate) fn give_out(&mut self, now: Instant, boxes: &mut Boxes, sink: &mut impl FnMut(InterfaceId, Box<Frame>)) {
        let Self { stack, seals, processor, leaving, leaving_bytes, outgoing, .. } = self;
        // A super-segment costs the processor as much as one packet; what the link gets is what the interface cuts it into.
        let mut send = |interface: InterfaceId, frame: Frame| {
            let frame = boxes.pack(frame);
            match processor.send(now, interface, &frame) {
                None => offload::complete(frame, *seals, boxes, |frame| sink(interface, frame)),
                Some(at) => offload::complete(frame, *seals, boxes, |frame| {
                    leaving_bytes[interface.0] += frame.len() as u64;
                    leaving.push_back((at, interface, frame));
                }),
            }
        };
        while let Some((interface, frame)) = outgoing.pop_front() {
            send(interface, frame);
        }
        stack.poll_transmit(now, &mut send);
    }

    /// Whether what it sends may wait beneath its stack, so that the stack must be [told](Self::tell_ring).
    pub(crate) fn holds_back(&self) -> bool {
        self.holds_back
    }

    /// So many bytes wait in the ring of an interface that is slower than the processor.
    pub(crate) fn tell_ring(&mut self, interface: InterfaceId, bytes: u64) {
        self.stack.set_interface_queue(interface, bytes + self.leaving_bytes[interface.0]);
    }

    /// When there is something to do here if nothing arrives before.
    pub(crate) fn deadline(&mut self, now: Instant) -> Option<Instant> {
        let leaving = self.leaving.front().map(|(at, ..)| *at);
        let idle = self.ring.is_empty() && self.outgoing.is_empty();
        let waiting = if idle { self.stack.poll_timeout() } else { Some(now) };
        let waiting = waiting.map(|at| self.processor.free_at(at.max(now)));
        earlier(leaving, waiting)
    }
}

fn stack_config(scenario: &Scenario, host: &scenario::Host) -> StackConfig {
    let recv_buffer_max = bytes(host.recv_buffer);
    let connections: u64 = scenario.traffic.iter().map(|traffic| scenario.connections_of(traffic)).sum();
    let scheduler: SchedulerKind = scenario.mptcp.scheduler;
    StackConfig {
        checksum: scenario.mptcp.checksum,
        map_every_segment: scenario.mptcp.map_every_segment,
        scheduler,
        coupling: scenario.mptcp.coupling,
        qos: scenario.qos,
        send_buffer: bytes(host.send_buffer),
        recv_buffer_initial: RECV_BUFFER_INITIAL.min(recv_buffer_max),
        recv_buffer_max,
        // A scenario chooses buffers, and the machine that simulates it must have the memory.
        memory_limit: usize::MAX / 2,
        max_connections: usize::try_from(2 * connections + 64).unwrap_or(usize::MAX),
        limits: Limits { subflows: scenario.mptcp.subflows, add_addr_accepted: scenario.mptcp.add_addr_accepted },
        ..StackConfig::default()
    }
}

/// Addresses that the path manager of a host may use.
fn endpoints(scenario: &Scenario, host: &scenario::Host) -> Vec<Endpoint> {
    let ends: Vec<_> = network::ends_at(scenario, &host.name).collect();
    match &scenario.mptcp.endpoints {
        Endpoints::List(list) => {
            let own = list.iter().filter(|endpoint| endpoint.host == host.name);
            own.filter_map(|endpoint| {
                let end = ends.iter().find(|end| scenario.links[end.link].name == endpoint.link)?;
                let has = |flag| endpoint.flags.contains(&flag);
                let flags = EndpointFlags {
                    signal: has(EndpointFlag::Signal),
                    subflow: has(EndpointFlag::Subflow),
                    backup: has(EndpointFlag::Backup),
                    fullmesh: has(EndpointFlag::Fullmesh),
                    laminar: has(EndpointFlag::Laminar),
                    implicit: false,
                };
                Some(Endpoint::new(end.addr(scenario).addr, flags))
            })
            .collect()
        }
        Endpoints::Auto => {
            let multipath = || scenario.traffic.iter().filter(|traffic| traffic.transport == Transport::Mptcp);
            let connects = multipath().any(|traffic| traffic.from == host.name);
            let listens = multipath().any(|traffic| traffic.to == host.name);
            let flags =
                EndpointFlags { subflow: connects, signal: listens && ends.len() > 1, ..EndpointFlags::default() };
            if !flags.subflow && !flags.signal {
                return Vec::new();
            }
            ends.iter().map(|end| Endpoint::new(end.addr(scenario).addr, flags)).collect()
        }
    }
}

/// Bytes of a size.
fn bytes(size: scenario::Size) -> usize {
    usize::try_from(size.0).unwrap_or(usize::MAX)
}
