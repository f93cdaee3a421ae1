//! Segments that a middlebox makes.

use bytes::BytesMut;
use tcp_adapter::{ChecksumState, Frame};

use super::segment::{ACK, CWR, ETHERNET, FIN, Layout, PSH, RST, Segment, seal_ipv4, seal_tcp};

const TCP_HEADER: usize = 20;

/// The headers of an intact segment with another payload and other flags, `skipped` sequence numbers on.
///
/// `number` counts pieces of one packet, whose identifications differ (RFC 6864 section 4.3).
fn piece(segment: &Segment<'_>, payload: &[u8], skipped: u32, flags: u8, number: u16) -> Frame {
    let headers = &segment.bytes()[..segment.layout().payload];
    let mut bytes = BytesMut::with_capacity(headers.len() + payload.len());
    bytes.extend_from_slice(headers);
    bytes.extend_from_slice(payload);
    let layout = Layout { end: bytes.len(), ..segment.layout() };
    let tcp = layout.tcp;
    let seq = u32::from_be_bytes([bytes[tcp + 4], bytes[tcp + 5], bytes[tcp + 6], bytes[tcp + 7]]);
    bytes[tcp + 4..tcp + 8].copy_from_slice(&seq.wrapping_add(skipped).to_be_bytes());
    bytes[tcp + 13] = flags;
    seal(&mut bytes, &layout, number);
    Frame::linear(bytes)
}

/// Sets lengths, identification and checksums.
pub(super) fn seal(bytes: &mut BytesMut, layout: &Layout, number: u16) {
    let mut put = |at: usize, value: u16| bytes[ETHERNET + at..ETHERNET + at + 2].copy_from_slice(&value.to_be_bytes());
    // No caller makes longer packets than those it received or may hold.
    let len = |from: usize| u16::try_from(layout.end - from).unwrap_or(u16::MAX);
    if layout.ipv6 {
        put(4, len(layout.tcp));
    } else {
        put(2, len(ETHERNET));
        let identification = u16::from_be_bytes([bytes[ETHERNET + 4], bytes[ETHERNET + 5]]).wrapping_add(number);
        bytes[ETHERNET + 4..ETHERNET + 6].copy_from_slice(&identification.to_be_bytes());
        seal_ipv4(bytes, layout);
    }
    seal_tcp(bytes, layout);
}

/// Cuts an intact segment into pieces of `size` bytes with all its options; FIN and PSH go with the last, CWR with the first.
pub(super) fn pieces(segment: &Segment<'_>, size: usize) -> Vec<Frame> {
    let count = segment.payload().len().div_ceil(size);
    let mut skipped = 0;
    segment
        .payload()
        .chunks(size)
        .zip(0_u16..)
        .map(|(payload, number)| {
            let not_last = if usize::from(number) + 1 == count { 0 } else { FIN | PSH };
            let not_first = if number == 0 { 0 } else { CWR };
            let flags = segment.flags() & !(not_last | not_first);
            let frame = piece(segment, payload, skipped, flags, number);
            // A payload is shorter than 2^16 bytes.
            skipped += payload.len() as u32;
            frame
        })
        .collect()
}

/// An intact segment without the first `skipped` bytes of its payload, with all its options.
pub(super) fn rest(segment: &Segment<'_>, skipped: usize) -> Frame {
    // A payload is shorter than 2^16 bytes.
    piece(segment, &segment.payload()[skipped..], skipped as u32, segment.flags() & !CWR, 0)
}

/// Cuts what a device would cut before it sends, and makes the checksum that it would make; `None` for what is one packet.
pub(crate) fn cut_super_segment(frame: &mut Frame) -> Option<Vec<Frame>> {
    let size = frame.meta.segment_size.map(|size| usize::from(size.get()));
    if size.is_none() && frame.meta.checksum != ChecksumState::Partial {
        return None;
    }
    // To open it completes the checksum.
    let segment = Segment::open(frame)?;
    let frames = size.filter(|size| segment.payload().len() > *size).map(|size| pieces(&segment, size));
    frame.meta.segment_size = None;
    frames
}

/// A reset that the sender of a segment takes for its peer's answer to it (RFC 9293 section 3.5.2).
pub(super) fn reset_to_sender(segment: &Segment<'_>) -> Frame {
    let next = segment.seq().wrapping_add(segment.seq_len());
    let seq = if segment.has(ACK) { segment.ack() } else { 0 };
    let mut bytes = BytesMut::from(&segment.bytes()[..segment.layout().tcp + TCP_HEADER]);
    let (source, destination) = (bytes[..6].to_vec(), bytes[6..12].to_vec());
    bytes[..6].copy_from_slice(&destination);
    bytes[6..12].copy_from_slice(&source);
    let layout = segment.layout();
    let (at, len) = if layout.ipv6 { (ETHERNET + 8, 16) } else { (ETHERNET + 12, 4) };
    bytes[at..at + 2 * len].rotate_left(len);
    bytes[layout.tcp..layout.tcp + 4].rotate_left(2);
    reset(bytes, layout, seq, next, RST | ACK)
}

