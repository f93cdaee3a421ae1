//! IPv4 (RFC 791) and IPv6 (RFC 8200) headers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::checksum::Sum;
use super::{ETHERNET_HEADER, Ecn, IPV4_HEADER, IPV6_HEADER, array_at, u16_at};
use crate::Frame;

/// More fragments, and the fragment offset.
const FRAGMENT_MASK: u16 = 0x3fff;
const DONT_FRAGMENT: u16 = 0x4000;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const DESTINATION_OPTIONS: u8 = 60;
/// Extension headers that are looked behind: each kind once, destination options twice (RFC 8200 section 4.1).
const MAX_EXTENSIONS: usize = 4;

/// An IP packet in a frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) protocol: u8,
    pub(super) hop_limit: u8,
    pub(super) ecn: Ecn,
    /// Where what is behind the IP headers starts in the frame.
    pub(super) start: usize,
    /// Where it ends; Ethernet padding may follow.
    pub(super) end: usize,
}

impl Packet {
    /// The sum of the pseudo header.
    pub(super) fn pseudo_sum(&self) -> Sum {
        let mut sum = match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => Sum::pseudo_v4(source, destination, self.protocol),
            (IpAddr::V6(source), IpAddr::V6(destination)) => Sum::pseudo_v6(source, destination, self.protocol),
            // A packet is of one family.
            _ => Sum::default(),
        };
        // Lengths in IP headers have 16 bits.
        #[expect(clippy::cast_possible_truncation, reason = "an IP packet has at most 65,575 bytes, headers included")]
        sum.add_u16((self.end - self.start) as u16);
        sum
    }
}

/// A whole IPv4 packet, no fragment, whose header checksum is right.
#[inline]
pub(super) fn parse_v4(frame: &Frame) -> Option<Packet> {
    let head = &frame.head[..];
    let fixed: &[u8; IPV4_HEADER] = head.get(ETHERNET_HEADER..)?.first_chunk()?;
    let header_len = match fixed[0] {
        0x45 => IPV4_HEADER,
        first if first >> 4 == 4 && first & 15 > 5 => usize::from(first & 15) * 4,
        _ => return None,
    };
    let start = ETHERNET_HEADER + header_len;
    let mut sum = Sum::default();
    sum.add_bytes(fixed);
    if header_len > IPV4_HEADER {
        sum.add_bytes(head.get(ETHERNET_HEADER + IPV4_HEADER..start)?);
    }
    let end = ETHERNET_HEADER + usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
    let is_fragment = u16::from_be_bytes([fixed[6], fixed[7]]) & FRAGMENT_MASK != 0;
    if !sum.is_valid() || end < start || !reaches(frame, end) || is_fragment {
        return None;
    }
    let source = Ipv4Addr::new(fixed[12], fixed[13], fixed[14], fixed[15]);
    let destination = Ipv4Addr::new(fixed[16], fixed[17], fixed[18], fixed[19]);
    Some(Packet {
        source: source.into(),
        destination: destination.into(),
        protocol: fixed[9],
        hop_limit: fixed[8],
        ecn: Ecn::from_bits(fixed[1]),
        start,
        end,
    })
}

/// A whole IPv6 packet, no fragment.
#[inline]
pub(super) fn parse_v6(frame: &Frame) -> Option<Packet> {
    let head = &frame.head[..];
    let fixed: &[u8; IPV6_HEADER] = head.get(ETHERNET_HEADER..)?.first_chunk()?;
    let end = ETHERNET_HEADER + IPV6_HEADER + usize::from(u16::from_be_bytes([fixed[4], fixed[5]]));
    if fixed[0] >> 4 != 6 || !reaches(frame, end) {
        return None;
    }
    let source = Ipv6Addr::from(*fixed[8..].first_chunk::<16>()?);
    let destination = Ipv6Addr::from(*fixed[24..].first_chunk::<16>()?);
    let (protocol, start) = skip_extensions(head, fixed[6])?;
    if end < start {
        return None;
    }
    Some(Packet {
        source: source.into(),
        destination: destination.into(),
        protocol,
        hop_limit: fixed[7],
        ecn: Ecn::from_bits(fixed[1] >> 4),
        start,
        end,
    })
}

