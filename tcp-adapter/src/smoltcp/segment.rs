//! Reading and writing Ethernet frames that hold TCP segments.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use bytes::BytesMut;
use smoltcp::wire::{
    ETHERNET_HEADER_LEN, EthernetAddress, EthernetFrame, EthernetProtocol, IPV4_HEADER_LEN, IPV6_HEADER_LEN, IpAddress,
    IpProtocol, Ipv4Packet, Ipv6Packet, TCP_HEADER_LEN, TcpPacket, TcpSeqNumber,
};

use super::options::PaddedOptions;
use crate::{ChecksumState, Frame, FrameMeta, MacAddr, TcpFlags};

/// Time to live of what is written here, as smoltcp's own (RFC 1700's 64).
const HOP_LIMIT: u8 = 64;

/// What a frame holds.
#[derive(Debug)]
pub(super) enum Content {
    /// A TCP segment.
    Tcp(Segment),
    /// Something that is not TCP: ARP, ICMP, neighbour discovery ...
    Other,
    /// Nothing that may be acted on: malformed, a wrong checksum, or a fragment (the plug-in does not
    /// reassemble).
    Nothing,
}

/// The header of a received TCP segment, and where its parts are in the frame.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub(super) link_source: MacAddr,
    pub(super) link_destination: MacAddr,
    pub(super) source: SocketAddr,
    pub(super) destination: SocketAddr,
    pub(super) seq: u32,
    pub(super) ack: u32,
    pub(super) flags: TcpFlags,
    pub(super) psh: bool,
    pub(super) window: u16,
    pub(super) options: Range<usize>,
    pub(super) payload: Range<usize>,
}

impl Segment {
    /// Octets in sequence space (RFC 9293 section 3.4, SEG.LEN).
    pub(super) fn sequence_len(&self) -> u32 {
        let payload = u32::try_from(self.payload.len()).unwrap_or(u32::MAX);
        payload + u32::from(self.flags.syn) + u32::from(self.flags.fin)
    }

    fn tcp(&self) -> usize {
        self.options.start - TCP_HEADER_LEN
    }

    /// Changes what the frame says to what smoltcp should see.
    pub(super) fn rewrite(&self, frame: &mut BytesMut, view: &EngineView) {
        let end = self.payload.start + view.payload_len;
        let ip_len = end - ETHERNET_HEADER_LEN;
        match self.source {
            SocketAddr::V4(_) => Ipv4Packet::new_unchecked(&mut frame[ETHERNET_HEADER_LEN..])
                .set_total_len(u16::try_from(ip_len).unwrap_or(u16::MAX)),
            SocketAddr::V6(_) => Ipv6Packet::new_unchecked(&mut frame[ETHERNET_HEADER_LEN..])
                .set_payload_len(u16::try_from(ip_len - IPV6_HEADER_LEN).unwrap_or(u16::MAX)),
        }
        if !self.options.is_empty() {
            // smoltcp drops a segment with an option that it cannot parse. End of Option List everywhere (RFC 9293
            // section 3.2) ends its loop at once; it would step through as many no-operations one by one.
            let options = &mut frame[self.options.clone()];
            options.fill(super::options::END_OF_LIST);
            let syn_options = view.syn_options.as_slice();
            if let Some(first) = options.get_mut(..syn_options.len()) {
                first.copy_from_slice(syn_options);
            }
        }
        let mut tcp = TcpPacket::new_unchecked(&mut frame[self.tcp()..end]);
        tcp.set_ack_number(sequence(view.ack));
        tcp.set_window_len(view.window);
        tcp.set_fin(view.fin);
    }
}

/// What smoltcp is to see of a segment.
pub(super) struct EngineView {
    pub(super) ack: u32,
    pub(super) window: u16,
    pub(super) fin: bool,
    pub(super) payload_len: usize,
    /// Options of a SYN; empty otherwise.
    pub(super) syn_options: PaddedOptions,
}

/// Looks into a frame. `verify` asks for the TCP checksum to be checked.
pub(super) fn parse(frame: &[u8], verify: bool) -> Content {
    let Ok(ethernet) = EthernetFrame::new_checked(frame) else { return Content::Nothing };
    let packet = match ethernet.ethertype() {
        EthernetProtocol::Ipv4 => ipv4(ethernet.payload()),
        EthernetProtocol::Ipv6 => ipv6(ethernet.payload()),
        _ => return Content::Other,
    };
    let (source, destination, payload) = match packet {
        Packet::Tcp { source, destination, payload } => (source, destination, payload),
        Packet::Other => return Content::Other,
        Packet::Nothing => return Content::Nothing,
    };
    let start = ETHERNET_HEADER_LEN + payload.start;
    let end = ETHERNET_HEADER_LEN + payload.end;
    let Ok(tcp) = TcpPacket::new_checked(&frame[start..end]) else { return Content::Nothing };
    if verify && !tcp.verify_checksum(&IpAddress::from(source), &IpAddress::from(destination)) {
        return Content::Nothing;
    }
    if tcp.src_port() == 0 || tcp.dst_port() == 0 {
        return Content::Nothing;
    }
    let source = SocketAddr::new(source, tcp.src_port());
    let destination = SocketAddr::new(destination, tcp.dst_port());
    Content::Tcp(segment(frame, start..end, source, destination))
}

