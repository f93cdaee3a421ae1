//! What a stack is told of paths: endpoints, limits, strategies, policy, and subflows by hand.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;

use tcp_adapter::{Instant, InterfaceConfig, TcpStack};

use super::Stack;
use crate::event::{ConnId, SubflowId};
use crate::path_manager::strategy::PathStrategyKind;
use crate::path_manager::{Blackhole, Endpoint, EndpointError, EndpointId, Limits, PathPolicy, PathState, PolicyError};
use crate::socket_manager::SubflowError;

impl<T: TcpStack> Stack<T> {
    /// Adds an address that the path manager may use, now and for later connections.
    ///
    /// # Errors
    /// The address or the flags do not make sense; see [`EndpointError`].
    pub fn add_endpoint(&mut self, endpoint: Endpoint) -> Result<EndpointId, EndpointError> {
        let local = |interface: &InterfaceConfig| interface.addrs.iter().any(|own| own.addr == endpoint.addr);
        if !self.tcp.interfaces().iter().any(local) {
            return Err(EndpointError::NotLocal(endpoint.addr));
        }
        if let Some(interface) = endpoint.interface
            && !self.manager.shared.links.get(interface).is_some_and(|link| link.has(endpoint.addr))
        {
            return Err(EndpointError::OtherInterface(endpoint.addr));
        }
        let id = self.manager.shared.endpoints.add(endpoint)?;
        self.replan(|paths| paths.forget_local(endpoint.addr));
        Ok(id)
    }

    /// Removes an endpoint: the peers are told with REMOVE_ADDR, and its subflows are closed. On a connection that has no
    /// other subflow that works, both wait until all data is acknowledged or another subflow works.
    ///
    /// # Errors
    /// There is no such endpoint.
    pub fn remove_endpoint(&mut self, now: Instant, id: EndpointId) -> Result<(), EndpointError> {
        let endpoint = self.manager.shared.endpoints.remove(id)?;
        self.for_all(now, |conn, cx| conn.endpoint_removed(id, endpoint.addr, cx));
        Ok(())
    }

    /// Makes an endpoint and its subflows a backup, or a regular one again; the peers are told with MP_PRIO.
    ///
    /// # Errors
    /// There is no such endpoint.
    pub fn set_endpoint_backup(&mut self, now: Instant, id: EndpointId, backup: bool) -> Result<(), EndpointError> {
        let endpoint = self.manager.shared.endpoints.set_backup(id, backup)?;
        self.for_all(now, |conn, _| conn.endpoint_backup(endpoint.addr, backup));
        Ok(())
    }

    /// Has an endpoint open subflows to every known address of the peers, or only to their first one. Those that it then has no more use
    /// for are closed.
    ///
    /// # Errors
    /// There is no such endpoint, or it is none with `subflow` alone.
    pub fn set_endpoint_fullmesh(&mut self, now: Instant, id: EndpointId, fullmesh: bool) -> Result<(), EndpointError> {
        let (endpoint, changed) = self.manager.shared.endpoints.set_fullmesh(id, fullmesh)?;
        if changed && !fullmesh {
            self.for_all(now, |conn, cx| conn.endpoint_narrowed(endpoint.addr, cx));
        }
        if changed {
            self.replan(|paths| paths.forget_local(endpoint.addr));
        }
        Ok(())
    }

    /// The endpoints, in the order of their ids, with those that are [implicit](crate::EndpointFlags::implicit).
    pub fn endpoints(&self) -> impl Iterator<Item = (EndpointId, &Endpoint)> {
        self.manager.shared.endpoints.iter()
    }

    /// Sets the limits. Subflows that exist already are left alone.
    pub fn set_limits(&mut self, limits: Limits) {
        self.manager.shared.config.limits = limits;
        self.replan(|_| {});
    }

    /// The limits.
    pub fn limits(&self) -> Limits {
        self.manager.shared.config.limits
    }

    /// Chooses the strategy of connections that are opened or come in from now on.
    pub fn set_path_strategy(&mut self, kind: &PathStrategyKind) {
        self.manager.shared.strategy = Arc::new(kind.build());
        self.manager.shared.config.path_strategy = kind.clone();
    }

    /// Chooses the strategy of one connection. Subflows that exist already are left alone.
    ///
    /// # Errors
    /// There is no such connection.
    pub fn set_strategy_of(&mut self, now: Instant, id: ConnId, kind: &PathStrategyKind) -> Result<(), SubflowError> {
        let set = self.with(now, id, |conn, _| {
            conn.paths.strategy = Arc::new(kind.build());
            conn.paths.reconsider();
        });
        set.ok_or(SubflowError::NoConnection)
    }

