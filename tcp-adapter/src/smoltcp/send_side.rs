//! What the shim knows of the bytes that a connection sends: sequence numbers, chunks, the
//! peer's window, and which of smoltcp's segments are retransmissions.

use std::collections::VecDeque;

use super::rtt::RttEstimator;
use crate::mss::default_mss;
use crate::{Chunk, Instant};

/// Duplicate acknowledgements after which smoltcp retransmits (RFC 5681 section 3.2).
const DUPLICATE_THRESHOLD: u32 = 3;

/// Smallest segment size of the peer that is believed (Linux: `TCP_MIN_MSS`); less would not
/// leave room for payload beside 40 bytes of options.
const MIN_MSS: usize = 88;

/// Sending half of the mini transmission control block.
#[derive(Debug, Default)]
pub(super) struct SendSide {
    /// Initial sequence number on the wire.
    iss: u32,
    /// What it must not be below.
    least_iss: Option<u32>,
    /// What to add to smoltcp's sequence numbers to get those on the wire.
    shift_to_wire: u32,
    /// Everything before is acknowledged; one past the last byte once the FIN is.
    pub(super) una: u64,
    /// Everything before has been sent at least once, a sent FIN included.
    pub(super) max: u64,
    /// End of what `send` has accepted.
    pub(super) end: u64,
    /// Whether a FIN has been sent.
    pub(super) fin_sent: bool,
    /// Where smoltcp continues; less than `max` while it repeats everything after a timeout.
    cursor: u64,
    chunks: VecDeque<Chunk>,
    /// The peer's window in bytes, as it really is, relative to `una`.
    pub(super) window: u32,
    /// Largest window that the peer has ever advertised.
    max_window: u32,
    /// Offset and acknowledgement of the segment that `window` came from (SND.WL1 and SND.WL2).
    window_seq: i64,
    window_ack: u64,
    /// Window field that smoltcp saw last.
    presented: u16,
    /// The peer's window scale.
    pub(super) window_shift: u8,
    /// Largest segment of the peer, payload and options.
    pub(super) peer_mss: usize,
    duplicates: u32,
    fast_retransmit_expected: bool,
    pub(super) rtt: RttEstimator,
    pub(super) syns: u32,
    pub(super) bytes_sent: u64,
    pub(super) bytes_retransmitted: u64,
    pub(super) retransmissions: u64,
    pub(super) timeouts: u32,
}

impl SendSide {
    /// smoltcp has numbered its SYN `engine`; on the wire it shall be `iss`.
    pub(super) fn syn_sent(&mut self, now: Instant, engine: u32, iss: impl FnOnce() -> u32) {
        if self.syns == 0 {
            let iss = iss();
            let beyond = self.least_iss.filter(|least| iss.wrapping_sub(*least).cast_signed() < 0);
            self.iss = beyond.unwrap_or(iss);
            self.shift_to_wire = self.iss.wrapping_sub(engine);
            self.rtt.sent(now, 0);
        } else {
            self.rtt.ambiguous();
        }
        self.syns += 1;
    }

    /// Begins after all that an earlier connection of the same addresses and ports has used, which may be about still (RFC 9293 section 3.6.1).
    pub(super) fn begin_beyond(&mut self, seq: u32) {
        self.least_iss = Some(seq.wrapping_add(1));
    }

    pub(super) fn iss(&self) -> u32 {
        self.iss
    }

    /// Sequence number on the wire of the byte at `offset`.
    pub(super) fn seq(&self, offset: u64) -> u32 {
        let [low, _] = split(offset);
        self.iss.wrapping_add(1).wrapping_add(low)
    }

    /// Offset of a sequence number on the wire, taken as close to `una`.
    pub(super) fn offset(&self, seq: u32) -> i64 {
        self.una.cast_signed() + i64::from(seq.wrapping_sub(self.seq(self.una)).cast_signed())
    }

    /// smoltcp's number for the byte at `offset`.
    pub(super) fn seq_in_engine(&self, offset: u64) -> u32 {
        self.seq(offset).wrapping_sub(self.shift_to_wire)
    }

    /// Offset of one of smoltcp's sequence numbers.
    pub(super) fn offset_in_engine(&self, seq: u32) -> u64 {
        self.offset(seq.wrapping_add(self.shift_to_wire)).max(0).cast_unsigned()
    }

