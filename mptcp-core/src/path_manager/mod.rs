//! The path manager: which subflows a connection should have, and what the peer is told of addresses.
//!
//! [`EndpointTable`], [`Links`], [`PolicyState`] and [`Blackholes`] are the stack's; a [`PathState`] is one connection's. A
//! [`PathStrategy`] says what it would have; the path manager holds that against limits, policy and what was tried before; the
//! socket manager carries out.

mod announce;
mod blackhole;
mod endpoint;
mod links;
mod pace;
mod policy;
mod remote;
mod retry;
mod site;
mod spares;
pub mod strategy;
mod withdraw;

use std::net::{IpAddr, SocketAddr};

use tcp_adapter::{IdleQueue, InterfaceId};

pub(crate) use announce::Announcements;
pub(crate) use blackhole::Blackholes;
pub use blackhole::{Blackhole, BlackholeScope};
pub(crate) use endpoint::EndpointTable;
pub use endpoint::{Endpoint, EndpointError, EndpointFlags, EndpointId, Limits};
pub use links::Link;
pub(crate) use links::Links;
pub(crate) use pace::Pace;
pub(crate) use policy::{Grant, PolicyState, Terms};
pub use policy::{PathPolicy, PathRule, PathUse, PolicyError};
pub use remote::RemoteAddr;
pub(crate) use remote::{Learned, RemoteAddrs};
pub(crate) use retry::Retries;
pub(crate) use site::Site;
pub(crate) use spares::{SpareStep, Spares};
use strategy::{Pair, PairInUse, PathStrategy, PathView, SharedStrategy, WantedAnnouncement, WantedSubflow};
pub(crate) use withdraw::Withdrawals;

use crate::wire::AddrId;

/// An address that an interface of ours has lost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LostAddress {
    pub(crate) interface: InterfaceId,
    pub(crate) addr: IpAddr,
    /// By which the peer knows it. `None` if it knows nothing of it.
    pub(crate) id: Option<AddrId>,
}

/// What the path manager knows of one connection.
#[derive(Clone, Debug)]
pub(crate) struct PathState {
    /// The addresses that the application sees: those of the first subflow (RFC 8684 section 4, "5-tuple").
    pub(crate) local: Site,
    pub(crate) remote: Site,
    /// This side has opened the connection.
    initiator: bool,
    /// The peer asked not to be joined at its first address (flag C of MP_CAPABLE).
    pub(crate) deny_remote_initial: bool,
    pub(crate) strategy: SharedStrategy,
    pub(crate) announced: Announcements,
    pub(crate) withdrawn: Withdrawals,
    /// Addresses that are no endpoints any more, but carry the last subflow that works.
    pub(crate) leaving: IdleQueue<Leaving>,
    /// Addresses that an interface of ours has lost, and whose subflows are kept as long as no other works.
    pub(crate) lost: IdleQueue<LostAddress>,
    pub(crate) remotes: RemoteAddrs,
    pub(crate) retries: Retries,
    pub(crate) pace: Pace,
    /// Nothing while another path works.
    pub(crate) spares: Option<Box<Spares>>,
    /// Something has changed since subflows were last planned.
    pub(crate) changed: bool,
    /// Something has changed since it was last looked which addresses to announce.
    pub(crate) announce: bool,
    /// Pairs that were tried, so that none is tried twice on our own account.
    tried: Vec<Tried>,
}

/// An address of ours that is to be withdrawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leaving {
    pub(crate) id: AddrId,
    pub(crate) addr: IpAddr,
    /// The peer was told of it by ADD_ADDR.
    pub(crate) announced: bool,
}

/// A subflow that should be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) pair: Pair,
    pub(crate) remote_id: AddrId,
    pub(crate) backup: bool,
    /// The interface to leave by.
    pub(crate) interface: InterfaceId,
}

/// What a plan is made from besides the connection's own state.
pub(crate) struct Surroundings<'a> {
    pub(crate) endpoints: &'a EndpointTable,
    pub(crate) links: &'a Links,
    pub(crate) policy: &'a PolicyState,
    pub(crate) limits: Limits,
    /// The subflows that exist.
    pub(crate) subflows: Vec<PairInUse>,
}

