//! What the two hosts tell each other of their addresses: ADD_ADDR and REMOVE_ADDR (RFC 8684 section 3.4).

use std::net::{IpAddr, SocketAddr};

use super::connection::Connection;
use super::shared::{Cx, Shared};
use super::subflow::Subflow;
use crate::event::{Event, SubflowId};
use crate::keys::{add_addr_hmac, verify};
use crate::mib::Counter;
use crate::path_manager::strategy::WantedAnnouncement;
use crate::path_manager::{EndpointId, Learned, Leaving};
use crate::wire::{AddAddr, AddAddrKind, AddrId, MptcpOption, RemoveAddr};

/// Address ids in one REMOVE_ADDR. The kernel ignores an option with more.
const IDS_PER_OPTION: usize = 8;

impl Connection {
    /// Sends the ADD_ADDRs that are due.
    pub(crate) fn announce_addresses(&mut self, cx: &mut Cx<'_>) {
        let wanted = match std::mem::take(&mut self.paths.announce) {
            true => self.paths.wanted_announcements(&self.surroundings(cx.shared)),
            false => Vec::new(),
        };
        for WantedAnnouncement { addr, port } in wanted {
            let id = self.paths.local_id(&mut cx.shared.endpoints, addr);
            // The peer knows the first address, unless it was told that it is gone.
            let known = addr == self.paths.local.ip() && !self.paths.withdrawn.contains(id, addr);
            if known || self.paths.announced.contains(id) {
                continue;
            }
            if self.is_taken(id, addr) {
                // Until that has changed.
                self.paths.announce = true;
            } else {
                self.paths.announced.add(id, addr, port);
                self.reclaim_id(id, addr);
            }
        }
        let timeout = cx.shared.config.add_addr_timeout;
        // An attempt that no subflow can carry would be none.
        while let Some(carrier) = self.subflows.iter().position(Subflow::can_announce)
            && let Some(due) = self.paths.announced.next_due(cx.now, timeout)
        {
            let Some(state) = self.multipath() else { return };
            let hmac = add_addr_hmac(state.local.key, state.remote.key, due.id, due.addr, due.port);
            let kind = AddAddrKind::Announce { hmac };
            let add = AddAddr { addr_id: due.id, addr: due.addr, port: due.port, kind };
            self.subflows[carrier].signal(MptcpOption::AddAddr(add));
        }
    }

    /// Sends the REMOVE_ADDRs that are due: on every subflow, as any of them may lose it.
    pub(crate) fn withdraw_addresses(&mut self, cx: &mut Cx<'_>) {
        let timeout = cx.shared.config.add_addr_timeout;
        while self.paths.withdrawn.deadline().is_some_and(|at| at <= cx.now) {
            // Not on a subflow that is about to close, if there is another.
            let open = self.subflows.iter().any(|subflow| subflow.can_withdraw() && subflow.counts());
            let carriers = self.subflows.iter_mut().filter(|known| known.can_withdraw() && (known.counts() || !open));
            let mut carriers = carriers.peekable();
            if carriers.peek().is_none() {
                return;
            }
            let due = self.paths.withdrawn.take_due(cx.now, IDS_PER_OPTION, timeout);
            let Some(option) = RemoveAddr::new(&due) else { return };
            carriers.for_each(|subflow| subflow.signal(MptcpOption::RemoveAddr(option)));
        }
    }

    /// An address id of ours names this address from now on. What was to be said of its withdrawal is not said any more.
    pub(crate) fn reclaim_id(&mut self, id: AddrId, addr: IpAddr) {
        let same = self.paths.withdrawn.contains(id, addr);
        self.paths.withdrawn.cancel(id);
        for subflow in self.subflows.iter_mut().filter(|_| same) {
            subflow.control.retain(|option| {
                let MptcpOption::RemoveAddr(remove) = option else { return true };
                let others: Vec<AddrId> = remove.iter().filter(|listed| *listed != id).collect();
                RemoveAddr::new(&others).map(|shorter| *remove = shorter).is_some()
            });
        }
    }

    /// Whether an address id of ours names another address for the peer, until the REMOVE_ADDR for that has left on all
    /// subflows (RFC 8684 section 3.4.1).
    pub(crate) fn is_taken(&self, id: AddrId, addr: IpAddr) -> bool {
        let leaving = self.paths.leaving.iter().any(|known| known.id == id && known.addr != addr)
            || self.paths.lost.iter().any(|known| known.id == Some(id) && known.addr != addr);
        let waits = |subflow: &Subflow| {
            let mut removals = subflow.control.iter().filter_map(|option| match option {
                MptcpOption::RemoveAddr(remove) => Some(remove),
                _ => None,
            });
            subflow.alive() && removals.any(|remove| remove.iter().any(|listed| listed == id))
        };
        leaving
            || self.paths.withdrawn.is_unsent_for_other(id, addr)
            || (!self.paths.withdrawn.contains(id, addr) && self.subflows.iter().any(waits))
    }

    /// An endpoint is gone: withdraw it if it was announced or used, and close its subflows. As long as that would leave the
    /// connection without a subflow that works, it waits (RFC 8684 section 3.3.3).
    pub(crate) fn endpoint_removed(&mut self, id: EndpointId, addr: IpAddr, cx: &mut Cx<'_>) {
        let id = self.paths.id_of_endpoint(id, addr);
        let announced = self.paths.announced.remove(id);
        // Not from an announcement either, until it is an endpoint again.
        self.paths.retries.forget_local(addr);
        if self.multipath().is_none() {
            return;
        }
        let leaving = Leaving { id, addr, announced };
        if self.needs_address(addr) {
            self.paths.leaving.retain(|known| known.id != id);
            self.paths.leaving.push_back(leaving);
        } else {
            self.leave(leaving, cx);
        }
    }