/// Whether the frame has so many bytes. The payload slices are only counted if it takes them.
#[inline]
fn reaches(frame: &Frame, end: usize) -> bool {
    end <= frame.head.len() || end <= frame.len()
}

/// What follows the extension headers, and where. A fragment header is no header to look behind: nothing is
/// reassembled here.
#[inline]
fn skip_extensions(head: &[u8], mut next: u8) -> Option<(u8, usize)> {
    let mut at = ETHERNET_HEADER + IPV6_HEADER;
    for _ in 0..MAX_EXTENSIONS {
        match next {
            HOP_BY_HOP | DESTINATION_OPTIONS => {}
            // Segments left: the packet is on its way to somewhere else (RFC 8200 section 4.4).
            ROUTING if head.get(at + 3) == Some(&0) => {}
            _ => return Some((next, at)),
        }
        let [following, len] = array_at(head, at)?;
        next = following;
        at += 8 + usize::from(len) * 8;
    }
    Some((next, at))
}

/// An IPv4 header that forbids fragmentation, with its checksum.
pub(super) fn header_v4(
    source: Ipv4Addr,
    destination: Ipv4Addr,
    protocol: u8,
    hop_limit: u8,
    payload_len: u16,
) -> [u8; IPV4_HEADER] {
    let mut header = [0; IPV4_HEADER];
    header[0] = 0x45;
    header[2..4].copy_from_slice(&(IPV4_HEADER as u16).saturating_add(payload_len).to_be_bytes());
    header[6..8].copy_from_slice(&DONT_FRAGMENT.to_be_bytes());
    header[8] = hop_limit;
    header[9] = protocol;
    header[12..16].copy_from_slice(&source.octets());
    header[16..20].copy_from_slice(&destination.octets());
    let mut sum = Sum::default();
    sum.add_bytes(&header);
    header[10..12].copy_from_slice(&sum.checksum());
    header
}

/// An IPv6 header.
pub(super) fn header_v6(
    source: Ipv6Addr,
    destination: Ipv6Addr,
    protocol: u8,
    hop_limit: u8,
    payload_len: u16,
) -> [u8; IPV6_HEADER] {
    let mut header = [0; IPV6_HEADER];
    header[0] = 0x60;
    header[4..6].copy_from_slice(&payload_len.to_be_bytes());
    header[6] = protocol;
    header[7] = hop_limit;
    header[8..24].copy_from_slice(&source.octets());
    header[24..].copy_from_slice(&destination.octets());
    header
}

/// An IPv4 header as an ICMP error quotes it: addresses, protocol, length of the whole packet, and where the
/// transport header starts. The router may have changed the rest, and need not have kept the checksum right.
pub(super) fn quoted_v4(bytes: &[u8]) -> Option<(IpAddr, IpAddr, u8, u16, usize)> {
    let first = *bytes.first()?;
    let is_later_fragment = u16_at(bytes, 6)? & 0x1fff != 0;
    if first >> 4 != 4 || first & 15 < 5 || is_later_fragment {
        return None;
    }
    let source = Ipv4Addr::from(array_at::<4>(bytes, 12)?);
    let destination = Ipv4Addr::from(array_at::<4>(bytes, 16)?);
    Some((source.into(), destination.into(), bytes[9], u16_at(bytes, 2)?, usize::from(first & 15) * 4))
}

/// The same of an IPv6 header. Nothing here sends extension headers, so none are looked behind.
pub(super) fn quoted_v6(bytes: &[u8]) -> Option<(IpAddr, IpAddr, u8, u16, usize)> {
    let fixed: &[u8; IPV6_HEADER] = bytes.first_chunk()?;
    if fixed[0] >> 4 != 6 {
        return None;
    }
    let source = Ipv6Addr::from(array_at::<16>(fixed, 8)?);
    let destination = Ipv6Addr::from(array_at::<16>(fixed, 24)?);
    let len = u16_at(fixed, 4)?.saturating_add(IPV6_HEADER as u16);
    Some((source.into(), destination.into(), fixed[6], len, IPV6_HEADER))
}

/// Whether a host may have this address, so that it can be answered.
#[inline(always)]
pub(super) fn is_unicast(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(addr) => !addr.is_multicast() && !addr.is_broadcast() && !addr.is_unspecified(),
        IpAddr::V6(addr) => !addr.is_multicast() && !addr.is_unspecified(),
    }
}
