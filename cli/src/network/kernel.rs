//! The kernel's sockets: plain TCP, or its own Multipath TCP.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use mptcp_sdk::adapter::congestion::Algorithm;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with};

/// Which protocol of the kernel to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum KernelProtocol {
    /// One path.
    Tcp,
    /// The kernel's own Multipath TCP.
    Mptcp,
}

impl From<KernelProtocol> for nvme_io::net::Protocol {
    fn from(protocol: KernelProtocol) -> Self {
        match protocol {
            KernelProtocol::Tcp => Self::Tcp,
            KernelProtocol::Mptcp => Self::Mptcp,
        }
    }
}

/// Which sockets of the kernel to use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KernelSockets {
    /// Their protocol.
    pub(crate) protocol: KernelProtocol,
    /// Their congestion control, the kernel's own of this name; `None` for the system's choice.
    pub(crate) congestion: Option<Algorithm>,
}

/// Connections that the kernel holds for us until we accept them.
const BACKLOG: i32 = 128;

impl KernelSockets {
    /// Listens on `addr`, or on every address of both families.
    pub(crate) fn listen(self, addr: Option<IpAddr>, port: u16) -> io::Result<KernelListener> {
        match addr {
            Some(addr) => self.listen_on(SocketAddr::new(addr, port)),
            None => match self.listen_on(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port)) {
                // A host without IPv6 has no address of that family to bind to.
                Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => {
                    self.listen_on(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port))
                }
                result => result,
            },
        }
    }

    fn listen_on(self, addr: SocketAddr) -> io::Result<KernelListener> {
        let fd = self.socket(addr)?;
        rustix::net::sockopt::set_socket_reuseaddr(&fd, true)?;
        rustix::net::bind(&fd, &addr)?;
        rustix::net::listen(&fd, BACKLOG)?;
        Ok(KernelListener { socket: TcpListener::from(fd), protocol: self.protocol })
    }

    /// Connects, waiting until the handshake is complete.
    pub(crate) fn connect(self, remote: SocketAddr) -> io::Result<KernelStream> {
        let fd = self.socket(remote)?;
        rustix::net::connect(&fd, &remote)?;
        KernelStream::new(TcpStream::from(fd), self.protocol)
    }

    fn socket(self, addr: SocketAddr) -> io::Result<OwnedFd> {
        let family = if addr.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let protocol = match self.protocol {
            KernelProtocol::Tcp => ipproto::TCP,
            KernelProtocol::Mptcp => ipproto::MPTCP,
        };
        let opened = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, Some(protocol));
        let socket = opened.map_err(|error| match self.protocol {
            KernelProtocol::Mptcp => {
                io::Error::other("this kernel has no Multipath TCP (see the setting net.mptcp.enabled)")
            }
            KernelProtocol::Tcp => error.into(),
        })?;
        if let Some(algorithm) = self.congestion {
            rustix::net::sockopt::set_tcp_congestion(&socket, &algorithm.to_string()).map_err(|_| {
                io::Error::other(format!(
                    "this kernel has no congestion control '{algorithm}', or needs root for it (see the setting \
                     net.ipv4.tcp_available_congestion_control)"
                ))
            })?;
        }
        Ok(socket)
    }
}

/// A listening socket.
pub(crate) struct KernelListener {
    socket: TcpListener,
    protocol: KernelProtocol,
}

impl KernelListener {
    /// Accepts the next connection; fails with `TimedOut` after `timeout`.
    pub(crate) fn accept(&self, timeout: Option<Duration>) -> io::Result<KernelStream> {
        if let Some(timeout) = timeout {
            let timeout = Timespec::try_from(timeout).map_err(|_| io::ErrorKind::InvalidInput)?;
            if poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], Some(&timeout))? == 0 {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
        let (socket, _) = self.socket.accept()?;
        KernelStream::new(socket, self.protocol)
    }
}

/// A connected socket.
pub(crate) struct KernelStream {
    /// The socket.
    pub(super) socket: TcpStream,
    /// Whether it was made for Multipath TCP.
    pub(super) multipath: bool,
    /// Known from the start: the kernel forgets it when the connection closes, while its counters stay.
    pub(super) local: SocketAddr,
    /// As for `local`.
    pub(super) remote: SocketAddr,
}

impl KernelStream {
    fn new(socket: TcpStream, protocol: KernelProtocol) -> io::Result<Self> {
        socket.set_nodelay(true)?;
        let (local, remote) = (canonical(socket.local_addr()?), canonical(socket.peer_addr()?));
        Ok(Self { socket, multipath: protocol == KernelProtocol::Mptcp, local, remote })
    }

    /// Resets the connection at once. Threads blocked in it wake up.
    pub(crate) fn abort(&self) {
        // Dissolving the association is the one call that sends a RST while the socket is still open elsewhere; it
        // fails only if the connection is already gone.
        let _ = rustix::net::connect_unspec(&self.socket);
    }
}

/// An IPv4 address that came through an IPv6 socket, as IPv4.
pub(super) fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}
