//! What travels on links.

use tcp_adapter::{Frame, Instant};

/// A frame on its way.
#[derive(Clone, Debug)]
pub struct Packet {
    /// Unique within the run; a duplicate has the same as its original.
    pub id: u64,
    /// The Ethernet frame, without frame check sequence.
    pub frame: Frame,
    /// When its first sender gave it to a link.
    pub sent_at: Instant,
    /// When it was offered to the link that it is on.
    pub offered_at: Instant,
}

impl Packet {
    /// A packet that its first sender gives to a link now.
    pub const fn new(id: u64, frame: Frame, now: Instant) -> Self {
        Self { id, frame, sent_at: now, offered_at: now }
    }

    /// The same packet with other bytes.
    #[must_use]
    pub const fn with_frame(&self, frame: Frame) -> Self {
        Self { id: self.id, frame, sent_at: self.sent_at, offered_at: self.offered_at }
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
