//! Segments, as the layer above sees them.

use std::net::SocketAddr;

use bytes::Bytes;

use super::ListenerId;

/// Flags of a TCP header that the layer above may need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpFlags {
    /// Synchronise.
    pub syn: bool,
    /// The acknowledgement field is meaningful.
    pub ack: bool,
    /// No more data from the sender.
    pub fin: bool,
    /// The connection is reset.
    pub rst: bool,
}

/// A SYN without ACK for no known connection.
#[derive(Clone, Copy, Debug)]
pub struct SynSegment<'a> {
    /// The listener that it reached; `None` if no one listens there.
    pub listener: Option<ListenerId>,
    /// Address and port that it was sent to.
    pub local: SocketAddr,
    /// Where it came from.
    pub remote: SocketAddr,
    /// Payload bytes of it that are taken if the connection is accepted
    /// ([`TcpStack::allow_fast_open`](crate::TcpStack::allow_fast_open)): the first of the stream, to be
    /// [received](crate::TcpStack::recv) at once. [`TcpEvent::Established`](crate::TcpEvent::Established) follows at once too.
    pub early: usize,
    /// The options that the stack does not know, one after the other, each with kind and length.
    pub options: &'a [u8],
}

/// What to do with a SYN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SynVerdict {
    /// Answer with a SYN/ACK.
    Accept,
    /// Pretend that it was lost.
    Drop,
    /// Answer with a RST that carries these options.
    Reset(OptionSpace),
}

/// An acceptable segment of a connection.
#[derive(Clone, Copy, Debug)]
pub struct SegmentIn<'a> {
    /// Header flags.
    pub flags: TcpFlags,
    /// Offset of the first payload byte.
    pub offset: u64,
    /// Payload bytes.
    pub len: usize,
    /// Everything before this offset of our own stream is acknowledged; one past the last byte once our
    /// FIN is. In a SYN/ACK, the bytes that came with the SYN ([`TcpStack::fast_open`](crate::TcpStack::fast_open)). `None`
    /// without ACK flag.
    pub acked: Option<u64>,
    /// Advertised window in bytes, scaled (RFC 7323 section 2.2).
    pub window: u32,
    /// The options that the stack does not know, one after the other, each with kind and length.
    pub options: &'a [u8],
}

/// What to do with an acceptable segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Process it.
    Accept,
    /// Process it, but never count it as a duplicate acknowledgement: it is there for
    /// its options (RFC 8684 section 4, "Duplicate ACK").
    AcceptSignal,
    /// Pretend that it was lost.
    Drop,
    /// Reset the connection with a RST that carries these options.
    Reset(OptionSpace),
}

/// What kind of segment is about to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentKind {
    /// The SYN of an active open.
    Syn,
    /// The SYN/ACK of a passive open.
    SynAck,
    /// Anything later that is not a reset, with or without payload or FIN.
    Established,
    /// A reset that the stack itself decided to send. (Those of [`TcpStack::abort`](crate::TcpStack::abort) and
    /// [`Verdict::Reset`] bring their options along.)
    Reset,
}

/// The chunk that a segment's payload is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// The tag given to [`TcpStack::send`](crate::TcpStack::send): position of the chunk's first byte in the stream above.
    pub tag: u64,
    /// Offset of the chunk's first byte in this connection's stream.
    pub offset: u64,
    /// Bytes of the whole chunk.
    pub len: u32,
}

impl Chunk {
    /// Offset after its last byte.
    pub const fn end(&self) -> u64 {
        self.offset + self.len as u64
    }
}

/// A segment that is about to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentOut {
    /// Which kind.
    pub kind: SegmentKind,
    /// Whether it carries a FIN, unless the options that are pushed leave less room for payload than `len`: then that follows with the rest.
    pub fin: bool,
    /// Offset of the first payload byte, or of the next one to send if there is no payload.
    pub offset: u64,
    /// Payload bytes at most; options may leave room for fewer.
    pub len: usize,
    /// The chunk of the payload; `None` without payload.
    pub chunk: Option<Chunk>,
    /// Whether some of the payload was sent before.
    pub retransmission: bool,
    /// Scale of the window field: a window that is no multiple of `1 << window_shift` bytes is rounded down.
    pub window_shift: u8,
}

/// Room for TCP options in a header, filled from the front.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionSpace {
    bytes: [u8; Self::MAX],
    len: u8,
    room: u8,
    refused: bool,
}

impl OptionSpace {
    /// Option bytes of a TCP header at most (RFC 9293 section 3.1: data offset of 15 words).
    pub const MAX: usize = 40;

    /// Empty, with room for `room` bytes, at most [`Self::MAX`].
    pub fn new(room: usize) -> Self {
        let room = u8::try_from(room.min(Self::MAX)).unwrap_or(u8::MAX);
        Self { bytes: [0; Self::MAX], len: 0, room, refused: false }
    }

    /// Bytes that can still be pushed.
    pub fn remaining(&self) -> usize {
        usize::from(self.room - self.len)
    }

    /// Whether an option of so many bytes fits; if not, it counts as [refused](Self::has_refused).
    pub fn admits(&mut self, len: usize) -> bool {
        let fits = len <= self.remaining();
        self.refused |= !fits;
        fits
    }

    /// Appends a whole option; false, changing nothing else, if it does not fit.
    #[must_use]
    pub fn push(&mut self, option: &[u8]) -> bool {
        let start = usize::from(self.len);
        if !self.admits(option.len()) {
            return false;
        }
        self.bytes[start..start + option.len()].copy_from_slice(option);
        self.len = u8::try_from(start + option.len()).unwrap_or(self.room);
        true
    }

    /// Whether an option did not fit. A TCP may then leave out options of its own, and ask again.
    pub fn has_refused(&self) -> bool {
        self.refused
    }

    /// What was pushed so far.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// Received bytes in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Offset of the first byte.
    pub offset: u64,
    /// The bytes, at least one.
    pub bytes: Bytes,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn option_space_takes_whole_options_only() {
        let mut space = OptionSpace::new(10);
        assert!(space.push(&[30, 4, 0, 0]));
        assert!(!space.push(&[30, 8, 0, 0, 0, 0, 0, 0]));
        assert_eq!(space.as_slice(), &[30, 4, 0, 0]);
        assert_eq!(space.remaining(), 6);
        assert!(space.has_refused());
        assert_eq!(OptionSpace::new(99).remaining(), OptionSpace::MAX);
    }
}
