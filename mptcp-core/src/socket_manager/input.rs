//! The options of received segments (RFC 8684 sections 3.3 to 3.7).

use std::ops::Range;

use tcp_adapter::{Instant, OptionSpace, SegmentIn, Verdict};

use super::connection::{Connection, Doom, Protocol};
use super::handshake::reset_options;
use super::shared::Shared;
use super::subflow::{Stage, Subflow};
use crate::event::{CloseReason, Event, FallbackCause, SubflowId};
use crate::keys::Idsn;
use crate::mib::Counter;
use crate::observe::Observation;
use crate::scheduler::Acknowledged;
use crate::seq::{DataSeq, SubflowSeq};
use crate::stream::{MapInsert, ReceivedMapping};
use crate::wire::{self, Dss, DssMapping, MpCapable, MptcpOption, RawDss, ResetReason};

impl Connection {
    /// An acceptable segment on one of the subflows.
    pub(crate) fn on_segment(
        &mut self,
        now: Instant,
        id: SubflowId,
        segment: &SegmentIn<'_>,
        shared: &mut Shared,
    ) -> Verdict {
        let before = self.sender.queue.una();
        let Some(index) = self.subflow_index(id) else { return Verdict::Accept };
        let subflow = &mut self.subflows[index];
        subflow.remove_at = None;
        subflow.heard_at = now;
        if segment.flags.rst {
            return self.on_reset(id, segment, shared);
        }
        let delivered = segment.acked.and_then(|acked| subflow.on_subflow_ack(now, acked, segment));
        if matches!(self.protocol, Protocol::Plain(_)) {
            return self.on_plain(id, segment);
        }
        let is_usual = self.is_settled(index, segment) && (is_bare(segment) || self.on_usual(index, segment, shared));
        let verdict = if is_usual { Verdict::Accept } else { self.on_stage(now, id, segment, shared) };
        let una = self.sender.queue.una();
        if self.subflows.len() > 1 && (delivered.is_some() || una > before) {
            self.scheduler.on_acknowledged(&Acknowledged { now, subflow: id, delivered, una });
        }
        verdict
    }

    /// What a segment is for depends on how far its subflow is.
    fn on_stage(&mut self, now: Instant, id: SubflowId, segment: &SegmentIn<'_>, shared: &mut Shared) -> Verdict {
        let Some(subflow) = self.subflow(id) else { return Verdict::Accept };
        match subflow.stage {
            Stage::CapableSyn { .. } => self.on_capable_syn_ack(now, segment, shared),
            Stage::JoinSyn { nonce } => self.on_join_syn_ack(now, id, nonce, segment, shared),
            // A SYN that is repeated: TCP answers it again.
            Stage::CapableAnswered | Stage::JoinAnswered { .. } if segment.flags.syn => Verdict::Accept,
            Stage::CapableAnswered => self.on_capable_ack(segment, shared),
            Stage::JoinAnswered { local_nonce, remote_nonce } => {
                self.on_join_ack(id, (local_nonce, remote_nonce), segment, shared)
            }
            Stage::PreEstablished { .. } => {
                if segment.flags.syn {
                    return Verdict::Accept;
                }
                if let Some(subflow) = self.subflow_mut(id) {
                    subflow.stage = Stage::Established;
                }
                self.on_established(id, segment, shared)
            }
            Stage::Established | Stage::Closing => self.on_established(id, segment, shared),
        }
    }

    fn on_plain(&mut self, id: SubflowId, segment: &SegmentIn<'_>) -> Verdict {
        let Protocol::Plain(plain) = &mut self.protocol else { return Verdict::Accept };
        if plain.altered.is_some() && has_heard(segment) {
            plain.altered = None;
        }
        if segment.len > 0 && plain.rx_idsn.is_some_and(|idsn| is_elsewhere(plain.rx_base, idsn, segment)) {
            tracing::debug!(conn = %self.id, "the peer has not fallen back and repeats data");
            return Verdict::Reset(OptionSpace::new(0));
        }
        let tx_base = plain.tx_base;
        let Some(subflow) = self.subflow(id).filter(|subflow| !subflow.is_join()) else { return Verdict::Accept };
        if let Some(acked) = segment.acked {
            let position = acked.min(subflow.next_offset).wrapping_add(tx_base);
            self.sender.acknowledged(position);
            self.sender.open_window(position.saturating_add(u64::from(segment.window)));
        }
        Verdict::Accept
    }

