//! What the layer above has a say in.

use super::{OptionSpace, SegmentIn, SegmentOut, SynSegment, SynVerdict, TcpId, Verdict};
use crate::Instant;

/// What the layer above says of segments. See [`TcpStack`](crate::TcpStack).
pub trait SegmentHook {
    /// A SYN (without ACK) for no known connection, on a listened port or not.
    ///
    /// With [`SynVerdict::Accept`] the connection `conn` comes into being; with
    /// another verdict the handle is never seen again. A hook must not accept a SYN
    /// with neither a listener nor a reason of its own (such as a join).
    fn on_syn(&mut self, now: Instant, conn: TcpId, syn: &SynSegment<'_>) -> SynVerdict;

    /// A SYN that reached a listener whose backlog is full, if the stack can answer it without remembering anything (RFC 4987
    /// section 3.6): whether it should, and the options of the SYN/ACK. [`on_cookie`](Self::on_cookie) follows if the
    /// handshake is completed.
    fn on_stateless_syn(&mut self, now: Instant, syn: &SynSegment<'_>, options: &mut OptionSpace) -> bool {
        let _ = (now, syn, options);
        true
    }

    /// The third segment of a handshake whose SYN was answered so, with the options that it carries. Verdicts mean what they mean
    /// for a SYN; if it is accepted, the connection is in the handshake, and the segment is shown to
    /// [`on_segment`](Self::on_segment).
    fn on_cookie(&mut self, now: Instant, conn: TcpId, ack: &SynSegment<'_>) -> SynVerdict {
        self.on_syn(now, conn, ack)
    }

    /// A segment that passed the acceptance checks of RFC 9293 section 3.10.7.4 and RFC
    /// 5961, before the connection acts on it.
    fn on_segment(&mut self, now: Instant, conn: TcpId, segment: &SegmentIn<'_>) -> Verdict;

    /// A segment that is about to leave: push options, and return the window to
    /// advertise in bytes, or `None` for the stack's own.
    ///
    /// Called for retransmissions too. The stack pads the options and subtracts
    /// their length from the payload that the segment can carry.
    fn on_transmit(
        &mut self,
        now: Instant,
        conn: TcpId,
        segment: &SegmentOut,
        options: &mut OptionSpace,
    ) -> Option<u32>;
}
