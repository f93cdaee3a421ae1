//! What is said of an interface: its device, its addresses, and what the path manager may do with them.

mod text;

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU8;
#[cfg(feature = "devices")]
use std::path::PathBuf;

use mptcp_core::{Endpoint, EndpointFlags};
use tcp_adapter::device::{Device, DeviceCapabilities};
use tcp_adapter::{InterfaceConfig, IpCidr, MacAddr, Route};

pub use text::InvalidInterface;

use crate::StartError;
use crate::config::check;
use crate::follow::AddressTemplate;
use crate::network::NetworkMonitor;

/// An interface to open.
///
/// Also written as text, with the device and the addresses first and the rest in any order:
/// `KIND:NAME,ADDR/PREFIX[,ADDR/PREFIX...][,gw=ADDR][,mac=MAC][,mtu=N][,signal][,subflow][,backup][,fullmesh][,laminar]
/// [,port=N][,ndiffports=N]`, without spaces, where `KIND:NAME` is `tap:NAME`, `eth:NAME`, `unix:PATH` (with `peer=PATH`) or `unix:fd=NUMBER`.
///
/// If any of the flags is set, every address of the interface becomes an endpoint of the path manager with these
/// flags (see [`EndpointFlags`]). For `eth:NAME`, `auto` instead of addresses takes those that the kernel's interface has, as
/// they come and go. Without flags, the interface only carries what is bound to its addresses.
#[derive(Debug)]
pub struct InterfaceSpec {
    /// What moves its frames.
    pub device: DeviceSpec,
    /// Its addresses, 1-8, each with the prefix of the attached network.
    pub addrs: Vec<IpCidr>,
    /// Take the addresses of the kernel's interface, as they come and go, instead of any given here; only with
    /// [`DeviceSpec::Ethernet`]. The kernel must be kept from answering on them, such as by dropping what is for the ports in use.
    pub auto: bool,
    /// Routers for everything outside the attached networks, at most one per address family.
    pub gateways: Vec<IpAddr>,
    /// Link-layer address; `None` derives a locally administered one from the device's name and the first address.
    pub mac: Option<MacAddr>,
    /// Largest IP packet in bytes, 576-65535 and at most what the device can; `None` takes the device's.
    pub mtu: Option<usize>,
    /// What the path manager may do with the addresses.
    pub flags: EndpointFlags,
    /// Port to announce together with the addresses, and to listen on for joins; only with `signal`.
    pub port: Option<u16>,
    /// Subflows over each pair of addresses; see [`Endpoint::ndiffports`].
    pub ndiffports: NonZeroU8,
}

/// What moves the frames of an interface.
pub enum DeviceSpec {
    /// The TAP interface of this name, made if it does not exist.
    #[cfg(feature = "devices")]
    Tap(String),
    /// The kernel's network interface of this name, by a packet socket.
    #[cfg(feature = "devices")]
    Ethernet(String),
    /// A unix datagram socket at `path` that sends to the one at `peer`.
    #[cfg(feature = "devices")]
    Unix {
        /// Our socket, made here.
        path: PathBuf,
        /// The other end's, which may come and go.
        peer: PathBuf,
    },
    /// A connected unix socket that keeps message boundaries.
    #[cfg(feature = "devices")]
    UnixFd(std::os::fd::OwnedFd),
    /// A device of the application's own.
    Custom {
        /// The device.
        device: Box<dyn Device>,
        /// Its name, for logs, captures and the derived MAC address.
        name: String,
    },
}

/// Addresses of an interface at most: what every TCP plug-in can hold.
pub(crate) const MAX_ADDRS: usize = 8;

/// MTU of a unix socket that is not told another: that of ordinary Ethernet.
#[cfg(feature = "devices")]
const DEFAULT_MTU: usize = 1500;

impl InterfaceSpec {
    /// An interface with these addresses and nothing else said.
    pub fn new(device: DeviceSpec, addrs: impl IntoIterator<Item = IpCidr>) -> Self {
        Self {
            device,
            addrs: addrs.into_iter().collect(),
            gateways: Vec::new(),
            mac: None,
            mtu: None,
            flags: EndpointFlags::default(),
            port: None,
            auto: false,
            ndiffports: NonZeroU8::MIN,
        }
    }