    #[cold]
    fn on_reset(&mut self, id: SubflowId, segment: &SegmentIn<'_>, shared: &mut Shared) -> Verdict {
        for option in wire::options(segment.options).filter_map(Result::ok) {
            match option {
                MptcpOption::Tcprst(reset) => {
                    shared.mib.bump(Counter::MPRstRx);
                    if let Some(subflow) = self.subflow_mut(id) {
                        subflow.peer_reset = Some((reset.reason, reset.transient));
                    }
                }
                MptcpOption::Fail(_) => shared.mib.bump(Counter::MPFailRx),
                MptcpOption::Fastclose(close) => self.on_fast_close(close.receiver_key, shared),
                _ => {}
            }
        }
        Verdict::Accept
    }

    /// MP_FASTCLOSE, on an ACK or a RST (RFC 8684 section 3.5).
    fn on_fast_close(&mut self, key: crate::keys::Key, shared: &mut Shared) {
        if self.multipath().is_some_and(|state| state.local.key == key) {
            shared.mib.bump(Counter::MPFastcloseRx);
            self.finish(CloseReason::Reset, shared);
        }
    }

    /// A segment of a subflow that carries data.
    pub(crate) fn on_established(&mut self, id: SubflowId, segment: &SegmentIn<'_>, shared: &mut Shared) -> Verdict {
        let mut signal = false;
        let mut options_pass = false;
        for option in wire::options(segment.options) {
            let verdict = match option {
                Err(error) => {
                    tracing::debug!(conn = %self.id, subflow = %id, %error, "malformed option");
                    shared.mib.bump(Counter::OptionMalformed);
                    Verdict::Accept
                }
                Ok(MptcpOption::Dss(dss)) => {
                    options_pass |= dss.data_ack.is_some();
                    self.on_dss(id, &dss, segment, shared)
                }
                Ok(MptcpOption::Capable(MpCapable::AckData { data_len, checksum, .. })) => {
                    self.on_first_mapping(data_len, checksum, segment, shared)
                }
                Ok(option) => {
                    // A signal may leave no room for a DATA_ACK beside it.
                    options_pass |= segment.len == 0;
                    signal = true;
                    self.on_signal(id, &option, segment, shared)
                }
            };
            if !matches!(verdict, Verdict::Accept) {
                return verdict;
            }
        }
        if let Some(verdict) = self.check_options_pass(id, segment, options_pass, shared) {
            return verdict;
        }
        if signal && segment.len == 0 { Verdict::AcceptSignal } else { Verdict::Accept }
    }

    /// Whether a segment of a subflow can tell nothing of how far the connection is, or the subflow: both carry data, and whether options pass is
    /// known or does not show yet.
    #[inline]
    fn is_settled(&self, index: usize, segment: &SegmentIn<'_>) -> bool {
        let subflow = &self.subflows[index];
        let Protocol::Multipath(state) = &self.protocol else { return false };
        // Whether options pass shows once data of ours is acknowledged.
        let shows = !subflow.confirmed && segment.acked.is_some_and(|acked| acked.min(subflow.next_offset) > 0);
        let carries_data = matches!(subflow.stage, Stage::Established | Stage::Closing);
        carries_data && state.confirmed && state.introduced && !shows
    }

