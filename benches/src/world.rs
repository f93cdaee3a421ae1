//! Two hosts, the wires between them, and an application on both.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use mptcp_core::{
    ConnConfig, ConnId, Event, Limits, ListenConfig, Recv, SchedulerKind, Stack, StackConfig, SubflowState,
};
use tcp_adapter::smoltcp::{SmoltcpConfig, SmoltcpStack};
use tcp_adapter::{ConnectRequest, Frame, Instant, InterfaceConfig, InterfaceId, IpCidr, ListenerId, MacAddr};

use crate::stream::{Position, pattern};

const PORT: u16 = 4420;

/// One way, on every wire. Frames that leave in one turn arrive in the next one, so a longer delay would change
/// no figure but those that the stacks measure themselves.
const DELAY: Duration = Duration::from_micros(50);

/// Turns without a byte read after which a transfer has failed: many retransmission timeouts.
const PATIENCE: u32 = 1_000;

/// What the two hosts and the wires between them are like.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Largest IP packet of every wire, in bytes.
    pub mtu: usize,
    /// Wires, each with an interface at either end; a subflow over each.
    pub links: u8,
    /// Speak MPTCP. If not, the same stacks speak plain TCP.
    pub mptcp: bool,
    /// Use DSS checksums.
    pub checksum: bool,
    /// Scheduler of the sender.
    pub scheduler: SchedulerKind,
    /// Settings of TCP.
    pub tcp: SmoltcpConfig,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            mtu: 1500,
            links: 1,
            mptcp: true,
            checksum: false,
            scheduler: SchedulerKind::default(),
            tcp: SmoltcpConfig::default(),
        }
    }
}

/// Two hosts: 0 connects, 1 listens. At most one connection at a time.
pub struct World {
    now: Instant,
    hosts: [Host; 2],
    listener: ListenerId,
    /// Frames sent by each host so far.
    frames: [u64; 2],
}

struct Host {
    stack: Stack<SmoltcpStack>,
    conn: Option<ConnId>,
    /// Bytes written, and to be written in the end.
    sent: u64,
    to_send: u64,
    received: Position,
    /// The stack has bytes to read, or room to write.
    readable: bool,
    writable: bool,
    /// On the way to this host.
    arriving: Vec<(InterfaceId, Frame)>,
}

impl World {
    /// Two hosts that have not spoken yet.
    ///
    /// # Panics
    /// If the stacks refuse the set-up.
    pub fn new(setup: &Setup) -> Self {
        let mut hosts = [0, 1].map(|host| Host::new(host, setup));
        let listener = hosts[1].stack.listen(None, PORT, ListenConfig::default()).expect("the port is free");
        Self { now: Instant::from_millis(1000), hosts, listener, frames: [0; 2] }
    }

    /// Two hosts with a connection that has a subflow over each wire.
    ///
    /// # Panics
    /// If the connection is not what the set-up asks for.
    pub fn connected(setup: &Setup) -> Self {
        let mut world = Self::new(setup);
        world.connect();
        for link in 1..setup.links {
            world.join(link);
        }
        let client = &world.hosts[0];
        let info = client.conn.and_then(|conn| client.stack.info(conn)).expect("connected");
        assert_eq!((info.fallback.is_none(), info.checksum), (setup.mptcp, setup.checksum && setup.mptcp));
        world
    }

    /// Opens the connection and accepts it.
    ///
    /// # Panics
    /// If it does not come about.
    pub fn connect(&mut self) {
        let request =
            ConnectRequest { local: address(0, 0), local_port: None, remote: SocketAddr::new(address(1, 0), PORT) };
        let conn = self.hosts[0].stack.connect(self.now, &request, ConnConfig::default()).expect("can connect");
        self.hosts[0].start(conn);
        self.run("no connection", |world| world.hosts[1].conn.is_some() && world.hosts[0].writable);
    }

