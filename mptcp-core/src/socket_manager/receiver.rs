//! Receiving: from the bytes of the subflows to the bytes of the application.

use bytes::Bytes;
use tcp_adapter::{IdleQueue, Instant};

use super::connection::{Altered, Connection, Doom, Plain, Protocol};
use super::shared::{Cx, Shared};
use crate::config::{ChecksumFailure, StackConfig};
use crate::event::{Event, FallbackCause, SubflowId};
use crate::keys::Idsn;
use crate::mib::Counter;
use crate::seq::{DataSeq, SubflowSeq};
use crate::stream::{Piece, Reassembly, ReceiveWindow, ReceivedMapping};
use crate::wire::{ChecksumAccumulator, ResetReason, verify_dss_checksum};

/// Fragments beyond a gap that a connection holds at most, whatever their size.
const MAX_FRAGMENTS: usize = 16_384;

/// Bytes that a fragment beyond a gap takes besides its payload, about.
const FRAGMENT_COST: usize = 256;

/// Receive side of a connection.
#[derive(Debug)]
pub(crate) struct Receiver {
    pub(crate) stream: Reassembly,
    /// Bytes before its first one: those that came with the SYN.
    pub(crate) early: IdleQueue<Bytes>,
    pub(crate) window: ReceiveWindow,
    /// Position of the peer's DATA_FIN, once known.
    pub(crate) fin: Option<u64>,
    /// Everything up to and including the DATA_FIN has arrived.
    finished: bool,
    /// A window update would let the peer go on.
    update_wanted: bool,
}

impl Receiver {
    pub(crate) fn new(config: &StackConfig) -> Self {
        let mut window = ReceiveWindow::new(config.recv_buffer_initial, config.recv_buffer_max);
        // The SYN announces the first window, so data may come for it before any other segment leaves. Its field is not scaled.
        window.advertise(0, window.buffer().saturating_sub(u16::MAX.into()), 0);
        Self {
            stream: Reassembly::new(MAX_FRAGMENTS),
            early: IdleQueue::new(),
            window,
            fin: None,
            finished: false,
            update_wanted: false,
        }
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.finished
    }

    /// Whether there are bytes that the application can read.
    #[inline]
    pub(crate) fn is_readable(&self) -> bool {
        self.stream.readable() > 0 || self.early_len() > 0
    }

    /// Bytes held, in order or not, and what it takes to keep them apart.
    #[inline]
    pub(crate) fn held(&self) -> usize {
        self.stream.held() + self.stream.fragments() * FRAGMENT_COST + self.early_len()
    }

    #[inline]
    fn early_len(&self) -> usize {
        // Few connections ever have any.
        if self.early.is_empty() { 0 } else { self.early.iter().map(Bytes::len).sum() }
    }

    /// The next bytes in order, at most `max`; `None` if there are none.
    fn next_bytes(&mut self, max: usize) -> Option<Bytes> {
        let Some(first) = self.early.front_mut() else { return self.stream.read(max) };
        let bytes = first.split_to(max.min(first.len()));
        if first.is_empty() {
            self.early.pop_front();
        }
        Some(bytes).filter(|bytes| !bytes.is_empty())
    }

    /// The position that a DATA_ACK acknowledges up to: one more once the DATA_FIN is consumed.
    pub(crate) fn ack_position(&self) -> u64 {
        self.stream.rcv_nxt() + u64::from(self.finished)
    }

    /// The window to advertise in bytes, relative to [`ack_position`](Self::ack_position), in a segment whose window field is
    /// scaled by `shift`.
    pub(crate) fn advertise(&mut self, shift: u8, shared: &mut Shared) -> u32 {
        let unread = self.unavailable(shared);
        self.window.advertise(self.stream.rcv_nxt(), unread, shift)
    }

