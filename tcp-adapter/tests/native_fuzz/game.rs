//! One stack, three connections, and peers that send whatever they are told to.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::time::Duration;

use bytes::Bytes;
use tcp_adapter::conformance::hook::TestHook;
use tcp_adapter::conformance::packet::{ACK, FIN, Packet, SYN};
use tcp_adapter::native::{NativeConfig, NativeStack};
use tcp_adapter::{ConnectRequest, Frame, Instant, InterfaceConfig, InterfaceId, MacAddr, TcpEvent, TcpId, TcpStack};

use crate::step::{Forged, Near, Optional, Pause, Step};

const OWN: [u8; 6] = [2, 0, 0, 0, 0, 1];
const PEER: [u8; 6] = [2, 0, 0, 0, 0, 2];
const LISTENED: u16 = 80;
const MEMORY: usize = 300_000;

pub(crate) struct Game {
    stack: NativeStack,
    hook: TestHook,
    now: Instant,
    flows: [Flow; 3],
    /// Offset up to which each connection has been read.
    read: BTreeMap<TcpId, u64>,
    open: Vec<TcpId>,
    tag: u64,
    /// The cookie that the stack has handed out last (RFC 7413).
    cookie: Vec<u8>,
    /// Connections established, segments that the hook was shown, connections closed.
    seen: [usize; 3],
}

/// What a peer knows of a connection by what the stack has sent.
struct Flow {
    own: SocketAddr,
    peer: SocketAddr,
    /// Initial sequence number of the peer, and of the stack.
    iss: u32,
    irs: u32,
    /// What the stack wants next, and the end of what it has sent.
    next: u32,
    sent: u32,
    /// Timestamp of the stack's last segment.
    stamp: u32,
    syn: bool,
}

impl Flow {
    fn new(own: SocketAddr, peer: SocketAddr) -> Self {
        Self { own, peer, iss: 1_000, irs: 0, next: 1_000, sent: 0, stamp: 0, syn: false }
    }
}

impl Game {
    pub(crate) fn new(seed: u64) -> Self {
        let bit = |number: u32| seed >> number & 1 == 1;
        let config = NativeConfig {
            memory_limit: MEMORY,
            send_buffer: 100_000,
            recv_buffer: if bit(0) { 40_000 } else { 200_000 },
            sack: !bit(1) || bit(2),
            timestamps: bit(3),
            ecn: bit(4),
            nagle: bit(5),
            pacing: bit(6),
            keep_alive: bit(7).then(|| Duration::from_secs(20)),
            max_connections: 8,
            congestion: tcp_adapter::congestion::Algorithm::ALL[(seed >> 8 & 3) as usize],
            ..NativeConfig::default()
        };
        let mut stack = NativeStack::new(config, seed);
        let interface = stack.add_interface(InterfaceConfig {
            mac: MacAddr(OWN),
            mtu: 1500,
            addrs: vec!["10.0.0.1/24".parse().unwrap()],
            routes: Vec::new(),
        });
        if bit(9) {
            stack.set_offload(interface, tcp_adapter::Offload { checksum: true, segmentation: true });
        }
        let listener = stack.listen(None, LISTENED, 2).unwrap();
        assert!(stack.allow_fast_open(listener, 1 + usize::from(bit(10))));
        let at = |port| SocketAddr::new([10, 0, 0, 2].into(), port);
        let own = |port| SocketAddr::new([10, 0, 0, 1].into(), port);
        let flows =
            [Flow::new(own(5000), at(7000)), Flow::new(own(LISTENED), at(6001)), Flow::new(own(LISTENED), at(6002))];
        Self {
            stack,
            hook: TestHook::default(),
            now: Instant::from_millis(10_000),
            flows,
            read: BTreeMap::new(),
            open: Vec::new(),
            tag: 0,
            cookie: Vec::new(),
            seen: [0; 3],
        }
    }

