//! The kernel's sockets: TCP, or its own Multipath TCP.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use nvme_tcp::Blocks;
use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with, sockopt};

use super::{
    KEEPALIVE_IDLE, KEEPALIVE_INTERVAL, KEEPALIVE_PROBES, LinkId, ListenerId, Net, NetEvent, Outgoing, Received, Waker,
};

/// Which protocol of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// Multipath TCP; connections are plain TCP with peers that do not have it.
    Mptcp,
}

/// Connections over the kernel's sockets.
pub struct KernelNet {
    protocol: Protocol,
    congestion: Option<String>,
    shares_ports: bool,
    epoll: OwnedFd,
    wake: Arc<OwnedFd>,
    listeners: Vec<TcpListener>,
    /// Given up for a moment when the process has no descriptors left, so that who connects then can be turned away.
    spare: Option<OwnedFd>,
    links: HashMap<u32, Link>,
    next: u32,
    epoch: Instant,
    /// Where bytes are read into.
    received: Blocks,
    /// Where few bytes are copied to, so that they do not hold a block of those.
    short: Blocks,
}

#[derive(Debug)]
struct Link {
    socket: TcpStream,
    connecting: bool,
    /// Output is watched for.
    blocked: bool,
}

/// Bytes of the blocks that are read into, and how many of them are kept while all are in use.
const BLOCK: usize = 128 * 1024;
const MAX_BLOCKS: usize = 64;
/// Bytes that there is room for when something is read.
const LEAST_ROOM: usize = 32 * 1024;
/// What is shorter than this is copied, so that a command does not hold a block, but one that others share which came with it.
const SHORT: usize = 2048;
const SHORT_BLOCK: usize = 16 * 1024;
/// Pieces that are sent with one system call.
const PIECES: usize = 64;
const BACKLOG: i32 = 1024;
const EVENTS: usize = 64;
/// Who is woken for nothing once an hour does not mind. Milliseconds that do not fit an int need another system call, which older kernels do not have.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// What the kernel gives back with events: links have their numbers, listeners their index beyond these, and the wake-up the last.
const LISTENERS: u64 = 1 << 32;
const WAKE: u64 = u64::MAX;
/// What only ends the waiting.
const WATCHED: u64 = WAKE - 1;

