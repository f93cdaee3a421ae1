//! Endpoints: the addresses of this host that the path manager may use, and the limits.

use std::net::IpAddr;
use std::num::NonZeroU8;

use tcp_adapter::InterfaceId;

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
    /// Use the address, if nothing else does yet, to open one subflow to an address that the peer announces. As long as
    /// there are such endpoints, each announcement is answered from another one of them, and from no other address.
    pub laminar: bool,
    /// The endpoint stands for an address that a subflow came to use without being told to. The path manager makes such
    /// endpoints; nobody can add one, and adding one with the same address makes it an ordinary one that keeps the number.
    pub implicit: bool,
}

impl EndpointFlags {
    /// The flags that are set, by the kernel's names.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let Self { signal, subflow, backup, fullmesh, laminar, implicit } = self;
        let all = [
            ("signal", signal),
            ("subflow", subflow),
            ("backup", backup),
            ("fullmesh", fullmesh),
            ("laminar", laminar),
            ("implicit", implicit),
        ];
        all.into_iter().filter(|(_, set)| *set).map(|(name, _)| name)
    }
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
    /// The interface that its subflows leave by, if several have the address; `None` leaves the choice to the routes.
    pub interface: Option<InterfaceId>,
    /// Subflows over each pair of addresses that it opens any over, from different source ports, 1 to 64. The first
    /// subflow of a connection counts as one of those between its addresses.
    pub ndiffports: NonZeroU8,
}

impl Endpoint {
    /// Subflows over one pair of addresses at most.
    pub const MAX_NDIFFPORTS: u8 = Limits::MAX_SUBFLOWS;

    /// An endpoint with these flags and nothing else said.
    pub fn new(addr: IpAddr, flags: EndpointFlags) -> Self {
        Self { addr, port: None, flags, interface: None, ndiffports: NonZeroU8::MIN }
    }

    /// Checks what can be checked without a stack.
    ///
    /// # Errors
    /// The flags or numbers do not make sense.
    pub fn validate(&self) -> Result<(), EndpointError> {
        let Self { addr, port, flags, ndiffports, .. } = *self;
        if flags.implicit {
            return Err(EndpointError::Implicit(addr));
        }
        if ndiffports.get() > Self::MAX_NDIFFPORTS {
            return Err(EndpointError::Ndiffports(addr, ndiffports.get()));
        }
        if port.is_some() && !flags.signal {
            return Err(EndpointError::PortWithoutSignal(addr));
        }
        if flags.fullmesh && (flags.signal || !flags.subflow) {
            return Err(EndpointError::Fullmesh(addr));
        }
        Ok(())
    }
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
    /// Such endpoints come into being by themselves.
    #[error("endpoint {0}: 'implicit' cannot be asked for")]
    Implicit(IpAddr),
    /// More than the limit of subflows allows.
    #[error("endpoint {0}: ndiffports is {1}, but must be 1 to 64")]
    Ndiffports(IpAddr, u8),
    /// The address is another interface's.
    #[error("endpoint address {0} does not belong to the interface that its subflows are to leave by")]
    OtherInterface(IpAddr),
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
    /// The same of implicit ones, of which those before it come first; 0 at the beginning.
    last_implicit: u8,
}

impl EndpointTable {
    pub(crate) fn add(&mut self, endpoint: Endpoint) -> Result<EndpointId, EndpointError> {
        endpoint.validate()?;
        let addr = endpoint.addr;
        // Whatever their ports: an address has one id.
        if let Some((id, known)) = self.entries.iter_mut().find(|(_, known)| known.addr == addr) {
            if !known.flags.implicit {
                return Err(EndpointError::Exists(addr));
            }
            *known = endpoint;
            return Ok(*id);
        }
        let mut ids = (1..=u8::MAX).cycle().skip(usize::from(self.last)).take(usize::from(u8::MAX));
        let free = ids.find(|id| self.get(EndpointId(*id)).is_none()).ok_or(EndpointError::TooMany)?;
        self.last = free;
        let at = self.entries.partition_point(|(id, _)| id.0 < free);
        self.entries.insert(at, (EndpointId(free), endpoint));
        Ok(EndpointId(free))
    }

    /// The number that stands for one of our addresses: an endpoint's, or that of an implicit one which is made for it,
    /// counted down from 255 as the others count up from 1. The last one, if all are taken.
    pub(crate) fn id_of(&mut self, addr: IpAddr) -> EndpointId {
        if let Some((id, _)) = self.by_addr(addr) {
            return id;
        }
        let passed = if self.last_implicit == 0 { 0 } else { 256 - usize::from(self.last_implicit) };
        let down = (1..=u8::MAX).rev().cycle().skip(passed);
        let Some(free) = down.take(usize::from(u8::MAX)).map(EndpointId).find(|id| self.get(*id).is_none()) else {
            return EndpointId(u8::MAX);
        };
        self.last_implicit = free.0;
        let flags = EndpointFlags { implicit: true, ..EndpointFlags::default() };
        let at = self.entries.partition_point(|(id, _)| *id < free);
        self.entries.insert(at, (free, Endpoint::new(addr, flags)));
        free
    }

    /// Forgets the implicit endpoint of an address that no interface has any more.
    pub(crate) fn forget_implicit(&mut self, addr: IpAddr) {
        self.entries.retain(|(_, known)| known.addr != addr || !known.flags.implicit);
    }

