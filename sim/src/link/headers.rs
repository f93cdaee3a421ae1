//! What a link looks at in a frame: its flow, its ECN field, and what a damaged bit does to it.

use rand::RngExt;
use tcp_adapter::{ChecksumState, Frame};

use super::serializer::ETHERNET_HEADER;
use crate::packet::Packet;
use crate::random::Stream;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const IPV4_HEADER_MIN: usize = 20;
const IPV6_HEADER: usize = 40;
const PROTOCOL_TCP: u8 = 6;
const PROTOCOL_UDP: u8 = 17;
const TCP_HEADER_MIN: usize = 20;
const UDP_HEADER: usize = 8;
/// The ECN field of the type of service and traffic class (RFC 3168 section 5): both bits set is congestion experienced.
const ECN_CE: u8 = 0b11;

/// Addresses, ports and protocol: packets that share all of them are of one flow. All zero for what is not IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct FlowKey {
    pub(super) source: [u8; 16],
    pub(super) destination: [u8; 16],
    /// Source and destination, zero where there are none, as in later fragments.
    pub(super) ports: [u8; 4],
    pub(super) protocol: u8,
}

/// The TCP part of a segment that carries data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TcpData {
    pub(super) sequence: u32,
    pub(super) payload: usize,
}

/// What the headers of a frame say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct Headers {
    pub(super) flow: FlowKey,
    /// Bytes of the frame before the payload of the transport, as far as known.
    pub(super) len: usize,
    pub(super) tcp: Option<TcpData>,
}

impl Headers {
    /// Reads the headers; what is missing or not IP gives zeros.
    pub(super) fn of(frame: &Frame) -> Self {
        Self::parse(&frame.head, frame.len()).unwrap_or_default()
    }

    fn parse(head: &[u8], frame_len: usize) -> Option<Self> {
        let ip = head.get(ETHERNET_HEADER..)?;
        let mut flow = FlowKey::default();
        let (transport, whole) = match ethertype(head)? {
            ETHERTYPE_IPV4 if ip.len() >= IPV4_HEADER_MIN => {
                flow.source[..4].copy_from_slice(&ip[12..16]);
                flow.destination[..4].copy_from_slice(&ip[16..20]);
                flow.protocol = ip[9];
                // Neither "more fragments" nor an offset.
                let fragment = u16::from_be_bytes([ip[6], ip[7]]) & 0x3fff;
                (usize::from(ip[0] & 0x0f) * 4, fragment == 0)
            }
            ETHERTYPE_IPV6 if ip.len() >= IPV6_HEADER => {
                flow.source.copy_from_slice(&ip[8..24]);
                flow.destination.copy_from_slice(&ip[24..40]);
                flow.protocol = ip[6];
                (IPV6_HEADER, true)
            }
            _ => return None,
        };
        let mut headers = Self { flow, len: ETHERNET_HEADER + transport, tcp: None };
        let Some(transport) = ip.get(transport..).filter(|_| whole) else { return Some(headers) };
        match flow.protocol {
            PROTOCOL_TCP if transport.len() >= TCP_HEADER_MIN => {
                headers.flow.ports.copy_from_slice(&transport[..4]);
                headers.len += usize::from(transport[12] >> 4) * 4;
                let sequence = u32::from_be_bytes([transport[4], transport[5], transport[6], transport[7]]);
                let payload = frame_len.saturating_sub(headers.len);
                headers.tcp = (payload > 0).then_some(TcpData { sequence, payload });
            }
            PROTOCOL_UDP if transport.len() >= UDP_HEADER => {
                headers.flow.ports.copy_from_slice(&transport[..4]);
                headers.len += UDP_HEADER;
            }
            _ => {}
        }
        Some(headers)
    }
}

/// Bytes that a packet takes on its link: a super-segment has its headers once per segment, as it would be cut.
pub(super) fn wire_len(packet: &Packet) -> usize {
    let len = packet.offered_len;
    let Some(size) = packet.frame.meta.segment_size else { return len };
    let headers = Headers::of(&packet.frame).len;
    let payload = len.saturating_sub(headers);
    let segments = payload.div_ceil(usize::from(size.get())).max(1);
    len + (segments - 1) * headers
}

/// The longest IP packet of a frame, in bytes: what an MTU limits.
pub(crate) fn longest_ip_packet(frame: &Frame) -> usize {
    let longest = match frame.meta.segment_size {
        Some(size) => frame.len().min(Headers::of(frame).len + usize::from(size.get())),
        None => frame.len(),
    };
    longest.saturating_sub(ETHERNET_HEADER)
}

