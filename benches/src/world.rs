//! Two hosts, the wires between them, and an application on both.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use mptcp_core::{
    ConnConfig, ConnId, Event, Limits, ListenConfig, Recv, SchedulerKind, Stack, StackConfig, SubflowState,
};
use nvme_io::net::Outgoing;
use tcp_adapter::native::Coalescer;
use tcp_adapter::{ConnectRequest, Frame, Instant, InterfaceId, Offload};

use crate::engine::{Engine, TcpSetup};
use crate::nvme::Carrier;
use crate::place::{DELAY, PORT, address, interface};
use crate::stream::{Position, pattern};

/// Connections to a port of host 1: not all ephemeral ports, among which a free one is looked for by chance.
const PER_PORT: usize = 8_000;

/// Bytes of one call to receive at most, where the application takes what there is.
const MOST_RECEIVED: usize = 1 << 20;

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
    /// What the wires do for the stacks, at both ends.
    pub offload: Offload,
    /// Settings of TCP.
    pub tcp: TcpSetup,
    /// Received segments are joined before the stack gets them, if it takes super-segments.
    pub coalesce: bool,
    /// Connections that are open besides and carry nothing, at most.
    pub idle: usize,
}

/// Wires that figures are given for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// Packets of 1500 bytes; the stacks compute and verify all checksums.
    Mtu1500,
    /// The same with 9000 bytes.
    Mtu9000,
    /// Packets of 1500 bytes in memory: no TCP checksum is computed or verified.
    Partial1500,
    /// The same with 9000 bytes.
    Partial9000,
    /// Frames of 64 KiB in memory: super-segments for an MTU of 1500, or packets of 65,535 bytes where the stack makes none.
    Tso,
}

impl Wire {
    /// Name in the groups of benchmarks.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mtu1500 => "mtu1500",
            Self::Mtu9000 => "mtu9000",
            Self::Partial1500 => "partial1500",
            Self::Partial9000 => "partial9000",
            Self::Tso => "tso",
        }
    }

    /// `setup` over this wire, for the stack `T`.
    pub fn under<T: Engine>(self, setup: Setup) -> Setup {
        let mtu = match self {
            Self::Mtu1500 | Self::Partial1500 => 1500,
            Self::Mtu9000 | Self::Partial9000 => 9000,
            Self::Tso if T::SEGMENTATION => 1500,
            Self::Tso => 65_535,
        };
        let checksum = !matches!(self, Self::Mtu1500 | Self::Mtu9000);
        Setup { mtu, offload: Offload { checksum, segmentation: self == Self::Tso }, ..setup }
    }
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            mtu: 1500,
            links: 1,
            mptcp: true,
            checksum: false,
            scheduler: SchedulerKind::default(),
            offload: Offload::default(),
            tcp: TcpSetup::default(),
            coalesce: false,
            idle: 0,
        }
    }
}

/// Two hosts: 0 connects, 1 listens. One connection at a time carries bytes.
pub struct World<T> {
    now: Instant,
    hosts: [Host<T>; 2],
    /// Connections that are open besides.
    idle: usize,
    /// Frames sent by each host so far.
    frames: [u64; 2],
    /// How often nothing was sent, one after the other, when it was one host's turn.
    silent: u32,
}

struct Host<T> {
    stack: Stack<T>,
    conn: Option<ConnId>,
    /// Bytes written, and to be written in the end.
    sent: u64,
    to_send: u64,
    received: Position,
    /// The stack has bytes to read, or room to write.
    readable: bool,
    writable: bool,
    /// One for each interface, if segments are joined.
    coalescers: Vec<Coalescer>,
    /// On the way to this host.
    arriving: Vec<(InterfaceId, Frame)>,
}

impl<T: Engine> World<T> {
    /// Two hosts that have not spoken yet.
    ///
    /// # Panics
    /// If the stacks refuse the set-up.
    pub fn new(setup: &Setup) -> Self {
        let mut hosts = [0, 1].map(|host| Host::new(host, setup));
        let ports = 0..=u16::try_from(setup.idle / PER_PORT).expect("a number of ports");
        for port in ports {
            hosts[1].stack.listen(None, PORT + port, ListenConfig::default()).expect("the port is free");
        }
        Self { now: Instant::from_millis(1000), hosts, idle: 0, frames: [0; 2], silent: 0 }
    }