    /// Learns from the peer's SYN.
    pub(super) fn peer_syn(&mut self, window: u16, window_shift: u8, mss: Option<u16>, ipv4: bool) {
        self.window = u32::from(window);
        self.max_window = self.window;
        self.presented = window;
        self.window_shift = window_shift;
        let default = default_mss(!ipv4);
        // RFC 9293 leaves a size of 0 open; smoltcp and Linux take it for none.
        self.peer_mss = usize::from(mss.filter(|&mss| mss != 0).unwrap_or(default)).max(MIN_MSS);
    }

    /// Whether an acknowledgement is acceptable (RFC 5961 section 5.2).
    pub(super) fn acknowledgement_is_acceptable(&self, ack: i64) -> bool {
        let oldest = self.una.cast_signed().saturating_sub(i64::from(self.max_window)).max(0);
        oldest <= ack && ack <= self.max.cast_signed()
    }

    /// Takes the window of an acceptable segment unless it is older than what is known.
    ///
    /// RFC 9293 would ignore the window of a retransmitted segment even if it
    /// acknowledges something new, which can leave the sender with an outdated zero window.
    pub(super) fn update_window(&mut self, seq: i64, ack: u64, field: u16) {
        let newer = ack > self.una || seq > self.window_seq || (seq == self.window_seq && ack >= self.window_ack);
        if newer {
            self.window = u32::from(field) << self.window_shift;
            self.max_window = self.max_window.max(self.window);
            self.window_seq = seq;
            self.window_ack = ack;
        }
    }

    /// Takes an acknowledgement; true if it is news.
    pub(super) fn acknowledged(&mut self, now: Instant, ack: u64) -> bool {
        self.rtt.acknowledged(now, ack);
        if ack <= self.una {
            return false;
        }
        self.una = ack;
        self.cursor = self.cursor.max(ack);
        self.timeouts = 0;
        while self.chunks.front().is_some_and(|chunk| chunk.end() <= ack) {
            self.chunks.pop_front();
        }
        true
    }

    /// What smoltcp has sent and is not acknowledged, in sequence space.
    fn outstanding(&self) -> u64 {
        self.max.saturating_sub(self.una)
    }

    /// Whether smoltcp might count an acknowledgement that repeats `una` as a duplicate.
    pub(super) fn counts_duplicates(&self) -> bool {
        self.outstanding() > 0
    }

    /// Whether smoltcp believes the peer's window to be closed, so that what it sends is a probe of it.
    pub(super) fn window_is_closed(&self) -> bool {
        self.presented == 0
    }

    /// Whether an acknowledgement that repeats `una` and carries nothing may be shown to smoltcp.
    ///
    /// With nothing but a FIN in flight it must not: the third would make smoltcp stop its
    /// retransmission timer and resend no byte, and the FIN would never be sent again.
    pub(super) fn duplicate_is_safe(&self) -> bool {
        self.outstanding() == 0 || self.una < self.end
    }

    /// The window field that smoltcp shall see with the next segment, which is a bare repetition of the last
    /// acknowledgement if `duplicate` is set.
    ///
    /// Two things differ from the truth. A repeated acknowledgement keeps the last window, since smoltcp does
    /// not count one whose window differs, and a window that is shared by several connections moves all the
    /// time. And while something is in flight the window covers it: smoltcp cannot retransmit beyond the
    /// window, and once its retransmission timer has fired in vain nothing restarts it. Neither lets smoltcp
    /// send new bytes beyond the true window for longer than one round trip; with nothing in flight it sees
    /// the truth.
    pub(super) fn present_window(&mut self, duplicate: bool) -> u16 {
        let flight = self.outstanding();
        if !(duplicate && flight > 0 && self.presented > 0) {
            let truth = u16::try_from(self.window >> self.window_shift).unwrap_or(u16::MAX);
            let floor =
                if flight == 0 { 0 } else { u16::try_from(flight >> self.window_shift).unwrap_or(u16::MAX).max(1) };
            self.presented = truth.max(floor);
        }
        if duplicate && flight > 0 {
            self.duplicates += 1;
            self.fast_retransmit_expected |= self.duplicates == DUPLICATE_THRESHOLD;
        } else {
            self.duplicates = 0;
        }
        self.presented
    }

