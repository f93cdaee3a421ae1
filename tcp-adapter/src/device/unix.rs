//! Ethernet frames as messages on a unix socket, as virtual machines use for their network cards.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::io::{Errno, FdFlags};
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendFlags, SocketAddrUnix, SocketFlags, SocketType, bind, recv,
    sendmsg, sendmsg_addr, socket_with, socketpair, sockopt,
};

use super::burst::{Receiver, Sent, enlarge_buffers, gather, transmit_each};
use super::{Device, DeviceCapabilities, DeviceStats, OpenError};
use crate::Frame;

/// A unix socket on which every message is one Ethernet frame.
#[derive(Debug)]
pub struct UnixEthernet {
    fd: OwnedFd,
    peer: Peer,
    /// Whether an empty message means that the peer has hung up.
    seqpacket: bool,
    mtu: usize,
    receiver: Receiver,
    stats: DeviceStats,
}

#[derive(Debug)]
enum Peer {
    /// The socket is connected; a peer that goes cannot come back.
    Connected,
    /// A socket in the file system, whose owner may come and go.
    At { address: SocketAddrUnix, own_path: PathBuf },
}

impl UnixEthernet {
    /// A connected unix socket of type SOCK_DGRAM or SOCK_SEQPACKET. `mtu` is 68 to 65535 bytes.
    ///
    /// That the peer is gone shows as an error: at once with SOCK_SEQPACKET, when sending with SOCK_DGRAM.
    ///
    /// # Errors
    /// [`OpenError::NotUnixDatagram`], [`OpenError::InvalidMtu`].
    pub fn from_fd(fd: OwnedFd, mtu: usize) -> Result<Self, OpenError> {
        let socket_type = sockopt::socket_type(&fd).map_err(|_| OpenError::NotUnixDatagram)?;
        let unix = sockopt::socket_domain(&fd) == Ok(AddressFamily::UNIX);
        if !unix || !matches!(socket_type, SocketType::DGRAM | SocketType::SEQPACKET) {
            return Err(OpenError::NotUnixDatagram);
        }
        Self::new(fd, Peer::Connected, socket_type == SocketType::SEQPACKET, mtu)
    }

    /// A device and the socket at its other end, of type SOCK_DGRAM, for a guest's network card.
    ///
    /// The guest's socket is closed on exec until [`make_inheritable`] is called.
    ///
    /// # Errors
    /// [`OpenError::InvalidMtu`], [`OpenError::Io`].
    pub fn pair(mtu: usize) -> Result<(Self, OwnedFd), OpenError> {
        let (ours, guests) = socketpair(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
            .map_err(OpenError::io("make a pair of unix sockets"))?;
        enlarge_buffers(&guests);
        Ok((Self::new(ours, Peer::Connected, false, mtu)?, guests))
    }

    /// A datagram socket at `path` that sends to the one at `peer_path`, which need not exist yet and may be
    /// replaced: until somebody is there, frames are lost and counted. The file at `path` is removed on drop.
    ///
    /// Who may write to `path` may send frames. A peer holds no more than `net.unix.max_dgram_qlen` frames that it
    /// has not read; the kernel's default of 10 is low for this use.
    ///
    /// # Errors
    /// [`OpenError::PathInUse`], [`OpenError::InvalidMtu`], [`OpenError::Io`].
    pub fn bind(path: impl AsRef<Path>, peer_path: impl AsRef<Path>, mtu: usize) -> Result<Self, OpenError> {
        let own_path = path.as_ref().to_owned();
        let address = SocketAddrUnix::new(peer_path.as_ref()).map_err(OpenError::io("use the path of the peer"))?;
        let own = SocketAddrUnix::new(&own_path).map_err(OpenError::io("use a path for a socket"))?;
        let fd = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
            .map_err(OpenError::io("open a unix socket"))?;
        bind(&fd, &own).map_err(|errno| match errno {
            Errno::ADDRINUSE => OpenError::PathInUse(own_path.clone()),
            errno => OpenError::io("bind a unix socket")(errno),
        })?;
        Self::new(fd, Peer::At { address, own_path }, false, mtu)
    }

    fn new(fd: OwnedFd, peer: Peer, seqpacket: bool, mtu: usize) -> Result<Self, OpenError> {
        let device = Self { fd, peer, seqpacket, mtu, receiver: Receiver::new(mtu), stats: DeviceStats::default() };
        if !(68..=65_535).contains(&mtu) {
            return Err(OpenError::InvalidMtu(mtu));
        }
        enlarge_buffers(&device.fd);
        Ok(device)
    }
}

/// Lets child processes inherit the descriptor, as a virtual machine needs that is given its number.
///
/// # Errors
/// The operating system refused.
pub fn make_inheritable(fd: BorrowedFd<'_>) -> io::Result<()> {
    let flags = rustix::io::fcntl_getfd(fd)?;
    Ok(rustix::io::fcntl_setfd(fd, flags - FdFlags::CLOEXEC)?)
}

impl Device for UnixEthernet {
    fn capabilities(&self) -> DeviceCapabilities {
        DeviceCapabilities { name: "unix", mtu: self.mtu, checksum_offload: false, segmentation_offload: false }
    }