/// The segment that smoltcp has written from `source` to `destination`, if the frame holds one. It needs no check.
pub(super) fn written(frame: &[u8], source: SocketAddr, destination: SocketAddr) -> Option<Segment> {
    let start = ETHERNET_HEADER_LEN + ip_header_len(source.ip());
    is_tcp(frame).then(|| segment(frame, start..frame.len(), source, destination))
}

/// The segment at `range` of a frame.
fn segment(frame: &[u8], range: Range<usize>, source: SocketAddr, destination: SocketAddr) -> Segment {
    let ethernet = EthernetFrame::new_unchecked(frame);
    let Range { start, end } = range;
    let tcp = TcpPacket::new_unchecked(&frame[start..end]);
    let options_end = start + usize::from(tcp.header_len());
    Segment {
        link_source: MacAddr(ethernet.src_addr().0),
        link_destination: MacAddr(ethernet.dst_addr().0),
        source,
        destination,
        seq: raw(tcp.seq_number()),
        ack: raw(tcp.ack_number()),
        flags: TcpFlags { syn: tcp.syn(), ack: tcp.ack(), fin: tcp.fin(), rst: tcp.rst() },
        psh: tcp.psh(),
        window: tcp.window_len(),
        options: start + TCP_HEADER_LEN..options_end,
        payload: options_end..end,
    }
}

/// Whether a frame that smoltcp has written holds a TCP segment.
pub(super) fn is_tcp(frame: &[u8]) -> bool {
    let protocol = match frame.get(12..14) {
        Some([0x08, 0x00]) => frame.get(ETHERNET_HEADER_LEN + 9),
        Some([0x86, 0xdd]) => frame.get(ETHERNET_HEADER_LEN + 6),
        _ => None,
    };
    protocol == Some(&u8::from(IpProtocol::Tcp))
}

/// Whether a frame that smoltcp has written asks for the link address of a neighbour, by ARP or by neighbour discovery.
pub(super) fn asks_for_neighbour(frame: &[u8]) -> bool {
    const ARP_REQUEST: [u8; 2] = [0, 1];
    const NEIGHBOUR_SOLICITATION: u8 = 135;
    match frame.get(12..14) {
        Some([0x08, 0x06]) => frame.get(20..22) == Some(&ARP_REQUEST),
        Some([0x86, 0xdd]) => {
            let is_icmp = frame.get(ETHERNET_HEADER_LEN + 6) == Some(&u8::from(IpProtocol::Icmpv6));
            is_icmp && frame.get(ETHERNET_HEADER_LEN + IPV6_HEADER_LEN) == Some(&NEIGHBOUR_SOLICITATION)
        }
        _ => false,
    }
}

/// Whether a received frame may ask which multicast groups this end is in: IGMP, or multicast listener discovery, which may come
/// behind extension headers.
pub(super) fn may_ask_for_groups(frame: &[u8]) -> bool {
    const LISTENER_QUERY: u8 = 130;
    match frame.get(12..14) {
        Some([0x08, 0x00]) => frame.get(ETHERNET_HEADER_LEN + 9) == Some(&u8::from(IpProtocol::Igmp)),
        Some([0x86, 0xdd]) => {
            let is_icmp = frame.get(ETHERNET_HEADER_LEN + 6) == Some(&u8::from(IpProtocol::Icmpv6));
            !is_icmp || frame.get(ETHERNET_HEADER_LEN + IPV6_HEADER_LEN) == Some(&LISTENER_QUERY)
        }
        _ => false,
    }
}

enum Packet {
    Tcp { source: IpAddr, destination: IpAddr, payload: Range<usize> },
    Other,
    Nothing,
}

fn ipv4(bytes: &[u8]) -> Packet {
    let Ok(packet) = Ipv4Packet::new_checked(bytes) else { return Packet::Nothing };
    let header = usize::from(packet.header_len());
    if packet.version() != 4 || header < IPV4_HEADER_LEN || !packet.verify_checksum() {
        return Packet::Nothing;
    }
    if packet.more_frags() || packet.frag_offset() != 0 {
        return Packet::Nothing;
    }
    if packet.next_header() != IpProtocol::Tcp {
        return Packet::Other;
    }
    Packet::Tcp {
        source: packet.src_addr().into(),
        destination: packet.dst_addr().into(),
        payload: header..usize::from(packet.total_len()),
    }
}

