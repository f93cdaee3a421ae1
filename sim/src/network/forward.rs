//! What a router does to a packet.

use std::net::IpAddr;

use tcp_adapter::{Frame, MacAddr};

const ETHERNET: usize = 14;
const TTL: usize = ETHERNET + 8;
const HEADER_CHECKSUM: usize = ETHERNET + 10;
const HOP_LIMIT: usize = ETHERNET + 7;

/// Where an IP packet is to go; `None` if the frame carries none.
pub(super) fn destination(frame: &Frame) -> Option<IpAddr> {
    address(frame, 30, 38)
}

/// Where an IP packet comes from; `None` if the frame carries none.
pub(super) fn source(frame: &Frame) -> Option<IpAddr> {
    address(frame, 26, 22)
}

/// The address at one place in a frame of IPv4, and at another in one of IPv6.
fn address(frame: &Frame, v4: usize, v6: usize) -> Option<IpAddr> {
    let head = &frame.head;
    match head.get(12..ETHERNET)? {
        [0x08, 0x00] => <[u8; 4]>::try_from(head.get(v4..v4 + 4)?).ok().map(IpAddr::from),
        [0x86, 0xdd] => <[u8; 16]>::try_from(head.get(v6..v6 + 16)?).ok().map(IpAddr::from),
        _ => None,
    }
}

/// Readies a frame for its next link; false if it has been under way for too long (RFC 791 section 3.2, RFC 8200
/// section 3).
pub(super) fn next_hop(frame: &mut Frame, from: MacAddr, to: MacAddr) -> bool {
    let head = &mut frame.head;
    if head.len() <= TTL + 4 {
        return false;
    }
    head[..6].copy_from_slice(&to.0);
    head[6..12].copy_from_slice(&from.0);
    let limit = if head[12..ETHERNET] == [0x08, 0x00] { TTL } else { HOP_LIMIT };
    if head[limit] <= 1 {
        return false;
    }
    head[limit] -= 1;
    if limit == TTL {
        // RFC 1624: the word of the TTL is less by 0x0100, so the checksum is more by as much.
        let old = u32::from(u16::from_be_bytes([head[HEADER_CHECKSUM], head[HEADER_CHECKSUM + 1]]));
        let sum = old + 0x0100;
        let folded = (sum & 0xffff) + (sum >> 16);
        head[HEADER_CHECKSUM..HEADER_CHECKSUM + 2].copy_from_slice(&(folded as u16).to_be_bytes());
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(ttl: u8) -> Frame {
        let mut bytes = vec![0; 12];
        bytes.extend_from_slice(&[8, 0, 0x45, 0, 0, 40, 0xff, 0xfe, 0x40, 0, ttl, 6, 0, 0, 10, 0, 1, 1, 10, 0, 4, 2]);
        bytes.extend_from_slice(&[0; 20]);
        let sum = !sum(&bytes[ETHERNET..ETHERNET + 20]);
        bytes[HEADER_CHECKSUM..HEADER_CHECKSUM + 2].copy_from_slice(&sum.to_be_bytes());
        Frame::from(&bytes[..])
    }

    fn sum(header: &[u8]) -> u16 {
        let mut sum: u32 =
            header.chunks_exact(2).map(|word| u32::from(u16::from_be_bytes(word.try_into().unwrap()))).sum();
        while sum > 0xffff {
            sum = (sum >> 16) + (sum & 0xffff);
        }
        sum as u16
    }

    #[test]
    fn a_hop_costs_one_and_keeps_the_checksum_right() {
        for ttl in 2..=255 {
            let mut frame = packet(ttl);
            assert_eq!(destination(&frame), Some("10.0.4.2".parse().unwrap()));
            assert!(next_hop(&mut frame, MacAddr([2; 6]), MacAddr([4; 6])));
            assert_eq!(frame.head[TTL], ttl - 1);
            assert_eq!(sum(&frame.head[ETHERNET..ETHERNET + 20]), 0xffff, "ttl {ttl}");
            assert_eq!(frame.head[..12], [4, 4, 4, 4, 4, 4, 2, 2, 2, 2, 2, 2]);
        }
        assert!(!next_hop(&mut packet(1), MacAddr([2; 6]), MacAddr([4; 6])));
    }
}
