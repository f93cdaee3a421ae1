//! What the application wrote, until it is acknowledged at the connection level.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use tcp_adapter::{IdleQueue, RangeSet};

/// A slice of at least this many bytes is sent as it is, and never copied together with its neighbours.
///
/// Whatever is given to a subflow by itself costs both ends about as much as copying this many bytes.
const WHOLE_ENOUGH: usize = 16 << 10;

/// The send side of a connection: written bytes as shared slices, by position.
///
/// Positions run `una <= nxt <= end`. Bytes before [`una`](Self::una) were DATA_ACKed and are
/// freed (a subflow that still has to retransmit them holds its own handle on them); those before
/// [`nxt`](Self::nxt) were all given to a subflow. Of those from there on, some may have been given to one ahead of
/// their turn.
#[derive(Debug, Default)]
pub struct SendQueue {
    slices: IdleQueue<Slice>,
    una: u64,
    nxt: u64,
    end: u64,
    /// Given to a subflow, although something before was not.
    ahead: RangeSet,
    /// Where slices are copied together; its memory is used again once what was cut from it is dropped.
    joined: Option<Box<BytesMut>>,
}

impl SendQueue {
    /// A queue for a stream of which nothing was written yet.
    pub const fn new() -> Self {
        Self { slices: IdleQueue::new(), una: 0, nxt: 0, end: 0, ahead: RangeSet::new(), joined: None }
    }

    /// Appends `bytes` to the stream.
    pub fn push(&mut self, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        let start = self.end;
        self.end += bytes.len() as u64;
        self.slices.push_back(Slice { start, bytes });
    }

    /// The first position not yet DATA_ACKed.
    pub const fn una(&self) -> u64 {
        self.una
    }

    /// The first position never given to a subflow.
    pub const fn nxt(&self) -> u64 {
        self.nxt
    }

    /// The position after the highest byte given to a subflow.
    pub fn sent_end(&self) -> u64 {
        self.ahead.last().map_or(self.nxt, |range| range.end)
    }

    /// The position after the last written byte.
    pub const fn end(&self) -> u64 {
        self.end
    }

    /// Bytes never given to a subflow.
    pub fn unsent(&self) -> u64 {
        self.end - self.nxt - self.ahead.len_bytes()
    }

    /// Bytes never given to a subflow with positions before `edge`. Nothing at or after it was given to one.
    pub fn unsent_before(&self, edge: u64) -> u64 {
        self.end.min(edge).saturating_sub(self.nxt).saturating_sub(self.ahead.len_bytes())
    }

    /// The stretch of bytes never given to a subflow that begins after `skip` of them; empty if there are no more.
    pub fn unsent_after(&self, skip: u64) -> Range<u64> {
        let Some(last) = self.ahead.last() else {
            return self.end.min(self.nxt.saturating_add(skip))..self.end;
        };
        // Most often what is skipped is what was skipped before.
        let before_last = last.end - self.nxt - self.ahead.len_bytes();
        if skip >= before_last {
            return self.end.min(last.end.saturating_add(skip - before_last))..self.end;
        }
        let (mut start, mut left) = (self.nxt, skip);
        for range in self.ahead.iter() {
            if left < range.start - start {
                return start + left..range.start;
            }
            left -= range.start - start;
            start = range.end;
        }
        self.end.min(start.saturating_add(left))..self.end
    }

    /// Bytes held: written and not yet DATA_ACKed.
    pub const fn len(&self) -> usize {
        (self.end - self.una) as usize
    }

    /// Whether everything written was DATA_ACKed.
    pub const fn is_empty(&self) -> bool {
        self.una == self.end
    }

    /// At least 1 and at most `max` bytes from position `from` on, in two slices at most: where a written one ends, the next one goes on.
    ///
    /// `None` if `from` is not within `una..end`, or if `max` is 0. Bytes are shared with what was written, not copied, unless a slice
    /// has neither 16 KiB nor three quarters of what is wanted left: such small ones are copied together, so that many of them fill a
    /// segment, or what a device cuts into segments.
    pub fn gather(&mut self, from: u64, max: usize) -> Option<Gathered> {
        let first = self.slice(from, max)?;
        let second = self.slice(from + first.len() as u64, max - first.len()).unwrap_or_default();
        Some(Gathered { first, second })
    }

