//! Holding subflows to the policy: what they are for, and how much may be sent on them.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tcp_adapter::Instant;

use super::connection::Connection;
use super::shared::{Cx, Shared};
use super::subflow::Subflow;
use super::views::Views;
use crate::event::SubflowId;
use crate::path_manager::strategy::Pair;
use crate::path_manager::{Grant, PathUse, PolicyState, SpareStep, Spares, Terms};
use crate::scheduler::SubflowView;
use crate::wire::{MpPrio, MptcpOption};

/// After this time a peer that sends over a path which it was asked to leave is asked again.
const TELL_AGAIN: Duration = Duration::from_millis(200);

/// What the policy says of a subflow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Judged {
    terms: Terms,
    /// Of which policy.
    generation: u32,
    /// Others are to be preferred, as far as endpoint and policy say; what else has been said of it since is not theirs to take back.
    backup: bool,
    /// The policy lets nothing more be sent: when the peer was told so last, and how many bytes had been received then.
    exhausted: Option<(Instant, u64)>,
    /// What it has waited for, or waits for, if its rate is limited.
    grant: Option<Grant>,
    /// When more may be sent of what waits.
    pub(crate) allowed_at: Option<Instant>,
}

impl Judged {
    /// Bytes that may leave now, if the policy limits that. Not inlined where each subflow is asked, as most have never been judged.
    #[inline(never)]
    fn allowance(&self, cx: &Cx<'_>) -> Option<usize> {
        self.terms.is_capped().then(|| cx.shared.policy.allowance(&self.terms, self.grant, cx.now))
    }
}

impl Subflow {
    /// What holds for its path, if that limits what may be sent over it.
    #[inline]
    pub(crate) fn capped(&self) -> Option<&Terms> {
        self.judged.as_deref().map(|judged| &judged.terms).filter(|terms| terms.is_capped())
    }

    /// Counts bytes that were given to it.
    #[inline]
    pub(crate) fn count(&mut self, policy: &mut PolicyState, now: Instant, bytes: u64) {
        if let Some(judged) = self.judged.as_deref_mut().filter(|judged| judged.terms.is_capped()) {
            policy.sent(&judged.terms, &mut judged.grant, now, bytes);
        }
    }

    /// Bytes that the policy lets leave on it now, if it limits that.
    #[inline]
    fn allowance(&self, cx: &Cx<'_>) -> Option<usize> {
        self.judged.as_deref()?.allowance(cx)
    }

    fn is_spare(&self) -> bool {
        self.judged.as_deref().is_some_and(|judged| judged.terms.usage == PathUse::Spare)
    }
}

impl Connection {
    /// Has each subflow judged by the policy once, and tells the peer what follows from that.
    pub(crate) fn apply_policy(&mut self, cx: &mut Cx<'_>) {
        let generation = cx.shared.policy.generation();
        if generation == 0 {
            return;
        }
        for index in 0..self.subflows.len() {
            let subflow = &self.subflows[index];
            if subflow.judged.as_deref().is_none_or(|judged| judged.generation != generation) {
                self.judge(index, generation, cx);
            } else if subflow.capped().is_some_and(|terms| cx.shared.policy.is_exhausted(terms)) {
                self.decline(index, cx);
            }
        }
    }

    /// A path has carried all that it may. The peer is told, and told again as long as it goes on: nothing acknowledges MP_PRIO.
    fn decline(&mut self, index: usize, cx: &Cx<'_>) {
        let subflow = &mut self.subflows[index];
        let (id, received, backup) = (subflow.id, subflow.bytes_received, subflow.backup);
        let Some(judged) = subflow.judged.as_deref_mut() else { return };
        match judged.exhausted {
            None => tracing::debug!(conn = %self.id, subflow = %id, "the path has carried all that it may"),
            Some((told, before)) if received > before && told + TELL_AGAIN <= cx.now => {}
            Some(_) => return,
        }
        judged.exhausted = Some((cx.now, received));
        if backup && subflow.alive() {
            subflow.signal(MptcpOption::Prio(MpPrio { backup }));
        }
        self.prefer_others(id, true);
    }

    fn judge(&mut self, index: usize, generation: u32, cx: &mut Cx<'_>) {
        let subflow = &self.subflows[index];
        let (id, pair, initiator) = (subflow.id, subflow.pair(), subflow.initiator);
        let Some(info) = cx.tcp.info(subflow.tcp) else { return };
        let shared = &cx.shared;
        let terms = shared.policy.terms(&shared.links, info.interface, pair.local, pair.remote.ip());
        if terms.usage == PathUse::Never && subflow.counts() {
            // Not the last one that works. It is judged again until there is another.
            if self.subflows.iter().any(|other| other.id != id && other.usable()) {
                self.close_subflow(id, cx);
                // Planned again, should another policy have a use for it.
                self.paths.forget_pairs(|known| known == pair);
            }
            return;
        }
        // A spare path that this side has opened serves as long as it is there.
        let secondary = terms.is_secondary() && !(terms.usage == PathUse::Spare && initiator);
        let backup = shared.endpoints.is_backup(pair.local) || secondary;
        let (before, exhausted) =
            subflow.judged.as_deref().map_or((false, None), |judged| (judged.backup, judged.exhausted));
        let still = exhausted.filter(|_| terms.is_capped() && shared.policy.is_exhausted(&terms));
        let changes = backup != before || (exhausted.is_some() && still.is_none());
        let subflow = &mut self.subflows[index];
        let judged = Judged { terms, generation, backup, exhausted: still, grant: None, allowed_at: None };
        subflow.judged = Some(Box::new(judged));
        if changes && still.is_none() {
            self.prefer_others(id, backup);
        }
    }

