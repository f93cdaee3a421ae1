//! The text form of an interface.

use std::net::IpAddr;
use std::num::NonZeroU8;
use std::str::FromStr;

use mptcp_core::EndpointFlags;
use tcp_adapter::{IpCidr, MacAddr};

use super::{DeviceSpec, InterfaceSpec};

/// Text that does not describe an interface.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidInterface(String);

fn invalid<T>(sentence: impl Into<String>) -> Result<T, InvalidInterface> {
    Err(InvalidInterface(sentence.into()))
}

impl FromStr for InterfaceSpec {
    type Err = InvalidInterface;

    fn from_str(text: &str) -> Result<Self, InvalidInterface> {
        let mut fields = text.split(',');
        let device = fields.next().unwrap_or_default();
        let mut rest = Rest::default();
        for field in fields {
            rest.take(field)?;
        }
        if rest.addrs.is_empty() && !rest.auto {
            return invalid(format!(
                "'{text}' has no address: write one after the device, such as {device},10.0.1.2/24"
            ));
        }
        let device = parse_device(device, rest.peer)?;
        let Rest { addrs, auto, gateways, mac, mtu, flags, port, ndiffports, peer: _ } = rest;
        let ndiffports = ndiffports.unwrap_or(NonZeroU8::MIN);
        Ok(Self { device, addrs, auto, gateways, mac, mtu, flags, port, ndiffports })
    }
}

/// What follows the device.
#[derive(Default)]
struct Rest<'a> {
    addrs: Vec<IpCidr>,
    auto: bool,
    gateways: Vec<IpAddr>,
    mac: Option<MacAddr>,
    mtu: Option<usize>,
    flags: EndpointFlags,
    port: Option<u16>,
    ndiffports: Option<NonZeroU8>,
    peer: Option<&'a str>,
}

impl<'a> Rest<'a> {
    fn take(&mut self, field: &'a str) -> Result<(), InvalidInterface> {
        let number = |key: &str, value: &str| {
            let mistake = || InvalidInterface(format!("{key} is '{value}', which is not a number up to 65535"));
            value.parse::<u16>().map_err(|_| mistake())
        };
        match field.split_once('=') {
            Some((key @ "gw", value)) => match value.parse() {
                Ok(gateway) => self.gateways.push(gateway),
                Err(_) => return invalid(format!("{key} is '{value}', which is not an address, such as 10.0.1.1")),
            },
            Some((key @ "mac", value)) => {
                let mac = value.parse::<MacAddr>();
                set(&mut self.mac, mac.map_err(|error| InvalidInterface(format!("mac: {error}")))?, key)?;
            }
            Some((key @ "mtu", value)) => set(&mut self.mtu, usize::from(number(key, value)?), key)?,
            Some((key @ "port", value)) => set(&mut self.port, number(key, value)?, key)?,
            Some((key @ "ndiffports", value)) => {
                let count = value.parse().map_err(|_| {
                    InvalidInterface(format!("ndiffports is '{value}', which is not a number from 1 to 64"))
                });
                set(&mut self.ndiffports, count?, key)?;
            }
            Some((key @ "peer", value)) => set(&mut self.peer, value, key)?,
            None if field == "signal" => self.flags.signal = true,
            None if field == "subflow" => self.flags.subflow = true,
            None if field == "backup" => self.flags.backup = true,
            None if field == "fullmesh" => self.flags.fullmesh = true,
            None if field == "laminar" => self.flags.laminar = true,
            None if field == "auto" => self.auto = true,
            None if field.contains('/') || field.parse::<IpAddr>().is_ok() => {
                let addr = field.parse::<IpCidr>();
                self.addrs.push(addr.map_err(|error| InvalidInterface(error.to_string()))?);
            }
            _ => {
                return invalid(format!(
                    "'{field}' is not known: an interface has addresses such as 10.0.1.2/24, gw=, mac=, mtu=, port=, \
                     ndiffports=, peer=, auto, signal, subflow, backup, fullmesh and laminar"
                ));
            }
        }
        Ok(())
    }
}

/// Gives an interface what only one field may say of it.
fn set<T>(setting: &mut Option<T>, value: T, key: &str) -> Result<(), InvalidInterface> {
    match setting.replace(value) {
        None => Ok(()),
        Some(_) => invalid(format!("{key}= is given twice, but an interface has one")),
    }
}

#[cfg(feature = "devices")]
fn parse_device(text: &str, peer: Option<&str>) -> Result<DeviceSpec, InvalidInterface> {
    let (kind, name) = text.split_once(':').unwrap_or((text, ""));
    if name.is_empty() {
        return invalid(format!("'{text}' is not a device: write tap:NAME, eth:NAME, unix:PATH or unix:fd=NUMBER"));
    }
    match (kind, name.strip_prefix("fd="), peer) {
        ("tap", _, None) => Ok(DeviceSpec::Tap(name.to_owned())),
        ("eth", _, None) => Ok(DeviceSpec::Ethernet(name.to_owned())),
        ("unix", Some(number), None) => {
            let inherited = number.parse().ok().and_then(inherited);
            let mistake = || InvalidInterface(format!("'{number}' is not the number of an open descriptor"));
            inherited.map(DeviceSpec::UnixFd).ok_or_else(mistake)
        }
        ("unix", None, Some(peer)) => Ok(DeviceSpec::Unix { path: name.into(), peer: peer.into() }),
        ("unix", None, None) => invalid(format!("{text} needs the other end's socket: peer=PATH")),
        ("tap" | "eth" | "unix", ..) => invalid(format!("{text} has no peer=: only unix:PATH has")),
        _ => invalid(format!("'{kind}' is not a kind of device: choose tap, eth or unix")),
    }
}