    /// What nearly all segments with options are where all is [settled](Self::is_settled), with the effects that they have: a DATA_ACK, and a
    /// mapping of the payload, most often the same that the segment before has declared. False, with nothing done, if it is anything else, or
    /// would be refused.
    ///
    /// Not inlined: most segments have no options.
    #[inline(never)]
    fn on_usual(&mut self, index: usize, segment: &SegmentIn<'_>, shared: &mut Shared) -> bool {
        let Protocol::Multipath(state) = &self.protocol else { return false };
        let subflow = &mut self.subflows[index];
        let lately = subflow.lately.as_deref();
        if lately.is_some_and(|lately| segment.window == lately.heard_window && lately.heard.is(segment.options)) {
            // All of it is known from the segment before.
            self.sender.answered = true;
            return true;
        }
        let Some(dss) = wire::LoneDss::read(segment.options) else { return false };
        if dss.maps_nothing_but(lately.map(|lately| &lately.heard)) {
            subflow.note_heard(segment);
        } else {
            let usual = |mapping: &DssMapping| mapping.len > 0 && mapping.checksum.is_some() == state.checksum;
            let Some(mapping) = dss.mapping().filter(usual) else { return false };
            let rcv_nxt = self.receiver.stream.rcv_nxt();
            let position = stream_position(&mapping, state.remote.idsn, rcv_nxt);
            let Some(taken) = position.and_then(|position| placed(&mapping, position, false, segment)) else {
                return false;
            };
            if segment.len == 0 || taken.end() <= subflow.reader.offset() {
                return false;
            }
            if matches!(subflow.received.insert(taken), MapInsert::Conflict | MapInsert::Full) {
                return false;
            }
            if taken.end() > segment.offset + segment.len as u64 {
                subflow.note_heard(segment);
            } else if let Some(lately) = &mut subflow.lately {
                // No segment follows that could say the same, until numbers wrap.
                lately.heard = RawDss::default();
            }
        }
        let (id, idsn) = (subflow.id, state.local.idsn);
        let near = DataSeq::at(idsn, self.sender.queue.una());
        self.data_acknowledged(id, dss.data_ack.resolve(near).position(idsn), segment, shared);
        true
    }

    /// Takes a DATA_ACK and the window, which is relative to it and counts only together with one (RFC 8684 section 3.3.2).
    #[inline]
    fn data_acknowledged(&mut self, id: SubflowId, position: u64, segment: &SegmentIn<'_>, shared: &mut Shared) {
        self.sender.answered = true;
        let window_end = position.saturating_add(u64::from(segment.window));
        if position > self.sender.queue.una() {
            self.more_acknowledged(id, position, window_end, shared);
        } else {
            // One that only receives hears the same all the time.
            self.sender.open_window(window_end);
        }
    }

    /// The same of a DATA_ACK beyond all before.
    #[inline(never)]
    fn more_acknowledged(&mut self, id: SubflowId, position: u64, window_end: u64, shared: &mut Shared) {
        let before = self.sender.queue.una();
        if self.sender.acknowledged(position) {
            self.sender.open_window(window_end);
        }
        let (conn, una) = (self.id, self.sender.queue.una());
        if una == before {
            return;
        }
        self.note_use(id);
        if let Some(state) = self.multipath_mut().filter(|state| state.single_path) {
            // Nothing was repeated so far, so the peer has had the mapping of this all the time: its answer was late, or lost.
            state.maps_all = false;
        }
        if let Some(state) = self.multipath() {
            let data_ack = DataSeq::at(state.local.idsn, una);
            shared.observations.note(|| Observation::Acknowledged { conn, subflow: id, data_ack });
        }
    }

    /// Options that got through the SYNs may be stripped from later segments (RFC 8684 section 3.7).
    fn check_options_pass(
        &mut self,
        id: SubflowId,
        segment: &SegmentIn<'_>,
        options_pass: bool,
        shared: &mut Shared,
    ) -> Option<Verdict> {
        let can_fall_back = self.can_fall_back();
        let state = self.multipath()?;
        let confirmed = state.confirmed;
        let subflow = self.subflow_mut(id)?;
        let data_acknowledged = segment.acked.is_some_and(|acked| acked.min(subflow.next_offset) > 0);
        // Not by what came before any data: a peer whose options arrive may have seen none of ours on the data.
        subflow.confirmed |= options_pass && data_acknowledged;
        // A host in TIME-WAIT has no connection any more that could add options to its acknowledgements.
        let may_be_time_wait = subflow.fin_received && segment.len == 0;
        // The rest of a mapping that was declared once needs no options, and may overtake the segment that has them.
        let may_be_rest = segment.len > 0 && subflow.reader.offset() > 0;
        let stripped = !subflow.confirmed && data_acknowledged && !may_be_time_wait && !may_be_rest;
        let next = subflow.reader.offset() + subflow.reader.waiting() as u64;
        let is_next = segment.len > 0 && segment.offset == next;
        let unmapped = !confirmed && is_next && subflow.received.lookup(segment.offset).is_none();
        if stripped && can_fall_back {
            self.fall_back(FallbackCause::AckWithoutDataAck, 0, shared);
            return Some(self.on_plain(id, segment));
        }
        if unmapped && can_fall_back {
            self.fall_back(FallbackCause::DataWithoutMapping, 0, shared);
            return Some(self.on_plain(id, segment));
        }
        if stripped {
            shared.mib.bump(Counter::FallbackFailed);
            if let Some(subflow) = self.subflow_mut(id) {
                subflow.own_reset = Some(ResetReason::MiddleboxInterference);
            }
            return Some(Verdict::Reset(reset_options(ResetReason::MiddleboxInterference, shared)));
        }
        None
    }