impl PathState {
    pub(crate) fn new((local, remote): (SocketAddr, SocketAddr), initiator: bool, strategy: SharedStrategy) -> Self {
        let mut remotes = RemoteAddrs::default();
        remotes.observe(AddrId(0), remote.into());
        Self {
            local: local.into(),
            remote: remote.into(),
            initiator,
            deny_remote_initial: false,
            strategy,
            announced: Announcements::default(),
            withdrawn: Withdrawals::default(),
            leaving: IdleQueue::new(),
            lost: IdleQueue::new(),
            remotes,
            retries: Retries::default(),
            pace: Pace::default(),
            spares: None,
            changed: true,
            announce: true,
            tried: vec![Pair { local: local.ip(), remote, lane: 0 }.into()],
        }
    }

    /// Whether no time and no change of addresses has to be looked at.
    #[inline]
    pub(crate) fn is_at_rest(&self) -> bool {
        !self.changed
            && !self.announce
            && self.announced.is_done()
            && self.withdrawn.is_empty()
            && self.leaving.is_empty()
            && self.lost.is_empty()
            && self.retries.is_empty()
            && self.spares.is_none()
    }

    /// No subflow will be added, and no address be told: the connection goes on as regular TCP (RFC 8684 section 3.7).
    pub(crate) fn give_up_plans(&mut self) {
        self.changed = false;
        self.announce = false;
    }

    /// The next subflow to open, if there is one that was not tried yet: of those that the strategy would have, that can work now
    /// and that the policy allows, the cheapest; of several as cheap, the one that the strategy has named first.
    pub(crate) fn next_plan(&mut self, around: &Surroundings<'_>) -> Option<Plan> {
        let wanted = self.viewed(around, |strategy, view| strategy.subflows(view));
        let plans = wanted.into_iter().filter_map(|wanted| self.plan(wanted, around));
        let (_, plan) = plans.min_by_key(|(cost, _)| *cost)?;
        self.tried.push(plan.pair.into());
        Some(plan)
    }

    /// The subflows that the strategy has no use for any more.
    pub(crate) fn superfluous(&self, around: &Surroundings<'_>) -> Vec<Pair> {
        self.viewed(around, |strategy, view| strategy.superfluous(view))
    }

    /// What a wish comes to, with its cost; nothing, if it was tried or cannot or must not be.
    fn plan(&self, wanted: WantedSubflow, around: &Surroundings<'_>) -> Option<(u32, Plan)> {
        let WantedSubflow { pair, backup } = wanted;
        if self.tried.contains(&pair.into()) || pair.local.is_ipv4() != pair.remote.is_ipv4() {
            return None;
        }
        let (interface, terms) = around.way(pair)?;
        if !self.permits(&terms, around.policy) {
            return None;
        }
        let backup = backup || terms.usage == PathUse::Backup;
        Some((terms.cost, Plan { pair, remote_id: self.remote_id(pair.remote), backup, interface }))
    }

    /// Whether the policy lets a subflow be opened now.
    pub(crate) fn permits(&self, terms: &Terms, policy: &PolicyState) -> bool {
        let of_use = match terms.usage {
            PathUse::Regular | PathUse::Backup => true,
            PathUse::Spare => self.spares.as_deref().is_some_and(Spares::is_one_missing),
            PathUse::Never => false,
        };
        of_use && !policy.is_exhausted(terms)
    }

    /// The address id of a destination.
    pub(crate) fn remote_id(&self, remote: SocketAddr) -> AddrId {
        if self.remote == remote { AddrId(0) } else { self.remotes.id_of(remote.ip()).unwrap_or(AddrId(0)) }
    }

    /// The addresses to tell the peer of.
    pub(crate) fn wanted_announcements(&self, around: &Surroundings<'_>) -> Vec<WantedAnnouncement> {
        let mut wanted = self.viewed(around, |strategy, view| strategy.announcements(view));
        wanted.retain(|wanted| around.may_announce(wanted.addr, self.remote.ip()));
        wanted
    }

