//! Packets for the tests of this module.

use bytes::BytesMut;
use tcp_adapter::{Frame, Instant};

use crate::packet::Packet;

/// The ECN field of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ecn {
    Not = 0b00,
    Capable = 0b10,
    Experienced = 0b11,
}

/// A UDP packet over IPv4 of `len` bytes in all, not capable of ECN.
pub(super) fn udp(id: u64, len: usize) -> Packet {
    udp_ecn(id, len, Ecn::Not)
}

pub(super) fn udp_ecn(id: u64, len: usize, ecn: Ecn) -> Packet {
    ipv4(id, 17, &[0; 8], 9, len - 42, ecn)
}

/// A UDP packet from this port.
pub(super) fn udp_flow(id: u64, port: u16, len: usize) -> Packet {
    ipv4(id, 17, &[0; 8], port, len - 42, Ecn::Not)
}

/// A TCP segment from this port with so many bytes of payload from this sequence number on.
pub(super) fn tcp(id: u64, port: u16, sequence: u32, payload: usize) -> Packet {
    let mut header = [0; 20];
    header[4..8].copy_from_slice(&sequence.to_be_bytes());
    header[12] = 5 << 4;
    ipv4(id, 6, &header, port, payload, Ecn::Not)
}

/// A UDP packet over IPv6 of 162 bytes in all.
pub(super) fn ipv6(id: u64, ecn: Ecn) -> Packet {
    let mut bytes = vec![0; 14 + 40 + 8 + 100];
    bytes[12..14].copy_from_slice(&[0x86, 0xdd]);
    bytes[14] = 0x6a;
    bytes[15] = (ecn as u8) << 4 | 0x0c;
    bytes[20] = 17;
    bytes[22..54].fill(id as u8);
    packet(id, &bytes)
}

pub(super) fn internet_checksum(bytes: &[u8]) -> u16 {
    let sum: u32 = bytes.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    !((sum & 0xffff) + (sum >> 16)) as u16
}

/// Whether an even number of bytes with a checksum among them adds up.
pub(super) fn checksum_holds(bytes: &[u8]) -> bool {
    internet_checksum(bytes) == 0
}

fn ipv4(id: u64, protocol: u8, transport: &[u8], port: u16, payload: usize, ecn: Ecn) -> Packet {
    let mut bytes = vec![0; 34 + transport.len() + payload];
    bytes[12..14].copy_from_slice(&[0x08, 0x00]);
    bytes[14] = 0x45;
    bytes[15] = ecn as u8;
    bytes[23] = protocol;
    bytes[26..34].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
    let checksum = internet_checksum(&bytes[14..34]);
    bytes[24..26].copy_from_slice(&checksum.to_be_bytes());
    bytes[34..34 + transport.len()].copy_from_slice(transport);
    bytes[34..36].copy_from_slice(&port.to_be_bytes());
    packet(id, &bytes)
}

fn packet(id: u64, bytes: &[u8]) -> Packet {
    let mut packet = Packet::new(id, Frame::linear(BytesMut::from(bytes)), Instant::ZERO);
    // As a pipe gives it to its queue.
    packet.offered_len = packet.len();
    packet
}
