//! A wire inside one process.

use std::collections::VecDeque;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use crossbeam_queue::ArrayQueue;

use super::lengths::{ETHERNET_HEADER, max_frame};
use super::{Device, DeviceCapabilities, DeviceStats};
use crate::Frame;

/// One end of a wire inside one process. The ends may be on different threads.
///
/// Frames move without being copied, with their metadata: a super-segment stays one frame, and a
/// partial checksum stays partial. When the other end has been dropped, frames are lost and counted as on an
/// interface that is down.
#[derive(Debug)]
pub struct MemoryDevice {
    incoming: Arc<ArrayQueue<Frame>>,
    outgoing: Arc<ArrayQueue<Frame>>,
    mtu: usize,
    stats: DeviceStats,
    times_full: u64,
}

/// Longest IP packet, and so the longest super-segment, in bytes.
const MAX_PACKET: usize = 65_535;

impl MemoryDevice {
    /// The two ends of a wire that holds up to `capacity` frames each way.
    ///
    /// # Panics
    /// If `capacity` is 0.
    pub fn pair(mtu: usize, capacity: usize) -> (Self, Self) {
        let there = Arc::new(ArrayQueue::new(capacity));
        let back = Arc::new(ArrayQueue::new(capacity));
        let end = |incoming: &Arc<_>, outgoing: &Arc<_>| Self {
            incoming: Arc::clone(incoming),
            outgoing: Arc::clone(outgoing),
            mtu,
            stats: DeviceStats::default(),
            times_full: 0,
        };
        (end(&back, &there), end(&there, &back))
    }

    /// How often [`Device::transmit`] had to leave frames with the caller since the wire was full.
    pub fn times_full(&self) -> u64 {
        self.times_full
    }

    fn can_carry(&self, frame: &Frame) -> bool {
        let longest = match frame.meta.segment_size {
            Some(segment) if usize::from(segment.get()) <= self.mtu => max_frame(MAX_PACKET),
            _ => max_frame(self.mtu),
        };
        let other_end_is_there = Arc::strong_count(&self.outgoing) > 1;
        (ETHERNET_HEADER..=longest).contains(&frame.len()) && other_end_is_there
    }
}

impl Device for MemoryDevice {
    fn capabilities(&self) -> DeviceCapabilities {
        DeviceCapabilities { name: "memory", mtu: self.mtu, checksum_offload: true, segmentation_offload: true }
    }

    fn receive(&mut self, budget: usize, frames: &mut Vec<Frame>) -> io::Result<usize> {
        let mut count = 0;
        while count < budget {
            let Some(frame) = self.incoming.pop() else { break };
            self.stats.count_received(frame.len());
            frames.push(frame);
            count += 1;
        }
        Ok(count)
    }

    fn transmit(&mut self, frames: &mut VecDeque<Frame>) -> io::Result<usize> {
        let mut count = 0;
        while let Some(frame) = frames.pop_front() {
            if !self.can_carry(&frame) {
                self.stats.tx_dropped += 1;
                continue;
            }
            let len = frame.len();
            if let Err(frame) = self.outgoing.push(frame) {
                frames.push_front(frame);
                self.times_full += 1;
                break;
            }
            self.stats.count_sent(len);
            count += 1;
        }
        Ok(count)
    }

    fn readiness(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn stats(&self) -> DeviceStats {
        self.stats
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use bytes::Bytes;

    use super::*;
    use crate::{ChecksumState, FrameMeta};

    fn numbered(numbers: std::ops::Range<u8>) -> VecDeque<Frame> {
        numbers.map(|number| Frame::from(&[number; 60][..])).collect()
    }

    #[test]
    fn frames_arrive_in_order_and_what_does_not_fit_stays() {
        let (mut a, mut b) = MemoryDevice::pair(1500, 4);
        let mut queue = numbered(0..6);
        assert_eq!(a.transmit(&mut queue).unwrap(), 4);
        assert_eq!(queue, numbered(4..6));
        assert_eq!(a.times_full(), 1);

        let mut got = Vec::new();
        assert_eq!(b.receive(3, &mut got).unwrap(), 3);
        assert_eq!(a.transmit(&mut queue).unwrap(), 2);
        assert_eq!(b.receive(16, &mut got).unwrap(), 3);
        assert_eq!(VecDeque::from(got), numbered(0..6));
        assert_eq!(b.receive(16, &mut Vec::new()).unwrap(), 0);

        let sent = DeviceStats { tx_frames: 6, tx_bytes: 360, ..DeviceStats::default() };
        let received = DeviceStats { rx_frames: 6, rx_bytes: 360, ..DeviceStats::default() };
        assert_eq!((a.stats(), b.stats()), (sent, received));
    }

    #[test]
    fn a_super_segment_moves_without_a_copy() {
        let (mut a, mut b) = MemoryDevice::pair(1500, 4);
        let data = Bytes::from(vec![7; 60_000]);
        let mut frame = Frame::from(&[0; 54][..]);
        frame.payload.push(data.clone());
        frame.meta = FrameMeta { checksum: ChecksumState::Partial, segment_size: NonZeroU16::new(1448) };
        a.transmit(&mut VecDeque::from([frame.clone()])).unwrap();
        let mut got = Vec::new();
        b.receive(1, &mut got).unwrap();
        assert_eq!(got[0].meta, frame.meta);
        assert_eq!(got[0].payload[0].as_ptr(), data.as_ptr());
    }

    #[test]
    fn frames_that_the_wire_cannot_carry_are_counted() {
        let (mut a, mut b) = MemoryDevice::pair(1500, 4);
        let mut queue: VecDeque<Frame> = [13, 14, 1518, 1519].map(|len| Frame::from(&vec![0; len][..])).into();
        assert_eq!(a.transmit(&mut queue).unwrap(), 2);
        assert!(queue.is_empty());
        assert_eq!(a.stats().tx_dropped, 2);

        drop(a);
        assert_eq!(b.receive(16, &mut Vec::new()).unwrap(), 2);
        assert_eq!(b.transmit(&mut numbered(0..3)).unwrap(), 0);
        assert_eq!(b.stats().tx_dropped, 3);
    }

    #[test]
    fn the_ends_work_on_two_threads() {
        let (mut a, mut b) = MemoryDevice::pair(1500, 8);
        let sender = std::thread::spawn(move || {
            let mut queue = numbered(0..200);
            while !queue.is_empty() {
                a.transmit(&mut queue).unwrap();
                std::thread::yield_now();
            }
            a.stats()
        });
        let mut got = Vec::new();
        while got.len() < 200 {
            b.receive(16, &mut got).unwrap();
            std::thread::yield_now();
        }
        assert_eq!(VecDeque::from(got), numbered(0..200));
        assert_eq!(sender.join().unwrap().tx_frames, 200);
    }
}
