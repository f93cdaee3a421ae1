//! The headers of segments to send.

use std::net::{IpAddr, SocketAddr};

use bytes::{Bytes, BytesMut};

use super::checksum::Sum;
use super::{
    ETHERNET_HEADER, ETHERTYPE_IPV4, ETHERTYPE_IPV6, Ecn, Flags, HOP_LIMIT, IPV4_HEADER, IPV6_HEADER, PROTOCOL_TCP,
    TCP_HEADER, array_at, ethernet_header, ip, u16_at,
};
use crate::MacAddr;
use crate::table::FourTuple;

const PORTS: usize = 4;
/// Where the source address is, which the destination follows.
const V4_ADDRESSES: usize = ETHERNET_HEADER + 12;
const V6_ADDRESSES: usize = ETHERNET_HEADER + 8;
const V4_PREFIX: usize = ETHERNET_HEADER + IPV4_HEADER + PORTS;
const V6_PREFIX: usize = ETHERNET_HEADER + IPV6_HEADER + PORTS;
const V4_HEADERS: usize = ETHERNET_HEADER + IPV4_HEADER + TCP_HEADER;
const V6_HEADERS: usize = ETHERNET_HEADER + IPV6_HEADER + TCP_HEADER;

/// The headers of a connection's segments, as far as they are all alike, and what is known of their checksums.
#[derive(Clone, Debug)]
pub(in crate::native) struct HeaderTemplate {
    /// Ethernet and IP header, the ports, and zeros for the rest of the TCP header.
    headers: [u8; V6_HEADERS],
    /// Of the IPv4 header without its checksum.
    ip_sum: u16,
    /// Of the pseudo header without the length.
    pseudo_sum: u16,
    ipv6: bool,
}

/// What differs from segment to segment.
#[derive(Clone, Copy, Debug)]
pub(in crate::native) struct SegmentFields<'a> {
    pub(in crate::native) seq: u32,
    pub(in crate::native) ack: u32,
    pub(in crate::native) flags: Flags,
    pub(in crate::native) window: u16,
    pub(in crate::native) urgent: u16,
    pub(in crate::native) ecn: Ecn,
    /// Padded to whole words, 40 bytes at most.
    pub(in crate::native) options: &'a [u8],
    /// Bytes of all payload slices.
    pub(in crate::native) payload_len: usize,
    /// Identification of the IPv4 packet. As it must not be fragmented, any value does (RFC 6864 section 4.1).
    pub(in crate::native) ident: u16,
}

/// Who completes the TCP checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::native) enum ChecksumMode {
    /// It is written whole.
    Full,
    /// The device: the field gets the sum of the pseudo header ([`crate::ChecksumState::Partial`]).
    Partial,
}