    /// Two hosts with a connection that has a subflow over each wire.
    ///
    /// # Panics
    /// If the connection is not what the set-up asks for.
    pub fn connected(setup: &Setup) -> Self {
        let mut world = Self::new(setup);
        for _ in 0..setup.idle {
            world.open_subflows(setup.links);
            world.leave();
        }
        world.open_subflows(setup.links);
        let client = &world.hosts[0];
        let info = client.conn.and_then(|conn| client.stack.info(conn)).expect("connected");
        assert_eq!((info.fallback.is_none(), info.checksum), (setup.mptcp, setup.checksum && setup.mptcp));
        world
    }

    /// The connection stays open and carries nothing more.
    fn leave(&mut self) {
        for host in &mut self.hosts {
            host.conn = None;
        }
        self.idle += 1;
    }

    /// Lets time pass, and whatever is due happen.
    pub fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while self.now < until {
            self.turn();
        }
    }

    /// Address and port of host 1 for the next connection.
    fn remote(&self, link: u8) -> SocketAddr {
        let port = u16::try_from(self.idle / PER_PORT).unwrap_or(u16::MAX);
        SocketAddr::new(address(1, link), PORT + port)
    }

    fn open_subflows(&mut self, links: u8) {
        self.connect();
        for link in 1..links {
            self.join(link);
        }
    }

    /// Opens the connection and accepts it.
    ///
    /// # Panics
    /// If it does not come about.
    pub fn connect(&mut self) {
        let request = ConnectRequest { local: address(0, 0), local_port: None, remote: self.remote(0) };
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
        let remote = self.remote(link);
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
            self.hosts[from].serve(self.now);
            quiet &= !self.transmit(from);
        }
        self.now = if quiet { self.next_deadline() } else { self.now + DELAY };
        for host in &mut self.hosts {
            host.receive_all(self.now);
            host.handle_timeout(self.now);
        }
    }

    /// Puts what a stack sends on the wires. Returns whether there was anything.
    fn transmit(&mut self, from: usize) -> bool {
        let [first, second] = &mut self.hosts;
        let (host, peer) = if from == 0 { (first, second) } else { (second, first) };
        let before = peer.arriving.len();
        host.stack.poll_transmit(self.now, &mut |interface, frame| peer.arriving.push((interface, frame)));
        self.frames[from] += (peer.arriving.len() - before) as u64;
        !peer.arriving.is_empty()
    }

    fn next_deadline(&mut self) -> Instant {
        let deadlines = self.hosts.each_mut().map(|host| host.stack.poll_timeout());
        let next = deadlines.into_iter().flatten().min();
        next.map_or(self.now + DELAY, |next| next.max(self.now))
    }
}

impl<T: Engine> Carrier for World<T> {
    fn send(&mut self, from: usize, outgoing: &mut Outgoing) {
        let Self { now, hosts, .. } = self;
        let Host { stack, conn: Some(conn), writable, .. } = &mut hosts[from] else { return };
        if *writable {
            let handed = outgoing.hand_over(|bytes, message| stack.send_message(*now, *conn, bytes, message));
            handed.expect("the connection is open");
            *writable = outgoing.is_empty();
        }
    }

    fn carry(&mut self, from: usize) {
        self.silent = if self.transmit(from) { 0 } else { self.silent + 1 };
        self.now = if self.silent > 1 { self.next_deadline() } else { self.now + DELAY };
        self.hosts[1 - from].receive_all(self.now);
        for host in &mut self.hosts {
            host.handle_timeout(self.now);
            host.hear();
        }
    }

    fn receive(&mut self, at: usize) -> Option<Bytes> {
        let Host { stack, conn: Some(conn), readable, .. } = &mut self.hosts[at] else { return None };
        if *readable && let Ok(Recv::Data(bytes)) = stack.recv(self.now, *conn, MOST_RECEIVED) {
            return Some(bytes);
        }
        *readable = false;
        None
    }
}

impl<T: Engine> Host<T> {
    fn new(host: u8, setup: &Setup) -> Self {
        let config = StackConfig {
            mptcp: setup.mptcp,
            checksum: setup.checksum,
            scheduler: setup.scheduler,
            max_connections: setup.idle + 16,
            limits: Limits { subflows: setup.links, ..Limits::default() },
            ..StackConfig::default()
        };
        let tcp =
            T::build(&TcpSetup { max_connections: setup.idle * usize::from(setup.links) + 16, ..setup.tcp }, host);
        let mut stack = Stack::new(tcp, config, [host; 32]).expect("the configuration is sound");
        for link in 0..setup.links {
            let id = stack.add_interface(interface(host, link, setup.mtu));
            stack.set_offload(id, setup.offload);
        }
        let coalescers = if setup.coalesce && T::SEGMENTATION { setup.links } else { 0 };
        let coalescers = (0..coalescers).map(|_| Coalescer::new()).collect();
        Self {
            stack,
            conn: None,
            sent: 0,
            to_send: 0,
            received: Position(0),
            readable: false,
            writable: false,
            coalescers,
            arriving: Vec::new(),
        }
    }

