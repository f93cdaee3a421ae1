//! Errors of ICMP, which quote the segment that they are about.

use std::net::{IpAddr, SocketAddr};

use mptcp_core::wire::ChecksumAccumulator;
use tcp_adapter::Frame;

use super::Direction;
use super::connections::Connection;
use super::segment::{ETHERNET, PROTOCOL_TCP, address, address_range, sum, write_address};

const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;
const ICMP_HEADER: usize = 8;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
/// Destination unreachable, time exceeded, parameter problem (RFC 792).
const ERRORS: [u8; 3] = [3, 11, 12];
/// Errors of ICMPv6 are below (RFC 4443 section 2.1).
const FIRST_NO_ERROR_V6: u8 = 128;
/// Bytes of a quoted segment that are there at least (RFC 792): the ports and the sequence number.
const QUOTED: usize = 8;

/// An undamaged error about a TCP segment.
///
/// Translators change it as they change the segment (RFC 5508 section 4). The TCP checksum that it quotes is left as it is: mostly the segment is
/// cut off, so nobody can verify it.
#[derive(Debug)]
pub(super) struct Quoting<'a> {
    /// The frame from its Ethernet header to the end of the IP packet.
    bytes: &'a mut [u8],
    ipv6: bool,
    /// Where the ICMP header begins.
    icmp: usize,
    /// Where the TCP header of the quoted segment begins.
    tcp: usize,
}

impl<'a> Quoting<'a> {
    /// The error in a frame; `None` for anything else.
    pub(super) fn open(frame: &'a mut Frame) -> Option<Self> {
        // Headers are in the linear part, so that other traffic need not be copied.
        let head = &frame.head;
        let ipv6 = match head.get(12..ETHERNET)? {
            [0x08, 0x00] if head.get(ETHERNET + 9) == Some(&ICMP) => false,
            [0x86, 0xdd] if head.get(ETHERNET + 6) == Some(&ICMPV6) => true,
            _ => return None,
        };
        let bytes = frame.linearize();
        let (len, end) = header(bytes.get(ETHERNET..)?, ipv6)?;
        let bytes = bytes.get_mut(..ETHERNET + end)?;
        let icmp = ETHERNET + len;
        let kind = *bytes.get(icmp)?;
        let is_error = if ipv6 { kind < FIRST_NO_ERROR_V6 } else { ERRORS.contains(&kind) };
        let quoted = icmp + ICMP_HEADER;
        let (len, _) = header(bytes.get(quoted..).filter(|_| is_error)?, ipv6)?;
        let protocol = bytes[quoted + if ipv6 { 6 } else { 9 }];
        let tcp = quoted + len;
        // What is damaged stays so: nobody shall take it for what it is not (RFC 5508 section 4).
        let is_whole = icmp_sum(bytes, icmp, ipv6) == u16::MAX && (ipv6 || sum(&bytes[ETHERNET..icmp]) == u16::MAX);
        (is_whole && protocol == PROTOCOL_TCP && tcp + QUOTED <= bytes.len()).then_some(Self { bytes, ipv6, icmp, tcp })
    }

    /// Whom it is for.
    pub(super) fn destination(&self) -> IpAddr {
        address(self.bytes, ETHERNET, self.ipv6, 1)
    }

    /// Source and destination of the segment.
    pub(super) fn segment(&self) -> (SocketAddr, SocketAddr) {
        let quoted = self.icmp + ICMP_HEADER;
        let end = |index| {
            let at = self.tcp + 2 * index;
            let port = u16::from_be_bytes([self.bytes[at], self.bytes[at + 1]]);
            SocketAddr::new(address(self.bytes, quoted, self.ipv6, index), port)
        };
        (end(0), end(1))
    }

    /// The connection of the segment, which an error in this direction is about.
    pub(super) fn connection(&self, direction: Direction) -> Connection {
        let (source, destination) = self.segment();
        match direction {
            Direction::Up => Connection { from: destination, to: source },
            Direction::Down => Connection { from: source, to: destination },
        }
    }

    /// The first sequence number of the segment.
    pub(super) fn seq(&self) -> u32 {
        let at = self.tcp + 4;
        u32::from_be_bytes([self.bytes[at], self.bytes[at + 1], self.bytes[at + 2], self.bytes[at + 3]])
    }

    pub(super) fn set_seq(&mut self, seq: u32) {
        self.bytes[self.tcp + 4..self.tcp + 8].copy_from_slice(&seq.to_be_bytes());
        self.seal();
    }

    /// It is for who has sent the segment from this address, of the same family.
    pub(super) fn set_sender(&mut self, sender: SocketAddr) {
        self.set_address(ETHERNET, 1, sender.ip());
        self.set_end(0, sender);
    }

    /// It comes from whom the segment was for, at this address of the same family.
    pub(super) fn set_receiver(&mut self, receiver: SocketAddr) {
        self.set_address(ETHERNET, 0, receiver.ip());
        self.set_end(1, receiver);
    }

    /// An end of the segment, source being 0.
    fn set_end(&mut self, index: usize, end: SocketAddr) {
        self.set_address(self.icmp + ICMP_HEADER, index, end.ip());
        let at = self.tcp + 2 * index;
        self.bytes[at..at + 2].copy_from_slice(&end.port().to_be_bytes());
        self.seal();
    }

    /// An address of the IP header that begins there, source being 0.
    fn set_address(&mut self, header: usize, index: usize, new: IpAddr) {
        write_address(self.bytes, address_range(header, self.ipv6, index), new);
    }

