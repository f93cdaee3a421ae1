//! Every address of ours to every address of the peer's.

use super::{PathStrategy, PathView, WantedAnnouncement, WantedSubflow};

/// The side that has opened the connection opens a subflow from every address that it has to every address of the peer's that it
/// knows, those on a common network first. The other side opens none, and announces what its endpoints say.
#[derive(Clone, Copy, Debug)]
pub struct FullMesh;

impl PathStrategy for FullMesh {
    fn name(&self) -> &'static str {
        "fullmesh"
    }

    fn subflows(&self, view: &PathView<'_>) -> Vec<WantedSubflow> {
        if !view.initiator {
            return Vec::new();
        }
        let (mut near, mut far) = (Vec::new(), Vec::new());
        for remote in view.destinations() {
            for (interface, local) in view.sources().filter(|(_, local)| local.is_ipv4() == remote.is_ipv4()) {
                let own = view.links[interface.0].config.addrs.iter().find(|own| own.addr == local);
                let attached = own.is_some_and(|own| own.contains(remote.ip()));
                let list = if attached { &mut near } else { &mut far };
                list.extend(view.between(local, remote));
            }
        }
        near.append(&mut far);
        near
    }

    fn announcements(&self, view: &PathView<'_>) -> Vec<WantedAnnouncement> {
        super::EndpointFlagStrategy.announcements(view)
    }
}
