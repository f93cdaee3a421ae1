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
}

impl Packet {
    /// Bytes on the link: the frame from the Ethernet header on.
    pub fn len(&self) -> usize {
        self.frame.len()
    }

    /// Whether the frame has no bytes at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
