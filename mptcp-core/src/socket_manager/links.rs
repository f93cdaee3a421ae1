//! Links that fail and work again, and addresses that are gone: what the system tells of its interfaces, sooner than silence would.

use std::net::IpAddr;

use tcp_adapter::{InterfaceId, TcpStack};

use super::connection::{Connection, Doom};
use super::shared::Cx;
use super::subflow::{Stage, Subflow};
use crate::event::SubflowId;
use crate::path_manager::LostAddress;
use crate::wire::ResetReason;

impl Connection {
    /// The link of an interface is down: what its subflows hold is sent elsewhere at once.
    pub(crate) fn link_down(&mut self, interface: InterfaceId, cx: &mut Cx<'_>) {
        if self.multipath().is_none() {
            // There is no elsewhere; TCP goes on by itself.
            return;
        }
        for id in self.subflows_by(interface, cx.tcp) {
            let Some(subflow) = self.subflow_mut(id) else { continue };
            subflow.link_down = true;
            match subflow.stage {
                Stage::Established if subflow.connected => self.set_stale_as_told(id, cx),
                Stage::Established | Stage::Closing => {}
                // Nothing is lost by beginning anew when the link is back.
                _ => self.doom(id, Doom::Reason(ResetReason::UnacceptablePerformance)),
            }
        }
        self.paths.reconsider();
    }

    /// The link of an interface works again: its subflows are asked at once, and what could not be made is tried.
    pub(crate) fn link_up(&mut self, interface: InterfaceId, cx: &mut Cx<'_>) {
        for id in self.subflows_by(interface, cx.tcp) {
            let Some(subflow) = self.subflow_mut(id) else { continue };
            subflow.link_down = false;
            if subflow.connected && subflow.stale.is_none() {
                cx.tcp.probe(cx.now, subflow.tcp);
            }
        }
        self.revive_paths(interface, cx);
    }

    /// Plans anew, and tries at once what waits for an address of this interface or is stale there.
    pub(crate) fn revive_paths(&mut self, interface: InterfaceId, cx: &mut Cx<'_>) {
        for id in self.subflows_by(interface, cx.tcp) {
            let Some(subflow) = self.subflow_mut(id) else { continue };
            if let Some(stale) = subflow.stale.as_deref_mut() {
                stale.probe_at = cx.now;
                cx.tcp.probe(cx.now, subflow.tcp);
            }
        }
        let link = cx.shared.links.get(interface);
        self.paths.retries.revive(|pair| link.is_some_and(|link| link.has(pair.local)));
        self.paths.reconsider();
    }

    /// An interface has lost an address, which another may still have. What used it there is dead; if no interface has it any
    /// more, the peer is told (RFC 8684 section 3.4.2). But as long as nothing else works it is kept, as the address may come back: nobody could be
    /// told that it is gone, and the peer, which may only receive, would never find out.
    pub(crate) fn address_gone(&mut self, interface: InterfaceId, addr: IpAddr, cx: &mut Cx<'_>) {
        self.paths.reconsider();
        if self.multipath().is_none() {
            return;
        }
        let used = self.subflows.iter().find(|subflow| subflow.local.ip() == addr).map(|subflow| subflow.local_id);
        let known = || cx.shared.endpoints.by_addr(addr).map(|(id, _)| self.paths.id_of_endpoint(id, addr));
        let lost = LostAddress { interface, addr, id: used.or_else(known) };
        let kept = self.kept_without_address(interface, addr, cx.tcp);
        if kept.is_empty() {
            return self.drop_address(lost, cx);
        }
        for id in kept {
            self.set_stale_as_told(id, cx);
        }
        self.paths.lost.push_back(lost);
    }

    /// A subflow cannot work, as the system has told, sooner than its silence.
    fn set_stale_as_told(&mut self, id: SubflowId, cx: &mut Cx<'_>) {
        if self.subflow(id).is_some_and(|subflow| subflow.stale.is_none()) {
            self.set_stale(id, cx);
        }
        if let Some(stale) = self.subflow_mut(id).and_then(|subflow| subflow.stale.as_deref_mut()) {
            stale.told = true;
        }
    }

    /// The subflows that have lost their address and are kept nevertheless.
    fn kept_without_address(&self, interface: InterfaceId, addr: IpAddr, tcp: &dyn TcpStack) -> Vec<SubflowId> {
        let affected = self.subflows_of(interface, addr, tcp);
        let works = |subflow: &Subflow| subflow.usable() && !affected.contains(&subflow.id);
        if self.is_over() || self.subflows.iter().any(works) {
            return Vec::new();
        }
        let established = |id: &SubflowId| {
            self.subflow(*id).is_some_and(|subflow| subflow.connected && subflow.stage == Stage::Established)
        };
        affected.iter().copied().filter(established).collect()
    }

    /// Gives up what was kept without its address, once something else works.
    pub(crate) fn drop_lost_addresses(&mut self, cx: &mut Cx<'_>) {
        for lost in self.paths.lost.take() {
            if cx.shared.links.get(lost.interface).is_some_and(|link| link.has(lost.addr)) {
                continue;
            }
            if self.kept_without_address(lost.interface, lost.addr, cx.tcp).is_empty() {
                self.drop_address(lost, cx);
            } else {
                self.paths.lost.push_back(lost);
            }
        }
    }

    fn drop_address(&mut self, LostAddress { interface, addr, id }: LostAddress, cx: &mut Cx<'_>) {
        for id in self.subflows_of(interface, addr, cx.tcp) {
            self.reinject_all(id);
            if let Some(subflow) = self.subflow_mut(id) {
                // It carries nothing more, so the pair can be planned again, should the address come back.
                subflow.stage = Stage::Closing;
            }
            self.doom(id, Doom::Reason(ResetReason::Unspecified));
        }
        self.paths.forget_local(addr);
        // Another interface has it, or has lost it too and its subflows are kept.
        if cx.shared.links.has(addr) || self.paths.lost.iter().any(|lost| lost.addr == addr) {
            return;
        }
        self.paths.leaving.retain(|leaving| leaving.addr != addr);
        let Some(id) = id else { return };
        // Those that another interface had, which has lost it before, may be gone already.
        let used = self.subflows.iter().any(|known| known.local.ip() == addr)
            || self.past.iter().any(|known| known.local.ip() == addr);
        if self.paths.announced.remove(id) || used {
            self.paths.withdrawn.add(id, addr);
        }
    }

    fn subflows_of(&self, interface: InterfaceId, addr: IpAddr, tcp: &dyn TcpStack) -> Vec<SubflowId> {
        let of = |id: &SubflowId| self.subflow(*id).is_some_and(|known| known.local.ip() == addr);
        self.subflows_by(interface, tcp).into_iter().filter(of).collect()
    }

    fn subflows_by(&self, interface: InterfaceId, tcp: &dyn TcpStack) -> Vec<SubflowId> {
        let by = |subflow: &&Subflow| tcp.info(subflow.tcp).is_some_and(|info| info.interface == interface);
        self.subflows.iter().filter(by).map(|subflow| subflow.id).collect()
    }
}
