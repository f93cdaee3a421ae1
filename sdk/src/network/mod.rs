//! What the kernel tells of its network interfaces: links that fail and work again, addresses that come and go (rtnetlink).
//!
//! The codec is our own: of rtnetlink it takes two messages with a few attributes each, which is less than the bindings of a crate
//! for all of it, and `rustix` has the socket without unsafe code.

mod message;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, sendto, socket_with, sockopt,
};
use tcp_adapter::{IpCidr, MacAddr};

use message::{Change, Kind, Message, messages, request};

/// Watches the network interfaces of the namespace that it was opened in.
#[derive(Debug)]
pub struct NetworkMonitor {
    socket: OwnedFd,
    links: Links,
    buffer: Vec<u8>,
}

/// A network interface of the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelLink {
    /// Its name.
    pub name: String,
    /// It is up and has a carrier.
    pub up: bool,
    /// Its link-layer address, if that is one of Ethernet's.
    pub mac: Option<MacAddr>,
    /// Its addresses that can be used: not those whose uniqueness is still being checked, nor those of one link only.
    pub addrs: Vec<IpCidr>,
}

/// By the kernel's numbers.
type Links = BTreeMap<u32, KernelLink>;

/// The largest message: the kernel fills pages of this size in answers to dumps.
const BUFFER: usize = 32 << 10;

/// How long the kernel may take for the parts of an answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// Listings in a row at most, if notifications are lost during each.
const MOST_LISTINGS: usize = 8;

/// Bytes of notifications that may wait to be read. Beyond that everything is asked for anew.
const RECEIVE_BUFFER: usize = 1 << 20;

impl NetworkMonitor {
    /// Opens a socket and learns what there is.
    ///
    /// # Errors
    /// The system has no rtnetlink, or no descriptor is left.
    pub fn open() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        // Protocol 0 is NETLINK_ROUTE.
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
        // Beyond what the system allows, it is cut.
        let _ = sockopt::set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER);
        bind(&socket, &SocketAddrNetlink::new(0, message::GROUPS))?;
        let mut monitor = Self { socket, links: Links::new(), buffer: vec![0; BUFFER] };
        monitor.list()?;
        Ok(monitor)
    }

    /// An interface by its name.
    pub fn link(&self, name: &str) -> Option<&KernelLink> {
        self.links.values().find(|link| link.name == name)
    }

    /// All interfaces, in the order of their numbers.
    pub fn links(&self) -> impl Iterator<Item = &KernelLink> {
        self.links.values()
    }

    /// Takes what has happened since the last call, without waiting; whether that has changed anything.
    ///
    /// # Errors
    /// The socket is broken.
    pub fn refresh(&mut self) -> io::Result<bool> {
        let mut changed = false;
        loop {
            match self.receive() {
                Ok(Some(received)) => {
                    for message in received {
                        if let Message::Change(change) = message {
                            changed |= apply(&mut self.links, change);
                        }
                    }
                }
                Ok(None) => return Ok(changed),
                // More has happened than there was room for.
                Err(Errno::NOBUFS) => {
                    let before = self.links.clone();
                    self.list()?;
                    changed |= self.links != before;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Asks for everything, and again if notifications were lost meanwhile: they may have been of what was listed already.
    fn list(&mut self) -> io::Result<()> {
        for _ in 0..MOST_LISTINGS {
            if self.list_once()? {
                return Ok(());
            }
        }
        tracing::warn!("the kernel's interfaces change faster than they can be listed");
        Ok(())
    }

    /// Asks for everything; whether all that happened meanwhile was heard of.
    fn list_once(&mut self) -> io::Result<bool> {
        let mut complete = true;
        self.links.clear();
        for kind in [Kind::Link, Kind::Address] {
            sendto(&self.socket, &request(kind), SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
            let mut done = false;
            while !done {
                self.wait()?;
                match self.receive() {
                    Ok(Some(received)) => {
                        for message in received {
                            match message {
                                Message::Change(change) => {
                                    apply(&mut self.links, change);
                                }
                                Message::Done => done = true,
                                Message::Error(errno) => return Err(Errno::from_raw_os_error(errno).into()),
                            }
                        }
                    }
                    Ok(None) => {}
                    Err(Errno::NOBUFS) => complete = false,
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(complete)
    }

    fn wait(&self) -> io::Result<()> {
        let timeout = Timespec::try_from(PATIENCE).map_err(|_| io::ErrorKind::InvalidInput)?;
        let mut fds = [PollFd::new(&self.socket, PollFlags::IN)];
        match rustix::io::retry_on_intr(|| poll(&mut fds, Some(&timeout)))? {
            0 => Err(io::ErrorKind::TimedOut.into()),
            _ => Ok(()),
        }
    }

    fn receive(&mut self) -> Result<Option<Vec<Message>>, Errno> {
        match rustix::io::retry_on_intr(|| recv(&self.socket, &mut self.buffer[..], RecvFlags::empty())) {
            Ok((len, _)) => Ok(Some(messages(&self.buffer[..len]))),
            Err(Errno::AGAIN) => Ok(None),
            Err(errno) => Err(errno),
        }
    }
}

impl AsFd for NetworkMonitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Takes a change; whether it is one.
fn apply(links: &mut Links, change: Change) -> bool {
    match change {
        Change::Link { index, name, up, mac } => {
            let link = links.entry(index).or_default();
            let changed = link.name != name || link.up != up || link.mac != mac;
            (link.name, link.up, link.mac) = (name, up, mac);
            changed
        }
        Change::LinkGone { index } => links.remove(&index).is_some(),
        Change::Address { index, addr, usable } => {
            let addrs = &mut links.entry(index).or_default().addrs;
            match addrs.iter().position(|known| known.addr == addr.addr) {
                Some(at) if !usable => {
                    addrs.remove(at);
                }
                Some(at) if addrs[at] != addr => addrs[at] = addr,
                None if usable => addrs.push(addr),
                _ => return false,
            }
            true
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_is_found() {
        let mut monitor = NetworkMonitor::open().unwrap();
        let link = monitor.link("lo").unwrap();
        assert_eq!(link.name, "lo");
        assert!(monitor.links().count() >= 1 && monitor.link("no such interface").is_none());
        monitor.refresh().unwrap();
    }

    #[test]
    fn changes_are_told_from_repetitions() {
        let mut links = Links::new();
        let up = |up| Change::Link { index: 3, name: "eth7".to_owned(), up, mac: None };
        let addr = |text: &str, usable| Change::Address { index: 3, addr: text.parse().unwrap(), usable };
        assert!(apply(&mut links, up(false)) && !apply(&mut links, up(false)) && apply(&mut links, up(true)));
        assert!(!apply(&mut links, addr("fd00::1/64", false)), "its uniqueness is being checked");
        assert!(apply(&mut links, addr("fd00::1/64", true)) && !apply(&mut links, addr("fd00::1/64", true)));
        assert!(apply(&mut links, addr("10.0.0.1/24", true)) && apply(&mut links, addr("10.0.0.1/25", true)));
        assert_eq!(links[&3].addrs.iter().map(ToString::to_string).collect::<Vec<_>>(), ["fd00::1/64", "10.0.0.1/25"]);
        assert!(apply(&mut links, addr("fd00::1/64", false)) && !apply(&mut links, addr("fd00::1/64", false)));
        assert!(apply(&mut links, Change::LinkGone { index: 3 }) && !apply(&mut links, Change::LinkGone { index: 3 }));
    }
}