/// Sets congestion experienced in a packet whose sender declared an ECN-capable transport (RFC 3168 section 5), and
/// corrects the checksum of an IPv4 header. False, without a change, for all other packets.
pub(super) fn mark_congestion(frame: &mut Frame) -> bool {
    let ethertype = ethertype(&frame.head);
    let Some(ip) = frame.head.get_mut(ETHERNET_HEADER..) else { return false };
    match ethertype {
        Some(ETHERTYPE_IPV4) if ip.len() >= IPV4_HEADER_MIN => {
            if ip[1] & ECN_CE == 0 {
                return false;
            }
            let old = u16::from_be_bytes([ip[0], ip[1]]);
            ip[1] |= ECN_CE;
            let new = u16::from_be_bytes([ip[0], ip[1]]);
            let checksum = updated_checksum(u16::from_be_bytes([ip[10], ip[11]]), old, new);
            ip[10..12].copy_from_slice(&checksum.to_be_bytes());
            true
        }
        Some(ETHERTYPE_IPV6) if ip.len() >= IPV6_HEADER => {
            // The traffic class begins in the low half of the first byte, so its last bits are in the second.
            if ip[1] >> 4 & ECN_CE == 0 {
                return false;
            }
            ip[1] |= ECN_CE << 4;
            true
        }
        _ => false,
    }
}

/// What came of the attempt to damage a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Damage {
    /// One bit is different; a checksum will tell.
    Flipped,
    /// The frame has no checksum that could tell, since a device would have to make it first. The receiver of real
    /// frames would have rejected it.
    Undetectable,
    /// There is nothing behind the Ethernet header.
    Nothing,
}

/// Flips one bit behind the Ethernet header.
pub(super) fn damage(frame: &mut Frame, stream: &mut Stream) -> Damage {
    if frame.meta.segment_size.is_some() || frame.meta.checksum == ChecksumState::Partial {
        return Damage::Undetectable;
    }
    if frame.len() <= ETHERNET_HEADER {
        return Damage::Nothing;
    }
    frame.meta.checksum = ChecksumState::Complete;
    let bytes = frame.linearize();
    let bit = stream.random_range(ETHERNET_HEADER as u64 * 8..bytes.len() as u64 * 8) as usize;
    bytes[bit / 8] ^= 1 << (bit % 8);
    Damage::Flipped
}

fn ethertype(head: &[u8]) -> Option<u16> {
    head.get(12..ETHERNET_HEADER).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
}

