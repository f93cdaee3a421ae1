//! Data on the SYN of the first subflow (TCP Fast Open with MPTCP, RFC 8684 appendix B).
//!
//! It is the beginning of the stream, but has no place in data sequence space, and none in the sequence space of the subflow: the first
//! byte after it is number 1 of both (appendix B.2). So it is dealt with here, where TCP's offsets come in, and no one else knows of it.
//!
//! A listener's application has the data half a round trip after it was sent. What it answers waits for the third packet of the handshake:
//! without the key that comes with it there is no DATA_ACK, and a first DSS without one ends multipath for Linux.

use bytes::Bytes;
use tcp_adapter::{Chunk, Received, SegmentIn, SegmentOut};

use super::connection::Connection;
use super::shared::Cx;
use crate::event::SubflowId;

/// Bytes offered for a SYN at most: more than any takes.
const MAX_OFFER: usize = 1460;

/// What the SYNs of the first subflow carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Early {
    /// The application wants our SYN to carry data, and it has not left yet.
    pub(crate) wanted: bool,
    /// Our SYN has left with data, of which the SYN/ACK will tell how much was taken.
    offered: bool,
    /// Bytes of ours that the peer has taken.
    pub(crate) sent: u32,
    /// Bytes of the peer's that TCP has taken.
    pub(crate) received: u32,
}

impl Connection {
    /// Offers TCP what was written so far for the SYN, if it is to carry data.
    #[inline]
    pub(crate) fn offer_early(&mut self, cx: &mut Cx<'_>) {
        if self.early.wanted {
            self.offer_written(cx);
        }
    }

    #[inline(never)]
    fn offer_written(&mut self, cx: &mut Cx<'_>) {
        let Some(first) = self.subflows.first() else { return };
        let data = self.sender.queue.gather(0, MAX_OFFER).unwrap_or_default().joined();
        match cx.tcp.fast_open(first.tcp, &data) {
            Some(taken) => self.early.offered = taken > 0,
            None => self.early.wanted = false,
        }
    }

    /// A received segment with offsets that count from the first byte after the SYNs and what they carried; `None` if its own do.
    #[inline]
    pub(crate) fn without_early<'a>(&mut self, id: SubflowId, segment: &SegmentIn<'a>) -> Option<SegmentIn<'a>> {
        let Early { offered, sent, received, .. } = self.early;
        let may_differ = offered || sent > 0 || received > 0;
        (may_differ && id == SubflowId(0)).then(|| self.count_after_early(segment))
    }

    #[inline(never)]
    fn count_after_early<'a>(&mut self, segment: &SegmentIn<'a>) -> SegmentIn<'a> {
        if self.early.offered && segment.flags.syn {
            self.early.offered = false;
            let sent = segment.acked.unwrap_or(0);
            self.early.sent = u32::try_from(sent).unwrap_or(u32::MAX);
            // What was not taken is sent like all that follows, with a mapping (appendix B.3, figures 20 and 21).
            self.sender.queue.skip(sent);
            self.sender.messages.skip(sent);
        }
        let (sent, received) = (u64::from(self.early.sent), u64::from(self.early.received));
        let known = usize::try_from(received.saturating_sub(segment.offset)).unwrap_or(usize::MAX).min(segment.len);
        SegmentIn {
            offset: segment.offset.saturating_sub(received),
            len: segment.len - known,
            acked: segment.acked.map(|acked| acked.saturating_sub(sent)),
            ..*segment
        }
    }

    /// The same of a segment that is about to leave.
    #[inline]
    pub(crate) fn without_early_sent(&self, id: SubflowId, segment: &SegmentOut) -> Option<SegmentOut> {
        let sent = u64::from(self.early.sent);
        (sent > 0 && id == SubflowId(0)).then(|| SegmentOut {
            offset: segment.offset.saturating_sub(sent),
            chunk: segment.chunk.map(|chunk| Chunk { offset: chunk.offset.saturating_sub(sent), ..chunk }),
            ..*segment
        })
    }

    /// The same of received bytes. Those that came with the SYN are taken off and go to the application, which may leave none.
    #[inline]
    pub(crate) fn take_early(&mut self, id: SubflowId, received: &mut Received, cx: &mut Cx<'_>) {
        if self.early.received > 0 && id == SubflowId(0) {
            self.take_off_early(received, cx);
        }
    }

    #[inline(never)]
    fn take_off_early(&mut self, received: &mut Received, cx: &mut Cx<'_>) {
        let early = u64::from(self.early.received);
        if received.offset < early {
            let len = usize::try_from(early - received.offset).unwrap_or(usize::MAX).min(received.bytes.len());
            let bytes = received.bytes.split_to(len);
            received.offset += len as u64;
            self.deliver_early(bytes, cx);
        }
        received.offset = received.offset.saturating_sub(early);
    }

    fn deliver_early(&mut self, bytes: Bytes, cx: &mut Cx<'_>) {
        if self.app.released {
            return self.fast_close(cx);
        }
        self.receiver.early.push_back(bytes);
        self.tell_readable(cx.shared);
    }
}