    /// Bytes of the buffer that are no room for more: those that were not read, and those for which the stack lacks memory.
    fn unavailable(&self, shared: &mut Shared) -> usize {
        let unread = self.stream.readable();
        if shared.memory_unreserved() >= self.window.buffer() {
            // All of the buffer can be promised.
            return unread;
        }
        let promised = shared.memory_to_promise().saturating_add(self.stream.out_of_order());
        let lacking = self.window.buffer().saturating_sub(promised);
        // Once there is more, the peer is told.
        shared.memory_awaited |= lacking > unread && !shared.memory_ample();
        unread.max(lacking)
    }

    /// Has it looked at whether the window has opened: there is more memory.
    pub(crate) fn reconsider_window(&mut self) {
        self.update_wanted = true;
    }

    /// Takes the peer's word that its stream ends at `position`; the first word counts.
    pub(crate) fn learn_fin(&mut self, position: u64) {
        if self.fin.is_none() && position >= self.stream.rcv_nxt() {
            self.fin = Some(position);
        }
    }

    /// A DATA_FIN that is not consumed says nothing after a fallback: the subflow's FIN is the end, and a middlebox may have changed how
    /// many bytes there are before it.
    pub(crate) fn forget_fin(&mut self) {
        if !self.finished {
            self.fin = None;
        }
    }

    /// Consumes the DATA_FIN once everything before it is there; true the first time.
    fn consume_fin(&mut self) -> bool {
        let reached = !self.finished && self.fin == Some(self.stream.rcv_nxt());
        self.finished |= reached;
        reached
    }
}

impl Connection {
    /// Takes what TCP has received on a subflow.
    pub(crate) fn pull(&mut self, id: SubflowId, cx: &mut Cx<'_>) {
        let Some(subflow) = self.subflow(id) else { return };
        let tcp = subflow.tcp;
        let before = self.receiver.stream.rcv_nxt();
        // Slices whose positions follow each other are put in order together.
        let (mut start, mut gathered) = (0_u64, 0_usize);
        while let Some(mut received) = cx.tcp.recv(tcp) {
            self.take_early(id, &mut received, cx);
            if received.bytes.is_empty() {
                continue;
            }
            let rx_base = match self.protocol {
                Protocol::Plain(Plain { rx_base, .. }) => Some(rx_base),
                Protocol::Negotiating(_) | Protocol::Multipath(_) => None,
            };
            let Some(subflow) = self.subflow_mut(id) else { return };
            let len = received.bytes.len();
            subflow.bytes_received += len as u64;
            if let Some(terms) = subflow.capped() {
                cx.shared.policy.carried(terms, len as u64);
            }
            let position = match rx_base {
                None if subflow.altered => None,
                None => subflow.reader.pass(&mut subflow.received, received.offset, len),
                // What a join carried when the connection fell back has no place in the stream.
                Some(_) if subflow.is_join() => continue,
                Some(base) => Some(received.offset.wrapping_add(base)),
            };
            let Some(position) = position else {
                subflow.reader.push(received.offset, received.bytes);
                continue;
            };
            if gathered == 0 {
                start = position;
            } else if position != start.saturating_add(gathered as u64) {
                self.deliver_slices(start, gathered, cx);
                (start, gathered) = (position, 0);
            }
            gathered += len;
            cx.shared.slices.push(received.bytes);
        }
        if gathered > 0 {
            self.deliver_slices(start, gathered, cx);
        }
        self.read_mapped(id, cx);
        if self.receiver.stream.rcv_nxt() > before {
            self.note_use(id);
        }
    }

    /// Cuts the bytes of a subflow by their mappings and puts them in order.
    pub(crate) fn read_mapped(&mut self, id: SubflowId, cx: &mut Cx<'_>) {
        while let Protocol::Multipath(state) = &self.protocol {
            let idsn = state.remote.idsn;
            let Some(subflow) = self.subflow_mut(id).filter(|subflow| !subflow.altered) else { return };
            let (reader, maps) = (&mut subflow.reader, &mut subflow.received);
            match reader.next(maps, |mapping, bytes| checksum_fits(idsn, mapping, bytes)) {
                Some(Piece::Data { pos, bytes }) => self.deliver(pos, bytes, cx),
                Some(Piece::ChecksumFailed { mapping, bytes }) => {
                    self.checksum_failed(id, mapping.pos, idsn, bytes, cx);
                    if self.multipath().is_some() {
                        return;
                    }
                }
                None => break,
            }
        }
        self.settle_memory(cx.shared);
        self.watch_unmapped(id, cx);
        self.drain_after_fallback(id, cx);
        self.check_fin(cx);
    }

