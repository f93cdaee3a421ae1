//! Reassembly against an array of optional bytes.

use bolero::TypeGenerator;

use super::*;
use crate::testing::{check, pattern};

const SIZE: usize = 4_096;

#[derive(Clone, Debug, TypeGenerator)]
enum Op {
    /// Bytes around the place where the stream is, with a value of their own.
    Near {
        distance: i8,
        len: u8,
        value: u8,
    },
    /// Bytes anywhere.
    Far {
        pos: u16,
        len: u16,
        value: u8,
    },
    Read {
        max: u16,
    },
    Open {
        by: u8,
    },
}

/// First copy wins, nothing is ever lost: right as long as no fragment is pushed out or refused.
struct Model {
    bytes: Vec<Option<u8>>,
    read: usize,
    window_end: usize,
}

impl Model {
    fn new(window_end: usize) -> Self {
        Self { bytes: vec![None; SIZE], read: 0, window_end }
    }

    fn rcv_nxt(&self) -> usize {
        self.bytes.iter().position(Option::is_none).unwrap_or(SIZE)
    }

    fn insert(&mut self, pos: usize, bytes: &[u8]) -> Inserted {
        let before = self.rcv_nxt();
        let mut inserted = Inserted::default();
        for (at, &byte) in (pos..).zip(bytes) {
            if at < before || at < self.window_end && self.bytes[at].is_some() {
                inserted.duplicate += 1;
            } else if at >= self.window_end {
                inserted.beyond += 1;
            } else {
                self.bytes[at] = Some(byte);
                inserted.new += 1;
            }
        }
        inserted.advanced = self.rcv_nxt() > before;
        inserted
    }

    fn held(&self) -> usize {
        self.bytes.iter().flatten().count() - self.read
    }
}

/// Carries out `op`; returns what was inserted, if anything, and checks what is read.
fn step(op: &Op, reassembly: &mut Reassembly, model: &mut Model) -> Option<(Inserted, Inserted, usize)> {
    let (pos, bytes) = match *op {
        Op::Near { distance, len, value } => {
            let pos = reassembly.rcv_nxt().saturating_add_signed(distance.into());
            (pos as usize, Bytes::from(vec![value; len.into()]))
        }
        Op::Far { pos, len, value } => (usize::from(pos) % SIZE, Bytes::from(vec![value; usize::from(len) % 1_500])),
        Op::Read { max } => {
            let readable = reassembly.readable();
            match reassembly.read(max.into()) {
                Some(bytes) => {
                    assert!(!bytes.is_empty() && bytes.len() <= usize::from(max));
                    let expected: Vec<_> = bytes.iter().copied().map(Some).collect();
                    assert_eq!(model.bytes[model.read..][..bytes.len()], expected);
                    model.read += bytes.len();
                }
                None => assert!(readable == 0 || max == 0),
            }
            return None;
        }
        Op::Open { by } => {
            model.window_end = SIZE.min(model.window_end + usize::from(by));
            return None;
        }
    };
    let end = model.window_end as u64;
    let inserted = if bytes.first().is_some_and(|value| value % 2 == 0) {
        // In several slices at once.
        let (head, tail) = (bytes.slice(..bytes.len() / 3), bytes.slice(bytes.len() / 3..));
        reassembly.insert_all(pos as u64, &mut vec![head, tail], end)
    } else {
        reassembly.insert(pos as u64, bytes.clone(), end)
    };
    assert_eq!(inserted.new + inserted.duplicate + inserted.beyond, bytes.len());
    Some((inserted, model.insert(pos, &bytes), pos))
}

fn assert_sound(reassembly: &Reassembly) {
    let ends: Vec<_> = reassembly.fragments.iter().map(|(&start, run)| (start, start + run.len() as u64)).collect();
    assert!(ends.iter().all(|(start, end)| start < end && *start > reassembly.rcv_nxt));
    assert!(ends.windows(2).all(|pair| pair[0].1 < pair[1].0), "fragments touch: {ends:?}");
    assert_eq!(reassembly.out_of_order() as u64, ends.iter().map(|(start, end)| end - start).sum::<u64>());
    assert_eq!(reassembly.held(), reassembly.readable() + reassembly.out_of_order());
    let slices = reassembly.ready.slices() + reassembly.fragments.values().map(Run::slices).sum::<usize>();
    assert!(slices <= 2 + reassembly.fragments() + reassembly.held() / 256, "{slices} slices");
}

#[test]
fn the_farthest_fragments_are_dropped_first() {
    let mut reassembly = Reassembly::new(usize::MAX);
    for pos in [10, 30, 50] {
        reassembly.insert(pos, pattern(pos, 10), 100);
    }
    assert_eq!((reassembly.prune(11), reassembly.out_of_order(), reassembly.fragments()), (20, 10, 1));
    assert_sound(&reassembly);
    // They come again.
    assert!(reassembly.insert(0, pattern(0, 60), 100).advanced);
    assert_eq!((reassembly.prune(1), reassembly.rcv_nxt()), (0, 60));
}

