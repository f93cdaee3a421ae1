//! Where the hosts are.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use tcp_adapter::{InterfaceConfig, IpCidr, MacAddr};

/// Port that host 1 listens on.
pub(crate) const PORT: u16 = 4420;

/// One way, on every wire. Frames that leave in one turn arrive in the next one, so a longer delay would change
/// no figure but those that the stacks measure themselves.
pub(crate) const DELAY: Duration = Duration::from_micros(50);

/// Address of a host on a wire.
pub(crate) fn address(host: u8, link: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, link, host + 1).into()
}

/// Interface of a host at a wire.
pub(crate) fn interface(host: u8, link: u8, mtu: usize) -> InterfaceConfig {
    InterfaceConfig {
        mac: MacAddr([2, 0, 0, 0, host, link]),
        mtu,
        addrs: vec![IpCidr { addr: address(host, link), prefix: 24 }],
        routes: Vec::new(),
    }
}
