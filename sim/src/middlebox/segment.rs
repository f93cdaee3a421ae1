//! A TCP segment in a frame: reading it, and changing it so that its checksums stay right.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Range;

use mptcp_core::wire::ChecksumAccumulator;
use tcp_adapter::{ChecksumState, Frame};

use super::Direction;
use super::connections::Connection;

pub(super) const ETHERNET: usize = 14;
const IPV6_HEADER: usize = 40;
pub(super) const PROTOCOL_TCP: u8 = 6;
const TCP_HEADER: usize = 20;

pub(super) const FIN: u8 = 0x01;
pub(super) const SYN: u8 = 0x02;
pub(super) const RST: u8 = 0x04;
pub(super) const PSH: u8 = 0x08;
pub(super) const ACK: u8 = 0x10;
pub(super) const URG: u8 = 0x20;
pub(super) const CWR: u8 = 0x80;

/// An undamaged TCP segment.
#[derive(Debug)]
pub(super) struct Segment<'a> {
    /// The frame from its Ethernet header to the end of the IP packet.
    bytes: &'a mut [u8],
    layout: Layout,
}

/// Where things are in a frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    pub(super) ipv6: bool,
    /// Where the TCP header begins.
    pub(super) tcp: usize,
    /// Where the payload begins.
    pub(super) payload: usize,
    /// Where the IP packet ends; a frame may have padding beyond.
    pub(super) end: usize,
}

impl Layout {
    /// Looks at the headers of a linear frame; `None` unless it is an unfragmented IP packet with a whole TCP header.
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        let ip = bytes.get(ETHERNET..)?;
        let (ipv6, header, len) = match bytes.get(12..ETHERNET)? {
            [0x08, 0x00] if ip.len() >= 20 && ip[0] >> 4 == 4 && ip[9] == PROTOCOL_TCP => {
                // Neither "more fragments" nor an offset.
                if u16::from_be_bytes([ip[6], ip[7]]) & 0x3fff != 0 {
                    return None;
                }
                (false, usize::from(ip[0] & 0x0f) * 4, usize::from(u16::from_be_bytes([ip[2], ip[3]])))
            }
            [0x86, 0xdd] if ip.len() >= IPV6_HEADER && ip[0] >> 4 == 6 && ip[6] == PROTOCOL_TCP => {
                (true, IPV6_HEADER, IPV6_HEADER + usize::from(u16::from_be_bytes([ip[4], ip[5]])))
            }
            _ => return None,
        };
        let (tcp, end) = (ETHERNET + header, ETHERNET + len);
        let valid = header >= 20 && end <= bytes.len() && tcp + TCP_HEADER <= end;
        let payload = tcp + usize::from(bytes.get(tcp + 12).filter(|_| valid)? >> 4) * 4;
        (payload >= tcp + TCP_HEADER && payload <= end).then_some(Self { ipv6, tcp, payload, end })
    }
}

impl<'a> Segment<'a> {
    /// The segment in a frame; `None` for what is not TCP, or damaged.
    pub(super) fn open(frame: &'a mut Frame) -> Option<Self> {
        // Headers are in the linear part, so that other traffic need not be copied.
        if frame
            .head
            .get(ETHERNET + 6)
            .zip(frame.head.get(ETHERNET + 9))
            .is_none_or(|(v6, v4)| *v6 != PROTOCOL_TCP && *v4 != PROTOCOL_TCP)
        {
            return None;
        }
        let checksum = frame.meta.checksum;
        let bytes = frame.linearize();
        let layout = Layout::of(bytes)?;
        match checksum {
            ChecksumState::Partial => {
                seal_tcp(bytes, &layout);
                frame.meta.checksum = ChecksumState::Complete;
            }
            ChecksumState::Verified => {}
            ChecksumState::Complete => {
                if tcp_sum(bytes, &layout) != u16::MAX {
                    return None;
                }
            }
        }
        let bytes = &mut frame.head[..layout.end];
        if !layout.ipv6 && sum(&bytes[ETHERNET..layout.tcp]) != u16::MAX {
            return None;
        }
        Some(Self { bytes, layout })
    }

