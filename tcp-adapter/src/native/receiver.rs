//! The receiving side of a connection: what is acceptable, and what to tell the peer of it.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;

use super::config::NativeConfig;
use super::input::Take;
use super::memory::Room;
use super::receive::ack_policy::AckPolicy;
use super::receive::marks::MarkChanges;
use super::receive::reassembly::Reassembly;
use super::receive::window::{ReceiveState, ReceiveWindow};
use super::send::NEVER;
use super::timestamps::PeerTimestamps;
use super::wire::OptionWriter;
use crate::{Instant, Received};

/// State of the receiving side.
#[derive(Debug)]
pub(super) struct Receiver {
    /// Initial sequence number of the peer (IRS).
    irs: u32,
    data: Reassembly,
    policy: AckPolicy,
    window: ReceiveWindow,
    shift: u8,
    pub(super) timestamps: PeerTimestamps,
    /// Everything before has been acknowledged.
    acked: u64,
    /// Offset of the peer's FIN, which may have arrived before what precedes it.
    fin: Option<u64>,
    /// The FIN has been received in order.
    finished: bool,
    /// Nobody has been told of that yet.
    news: bool,
    /// Congestion is echoed until the peer says that it has reduced its window (RFC 3168 section 6.1.3).
    echo: bool,
    /// Marks are echoed one by one (RFC 8257 section 3.2): where they have changed since an acknowledgement last left.
    exact: Option<Box<MarkChanges>>,
    /// The window advertised last was the stack's own.
    own_window: bool,
    /// The stack had little memory left when that was last looked at.
    pressure: bool,
    /// Window field of the last segment.
    field: u16,
    /// Segments after a gap that no acknowledgement has answered yet.
    beyond: u8,
}

/// What of a segment is acceptable (RFC 9293 section 3.10.7.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// Nothing: it is outside the window.
    Outside,
    /// `len` bytes from `offset` on, and the FIN or not; `cut` if that is not all.
    Acceptable { offset: u64, len: usize, fin: bool, cut: bool },
}

impl Receiver {
    pub(super) fn new(now: Instant, config: &NativeConfig) -> Self {
        let shift = config.window_shift();
        Self {
            irs: 0,
            data: Reassembly::new(config.sack),
            policy: AckPolicy::new(),
            window: ReceiveWindow::new(now, config.recv_buffer_initial, config.recv_buffer, shift),
            shift,
            timestamps: PeerTimestamps::default(),
            acked: 0,
            fin: None,
            finished: false,
            news: false,
            echo: false,
            exact: None,
            own_window: true,
            pressure: false,
            field: 0,
            beyond: 0,
        }
    }

    /// The peer's SYN has arrived.
    pub(super) fn peer_syn(&mut self, now: Instant, irs: u32, scaling: bool, sack: bool, config: &NativeConfig) {
        self.irs = irs;
        // Scaling is for both directions or for none (RFC 7323 section 2.2).
        if !scaling {
            self.shift = 0;
            self.window = ReceiveWindow::new(now, config.recv_buffer_initial, config.recv_buffer, 0);
        }
        if !sack {
            self.data = Reassembly::new(false);
        }
    }

    /// Our SYN/ACK carried the initial window, though that is not remembered.
    pub(super) fn permitted_in_syn(&mut self, config: &NativeConfig) {
        self.window.told_in_syn(u32::try_from(config.recv_buffer_initial).unwrap_or(u32::MAX));
    }

    pub(super) fn irs(&self) -> u32 {
        self.irs
    }

    /// The sequence number of an offset.
    pub(super) fn seq(&self, offset: u64) -> u32 {
        #[expect(clippy::cast_possible_truncation, reason = "sequence numbers are modulo 2^32 (RFC 9293 section 3.4)")]
        let low = offset as u32;
        self.irs.wrapping_add(1).wrapping_add(low)
    }

    /// Everything before has been received in order, the FIN included.
    pub(super) fn next(&self) -> u64 {
        self.data.rcv_nxt() + u64::from(self.finished)
    }

