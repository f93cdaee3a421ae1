//! Sending: from the bytes of the application to mappings on subflows, and their acknowledgement.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use smallvec::SmallVec;
use tcp_adapter::Instant;

use super::connection::{Connection, Doom, Protocol};
use super::shared::Cx;
use super::subflow::{Stale, Subflow};
use crate::event::{Event, SubflowId};
use crate::keys::Idsn;
use crate::mib::Counter;
use crate::observe::Observation;
use crate::scheduler::{DataView, SubflowView};
use crate::seq::{DataSeq, SubflowSeq};
use crate::stream::{ReinjectQueue, SendQueue, SentMapping};
use crate::wire::{ChecksumAccumulator, ResetReason, dss_checksum};

/// Bytes of one mapping at most: the Data-Level Length has 16 bits, and one of them is left for
/// a DATA_FIN.
const MAX_MAPPING: usize = 65_534;

/// As many subflows are looked at without an allocation.
const FEW_SUBFLOWS: usize = 4;

/// Smallest DATA-RTO: below it, delayed acknowledgements of the peer would look like losses.
const MIN_DATA_RTO: Duration = Duration::from_millis(200);
/// DATA-RTO while no round-trip time is known (as RFC 6298 section 2.1).
const INITIAL_DATA_RTO: Duration = Duration::from_secs(1);
/// Largest DATA-RTO after back-off.
const MAX_DATA_RTO: Duration = Duration::from_secs(60);
/// First interval between probes of a stale subflow; it doubles up to [`MAX_PROBE_WAIT`].
const FIRST_PROBE_WAIT: Duration = Duration::from_millis(200);
/// Longest interval between probes: how long a path that is back may stay unnoticed.
const MAX_PROBE_WAIT: Duration = Duration::from_secs(1);
/// DATA-RTOs in a row after which data that TCP acknowledged but MPTCP did not proves that options do not pass.
const MAX_UNMATCHED_TIMEOUTS: u32 = 6;

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
    pub(crate) reinject: ReinjectQueue,
    /// First position that the peer's window does not allow; it only grows (RFC 8684 section 3.3.5).
    pub(crate) window_end: u64,
    pub(crate) fin: Fin,
    /// When to send again at the connection level.
    pub(crate) data_rto_at: Option<Instant>,
    /// DATA-RTOs in a row.
    pub(crate) timeouts: u32,
    /// When the first of them was armed.
    stalled_since: Instant,
    /// When to probe a closed window.
    pub(crate) window_probe_at: Option<Instant>,
    window_probes: u32,
    pub(crate) bytes_reinjected: u64,
}

