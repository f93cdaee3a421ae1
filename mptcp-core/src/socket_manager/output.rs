//! The options and the window of segments that leave.

use std::time::Duration;

use tcp_adapter::{Instant, OptionSpace, SegmentKind, SegmentOut};

use super::connection::{Connection, Multipath, Plain, Protocol};
use super::sender::Fin;
use super::shared::Shared;
use super::subflow::{MAX_SIGNALS_IN_A_ROW, Said, Stage, Subflow};
use crate::event::SubflowId;
use crate::keys::{join_hmac, truncate_64};
use crate::mib::Counter;
use crate::observe::Observation;
use crate::seq::{DataSeq, SubflowSeq};
use crate::stream::SentMapping;
use crate::wire::{
    self, AddAddrKind, CapableFlags, Dss, DssMapping, MpCapable, MpFail, MpJoin, MptcpOption, RawDss, WireSeq, room,
};

/// What does not seem to have heard of altered payload is told again after this time: longer than most round trips, as what is under way
/// cannot tell whether it has.
const FAIL_AGAIN: Duration = Duration::from_millis(200);

impl Connection {
    /// Fills in the options of a segment, and returns the window to advertise.
    pub(crate) fn on_transmit(
        &mut self,
        id: SubflowId,
        now: Instant,
        segment: &SegmentOut,
        space: &mut OptionSpace,
        shared: &mut Shared,
    ) -> Option<u32> {
        match segment.kind {
            SegmentKind::Syn => self.syn_options(id, space, shared),
            SegmentKind::SynAck => self.syn_ack_options(id, space, shared),
            SegmentKind::Established => self.segment_options(id, now, segment, space, shared),
            SegmentKind::Reset => return None,
        }
        Some(self.receiver.advertise(segment.window_shift, shared))
    }

    fn flags(&self, checksum: bool, shared: &Shared) -> CapableFlags {
        CapableFlags {
            checksum,
            extensibility: false,
            deny_join_initial: !shared.config.allow_join_initial_addr,
            crypto: CapableFlags::HMAC_SHA256,
        }
    }

    fn syn_options(&mut self, id: SubflowId, space: &mut OptionSpace, shared: &mut Shared) {
        let remote_token = self.multipath().map(|state| state.remote.token);
        let Some(subflow) = self.subflow_mut(id) else { return };
        let option = match &mut subflow.stage {
            Stage::CapableSyn { sent } => {
                *sent += 1;
                if *sent > shared.config.syn_retries_before_fallback + 1 {
                    // Something on the path may drop SYNs with options that it does not know (RFC 8684 section 3.1).
                    shared.mib.bump(Counter::MPCapableSYNTXDrop);
                    return;
                }
                let Protocol::Negotiating(state) = &self.protocol else { return };
                shared.mib.bump(Counter::MPCapableSYNTX);
                let flags = self.flags(state.checksum, shared);
                MptcpOption::Capable(MpCapable::Syn { version: wire::VERSION, flags })
            }
            Stage::JoinSyn { nonce } => {
                let Some(token) = remote_token else { return };
                shared.mib.bump(Counter::MPJoinSynTx);
                let join = MpJoin::Syn { backup: subflow.backup_told, addr_id: subflow.local_id, token, nonce: *nonce };
                MptcpOption::Join(join)
            }
            _ => return,
        };
        emit(&option, space);
    }

    fn syn_ack_options(&mut self, id: SubflowId, space: &mut OptionSpace, shared: &mut Shared) {
        let Some(subflow) = self.subflow(id) else { return };
        let option = match (&subflow.stage, &self.protocol) {
            (Stage::CapableAnswered, Protocol::Negotiating(state)) => MptcpOption::Capable(MpCapable::SynAck {
                version: wire::VERSION,
                flags: self.flags(state.checksum, shared),
                key: state.local.key,
            }),
            (Stage::JoinAnswered { local_nonce, remote_nonce }, Protocol::Multipath(state)) => {
                let hmac = truncate_64(&join_hmac(state.local.key, state.remote.key, *local_nonce, *remote_nonce));
                let (backup, addr_id) = (subflow.backup_told, subflow.local_id);
                MptcpOption::Join(MpJoin::SynAck { backup, addr_id, hmac, nonce: *local_nonce })
            }
            _ => return,
        };
        emit(&option, space);
    }