    /// The same in one slice, which may end earlier.
    fn slice(&mut self, from: u64, max: usize) -> Option<Bytes> {
        if from < self.una || from >= self.end || max == 0 {
            return None;
        }
        let index = self.slices.partition_point(|slice| slice.end() <= from);
        let slice = self.slices.get(index)?;
        let skip = (from - slice.start) as usize;
        let rest = slice.bytes.len() - skip;
        let enough = WHOLE_ENOUGH.min(max - max / 4);
        if rest >= enough || index + 1 == self.slices.len() {
            return Some(slice.bytes.slice(skip..skip + rest.min(max)));
        }
        Some(self.coalesce(index, skip, max))
    }

    /// Gives back the memory of empty queues.
    pub fn trim(&mut self) {
        self.slices.trim();
        self.ahead.trim();
        self.joined = None;
    }

    /// Marks `range`, up to `end`, as given to a subflow.
    pub fn mark_sent(&mut self, range: Range<u64>) {
        let Range { start, end } = range.start.max(self.nxt)..range.end.min(self.end);
        if start >= end {
            return;
        }
        if start > self.nxt {
            self.ahead.insert(start..end);
            return;
        }
        self.nxt = end;
        while let Some(first) = self.ahead.first().filter(|first| first.start <= self.nxt) {
            self.nxt = self.nxt.max(first.end);
            self.ahead.remove(first);
        }
    }

    /// Frees everything before `to`, which was DATA_ACKed, and returns how many bytes that was.
    ///
    /// An acknowledgement of bytes that were never sent is cut to `nxt`.
    #[inline]
    pub fn ack(&mut self, to: u64) -> u64 {
        let to = to.min(self.nxt);
        if to <= self.una {
            return 0;
        }
        let newly = to - self.una;
        self.una = to;
        // Slices are longer than segments, most often.
        if self.slices.front().is_some_and(|slice| slice.end() <= to) {
            self.free_before(to);
        }
        newly
    }

    /// Lets go of the slices that end before `position`, or there.
    #[inline(never)]
    fn free_before(&mut self, position: u64) {
        while self.slices.front().is_some_and(|slice| slice.end() <= position) {
            self.slices.pop_front();
        }
    }

    /// Takes the first `count` bytes off a stream of which nothing was given to a subflow yet; the rest is counted from 0.
    pub fn skip(&mut self, count: u64) {
        debug_assert_eq!(self.nxt, 0, "bytes have been sent");
        let count = count.min(self.end);
        self.free_before(count);
        if let Some(first) = self.slices.front_mut()
            && first.start < count
        {
            let _ = first.bytes.split_to((count - first.start) as usize);
            first.start = count;
        }
        for slice in self.slices.iter_mut() {
            slice.start -= count;
        }
        self.end -= count;
    }

    /// Copies together what is small, from `skip` bytes into slice `index` on, up to `max` bytes.
    fn coalesce(&mut self, index: usize, skip: usize, max: usize) -> Bytes {
        let Self { slices, joined, .. } = self;
        let from_skip = slices.range(index..).enumerate().map(|(nth, slice)| match nth {
            0 => &slice.bytes[skip..],
            _ => &slice.bytes[..],
        });
        let mut target = 0;
        for part in from_skip.clone().take_while(|part| part.len() < WHOLE_ENOUGH) {
            target += part.len();
            if target >= max {
                break;
            }
        }
        let target = target.min(max);
        // Nothing may come to it.
        let first = slices.get(index).map(|slice| &slice.bytes).filter(|first| target <= first.len() - skip);
        if let Some(first) = first {
            return first.slice(skip..skip + target);
        }
        let joined = joined.get_or_insert_default();
        if joined.capacity() < target {
            joined.reserve(target.max(WHOLE_ENOUGH));
        }
        for part in from_skip {
            let room = target - joined.len();
            if room == 0 {
                break;
            }
            joined.extend_from_slice(&part[..part.len().min(room)]);
        }
        joined.split().freeze()
    }
}

/// Bytes that follow each other in the stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gathered {
    /// The beginning of them.
    pub first: Bytes,
    /// The others, if they are elsewhere in memory.
    pub second: Bytes,
}

impl Gathered {
    /// Their number.
    pub fn len(&self) -> usize {
        self.first.len() + self.second.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    /// Leaves the first `len`.
    pub fn truncate(&mut self, len: usize) {
        self.second.truncate(len.saturating_sub(self.first.len()));
        self.first.truncate(len);
    }

    /// All of them in one slice, which is a copy if they are in two.
    pub fn joined(self) -> Bytes {
        if self.second.is_empty() { self.first } else { [self.first, self.second].concat().into() }
    }
}

#[derive(Debug)]
struct Slice {
    /// Position of the first byte.
    start: u64,
    bytes: Bytes,
}

impl Slice {
    const fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use bolero::TypeGenerator;