    pub(crate) fn step(&mut self, step: &Step) {
        match step {
            Step::Segment(flow, forged) => self.forge(usize::from(*flow) % 3, forged),
            Step::Answer(flow) => self.answer(usize::from(*flow) % 3, 0),
            Step::Data(flow, len) => self.answer(usize::from(*flow) % 3, usize::from(*len) * 12),
            Step::Wait(pause) => {
                let pause = match *pause {
                    Pause::Micros(micros) => Duration::from_micros(micros.into()),
                    Pause::Millis(millis) => Duration::from_millis(millis.into()),
                    Pause::Seconds(seconds) => Duration::from_secs(u64::from(seconds) / 8),
                };
                self.wait(pause);
            }
            Step::Send(which, len) => {
                if let Some(id) = self.pick(*which) {
                    let len = usize::from(*len).min(self.stack.send_room(id));
                    if len > 0 {
                        self.stack.send(self.now, id, Bytes::from(vec![7; len]), self.tag).unwrap();
                        self.tag += len as u64;
                    }
                }
            }
            Step::Receive(which) => {
                if let Some(id) = self.pick(*which) {
                    self.read(id);
                }
            }
            Step::Shutdown(which) => self.on_connection(*which, |stack, now, id| stack.shutdown(now, id)),
            Step::Abort(which) if which % 8 == 0 => {
                self.on_connection(*which, |stack, now, id| {
                    let _ = stack.abort(now, id, &[254, 4, 1, 2]);
                });
            }
            Step::Abort(_) => {}
            Step::AckNow(which) => self.on_connection(*which, |stack, now, id| stack.ack_now(now, id)),
            Step::Probe(which) => self.on_connection(*which, |stack, now, id| stack.probe(now, id)),
            Step::Connect => self.connect(),
            Step::TooBig(flow, mtu) => self.icmp(usize::from(*flow) % 3, 4, *mtu),
            Step::Unreachable(flow) => self.icmp(usize::from(*flow) % 3, 3, 0),
        }
        self.settle();
    }

    /// Lets everything come to an end, and returns what was seen.
    pub(crate) fn finish(&mut self) -> [usize; 3] {
        for id in self.open.clone() {
            self.read(id);
            let _ = self.stack.abort(self.now, id, &[]);
        }
        self.settle();
        assert_eq!(self.stack.memory_held(), 0, "bytes of connections that are gone");
        for _ in 0..20 {
            self.wait(Duration::from_secs(10));
            self.settle();
        }
        assert_eq!((self.stack.connection_count(), self.stack.table_len()), (0, 0));
        assert_eq!(self.stack.poll_timeout(), None);
        self.seen
    }

    fn pick(&self, which: u8) -> Option<TcpId> {
        self.open.get(usize::from(which) % self.open.len().max(1)).copied()
    }

    fn on_connection(&mut self, which: u8, act: impl Fn(&mut NativeStack, Instant, TcpId)) {
        if let Some(id) = self.pick(which) {
            act(&mut self.stack, self.now, id);
        }
    }

    fn connect(&mut self) {
        let flow = &mut self.flows[0];
        let request = ConnectRequest { local: flow.own.ip(), local_port: Some(flow.own.port()), remote: flow.peer };
        if let Ok(id) = self.stack.connect(self.now, &request) {
            self.open.push(id);
            let taken = self.stack.fast_open(id, &Bytes::from(vec![8; usize::try_from(self.tag % 600).unwrap()]));
            assert!(taken.is_some(), "the SYN has not left");
            *flow = Flow { iss: flow.iss.wrapping_add(100_000), ..Flow::new(flow.own, flow.peer) };
            flow.next = flow.iss;
        }
    }

    fn read(&mut self, id: TcpId) {
        let read = self.read.entry(id).or_default();
        while let Some(received) = self.stack.recv(id) {
            assert_eq!(received.offset, *read, "offsets must be contiguous");
            *read += received.bytes.len() as u64;
        }
    }