    /// Puts bytes at their position of the stream.
    fn deliver(&mut self, position: u64, bytes: Bytes, cx: &mut Cx<'_>) {
        let len = bytes.len();
        cx.shared.slices.push(bytes);
        self.deliver_slices(position, len, cx);
    }

    /// Where those bytes must end, of `len` from `position` on, that there is memory for.
    ///
    /// What was not DATA_ACKed can be dropped (RFC 8684 section 3.3.2). What is next in order takes the place of what nobody can read without it.
    /// Where there has been a single path, or after a fallback, it is kept all the same: peers do not repeat there what TCP has acknowledged, as it
    /// would be new data to one that has fallen back (section 3.7).
    fn memory_edge(&mut self, position: u64, len: usize, shared: &mut Shared) -> u64 {
        let next = self.receiver.stream.rcv_nxt();
        let in_order = position <= next;
        let room = match in_order {
            true => shared.memory_room(),
            // They may be a fragment of their own.
            false => shared.memory_unreserved().saturating_sub(FRAGMENT_COST),
        };
        if len <= room || self.multipath().is_none_or(|state| state.single_path && in_order) {
            return u64::MAX;
        }
        let start = position.max(next);
        let new = position.saturating_add(len as u64).saturating_sub(start);
        let missing = usize::try_from(new).unwrap_or(usize::MAX).saturating_sub(room);
        let pruned = if in_order { self.receiver.stream.prune(missing) } else { 0 };
        shared.mib.add(Counter::RcvPruned, pruned as u64);
        start.saturating_add((room + pruned) as u64)
    }

    /// Puts the slices that are on their way, of `len` bytes together, at their position of the stream.
    fn deliver_slices(&mut self, position: u64, len: usize, cx: &mut Cx<'_>) {
        let count = cx.shared.slices.len() as u64;
        self.settle_memory_if_scarce(cx.shared);
        let fits = self.memory_edge(position, len, cx.shared);
        let receiver = &mut self.receiver;
        // Bytes after the DATA_FIN do not belong to the stream.
        let edge = receiver.fin.unwrap_or(u64::MAX).min(receiver.window.accepted_edge()).min(fits);
        let inserted = receiver.stream.insert_all(position, &mut cx.shared.slices, edge);
        self.settle_memory_if_scarce(cx.shared);
        self.uses_queues(cx.now);
        let mib = &mut cx.shared.mib;
        mib.add(Counter::DuplicateData, inserted.duplicate as u64);
        mib.add(Counter::RcvPruned, inserted.beyond as u64);
        if inserted.advanced {
            if self.app.released {
                // No one will read this: as TCP resets a connection whose receiver is gone (RFC 9293 section 3.6.1).
                tracing::debug!(conn = %self.id, "data after close");
                self.fast_close(cx);
                return;
            }
            self.tell_readable(cx.shared);
        } else if inserted.new > 0 {
            mib.add(Counter::OFOQueue, count);
        }
    }

    /// Tells the application of bytes, once until it has read them all.
    pub(crate) fn tell_readable(&mut self, shared: &mut Shared) {
        if self.app.announced && !self.app.told_readable && self.receiver.is_readable() {
            self.app.told_readable = true;
            shared.events.push_back(Event::Readable(self.id));
        }
    }

    /// Tells the application of the end of the peer's stream, once all before it has arrived.
    #[inline]
    pub(crate) fn check_fin(&mut self, cx: &mut Cx<'_>) {
        if self.receiver.fin.is_some() {
            self.reach_fin(cx);
        }
    }