    /// Has host 0 send so much and runs until host 1 has read it.
    ///
    /// # Panics
    /// If it does not arrive, or not as it was sent.
    pub fn transfer(&mut self, bytes: u64) {
        self.hosts[0].to_send += bytes;
        let end = self.hosts[0].to_send;
        self.run("bytes are missing", |world| world.hosts[1].received.0 == end);
    }

    /// So many times in turn, host 0 sends `bytes` and host 1 answers with as many.
    ///
    /// # Panics
    /// If something does not arrive, or not as it was sent.
    pub fn ping_pong(&mut self, times: u32, bytes: u64) {
        for _ in 0..times {
            for from in 0..2 {
                self.hosts[from].to_send += bytes;
                let end = self.hosts[from].to_send;
                self.run("no answer", |world| world.hosts[1 - from].received.0 == end);
            }
        }
    }

    /// Closes the connection from both sides and runs until neither stack knows it any more.
    ///
    /// # Panics
    /// If something is left of it.
    pub fn close(&mut self) {
        for host in &mut self.hosts {
            if let Some(conn) = host.conn.take() {
                host.stack.close(self.now, conn);
            }
        }
        self.run("left behind", |world| world.hosts.iter().all(|host| host.stack.table_sizes() == (0, 0, 0)));
    }

    /// Frames that host 0 has sent so far: while it sends in bulk, nearly all of them carry data.
    pub fn frames_sent(&self) -> u64 {
        self.frames[0]
    }

    /// Bytes that each subflow has carried from host 0 to host 1.
    pub fn bytes_by_subflow(&self) -> Vec<u64> {
        let Host { stack, conn, .. } = &self.hosts[0];
        let subflows = conn.map_or_else(Vec::new, |conn| stack.subflows(conn));
        subflows.iter().map(|subflow| subflow.bytes_sent).collect()
    }

    /// Adds a subflow over a wire.
    fn join(&mut self, link: u8) {
        // A first exchange confirms the connection to the connecting side (RFC 8684 section 3.1).
        self.ping_pong(1, 1);
        let conn = self.hosts[0].conn.expect("connected");
        let remote = SocketAddr::new(address(1, link), PORT);
        let made = self.hosts[0].stack.create_subflow(self.now, conn, address(0, link), remote, false);
        made.expect("a subflow can be added");
        self.run("no subflow", |world| {
            let subflows = world.hosts[0].stack.subflows(conn);
            let up = subflows.iter().filter(|subflow| subflow.state == SubflowState::Established).count();
            up == usize::from(link) + 1
        });
    }

    fn run(&mut self, failure: &str, done: impl Fn(&Self) -> bool) {
        let mut idle = 0;
        while !done(self) {
            let before = self.hosts[1].received;
            self.turn();
            idle = if self.hosts[1].received == before { idle + 1 } else { 0 };
            assert!(
                idle < PATIENCE,
                "{failure} at {:?}",
                self.hosts.each_ref().map(|host| (host.received, host.to_send))
            );
        }
    }

    /// Both applications and both stacks act once, and what they send arrives.
    fn turn(&mut self) {
        let mut quiet = true;
        for from in 0..2 {
            let [first, second] = &mut self.hosts;
            let (host, peer) = if from == 0 { (first, second) } else { (second, first) };
            host.serve(self.now, self.listener);
            let before = peer.arriving.len();
            host.stack.poll_transmit(self.now, &mut |interface, frame| peer.arriving.push((interface, frame)));
            self.frames[from] += (peer.arriving.len() - before) as u64;
            quiet &= peer.arriving.is_empty();
        }
        self.now = if quiet { self.next_deadline() } else { self.now + DELAY };
        for host in &mut self.hosts {
            let mut arriving = std::mem::take(&mut host.arriving);
            for (interface, frame) in arriving.drain(..) {
                host.stack.handle_frame(self.now, interface, frame);
            }
            host.arriving = arriving;
            if host.stack.poll_timeout().is_some_and(|at| at <= self.now) {
                host.stack.handle_timeout(self.now);
            }
        }
    }

