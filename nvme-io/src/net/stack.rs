//! This project's own stack, in the thread that uses it.

use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hashbrown::HashMap;
use mptcp_sdk::{CloseReason, ConnConfig, ConnId, Engine, Event, ListenConfig, Recv};

use super::{LinkId, ListenerId, Net, NetEvent, Outgoing, Received, Waker};

/// Connections over an [`Engine`].
///
/// Pieces go to the packet scheduler with their class and the ends of their messages.
pub struct StackNet {
    engine: Engine,
    listeners: Vec<mptcp_sdk::ListenerId>,
    links: HashMap<u32, ConnId>,
    numbers: HashMap<ConnId, u32>,
    next: u32,
    /// The waker was used, and no [`Net::poll`] has returned since.
    woken: Arc<AtomicBool>,
}

/// Bytes that one [`Net::receive`] takes at most.
const MOST: usize = 1 << 20;

impl StackNet {
    /// No connections yet, over an engine that has none.
    pub fn new(engine: Engine) -> Self {
        let (links, numbers) = (HashMap::new(), HashMap::new());
        Self { engine, listeners: Vec::new(), links, numbers, next: 0, woken: Arc::default() }
    }

    /// The engine, for everything that can be asked of it.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    fn adopt(&mut self, conn: ConnId) -> LinkId {
        let id = self.next;
        self.next = self.next.wrapping_add(1);
        self.links.insert(id, conn);
        self.numbers.insert(conn, id);
        LinkId(id)
    }

    fn conn(&self, link: LinkId) -> io::Result<ConnId> {
        self.links.get(&link.0).copied().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// What has happened; whether anything has.
    fn take_events(&mut self, events: &mut Vec<NetEvent>) -> bool {
        let before = events.len();
        while let Some(event) = self.engine.poll_event() {
            let link = |conn: ConnId| self.numbers.get(&conn).map(|id| LinkId(*id));
            match event {
                Event::Incoming(listener) => {
                    let Some(index) = self.listeners.iter().position(|known| *known == listener) else { continue };
                    while let Some(conn) = self.engine.accept(listener) {
                        let link = self.adopt(conn);
                        // Data may have come before it was accepted.
                        events.extend([NetEvent::Accepted(link, ListenerId(index)), NetEvent::Readable(link)]);
                    }
                }
                Event::Established(conn) => events.extend(link(conn).map(NetEvent::Connected)),
                Event::Readable(conn) | Event::Finished(conn) => events.extend(link(conn).map(NetEvent::Readable)),
                Event::Writable(conn) => events.extend(link(conn).map(NetEvent::Writable)),
                Event::Closed(conn, reason) => {
                    let failed = link(conn).map(|link| match reason {
                        CloseReason::Normal => NetEvent::Readable(link),
                        _ => NetEvent::Failed(link, closed(reason)),
                    });
                    events.extend(failed);
                }
                _ => {}
            }
        }
        events.len() > before
    }
}

impl Net for StackNet {
    fn poll(&mut self, timeout: Option<Duration>, events: &mut Vec<NetEvent>) -> io::Result<()> {
        let progress = self.engine.poll();
        // An engine forgets wake-ups when it is polled; those that came before it was would be slept through.
        let woken = self.woken.swap(false, Ordering::AcqRel);
        if !self.take_events(events) && !progress.more && !woken && timeout != Some(Duration::ZERO) {
            self.engine.wait(timeout)?;
            self.engine.poll();
            self.woken.swap(false, Ordering::AcqRel);
            self.take_events(events);
        }
        Ok(())
    }

    fn listen(&mut self, address: SocketAddr) -> io::Result<(ListenerId, SocketAddr)> {
        let own = (!address.ip().is_unspecified()).then_some(address.ip());
        let listener = self.engine.listen(own, address.port(), ListenConfig::default()).map_err(io::Error::other)?;
        self.listeners.push(listener);
        Ok((ListenerId(self.listeners.len() - 1), address))
    }

    fn connect(&mut self, address: SocketAddr) -> io::Result<LinkId> {
        let conn = self.engine.connect(None, address, ConnConfig::default()).map_err(io::Error::other)?;
        Ok(self.adopt(conn))
    }

    fn receive(&mut self, link: LinkId) -> io::Result<Received> {
        let conn = self.conn(link)?;
        match self.engine.recv(conn, MOST) {
            Ok(Recv::Data(bytes)) => Ok(Received::Data(bytes)),
            Ok(Recv::WouldBlock) => Ok(Received::Nothing),
            Ok(Recv::Finished) => Ok(Received::End),
            Err(error) => Err(io::Error::new(io::ErrorKind::ConnectionReset, error)),
        }
    }

    fn send(&mut self, link: LinkId, outgoing: &mut Outgoing) -> io::Result<()> {
        let conn = self.conn(link)?;
        let engine = &mut self.engine;
        let handed = outgoing.hand_over(|bytes, message| engine.send_message(conn, bytes, message));
        handed.map_err(|error| io::Error::new(io::ErrorKind::BrokenPipe, error))
    }

    fn close(&mut self, link: LinkId) {
        if let Some(conn) = self.links.remove(&link.0) {
            self.numbers.remove(&conn);
            self.engine.close(conn);
        }
    }

    fn abort(&mut self, link: LinkId) {
        if let Some(conn) = self.links.remove(&link.0) {
            self.numbers.remove(&conn);
            self.engine.abort(conn);
        }
    }

    fn local_addr(&self, link: LinkId) -> Option<SocketAddr> {
        let conn = self.links.get(&link.0)?;
        self.engine.report(*conn)?.subflows.first().map(|subflow| subflow.local)
    }

    fn now(&self) -> Duration {
        Duration::from_nanos(self.engine.now().as_nanos())
    }

    fn waker(&self) -> Waker {
        let (waker, woken) = (self.engine.waker(), Arc::clone(&self.woken));
        Waker::new(move || {
            woken.store(true, Ordering::Release);
            waker.wake();
        })
    }

    fn watch(&mut self, descriptor: BorrowedFd<'_>) -> io::Result<()> {
        self.engine.watch(descriptor)
    }
}

fn closed(reason: CloseReason) -> io::Error {
    let kind = match reason {
        CloseReason::Refused => io::ErrorKind::ConnectionRefused,
        CloseReason::TimedOut => io::ErrorKind::TimedOut,
        CloseReason::Reset => io::ErrorKind::ConnectionReset,
        _ => io::ErrorKind::ConnectionAborted,
    };
    kind.into()
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixDatagram;

    use mptcp_sdk::{Config, DeviceSpec, InterfaceSpec};

    use super::*;

    #[test]
    fn a_wake_up_before_the_waiting_ends_it() {
        const LONG: Duration = Duration::from_secs(20);
        let (ours, _theirs) = UnixDatagram::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let device = DeviceSpec::UnixFd(OwnedFd::from(ours));
        let mut config = Config::default();
        config.interfaces.push(InterfaceSpec::new(device, ["10.9.1.1/24".parse().unwrap()]));
        let mut net = StackNet::new(Engine::new(config).unwrap());
        let (waker, mut events) = (net.waker(), Vec::new());
        net.poll(Some(Duration::ZERO), &mut events).unwrap();
        waker.wake();
        net.poll(Some(LONG), &mut events).unwrap();
        assert!(net.now() < LONG, "{:?}", net.now());
    }
}