    pub(crate) fn remove(&mut self, id: EndpointId) -> Result<Endpoint, EndpointError> {
        let at = self.entries.iter().position(|(known, _)| *known == id).ok_or(EndpointError::Unknown(id.0))?;
        Ok(self.entries.remove(at).1)
    }

    pub(crate) fn set_backup(&mut self, id: EndpointId, backup: bool) -> Result<Endpoint, EndpointError> {
        let endpoint = self.get_mut(id)?;
        endpoint.flags.backup = backup;
        Ok(*endpoint)
    }

    /// False in the result if nothing has changed.
    pub(crate) fn set_fullmesh(&mut self, id: EndpointId, fullmesh: bool) -> Result<(Endpoint, bool), EndpointError> {
        let endpoint = self.get_mut(id)?;
        let mut changed = *endpoint;
        changed.flags.fullmesh = fullmesh;
        changed.validate()?;
        Ok((changed, std::mem::replace(endpoint, changed) != changed))
    }

    fn get_mut(&mut self, id: EndpointId) -> Result<&mut Endpoint, EndpointError> {
        let known = self.entries.iter_mut().find(|(known, _)| *known == id);
        known.map(|(_, endpoint)| endpoint).ok_or(EndpointError::Unknown(id.0))
    }

    pub(crate) fn get(&self, id: EndpointId) -> Option<&Endpoint> {
        self.entries.iter().find(|(known, _)| *known == id).map(|(_, endpoint)| endpoint)
    }

    pub(crate) fn by_addr(&self, addr: IpAddr) -> Option<(EndpointId, &Endpoint)> {
        self.iter().find(|(_, endpoint)| endpoint.addr == addr)
    }

    /// The endpoint that somebody has added for this address.
    pub(crate) fn added(&self, addr: IpAddr) -> Option<(EndpointId, &Endpoint)> {
        self.iter().find(|(_, endpoint)| endpoint.addr == addr && !endpoint.flags.implicit)
    }

    /// Whether subflows from this address are backups.
    pub(crate) fn is_backup(&self, addr: IpAddr) -> bool {
        self.by_addr(addr).is_some_and(|(_, endpoint)| endpoint.flags.backup)
    }

    pub(crate) fn as_slice(&self) -> &[(EndpointId, Endpoint)] {
        &self.entries
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (EndpointId, &Endpoint)> {
        self.entries.iter().map(|(id, endpoint)| (*id, endpoint))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(addr: &str, port: Option<u16>, flags: EndpointFlags) -> Endpoint {
        Endpoint { port, ..Endpoint::new(addr.parse().unwrap(), flags) }
    }

    #[test]
    fn implicit_ids_go_round() {
        let mut table = EndpointTable::default();
        let addr = "10.0.0.1".parse().unwrap();
        let ids = (0..600).map(|_| {
            let id = table.id_of(addr);
            table.forget_implicit(addr);
            id.0
        });
        let ids: Vec<u8> = ids.collect();
        assert_eq!(ids[..3], [255, 254, 253]);
        assert_eq!(ids[253..257], [2, 1, 255, 254]);
        let mut others = (0..300).map(|n: u16| table.id_of(IpAddr::from([10, 1, (n >> 8) as u8, n as u8])).0);
        assert_eq!(others.nth(299), Some(255), "all are taken");
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
        let implicit = EndpointFlags { implicit: true, ..subflow };
        assert!(matches!(table.add(endpoint("10.0.0.4", None, implicit)), Err(EndpointError::Implicit(_))));
        let many = Endpoint { ndiffports: 65.try_into().unwrap(), ..endpoint("10.0.0.4", None, subflow) };
        assert_eq!(table.add(many), Err(EndpointError::Ndiffports(many.addr, 65)));
        assert!(table.set_backup(second, true).unwrap().flags.backup);
        assert_eq!(table.get(second).unwrap().flags.names().collect::<Vec<_>>(), ["subflow", "backup"]);
    }

    #[test]
    fn addresses_that_are_in_use_anyhow_have_implicit_endpoints() {
        let subflow = EndpointFlags { subflow: true, ..EndpointFlags::default() };
        let mut table = EndpointTable::default();
        let added = table.add(endpoint("10.0.0.1", None, subflow)).unwrap();
        let ids = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.2"].map(|addr| table.id_of(addr.parse().unwrap()));
        assert_eq!(ids, [added, EndpointId(255), EndpointId(254), EndpointId(255)]);
        let names = |table: &EndpointTable| {
            table.iter().map(|(id, known)| (id.0, known.flags.names().collect::<Vec<_>>())).collect::<Vec<_>>()
        };
        assert_eq!(names(&table), [(1, vec!["subflow"]), (254, vec!["implicit"]), (255, vec!["implicit"])]);
        assert!(table.added("10.0.0.2".parse().unwrap()).is_none());
        table.forget_implicit("10.0.0.1".parse().unwrap());
        table.forget_implicit("10.0.0.3".parse().unwrap());
        assert_eq!(names(&table), [(1, vec!["subflow"]), (255, vec!["implicit"])], "what somebody has added stays");
        assert_eq!(
            table.id_of("10.0.0.4".parse().unwrap()),
            EndpointId(253),
            "peers may still hear of another address"
        );
        table.forget_implicit("10.0.0.4".parse().unwrap());
        assert_eq!(table.add(endpoint("10.0.0.2", None, subflow)), Ok(EndpointId(255)), "the number is known to peers");
        assert_eq!(names(&table)[1], (255, vec!["subflow"]));
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
