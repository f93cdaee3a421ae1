//! What devices and stacks exchange: Ethernet frames with metadata.

use std::num::NonZeroU16;

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;

/// What is known of a frame's TCP checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ChecksumState {
    /// Sending: the checksum is complete. Receiving: the stack must verify it.
    #[default]
    Complete,
    /// Receiving only: the device has verified the checksum.
    Verified,
    /// The field holds the sum of the pseudo header; the device that sends the frame must
    /// complete it. A frame received with it came from the same host and was never on a wire,
    /// so there is nothing to verify.
    Partial,
}

/// What a device must know about a frame besides its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct FrameMeta {
    /// State of the TCP checksum.
    pub checksum: ChecksumState,
    /// Payload bytes per segment of a super-segment, which a device that can segment cuts the
    /// frame into; `None` for an ordinary frame.
    pub segment_size: Option<NonZeroU16>,
}

/// An Ethernet frame without frame check sequence.
///
/// The bytes on the wire are `head` followed by each slice of `payload`. A received frame is
/// usually all `head`; a stack that sends without copying puts headers into `head` and shared
/// slices of the application's data into `payload`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// Linear start of the frame, from the destination address on.
    pub head: BytesMut,
    /// What follows `head`, shared with its owners.
    pub payload: SmallVec<[Bytes; 2]>,
    /// Checksum state and segmentation.
    pub meta: FrameMeta,
}

impl Frame {
    /// A frame whose bytes are all linear, with a complete checksum.
    pub fn linear(head: BytesMut) -> Self {
        Self { head, payload: SmallVec::new(), meta: FrameMeta::default() }
    }

    /// Bytes of the frame, headers included.
    #[inline]
    pub fn len(&self) -> usize {
        self.head.len() + self.payload.iter().map(Bytes::len).sum::<usize>()
    }

    /// Whether the frame has no bytes at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Makes the frame all `head`, copying the payload slices if there are any.
    #[inline]
    pub fn linearize(&mut self) -> &mut BytesMut {
        if !self.payload.is_empty() {
            self.copy_payload();
        }
        &mut self.head
    }

    fn copy_payload(&mut self) {
        for slice in self.payload.drain(..) {
            self.head.extend_from_slice(&slice);
        }
    }
}

impl From<&[u8]> for Frame {
    fn from(bytes: &[u8]) -> Self {
        Self::linear(BytesMut::from(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linearize_keeps_bytes_and_order() {
        let mut frame = Frame::from(&b"head"[..]);
        frame.payload.push(Bytes::from_static(b"-one"));
        frame.payload.push(Bytes::from_static(b"-two"));
        assert_eq!(frame.len(), 12);
        assert_eq!(&frame.linearize()[..], b"head-one-two");
        assert!(frame.payload.is_empty());
        assert_eq!(frame.len(), 12);
    }
}