    fn receive(&mut self, budget: usize, frames: &mut Vec<Frame>) -> io::Result<usize> {
        let Self { fd, peer, seqpacket, .. } = self;
        // With TRUNC, the length is that of the frame even where the buffer is shorter.
        let flags = RecvFlags::DONTWAIT | RecvFlags::TRUNC;
        self.receiver.receive_each(budget, frames, &mut self.stats, |buffer| {
            match rustix::io::retry_on_intr(|| recv(&*fd, &mut *buffer, flags)) {
                Ok((_, 0)) if *seqpacket => Err(io::ErrorKind::UnexpectedEof.into()),
                Ok((_, len)) => Ok(Some(len)),
                Err(Errno::AGAIN) => Ok(None),
                Err(Errno::CONNRESET) if matches!(peer, Peer::At { .. }) => Ok(None),
                Err(errno) => Err(errno.into()),
            }
        })
    }

    fn transmit(&mut self, frames: &mut VecDeque<Frame>) -> io::Result<usize> {
        let Self { fd, peer, .. } = self;
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        transmit_each(self.mtu, frames, &mut self.stats, |frame| {
            let slices = gather(frame);
            let mut none = SendAncillaryBuffer::default();
            let sent = rustix::io::retry_on_intr(|| match peer {
                Peer::Connected => sendmsg(&*fd, &slices, &mut none, flags),
                Peer::At { address, .. } => sendmsg_addr(&*fd, address, &slices, &mut none, flags),
            });
            match (sent, &*peer) {
                (Ok(_), _) => Ok(Sent::Yes),
                (Err(Errno::AGAIN), _) => Ok(Sent::Later),
                (Err(Errno::NOBUFS | Errno::NOMEM | Errno::MSGSIZE), _) => Ok(Sent::Lost),
                (Err(Errno::NOENT | Errno::CONNREFUSED | Errno::CONNRESET), Peer::At { .. }) => Ok(Sent::Lost),
                (Err(errno), _) => Err(errno.into()),
            }
        })
    }

    fn readiness(&self) -> Option<BorrowedFd<'_>> {
        Some(self.fd.as_fd())
    }

