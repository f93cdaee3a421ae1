//! Paths at run time: endpoints, limits, links, strategies, policy, subflows, and what has happened to them.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;

use mptcp_core::{
    ConnId, Endpoint, EndpointError, EndpointId, Limits, PathPolicy, PathStrategyKind, PolicyError, SubflowError,
    SubflowId,
};
use tcp_adapter::InterfaceId;

use super::Engine;
use crate::path_log::PathLogEntry;

impl Engine {
    /// Adds an endpoint; see [`Stack::add_endpoint`](mptcp_core::Stack::add_endpoint).
    ///
    /// # Errors
    /// The address or the flags do not make sense.
    pub fn add_endpoint(&mut self, endpoint: Endpoint) -> Result<EndpointId, EndpointError> {
        self.stack.add_endpoint(endpoint)
    }

    /// Removes an endpoint and its subflows; see [`Stack::remove_endpoint`](mptcp_core::Stack::remove_endpoint).
    ///
    /// # Errors
    /// There is no such endpoint.
    pub fn remove_endpoint(&mut self, id: EndpointId) -> Result<(), EndpointError> {
        self.stack.remove_endpoint(self.now(), id)
    }

    /// Makes an endpoint and its subflows a backup, or a regular one again; see [`Stack::set_endpoint_backup`](mptcp_core::Stack::set_endpoint_backup).
    ///
    /// # Errors
    /// There is no such endpoint.
    pub fn set_endpoint_backup(&mut self, id: EndpointId, backup: bool) -> Result<(), EndpointError> {
        self.stack.set_endpoint_backup(self.now(), id, backup)
    }

    /// Has an endpoint open subflows to every address of the peers, or not; see
    /// [`Stack::set_endpoint_fullmesh`](mptcp_core::Stack::set_endpoint_fullmesh).
    ///
    /// # Errors
    /// There is no such endpoint, or it cannot be one.
    pub fn set_endpoint_fullmesh(&mut self, id: EndpointId, fullmesh: bool) -> Result<(), EndpointError> {
        self.stack.set_endpoint_fullmesh(self.now(), id, fullmesh)
    }

    /// Sets the limits; see [`Stack::set_limits`](mptcp_core::Stack::set_limits).
    pub fn set_limits(&mut self, limits: Limits) {
        self.stack.set_limits(limits);
    }

    /// Takes a link down or lets it be up again, whatever the kernel says of it; see [`Stack::link_down`](mptcp_core::Stack::link_down). False if there is no
    /// such interface.
    pub fn set_link(&mut self, interface: InterfaceId, up: bool) -> bool {
        let now = self.now();
        let Some(port) = self.ports.get_mut(interface.0) else { return false };
        port.follower.taken_down = !up;
        self.settle_link(now, interface);
        true
    }

    /// Chooses the strategy of new connections; see [`Stack::set_path_strategy`](mptcp_core::Stack::set_path_strategy).
    pub fn set_path_strategy(&mut self, kind: &PathStrategyKind) {
        self.stack.set_path_strategy(kind);
    }

    /// Chooses the strategy of one connection; see [`Stack::set_strategy_of`](mptcp_core::Stack::set_strategy_of).
    ///
    /// # Errors
    /// There is no such connection.
    pub fn set_strategy_of(&mut self, conn: ConnId, kind: &PathStrategyKind) -> Result<(), SubflowError> {
        self.stack.set_strategy_of(self.now(), conn, kind)
    }

    /// Sets the policy; see [`Stack::set_policy`](mptcp_core::Stack::set_policy).
    ///
    /// # Errors
    /// A rule that says nothing, or too many.
    pub fn set_policy(&mut self, policy: PathPolicy) -> Result<(), PolicyError> {
        self.stack.set_policy(policy)
    }

    /// Offers MPTCP everywhere again; see [`Stack::forget_blackholes`](mptcp_core::Stack::forget_blackholes).
    pub fn forget_blackholes(&mut self) {
        self.stack.forget_blackholes();
    }

    /// Opens a subflow by hand; see [`Stack::create_subflow`](mptcp_core::Stack::create_subflow).
    ///
    /// # Errors
    /// The connection cannot have one (now), or TCP cannot connect.
    pub fn create_subflow(
        &mut self,
        conn: ConnId,
        local: IpAddr,
        remote: SocketAddr,
        backup: bool,
    ) -> Result<SubflowId, SubflowError> {
        self.stack.create_subflow(self.now(), conn, local, remote, backup)
    }

    /// Closes a subflow by hand; see [`Stack::close_subflow`](mptcp_core::Stack::close_subflow).
    ///
    /// # Errors
    /// There is no such connection or subflow.
    pub fn close_subflow(&mut self, conn: ConnId, subflow: SubflowId) -> Result<(), SubflowError> {
        self.stack.close_subflow(self.now(), conn, subflow)
    }

    /// Makes a subflow a backup, or a regular one again; see [`Stack::set_backup`](mptcp_core::Stack::set_backup).
    ///
    /// # Errors
    /// There is no such connection or subflow.
    pub fn set_backup(&mut self, conn: ConnId, subflow: SubflowId, backup: bool) -> Result<(), SubflowError> {
        self.stack.set_backup(self.now(), conn, subflow, backup)
    }

    /// Sets the share of a connection's data that weighted schedulers, such as `round-robin`, give a subflow: `weight` bursts for each one of a
    /// subflow of weight 1, which all have at first; see [`Stack::set_weight`](mptcp_core::Stack::set_weight).
    ///
    /// # Errors
    /// There is no such connection or subflow.
    pub fn set_weight(&mut self, conn: ConnId, subflow: SubflowId, weight: NonZeroU32) -> Result<(), SubflowError> {
        self.stack.set_weight(self.now(), conn, subflow, weight)
    }

    /// What has happened to paths since the entry with this number, the oldest first; 0 for all of the last 1024. Events of the
    /// stack are entered when [`poll_event`](Self::poll_event) gives them.
    pub fn path_log(&self, after: u64) -> impl Iterator<Item = &PathLogEntry> {
        self.path_log.after(after)
    }

    /// The number of the last entry of [`path_log`](Self::path_log), 0 if there is none.
    pub fn path_log_end(&self) -> u64 {
        self.path_log.last()
    }
}