impl KernelNet {
    /// No connections yet.
    ///
    /// # Errors
    /// The process has too many descriptors.
    pub fn new(protocol: Protocol) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        epoll::add(&epoll, &wake, epoll::EventData::new_u64(WAKE), epoll::EventFlags::IN)?;
        Ok(Self {
            protocol,
            congestion: None,
            shares_ports: false,
            epoll,
            wake,
            listeners: Vec::new(),
            spare: Some(spare()?),
            links: HashMap::new(),
            next: 0,
            epoch: Instant::now(),
            received: Blocks::new(BLOCK, MAX_BLOCKS),
            short: Blocks::new(SHORT_BLOCK, MAX_BLOCKS),
        })
    }

    /// Has all sockets use the kernel's congestion control of this name.
    #[must_use]
    pub fn with_congestion_control(self, name: String) -> Self {
        Self { congestion: Some(name), ..self }
    }

    /// Has listeners share their addresses with those of other threads that say so too: the kernel spreads the connections over them. Otherwise an address
    /// is for one listener.
    ///
    /// The kernel does not tell threads from processes of the same user. So that no other target has the address, and with it a part of the queues that are
    /// meant for this one, try first whether it is free, without this.
    #[must_use]
    pub fn sharing_ports(self) -> Self {
        Self { shares_ports: true, ..self }
    }

    fn socket(&self, address: SocketAddr) -> io::Result<OwnedFd> {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let protocol = match self.protocol {
            Protocol::Tcp => ipproto::TCP,
            Protocol::Mptcp => ipproto::MPTCP,
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(family, SocketType::STREAM, flags, Some(protocol))?;
        if let Some(name) = &self.congestion {
            sockopt::set_tcp_congestion(&socket, name).map_err(|error| {
                io::Error::other(format!(
                    "the kernel does not give its sockets the congestion control '{name}': {error}"
                ))
            })?;
        }
        Ok(socket)
    }

    fn adopt(&mut self, socket: TcpStream, connecting: bool) -> io::Result<LinkId> {
        socket.set_nodelay(true)?;
        expect_signs_of_life(&socket);
        let id = self.next;
        self.next = self.next.wrapping_add(1);
        let interest = if connecting { epoll::EventFlags::OUT } else { epoll::EventFlags::IN };
        epoll::add(&self.epoll, &socket, epoll::EventData::new_u64(id.into()), interest)?;
        self.links.insert(id, Link { socket, connecting, blocked: connecting });
        Ok(LinkId(id))
    }

    fn accept(&mut self, index: usize, events: &mut Vec<NetEvent>) {
        loop {
            let socket = match self.listeners[index].accept() {
                Ok((socket, _)) => socket,
                Err(error) if is_out_of_descriptors(&error) && self.spare.take().is_some() => {
                    // Left where they are, they would wake this thread again and again.
                    tracing::warn!(%error, "a connection is turned away");
                    drop(self.listeners[index].accept());
                    self.spare = spare().ok();
                    continue;
                }
                Err(_) => return,
            };
            let adopted = socket.set_nonblocking(true).and_then(|()| self.adopt(socket, false));
            match adopted {
                Ok(link) => events.push(NetEvent::Accepted(link, ListenerId(index))),
                Err(error) => tracing::warn!(%error, "a connection cannot be accepted"),
            }
        }
    }

    fn link(&mut self, link: LinkId) -> io::Result<&mut Link> {
        self.links.get_mut(&link.0).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn on_link(&mut self, id: u32, flags: epoll::EventFlags, events: &mut Vec<NetEvent>) {
        let Some(link) = self.links.get_mut(&id) else { return };
        if link.connecting {
            let failed = match link.socket.take_error() {
                Ok(None) => None,
                Ok(Some(error)) | Err(error) => Some(error),
            };
            let ready = epoll::EventFlags::IN;
            let watched = epoll::modify(&self.epoll, &link.socket, epoll::EventData::new_u64(id.into()), ready);
            (link.connecting, link.blocked) = (false, false);
            return events.push(match failed.or_else(|| watched.err().map(io::Error::from)) {
                Some(error) => NetEvent::Failed(LinkId(id), error),
                None => NetEvent::Connected(LinkId(id)),
            });
        }
        if flags.intersects(epoll::EventFlags::OUT) {
            link.watch_output(&self.epoll, id, false);
            events.push(NetEvent::Writable(LinkId(id)));
        }
        // Errors and the end are found by reading.
        if flags.intersects(epoll::EventFlags::IN | epoll::EventFlags::HUP | epoll::EventFlags::ERR) {
            events.push(NetEvent::Readable(LinkId(id)));
        }
    }
}

/// Has the kernel end a connection whose peer has vanished and says nothing of that: not all peers of NVMe have a keep-alive timeout, and those of NBD have
/// none.
pub(crate) fn expect_signs_of_life(socket: impl AsFd) {
    // Sockets without TCP have no such thing, nor does Multipath TCP in older kernels.
    let _ = sockopt::set_socket_keepalive(&socket, true)
        .and_then(|()| sockopt::set_tcp_keepidle(&socket, KEEPALIVE_IDLE))
        .and_then(|()| sockopt::set_tcp_keepintvl(&socket, KEEPALIVE_INTERVAL))
        .and_then(|()| sockopt::set_tcp_keepcnt(&socket, KEEPALIVE_PROBES));
}

fn spare() -> io::Result<OwnedFd> {
    Ok(eventfd(0, EventfdFlags::CLOEXEC)?)
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    let code = error.raw_os_error().map(rustix::io::Errno::from_raw_os_error);
    matches!(code, Some(rustix::io::Errno::MFILE | rustix::io::Errno::NFILE))
}

impl Link {
    fn watch_output(&mut self, epoll: &OwnedFd, id: u32, blocked: bool) {
        if self.blocked == blocked {
            return;
        }
        self.blocked = blocked;
        let output = if blocked { epoll::EventFlags::OUT } else { epoll::EventFlags::empty() };
        let data = epoll::EventData::new_u64(id.into());
        if let Err(error) = epoll::modify(epoll, &self.socket, data, epoll::EventFlags::IN | output) {
            tracing::warn!(%error, "a connection cannot be watched");
        }
    }
}

impl Net for KernelNet {
    fn poll(&mut self, timeout: Option<Duration>, events: &mut Vec<NetEvent>) -> io::Result<()> {
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout.min(LONGEST_WAIT)).ok());
        let mut room = [MaybeUninit::uninit(); EVENTS];
        let ready = match epoll::wait(&self.epoll, &mut room, timeout.as_ref()) {
            Ok((ready, _)) => ready,
            Err(rustix::io::Errno::INTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        for event in ready {
            match event.data.u64() {
                WAKE => {
                    let _ = rustix::io::read(&*self.wake, &mut [0; 8]);
                }
                WATCHED => {}
                // Fits: there are not that many listeners.
                listener if listener >= LISTENERS => self.accept((listener - LISTENERS) as usize, events),
                link => self.on_link(link as u32, event.flags, events),
            }
        }
        Ok(())
    }

    fn listen(&mut self, address: SocketAddr) -> io::Result<(ListenerId, SocketAddr)> {
        let socket = self.socket(address)?;
        sockopt::set_socket_reuseaddr(&socket, true)?;
        sockopt::set_socket_reuseport(&socket, self.shares_ports)?;
        rustix::net::bind(&socket, &address)?;
        rustix::net::listen(&socket, BACKLOG)?;
        let index = self.listeners.len();
        let data = epoll::EventData::new_u64(LISTENERS + index as u64);
        epoll::add(&self.epoll, &socket, data, epoll::EventFlags::IN)?;
        let listener = TcpListener::from(socket);
        let address = listener.local_addr()?;
        self.listeners.push(listener);
        Ok((ListenerId(index), address))
    }

    fn connect(&mut self, address: SocketAddr) -> io::Result<LinkId> {
        let socket = self.socket(address)?;
        match rustix::net::connect(&socket, &address) {
            Ok(()) | Err(rustix::io::Errno::INPROGRESS) => self.adopt(TcpStream::from(socket), true),
            Err(error) => Err(error.into()),
        }
    }

    fn receive(&mut self, link: LinkId) -> io::Result<Received> {
        let link = self.links.get_mut(&link.0).ok_or(io::ErrorKind::NotConnected)?;
        let block = self.received.room(LEAST_ROOM);
        match uring::read_into(&link.socket, block) {
            Ok(0) => Ok(Received::End),
            Ok(count) if count < SHORT => {
                let short = self.short.room(count);
                short.extend_from_slice(block);
                block.clear();
                Ok(Received::Data(short.split().freeze()))
            }
            Ok(_) => Ok(Received::Data(block.split().freeze())),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                Ok(Received::Nothing)
            }
            Err(error) => Err(error),
        }
    }

    fn send(&mut self, id: LinkId, outgoing: &mut Outgoing) -> io::Result<()> {
        while !outgoing.is_empty() {
            let link = self.link(id)?;
            if link.blocked {
                break;
            }
            let mut slices = [IoSlice::new(&[]); PIECES];
            let mut count = 0;
            for (slice, piece) in slices.iter_mut().zip(outgoing.pieces()) {
                *slice = IoSlice::new(&piece.bytes);
                count += 1;
            }
            match rustix::io::writev(&link.socket, &slices[..count]) {
                Ok(sent) => outgoing.advance(sent),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => {
                    let epoll = &self.epoll;
                    if let Some(link) = self.links.get_mut(&id.0) {
                        link.watch_output(epoll, id.0, true);
                    }
                    break;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn close(&mut self, link: LinkId) {
        // A descriptor that is closed is not watched any more.
        self.links.remove(&link.0);
    }

    fn abort(&mut self, link: LinkId) {
        if let Some(link) = self.links.remove(&link.0) {
            // Without this, what the socket holds would still be sent after it is closed. Multipath TCP heeds the lingering time in the newest kernels only,
            // but ends at once, with MP_FASTCLOSE, when it is taken apart.
            let reset = sockopt::set_socket_linger(&link.socket, Some(Duration::ZERO))
                .and_then(|()| rustix::net::connect_unspec(&link.socket));
            if let Err(error) = reset {
                tracing::warn!(%error, "a connection is not ended at once");
            }
        }
    }

    fn local_addr(&self, link: LinkId) -> Option<SocketAddr> {
        self.links.get(&link.0)?.socket.local_addr().ok()
    }

    fn now(&self) -> Duration {
        self.epoch.elapsed()
    }

    fn waker(&self) -> Waker {
        let wake = Arc::clone(&self.wake);
        Waker::new(move || {
            // It could only fail by blocking, with the counter at its end, and then the descriptor is readable.
            let _ = rustix::io::write(&*wake, &1_u64.to_ne_bytes());
        })
    }

    fn watch(&mut self, descriptor: BorrowedFd<'_>) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, descriptor, epoll::EventData::new_u64(WATCHED), epoll::EventFlags::IN)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_are_asked_whether_they_are_still_there() {
        let mut net = KernelNet::new(Protocol::Tcp).unwrap();
        let (_, address) = net.listen("127.0.0.1:0".parse().unwrap()).unwrap();
        net.connect(address).unwrap();
        let mut events = Vec::new();
        while net.links.len() < 2 {
            net.poll(None, &mut events).unwrap();
        }
        for link in net.links.values() {
            assert!(sockopt::socket_keepalive(&link.socket).unwrap());
            assert_eq!(sockopt::tcp_keepidle(&link.socket).unwrap(), KEEPALIVE_IDLE);
            assert_eq!(sockopt::tcp_keepcnt(&link.socket).unwrap(), KEEPALIVE_PROBES);
        }
    }
}
