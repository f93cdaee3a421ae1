//! The hosts, the wires between them, and a simple application on both.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use mptcp_core::{
    ConnConfig, ConnId, Counter, Endpoint, EndpointFlags, EndpointId, Event, Limits, ListenConfig, Recv, Stack,
    StackConfig,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tcp_adapter::{
    ConnectRequest, Frame, Instant, InterfaceConfig, InterfaceId, IpCidr, ListenerId, MacAddr, Route, TcpStack,
};

use super::TCPS;
use crate::middlebox::Middlebox;
use crate::tcp::TcpSettings;

/// Port that the second host listens on.
pub(crate) const PORT: u16 = 4420;

/// One wire: what happens to frames in either direction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    /// One way.
    pub(crate) delay: Duration,
    /// Up to so much is added at random, which reorders.
    pub(crate) jitter: Duration,
    /// Of a thousand frames, so many are lost.
    pub(crate) loss: u32,
    /// Of a thousand frames, so many arrive twice.
    pub(crate) duplicate: u32,
    /// Bits per second; `None` is as fast as can be.
    pub(crate) rate: Option<u64>,
    /// Nothing passes.
    pub(crate) down: bool,
}

impl Default for Link {
    fn default() -> Self {
        Self { delay: Duration::from_millis(5), jitter: Duration::ZERO, loss: 0, duplicate: 0, rate: None, down: false }
    }
}

/// Bytes that the application writes at a time at most.
pub(crate) const MAX_WRITE: usize = 10_000;

/// Bytes that wait for the wire at most, at a limited rate: a hundred full frames.
const QUEUE: u64 = 150_000;

/// Steps at one instant at most: two stacks have nothing more to do at a moment than frames can meet there.
const MAX_STANDING: u32 = 10_000;

/// A host with its application.
pub(crate) struct Host {
    pub(crate) stack: Stack<Box<dyn TcpStack>>,
    pub(crate) events: Vec<Event>,
    pub(crate) flows: BTreeMap<ConnId, Flow>,
    pub(crate) listener: Option<ListenerId>,
    /// Stops reading, so that windows close.
    pub(crate) lazy: bool,
    /// Leaves connections where they wait to be accepted.
    pub(crate) deaf: bool,
}

/// What the application does on a connection: sends a pattern, checks the one that it receives.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Flow {
    pub(crate) to_send: u64,
    pub(crate) sent: u64,
    pub(crate) received: u64,
    /// Close this side when everything is sent.
    pub(crate) close: bool,
    pub(crate) shut: bool,
    pub(crate) finished: bool,
    /// The connection has ended before the peer's stream did.
    pub(crate) over: bool,
    /// Altered bytes are expected.
    pub(crate) unchecked: bool,
    pub(crate) altered: u64,
}

pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) hosts: [Host; 2],
    pub(crate) links: Vec<Link>,
    pub(crate) middleboxes: Vec<Option<Middlebox>>,
    flying: BTreeMap<(Instant, u64), (usize, usize, Frame)>,
    /// When the wire is free again, by link and sender.
    busy_until: Vec<[Instant; 2]>,
    sequence: u64,
    /// Steps in a row that took no time.
    standing: u32,
    pub(crate) random: StdRng,
    /// Frames that were delivered, by link and receiver.
    pub(crate) delivered: Vec<[u64; 2]>,
}

pub(crate) fn address(host: usize, link: usize, ipv4: bool) -> IpAddr {
    let last = host + 1;
    let text = if ipv4 { format!("10.0.{link}.{last}") } else { format!("fd00:{link}::{last}") };
    text.parse().unwrap()
}

/// The interface of a host at one end of a link.
fn interface(host: usize, link: usize) -> InterfaceConfig {
    InterfaceConfig {
        mac: MacAddr([2, 0, 0, 0, host as u8, link as u8]),
        mtu: 1500,
        addrs: addresses(host, link),
        routes: [true, false].map(|ipv4| Route::default_via(address(1 - host, link, ipv4))).to_vec(),
    }
}