    fn segment_options(
        &mut self,
        id: SubflowId,
        now: Instant,
        segment: &SegmentOut,
        space: &mut OptionSpace,
        shared: &mut Shared,
    ) {
        let Some(index) = self.subflow_index(id) else { return };
        if let Protocol::Plain(plain) = &mut self.protocol {
            let subflow = &mut self.subflows[index];
            // Nearly always the peer knows it all.
            if plain.infinite.is_some() || plain.altered.is_some() || !subflow.control.is_empty() {
                plain_options(plain, now, subflow, segment, space, shared);
            }
            return;
        }
        let data_ack = self.receiver.ack_position();
        let Protocol::Multipath(state) = &self.protocol else { return };
        if says_the_same(&mut self.subflows[index], segment, data_ack, space, shared) {
            return;
        }
        let data_fin = (self.sender.fin == Fin::Sent).then(|| self.sender.queue.end());
        let flags = self.flags(state.checksum, shared);
        let subflow = &mut self.subflows[index];
        if let Stage::PreEstablished(ack) = &subflow.stage {
            emit(&MptcpOption::Join(MpJoin::Ack { hmac: ack.hmac }), space);
            return;
        }
        let introducing = subflow.initiator && !subflow.is_join() && !state.introduced;
        let chunk = segment.chunk.and_then(|chunk| subflow.sent.find_next(chunk.offset));
        let has_acked = subflow.lately.as_ref().is_some_and(|lately| lately.has_acked);
        let owes_first = subflow.bytes_received > 0 && !has_acked;
        let known = chunk.filter(|mapping| mapping.once && segment.offset > mapping.offset);
        if known.is_some_and(|mapping| !owes_first && segment.offset + (segment.len as u64) < mapping.end()) {
            return;
        }
        let data_ack_seq = DataSeq::at(state.remote.idsn, data_ack).0;
        // The two do not fit together, and a peer without data may send no DSS before it has received one: in turns.
        let fin_has_its_turn = data_fin.is_some() && self.sender.timeouts % 2 == 1;
        if let Some(mapping) = chunk.filter(|_| known.is_none()) {
            let (conn, dsn) = (self.id, DataSeq::at(state.local.idsn, mapping.pos));
            let ssn = SubflowSeq::from_offset(mapping.offset).0;
            shared.observations.note(|| Observation::Mapped { conn, subflow: id, dsn, ssn, len: mapping.len });
        }
        match chunk {
            Some(mapping) if introducing && mapping.offset == 0 => {
                emit(&introduction(state, flags, Some(mapping)), space);
            }
            // Wherever it is in the stream: with the first data lost, the answer to a repeated SYN/ACK is what the peer gets
            // first, and Linux falls back if that has no keys.
            None if introducing && !fin_has_its_turn => {
                emit(&introduction(state, flags, None), space);
            }
            Some(mapping) if known.is_some() => {
                subflow.signals_in_a_row = 0;
                emit_data_ack(data_ack_seq, space);
                let lately = subflow.lately.get_or_insert_default();
                lately.has_acked |= owes_first;
                if let Some(said) = lately.said.as_mut().filter(|said| said.chunk == mapping.offset) {
                    said.data_ack = data_ack;
                }
            }
            Some(mapping) => {
                subflow.signals_in_a_row = 0;
                let dsn = DataSeq::at(state.local.idsn, mapping.pos).0;
                let ssn = SubflowSeq::from_offset(mapping.offset).0;
                let option = RawDss::mapping(data_ack_seq, dsn, ssn, data_len(mapping), mapping.checksum);
                if space.push(option.as_slice()) {
                    let said = Said { chunk: mapping.offset, data_ack, once: mapping.once, option };
                    let lately = subflow.lately.get_or_insert_default();
                    (lately.said, lately.has_acked) = (Some(said), lately.has_acked | owes_first);
                } else {
                    tracing::debug!(room = space.remaining(), "no room for a mapping");
                }
            }
            None => {
                let fin = data_fin.map(|position| lone_fin(state, position));
                // What came with the SYN was not received on a subflow (RFC 8684 appendix B).
                let first = !state.has_acked && (data_ack > 0 || subflow.bytes_received > 0);
                let confirms = if first {
                    // Signals wait: if a middlebox took one, the peer would get an acknowledgement of data without any option, and would have to
                    // fall back (RFC 8684 section 3.7). That holds also while nothing of a mapping can be acknowledged as data yet, because its
                    // checksum needs all of it.
                    emit_acknowledgement(data_ack_seq, fin, space);
                    true
                } else {
                    unmapped_options(subflow, data_ack_seq, fin, !state.has_confirmed, space, shared)
                };
                if let Protocol::Multipath(state) = &mut self.protocol {
                    state.has_acked |= first;
                    state.has_confirmed |= confirms;
                }
            }
        }
    }
}