    fn on_dss(&mut self, id: SubflowId, dss: &Dss, segment: &SegmentIn<'_>, shared: &mut Shared) -> Verdict {
        let Some(state) = self.multipath_mut() else { return Verdict::Accept };
        state.introduced = true;
        let newly_confirmed = !std::mem::replace(&mut state.confirmed, true);
        let (local_idsn, checksum) = (state.local.idsn, state.checksum);
        if let Some(subflow) = self.subflow_mut(id).filter(|subflow| newly_confirmed && subflow.initiator) {
            // A DSS in return, so that the peer may add subflows too without waiting for data.
            subflow.ack_wanted = true;
        }
        if let Some(ack) = dss.data_ack {
            let near = DataSeq::at(local_idsn, self.sender.queue.una());
            self.data_acknowledged(id, ack.resolve(near).position(local_idsn), segment, shared);
        }
        let Some(mapping) = dss.mapping else { return Verdict::Accept };
        if mapping.len == 0 {
            return self.on_infinite(id, shared);
        }
        if mapping.checksum.is_some() != checksum {
            // The peer does not behave as negotiated (section 3.3).
            return self.reset_subflow(id, ResetReason::MptcpSpecific, shared);
        }
        self.on_mapping(id, &mapping, dss.data_fin, segment, shared)
    }

    /// A mapping that is not infinite, of the negotiated form.
    fn on_mapping(
        &mut self,
        id: SubflowId,
        mapping: &DssMapping,
        data_fin: bool,
        segment: &SegmentIn<'_>,
        shared: &mut Shared,
    ) -> Verdict {
        let Some(state) = self.multipath() else { return Verdict::Accept };
        let position = stream_position(mapping, state.remote.idsn, self.receiver.stream.rcv_nxt());
        // Before the first byte: nothing of that kind was ever promised.
        let Some(position) = position else { return Verdict::Accept };
        let len = u32::from(mapping.len) - u32::from(data_fin);
        if data_fin {
            self.receiver.learn_fin(position + u64::from(len));
        }
        if len == 0 {
            // A DATA_FIN on its own has no place in the subflow (section 3.3.3). One that is repeated asks again for the DATA_ACK, which was
            // lost: TCP does not answer a segment without payload.
            let repeated = data_fin && position < self.receiver.ack_position();
            if let Some(subflow) = self.subflow_mut(id).filter(|_| repeated) {
                subflow.ack_wanted = true;
            }
            return Verdict::Accept;
        }
        // A mapping must be about the segment that carries it (section 3.3.1).
        let Some(taken) = placed(mapping, position, data_fin, segment) else { return Verdict::Accept };
        self.take_mapping(id, taken, segment, shared)
    }

    /// Remembers a mapping until its bytes have been read.
    pub(crate) fn take_mapping(
        &mut self,
        id: SubflowId,
        mapping: ReceivedMapping,
        segment: &SegmentIn<'_>,
        shared: &mut Shared,
    ) -> Verdict {
        let Some(subflow) = self.subflow_mut(id) else { return Verdict::Accept };
        if mapping.end() <= subflow.reader.offset() || segment.len == 0 {
            return Verdict::Accept;
        }
        match subflow.received.insert(mapping) {
            MapInsert::New | MapInsert::Duplicate => Verdict::Accept,
            MapInsert::Conflict | MapInsert::Full => {
                shared.mib.bump(Counter::DSSCorruptionReset);
                self.reset_subflow(id, ResetReason::MiddleboxInterference, shared)
            }
        }
    }

