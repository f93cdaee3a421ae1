//! Loops over a burst of frames, for devices that are descriptors.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;

use bytes::BytesMut;
use rustix::net::sockopt;

use super::DeviceStats;
use super::lengths::{ETHERNET_HEADER, max_frame};
use crate::Frame;

/// What became of one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// It is on its way.
    Yes,
    /// It is lost.
    Lost,
    /// There is no room now.
    Later,
}

/// Hands the frames one by one to `send`, until it says [`Sent::Later`] or fails. The frame it fails on is lost.
///
/// For devices without offloads: a frame with a partial checksum or one that is longer than the link allows is
/// dropped here.
pub(super) fn transmit_each(
    mtu: usize,
    frames: &mut VecDeque<Frame>,
    stats: &mut DeviceStats,
    mut send: impl FnMut(&mut Frame) -> io::Result<Sent>,
) -> io::Result<usize> {
    let mut count = 0;
    while let Some(frame) = frames.front_mut() {
        let len = frame.len();
        let fits = (ETHERNET_HEADER..=max_frame(mtu)).contains(&len);
        let complete = frame.meta.checksum != crate::ChecksumState::Partial;
        match if fits && complete { send(frame) } else { Ok(Sent::Lost) } {
            Ok(Sent::Yes) => {
                count += 1;
                stats.count_sent(len);
            }
            Ok(Sent::Lost) => stats.tx_dropped += 1,
            Ok(Sent::Later) => break,
            Err(error) => {
                stats.tx_dropped += 1;
                frames.pop_front();
                return Err(error);
            }
        }
        frames.pop_front();
    }
    Ok(count)
}

/// Memory for received frames: one block serves several of them, and is used again once nobody keeps any of these.
#[derive(Debug)]
pub(super) struct Receiver {
    block: BytesMut,
    /// Blocks that are full, the oldest in front.
    spent: VecDeque<BytesMut>,
    mtu: usize,
}

/// Bytes per allocation. A frame that somebody keeps holds its whole block, so a larger block would let a peer
/// pin more memory with each small segment that nobody reads. TCPs that count the bytes they hold go by this size.
const BLOCK: usize = 8 * 1024;
/// Full blocks that are remembered at most.
const SPENT: usize = 256;
/// Of these are looked at when a block is needed.
const LOOKED_AT: usize = 4;

impl Receiver {
    pub(super) fn new(mtu: usize) -> Self {
        Self { block: BytesMut::new(), spent: VecDeque::new(), mtu }
    }

    /// Goes on with another block, of at least so many bytes.
    fn change_block(&mut self, least: usize) {
        let len = BLOCK.max(least);
        let mut full = std::mem::take(&mut self.block);
        full.clear();
        if full.capacity() > 0 {
            self.spent.push_back(full);
        }
        for _ in 0..self.spent.len().min(LOOKED_AT) {
            let Some(mut oldest) = self.spent.pop_front() else { break };
            if oldest.try_reclaim(len) {
                oldest.resize(len, 0);
                self.block = oldest;
                return;
            }
            if self.spent.len() < SPENT {
                self.spent.push_back(oldest);
            }
        }
        self.block = BytesMut::zeroed(len);
    }

    /// Calls `read` at most `budget` times, until it returns `None`.
    ///
    /// `read` gets a buffer one byte larger than the longest frame and returns how many bytes the frame has, or
    /// at least more than fit if it does not know; what is longer than the link allows is dropped.
    pub(super) fn receive_each(
        &mut self,
        budget: usize,
        frames: &mut Vec<Frame>,
        stats: &mut DeviceStats,
        mut read: impl FnMut(&mut [u8]) -> io::Result<Option<usize>>,
    ) -> io::Result<usize> {
        let longest = max_frame(self.mtu);
        let mut count = 0;
        // Dropped frames use up the budget too, or a flood of them would keep the caller here.
        for _ in 0..budget {
            if self.block.len() <= longest {
                self.change_block(longest + 1);
            }
            let len = match read(&mut self.block[..=longest]) {
                Ok(Some(len)) => len,
                Ok(None) => break,
                // What was received before is delivered first; an error that lasts shows again.
                Err(_) if count > 0 => break,
                Err(error) => return Err(error),
            };
            if (ETHERNET_HEADER..=longest).contains(&len) {
                count += 1;
                stats.count_received(len);
                frames.push(Frame::linear(self.block.split_to(len)));
            } else {
                stats.rx_dropped += 1;
            }
        }
        Ok(count)
    }
}

