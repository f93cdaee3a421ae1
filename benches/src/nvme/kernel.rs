//! The kernel's TCP on loopback, both ends in one thread.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use nvme_io::net::{KernelNet, LinkId, Net, NetEvent, Outgoing, Protocol, Received};

use super::Carrier;

/// How long the kernel may take to connect to this machine.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long an end waits for the kernel while neither has anything to do: what loopback carries may be left to a thread of the kernel's, which
/// would not run while this one asks again and again.
const WAIT: Duration = Duration::from_millis(1);

/// A connection of the kernel to itself, used as hosts and targets use it.
pub struct Kernel {
    ends: [End; 2],
    events: Vec<NetEvent>,
    /// How often nothing had happened, one after the other.
    silent: u32,
}

struct End {
    net: KernelNet,
    link: LinkId,
    readable: bool,
}

impl Kernel {
    /// Connects.
    ///
    /// # Panics
    /// If the kernel refuses.
    pub fn connected() -> Self {
        let mut nets = [0, 1].map(|_| KernelNet::new(Protocol::Tcp).expect("descriptors"));
        let any = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0);
        let (_, address) = nets[1].listen(any).expect("a port");
        nets[0].connect(address).expect("a connection");
        let mut events = Vec::new();
        let ends = nets.map(|mut net| {
            net.poll(Some(PATIENCE), &mut events).expect("events");
            let link = events.drain(..).find_map(|event| match event {
                NetEvent::Connected(link) | NetEvent::Accepted(link, _) => Some(link),
                _ => None,
            });
            End { net, link: link.expect("a connection"), readable: false }
        });
        Self { ends, events, silent: 0 }
    }
}

impl Carrier for Kernel {
    fn send(&mut self, from: usize, outgoing: &mut Outgoing) {
        let End { net, link, .. } = &mut self.ends[from];
        net.send(*link, outgoing).expect("the connection is open");
    }

    fn carry(&mut self, from: usize) {
        // Most often loopback has carried it already.
        let End { net, readable, .. } = &mut self.ends[1 - from];
        let wait = if self.silent > 1 { WAIT } else { Duration::ZERO };
        net.poll(Some(wait), &mut self.events).expect("events");
        self.silent = if self.events.is_empty() { self.silent + 1 } else { 0 };
        *readable |= self.events.drain(..).any(|event| matches!(event, NetEvent::Readable(_)));
    }

    fn receive(&mut self, at: usize) -> Option<Bytes> {
        let End { net, link, readable } = &mut self.ends[at];
        if *readable && let Ok(Received::Data(bytes)) = net.receive(*link) {
            return Some(bytes);
        }
        *readable = false;
        None
    }
}