/// A copy of the descriptor with this number, which this process was started with.
#[cfg(feature = "devices")]
fn inherited(number: std::os::fd::RawFd) -> Option<std::os::fd::OwnedFd> {
    use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

    // By way of the process's own pidfd, as a number alone proves nothing about who owns the descriptor.
    let this_process = pidfd_open(getpid(), PidfdFlags::empty()).ok()?;
    pidfd_getfd(this_process, number, PidfdGetfdFlags::empty()).ok()
}

#[cfg(not(feature = "devices"))]
fn parse_device(text: &str, _peer: Option<&str>) -> Result<DeviceSpec, InvalidInterface> {
    invalid(format!("'{text}' cannot be used: this program was built without devices"))
}

#[cfg(test)]
#[cfg(feature = "devices")]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<InterfaceSpec, String> {
        text.parse().map_err(|error: InvalidInterface| error.to_string())
    }

    #[test]
    fn everything_can_be_said() {
        let text = "eth:ens3,10.0.1.2/24,fd00::2/64,gw=10.0.1.1,gw=fd00::1,mac=02:00:00:00:00:07,mtu=9000,port=8080,\
                    signal,backup";
        let spec = parse(text).unwrap();
        assert!(matches!(&spec.device, DeviceSpec::Ethernet(name) if name == "ens3"));
        assert_eq!(spec.addrs.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.0.1.2/24", "fd00::2/64"]);
        assert_eq!(spec.gateways.len(), 2);
        assert_eq!(spec.mac, Some(MacAddr([2, 0, 0, 0, 0, 7])));
        assert_eq!((spec.mtu, spec.port), (Some(9000), Some(8080)));
        let flags = EndpointFlags { signal: true, backup: true, ..EndpointFlags::default() };
        assert_eq!(spec.flags, flags);
    }

    #[test]
    fn unix_sockets_are_named_or_inherited() {
        let spec = parse("unix:/run/a,10.0.1.2/24,peer=/run/b").unwrap();
        assert!(matches!(&spec.device, DeviceSpec::Unix { path, peer } if path.ends_with("a") && peer.ends_with("b")));
        let (socket, _other) = std::os::unix::net::UnixDatagram::pair().unwrap();
        let number = std::os::fd::AsRawFd::as_raw_fd(&socket);
        let spec = parse(&format!("unix:fd={number},10.0.1.2/24")).unwrap();
        assert!(matches!(&spec.device, DeviceSpec::UnixFd(fd) if std::os::fd::AsRawFd::as_raw_fd(fd) != number));
    }

    #[test]
    fn mistakes_are_named() {
        for (text, part) in [
            ("tap:t0", "'tap:t0' has no address"),
            ("t0,10.0.1.2/24", "'t0' is not a device"),
            ("wifi:t0,10.0.1.2/24", "'wifi' is not a kind of device: choose tap, eth or unix"),
            ("tap:t0,10.0.1.2", "'10.0.1.2' is not an address with its prefix length"),
            ("tap:t0,10.0.1.2/33", "'10.0.1.2/33' is not an address with its prefix length"),
            ("tap:t0,10.0.1.2/24,gw=x", "gw is 'x', which is not an address"),
            ("tap:t0,10.0.1.2/24,mtu=70000", "mtu is '70000', which is not a number up to 65535"),
            ("tap:t0,10.0.1.2/24,mac=1", "mac: '1' is not a MAC address"),
            ("tap:t0,10.0.1.2/24,weight=3", "'weight=3' is not known"),
            ("tap:t0,10.0.1.2/24,ndiffports=0", "ndiffports is '0', which is not a number from 1 to 64"),
            ("tap:t0,10.0.1.2/24,fast", "'fast' is not known"),
            ("tap:t0,10.0.1.2/24,mtu=1400,mtu=1500", "mtu= is given twice, but an interface has one"),
            ("tap:t0,10.0.1.2/24,port=1,port=1", "port= is given twice"),
            ("tap:t0,10.0.1.2/24,mac=02:00:00:00:00:07,mac=02:00:00:00:00:08", "mac= is given twice"),
            ("tap:t0,10.0.1.2/24,ndiffports=2,ndiffports=3", "ndiffports= is given twice"),
            ("unix:/run/a,10.0.1.2/24,peer=/run/b,peer=/run/c", "peer= is given twice"),
            ("tap:t0,10.0.1.2/24,peer=/a", "tap:t0 has no peer="),
            ("unix:/run/a,10.0.1.2/24", "unix:/run/a needs the other end's socket: peer=PATH"),
            ("unix:fd=987654,10.0.1.2/24", "'987654' is not the number of an open descriptor"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