    fn prefer_others(&mut self, id: SubflowId, backup: bool) {
        if let Err(error) = self.set_backup(id, backup) {
            tracing::debug!(conn = %self.id, subflow = %id, %error, "cannot change the priority");
        }
    }

    /// Opens and closes spare paths as they are needed.
    pub(crate) fn watch_spares(&mut self, cx: &mut Cx<'_>) {
        if !cx.shared.policy.has_spares() {
            // Under another policy, those that are there are regular.
            self.paths.spares = None;
            return;
        }
        let has_carried_all =
            |subflow: &Subflow| subflow.judged.as_deref().is_some_and(|judged| judged.exhausted.is_some());
        let works = |subflow: &Subflow| subflow.usable() && !subflow.is_spare() && !has_carried_all(subflow);
        let serves = |subflow: &Subflow| {
            !has_carried_all(subflow)
                && subflow.is_spare()
                && subflow.initiator
                && subflow.counts()
                && subflow.stale.is_none()
                && !subflow.link_down
        };
        let (works, serving) = (self.subflows.iter().any(works), self.subflows.iter().any(serves));
        let return_after = cx.shared.policy.policy().return_after;
        let mut spares = self.paths.spares.as_deref().copied().unwrap_or_default();
        let step = spares.update(cx.now, works, serving, return_after);
        self.paths.spares = (spares != Spares::Idle).then(|| Box::new(spares));
        match step {
            SpareStep::Nothing => {}
            SpareStep::Open { anew } => {
                if anew {
                    let around = self.surroundings(cx.shared);
                    let spare = |pair: Pair| around.way(pair).is_some_and(|(_, terms)| terms.usage == PathUse::Spare);
                    self.paths.forget_pairs(spare);
                }
                self.paths.changed = true;
            }
            SpareStep::Close => {
                let spare = self.subflows.iter().filter(|known| known.is_spare() && known.initiator && known.counts());
                for id in spare.map(|subflow| subflow.id).collect::<Vec<_>>() {
                    self.close_subflow(id, cx);
                }
            }
        }
    }

    /// Whether the policy forbids a subflow that the peer opens.
    pub(crate) fn is_forbidden(&self, local: IpAddr, remote: SocketAddr, shared: &Shared) -> bool {
        let way = self.surroundings(shared).way(Pair { local, remote, lane: 0 });
        way.is_some_and(|(_, terms)| terms.usage == PathUse::Never)
    }

    /// Takes subflows that the policy holds back now out of what a scheduler may choose from, as it would wait for one that is
    /// faster than others otherwise. Unless only backups were left: the policy asks nobody to use them.
    pub(crate) fn leave_out_held_back(&self, views: &mut Views, cx: &Cx<'_>) {
        let held_back = |view: &SubflowView| {
            let allowance = self.subflow(view.id).and_then(|subflow| subflow.allowance(cx));
            allowance.is_some_and(|allowance| allowance < view.mss)
        };
        if views.iter().any(|view| !view.backup && !held_back(view)) {
            views.retain(|view| !held_back(view));
        }
    }

    /// Sets the times at which paths whose rate is limited can take more of what waits.
    pub(crate) fn await_allowance(&mut self, cx: &mut Cx<'_>) {
        if cx.shared.policy.generation() == 0 {
            return;
        }
        let waits = self.sender.queue.unsent() > 0 || !self.sender.reinject.is_empty();
        for subflow in &mut self.subflows {
            let usable = subflow.usable();
            let Some(judged) = subflow.judged.as_deref_mut().filter(|judged| judged.terms.is_capped()) else {
                continue;
            };
            let info = cx.tcp.info(subflow.tcp).filter(|_| waits && usable);
            let Judged { terms, grant, allowed_at, .. } = judged;
            let policy = &mut cx.shared.policy;
            *allowed_at = match info {
                Some(info) => policy.wait(terms, grant, cx.now, info.mss),
                None => {
                    policy.give_back(terms, grant, cx.now);
                    None
                }
            };
        }
    }
}

/// The rate that a subflow may have: its TCP's, or what the policy allows if that is less.
pub(crate) fn paced(subflow: &Subflow, by_tcp: Option<u64>, cx: &Cx<'_>) -> Option<u64> {
    match subflow.capped().and_then(|terms| cx.shared.policy.rate(terms)) {
        Some(by_policy) => Some(by_tcp.map_or(by_policy, |rate| rate.min(by_policy))),
        None => by_tcp,
    }
}

/// Bytes that a subflow should be given now: what its TCP wants to take, and what the policy allows.
pub(crate) fn send_room(subflow: &Subflow, cx: &Cx<'_>) -> usize {
    let room = cx.tcp.send_room(subflow.tcp);
    subflow.allowance(cx).map_or(room, |allowance| room.min(allowance))
}
