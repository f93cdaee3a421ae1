//! The peer's addresses: what ADD_ADDR and MP_JOIN taught us (RFC 8684 section 3.4.1).

use std::net::{IpAddr, SocketAddr};

use tcp_adapter::IdleQueue;

use super::Site;
use crate::wire::AddrId;

/// Addresses that are remembered per connection at most, so that a peer cannot fill memory with them. The
/// address ids allow 256; few hosts have more than a handful.
const MAX_ADDRESSES: usize = 64;

/// An address of the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemoteAddr {
    /// The id under which it was announced.
    pub id: AddrId,
    /// Address and port.
    pub addr: SocketAddr,
}

/// The same as it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) id: AddrId,
    pub(crate) addr: Site,
}

/// What an ADD_ADDR was good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Learned {
    /// A new address, or a new port of a known one.
    New,
    /// Known already: the peer refreshes it.
    Refreshed,
    /// Its id belongs to another address; a host must remove an id before it reuses it.
    IdInUse,
    /// Over the bound of remembered addresses, or over the limit of accepted ones.
    Refused,
}

/// The addresses of the peer of one connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct RemoteAddrs {
    /// Announced.
    list: IdleQueue<Known>,
    /// Seen at the other end of subflows, which may be gone. A translator may have made something else of an address that
    /// is announced under the same id.
    joined: Vec<Known>,
}

impl RemoteAddrs {
    /// Gives back memory that is not needed.
    pub(crate) fn trim(&mut self) {
        self.list.trim();
        self.joined.shrink_to_fit();
    }

    /// Takes an announcement, accepting at most `limit` addresses.
    pub(crate) fn learn(&mut self, id: AddrId, addr: SocketAddr, limit: usize) -> Learned {
        if let Some(known) = self.list.iter_mut().find(|known| known.id == id) {
            if known.addr.ip() != addr.ip() {
                return Learned::IdInUse;
            }
            let same = known.addr == addr;
            known.addr = addr.into();
            return if same { Learned::Refreshed } else { Learned::New };
        }
        if self.list.len() >= limit.min(MAX_ADDRESSES) {
            return Learned::Refused;
        }
        self.list.push_back(Known { id, addr: addr.into() });
        Learned::New
    }

    /// Takes the address id of a subflow that was authenticated. The last observation counts, and of too many the oldest
    /// is forgotten.
    pub(crate) fn observe(&mut self, id: AddrId, addr: Site) {
        self.joined.retain(|known| known.id != id);
        if self.joined.len() >= MAX_ADDRESSES {
            self.joined.remove(0);
        }
        self.joined.push(Known { id, addr });
    }

    /// Forgets an announced address; `None` if the id was not announced.
    pub(crate) fn remove(&mut self, id: AddrId) -> Option<Known> {
        let at = self.list.iter().position(|known| known.id == id)?;
        self.list.remove(at)
    }

    /// Forgets an observed address; `None` if no subflow had the id.
    pub(crate) fn remove_observed(&mut self, id: AddrId) -> Option<Known> {
        let at = self.joined.iter().position(|known| known.id == id)?;
        Some(self.joined.remove(at))
    }

    /// The announced ones.
    pub(crate) fn announced(&self) -> Vec<RemoteAddr> {
        self.list.iter().map(|known| RemoteAddr { id: known.id, addr: known.addr.into() }).collect()
    }

    /// Whether this is what some announcement says now, or the other end of a subflow was.
    pub(crate) fn knows(&self, addr: Site) -> bool {
        self.list.iter().chain(self.joined.iter()).any(|known| known.addr == addr)
    }

    /// What was announced under an id.
    pub(crate) fn get(&self, id: AddrId) -> Option<SocketAddr> {
        self.list.iter().find(|known| known.id == id).map(|known| known.addr.into())
    }

    pub(crate) fn id_of(&self, addr: IpAddr) -> Option<AddrId> {
        self.list.iter().chain(self.joined.iter()).find(|known| known.addr.ip() == addr).map(|known| known.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_stay_bound_to_their_address() {
        let one: SocketAddr = "10.0.0.1:80".parse().unwrap();
        let other_port: SocketAddr = "10.0.0.1:81".parse().unwrap();
        let two: SocketAddr = "10.0.0.2:80".parse().unwrap();
        let mut addrs = RemoteAddrs::default();
        assert_eq!(addrs.learn(AddrId(1), one, 1), Learned::New);
        assert_eq!(addrs.learn(AddrId(1), one, 1), Learned::Refreshed);
        assert_eq!(addrs.learn(AddrId(1), other_port, 1), Learned::New);
        assert_eq!(addrs.learn(AddrId(1), two, 1), Learned::IdInUse);
        assert_eq!(addrs.learn(AddrId(2), two, 1), Learned::Refused);
        assert_eq!(addrs.remove(AddrId(1)).map(|known| known.addr), Some(other_port.into()));
        assert_eq!(addrs.remove(AddrId(1)), None, "an unknown id is ignored");
        assert_eq!(addrs.learn(AddrId(1), two, 1), Learned::New, "a removed id is free again");
        assert_eq!(addrs.id_of(two.ip()), Some(AddrId(1)));
    }
    #[test]
    fn observed_ids_are_kept_up_to_a_bound() {
        let addr = |last: u8| Site::from(SocketAddr::new([10, 0, 0, last].into(), 80));
        let mut addrs = RemoteAddrs::default();
        for id in 0..=64 {
            addrs.observe(AddrId(id), addr(id));
        }
        assert_eq!((addrs.id_of(addr(0).ip()), addrs.id_of(addr(1).ip())), (None, Some(AddrId(1))));
        addrs.observe(AddrId(1), addr(100));
        assert!(!addrs.knows(addr(1)) && addrs.knows(addr(100)) && addrs.knows(addr(2)));
        assert!(addrs.announced().is_empty(), "they are not announced");
        assert_eq!(addrs.learn(AddrId(1), addr(7).into(), 1), Learned::New, "translated");
        assert_eq!(addrs.id_of(addr(100).ip()), Some(AddrId(1)));
        assert_eq!(addrs.remove_observed(AddrId(1)).map(|known| known.addr), Some(addr(100)));
        assert_eq!(addrs.remove_observed(AddrId(1)), None);
    }
}