    /// Whether a reset is where the peer can be: at the next byte that is missing, or, if some are missing in between, behind the last one that
    /// has come. That is as hard to guess (RFC 5961 section 3.2 knows the former only), and whoever resets has nothing left to fill the gap with.
    pub(super) fn is_in_sequence(&self, seq: u32) -> bool {
        seq == self.seq(self.next()) || seq == self.seq(self.data.end_of_known())
    }

    /// Everything before has been acknowledged.
    pub(super) fn acked(&self) -> u64 {
        self.acked
    }

    /// Whether the peer has finished, and everything before that has arrived.
    pub(super) fn finished(&self) -> bool {
        self.finished
    }

    /// Whether the FIN has come since this was last asked.
    pub(super) fn just_finished(&mut self) -> bool {
        std::mem::take(&mut self.news)
    }

    /// Whether something that arrived is not acknowledged yet.
    pub(super) fn owes_ack(&self) -> bool {
        self.acked < self.next()
    }

    pub(super) fn is_readable(&self) -> bool {
        self.data.buffered() > 0
    }

    /// The next bytes in order.
    pub(super) fn pop(&mut self) -> Option<Received> {
        self.data.pop()
    }

    /// Everything that nobody has read.
    pub(super) fn drain(&mut self) -> VecDeque<Received> {
        std::iter::from_fn(|| self.data.pop()).collect()
    }

    /// Gives back the memory of empty queues.
    pub(super) fn trim(&mut self) {
        self.data.release();
    }

    /// Bytes held, in order or not: never more than [`NativeConfig::recv_buffer`].
    pub(super) fn held(&self) -> usize {
        self.data.buffered() + self.data.out_of_order()
    }

    /// Bytes held that cannot be handed up yet.
    pub(super) fn out_of_order(&self) -> usize {
        self.data.out_of_order()
    }

    pub(super) fn window_shift(&self) -> u8 {
        self.shift
    }

    /// Window field of the last segment.
    pub(super) fn last_field(&self) -> u16 {
        self.field
    }

    /// Compares a segment with the window (RFC 9293 section 3.10.7.4, table 6). Bytes beyond the window, and a FIN there, are cut off.
    pub(super) fn check(&self, seq: u32, len: usize, fin: bool) -> Arrival {
        let next = self.next();
        let edge = self.window.edge().max(next);
        let start = next.cast_signed() + i64::from(seq.wrapping_sub(self.seq(next)).cast_signed());
        let end = start + len as i64 + i64::from(fin);
        let (low, high) = (next.cast_signed(), edge.cast_signed());
        let acceptable = if end == start {
            (low..=high).contains(&start)
        } else {
            // Something of it is new and in the window. A probe of a closed window brings an acknowledgement, though its byte is not taken.
            (start < high && end > low) || (start <= high && start >= low)
        };
        // Before the first byte there is the SYN only, which is acknowledged: of such a segment nothing has an offset.
        let Ok(offset) = u64::try_from(start) else { return Arrival::Outside };
        if !acceptable {
            return Arrival::Outside;
        }
        let room = usize::try_from(edge.saturating_sub(offset)).unwrap_or(usize::MAX);
        let kept = len.min(room);
        let fin_kept = fin && kept == len;
        Arrival::Acceptable { offset, len: kept, fin: fin_kept && !self.finished, cut: kept < len || fin != fin_kept }
    }

    /// A segment that is not acceptable has brought what is there already: the next acknowledgement says so (RFC 2883 section 4.1).
    pub(super) fn note_duplicate(&mut self, seq: u32, len: usize) {
        let next = self.data.rcv_nxt();
        let distance = u64::from(self.seq(next).wrapping_sub(seq));
        if distance > i32::MAX as u64 {
            // It lies ahead.
            return;
        }
        if let Some(start) = next.checked_sub(distance).filter(|_| len as u64 <= distance) {
            self.data.note_duplicate(start..start + len as u64);
        }
    }

