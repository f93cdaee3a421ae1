//! What carries the bytes: one face for the kernel's sockets and for user-space paths.

mod classes;
mod kernel;
mod kernel_info;
mod options;
mod report;
mod user_space;

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mptcp_sdk::{MptcpListener, MptcpStream, Runtime};

use crate::failure::Failure;
use crate::human::ListenAddr;
use crate::interrupt::on_interrupt;

pub(crate) use kernel::{KernelListener, KernelProtocol, KernelSockets, KernelStream};
pub(crate) use options::{Carrier, NetworkOptions, Role, read_weights};
pub(crate) use report::{StreamReport, SubflowReport, deltas, shares};
use user_space::UserSpace;

/// Where connections come from and go to.
pub(crate) enum Network {
    /// Sockets of the kernel.
    Kernel(KernelSockets),
    /// Paths in user space.
    User(UserSpace),
}

impl Network {
    /// Paths in user space that are set up already, without control socket options or counters.
    pub(crate) fn user_space(runtime: Runtime) -> Result<Self, Failure> {
        Ok(Self::User(UserSpace::start(runtime, None, None)?))
    }

    /// Listens.
    pub(crate) fn listen(&self, at: ListenAddr) -> Result<Listener, Failure> {
        match self {
            Self::Kernel(sockets) => {
                let listener = sockets.listen(at.addr, at.port).map(Listener::Kernel);
                listener.map_err(|error| Failure::io(format_args!("cannot listen on {at}"), &error))
            }
            Self::User(user) => user.listen(at).map(Listener::User),
        }
    }

    /// Connects, waiting for the handshake.
    pub(crate) fn connect(&self, remote: SocketAddr) -> Result<Stream, Failure> {
        match self {
            Self::Kernel(sockets) => {
                let stream = sockets.connect(remote).map(Stream::Kernel);
                stream.map_err(|error| Failure::io(format_args!("cannot connect to {remote}"), &error))
            }
            Self::User(user) => user.connect(remote).map(Stream::User),
        }
    }
}

/// Takes connections.
pub(crate) enum Listener {
    /// A socket of the kernel.
    Kernel(KernelListener),
    /// One of ours.
    User(MptcpListener),
}

impl Listener {
    /// The next connection; fails with `TimedOut` after `timeout`, if one is given.
    pub(crate) fn accept(&self, timeout: Option<Duration>) -> io::Result<Stream> {
        match self {
            Self::Kernel(listener) => listener.accept(timeout).map(Stream::Kernel),
            Self::User(listener) => {
                let accepted = match timeout {
                    Some(timeout) => listener.accept_timeout(timeout),
                    None => listener.accept(),
                };
                accepted.map(|(stream, _)| Stream::User(stream))
            }
        }
    }
}

/// A connection. Reading and writing work through a shared reference, from several threads at once.
pub(crate) enum Stream {
    /// A socket of the kernel.
    Kernel(KernelStream),
    /// One of ours.
    User(MptcpStream),
}

impl Stream {
    /// The other end.
    pub(crate) fn peer_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Kernel(stream) => Ok(stream.remote),
            Self::User(stream) => stream.peer_addr(),
        }
    }

    /// Ends one direction, or both. Threads blocked in that direction wake up.
    pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match self {
            Self::Kernel(stream) => stream.socket.shutdown(how),
            Self::User(stream) => stream.shutdown(how),
        }
    }

    /// How long reading blocks at most; `None` for ever.
    pub(crate) fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Kernel(stream) => stream.socket.set_read_timeout(timeout),
            Self::User(stream) => stream.set_read_timeout(timeout),
        }
    }

    /// Waits until the peer has acknowledged all the `sent` bytes, as long as that goes on, and then a moment for the
    /// connection to be over, so that its report is final. The kernel delivers what it has taken by itself, and does not
    /// tell.
    ///
    /// # Errors
    /// The connection has ended, or has made no progress for long, and bytes are not acknowledged.
    pub(crate) fn settle(&self, sent: u64) -> Result<(), Failure> {
        match self {
            Self::Kernel(_) => Ok(()),
            Self::User(stream) => user_space::settle(stream, sent),
        }
    }

    /// Throws the connection away, telling the peer so.
    pub(crate) fn abort(&self) {
        match self {
            Self::Kernel(stream) => stream.abort(),
            Self::User(stream) => stream.abort(),
        }
    }

    /// Aborts the connection, if it still exists, when the process is interrupted.
    pub(crate) fn abort_on_interrupt(stream: &Arc<Self>) -> Result<(), Failure> {
        let stream = Arc::downgrade(stream);
        on_interrupt(move || {
            if let Some(stream) = stream.upgrade() {
                stream.abort();
            }
        })
    }

    /// What is known of the connection now.
    pub(crate) fn report(&self) -> StreamReport {
        match self {
            Self::Kernel(stream) => kernel_info::report(stream),
            Self::User(stream) => user_space::report(stream),
        }
    }
}

impl Read for &Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Kernel(stream) => (&stream.socket).read(buf),
            Stream::User(stream) => (&*stream).read(buf),
        }
    }
}

impl Write for &Stream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Kernel(stream) => (&stream.socket).write(buf),
            Stream::User(stream) => (&*stream).write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
