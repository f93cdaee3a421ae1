//! Sending: from the bytes of the application to mappings on subflows, and their acknowledgement.

use std::ops::Range;

use bytes::Bytes;
use tcp_adapter::{Instant, TcpId};

use super::connection::{Connection, Protocol};
use super::outlet::Outlet;
use super::policy::send_room;
use super::repetition::Repetition;
use super::restraint::Restraint;
use super::shared::Cx;
use super::views::{Views, shrink};
use crate::event::Event;
use crate::keys::Idsn;
use crate::observe::Observation;
use crate::scheduler::{self, DataView, Decision, Message, Sent, SubflowView, TrafficClass};
use crate::seq::{DataSeq, SubflowSeq};
use crate::stream::{Gathered, Messages, ReinjectQueue, SendQueue, SentMapping};
use crate::wire::{ChecksumAccumulator, dss_checksum};

/// Bytes of one mapping at most: the Data-Level Length has 16 bits, and one of them is left for
/// a DATA_FIN.
pub(crate) const MAX_MAPPING: usize = 65_534;

/// How far our DATA_FIN has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fin {
    /// The application may still write.
    Open,
    /// It has closed; the DATA_FIN leaves after the data.
    Queued,
    /// It was sent at least once.
    Sent,
    /// It is acknowledged.
    Acked,
}

/// Send side of a connection.
#[derive(Debug)]
pub(crate) struct Sender {
    pub(crate) queue: SendQueue,
    pub(crate) messages: Messages,
    pub(crate) reinject: ReinjectQueue,
    /// First position that the peer's window does not allow; it only grows (RFC 8684 section 3.3.5).
    pub(crate) window_end: u64,
    pub(crate) fin: Fin,
    /// When to send again at the connection level.
    pub(crate) data_rto_at: Option<Instant>,
    /// DATA-RTOs in a row.
    pub(crate) timeouts: u32,
    /// When the first of them was armed.
    pub(crate) stalled_since: Instant,
    /// A DATA_ACK has come since the last one, be it an old one.
    pub(crate) answered: bool,
    /// What was last sent again as no subflow held it any more.
    pub(crate) repetition: Repetition,
    /// When to probe a closed window.
    pub(crate) window_probe_at: Option<Instant>,
    pub(crate) window_probes: u16,
    /// What the application has had its sending held to, if anything.
    pub(crate) restraint: Option<Box<Restraint>>,
    pub(crate) bytes_reinjected: u64,
}

impl Sender {
    pub(crate) fn new() -> Self {
        Self {
            queue: SendQueue::new(),
            messages: Messages::default(),
            reinject: ReinjectQueue::new(),
            window_end: 0,
            fin: Fin::Open,
            data_rto_at: None,
            timeouts: 0,
            stalled_since: Instant::ZERO,
            answered: false,
            repetition: Repetition::new(),
            window_probe_at: None,
            window_probes: 0,
            restraint: None,
            bytes_reinjected: 0,
        }
    }

    pub(crate) fn is_shut(&self) -> bool {
        self.fin != Fin::Open
    }

    /// Takes a connection-level acknowledgement of everything before `position`, one past the data for the DATA_FIN.
    /// False if it acknowledges what was never sent: such a segment must not be believed.
    pub(crate) fn acknowledged(&mut self, position: u64) -> bool {
        let fin_sent = matches!(self.fin, Fin::Sent | Fin::Acked);
        let most = self.queue.nxt() + u64::from(fin_sent && self.queue.nxt() == self.queue.end());
        if position > most {
            return false;
        }
        let freed = self.queue.ack(position.min(self.queue.nxt()));
        self.reinject.acked(self.queue.una());
        self.messages.acked(self.queue.una());
        let fin_acked = self.fin == Fin::Sent && position > self.queue.end();
        if fin_acked {
            self.fin = Fin::Acked;
        }
        if freed > 0 || fin_acked {
            self.timeouts = 0;
            self.data_rto_at = None;
        }
        true
    }

    /// Moves the right edge of the peer's window; true if it moved.
    pub(crate) fn open_window(&mut self, edge: u64) -> bool {
        let moved = edge > self.window_end;
        if moved {
            self.window_end = edge;
            self.window_probe_at = None;
            self.window_probes = 0;
        }
        moved
    }

    /// Something waits for a DATA_ACK.
    pub(crate) fn outstanding(&self) -> bool {
        self.queue.una() < self.queue.sent_end() || self.fin == Fin::Sent
    }
}