impl HeaderTemplate {
    /// For segments from `source` to `destination`, which are of the same address family.
    ///
    /// # Panics
    /// If they are not.
    pub(in crate::native) fn new(
        link_source: MacAddr,
        link_destination: MacAddr,
        source: SocketAddr,
        destination: SocketAddr,
    ) -> Self {
        let mut template = Self { headers: [0; V6_HEADERS], ip_sum: 0, pseudo_sum: 0, ipv6: source.is_ipv6() };
        let end = match (source.ip(), destination.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let mut header = ip::header_v4(from, to, PROTOCOL_TCP, HOP_LIMIT, 0);
                // The length is part of each segment.
                header[2..4].fill(0);
                header[10..12].fill(0);
                let mut sum = Sum::default();
                sum.add_bytes(&header);
                template.ip_sum = sum.fold();
                template.pseudo_sum = Sum::pseudo_v4(from, to, PROTOCOL_TCP).fold();
                template.headers[..ETHERNET_HEADER].copy_from_slice(&ethernet_header(
                    link_destination,
                    link_source,
                    ETHERTYPE_IPV4,
                ));
                template.headers[ETHERNET_HEADER..ETHERNET_HEADER + IPV4_HEADER].copy_from_slice(&header);
                V4_PREFIX
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let header = ip::header_v6(from, to, PROTOCOL_TCP, HOP_LIMIT, 0);
                template.pseudo_sum = Sum::pseudo_v6(from, to, PROTOCOL_TCP).fold();
                template.headers[..ETHERNET_HEADER].copy_from_slice(&ethernet_header(
                    link_destination,
                    link_source,
                    ETHERTYPE_IPV6,
                ));
                template.headers[ETHERNET_HEADER..ETHERNET_HEADER + IPV6_HEADER].copy_from_slice(&header);
                V6_PREFIX
            }
            _ => panic!("a segment from {source} to {destination}"),
        };
        template.headers[end - 4..end - 2].copy_from_slice(&source.port().to_be_bytes());
        template.headers[end - 2..end].copy_from_slice(&destination.port().to_be_bytes());
        template
    }

    /// Where frames go from now on.
    pub(in crate::native) fn set_link_destination(&mut self, destination: MacAddr) {
        self.headers[..6].copy_from_slice(&destination.0);
    }

    pub(in crate::native) fn is_ipv6(&self) -> bool {
        self.ipv6
    }

    /// Both ends, as the headers name them.
    pub(in crate::native) fn tuple(&self) -> FourTuple {
        let (local, remote): (IpAddr, IpAddr) = if self.ipv6 {
            let addr = |at| array_at::<16>(&self.headers, at).unwrap_or_default();
            (addr(V6_ADDRESSES).into(), addr(V6_ADDRESSES + 16).into())
        } else {
            let addr = |at| array_at::<4>(&self.headers, at).unwrap_or_default();
            (addr(V4_ADDRESSES).into(), addr(V4_ADDRESSES + 4).into())
        };
        let ports = if self.ipv6 { V6_PREFIX } else { V4_PREFIX } - PORTS;
        let port = |at| u16_at(&self.headers, at).unwrap_or_default();
        FourTuple { local: SocketAddr::new(local, port(ports)), remote: SocketAddr::new(remote, port(ports + 2)) }
    }

    /// Whether these are both ends. For each segment that arrives, so no addresses are made of the headers first.
    #[inline]
    pub(in crate::native) fn is_between(&self, local: &SocketAddr, remote: &SocketAddr) -> bool {
        let has_ports = |at| self.has(at, local.port().to_be_bytes()) && self.has(at + 2, remote.port().to_be_bytes());
        match (local.ip(), remote.ip()) {
            (IpAddr::V4(local), IpAddr::V4(remote)) => {
                !self.ipv6
                    && self.has(V4_ADDRESSES, local.octets())
                    && self.has(V4_ADDRESSES + 4, remote.octets())
                    && has_ports(V4_PREFIX - PORTS)
            }
            (IpAddr::V6(local), IpAddr::V6(remote)) => {
                self.ipv6
                    && self.has(V6_ADDRESSES, local.octets())
                    && self.has(V6_ADDRESSES + 16, remote.octets())
                    && has_ports(V6_PREFIX - PORTS)
            }
            _ => false,
        }
    }

    /// Whether the headers have these bytes there.
    #[inline]
    fn has<const N: usize>(&self, at: usize, bytes: [u8; N]) -> bool {
        array_at(&self.headers, at) == Some(bytes)
    }

    #[cfg(test)]
    pub(in crate::native) fn link_destination(&self) -> MacAddr {
        let [a, b, c, d, e, f, ..] = self.headers;
        MacAddr([a, b, c, d, e, f])
    }

    /// Bytes that [`write`](Self::write) writes in front of the payload: 114 at most.
    #[inline]
    pub(in crate::native) fn head_len(&self, options_len: usize) -> usize {
        options_len + if self.ipv6 { V6_HEADERS } else { V4_HEADERS }
    }

    /// Bytes of the IP and TCP header without options: what the MTU must hold besides options and payload.
    #[inline]
    pub(in crate::native) fn packet_overhead(&self) -> usize {
        self.head_len(0) - ETHERNET_HEADER
    }

    /// Writes the headers of a segment with `payload` into `buf`, which is empty and has room for
    /// [`head_len`](Self::head_len). The payload is only looked at for the checksum.
    #[inline]
    pub(in crate::native) fn write(
        &self,
        buf: &mut BytesMut,
        fields: &SegmentFields<'_>,
        payload: &[Bytes],
        checksum: ChecksumMode,
    ) {
        debug_assert!(buf.is_empty() && fields.options.len().is_multiple_of(4) && fields.options.len() <= 40);
        debug_assert_eq!(payload.iter().map(Bytes::len).sum::<usize>(), fields.payload_len);
        let tcp_len = TCP_HEADER + fields.options.len() + fields.payload_len;
        debug_assert!(tcp_len + IPV4_HEADER <= usize::from(u16::MAX), "an IP packet of at most 65,535 bytes");
        #[expect(clippy::cast_possible_truncation, reason = "the caller keeps to the MTU and to max_segmented")]
        let tcp_len = tcp_len as u16;
        // The fields are written where they are to stay: what is written in small pieces and read in large ones waits for
        // the memory. For the same reason the checksums are those of numbers, not of bytes just written.
        let tcp = if self.ipv6 {
            buf.extend_from_slice(&self.headers);
            let Some((ip, tcp)) = buf.split_first_chunk_mut::<{ V6_HEADERS - TCP_HEADER }>() else { return };
            ip[15] |= (fields.ecn as u8) << 4;
            ip[18..20].copy_from_slice(&tcp_len.to_be_bytes());
            tcp
        } else {
            buf.extend_from_slice(&self.headers[..V4_HEADERS]);
            let Some((ip, tcp)) = buf.split_first_chunk_mut::<{ V4_HEADERS - TCP_HEADER }>() else { return };
            let total_len = tcp_len.wrapping_add(IPV4_HEADER as u16);
            let mut sum = Sum::from_folded(self.ip_sum);
            sum.add_u16(u16::from(fields.ecn as u8));
            sum.add_u16(total_len);
            sum.add_u16(fields.ident);
            ip[15] |= fields.ecn as u8;
            ip[16..18].copy_from_slice(&total_len.to_be_bytes());
            ip[18..20].copy_from_slice(&fields.ident.to_be_bytes());
            ip[24..26].copy_from_slice(&sum.checksum());
            tcp
        };
        self.write_tcp(tcp, fields, payload, tcp_len, checksum);
        if !fields.options.is_empty() {
            buf.extend_from_slice(fields.options);
        }
    }

    /// The TCP header behind the ports.
    #[inline]
    fn write_tcp(
        &self,
        tcp: &mut [u8],
        fields: &SegmentFields<'_>,
        payload: &[Bytes],
        tcp_len: u16,
        checksum: ChecksumMode,
    ) {
        let Some(tcp) = tcp.first_chunk_mut::<TCP_HEADER>() else { return };
        #[expect(clippy::cast_possible_truncation, reason = "15 words at most")]
        let words = ((TCP_HEADER + fields.options.len()) / 4) as u8;
        let offset_and_flags = u16::from_be_bytes([words << 4, fields.flags.0]);
        let mut sum = Sum::from_folded(self.pseudo_sum);
        sum.add_u16(tcp_len);
        let field = match checksum {
            ChecksumMode::Partial => sum.fold().to_ne_bytes(),
            ChecksumMode::Full => {
                let ports = if self.ipv6 { V6_PREFIX } else { V4_PREFIX } - PORTS;
                sum.add_bytes(&self.headers[ports..ports + PORTS]);
                sum.add_u32(fields.seq);
                sum.add_u32(fields.ack);
                sum.add_u16(offset_and_flags);
                sum.add_u16(fields.window);
                sum.add_u16(fields.urgent);
                sum.add_bytes(fields.options);
                sum.add_slices(payload.iter().map(|slice| &slice[..]));
                sum.checksum()
            }
        };
        tcp[4..8].copy_from_slice(&fields.seq.to_be_bytes());
        tcp[8..12].copy_from_slice(&fields.ack.to_be_bytes());
        tcp[12..14].copy_from_slice(&offset_and_flags.to_be_bytes());
        tcp[14..16].copy_from_slice(&fields.window.to_be_bytes());
        tcp[16..18].copy_from_slice(&field);
        tcp[18..20].copy_from_slice(&fields.urgent.to_be_bytes());
    }
}
