//! Endpoints: the addresses of this host that the path manager may use, and the limits.

use std::net::IpAddr;

use crate::wire::AddrId;

/// What an endpoint is for. The kernel's words (`ip mptcp endpoint`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndpointFlags {
    /// Announce the address to the peer with ADD_ADDR.
    pub signal: bool,
    /// Open subflows from this address.
    pub subflow: bool,
    /// Ask for subflows from this address to be used only if nothing else works.
    pub backup: bool,
    /// With `subflow`: open one to every known address of the peer, not only to its first.
    pub fullmesh: bool,
}

/// An address that the path manager may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The address, one of an interface's own.
    pub addr: IpAddr,
    /// Port to announce and to listen on for joins; only with `signal`.
    pub port: Option<u16>,
    /// What it is for.
    pub flags: EndpointFlags,
}

/// Handle of an endpoint: the address id that it has on the wire, 1-255.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointId(pub u8);

impl From<EndpointId> for AddrId {
    fn from(id: EndpointId) -> Self {
        Self(id.0)
    }
}

/// Limits of a connection. The kernel's words (`ip mptcp limits`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Subflows besides the first one. Default: 2, as the kernel's. At most [`Limits::MAX_SUBFLOWS`].
    pub subflows: u8,
    /// Announced addresses of the peer that are acted on. Default: 0, as the kernel's.
    pub add_addr_accepted: u8,
}

impl Limits {
    /// Upper bound of [`Limits::subflows`]; more is cut to it. The kernel has the same.
    pub const MAX_SUBFLOWS: u8 = 64;
}

impl Default for Limits {
    fn default() -> Self {
        Self { subflows: 2, add_addr_accepted: 0 }
    }
}

/// Why an endpoint could not be added, changed or removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// The address belongs to no interface.
    #[error("endpoint address {0} belongs to no interface of this stack")]
    NotLocal(IpAddr),
    /// It is there already.
    #[error("endpoint {0} exists already")]
    Exists(IpAddr),
    /// A port is announced, so it needs `signal`.
    #[error("endpoint {0}: a port needs the flag 'signal'")]
    PortWithoutSignal(IpAddr),
    /// Signalled addresses wait for the peer to connect; `fullmesh` is about connecting.
    #[error("endpoint {0}: 'fullmesh' needs the flag 'subflow' and excludes 'signal'")]
    Fullmesh(IpAddr),
    /// All 255 ids are taken.
    #[error("there are 255 endpoints already, the most that address ids can tell apart")]
    TooMany,
    /// No endpoint has this id.
    #[error("there is no endpoint {0}")]
    Unknown(u8),
}

/// The endpoints of a stack.
#[derive(Clone, Debug, Default)]
pub(crate) struct EndpointTable {
    /// Sorted by id.
    entries: Vec<(EndpointId, Endpoint)>,
    /// The id given out last. Those after it come first, so that what is still on its way about an id that was
    /// withdrawn meets no other address. The kernel does the same.
    last: u8,
}

impl EndpointTable {
    pub(crate) fn add(&mut self, endpoint: Endpoint) -> Result<EndpointId, EndpointError> {
        let Endpoint { addr, port, flags } = endpoint;
        if port.is_some() && !flags.signal {
            return Err(EndpointError::PortWithoutSignal(addr));
        }
        if flags.fullmesh && (flags.signal || !flags.subflow) {
            return Err(EndpointError::Fullmesh(addr));
        }
        if self.entries.iter().any(|(_, known)| known.addr == addr && known.port == port) {
            return Err(EndpointError::Exists(addr));
        }
        let mut ids = (1..=u8::MAX).cycle().skip(usize::from(self.last)).take(usize::from(u8::MAX));
        let free = ids.find(|id| self.get(EndpointId(*id)).is_none()).ok_or(EndpointError::TooMany)?;
        self.last = free;
        let at = self.entries.partition_point(|(id, _)| id.0 < free);
        self.entries.insert(at, (EndpointId(free), endpoint));
        Ok(EndpointId(free))
    }

    pub(crate) fn remove(&mut self, id: EndpointId) -> Result<Endpoint, EndpointError> {
        let at = self.entries.iter().position(|(known, _)| *known == id).ok_or(EndpointError::Unknown(id.0))?;
        Ok(self.entries.remove(at).1)
    }

    pub(crate) fn set_backup(&mut self, id: EndpointId, backup: bool) -> Result<Endpoint, EndpointError> {
        let entry = self.entries.iter_mut().find(|(known, _)| *known == id).ok_or(EndpointError::Unknown(id.0))?;
        entry.1.flags.backup = backup;
        Ok(entry.1)
    }

    pub(crate) fn get(&self, id: EndpointId) -> Option<&Endpoint> {
        self.entries.iter().find(|(known, _)| *known == id).map(|(_, endpoint)| endpoint)
    }

    pub(crate) fn by_addr(&self, addr: IpAddr) -> Option<(EndpointId, &Endpoint)> {
        self.iter().find(|(_, endpoint)| endpoint.addr == addr)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (EndpointId, &Endpoint)> {
        self.entries.iter().map(|(id, endpoint)| (*id, endpoint))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(addr: &str, port: Option<u16>, flags: EndpointFlags) -> Endpoint {
        Endpoint { addr: addr.parse().unwrap(), port, flags }
    }

    #[test]
    fn ids_are_reused_late_and_rules_are_named() {
        let subflow = EndpointFlags { subflow: true, ..EndpointFlags::default() };
        let mut table = EndpointTable::default();
        let first = table.add(endpoint("10.0.0.1", None, subflow)).unwrap();
        let second = table.add(endpoint("10.0.0.2", None, subflow)).unwrap();
        assert_eq!((first, second), (EndpointId(1), EndpointId(2)));
        assert_eq!(
            table.add(endpoint("10.0.0.1", None, subflow)),
            Err(EndpointError::Exists("10.0.0.1".parse().unwrap()))
        );
        table.remove(first).unwrap();
        assert_eq!(table.remove(first), Err(EndpointError::Unknown(1)));
        assert_eq!(table.add(endpoint("10.0.0.3", None, subflow)), Ok(EndpointId(3)));
        assert!(matches!(table.add(endpoint("10.0.0.4", Some(80), subflow)), Err(EndpointError::PortWithoutSignal(_))));
        let mesh = EndpointFlags { fullmesh: true, signal: true, ..subflow };
        assert!(matches!(table.add(endpoint("10.0.0.4", None, mesh)), Err(EndpointError::Fullmesh(_))));
        assert!(table.set_backup(second, true).unwrap().flags.backup);
    }

    #[test]
    fn there_are_255_ids() {
        let mut table = EndpointTable::default();
        for last in 0..255_u8 {
            table.add(endpoint(&format!("10.0.0.{last}"), None, EndpointFlags::default())).unwrap();
        }
        assert_eq!(table.add(endpoint("10.0.1.1", None, EndpointFlags::default())), Err(EndpointError::TooMany));
        table.remove(EndpointId(7)).unwrap();
        assert_eq!(table.add(endpoint("10.0.1.1", None, EndpointFlags::default())), Ok(EndpointId(7)));
    }
}