fn ipv6(bytes: &[u8]) -> Packet {
    let Ok(packet) = Ipv6Packet::new_checked(bytes) else { return Packet::Nothing };
    if packet.version() != 6 {
        return Packet::Nothing;
    }
    match packet.next_header() {
        IpProtocol::Tcp => Packet::Tcp {
            source: packet.src_addr().into(),
            destination: packet.dst_addr().into(),
            payload: IPV6_HEADER_LEN..packet.total_len(),
        },
        // smoltcp looks behind hop-by-hop options: TCP there would get past the shim.
        IpProtocol::HopByHop if packet.payload().first() == Some(&u8::from(IpProtocol::Tcp)) => Packet::Nothing,
        _ => Packet::Other,
    }
}

/// A segment to write.
#[derive(Clone, Debug)]
pub(super) struct Header {
    pub(super) link_source: MacAddr,
    pub(super) link_destination: MacAddr,
    pub(super) source: SocketAddr,
    pub(super) destination: SocketAddr,
    pub(super) seq: u32,
    /// Acknowledgement number; without one the ACK flag is not set.
    pub(super) ack: Option<u32>,
    pub(super) syn: bool,
    pub(super) fin: bool,
    pub(super) rst: bool,
    pub(super) psh: bool,
    pub(super) window: u16,
    pub(super) options: PaddedOptions,
    /// The device completes the checksum: the field gets the sum of the pseudo header only.
    pub(super) partial: bool,
}

impl Header {
    /// Bytes in front of the payload.
    pub(super) fn len(&self) -> usize {
        ETHERNET_HEADER_LEN + ip_header_len(self.source.ip()) + TCP_HEADER_LEN + self.options.as_slice().len()
    }

    /// A new frame with a copy of `payload`.
    pub(super) fn with_payload(&self, payload: &[u8]) -> BytesMut {
        let mut frame = BytesMut::zeroed(self.len() + payload.len());
        frame[self.len()..].copy_from_slice(payload);
        self.write(&mut frame);
        frame
    }

    /// The frame that `bytes` are, which this was written to.
    pub(super) fn frame(&self, bytes: BytesMut) -> Frame {
        let checksum = if self.partial { ChecksumState::Partial } else { ChecksumState::Complete };
        Frame { meta: FrameMeta { checksum, ..FrameMeta::default() }, ..Frame::linear(bytes) }
    }

    /// Writes the headers to the start of a frame whose payload is in place, checksums included.
    pub(super) fn write(&self, frame: &mut [u8]) {
        let ip = ip_header_len(self.source.ip());
        let mut ethernet = EthernetFrame::new_unchecked(&mut *frame);
        ethernet.set_src_addr(EthernetAddress(self.link_source.0));
        ethernet.set_dst_addr(EthernetAddress(self.link_destination.0));
        ethernet.set_ethertype(match self.source {
            SocketAddr::V4(_) => EthernetProtocol::Ipv4,
            SocketAddr::V6(_) => EthernetProtocol::Ipv6,
        });
        self.write_ip(&mut frame[ETHERNET_HEADER_LEN..]);
        self.write_tcp(&mut frame[ETHERNET_HEADER_LEN + ip..]);
    }

