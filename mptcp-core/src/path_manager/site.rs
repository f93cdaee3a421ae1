//! An address with a port, in little room.

use std::net::{IpAddr, SocketAddr};

/// What a [`SocketAddr`] names, without the flow label and the zone that it has room for: neither tells two hosts apart in a
/// subflow's addresses, and every connection keeps several of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Site {
    ip: IpAddr,
    port: u16,
}

impl Site {
    pub(crate) fn ip(self) -> IpAddr {
        self.ip
    }

    pub(crate) fn port(self) -> u16 {
        self.port
    }
}

impl From<SocketAddr> for Site {
    fn from(addr: SocketAddr) -> Self {
        Self { ip: addr.ip(), port: addr.port() }
    }
}

impl From<Site> for SocketAddr {
    fn from(site: Site) -> Self {
        Self::new(site.ip, site.port)
    }
}

impl PartialEq<SocketAddr> for Site {
    fn eq(&self, addr: &SocketAddr) -> bool {
        *self == Self::from(*addr)
    }
}