    /// Withdraws what had to wait for that.
    pub(crate) fn leave_addresses(&mut self, cx: &mut Cx<'_>) {
        for leaving in self.paths.leaving.take() {
            let Leaving { id, addr, announced } = leaving;
            let back = cx.shared.endpoints.added(addr).map(|(id, _)| self.paths.id_of_endpoint(id, addr));
            if self.needs_address(addr) {
                self.paths.leaving.push_back(leaving);
            } else if back.is_none() {
                self.leave(leaving, cx);
            } else if announced && back != Some(id) {
                // An endpoint again, under another id.
                self.paths.withdrawn.add(id, addr);
            }
        }
    }

    fn leave(&mut self, leaving: Leaving, cx: &mut Cx<'_>) {
        let Leaving { id, addr, announced } = leaving;
        let affected: Vec<SubflowId> =
            self.subflows.iter().filter(|subflow| subflow.local.ip() == addr).map(|subflow| subflow.id).collect();
        if !announced && affected.is_empty() {
            return;
        }
        self.paths.withdrawn.add(id, addr);
        for id in affected {
            self.close_subflow(id, cx);
        }
    }

    /// ADD_ADDR: an echo, or an address of the peer.
    pub(crate) fn on_add_addr(&mut self, id: SubflowId, add: &AddAddr, shared: &mut Shared) {
        let Some(state) = self.multipath_mut() else { return };
        match add.kind {
            AddAddrKind::Echo => {
                shared.mib.bump(Counter::EchoAdd);
                self.paths.announced.echoed(add.addr_id, add.addr, add.port);
            }
            AddAddrKind::Announce { hmac } => {
                let expected = add_addr_hmac(state.remote.key, state.local.key, add.addr_id, add.addr, add.port);
                if !verify(&hmac, &expected) {
                    shared.mib.bump(Counter::AddAddrHMacFailure);
                    return;
                }
                // Linux acknowledges the keys with an ADD_ADDR, and may send no DSS for long.
                state.introduced = true;
                shared.mib.bump(Counter::AddAddr);
                if add.port.is_some() {
                    shared.mib.bump(Counter::PortAdd);
                }
                self.learn_address(id, add, shared);
            }
        }
    }

    fn learn_address(&mut self, id: SubflowId, add: &AddAddr, shared: &mut Shared) {
        let Some(subflow) = self.subflow_mut(id) else { return };
        let port = add.port.unwrap_or(subflow.remote.port());
        // The echo tells the peer to stop repeating, whatever becomes of the address here.
        subflow.signal(MptcpOption::AddAddr(AddAddr { kind: AddAddrKind::Echo, ..*add }));
        let addr = SocketAddr::new(add.addr, port);
        let limit = usize::from(shared.config.limits.add_addr_accepted);
        let (conn, known) = (self.id, self.paths.learn(add.addr_id, addr, limit));
        match known {
            Learned::New => {
                self.paths.changed = true;
                if !self.subflows.iter().any(|subflow| subflow.remote == addr) {
                    // It may be an address that was withdrawn and is back.
                    self.paths.allow_again(addr);
                }
                for subflow in self.subflows.iter_mut().filter(|subflow| subflow.remote == addr) {
                    subflow.withdrawn = false;
                }
                shared.events.push_back(Event::AddressAnnounced(conn, add.addr_id, add.addr, add.port));
            }
            Learned::Refreshed => {
                // A refresh asks for another attempt (section 3.4.1), unless a subflow goes there.
                if !self.subflows.iter().any(|subflow| subflow.remote == addr) {
                    self.paths.allow_again(addr);
                    self.paths.changed = true;
                }
            }
            Learned::IdInUse | Learned::Refused => shared.mib.bump(Counter::AddAddrDrop),
        }
    }

    /// REMOVE_ADDR. The peer may send it several times.
    pub(crate) fn on_remove_addr(&mut self, remove: &RemoveAddr, shared: &mut Shared) {
        shared.mib.bump(Counter::RmAddr);
        for addr_id in remove.iter() {
            let learned = self.paths.remotes.remove(addr_id);
            if let Some(known) = learned {
                self.paths.retries.forget_remote(known.addr.ip());
                self.paths.allow_again(known.addr.into());
            }
            // It may be known from subflows only, and those may be gone (section 3.4.1).
            let observed = self.paths.remotes.remove_observed(addr_id);
            if let Some(known) = observed {
                self.paths.retries.forget_remote(known.addr.ip());
            }
            let (mut used, mut told) = (false, learned.is_none() && observed.is_none());
            for subflow in self.subflows.iter_mut().filter(|subflow| subflow.remote_id == addr_id) {
                used = true;
                told &= std::mem::replace(&mut subflow.withdrawn, true);
                // Only a path that does not answer any more is taken down (section 3.4.2).
                subflow.removal_asked = true;
            }
            if !told {
                shared.events.push_back(Event::AddressRemoved(self.id, addr_id));
            } else if !used {
                shared.mib.bump(Counter::RmAddrDrop);
            }
        }
    }
}