    fn write_ip(&self, packet: &mut [u8]) {
        let len = packet.len();
        match (self.source.ip(), self.destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                packet[..IPV4_HEADER_LEN].fill(0);
                let mut ip = Ipv4Packet::new_unchecked(packet);
                ip.set_version(4);
                ip.set_header_len(20);
                ip.set_total_len(u16::try_from(len).unwrap_or(u16::MAX));
                ip.set_dont_frag(true);
                ip.set_hop_limit(HOP_LIMIT);
                ip.set_next_header(IpProtocol::Tcp);
                ip.set_src_addr(source);
                ip.set_dst_addr(destination);
                ip.fill_checksum();
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                packet[..IPV6_HEADER_LEN].fill(0);
                let mut ip = Ipv6Packet::new_unchecked(packet);
                ip.set_version(6);
                ip.set_payload_len(u16::try_from(len - IPV6_HEADER_LEN).unwrap_or(u16::MAX));
                ip.set_hop_limit(HOP_LIMIT);
                ip.set_next_header(IpProtocol::Tcp);
                ip.set_src_addr(source);
                ip.set_dst_addr(destination);
            }
            // A connection has one address family.
            _ => {}
        }
    }

    fn write_tcp(&self, segment: &mut [u8]) {
        let options = self.options.as_slice();
        let pseudo_sum = pseudo_sum(self.source.ip(), self.destination.ip(), segment.len());
        segment[..TCP_HEADER_LEN].fill(0);
        segment[TCP_HEADER_LEN..TCP_HEADER_LEN + options.len()].copy_from_slice(options);
        let mut tcp = TcpPacket::new_unchecked(segment);
        tcp.set_src_port(self.source.port());
        tcp.set_dst_port(self.destination.port());
        tcp.set_seq_number(sequence(self.seq));
        tcp.set_ack_number(sequence(self.ack.unwrap_or(0)));
        tcp.set_header_len(u8::try_from(TCP_HEADER_LEN + options.len()).unwrap_or(u8::MAX));
        tcp.set_ack(self.ack.is_some());
        tcp.set_syn(self.syn);
        tcp.set_fin(self.fin);
        tcp.set_rst(self.rst);
        tcp.set_psh(self.psh);
        tcp.set_window_len(self.window);
        if self.partial {
            tcp.set_checksum(pseudo_sum);
        } else {
            tcp.fill_checksum(&IpAddress::from(self.source.ip()), &IpAddress::from(self.destination.ip()));
        }
    }
}

/// Sum of the pseudo header of a segment of `len` bytes (RFC 9293 section 3.1), not complemented.
fn pseudo_sum(source: IpAddr, destination: IpAddr, len: usize) -> u16 {
    let add = |sum: u32, bytes: &[u8]| {
        bytes.chunks_exact(2).fold(sum, |sum, pair| sum + u32::from(u16::from_be_bytes([pair[0], pair[1]])))
    };
    let addresses = [source, destination].into_iter().fold(0, |sum, addr| match addr {
        IpAddr::V4(addr) => add(sum, &addr.octets()),
        IpAddr::V6(addr) => add(sum, &addr.octets()),
    });
    let mut sum = addresses + u32::from(u8::from(IpProtocol::Tcp)) + u32::try_from(len).unwrap_or(u32::MAX >> 1);
    while let high @ 1.. = sum >> 16 {
        sum = (sum & 0xffff) + high;
    }
    u16::try_from(sum).unwrap_or(u16::MAX)
}

/// Bytes of the IP header that this plug-in and smoltcp write.
pub(super) fn ip_header_len(addr: IpAddr) -> usize {
    match addr {
        IpAddr::V4(_) => IPV4_HEADER_LEN,
        IpAddr::V6(_) => IPV6_HEADER_LEN,
    }
}

fn sequence(number: u32) -> TcpSeqNumber {
    TcpSeqNumber(number.cast_signed())
}

fn raw(number: TcpSeqNumber) -> u32 {
    number.0.cast_unsigned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(source: &str, destination: &str) -> Header {
        let mut options = PaddedOptions::default();
        options.push(&[30, 12, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        Header {
            link_source: MacAddr([2, 0, 0, 0, 0, 1]),
            link_destination: MacAddr([2, 0, 0, 0, 0, 2]),
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
            seq: 7,
            ack: Some(9),
            syn: false,
            fin: false,
            rst: false,
            psh: false,
            window: 100,
            options,
            partial: false,
        }
    }

    #[test]
    fn what_was_written_is_read_as_what_others_have_written() {
        for (source, destination) in [("10.0.0.1:1000", "10.0.0.2:2000"), ("[fd00::1]:1000", "[fd00::2]:2000")] {
            let header = header(source, destination);
            let frame = header.with_payload(b"payload");
            let Content::Tcp(parsed) = parse(&frame, true) else { panic!("a segment") };
            let written = written(&frame, header.source, header.destination).unwrap();
            assert_eq!(format!("{written:?}"), format!("{parsed:?}"));
        }
    }

    #[test]
    fn smoltcp_sees_the_options_meant_for_it_and_then_the_end_of_the_list() {
        let header = header("10.0.0.1:1000", "10.0.0.2:2000");
        let syn_options = PaddedOptions::syn(1200, None);
        for (syn_options, expected) in
            [(PaddedOptions::default(), [0; 12]), (syn_options, [2, 4, 0x04, 0xb0, 0, 0, 0, 0, 0, 0, 0, 0])]
        {
            let mut frame = header.with_payload(b"payload");
            let Content::Tcp(segment) = parse(&frame, true) else { panic!("a segment") };
            segment.rewrite(&mut frame, &EngineView { ack: 5, window: 50, fin: false, payload_len: 7, syn_options });
            assert_eq!(frame[segment.options.clone()], expected);
            assert_eq!(frame[segment.payload], *b"payload");
        }
    }
}
