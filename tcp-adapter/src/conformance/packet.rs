//! An independent view of frames: what the suite checks and forges does not go through the
//! code that is tested.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::BytesMut;

use crate::{ChecksumState, Frame};

const ETHERNET: usize = 14;
const TCP: u8 = 6;

/// FIN flag of a TCP header.
pub const FIN: u8 = 0x01;
/// SYN flag of a TCP header.
pub const SYN: u8 = 0x02;
/// RST flag of a TCP header.
pub const RST: u8 = 0x04;
/// ACK flag of a TCP header.
pub const ACK: u8 = 0x10;

/// A TCP segment as it was on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Ethernet destination, then source.
    pub link: [[u8; 6]; 2],
    /// Source address and port.
    pub source: SocketAddr,
    /// Destination address and port.
    pub destination: SocketAddr,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// Flags, as in the header's 14th byte.
    pub flags: u8,
    /// Window field, not scaled.
    pub window: u16,
    /// Urgent pointer.
    pub urgent: u16,
    /// Explicit congestion notification field of the IP header (RFC 3168 section 5).
    pub ecn: u8,
    /// Option bytes, padding included.
    pub options: Vec<u8>,
    /// Payload bytes.
    pub payload: Vec<u8>,
}

impl Packet {
    /// Reads a frame; `None` if it holds no well-formed TCP segment with a checksum that is correct, or correctly begun.
    pub fn parse(frame: &Frame) -> Option<Self> {
        let frame_checksum = frame.meta.checksum;
        let mut frame = frame.clone();
        let bytes = &frame.linearize()[..];
        let link = [bytes.get(0..6)?.try_into().ok()?, bytes.get(6..12)?.try_into().ok()?];
        let (source, destination, tcp) = match u16::from_be_bytes(bytes.get(12..14)?.try_into().ok()?) {
            0x0800 => parse_ipv4(bytes.get(ETHERNET..)?)?,
            0x86dd => parse_ipv6(bytes.get(ETHERNET..)?)?,
            _ => return None,
        };
        let header = usize::from(tcp.get(12)? >> 4) * 4;
        let right = match frame_checksum {
            ChecksumState::Partial => {
                tcp.get(16..18)? == pseudo_header(TCP, source, destination, tcp.len()).to_be_bytes()
            }
            _ => checksum(TCP, source, destination, tcp) == 0,
        };
        if header < 20 || !right {
            return None;
        }
        let word = |at: usize| Some(u32::from_be_bytes(tcp.get(at..at + 4)?.try_into().ok()?));
        let half = |at: usize| Some(u16::from_be_bytes(tcp.get(at..at + 2)?.try_into().ok()?));
        Some(Self {
            link,
            source: SocketAddr::new(source, half(0)?),
            destination: SocketAddr::new(destination, half(2)?),
            seq: word(4)?,
            ack: word(8)?,
            flags: tcp[13],
            window: half(14)?,
            urgent: half(18)?,
            ecn: if source.is_ipv4() { bytes[ETHERNET + 1] & 3 } else { bytes[ETHERNET + 1] >> 4 & 3 },
            options: tcp.get(20..header)?.to_vec(),
            payload: tcp.get(header..)?.to_vec(),
        })
    }

    /// Writes the segment into a frame, with correct lengths and checksums.
    pub fn to_frame(&self) -> Frame {
        let mut tcp = Vec::new();
        tcp.extend_from_slice(&self.source.port().to_be_bytes());
        tcp.extend_from_slice(&self.destination.port().to_be_bytes());
        tcp.extend_from_slice(&self.seq.to_be_bytes());
        tcp.extend_from_slice(&self.ack.to_be_bytes());
        let mut options = self.options.clone();
        options.resize(options.len().next_multiple_of(4), 0);
        tcp.push(u8::try_from((20 + options.len()) / 4).unwrap_or(15) << 4);
        tcp.push(self.flags);
        tcp.extend_from_slice(&self.window.to_be_bytes());
        tcp.extend_from_slice(&[0; 2]);
        tcp.extend_from_slice(&self.urgent.to_be_bytes());
        tcp.extend_from_slice(&options);
        tcp.extend_from_slice(&self.payload);
        let tcp_sum = checksum(TCP, self.source.ip(), self.destination.ip(), &tcp);
        tcp[16..18].copy_from_slice(&tcp_sum.to_be_bytes());
        let mut bytes = BytesMut::new();
        bytes.extend_from_slice(&self.link[0]);
        bytes.extend_from_slice(&self.link[1]);
        write_ip(&mut bytes, TCP, 64, self.ecn, [self.source.ip(), self.destination.ip()], &tcp);
        Frame::linear(bytes)
    }

    /// Whether all of `flags` are set.
    pub fn has(&self, flags: u8) -> bool {
        self.flags & flags == flags
    }

    /// Bytes of the IP packet.
    pub fn ip_len(&self) -> usize {
        let ip = if self.source.is_ipv4() { 20 } else { 40 };
        ip + 20 + self.options.len() + self.payload.len()
    }

