//! The bytes of frames: Ethernet, ARP, IPv4, IPv6, ICMP, neighbour discovery, and the TCP header.

mod arp;
mod checksum;
mod emit;
mod head_pool;
mod icmp;
mod ip;
pub(in crate::native) mod lengthen;
mod ndp;
mod option_writer;
mod options;
mod parse;
mod reset;
#[cfg(test)]
mod tests;

use std::ops::{BitOr, BitOrAssign};

pub(in crate::native) use self::arp::{ArpMessage, ArpOperation};
pub(in crate::native) use self::emit::{ChecksumMode, HeaderTemplate, SegmentFields};
pub(in crate::native) use self::head_pool::HeadPool;
pub(in crate::native) use self::icmp::{IcmpError, IcmpErrorKind, IcmpMessage, echo_reply};
pub(in crate::native) use self::ndp::{NeighbourKind, NeighbourMessage, group_mac, solicited_node};
pub(in crate::native) use self::option_writer::OptionWriter;
pub(in crate::native) use self::options::{FAST_OPEN, MAX_OPTIONS, Options, each_option};
pub(in crate::native) use self::parse::{Parsed, Segment, headers_are_linear, parse};
pub(in crate::native) use self::reset::reset;
use crate::MacAddr;

/// Destination, source and type.
pub(in crate::native) const ETHERNET_HEADER: usize = 14;
/// IPv4 header without options.
pub(in crate::native) const IPV4_HEADER: usize = 20;
/// IPv6 header without extension headers.
pub(in crate::native) const IPV6_HEADER: usize = 40;
/// TCP header without options.
pub(in crate::native) const TCP_HEADER: usize = 20;

/// Hop limit of what is written here (RFC 1700's 64, as every other host).
const HOP_LIMIT: u8 = 64;

const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];
const ETHERTYPE_ARP: [u8; 2] = [0x08, 0x06];
const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xdd];

const PROTOCOL_ICMP: u8 = 1;
const PROTOCOL_TCP: u8 = 6;
const PROTOCOL_ICMPV6: u8 = 58;

/// Control bits of a TCP header (RFC 9293 section 3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::native) struct Flags(pub(in crate::native) u8);

impl Flags {
    pub(in crate::native) const FIN: Self = Self(0x01);
    pub(in crate::native) const SYN: Self = Self(0x02);
    pub(in crate::native) const RST: Self = Self(0x04);
    pub(in crate::native) const PSH: Self = Self(0x08);
    pub(in crate::native) const ACK: Self = Self(0x10);
    pub(in crate::native) const URG: Self = Self(0x20);
    /// ECN-Echo (RFC 3168 section 6.1).
    pub(in crate::native) const ECE: Self = Self(0x40);
    /// Congestion window reduced (RFC 3168 section 6.1).
    pub(in crate::native) const CWR: Self = Self(0x80);

    /// Whether all of `other` are set.
    pub(in crate::native) const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any of `other` is set.
    pub(in crate::native) const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Flags {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// The ECN field of an IP header (RFC 3168 section 5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub(in crate::native) enum Ecn {
    /// The transport does not take part.
    #[default]
    NotEct = 0,
    Ect1 = 1,
    Ect0 = 2,
    /// A router met congestion.
    Ce = 3,
}

impl Ecn {
    /// From the low two bits of the traffic class.
    const fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            0 => Self::NotEct,
            1 => Self::Ect1,
            2 => Self::Ect0,
            _ => Self::Ce,
        }
    }
}

/// Whether the address is that of one station: neither a group (IEEE 802 section 8.2.2) nor zero.
pub(in crate::native) fn is_station(mac: MacAddr) -> bool {
    mac.0[0] & 1 == 0 && mac.0 != [0; 6]
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(array_at(bytes, at)?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(array_at(bytes, at)?))
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

fn ethernet_header(destination: MacAddr, source: MacAddr, ethertype: [u8; 2]) -> [u8; ETHERNET_HEADER] {
    let mut header = [0; ETHERNET_HEADER];
    header[..6].copy_from_slice(&destination.0);
    header[6..12].copy_from_slice(&source.0);
    header[12..].copy_from_slice(&ethertype);
    header
}
