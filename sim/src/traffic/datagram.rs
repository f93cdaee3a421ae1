//! Datagrams of cross traffic, which need no stack: their hosts write and read them as they are.

use std::net::{IpAddr, SocketAddr};

use bytes::{BufMut, BytesMut};
use tcp_adapter::{Frame, Instant, MacAddr};

use super::pattern::Pattern;

const ETHERNET: usize = 14;
const IPV4: usize = 20;
const IPV6: usize = 40;
const UDP: usize = 8;
const PROTOCOL: u8 = 17;

/// What a datagram begins with: where its bytes belong, and when it was written. Shorter ones have neither.
const STAMP: usize = 16;

/// Both ends of a way that datagrams take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    /// The sender, and the next hop.
    pub(super) macs: [MacAddr; 2],
}

/// A datagram that has arrived unharmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Datagram {
    /// Bytes of payload.
    pub(super) len: usize,
    /// Bytes that are not those that were sent.
    pub(super) wrong: usize,
    /// When it was written.
    pub(super) written: Option<Instant>,
}

/// The longest payload that a packet of this size has room for.
pub(super) fn longest(mtu: usize, to: IpAddr) -> usize {
    mtu - UDP - if to.is_ipv4() { IPV4 } else { IPV6 }
}

/// A datagram of `len` bytes that begin at `position` of the pattern.
pub(super) fn build(ends: &Ends, pattern: Pattern, position: u64, len: usize, now: Instant) -> Frame {
    let Ends { from, to, macs } = ends;
    let mut frame = BytesMut::with_capacity(ETHERNET + IPV6 + UDP + len);
    frame.put_slice(&macs[1].0);
    frame.put_slice(&macs[0].0);
    // An MTU bounds the lengths.
    let udp_len = (UDP + len) as u16;
    match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            frame.put_slice(&[0x08, 0x00, 0x45, 0]);
            frame.put_u16(udp_len + IPV4 as u16);
            frame.put_slice(&[0, 0, 0x40, 0, 64, PROTOCOL, 0, 0]);
            frame.put_slice(&from.octets());
            frame.put_slice(&to.octets());
            let sum = !sum(0, &frame[ETHERNET..]);
            frame[ETHERNET + 10..ETHERNET + 12].copy_from_slice(&sum.to_be_bytes());
        }
        (from, to) => {
            let octets = |addr: IpAddr| match addr {
                IpAddr::V4(addr) => addr.to_ipv6_mapped().octets(),
                IpAddr::V6(addr) => addr.octets(),
            };
            frame.put_slice(&[0x86, 0xdd, 0x60, 0, 0, 0]);
            frame.put_u16(udp_len);
            frame.put_slice(&[PROTOCOL, 64]);
            frame.put_slice(&octets(from));
            frame.put_slice(&octets(to));
        }
    }
    let start = frame.len();
    frame.put_u16(from.port());
    frame.put_u16(to.port());
    frame.put_u16(udp_len);
    frame.put_u16(0);
    let stamp = if len >= STAMP { STAMP } else { 0 };
    if stamp > 0 {
        frame.put_u64(position);
        frame.put_u64(now.as_nanos());
    }
    while frame.len() < start + UDP + len {
        let done = frame.len() - start - UDP;
        frame.put_slice(&pattern.bytes(position + done as u64, len - done));
    }
    let sum = match !udp_sum(&frame, start) {
        0 => 0xffff,
        sum => sum,
    };
    frame[start + 6..start + 8].copy_from_slice(&sum.to_be_bytes());
    Frame::linear(frame)
}

/// The port that a datagram is for; `None` if the frame is none.
pub(crate) fn port(frame: &Frame) -> Option<u16> {
    let start = udp_start(&frame.head)?;
    Some(u16::from_be_bytes([*frame.head.get(start + 2)?, *frame.head.get(start + 3)?]))
}

/// Reads a datagram; `None` if it was harmed on its way.
pub(super) fn parse(frame: &Frame, pattern: Pattern) -> Option<Datagram> {
    let head = &frame.head[..];
    let start = udp_start(head)?;
    let harmed_header = head[12] == 0x08 && sum(0, &head[ETHERNET..start]) != 0xffff;
    let len = usize::from(u16::from_be_bytes([*head.get(start + 4)?, *head.get(start + 5)?]));
    if harmed_header || head.len() != start + len || udp_sum(head, start) != 0xffff {
        return None;
    }
    let payload = &head[start + UDP..];
    if payload.len() < STAMP {
        return Some(Datagram { len: payload.len(), wrong: 0, written: None });
    }
    let word = |at: usize| u64::from_be_bytes(payload[at..at + 8].try_into().unwrap_or_default());
    let body = &payload[STAMP..];
    let right = pattern.matching(word(0) + STAMP as u64, body);
    let written = Some(Instant::from_nanos(word(8)));
    Some(Datagram { len: payload.len(), wrong: body.len() - right, written })
}

fn udp_start(head: &[u8]) -> Option<usize> {
    match head.get(12..ETHERNET)? {
        [0x08, 0x00] if *head.get(23)? == PROTOCOL => Some(ETHERNET + IPV4),
        [0x86, 0xdd] if *head.get(20)? == PROTOCOL => Some(ETHERNET + IPV6),
        _ => None,
    }
    .filter(|start| head.len() >= start + UDP)
}

/// The sum over a datagram and its pseudo header.
fn udp_sum(head: &[u8], start: usize) -> u16 {
    let addresses = if start == ETHERNET + IPV4 { start - 8 } else { start - 32 };
    let len = (head.len() - start) as u32;
    sum(len + u32::from(PROTOCOL), &head[addresses..])
}

/// RFC 1071.
fn sum(first: u32, bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0)));
    let mut sum = first + words.sum::<u32>();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_arrive_as_they_were_sent_or_not_at_all() {
        for (from, to) in [("10.0.1.1:30000", "10.0.1.2:5001"), ("[fd00::1]:30000", "[fd00::2]:5001")] {
            let macs = [MacAddr([2; 6]), MacAddr([4; 6])];
            let ends = Ends { from: from.parse().unwrap(), to: to.parse().unwrap(), macs };
            let pattern = Pattern::new(5);
            let now = Instant::from_millis(7);
            for len in [1, 15, 16, 17, 1000] {
                let frame = build(&ends, pattern, 300_000, len, now);
                assert_eq!(port(&frame), Some(5001));
                let written = (len >= STAMP).then_some(now);
                assert_eq!(parse(&frame, pattern), Some(Datagram { len, wrong: 0, written }));
                if len > 20 {
                    assert!(parse(&frame, Pattern::new(6)).unwrap().wrong > 0);
                }
                // Of IPv6, version, traffic class, flow label and hop limit are not covered by any checksum.
                let covered = if ends.to.is_ipv4() { ETHERNET } else { ETHERNET + 8 };
                for byte in covered..frame.len() {
                    let mut harmed = frame.clone();
                    harmed.head[byte] ^= 4;
                    assert_eq!(parse(&harmed, pattern), None, "byte {byte}");
                }
            }
        }
    }
}
