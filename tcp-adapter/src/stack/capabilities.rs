//! What implementations and devices can do.

use std::time::Duration;

/// What an implementation can do. What it cannot do, the layers above cope with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Name for people, such as `smoltcp`.
    pub name: &'static str,
    /// Sends by received selective acknowledgements (RFC 2018).
    pub sack: bool,
    /// Sends and echoes timestamps (RFC 7323).
    pub timestamps: bool,
    /// Spreads segments over time instead of sending windows in bursts.
    pub pacing: bool,
    /// Reports its congestion window in [`TcpInfo::cwnd`](crate::TcpInfo::cwnd).
    pub congestion_window: bool,
    /// Lets the layer above choose the congestion control.
    pub custom_congestion_control: bool,
    /// Payload is shared from `send` to the frame and from the frame to `recv`, never copied.
    pub zero_copy: bool,
    /// Emits and accepts super-segments, see [`crate::FrameMeta::segment_size`].
    pub segmentation_offload: bool,
    /// Sends and takes data on SYNs (RFC 7413).
    pub fast_open: bool,
    /// Smallest retransmission timeout that it uses.
    pub min_rto: Duration,
}

/// What the device of an interface does for the segments that leave by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offload {
    /// Completes TCP checksums ([`crate::ChecksumState::Partial`]).
    pub checksum: bool,
    /// Cuts super-segments ([`crate::FrameMeta::segment_size`]); needs `checksum`.
    pub segmentation: bool,
}

impl Offload {
    /// Whether super-segments can be given to it.
    pub(crate) fn cuts(self) -> bool {
        self.segmentation && self.checksum
    }
}