    #[inline(never)]
    fn reach_fin(&mut self, cx: &mut Cx<'_>) {
        if self.receiver.consume_fin() {
            self.acknowledge(cx);
        }
        if self.receiver.finished && self.app.announced && !self.app.told_finished {
            self.app.told_finished = true;
            cx.shared.events.push_back(Event::Finished(self.id));
        }
    }

    /// The application takes bytes.
    pub(crate) fn read(&mut self, max: usize, cx: &mut Cx<'_>) -> Option<Bytes> {
        let bytes = self.receiver.next_bytes(max);
        self.app.told_readable &= self.receiver.is_readable();
        let bytes = bytes?;
        let subflows = &self.subflows;
        let slowest = || {
            // While memory is scarce, buffers stay as they are.
            let usable = subflows.iter().filter(|subflow| subflow.usable() && !cx.shared.memory_scarce());
            usable.filter_map(|subflow| Some(cx.tcp.round_trip(subflow.tcp)?.smoothed)).max()
        };
        self.receiver.window.on_read(cx.now, bytes.len(), slowest);
        self.receiver.update_wanted = true;
        self.settle_memory_if_scarce(cx.shared);
        Some(bytes)
    }

    /// Announces a window that has opened far enough to matter.
    ///
    /// Only when less than half the buffer is on offer: otherwise the sender is not waiting, and the next
    /// acknowledgement tells it in passing.
    pub(crate) fn update_window(&mut self, cx: &mut Cx<'_>) {
        /// For the silly-window rule any usual segment size will do.
        const SEGMENT: usize = 1460;
        if !std::mem::take(&mut self.receiver.update_wanted) || self.closed.is_some() {
            return;
        }
        let receiver = &self.receiver;
        let offered = receiver.window.right_edge().saturating_sub(receiver.stream.rcv_nxt());
        let (nxt, unread) = (receiver.stream.rcv_nxt(), receiver.unavailable(cx.shared));
        if offered < receiver.window.buffer() as u64 / 2 && receiver.window.update_needed(nxt, unread, SEGMENT) {
            self.acknowledge(cx);
        }
    }

    /// Sends a segment without payload on every subflow that can: any of them may be lost.
    pub(crate) fn acknowledge(&mut self, cx: &mut Cx<'_>) {
        for subflow in self.subflows.iter().filter(|subflow| subflow.alive()) {
            cx.tcp.ack_now(cx.now, subflow.tcp);
        }
    }

    /// A subflow whose bytes lack a mapping for a window's worth of data, or for too long, is broken (RFC 8684
    /// sections 3.3.1 and 3.7).
    fn watch_unmapped(&mut self, id: SubflowId, cx: &mut Cx<'_>) {
        let buffer = self.receiver.window.buffer();
        let now = cx.now;
        let Some(subflow) = self.subflow_mut(id) else { return };
        if subflow.reader.unmapped() == 0 {
            subflow.unmapped_since = None;
            return;
        }
        subflow.unmapped_since.get_or_insert(now);
        // Of all together: each could bring a window's worth.
        let unmapped: usize = self.subflows.iter().map(|subflow| subflow.reader.unmapped()).sum();
        if unmapped >= buffer {
            self.break_unmapped(id, cx);
        } else if cx.shared.memory_held > cx.shared.config.memory_limit {
            // They cannot be told from others that are next in order, which there must be room for.
            self.doom(id, Doom::Reason(ResetReason::LackOfResources));
        }
    }

    pub(crate) fn break_unmapped(&mut self, id: SubflowId, cx: &mut Cx<'_>) {
        cx.shared.mib.bump(Counter::DSSNotMatching);
        self.doom(id, Doom::Reason(ResetReason::MiddleboxInterference));
    }

