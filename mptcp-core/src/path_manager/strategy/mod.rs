//! Strategies: which subflows a connection should have, and which addresses the peer should be told of.
//!
//! A strategy sees the endpoints, the interfaces, the peer's addresses and the subflows that there are, and names what it
//! would have. It keeps nothing: the same view gives the same wishes. What becomes of them is not its business: limits, pace,
//! policy, what was tried before and when it is tried again are applied by the path manager. To add one: implement
//! [`PathStrategy`] in a file of its own, and name it in [`PathStrategyKind`].

mod endpoint_flags;
mod full_mesh;
mod ndiffports;
mod nic_pairs;
mod signal;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU8;
use std::str::FromStr;
use std::sync::Arc;

use tcp_adapter::InterfaceId;

pub use endpoint_flags::EndpointFlagStrategy;
pub use full_mesh::FullMesh;
pub use ndiffports::NdiffPorts;
pub use nic_pairs::NicPairs;
pub use signal::Signal;

use super::endpoint::{Endpoint, EndpointId, Limits};
use super::links::Link;
use super::remote::RemoteAddr;

/// From which address of ours to which of the peer's a subflow goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pair {
    /// Source address.
    pub local: IpAddr,
    /// Destination.
    pub remote: SocketAddr,
    /// Which of several between the two, from 0; each has a source port of its own.
    pub lane: u8,
}

/// A pair that a subflow uses, or is to use again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PairInUse {
    /// Which.
    pub pair: Pair,
    /// This side has opened it.
    pub initiator: bool,
    /// Data can be sent on it now.
    pub works: bool,
}

/// What a strategy may know of a connection and its surroundings.
#[derive(Clone, Copy, Debug)]
pub struct PathView<'a> {
    /// This side has opened the connection.
    pub initiator: bool,
    /// Addresses and ports of the first subflow, ours and the peer's.
    pub first: (SocketAddr, SocketAddr),
    /// The peer takes no further subflows at its first address and port (flag C of MP_CAPABLE, RFC 8684 section 3.1).
    pub first_denied: bool,
    /// The endpoints, in the order of their ids.
    pub endpoints: &'a [(EndpointId, Endpoint)],
    /// The interfaces, by [`InterfaceId`].
    pub links: &'a [Link],
    /// What the peer has announced, in that order.
    pub remotes: &'a [RemoteAddr],
    /// The subflows that exist or wait to be made again.
    pub subflows: &'a [PairInUse],
    /// The limits of a connection.
    pub limits: Limits,
}

/// A subflow that a strategy would have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WantedSubflow {
    /// Between which addresses.
    pub pair: Pair,
    /// To be used only if nothing else works.
    pub backup: bool,
}

/// An address of ours that a strategy would have the peer told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WantedAnnouncement {
    /// The address.
    pub addr: IpAddr,
    /// The port, if it is not that of the first subflow.
    pub port: Option<u16>,
}

/// A rule that says which subflows a connection should have.
pub trait PathStrategy: fmt::Debug + Send + Sync {
    /// Its name for people.
    fn name(&self) -> &'static str;

    /// The subflows to open, those that matter most first. Pairs that cannot work now (of two families, over a link that is
    /// down, without a route) and those that are there may be named: they are passed over.
    fn subflows(&self, view: &PathView<'_>) -> Vec<WantedSubflow>;

    /// The subflows that should be closed, now that others are there: only such as this side has opened, and none that is needed
    /// for want of another. None, unless a strategy says otherwise.
    fn superfluous(&self, view: &PathView<'_>) -> Vec<Pair> {
        let _ = view;
        Vec::new()
    }

    /// The addresses to announce. An address that was announced and is not named any more is left alone: it is withdrawn
    /// when its endpoint is removed or its interface loses it.
    fn announcements(&self, view: &PathView<'_>) -> Vec<WantedAnnouncement>;
}

/// A strategy that connections share, by a pointer of one word: every connection has one.
pub(crate) type SharedStrategy = Arc<Arc<dyn PathStrategy>>;

impl PathView<'_> {
    /// The addresses of the interfaces whose links work, with the interface. Not those of one link only (`fe80::/10`).
    pub fn sources(&self) -> impl Iterator<Item = (InterfaceId, IpAddr)> + '_ {
        let up = self.links.iter().enumerate().filter(|(_, link)| link.up);
        let all = up.flat_map(|(index, link)| link.config.addrs.iter().map(move |own| (InterfaceId(index), own.addr)));
        all.filter(|(_, addr)| !matches!(addr, IpAddr::V6(addr) if addr.is_unicast_link_local()))
    }