    fn answer(&mut self, flow: usize, payload: usize) {
        let Flow { own, peer, next, sent, stamp, syn, iss, .. } = self.flows[flow];
        // A SYN if there is no connection yet, or the SYN/ACK that one waits for.
        let begins = next == iss;
        let mut options = Vec::new();
        if begins {
            options.extend_from_slice(&[2, 4, 5, 0xb4, 4, 2, 3, 3, 7, 1]);
            options.extend_from_slice(&fast_open(if syn { &[9; 8] } else { &self.cookie }));
        }
        options.extend_from_slice(&[1, 1, 8, 10]);
        options.extend_from_slice(&self.clock().to_be_bytes());
        options.extend_from_slice(&stamp.to_be_bytes());
        let flags = match (begins, syn) {
            (true, true) => SYN | ACK,
            (true, false) => SYN,
            (false, _) => ACK,
        };
        let payload = if begins && syn { Vec::new() } else { vec![1; payload] };
        self.deliver(&Packet {
            link: [OWN, PEER],
            source: peer,
            destination: own,
            seq: next,
            ack: sent,
            flags,
            window: 500,
            urgent: 0,
            ecn: 0,
            options,
            payload,
        });
    }

    fn forge(&mut self, flow: usize, forged: &Forged) {
        let Flow { own, peer, next, sent, iss, irs, .. } = self.flows[flow];
        let near = |near: &Near, now: u32, first: u32| match *near {
            Near::Now(delta) => now.wrapping_add_signed(delta.into()),
            Near::Soon(delta) => now.wrapping_add_signed(delta.into()),
            Near::First(delta) => first.wrapping_add_signed(delta.into()),
            Near::Any(number) => number,
        };
        let mut options: Vec<u8> = Vec::new();
        for option in &forged.options {
            let block = |from: &Near, len: u16| {
                let left = near(from, sent, irs);
                [left.to_be_bytes(), left.wrapping_add(len.into()).to_be_bytes()].concat()
            };
            let bytes = match option {
                Optional::Mss(mss) => [&[2, 4][..], &mss.to_be_bytes()].concat(),
                Optional::Scale(shift) => vec![3, 3, *shift],
                Optional::SackPermitted => vec![4, 2],
                Optional::Sack(from, len) => [&[5, 10][..], &block(from, *len)].concat(),
                Optional::TwoSacks(from, len, other, more) => {
                    [&[5, 18][..], &block(from, *len), &block(other, *more)].concat()
                }
                Optional::Timestamps(value, echo) => {
                    let value = self.clock().wrapping_add_signed((*value).into());
                    let echo = self.flows[flow].stamp.wrapping_add_signed((*echo).into());
                    [&[8, 10][..], &value.to_be_bytes(), &echo.to_be_bytes()].concat()
                }
                Optional::Foreign(len) => {
                    let len = len % 20 + 2;
                    let mut option = vec![0; len.into()];
                    (option[0], option[1]) = (30, len);
                    option
                }
                Optional::Cookie => fast_open(&self.cookie),
                Optional::Raw(kind, len) => vec![*kind, *len],
            };
            if options.len() + bytes.len() <= 40 {
                options.extend(bytes);
            }
        }
        let flags = if forged.plain < 200 { forged.flags & FIN | ACK } else { forged.flags };
        let limit = if forged.segmented { 9_000 } else { 1_500 };
        let packet = Packet {
            link: [OWN, PEER],
            source: peer,
            destination: own,
            seq: near(&forged.seq, next, iss),
            ack: near(&forged.ack, sent, irs),
            flags,
            window: forged.window,
            urgent: 0,
            ecn: forged.ecn & 3,
            options,
            payload: vec![2; usize::from(forged.payload) % limit],
        };
        let mut frame = packet.to_frame();
        frame.meta.segment_size = NonZeroU16::new(1_000).filter(|_| forged.segmented);
        self.stack.handle_frame(self.now, InterfaceId(0), frame, &mut self.hook);
    }

    fn deliver(&mut self, packet: &Packet) {
        self.stack.handle_frame(self.now, InterfaceId(0), packet.to_frame(), &mut self.hook);
    }

