//! A network interface as a stack sees it: link-layer address, MTU, IP addresses, routes.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Index of an interface within one stack, in the order in which they were added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceId(pub usize);

/// An IEEE 802 MAC address.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct MacAddr(pub [u8; 6]);

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for MacAddr {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let invalid = || InvalidAddress { text: text.to_owned(), expected: "a MAC address such as 02:00:00:00:00:01" };
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().filter(|part| part.len() == 2).ok_or_else(invalid)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| invalid())?;
        }
        if parts.next().is_some() {
            return Err(invalid());
        }
        Ok(Self(bytes))
    }
}

/// An IP address with the length of its network prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IpCidr {
    /// The interface's own address.
    pub addr: IpAddr,
    /// Prefix length in bits: 0-32 for IPv4, 0-128 for IPv6.
    pub prefix: u8,
}

impl IpCidr {
    /// Whether `other` is in the network that the address and the prefix describe.
    pub fn contains(&self, other: IpAddr) -> bool {
        let prefix = u32::from(self.prefix);
        match (self.addr, other) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                let mask = u32::MAX.checked_shl(32 - prefix.min(32)).unwrap_or(0);
                (u32::from(a) ^ u32::from(b)) & mask == 0
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                let mask = u128::MAX.checked_shl(128 - prefix.min(128)).unwrap_or(0);
                (u128::from(a) ^ u128::from(b)) & mask == 0
            }
            _ => false,
        }
    }
}

impl fmt::Display for IpCidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.prefix)
    }
}

impl FromStr for IpCidr {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let invalid = || InvalidAddress {
            text: text.to_owned(),
            expected: "an address with its prefix length, such as 10.0.1.2/24 or fd00::2/64",
        };
        let (addr, prefix) = text.split_once('/').ok_or_else(invalid)?;
        let addr: IpAddr = addr.parse().map_err(|_| invalid())?;
        let prefix: u8 = prefix.parse().map_err(|_| invalid())?;
        let longest = if addr.is_ipv4() { 32 } else { 128 };
        if prefix > longest {
            return Err(invalid());
        }
        Ok(Self { addr, prefix })
    }
}

/// Text that is not the kind of address that was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not {expected}")]
pub struct InvalidAddress {
    text: String,
    expected: &'static str,
}

/// A route to a network over a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The network behind the gateway; a prefix length of 0 makes it the default route.
    pub network: IpCidr,
    /// The router, on a network of the interface.
    pub gateway: IpAddr,
}

impl Route {
    /// The default route of the gateway's address family.
    pub fn default_via(gateway: IpAddr) -> Self {
        let addr = match gateway {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        Self { network: IpCidr { addr, prefix: 0 }, gateway }
    }
}

/// What a stack must know of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceConfig {
    /// Link-layer address of this end.
    pub mac: MacAddr,
    /// Largest IP packet in bytes, without the Ethernet header: 576-65535.
    pub mtu: usize,
    /// Addresses of this end, each with the prefix of the attached network.
    pub addrs: Vec<IpCidr>,
    /// Networks that are reached over a router.
    pub routes: Vec<Route>,
}

impl InterfaceConfig {
    /// Whether this interface reaches `remote` from `local`: `local` is its own, and `remote` is on the
    /// attached network of one of its addresses or behind a route.
    pub fn reaches(&self, local: IpAddr, remote: IpAddr) -> bool {
        self.addrs.iter().any(|own| own.addr == local) && self.has_route(remote)
    }

    /// Whether `remote` is on an attached network or behind a route.
    pub fn has_route(&self, remote: IpAddr) -> bool {
        self.addrs.iter().any(|own| own.contains(remote))
            || self.routes.iter().any(|route| route.network.contains(remote))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_forms_round_trip_and_mistakes_are_named() {
        for text in ["10.0.1.2/24", "fd00::2/64", "0.0.0.0/0"] {
            assert_eq!(text.parse::<IpCidr>().unwrap().to_string(), text);
        }
        for text in ["10.0.1.2", "10.0.1.2/33", "x/8", "fd00::2/129"] {
            let error = text.parse::<IpCidr>().unwrap_err();
            assert!(error.to_string().starts_with(&format!("'{text}' is not an address with")), "{error}");
        }
        assert_eq!("02:00:00:00:0a:01".parse::<MacAddr>().unwrap().to_string(), "02:00:00:00:0a:01");
        for text in ["02:00:00:00:0a", "02:00:00:00:0a:01:02", "2:0:0:0:a:1", "02:00:00:00:0a:zz"] {
            assert!(text.parse::<MacAddr>().is_err(), "{text}");
        }
    }

    #[test]
    fn networks_contain_their_own_addresses_only() {
        let net: IpCidr = "10.0.1.2/24".parse().unwrap();
        assert!(net.contains("10.0.1.99".parse().unwrap()));
        assert!(!net.contains("10.0.2.1".parse().unwrap()));
        assert!(!net.contains("fd00::1".parse().unwrap()));
        assert!("0.0.0.0/0".parse::<IpCidr>().unwrap().contains("192.0.2.1".parse().unwrap()));
        assert!("fd00::1/128".parse::<IpCidr>().unwrap().contains("fd00::1".parse().unwrap()));
        assert!(!"fd00::1/128".parse::<IpCidr>().unwrap().contains("fd00::2".parse().unwrap()));
    }
}
