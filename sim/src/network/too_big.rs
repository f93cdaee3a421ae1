//! What a router says of a packet that is too long for the next link.
//!
//! With this answer senders find the MTU of a path (RFC 1191, RFC 8201). A router that drops such packets without a word is a black hole
//! (RFC 2923 section 2.1).

use std::net::IpAddr;

use bytes::BytesMut;
use tcp_adapter::Frame;

use super::forward;
use super::neighbour::checksum;
use crate::link::longest_ip_packet;

const ETHERNET: usize = 14;
const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;
const ICMP_HEADER: usize = 8;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
const TTL: u8 = 64;

/// Bytes of an error at most, with its IP header: RFC 1812 section 4.3.2.3, RFC 4443 section 2.4.
const LONGEST_V4: usize = 576;
const LONGEST_V6: usize = 1280;

/// The answer of the router with the address `from` to a packet that is too long for a link with this MTU; its Ethernet header is left to be written. `None` if
/// there is none: if the packet may be cut into fragments (RFC 1191 section 4), is one, or is ICMP itself (RFC 1122 section 3.2.2).
pub(super) fn answer(frame: &Frame, mtu: usize, from: IpAddr) -> Option<Frame> {
    let longest = longest_ip_packet(frame);
    let packet = frame.head.get(ETHERNET..)?;
    match (from, forward::source(frame)?) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let is_whole = packet[7] == 0 && packet[6] & 0x3f == 0;
            if packet[6] & 0x40 == 0 || !is_whole || packet[9] == ICMP {
                return None;
            }
            let mut quoted = packet[..packet.len().min(LONGEST_V4 - IPV4_HEADER - ICMP_HEADER)].to_vec();
            // Of a super-segment each piece is a packet.
            quoted[2..4].copy_from_slice(&u16::try_from(longest).unwrap_or(u16::MAX).to_be_bytes());
            let mut message = vec![3, 4, 0, 0, 0, 0, 0, 0];
            message[6..8].copy_from_slice(&u16::try_from(mtu).unwrap_or(u16::MAX).to_be_bytes());
            message.extend_from_slice(&quoted);
            let sum = checksum(&[&message]);
            message[2..4].copy_from_slice(&sum);
            let mut header = [0; IPV4_HEADER];
            header[0] = 0x45;
            header[2..4].copy_from_slice(&((IPV4_HEADER + message.len()) as u16).to_be_bytes());
            header[8..10].copy_from_slice(&[TTL, ICMP]);
            header[12..16].copy_from_slice(&from.octets());
            header[16..].copy_from_slice(&to.octets());
            let sum = checksum(&[&header]);
            header[10..12].copy_from_slice(&sum);
            Some(frame_of([0x08, 0x00], &header, &message))
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            if packet[6] == ICMPV6 {
                return None;
            }
            let mut quoted = packet[..packet.len().min(LONGEST_V6 - IPV6_HEADER - ICMP_HEADER)].to_vec();
            let payload = u16::try_from(longest.saturating_sub(IPV6_HEADER)).unwrap_or(u16::MAX);
            quoted[4..6].copy_from_slice(&payload.to_be_bytes());
            let mut message = vec![2, 0, 0, 0];
            message.extend_from_slice(&u32::try_from(mtu).unwrap_or(u32::MAX).to_be_bytes());
            message.extend_from_slice(&quoted);
            let len = message.len() as u16;
            let [high, low] = len.to_be_bytes();
            let pseudo = [0, 0, high, low, 0, 0, 0, ICMPV6];
            let sum = checksum(&[&from.octets(), &to.octets(), &pseudo, &message]);
            message[2..4].copy_from_slice(&sum);
            let mut header = [0; IPV6_HEADER];
            header[0] = 0x60;
            header[4..8].copy_from_slice(&[high, low, ICMPV6, TTL]);
            header[8..24].copy_from_slice(&from.octets());
            header[24..].copy_from_slice(&to.octets());
            Some(frame_of([0x86, 0xdd], &header, &message))
        }
        _ => None,
    }
}

fn frame_of(kind: [u8; 2], header: &[u8], message: &[u8]) -> Frame {
    let mut bytes = BytesMut::with_capacity(ETHERNET + header.len() + message.len());
    bytes.extend_from_slice(&[0; 12]);
    bytes.extend_from_slice(&kind);
    bytes.extend_from_slice(header);
    bytes.extend_from_slice(message);
    Frame::linear(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet_v4(flags: u8, protocol: u8) -> Frame {
        let mut bytes = vec![0; 12];
        bytes.extend_from_slice(&[8, 0, 0x45, 0, 0x05, 0xdc, 0, 0, flags, 0, 64, protocol, 0, 0]);
        bytes.extend_from_slice(&[10, 0, 1, 1, 10, 0, 4, 2]);
        bytes.resize(ETHERNET + 1500, 7);
        Frame::from(&bytes[..])
    }

    #[test]
    fn the_sender_is_told_the_mtu() {
        let router = IpAddr::from([10, 0, 1, 2]);
        let answer = answer(&packet_v4(0x40, 6), 1300, router).unwrap();
        let ip = &answer.head[ETHERNET..];
        assert_eq!((ip.len(), u16::from_be_bytes([ip[2], ip[3]])), (576, 576));
        assert_eq!((&ip[12..16], &ip[16..20], ip[9]), (&[10, 0, 1, 2][..], &[10, 0, 1, 1][..], ICMP));
        assert_eq!(ip[20..22], [3, 4]);
        assert_eq!(ip[26..28], 1300_u16.to_be_bytes());
        assert_eq!(ip[28..32], [0x45, 0, 0x05, 0xdc]);
        assert_eq!((checksum(&[&ip[..20]]), checksum(&[&ip[20..]])), ([0; 2], [0; 2]));
    }

    #[test]
    fn the_sender_is_told_the_mtu_of_ipv6() {
        let mut bytes = vec![0; 12];
        bytes.extend_from_slice(&[0x86, 0xdd, 0x60, 0, 0, 0, 0x05, 0xb4, 6, 64]);
        let [source, destination]: [[u8; 16]; 2] =
            ["fd00::1", "fd00::2"].map(|addr| addr.parse::<std::net::Ipv6Addr>().unwrap().octets());
        bytes.extend_from_slice(&source);
        bytes.extend_from_slice(&destination);
        bytes.resize(ETHERNET + 1500, 7);
        let answer = answer(&Frame::from(&bytes[..]), 1280, "fd00::9".parse().unwrap()).unwrap();
        let ip = &answer.head[ETHERNET..];
        assert_eq!((ip.len(), ip[6], ip[40]), (1280, ICMPV6, 2));
        assert_eq!(ip[44..48], 1280_u32.to_be_bytes());
        let pseudo = [0, 0, ip[4], ip[5], 0, 0, 0, ICMPV6];
        assert_eq!(checksum(&[&ip[8..40], &pseudo, &ip[40..]]), [0; 2]);
    }

    #[test]
    fn what_may_be_cut_or_is_icmp_gets_no_answer() {
        let router = IpAddr::from([10, 0, 1, 2]);
        assert!(answer(&packet_v4(0, 6), 1300, router).is_none());
        assert!(answer(&packet_v4(0x40, ICMP), 1300, router).is_none());
        assert!(answer(&packet_v4(0x40, 6), 1300, "fd00::9".parse().unwrap()).is_none());
        assert!(answer(&Frame::from(&[0; 2000][..]), 1300, router).is_none());
    }
}