/// The bytes of a frame as a gather list for one system call.
///
/// A frame of very many slices is made linear first: the kernel limits the length of the list.
pub(super) fn gather(frame: &mut Frame) -> smallvec::SmallVec<[io::IoSlice<'_>; 4]> {
    const MAX_SLICES: usize = 16;
    if frame.payload.len() > MAX_SLICES {
        frame.linearize();
    }
    let head = std::iter::once(io::IoSlice::new(&frame.head));
    head.chain(frame.payload.iter().map(|slice| io::IoSlice::new(slice))).collect()
}

/// Makes the buffers of a socket hold a burst. What the system does not allow is left as it is: a smaller buffer
/// costs speed, and nothing else.
pub(super) fn enlarge_buffers(socket: &OwnedFd) {
    const BYTES: usize = 4 << 20;
    if sockopt::set_socket_send_buffer_size_force(socket, BYTES).is_err() {
        let _ = sockopt::set_socket_send_buffer_size(socket, BYTES);
    }
    if sockopt::set_socket_recv_buffer_size_force(socket, BYTES).is_err() {
        let _ = sockopt::set_socket_recv_buffer_size(socket, BYTES);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ChecksumState, FrameMeta};

    #[test]
    fn a_block_is_used_again_once_nobody_keeps_its_frames() {
        let mut receiver = Receiver::new(1500);
        let mut stats = DeviceStats::default();
        let mut burst = |count| {
            let mut frames = Vec::new();
            let full = |_: &mut [u8]| Ok(Some(1514));
            receiver.receive_each(count, &mut frames, &mut stats, full).unwrap();
            frames
        };
        let address = |frames: &[Frame]| frames[0].head.as_ptr();
        let kept = burst(5);
        let other = burst(5);
        assert_ne!(address(&kept), address(&other));
        let (first, second) = (address(&kept), address(&other));
        drop(kept);
        let third = burst(5);
        assert_eq!(address(&third), first);
        drop(other);
        assert_eq!(address(&burst(5)), second);
    }

    #[test]
    fn received_frames_share_a_block_and_bad_lengths_are_counted() {
        let mut receiver = Receiver::new(1500);
        let mut stats = DeviceStats::default();
        let mut frames = Vec::new();
        let mut lengths = [60, 13, 1518, 1519, 14].into_iter();
        let count = receiver
            .receive_each(16, &mut frames, &mut stats, |buffer| {
                assert_eq!(buffer.len(), 1519);
                let len = lengths.next();
                buffer.fill(len.unwrap_or(0) as u8);
                Ok(len)
            })
            .unwrap();
        assert_eq!(count, 3);
        assert_eq!(frames.iter().map(Frame::len).collect::<Vec<_>>(), [60, 1518, 14]);
        assert!(frames.iter().all(|frame| frame.head.iter().all(|byte| *byte == frame.len() as u8)));
        assert_eq!((stats.rx_frames, stats.rx_bytes, stats.rx_dropped), (3, 1592, 2));
    }

    #[test]
    fn an_error_after_frames_waits_for_the_next_call() {
        let mut receiver = Receiver::new(1500);
        let mut stats = DeviceStats::default();
        let mut frames = Vec::new();
        let mut calls = 0;
        let mut read = |_: &mut [u8]| {
            calls += 1;
            if calls == 1 { Ok(Some(60)) } else { Err(io::Error::other("gone")) }
        };
        assert_eq!(receiver.receive_each(16, &mut frames, &mut stats, &mut read).unwrap(), 1);
        assert!(receiver.receive_each(16, &mut frames, &mut stats, &mut read).is_err());
    }

    #[test]
    fn frames_for_which_the_device_lacks_an_offload_are_dropped() {
        let mut frames: VecDeque<Frame> = [60, 1519, 60, 13, 60].map(|len| Frame::from(&vec![0; len][..])).into();
        frames[2].meta = FrameMeta { checksum: ChecksumState::Partial, segment_size: None };
        let mut stats = DeviceStats::default();
        assert_eq!(transmit_each(1500, &mut frames, &mut stats, |_| Ok(Sent::Yes)).unwrap(), 2);
        assert_eq!((stats.tx_frames, stats.tx_bytes, stats.tx_dropped), (2, 120, 3));
        assert!(frames.is_empty());
    }

    #[test]
    fn gather_keeps_order_and_bounds_the_list() {
        let mut frame = Frame::from(&b"head"[..]);
        frame.payload.push(bytes::Bytes::from_static(b"-one"));
        assert_eq!(gather(&mut frame).iter().map(|slice| slice.to_vec()).collect::<Vec<_>>(), [b"head", b"-one"]);
        for _ in 0..2000 {
            frame.payload.push(bytes::Bytes::from_static(b"x"));
        }
        assert_eq!(gather(&mut frame).len(), 1);
        assert_eq!(frame.len(), 2008);
    }
}