    use super::*;
    use crate::testing::{check, pattern};

    #[derive(Clone, Debug, TypeGenerator)]
    enum Op {
        Write(u16),
        WriteTiny(u8),
        Send { max: u16 },
        SendAhead { skip: u16, max: u16 },
        Again { from: u16, max: u16 },
        Ack(u16),
    }

    #[test]
    fn what_is_skipped_at_the_beginning_does_not_count() {
        for count in 0..=12 {
            let mut queue = SendQueue::new();
            for part in [&b"abc"[..], b"defg", b"h", b"ijkl"] {
                queue.push(Bytes::from_static(part));
            }
            queue.skip(count);
            let rest = &b"abcdefghijkl"[count as usize..];
            assert_eq!((queue.una(), queue.nxt(), queue.end(), queue.len()), (0, 0, rest.len() as u64, rest.len()));
            assert_eq!(queue.gather(0, 100).unwrap_or_default().joined(), rest);
            queue.push(Bytes::from_static(b"m"));
            assert_eq!(queue.gather(queue.end() - 1, 5).unwrap().joined(), &b"m"[..]);
        }
    }

    #[test]
    fn behaves_like_one_array() {
        check(1_000, |ops: &Vec<Op>| {
            let mut queue = SendQueue::new();
            let mut model = Vec::new();
            let mut given: Vec<bool> = Vec::new();
            for op in ops {
                match *op {
                    Op::Write(len) => write(&mut queue, &mut model, usize::from(len)),
                    Op::WriteTiny(len) => write(&mut queue, &mut model, usize::from(len)),
                    Op::Send { max } => send(&mut queue, &model, &mut given, 0, max),
                    Op::SendAhead { skip, max } => send(&mut queue, &model, &mut given, skip, max),
                    Op::Again { from, max } => assert_slice(&mut queue, &model, u64::from(from) * 2, max.into()),
                    Op::Ack(by) => {
                        let (una, to) = (queue.una(), queue.una() + u64::from(by));
                        assert_eq!(queue.ack(to), to.min(queue.nxt()) - una);
                        assert_eq!(queue.una(), to.min(queue.nxt()));
                    }
                }
                assert_eq!(queue.end(), model.len() as u64);
                assert_eq!(queue.len() as u64, queue.end() - queue.una());
                assert_eq!(queue.is_empty(), queue.slices.is_empty());
            }
        });
    }

    /// Sends up to `max` bytes after `skip` unsent ones, and compares what is left with a flag for each byte.
    fn send(queue: &mut SendQueue, model: &[u8], given: &mut Vec<bool>, skip: u16, max: u16) {
        given.resize(model.len(), false);
        let stretch = queue.unsent_after(skip.into());
        let mut unsent = (0..given.len()).filter(|at| !given[*at]).skip(skip.into());
        let start = unsent.next().unwrap_or(model.len());
        let run = given[start..].iter().take_while(|given| !**given).count();
        assert_eq!(stretch, start as u64..(start + run) as u64);
        let max = usize::from(max).min(run);
        if let Some(bytes) = queue.gather(stretch.start, max).map(Gathered::joined) {
            assert_eq!(bytes, model[start..][..bytes.len()]);
            given[start..][..bytes.len()].fill(true);
            queue.mark_sent(stretch.start..stretch.start + bytes.len() as u64);
        }
        let nxt = given.iter().position(|given| !given).unwrap_or(given.len());
        let end = given.iter().rposition(|given| *given).map_or(0, |last| last + 1);
        assert_eq!((queue.nxt(), queue.sent_end()), (nxt as u64, end.max(nxt) as u64));
        let left = given.iter().filter(|given| !**given).count() as u64;
        assert_eq!((queue.unsent(), queue.unsent_before(u64::MAX)), (left, left));
        assert_eq!(
            queue.unsent_before(end.max(nxt) as u64 + 7),
            left.min(
                (given[..end.max(nxt)].iter().filter(|given| !**given).count() + 7.min(model.len() - end.max(nxt)))
                    as u64
            )
        );
    }

    fn write(queue: &mut SendQueue, model: &mut Vec<u8>, len: usize) {
        let bytes = pattern(model.len() as u64, len);
        model.extend_from_slice(&bytes);
        queue.push(bytes);
    }