    fn on_infinite(&mut self, id: SubflowId, shared: &mut Shared) -> Verdict {
        if self.can_fall_back() {
            self.fall_back(FallbackCause::InfiniteMapping, 0, shared);
            return Verdict::Accept;
        }
        shared.mib.bump(Counter::InfiniteMapRx);
        shared.mib.bump(Counter::FallbackFailed);
        self.reset_subflow(id, ResetReason::MptcpSpecific, shared)
    }

    fn reset_subflow(&mut self, id: SubflowId, reason: ResetReason, shared: &mut Shared) -> Verdict {
        if let Some(subflow) = self.subflow_mut(id) {
            subflow.own_reset = Some(reason);
        }
        Verdict::Reset(reset_options(reason, shared))
    }

    /// An option other than DSS and MP_CAPABLE with data.
    fn on_signal(
        &mut self,
        id: SubflowId,
        option: &MptcpOption,
        segment: &SegmentIn<'_>,
        shared: &mut Shared,
    ) -> Verdict {
        match option {
            MptcpOption::AddAddr(add) => self.on_add_addr(id, add, shared),
            MptcpOption::RemoveAddr(remove) => self.on_remove_addr(remove, shared),
            MptcpOption::Prio(prio) => {
                shared.mib.bump(Counter::MPPrioRx);
                let conn = self.id;
                if let Some(subflow) = self.subflow_mut(id).filter(|subflow| subflow.backup_by_peer != prio.backup) {
                    subflow.backup_by_peer = prio.backup;
                    shared.events.push_back(Event::SubflowPriority(conn, id, prio.backup));
                }
            }
            MptcpOption::Fail(fail) => return self.on_fail(id, fail.dsn, segment, shared),
            MptcpOption::Fastclose(close) => {
                self.on_fast_close(close.receiver_key, shared);
            }
            MptcpOption::Join(wire::MpJoin::Ack { .. }) => {
                // Repeated, as its acknowledgement was lost (section 3.2).
                if let Some(subflow) = self.subflow_mut(id).filter(|subflow| !subflow.initiator) {
                    subflow.ack_wanted = true;
                }
            }
            // Other handshake options that are repeated, and MP_TCPRST outside a RST, say nothing here.
            MptcpOption::Capable(_) | MptcpOption::Join(_) | MptcpOption::Tcprst(_) | MptcpOption::Dss(_) => {}
        }
        Verdict::Accept
    }

    /// MP_FAIL without RST: the peer has met altered payload on the only subflow (RFC 8684 section 3.7).
    fn on_fail(&mut self, id: SubflowId, dsn: u64, segment: &SegmentIn<'_>, shared: &mut Shared) -> Verdict {
        shared.mib.bump(Counter::MPFailRx);
        if !self.can_fall_back() {
            shared.mib.bump(Counter::FallbackFailed);
            return self.reset_subflow(id, ResetReason::MiddleboxInterference, shared);
        }
        self.fall_back(FallbackCause::PeerFailed, 0, shared);
        shared.mib.bump(Counter::MPFailTx);
        let answer = MptcpOption::Fail(wire::MpFail { dsn });
        if let Some(subflow) = self.subflow_mut(id) {
            subflow.signal(answer);
        }
        let _ = self.on_plain(id, segment);
        Verdict::AcceptSignal
    }
}

impl Subflow {
    /// The DATA_ACK, the window and the mapping of a segment are taken, which are all of its options: it need not be read again if another one
    /// is the same.
    #[inline]
    fn note_heard(&mut self, segment: &SegmentIn<'_>) {
        if segment.len > 0 {
            let lately = self.lately.get_or_insert_default();
            (lately.heard, lately.heard_window) = (RawDss::new(segment.options), segment.window);
        }
    }

