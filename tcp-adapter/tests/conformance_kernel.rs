//! Implementations of `TcpStack` against the kernel's TCP, in a network namespace. Needs root and ip(8).
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "common/netns.rs"]
mod netns;

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant as Clock};

use bytes::Bytes;
use netns::NetNs;
use rustix::event::{PollFd, PollFlags, poll};
use tcp_adapter::device::{Device, Tap};
use tcp_adapter::smoltcp::{SmoltcpConfig, SmoltcpStack};
use tcp_adapter::{
    CloseReason, ConnectRequest, Frame, Instant, InterfaceConfig, InterfaceId, IpCidr, MacAddr, OptionSpace,
    SegmentHook, SegmentIn, SegmentKind, SegmentOut, SynSegment, SynVerdict, TcpEvent, TcpId, TcpStack, Verdict,
};

const TOTAL: usize = 3 << 20;
const PATIENCE: Duration = Duration::from_secs(30);

/// Puts an option on every segment that the kernel does not know, as long as the largest of MPTCP.
struct Hook;

impl SegmentHook for Hook {
    fn on_syn(&mut self, _: Instant, _: TcpId, syn: &SynSegment<'_>) -> SynVerdict {
        if syn.listener.is_some() { SynVerdict::Accept } else { SynVerdict::Reset(OptionSpace::new(0)) }
    }

    fn on_segment(&mut self, _: Instant, _: TcpId, _: &SegmentIn<'_>) -> Verdict {
        Verdict::Accept
    }

    fn on_transmit(&mut self, _: Instant, _: TcpId, segment: &SegmentOut, options: &mut OptionSpace) -> Option<u32> {
        let mut option = [0; 28];
        let len: u8 = if segment.kind == SegmentKind::Established { 28 } else { 12 };
        (option[0], option[1]) = (253, len);
        assert!(options.push(&option[..len.into()]));
        None
    }
}

/// A stack on a TAP interface whose other end is the kernel's.
struct Rig {
    stack: Box<dyn TcpStack>,
    tap: Tap,
    queue: VecDeque<Frame>,
    start: Clock,
    events: Vec<TcpEvent>,
    received: Vec<u8>,
    /// Whether a frame in a hundred is lost, each way.
    loses: bool,
    chance: u64,
}

fn ours(ipv4: bool) -> IpAddr {
    if ipv4 { Ipv4Addr::new(10, 78, 0, 2).into() } else { Ipv6Addr::new(0xfd78, 0, 0, 0, 0, 0, 0, 2).into() }
}

fn kernels(ipv4: bool) -> IpAddr {
    if ipv4 { Ipv4Addr::new(10, 78, 0, 1).into() } else { Ipv6Addr::new(0xfd78, 0, 0, 0, 0, 0, 0, 1).into() }
}

fn smoltcp() -> Box<dyn TcpStack> {
    Box::new(SmoltcpStack::new(SmoltcpConfig::default(), 7))
}

impl Rig {
    fn new(netns: &NetNs, mut stack: Box<dyn TcpStack>) -> Self {
        let tap = netns.enter(|| Tap::open("tap0")).unwrap();
        netns.ip("addr add 10.78.0.1/24 dev tap0");
        netns.ip("addr add fd78::1/64 dev tap0 nodad");
        netns.ip("link set tap0 up");
        stack.add_interface(InterfaceConfig {
            mac: MacAddr([2, 0, 0, 0, 0, 2]),
            mtu: tap.capabilities().mtu,
            addrs: vec![IpCidr { addr: ours(true), prefix: 24 }, IpCidr { addr: ours(false), prefix: 64 }],
            routes: Vec::new(),
        });
        let start = Clock::now();
        Self {
            stack,
            tap,
            queue: VecDeque::new(),
            start,
            events: Vec::new(),
            received: Vec::new(),
            loses: false,
            chance: 1,
        }
    }

    fn now(&self) -> Instant {
        Instant::ZERO + self.start.elapsed()
    }

    /// Moves frames until `done` says so, with `feed` sending what it can.
    fn run(&mut self, mut feed: impl FnMut(&mut dyn TcpStack, Instant), mut done: impl FnMut(&Self) -> bool) {
        let end = Clock::now() + PATIENCE;
        while !done(self) {
            assert!(Clock::now() < end, "no end: {} bytes, {:?}", self.received.len(), self.events);
            let mut frames = Vec::new();
            self.tap.receive(64, &mut frames).unwrap();
            let now = self.now();
            frames.retain(|_| !self.lost());
            for frame in frames {
                self.stack.handle_frame(now, InterfaceId(0), frame, &mut Hook);
            }
            if self.stack.poll_timeout().is_some_and(|at| at <= now) {
                self.stack.handle_timeout(now, &mut Hook);
            }
            while let Some(event) = self.stack.poll_event() {
                self.events.push(event);
                if let TcpEvent::Readable(conn) = event {
                    while let Some(received) = self.stack.recv(conn) {
                        self.received.extend_from_slice(&received.bytes);
                    }
                }
            }
            feed(&mut *self.stack, now);
            let queue = &mut self.queue;
            self.stack.poll_transmit(now, &mut Hook, &mut |_, frame| queue.push_back(frame));
            if self.loses {
                let mut queue = std::mem::take(&mut self.queue);
                queue.retain(|_| !self.lost());
                self.queue = queue;
            }
            self.tap.transmit(&mut self.queue).unwrap();
            self.wait();
        }
    }

    /// Whether the next frame is lost (a linear congruential generator decides).
    fn lost(&mut self) -> bool {
        self.chance = self.chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.loses && (self.chance >> 33).is_multiple_of(100)
    }