impl Sender {
    pub(crate) fn new() -> Self {
        Self {
            queue: SendQueue::new(),
            reinject: ReinjectQueue::new(),
            window_end: 0,
            fin: Fin::Open,
            data_rto_at: None,
            timeouts: 0,
            stalled_since: Instant::ZERO,
            window_probe_at: None,
            window_probes: 0,
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
    fn outstanding(&self) -> bool {
        self.queue.una() < self.queue.nxt() || self.fin == Fin::Sent
    }
}

/// What of `bytes` goes to TCP, where there is room for `room` and `available` are at hand: whole segments, unless the data
/// or a large write of the application ends. Bytes of two calls into TCP never share a segment, so whatever else ended
/// in a short one would leave all segments after it cut in two. Nothing, if room for a whole segment must be waited for.
fn whole_segments(mut bytes: Bytes, mss: usize, room: usize, available: u64) -> Bytes {
    let ends = bytes.len() as u64 >= available || (bytes.len() < mss && bytes.len() < room);
    if !ends {
        bytes.truncate(bytes.len() - bytes.len() % mss);
    }
    bytes
}

impl Connection {
    /// The application writes; takes what there is room for.
    pub(crate) fn write(&mut self, mut bytes: Bytes, cx: &mut Cx<'_>) -> usize {
        let room = match cx.shared.memory_full() {
            true => 0,
            false => cx.shared.config.send_buffer.saturating_sub(self.sender.queue.len()),
        };
        let taken = room.min(bytes.len());
        self.app.wants_room = taken < bytes.len();
        if taken > 0 {
            self.uses_queues(cx.now);
            self.sender.queue.push(bytes.split_to(taken));
        }
        taken
    }

    /// Tells an application that waits for room once a good part of the buffer is free.
    pub(crate) fn offer_room(&mut self, cx: &mut Cx<'_>) {
        let room = cx.shared.config.send_buffer.saturating_sub(self.sender.queue.len());
        if self.app.wants_room && room >= cx.shared.config.send_buffer / 4 && !cx.shared.memory_full() {
            self.app.wants_room = false;
            cx.shared.events.push_back(Event::Writable(self.id));
        }
    }

    /// Gives subflows what may be sent now: first what must go again, then new data.
    pub(crate) fn push(&mut self, cx: &mut Cx<'_>) {
        match self.protocol {
            Protocol::Negotiating(_) => return,
            Protocol::Plain(_) => self.push_plain(cx),
            Protocol::Multipath(_) => self.push_mapped(cx),
        }
        self.arm_data_rto(cx);
    }

    fn push_plain(&mut self, cx: &mut Cx<'_>) {
        let Some(index) = self.subflows.iter().position(|subflow| subflow.usable()) else { return };
        let tcp = self.subflows[index].tcp;
        if self.sender.queue.unsent() == 0 || cx.tcp.send_room(tcp) == 0 {
            return;
        }
        let mss = cx.tcp.info(tcp).map_or(1, |info| info.mss.max(1));
        loop {
            let room = cx.tcp.send_room(tcp).min(MAX_MAPPING);
            let unsent = self.sender.queue.unsent();
            let bytes = self.sender.queue.slice(self.sender.queue.nxt(), room);
            let bytes = bytes.map(|bytes| whole_segments(bytes, mss, room, unsent)).filter(|bytes| !bytes.is_empty());
            let Some(bytes) = bytes else { break };
            if !self.give(index, self.sender.queue.nxt(), bytes, None, cx) {
                break;
            }
        }
    }

    fn push_mapped(&mut self, cx: &mut Cx<'_>) {
        if self.sender.reinject.is_empty() && self.sender.queue.unsent() == 0 {
            return;
        }
        // Most of the time nothing can take more.
        let open = self.sender.window_end > self.sender.queue.nxt();
        let takes = |subflow: &Subflow| subflow.usable() && cx.tcp.send_room(subflow.tcp) > 0;
        if !self.sender.reinject.is_empty() || (open && self.subflows.iter().any(takes)) {
            let mut views = self.views(cx);
            while self.push_again(&mut views, cx) {}
            while self.push_new(&mut views, cx) {}
        }
        if self.sender.queue.unsent() > 0 && self.sender.queue.nxt() >= self.sender.window_end {
            self.arm_window_probe(cx.now);
        }
    }

    /// What the scheduler may choose from.
    fn views(&self, cx: &Cx<'_>) -> SmallVec<[SubflowView; FEW_SUBFLOWS]> {
        let usable = self.subflows.iter().filter(|subflow| subflow.usable());
        usable.filter_map(|subflow| view(subflow, cx)).collect()
    }

    /// Sends one stretch that was sent before elsewhere; false if there is nothing to do or no room.
    fn push_again(&mut self, views: &mut [SubflowView], cx: &mut Cx<'_>) -> bool {
        let Some(range) = self.sender.reinject.next(MAX_MAPPING) else { return false };
        let held = |id: SubflowId| self.subflow(id).and_then(|subflow| subflow.sent.first_held(range.clone()));
        let holds_start = |id: SubflowId| held(id).filter(|held| held.start == range.start);
        let others: Vec<SubflowView> = views.iter().filter(|view| holds_start(view.id).is_none()).copied().collect();
        if others.is_empty() {
            // Whoever could take the first part holds it already, and TCP sends it again there. If that subflow
            // fails, it is marked anew.
            let Some(end) = views.iter().filter_map(|view| holds_start(view.id)).map(|held| held.end).min() else {
                return false;
            };
            self.sender.reinject.taken(range.start..end);
            return true;
        }
        let lost = self.subflows.iter().all(|subflow| !subflow.sent.holds(range.start..range.start + 1));
        let others = match lost && self.sender.timeouts > 0 {
            // Whoever has carried it claims to have delivered it: the next one in turn may really do so.
            true => vec![others[self.sender.timeouts as usize % others.len()]],
            false => others,
        };
        let available = range.end - range.start;
        let data = DataView { position: range.start, available, window: available, reinjection: true };
        let Some(decision) = self.scheduler.pick(&others, &data) else { return false };
        let chosen = others[decision.subflow];
        // Not into what it holds.
        let free = self.subflow(chosen.id).and_then(|subflow| subflow.sent.first_held(range.clone()));
        let free = free.map_or(available, |held| held.start - range.start);
        let len = decision.len.min(chosen.room).min(usize::try_from(free).unwrap_or(MAX_MAPPING));
        let Some(bytes) = self.sender.queue.slice(range.start, len) else {
            self.sender.reinject.taken(range);
            return true;
        };
        let sent = bytes.len();
        let from = self.subflows.iter().find(|subflow| subflow.sent.holds(range.start..range.start + 1));
        let from = from.map(|subflow| subflow.id);
        let Some((dsn, len)) = self.map(chosen.id, range.start, bytes, cx) else { return false };
        let (conn, to) = (self.id, chosen.id);
        cx.shared.observations.note(|| Observation::Reinjected { conn, from, to, dsn, len });
        self.sender.reinject.taken(range.start..range.start + sent as u64);
        self.sender.bytes_reinjected += sent as u64;
        if let Some(multipath) = self.multipath_mut() {
            // Data that was sent twice is no longer contiguous on one subflow (RFC 8684 section 3.7).
            multipath.single_path = false;
        }
        if let Some(subflow) = self.subflow_mut(chosen.id) {
            subflow.bytes_reinjected += sent as u64;
        }
        cx.shared.mib.bump(Counter::MPTCPRetrans);
        shrink(views, chosen.id, sent);
        true
    }

    /// Sends one stretch of new data; false if there is none, no window or no room.
    fn push_new(&mut self, views: &mut [SubflowView], cx: &mut Cx<'_>) -> bool {
        let queue = &self.sender.queue;
        let position = queue.nxt();
        let window = self.sender.window_end.saturating_sub(position);
        let available = queue.unsent().min(window);
        if available == 0 || views.is_empty() {
            return false;
        }
        let data = DataView { position, available, window, reinjection: false };
        let Some(decision) = self.scheduler.pick(views, &data) else { return false };
        let chosen = views[decision.subflow];
        if is_silly(queue, available, chosen.mss) {
            return false;
        }
        let len = decision.len.min(chosen.room).min(MAX_MAPPING).min(usize::try_from(available).unwrap_or(MAX_MAPPING));
        let Some(bytes) = queue.slice(position, len) else { return false };
        // The scheduler has seen to it that there is room for a segment.
        let bytes = whole_segments(bytes, chosen.mss.max(1), usize::MAX, available);
        let sent = bytes.len();
        if self.map(chosen.id, position, bytes, cx).is_none() {
            return false;
        }
        shrink(views, chosen.id, sent);
        true
    }

    /// Maps bytes to the subflow that the scheduler chose and gives them to its TCP. Tells where in the data they begin, and
    /// their number; `None` if TCP does not take them.
    fn map(&mut self, id: SubflowId, position: u64, bytes: Bytes, cx: &mut Cx<'_>) -> Option<(DataSeq, u32)> {
        let state = self.multipath()?;
        let (idsn, checksum) = (state.local.idsn, state.checksum);
        let index = self.subflow_index(id)?;
        let offset = self.subflows[index].next_offset;
        let sum = checksum.then(|| mapping_checksum(idsn, position, offset, &bytes));
        let len = u32::try_from(bytes.len()).ok()?;
        let conn = self.id;
        self.give(index, position, bytes, sum, cx).then(|| {
            let dsn = DataSeq::at(idsn, position);
            cx.shared.observations.note(|| Observation::Scheduled { conn, subflow: id, dsn, len });
            (dsn, len)
        })
    }

    fn give(&mut self, index: usize, position: u64, bytes: Bytes, checksum: Option<u16>, cx: &mut Cx<'_>) -> bool {
        let subflow = &mut self.subflows[index];
        let Ok(len) = u32::try_from(bytes.len()) else { return false };
        if let Err(error) = cx.tcp.send(cx.now, subflow.tcp, bytes, position) {
            tracing::debug!(conn = %self.id, subflow = %subflow.id, %error, "subflow takes no data");
            return false;
        }
        subflow.sent.push(SentMapping { offset: subflow.next_offset, pos: position, len, checksum });
        subflow.next_offset += u64::from(len);
        subflow.bytes_sent += u64::from(len);
        subflow.waiting_since.get_or_insert(cx.now);
        let end = position + u64::from(len);
        if end > self.sender.queue.nxt() {
            self.sender.queue.advance(end);
        }
        tracing::trace!(conn = %self.id, subflow = %self.subflows[index].id, position, len, "mapped");
        true
    }

    /// The DATA-RTO: long enough for the slowest subflow that holds the first unacknowledged byte, which would
    /// otherwise be sent again for nothing whenever paths differ.
    fn data_rto(&self, cx: &Cx<'_>) -> Duration {
        let una = self.sender.queue.una();
        let holders = self.subflows.iter().filter(|subflow| subflow.alive() && subflow.sent.holds(una..una + 1));
        let all = self.subflows.iter().filter(|subflow| subflow.alive());
        let slowest = holders.filter_map(|subflow| rto(subflow, cx)).max();
        let base = slowest.or_else(|| all.filter_map(|subflow| rto(subflow, cx)).max()).unwrap_or(INITIAL_DATA_RTO);
        base.saturating_mul(1 << self.sender.timeouts.min(16)).min(MAX_DATA_RTO)
    }

    pub(crate) fn arm_data_rto(&mut self, cx: &Cx<'_>) {
        if self.multipath().is_none() || !self.sender.outstanding() {
            self.sender.data_rto_at = None;
        } else if self.sender.data_rto_at.is_none() {
            if self.sender.timeouts == 0 {
                self.sender.stalled_since = cx.now;
            }
            self.sender.data_rto_at = Some(cx.now + self.data_rto(cx));
        }
    }

    /// No DATA_ACK has come for too long.
    pub(crate) fn on_data_rto(&mut self, cx: &mut Cx<'_>) {
        self.sender.data_rto_at = None;
        self.sender.timeouts += 1;
        if self.sender.stalled_since + cx.shared.config.subflow_timeout <= cx.now {
            // No path brings it any further.
            return self.doom_all(ResetReason::UnacceptablePerformance);
        }
        let una = self.sender.queue.una();
        let nxt = self.sender.queue.nxt();
        if una < nxt {
            self.find_stale(cx);
            let held = self.subflows.iter().find_map(|subflow| {
                subflow.sent.iter().find(|mapping| mapping.positions().contains(&una)).map(SentMapping::positions)
            });
            match held {
                Some(range) => self.sender.reinject.mark(una..range.end.min(nxt)),
                // TCP has delivered it, yet it is not acknowledged: the peer had to drop it, or options do not pass.
                None if self.sender.timeouts > MAX_UNMATCHED_TIMEOUTS => {
                    // Options do not pass on any subflow, as data is acknowledged by TCP only (RFC 8684 section 3.7).
                    return self.doom_all(ResetReason::MiddleboxInterference);
                }
                // On a single path nothing is dropped that TCP has acknowledged, so the DATA_ACK was lost, or the peer has
                // fallen back, for which a repetition would be altered data: ask.
                None if self.multipath().is_some_and(|state| state.single_path) => self.probe_usable(cx),
                None => self.sender.reinject.mark(una..nxt.min(una + MAX_MAPPING as u64)),
            }
        }
        if self.sender.fin == Fin::Sent {
            self.acknowledge(cx);
        }
        self.push(cx);
    }

    fn doom_all(&mut self, reason: ResetReason) {
        for index in 0..self.subflows.len() {
            self.doom(self.subflows[index].id, Doom::Reason(reason));
        }
    }

    /// Finds subflows that hold data and have not answered for longer than they should, and has what they
    /// hold sent elsewhere. Not if there is nowhere else.
    pub(crate) fn find_stale(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now;
        let silent = |subflow: &Subflow, cx: &Cx<'_>| {
            let patience = rto(subflow, cx).unwrap_or(INITIAL_DATA_RTO);
            subflow.waiting_since.is_some_and(|since| since + patience <= now)
        };
        let usable: Vec<SubflowId> =
            self.subflows.iter().filter(|subflow| subflow.usable()).map(|subflow| subflow.id).collect();
        let stale: Vec<SubflowId> = self
            .subflows
            .iter()
            .filter(|subflow| subflow.usable() && silent(subflow, cx))
            .map(|subflow| subflow.id)
            .collect();
        if stale.len() == usable.len() {
            return;
        }
        for id in stale {
            self.set_stale(id, cx);
        }
    }

    fn set_stale(&mut self, id: SubflowId, cx: &mut Cx<'_>) {
        self.reinject_all(id);
        let Some(subflow) = self.subflow_mut(id) else { return };
        tracing::debug!(subflow = %id, "subflow is stale");
        subflow.stale = Some(Box::new(Stale { since: cx.now, probe_at: cx.now, probe_wait: FIRST_PROBE_WAIT }));
        cx.shared.mib.bump(Counter::SubflowStale);
    }

    /// Marks everything that a subflow holds and that is not acknowledged to be sent elsewhere.
    pub(crate) fn reinject_all(&mut self, id: SubflowId) {
        let una = self.sender.queue.una();
        let Some(subflow) = self.subflow(id) else { return };
        let ranges: Vec<Range<u64>> = subflow.sent.unacked_ranges(una).collect();
        for range in ranges {
            self.sender.reinject.mark(range);
        }
    }

    /// Probes the stale subflows whose time has come.
    pub(crate) fn probe_stale(&mut self, cx: &mut Cx<'_>) {
        for subflow in &mut self.subflows {
            let Some(stale) = subflow.stale.as_mut().filter(|stale| stale.probe_at <= cx.now) else { continue };
            stale.probe_wait = (stale.probe_wait * 2).min(MAX_PROBE_WAIT);
            stale.probe_at = cx.now + stale.probe_wait;
            cx.tcp.probe(cx.now, subflow.tcp);
        }
    }

    fn arm_window_probe(&mut self, now: Instant) {
        if self.sender.window_probe_at.is_none() {
            let wait = INITIAL_DATA_RTO.saturating_mul(1 << self.sender.window_probes.min(6)).min(MAX_DATA_RTO);
            self.sender.window_probe_at = Some(now + wait);
        }
    }

    /// The peer's window is closed and may have opened unheard: ask, as the update is not acknowledged.
    pub(crate) fn probe_window(&mut self, cx: &mut Cx<'_>) {
        self.sender.window_probe_at = None;
        self.sender.window_probes += 1;
        cx.shared.mib.bump(Counter::WinProbe);
        self.probe_usable(cx);
    }

    fn probe_usable(&self, cx: &mut Cx<'_>) {
        for subflow in self.subflows.iter().filter(|subflow| subflow.usable()) {
            cx.tcp.probe(cx.now, subflow.tcp);
        }
    }
}

/// Whether so little is available only because the window of the peer is nearly closed. A mapping of that little would come back as a
/// small acknowledgement, which makes the next one smaller still (RFC 9293 section 3.8.6.2.1); no TCP can avoid it, as it never
/// puts two mappings into one segment. Once nothing is outstanding, nothing more comes back, and it leaves.
fn is_silly(queue: &SendQueue, available: u64, mss: usize) -> bool {
    available < queue.unsent().min(mss as u64) && queue.una() < queue.nxt()
}

fn view(subflow: &Subflow, cx: &Cx<'_>) -> Option<SubflowView> {
    let info = cx.tcp.info(subflow.tcp)?;
    Some(SubflowView {
        id: subflow.id,
        room: cx.tcp.send_room(subflow.tcp),
        mss: info.mss,
        backup: subflow.backup || subflow.backup_by_peer,
        weight: subflow.weight,
        srtt: info.srtt,
        rttvar: info.rttvar,
        cwnd: info.cwnd,
        in_flight: info.in_flight,
        queued: info.queued,
        delivery_rate: info.delivery_rate,
        pacing_rate: info.pacing_rate,
    })
}

/// Takes what was given to a subflow off its room, so that one look at TCP serves many decisions.
fn shrink(views: &mut [SubflowView], id: SubflowId, sent: usize) {
    if let Some(view) = views.iter_mut().find(|view| view.id == id) {
        view.room = view.room.saturating_sub(sent);
        view.queued += sent as u64;
    }
}

/// How long a subflow may take to answer: RFC 6298's formula over its measurements, with our own lower bound.
fn rto(subflow: &Subflow, cx: &Cx<'_>) -> Option<Duration> {
    let info = cx.tcp.info(subflow.tcp)?;
    let srtt = info.srtt?;
    Some((srtt + info.rttvar.unwrap_or(srtt / 2) * 4).max(MIN_DATA_RTO))
}

fn mapping_checksum(idsn: Idsn, position: u64, offset: u64, bytes: &Bytes) -> u16 {
    let mut sum = ChecksumAccumulator::new();
    sum.add(bytes);
    let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    dss_checksum(DataSeq::at(idsn, position).0, SubflowSeq::from_offset(offset).0, len, sum.sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_of_what_was_written_makes_a_short_segment() {
        let whole = |mss, room, available| whole_segments(Bytes::from(vec![0; 4096]), mss, room, available).len();
        assert_eq!(whole(1432, 9000, 4097), 2864);
        assert_eq!(whole(1432, 9000, 4096), 4096);
        // Less than a segment: it was written like this, or there is room for no more.
        assert_eq!(whole(5000, 9000, 4097), 4096);
        assert_eq!(whole(5000, 4096, 4097), 0);
        assert_eq!(whole(5000, 4096, 4096), 4096);
    }
}
