//! What a received frame holds.

use std::net::SocketAddr;
use std::num::NonZeroU16;

use super::ip::{self, Packet};
use super::{
    ArpMessage, ETHERNET_HEADER, ETHERTYPE_ARP, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Ecn, Flags, IPV6_HEADER, IcmpMessage,
    NeighbourMessage, PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_TCP, TCP_HEADER, icmp, ndp,
};
use crate::{ChecksumState, Frame, MacAddr};

/// What a frame holds.
#[derive(Debug)]
pub(in crate::native) enum Parsed<'a> {
    Tcp(Segment<'a>),
    Arp(ArpMessage),
    Neighbour(NeighbourMessage),
    Icmp(IcmpMessage<'a>),
    /// Nothing that may be acted on: malformed, a wrong checksum, a fragment, another protocol, or TCP from or
    /// to an address that cannot be a host's.
    Nothing,
}

/// A received TCP segment.
#[derive(Clone, Debug)]
pub(in crate::native) struct Segment<'a> {
    pub(in crate::native) link_source: MacAddr,
    pub(in crate::native) source: SocketAddr,
    pub(in crate::native) destination: SocketAddr,
    pub(in crate::native) seq: u32,
    /// Without the ACK flag it means nothing.
    pub(in crate::native) ack: u32,
    pub(in crate::native) flags: Flags,
    /// Not scaled.
    pub(in crate::native) window: u16,
    pub(in crate::native) ecn: Ecn,
    pub(in crate::native) options: &'a [u8],
    /// Where the payload starts in the head of the frame. It is the rest of the head and the payload slices, up to
    /// `payload_len`.
    pub(in crate::native) payload_at: usize,
    /// By the length in the IP header: Ethernet padding does not count.
    pub(in crate::native) payload_len: usize,
    /// Payload bytes of the pieces of a super-segment.
    pub(in crate::native) segment_size: Option<NonZeroU16>,
}

impl Segment<'_> {
    /// Octets in sequence space (RFC 9293 section 3.4, SEG.LEN).
    #[inline]
    pub(in crate::native) fn sequence_len(&self) -> u32 {
        // An IP packet has at most 65,535 bytes.
        #[expect(clippy::cast_possible_truncation, reason = "the length comes from a 16-bit field")]
        let payload = self.payload_len as u32;
        payload + u32::from(self.flags.contains(Flags::SYN)) + u32::from(self.flags.contains(Flags::FIN))
    }
}

/// Whether [`parse`] finds all headers in the head of the frame. If not, [`Frame::linearize`] it first.
#[inline]
pub(in crate::native) fn headers_are_linear(frame: &Frame) -> bool {
    // An IPv6 header and a TCP header of 60 bytes: whatever is shorter is looked at in detail.
    const LONGEST: usize = ETHERNET_HEADER + IPV6_HEADER + 60;
    frame.payload.is_empty() || frame.head.len() >= LONGEST || has_tcp_header(&frame.head)
}

fn has_tcp_header(head: &[u8]) -> bool {
    let tcp = match (head.get(12..14), head.get(ETHERNET_HEADER)) {
        (Some(kind), Some(0x45)) if kind == ETHERTYPE_IPV4 && head.get(23) == Some(&PROTOCOL_TCP) => 34,
        (Some(kind), Some(_)) if kind == ETHERTYPE_IPV6 && head.get(20) == Some(&PROTOCOL_TCP) => 54,
        _ => return false,
    };
    head.get(tcp + 12).is_some_and(|offset| head.len() >= tcp + usize::from(offset >> 4) * 4)
}