/// The addresses of an interface: its own, and those of the first link, at which a host is reached over all links.
fn addresses(host: usize, link: usize) -> Vec<IpCidr> {
    let own = [(link, true, 24), (link, false, 64)];
    let first = [(0, true, 32), (0, false, 128)];
    let all = own.into_iter().chain(first.into_iter().filter(|_| link > 0));
    all.map(|(link, ipv4, prefix)| IpCidr { addr: address(host, link, ipv4), prefix }).collect()
}

/// The byte at a position of what a host sends.
fn pattern(host: usize, position: u64) -> u8 {
    let mixed = (position / 7 + host as u64 * 13).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 56) as u8 ^ (position as u8)
}

pub(crate) fn config() -> StackConfig {
    StackConfig {
        recv_buffer_initial: 64 << 10,
        recv_buffer_max: 512 << 10,
        send_buffer: 512 << 10,
        limits: Limits { subflows: 8, add_addr_accepted: 8 },
        ..StackConfig::default()
    }
}

impl World {
    /// Two hosts with `links` wires between them, each with an interface at either end.
    pub(crate) fn new(seed: u64, links: usize, configs: [StackConfig; 2]) -> Self {
        Self::with_tcp(seed, links, configs, TcpSettings::default())
    }

    /// The same, with the TCPs set up so.
    pub(crate) fn with_tcp(seed: u64, links: usize, configs: [StackConfig; 2], settings: TcpSettings) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let mut index = 0;
        let hosts = configs.map(|config| {
            let tcp = TCPS[index].build(settings, config.recv_buffer_max, random.random());
            let mut stack = Stack::new(tcp, config, random.random()).unwrap();
            for link in 0..links {
                stack.add_interface(interface(index, link));
            }
            index += 1;
            Host { stack, events: Vec::new(), flows: BTreeMap::new(), listener: None, lazy: false, deaf: false }
        });
        let mut world = Self {
            now: Instant::from_millis(1000),
            hosts,
            links: vec![Link::default(); links],
            middleboxes: (0..links).map(|_| None).collect(),
            flying: BTreeMap::new(),
            busy_until: vec![[Instant::ZERO; 2]; links],
            sequence: 0,
            standing: 0,
            random,
            delivered: vec![[0; 2]; links],
        };
        let listener = world.hosts[1].stack.listen(None, PORT, ListenConfig::default()).unwrap();
        world.hosts[1].listener = Some(listener);
        world
    }

    /// Two hosts of the usual kind.
    pub(crate) fn simple(seed: u64, links: usize) -> Self {
        Self::new(seed, links, [config(), config()])
    }

    /// Puts another wire between the hosts.
    pub(crate) fn add_link(&mut self) {
        let link = self.links.len();
        for host in 0..2 {
            self.hosts[host].stack.add_interface(interface(host, link));
        }
        self.links.push(Link::default());
        self.middleboxes.push(None);
        self.busy_until.push([Instant::ZERO; 2]);
        self.delivered.push([0; 2]);
    }

    /// Gives host 0 endpoints of the kind `subflow` on all links but the first.
    pub(crate) fn mesh(&mut self, ipv4: bool) {
        for link in 1..self.links.len() {
            let flags = EndpointFlags { subflow: true, ..EndpointFlags::default() };
            self.endpoint(0, link, ipv4, flags);
        }
    }

    pub(crate) fn endpoint(&mut self, host: usize, link: usize, ipv4: bool, flags: EndpointFlags) -> EndpointId {
        let endpoint = Endpoint::new(address(host, link, ipv4), flags);
        self.hosts[host].stack.add_endpoint(endpoint).unwrap()
    }

    /// Host 0 connects to host 1 over the first link.
    pub(crate) fn connect(&mut self, ipv4: bool) -> ConnId {
        let request = ConnectRequest {
            local: address(0, 0, ipv4),
            local_port: None,
            remote: SocketAddr::new(address(1, 0, ipv4), PORT),
        };
        let id = self.hosts[0].stack.connect(self.now, &request, ConnConfig::default()).unwrap();
        self.hosts[0].flows.insert(id, Flow::default());
        id
    }

    /// Connects and waits until both ends are open: both handles.
    pub(crate) fn open(&mut self) -> [ConnId; 2] {
        let client = self.connect(true);
        let open =
            self.run_until(60, |world| world.server_conn().is_some() && world.saw(0, Event::Established(client)));
        assert!(open, "no connection: {:?} {:?}", self.hosts[0].events, self.hosts[1].events);
        [client, self.server_conn().unwrap()]
    }

    /// Connects with subflows on all links and waits for them.
    pub(crate) fn open_mesh(&mut self) -> [ConnId; 2] {
        self.mesh(true);
        let conns = self.open();
        let links = self.links.len();
        let joined = self.run_until(60, |world| world.subflows_up(0, conns[0]) == links);
        assert!(joined, "{:?}", self.hosts[0].stack.subflows(conns[0]));
        conns
    }

    pub(crate) fn subflows_up(&self, host: usize, conn: ConnId) -> usize {
        let subflows = self.hosts[host].stack.subflows(conn);
        subflows.iter().filter(|subflow| subflow.state.to_string() == "established").count()
    }

    /// The last connection that host 1 has accepted.
    pub(crate) fn server_conn(&self) -> Option<ConnId> {
        self.hosts[1].flows.keys().next_back().copied()
    }

    pub(crate) fn saw(&self, host: usize, event: Event) -> bool {
        self.hosts[host].events.contains(&event)
    }

    pub(crate) fn mib(&self, host: usize, counter: Counter) -> u64 {
        self.hosts[host].stack.mib().get(counter)
    }

    pub(crate) fn flow(&mut self, host: usize, conn: ConnId) -> &mut Flow {
        self.hosts[host].flows.get_mut(&conn).unwrap()
    }

    /// Has a host send so much and, if asked to, close its side.
    pub(crate) fn send(&mut self, host: usize, conn: ConnId, bytes: u64, close: bool) {
        let flow = self.flow(host, conn);
        flow.to_send += bytes;
        flow.close |= close;
        self.serve(host);
    }

    /// Whether everything that one end sent has arrived at the other, intact and with the end seen.
    pub(crate) fn transferred(&self, conns: [ConnId; 2], close: bool) -> bool {
        (0..2).all(|host| {
            let sent = &self.hosts[1 - host].flows[&conns[1 - host]];
            let got = &self.hosts[host].flows[&conns[host]];
            got.received == sent.to_send && (!close || got.finished)
        })
    }

    /// Runs until `done` or `seconds` of virtual time have passed; whether it was done.
    pub(crate) fn run_until(&mut self, seconds: u64, mut done: impl FnMut(&Self) -> bool) -> bool {
        let end = self.now + Duration::from_secs(seconds);
        loop {
            if done(self) {
                return true;
            }
            if !self.step(end) {
                return done(self);
            }
        }
    }

    pub(crate) fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while self.step(end) {}
        self.now = end;
    }

    /// Goes on to whatever happens next; false if that is after `end`.
    pub(crate) fn step(&mut self, end: Instant) -> bool {
        for host in 0..2 {
            self.settle(host);
        }
        let arrival = self.flying.keys().next().map(|(at, _)| *at);
        let timers = [0, 1].map(|host| self.hosts[host].stack.poll_timeout());
        let next = timers.into_iter().flatten().chain(arrival).min();
        let Some(next) = next.filter(|next| *next <= end) else { return false };
        self.standing = if next > self.now { 0 } else { self.standing + 1 };
        assert!(self.standing < MAX_STANDING, "something is due for ever: {timers:?} at {:?}", self.now);
        self.now = self.now.max(next);
        while let Some(entry) = self.flying.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let (host, link, frame) = entry.remove();
            self.delivered[link][host] += 1;
            self.hosts[host].stack.handle_frame(self.now, InterfaceId(link), frame);
        }
        for host in 0..2 {
            if self.hosts[host].stack.poll_timeout().is_some_and(|at| at <= self.now) {
                self.hosts[host].stack.handle_timeout(self.now);
            }
        }
        true
    }

    fn settle(&mut self, host: usize) {
        while let Some(event) = self.hosts[host].stack.poll_event() {
            self.hosts[host].events.push(event);
            if let Event::Incoming(listener) = event
                && !self.hosts[host].deaf
                && let Some(conn) = self.hosts[host].stack.accept(listener)
            {
                self.hosts[host].flows.insert(conn, Flow::default());
            }
        }
        self.serve(host);
        let mut frames = Vec::new();
        self.hosts[host].stack.poll_transmit(self.now, &mut |interface, frame| frames.push((interface.0, frame)));
        for (link, frame) in frames {
            let altered = match &mut self.middleboxes[link] {
                Some(middlebox) => middlebox(host, frame),
                None => vec![frame],
            };
            for frame in altered {
                self.launch(host, link, frame);
            }
        }
    }

    /// Puts a frame on a wire.
    pub(crate) fn launch(&mut self, from: usize, link: usize, frame: Frame) {
        let Link { delay, jitter, loss, duplicate, rate, down } = self.links[link];
        let start = self.busy_until[link][from].max(self.now);
        let time_of =
            |bytes: u64| rate.map_or(Duration::ZERO, |rate| Duration::from_nanos(bytes * 8_000_000_000 / rate));
        let wire_time = time_of(frame.len() as u64);
        if down || start - self.now > time_of(QUEUE) {
            return;
        }
        self.busy_until[link][from] = start + wire_time;
        if self.random.random_range(0..1000) < loss {
            return;
        }
        let copies = if self.random.random_range(0..1000) < duplicate { 2 } else { 1 };
        for _ in 0..copies {
            let late = Duration::from_nanos(self.random.random_range(0..=u64::try_from(jitter.as_nanos()).unwrap()));
            self.sequence += 1;
            let at = start + wire_time + delay + late;
            self.flying.insert((at, self.sequence), (1 - from, link, frame.clone()));
        }
    }

    /// The application of a host writes and reads.
    fn serve(&mut self, host: usize) {
        let now = self.now;
        let Host { stack, flows, lazy, .. } = &mut self.hosts[host];
        for (conn, flow) in flows {
            let conn = *conn;
            while flow.sent < flow.to_send {
                let len = (flow.to_send - flow.sent).min(MAX_WRITE as u64);
                let bytes: Bytes = (flow.sent..flow.sent + len).map(|position| pattern(host, position)).collect();
                match stack.send(now, conn, bytes) {
                    Ok(0) | Err(_) => break,
                    Ok(taken) => flow.sent += taken as u64,
                }
            }
            if flow.close && !flow.shut && flow.sent == flow.to_send {
                flow.shut = true;
                stack.shutdown(now, conn);
            }
            if !*lazy {
                read_all(now, host, stack, conn, flow);
            }
        }
    }

    /// Gives back all handles and checks that nothing is left of any connection.
    pub(crate) fn close_all(&mut self) {
        let mut gone = false;
        // Once more for connections that are accepted only now.
        for _ in 0..2 {
            for host in 0..2 {
                for conn in std::mem::take(&mut self.hosts[host].flows).into_keys() {
                    self.hosts[host].stack.close(self.now, conn);
                }
            }
            gone = gone
                || self.run_until(200, |world| {
                    let empty = |host: &Host| host.stack.table_sizes() == (0, 0, 0) && host.stack.memory_held() == 0;
                    world.hosts.iter().all(empty)
                });
        }
        let sizes = [0, 1].map(|host| (self.hosts[host].stack.table_sizes(), self.hosts[host].stack.memory_held()));
        assert!(gone, "left behind: {sizes:?}");
    }
}

/// Reads what there is and compares it with what the other host sends.
fn read_all(now: Instant, host: usize, stack: &mut Stack<Box<dyn TcpStack>>, conn: ConnId, flow: &mut Flow) {
    loop {
        match stack.recv(now, conn, 64 << 10) {
            Ok(Recv::Data(bytes)) => {
                for byte in bytes {
                    if byte != pattern(1 - host, flow.received) {
                        assert!(flow.unchecked, "byte {} altered at host {host}", flow.received);
                        flow.altered += 1;
                    }
                    flow.received += 1;
                }
            }
            Ok(Recv::Finished) => {
                flow.finished = true;
                return;
            }
            Ok(Recv::WouldBlock) => return,
            Err(_) => {
                flow.over = true;
                return;
            }
        }
    }
}