/// How many of `len` bytes go to TCP, where there is room for `room` and `available` are at hand: whole segments, unless the data
/// or a large write of the application ends. Bytes of two calls into TCP never share a segment, so whatever else ended
/// in a short one would leave all segments after it cut in two. Nothing, if room for a whole segment must be waited for.
///
/// The first segment carries `cost` bytes less than the others. If the last one must be `full` too, the end of the data waits for more.
fn whole_segments(len: usize, mss: usize, cost: usize, room: usize, available: u64, full: bool) -> usize {
    let carried = len + cost;
    let ends = if len as u64 >= available { !full } else { carried < mss && len < room };
    if ends { len } else { len.saturating_sub(carried % mss) }
}

impl Connection {
    /// The application writes; takes what there is room for.
    pub(crate) fn write(&mut self, mut bytes: Bytes, cx: &mut Cx<'_>) -> usize {
        // What the peer has acknowledged meanwhile is free.
        self.settle_memory_if_scarce(cx.shared);
        let room = cx.shared.config.send_buffer.saturating_sub(self.sender.queue.len());
        let taken = room.min(cx.shared.memory_unreserved()).min(bytes.len());
        self.app.wants_room = taken < bytes.len();
        cx.shared.memory_awaited |= taken < room.min(bytes.len());
        if taken > 0 {
            self.uses_queues(cx.now);
            self.sender.queue.push(bytes.split_to(taken));
            self.settle_memory(cx.shared);
        }
        taken
    }

    /// The application writes a part of a message, the last one if `ends`; takes what there is room for.
    pub(crate) fn write_message(&mut self, bytes: Bytes, message: Message, cx: &mut Cx<'_>) -> usize {
        let len = bytes.len();
        self.sender.messages.begin(self.sender.queue.end(), message.class, message.deadline);
        let taken = self.write(bytes, cx);
        if message.ends && taken == len {
            self.sender.messages.end_at(self.sender.queue.end());
        }
        taken
    }

    /// Tells an application that waits for room once a good part of the buffer is free, and memory for it.
    #[inline]
    pub(crate) fn offer_room(&mut self, cx: &mut Cx<'_>) {
        if self.app.wants_room {
            self.offer_wanted_room(cx);
        }
    }

    fn offer_wanted_room(&mut self, cx: &mut Cx<'_>) {
        let room = cx.shared.config.send_buffer.saturating_sub(self.sender.queue.len());
        if room < cx.shared.config.send_buffer / 4 {
            return;
        }
        if cx.shared.memory_ample() {
            self.app.wants_room = false;
            cx.shared.events.push_back(Event::Writable(self.id));
        } else {
            cx.shared.memory_awaited = true;
        }
    }

    /// Gives subflows what may be sent now: first what must go again, then new data.
    pub(crate) fn push(&mut self, cx: &mut Cx<'_>) {
        match cx.shared.shares {
            None => self.push_class(None, cx),
            Some(_) => self.push_in_turn(cx),
        }
        if matches!(self.protocol, Protocol::Multipath(_)) {
            // Whoever's turn it is.
            self.arm_window_probe_if_shut(cx.now);
        }
        if !matches!(self.protocol, Protocol::Negotiating(_)) {
            self.arm_data_rto(cx);
            self.await_release(cx.now);
        }
    }

    /// The same for bytes of one class, with as much as it may have; `None`: of all, where classes do not share.
    #[inline]
    pub(crate) fn push_class(&mut self, class: Option<TrafficClass>, cx: &mut Cx<'_>) {
        match self.protocol {
            Protocol::Negotiating(_) => {}
            // One that only receives has nothing to send after each segment.
            Protocol::Plain(_) if self.sender.queue.unsent() == 0 => {}
            Protocol::Multipath(_) if self.sender.queue.is_empty() && self.sender.reinject.is_empty() => {}
            Protocol::Plain(_) => self.push_plain(class, cx),
            Protocol::Multipath(_) => self.push_mapped(class, cx),
        }
    }

    fn push_plain(&mut self, class: Option<TrafficClass>, cx: &mut Cx<'_>) {
        let Some(index) = self.subflows.iter().position(|subflow| subflow.usable()) else { return };
        let tcp = self.subflows[index].tcp;
        if send_room(&self.subflows[index], cx) > 0 {
            self.fill_plain(index, tcp, class, cx);
        }
    }

