//! A server that waits for its clients to use its addresses.

use super::{PathStrategy, PathView, WantedAnnouncement, WantedSubflow};

/// Every address of every interface is announced, and no subflow is opened from here.
#[derive(Clone, Copy, Debug)]
pub struct Signal;

impl PathStrategy for Signal {
    fn name(&self) -> &'static str {
        "signal"
    }

    fn subflows(&self, _view: &PathView<'_>) -> Vec<WantedSubflow> {
        Vec::new()
    }

    fn announcements(&self, view: &PathView<'_>) -> Vec<WantedAnnouncement> {
        let mut wanted: Vec<WantedAnnouncement> = Vec::new();
        for (_, addr) in view.sources() {
            if wanted.iter().all(|known| known.addr != addr) {
                let port = view.endpoint(addr).and_then(|endpoint| endpoint.port);
                wanted.push(WantedAnnouncement { addr, port });
            }
        }
        wanted
    }
}