    fn assert_slice(queue: &mut SendQueue, model: &[u8], from: u64, max: usize) {
        let inside = (queue.una()..queue.end()).contains(&from) && max > 0;
        let Some(bytes) = queue.gather(from, max) else { return assert!(!inside) };
        assert!(!bytes.first.is_empty());
        let mut less = bytes.clone();
        less.truncate(max / 2);
        let bytes = bytes.joined();
        assert_eq!(less.joined(), bytes[..bytes.len().min(max / 2)]);
        assert!(inside && !bytes.is_empty() && bytes.len() <= max);
        assert_eq!(bytes, model[from as usize..][..bytes.len()]);
    }

    #[test]
    fn large_slices_are_shared() {
        let mut queue = SendQueue::new();
        let large = pattern(0, 100_000);
        queue.push(large.clone());
        let next = pattern(100_000, 100_000);
        queue.push(next.clone());
        assert_eq!(queue.gather(100_000, 1_448).unwrap().first.as_ptr(), next.as_ptr());
        let shared = queue.gather(10_000, 1_448).unwrap();
        assert_eq!(shared.first.as_ptr(), large[10_000..].as_ptr());
        let rest = queue.gather(95_000, 65_536).unwrap();
        assert_eq!((rest.first.as_ptr(), rest.first.len()), (large[95_000..].as_ptr(), 5_000));
        assert_eq!((rest.second.as_ptr(), rest.second.len()), (next.as_ptr(), 60_536));
    }

    #[test]
    fn tiny_writes_fill_a_segment() {
        let mut queue = SendQueue::new();
        for nth in 0..1_000 {
            queue.push(pattern(nth * 10, 10));
        }
        assert_eq!(queue.gather(5, 1_448).unwrap().joined(), pattern(5, 1_448));
        assert_eq!(queue.gather(0, 65_536).unwrap().joined(), pattern(0, 10_000));
        assert_eq!(queue.gather(9_995, 65_536).unwrap().joined(), pattern(9_995, 5));
    }

    #[test]
    fn a_header_before_a_large_payload_costs_no_copy() {
        let mut queue = SendQueue::new();
        let (header, payload) = (pattern(0, 72), pattern(72, 65_536));
        queue.push(header.clone());
        queue.push(payload.clone());
        let both = queue.gather(0, 65_536).unwrap();
        assert_eq!((both.first.as_ptr(), both.first.len()), (header.as_ptr(), 72));
        assert_eq!((both.second.as_ptr(), both.second.len()), (payload.as_ptr(), 65_536 - 72));
        let rest = queue.gather(65_536, 65_536).unwrap();
        assert_eq!((rest.len(), rest.joined().as_ptr()), (72, payload[65_464..].as_ptr()));
    }

    #[test]
    fn payloads_of_a_few_kib_fill_a_mapping_with_their_headers() {
        let mut queue = SendQueue::new();
        for _ in 0..20 {
            queue.push(pattern(queue.end(), 24));
            queue.push(pattern(queue.end(), 4096));
        }
        let first = queue.gather(0, 65_534).unwrap();
        assert_eq!(first.joined(), pattern(0, 65_534));
        assert_eq!(queue.gather(65_534, 65_534).unwrap().joined(), pattern(65_534, 20 * 4_120 - 65_534));
    }

    #[test]
    fn what_is_copied_together_again_and_again_takes_the_same_memory() {
        let mut queue = SendQueue::new();
        let mut places = std::collections::BTreeSet::new();
        for _ in 0..100 {
            queue.push(pattern(queue.end(), 24));
            queue.push(pattern(queue.end(), 4096));
            let sent = queue.gather(queue.nxt(), 65_534).unwrap().joined();
            places.insert(sent.as_ptr());
            queue.mark_sent(queue.nxt()..queue.end());
            queue.ack(queue.end());
        }
        assert!(places.len() < 4, "{} places", places.len());
    }

    #[test]
    fn acknowledged_memory_is_freed_and_unsent_bytes_cannot_be_acknowledged() {
        let mut queue = SendQueue::new();
        queue.push(pattern(0, 1_000));
        queue.push(pattern(1_000, 1_000));
        queue.mark_sent(0..1_500);
        assert_eq!(queue.ack(1_200), 1_200);
        assert_eq!(queue.slices.len(), 1);
        assert_eq!(queue.ack(1_100), 0, "an old acknowledgement");
        assert_eq!(queue.ack(5_000), 300);
        assert_eq!((queue.una(), queue.nxt(), queue.len()), (1_500, 1_500, 500));
        assert_eq!(queue.gather(1_499, 10), None);
        queue.mark_sent(0..1_000);
        assert_eq!(queue.nxt(), 1_500, "never goes back");
    }
}
