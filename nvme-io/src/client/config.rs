//! What a host is to connect to, and what it tells of its paths.

use std::net::SocketAddr;

use nvme_tcp::host::{ControllerConfig, Policy, ReconnectPolicy};

/// What a [`Host`](super::Host) is to be.
#[derive(Clone, Debug)]
pub struct HostConfig {
    /// Where the subsystem is: a path to each of these, at least one. To [`Policy::Numa`] the first is the nearest.
    pub addresses: Vec<SocketAddr>,
    /// The controller at each address.
    pub controller: ControllerConfig,
    /// What to do when a controller is lost. With a loss timeout of 0 it is not connected again.
    pub reconnect: ReconnectPolicy,
    /// Which path a command takes.
    pub policy: Policy,
}

impl HostConfig {
    /// One path, connected again for ten minutes after it was lost.
    pub fn new(address: SocketAddr, controller: ControllerConfig) -> Self {
        let (reconnect, policy) = (ReconnectPolicy::default(), Policy::default());
        Self { addresses: vec![address], controller, reconnect, policy }
    }
}

/// Something has become of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathEvent {
    /// Where it leads.
    pub address: SocketAddr,
    /// What.
    pub change: PathChange,
}

/// What becomes of paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathChange {
    /// Its controller takes commands, for the first time or again.
    Live {
        /// CNTLID.
        controller: u16,
        /// I/O queues.
        queues: usize,
    },
    /// Its controller was lost, and is connected again.
    Lost {
        /// Why, as a sentence without its end.
        reason: String,
    },
    /// An attempt to connect has failed; others follow.
    Failed {
        /// Attempts so far, since it was lost.
        attempts: u32,
        /// Why.
        reason: String,
    },
    /// There are no further attempts.
    GivenUp {
        /// What became of the latest.
        reason: String,
    },
}