    /// The same with other flags.
    pub fn with_flags(mut self, flags: EndpointFlags) -> Self {
        self.flags = flags;
        self
    }

    /// Checks everything that can be checked before the device is open; `key` is the name for the error.
    pub(crate) fn validate(&self, key: &str) -> Result<(), StartError> {
        let (least, most) = if self.auto { (0, 0) } else { (1, MAX_ADDRS as u64) };
        check(&format!("the number of {key}.addrs"), self.addrs.len() as u64, least, most)?;
        if self.auto && self.device.kernel_name().is_none_or(|_| self.device.is_tap()) {
            return Err(StartError::invalid(
                format!("{key}.auto"),
                "set",
                "used with an interface of the kernel (eth:NAME)",
            ));
        }
        for own in &self.addrs {
            let unicast = match own.addr {
                IpAddr::V4(addr) => !addr.is_multicast() && !addr.is_broadcast(),
                IpAddr::V6(addr) => !addr.is_multicast(),
            };
            if !unicast || own.addr.is_unspecified() {
                return Err(StartError::invalid(format!("{key}.addrs"), own.addr, "addresses of a single host"));
            }
        }
        for gateway in &self.gateways {
            if !self.auto && !self.addrs.iter().any(|own| own.contains(*gateway) && own.addr != *gateway) {
                let allowed = "an address of another host on one of the interface's networks";
                return Err(StartError::invalid(format!("{key}.gateways"), gateway, allowed));
            }
        }
        let of_v4 = self.gateways.iter().filter(|gateway| gateway.is_ipv4()).count();
        if of_v4 > 1 || self.gateways.len() - of_v4 > 1 {
            let allowed = "at most one per address family";
            return Err(StartError::invalid(format!("{key}.gateways"), self.gateways.len(), allowed));
        }
        if let Some(MacAddr(bytes)) = self.mac
            && (bytes[0] & 1 != 0 || bytes == [0; 6])
        {
            return Err(StartError::invalid(format!("{key}.mac"), MacAddr(bytes), "the address of a single host"));
        }
        if let Some(mtu) = self.mtu {
            check(&format!("{key}.mtu"), mtu as u64, 576, 65_535)?;
        }
        if self.port == Some(0) {
            return Err(StartError::invalid(format!("{key}.port"), 0, "1 to 65535"));
        }
        // Addresses that are yet to come will be told from others no more than the unspecified one.
        let any = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);
        let addrs = self.addrs.iter().map(|own| own.addr).chain(self.auto.then_some(any));
        addrs.map(|addr| self.endpoint(addr)).try_for_each(|endpoint| Ok(endpoint.validate()?))
    }

    /// What becomes of one of its addresses, if any flag is set.
    fn endpoint(&self, addr: IpAddr) -> Endpoint {
        Endpoint { port: self.port, ndiffports: self.ndiffports, ..Endpoint::new(addr, self.flags) }
    }

    /// Opens the device. Gives it with the configuration of the interface, the name, and the endpoints.
    pub(crate) fn open(self, key: &str) -> Result<Opened, StartError> {
        let name = self.device.name();
        let kernel_name = self.device.kernel_name().map(str::to_owned);
        let (flags, port, ndiffports) = (self.flags, self.port, self.ndiffports);
        let wanted = flags != EndpointFlags::default() || port.is_some();
        let endpoints = self.addrs.iter().filter(|_| wanted).map(|own| self.endpoint(own.addr)).collect();
        let device = self.device.open(self.mtu)?;
        let most = device.capabilities().mtu;
        let mtu = self.mtu.unwrap_or(most);
        if mtu > most {
            let allowed = format!("at most {most}, the MTU of the device {name}");
            return Err(StartError::invalid(format!("{key}.mtu"), mtu, allowed));
        }
        check(&format!("the MTU of the device {name}"), mtu as u64, 576, 65_535)?;
        let gateways = self.gateways.clone();
        let addresses = self.auto.then(|| AddressTemplate { flags, port, ndiffports, gateways, made: Vec::new() });
        let first = self.addrs.first().map_or_else(String::new, ToString::to_string);
        // Where the kernel has the addresses too, it answers the questions for them.
        let of_kernel = || kernel_name.as_deref().filter(|_| self.auto).and_then(kernel_mac);
        let config = InterfaceConfig {
            mac: self.mac.or_else(of_kernel).unwrap_or_else(|| derive_mac(&name, &first)),
            mtu,
            routes: self.gateways.iter().map(|gateway| Route::default_via(*gateway)).collect(),
            addrs: self.addrs,
        };
        Ok(Opened { device, name, kernel_name, config, endpoints, addresses })
    }
}