    /// Gives the subflow of a connection without Multipath TCP what it has room for.
    #[inline(never)]
    fn fill_plain(&mut self, index: usize, tcp: TcpId, class: Option<TrafficClass>, cx: &mut Cx<'_>) {
        let mss = cx.tcp.send_limits(tcp).map_or(1, |limits| limits.mss.max(1));
        while self.is_of(class) {
            let share = self.allowance(tcp, class, cx);
            let room = send_room(&self.subflows[index], cx).min(MAX_MAPPING).min(share);
            let room = room.min(self.rate_allowance(mss, cx.now));
            // A share may be less than the longest of segments ever.
            let mss = mss.min(share.max(1));
            let unsent = self.sender.queue.unsent();
            let position = self.sender.queue.nxt();
            let same = class
                .and_then(|_| self.sender.messages.class_at(position, MAX_MAPPING as u64).1)
                .map_or(u64::MAX, |end| end - position);
            let (room, unsent) = (room.min(usize::try_from(same).unwrap_or(usize::MAX)), unsent.min(same));
            let Some(mut bytes) = self.sender.queue.gather(position, room) else { break };
            let full = self.must_fill_segments(position + unsent);
            bytes.truncate(whole_segments(bytes.len(), mss, 0, room, unsent, full));
            if bytes.is_empty() || self.give(index, position, bytes, false, cx).is_none() {
                break;
            }
        }
    }

    fn push_mapped(&mut self, class: Option<TrafficClass>, cx: &mut Cx<'_>) {
        if let Some(lone) = self.lone_subflow(cx) {
            return self.push_lone(lone, class, cx);
        }
        // Most of the time there is nothing to give, or nothing can take more.
        if !self.has_work(cx) {
            return;
        }
        // While nothing is under way there is room nearly always, which the look itself shows.
        let room_shows = self.sender.queue.una() == self.sender.queue.sent_end() && self.waits_for_worth(cx);
        if !room_shows && !self.has_room(cx) {
            return;
        }
        let mut views = Views::new();
        self.look(&mut views, cx);
        if room_shows && views.iter().all(|view| view.room == 0) {
            return;
        }
        self.cut_to_share(&mut views, class, cx);
        if views.len() > 1 && self.scheduler.duplicates() {
            self.repair_overtaken(&views, cx);
        }
        while !self.sender.reinject.is_empty() && self.is_of(class) && self.push_again(&mut views, cx) {
            self.cut_to_share(&mut views, class, cx);
        }
        while self.is_of(class) && self.push_new(&mut views, cx) {
            self.cut_to_share(&mut views, class, cx);
        }
        if views.len() > 1 {
            self.unblock_window(&mut views, cx);
            self.cut_to_rate(&mut views, cx.now);
            while self.scheduler.duplicates() && self.push_duplicate(&mut views, cx) {
                self.cut_to_rate(&mut views, cx.now);
            }
        }
    }

    /// Whether there is anything that a subflow might be given.
    fn has_work(&self, cx: &Cx<'_>) -> bool {
        let queue = &self.sender.queue;
        if !self.sender.reinject.is_empty() || queue.unsent_before(self.sender.window_end) > 0 {
            return true;
        }
        let under_way = queue.una() < queue.nxt() && self.subflows.len() > 1;
        under_way && (self.scheduler.duplicates() || self.may_unblock_window(cx))
    }

    /// Sends one stretch of new data; false if there is none, no window or no room.
    fn push_new(&mut self, views: &mut [SubflowView], cx: &mut Cx<'_>) -> bool {
        let edge = self.sender.window_end;
        let in_order = self.multipath().is_none_or(|state| state.single_path);
        let queue = &self.sender.queue;
        let available = queue.unsent_before(edge);
        if available == 0 || views.iter().all(|view| view.room == 0) {
            return false;
        }
        let position = queue.nxt();
        if self.must_fill_segments(position + available) && available < shortest_segment(views) {
            return false;
        }
        let data = DataView {
            now: cx.now,
            position,
            una: queue.una(),
            available,
            unsent: queue.unsent(),
            window: edge.saturating_sub(position),
            reinjection: false,
            message: self.sender.messages.at(position),
        };
        let decision = self.choose(views, &data);
        // Bytes may only be left out where they may also be sent on two subflows: a fallback needs them in order (RFC 8684 section 3.7).
        let left_out = |decision: &Decision| if in_order { 0 } else { whole_gap(decision, views) };
        let decision = decision.filter(|decision| left_out(decision) < available).or_else(|| overrule(views));
        let Some(decision) = decision else { return false };
        let (chosen, queue) = (Outlet::from(&views[decision.subflow]), &self.sender.queue);
        if is_silly(queue, available, chosen.mss) {
            return false;
        }
        let stretch = queue.unsent_after(left_out(&decision));
        let sent = self.send_new(&chosen, stretch, decision.len, cx);
        shrink(views, chosen.id, sent);
        sent > 0
    }

