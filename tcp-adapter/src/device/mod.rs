//! Devices: what moves Ethernet frames between a stack and a network.

#[cfg(feature = "devices")]
mod burst;
pub mod capture;
mod lengths;
#[cfg(feature = "devices")]
mod link;
pub mod memory;
#[cfg(feature = "devices")]
mod open_error;
#[cfg(feature = "devices")]
pub mod packet;
pub mod pcapng;
#[cfg(feature = "devices")]
pub mod tap;
#[cfg(feature = "devices")]
pub mod unix;

use std::io;
use std::os::fd::BorrowedFd;

use crate::Frame;
pub use capture::{Capture, CaptureFile};
pub use memory::MemoryDevice;
#[cfg(feature = "devices")]
pub use open_error::OpenError;
#[cfg(feature = "devices")]
pub use packet::{PacketConfig, PacketDevice};
#[cfg(feature = "devices")]
pub use tap::Tap;
#[cfg(feature = "devices")]
pub use unix::UnixEthernet;

/// A source and sink of Ethernet frames. Never blocks.
pub trait Device: Send {
    /// What the device can do.
    fn capabilities(&self) -> DeviceCapabilities;

    /// Appends at most `budget` received frames to `frames` and returns how many.
    ///
    /// # Errors
    /// The device is gone or broken. An empty device is not an error; neither is an interface
    /// that is down, which comes back.
    fn receive(&mut self, budget: usize, frames: &mut Vec<Frame>) -> io::Result<usize>;

    /// Sends frames from the front of `frames`, removing them, and returns how many. What the device has
    /// no room for now stays. A frame that it can never send (too long, interface down) is
    /// removed and counted in [`DeviceStats::tx_dropped`].
    ///
    /// # Errors
    /// The device is gone or broken.
    fn transmit(&mut self, frames: &mut std::collections::VecDeque<Frame>) -> io::Result<usize>;

    /// A descriptor that polls readable when there may be frames; `None` for a device in memory.
    fn readiness(&self) -> Option<BorrowedFd<'_>>;

    /// Counters since the device was opened.
    fn stats(&self) -> DeviceStats;
}

impl<D: Device + ?Sized> Device for Box<D> {
    fn capabilities(&self) -> DeviceCapabilities {
        (**self).capabilities()
    }

    fn receive(&mut self, budget: usize, frames: &mut Vec<Frame>) -> io::Result<usize> {
        (**self).receive(budget, frames)
    }

    fn transmit(&mut self, frames: &mut std::collections::VecDeque<Frame>) -> io::Result<usize> {
        (**self).transmit(frames)
    }

    fn readiness(&self) -> Option<BorrowedFd<'_>> {
        (**self).readiness()
    }

    fn stats(&self) -> DeviceStats {
        (**self).stats()
    }
}

/// What a device can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceCapabilities {
    /// Name for people, such as `tap`.
    pub name: &'static str,
    /// Largest IP packet in bytes.
    pub mtu: usize,
    /// Completes TCP checksums of frames that leave with [`crate::ChecksumState::Partial`].
    pub checksum_offload: bool,
    /// Cuts super-segments, see [`crate::FrameMeta::segment_size`].
    pub segmentation_offload: bool,
}

/// Counters of a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceStats {
    /// Frames received.
    pub rx_frames: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Received frames that were thrown away: too short, or truncated.
    pub rx_dropped: u64,
    /// Frames sent.
    pub tx_frames: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Frames that could not be sent.
    pub tx_dropped: u64,
}

impl DeviceStats {
    fn count_received(&mut self, bytes: usize) {
        self.rx_frames += 1;
        self.rx_bytes += bytes as u64;
    }

    fn count_sent(&mut self, bytes: usize) {
        self.tx_frames += 1;
        self.tx_bytes += bytes as u64;
    }
}