    /// The window fields of repeated acknowledgements that have smoltcp retransmit, whatever it has counted before: a window that differs
    /// ends its count.
    pub(super) fn fresh_duplicates(&mut self) -> impl Iterator<Item = u16> + use<> {
        let window = self.presented;
        let other = if window == u16::MAX { window - 1 } else { window + 1 };
        self.duplicates = DUPLICATE_THRESHOLD;
        self.fast_retransmit_expected = true;
        [other, window].into_iter().chain((0..DUPLICATE_THRESHOLD).map(move |_| window))
    }

    pub(super) fn queue(&mut self, tag: u64, len: u32) {
        self.chunks.push_back(Chunk { tag, offset: self.end, len });
        self.end += u64::from(len);
    }

    /// Makes the last chunk longer, of which nothing has left.
    pub(super) fn lengthen(&mut self, len: u32) {
        if let Some(last) = self.chunks.back_mut() {
            last.len = last.len.saturating_add(len);
            self.end += u64::from(len);
        }
    }

    /// The chunk of the byte at `offset`.
    pub(super) fn chunk(&self, offset: u64) -> Option<Chunk> {
        let after = self.chunks.partition_point(|chunk| chunk.offset <= offset);
        let chunk = *self.chunks.get(after.checked_sub(1)?)?;
        (offset < chunk.end()).then_some(chunk)
    }

    /// smoltcp is about to send `len` bytes from `offset`, and then a FIN if `fin` is set.
    pub(super) fn emitted(&mut self, now: Instant, offset: u64, len: u64, fin: bool) {
        let end = offset + len + u64::from(fin);
        if end == offset {
            return;
        }
        let again = offset < self.max;
        // A fast retransmission is one segment, after which smoltcp continues where it was.
        let fast = std::mem::take(&mut self.fast_retransmit_expected) && again && offset == self.una;
        if !fast {
            if offset < self.cursor {
                self.timeouts += 1;
            }
            self.cursor = end;
        }
        if again {
            self.rtt.ambiguous_from(offset);
        } else {
            self.rtt.sent(now, end);
        }
        self.max = self.max.max(end);
        self.fin_sent |= fin;
    }

    /// Counts one segment on the wire.
    pub(super) fn count(&mut self, len: u64, retransmission: bool) {
        self.bytes_sent += len;
        if retransmission {
            self.bytes_retransmitted += len;
            self.retransmissions += 1;
        }
    }

    /// Bytes sent and not acknowledged.
    pub(super) fn in_flight(&self) -> u64 {
        self.max.min(self.end).saturating_sub(self.una)
    }

    /// Bytes that smoltcp has before it, of those up to `fed`: those not sent, and while it repeats everything after a
    /// timeout those that it has not repeated yet.
    pub(super) fn before_engine(&self, fed: u64) -> u64 {
        fed.saturating_sub(self.cursor.max(self.una))
    }

    /// Bytes that the peer's window takes beyond those that smoltcp has sent or repeated.
    pub(super) fn window_left(&self) -> u64 {
        (self.una + u64::from(self.window)).saturating_sub(self.cursor.max(self.una))
    }

    /// Bytes accepted and not sent.
    pub(super) fn unsent(&self) -> u64 {
        self.end.saturating_sub(self.max)
    }
}

/// Low and high half.
fn split(offset: u64) -> [u32; 2] {
    let bytes = offset.to_le_bytes();
    let [a, b, c, d, e, f, g, h] = bytes;
    [u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h])]
}

