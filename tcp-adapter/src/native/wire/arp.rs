//! ARP (RFC 826) for IPv4 over Ethernet.

use std::net::Ipv4Addr;

use bytes::BytesMut;

use super::{ETHERNET_HEADER, ETHERTYPE_ARP, array_at, ethernet_header};
use crate::{Frame, MacAddr};

/// Hardware type 1 (Ethernet), protocol type IPv4, and the lengths of their addresses.
const ETHERNET_AND_IPV4: [u8; 6] = [0, 1, 0x08, 0x00, 6, 4];
const REQUEST: [u8; 2] = [0, 1];
const REPLY: [u8; 2] = [0, 2];
const MESSAGE: usize = 28;

const BROADCAST: MacAddr = MacAddr([0xff; 6]);

/// What an ARP message wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::native) enum ArpOperation {
    Request,
    Reply,
}

/// An ARP message. The target's hardware address says nothing that the frame does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::native) struct ArpMessage {
    pub(in crate::native) operation: ArpOperation,
    pub(in crate::native) sender_mac: MacAddr,
    pub(in crate::native) sender: Ipv4Addr,
    pub(in crate::native) target: Ipv4Addr,
}

impl ArpMessage {
    pub(super) fn parse(head: &[u8]) -> Option<Self> {
        let message = head.get(ETHERNET_HEADER..ETHERNET_HEADER + MESSAGE)?;
        if message[..6] != ETHERNET_AND_IPV4 {
            return None;
        }
        let operation = match array_at(message, 6)? {
            REQUEST => ArpOperation::Request,
            REPLY => ArpOperation::Reply,
            _ => return None,
        };
        Some(Self {
            operation,
            sender_mac: MacAddr(array_at(message, 8)?),
            sender: Ipv4Addr::from(array_at::<4>(message, 14)?),
            target: Ipv4Addr::from(array_at::<4>(message, 24)?),
        })
    }

    /// The frame of a request, to everyone or, to ask a known neighbour whether it is still there, to one station
    /// (RFC 1122 section 2.3.2.1).
    pub(in crate::native) fn request(own: MacAddr, sender: Ipv4Addr, target: Ipv4Addr, to: Option<MacAddr>) -> Frame {
        let message = Self { operation: ArpOperation::Request, sender_mac: own, sender, target };
        message.frame(to.unwrap_or(BROADCAST), to.unwrap_or(MacAddr([0; 6])))
    }

    /// The frame that answers this request, which is for an address of `own`.
    pub(in crate::native) fn reply(&self, own: MacAddr) -> Frame {
        let message =
            Self { operation: ArpOperation::Reply, sender_mac: own, sender: self.target, target: self.sender };
        message.frame(self.sender_mac, self.sender_mac)
    }

    fn frame(&self, link_destination: MacAddr, target_mac: MacAddr) -> Frame {
        let mut bytes = BytesMut::with_capacity(ETHERNET_HEADER + MESSAGE);
        bytes.extend_from_slice(&ethernet_header(link_destination, self.sender_mac, ETHERTYPE_ARP));
        bytes.extend_from_slice(&ETHERNET_AND_IPV4);
        bytes.extend_from_slice(match self.operation {
            ArpOperation::Request => &REQUEST,
            ArpOperation::Reply => &REPLY,
        });
        bytes.extend_from_slice(&self.sender_mac.0);
        bytes.extend_from_slice(&self.sender.octets());
        bytes.extend_from_slice(&target_mac.0);
        bytes.extend_from_slice(&self.target.octets());
        Frame::linear(bytes)
    }
}
