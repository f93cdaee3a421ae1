//! Ports that SYNs are taken for.

use std::net::{IpAddr, SocketAddr};

use crate::{ListenError, ListenerId};

#[derive(Debug, Default)]
pub(crate) struct Listeners {
    all: Vec<Listener>,
    next: u32,
}

#[derive(Debug)]
struct Listener {
    id: ListenerId,
    addr: Option<IpAddr>,
    port: u16,
    backlog: usize,
    /// Connections in SYN-RECEIVED.
    pending: usize,
}

impl Listener {
    /// Whether a SYN to `addr`, or on every address if `None`, could be for this one.
    fn meets(&self, addr: Option<IpAddr>, port: u16) -> bool {
        self.port == port && (self.addr.is_none() || addr.is_none() || self.addr == addr)
    }
}

impl Listeners {
    pub(crate) fn add(&mut self, addr: Option<IpAddr>, port: u16, backlog: usize) -> Result<ListenerId, ListenError> {
        if port == 0 {
            return Err(ListenError::PortZero);
        }
        if self.all.iter().any(|listener| listener.meets(addr, port)) {
            return Err(ListenError::InUse(port));
        }
        let id = ListenerId(self.next);
        self.next += 1;
        self.all.push(Listener { id, addr, port, backlog, pending: 0 });
        Ok(id)
    }

    pub(crate) fn remove(&mut self, id: ListenerId) {
        self.all.retain(|listener| listener.id != id);
    }

    /// The listener that a SYN to `local` reaches, and whether it can take one more.
    pub(crate) fn find(&self, local: SocketAddr) -> Option<(ListenerId, bool)> {
        let listener = self.all.iter().find(|listener| listener.meets(Some(local.ip()), local.port()))?;
        Some((listener.id, listener.pending < listener.backlog))
    }

    /// A handshake of `id` has begun.
    pub(crate) fn begin(&mut self, id: ListenerId) {
        if let Some(listener) = self.all.iter_mut().find(|listener| listener.id == id) {
            listener.pending += 1;
        }
    }

    /// A handshake of `id` has ended in whatever way.
    pub(crate) fn end(&mut self, id: ListenerId) {
        if let Some(listener) = self.all.iter_mut().find(|listener| listener.id == id) {
            listener.pending -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_taken_on_one_address_or_on_all() {
        let mut listeners = Listeners::default();
        let first = "10.0.0.1".parse().unwrap();
        let second = "10.0.0.2".parse().unwrap();
        let id = listeners.add(Some(first), 80, 1).unwrap();
        assert_eq!(listeners.add(None, 80, 1), Err(ListenError::InUse(80)));
        assert_eq!(listeners.add(Some(first), 80, 1), Err(ListenError::InUse(80)));
        let other = listeners.add(Some(second), 80, 1).unwrap();
        listeners.begin(id);
        assert_eq!(listeners.find(SocketAddr::new(first, 80)), Some((id, false)));
        assert_eq!(listeners.find(SocketAddr::new(second, 80)), Some((other, true)));
        listeners.end(id);
        assert_eq!(listeners.find(SocketAddr::new(first, 80)), Some((id, true)));
        listeners.remove(id);
        assert_eq!(listeners.find(SocketAddr::new(first, 80)), None);
    }
}