    fn stats(&self) -> DeviceStats {
        self.stats
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Self::At { own_path, .. } = self {
            // Nothing can be done about a file that somebody else has removed.
            let _ = std::fs::remove_file(own_path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;

    fn numbered(numbers: std::ops::Range<u8>) -> VecDeque<Frame> {
        numbers.map(|number| Frame::from(&[number; 60][..])).collect()
    }

    fn received(device: &mut UnixEthernet) -> VecDeque<Frame> {
        let mut frames = Vec::new();
        device.receive(64, &mut frames).unwrap();
        frames.into()
    }

    /// A directory that is removed with what is in it.
    struct Directory(PathBuf);

    impl Directory {
        fn new(purpose: &str) -> Self {
            let path = std::env::temp_dir().join(format!("{purpose}-{}", std::process::id()));
            std::fs::create_dir(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn frames_cross_a_pair_in_order() {
        let (mut device, guest) = UnixEthernet::pair(1500).unwrap();
        let mut guest = UnixEthernet::from_fd(guest, 1500).unwrap();
        let mut frame = Frame::from(&[1; 54][..]);
        frame.payload.push(bytes::Bytes::from_static(&[1; 6]));
        let mut queue = numbered(2..40);
        queue.push_front(frame);
        assert_eq!(device.transmit(&mut queue).unwrap(), 39);
        assert_eq!(received(&mut guest), numbered(1..40));
        assert_eq!((device.stats().tx_bytes, guest.stats().rx_bytes), (39 * 60, 39 * 60));
        assert!(received(&mut device).is_empty());
    }

    #[test]
    fn what_does_not_fit_stays_and_what_never_fits_is_dropped() {
        let (mut device, guest) = UnixEthernet::pair(1500).unwrap();
        let mut queue: VecDeque<Frame> = (0..100_000).map(|_| Frame::from(&[0; 60][..])).collect();
        let sent = device.transmit(&mut queue).unwrap();
        assert!(sent > 0 && sent + queue.len() == 100_000 && !queue.is_empty());
        assert_eq!(device.stats().tx_dropped, 0);

        let guest = UnixDatagram::from(guest);
        let (mut device, other) = (device, guest);
        for len in [0, 13, 14, 1518, 1519, 9000] {
            other.send(&vec![0; len]).unwrap();
        }
        assert_eq!(received(&mut device).iter().map(Frame::len).collect::<Vec<_>>(), [14, 1518]);
        assert_eq!(device.stats().rx_dropped, 4);
        queue = [13, 1519].map(|len| Frame::from(&vec![0; len][..])).into();
        assert_eq!(device.transmit(&mut queue).unwrap(), 0);
        assert_eq!(device.stats().tx_dropped, 2);
    }

    #[test]
    fn a_peer_that_closes_its_end_is_an_error() {
        let (mut device, guest) = UnixEthernet::pair(1500).unwrap();
        drop(guest);
        assert!(device.transmit(&mut numbered(0..1)).is_err());

        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        let mut device = UnixEthernet::from_fd(ours, 1500).unwrap();
        drop(theirs);
        let error = device.receive(1, &mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_peer_with_a_path_may_come_late_and_be_replaced() {
        let directory = Directory::new("unix-device");
        let (here, there) = (directory.0.join("here"), directory.0.join("there"));
        let mut device = UnixEthernet::bind(&here, &there, 1500).unwrap();
        assert_eq!(device.transmit(&mut numbered(0..1)).unwrap(), 0);
        assert_eq!(device.stats().tx_dropped, 1);
        for _ in 0..2 {
            let mut peer = UnixEthernet::bind(&there, &here, 1500).unwrap();
            assert_eq!(device.transmit(&mut numbered(1..3)).unwrap(), 2);
            assert_eq!(peer.transmit(&mut numbered(3..5)).unwrap(), 2);
            assert_eq!(received(&mut peer), numbered(1..3));
            assert_eq!(received(&mut device), numbered(3..5));
        }
        assert!(matches!(UnixEthernet::bind(&here, &there, 1500), Err(OpenError::PathInUse(path)) if path == here));
        drop(device);
        assert!(!here.exists() && !there.exists());
    }

    #[test]
    fn only_unix_sockets_with_message_boundaries_are_taken() {
        let (stream, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(matches!(UnixEthernet::from_fd(stream.into(), 1500), Err(OpenError::NotUnixDatagram)));
        let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(matches!(UnixEthernet::from_fd(udp.into(), 1500), Err(OpenError::NotUnixDatagram)));
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(matches!(UnixEthernet::from_fd(file.into(), 1500), Err(OpenError::NotUnixDatagram)));
        for mtu in [67, 65_536, usize::MAX] {
            assert!(matches!(UnixEthernet::pair(mtu), Err(OpenError::InvalidMtu(found)) if found == mtu));
        }
    }

    #[test]
    fn a_guest_socket_is_inheritable_on_demand() {
        let (_device, guest) = UnixEthernet::pair(1500).unwrap();
        assert!(rustix::io::fcntl_getfd(&guest).unwrap().contains(FdFlags::CLOEXEC));
        make_inheritable(guest.as_fd()).unwrap();
        assert!(!rustix::io::fcntl_getfd(&guest).unwrap().contains(FdFlags::CLOEXEC));
    }
}