    /// Sleeps until there is something to do.
    fn wait(&mut self) {
        let now = self.now();
        let timeout = self.stack.poll_timeout().map_or(Duration::from_millis(50), |at| at - now);
        let timeout = if self.queue.is_empty() { timeout } else { Duration::from_millis(1) };
        let timeout = timeout.min(Duration::from_millis(50)).try_into().unwrap();
        let fd = self.tap.readiness().unwrap();
        poll(&mut [PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN)], Some(&timeout)).unwrap();
    }

    fn established(&self) -> Option<TcpId> {
        self.events.iter().find_map(|event| match *event {
            TcpEvent::Established(conn) => Some(conn),
            _ => None,
        })
    }
}

fn byte(position: usize) -> u8 {
    (position * 31 / 7).to_le_bytes()[0]
}

/// Sends the pattern, then a FIN.
fn feeder(conn: TcpId) -> impl FnMut(&mut dyn TcpStack, Instant) {
    let mut sent = 0;
    let mut open = true;
    move |stack, now| {
        while sent < TOTAL {
            let size = stack.send_room(conn).min(TOTAL - sent).min(50_000);
            if size == 0 {
                return;
            }
            let bytes: Bytes = (sent..sent + size).map(byte).collect();
            stack.send(now, conn, bytes, sent as u64).unwrap();
            sent += size;
        }
        if std::mem::take(&mut open) {
            stack.shutdown(now, conn);
        }
    }
}

/// Kernel's side: sends back what it reads until the end, then closes.
fn echo(mut stream: TcpStream) -> usize {
    let mut total = 0;
    let mut buffer = vec![0; 1 << 16];
    loop {
        let len = stream.read(&mut buffer).unwrap();
        if len == 0 {
            stream.shutdown(Shutdown::Write).unwrap();
            return total;
        }
        stream.write_all(&buffer[..len]).unwrap();
        total += len;
    }
}

fn check(rig: &mut Rig, conn: TcpId) {
    rig.run(feeder(conn), |rig| rig.events.iter().any(|event| matches!(event, TcpEvent::Closed(..))));
    assert_eq!(rig.received.len(), TOTAL);
    assert!(rig.received.iter().enumerate().all(|(position, &got)| got == byte(position)));
    assert!(rig.events.contains(&TcpEvent::Closed(conn, CloseReason::Normal)), "{:?}", rig.events);
}

#[test]
fn smoltcp_connects_to_the_kernel() {
    for ipv4 in [true, false] {
        let netns = NetNs::new("tcp");
        let mut rig = Rig::new(&netns, smoltcp());
        let listener = netns.enter(|| TcpListener::bind(SocketAddr::new(kernels(ipv4), 80))).unwrap();
        let kernel = thread::spawn(move || echo(listener.accept().unwrap().0));
        let remote = SocketAddr::new(kernels(ipv4), 80);
        let request = ConnectRequest { local: ours(ipv4), local_port: None, remote };
        let conn = rig.stack.connect(rig.now(), &request).unwrap();
        rig.run(|_, _| {}, |rig| rig.established().is_some());
        check(&mut rig, conn);
        assert_eq!(kernel.join().unwrap(), TOTAL);
    }
}

#[test]
fn the_kernel_connects_to_smoltcp() {
    for ipv4 in [true, false] {
        let netns = NetNs::new("tcp");
        let mut rig = Rig::new(&netns, smoltcp());
        rig.stack.listen(None, 80, 8).unwrap();
        thread::scope(|scope| {
            let kernel = scope.spawn(|| netns.enter(|| echo(TcpStream::connect((ours(ipv4), 80)).unwrap())));
            rig.run(|_, _| {}, |rig| rig.established().is_some());
            let conn = rig.established().unwrap();
            check(&mut rig, conn);
            assert_eq!(kernel.join().unwrap(), TOTAL);
        });
    }
}

#[test]
fn smoltcp_and_the_kernel_survive_loss() {
    let netns = NetNs::new("tcp");
    let mut rig = Rig::new(&netns, smoltcp());
    rig.loses = true;
    let listener = netns.enter(|| TcpListener::bind(SocketAddr::new(kernels(true), 80))).unwrap();
    let kernel = thread::spawn(move || echo(listener.accept().unwrap().0));
    let remote = SocketAddr::new(kernels(true), 80);
    let conn = rig.stack.connect(rig.now(), &ConnectRequest { local: ours(true), local_port: None, remote }).unwrap();
    rig.run(|_, _| {}, |rig| rig.established().is_some());
    check(&mut rig, conn);
    assert_eq!(kernel.join().unwrap(), TOTAL);
}

#[test]
fn the_kernel_is_refused_and_reset() {
    let netns = NetNs::new("tcp");
    let mut rig = Rig::new(&netns, smoltcp());
    rig.stack.listen(None, 80, 8).unwrap();
    thread::scope(|scope| {
        let kernel = scope.spawn(|| {
            netns.enter(|| {
                let refused = TcpStream::connect((ours(true), 81)).unwrap_err();
                let reset = TcpStream::connect((ours(true), 80)).unwrap().read(&mut [0]).unwrap_err();
                (refused.kind(), reset.kind())
            })
        });
        rig.run(|_, _| {}, |rig| rig.established().is_some());
        let conn = rig.established().unwrap();
        rig.stack.abort(rig.now(), conn, &[253, 4, 1, 2]).unwrap();
        rig.run(|_, _| {}, |_| kernel.is_finished());
        let expected = (std::io::ErrorKind::ConnectionRefused, std::io::ErrorKind::ConnectionReset);
        assert_eq!(kernel.join().unwrap(), expected);
    });
}
