//! What carries the bytes: one face for the kernel's sockets and for user-space paths.

mod kernel;
mod kernel_info;
mod options;
mod report;

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::failure::Failure;
use crate::human::ListenAddr;
use crate::interrupt::on_interrupt;

pub(crate) use kernel::{KernelListener, KernelProtocol, KernelStream};
pub(crate) use options::NetworkOptions;
pub(crate) use report::{StreamReport, deltas, shares};

/// Where connections come from and go to.
pub(crate) enum Network {
    /// Sockets of the kernel.
    Kernel(KernelProtocol),
}

impl Network {
    /// Listens; mistakes of address or port are reported as failures to run.
    pub(crate) fn listen(&self, at: ListenAddr) -> Result<Listener, Failure> {
        let failed = |error: io::Error| Failure::io(format_args!("cannot listen on {at}"), &error);
        match self {
            Self::Kernel(protocol) => protocol.listen(at.addr, at.port).map(Listener::Kernel).map_err(failed),
        }
    }

    /// Connects, waiting for the handshake.
    pub(crate) fn connect(&self, remote: SocketAddr) -> Result<Stream, Failure> {
        let failed = |error: io::Error| Failure::io(format_args!("cannot connect to {remote}"), &error);
        match self {
            Self::Kernel(protocol) => protocol.connect(remote).map(Stream::Kernel).map_err(failed),
        }
    }
}

/// Takes connections.
pub(crate) enum Listener {
    /// A socket of the kernel.
    Kernel(KernelListener),
}

impl Listener {
    /// The next connection; fails with `TimedOut` after `timeout`, if one is given.
    pub(crate) fn accept(&self, timeout: Option<Duration>) -> io::Result<Stream> {
        match self {
            Self::Kernel(listener) => listener.accept(timeout).map(Stream::Kernel),
        }
    }
}

/// A connection. Reading and writing work through a shared reference, from several threads at once.
pub(crate) enum Stream {
    /// A socket of the kernel.
    Kernel(KernelStream),
}

impl Stream {
    /// The other end.
    pub(crate) fn peer_addr(&self) -> SocketAddr {
        match self {
            Self::Kernel(stream) => stream.remote,
        }
    }

    /// Ends one direction, or both. Threads blocked in that direction wake up.
    pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match self {
            Self::Kernel(stream) => stream.socket.shutdown(how),
        }
    }

    /// How long reading blocks at most; `None` for ever.
    pub(crate) fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Kernel(stream) => stream.socket.set_read_timeout(timeout),
        }
    }

    /// Throws the connection away, telling the peer so.
    pub(crate) fn abort(&self) {
        match self {
            Self::Kernel(stream) => stream.abort(),
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
        }
    }
}

impl Read for &Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Kernel(stream) => (&stream.socket).read(buf),
        }
    }
}

impl Write for &Stream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Kernel(stream) => (&stream.socket).write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
