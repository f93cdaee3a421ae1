//! Ethernet through a packet socket (AF_PACKET) on an interface of the kernel, by way of pnet.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::time::Duration;

use pnet::datalink::{self, Channel, DataLinkReceiver, DataLinkSender};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with, sockopt};

use super::burst::{Receiver, Sent, enlarge_buffers, transmit_each};
use super::lengths::max_frame;
use super::{Device, DeviceCapabilities, DeviceStats, OpenError, link};
use crate::Frame;

/// How to open a [`PacketDevice`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketConfig {
    /// Whether the interface receives frames for any MAC address. Needed unless the stack uses the
    /// interface's own.
    pub promiscuous: bool,
}

impl Default for PacketConfig {
    fn default() -> Self {
        Self { promiscuous: true }
    }
}

/// A network interface of the kernel, used beside the kernel's own stack.
///
/// The kernel sees the same frames. Give the stack a MAC address of its own, as promiscuous mode allows, or
/// leave the interface without IP addresses; else the kernel answers TCP segments that are not for it with RST.
///
/// A packet socket cannot tell frames apart that the kernel's offloads have touched: frames from the same host
/// may have unfinished checksums, and several segments may be merged into one frame longer than the MTU, which is
/// dropped and counted in [`DeviceStats::rx_dropped`]. Switch the offloads off: on this interface with
/// `ethtool -K INTERFACE gro off lro off`, and at the other end of a veth pair with
/// `ethtool -K PEER tx off tso off gso off`. VLAN tags are removed by the kernel before a frame gets here.
pub struct PacketDevice {
    sender: Box<dyn DataLinkSender>,
    incoming: Box<dyn DataLinkReceiver>,
    socket: OwnedFd,
    name: String,
    index: i32,
    mtu: usize,
    receiver: Receiver,
    stats: DeviceStats,
}

impl PacketDevice {
    /// Opens the interface `name`, which must be up, in the network namespace of the calling thread. Its MTU is
    /// read once, here.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(name: &str, config: PacketConfig) -> Result<Self, OpenError> {
        let link = link::query(name)?;
        if !link.ethernet {
            return Err(OpenError::NotEthernet(name.to_owned()));
        }
        if !link.up {
            return Err(OpenError::Down(name.to_owned()));
        }
        let interface = datalink::interfaces().into_iter().find(|interface| interface.name == name);
        let interface = interface.ok_or_else(|| OpenError::NoSuchInterface(name.to_owned()))?;

        let socket = packet_socket()?;
        // pnet owns the descriptor that it is given, and closes it when it fails; ours is for readiness and errors.
        let for_pnet = rustix::io::fcntl_dupfd_cloexec(&socket, 0).map_err(OpenError::io("copy a descriptor"))?;
        let config = datalink::Config {
            // One byte more than a frame can have, so that a longer one shows.
            read_buffer_size: max_frame(link.mtu) + 1,
            read_timeout: Some(Duration::ZERO),
            write_timeout: Some(Duration::ZERO),
            promiscuous: config.promiscuous,
            socket_fd: Some(for_pnet.into_raw_fd()),
            ..datalink::Config::default()
        };
        let channel = datalink::channel(&interface, config).map_err(OpenError::io("bind a packet socket"))?;
        let Channel::Ethernet(sender, incoming) = channel else {
            return Err(OpenError::NotEthernet(name.to_owned()));
        };
        Ok(Self {
            sender,
            incoming,
            socket,
            name: name.to_owned(),
            index: link.index,
            mtu: link.mtu,
            receiver: Receiver::new(link.mtu),
            stats: DeviceStats::default(),
        })
    }

    /// Name of the interface.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Device for PacketDevice {
    fn capabilities(&self) -> DeviceCapabilities {
        DeviceCapabilities { name: "packet", mtu: self.mtu, checksum_offload: false, segmentation_offload: false }
    }

    fn receive(&mut self, budget: usize, frames: &mut Vec<Frame>) -> io::Result<usize> {
        let Self { incoming, socket, name, index, .. } = self;
        self.receiver.receive_each(budget, frames, &mut self.stats, |buffer| match incoming.next() {
            Ok(frame) => {
                buffer[..frame.len()].copy_from_slice(frame);
                Ok(Some(frame.len()))
            }
            Err(error) => match error.kind() {
                io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(None),
                _ => while_down(socket, name, *index, error).map(|()| None),
            },
        })
    }

    fn transmit(&mut self, frames: &mut VecDeque<Frame>) -> io::Result<usize> {
        let Self { sender, socket, name, index, .. } = self;
        transmit_each(self.mtu, frames, &mut self.stats, |frame| {
            let Some(Err(error)) = sender.send_to(frame.linearize(), None) else { return Ok(Sent::Yes) };
            match (error.kind(), Errno::from_io_error(&error)) {
                (io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted, _) => {
                    Ok(Sent::Later)
                }
                // ENOBUFS: the queue of the interface is full, and has dropped the frame.
                (_, Some(Errno::NOBUFS | Errno::NOMEM | Errno::MSGSIZE | Errno::INVAL)) => Ok(Sent::Lost),
                _ => while_down(socket, name, *index, error).map(|()| Sent::Lost),
            }
        })
    }

    fn readiness(&self) -> Option<BorrowedFd<'_>> {
        Some(self.socket.as_fd())
    }

    fn stats(&self) -> DeviceStats {
        self.stats
    }
}

impl fmt::Debug for PacketDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PacketDevice").field("name", &self.name).field("mtu", &self.mtu).finish_non_exhaustive()
    }
}

/// A packet socket that receives nothing until it is bound to an interface, and never what this host sends.
fn packet_socket() -> Result<OwnedFd, OpenError> {
    let socket = socket_with(AddressFamily::PACKET, SocketType::RAW, SocketFlags::CLOEXEC, None);
    let socket = socket.map_err(|errno| match errno {
        Errno::PERM | Errno::ACCESS => {
            OpenError::NoPrivilege { action: "opening a packet socket", capability: "CAP_NET_RAW" }
        }
        errno => OpenError::io("open a packet socket")(errno),
    })?;
    let on: libc::c_int = 1;
    let size = size_of_val(&on) as libc::socklen_t;
    // SAFETY: the option takes an int, which outlives the call.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_IGNORE_OUTGOING,
            (&raw const on).cast(),
            size,
        )
    };
    if set != 0 {
        return Err(OpenError::io("hide outgoing frames")(io::Error::last_os_error()));
    }
    enlarge_buffers(&socket);
    Ok(socket)
}

/// Whether `error` only means that the interface is down, which comes back, or that the device is gone.
fn while_down(socket: &OwnedFd, name: &str, index: i32, error: io::Error) -> io::Result<()> {
    let errno = match Errno::from_io_error(&error) {
        Some(errno) => errno,
        // pnet has seen POLLERR alone, which lasts until somebody takes the error from the socket.
        None => match sockopt::socket_error(socket)? {
            Ok(()) => return Err(error),
            Err(errno) => errno,
        },
    };
    // The socket asks in the namespace that it was opened in, whichever the thread is in now.
    let is_there = link::query_through(socket, name).is_ok_and(|link| link.index == index);
    if errno == Errno::NETDOWN && is_there { Ok(()) } else { Err(errno.into()) }
}
