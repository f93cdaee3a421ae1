//! Carrying out what the path manager decides for one connection.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rand::{Rng, RngExt};
use tcp_adapter::{ConnectError, ConnectRequest};

use super::connection::{Connection, Doom, Multipath, Protocol};
use super::liveness::MOST_FALSE_ALARMS;
use super::shared::{Cx, Shared};
use super::subflow::{MAX_SIGNALS_IN_A_ROW, NewSubflow, SIGNAL_PAUSE, Stage, Subflow};
use crate::event::{Event, SubflowCloseReason, SubflowId};
use crate::mib::Counter;
use crate::path_manager::strategy::{Pair, PairInUse};
use crate::path_manager::{Limits, PathUse, Plan, Surroundings};
use crate::wire::{AddrId, MpPrio, MptcpOption, ResetReason};

/// How long a subflow whose address was withdrawn may take to answer a probe before it is reset.
const REMOVAL_PATIENCE: Duration = Duration::from_secs(1);

/// Hosts whose joins have crossed try again within this time of each other, at random.
const CROSSING_SPREAD: Duration = Duration::from_secs(1);

/// A subflow that was stale for longer than this is made anew when its path answers again: both ends would have to
/// repeat, by backed-off timers, what has long arrived over others (RFC 8684 section 3.6, reason 4).
const RESTART_AFTER: Duration = Duration::from_secs(1);

/// Why a subflow could not be created or changed by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubflowError {
    /// The handle names no live connection.
    #[error("the connection does not exist any more")]
    NoConnection,
    /// The number names no subflow of the connection.
    #[error("the connection has no such subflow")]
    NoSubflow,
    /// Only a MPTCP connection has subflows that can be closed, and more of them once its peer has answered with a DSS option.
    #[error("the connection does not speak MPTCP, or not yet")]
    NotMultipath,
    /// There are as many as can be.
    #[error("the connection has {0} subflows besides the first already, the most that is possible")]
    TooMany(u8),
    /// The peer has set flag C of MP_CAPABLE.
    #[error("the peer takes no further subflows at {0}, the first address and port")]
    Denied(SocketAddr),
    /// The address has the id of one that was removed, and the peer was not told of that yet.
    #[error("the peer still knows another address by the address id of {0}: try again in a moment")]
    IdTaken(IpAddr),
    /// It is the last subflow that works, and the connection is not closed on both sides with all data acknowledged.
    #[error("this is the last subflow that works: open another one first, or close the connection")]
    Needed,
    /// TCP could not connect.
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

impl Connection {
    /// Opens the subflows that are planned, makes lost ones again, and announces addresses.
    #[inline]
    pub(crate) fn manage_paths(&mut self, cx: &mut Cx<'_>) {
        // Nearly always there is nothing to do.
        if !self.paths.is_at_rest() || cx.shared.policy.generation() != 0 {
            self.change_paths(cx);
        }
    }

    #[inline(never)]
    fn change_paths(&mut self, cx: &mut Cx<'_>) {
        self.drop_lost_addresses(cx);
        self.leave_addresses(cx);
        self.apply_policy(cx);
        if self.wants_paths() {
            self.watch_spares(cx);
            self.retry_lost(cx);
            if std::mem::take(&mut self.paths.changed) {
                self.close_superfluous(cx);
                self.open_planned(cx);
            }
        }
        if self.tells_addresses() {
            self.announce_addresses(cx);
            self.withdraw_addresses(cx);
        }
        if matches!(self.protocol, Protocol::Plain(_)) {
            self.paths.give_up_plans();
        }
    }

    /// Whether subflows may be added, and are still of use (RFC 8684 section 3.1: not before a DSS has come in).
    pub(crate) fn wants_paths(&self) -> bool {
        self.is_of_use(|state| state.confirmed)
    }

    /// Whether the peer may be told of addresses, and has a use for them.
    pub(crate) fn tells_addresses(&self) -> bool {
        self.is_of_use(|state| state.introduced)
    }

    fn is_of_use(&self, ready: impl FnOnce(&Multipath) -> bool) -> bool {
        let ready = self.closed.is_none() && self.multipath().is_some_and(ready);
        let closing = self.sender.is_shut() && self.receiver.is_finished();
        // What is left then is to be acknowledged: new subflows are of use if the old ones are gone, or do not bring it there.
        let is_stuck = || self.sender.timeouts > 0 && self.sender.queue.una() < self.sender.queue.sent_end();
        ready && (!closing || !self.is_over() && (is_stuck() || !self.subflows.iter().any(Subflow::usable)))
    }