#[test]
fn delivers_the_first_copy_of_every_byte() {
    check(2_000, |(window, ops): &(u16, Vec<Op>)| {
        let mut model = Model::new(usize::from(*window) % SIZE);
        let mut reassembly = Reassembly::new(usize::MAX);
        for op in ops {
            if let Some((inserted, expected, pos)) = step(op, &mut reassembly, &mut model) {
                assert_eq!(inserted, expected, "at {pos}");
            }
            assert_eq!(reassembly.rcv_nxt() as usize, model.rcv_nxt());
            assert_eq!(reassembly.held(), model.held());
            assert!(reassembly.held() <= model.window_end - model.read, "holds bytes beyond the window");
            assert_sound(&reassembly);
        }
        // What is missing arrives at last, a few bytes at a time, and all comes out.
        for pos in (0..model.window_end).step_by(7) {
            let bytes = pattern(pos as u64, 11);
            reassembly.insert(pos as u64, bytes.clone(), model.window_end as u64);
            model.insert(pos, &bytes[..bytes.len().min(SIZE - pos)]);
        }
        assert_eq!((reassembly.rcv_nxt() as usize, reassembly.fragments()), (model.window_end, 0));
        while let Some(bytes) = reassembly.read(100) {
            let expected: Vec<_> = bytes.iter().copied().map(Some).collect();
            assert_eq!(model.bytes[model.read..][..bytes.len()], expected);
            model.read += bytes.len();
        }
        assert_eq!(model.read, model.window_end);
    });
}

/// Every copy of a byte is alike, so that it does not matter which one is held after a drop.
#[test]
fn the_bound_on_fragments_only_delays() {
    check(1_000, |(max, inserts): &(u8, Vec<(u16, u8)>)| {
        let max = usize::from(*max) % 6;
        let mut reassembly = Reassembly::new(max);
        for &(pos, len) in inserts {
            let pos = u64::from(pos) % SIZE as u64;
            let (held, farthest) = (reassembly.held(), reassembly.fragments.keys().next_back().copied());
            let inserted = reassembly.insert(pos, pattern(pos, len.into()), SIZE as u64);
            assert_eq!(inserted.new + inserted.duplicate + inserted.beyond, usize::from(len));
            assert_eq!(reassembly.held(), held + inserted.new - inserted.pushed_out);
            if inserted.pushed_out > 0 {
                assert!(farthest.is_some_and(|farthest| farthest > pos), "dropped a nearer fragment");
                assert_eq!(reassembly.fragments(), max);
            }
            assert!(reassembly.fragments() <= max);
            assert_sound(&reassembly);
        }
        for pos in (0..SIZE as u64).step_by(100) {
            reassembly.insert(pos, pattern(pos, 100), SIZE as u64);
        }
        let mut read = Vec::new();
        while let Some(bytes) = reassembly.read(333) {
            read.extend_from_slice(&bytes);
        }
        assert_eq!(read, pattern(0, SIZE));
    });
}

#[test]
fn the_farthest_fragment_gives_way() {
    let mut reassembly = Reassembly::new(2);
    reassembly.insert(100, pattern(100, 10), 1_000);
    reassembly.insert(300, pattern(300, 20), 1_000);
    let farther = reassembly.insert(500, pattern(500, 10), 1_000);
    assert_eq!(farther, Inserted { beyond: 10, ..Inserted::default() });
    let nearer = reassembly.insert(200, pattern(200, 10), 1_000);
    assert_eq!(nearer, Inserted { new: 10, pushed_out: 20, ..Inserted::default() });
    let grown = reassembly.insert(210, pattern(210, 200), 1_000);
    assert_eq!(grown.new, 200, "growing needs no room");
    assert_eq!((reassembly.fragments(), reassembly.out_of_order()), (2, 220));
}

#[test]
fn without_fragments_only_the_next_byte_is_taken() {
    let mut reassembly = Reassembly::new(0);
    assert_eq!(reassembly.insert(1, pattern(1, 5), 100).beyond, 5);
    let inserted = reassembly.insert(0, pattern(0, 5), 100);
    assert_eq!(inserted, Inserted { new: 5, advanced: true, ..Inserted::default() });
}

#[test]
fn a_stream_of_single_bytes_holds_few_buffers() {
    let mut reassembly = Reassembly::new(16);
    let frame = pattern(0, 20_000);
    for pos in (1..20_000).rev() {
        reassembly.insert(pos, frame.slice(pos as usize..=pos as usize), 20_000);
    }
    assert_eq!((reassembly.fragments(), reassembly.out_of_order()), (1, 19_999));
    assert_sound(&reassembly);
    reassembly.insert(0, frame.slice(..1), 20_000);
    assert_eq!(reassembly.read(20_000).map(|first| first.len() >= 256), Some(true));
}

#[test]
fn large_slices_are_shared() {
    let frame = pattern(0, 3_000);
    let mut reassembly = Reassembly::new(16);
    reassembly.insert(1_500, frame.slice(1_500..), 10_000);
    reassembly.insert(0, frame.slice(..1_500), 10_000);
    assert_eq!(reassembly.read(10_000).unwrap().as_ptr(), frame.as_ptr());
    assert_eq!(reassembly.read(10_000).unwrap().as_ptr(), frame[1_500..].as_ptr());
}

#[test]
fn absurd_positions_do_no_harm() {
    let mut reassembly = Reassembly::new(16);
    assert_eq!(reassembly.insert(u64::MAX, pattern(0, 10), 1_000).beyond, 10);
    assert_eq!(reassembly.insert(u64::MAX - 5, pattern(0, 10), u64::MAX).new, 5);
    assert_eq!(reassembly.insert(u64::MAX - 5, pattern(0, 10), u64::MAX).duplicate, 5);
    assert_eq!(reassembly.insert(0, Bytes::new(), 1_000), Inserted::default());
}