    /// Notes whether memory is short. Not only when data arrives: without a window none does.
    pub(super) fn note_memory(&mut self, memory: Room) {
        self.window.note_free(memory.to_promise());
        // Once: what comes under pressure is merged when its pieces have doubled, as ever.
        let was_pressed = std::mem::replace(&mut self.pressure, memory.is_short());
        if self.pressure && !was_pressed {
            self.data.compact();
        }
    }

    /// Takes the payload of an acceptable segment, as far as there is memory for it.
    pub(super) fn take(
        &mut self,
        now: Instant,
        take: &Take,
        pieces: &mut impl Iterator<Item = Bytes>,
        config: &NativeConfig,
        memory: Room,
    ) {
        self.note_memory(memory);
        let before = self.next();
        let whole = match self.fin {
            // What follows a FIN cannot be.
            Some(fin) => take.len.min(usize::try_from(fin.saturating_sub(take.offset)).unwrap_or(usize::MAX)),
            None => take.len,
        };
        let len = self.fitting(take.offset, whole, memory);
        let cut = len < whole;
        if cut && len == 0 {
            // As if it had been lost; the acknowledgement tells what is missing.
            self.policy.on_data(now, 0, u16::try_from(take.segment).unwrap_or(u16::MAX), true, config.delayed_ack);
            return;
        }
        if let Some(changes) = &mut self.exact
            && self.policy.is_pending()
            && self.policy.ece() != take.marked
            && before > self.acked
        {
            changes.push(before);
        }
        let inserted = self.data.insert(take.offset, pieces, len);
        if take.fin && !cut && self.fin.is_none() && take.offset + len as u64 >= self.data.end_of_known() {
            self.fin = Some(take.offset + len as u64);
        }
        if !self.finished && self.fin == Some(self.data.rcv_nxt()) {
            (self.finished, self.news) = (true, true);
        }
        let changed = self.policy.on_ce(take.marked);
        self.echo |= take.marked;
        let in_order = inserted.advanced == len as u64 && inserted.duplicate.is_none() && !inserted.gap;
        let beyond = inserted.gap && inserted.advanced == 0;
        self.beyond = if beyond { self.beyond.saturating_add(1) } else { 0 };
        let at_once = !in_order || cut || take.fin || changed || self.next() == before;
        let segment = u16::try_from(take.segment).unwrap_or(u16::MAX);
        self.policy.on_data(now, len, segment, at_once, config.delayed_ack);
        if self.own_window {
            let state = self.state(take.segment);
            self.window.on_data(now, &state);
        }
    }

    /// Of `len` bytes from `offset` on those, counted from the first, that there is memory for.
    ///
    /// What is next in order takes the place of what cannot be handed up without it. The peer still has that, as it was never acknowledged
    /// but selectively (RFC 2018 section 8), so it is the farthest that goes.
    fn fitting(&mut self, offset: u64, len: usize, memory: Room) -> usize {
        let next = self.data.rcv_nxt();
        let in_order = offset <= next;
        let room = if in_order { memory.in_order } else { memory.beyond };
        if len <= room {
            return len;
        }
        let known = usize::try_from(next.saturating_sub(offset)).unwrap_or(usize::MAX).min(len);
        let new = len - known;
        let missing = new.saturating_sub(room);
        let pruned = if in_order && missing > 0 { self.data.prune(missing) } else { 0 };
        known + new.min(room + pruned)
    }

    /// Data answers a segment of ours that left so many milliseconds ago (RFC 7323 section 4): how long a window takes, as
    /// far as a receiver can tell.
    pub(super) fn timed(&mut self, millis: u32) {
        /// More is no round-trip time but a pause, or an echo of nothing.
        const LONGEST: u32 = 4_000;
        if millis <= LONGEST {
            self.window.on_rtt(Duration::from_millis(millis.max(1).into()));
        }
    }

    /// When an acknowledgement must leave at the latest.
    pub(super) fn deadline(&self) -> Instant {
        self.policy.deadline().unwrap_or(NEVER)
    }

    /// Whether an acknowledgement is to leave now.
    pub(super) fn ack_is_due(&self, now: Instant) -> bool {
        self.policy.deadline().is_some_and(|at| at <= now)
    }

