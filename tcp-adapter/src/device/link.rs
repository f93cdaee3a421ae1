//! What the kernel tells about a network interface.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::ioctl::{Opcode, Updater, ioctl};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use super::OpenError;

/// What a device must know of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link {
    /// Number of the interface, which is not used again while the system runs.
    pub(super) index: i32,
    /// Largest IP packet in bytes.
    pub(super) mtu: usize,
    /// Whether the link layer is Ethernet.
    pub(super) ethernet: bool,
    /// Whether the interface is administratively up.
    pub(super) up: bool,
}

/// Looks the interface up in the network namespace of the calling thread.
///
/// # Errors
/// [`OpenError::InvalidName`], [`OpenError::NoSuchInterface`], [`OpenError::Io`].
pub(super) fn query(name: &str) -> Result<Link, OpenError> {
    // Any socket can ask; a unix one exists on every kernel.
    let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
        .map_err(OpenError::io("open a socket to ask for an interface"))?;
    query_through(&socket, name)
}

/// Like [`query`], in the network namespace in which `socket` was opened.
///
/// # Errors
/// As for [`query`].
pub(super) fn query_through(socket: &OwnedFd, name: &str) -> Result<Link, OpenError> {
    let index = ask::<{ libc::SIOCGIFINDEX as Opcode }>(socket, name)?;
    let mtu = ask::<{ libc::SIOCGIFMTU as Opcode }>(socket, name)?;
    let hardware = ask::<{ libc::SIOCGIFHWADDR as Opcode }>(socket, name)?;
    let flags = ask::<{ libc::SIOCGIFFLAGS as Opcode }>(socket, name)?;
    // SAFETY: the kernel has filled in the member that belongs to each request, and every bit pattern is valid
    // for these integers.
    let (index, mtu, family, flags) = unsafe {
        let family = hardware.ifr_ifru.ifru_hwaddr.sa_family;
        (index.ifr_ifru.ifru_ifindex, mtu.ifr_ifru.ifru_mtu, family, flags.ifr_ifru.ifru_flags)
    };
    Ok(Link {
        index,
        mtu: usize::try_from(mtu).unwrap_or(0),
        ethernet: family == libc::ARPHRD_ETHER,
        up: libc::c_int::from(flags) & libc::IFF_UP != 0,
    })
}

/// A request that names an interface, all else zero.
///
/// # Errors
/// [`OpenError::InvalidName`].
pub(super) fn request(name: &str) -> Result<libc::ifreq, OpenError> {
    // `%` would be a template from which the kernel makes up a name.
    let invalid = |byte: u8| byte.is_ascii_whitespace() || matches!(byte, 0 | b'/' | b':' | b'%');
    if name.is_empty() || name.len() >= libc::IFNAMSIZ || matches!(name, "." | "..") || name.bytes().any(invalid) {
        return Err(OpenError::InvalidName(name.to_owned()));
    }
    // SAFETY: `ifreq` is made of integers, arrays of them, and a pointer, for all of which zero is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    Ok(request)
}

fn ask<const OPCODE: Opcode>(socket: &OwnedFd, name: &str) -> Result<libc::ifreq, OpenError> {
    let mut request = request(name)?;
    // SAFETY: the interface requests used here take and return an `ifreq`.
    let asked = unsafe { ioctl(socket, Updater::<OPCODE, libc::ifreq>::new(&mut request)) };
    match asked {
        Ok(()) => Ok(request),
        Err(Errno::NODEV) => Err(OpenError::NoSuchInterface(name.to_owned())),
        Err(error) => Err(OpenError::io("ask for an interface")(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_no_interface_can_have_are_refused() {
        for name in ["", "sixteen-bytes-xx", "a/b", "a b", "tap%d", "..", "a:1", "nul\0"] {
            assert!(matches!(request(name), Err(OpenError::InvalidName(_))), "{name:?}");
        }
        assert!(request("fifteen-bytes-x").is_ok());
    }

    #[test]
    fn loopback_is_there_and_is_not_ethernet() {
        assert!(!query("lo").unwrap().ethernet);
        assert!(matches!(query("no-such-if"), Err(OpenError::NoSuchInterface(_))));
    }
}
