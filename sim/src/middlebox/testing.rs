//! Segments and a bench for the tests of this module.

use std::net::{IpAddr, SocketAddr};

use bytes::BytesMut;
use tcp_adapter::{Frame, Instant};

use super::segment::{ACK, ETHERNET, Layout, Segment};
use super::{Direction, Middlebox, Output, build};
use crate::packet::Packet;
use crate::random::Streams;
use crate::scenario::Scenario;

/// An MP_CAPABLE of a SYN, 4 bytes.
pub(super) const MP_CAPABLE: [u8; 4] = [30, 4, 0x01, 0x01];

/// A DSS with a data acknowledgement of 4 bytes.
pub(super) const DSS: [u8; 8] = [30, 8, 0x20, 0x01, 0, 0, 0, 9];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    pub(super) const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// Of the link's `from` and `to`.
    pub(super) fn addresses(self) -> [IpAddr; 2] {
        match self {
            Self::V4 => [IpAddr::from([10, 0, 1, 1]), IpAddr::from([10, 0, 1, 2])],
            Self::V6 => ["fd00:1::1", "fd00:1::2"].map(|address| address.parse().unwrap()),
        }
    }
}

/// A segment between port 1000 of `from` and port 80 of `to`.
#[derive(Clone, Debug)]
pub(super) struct Builder {
    family: Family,
    from: IpAddr,
    ports: [u16; 2],
    seq: u32,
    ack: u32,
    flags: u8,
    options: Vec<u8>,
    payload: Vec<u8>,
}

pub(super) fn tcp(family: Family) -> Builder {
    let [from, _] = family.addresses();
    Builder { family, from, ports: [1000, 80], seq: 0, ack: 0, flags: ACK, options: vec![], payload: vec![] }
}

impl Builder {
    /// Ports of the link's `from` and `to`, whichever sends.
    pub(super) fn ports(self, from: u16, to: u16) -> Self {
        Self { ports: [from, to], ..self }
    }

    /// Another address beyond the link's `from`.
    pub(super) fn from(self, from: IpAddr) -> Self {
        Self { from, ..self }
    }

    pub(super) fn seq(self, seq: u32) -> Self {
        Self { seq, ..self }
    }

    pub(super) fn ack(self, ack: u32) -> Self {
        Self { ack, ..self }
    }

    pub(super) fn flags(self, flags: u8) -> Self {
        Self { flags, ..self }
    }

    pub(super) fn options(self, options: &[u8]) -> Self {
        Self { options: options.to_vec(), ..self }
    }

    pub(super) fn payload(self, payload: &[u8]) -> Self {
        Self { payload: payload.to_vec(), ..self }
    }

    /// Sent by `from`.
    pub(super) fn up(self) -> Packet {
        let [_, to] = self.family.addresses();
        let ends = [SocketAddr::new(self.from, self.ports[0]), SocketAddr::new(to, self.ports[1])];
        self.build(ends)
    }

    /// Sent by `to`.
    pub(super) fn down(self) -> Packet {
        let [_, to] = self.family.addresses();
        let ends = [SocketAddr::new(to, self.ports[1]), SocketAddr::new(self.from, self.ports[0])];
        self.build(ends)
    }

    fn build(self, [source, destination]: [SocketAddr; 2]) -> Packet {
        let mut bytes = BytesMut::zeroed(12);
        let octets = |address: SocketAddr| match address.ip() {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        match self.family {
            Family::V4 => bytes.extend_from_slice(&[8, 0, 0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, 6, 0, 0]),
            Family::V6 => bytes.extend_from_slice(&[0x86, 0xdd, 0x60, 0, 0, 0, 0, 0, 6, 64]),
        }
        bytes.extend_from_slice(&octets(source));
        bytes.extend_from_slice(&octets(destination));
        let tcp = bytes.len();
        bytes.extend_from_slice(&source.port().to_be_bytes());
        bytes.extend_from_slice(&destination.port().to_be_bytes());
        bytes.extend_from_slice(&self.seq.to_be_bytes());
        bytes.extend_from_slice(&self.ack.to_be_bytes());
        let words = u8::try_from((20 + self.options.len()) / 4).unwrap();
        bytes.extend_from_slice(&[words << 4, self.flags, 0xff, 0xff, 0, 0, 0, 0]);
        bytes.extend_from_slice(&self.options);
        let payload = bytes.len();
        bytes.extend_from_slice(&self.payload);
        let layout = Layout { ipv6: self.family == Family::V6, tcp, payload, end: bytes.len() };
        build::seal(&mut bytes, &layout, 0);
        Packet::new(1, Frame::linear(bytes), Instant::ZERO)
    }
}

/// A middlebox and the time.
pub(super) struct Bench {
    pub(super) middlebox: Middlebox,
    pub(super) now: Instant,
}

impl Bench {
    pub(super) fn new(config: &str) -> Self {
        Self::of(Family::V4, config)
    }

