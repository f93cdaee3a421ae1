//! Link-layer addresses: hosts learn them at once, as if they had spoken before.
//!
//! A simulated transfer starts with warm neighbour caches: what a host asks of its link's other end is answered on the
//! spot, and no such packet is ever on a link, where its loss would cost a second that says nothing of the transport.

use std::net::{IpAddr, Ipv6Addr};

use bytes::BytesMut;
use mptcp_core::wire::ChecksumAccumulator;
use tcp_adapter::{Frame, MacAddr};

const ETHERNET: usize = 14;
const ARP: [u8; 2] = [0x08, 0x06];
const IPV6: [u8; 2] = [0x86, 0xdd];

/// ICMPv6 behind an IPv6 header without extension headers.
const ICMPV6: usize = ETHERNET + 40;
const NEXT_HEADER_ICMPV6: u8 = 58;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
/// RFC 4861 section 7.1: all such messages have the greatest hop limit.
const HOP_LIMIT: u8 = 255;

/// What becomes of a frame that asks for neighbours.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// It is no such frame.
    None,
    /// The other end of the link has the address: this is its answer.
    Answer(Frame),
    /// Nobody has the address.
    Silence,
}

/// Looks at a frame that leaves a host on a link whose other end has these addresses.
pub(super) fn question(frame: &Frame, mac: MacAddr, addr: IpAddr) -> Question {
    let head = &frame.head[..];
    match head.get(12..ETHERNET) {
        Some(kind) if kind == ARP => arp(head, mac, addr).map_or(Question::Silence, Question::Answer),
        Some(kind) if kind == IPV6 && head.get(ETHERNET + 6) == Some(&NEXT_HEADER_ICMPV6) => {
            match head.get(ICMPV6).copied() {
                Some(SOLICITATION) => solicited(head, mac, addr).map_or(Question::Silence, Question::Answer),
                // Reports on multicast groups and the like are for routers that do not exist here.
                _ => Question::Silence,
            }
        }
        _ => Question::None,
    }
}

/// RFC 826.
fn arp(head: &[u8], mac: MacAddr, addr: IpAddr) -> Option<Frame> {
    let IpAddr::V4(addr) = addr else { return None };
    let body = head.get(ETHERNET..ETHERNET + 28)?;
    let (request, target) = (&body[..8], &body[24..28]);
    if request != [0, 1, 8, 0, 6, 4, 0, 1] || target != addr.octets() {
        return None;
    }
    let asker = &body[8..18];
    let mut reply = BytesMut::with_capacity(ETHERNET + 28);
    reply.extend_from_slice(&asker[..6]);
    reply.extend_from_slice(&mac.0);
    reply.extend_from_slice(&ARP);
    reply.extend_from_slice(&[0, 1, 8, 0, 6, 4, 0, 2]);
    reply.extend_from_slice(&mac.0);
    reply.extend_from_slice(&addr.octets());
    reply.extend_from_slice(asker);
    Some(Frame::linear(reply))
}

/// RFC 4861 sections 4.3 and 4.4.
fn solicited(head: &[u8], mac: MacAddr, addr: IpAddr) -> Option<Frame> {
    let IpAddr::V6(addr) = addr else { return None };
    let target = head.get(ICMPV6 + 8..ICMPV6 + 24)?;
    let asker: [u8; 16] = head[ETHERNET + 8..ETHERNET + 24].try_into().ok()?;
    if target != addr.octets() || Ipv6Addr::from(asker).is_unspecified() {
        return None;
    }
    // Solicited and override; option 2 is the target's link-layer address, in units of 8 bytes.
    let mut message = [0; 32];
    message[0] = ADVERTISEMENT;
    message[4] = 0x60;
    message[8..24].copy_from_slice(target);
    message[24..26].copy_from_slice(&[2, 1]);
    message[26..].copy_from_slice(&mac.0);
    let sum = checksum(&[&addr.octets(), &asker, &[0, 0, 0, 32, 0, 0, 0, NEXT_HEADER_ICMPV6], &message]);
    message[2..4].copy_from_slice(&sum);
    let mut reply = BytesMut::with_capacity(ICMPV6 + message.len());
    reply.extend_from_slice(&head[6..12]);
    reply.extend_from_slice(&mac.0);
    reply.extend_from_slice(&IPV6);
    reply.extend_from_slice(&[0x60, 0, 0, 0, 0, 32, NEXT_HEADER_ICMPV6, HOP_LIMIT]);
    reply.extend_from_slice(&addr.octets());
    reply.extend_from_slice(&asker);
    reply.extend_from_slice(&message);
    Some(Frame::linear(reply))
}

/// RFC 1071, over parts of even length; the last may be odd.
pub(super) fn checksum(parts: &[&[u8]]) -> [u8; 2] {
    let mut accumulator = ChecksumAccumulator::new();
    parts.iter().for_each(|part| accumulator.add(part));
    (!accumulator.sum()).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: MacAddr = MacAddr([2, 0, 0, 0, 1, 1]);

    #[test]
    fn the_other_end_answers_for_its_own_address_only() {
        let mut ask = vec![0xff; 6];
        ask.extend_from_slice(&[2, 0, 0, 0, 1, 0, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 1, 0, 10, 0, 1, 1]);
        ask.extend_from_slice(&[0, 0, 0, 0, 0, 0, 10, 0, 1, 2]);
        let frame = Frame::from(&ask[..]);
        let Question::Answer(reply) = question(&frame, MAC, "10.0.1.2".parse().unwrap()) else { panic!("no answer") };
        let expected = [
            2, 0, 0, 0, 1, 0, 2, 0, 0, 0, 1, 1, 8, 6, 0, 1, 8, 0, 6, 4, 0, 2, 2, 0, 0, 0, 1, 1, 10, 0, 1, 2, 2, 0, 0,
            0, 1, 0, 10, 0, 1, 1,
        ];
        assert_eq!(reply.head[..], expected);
        assert_eq!(question(&frame, MAC, "10.0.1.3".parse().unwrap()), Question::Silence);
        let data = Frame::from(&[0; 60][..]);
        assert_eq!(question(&data, MAC, "10.0.1.2".parse().unwrap()), Question::None);
    }
}
