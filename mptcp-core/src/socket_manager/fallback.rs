//! Falling back to regular TCP (RFC 8684 section 3.7).

use super::connection::{Connection, Doom, Infinite, Plain, Protocol};
use super::sender::Fin;
use super::shared::Shared;
use super::subflow::{Stage, Subflow};
use crate::event::{Event, FallbackCause, SubflowId};
use crate::mib::Counter;
use crate::seq::{DataSeq, SubflowSeq};

impl Connection {
    /// Whether regular TCP can go on where MPTCP stops: all data is contiguous on the only subflow, and neither side has sent a
    /// FIN there, which would be the end of the stream.
    pub(crate) fn can_fall_back(&self) -> bool {
        match &self.protocol {
            Protocol::Negotiating(_) | Protocol::Plain(_) => true,
            Protocol::Multipath(state) => {
                // No data moves on a join that the peer has not confirmed, and the peer may know of none.
                let pending = |subflow: &Subflow| matches!(subflow.stage, Stage::PreEstablished { .. });
                let alone = |subflow: &Subflow| !subflow.is_join() || !subflow.connected || pending(subflow);
                let alone = self.subflows.iter().all(alone);
                let open = self.subflows.first().is_none_or(|first| !first.fin_sent && !first.fin_received);
                state.single_path && alone && open && self.receiver.stream.out_of_order() == 0
            }
        }
    }

    /// Goes on as regular TCP. The caller has made sure that this [is possible](Self::can_fall_back).
    ///
    /// `altered` bytes were taken from the subflow's reader and are not delivered yet.
    pub(crate) fn fall_back(&mut self, cause: FallbackCause, altered: u64, shared: &mut Shared) {
        if matches!(self.protocol, Protocol::Plain(_)) {
            return;
        }
        tracing::debug!(conn = %self.id, %cause, "falling back to regular TCP");
        shared.mib.add(counter(cause), 1);
        self.forget_token(shared);
        let infinite = self.final_mapping(cause);
        let was_multipath = matches!(self.protocol, Protocol::Multipath(_));
        let first = self.subflows.first();
        let (next_offset, read_offset) =
            first.map_or((0, 0), |subflow| (subflow.next_offset, subflow.reader.offset().wrapping_sub(altered)));
        self.protocol = Protocol::Plain(Plain {
            cause,
            tx_base: self.sender.queue.nxt().wrapping_sub(next_offset),
            rx_base: self.receiver.stream.rcv_nxt().wrapping_sub(read_offset),
            rx_idsn: self.multipath().map(|state| state.remote.idsn),
            infinite: infinite.map(Box::new),
            altered: None,
        });
        // What TCP has acknowledged so far, no later segment may acknowledge again.
        let acked = first.map_or(0, |subflow| subflow.sent.iter().next().map_or(next_offset, |mapping| mapping.offset));
        let behind = next_offset.saturating_sub(acked);
        self.sender.acknowledged(self.sender.queue.nxt().saturating_sub(behind));
        self.receiver.forget_fin();
        self.sender.data_rto_at = None;
        self.sender.window_probe_at = None;
        if self.sender.is_shut() {
            // A DATA_FIN says nothing any more: the FIN of the subflow must.
            self.sender.fin = Fin::Queued;
        }
        if was_multipath && self.app.announced {
            shared.mib.lower(Counter::MPCurrEstab);
        }
        let joins: Vec<SubflowId> =
            self.subflows.iter().filter(|subflow| subflow.is_join()).map(|subflow| subflow.id).collect();
        for id in joins {
            self.doom(id, Doom::Bare);
        }
        // What was to close the subflow would end the stream.
        drop(self.paths.leaving.take());
        drop(self.paths.lost.take());
        if let Some(subflow) = self.subflows.first_mut() {
            subflow.control.clear();
            subflow.stale = None;
            (subflow.remove_at, subflow.removal_asked) = (None, false);
            if matches!(subflow.stage, Stage::CapableSyn { .. } | Stage::CapableAnswered) {
                subflow.stage = Stage::Established;
            }
        }
        shared.events.push_back(Event::FellBack(self.id, cause));
    }

    /// The infinite mapping that tells the peer, in case options still pass in this direction. It starts at the
    /// first byte that is not known to be delivered intact.
    fn final_mapping(&self, cause: FallbackCause) -> Option<Infinite> {
        let Protocol::Multipath(state) = &self.protocol else { return None };
        let subflow = self.subflows.first()?;
        let una = self.sender.queue.una();
        let behind = self.sender.queue.nxt() - una;
        let (start, new) = (subflow.next_offset.saturating_sub(behind), subflow.next_offset);
        let tellers = match cause {
            // Nothing says that the peer has noticed, and there may be nothing new to tell it with: so does what was
            // given to TCP before and has not been sent, or is sent again.
            FallbackCause::AckWithoutDataAck | FallbackCause::DataWithoutMapping => start..=new,
            FallbackCause::ChecksumFailed | FallbackCause::PeerFailed => new..=new,
            _ => return None,
        };
        let (dsn, ssn) = (DataSeq::at(state.local.idsn, una).0, SubflowSeq::from_offset(start).0);
        Some(Infinite { dsn, ssn, checksum: state.checksum, tellers, is_sent: false })
    }
}

fn counter(cause: FallbackCause) -> Counter {
    match cause {
        FallbackCause::NotOffered | FallbackCause::Blackhole | FallbackCause::NotRequested => {
            Counter::MPCapableSYNTXDisabled
        }
        FallbackCause::SynAckWithoutCapable => Counter::MPCapableFallbackSYNACK,
        FallbackCause::AckWithoutCapable => Counter::MPCapableFallbackACK,
        FallbackCause::DataWithoutMapping => Counter::MPCapableDataFallback,
        FallbackCause::AckWithoutDataAck | FallbackCause::ChecksumFailed | FallbackCause::PeerFailed => {
            Counter::DssFallback
        }
        FallbackCause::InfiniteMapping => Counter::InfiniteMapRx,
    }
}