/// The low 32 bits of an offset.
pub(super) fn low(offset: u64) -> u32 {
    split(offset)[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A connection whose sequence numbers are about to wrap, with window shift 2.
    fn sender() -> SendSide {
        let mut send = SendSide::default();
        send.syn_sent(Instant::ZERO, 1_000, || u32::MAX - 10);
        send.peer_syn(40_000, 2, Some(1_460), true);
        send.acknowledged(Instant::from_millis(5), 0);
        send.update_window(0, 0, 10_000);
        send.present_window(true);
        send
    }

    #[test]
    fn numbers_translate_across_the_wrap() {
        let send = sender();
        assert_eq!(send.seq(0), u32::MAX - 9);
        assert_eq!(send.seq(20), 10);
        assert_eq!(send.offset(10), 20);
        assert_eq!(send.offset(u32::MAX - 10), -1);
        assert_eq!(send.seq_in_engine(20), 1_021);
        assert_eq!(send.offset_in_engine(1_021), 20);
        assert_eq!(send.rtt.srtt(), Some(std::time::Duration::from_millis(5)));
    }

    #[test]
    fn duplicates_can_be_counted_anew_at_any_window() {
        for window in [0, 7, u16::MAX] {
            let mut send = sender();
            send.presented = window;
            let windows: Vec<u16> = send.fresh_duplicates().collect();
            assert_ne!(windows[0], window);
            assert!(windows[1..].iter().all(|shown| *shown == window) && windows.len() > 4, "{windows:?}");
        }
    }

    #[test]
    fn chunks_are_found_until_they_are_acknowledged() {
        let mut send = sender();
        send.queue(100, 10);
        send.queue(500, 5);
        assert_eq!(send.chunk(9), Some(Chunk { tag: 100, offset: 0, len: 10 }));
        assert_eq!(send.chunk(10), Some(Chunk { tag: 500, offset: 10, len: 5 }));
        assert_eq!(send.chunk(15), None);
        send.emitted(Instant::ZERO, 0, 15, false);
        send.acknowledged(Instant::ZERO, 9);
        assert!(send.chunk(9).is_some());
        send.acknowledged(Instant::ZERO, 10);
        assert_eq!(send.chunk(9), None);
        assert!(send.chunk(10).is_some());
    }

    #[test]
    fn presented_window_stays_with_duplicates_and_covers_what_is_in_flight() {
        let mut send = sender();
        assert_eq!(send.present_window(false), 10_000);
        send.queue(0, 8_000);
        send.emitted(Instant::ZERO, 0, 8_000, false);
        send.update_window(0, 0, 500);
        assert_eq!(send.present_window(true), 10_000, "a duplicate must look like one");
        send.update_window(1, 0, 0);
        assert_eq!(send.present_window(false), 2_000, "8000 bytes in flight, in units of 4");
        send.acknowledged(Instant::ZERO, 8_000);
        send.update_window(2, 8_000, 0);
        assert_eq!(send.present_window(false), 0, "with nothing in flight, the truth");
    }

    #[test]
    fn old_segments_do_not_move_the_window() {
        let mut send = sender();
        send.queue(0, 100);
        send.emitted(Instant::ZERO, 0, 100, false);
        send.update_window(50, 0, 1);
        send.update_window(49, 0, 2);
        assert_eq!(send.window, 4);
        send.update_window(49, 60, 3);
        assert_eq!(send.window, 12, "a retransmission that acknowledges something is news");
    }

    #[test]
    fn timeouts_are_told_from_fast_retransmissions() {
        let mut send = sender();
        send.queue(0, 5_000);
        for offset in [0, 1_000, 2_000, 3_000] {
            send.emitted(Instant::ZERO, offset, 1_000, false);
        }
        for _ in 0..3 {
            send.present_window(true);
        }
        send.emitted(Instant::ZERO, 0, 1_000, false);
        send.emitted(Instant::ZERO, 4_000, 1_000, false);
        assert_eq!(send.timeouts, 0);
        send.emitted(Instant::ZERO, 0, 1_000, false);
        send.emitted(Instant::ZERO, 1_000, 1_000, false);
        assert_eq!(send.timeouts, 1, "the second one goes on from the first");
        send.acknowledged(Instant::ZERO, 1_000);
        assert_eq!(send.timeouts, 0);
    }

    #[test]
    fn acknowledgements_of_nothing_sent_or_of_long_ago_are_not_acceptable() {
        let mut send = sender();
        send.queue(0, 200_000);
        send.emitted(Instant::ZERO, 0, 200_000, false);
        send.acknowledged(Instant::ZERO, 100_000);
        let acceptable = |ack| send.acknowledgement_is_acceptable(ack);
        assert!(acceptable(100_000) && acceptable(200_000) && acceptable(60_000));
        assert!(!acceptable(200_001) && !acceptable(59_999) && !acceptable(-1));
    }

    #[test]
    fn duplicates_are_kept_from_smoltcp_when_only_a_fin_is_in_flight() {
        let mut send = sender();
        send.queue(0, 10);
        send.emitted(Instant::ZERO, 0, 10, true);
        assert!(send.duplicate_is_safe());
        send.acknowledged(Instant::ZERO, 10);
        assert!(!send.duplicate_is_safe());
        send.acknowledged(Instant::ZERO, 11);
        assert!(send.duplicate_is_safe());
    }
}
