//! ICMP (RFC 792) and ICMPv6 (RFC 4443): echo, and errors about our own segments.

use std::net::{IpAddr, SocketAddr};

use bytes::BytesMut;

use super::checksum::{Sum, update};
use super::ip::{self, Packet};
use super::{
    ETHERTYPE_IPV4, ETHERTYPE_IPV6, HOP_LIMIT, PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_TCP, array_at, ethernet_header,
    u16_at, u32_at,
};
use crate::{Frame, MacAddr};

const ECHO_REPLY: u8 = 0;
const ECHO_REQUEST: u8 = 8;
const UNREACHABLE: u8 = 3;
const TIME_EXCEEDED: u8 = 11;
const PARAMETER_PROBLEM: u8 = 12;
const FRAGMENTATION_NEEDED: u8 = 4;

const ECHO_REQUEST_V6: u8 = 128;
const ECHO_REPLY_V6: u8 = 129;
const UNREACHABLE_V6: u8 = 1;
const TOO_BIG_V6: u8 = 2;
const TIME_EXCEEDED_V6: u8 = 3;
const PARAMETER_PROBLEM_V6: u8 = 4;

/// Type, code, checksum, and four bytes that depend on the type.
const HEADER: usize = 8;

/// An ICMP or ICMPv6 message that a host acts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::native) enum IcmpMessage<'a> {
    Echo(Echo<'a>),
    Error(IcmpError),
}

/// An echo request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::native) struct Echo<'a> {
    pub(in crate::native) link_source: MacAddr,
    pub(in crate::native) source: IpAddr,
    pub(in crate::native) destination: IpAddr,
    /// From the type on.
    message: &'a [u8],
}

/// An error about a segment. It may be forged: what it quotes must be checked (RFC 5927 section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::native) struct IcmpError {
    /// Source of the quoted segment, and where the error was sent to.
    pub(in crate::native) source: SocketAddr,
    /// Destination of the quoted segment.
    pub(in crate::native) destination: SocketAddr,
    /// Sequence number of the quoted segment.
    pub(in crate::native) seq: u32,
    /// Length of the quoted IP packet in bytes, by its header.
    pub(in crate::native) packet_len: u16,
    pub(in crate::native) kind: IcmpErrorKind,
}

/// What became of the segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::native) enum IcmpErrorKind {
    /// It is longer than the next link takes. The MTU of that link in bytes; 0 if a router of before RFC 1191 does
    /// not tell (section 5).
    TooBig { mtu: u32 },
    /// The protocol or the port is unreachable, or forbidden (RFC 9293 section 3.9.2.2, SHLD-26; RFC 5927 section 5.1).
    Hard,
    /// Something that may pass, and must not abort the connection (RFC 9293 section 3.9.2.2, MUST-56).
    Soft,
}

pub(super) fn parse_v4(head: &[u8], packet: Packet) -> Option<IcmpMessage<'_>> {
    let message = head.get(packet.start..packet.end)?;
    let mut sum = Sum::default();
    sum.add_bytes(message);
    if message.len() < HEADER || !sum.is_valid() {
        return None;
    }
    let kind = match (message[0], message[1]) {
        (ECHO_REQUEST, 0) => return echo(head, &packet, message),
        (UNREACHABLE, FRAGMENTATION_NEEDED) => IcmpErrorKind::TooBig { mtu: u32::from(u16_at(message, 6)?) },
        // Protocol and port; RFC 1122 section 4.2.3.9.
        (UNREACHABLE, 2 | 3) => IcmpErrorKind::Hard,
        (UNREACHABLE | TIME_EXCEEDED | PARAMETER_PROBLEM, _) => IcmpErrorKind::Soft,
        // A source quench among others: TCP must ignore it (RFC 9293 section 3.9.2.2, MUST-55).
        _ => return None,
    };
    error(&packet, kind, ip::quoted_v4(&message[HEADER..])?, &message[HEADER..])
}