    fn next_deadline(&mut self) -> Instant {
        let deadlines = self.hosts.each_mut().map(|host| host.stack.poll_timeout());
        let next = deadlines.into_iter().flatten().min();
        next.map_or(self.now + DELAY, |next| next.max(self.now))
    }
}

impl Host {
    fn new(host: u8, setup: &Setup) -> Self {
        let config = StackConfig {
            mptcp: setup.mptcp,
            checksum: setup.checksum,
            scheduler: setup.scheduler,
            limits: Limits { subflows: setup.links, ..Limits::default() },
            ..StackConfig::default()
        };
        let tcp = SmoltcpStack::new(setup.tcp.clone(), u64::from(host));
        let mut stack = Stack::new(tcp, config, [host; 32]).expect("the configuration is sound");
        for link in 0..setup.links {
            stack.add_interface(InterfaceConfig {
                mac: MacAddr([2, 0, 0, 0, host, link]),
                mtu: setup.mtu,
                addrs: vec![IpCidr { addr: address(host, link), prefix: 24 }],
                routes: Vec::new(),
            });
        }
        Self {
            stack,
            conn: None,
            sent: 0,
            to_send: 0,
            received: Position(0),
            readable: false,
            writable: false,
            arriving: Vec::new(),
        }
    }

    fn start(&mut self, conn: ConnId) {
        self.conn = Some(conn);
        (self.sent, self.to_send, self.received) = (0, 0, Position(0));
        (self.readable, self.writable) = (false, false);
    }

    /// The application hears what has happened, reads and writes.
    fn serve(&mut self, now: Instant, listener: ListenerId) {
        while let Some(event) = self.stack.poll_event() {
            match event {
                Event::Incoming(_) => {
                    if let Some(conn) = self.stack.accept(listener) {
                        self.start(conn);
                        self.writable = true;
                    }
                }
                Event::Readable(_) => self.readable = true,
                Event::Established(_) | Event::Writable(_) => self.writable = true,
                _ => {}
            }
        }
        let Some(conn) = self.conn else { return };
        while self.readable {
            match self.stack.recv(now, conn, 64 << 10) {
                Ok(Recv::Data(bytes)) => self.received.check(&bytes).expect("every byte arrives as it was sent"),
                _ => self.readable = false,
            }
        }
        while self.writable && self.sent < self.to_send {
            let left = usize::try_from(self.to_send - self.sent).unwrap_or(usize::MAX);
            let bytes = pattern(self.sent, left);
            let offered = bytes.len();
            let taken = self.stack.send(now, conn, bytes).expect("the connection is open");
            self.sent += taken as u64;
            self.writable = taken == offered;
        }
    }
}

fn address(host: u8, link: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, link, host + 1).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_pass_in_every_set_up() {
        let plain = Setup { mptcp: false, ..Setup::default() };
        let checksum = Setup { checksum: true, ..Setup::default() };
        let jumbo = Setup { mtu: 9000, ..Setup::default() };
        for setup in [Setup::default(), plain, checksum, jumbo] {
            let mut world = World::connected(&setup);
            world.transfer(1_000_000);
            world.ping_pong(3, 64);
            let least = 1_000_000 / setup.mtu as u64;
            assert!((least..least * 2).contains(&world.frames_sent()), "{} frames, {setup:?}", world.frames_sent());
            world.close();
            world.connect();
            world.transfer(10);
            world.close();
        }
    }

    #[test]
    fn all_subflows_carry_data() {
        let mut world = World::connected(&Setup { links: 4, scheduler: SchedulerKind::RoundRobin, ..Setup::default() });
        world.transfer(4_000_000);
        let carried = world.bytes_by_subflow();
        assert_eq!(carried.len(), 4);
        assert!(carried.iter().all(|bytes| *bytes > 500_000), "{carried:?}");
    }

    #[test]
    #[should_panic(expected = "bytes are missing")]
    fn what_does_not_arrive_is_noticed() {
        let mut world = World::connected(&Setup::default());
        world.hosts[0].writable = false;
        world.transfer(1);
    }
}
