//! Options, and the chunks that they describe.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use super::Factory;
use super::hook::{MAPPING, mapped, mapping};
use super::packet::{ACK, FIN, Packet, SYN};
use super::wire::{Link, MTU, Pump, Wire, assert_pattern};
use crate::{Chunk, SegmentKind, SendError};

/// What one hook pushes, the other is shown: in SYN, SYN/ACK, ACK, data and FIN.
pub fn arrive_as_pushed(factory: Factory) {
    for ipv4 in [true, false] {
        let mut wire = Wire::new(factory, 30);
        wire.listen();
        for (mark, end) in (1..).zip(&mut wire.ends) {
            end.hook.on_transmit = Box::new(move |_, segment, options| {
                // Odd lengths, so that padding is needed.
                let kind = match segment.kind {
                    SegmentKind::Syn => 1,
                    SegmentKind::SynAck => 2,
                    SegmentKind::Established => 3 + u8::from(segment.len > 0) + 2 * u8::from(segment.fin),
                    SegmentKind::Reset => 9,
                };
                assert!(options.push(&[254, 5, mark, kind, 77]) && options.push(&[MAPPING, 2]));
                None
            });
        }
        let [first, second] = wire.open(ipv4);
        wire.ends[0].pumps.insert(first, Pump { close: true, ..Pump::new(5_000) });
        wire.ends[1].pumps.insert(second, Pump { close: true, ..Pump::new(5_000) });
        wire.run_for(Duration::from_secs(2));
        let pushed = |mark: u8, kind: u8| vec![254, 5, mark, kind, 77, MAPPING, 2];
        assert_eq!(wire.ends[1].hook.syns[0].options, pushed(1, 1));
        for (end, mark) in [(0, 2), (1, 1)] {
            let seen = &wire.ends[end].hook.segments;
            assert!(seen.iter().any(|segment| segment.flags.fin), "no FIN was seen");
            for segment in seen {
                let kind = match segment.flags {
                    flags if flags.syn => 2,
                    flags => 3 + u8::from(segment.len > 0) + 2 * u8::from(flags.fin),
                };
                assert_eq!(segment.options, pushed(mark, kind), "{segment:?}");
            }
        }
    }
}

/// A SYN has room for 20 bytes of options, a SYN/ACK too (RFC 8684 needs 12 and 16).
pub fn syn_leaves_room(factory: Factory) {
    let mut wire = Wire::new(factory, 31);
    wire.listen();
    let long = [[254; 1].as_slice(), &[20], &[7; 18]].concat();
    for end in &mut wire.ends {
        let long = long.clone();
        end.hook.on_transmit = Box::new(move |_, segment, options| {
            if segment.kind != SegmentKind::Established {
                assert!(options.push(&long), "only {} bytes left", options.remaining());
            }
            None
        });
    }
    wire.open(true);
    assert_eq!(wire.ends[1].hook.syns[0].options, long);
    assert_eq!(wire.ends[0].hook.segments[0].options, long);
    let syn = wire.sent(0).next().expect("a SYN");
    assert_eq!(syn.option(2), Some(&[0x05, 0xb4][..]), "the MSS option is still there");
}

/// Bytes of a stack's own option in every segment (RFC 7323 appendix A).
const TIMESTAMPS: usize = 12;

/// With 28 and with as many as 40 bytes of options on each segment, packets fit the MTU and bytes arrive.
pub fn largest_options_fit_the_mtu(factory: Factory) {
    for (len, ipv4) in [(28, true), (40, true), (40, false)] {
        let mut wire = Wire::new(factory, 32);
        wire.listen();
        let own = if wire.ends[0].stack.capabilities().timestamps { TIMESTAMPS } else { 0 };
        let len = len.min(40 - own);
        wire.ends[0].hook.on_transmit = Box::new(move |_, segment, options| {
            if segment.kind == SegmentKind::Established {
                let mut option = vec![0; len];
                option[0] = 254;
                option[1] = u8::try_from(len).expect("at most 40");
                assert!(options.push(&option));
            }
            None
        });
        let [first, second] = wire.open(ipv4);
        wire.ends[0].pumps.insert(first, Pump::new(200_000));
        assert!(wire.run_until(Duration::from_secs(20), |wire| wire.inbox(1, second).len() == 200_000));
        assert_pattern(wire.inbox(1, second), 200_000);
        let data = || wire.sent(0).filter(|packet| !packet.payload.is_empty());
        assert!(data().all(|packet| packet.option(254).is_some_and(|value| value.len() == len - 2)));
        assert_eq!(data().map(|packet| packet.ip_len()).max(), Some(MTU), "full packets use the MTU");
        // Room for 28 bytes is part of the segment size, so those segments need not be cut again.
        let segments = data().count();
        assert!(len > 28 || segments < 200, "{segments} segments for 140 full ones");
    }
}