    /// Makes its checksums anew, from the inside to the outside.
    fn seal(&mut self) {
        let Self { ipv6, icmp, tcp, .. } = *self;
        let quoted = icmp + ICMP_HEADER;
        if !ipv6 {
            write_checksum(self.bytes, quoted + 10, |bytes| sum(&bytes[quoted..tcp]));
            write_checksum(self.bytes, ETHERNET + 10, |bytes| sum(&bytes[ETHERNET..icmp]));
        }
        write_checksum(self.bytes, icmp + 2, |bytes| icmp_sum(bytes, icmp, ipv6));
    }
}

/// What the ICMP message that begins at `icmp` adds up to, its checksum included.
fn icmp_sum(bytes: &[u8], icmp: usize, ipv6: bool) -> u16 {
    let mut accumulator = ChecksumAccumulator::new();
    if ipv6 {
        // The pseudo-header of RFC 8200 section 8.1. A packet is shorter than 2^16 bytes.
        accumulator.add(&bytes[ETHERNET + 8..ETHERNET + IPV6_HEADER]);
        accumulator.add(&((bytes.len() - icmp) as u32).to_be_bytes());
        accumulator.add(&[0, ICMPV6]);
    }
    accumulator.add(&bytes[icmp..]);
    accumulator.sum()
}

/// Bytes of the IP header at the beginning, and of the whole packet. `None` if there is no such header, or the packet is a fragment.
fn header(ip: &[u8], ipv6: bool) -> Option<(usize, usize)> {
    let number = |at: usize| usize::from(u16::from_be_bytes([ip[at], ip[at + 1]]));
    if ipv6 {
        return (ip.len() >= IPV6_HEADER && ip[0] >> 4 == 6).then(|| (IPV6_HEADER, IPV6_HEADER + number(4)));
    }
    let whole = ip.len() >= IPV4_HEADER && ip[0] >> 4 == 4 && number(6) & 0x3fff == 0;
    let len = usize::from(ip.first().filter(|_| whole)? & 0x0f) * 4;
    (len >= IPV4_HEADER && len <= ip.len()).then(|| (len, number(2)))
}

/// Makes the checksum at this place that of what `sum` adds up.
fn write_checksum(bytes: &mut [u8], at: usize, sum: impl Fn(&[u8]) -> u16) {
    bytes[at..at + 2].fill(0);
    let checksum = !sum(bytes);
    bytes[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;
    use crate::packet::Packet;

    /// What a router with the address `from` says of a packet that is too long.
    pub(in crate::middlebox) fn too_long(packet: &Packet, from: IpAddr) -> Packet {
        let bytes = packet.frame.clone().linearize().to_vec();
        let ipv6 = bytes[12] == 0x86;
        let mut ip = bytes[ETHERNET..].to_vec();
        ip.truncate(header(&ip, ipv6).unwrap().0 + QUOTED);
        let mut answer = bytes[..ETHERNET].to_vec();
        let len = ICMP_HEADER + ip.len();
        let to = address(&bytes, ETHERNET, ipv6, 0);
        match ipv6 {
            true => answer.extend_from_slice(&[0x60, 0, 0, 0, 0, len as u8, ICMPV6, 64]),
            false => answer.extend_from_slice(&[0x45, 0, 0, (IPV4_HEADER + len) as u8, 0, 0, 0, 0, 64, ICMP, 0, 0]),
        }
        for address in [from, to] {
            match address {
                IpAddr::V4(address) => answer.extend_from_slice(&address.octets()),
                IpAddr::V6(address) => answer.extend_from_slice(&address.octets()),
            }
        }
        answer.extend_from_slice(if ipv6 { &[2, 0, 0, 0, 0, 0, 5, 0] } else { &[3, 4, 0, 0, 0, 0, 5, 0] });
        answer.extend_from_slice(&ip);
        let icmp = answer.len() - len;
        let tcp = answer.len() - QUOTED;
        Quoting { bytes: &mut answer, ipv6, icmp, tcp }.seal();
        packet.clone().with_frame(Frame::from(&answer[..]))
    }

    /// The sequence number that an error quotes.
    pub(in crate::middlebox) fn quoted(packet: &Packet) -> u32 {
        Quoting::open(&mut packet.frame.clone()).unwrap().seq()
    }

    /// Whom an error is from and for, and the ends of its segment. Its checksums must be right.
    pub(in crate::middlebox) fn read(packet: &Packet) -> ([IpAddr; 2], (SocketAddr, SocketAddr)) {
        let mut frame = packet.frame.clone();
        let before = frame.clone().linearize().to_vec();
        let mut quoting = Quoting::open(&mut frame).unwrap();
        let addresses = [0, 1].map(|index| address(quoting.bytes, ETHERNET, quoting.ipv6, index));
        let segment = quoting.segment();
        quoting.seal();
        assert_eq!(frame.linearize()[..], before[..], "a checksum is wrong");
        (addresses, segment)
    }
}

#[cfg(test)]
mod tests {
    use super::testing::too_long;
    use super::*;
    use crate::middlebox::testing::{Family, tcp};

    #[test]
    fn what_is_damaged_is_none() {
        for family in Family::BOTH {
            let [_, router] = family.addresses();
            let mut frame = too_long(&tcp(family).seq(7).up(), router).frame;
            assert!(Quoting::open(&mut frame).is_some());
            let len = frame.linearize().len();
            // All bits but those of the Ethernet header, as IPv6 leaves its own to what it carries, and neither covers the traffic class, the flow and the hops.
            let first = if family == Family::V4 { ETHERNET } else { ETHERNET + 8 };
            for bit in 8 * first..8 * len {
                let mut damaged = frame.clone();
                let bytes = damaged.linearize();
                bytes[bit / 8] ^= 1 << (bit % 8);
                assert!(Quoting::open(&mut damaged).is_none(), "{family:?}: bit {bit}");
            }
        }
    }
}