    /// On a link with addresses of this family.
    pub(super) fn of(family: Family, config: &str) -> Self {
        let prefix = if family == Family::V4 { 24 } else { 64 };
        let addresses = family.addresses().map(|address| format!("{address}/{prefix}"));
        let text = format!(
            "[links.p1]\naddresses = {addresses:?}\n[middlebox.m]\nlink = \"p1\"\n{config}\n[[traffic]]\nbytes = \"1MB\"\n"
        );
        let scenario = Scenario::parse(&text, "test.toml").unwrap_or_else(|error| panic!("{error}"));
        let middlebox = Middlebox::new(&scenario.middleboxes[0], &scenario.links[0], Streams::new(1));
        Self { middlebox, now: Instant::ZERO }
    }

    pub(super) fn handle(&mut self, packet: Packet, direction: Direction) -> Output {
        let mut out = Output::default();
        self.middlebox.handle(self.now, packet, direction, &mut out);
        assert!(self.middlebox.stats().balance(), "{:?}", self.middlebox.stats());
        out
    }

    /// Sends a packet up, of which one must come out, intact.
    pub(super) fn pass(&mut self, packet: Packet) -> Packet {
        let Output { mut up, down, dropped } = self.handle(packet, Direction::Up);
        assert!(down.is_empty() && dropped.is_empty() && up.len() == 1 && is_intact(&up[0]));
        up.remove(0)
    }

    /// Sends a packet down, of which one must come out, intact.
    pub(super) fn pass_down(&mut self, packet: Packet) -> Packet {
        let Output { up, mut down, dropped } = self.handle(packet, Direction::Down);
        assert!(up.is_empty() && dropped.is_empty() && down.len() == 1 && is_intact(&down[0]));
        down.remove(0)
    }

    /// Does all that is due until then.
    pub(super) fn run_until(&mut self, end: Instant) -> Output {
        let mut out = Output::default();
        while let Some(at) = self.middlebox.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.middlebox.handle_timeout(self.now, &mut out);
            assert!(self.middlebox.stats().balance(), "{:?}", self.middlebox.stats());
        }
        self.now = end;
        out
    }
}

pub(super) fn is_intact(packet: &Packet) -> bool {
    let mut copy = packet.frame.clone();
    let end = Segment::open(&mut copy).map(|segment| segment.layout().end);
    end.is_some_and(|end| end <= packet.len() && end > ETHERNET)
}

pub(super) fn option_area(packet: &Packet) -> Vec<u8> {
    let mut copy = packet.frame.clone();
    let segment = Segment::open(&mut copy).unwrap();
    segment.bytes()[segment.option_area()].to_vec()
}

pub(super) fn payload(packet: &Packet) -> Vec<u8> {
    Segment::open(&mut packet.frame.clone()).unwrap().payload().to_vec()
}

/// Sequence number, flags, and length of the payload.
pub(super) fn summary(packet: &Packet) -> (u32, u8, usize) {
    let mut copy = packet.frame.clone();
    let segment = Segment::open(&mut copy).unwrap();
    (segment.seq(), segment.flags(), segment.payload().len())
}

/// Source and destination.
pub(super) fn ends(packet: &Packet) -> (SocketAddr, SocketAddr) {
    let mut copy = packet.frame.clone();
    let segment = Segment::open(&mut copy).unwrap();
    (segment.source(), segment.destination())
}