pub(super) fn parse_v6(head: &[u8], packet: Packet) -> Option<IcmpMessage<'_>> {
    let message = head.get(packet.start..packet.end)?;
    let mut sum = packet.pseudo_sum();
    sum.add_bytes(message);
    if message.len() < HEADER || !sum.is_valid() {
        return None;
    }
    let kind = match (message[0], message[1]) {
        (ECHO_REQUEST_V6, 0) => return echo(head, &packet, message),
        (TOO_BIG_V6, _) => IcmpErrorKind::TooBig { mtu: u32_at(message, 4)? },
        // Administratively prohibited, and port; RFC 5927 section 5.1.
        (UNREACHABLE_V6, 1 | 4) => IcmpErrorKind::Hard,
        (UNREACHABLE_V6 | TIME_EXCEEDED_V6 | PARAMETER_PROBLEM_V6, _) => IcmpErrorKind::Soft,
        _ => return None,
    };
    error(&packet, kind, ip::quoted_v6(&message[HEADER..])?, &message[HEADER..])
}

/// The answer to an echo request for one of our own addresses (RFC 1122 section 3.2.2.6, RFC 4443 section 4.2), back to
/// the station that sent it.
pub(in crate::native) fn echo_reply(own: MacAddr, echo: &Echo<'_>) -> Frame {
    // Both are in an IP packet that was received.
    let len = u16::try_from(echo.message.len()).unwrap_or(u16::MAX);
    let mut bytes = BytesMut::with_capacity(super::ETHERNET_HEADER + super::IPV6_HEADER + echo.message.len());
    let reply = match (echo.source, echo.destination) {
        (IpAddr::V4(asking), IpAddr::V4(asked)) => {
            bytes.extend_from_slice(&ethernet_header(echo.link_source, own, ETHERTYPE_IPV4));
            bytes.extend_from_slice(&ip::header_v4(asked, asking, PROTOCOL_ICMP, HOP_LIMIT, len));
            ECHO_REPLY
        }
        (IpAddr::V6(asking), IpAddr::V6(asked)) => {
            bytes.extend_from_slice(&ethernet_header(echo.link_source, own, ETHERTYPE_IPV6));
            bytes.extend_from_slice(&ip::header_v6(asked, asking, PROTOCOL_ICMPV6, HOP_LIMIT, len));
            ECHO_REPLY_V6
        }
        // A packet is of one family.
        _ => return Frame::default(),
    };
    // The pseudo header has the same sum in both directions; only the type changes.
    let [kind, code, high, low, ref rest @ ..] = *echo.message else { return Frame::default() };
    let [high, low] = update([high, low], [kind, code], [reply, code]);
    bytes.extend_from_slice(&[reply, code, high, low]);
    bytes.extend_from_slice(rest);
    Frame::linear(bytes)
}

fn echo<'a>(head: &[u8], packet: &Packet, message: &'a [u8]) -> Option<IcmpMessage<'a>> {
    let link_source = MacAddr(array_at(head, 6)?);
    // A request to a group may be ignored (RFC 1122 section 3.2.2.6), and an answer needs an address to go to.
    let answerable =
        ip::is_unicast(packet.source) && ip::is_unicast(packet.destination) && super::is_station(link_source);
    answerable.then_some(IcmpMessage::Echo(Echo {
        link_source,
        source: packet.source,
        destination: packet.destination,
        message,
    }))
}

fn error(
    packet: &Packet,
    kind: IcmpErrorKind,
    (source, destination, protocol, packet_len, header_len): (IpAddr, IpAddr, u8, u16, usize),
    quoted: &[u8],
) -> Option<IcmpMessage<'static>> {
    // What it is about came from the host that it was sent to.
    if protocol != PROTOCOL_TCP || source != packet.destination {
        return None;
    }
    Some(IcmpMessage::Error(IcmpError {
        source: SocketAddr::new(source, u16_at(quoted, header_len)?),
        destination: SocketAddr::new(destination, u16_at(quoted, header_len + 2)?),
        seq: u32_at(quoted, header_len + 4)?,
        packet_len,
        kind,
    }))
}