/// A segment of the same mapping as the one before, with nothing new to acknowledge, says the same; nothing, if the mapping is declared once.
/// Returns whether it is one.
fn says_the_same(
    subflow: &mut Subflow,
    segment: &SegmentOut,
    data_ack: u64,
    space: &mut OptionSpace,
    shared: &Shared,
) -> bool {
    let Some(chunk) = segment.chunk else { return false };
    let Some(said) = subflow.lately.as_ref().and_then(|lately| lately.said.as_ref()) else { return false };
    if (said.chunk, said.data_ack) != (chunk.offset, data_ack) {
        return false;
    }
    let declared = said.once && segment.offset > chunk.offset;
    let done = declared || (!shared.observations.are_complete() && space.push(said.option.as_slice()));
    if done {
        subflow.signals_in_a_row = 0;
    }
    done
}

fn emit(option: &MptcpOption, space: &mut OptionSpace) {
    if !option.emit(space) {
        tracing::debug!(subtype = ?option.subtype(), room = space.remaining(), "no room for option");
    }
}

/// What nearly all segments without payload say.
fn emit_data_ack(data_ack: u64, space: &mut OptionSpace) {
    if !wire::emit_data_ack(data_ack, space) {
        tracing::debug!(room = space.remaining(), "no room for a DATA_ACK");
    }
}

/// A DATA_ACK with the DATA_FIN, if that is due.
fn emit_acknowledgement(data_ack: u64, fin: Option<DssMapping>, space: &mut OptionSpace) {
    if fin.is_none() {
        return emit_data_ack(data_ack, space);
    }
    emit(&MptcpOption::Dss(Dss { data_ack: Some(WireSeq::Long(data_ack)), mapping: fin, data_fin: true }), space);
}

/// After a fallback: the last MPTCP options of the connection, if any.
#[inline(never)]
fn plain_options(
    plain: &mut Plain,
    now: Instant,
    subflow: &mut Subflow,
    segment: &SegmentOut,
    space: &mut OptionSpace,
    shared: &mut Shared,
) {
    if segment.chunk.is_none() && !segment.fin {
        if let Some(fail @ MptcpOption::Fail(_)) = subflow.control.pop_front() {
            return emit(&fail, space);
        }
        if let Some(altered) = plain.altered.as_deref_mut().filter(|altered| altered.again.is_none_or(|at| at <= now)) {
            altered.again = Some(now + FAIL_AGAIN);
            return emit(&MptcpOption::Fail(MpFail { dsn: altered.dsn }), space);
        }
    }
    let infinite = plain.infinite.as_deref_mut();
    let at = segment.chunk.map(|chunk| chunk.offset).or(segment.fin.then_some(segment.offset));
    if let Some(infinite) = infinite.filter(|infinite| at.is_some_and(|at| infinite.tellers.contains(&at))) {
        let mapping = DssMapping {
            dsn: WireSeq::Long(infinite.dsn),
            ssn: infinite.ssn,
            len: 0,
            checksum: infinite.checksum.then_some(0),
        };
        if !std::mem::replace(&mut infinite.is_sent, true) {
            shared.mib.bump(Counter::InfiniteMapTx);
        }
        emit(&MptcpOption::Dss(Dss { data_ack: None, mapping: Some(mapping), data_fin: false }), space);
    }
}