    /// The value of the first option of `kind`.
    pub fn option(&self, kind: u8) -> Option<&[u8]> {
        let mut rest = &self.options[..];
        loop {
            match *rest {
                [] | [0, ..] => return None,
                [1, ref after @ ..] => rest = after,
                [found, len, ..] => {
                    let option = rest.get(..usize::from(len)).filter(|option| option.len() >= 2)?;
                    if found == kind {
                        return Some(&option[2..]);
                    }
                    rest = &rest[option.len()..];
                }
                [_] => return None,
            }
        }
    }
}

/// A frame of any protocol over IP, with correct lengths and checksums. Where `checksum_at` says, the
/// content has a checksum over itself, and with IPv6 over the pseudo header too.
pub fn datagram(
    link: [[u8; 6]; 2],
    protocol: u8,
    hop_limit: u8,
    addrs: [IpAddr; 2],
    mut content: Vec<u8>,
    checksum_at: usize,
) -> Frame {
    if let Some(field) = content.get_mut(checksum_at..checksum_at + 2) {
        field.fill(0);
        let sum =
            if addrs[0].is_ipv4() { !fold(sum(&content)) } else { checksum(protocol, addrs[0], addrs[1], &content) };
        content[checksum_at..checksum_at + 2].copy_from_slice(&sum.to_be_bytes());
    }
    let mut bytes = BytesMut::new();
    bytes.extend_from_slice(&link[0]);
    bytes.extend_from_slice(&link[1]);
    write_ip(&mut bytes, protocol, hop_limit, 0, addrs, &content);
    Frame::linear(bytes)
}

fn write_ip(bytes: &mut BytesMut, protocol: u8, hop_limit: u8, ecn: u8, addrs: [IpAddr; 2], content: &[u8]) {
    let len = |extra: usize| u16::try_from(content.len() + extra).unwrap_or(u16::MAX).to_be_bytes();
    match addrs {
        [IpAddr::V4(source), IpAddr::V4(destination)] => {
            let [high, low] = len(20);
            let mut ip = vec![0x45, ecn, high, low, 0, 0, 0x40, 0, hop_limit, protocol, 0, 0];
            ip.extend_from_slice(&source.octets());
            ip.extend_from_slice(&destination.octets());
            let ip_sum = !fold(sum(&ip));
            ip[10..12].copy_from_slice(&ip_sum.to_be_bytes());
            bytes.extend_from_slice(&[0x08, 0x00]);
            bytes.extend_from_slice(&ip);
        }
        addrs => {
            let [high, low] = len(0);
            bytes.extend_from_slice(&[0x86, 0xdd, 0x60, ecn << 4, 0, 0, high, low, protocol, hop_limit]);
            for addr in addrs {
                if let IpAddr::V6(addr) = addr {
                    bytes.extend_from_slice(&addr.octets());
                }
            }
        }
    }
    bytes.extend_from_slice(content);
}

fn parse_ipv4(bytes: &[u8]) -> Option<(IpAddr, IpAddr, &[u8])> {
    let header = usize::from(bytes.first()? & 0xf) * 4;
    let total = usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?));
    if bytes[0] >> 4 != 4 || *bytes.get(9)? != TCP || fold(sum(bytes.get(..header)?)) != 0xffff {
        return None;
    }
    let addr = |at: usize| {
        let octets: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
        Some(IpAddr::V4(Ipv4Addr::from(octets)))
    };
    Some((addr(12)?, addr(16)?, bytes.get(header..total)?))
}

fn parse_ipv6(bytes: &[u8]) -> Option<(IpAddr, IpAddr, &[u8])> {
    if bytes.first()? >> 4 != 6 || *bytes.get(6)? != TCP {
        return None;
    }
    let len = usize::from(u16::from_be_bytes(bytes.get(4..6)?.try_into().ok()?));
    let addr = |at: usize| {
        let octets: [u8; 16] = bytes.get(at..at + 16)?.try_into().ok()?;
        Some(IpAddr::V6(Ipv6Addr::from(octets)))
    };
    Some((addr(8)?, addr(24)?, bytes.get(40..40 + len)?))
}

/// RFC 1071 over pseudo header and segment; zero over a segment whose checksum is right.
fn checksum(protocol: u8, source: IpAddr, destination: IpAddr, segment: &[u8]) -> u16 {
    !fold(u32::from(pseudo_header(protocol, source, destination, segment.len())) + sum(segment))
}

fn pseudo_header(protocol: u8, source: IpAddr, destination: IpAddr, len: usize) -> u16 {
    let addrs = [source, destination].map(|addr| match addr {
        IpAddr::V4(addr) => sum(&addr.octets()),
        IpAddr::V6(addr) => sum(&addr.octets()),
    });
    fold(u32::from(protocol) + u32::try_from(len).unwrap_or(0) + addrs[0] + addrs[1])
}

fn sum(bytes: &[u8]) -> u32 {
    bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum()
}

fn fold(mut total: u32) -> u16 {
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    u16::try_from(total).unwrap_or(u16::MAX)
}
