//! ARP requests that smoltcp would leave unanswered.

use std::net::{IpAddr, Ipv4Addr};

use bytes::BytesMut;
use smoltcp::wire::{ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr};

use crate::{Frame, InterfaceConfig};

/// The answer to a request for one of the interface's addresses from a host of another network.
///
/// smoltcp ignores these, but multihomed hosts send them: Linux asks with the source address of the packet that
/// it wants to send (`arp_announce` 0), which on the path of another subnet is one of that subnet. RFC 826
/// has no condition on the sender.
pub(super) fn answer_stranger(config: &InterfaceConfig, frame: &[u8]) -> Option<Frame> {
    let ethernet = EthernetFrame::new_checked(frame).ok()?;
    if ethernet.ethertype() != EthernetProtocol::Arp {
        return None;
    }
    let ArpRepr::EthernetIpv4 {
        operation: ArpOperation::Request,
        source_hardware_addr,
        source_protocol_addr,
        target_protocol_addr,
        ..
    } = ArpRepr::parse(&ArpPacket::new_checked(ethernet.payload()).ok()?).ok()?
    else {
        return None;
    };
    let is_own = |addr: Ipv4Addr| config.addrs.iter().any(|own| own.addr == IpAddr::V4(addr));
    let on_link = config.addrs.iter().any(|own| own.contains(IpAddr::V4(source_protocol_addr)));
    if on_link || !is_own(target_protocol_addr) || !source_hardware_addr.is_unicast() {
        return None;
    }
    let own = EthernetAddress(config.mac.0);
    let link = EthernetRepr { src_addr: own, dst_addr: source_hardware_addr, ethertype: EthernetProtocol::Arp };
    let reply = ArpRepr::EthernetIpv4 {
        operation: ArpOperation::Reply,
        source_hardware_addr: own,
        source_protocol_addr: target_protocol_addr,
        target_hardware_addr: source_hardware_addr,
        target_protocol_addr: source_protocol_addr,
    };
    let mut bytes = BytesMut::zeroed(link.buffer_len() + reply.buffer_len());
    let mut out = EthernetFrame::new_unchecked(&mut bytes[..]);
    link.emit(&mut out);
    reply.emit(&mut ArpPacket::new_unchecked(out.payload_mut()));
    Some(Frame::linear(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MacAddr;

    fn interface() -> InterfaceConfig {
        InterfaceConfig {
            mac: MacAddr([2, 0, 0, 0, 0, 9]),
            mtu: 1500,
            addrs: vec!["10.0.2.2/24".parse().unwrap()],
            routes: Vec::new(),
        }
    }

    fn request(from: [u8; 4], target: [u8; 4]) -> Vec<u8> {
        let mut frame = vec![0xff; 6];
        frame.extend_from_slice(&[2, 0, 0, 0, 0, 1, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1]);
        frame.extend_from_slice(&from);
        frame.extend_from_slice(&[0; 6]);
        frame.extend_from_slice(&target);
        frame
    }

    #[test]
    fn strangers_learn_our_address() {
        let reply = answer_stranger(&interface(), &request([10, 0, 1, 1], [10, 0, 2, 2])).unwrap();
        let expected: Vec<u8> = [
            &[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9, 8, 6, 0, 1, 8, 0, 6, 4, 0, 2][..],
            &[2, 0, 0, 0, 0, 9, 10, 0, 2, 2],
            &[2, 0, 0, 0, 0, 1, 10, 0, 1, 1],
        ]
        .concat();
        assert_eq!(&reply.head[..], &expected[..]);
    }

    #[test]
    fn neighbours_and_other_addresses_are_not_our_business() {
        assert_eq!(answer_stranger(&interface(), &request([10, 0, 2, 1], [10, 0, 2, 2])), None, "smoltcp answers");
        assert_eq!(answer_stranger(&interface(), &request([10, 0, 1, 1], [10, 0, 2, 3])), None);
        let mut cut = request([10, 0, 1, 1], [10, 0, 2, 2]);
        cut.truncate(30);
        assert_eq!(answer_stranger(&interface(), &cut), None);
    }
}
