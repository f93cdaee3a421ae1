//! Address resolution: a peer answers for every address of its network.

use bytes::BytesMut;

use super::packet::datagram;
use crate::Frame;

/// The answer to an ARP request or a neighbour solicitation, where `macs` are the asking stack's and the peer's; `None` for anything else.
pub fn answer(frame: &Frame, macs: [[u8; 6]; 2]) -> Option<Frame> {
    let mut frame = frame.clone();
    let bytes = &frame.linearize()[..];
    match u16::from_be_bytes(bytes.get(12..14)?.try_into().ok()?) {
        0x0806 => answer_arp(bytes.get(14..42)?, macs),
        0x86dd => answer_solicitation(bytes.get(14..)?, macs),
        _ => None,
    }
}

/// RFC 826.
fn answer_arp(arp: &[u8], macs: [[u8; 6]; 2]) -> Option<Frame> {
    if arp[..8] != [0, 1, 8, 0, 6, 4, 0, 1] {
        return None;
    }
    let mut reply = BytesMut::from(&macs.concat()[..]);
    reply.extend_from_slice(&[8, 6, 0, 1, 8, 0, 6, 4, 0, 2]);
    reply.extend_from_slice(&macs[1]);
    reply.extend_from_slice(&arp[24..28]);
    reply.extend_from_slice(&arp[8..18]);
    Some(Frame::linear(reply))
}

/// RFC 4861 sections 4.3 and 4.4.
fn answer_solicitation(packet: &[u8], macs: [[u8; 6]; 2]) -> Option<Frame> {
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
    content.extend_from_slice(&macs[1]);
    Some(datagram(macs, ICMP, 255, [target.into(), source.into()], content, 2))
}