/// Looks into a frame. The TCP checksum is verified unless the device has done so, the others always.
// Whatever it finds is written where the caller wants it: an optional segment on the way would be copied once more for each frame.
#[inline]
pub(in crate::native) fn parse(frame: &Frame) -> Parsed<'_> {
    let head = &frame.head[..];
    let Some(ethernet) = head.first_chunk::<ETHERNET_HEADER>() else { return Parsed::Nothing };
    match [ethernet[12], ethernet[13]] {
        ETHERTYPE_IPV4 => {
            let Some(packet) = ip::parse_v4(frame) else { return Parsed::Nothing };
            match packet.protocol {
                PROTOCOL_TCP => tcp(frame, packet),
                PROTOCOL_ICMP => icmp::parse_v4(head, packet).map_or(Parsed::Nothing, Parsed::Icmp),
                _ => Parsed::Nothing,
            }
        }
        ETHERTYPE_IPV6 => {
            let Some(packet) = ip::parse_v6(frame) else { return Parsed::Nothing };
            match packet.protocol {
                PROTOCOL_TCP => tcp(frame, packet),
                PROTOCOL_ICMPV6 => icmp_v6(head, packet),
                _ => Parsed::Nothing,
            }
        }
        ETHERTYPE_ARP => ArpMessage::parse(head).map_or(Parsed::Nothing, Parsed::Arp),
        _ => Parsed::Nothing,
    }
}

fn icmp_v6(head: &[u8], packet: Packet) -> Parsed<'_> {
    match ndp::parse(head, packet) {
        Some(message) => Parsed::Neighbour(message),
        None => icmp::parse_v6(head, packet).map_or(Parsed::Nothing, Parsed::Icmp),
    }
}

// Once for each family, which knows what its addresses are, and where the segment is to be: as a call it would be copied from there twice, for every
// packet. The packet is handed on by value: a reference to it would keep it in memory, where only what is rare needs it.
#[inline(always)]
fn tcp(frame: &Frame, packet: Packet) -> Parsed<'_> {
    let head = &frame.head[..];
    let Some(fixed) = head.get(packet.start..).and_then(|tcp| tcp.first_chunk::<TCP_HEADER>()) else {
        return Parsed::Nothing;
    };
    let payload_at = packet.start + usize::from(fixed[12] >> 4) * 4;
    let Some(payload_len) = packet.end.checked_sub(payload_at) else { return Parsed::Nothing };
    let Some(options) = head.get(packet.start + TCP_HEADER..payload_at) else { return Parsed::Nothing };
    let Some(link_source) = head[6..].first_chunk() else { return Parsed::Nothing };
    if frame.meta.checksum == ChecksumState::Complete && !is_valid(frame, packet) {
        return Parsed::Nothing;
    }
    let source = SocketAddr::new(packet.source, u16::from_be_bytes([fixed[0], fixed[1]]));
    let destination = SocketAddr::new(packet.destination, u16::from_be_bytes([fixed[2], fixed[3]]));
    // Neither may be 0 in a packet on the network (RFC 6335 section 6). TCP is between two hosts (RFC 9293
    // section 3.9.2.3, MUST-57 and MUST-63), and so is the frame that carries it (RFC 1122 section 3.3.6).
    if source.port() == 0
        || destination.port() == 0
        || !ip::is_unicast(packet.source)
        || !ip::is_unicast(packet.destination)
        || head[0] & 1 != 0
    {
        return Parsed::Nothing;
    }
    Parsed::Tcp(Segment {
        link_source: MacAddr(*link_source),
        source,
        destination,
        seq: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
        ack: u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]),
        flags: Flags(fixed[13]),
        window: u16::from_be_bytes([fixed[14], fixed[15]]),
        ecn: packet.ecn,
        options,
        payload_at,
        payload_len,
        segment_size: frame.meta.segment_size,
    })
}

#[inline(never)]
fn is_valid(frame: &Frame, packet: Packet) -> bool {
    let mut sum = packet.pseudo_sum();
    if packet.end <= frame.head.len() {
        sum.add_bytes(&frame.head[packet.start..packet.end]);
        return sum.is_valid();
    }
    let mut left = packet.end - packet.start;
    let slices = std::iter::once(&frame.head[packet.start..]).chain(frame.payload.iter().map(|slice| &slice[..]));
    sum.add_slices(slices.map(|slice| {
        let taken = &slice[..slice.len().min(left)];
        left -= taken.len();
        taken
    }));
    sum.is_valid()
}