    /// An ICMP error about the stack's last segment.
    fn icmp(&mut self, flow: usize, code: u8, mtu: u16) {
        let Flow { own, peer, sent, .. } = self.flows[flow];
        let quoted = Packet {
            link: [PEER, OWN],
            source: own,
            destination: peer,
            seq: sent.wrapping_sub(1),
            ack: 0,
            flags: ACK,
            window: 0,
            urgent: 0,
            ecn: 0,
            options: Vec::new(),
            payload: vec![0; 1_000],
        };
        let mut message = vec![3, code, 0, 0, 0, 0];
        message.extend_from_slice(&mtu.to_be_bytes());
        message.extend_from_slice(&quoted.to_frame().head[14..14 + 28]);
        let link = [OWN, PEER];
        let frame = tcp_adapter::conformance::packet::datagram(link, 1, 64, [peer.ip(), own.ip()], message, 2);
        self.stack.handle_frame(self.now, InterfaceId(0), frame, &mut self.hook);
    }

    fn wait(&mut self, pause: Duration) {
        let end = self.now + pause;
        for round in 0.. {
            let Some(at) = self.stack.poll_timeout().filter(|at| *at <= end) else { break };
            assert!(round < 10_000, "timers do not come to rest at {:?}", self.now);
            self.now = self.now.max(at);
            self.stack.handle_timeout(self.now, &mut self.hook);
            self.settle();
        }
        self.now = end;
    }

    /// Events, frames and checks.
    fn settle(&mut self) {
        for round in 0.. {
            assert!(round < 100, "the stack does not come to rest");
            let mut busy = false;
            while let Some(event) = self.stack.poll_event() {
                busy = true;
                match event {
                    TcpEvent::Established(id) => {
                        self.seen[0] += 1;
                        if !self.open.contains(&id) {
                            self.open.push(id);
                        }
                    }
                    TcpEvent::Closed(id, _) => {
                        self.seen[2] += 1;
                        self.open.retain(|open| *open != id);
                        self.read.remove(&id);
                    }
                    _ => {}
                }
            }
            let mut frames = Vec::new();
            self.stack.poll_transmit(self.now, &mut self.hook, &mut |_, frame| frames.push(frame));
            busy |= !frames.is_empty();
            for frame in &frames {
                self.observe(frame);
            }
            if !busy {
                break;
            }
        }
        self.seen[1] += self.hook.segments.len();
        self.hook.segments.clear();
        self.hook.sent.clear();
        self.hook.syns.clear();
        self.stack.check_invariants();
        assert!(self.stack.memory_held() <= MEMORY, "{} bytes", self.stack.memory_held());
        assert!(self.stack.connection_count() <= 8 && self.stack.table_len() <= 8 * 5);
    }

    /// What the peers learn of a frame.
    fn observe(&mut self, frame: &Frame) {
        let Some(packet) = Packet::parse(frame) else {
            if frame.head[12..14] == [8, 6] {
                let answer = arp_reply(&frame.head);
                self.stack.handle_frame(self.now, InterfaceId(0), answer, &mut self.hook);
            }
            return;
        };
        if let Some(cookie) = packet.option(34).filter(|_| packet.has(SYN | ACK)) {
            self.cookie = cookie.to_vec();
        }
        let Some(flow) = self.flows.iter_mut().find(|flow| flow.peer == packet.destination) else { return };
        if packet.has(SYN) {
            (flow.irs, flow.syn) = (packet.seq, true);
        }
        let extra = u32::from(packet.has(SYN)) + u32::from(packet.has(FIN));
        flow.sent = packet.seq.wrapping_add(u32::try_from(packet.payload.len()).unwrap()).wrapping_add(extra);
        if packet.has(ACK) {
            flow.next = packet.ack;
        }
        if let Some(value) = packet.option(8) {
            flow.stamp = u32::from_be_bytes(value[..4].try_into().unwrap());
        }
    }

    fn clock(&self) -> u32 {
        (self.now.as_nanos() / 1_000_000) as u32
    }
}

/// The Fast Open option with this cookie, or the request for one.
fn fast_open(cookie: &[u8]) -> Vec<u8> {
    [&[34, u8::try_from(cookie.len() + 2).unwrap()], cookie].concat()
}

/// The answer to the question for an address of a peer (RFC 826).
fn arp_reply(request: &[u8]) -> Frame {
    let head = [&OWN[..], &PEER, &request[12..20], &[0, 2], &PEER, &request[38..42], &request[22..32]].concat();
    Frame::from(&head[..])
}