/// The peer's MSS counts payload and options (RFC 6691), and segments are cut evenly to it and to the MTU.
pub fn segments_fit_the_smaller_mss(factory: Factory) {
    const CHUNK: usize = 10_000;
    const TOTAL: usize = 10 * CHUNK;
    for (mss, limit) in [(1_000_u16, 1_000), (9_000, 1_460)] {
        let mut wire = Wire::new(factory, 33);
        wire.listen();
        let options = 28 + if wire.ends[0].stack.capabilities().timestamps { TIMESTAMPS } else { 0 };
        wire.ends[1].mangle = Some(Box::new(move |frame| match Packet::parse(&frame) {
            Some(mut packet) if packet.has(SYN) => {
                packet.options[2..4].copy_from_slice(&mss.to_be_bytes());
                vec![packet.to_frame()]
            }
            _ => vec![frame],
        }));
        wire.ends[0].hook.on_transmit = Box::new(|_, segment, options| {
            assert!(segment.kind != SegmentKind::Established || options.push(&mapping(segment.chunk)));
            None
        });
        let [first, second] = wire.open(true);
        wire.ends[0].pumps.insert(first, Pump { chunk: CHUNK as u64, ..Pump::new(TOTAL as u64) });
        assert!(wire.run_until(Duration::from_secs(20), |wire| wire.inbox(1, second).len() == TOTAL));
        let mss = wire.ends[0].stack.info(first).map(|info| info.mss - if info.mss_before_hook { 28 } else { 0 });
        assert_eq!(mss, Some(limit - options));
        let data = || wire.sent(0).filter(|packet| !packet.payload.is_empty());
        let sizes: Vec<_> = data().map(|packet| packet.payload.len() + packet.options.len()).collect();
        assert!(sizes.iter().all(|&size| size <= limit), "{sizes:?}");
        let full = TOTAL / (limit - options);
        assert!(sizes.len() < full * 3 / 2, "{} segments for {full} full ones: {sizes:?}", sizes.len());
    }
}

/// Under loss, however the stream is cut again, a byte is always sent with the same chunk, and no segment has
/// bytes of two. So it is when chunks are given in several slices.
pub fn chunks_stay_apart_when_segments_are_lost(factory: Factory) {
    for (seed, slices) in (0..8).zip([1, 2, 7].into_iter().cycle()) {
        let mut wire = Wire::new(factory, 200 + seed);
        wire.listen();
        wire.ends[0].hook.on_transmit = Box::new(|_, segment, options| {
            assert_eq!(segment.chunk.is_some(), segment.len > 0, "{segment:?}");
            if segment.kind == SegmentKind::Established {
                assert!(options.push(&mapping(segment.chunk)));
            }
            None
        });
        let ids = wire.open(true);
        wire.set_links(Link { loss: 40, reorder: 30, duplicate: 10, ..Link::default() });
        let total = 150_000;
        // Tags that jump at each chunk could be seen as contiguous by accident with tag = offset.
        let pump = Pump { chunk: 4_000, vary: true, slices, tag: 1 << 40, close: true, ..Pump::new(total) };
        wire.ends[0].pumps.insert(ids[0], pump);
        let done = wire.run_until(Duration::from_secs(2_000), |wire| wire.inbox(1, ids[1]).len() as u64 == total);
        assert!(done, "{} of {total} bytes arrived", wire.inbox(1, ids[1]).len());
        assert_pattern(wire.inbox(1, ids[1]), total);
        check_chunks(&wire);
        let info = wire.ends[0].stack.info(ids[0]).expect("open");
        assert!(info.retransmissions > 0, "nothing was lost, so nothing was tested");
    }
}

/// A chunk that is given in several slices is one: segments are cut as if it lay in one piece. It grows only as long as nothing of it has left.
pub fn slices_of_a_chunk_share_segments(factory: Factory) {
    const CHUNK: u64 = 6_000;
    let [whole, sliced] = [1, 13].map(|slices| {
        let mut wire = Wire::new(factory, 34);
        wire.listen();
        wire.ends[0].hook.on_transmit = Box::new(|_, segment, options| {
            assert!(segment.kind != SegmentKind::Established || options.push(&mapping(segment.chunk)));
            None
        });
        let [first, second] = wire.open(true);
        wire.ends[0].pumps.insert(first, Pump { chunk: CHUNK, slices, tag: 1 << 40, ..Pump::new(5 * CHUNK) });
        assert!(wire.run_until(Duration::from_secs(20), |wire| wire.inbox(1, second).len() as u64 == 5 * CHUNK));
        assert_pattern(wire.inbox(1, second), 5 * CHUNK);
        check_chunks(&wire);
        let late = wire.ends[0].stack.append(wire.now, first, Bytes::from_static(b"late"));
        assert_eq!(late, Err(SendError::Full), "all of the chunk has left");
        wire.sent(0).map(|packet| packet.payload.len()).filter(|len| *len > 0).collect::<Vec<_>>()
    });
    assert_eq!(whole, sliced);
    let full = whole.iter().filter(|len| **len > 1_300).count();
    assert!(2 * full > whole.len(), "slices of {} bytes, segments of {whole:?}", CHUNK / 13);
}

fn check_chunks(wire: &Wire) {
    let start = wire.sent(0).find(|packet| packet.has(SYN)).expect("a SYN").seq.wrapping_add(1);
    let mut chunks: BTreeMap<u64, Chunk> = BTreeMap::new();
    let mut end = 0;
    for packet in wire.sent(0).filter(|packet| !packet.payload.is_empty()) {
        let chunk = packet.option(MAPPING).and_then(mapped).expect("data carries its chunk");
        let offset = u64::from(packet.seq.wrapping_sub(start));
        let len = packet.payload.len() as u64;
        let inside = chunk.offset <= offset && offset + len <= chunk.end();
        assert!(inside, "bytes {offset}+{len} are not of {chunk:?}");
        assert_eq!(chunk.tag, (1 << 40) + chunk.offset);
        assert_eq!(*chunks.entry(chunk.offset).or_insert(chunk), chunk, "a chunk has changed");
        end = end.max(offset + len);
        assert!(!packet.has(FIN) || offset + len == end);
    }
    let mut next = 0;
    for chunk in chunks.values() {
        assert_eq!(chunk.offset, next, "chunks must follow each other");
        next += u64::from(chunk.len);
    }
    assert!(wire.sent(0).any(|packet| packet.has(FIN | ACK)) || next == end);
}