    pub(super) fn layout(&self) -> Layout {
        self.layout
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes
    }

    pub(super) fn flags(&self) -> u8 {
        self.bytes[self.layout.tcp + 13]
    }

    pub(super) fn has(&self, flags: u8) -> bool {
        self.flags() & flags != 0
    }

    /// Whether it opens a connection.
    pub(super) fn is_first(&self) -> bool {
        self.flags() & (SYN | ACK) == SYN
    }

    pub(super) fn seq(&self) -> u32 {
        self.u32(self.layout.tcp + 4)
    }

    pub(super) fn ack(&self) -> u32 {
        self.u32(self.layout.tcp + 8)
    }

    pub(super) fn window(&self) -> u16 {
        self.u16(self.layout.tcp + 14)
    }

    pub(super) fn payload(&self) -> &[u8] {
        &self.bytes[self.layout.payload..]
    }

    /// Sequence numbers that it takes (RFC 9293 section 3.4).
    pub(super) fn seq_len(&self) -> u32 {
        let flags = u32::from(self.has(SYN)) + u32::from(self.has(FIN));
        // An IP packet is shorter than 2^16 bytes plus its header.
        self.payload().len() as u32 + flags
    }

    /// Where the options are in the frame.
    pub(super) fn option_area(&self) -> Range<usize> {
        self.layout.tcp + TCP_HEADER..self.layout.payload
    }

    /// Its connection, seen from the link.
    pub(super) fn connection(&self, direction: Direction) -> Connection {
        let (source, destination) = (self.source(), self.destination());
        match direction {
            Direction::Up => Connection { from: source, to: destination },
            Direction::Down => Connection { from: destination, to: source },
        }
    }

    pub(super) fn source(&self) -> SocketAddr {
        SocketAddr::new(self.address(0), self.u16(self.layout.tcp))
    }

    pub(super) fn destination(&self) -> SocketAddr {
        SocketAddr::new(self.address(1), self.u16(self.layout.tcp + 2))
    }

    pub(super) fn set_seq(&mut self, seq: u32) {
        self.write(self.layout.tcp + 4, &seq.to_be_bytes());
    }

    pub(super) fn set_ack(&mut self, ack: u32) {
        self.write(self.layout.tcp + 8, &ack.to_be_bytes());
    }

    pub(super) fn set_window(&mut self, window: u16) {
        self.write(self.layout.tcp + 14, &window.to_be_bytes());
    }

    /// Sets the source, of the same family.
    pub(super) fn set_source(&mut self, source: SocketAddr) {
        self.set_address(0, source.ip());
        self.write(self.layout.tcp, &source.port().to_be_bytes());
    }

    /// Sets the destination, of the same family.
    pub(super) fn set_destination(&mut self, destination: SocketAddr) {
        self.set_address(1, destination.ip());
        self.write(self.layout.tcp + 2, &destination.port().to_be_bytes());
    }

    /// Overwrites a part of the TCP header or of the payload, and updates the checksum.
    pub(super) fn write(&mut self, at: usize, new: &[u8]) {
        let tcp = self.layout.tcp;
        // The checksum is of 16-bit words from the TCP header on; the last may have no second byte.
        let start = tcp + (at - tcp) / 2 * 2;
        let end = (tcp + (at + new.len() - tcp).next_multiple_of(2)).min(self.bytes.len());
        let old = sum(&self.bytes[start..end]);
        self.bytes[at..at + new.len()].copy_from_slice(new);
        let new = sum(&self.bytes[start..end]);
        self.update_tcp(old, new);
    }