    /// Sends the beginning of a stretch of new data, `len` bytes of it at most, on the subflow that was chosen. Returns how much that was.
    pub(crate) fn send_new(&mut self, chosen: &Outlet, stretch: Range<u64>, len: usize, cx: &mut Cx<'_>) -> u64 {
        // It may be of another class than what is sent again first, or than what is left out.
        let (share, until) = self.share(chosen.id, stretch.start, cx);
        if share == 0 {
            self.wait(self.sender.messages.at(stretch.start).class, true, cx);
            return 0;
        }
        let until = stretch.end.min(until);
        let available = until.min(self.sender.window_end).saturating_sub(stretch.start);
        let full = self.must_fill_segments(stretch.start + available);
        let len = len.min(chosen.room).min(share).min(MAX_MAPPING);
        let len = len.min(usize::try_from(available).unwrap_or(MAX_MAPPING));
        let Some(mut bytes) = self.sender.queue.gather(stretch.start, len) else { return 0 };
        // Whoever has chosen has seen to it that there is room for a segment.
        let mut len = whole_segments(bytes.len(), chosen.mss.max(1), chosen.mapping_cost, usize::MAX, available, full);
        if len == 0 {
            return 0;
        }
        if len as u64 == available && available < until - stretch.start {
            len -= chosen.scrap(len);
        }
        bytes.truncate(len);
        let Some((_, sent)) = self.map(chosen, stretch.start, bytes, cx) else { return 0 };
        let sent = u64::from(sent);
        let range = stretch.start..stretch.start + sent;
        self.scheduler.on_sent(&Sent { now: cx.now, subflow: chosen.id, range, again: false });
        sent
    }

    /// Asks the scheduler, where there is a choice.
    pub(crate) fn choose(&mut self, views: &[SubflowView], data: &DataView) -> Option<Decision> {
        let decision = match views {
            [only] => {
                let room = only.room.min(self.longest_alone(only.pacing_rate, only.mss));
                let len = scheduler::len_alone(room, only.mss, data.available);
                len.map(|len| Decision { subflow: 0, len, skip: 0 })
            }
            _ => self.scheduler.pick(views, data),
        };
        decision.and_then(|decision| decision.sound(views, MAX_MAPPING))
    }

    /// Maps bytes to the subflow that the scheduler chose and gives them to its TCP. Tells where in the data they begin, and
    /// how many of them it has taken; `None` if none.
    #[inline]
    pub(crate) fn map(
        &mut self,
        chosen: &Outlet,
        position: u64,
        bytes: Gathered,
        cx: &mut Cx<'_>,
    ) -> Option<(DataSeq, u32)> {
        let (id, once) = (chosen.id, chosen.mapping_cost > 0);
        let idsn = self.multipath()?.local.idsn;
        let index = self.subflow_index(id)?;
        let conn = self.id;
        self.give(index, position, bytes, once, cx).map(|len| {
            let dsn = DataSeq::at(idsn, position);
            cx.shared.observations.note(|| Observation::Scheduled { conn, subflow: id, dsn, len });
            (dsn, len)
        })
    }

    /// Gives bytes to a subflow's TCP, as one mapping. Returns how many of them it has taken; `None` if none.
    fn give(&mut self, index: usize, position: u64, bytes: Gathered, once: bool, cx: &mut Cx<'_>) -> Option<u32> {
        let summed = self.multipath().filter(|state| state.checksum).map(|state| (state.local.idsn, bytes.clone()));
        let Gathered { first, second } = bytes;
        let mut taken = first.len();
        let subflow = &mut self.subflows[index];
        if let Err(error) = cx.tcp.send(cx.now, subflow.tcp, first, position) {
            tracing::debug!(conn = %self.id, subflow = %subflow.id, %error, "subflow takes no data");
            return None;
        }
        if !second.is_empty() {
            let len = second.len();
            taken += cx.tcp.append(cx.now, subflow.tcp, second).map_or(0, |()| len);
        }
        let len = u32::try_from(taken).ok()?;
        let checksum = summed.map(|(idsn, mut bytes)| {
            bytes.truncate(taken);
            mapping_checksum(idsn, position, subflow.next_offset, &bytes)
        });
        self.charge(index, position, u64::from(len), cx);
        self.count_against_rate(u64::from(len), cx.now);
        let subflow = &mut self.subflows[index];
        subflow.sent.push(SentMapping { offset: subflow.next_offset, pos: position, len, checksum, once });
        subflow.next_offset += u64::from(len);
        subflow.count(&mut cx.shared.policy, cx.now, u64::from(len));
        subflow.waiting_since.get_or_insert(cx.now);
        self.expect_answers(index, cx);
        self.sender.queue.mark_sent(position..position + u64::from(len));
        tracing::trace!(conn = %self.id, subflow = %self.subflows[index].id, position, len, "mapped");
        Some(len)
    }
}

