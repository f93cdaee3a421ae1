//! The path manager: which subflows a connection should have, and what the peer is told of addresses.
//!
//! [`EndpointTable`](endpoint::EndpointTable) is the stack's; a [`PathState`] is one connection's. The path
//! manager decides; the socket manager carries out.

mod announce;
mod endpoint;
mod pace;
mod remote;
mod retry;
mod site;
mod withdraw;

use std::net::{IpAddr, SocketAddr};

use tcp_adapter::{IdleQueue, InterfaceConfig};

pub(crate) use announce::Announcements;
pub(crate) use endpoint::EndpointTable;
pub use endpoint::{Endpoint, EndpointError, EndpointFlags, EndpointId, Limits};
pub(crate) use pace::Pace;
pub(crate) use remote::{Learned, RemoteAddrs};
pub(crate) use retry::Retries;
pub(crate) use site::Site;
pub(crate) use withdraw::Withdrawals;

use crate::wire::AddrId;

/// What the path manager knows of one connection.
#[derive(Clone, Debug)]
pub(crate) struct PathState {
    /// The addresses that the application sees: those of the first subflow (RFC 8684 section 4, "5-tuple").
    pub(crate) local: Site,
    pub(crate) remote: Site,
    /// The peer asked not to be joined at its first address (flag C of MP_CAPABLE).
    pub(crate) deny_remote_initial: bool,
    pub(crate) announced: Announcements,
    pub(crate) withdrawn: Withdrawals,
    /// Addresses that are no endpoints any more, but carry the last subflow that works.
    pub(crate) leaving: IdleQueue<Leaving>,
    pub(crate) remotes: RemoteAddrs,
    pub(crate) retries: Retries,
    pub(crate) pace: Pace,
    /// Something has changed since subflows were last planned.
    pub(crate) changed: bool,
    /// Pairs that were tried, so that none is tried twice on our own account.
    tried: Vec<(IpAddr, Site)>,
    /// Ids given to local addresses that are no endpoints, counted down from 255 as endpoints count up from 1.
    implicit: IdleQueue<(AddrId, IpAddr)>,
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
    pub(crate) local: IpAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) remote_id: AddrId,
    pub(crate) backup: bool,
}

/// What a plan is made from besides the connection's own state.
pub(crate) struct Surroundings<'a> {
    pub(crate) endpoints: &'a EndpointTable,
    pub(crate) interfaces: &'a [InterfaceConfig],
}

impl PathState {
    pub(crate) fn new(local: SocketAddr, remote: SocketAddr) -> Self {
        let mut remotes = RemoteAddrs::default();
        remotes.observe(AddrId(0), remote.into());
        Self {
            local: local.into(),
            remote: remote.into(),
            deny_remote_initial: false,
            announced: Announcements::default(),
            withdrawn: Withdrawals::default(),
            leaving: IdleQueue::new(),
            remotes,
            retries: Retries::default(),
            pace: Pace::default(),
            changed: true,
            tried: vec![(local.ip(), remote.into())],
            implicit: IdleQueue::new(),
        }
    }

    /// Whether no time and no change of addresses has to be looked at.
    #[inline]
    pub(crate) fn is_at_rest(&self) -> bool {
        !self.changed
            && self.announced.is_empty()
            && self.withdrawn.is_empty()
            && self.leaving.is_empty()
            && self.retries.is_empty()
    }

    /// The next subflow to open, if there is one that was not tried yet.
    ///
    /// Endpoints with `subflow` go to the peer's first address, and with `fullmesh` to all of its addresses; an
    /// announced address is reached from the `fullmesh` endpoints, or where there are none from one address of
    /// ours that reaches it.
    pub(crate) fn next_plan(&mut self, around: &Surroundings<'_>) -> Option<Plan> {
        let plan = self.candidates(around).into_iter().find(|plan| {
            !self.tried.contains(&(plan.local, plan.remote.into()))
                && around.interfaces.iter().any(|interface| interface.reaches(plan.local, plan.remote.ip()))
        })?;
        self.tried.push((plan.local, plan.remote.into()));
        Some(plan)
    }

