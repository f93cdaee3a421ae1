//! Two stacks and the wire between them, in virtual time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;

use super::Factory;
use super::hook::TestHook;
use super::packet::Packet;
use crate::{
    CloseReason, ConnectRequest, Frame, Instant, InterfaceConfig, InterfaceId, IpCidr, MacAddr, TcpEvent, TcpId,
    TcpStack,
};

/// MTU of both interfaces.
pub const MTU: usize = 1500;
/// Port that [`Wire::open`] uses.
pub const PORT: u16 = 4420;

/// One direction of the wire.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// Time that a frame takes.
    pub delay: Duration,
    /// Frames lost, in thousandths.
    pub loss: u32,
    /// Frames sent twice, in thousandths.
    pub duplicate: u32,
    /// Frames that take up to four times as long, in thousandths.
    pub reorder: u32,
}

impl Default for Link {
    fn default() -> Self {
        Self { delay: Duration::from_millis(10), loss: 0, duplicate: 0, reorder: 0 }
    }
}

/// Changes what is on the wire: gets each frame, gives those that continue.
pub type Mangle = Box<dyn FnMut(Frame) -> Vec<Frame>>;

/// A stack with its hook, and a simple application above it.
pub struct End {
    /// The stack under test.
    pub stack: Box<dyn TcpStack>,
    /// Its hook.
    pub hook: TestHook,
    /// Events so far.
    pub events: Vec<TcpEvent>,
    /// Whether received bytes are read at once.
    pub reading: bool,
    /// What was read, by connection.
    pub inbox: BTreeMap<TcpId, Vec<u8>>,
    /// What is to be sent, by connection.
    pub pumps: BTreeMap<TcpId, Pump>,
    /// What happens to frames that this end sends.
    pub link: Link,
    /// What else happens to them.
    pub mangle: Option<Mangle>,
}

/// Bytes to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Pump {
    /// Bytes sent so far.
    pub position: u64,
    /// Bytes to send.
    pub total: u64,
    /// Largest chunk; the sizes vary from 1 to it if `vary` is set.
    pub chunk: u64,
    /// Whether chunk sizes vary.
    pub vary: bool,
    /// Slices that a chunk is given in, if it has as many bytes.
    pub slices: u64,
    /// Tag of the byte at position 0.
    pub tag: u64,
    /// Whether to shut down at the end.
    pub close: bool,
}

impl Pump {
    /// `total` bytes in chunks of up to 16 KiB, leaving the connection open.
    pub fn new(total: u64) -> Self {
        Self { position: 0, total, chunk: 16 << 10, vary: false, slices: 1, tag: 0, close: false }
    }
}

/// Two ends and what is between them.
pub struct Wire {
    /// The ends: 0 connects, 1 listens, by habit.
    pub ends: [End; 2],
    /// Virtual time.
    pub now: Instant,
    /// Every TCP segment that was sent, with the end that sent it, before loss and mangling.
    pub log: Vec<(usize, Packet)>,
    flying: BTreeMap<(Instant, u64), (usize, Frame)>,
    sequence: u64,
    /// Source of chance.
    pub random: Random,
}

impl Wire {
    /// Two fresh stacks, one interface each, on one network.
    pub fn new(factory: Factory, seed: u64) -> Self {
        let ends = [0, 1].map(|index: u8| {
            let mut stack = factory(seed.wrapping_mul(2).wrapping_add(index.into()));
            stack.add_interface(InterfaceConfig {
                mac: MacAddr([2, 0, 0, 0, 0, index + 1]),
                mtu: MTU,
                addrs: vec![
                    IpCidr { addr: address(index.into(), true), prefix: 24 },
                    IpCidr { addr: address(index.into(), false), prefix: 64 },
                ],
                routes: Vec::new(),
            });
            End {
                stack,
                hook: TestHook::default(),
                events: Vec::new(),
                reading: true,
                inbox: BTreeMap::new(),
                pumps: BTreeMap::new(),
                link: Link::default(),
                mangle: None,
            }
        });
        let now = Instant::from_millis(1_000);
        Self { ends, now, log: Vec::new(), flying: BTreeMap::new(), sequence: 0, random: Random(seed) }
    }

    /// Sets both directions.
    pub fn set_links(&mut self, link: Link) {
        for end in &mut self.ends {
            end.link = link;
        }
    }

    /// Lets end 1 listen.
    pub fn listen(&mut self) {
        let listener = self.ends[1].stack.listen(None, PORT, 128);
        assert!(listener.is_ok(), "listen failed: {listener:?}");
    }