    /// The strategy of new connections.
    pub fn path_strategy(&self) -> &PathStrategyKind {
        &self.manager.shared.config.path_strategy
    }

    /// Sets the policy. What exists is held to it at once: subflows become backups or regular ones, and are closed where there is
    /// no use for them. Rules that were there
    /// before keep their meters.
    ///
    /// # Errors
    /// A rule that says nothing, or too many; see [`PolicyError`].
    pub fn set_policy(&mut self, policy: PathPolicy) -> Result<(), PolicyError> {
        policy.validate()?;
        self.manager.shared.policy.set(policy);
        self.replan(|_| {});
        Ok(())
    }

    /// The policy.
    pub fn policy(&self) -> &PathPolicy {
        self.manager.shared.policy.policy()
    }

    /// For each rule of the policy that limits anything, the payload bytes that its paths have carried since the
    /// rule was set.
    pub fn policy_usage(&self) -> impl Iterator<Item = Option<u64>> + '_ {
        self.manager.shared.policy.used()
    }

    /// The destinations on whose way SYNs with MP_CAPABLE vanish, 256 at most; see [`StackConfig::blackhole_timeout`](crate::StackConfig::blackhole_timeout).
    pub fn blackholes(&self) -> &[Blackhole] {
        self.manager.shared.blackholes.as_slice()
    }

    /// Forgets them, so that MPTCP is offered everywhere.
    pub fn forget_blackholes(&mut self) {
        self.manager.shared.blackholes.clear();
    }

    /// Opens a subflow by hand, whatever the limits and the policy say.
    ///
    /// # Errors
    /// The connection cannot have one (now), or TCP cannot connect; see [`SubflowError`].
    pub fn create_subflow(
        &mut self,
        now: Instant,
        id: ConnId,
        local: IpAddr,
        remote: SocketAddr,
        backup: bool,
    ) -> Result<SubflowId, SubflowError> {
        let made = self.with(now, id, |conn, cx| conn.join_by_hand(local, remote, backup, cx));
        made.unwrap_or(Err(SubflowError::NoConnection))
    }

    /// Closes a subflow by hand, with a FIN. What it holds is sent on the others.
    ///
    /// # Errors
    /// There is no such connection or subflow, the connection does not speak MPTCP, or it [needs](SubflowError::Needed) the subflow.
    pub fn close_subflow(&mut self, now: Instant, id: ConnId, subflow: SubflowId) -> Result<(), SubflowError> {
        let closed = self.with(now, id, |conn, cx| {
            conn.subflow(subflow).ok_or(SubflowError::NoSubflow)?;
            if conn.multipath().is_none() {
                return Err(SubflowError::NotMultipath);
            }
            if conn.needs(subflow) {
                return Err(SubflowError::Needed);
            }
            conn.close_subflow(subflow, cx);
            Ok(())
        });
        closed.unwrap_or(Err(SubflowError::NoConnection))
    }

    /// Makes a subflow a backup, or a regular one again; the peer is told with MP_PRIO.
    ///
    /// # Errors
    /// There is no such connection or subflow.
    pub fn set_backup(
        &mut self,
        now: Instant,
        id: ConnId,
        subflow: SubflowId,
        backup: bool,
    ) -> Result<(), SubflowError> {
        let set = self.with(now, id, |conn, _| conn.set_backup(subflow, backup));
        set.unwrap_or(Err(SubflowError::NoConnection))
    }

    /// Sets the share that weighted schedulers give a subflow: `weight` bursts for each one of a subflow of weight 1.
    ///
    /// # Errors
    /// There is no such connection or subflow.
    pub fn set_weight(
        &mut self,
        now: Instant,
        id: ConnId,
        subflow: SubflowId,
        weight: NonZeroU32,
    ) -> Result<(), SubflowError> {
        let set = self.with(now, id, |conn, _| {
            let subflow = conn.subflow_mut(subflow).ok_or(SubflowError::NoSubflow)?;
            subflow.weight = weight.get();
            Ok(())
        });
        set.unwrap_or(Err(SubflowError::NoConnection))
    }

    /// Has the path managers of all connections look at endpoints, limits and interfaces again, after `first`.
    pub(super) fn replan(&mut self, first: impl Fn(&mut PathState)) {
        for id in self.manager.conns.ids().collect::<Vec<_>>() {
            if let Some(conn) = self.manager.conns.get_mut(id) {
                first(&mut conn.paths);
                conn.paths.reconsider();
            }
        }
        self.manager.touch_all();
    }
}