/// The checksum after one 16-bit word changed (RFC 1624 section 3, equation 3).
fn updated_checksum(checksum: u16, old: u16, new: u16) -> u16 {
    let sum = u32::from(!checksum) + u32::from(!old) + u32::from(new);
    let sum = (sum & 0xffff) + (sum >> 16);
    !((sum & 0xffff) + (sum >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use super::*;
    use crate::link::testing::{Ecn, checksum_holds, ipv6, tcp, udp};
    use crate::random::Streams;

    #[test]
    fn flows_differ_by_address_port_and_protocol() {
        let flow = |packet: crate::packet::Packet| Headers::of(&packet.frame).flow;
        assert_eq!(flow(tcp(0, 1, 0, 1448)), flow(tcp(1, 1, 1448, 100)));
        assert_ne!(flow(tcp(0, 1, 0, 1448)), flow(tcp(0, 2, 0, 1448)));
        assert_ne!(flow(tcp(0, 1, 0, 1448)), flow(udp(0, 1514)));
        assert_ne!(flow(ipv6(0, Ecn::Not)), flow(udp(0, 1514)));
    }

    #[test]
    fn data_of_tcp_is_found() {
        let headers = Headers::of(&tcp(0, 1, 77, 1448).frame);
        assert_eq!(headers.tcp, Some(TcpData { sequence: 77, payload: 1448 }));
        assert_eq!(headers.len, 54);
        assert_eq!(Headers::of(&tcp(0, 1, 77, 0).frame).tcp, None);
    }

    #[test]
    fn later_fragments_have_no_ports() {
        let mut packet = udp(0, 200);
        packet.frame.head[ETHERNET_HEADER + 7] = 1;
        assert_eq!(Headers::of(&packet.frame).flow.ports, [0; 4]);
    }

    #[test]
    fn any_start_of_a_frame_can_be_read() {
        for packet in [tcp(0, 1, 0, 10), ipv6(0, Ecn::Capable)] {
            for len in 0..packet.len() {
                let mut frame = Frame::from(&packet.frame.head[..len]);
                Headers::of(&frame);
                mark_congestion(&mut frame);
                wire_len(&packet.with_frame(frame));
            }
        }
    }

    #[test]
    fn only_capable_transports_are_marked() {
        for (ecn, marked) in [(Ecn::Not, false), (Ecn::Capable, true), (Ecn::Experienced, true)] {
            let mut packet = crate::link::testing::udp_ecn(0, 100, ecn);
            assert_eq!(mark_congestion(&mut packet.frame), marked);
            assert_eq!(packet.frame.head[ETHERNET_HEADER + 1] & ECN_CE == ECN_CE, marked);
            assert!(checksum_holds(&packet.frame.head[ETHERNET_HEADER..ETHERNET_HEADER + IPV4_HEADER_MIN]));
            let mut packet = ipv6(0, ecn);
            let before = packet.frame.head.clone();
            assert_eq!(mark_congestion(&mut packet.frame), marked);
            assert_eq!(packet.frame.head[ETHERNET_HEADER + 1] >> 4 & ECN_CE == ECN_CE, marked);
            assert_eq!(packet.frame.head[ETHERNET_HEADER + 1] & 0x0f, before[ETHERNET_HEADER + 1] & 0x0f);
        }
    }

    #[test]
    fn checksums_are_updated_for_every_word() {
        for old in (0..=u16::MAX).step_by(13) {
            let mut packet = crate::link::testing::udp_ecn(0, 100, Ecn::Capable);
            let ip = &mut packet.frame.head[ETHERNET_HEADER..ETHERNET_HEADER + IPV4_HEADER_MIN];
            ip[4..6].copy_from_slice(&old.to_be_bytes());
            ip[10..12].fill(0);
            let sum = crate::link::testing::internet_checksum(ip);
            ip[10..12].copy_from_slice(&sum.to_be_bytes());
            assert!(mark_congestion(&mut packet.frame));
            assert!(checksum_holds(&packet.frame.head[ETHERNET_HEADER..ETHERNET_HEADER + IPV4_HEADER_MIN]), "{old}");
        }
    }

    #[test]
    fn damage_is_one_bit_behind_the_ethernet_header() {
        let mut stream = Streams::new(1).stream("damage");
        let mut touched = vec![0_u32; 64];
        for _ in 0..20_000 {
            let packet = udp(0, 64);
            let mut frame = packet.frame.clone();
            assert_eq!(damage(&mut frame, &mut stream), Damage::Flipped);
            let differences: Vec<u32> =
                packet.frame.head.iter().zip(&frame.head).map(|(old, new)| (old ^ new).count_ones()).collect();
            assert_eq!(differences.iter().sum::<u32>(), 1);
            differences.iter().zip(&mut touched).for_each(|(difference, touched)| *touched += difference);
        }
        assert!(touched[..ETHERNET_HEADER].iter().all(|count| *count == 0));
        // 400 each on average, deviation 20.
        assert!(touched[ETHERNET_HEADER..].iter().all(|count| (300..500).contains(count)), "{touched:?}");
    }

    #[test]
    fn frames_without_checksum_cannot_be_damaged() {
        let mut stream = Streams::new(1).stream("damage");
        let mut frame = udp(0, 64).frame;
        frame.meta.checksum = ChecksumState::Partial;
        assert_eq!(damage(&mut frame, &mut stream), Damage::Undetectable);
        frame.meta.checksum = ChecksumState::Verified;
        assert_eq!(damage(&mut frame, &mut stream), Damage::Flipped);
        assert_eq!(frame.meta.checksum, ChecksumState::Complete);
        assert_eq!(damage(&mut Frame::from(&[0; 14][..]), &mut stream), Damage::Nothing);
    }

    #[test]
    fn super_segments_count_as_their_segments() {
        let mut packet = tcp(0, 1, 0, 10 * 1460 + 1);
        packet.frame.meta.segment_size = NonZeroU16::new(1460);
        assert_eq!(wire_len(&packet), 11 * 54 + 10 * 1460 + 1);
        assert_eq!(longest_ip_packet(&packet.frame), 1500);
        packet.frame.meta.segment_size = None;
        assert_eq!(wire_len(&packet), packet.len());
        assert_eq!(longest_ip_packet(&packet.frame), 14_641);
    }
}