/// A reset that the receiver of a segment takes for its peer's, in place of the segment.
pub(super) fn reset_to_receiver(segment: &Segment<'_>) -> Frame {
    let layout = segment.layout();
    let bytes = BytesMut::from(&segment.bytes()[..layout.tcp + TCP_HEADER]);
    reset(bytes, layout, segment.seq(), segment.ack(), segment.flags() & ACK | RST)
}

/// Makes a reset without options and payload of the headers of a segment.
fn reset(mut bytes: BytesMut, layout: Layout, seq: u32, ack: u32, flags: u8) -> Frame {
    let tcp = &mut bytes[layout.tcp..];
    tcp[4..8].copy_from_slice(&seq.to_be_bytes());
    tcp[8..12].copy_from_slice(&ack.to_be_bytes());
    tcp[12] = 5 << 4;
    tcp[13] = flags;
    // No window and no urgent data.
    tcp[14..20].fill(0);
    let end = bytes.len();
    seal(&mut bytes, &Layout { payload: end, end, ..layout }, 0);
    Frame::linear(bytes)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use super::*;
    use crate::middlebox::testing::{DSS, Family, is_intact, summary, tcp};

    #[test]
    fn a_super_segment_is_cut_as_a_device_would() {
        for family in Family::BOTH {
            let flags = ACK | PSH | FIN | CWR;
            let mut packet = tcp(family).seq(u32::MAX - 1).flags(flags).options(&DSS).payload(&[7; 10]).up();
            packet.frame.meta.segment_size = NonZeroU16::new(4);
            let pieces = cut_super_segment(&mut packet.frame).unwrap();
            let pieces: Vec<_> = pieces.into_iter().map(|piece| packet.with_frame(piece)).collect();
            assert!(pieces.iter().all(is_intact));
            let summaries: Vec<(u32, u8, usize)> = pieces.iter().map(summary).collect();
            assert_eq!(summaries, [(u32::MAX - 1, ACK | CWR, 4), (2, ACK, 4), (6, ACK | PSH | FIN, 2)]);
            assert!(pieces.iter().all(|piece| piece.len() <= packet.len() - 6));
        }
    }

    #[test]
    fn an_ordinary_packet_is_not_cut() {
        let mut packet = tcp(Family::V4).payload(&[7; 10]).up();
        assert!(cut_super_segment(&mut packet.frame).is_none());
        packet.frame.meta.segment_size = NonZeroU16::new(10);
        assert!(cut_super_segment(&mut packet.frame).is_none());
        assert!(packet.frame.meta.segment_size.is_none());
    }

    #[test]
    fn a_checksum_that_was_left_to_the_device_is_made() {
        let mut packet = tcp(Family::V6).payload(b"odd").up();
        let made = packet.frame.clone();
        let at = 14 + 40 + 16;
        packet.frame.head[at..at + 2].fill(0);
        packet.frame.meta.checksum = ChecksumState::Partial;
        assert!(cut_super_segment(&mut packet.frame).is_none());
        assert_eq!(packet.frame, made);
    }

    #[test]
    fn resets_are_what_each_end_expects() {
        for family in Family::BOTH {
            let mut packet = tcp(family).ports(1, 2).seq(100).ack(500).flags(ACK).options(&DSS).payload(b"12345").up();
            let segment = Segment::open(&mut packet.frame).unwrap();
            let (source, destination) = (segment.source(), segment.destination());
            let [back, on] = [reset_to_sender(&segment), reset_to_receiver(&segment)];
            let [mut back, mut on] = [back, on].map(|frame| packet.with_frame(frame));
            assert!(is_intact(&back) && is_intact(&on));
            let back = Segment::open(&mut back.frame).unwrap();
            assert_eq!((back.source(), back.destination()), (destination, source));
            assert_eq!((back.seq(), back.ack(), back.flags()), (500, 105, RST | ACK));
            let on = Segment::open(&mut on.frame).unwrap();
            assert_eq!((on.source(), on.destination()), (source, destination));
            assert_eq!((on.seq(), on.ack(), on.flags(), on.option_area().len()), (100, 500, RST | ACK, 0));
        }
    }
}