/// An interface whose device is open.
pub(crate) struct Opened {
    pub(crate) device: Box<dyn Device>,
    pub(crate) name: String,
    /// The kernel's name for it.
    pub(crate) kernel_name: Option<String>,
    pub(crate) config: InterfaceConfig,
    pub(crate) endpoints: Vec<Endpoint>,
    /// What becomes of addresses that come, if they are left to the kernel.
    pub(crate) addresses: Option<AddressTemplate>,
}

/// The link-layer address of one of the kernel's interfaces.
fn kernel_mac(name: &str) -> Option<MacAddr> {
    NetworkMonitor::open().ok()?.link(name)?.mac
}

/// Opens the interface `name` of the kernel again, if that is what a device was whose capabilities were these.
#[cfg(feature = "devices")]
pub(crate) fn reopen(name: &str, before: DeviceCapabilities) -> Result<Box<dyn Device>, StartError> {
    use tcp_adapter::device::{PacketConfig, PacketDevice};
    let device = PacketDevice::open(name, PacketConfig::default())?;
    let now = device.capabilities();
    if (now.name, now.mtu) != (before.name, before.mtu) {
        return Err(StartError::invalid("the MTU of the interface", now.mtu, format!("still {}", before.mtu)));
    }
    Ok(Box::new(device))
}

#[cfg(not(feature = "devices"))]
pub(crate) fn reopen(name: &str, _before: DeviceCapabilities) -> Result<Box<dyn Device>, StartError> {
    Err(StartError::invalid("interface", name, "one of this program's own: it was built without devices"))
}

impl DeviceSpec {
    /// A name for people.
    pub fn name(&self) -> String {
        match self {
            #[cfg(feature = "devices")]
            Self::Tap(name) | Self::Ethernet(name) => name.clone(),
            #[cfg(feature = "devices")]
            Self::Unix { path, .. } => path.display().to_string(),
            #[cfg(feature = "devices")]
            Self::UnixFd(fd) => format!("fd={}", std::os::fd::AsRawFd::as_raw_fd(fd)),
            Self::Custom { name, .. } => name.clone(),
        }
    }

    /// The name that the kernel has for the interface.
    fn kernel_name(&self) -> Option<&str> {
        match self {
            #[cfg(feature = "devices")]
            Self::Tap(name) | Self::Ethernet(name) => Some(name),
            _ => None,
        }
    }

    /// It is a descriptor of this process.
    #[cfg(feature = "control")]
    pub(crate) fn is_descriptor(&self) -> bool {
        match self {
            #[cfg(feature = "devices")]
            Self::UnixFd(_) => true,
            _ => false,
        }
    }

    /// It is a TAP interface.
    pub(crate) fn is_tap(&self) -> bool {
        match self {
            #[cfg(feature = "devices")]
            Self::Tap(_) => true,
            _ => false,
        }
    }

    fn open(self, mtu: Option<usize>) -> Result<Box<dyn Device>, StartError> {
        #[cfg(feature = "devices")]
        use tcp_adapter::device::{PacketConfig, PacketDevice, Tap, UnixEthernet};
        #[cfg(not(feature = "devices"))]
        let _ = mtu;
        Ok(match self {
            #[cfg(feature = "devices")]
            Self::Tap(name) => Box::new(Tap::open(&name)?),
            #[cfg(feature = "devices")]
            Self::Ethernet(name) => Box::new(PacketDevice::open(&name, PacketConfig::default())?),
            #[cfg(feature = "devices")]
            Self::Unix { path, peer } => Box::new(UnixEthernet::bind(path, peer, mtu.unwrap_or(DEFAULT_MTU))?),
            #[cfg(feature = "devices")]
            Self::UnixFd(fd) => Box::new(UnixEthernet::from_fd(fd, mtu.unwrap_or(DEFAULT_MTU))?),
            Self::Custom { device, .. } => device,
        })
    }
}

