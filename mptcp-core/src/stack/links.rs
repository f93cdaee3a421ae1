//! What a stack is told of its interfaces: addresses that come and go, links that fail and work again, NUMA nodes.

use std::net::IpAddr;

use tcp_adapter::{Instant, InterfaceConfig, InterfaceId, IpCidr, Offload, Route, TcpStack};

use super::Stack;
use crate::path_manager::{Link, PathUse};
use crate::socket_manager::Shared;

impl<T: TcpStack> Stack<T> {
    /// Adds an interface to the TCP stack beneath. Connections look for new paths over it, and try again at once what
    /// they could not reach.
    pub fn add_interface(&mut self, config: InterfaceConfig) -> InterfaceId {
        let id = self.tcp.add_interface(config);
        self.manager.shared.links.refresh(self.tcp.interfaces());
        self.replan(|paths| paths.retries.revive(|_| true));
        id
    }

    /// Lets frames that leave by an interface be completed by its device, as far as the TCP stack beneath can make use of it.
    pub fn set_offload(&mut self, interface: InterfaceId, offload: Offload) {
        self.tcp.set_offload(interface, offload);
    }

    /// Tells how many bytes wait in the transmit queue of an interface, for schedulers that look at it. A driver calls this whenever it knows.
    pub fn set_interface_queue(&mut self, interface: InterfaceId, bytes: u64) {
        self.manager.shared.set_interface_queue(interface, bytes);
    }

    /// Gives an interface other addresses and routes. Subflows at an address that is gone are reset, what they held is sent on
    /// others, and the peers are told (REMOVE_ADDR, RFC 8684 section 3.4.2), as soon as a connection has others that work. Endpoints stay: without an interface that has their
    /// address they do nothing, and when it comes back, they are as they were. False if there is no such interface, or the TCP
    /// beneath cannot do that.
    pub fn set_addresses(
        &mut self,
        now: Instant,
        interface: InterfaceId,
        addrs: Vec<IpCidr>,
        routes: Vec<Route>,
    ) -> bool {
        let before = self.tcp.interfaces().get(interface.0).map(|config| config.addrs.clone()).unwrap_or_default();
        if !self.tcp.set_addresses(interface, addrs, routes) {
            return false;
        }
        self.manager.shared.links.refresh(self.tcp.interfaces());
        let link = self.manager.shared.links.get(interface).cloned();
        let gone = before.iter().map(|own| own.addr).filter(|addr| !link.as_ref().is_some_and(|link| link.has(*addr)));
        for addr in gone {
            self.for_all(now, |conn, cx| conn.address_gone(interface, addr, cx));
            if !self.manager.shared.links.has(addr) {
                self.manager.shared.endpoints.forget_implicit(addr);
            }
        }
        self.for_all(now, |conn, cx| conn.revive_paths(interface, cx));
        true
    }

    /// The link of an interface is down. Its subflows are treated as if they did not answer, without waiting for silence: what
    /// they hold is sent on others. Nothing is opened over it until [`link_up`](Self::link_up). False if there is no such
    /// interface.
    pub fn link_down(&mut self, now: Instant, interface: InterfaceId) -> bool {
        self.set_link(now, interface, false)
    }

    /// The link of an interface works again, as it does from the start. Its subflows are probed, and what could not be opened is
    /// opened. False if there is no such interface.
    pub fn link_up(&mut self, now: Instant, interface: InterfaceId) -> bool {
        self.set_link(now, interface, true)
    }

    fn set_link(&mut self, now: Instant, interface: InterfaceId, up: bool) -> bool {
        let Some(link) = self.manager.shared.links.get_mut(interface) else { return false };
        if std::mem::replace(&mut link.up, up) == up {
            return true;
        }
        tracing::debug!(?interface, up, "link");
        match up {
            true => self.for_all(now, |conn, cx| conn.link_up(interface, cx)),
            false => self.for_all(now, |conn, cx| conn.link_down(interface, cx)),
        }
        true
    }

    /// The interfaces, by [`InterfaceId`], and whether their links work.
    pub fn links(&self) -> &[Link] {
        self.manager.shared.links.as_slice()
    }

    /// Says which NUMA node the device of an interface is attached to, for [`PathPolicy::node`](crate::PathPolicy::node). False if there is no such
    /// interface.
    pub fn set_interface_node(&mut self, interface: InterfaceId, node: Option<u32>) -> bool {
        let Some(link) = self.manager.shared.links.get_mut(interface) else { return false };
        link.node = node;
        true
    }

    /// The address to connect to `remote` from unless told otherwise: of those that reach it over links that work, the one that
    /// the policy has the best use for, then the cheapest, then the first. `None` if nothing reaches it.
    pub fn source_for(&self, remote: IpAddr) -> Option<IpAddr> {
        let Shared { links, policy, .. } = &self.manager.shared;
        let all = links.as_slice().iter().enumerate();
        let ways = all.flat_map(|(index, link)| link.config.addrs.iter().map(move |own| (index, link, own.addr)));
        let ways = ways.filter(|(.., local)| local.is_ipv4() == remote.is_ipv4());
        let ways = ways.filter(|(_, link, _)| link.config.has_route(remote));
        let rank = |(index, link, local): &(usize, &Link, IpAddr)| {
            let terms = policy.terms(links, InterfaceId(*index), *local, remote);
            let usage = match terms.usage {
                PathUse::Regular => 0,
                PathUse::Backup => 1,
                PathUse::Spare => 2,
                PathUse::Never => 3,
            };
            (!link.up, usage, terms.cost)
        };
        ways.min_by_key(rank).map(|(.., local)| local)
    }
}
