use std::collections::BTreeMap;

use rand::rngs::ChaCha8Rng;
use rand::{RngExt as _, SeedableRng as _};

use super::super::beyond::MAX_BLOCKS;
use super::*;

/// The byte that is at `offset` in every stream of these tests.
fn byte(offset: u64) -> u8 {
    (offset.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

fn bytes(range: Range<u64>) -> Bytes {
    range.map(byte).collect()
}

fn arrive(reassembly: &mut Reassembly, range: Range<u64>) -> Inserted {
    reassembly.insert(range.start, [bytes(range.clone())], (range.end - range.start) as usize)
}

/// Reads everything and compares it.
fn read(reassembly: &mut Reassembly, next: &mut u64) -> usize {
    let mut pieces = 0;
    while let Some(Received { offset, bytes: piece }) = reassembly.pop() {
        assert_eq!(offset, *next);
        assert!(!piece.is_empty());
        assert_eq!(piece, bytes(offset..offset + piece.len() as u64));
        *next += piece.len() as u64;
        pieces += 1;
    }
    assert_eq!((*next, reassembly.buffered()), (reassembly.rcv_nxt(), 0));
    pieces
}

#[test]
fn small_when_idle() {
    assert!(size_of::<Reassembly>() <= 96, "{}", size_of::<Reassembly>());
    let mut reassembly = Reassembly::new(true);
    for segment in 0..1000 {
        arrive(&mut reassembly, segment * 1000..(segment + 1) * 1000);
    }
    read(&mut reassembly, &mut 0);
    assert!(reassembly.ready.capacity() <= KEEP && reassembly.beyond.is_none());
    reassembly.release();
    assert_eq!(reassembly.ready.capacity(), 0);
}

#[test]
fn in_order_is_shared_not_copied() {
    let mut reassembly = Reassembly::new(true);
    let frame = bytes(0..3000);
    let inserted = reassembly.insert(0, [frame.slice(..1000), Bytes::new(), frame.slice(1000..)], 2500);
    assert_eq!(inserted, Inserted { advanced: 2500, duplicate: None, gap: false });
    let first = reassembly.pop().expect("bytes");
    assert_eq!((first.offset, first.bytes.as_ptr()), (0, frame.as_ptr()));
    let second = reassembly.pop().expect("bytes");
    assert_eq!((second.offset, second.bytes.as_ptr(), second.bytes.len()), (1000, frame[1000..].as_ptr(), 1500));
    assert_eq!(reassembly.pop(), None);
}

#[test]
fn a_gap_is_told_while_it_is_open_and_when_it_is_closed() {
    let gap = |advanced| Inserted { advanced, duplicate: None, gap: true };
    let mut reassembly = Reassembly::new(true);
    assert!(!arrive(&mut reassembly, 0..10).gap);
    assert_eq!(arrive(&mut reassembly, 20..30), gap(0));
    assert_eq!((reassembly.out_of_order(), reassembly.end_of_known()), (10, 30));
    assert_eq!(arrive(&mut reassembly, 10..15), gap(5));
    assert_eq!(arrive(&mut reassembly, 15..20), gap(15));
    assert_eq!((reassembly.out_of_order(), reassembly.end_of_known()), (0, 30));
    assert!(!arrive(&mut reassembly, 30..40).gap);
    read(&mut reassembly, &mut 0);
}

#[test]
fn the_farthest_bytes_beyond_gaps_are_let_go_of_first() {
    let mut reassembly = Reassembly::new(true);
    arrive(&mut reassembly, 0..10);
    for range in [20..30, 30..40, 50..60] {
        arrive(&mut reassembly, range);
    }
    assert_eq!((reassembly.prune(11), reassembly.out_of_order(), reassembly.end_of_known()), (20, 10, 30));
    let reported = reassembly.sack_blocks(4);
    assert_eq!((reported.len(), reported.first()), (1, Some(&(20..30))));
    // They come again.
    arrive(&mut reassembly, 10..60);
    assert_eq!((reassembly.prune(1), reassembly.rcv_nxt(), reassembly.out_of_order()), (0, 60, 0));
    read(&mut reassembly, &mut 0);
    arrive(&mut reassembly, 70..80);
    assert_eq!((reassembly.prune(100), reassembly.has_gap()), (10, false));
}

#[test]
fn a_payload_shorter_than_told_counts_as_what_it_is() {
    let mut reassembly = Reassembly::new(true);
    assert_eq!(reassembly.insert(0, [bytes(0..3)], 10).advanced, 3);
    assert_eq!(reassembly.insert(5, [bytes(5..7)], 10).advanced, 0);
    assert_eq!((reassembly.rcv_nxt(), reassembly.end_of_known()), (3, 7));
    assert_eq!(reassembly.insert(0, [], 0), Inserted { gap: true, ..Inserted::default() });
}

/// Every segment of a random walk through the stream, beside a map that holds each byte on its own.
#[test]
fn same_as_a_naive_model() {
    for seed in 0..300 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let (mut reassembly, mut model) = (Reassembly::new(seed % 4 != 0), Model::default());
        let mut next = 0;
        // Wide windows leave many small blocks, narrow ones many overlaps.
        let window = 1 << rng.random_range(3..10);
        let longest = 1 << rng.random_range(1..9);
        for _ in 0..400 {
            let start = (model.rcv_nxt + rng.random_range(0..window)).saturating_sub(window / 4);
            let range = start..start + rng.random_range(0..=longest);
            let cut = rng.random_range(0..=range.end - range.start);
            let pieces = [bytes(range.start..start + cut), bytes(start + cut..range.end), bytes(0..5)];
            let inserted = reassembly.insert(start, pieces, (range.end - range.start) as usize);
            assert_eq!(inserted, model.insert(range.clone()), "seed {seed}");
            model.check(&mut reassembly, &range, inserted.duplicate);
            match rng.random_range(0..8) {
                0 => assert!(read(&mut reassembly, &mut next) <= 600),
                1 => reassembly.compact(),
                _ => {}
            }
        }
        read(&mut reassembly, &mut next);
    }
}

#[derive(Default)]
struct Model {
    /// Known bytes beyond the next one.
    beyond: BTreeMap<u64, u8>,
    rcv_nxt: u64,
}

impl Model {
    fn insert(&mut self, range: Range<u64>) -> Inserted {
        let (before, had_gap) = (self.rcv_nxt, !self.beyond.is_empty());
        let known = |offset: &u64| *offset < before || self.beyond.contains_key(offset);
        let duplicate = range.clone().find(known).map(|start| {
            let end = (start..range.end).find(|offset| !known(offset)).unwrap_or(range.end);
            start..end
        });
        self.beyond.extend(range.filter(|&offset| offset >= before).map(|offset| (offset, byte(offset))));
        while self.beyond.remove(&self.rcv_nxt).is_some() {
            self.rcv_nxt += 1;
        }
        let gap = had_gap || !self.beyond.is_empty();
        Inserted { advanced: self.rcv_nxt - before, duplicate, gap }
    }

    fn check(&self, reassembly: &mut Reassembly, segment: &Range<u64>, duplicate: Option<Range<u64>>) {
        assert_eq!(reassembly.rcv_nxt(), self.rcv_nxt);
        assert_eq!(reassembly.out_of_order(), self.beyond.len());
        assert_eq!(reassembly.has_gap(), !self.beyond.is_empty());
        assert_eq!(reassembly.end_of_known(), self.beyond.last_key_value().map_or(self.rcv_nxt, |(last, _)| last + 1));
        if !reassembly.sack {
            return;
        }
        let mut blocks = reassembly.sack_blocks(4);
        if let Some(duplicate) = duplicate {
            assert_eq!(blocks.remove(0), duplicate);
        }
        for (index, block) in blocks.iter().enumerate() {
            assert!(block.clone().all(|offset| self.beyond.contains_key(&offset)), "bytes that have not been received");
            assert!(!self.beyond.contains_key(&block.end) && !self.beyond.contains_key(&(block.start - 1)));
            assert!(!blocks[..index].contains(block));
        }
        if segment.start > self.rcv_nxt && !segment.is_empty() {
            assert!(blocks[0].contains(&segment.start), "the block of the segment that came last is the first");
        }
        let all = self.beyond.keys().filter(|&&offset| !self.beyond.contains_key(&(offset + 1))).count();
        assert!(blocks.len() >= all.min(3));
    }
}

#[test]
fn the_farthest_block_makes_room_for_a_nearer_one() {
    let mut reassembly = Reassembly::new(true);
    let last = 10 * MAX_BLOCKS as u64;
    for block in 1..=MAX_BLOCKS as u64 {
        arrive(&mut reassembly, 10 * block..10 * block + 1);
    }
    assert_eq!((reassembly.out_of_order(), reassembly.end_of_known()), (MAX_BLOCKS, last + 1));
    assert_eq!(arrive(&mut reassembly, last + 10..last + 11).duplicate, None);
    assert_eq!((reassembly.out_of_order(), reassembly.end_of_known()), (MAX_BLOCKS, last + 1));
    assert_eq!(reassembly.sack_blocks(1)[..], [last..last + 1; 1]);
    arrive(&mut reassembly, 5..7);
    assert_eq!((reassembly.out_of_order(), reassembly.end_of_known()), (MAX_BLOCKS + 1, last - 9));
    assert_eq!(reassembly.sack_blocks(2)[..], [5..7, last - 10..last - 9]);
    let inserted = arrive(&mut reassembly, 0..last);
    assert_eq!((inserted.advanced, inserted.duplicate), (last, Some(5..7)));
    read(&mut reassembly, &mut 0);
}

/// Slices of one byte, each of which would hold its frame.
#[test]
fn small_pieces_are_merged_where_many_wait() {
    for start in [0, 1] {
        let mut reassembly = Reassembly::new(true);
        for offset in start..20_000 {
            let frame = bytes(offset..offset + 1);
            reassembly.insert(offset, [frame], 1);
        }
        arrive(&mut reassembly, 0..start);
        let pieces = read(&mut reassembly, &mut 0);
        assert!(pieces <= 20_000 / 512 + 2 * MERGE_AT, "{pieces} pieces");
    }
}

#[test]
fn compact_frees_small_pieces_and_leaves_large_ones() {
    let mut reassembly = Reassembly::new(true);
    let frame = bytes(0..4000);
    reassembly.insert(0, [frame.slice(..1200), frame.slice(1200..1210), frame.slice(1210..1220)], 1220);
    reassembly.insert(1300, [frame.slice(1300..1310)], 10);
    reassembly.insert(1400, [frame.slice(1400..2600)], 1200);
    reassembly.compact();
    let pop = |reassembly: &mut Reassembly| reassembly.pop().map(|piece| piece.bytes).expect("bytes");
    assert_eq!(pop(&mut reassembly).as_ptr(), frame.as_ptr());
    assert_eq!(pop(&mut reassembly), frame[1200..1220]);
    reassembly.insert(1220, [frame.slice(1220..1400)], 180);
    let shared = |piece: &Bytes| frame.as_ptr_range().contains(&piece.as_ptr());
    let pieces: Vec<_> = std::iter::from_fn(|| reassembly.pop()).map(|piece| shared(&piece.bytes)).collect();
    assert_eq!(pieces, [true, false, true, true]);
}

/// Segments that overlap what is known but for a byte: that byte must not hold the frame.
#[test]
fn little_that_is_left_of_a_segment_is_copied() {
    let mut reassembly = Reassembly::new(true);
    let frame = bytes(0..1000);
    reassembly.insert(0, [frame.slice(..990)], 990);
    let second = bytes(0..1000);
    assert_eq!(reassembly.insert(0, [second.clone()], 1000).advanced, 10);
    assert!(second.is_unique());
    assert_eq!(read(&mut reassembly, &mut 0), 2);
}
