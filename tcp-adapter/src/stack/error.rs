//! Why a call fails.

use std::net::{IpAddr, SocketAddr};

/// Why [`TcpStack::listen`](crate::TcpStack::listen) failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// The port is taken on that address, or on all.
    #[error("port {0} is already in use")]
    InUse(u16),
    /// Port 0 cannot be listened on.
    #[error("port 0 cannot be listened on")]
    PortZero,
    /// The address belongs to no interface.
    #[error("address {0} belongs to no interface of this stack")]
    NotLocal(IpAddr),
}

/// Why [`TcpStack::connect`](crate::TcpStack::connect) failed at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The source address belongs to no interface.
    #[error("source address {0} belongs to no interface of this stack")]
    NotLocal(IpAddr),
    /// The interface of the source address has no route to the destination.
    #[error("no route from {local} to {remote}: add a gateway to the interface, or use an address of its network")]
    Unreachable {
        /// Source address.
        local: IpAddr,
        /// Destination.
        remote: SocketAddr,
    },
    /// The same pair of addresses and ports is in use.
    #[error("source port {0} is already connected to that destination")]
    InUse(u16),
    /// Every ephemeral port to this destination is in use.
    #[error("no free source port towards {0}")]
    NoPort(SocketAddr),
    /// Port 0 cannot be connected to.
    #[error("port 0 cannot be connected to")]
    PortZero,
    /// The stack has as many connections as it was configured for.
    #[error("the stack's limit of {0} connections is reached")]
    TooMany(usize),
    /// The TCP has congestion controls of its own only, so that the windows of subflows cannot be coupled.
    #[error("{0} takes no congestion control from above, which the coupling of this connection needs")]
    NoCongestionControl(&'static str),
}

/// Why [`TcpStack::send`](crate::TcpStack::send) took nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// More than the buffer has room for; wait for [`TcpEvent::Writable`](crate::TcpEvent::Writable).
    #[error("the send buffer is full")]
    Full,
    /// An empty chunk has no meaning.
    #[error("a chunk must have at least one byte")]
    Empty,
    /// Not established yet, shut down, or gone.
    #[error("the connection cannot send")]
    Closed,
}

/// Why [`TcpStack::abort`](crate::TcpStack::abort) did nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AbortError {
    /// The connection is already gone.
    #[error("the connection is already gone")]
    Closed,
}