/// Payload bytes that a segment must have to be full on any of the subflows, with its mapping.
fn shortest_segment(views: &[SubflowView]) -> u64 {
    views.iter().map(|view| view.mss.saturating_sub(view.mapping_cost)).min().unwrap_or(0) as u64
}

/// Bytes to leave out, for other subflows to fill with whole segments: what their mappings take is left out of it, or each time something
/// short would be left over. It takes most where each segment is a mapping of its own.
fn whole_gap(decision: &Decision, views: &[SubflowView]) -> u64 {
    if decision.skip == 0 {
        return 0;
    }
    let cost = views.iter().map(|view| view.mapping_cost).max().unwrap_or(0) as u64;
    let mss = views[decision.subflow].mss.max(1) as u64;
    decision.skip.saturating_sub(decision.skip.div_ceil(mss) * cost)
}

/// Whether so little is available only because the window of the peer is nearly closed. A mapping of that little would come back as a
/// small acknowledgement, which makes the next one smaller still (RFC 9293 section 3.8.6.2.1); no TCP can avoid it, as it never
/// puts two mappings into one segment. Once nothing is outstanding, nothing more comes back, and it leaves.
pub(crate) fn is_silly(queue: &SendQueue, available: u64, mss: usize) -> bool {
    available < queue.unsent().min(mss as u64) && queue.una() < queue.nxt()
}

/// A scheduler that waits although nothing is under way would wait for ever: takes the subflow with the lowest round-trip time.
fn overrule(views: &[SubflowView]) -> Option<Decision> {
    if views.iter().any(|view| view.outstanding() > 0) {
        return None;
    }
    // A regular one without room is waited for: its policy or its share lets it have some in time (RFC 8684 section 3.3.8).
    let only_backups = views.iter().all(|view| view.backup);
    let with_room = views.iter().enumerate().filter(|(_, view)| view.room > 0 && (only_backups || !view.backup));
    let (subflow, view) = with_room.min_by_key(|(_, view)| view.srtt)?;
    Some(Decision { subflow, len: view.mss.max(1), skip: 0 })
}

fn mapping_checksum(idsn: Idsn, position: u64, offset: u64, bytes: &Gathered) -> u16 {
    let mut sum = ChecksumAccumulator::new();
    sum.add(&bytes.first);
    sum.add(&bytes.second);
    let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    dss_checksum(DataSeq::at(idsn, position).0, SubflowSeq::from_offset(offset).0, len, sum.sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_of_what_was_written_makes_a_short_segment() {
        let cut = |mss, cost, room, available| whole_segments(4096, mss, cost, room, available, false);
        let whole = |mss, room, available| cut(mss, 0, room, available);
        assert_eq!(whole(1432, 9000, 4097), 2864);
        assert_eq!(whole(1432, 9000, 4096), 4096);
        // Less than a segment: it was written like this, or there is room for no more.
        assert_eq!(whole(5000, 9000, 4097), 4096);
        assert_eq!(whole(5000, 4096, 4097), 0);
        assert_eq!(whole(5000, 4096, 4096), 4096);
        // With a first segment that is shorter.
        assert_eq!(cut(1400, 28, 9000, 4097), 2772);
        assert_eq!(cut(1400, 28, 9000, 4096), 4096);
        assert_eq!(cut(4100, 28, 9000, 4097), 4072);
        assert_eq!(cut(4124, 28, 9000, 4097), 4096, "one segment");
        assert_eq!(cut(4125, 28, 4096, 4097), 0);
    }

    #[test]
    fn where_all_segments_are_to_be_full_the_end_waits() {
        let full = |mss, cost, available| whole_segments(4096, mss, cost, usize::MAX, available, true);
        assert_eq!(full(1432, 0, 4096), 2864);
        assert_eq!(full(1400, 28, 4096), 2772);
        assert_eq!(full(4096, 0, 4096), 4096);
        assert_eq!([full(4097, 0, 4096), full(4124, 28, 4096), full(4125, 28, 4096)], [0, 4096, 0]);
        assert_eq!(full(5000, 0, 4097), 4096, "what comes to it was not written beside it");
    }
}
