//! Receive coalescing: segments that follow each other in a burst become one frame.
//!
//! What is spent on a segment, by the engine and by the layer above, is then spent once for up to 64 KiB. Segments are joined only
//! if nothing is lost by it: they are of one connection and follow each other, and all that their headers say besides is the
//! same, the options of the layer above byte for byte. So bytes of two mappings never meet (RFC 8684 section 3.3.1), and the
//! sizes of the segments are told by [`FrameMeta::segment_size`].

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::num::NonZeroU16;

use bytes::Bytes;

use super::slice_lists;
use super::wire::{ETHERNET_HEADER, Ecn, Flags, Parsed, Segment, headers_are_linear, lengthen, parse};
use crate::{ChecksumState, Frame, FrameMeta};

/// Connections whose segments are held at a time.
pub(super) const FLOWS: usize = 8;

/// Bytes of a joined frame at most, for the length field of its IP header.
const MOST: usize = 65_535;

/// Bytes of a timestamps option with its padding (RFC 7323 appendix A), and its start.
const TIMESTAMPS_LEN: usize = 12;
const TIMESTAMPS: [u8; 4] = [1, 1, 8, 10];

/// Joins the segments of bursts. One for each interface.
///
/// Give it every frame of a burst, then [`flush`](Self::flush) it. The order of the frames of a connection is kept, that between
/// connections is not. Only a stack that takes super-segments can make use of what comes out.
#[derive(Debug, Default)]
pub struct Coalescer {
    held: Vec<Held>,
}

/// Segments that are joined, and what the next one must be like.
#[derive(Debug)]
struct Held {
    frame: Frame,
    source: SocketAddr,
    destination: SocketAddr,
    next_seq: u32,
    ack: u32,
    window: u16,
    ecn: Ecn,
    payload_at: usize,
    payload_len: usize,
    /// Payload bytes of each segment but the last.
    segment: usize,
    joined: u32,
}

impl Coalescer {
    /// Holds nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next frame of a burst. Those that are complete, or that nothing can be joined to, go to `sink`.
    pub fn push(&mut self, mut frame: Frame, sink: &mut dyn FnMut(Frame)) {
        if frame.meta.segment_size.is_some() || !headers_are_linear(&frame) {
            // Rare enough that it may stop all: it is of a connection that may be held.
            self.flush(sink);
            return sink(frame);
        }
        let Parsed::Tcp(segment) = parse(&frame) else { return sink(frame) };
        let whole = frame.len() == segment.payload_at + segment.payload_len;
        let joinable = whole
            && segment.payload_len > 0
            && segment.flags.contains(Flags::ACK)
            && !segment.flags.intersects(Flags::SYN | Flags::FIN | Flags::RST | Flags::URG | Flags::ECE | Flags::CWR);
        let known =
            self.held.iter().position(|held| held.source == segment.source && held.destination == segment.destination);
        if let Some(index) = known {
            let held = &mut self.held[index];
            if joinable && held.takes(&frame, &segment) {
                // The application is not to wait for what was pushed, and nothing follows a short segment.
                let last = segment.payload_len < held.segment || segment.flags.contains(Flags::PSH);
                let (len, flags) = (segment.payload_len, segment.flags);
                held.join(frame, len, flags);
                if last {
                    sink(self.held.remove(index).finish());
                }
                return;
            }
            sink(self.held.remove(index).finish());
        }
        if !joinable || segment.flags.contains(Flags::PSH) {
            return sink(frame);
        }
        let held = Held {
            source: segment.source,
            destination: segment.destination,
            next_seq: segment.seq.wrapping_add(segment.sequence_len()),
            ack: segment.ack,
            window: segment.window,
            ecn: segment.ecn,
            payload_at: segment.payload_at,
            payload_len: segment.payload_len,
            segment: segment.payload_len,
            joined: 1,
            frame: Frame::default(),
        };
        if frame.meta.checksum == ChecksumState::Complete {
            // It was just verified, and need not be once more.
            frame.meta.checksum = ChecksumState::Verified;
        }
        if self.held.len() == FLOWS {
            sink(self.held.remove(0).finish());
        }
        self.held.push(Held { frame, ..held });
    }

    /// The burst is over: gives everything that is held to `sink`.
    pub fn flush(&mut self, sink: &mut dyn FnMut(Frame)) {
        for held in self.held.drain(..) {
            sink(held.finish());
        }
    }
}

impl Held {
    /// Whether a segment goes on where this ends, and says the same.
    fn takes(&self, frame: &Frame, segment: &Segment<'_>) -> bool {
        segment.seq == self.next_seq
            && segment.ack == self.ack
            && segment.window == self.window
            && segment.ecn == self.ecn
            && segment.payload_at == self.payload_at
            && segment.payload_len <= self.segment
            && self.payload_at - ETHERNET_HEADER + self.payload_len + segment.payload_len <= MOST
            && self.frame.head[..ETHERNET_HEADER] == frame.head[..ETHERNET_HEADER]
            && same_options(self.options(segment.options.len()), segment.options)
    }

    /// The last bytes of the headers.
    fn options(&self, len: usize) -> &[u8] {
        &self.frame.head[self.payload_at - len..self.payload_at]
    }

    fn join(&mut self, frame: Frame, len: usize, flags: Flags) {
        if self.joined == 1 {
            let rest = self.frame.head.split_off(self.payload_at);
            let slices = std::iter::once(rest.freeze())
                .filter(|rest| !rest.is_empty())
                .chain(std::mem::take(&mut self.frame.payload));
            self.frame.payload = slice_lists::take();
            self.frame.payload.extend(slices);
        }
        let mut head = frame.head;
        let rest: Bytes = head.split_off(self.payload_at).freeze();
        self.frame.payload.extend(std::iter::once(rest).chain(frame.payload).filter(|slice| !slice.is_empty()));
        self.payload_len += len;
        self.next_seq = self.next_seq.wrapping_add(u32::try_from(len).unwrap_or(0));
        self.joined += 1;
        if flags.contains(Flags::PSH) {
            lengthen::add_flags(&mut self.frame.head, Flags::PSH);
        }
    }

    /// The frame, with the length that it has now.
    fn finish(mut self) -> Frame {
        if self.joined > 1 {
            lengthen::set_len(&mut self.frame.head, self.payload_at + self.payload_len - ETHERNET_HEADER);
            let segment_size = NonZeroU16::new(u16::try_from(self.segment).unwrap_or(u16::MAX));
            self.frame.meta = FrameMeta { segment_size, ..self.frame.meta };
        }
        self.frame
    }
}

/// Whether two option areas of the same length say the same, apart from timestamps that have gone on. Those of the first
/// segment are kept: it is the one that the peer measures the round trip of (RFC 7323 section 4.3).
fn same_options(first: &[u8], next: &[u8]) -> bool {
    if first == next {
        return true;
    }
    let (Some((known, known_rest)), Some((new, new_rest))) =
        (first.split_first_chunk::<TIMESTAMPS_LEN>(), next.split_first_chunk::<TIMESTAMPS_LEN>())
    else {
        return false;
    };
    let value = |option: &[u8; TIMESTAMPS_LEN]| u32::from_be_bytes([option[4], option[5], option[6], option[7]]);
    known[..4] == TIMESTAMPS
        && new[..4] == TIMESTAMPS
        && known[8..] == new[8..]
        && value(new).wrapping_sub(value(known)).cast_signed() >= 0
        && known_rest == new_rest
}
