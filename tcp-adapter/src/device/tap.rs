//! Ethernet through a TAP interface of the kernel.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::ioctl::{Opcode, Updater, ioctl};

use super::burst::{Receiver, Sent, gather, transmit_each};
use super::{Device, DeviceCapabilities, DeviceStats, OpenError, link};
use crate::Frame;

/// The far end of a TAP interface: what the kernel sends into the interface is received here, and what is sent
/// here the kernel receives.
#[derive(Debug)]
pub struct Tap {
    fd: OwnedFd,
    name: String,
    mtu: usize,
    receiver: Receiver,
    stats: DeviceStats,
}

impl Tap {
    /// Opens the TAP interface `name` in the network namespace of the calling thread.
    ///
    /// An interface that exists is attached to; one that does not is created, down and without addresses, and
    /// vanishes with the `Tap`. Its MTU is read once, here.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(name: &str) -> Result<Self, OpenError> {
        let mut request = link::request(name)?;
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = rustix::fs::open("/dev/net/tun", flags, Mode::empty()).map_err(|errno| match errno {
            Errno::NOENT | Errno::NXIO | Errno::NODEV => OpenError::NoTunDriver,
            errno => attach_error(name, errno),
        })?;
        request.ifr_ifru.ifru_flags = (libc::IFF_TAP | libc::IFF_NO_PI) as libc::c_short;
        // SAFETY: TUNSETIFF takes an `ifreq` and writes the name of the interface back into it.
        unsafe { ioctl(&fd, Updater::<{ libc::TUNSETIFF as Opcode }, libc::ifreq>::new(&mut request)) }
            .map_err(|errno| attach_error(name, errno))?;
        let link = link::query(name)?;
        if !link.ethernet {
            return Err(OpenError::NotEthernet(name.to_owned()));
        }
        let mtu = link.mtu;
        Ok(Self { fd, name: name.to_owned(), mtu, receiver: Receiver::new(mtu), stats: DeviceStats::default() })
    }

    /// Name of the interface.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Device for Tap {
    fn capabilities(&self) -> DeviceCapabilities {
        DeviceCapabilities { name: "tap", mtu: self.mtu, checksum_offload: false, segmentation_offload: false }
    }

    fn receive(&mut self, budget: usize, frames: &mut Vec<Frame>) -> io::Result<usize> {
        let fd = &self.fd;
        self.receiver.receive_each(budget, frames, &mut self.stats, |buffer| {
            match rustix::io::retry_on_intr(|| rustix::io::read(fd, &mut *buffer)) {
                Ok(len) => Ok(Some(len)),
                Err(Errno::AGAIN | Errno::IO | Errno::NETDOWN) => Ok(None),
                Err(errno) => Err(errno.into()),
            }
        })
    }

    fn transmit(&mut self, frames: &mut VecDeque<Frame>) -> io::Result<usize> {
        let fd = &self.fd;
        transmit_each(self.mtu, frames, &mut self.stats, |frame| {
            let slices = gather(frame);
            match rustix::io::retry_on_intr(|| rustix::io::writev(fd, &slices)) {
                Ok(_) => Ok(Sent::Yes),
                Err(Errno::AGAIN) => Ok(Sent::Later),
                // EIO is what an interface that is down answers; the others concern this frame only.
                Err(Errno::IO | Errno::NETDOWN | Errno::NOBUFS | Errno::NOMEM | Errno::INVAL) => Ok(Sent::Lost),
                Err(errno) => Err(errno.into()),
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

fn attach_error(name: &str, errno: Errno) -> OpenError {
    match errno {
        Errno::PERM | Errno::ACCESS => {
            OpenError::NoPrivilege { action: "opening a TAP interface", capability: "CAP_NET_ADMIN" }
        }
        Errno::BUSY => OpenError::Busy(name.to_owned()),
        Errno::INVAL => OpenError::NotTap(name.to_owned()),
        errno => OpenError::io("attach to a TAP interface")(errno),
    }
}