    /// Whether there is more to say than data segments have room for.
    pub(super) fn has_more_to_tell(&self) -> bool {
        self.data.has_sack_blocks()
    }

    /// Adds what has arrived out of order (RFC 2018), as much as there is room for.
    pub(super) fn write_blocks(&mut self, options: &mut OptionWriter) {
        if !self.data.has_sack_blocks() {
            return;
        }
        let room = options.room().saturating_sub(4) / 8;
        let blocks = self.data.sack_blocks(room);
        let mut edges = [(0, 0); 4];
        for (edge, block) in edges.iter_mut().zip(&blocks) {
            *edge = (self.seq(block.start), self.seq(block.end));
        }
        options.sack(&edges[..blocks.len().min(4)]);
    }

    /// Whether segments tell the peer that it should reduce its window (ECE).
    pub(super) fn echoes_mark(&self) -> bool {
        if self.exact.is_some() { self.policy.ece() } else { self.echo }
    }

    /// Lets marks be echoed one by one, for a peer that counts them.
    pub(super) fn echo_exactly(&mut self) {
        self.exact = Some(Box::default());
    }

    /// The next of the acknowledgements that must leave before any other since the mark has changed (RFC 8257 section 3.2), and whether it echoes
    /// one.
    pub(super) fn take_before_mark(&mut self) -> Option<(u64, bool)> {
        self.exact.as_mut()?.take(self.policy.ece())
    }

    /// The peer has reduced its window (CWR).
    pub(super) fn reduced(&mut self) {
        self.echo = false;
    }

    /// The window field of the next segment, given what the hook wants; with that it is advertised.
    #[inline]
    pub(super) fn window_field(&mut self, now: Instant, wanted: Option<u32>, syn: bool, mss: u32) -> u16 {
        self.own_window = wanted.is_none();
        self.field = match wanted {
            Some(window) if syn => self.window.told_in_syn(window),
            Some(window) => {
                let window = self.window.advertise_told(self.next(), self.data.buffered(), window);
                self.window.field(window)
            }
            None if syn => {
                let room = (self.window.buffer() as usize).saturating_sub(self.data.buffered());
                self.window.own_in_syn(self.next(), room)
            }
            None => self.own_field(now, mss),
        };
        self.field
    }

    /// The field of the stack's own window. Much more work than to take that of a layer above, and so no part of the function that does either.
    #[inline(never)]
    fn own_field(&mut self, now: Instant, mss: u32) -> u16 {
        let state = self.state(mss);
        let window = self.window.advertise(now, &state);
        self.window.field(window)
    }

    /// Whether the window advertised last was the stack's own, and the peer should hear that it has become larger.
    pub(super) fn window_has_opened(&self, mss: u32) -> bool {
        self.own_window && !self.finished && self.window.wants_update(&self.state(mss))
    }

    /// How many acknowledgements are due for segments after a gap. Several may have arrived in one burst, and a sender without SACK counts
    /// (RFC 5681 sections 3.2 and 4.2).
    pub(super) fn duplicates_due(&mut self) -> u8 {
        std::mem::take(&mut self.beyond)
    }

    /// A segment that acknowledges everything has left.
    pub(super) fn on_ack_sent(&mut self, with_payload: bool) {
        self.acked = self.next();
        self.policy.on_ack_sent(with_payload);
    }

    #[cfg(feature = "conformance")]
    pub(super) fn check_invariants(&self, config: &NativeConfig) {
        assert!(self.held() <= config.recv_buffer, "{} bytes in the receive buffer", self.held());
        let received = self.data.rcv_nxt();
        assert!(self.acked <= self.next() && self.data.end_of_known() >= received);
        assert!(self.fin.is_none_or(|fin| fin >= self.data.end_of_known()), "bytes after the FIN");
        assert!(!self.finished || self.fin == Some(received));
        assert!(self.window.edge().max(received) >= self.data.end_of_known(), "more than was permitted");
    }