    /// Starts a connection from end 0 to end 1.
    pub fn connect(&mut self, ipv4: bool) -> TcpId {
        let request = ConnectRequest {
            local: address(0, ipv4),
            local_port: None,
            remote: SocketAddr::new(address(1, ipv4), PORT),
        };
        self.ends[0].stack.connect(self.now, &request).expect("connect failed")
    }

    /// Connects end 0 to end 1, which must be listening: both handles.
    pub fn open(&mut self, ipv4: bool) -> [TcpId; 2] {
        let known: BTreeSet<_> = self.established(1).into_iter().collect();
        let first = self.connect(ipv4);
        let done = self.run_until(Duration::from_secs(60), |wire| {
            wire.established(0).contains(&first) && wire.established(1).iter().any(|id| !known.contains(id))
        });
        assert!(done, "no connection: {:?} {:?}", self.ends[0].events, self.ends[1].events);
        let second = self.established(1).into_iter().find(|id| !known.contains(id)).expect("checked above");
        [first, second]
    }

    /// Handles of an end that have been established.
    pub fn established(&self, end: usize) -> Vec<TcpId> {
        let handles = self.ends[end].events.iter().filter_map(|event| match *event {
            TcpEvent::Established(id) => Some(id),
            _ => None,
        });
        handles.collect()
    }

    /// Why a connection is gone, if it is.
    pub fn closed(&self, end: usize, conn: TcpId) -> Option<CloseReason> {
        self.ends[end].events.iter().find_map(|event| match *event {
            TcpEvent::Closed(id, reason) if id == conn => Some(reason),
            _ => None,
        })
    }

    /// Whether the peer's FIN has been reported.
    pub fn finished(&self, end: usize, conn: TcpId) -> bool {
        self.ends[end].events.contains(&TcpEvent::Finished(conn))
    }

    /// What an end has read from a connection.
    pub fn inbox(&self, end: usize, conn: TcpId) -> &[u8] {
        self.ends[end].inbox.get(&conn).map_or(&[], Vec::as_slice)
    }

    /// Segments that an end has sent.
    pub fn sent(&self, end: usize) -> impl Iterator<Item = &Packet> {
        self.log.iter().filter(move |(from, _)| *from == end).map(|(_, packet)| packet)
    }

    /// Puts a frame before an end as if it had just arrived.
    pub fn inject(&mut self, end: usize, frame: Frame) {
        let End { stack, hook, .. } = &mut self.ends[end];
        stack.handle_frame(self.now, InterfaceId(0), frame, hook);
    }

    /// Runs until `done` says so; false if it has not after `limit`.
    pub fn run_until(&mut self, limit: Duration, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        let end = self.now + limit;
        loop {
            self.settle();
            if done(self) {
                return true;
            }
            if !self.advance(end) {
                return false;
            }
        }
    }

    /// Runs for a time.
    pub fn run_for(&mut self, time: Duration) {
        self.run_until(time, |_| false);
    }

    /// Lets every end do what it can do without time passing.
    pub fn settle(&mut self) {
        for index in 0..2 {
            // A stack that always has more to say would never let time pass.
            for round in 0.. {
                assert!(round < 10_000, "end {index} does not come to rest");
                let any_event = self.take_events(index);
                let moved = self.run_application(index);
                let sent = self.transmit(index);
                if !any_event && !moved && !sent {
                    break;
                }
            }
        }
    }

    fn take_events(&mut self, index: usize) -> bool {
        let end = &mut self.ends[index];
        let before = end.events.len();
        while let Some(event) = end.stack.poll_event() {
            end.events.push(event);
            if end.reading
                && let TcpEvent::Readable(conn) = event
            {
                end.read(conn);
            }
        }
        end.events.len() > before
    }

