//! Blocking listeners.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_queue::ArrayQueue;
use mptcp_core::ConnId;
use tcp_adapter::ListenerId;

use super::gate::Gate;
use super::pipe::Pipe;
use super::stream::MptcpStream;
use super::{Command, Shared, deadline, stopped};

/// Takes connections, as [`std::net::TcpListener`] does. May be used by several threads at once.
///
/// Dropping it stops listening; connections that nobody has accepted are reset.
#[derive(Debug)]
pub struct MptcpListener {
    shared: Arc<Shared>,
    backlog: Arc<Backlog>,
    addr: SocketAddr,
}

/// Connections that wait to be accepted.
#[derive(Debug)]
pub(super) struct Backlog {
    pub(super) listener: ListenerId,
    pub(super) incoming: ArrayQueue<Incoming>,
    /// The driver has left connections with the stack, for lack of room here.
    pub(super) full: AtomicBool,
    /// The driver has left.
    pub(super) stopped: AtomicBool,
    pub(super) gate: Gate,
}

/// An accepted connection that is not a stream yet.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) conn: ConnId,
    pub(super) pipe: Arc<Pipe>,
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
}

impl Backlog {
    /// Fails everybody who waits for a connection.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.gate.tell();
    }
}

impl MptcpListener {
    pub(super) fn new(shared: Arc<Shared>, backlog: Arc<Backlog>, addr: SocketAddr) -> Self {
        Self { shared, backlog, addr }
    }

    /// Waits for the next connection.
    ///
    /// # Errors
    /// `NotConnected` if the runtime has stopped.
    pub fn accept(&self) -> io::Result<(MptcpStream, SocketAddr)> {
        self.accept_until(None)
    }

    /// The same, waiting for `timeout` at most; zero only looks.
    ///
    /// # Errors
    /// `TimedOut` after `timeout`; `NotConnected` if the runtime has stopped.
    pub fn accept_timeout(&self, timeout: Duration) -> io::Result<(MptcpStream, SocketAddr)> {
        self.accept_until(deadline(timeout))
    }

    fn accept_until(&self, deadline: Option<Instant>) -> io::Result<(MptcpStream, SocketAddr)> {
        let backlog = &self.backlog;
        let next = || match backlog.incoming.pop() {
            Some(incoming) => Some(Ok(incoming)),
            None => backlog.stopped.load(Ordering::Acquire).then(|| Err(stopped())),
        };
        let incoming = backlog.gate.wait(deadline, next).unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))?;
        if backlog.full.swap(false, Ordering::SeqCst) {
            // If the driver has left, nothing waits there.
            let _ = self.shared.command(Command::Refill(backlog.listener));
        }
        let Incoming { conn, pipe, local, remote } = incoming;
        Ok((MptcpStream::new(Arc::clone(&self.shared), conn, pipe, local, remote), remote))
    }

    /// What it was bound to.
    ///
    /// # Errors
    /// None: the signature is that of [`std::net::TcpListener`].
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.addr)
    }
}

impl Drop for MptcpListener {
    fn drop(&mut self) {
        // If the driver has left, it listens no longer.
        let _ = self.shared.command(Command::Unlisten(self.backlog.listener));
    }
}
