//! Interfaces that follow the kernel's: links that fail and work again, addresses that come and go.

use std::net::IpAddr;
use std::num::NonZeroU8;
use std::time::Duration;

use mptcp_core::{Endpoint, EndpointFlags, EndpointId};
use tcp_adapter::{Instant, InterfaceId, IpCidr, Route};

use crate::engine::Engine;
use crate::network::{KernelLink, NetworkMonitor};
use crate::path_log::PathEvent;

/// Between two looks for news: a driver that never sleeps must not ask the kernel each time.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// How an interface follows one of the kernel's.
#[derive(Debug)]
pub(crate) struct Follower {
    /// The kernel's name for it, if it has one.
    pub(crate) name: Option<String>,
    /// Its device works in whatever namespace the interface is, as a TAP's does: that it is not in ours says nothing.
    pub(crate) may_leave: bool,
    /// What new addresses are to be, if addresses are followed too.
    pub(crate) addresses: Option<AddressTemplate>,
    /// Whether the kernel says that the link works.
    carrier: bool,
    /// Whether the application has said that it does not.
    pub(crate) taken_down: bool,
}

/// What is made of an address that comes.
#[derive(Clone, Debug)]
pub(crate) struct AddressTemplate {
    pub(crate) flags: EndpointFlags,
    pub(crate) port: Option<u16>,
    pub(crate) ndiffports: NonZeroU8,
    pub(crate) gateways: Vec<IpAddr>,
    /// The endpoints that were made from it.
    pub(crate) made: Vec<(IpAddr, EndpointId)>,
}

/// The engine's view of the kernel's interfaces.
#[derive(Debug)]
pub(crate) struct Watch {
    monitor: NetworkMonitor,
    look_at: Instant,
}

impl Watch {
    pub(crate) fn new(monitor: NetworkMonitor) -> Self {
        Self { monitor, look_at: Instant::ZERO }
    }

    pub(crate) fn monitor(&self) -> &NetworkMonitor {
        &self.monitor
    }

    /// Whether there is news; `None` if the kernel tells no more.
    fn look(&mut self, now: Instant) -> Option<bool> {
        if now < self.look_at {
            return Some(false);
        }
        self.look_at = now + LOOK_EVERY;
        match self.monitor.refresh() {
            Ok(changed) => Some(changed),
            Err(error) => {
                tracing::warn!(%error, "the kernel's interfaces are not watched any longer");
                None
            }
        }
    }
}

impl Follower {
    pub(crate) fn new(name: Option<String>, may_leave: bool, addresses: Option<AddressTemplate>) -> Self {
        Self { name, may_leave, addresses, carrier: true, taken_down: false }
    }
}

impl Engine {
    /// Takes what the kernel has to tell of its interfaces.
    pub(crate) fn follow_network(&mut self, now: Instant) {
        let Some(watch) = &mut self.watch else { return };
        match watch.look(now) {
            Some(false) => {}
            Some(true) => self.follow_all(now),
            None => {
                let gone = self.watch.take();
                gone.iter().for_each(|watch| self.forget_watch(watch));
                self.watches = false;
            }
        }
    }

    /// Brings every interface to where the kernel's is.
    pub(crate) fn follow_all(&mut self, now: Instant) {
        // Twice: an address that one has given up may have come to another that was looked at before.
        for index in (0..self.ports.len()).chain(0..self.ports.len()) {
            self.follow(now, InterfaceId(index));
        }
    }

    fn follow(&mut self, now: Instant, interface: InterfaceId) {
        let Some(watch) = &self.watch else { return };
        let follower = &self.ports[interface.0].follower;
        let Some(name) = &follower.name else { return };
        let gone = KernelLink { up: follower.may_leave, ..KernelLink::default() };
        let link = watch.monitor().link(name).cloned().unwrap_or(gone);
        self.ports[interface.0].follower.carrier = link.up;
        if link.up && !self.ports[interface.0].follower.may_leave {
            self.reopen(interface);
        }
        self.settle_link(now, interface);
        if self.ports[interface.0].follower.addresses.is_some() {
            self.follow_addresses(now, interface, link.addrs);
        }
    }

    /// Tells the stack whether a link works, for all that the kernel and the application say.
    pub(crate) fn settle_link(&mut self, now: Instant, interface: InterfaceId) {
        let port = &self.ports[interface.0];
        let up = port.follower.carrier && !port.follower.taken_down && port.works();
        if self.stack.links().get(interface.0).is_none_or(|link| link.up == up) {
            return;
        }
        match up {
            true => self.stack.link_up(now, interface),
            false => self.stack.link_down(now, interface),
        };
        let name = self.ports[interface.0].name.clone();
        tracing::info!(interface = name, up, "link");
        self.path_log.note(now, PathEvent::Link { interface: name, up });
    }

    fn follow_addresses(&mut self, now: Instant, interface: InterfaceId, mut addrs: Vec<IpCidr>) {
        let Some(link) = self.stack.links().get(interface.0) else { return };
        // What another of our interfaces has already is left to it.
        let others = self.stack.links().iter().enumerate().filter(|(index, _)| *index != interface.0);
        let taken: Vec<IpAddr> = others.flat_map(|(_, link)| link.config.addrs.iter().map(|own| own.addr)).collect();
        addrs.retain(|own| !taken.contains(&own.addr));
        addrs.truncate(crate::interface::MAX_ADDRS);
        let before = link.config.addrs.clone();
        if before == addrs {
            return;
        }
        let name = self.ports[interface.0].name.clone();
        let Some(template) = self.ports[interface.0].follower.addresses.clone() else { return };
        let reachable = |gateway: &&IpAddr| addrs.iter().any(|own| own.contains(**gateway));
        let routes = template.gateways.iter().filter(reachable).map(|gateway| Route::default_via(*gateway)).collect();
        if !self.stack.set_addresses(now, interface, addrs.clone(), routes) {
            tracing::warn!(interface = name, "this TCP cannot follow the addresses of an interface");
            return;
        }
        let has = |list: &[IpCidr], addr: IpAddr| list.iter().any(|own| own.addr == addr);
        let mut made = template.made;
        for own in before.iter().filter(|own| !has(&addrs, own.addr)) {
            for (_, id) in made.extract_if(.., |(addr, _)| *addr == own.addr) {
                // The application may have removed it before.
                let _ = self.stack.remove_endpoint(now, id);
            }
            self.path_log.note(now, PathEvent::Address { interface: name.clone(), addr: own.addr, there: false });
        }
        for own in addrs.iter().filter(|own| !has(&before, own.addr)) {
            if template.flags != EndpointFlags::default() || template.port.is_some() {
                let AddressTemplate { flags, port, ndiffports, .. } = template;
                let endpoint = Endpoint { port, ndiffports, ..Endpoint::new(own.addr, flags) };
                match self.stack.add_endpoint(endpoint) {
                    Ok(id) => made.push((own.addr, id)),
                    Err(error) => tracing::debug!(interface = name, %error, "no endpoint for a new address"),
                }
            }
            self.path_log.note(now, PathEvent::Address { interface: name.clone(), addr: own.addr, there: true });
        }
        if let Some(template) = &mut self.ports[interface.0].follower.addresses {
            template.made = made;
        }
    }
}
