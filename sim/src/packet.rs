//! What travels on links.

use tcp_adapter::{Frame, Instant};

/// Boxes of frames that have arrived, for those that are about to leave.
#[derive(Debug, Default)]
#[expect(clippy::vec_box, reason = "what is kept is the boxes")]
pub(crate) struct Boxes(Vec<Box<Frame>>);

/// Boxes that are kept at most: links that duplicate let more arrive than leave.
const MOST_BOXES: usize = 4096;

impl Boxes {
    /// Puts a frame into a box.
    #[inline]
    pub(crate) fn pack(&mut self, frame: Frame) -> Box<Frame> {
        match self.0.pop() {
            Some(mut packed) => {
                *packed = frame;
                packed
            }
            None => Box::new(frame),
        }
    }

    /// Takes a frame out of its box, which is kept.
    #[inline]
    pub(crate) fn unpack(&mut self, mut packed: Box<Frame>) -> Frame {
        let frame = std::mem::take(&mut *packed);
        if self.0.len() < MOST_BOXES {
            self.0.push(packed);
        }
        frame
    }
}

/// A frame on its way.
#[derive(Clone, Debug)]
pub struct Packet {
    /// Unique within the run; a duplicate has the same as its original.
    pub id: u64,
    /// The Ethernet frame, without frame check sequence. Boxed, since packets change places often.
    pub frame: Box<Frame>,
    /// When its first sender gave it to a link.
    pub sent_at: Instant,
    /// When it was offered to the link that it is on.
    pub offered_at: Instant,
    /// Its [`len`](Self::len) then, in bytes, which no link changes: the books and queues of a link count it at each step,
    /// but the slices of the frame are added up once. 0 before it is offered to any.
    pub(crate) offered_len: usize,
    /// Bytes that it takes on a link, which none changes either: noted with `offered_len`, so that a link that sends it
    /// later need not look at the frame.
    pub(crate) wire_len: usize,
}

impl Packet {
    /// A packet that its first sender gives to a link now.
    pub fn new(id: u64, frame: impl Into<Box<Frame>>, now: Instant) -> Self {
        Self { id, frame: frame.into(), sent_at: now, offered_at: now, offered_len: 0, wire_len: 0 }
    }

    /// The same packet with other bytes.
    #[must_use]
    pub fn with_frame(&self, frame: Frame) -> Self {
        Self { frame: Box::new(frame), offered_len: 0, wire_len: 0, ..*self }
    }

    /// Bytes on the link: the frame from the Ethernet header on.
    pub fn len(&self) -> usize {
        self.frame.len()
    }

    /// Whether the frame has no bytes at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