    fn candidates(&self, around: &Surroundings<'_>) -> Vec<Plan> {
        let mut plans = Vec::new();
        let mut add = |local: IpAddr, remote: SocketAddr, remote_id: AddrId, backup: bool| {
            if local.is_ipv4() == remote.is_ipv4() {
                plans.push(Plan { local, remote, remote_id, backup });
            }
        };
        let opening = around.endpoints.iter().filter(|(_, endpoint)| endpoint.flags.subflow);
        let mut meshed = false;
        for (_, endpoint) in opening {
            if !self.deny_remote_initial {
                add(endpoint.addr, self.remote.into(), AddrId(0), endpoint.flags.backup);
            }
            if endpoint.flags.fullmesh {
                meshed = true;
                for known in self.remotes.iter() {
                    add(endpoint.addr, known.addr.into(), known.id, endpoint.flags.backup);
                }
            }
        }
        for known in self.remotes.iter().filter(|_| !meshed) {
            if let Some(local) = source_for(around.interfaces, known.addr.ip()) {
                let backup = around.endpoints.by_addr(local).is_some_and(|(_, endpoint)| endpoint.flags.backup);
                add(local, known.addr.into(), known.id, backup);
            }
        }
        plans
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
        self.remotes.trim();
        self.retries.trim();
        self.tried.shrink_to_fit();
        self.implicit.trim();
    }

    /// Lets a pair be tried again: the peer has refreshed its address, or it was closed on purpose.
    pub(crate) fn allow_again(&mut self, remote: SocketAddr) {
        self.tried.retain(|(_, tried)| *tried != remote);
        self.retries.revive(|lost| lost == remote);
    }

    /// Lets all pairs of a local address be tried again, should it become an endpoint once more.
    pub(crate) fn forget_local(&mut self, local: IpAddr) {
        self.tried.retain(|(tried, _)| *tried != local);
        self.retries.forget_local(local);
    }

    /// Forgets the pairs that no plan can name any more, so that a peer cannot fill memory with addresses and ports
    /// that come and go.
    pub(crate) fn forget_outdated(&mut self) {
        let (first, remotes) = (self.remote, &self.remotes);
        let known = |remote: Site| remote == first || remotes.knows(remote);
        self.tried.retain(|(_, remote)| known(*remote));
        self.retries.forget_given_up(|remote| known(remote.into()));
    }

    /// Remembers a pair that is in use for other reasons than a plan.
    pub(crate) fn mark_tried(&mut self, local: IpAddr, remote: Site) {
        if !self.tried.contains(&(local, remote)) {
            self.tried.push((local, remote));
        }
    }

    /// The address id of an endpoint: that of the first subflow's address is 0, whatever that of the endpoint (RFC 8684
    /// section 3.2), and stays so when it was withdrawn and is back.
    pub(crate) fn id_of_endpoint(&self, id: EndpointId, addr: IpAddr) -> AddrId {
        if addr == self.local.ip() { AddrId(0) } else { id.into() }
    }

    /// The address id of one of our addresses: 0 for the first subflow's, an endpoint's own id, or one
    /// drawn from the upper end for an address that is neither.
    pub(crate) fn local_id(&mut self, endpoints: &EndpointTable, addr: IpAddr) -> AddrId {
        if addr == self.local.ip() {
            return AddrId(0);
        }
        if let Some((id, _)) = endpoints.by_addr(addr) {
            return id.into();
        }
        if let Some((id, _)) = self.implicit.iter().find(|(_, known)| *known == addr) {
            return *id;
        }
        let taken =
            |id: u8| self.implicit.iter().any(|(known, _)| known.0 == id) || endpoints.get(EndpointId(id)).is_some();
        let id = AddrId((1..=u8::MAX).rev().find(|id| !taken(*id)).unwrap_or(u8::MAX));
        self.implicit.push_back((id, addr));
        id
    }
}

/// The address of ours to reach `remote` from: one on the same network if there is one, else one with a route.
fn source_for(interfaces: &[InterfaceConfig], remote: IpAddr) -> Option<IpAddr> {
    let same_family = |addr: &IpAddr| addr.is_ipv4() == remote.is_ipv4();
    let attached = interfaces.iter().flat_map(|interface| &interface.addrs).find(|own| own.contains(remote));
    attached.map(|own| own.addr).or_else(|| {
        let routed = interfaces.iter().find(|interface| interface.has_route(remote))?;
        routed.addrs.iter().map(|own| own.addr).find(same_family)
    })
}

#[cfg(test)]
mod tests;