    /// The address of ours to reach `remote` from: one on the same network if there is one, else one with a route.
    pub fn source_for(&self, remote: IpAddr) -> Option<IpAddr> {
        let working = || self.links.iter().filter(|link| link.up).map(|link| &link.config);
        let attached = working().flat_map(|interface| &interface.addrs).find(|own| own.contains(remote));
        attached.map(|own| own.addr).or_else(|| {
            let routed = working().find(|interface| interface.has_route(remote))?;
            routed.addrs.iter().map(|own| own.addr).find(|addr| addr.is_ipv4() == remote.is_ipv4())
        })
    }

    /// Where the peer can be joined: its first address, unless it does not want that, then those that it has announced.
    pub fn destinations(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        let first = Some(self.first.1).filter(|_| !self.first_denied);
        first.into_iter().chain(self.remotes.iter().map(|known| known.addr))
    }

    /// The endpoint of an address, unless it is an implicit one.
    pub fn endpoint(&self, addr: IpAddr) -> Option<&Endpoint> {
        let mut all = self.endpoints.iter().map(|(_, endpoint)| endpoint);
        all.find(|endpoint| endpoint.addr == addr && !endpoint.flags.implicit)
    }

    /// The subflows between two addresses: as many as the endpoint asks for, and backups if it says so.
    pub fn between(&self, local: IpAddr, remote: SocketAddr) -> impl Iterator<Item = WantedSubflow> + use<> {
        let endpoint = self.endpoint(local);
        let backup = endpoint.is_some_and(|endpoint| endpoint.flags.backup);
        let lanes = endpoint.map_or(1, |endpoint| endpoint.ndiffports.get());
        (0..lanes).map(move |lane| WantedSubflow { pair: Pair { local, remote, lane }, backup })
    }
}

/// The strategies that can be chosen by name, and any other.
#[derive(Clone, Debug, Default)]
pub enum PathStrategyKind {
    /// [`EndpointFlagStrategy`].
    #[default]
    Endpoints,
    /// [`FullMesh`].
    FullMesh,
    /// [`Signal`].
    Signal,
    /// [`NicPairs`].
    NicPairs,
    /// [`NdiffPorts`] with so many subflows.
    NdiffPorts(NonZeroU8),
    /// One of the application's own.
    Custom(Arc<dyn PathStrategy>),
}

/// Subflows of `ndiffports` unless a number is given.
const DEFAULT_NDIFFPORTS: NonZeroU8 = NonZeroU8::new(2).expect("2 is not zero");

impl PathStrategyKind {
    /// The names that can be parsed, the default first. `ndiffports` can have a number, as in `ndiffports:4`.
    pub const NAMES: [&'static str; 5] = ["endpoints", "fullmesh", "signal", "nic-pairs", "ndiffports"];

    /// The strategy itself.
    pub fn build(&self) -> Arc<dyn PathStrategy> {
        match self {
            Self::Endpoints => Arc::new(EndpointFlagStrategy),
            Self::FullMesh => Arc::new(FullMesh),
            Self::Signal => Arc::new(Signal),
            Self::NicPairs => Arc::new(NicPairs),
            Self::NdiffPorts(count) => Arc::new(NdiffPorts(*count)),
            Self::Custom(strategy) => Arc::clone(strategy),
        }
    }
}

impl fmt::Display for PathStrategyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NdiffPorts(count) => write!(f, "ndiffports:{count}"),
            other => f.write_str(other.build().name()),
        }
    }
}

impl FromStr for PathStrategyKind {
    type Err = UnknownStrategy;

    fn from_str(text: &str) -> Result<Self, UnknownStrategy> {
        let unknown = || UnknownStrategy { text: text.to_owned() };
        Ok(match text {
            "endpoints" => Self::Endpoints,
            "fullmesh" => Self::FullMesh,
            "signal" => Self::Signal,
            "nic-pairs" => Self::NicPairs,
            "ndiffports" => Self::NdiffPorts(DEFAULT_NDIFFPORTS),
            _ => {
                let count = text.strip_prefix("ndiffports:").and_then(|count| count.parse().ok());
                let count = count.filter(|count: &NonZeroU8| count.get() <= Endpoint::MAX_NDIFFPORTS);
                Self::NdiffPorts(count.ok_or_else(unknown)?)
            }
        })
    }
}

/// A name that no strategy has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no path strategy '{text}': choose endpoints, fullmesh, signal, nic-pairs or ndiffports:N (N up to 64)"
)]
pub struct UnknownStrategy {
    text: String,
}

#[cfg(test)]
mod tests;
