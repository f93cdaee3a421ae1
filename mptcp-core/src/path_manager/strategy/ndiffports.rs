//! Several subflows between the same two addresses.

use std::num::NonZeroU8;

use super::{Pair, PathStrategy, PathView, WantedAnnouncement, WantedSubflow};

/// The side that has opened the connection has so many subflows between the addresses of the first one, that one included, each
/// from another port: for networks that spread flows over links by their ports. Nothing is announced.
#[derive(Clone, Copy, Debug)]
pub struct NdiffPorts(pub NonZeroU8);

impl PathStrategy for NdiffPorts {
    fn name(&self) -> &'static str {
        "ndiffports"
    }

    fn subflows(&self, view: &PathView<'_>) -> Vec<WantedSubflow> {
        if !view.initiator || view.first_denied {
            return Vec::new();
        }
        let (local, remote) = (view.first.0.ip(), view.first.1);
        (1..self.0.get()).map(|lane| WantedSubflow { pair: Pair { local, remote, lane }, backup: false }).collect()
    }

    fn announcements(&self, _view: &PathView<'_>) -> Vec<WantedAnnouncement> {
        Vec::new()
    }
}