    fn receive(&mut self, now: Instant, interface: InterfaceId, frame: Frame) {
        match self.coalescers.get_mut(interface.0) {
            Some(coalescer) => coalescer.push(frame, &mut |frame| self.stack.handle_frame(now, interface, frame)),
            None => self.stack.handle_frame(now, interface, frame),
        }
    }

    /// Everything arrives that is on the way.
    fn receive_all(&mut self, now: Instant) {
        let mut arriving = std::mem::take(&mut self.arriving);
        for (interface, frame) in arriving.drain(..) {
            self.receive(now, interface, frame);
        }
        self.receive_rest(now);
        self.arriving = arriving;
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.stack.poll_timeout().is_some_and(|at| at <= now) {
            self.stack.handle_timeout(now);
        }
    }

    /// A burst has arrived.
    fn receive_rest(&mut self, now: Instant) {
        for (index, coalescer) in self.coalescers.iter_mut().enumerate() {
            coalescer.flush(&mut |frame| self.stack.handle_frame(now, InterfaceId(index), frame));
        }
    }

    fn start(&mut self, conn: ConnId) {
        self.conn = Some(conn);
        (self.sent, self.to_send, self.received) = (0, 0, Position(0));
        (self.readable, self.writable) = (false, false);
    }

    /// The application hears what has happened.
    fn hear(&mut self) {
        while let Some(event) = self.stack.poll_event() {
            match event {
                Event::Incoming(listener) => {
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
    }

    /// The application hears what has happened, reads and writes.
    fn serve(&mut self, now: Instant) {
        self.hear();
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

#[cfg(test)]
mod tests {
    use tcp_adapter::native::NativeStack;
    use tcp_adapter::smoltcp::SmoltcpStack;

    use super::*;

    const DEVICE: Offload = Offload { checksum: true, segmentation: true };

    fn passes<T: Engine>(setup: &Setup) {
        let mut world = World::<T>::connected(setup);
        world.transfer(1_000_000);
        world.ping_pong(3, 64);
        let segmented = setup.offload.segmentation && T::SEGMENTATION;
        let least = 1_000_000 / if segmented { 65_536 } else { setup.mtu as u64 };
        let most = if segmented { 10 * least } else { 2 * least };
        assert!((least..most).contains(&world.frames_sent()), "{} frames, {setup:?}", world.frames_sent());
        world.close();
        world.connect();
        world.transfer(10);
        world.close();
    }

    #[test]
    fn bytes_pass_in_every_set_up() {
        let plain = Setup { mptcp: false, ..Setup::default() };
        let checksum = Setup { checksum: true, ..Setup::default() };
        let jumbo = Setup { mtu: 9000, ..Setup::default() };
        let offloaded = Setup { offload: DEVICE, ..Setup::default() };
        let coalesced = Setup { coalesce: true, ..Setup::default() };
        for setup in [Setup::default(), plain, checksum, jumbo, offloaded, coalesced] {
            passes::<SmoltcpStack>(&setup);
            passes::<NativeStack>(&setup);
        }
    }

    fn all_subflows_carry<T: Engine>() {
        let setup = Setup { links: 4, scheduler: SchedulerKind::RoundRobin, ..Setup::default() };
        let mut world = World::<T>::connected(&setup);
        world.transfer(4_000_000);
        let carried = world.bytes_by_subflow();
        assert_eq!(carried.len(), 4);
        assert!(carried.iter().all(|bytes| *bytes > 500_000), "{carried:?}");
    }

    #[test]
    fn all_subflows_carry_data() {
        all_subflows_carry::<SmoltcpStack>();
        all_subflows_carry::<NativeStack>();
    }

    #[test]
    fn idle_connections_stay_open_beside_the_busy_one() {
        let mut world = World::<NativeStack>::connected(&Setup { idle: 100, links: 2, ..Setup::default() });
        world.transfer(1_000_000);
        assert_eq!(world.hosts.each_ref().map(|host| host.stack.connections().count()), [101, 101]);
    }

    #[test]
    #[should_panic(expected = "bytes are missing")]
    fn what_does_not_arrive_is_noticed() {
        let mut world = World::<NativeStack>::connected(&Setup::default());
        world.hosts[0].writable = false;
        world.transfer(1);
    }
}