impl fmt::Debug for DeviceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

/// A locally administered unicast address that differs wherever the name or the address differ (FNV-1a, 64 bits).
fn derive_mac(name: &str, addr: &str) -> MacAddr {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in name.bytes().chain([b'|']).chain(addr.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    let [_, _, _, a, b, c, d, e] = hash.to_be_bytes();
    MacAddr([0x02, a, b, c, d, e])
}

#[cfg(test)]
mod tests {
    use tcp_adapter::device::MemoryDevice;

    use super::*;

    fn memory(addr: &str) -> InterfaceSpec {
        let (device, _) = MemoryDevice::pair(1500, 8);
        let device = DeviceSpec::Custom { device: Box::new(device), name: "wire".to_owned() };
        InterfaceSpec::new(device, [addr.parse().unwrap()])
    }

    fn mistake(change: impl FnOnce(&mut InterfaceSpec)) -> String {
        let mut spec = memory("10.0.1.1/24");
        change(&mut spec);
        spec.validate("if").unwrap_err().to_string()
    }

    #[test]
    fn mistakes_are_found_before_the_device_is_opened() {
        assert!(memory("10.0.1.1/24").validate("if").is_ok());
        let cases: [(String, &str); 6] = [
            (mistake(|s| s.addrs.clear()), "the number of if.addrs is 0, but must be 1 to 8"),
            (mistake(|s| s.addrs = vec!["224.0.0.1/4".parse().unwrap()]), "if.addrs is 224.0.0.1, but must be"),
            (mistake(|s| s.gateways = vec!["10.0.2.1".parse().unwrap()]), "if.gateways is 10.0.2.1, but must be"),
            (
                mistake(|s| s.gateways = vec!["10.0.1.2".parse().unwrap(), "10.0.1.3".parse().unwrap()]),
                "if.gateways is 2, but must be at most one per address family",
            ),
            (mistake(|s| s.mac = Some(MacAddr([1, 0, 0, 0, 0, 1]))), "if.mac is 01:00:00:00:00:01, but must be"),
            (mistake(|s| s.port = Some(0)), "if.port is 0, but must be 1 to 65535"),
        ];
        for (found, expected) in cases {
            assert!(found.starts_with(expected), "{found}");
        }
    }

    #[test]
    fn the_mtu_is_bounded_by_the_device() {
        let mut spec = memory("10.0.1.1/24");
        spec.mtu = Some(9000);
        let error = spec.open("if").err().unwrap().to_string();
        assert_eq!(error, "if.mtu is 9000, but must be at most 1500, the MTU of the device wire");
        assert_eq!(memory("10.0.1.1/24").open("if").ok().unwrap().config.mtu, 1500);
    }

    #[test]
    fn flags_make_every_address_an_endpoint() {
        let mut spec = memory("10.0.1.1/24");
        spec.addrs.push("fd00::1/64".parse().unwrap());
        assert!(memory("10.0.1.1/24").open("if").ok().unwrap().endpoints.is_empty());
        let flags = EndpointFlags { subflow: true, ..EndpointFlags::default() };
        let endpoints = spec.with_flags(flags).open("if").ok().unwrap().endpoints;
        assert_eq!(endpoints.iter().map(|e| e.addr.to_string()).collect::<Vec<_>>(), ["10.0.1.1", "fd00::1"]);
        assert!(endpoints.iter().all(|endpoint| endpoint.flags == flags));
    }

    #[test]
    fn derived_mac_addresses_differ() {
        let macs = [("t0", "10.0.0.1/24"), ("t1", "10.0.0.1/24"), ("t0", "10.0.0.2/24")].map(|(n, a)| derive_mac(n, a));
        assert!(macs[0] != macs[1] && macs[0] != macs[2] && macs[1] != macs[2]);
        assert!(macs.iter().all(|mac| mac.0[0] == 0x02));
    }
}
