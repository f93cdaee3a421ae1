//! The device that smoltcp sees: one received frame at a time in, any number of frames out.

use std::collections::VecDeque;

use bytes::{Buf, BytesMut};
use smoltcp::phy::{Checksum, ChecksumCapabilities, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;
use smoltcp::wire::ETHERNET_HEADER_LEN;

/// Bytes left free in front of each frame that smoltcp writes, so that its headers can move
/// down to make room for options while the payload stays where it is.
pub(super) const HEADROOM: usize = 40;

/// In-memory device beneath one smoltcp interface.
pub(super) struct Port {
    /// IP packets are at most this long as far as smoltcp is concerned.
    mtu: usize,
    received: Option<BytesMut>,
    /// Frames that smoltcp has written, each behind [`HEADROOM`] unused bytes. Most often it is one, so they are taken out
    /// one by one, and the memory of the queue stays.
    pub(super) sent: VecDeque<BytesMut>,
}

impl Port {
    pub(super) fn new(mtu: usize) -> Self {
        Self { mtu, received: None, sent: VecDeque::new() }
    }

    /// Lays a frame before smoltcp.
    pub(super) fn receive(&mut self, frame: BytesMut) {
        self.received = Some(frame);
    }
}

/// Removes the unused bytes in front of a frame from [`Port::sent`].
pub(super) fn without_headroom(mut frame: BytesMut) -> BytesMut {
    frame.advance(HEADROOM);
    frame
}

impl Device for Port {
    type RxToken<'a> = Received;
    type TxToken<'a> = Sent<'a>;

    fn receive(&mut self, _now: Instant) -> Option<(Received, Sent<'_>)> {
        let frame = self.received.take()?;
        Some((Received(frame), Sent(&mut self.sent)))
    }

    fn transmit(&mut self, _now: Instant) -> Option<Sent<'_>> {
        Some(Sent(&mut self.sent))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut checksum = ChecksumCapabilities::default();
        // TCP checksums are verified before smoltcp sees a segment, and computed after it has
        // written one. The IPv4 header is verified before too, as the way in changes its length.
        checksum.tcp = Checksum::None;
        checksum.ipv4 = Checksum::Tx;
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = self.mtu + ETHERNET_HEADER_LEN;
        capabilities.checksum = checksum;
        capabilities
    }
}

pub(super) struct Received(BytesMut);

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(&self.0)
    }
}

pub(super) struct Sent<'a>(&'a mut VecDeque<BytesMut>);

impl TxToken for Sent<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, write: F) -> R {
        let mut frame = BytesMut::zeroed(HEADROOM + len);
        let result = write(&mut frame[HEADROOM..]);
        self.0.push_back(frame);
        result
    }
}