    /// The payload was altered on the way (RFC 8684 section 3.7).
    ///
    /// To go on without mappings its bytes must be the next ones: of others, such as a repetition, nothing can be told.
    fn checksum_failed(&mut self, id: SubflowId, mut position: u64, idsn: Idsn, bytes: Vec<Bytes>, cx: &mut Cx<'_>) {
        let dsn = DataSeq::at(idsn, position);
        cx.shared.mib.bump(Counter::DataCsumErr);
        tracing::debug!(conn = %self.id, subflow = %id, ?dsn, "DSS checksum failed");
        if !self.can_fall_back() || position != self.receiver.stream.rcv_nxt() {
            cx.shared.mib.bump(Counter::MPFailTx);
            if let Some(subflow) = self.subflow_mut(id) {
                subflow.altered = true;
            }
            self.doom(id, Doom::Fail(dsn.0));
            return;
        }
        match cx.shared.config.checksum_failure {
            ChecksumFailure::Abort => self.fast_close(cx),
            ChecksumFailure::FallBack => {
                let altered: u64 = bytes.iter().map(|slice| slice.len() as u64).sum();
                self.fall_back(FallbackCause::ChecksumFailed, altered, cx.shared);
                self.send_fail(dsn, cx);
                for slice in bytes {
                    let len = slice.len() as u64;
                    self.deliver(position, slice, cx);
                    position += len;
                }
            }
        }
    }

    /// Answers on the subflow itself, which stays: MP_FAIL on an ACK, and again as long as it seems to have been lost.
    pub(crate) fn send_fail(&mut self, dsn: DataSeq, cx: &mut Cx<'_>) {
        cx.shared.mib.bump(Counter::MPFailTx);
        if let Protocol::Plain(plain) = &mut self.protocol {
            plain.altered = Some(Box::new(Altered { dsn: dsn.0, again: None }));
        }
        if let Some(subflow) = self.subflows.first_mut() {
            subflow.ack_wanted = true;
        }
    }

    /// After a fallback, bytes that waited for a mapping follow without one.
    #[inline]
    pub(crate) fn drain_after_fallback(&mut self, id: SubflowId, cx: &mut Cx<'_>) {
        let Protocol::Plain(Plain { rx_base, .. }) = self.protocol else { return };
        let Some(subflow) = self.subflow_mut(id) else { return };
        subflow.unmapped_since = None;
        if subflow.reader.waiting() > 0 {
            self.deliver_unmapped(id, rx_base, cx);
        }
    }

    #[inline(never)]
    fn deliver_unmapped(&mut self, id: SubflowId, rx_base: u64, cx: &mut Cx<'_>) {
        while let Some((offset, bytes)) = self.subflow_mut(id).and_then(|subflow| subflow.reader.take_unmapped()) {
            self.deliver(offset.wrapping_add(rx_base), bytes, cx);
        }
    }

    /// Subflows whose unmapped bytes have waited too long by now.
    pub(crate) fn unmapped_overdue(&self, now: Instant, timeout: std::time::Duration) -> Option<SubflowId> {
        let overdue = |since: Instant| since + timeout <= now;
        self.subflows.iter().find(|subflow| subflow.unmapped_since.is_some_and(overdue)).map(|subflow| subflow.id)
    }
}

/// Whether the checksum of a mapping fits its bytes (RFC 8684 section 3.3.1, Figure 10).
fn checksum_fits(idsn: crate::keys::Idsn, mapping: &ReceivedMapping, bytes: &[Bytes]) -> bool {
    let Some(received) = mapping.checksum else { return true };
    let mut sum = ChecksumAccumulator::new();
    for slice in bytes {
        sum.add(slice);
    }
    // The DATA_FIN counts in the length of the mapping though it has no byte (section 3.3.3).
    let Ok(len) = u16::try_from(mapping.len + u32::from(mapping.data_fin)) else { return false };
    let ssn = SubflowSeq::from_offset(mapping.offset);
    verify_dss_checksum(DataSeq::at(idsn, mapping.pos).0, ssn.0, len, sum.sum(), received)
}
