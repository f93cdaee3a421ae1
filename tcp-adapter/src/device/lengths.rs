//! Which frames fit on a link.

/// Destination, source and type.
pub(super) const ETHERNET_HEADER: usize = 14;
/// An 802.1Q tag, which the MTU of an interface does not include.
const VLAN_TAG: usize = 4;

/// Longest frame in bytes on a link with this MTU.
pub(super) const fn max_frame(mtu: usize) -> usize {
    mtu + ETHERNET_HEADER + VLAN_TAG
}
