//! Connections of one thread, none of which ever blocks it.

mod kernel;
mod outgoing;
mod stack;

use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

pub(crate) use kernel::expect_signs_of_life;
pub use kernel::{KernelNet, Protocol};
pub use outgoing::{Outgoing, Piece};
pub use stack::StackNet;

/// How long nothing may come before a peer is asked whether it is still there.
pub const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
/// How long it has for each answer.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// How often it is asked in a row before the connection is given up.
pub const KEEPALIVE_PROBES: u32 = 6;

/// Bytes that are received from one connection before the others have their turn.
pub(crate) const MOST_RECEIVED: usize = 1 << 20;

/// Names a connection of a [`Net`]; never given twice before 2^32 others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u32);

/// Names a listener of a [`Net`]: the first one is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListenerId(pub usize);

/// What has happened to a connection.
#[derive(Debug)]
pub enum NetEvent {
    /// It was accepted.
    Accepted(LinkId, ListenerId),
    /// It was asked for, and is there.
    Connected(LinkId),
    /// There is something to [`receive`](Net::receive), be it the end.
    Readable(LinkId),
    /// There is room again after [`send`](Net::send) took less than it was given.
    Writable(LinkId),
    /// It has failed. Nothing comes of it any more but what was received before.
    Failed(LinkId, io::Error),
}

impl NetEvent {
    /// The connection that it has happened to.
    pub fn link(&self) -> LinkId {
        match self {
            Self::Accepted(link, _)
            | Self::Connected(link)
            | Self::Readable(link)
            | Self::Writable(link)
            | Self::Failed(link, _) => *link,
        }
    }
}

/// What [`Net::receive`] finds.
#[derive(Debug)]
pub enum Received {
    /// The next bytes of the stream, at least one.
    Data(Bytes),
    /// Nothing now.
    Nothing,
    /// The peer has closed its side.
    End,
}

/// One thread's transport.
pub trait Net {
    /// Sends what is to be sent, waits for `timeout` at most until something happens, or [`waker`](Self::waker) is used, and appends what has happened.
    ///
    /// # Errors
    /// The operating system's.
    fn poll(&mut self, timeout: Option<Duration>, events: &mut Vec<NetEvent>) -> io::Result<()>;

    /// Listens. Over the kernel, port 0 is any that is free. Returns the address.
    ///
    /// # Errors
    /// The address cannot be used.
    fn listen(&mut self, address: SocketAddr) -> io::Result<(ListenerId, SocketAddr)>;

    /// Starts to connect; [`NetEvent::Connected`] or [`NetEvent::Failed`] follows.
    ///
    /// # Errors
    /// It cannot even be tried.
    fn connect(&mut self, address: SocketAddr) -> io::Result<LinkId>;

    /// The next bytes of a connection.
    ///
    /// # Errors
    /// The connection has failed.
    fn receive(&mut self, link: LinkId) -> io::Result<Received>;

    /// Takes what it can from the front of `outgoing`.
    ///
    /// # Errors
    /// The connection has failed.
    fn send(&mut self, link: LinkId, outgoing: &mut Outgoing) -> io::Result<()>;

    /// Closes a connection once what it has taken is sent.
    fn close(&mut self, link: LinkId);

    /// Ends a connection at once: what was not sent is not sent any more.
    fn abort(&mut self, link: LinkId);

    /// The address that a connection has at this end.
    fn local_addr(&self, link: LinkId) -> Option<SocketAddr>;

    /// The time since this transport was made.
    fn now(&self) -> Duration;

    /// Ends the waiting of [`poll`](Self::poll), or of the next one.
    fn waker(&self) -> Waker;

    /// Ends the waiting of [`poll`](Self::poll) whenever this descriptor is readable, from now on until it is closed.
    ///
    /// # Errors
    /// It is nothing that can be waited for.
    fn watch(&mut self, descriptor: BorrowedFd<'_>) -> io::Result<()>;
}

impl<N: Net + ?Sized> Net for Box<N> {
    fn poll(&mut self, timeout: Option<Duration>, events: &mut Vec<NetEvent>) -> io::Result<()> {
        (**self).poll(timeout, events)
    }

    fn listen(&mut self, address: SocketAddr) -> io::Result<(ListenerId, SocketAddr)> {
        (**self).listen(address)
    }

    fn connect(&mut self, address: SocketAddr) -> io::Result<LinkId> {
        (**self).connect(address)
    }

    fn receive(&mut self, link: LinkId) -> io::Result<Received> {
        (**self).receive(link)
    }

    fn send(&mut self, link: LinkId, outgoing: &mut Outgoing) -> io::Result<()> {
        (**self).send(link, outgoing)
    }

    fn close(&mut self, link: LinkId) {
        (**self).close(link);
    }

    fn abort(&mut self, link: LinkId) {
        (**self).abort(link);
    }

    fn local_addr(&self, link: LinkId) -> Option<SocketAddr> {
        (**self).local_addr(link)
    }

    fn now(&self) -> Duration {
        (**self).now()
    }

    fn waker(&self) -> Waker {
        (**self).waker()
    }

    fn watch(&mut self, descriptor: BorrowedFd<'_>) -> io::Result<()> {
        (**self).watch(descriptor)
    }
}

/// Wakes the thread of a [`Net`], from any thread.
#[derive(Clone)]
pub struct Waker(Arc<dyn Fn() + Send + Sync>);

impl Waker {
    pub(crate) fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(wake))
    }

    /// Has [`Net::poll`] return.
    pub fn wake(&self) {
        (self.0)();
    }
}

impl std::fmt::Debug for Waker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Waker")
    }
}