    /// Asks the strategy something.
    fn viewed<R>(&self, around: &Surroundings<'_>, ask: impl FnOnce(&dyn PathStrategy, &PathView<'_>) -> R) -> R {
        // What exists, and what waits to be made again.
        let mut subflows = around.subflows.clone();
        for pair in self.retries.pairs() {
            if subflows.iter().all(|known| known.pair != pair) {
                subflows.push(PairInUse { pair, initiator: true, works: false });
            }
        }
        let view = PathView {
            initiator: self.initiator,
            first: (self.local.into(), self.remote.into()),
            first_denied: self.deny_remote_initial,
            endpoints: around.endpoints.as_slice(),
            links: around.links.as_slice(),
            remotes: &self.remotes.announced(),
            subflows: &subflows,
            limits: around.limits,
        };
        ask(&**self.strategy, &view)
    }

    /// Something has happened that plans and announcements depend on.
    pub(crate) fn reconsider(&mut self) {
        (self.changed, self.announce) = (true, true);
    }

    /// Takes an address that the peer has announced, accepting at most `limit` of them.
    pub(crate) fn learn(&mut self, id: AddrId, addr: SocketAddr, limit: usize) -> Learned {
        let before = self.remotes.get(id);
        let learned = self.remotes.learn(id, addr, limit);
        if let (Learned::New, Some(before)) = (learned, before) {
            // The port has changed.
            self.retries.forget_destination(before);
        }
        learned
    }

    /// Gives back memory that is not needed.
    pub(crate) fn trim(&mut self) {
        self.announced.trim();
        self.withdrawn.trim();
        self.leaving.trim();
        self.lost.trim();
        self.remotes.trim();
        self.retries.trim();
        self.tried.shrink_to_fit();
    }

    /// Lets a pair be tried again: the peer has refreshed its address, or it was closed on purpose.
    pub(crate) fn allow_again(&mut self, remote: SocketAddr) {
        self.tried.retain(|tried| tried.remote != remote);
        self.retries.revive(|lost| lost.remote == remote);
    }

    /// Lets all pairs of a local address be tried again: it has become an endpoint, or is gone and may come back.
    pub(crate) fn forget_local(&mut self, local: IpAddr) {
        self.tried.retain(|tried| tried.local != local);
        self.retries.forget_local(local);
    }

    /// Lets pairs be planned anew, as if they had never been tried.
    pub(crate) fn forget_pairs(&mut self, which: impl Fn(Pair) -> bool) {
        self.tried.retain(|tried| !which(Pair::from(*tried)));
        self.retries.forget_those(which);
    }

    /// Forgets the pairs that no plan can name any more, so that a peer cannot fill memory with addresses and ports
    /// that come and go.
    pub(crate) fn forget_outdated(&mut self) {
        let (first, remotes) = (self.remote, &self.remotes);
        let known = |remote: Site| remote == first || remotes.knows(remote);
        self.tried.retain(|tried| known(tried.remote));
        self.retries.forget_given_up(|remote| known(remote.into()));
    }

    /// Remembers a pair that is in use for other reasons than a plan.
    pub(crate) fn mark_tried(&mut self, pair: Pair) {
        if !self.tried.contains(&pair.into()) {
            self.tried.push(pair.into());
        }
    }

    /// The address id of an endpoint: that of the first subflow's address is 0, whatever that of the endpoint (RFC 8684
    /// section 3.2), and stays so when it was withdrawn and is back.
    pub(crate) fn id_of_endpoint(&self, id: EndpointId, addr: IpAddr) -> AddrId {
        if addr == self.local.ip() { AddrId(0) } else { id.into() }
    }

    /// The address id of one of our addresses: 0 for the first subflow's, else that of its endpoint, which is an implicit one
    /// if nobody has added any.
    pub(crate) fn local_id(&self, endpoints: &mut EndpointTable, addr: IpAddr) -> AddrId {
        if addr == self.local.ip() { AddrId(0) } else { endpoints.id_of(addr).into() }
    }
}

/// A pair in little room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tried {
    local: IpAddr,
    remote: Site,
    lane: u8,
}

impl From<Pair> for Tried {
    fn from(pair: Pair) -> Self {
        Self { local: pair.local, remote: pair.remote.into(), lane: pair.lane }
    }
}

impl From<Tried> for Pair {
    fn from(tried: Tried) -> Self {
        Self { local: tried.local, remote: tried.remote.into(), lane: tried.lane }
    }
}

impl Surroundings<'_> {
    /// The interface that a subflow would leave by now, and what the policy says of that path.
    pub(crate) fn way(&self, pair: Pair) -> Option<(InterfaceId, Terms)> {
        let (local, remote) = (pair.local, pair.remote.ip());
        let bound = self.endpoints.by_addr(local).and_then(|(_, endpoint)| endpoint.interface);
        let interface = self.links.carrier(local, remote, bound)?;
        Some((interface, self.policy.terms(self.links, interface, local, remote)))
    }

    /// Whether the peer may learn of an address: it is there, its link works, and the policy has a use for it.
    fn may_announce(&self, addr: IpAddr, remote: IpAddr) -> bool {
        let mut having = self.links.as_slice().iter().enumerate().filter(|(_, link)| link.up && link.has(addr));
        having.any(|(index, _)| {
            let terms = self.policy.terms(self.links, InterfaceId(index), addr, remote);
            terms.usage != PathUse::Never && !self.policy.is_exhausted(&terms)
        })
    }
}

#[cfg(test)]
mod tests;