    fn update_tcp(&mut self, old: u16, new: u16) {
        let at = self.layout.tcp + 16;
        let checksum = updated(self.u16(at), old, new);
        self.bytes[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
    }

    /// The `index`-th address, source being 0.
    fn address_range(&self, index: usize) -> Range<usize> {
        address_range(ETHERNET, self.layout.ipv6, index)
    }

    fn address(&self, index: usize) -> IpAddr {
        address(self.bytes, ETHERNET, self.layout.ipv6, index)
    }

    fn set_address(&mut self, index: usize, new: IpAddr) {
        let range = self.address_range(index);
        let old = sum(&self.bytes[range.clone()]);
        write_address(self.bytes, range.clone(), new);
        let new = sum(&self.bytes[range]);
        self.update_tcp(old, new);
        if !self.layout.ipv6 {
            let at = ETHERNET + 10;
            let checksum = updated(self.u16(at), old, new);
            self.bytes[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
        }
    }

    fn u16(&self, at: usize) -> u16 {
        u16::from_be_bytes([self.bytes[at], self.bytes[at + 1]])
    }

    pub(super) fn u32(&self, at: usize) -> u32 {
        u32::from_be_bytes([self.bytes[at], self.bytes[at + 1], self.bytes[at + 2], self.bytes[at + 3]])
    }
}

/// Makes the TCP checksum of a linear frame anew.
pub(super) fn seal_tcp(bytes: &mut [u8], layout: &Layout) {
    let at = layout.tcp + 16;
    bytes[at..at + 2].fill(0);
    let checksum = !tcp_sum(bytes, layout);
    bytes[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
}

/// Makes the checksum of an IPv4 header anew.
pub(super) fn seal_ipv4(bytes: &mut [u8], layout: &Layout) {
    bytes[ETHERNET + 10..ETHERNET + 12].fill(0);
    let checksum = !sum(&bytes[ETHERNET..layout.tcp]);
    bytes[ETHERNET + 10..ETHERNET + 12].copy_from_slice(&checksum.to_be_bytes());
}

/// The sum over pseudo-header and segment, all ones if the checksum in it is right.
fn tcp_sum(bytes: &[u8], layout: &Layout) -> u16 {
    let addresses = if layout.ipv6 { ETHERNET + 8..ETHERNET + 40 } else { ETHERNET + 12..ETHERNET + 20 };
    let mut accumulator = ChecksumAccumulator::new();
    accumulator.add(&bytes[addresses]);
    // An IP packet is shorter than 2^16 bytes plus its header.
    let len = (layout.end - layout.tcp) as u32;
    accumulator.add(&len.to_be_bytes());
    accumulator.add(&[0, PROTOCOL_TCP]);
    accumulator.add(&bytes[layout.tcp..layout.end]);
    accumulator.sum()
}

/// Where the `index`-th address is of the IP header that begins there, source being 0.
pub(super) fn address_range(header: usize, ipv6: bool, index: usize) -> Range<usize> {
    let (at, len) = if ipv6 { (header + 8, 16) } else { (header + 12, 4) };
    at + index * len..at + (index + 1) * len
}

/// That address. The header must be whole.
pub(super) fn address(bytes: &[u8], header: usize, ipv6: bool, index: usize) -> IpAddr {
    let bytes = &bytes[address_range(header, ipv6, index)];
    match (<[u8; 4]>::try_from(bytes), <[u8; 16]>::try_from(bytes)) {
        (Ok(octets), _) => IpAddr::V4(Ipv4Addr::from(octets)),
        (_, Ok(octets)) => IpAddr::V6(Ipv6Addr::from(octets)),
        _ => unreachable!("an address has 4 or 16 bytes"),
    }
}

/// Overwrites an address with one of the same family.
pub(super) fn write_address(bytes: &mut [u8], range: Range<usize>, new: IpAddr) {
    match new {
        IpAddr::V4(new) => bytes[range].copy_from_slice(&new.octets()),
        IpAddr::V6(new) => bytes[range].copy_from_slice(&new.octets()),
    }
}

pub(super) fn sum(bytes: &[u8]) -> u16 {
    let mut accumulator = ChecksumAccumulator::new();
    accumulator.add(bytes);
    accumulator.sum()
}

/// The checksum after a part with one sum became a part with another (RFC 1624 section 3, equation 3).
fn updated(checksum: u16, old: u16, new: u16) -> u16 {
    let sum = u32::from(!checksum) + u32::from(!old) + u32::from(new);
    let sum = (sum & 0xffff) + (sum >> 16);
    !((sum & 0xffff) + (sum >> 16)) as u16
}

/// Whether `a` comes before `b` (RFC 9293 section 3.4).
pub(super) fn before(a: u32, b: u32) -> bool {
    a.wrapping_sub(b) > 1 << 31
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::middlebox::testing::{Family, is_intact, tcp};

    #[test]
    fn what_is_read_is_what_was_written() {
        for family in Family::BOTH {
            let mut packet = tcp(family).ports(1000, 2000).seq(7).ack(9).options(&[1, 1, 1, 1]).payload(b"hello").up();
            let segment = Segment::open(&mut packet.frame).unwrap();
            assert_eq!((segment.seq(), segment.ack(), segment.payload()), (7, 9, &b"hello"[..]));
            assert_eq!((segment.source().port(), segment.destination().port()), (1000, 2000));
            assert_eq!(segment.source(), segment.connection(Direction::Up).from);
            assert_eq!(segment.source(), segment.connection(Direction::Down).to);
            assert_eq!((segment.option_area().len(), segment.seq_len()), (4, 5));
        }
    }

    #[test]
    fn every_change_keeps_the_checksums_right() {
        for family in Family::BOTH {
            for payload in [&b""[..], b"x", b"odd", b"even"] {
                let mut packet = tcp(family).options(&[3, 3, 7, 0]).payload(payload).up();
                let mut segment = Segment::open(&mut packet.frame).unwrap();
                let area = segment.option_area();
                segment.set_seq(0xffff_fffe);
                segment.set_ack(0x0102_0304);
                segment.write(area.start + 1, &[9, 8]);
                let (source, destination) = (segment.source(), segment.destination());
                segment.set_source(SocketAddr::new(destination.ip(), 1));
                segment.set_destination(SocketAddr::new(source.ip(), 2));
                if !payload.is_empty() {
                    segment.write(area.end + payload.len() - 1, b"!");
                }
                assert_eq!((segment.seq(), segment.ack()), (0xffff_fffe, 0x0102_0304));
                assert_eq!(segment.bytes()[area][1..3], [9, 8]);
                assert!(is_intact(&packet));
            }
        }
    }

    #[test]
    fn damaged_and_foreign_packets_are_no_segments() {
        for family in Family::BOTH {
            let intact = tcp(family).payload(b"payload").up();
            let len = intact.len();
            for bit in ETHERNET * 8..len * 8 {
                let mut packet = intact.clone();
                packet.frame.head[bit / 8] ^= 1 << (bit % 8);
                // The flow label, traffic class and hop limit of IPv6 are under no checksum.
                let unprotected = family == Family::V6 && (ETHERNET..ETHERNET + 8).contains(&(bit / 8));
                assert!(Segment::open(&mut packet.frame).is_none() || unprotected, "{family:?} {bit}");
            }
            for cut in 0..len {
                let mut frame = Frame::from(&intact.frame.head[..cut]);
                assert!(Segment::open(&mut frame).is_none(), "{cut}");
            }
        }
    }

    #[test]
    fn padding_is_no_payload() {
        let mut packet = tcp(Family::V4).payload(b"a").up();
        packet.frame.head.extend_from_slice(&[0; 5]);
        assert_eq!(Segment::open(&mut packet.frame).unwrap().payload(), b"a");
    }

    #[test]
    fn an_unfinished_checksum_is_finished() {
        for family in Family::BOTH {
            let mut packet = tcp(family).payload(b"abc").up();
            let layout = Layout::of(&packet.frame.head).unwrap();
            packet.frame.head[layout.tcp + 16..layout.tcp + 18].fill(0xaa);
            packet.frame.meta.checksum = ChecksumState::Partial;
            assert!(Segment::open(&mut packet.frame).is_some());
            assert!(is_intact(&packet));
            assert_eq!(packet.frame.meta.checksum, ChecksumState::Complete);
        }
    }

    #[test]
    fn sequence_numbers_wrap() {
        assert!(before(u32::MAX, 0) && before(1, 2) && !before(2, 1) && !before(5, 5));
    }
}