    /// The subflow's own acknowledgement. It says nothing of the connection level, except after a fallback.
    /// Returns the positions of the last mapping that it completes.
    #[inline]
    fn on_subflow_ack(&mut self, now: Instant, acked: u64, segment: &SegmentIn<'_>) -> Option<Range<u64>> {
        let acked = acked.min(self.next_offset);
        let delivered = self.sent.ack(acked);
        self.waiting_since = (!self.sent.is_empty()).then_some(now);
        if segment.len > 0 {
            // Our next acknowledgement advances, so it is no duplicate.
            self.signals_in_a_row = 0;
        }
        // Any acknowledgement shows that both directions work.
        if self.stale.is_some() && (segment.len == 0 || acked > 0) {
            tracing::debug!(subflow = %self.id, "subflow answers again");
            self.recovered = self.stale.take();
        }
        delivered
    }
}

/// Whether a segment is payload and nothing else: the rest of a mapping that was declared once (RFC 8684 section 3.3.1), or what the reader
/// finds without one.
#[inline]
fn is_bare(segment: &SegmentIn<'_>) -> bool {
    segment.options.is_empty() && segment.len > 0
}

/// Where in the stream a mapping begins, `rcv_nxt` being expected next; `None` if that is before the first byte.
#[inline]
fn stream_position(mapping: &DssMapping, idsn: Idsn, rcv_nxt: u64) -> Option<u64> {
    let position = mapping.dsn.resolve(DataSeq::at(idsn, rcv_nxt)).position(idsn);
    (position <= i64::MAX as u64).then_some(position)
}

/// What a mapping that begins at `position` of the stream says of the bytes of its subflow; `None` if it is not about the payload of its segment. It
/// must be about more than a DATA_FIN.
#[inline]
fn placed(mapping: &DssMapping, position: u64, data_fin: bool, segment: &SegmentIn<'_>) -> Option<ReceivedMapping> {
    let offset = SubflowSeq(mapping.ssn).to_offset(segment.offset)?;
    let len = u32::from(mapping.len) - u32::from(data_fin);
    let placed = ReceivedMapping { offset, pos: position, len, checksum: mapping.checksum, data_fin };
    let covers = offset < segment.offset + segment.len as u64 && segment.offset < placed.end();
    covers.then_some(placed)
}

/// Whether a peer that was told of altered payload has heard of it: it says the same, that there are no mappings any more, or sends data
/// without one (RFC 8684 section 3.7).
#[inline(never)]
fn has_heard(segment: &SegmentIn<'_>) -> bool {
    let mut maps = false;
    for option in wire::options(segment.options).filter_map(Result::ok) {
        match option {
            MptcpOption::Fail(_) => return true,
            MptcpOption::Dss(dss) => match dss.mapping {
                Some(mapping) if mapping.len == 0 => return true,
                _ => maps = true,
            },
            _ => {}
        }
    }
    segment.len > 0 && !maps
}

/// Whether a peer that still speaks MPTCP, as it did not hear of the fallback, numbers its data from `idsn` and maps a segment to another
/// place than where regular TCP puts it, whose offset 0 is at `rx_base`: it would be delivered as altered data.
#[inline(never)]
fn is_elsewhere(rx_base: u64, idsn: Idsn, segment: &SegmentIn<'_>) -> bool {
    wire::options(segment.options).filter_map(Result::ok).any(|option| {
        let MptcpOption::Dss(Dss { mapping: Some(mapping), data_fin, .. }) = option else { return false };
        let Some(offset) = SubflowSeq(mapping.ssn).to_offset(segment.offset) else { return false };
        let near = DataSeq::at(idsn, segment.offset.wrapping_add(rx_base));
        let position = mapping.dsn.resolve(near).position(idsn);
        mapping.len > u16::from(data_fin) && position.wrapping_sub(offset) != rx_base
    })
}

/// The RST that a [`Doom`] stands for has these options.
pub(crate) fn doom_options(doom: Doom, shared: &mut Shared) -> OptionSpace {
    match doom {
        Doom::Reason(reason) => reset_options(reason, shared),
        Doom::Bare => OptionSpace::new(0),
        Doom::Fail(dsn) => {
            let mut space = OptionSpace::new(OptionSpace::MAX);
            let fits = MptcpOption::Fail(wire::MpFail { dsn }).emit(&mut space);
            debug_assert!(fits, "an empty header has room for MP_FAIL");
            space
        }
    }
}
