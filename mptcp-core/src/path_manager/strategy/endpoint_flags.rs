//! Endpoints do what their flags say, as those of the Linux kernel do.

use std::net::IpAddr;

use super::{Pair, PathStrategy, PathView, WantedAnnouncement, WantedSubflow};

/// What the flags of the endpoints say (see [`EndpointFlags`](crate::EndpointFlags)).
///
/// Endpoints with `subflow` go to the peer's first address, or if that is denied to the first one announced, and those with
/// `fullmesh` to all of them. An announced address is reached from the `fullmesh` endpoints; where there are none, from a
/// `laminar` one that is not in use; where there are none of those either, from one address of ours that reaches it.
#[derive(Clone, Copy, Debug)]
pub struct EndpointFlagStrategy;

impl PathStrategy for EndpointFlagStrategy {
    fn name(&self) -> &'static str {
        "endpoints"
    }

    fn subflows(&self, view: &PathView<'_>) -> Vec<WantedSubflow> {
        let mut wanted = Vec::new();
        let endpoints = || view.endpoints.iter().map(|(_, endpoint)| endpoint);
        for endpoint in endpoints().filter(|endpoint| endpoint.flags.subflow) {
            let most = if endpoint.flags.fullmesh { usize::MAX } else { 1 };
            for remote in view.destinations().take(most) {
                wanted.extend(view.between(endpoint.addr, remote));
            }
        }
        if endpoints().any(|endpoint| endpoint.flags.fullmesh) {
            return wanted;
        }
        if endpoints().any(|endpoint| endpoint.flags.laminar) {
            wanted.extend(laminar(view));
            return wanted;
        }
        for known in view.remotes {
            if let Some(local) = view.source_for(known.addr.ip()) {
                wanted.extend(view.between(local, known.addr));
            }
        }
        wanted
    }

    fn announcements(&self, view: &PathView<'_>) -> Vec<WantedAnnouncement> {
        let signalled = view.endpoints.iter().filter(|(_, endpoint)| endpoint.flags.signal);
        signalled.map(|(_, endpoint)| WantedAnnouncement { addr: endpoint.addr, port: endpoint.port }).collect()
    }
}

/// One subflow to each announced address, each from a laminar endpoint that nothing else uses.
fn laminar(view: &PathView<'_>) -> Vec<WantedSubflow> {
    let locals: Vec<IpAddr> =
        view.endpoints.iter().filter(|(_, known)| known.flags.laminar).map(|(_, e)| e.addr).collect();
    let mut used: Vec<IpAddr> = view.subflows.iter().map(|known| known.pair.local).collect();
    used.push(view.first.0.ip());
    let mut wanted = Vec::new();
    for known in view.remotes {
        let answers = |pair: Pair| pair.remote == known.addr && locals.contains(&pair.local);
        if view.subflows.iter().any(|subflow| answers(subflow.pair)) {
            continue;
        }
        let fits = |local: &&IpAddr| local.is_ipv4() == known.addr.is_ipv4() && !used.contains(local);
        let Some(local) = locals.iter().find(fits).copied() else { continue };
        used.push(local);
        wanted.extend(view.between(local, known.addr));
    }
    wanted
}
