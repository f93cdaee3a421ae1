//! What an application says of bytes that it writes to a stream.

use std::time::Instant;

use mptcp_core::{Message, TrafficClass};

use crate::Engine;

/// What an application says of bytes that it writes ([`MptcpStream::write_message`](crate::MptcpStream::write_message)): a
/// [`Message`] by the clock of the system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamMessage {
    /// How urgent the message is.
    pub class: TrafficClass,
    /// When it should be delivered; later, it still is.
    pub deadline: Option<Instant>,
    /// The message ends with these bytes: it is complete for the peer once they have arrived.
    pub ends: bool,
}

impl StreamMessage {
    /// The same by the clock of an engine.
    pub(super) fn for_engine(self, engine: &Engine) -> Message {
        let left = |deadline: Instant| deadline.saturating_duration_since(Instant::now());
        let deadline = self.deadline.map(|deadline| engine.now() + left(deadline));
        Message { class: self.class, deadline, ends: self.ends }
    }
}
