//! Address resolution: the peers answer for every address of their network.

use bytes::BytesMut;

use super::peer::{PEER_MAC, STACK_MAC};
use crate::Frame;
use crate::conformance::packet::datagram;

/// The answer to an ARP request or a neighbour solicitation; `None` for anything else.
pub(super) fn answer(frame: &Frame) -> Option<Frame> {
    let mut frame = frame.clone();
    let bytes = &frame.linearize()[..];
    match u16::from_be_bytes(bytes.get(12..14)?.try_into().ok()?) {
        0x0806 => answer_arp(bytes.get(14..42)?),
        0x86dd => answer_solicitation(bytes.get(14..)?),
        _ => None,
    }
}

/// RFC 826.
fn answer_arp(arp: &[u8]) -> Option<Frame> {
    if arp[..8] != [0, 1, 8, 0, 6, 4, 0, 1] {
        return None;
    }
    let mut reply = BytesMut::from(&[STACK_MAC.0, PEER_MAC.0].concat()[..]);
    reply.extend_from_slice(&[8, 6, 0, 1, 8, 0, 6, 4, 0, 2]);
    reply.extend_from_slice(&PEER_MAC.0);
    reply.extend_from_slice(&arp[24..28]);
    reply.extend_from_slice(&arp[8..18]);
    Some(Frame::linear(reply))
}

/// RFC 4861 sections 4.3 and 4.4.
fn answer_solicitation(packet: &[u8]) -> Option<Frame> {
    const ICMP: u8 = 58;
    const SOLICITATION: u8 = 135;
    const ADVERTISEMENT: u8 = 136;
    const SOLICITED_AND_OVERRIDE: u8 = 0x60;
    let icmp = packet.get(40..64)?;
    if packet[6] != ICMP || icmp[0] != SOLICITATION {
        return None;
    }
    let source: [u8; 16] = packet[8..24].try_into().ok()?;
    let target: [u8; 16] = icmp[8..24].try_into().ok()?;
    let mut content = vec![ADVERTISEMENT, 0, 0, 0, SOLICITED_AND_OVERRIDE, 0, 0, 0];
    content.extend_from_slice(&target);
    content.extend_from_slice(&[2, 1]);
    content.extend_from_slice(&PEER_MAC.0);
    Some(datagram([STACK_MAC.0, PEER_MAC.0], ICMP, 255, [target.into(), source.into()], content, 2))
}