    /// What subflows are planned from.
    pub(crate) fn surroundings<'a>(&self, shared: &'a Shared) -> Surroundings<'a> {
        let in_use = |subflow: &Subflow| PairInUse {
            pair: subflow.pair(),
            initiator: subflow.initiator,
            works: subflow.usable(),
        };
        Surroundings {
            endpoints: &shared.endpoints,
            links: &shared.links,
            policy: &shared.policy,
            limits: shared.config.limits,
            subflows: self.subflows.iter().filter(|subflow| subflow.counts()).map(in_use).collect(),
        }
    }

    fn close_superfluous(&mut self, cx: &mut Cx<'_>) {
        let superfluous = self.paths.superfluous(&self.surroundings(cx.shared));
        if superfluous.is_empty() {
            return;
        }
        self.paths.forget_pairs(|pair| superfluous.contains(&pair));
        let ours = self.subflows.iter().filter(|known| known.initiator && superfluous.contains(&known.pair()));
        for id in ours.map(|subflow| subflow.id).collect::<Vec<_>>() {
            if !self.needs(id) {
                self.close_subflow(id, cx);
            }
        }
    }

    fn open_planned(&mut self, cx: &mut Cx<'_>) {
        let limit = usize::from(cx.shared.config.limits.subflows.min(Limits::MAX_SUBFLOWS));
        self.paths.forget_outdated();
        for subflow in self.subflows.iter().filter(|subflow| subflow.counts()) {
            self.paths.mark_tried(subflow.pair());
        }
        while self.extra_subflows() < limit {
            if self.paths.pace.deadline().is_some_and(|at| at > cx.now) {
                // There may be more to open then.
                self.paths.changed = true;
                return;
            }
            let around = self.surroundings(cx.shared);
            let Some(plan) = self.paths.next_plan(&around) else { return };
            self.paths.pace.count(cx.now);
            self.join_or_retry(plan, cx);
            // Of spare paths one serves, and the next only if that one does not.
            self.watch_spares(cx);
        }
    }

    fn retry_lost(&mut self, cx: &mut Cx<'_>) {
        let limit = usize::from(cx.shared.config.limits.subflows.min(Limits::MAX_SUBFLOWS));
        for pair in self.paths.retries.take_due(cx.now) {
            // With no subflow left, the one to make takes the first one's place.
            let full = !self.subflows.is_empty() && self.extra_subflows() >= limit;
            if self.subflows.iter().any(|subflow| subflow.pair() == pair && subflow.counts()) || full {
                self.paths.retries.postpone(cx.now, pair);
                continue;
            }
            let Some((interface, terms)) = self.surroundings(cx.shared).way(pair) else {
                self.paths.retries.park(pair);
                continue;
            };
            if !self.paths.permits(&terms, &cx.shared.policy) {
                // When the policy has a use for it again, it is planned anew.
                self.paths.forget_pairs(|known| known == pair);
                continue;
            }
            let remote_id = self.paths.remote_id(pair.remote);
            let backup = cx.shared.endpoints.is_backup(pair.local) || terms.usage == PathUse::Backup;
            self.join_or_retry(Plan { pair, remote_id, backup, interface }, cx);
        }
    }

    /// Joins. If TCP cannot connect now, it may be able to later.
    fn join_or_retry(&mut self, plan: Plan, cx: &mut Cx<'_>) {
        let pair = plan.pair;
        if self.is_denied(pair.remote) {
            // Not even if the peer has announced it besides.
            return;
        }
        if self.is_id_taken(pair.local, cx.shared) {
            self.arm_retry(pair, cx);
            return;
        }
        match self.join(plan, cx) {
            Ok(_) => {}
            Err(error @ ConnectError::PortZero) => {
                tracing::debug!(conn = %self.id, ?pair, %error, "cannot ever join");
                self.paths.retries.forget(pair);
            }
            Err(error) => {
                tracing::debug!(conn = %self.id, ?pair, %error, "cannot join");
                self.arm_retry(pair, cx);
            }
        }
    }

    /// Arms another attempt on a pair that has not worked. The peer's first address is alive, so a path to it may
    /// come up; what it has announced besides may never be reachable from here.
    fn arm_retry(&mut self, pair: Pair, cx: &Cx<'_>) {
        self.paths.retries.arm(cx.now, pair, self.most_attempts(pair.remote, cx.shared));
    }

    fn most_attempts(&self, remote: SocketAddr, shared: &Shared) -> Option<u32> {
        (self.paths.remote != remote).then_some(shared.config.join_attempts)
    }

    /// Starts a join on request of the application, whatever the policy.
    pub(crate) fn join_by_hand(
        &mut self,
        local: IpAddr,
        remote: SocketAddr,
        backup: bool,
        cx: &mut Cx<'_>,
    ) -> Result<SubflowId, SubflowError> {
        if self.closed.is_some() || !self.multipath().is_some_and(|state| state.confirmed) {
            return Err(SubflowError::NotMultipath);
        }
        if self.extra_subflows() >= usize::from(Limits::MAX_SUBFLOWS) {
            return Err(SubflowError::TooMany(Limits::MAX_SUBFLOWS));
        }
        if self.is_denied(remote) {
            return Err(SubflowError::Denied(remote));
        }
        let unreachable = ConnectError::Unreachable { local, remote };
        if local.is_ipv4() != remote.is_ipv4() {
            return Err(unreachable.into());
        }
        if !cx.shared.links.has(local) {
            return Err(ConnectError::NotLocal(local).into());
        }
        let taken = |lane: u8| self.subflows.iter().any(|subflow| subflow.pair() == Pair { local, remote, lane });
        let lane = (0..u8::MAX).find(|lane| !taken(*lane)).unwrap_or(u8::MAX);
        let pair = Pair { local, remote, lane };
        let (interface, _) = self.surroundings(cx.shared).way(pair).ok_or(unreachable)?;
        if self.is_id_taken(local, cx.shared) {
            return Err(SubflowError::IdTaken(local));
        }
        let remote_id = self.paths.remote_id(remote);
        Ok(self.join(Plan { pair, remote_id, backup, interface }, cx)?)
    }

    /// Whether a join from this address would give its id to it too early.
    pub(crate) fn is_id_taken(&self, local: IpAddr, shared: &mut Shared) -> bool {
        let id = self.paths.local_id(&mut shared.endpoints, local);
        local != self.paths.local.ip() && self.is_taken(id, local)
    }

    /// Whether flag C keeps joins off this address and port (RFC 8684 section 3.1).
    fn is_denied(&self, remote: SocketAddr) -> bool {
        self.paths.deny_remote_initial && self.paths.remote == remote
    }

    fn join(&mut self, plan: Plan, cx: &mut Cx<'_>) -> Result<SubflowId, ConnectError> {
        let Plan { pair: Pair { local, remote, lane }, remote_id, backup, interface } = plan;
        // The port of the first subflow is what firewalls and monitors expect (RFC 8684 section 3.9.1).
        let same_port = ConnectRequest { local, local_port: Some(self.paths.local.port()), remote };
        let any_port = ConnectRequest { local_port: None, ..same_port };
        // But the peer may still be in TIME-WAIT with it.
        let first = if self.paths.retries.was_closed(plan.pair) { &any_port } else { &same_port };
        let opened = match cx.tcp.connect_by(cx.now, interface, first) {
            Err(ConnectError::InUse(_)) => cx.tcp.connect_by(cx.now, interface, &any_port),
            other => other,
        };
        let tcp = opened.inspect_err(|_| cx.shared.mib.bump(Counter::MPJoinSynTxConnectErr))?;
        let port = cx.tcp.info(tcp).map_or(self.paths.local.port(), |info| info.local.port());
        let id = self.draw_subflow_id();
        let local_id = self.paths.local_id(&mut cx.shared.endpoints, local);
        self.reclaim_id(local_id, local);
        let new = NewSubflow {
            id,
            tcp,
            stage: Stage::JoinSyn { nonce: cx.shared.rng.next_u32() },
            initiator: true,
            local: SocketAddr::new(local, port),
            remote,
            local_id,
            remote_id,
            lane,
            backup,
            backup_by_peer: false,
        };
        self.add_subflow(new, cx.shared);
        self.apply_policy(cx);
        if let Some(subflow) = self.subflow_mut(id) {
            // The SYN has not left yet.
            subflow.backup_told = subflow.backup;
        }
        Ok(id)
    }

    /// Asks the peer to treat a subflow as a backup or not (RFC 8684 section 3.3.8).
    pub(crate) fn set_backup(&mut self, id: SubflowId, backup: bool) -> Result<(), SubflowError> {
        let subflow = self.subflow_mut(id).ok_or(SubflowError::NoSubflow)?;
        if subflow.backup == backup {
            return Ok(());
        }
        subflow.backup = backup;
        self.tell_priorities();
        Ok(())
    }

    /// Tells the peer of priorities that are not what it was told, once that is possible.
    fn tell_priorities(&mut self) {
        if self.multipath().is_none() {
            return;
        }
        for subflow in
            self.subflows.iter_mut().filter(|subflow| subflow.alive() && subflow.backup != subflow.backup_told)
        {
            subflow.backup_told = subflow.backup;
            subflow.signal(MptcpOption::Prio(MpPrio { backup: subflow.backup }));
        }
    }

    /// An endpoint has become a backup or stopped to be one.
    pub(crate) fn endpoint_backup(&mut self, addr: IpAddr, backup: bool) {
        let affected: Vec<SubflowId> =
            self.subflows.iter().filter(|subflow| subflow.local.ip() == addr).map(|subflow| subflow.id).collect();
        for id in affected {
            if let Err(error) = self.set_backup(id, backup) {
                tracing::debug!(conn = %self.id, subflow = %id, %error, "cannot change the priority");
            }
        }
    }

    /// An endpoint is no longer `fullmesh`: what it has opened to other addresses of the peer than the first is closed.
    pub(crate) fn endpoint_narrowed(&mut self, addr: IpAddr, cx: &mut Cx<'_>) {
        let first = self.paths.remote.ip();
        let beyond = |subflow: &&Subflow| {
            subflow.initiator && subflow.is_join() && subflow.local.ip() == addr && subflow.remote.ip() != first
        };
        for id in self.subflows.iter().filter(beyond).map(|subflow| subflow.id).collect::<Vec<_>>() {
            if !self.needs(id) {
                self.close_subflow(id, cx);
            }
        }
    }

    /// Does for the subflows what a hook could only note, and tells the peer of their priorities.
    #[inline]
    pub(crate) fn follow_up(&mut self, cx: &mut Cx<'_>) {
        if self.subflows.iter().any(|subflow| subflow.has_notes() || subflow.backup != subflow.backup_told) {
            self.tell_priorities();
            self.follow_notes(cx);
        }
    }

    #[inline(never)]
    fn follow_notes(&mut self, cx: &mut Cx<'_>) {
        let conn = self.id;
        if !self.subflows.iter().any(Subflow::has_notes) {
            return;
        }
        // Not once either side has closed: Linux refuses joins from then on.
        let both_open = !self.sender.is_shut() && !self.receiver.is_finished();
        let elsewhere = both_open && self.subflows.iter().filter(|subflow| subflow.usable()).count() > 1;
        let mut restarts = Vec::new();
        let introduced = self.multipath().is_none_or(|state| state.introduced);
        for subflow in &mut self.subflows {
            // Until the peer is known to have the keys, what leaves without payload repeats them (RFC 8684 section 3.1).
            let introducing = subflow.initiator && !subflow.is_join() && !introduced;
            let signals = !subflow.control.is_empty() && subflow.alive() && !introducing;
            if signals && subflow.signals_in_a_row >= MAX_SIGNALS_IN_A_ROW {
                subflow.signal_at.get_or_insert(cx.now + SIGNAL_PAUSE);
            } else if std::mem::take(&mut subflow.ack_wanted) || signals {
                cx.tcp.ack_now(cx.now, subflow.tcp);
            }
            if let Some(stale) = subflow.recovered.take() {
                cx.shared.mib.bump(Counter::SubflowRecover);
                let late = cx.tcp.info(subflow.tcp).is_some_and(|info| stale.was_only_late(&info));
                subflow.false_alarms = match late {
                    true => (subflow.false_alarms + 1).min(MOST_FALSE_ALARMS),
                    false => subflow.false_alarms.saturating_sub(1),
                };
                if elsewhere && subflow.initiator && stale.since + RESTART_AFTER <= cx.now {
                    restarts.push(subflow.id);
                    continue;
                }
                // The answers to these are duplicate ACKs, on which TCP sends at once what it would
                // otherwise hold back until its backed-off timer fires.
                for _ in 0..3 {
                    cx.tcp.probe(cx.now, subflow.tcp);
                }
            }
            if std::mem::take(&mut subflow.removal_asked) && subflow.alive() {
                subflow.remove_at = Some(cx.now + REMOVAL_PATIENCE);
                cx.tcp.probe(cx.now, subflow.tcp);
                tracing::debug!(%conn, subflow = %subflow.id, "probing a path whose address was withdrawn");
            }
        }
        for id in restarts {
            self.doom(id, Doom::Reason(ResetReason::TooMuchOutstanding));
        }
        for index in 0..self.subflows.len() {
            // It may fall silent again before anything new is given to it.
            let subflow = &self.subflows[index];
            if subflow.miss_at.is_none() && subflow.waiting_since.is_some() && subflow.usable() {
                self.expect_answers(index, cx);
            }
        }
    }

    /// Whether options wait for a segment without payload.
    pub(crate) fn has_signals(&self, id: SubflowId) -> bool {
        self.subflow(id).is_some_and(|subflow| !subflow.control.is_empty())
    }

    /// Goes on with signals after a pause.
    pub(crate) fn resume_signals(&mut self, cx: &mut Cx<'_>) {
        for subflow in self.subflows.iter_mut().filter(|subflow| subflow.signal_at.is_some_and(|at| at <= cx.now)) {
            subflow.signal_at = None;
            subflow.signals_in_a_row = 0;
        }
    }

    /// Resets subflows whose withdrawn address did not answer.
    pub(crate) fn remove_silent(&mut self, cx: &mut Cx<'_>) {
        let silent = |subflow: &&Subflow| subflow.remove_at.is_some_and(|at| at <= cx.now);
        let gone: Vec<SubflowId> = self.subflows.iter().filter(silent).map(|subflow| subflow.id).collect();
        for id in gone {
            cx.shared.mib.bump(Counter::RmSubflow);
            if let Some(subflow) = self.subflow_mut(id) {
                subflow.remove_at = None;
            }
            self.doom(id, Doom::Reason(ResetReason::Unspecified));
        }
    }

    /// Tells of joins that have been completed.
    #[inline]
    pub(crate) fn announce_joins(&mut self, cx: &mut Cx<'_>) {
        // Most connections never have any.
        if self.next_subflow > 1 && self.subflows.iter().any(Subflow::is_unannounced_join) {
            self.announce_joined(cx);
        }
    }

    #[inline(never)]
    fn announce_joined(&mut self, cx: &mut Cx<'_>) {
        let conn = self.id;
        for subflow in self.subflows.iter_mut().filter(|subflow| subflow.is_unannounced_join()) {
            subflow.announced = true;
            self.paths.retries.made(subflow.pair());
            cx.shared.events.push_back(Event::SubflowEstablished(conn, subflow.id));
        }
        if !self.app.released && !self.is_over() {
            self.give_up_at = None;
        }
        self.paths.changed = true;
        self.paths.announced.try_again();
        if let Some(multipath) = self.multipath_mut() {
            multipath.single_path = false;
        }
        if self.subflows.iter().filter(|subflow| subflow.usable()).count() == 1 {
            // The first one after a time without any answers for itself only.
            (self.sender.timeouts, self.sender.data_rto_at) = (0, None);
        }
    }

    /// Data has come on a subflow, or arrived: if it was lost before, it works again.
    #[inline]
    pub(crate) fn note_use(&mut self, id: SubflowId) {
        if !self.paths.retries.is_empty()
            && let Some(pair) = self.subflow(id).map(Subflow::pair)
        {
            self.paths.retries.forget(pair);
        }
    }

    /// Whether to make a lost subflow again, and when.
    pub(crate) fn reconsider_path(&mut self, subflow: &Subflow, why: SubflowCloseReason, cx: &mut Cx<'_>) {
        let (now, pair, remote) = (cx.now, subflow.pair(), SocketAddr::from(subflow.remote));
        self.paths.changed = true;
        // Nobody wants the last one to be gone, unless its address is.
        let ours_is_gone = self.paths.withdrawn.contains(subflow.local_id, pair.local);
        let works = self.subflows.iter().any(Subflow::usable);
        let last = why == SubflowCloseReason::Normal && !works && !ours_is_gone;
        let again = last || is_made_again(why, subflow.connected, subflow.crossed);
        let first = subflow.remote == self.paths.remote;
        let denied = self.is_denied(remote);
        let announced = first || subflow.remote_id == AddrId(0) || self.paths.remotes.knows(subflow.remote);
        // Not what the peer has withdrawn (RFC 8684 section 3.4.2), be it before the join was complete.
        let withdrawn = subflow.withdrawn || (!subflow.announced && !announced);
        if !again || !subflow.initiator || denied || withdrawn {
            self.paths.retries.forget(pair);
        } else if why == SubflowCloseReason::Aborted(ResetReason::TooMuchOutstanding) {
            // The path has just shown that it works.
            self.paths.retries.arm_at_once(now, pair);
        } else {
            let has_worked = subflow.announced || (!subflow.is_join() && subflow.connected);
            let most = match has_worked {
                true => None,
                // The peer is there, and may never have room for it.
                false if matches!(why, SubflowCloseReason::Reset(Some(_))) => Some(cx.shared.config.join_attempts),
                false => self.most_attempts(remote, cx.shared),
            };
            // The peer will try again too: not at the same time, that is (RFC 8684 section 3.9.2).
            let spread = if subflow.crossed {
                cx.shared.rng.random_range(Duration::ZERO..CROSSING_SPREAD)
            } else {
                Duration::ZERO
            };
            self.paths.retries.arm_with(now + spread, least_wait(why), pair, most);
            if why == SubflowCloseReason::Normal {
                self.paths.retries.note_closed(pair);
            }
        }
    }
}

