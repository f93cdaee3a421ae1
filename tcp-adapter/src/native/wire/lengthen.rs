//! Headers of a received frame that is joined with others. Its TCP checksum is not kept right.

use super::{ETHERNET_HEADER, ETHERTYPE_IPV4, Flags, IPV4_HEADER, IPV6_HEADER, PROTOCOL_TCP, checksum};

/// Sets the length of the IP packet, as the first byte of the IP header counts it: headers included.
pub(in crate::native) fn set_len(head: &mut [u8], packet_len: usize) {
    let Some(packet) = head.get_mut(ETHERNET_HEADER - 2..) else { return };
    let is_v4 = packet.first_chunk() == Some(&ETHERTYPE_IPV4);
    let Some(ip) = packet.get_mut(2..) else { return };
    if is_v4 {
        let Some(header) = ip.first_chunk_mut::<IPV4_HEADER>() else { return };
        let (old, new) = ([header[2], header[3]], u16::try_from(packet_len).unwrap_or(u16::MAX).to_be_bytes());
        let sum = checksum::update([header[10], header[11]], old, new);
        header[2..4].copy_from_slice(&new);
        header[10..12].copy_from_slice(&sum);
    } else if let Some(header) = ip.first_chunk_mut::<IPV6_HEADER>() {
        let len = u16::try_from(packet_len - IPV6_HEADER).unwrap_or(u16::MAX);
        header[4..6].copy_from_slice(&len.to_be_bytes());
    }
}

/// Sets control bits of a TCP header that follows an IP header without options or extensions; with those, they are left out.
pub(in crate::native) fn add_flags(head: &mut [u8], flags: Flags) {
    let tcp = match head.get(ETHERNET_HEADER) {
        Some(0x45) => ETHERNET_HEADER + IPV4_HEADER,
        Some(first) if first >> 4 == 6 && head.get(ETHERNET_HEADER + 6) == Some(&PROTOCOL_TCP) => {
            ETHERNET_HEADER + IPV6_HEADER
        }
        _ => return,
    };
    if let Some(byte) = head.get_mut(tcp + 13) {
        *byte |= flags.0;
    }
}
