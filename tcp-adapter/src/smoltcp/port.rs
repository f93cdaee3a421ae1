//! The device that smoltcp sees: one received frame at a time in, any number of frames out.

use std::collections::VecDeque;

use bytes::{Buf, BytesMut};
use smoltcp::phy::{Checksum, ChecksumCapabilities, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;
use smoltcp::wire::ETHERNET_HEADER_LEN;

/// Bytes left free in front of each frame that smoltcp writes, so that its headers can move
/// down to make room for options while the payload stays where it is.
pub(super) const HEADROOM: usize = 40;

/// Buffers kept for frames at most: a burst, and 2 MiB at the largest MTU.
const MAX_SPARE: usize = 32;

/// In-memory device beneath one smoltcp interface.
pub(super) struct Port {
    /// IP packets are at most this long as far as smoltcp is concerned.
    mtu: usize,
    /// Frame that smoltcp is to take.
    received: Option<BytesMut>,
    /// Empty buffers for frames to be written, each with room for the longest: those of frames that smoltcp has taken.
    spare: Vec<BytesMut>,
    /// Frames that smoltcp has written, each behind [`HEADROOM`] unused bytes. Most often it is one, so they are taken out
    /// one by one, and the memory of the queue stays.
    pub(super) sent: VecDeque<BytesMut>,
}

impl Port {
    pub(super) fn new(mtu: usize) -> Self {
        Self { mtu, received: None, spare: Vec::new(), sent: VecDeque::new() }
    }

    /// Lays a frame before smoltcp, which takes it in `take`, and keeps its memory for one to be written.
    pub(super) fn receive(&mut self, frame: BytesMut, take: impl FnOnce(&mut Self)) {
        self.received = Some(frame);
        take(self);
        if let Some(mut frame) = self.received.take()
            && self.spare.len() < MAX_SPARE
        {
            frame.clear();
            if frame.try_reclaim(HEADROOM + ETHERNET_HEADER_LEN + self.mtu) {
                self.spare.push(frame);
            }
        }
    }
}

/// Removes the unused bytes in front of a frame from [`Port::sent`].
pub(super) fn without_headroom(mut frame: BytesMut) -> BytesMut {
    frame.advance(HEADROOM);
    frame
}

impl Device for Port {
    type RxToken<'a> = Received<'a>;
    type TxToken<'a> = Sent<'a>;

    fn receive(&mut self, _now: Instant) -> Option<(Received<'_>, Sent<'_>)> {
        let frame = self.received.as_ref()?;
        Some((Received(frame), Sent { frames: &mut self.sent, spare: &mut self.spare }))
    }

    fn transmit(&mut self, _now: Instant) -> Option<Sent<'_>> {
        Some(Sent { frames: &mut self.sent, spare: &mut self.spare })
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

pub(super) struct Received<'a>(&'a [u8]);

impl RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(self.0)
    }
}

pub(super) struct Sent<'a> {
    frames: &'a mut VecDeque<BytesMut>,
    spare: &'a mut Vec<BytesMut>,
}

impl TxToken for Sent<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, write: F) -> R {
        let len = HEADROOM + len;
        let mut frame = self.spare.pop().unwrap_or_else(|| BytesMut::with_capacity(len));
        // All of it is zero, so that nothing gets out of what the memory was used for before.
        frame.resize(len, 0);
        let result = write(&mut frame[HEADROOM..]);
        self.frames.push_back(frame);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(port: &mut Port) -> BytesMut {
        let token = port.transmit(Instant::ZERO).unwrap();
        token.consume(100, |bytes| assert_eq!(bytes, [0; 100]));
        port.sent.pop_front().unwrap()
    }

    #[test]
    fn the_memory_of_a_frame_that_was_taken_holds_one_to_be_written() {
        let mut port = Port::new(1500);
        let mut frame = BytesMut::zeroed(HEADROOM + ETHERNET_HEADER_LEN + 1500);
        frame.fill(7);
        let at = frame.as_ptr();
        frame.advance(HEADROOM);
        port.receive(frame, |port| {
            let (frame, _) = Device::receive(port, Instant::ZERO).unwrap();
            frame.consume(|bytes| assert_eq!(bytes, [7; ETHERNET_HEADER_LEN + 1500]));
        });
        assert_eq!(write(&mut port).as_ptr(), at);
        assert!(port.spare.is_empty(), "it is in use");
    }

    #[test]
    fn few_buffers_are_kept_and_none_that_is_too_small() {
        let mut port = Port::new(1500);
        port.receive(BytesMut::zeroed(1500), |_| ());
        assert!(port.spare.is_empty());
        for _ in 0..2 * MAX_SPARE {
            port.receive(BytesMut::zeroed(1600), |_| ());
        }
        assert_eq!(port.spare.len(), MAX_SPARE);
    }
}