/// MP_CAPABLE with both keys, which is repeated until the peer is known to have it (RFC 8684 section 3.1).
fn introduction(state: &Multipath, flags: CapableFlags, mapping: Option<&SentMapping>) -> MptcpOption {
    let (version, sender_key, receiver_key) = (wire::VERSION, state.local.key, state.remote.key);
    MptcpOption::Capable(match mapping {
        None => MpCapable::Ack { version, flags, sender_key, receiver_key },
        Some(mapping) => MpCapable::AckData {
            version,
            flags,
            sender_key,
            receiver_key,
            data_len: data_len(mapping),
            checksum: mapping.checksum,
        },
    })
}

fn data_len(mapping: &SentMapping) -> u16 {
    u16::try_from(mapping.len).unwrap_or(u16::MAX)
}

/// A DATA_FIN that is not attached to data (RFC 8684 section 3.3.3).
fn lone_fin(state: &Multipath, position: u64) -> DssMapping {
    let dsn = DataSeq::at(state.local.idsn, position).0;
    let checksum = state.checksum.then(|| wire::dss_checksum(dsn, 0, 1, 0));
    DssMapping { dsn: WireSeq::Long(dsn), ssn: 0, len: 1, checksum }
}

/// Options of a segment without payload: a waiting signal with as much acknowledgement as fits beside
/// it, else the acknowledgement with the DATA_FIN if that is due. Returns whether a DSS leaves.
///
/// If a DSS is `owed` to the peer, and the signal leaves no room for it, as an ADD_ADDR of IPv6 beside timestamps, it follows at once on a segment of
/// its own, which is one more in a row.
fn unmapped_options(
    subflow: &mut Subflow,
    data_ack: u64,
    fin: Option<DssMapping>,
    owed: bool,
    space: &mut OptionSpace,
    shared: &mut Shared,
) -> bool {
    if let Some(signal) = next_signal(subflow, space) {
        count_signal(&signal, shared);
        let fits = space.remaining() >= room::DATA_ACK;
        if fits {
            emit_data_ack(data_ack, space);
        } else if owed {
            subflow.ack_wanted = true;
            subflow.signals_in_a_row += 1;
        }
        return fits;
    }
    // Nothing of this leaves if TCP asks again, with more room, for the signal that found none.
    let refused = space.has_refused();
    emit_acknowledgement(data_ack, fin, space);
    !refused
}

/// Emits the signal that has waited longest. One that finds no room stays, as TCP may ask again with more, and counts as one of those in a row: a
/// TCP that never has more would be asked again and again.
fn next_signal(subflow: &mut Subflow, space: &mut OptionSpace) -> Option<MptcpOption> {
    let signal = subflow.control.front_mut().filter(|_| subflow.signals_in_a_row < MAX_SIGNALS_IN_A_ROW)?;
    subflow.signals_in_a_row += 1;
    if signal.emit(space) { subflow.control.pop_front() } else { None }
}

fn count_signal(signal: &MptcpOption, shared: &mut Shared) {
    let counter = match signal {
        MptcpOption::AddAddr(add) if add.kind == AddAddrKind::Echo => Counter::EchoAddTx,
        MptcpOption::AddAddr(_) => Counter::AddAddrTx,
        MptcpOption::RemoveAddr(_) => Counter::RmAddrTx,
        MptcpOption::Prio(_) => Counter::MPPrioTx,
        MptcpOption::Fastclose(_) => Counter::MPFastcloseTx,
        _ => return,
    };
    shared.mib.bump(counter);
}