    fn run_application(&mut self, index: usize) -> bool {
        let mut moved = false;
        let (now, random) = (self.now, &mut self.random);
        let End { stack, pumps, .. } = &mut self.ends[index];
        for (&conn, pump) in pumps.iter_mut() {
            while pump.position < pump.total {
                let size = if pump.vary { 1 + random.below(pump.chunk) } else { pump.chunk };
                let size = size.min(pump.total - pump.position).min(stack.send_room(conn) as u64);
                if size == 0 {
                    break;
                }
                let (tag, end) = (pump.tag + pump.position, pump.position + size);
                let mut chunk = (pump.position..end).map(pattern).collect::<Bytes>();
                let slice = (chunk.len() / usize::try_from(pump.slices).unwrap_or(1)).max(1);
                let result = stack.send(now, conn, chunk.split_to(slice), tag);
                assert!(result.is_ok(), "send within send_room failed: {result:?}");
                while !chunk.is_empty() {
                    let result = stack.append(now, conn, chunk.split_to(slice.min(chunk.len())));
                    assert!(result.is_ok(), "append within send_room failed: {result:?}");
                }
                pump.position = end;
                moved = true;
            }
            if pump.close && pump.position == pump.total {
                pump.close = false;
                stack.shutdown(now, conn);
                moved = true;
            }
        }
        moved
    }

    fn transmit(&mut self, index: usize) -> bool {
        let now = self.now;
        let End { stack, hook, mangle, link, .. } = &mut self.ends[index];
        let mut frames = Vec::new();
        stack.poll_transmit(now, hook, &mut |_, frame| frames.push(frame));
        let any = !frames.is_empty();
        for frame in frames {
            if let Some(packet) = Packet::parse(&frame) {
                assert!(packet.ip_len() <= MTU, "a packet of {} bytes", packet.ip_len());
                self.log.push((index, packet));
            }
            let frames = match mangle {
                Some(mangle) => mangle(frame),
                None => vec![frame],
            };
            for frame in frames {
                let is_tcp = Packet::parse(&frame).is_some();
                let copies = 1 + u32::from(is_tcp && self.random.thousandths(link.duplicate));
                for _ in 0..copies {
                    // Address resolution is not what is tested.
                    if is_tcp && self.random.thousandths(link.loss) {
                        continue;
                    }
                    let late = is_tcp && self.random.thousandths(link.reorder);
                    let factor = if late { 1 + self.random.below(4) } else { 1 };
                    let delay = link.delay * u32::try_from(factor).unwrap_or(1);
                    self.sequence += 1;
                    self.flying.insert((now + delay, self.sequence), (1 - index, frame.clone()));
                }
            }
        }
        any
    }

    /// Lets time pass until something happens; false at `end`.
    fn advance(&mut self, end: Instant) -> bool {
        let arrival = self.flying.first_key_value().map(|(&(at, _), _)| at);
        let timers = self.ends.each_mut().map(|end| end.stack.poll_timeout());
        let next = [arrival, timers[0], timers[1]].into_iter().flatten().min();
        let Some(next) = next.filter(|&at| at <= end) else {
            self.now = end;
            return false;
        };
        self.now = next.max(self.now);
        while let Some(entry) = self.flying.first_entry()
            && entry.key().0 <= self.now
        {
            let (to, frame) = entry.remove();
            self.inject(to, frame);
        }
        for End { stack, hook, .. } in &mut self.ends {
            if stack.poll_timeout().is_some_and(|at| at <= self.now) {
                stack.handle_timeout(self.now, hook);
            }
        }
        true
    }
}

impl End {
    /// Reads what there is, checking offsets.
    pub fn read(&mut self, conn: TcpId) {
        let inbox = self.inbox.entry(conn).or_default();
        while let Some(received) = self.stack.recv(conn) {
            assert_eq!(received.offset, inbox.len() as u64, "offsets must be contiguous");
            assert!(!received.bytes.is_empty());
            inbox.extend_from_slice(&received.bytes);
        }
    }
}

/// Address of an end.
pub fn address(end: usize, ipv4: bool) -> IpAddr {
    let host = if end == 0 { 1 } else { 2 };
    if ipv4 {
        IpAddr::V4(Ipv4Addr::new(10, 0, 0, host))
    } else {
        IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, host.into()))
    }
}

/// The byte that a pump sends at `position`.
pub fn pattern(position: u64) -> u8 {
    (position.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56).to_le_bytes()[0]
}

/// Asserts that `bytes` are the first `total` of a pump.
pub fn assert_pattern(bytes: &[u8], total: u64) {
    assert_eq!(bytes.len() as u64, total, "bytes received");
    let wrong = (0..).zip(bytes).find(|&(position, &byte)| byte != pattern(position));
    assert_eq!(wrong, None, "first byte that differs");
}

/// SplitMix64: small, seeded, and the same everywhere.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`, which is not 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.bits() % limit
    }

    /// True in `share` of 1000 cases.
    pub fn thousandths(&mut self, share: u32) -> bool {
        share > 0 && self.below(1000) < u64::from(share)
    }
}
