//! The answer to a segment of no connection.

use bytes::BytesMut;

use super::{ChecksumMode, Ecn, Flags, HeaderTemplate, OptionWriter, Segment, SegmentFields};
use crate::{Frame, MacAddr};

/// The RST for a segment of no connection (RFC 9293 section 3.10.7.1), from `own` back to the station that sent the
/// segment, with `options`; `None` if the segment is a RST itself.
pub(in crate::native) fn reset(head: BytesMut, own: MacAddr, segment: &Segment<'_>, options: &[u8]) -> Option<Frame> {
    if segment.flags.contains(Flags::RST) {
        return None;
    }
    let (seq, ack, flags) = if segment.flags.contains(Flags::ACK) {
        (segment.ack, 0, Flags::RST)
    } else {
        (0, segment.seq.wrapping_add(segment.sequence_len()), Flags::RST | Flags::ACK)
    };
    let mut padded = OptionWriter::default();
    padded.raw(options);
    padded.pad();
    let template = HeaderTemplate::new(own, segment.link_source, segment.destination, segment.source);
    let fields = SegmentFields {
        seq,
        ack,
        flags,
        window: 0,
        urgent: 0,
        ecn: Ecn::NotEct,
        options: padded.as_slice(),
        payload_len: 0,
        ident: 0,
    };
    let mut head = head;
    template.write(&mut head, &fields, &[], ChecksumMode::Full);
    Some(Frame::linear(head))
}
