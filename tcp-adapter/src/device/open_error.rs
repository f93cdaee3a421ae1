//! Why a device could not be opened.

use std::io;
use std::path::PathBuf;

/// Why a device could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The process lacks a capability.
    #[error("{action} needs root or {capability}")]
    NoPrivilege {
        /// What was tried.
        action: &'static str,
        /// The capability that allows it.
        capability: &'static str,
    },
    /// There is no `/dev/net/tun`.
    #[error("/dev/net/tun does not exist: load the kernel module tun, or give the container that device")]
    NoTunDriver,
    /// The name is not one that an interface can have.
    #[error(
        "`{0}` cannot be the name of an interface: 1 to 15 bytes without `/`, `:`, `%` and white space are allowed"
    )]
    InvalidName(String),
    /// There is no interface of that name.
    #[error("there is no interface `{0}` in this network namespace")]
    NoSuchInterface(String),
    /// Another process has the TAP interface open.
    #[error("interface `{0}` is in use by another process")]
    Busy(String),
    /// The interface exists and is not a TAP interface with one queue.
    #[error("interface `{0}` exists and is not a TAP interface with a single queue")]
    NotTap(String),
    /// The interface does not carry Ethernet frames.
    #[error("interface `{0}` is not an Ethernet interface")]
    NotEthernet(String),
    /// The interface is down.
    #[error("interface `{0}` is down: bring it up with `ip link set {0} up`")]
    Down(String),
    /// The MTU is outside what an Ethernet link of this kind can have.
    #[error("MTU {0} is out of range: 68 to 65535 bytes are allowed")]
    InvalidMtu(usize),
    /// The descriptor is not a unix socket that keeps message boundaries.
    #[error("the descriptor is not a unix socket of type SOCK_DGRAM or SOCK_SEQPACKET")]
    NotUnixDatagram,
    /// The path of the socket exists.
    #[error("`{}` exists: another process uses it, or it was left behind and must be removed", .0.display())]
    PathInUse(PathBuf),
    /// The operating system refused for another reason.
    #[error("cannot {action}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// What the operating system answered.
        source: io::Error,
    },
}

impl OpenError {
    /// For `map_err`: the operating system refused `action`.
    pub(super) fn io<E: Into<io::Error>>(action: &'static str) -> impl FnOnce(E) -> Self {
        move |error| Self::Io { action, source: error.into() }
    }
}
