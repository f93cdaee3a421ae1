//! One subflow for each pair of NICs, as NVMe hosts have one connection for each.

use std::net::{IpAddr, SocketAddr};

use super::{Pair, PathStrategy, PathView, WantedAnnouncement, WantedSubflow};

/// The side that has opened the connection matches its interfaces with the peer's addresses: those on a common network with each
/// other, the rest in their order, so that no two subflows share a NIC as long as both sides have enough. Of the side with more
/// NICs each has exactly one subflow; never is there a mesh. The other side announces an address of each of its interfaces.
///
/// Only the address family of the first subflow counts: a NIC has addresses of both, and the announcements do not tell which
/// belong together.
#[derive(Clone, Copy, Debug)]
pub struct NicPairs;

impl PathStrategy for NicPairs {
    fn name(&self) -> &'static str {
        "nic-pairs"
    }

    fn subflows(&self, view: &PathView<'_>) -> Vec<WantedSubflow> {
        if !view.initiator {
            return Vec::new();
        }
        let denied = |pair: &(IpAddr, SocketAddr)| view.first_denied && pair.1 == view.first.1;
        let pairs = matched(view);
        pairs.iter().filter(|pair| !denied(pair)).flat_map(|(local, remote)| view.between(*local, *remote)).collect()
    }

    /// A NIC that had to share one of the peer's, for want of announcements, gives that up when it has one of its own.
    fn superfluous(&self, view: &PathView<'_>) -> Vec<Pair> {
        let pairs = matched(view);
        let is_matched = |pair: Pair| pairs.contains(&(pair.local, pair.remote));
        let working = || view.subflows.iter().filter(|subflow| subflow.works).map(|subflow| subflow.pair);
        let replaced = |pair: Pair| {
            working().any(|other| other.local == pair.local && is_matched(other))
                && working().any(|other| other.remote == pair.remote && is_matched(other))
        };
        let ours = view.subflows.iter().filter(|subflow| subflow.initiator).map(|subflow| subflow.pair);
        ours.filter(|pair| view.initiator && !is_matched(*pair) && replaced(*pair)).collect()
    }

    fn announcements(&self, view: &PathView<'_>) -> Vec<WantedAnnouncement> {
        if view.initiator {
            return Vec::new();
        }
        first_addresses(view).into_iter().map(|addr| WantedAnnouncement { addr, port: None }).collect()
    }
}

/// One address of each interface that works, of the family of the first subflow; that subflow's own where it is one of them.
fn first_addresses(view: &PathView<'_>) -> Vec<IpAddr> {
    let first = view.first.0.ip();
    let mut found: Vec<(usize, IpAddr)> = Vec::new();
    for (interface, addr) in view.sources().filter(|(_, addr)| addr.is_ipv4() == first.is_ipv4()) {
        let elsewhere = found.iter().any(|(_, known)| *known == addr);
        match found.iter_mut().find(|(known, _)| *known == interface.0) {
            Some((_, known)) if addr == first && !elsewhere => *known = addr,
            Some(_) => {}
            None if elsewhere => {}
            None => found.push((interface.0, addr)),
        }
    }
    found.into_iter().map(|(_, addr)| addr).collect()
}

/// The addresses of the peer's NICs: its first, which has a subflow, denied to others or not, and those of its family that are
/// announced.
fn remote_addresses(view: &PathView<'_>) -> Vec<SocketAddr> {
    let mut remotes = vec![view.first.1];
    for known in view.remotes.iter().filter(|known| known.addr.is_ipv4() == view.first.1.is_ipv4()) {
        if remotes.iter().all(|other| other.ip() != known.addr.ip()) {
            remotes.push(known.addr);
        }
    }
    remotes
}

/// Which NIC of ours goes with which of the peer's.
fn matched(view: &PathView<'_>) -> Vec<(IpAddr, SocketAddr)> {
    let (locals, remotes) = (first_addresses(view), remote_addresses(view));
    let mut pairs: Vec<(IpAddr, SocketAddr)> = Vec::new();
    let (first, first_remote) = (view.first.0.ip(), view.first.1);
    if locals.contains(&first) {
        pairs.push((first, first_remote));
    }
    let attached = |local: IpAddr, remote: IpAddr| {
        let mut owned = view.links.iter().flat_map(|link| &link.config.addrs);
        owned.any(|own| own.addr == local && own.contains(remote))
    };
    // On a common network first, then what is left of both sides, then those that one side has more of.
    for local in &locals {
        let free = |pairs: &[(IpAddr, SocketAddr)]| !pairs.iter().any(|pair| pair.0 == *local);
        let near = remotes.iter().find(|remote| !taken(&pairs, remote) && attached(*local, remote.ip()));
        if let Some(remote) = near.filter(|_| free(&pairs)) {
            pairs.push((*local, *remote));
        }
    }
    let free_locals: Vec<IpAddr> = locals.iter().filter(|l| !pairs.iter().any(|pair| pair.0 == **l)).copied().collect();
    let free_remotes: Vec<SocketAddr> = remotes.iter().filter(|remote| !taken(&pairs, remote)).copied().collect();
    pairs.extend(free_locals.iter().copied().zip(free_remotes.iter().copied()));
    let both = free_locals.len().min(free_remotes.len());
    for (turn, local) in free_locals.iter().skip(both).enumerate() {
        pairs.extend(remotes.get(turn % remotes.len().max(1)).map(|remote| (*local, *remote)));
    }
    for (turn, remote) in free_remotes.iter().skip(both).enumerate() {
        pairs.extend(locals.get(turn % locals.len().max(1)).map(|local| (*local, *remote)));
    }
    pairs
}

fn taken(pairs: &[(IpAddr, SocketAddr)], remote: &SocketAddr) -> bool {
    pairs.iter().any(|pair| pair.1 == *remote)
}