    /// Everything before has been read by the layer above.
    fn read(&self) -> u64 {
        self.data.rcv_nxt() - self.data.buffered() as u64
    }

    fn state(&self, mss: u32) -> ReceiveState {
        ReceiveState {
            rcv_nxt: self.data.rcv_nxt(),
            read: self.read(),
            held: self.held() as u64,
            mss,
            pressure: self.pressure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Room = Room { in_order: 1 << 20, beyond: 0 };
    const PLENTY: Room = Room { in_order: 1 << 30, beyond: 1 << 30 };

    /// Nothing needs to arrive for that.
    #[test]
    fn memory_that_is_free_again_opens_the_window() {
        let mut receiver = Receiver::new(Instant::ZERO, &NativeConfig::default());
        let [short, plenty] = [SHORT, PLENTY].map(|room| {
            receiver.note_memory(room);
            receiver.window_field(Instant::ZERO, None, false, 1460)
        });
        assert!(short < plenty, "{short} {plenty}");
    }

    /// Next byte 100, window up to 200, with sequence numbers about to wrap.
    fn receiver() -> Receiver {
        let config = NativeConfig::default();
        let mut receiver = Receiver::new(Instant::ZERO, &config);
        receiver.peer_syn(Instant::ZERO, u32::MAX - 49, false, true, &config);
        receiver.window_field(Instant::ZERO, Some(200), true, 1000);
        receiver.window = ReceiveWindow::new(Instant::ZERO, 200, 200, 0);
        let take = Take { offset: 0, len: 100, fin: false, segment: 1000, marked: false };
        receiver.take(Instant::ZERO, &take, &mut std::iter::once(Bytes::from(vec![0; 100])), &config, PLENTY);
        receiver
    }

    fn check(offset: i32, len: usize, fin: bool) -> Arrival {
        let receiver = receiver();
        receiver.check(receiver.irs.wrapping_add(1).wrapping_add_signed(offset), len, fin)
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
        assert_eq!(check(-10, 20, false), Arrival::Outside);
    }

    /// RFC 8257 section 3.2, where several segments arrive before anything can leave.
    #[test]
    fn every_change_of_the_marks_has_its_acknowledgement() {
        let (mut receiver, config) = (receiver(), NativeConfig::default());
        let told = |receiver: &mut Receiver, segments: &[(u64, bool)]| {
            receiver.on_ack_sent(false);
            for &(offset, marked) in segments {
                let take = Take { offset, len: 10, fin: false, segment: 1000, marked };
                let piece = Bytes::from(vec![0; 10]);
                receiver.take(Instant::ZERO, &take, &mut std::iter::once(piece), &config, PLENTY);
            }
            let before: Vec<_> = std::iter::from_fn(|| receiver.take_before_mark()).collect();
            (before, receiver.echoes_mark())
        };
        receiver.echo_exactly();
        let segments = [(100, true), (110, false), (120, false), (130, true)];
        assert_eq!(told(&mut receiver, &segments), (vec![(110, true), (130, false)], true));
        // Behind a gap there is nothing new to acknowledge.
        assert_eq!(told(&mut receiver, &[(150, false), (160, true), (170, false)]), (vec![], false));
    }

    #[test]
    fn what_lies_ahead_is_no_duplicate_after_the_numbers_have_wrapped() {
        let mut receiver = receiver();
        let (config, mut offset) = (NativeConfig::default(), 100_u64);
        let piece = Bytes::from(vec![0; 1 << 20]);
        while offset < 5 << 30 {
            let take = Take { offset, len: piece.len(), fin: false, segment: 1000, marked: false };
            receiver.take(Instant::ZERO, &take, &mut std::iter::once(piece.clone()), &config, PLENTY);
            while receiver.pop().is_some() {}
            offset += piece.len() as u64;
        }
        let next = receiver.seq(offset);
        receiver.note_duplicate(next.wrapping_add(8 << 20), 1000);
        assert!(!receiver.has_more_to_tell());
        receiver.note_duplicate(next.wrapping_sub(1000), 1000);
        assert!(receiver.has_more_to_tell());
    }
}