/// Whether a subflow that was lost for this reason may work another time.
fn is_made_again(why: SubflowCloseReason, connected: bool, crossed: bool) -> bool {
    match why {
        // Closed on purpose by either side.
        SubflowCloseReason::Normal => false,
        // Refused in the handshake: not again unless the peer refreshes the address (RFC 8684 section 3.9.3).
        SubflowCloseReason::Refused => false,
        SubflowCloseReason::Reset(Some((_, transient))) => transient,
        SubflowCloseReason::Reset(None) => connected,
        SubflowCloseReason::TimedOut => true,
        SubflowCloseReason::Aborted(_) if crossed => true,
        SubflowCloseReason::Aborted(reason) => {
            matches!(reason, ResetReason::UnacceptablePerformance | ResetReason::TooMuchOutstanding)
        }
    }
}

/// How long what made a peer reset a subflow is likely to last (RFC 8684 section 3.6).
fn least_wait(why: SubflowCloseReason) -> Duration {
    let SubflowCloseReason::Reset(Some((reason, _))) = why else { return Duration::ZERO };
    Duration::from_secs(match reason {
        // What was too much is gone with the subflow.
        ResetReason::TooMuchOutstanding => 0,
        ResetReason::Unspecified | ResetReason::MptcpSpecific | ResetReason::Other(_) => 0,
        // Until others have closed, or a path has recovered.
        ResetReason::LackOfResources | ResetReason::UnacceptablePerformance => 3,
        // Policies and middleboxes change rarely.
        ResetReason::Prohibited | ResetReason::MiddleboxInterference => 8,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_but_a_refusal_or_a_wish_is_tried_again() {
        use SubflowCloseReason::{Aborted, Normal, Refused, Reset, TimedOut};
        let again = |why| is_made_again(why, true, false);
        for why in [
            TimedOut,
            // A middlebox, or a peer that has lost its memory.
            Reset(None),
            Reset(Some((ResetReason::LackOfResources, true))),
            // No answer to data, to keep-alives or to the third ACK; the link has failed in the handshake.
            Aborted(ResetReason::UnacceptablePerformance),
            // It has just answered again.
            Aborted(ResetReason::TooMuchOutstanding),
        ] {
            assert!(again(why), "{why:?}");
        }
        for why in [
            Normal,
            Refused,
            Reset(Some((ResetReason::Prohibited, false))),
            // Options do not pass, the peer breaks the protocol, or the address is withdrawn: it would end as before.
            Aborted(ResetReason::MiddleboxInterference),
            Aborted(ResetReason::MptcpSpecific),
            Aborted(ResetReason::Unspecified),
            Aborted(ResetReason::Prohibited),
        ] {
            assert!(!again(why), "{why:?}");
        }
        assert!(!is_made_again(Reset(None), false, false), "refused in the handshake");
        assert!(is_made_again(Aborted(ResetReason::MptcpSpecific), false, true), "both have opened it at once");
    }
}
