//! Neighbour solicitations and advertisements (RFC 4861 sections 4.3 and 4.4).

use std::net::{IpAddr, Ipv6Addr};

use bytes::BytesMut;

use super::ip::Packet;
use super::{ETHERNET_HEADER, ETHERTYPE_IPV6, PROTOCOL_ICMPV6, array_at, ethernet_header, ip};
use crate::{Frame, MacAddr};

const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
/// A router does not forward a packet with this hop limit: the sender is on the link (RFC 4861 section 7.1.1).
const ON_LINK: u8 = 255;
const SOURCE_LINK_ADDRESS: u8 = 1;
const TARGET_LINK_ADDRESS: u8 = 2;
/// Message without options, and with the one for an Ethernet address.
const MESSAGE: usize = 24;
const MESSAGE_WITH_LINK: usize = 32;

const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// What a message of neighbour discovery says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::native) enum NeighbourKind {
    Solicitation,
    Advertisement {
        /// It answers a solicitation.
        solicited: bool,
        /// It may replace what is known.
        overrides: bool,
    },
}

/// A valid neighbour solicitation or advertisement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::native) struct NeighbourMessage {
    pub(in crate::native) kind: NeighbourKind,
    pub(in crate::native) link_source: MacAddr,
    /// Unspecified in a solicitation that looks for duplicates of an address (RFC 4862 section 5.4.2).
    pub(in crate::native) source: Ipv6Addr,
    pub(in crate::native) target: Ipv6Addr,
    /// The link-layer address of the source of a solicitation, or of the target of an advertisement.
    pub(in crate::native) link: Option<MacAddr>,
}

/// Only what passes RFC 4861 sections 7.1.1 and 7.1.2.
pub(super) fn parse(head: &[u8], packet: Packet) -> Option<NeighbourMessage> {
    let message = head.get(packet.start..packet.end)?;
    let kind = *message.first()?;
    if !matches!(kind, SOLICITATION | ADVERTISEMENT) {
        return None;
    }
    let target = Ipv6Addr::from(array_at::<16>(message, 8)?);
    let mut sum = packet.pseudo_sum();
    sum.add_bytes(message);
    if !sum.is_valid() || packet.hop_limit != ON_LINK || message[1] != 0 || target.is_multicast() {
        return None;
    }
    let (IpAddr::V6(source), IpAddr::V6(destination)) = (packet.source, packet.destination) else { return None };
    if source.is_multicast() {
        return None;
    }
    let wanted = if kind == SOLICITATION { SOURCE_LINK_ADDRESS } else { TARGET_LINK_ADDRESS };
    let link = link_address(&message[MESSAGE..], wanted)?;
    let kind = if kind == SOLICITATION {
        let looks_for_duplicates = source.is_unspecified();
        if looks_for_duplicates && (link.is_some() || !is_solicited_node(destination)) {
            return None;
        }
        NeighbourKind::Solicitation
    } else {
        let solicited = message[4] & SOLICITED != 0;
        if solicited && destination.is_multicast() || source.is_unspecified() {
            return None;
        }
        NeighbourKind::Advertisement { solicited, overrides: message[4] & OVERRIDE != 0 }
    };
    Some(NeighbourMessage { kind, link_source: MacAddr(array_at(head, 6)?), source, target, link })
}

impl NeighbourMessage {
    /// The frame of a solicitation, to the group of `target` or, to ask a known neighbour whether it is still there, to
    /// one station.
    pub(in crate::native) fn solicitation(
        own: MacAddr,
        source: Ipv6Addr,
        target: Ipv6Addr,
        to: Option<MacAddr>,
    ) -> Frame {
        let (destination, link_destination) = match to {
            Some(mac) => (target, mac),
            None => (solicited_node(target), group_mac(solicited_node(target))),
        };
        frame(own, link_destination, source, destination, message(SOLICITATION, 0, target, SOURCE_LINK_ADDRESS, own))
    }

    /// The frame that answers this solicitation, which is for an address of `own` (RFC 4861 section 7.2.4).
    pub(in crate::native) fn advertisement(&self, own: MacAddr) -> Frame {
        let (destination, link_destination, flags) = if self.source.is_unspecified() {
            (ALL_NODES, group_mac(ALL_NODES), OVERRIDE)
        } else {
            (self.source, self.link.unwrap_or(self.link_source), OVERRIDE | SOLICITED)
        };
        let answer = message(ADVERTISEMENT, flags, self.target, TARGET_LINK_ADDRESS, own);
        frame(own, link_destination, self.target, destination, answer)
    }
}

/// The group in which a host listens for solicitations of its address (RFC 4291 section 2.7.1).
pub(in crate::native) fn solicited_node(addr: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = addr.octets();
    Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c])
}

/// The Ethernet address of an IPv6 group (RFC 2464 section 7).
pub(in crate::native) fn group_mac(group: Ipv6Addr) -> MacAddr {
    let [.., a, b, c, d] = group.octets();
    MacAddr([0x33, 0x33, a, b, c, d])
}

fn is_solicited_node(addr: Ipv6Addr) -> bool {
    addr == solicited_node(addr)
}

/// The Ethernet address in the option of this kind, if there is one; no answer at all if the options are malformed.
fn link_address(mut options: &[u8], wanted: u8) -> Option<Option<MacAddr>> {
    let mut link = None;
    while let [kind, units, ..] = *options {
        let len = usize::from(units) * 8;
        if len == 0 || len > options.len() {
            return None;
        }
        if kind == wanted && units == 1 {
            link = Some(MacAddr(array_at(options, 2)?)).filter(|mac| super::is_station(*mac));
        }
        options = &options[len..];
    }
    options.is_empty().then_some(link)
}

fn message(kind: u8, flags: u8, target: Ipv6Addr, option: u8, own: MacAddr) -> [u8; MESSAGE_WITH_LINK] {
    let mut message = [0; MESSAGE_WITH_LINK];
    message[0] = kind;
    message[4] = flags;
    message[8..24].copy_from_slice(&target.octets());
    message[24] = option;
    message[25] = 1;
    message[26..].copy_from_slice(&own.0);
    message
}

fn frame(
    own: MacAddr,
    link_destination: MacAddr,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    mut message: [u8; MESSAGE_WITH_LINK],
) -> Frame {
    const LEN: u16 = MESSAGE_WITH_LINK as u16;
    let mut sum = super::checksum::Sum::pseudo_v6(source, destination, PROTOCOL_ICMPV6);
    sum.add_u16(LEN);
    sum.add_bytes(&message);
    message[2..4].copy_from_slice(&sum.checksum());
    let mut bytes = BytesMut::with_capacity(ETHERNET_HEADER + super::IPV6_HEADER + MESSAGE_WITH_LINK);
    bytes.extend_from_slice(&ethernet_header(link_destination, own, ETHERTYPE_IPV6));
    bytes.extend_from_slice(&ip::header_v6(source, destination, PROTOCOL_ICMPV6, ON_LINK, LEN));
    bytes.extend_from_slice(&message);
    Frame::linear(bytes)
}
