//! What the shim knows of the bytes that a connection receives, and which segments are acceptable.

use super::early::Early;
use super::segment::Segment;
use super::send_side::low;

/// Receiving half of the mini transmission control block.
#[derive(Debug, Default)]
pub(super) struct ReceiveSide {
    irs: u32,
    /// Everything before has been received in order; one past the last byte once the FIN is.
    pub(super) next: u64,
    /// What smoltcp holds beyond.
    pub(super) early: Early,
    pub(super) finished: bool,
    /// Acknowledgement of the last segment that was sent.
    pub(super) acked: u64,
    /// End of the largest window that has been advertised.
    pub(super) edge: u64,
    /// End of what smoltcp would accept.
    pub(super) engine_edge: u64,
    /// Our window scale.
    pub(super) window_shift: u8,
}

/// What the sequence number of a segment says (RFC 9293 section 3.10.7.4, first check).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// In the window.
    Acceptable {
        /// Offset of the first payload byte.
        offset: u64,
        /// Payload bytes that are not beyond the window.
        len: usize,
        /// Whether a FIN is in the window.
        fin: bool,
        /// Whether something was beyond the window, which the sender must be told.
        cut: bool,
    },
    /// Outside the window.
    Outside,
}

impl ReceiveSide {
    pub(super) fn peer_syn(&mut self, seq: u32) {
        self.irs = seq;
    }

    pub(super) fn irs(&self) -> u32 {
        self.irs
    }

    /// Sequence number of the byte at `offset`.
    pub(super) fn seq(&self, offset: u64) -> u32 {
        self.irs.wrapping_add(1).wrapping_add(low(offset))
    }

    /// Offset of a sequence number, taken as close to `next`.
    pub(super) fn offset(&self, seq: u32) -> i64 {
        self.next.cast_signed() + i64::from(seq.wrapping_sub(self.seq(self.next)).cast_signed())
    }

    /// Checks the sequence number of a segment against the window that was advertised.
    ///
    /// More lenient than the RFC's table in two ways that Linux shares: a segment without payload may be
    /// numbered just after the window, where a sender that has filled the window is, and a
    /// FIN needs no window, as it occupies no buffer.
    pub(super) fn check(&self, segment: &Segment) -> Arrival {
        let edge = if self.finished { self.next } else { self.edge.max(self.next) };
        let start = self.offset(segment.seq);
        let len = segment.payload.len();
        let end = start + i64::try_from(len).unwrap_or(i64::MAX);
        let (next, edge) = (self.next.cast_signed(), edge.cast_signed());
        let in_window = if len == 0 {
            next <= start && start <= edge
        } else {
            // At a closed window the acknowledgement still counts (section 3.10.7.4), the payload does not.
            end > next && (start < edge || start == next)
        };
        let Ok(offset) = u64::try_from(start) else { return Arrival::Outside };
        if !in_window {
            return Arrival::Outside;
        }
        let kept = usize::try_from((edge - start).max(0)).unwrap_or(len).min(len);
        let fin = segment.flags.fin && kept == len && !self.finished;
        Arrival::Acceptable { offset, len: kept, fin, cut: kept < len || (segment.flags.fin && !fin) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MacAddr, TcpFlags};

    fn segment(seq: u32, len: usize, fin: bool) -> Segment {
        let any = "10.0.0.1:1".parse().unwrap();
        Segment {
            link_source: MacAddr([0; 6]),
            link_destination: MacAddr([0; 6]),
            source: any,
            destination: any,
            seq,
            ack: 0,
            flags: TcpFlags { fin, ack: true, ..TcpFlags::default() },
            psh: false,
            window: 0,
            options: 0..0,
            payload: 0..len,
        }
    }

    /// Next byte 100, window up to 200, with sequence numbers about to wrap.
    fn receiver() -> ReceiveSide {
        ReceiveSide { irs: u32::MAX - 49, next: 100, edge: 200, ..ReceiveSide::default() }
    }

    fn check(offset: u32, len: usize, fin: bool) -> Arrival {
        let receiver = receiver();
        receiver.check(&segment(receiver.irs.wrapping_add(1).wrapping_add(offset), len, fin))
    }

    #[test]
    fn window_check_across_the_wrap() {
        let accept = |offset, len, fin, cut| Arrival::Acceptable { offset, len, fin, cut };
        assert_eq!(check(100, 0, false), accept(100, 0, false, false));
        assert_eq!(check(200, 0, false), accept(200, 0, false, false));
        assert_eq!(check(201, 0, false), Arrival::Outside);
        assert_eq!(check(99, 0, false), Arrival::Outside);
        assert_eq!(check(50, 50, false), Arrival::Outside);
        assert_eq!(check(50, 51, false), accept(50, 51, false, false));
        assert_eq!(check(150, 60, true), accept(150, 50, false, true));
        assert_eq!(check(150, 50, true), accept(150, 50, true, false));
        assert_eq!(check(200, 1, false), Arrival::Outside);
    }

    #[test]
    fn closed_window_admits_acknowledgements_only() {
        let receiver = ReceiveSide { next: 100, edge: 100, ..ReceiveSide::default() };
        let expected = Arrival::Acceptable { offset: 100, len: 0, fin: false, cut: true };
        assert_eq!(receiver.check(&segment(101, 10, false)), expected);
        assert_eq!(receiver.check(&segment(102, 10, false)), Arrival::Outside);
    }
}
