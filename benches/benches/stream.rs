//! The two ends of the stream: what was written until it is acknowledged, and what has arrived until it is read.

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use mptcp_benches::{Position, pattern, quick};
use mptcp_core::stream::{Reassembly, SendQueue};

/// Payload of a full segment with a DSS option, in bytes.
const SEGMENT: usize = 1432;
/// Segments of one window of 4 MiB.
const SEGMENTS: usize = 2928;

/// A segment of the stream as it comes out of a frame: in a buffer of its own.
fn segment(number: usize) -> (u64, Bytes) {
    let position = (number * SEGMENT) as u64;
    let first = pattern(position, SEGMENT);
    let second = pattern(position + first.len() as u64, (SEGMENT - first.len()).max(1));
    (position, [first, second].concat()[..SEGMENT].to_vec().into())
}

/// Puts a window of segments into order and reads it to the end.
fn reassemble(segments: Vec<(u64, Bytes)>) {
    let mut stream = Reassembly::new(16_384);
    let mut read = Position(0);
    for (position, bytes) in segments {
        stream.insert(position, bytes, u64::MAX);
        while let Some(bytes) = stream.read(64 << 10) {
            read.0 += bytes.len() as u64;
        }
    }
    assert_eq!(read.0, (SEGMENTS * SEGMENT) as u64, "bytes are missing");
}

/// `reassembly/*`: a window of 4 MiB in segments of 1432 bytes becomes a stream and is read.
///
/// * `in-order`: as on one path without loss.
/// * `two-paths`: bursts of ten segments on two paths in turn, of which the first is eight bursts later: most of the
///   second path's bursts wait.
/// * `reverse`: the last segment first, so everything waits in one fragment that grows at its front.
/// * `worst-case`: first every other segment, the last one first, which makes as many fragments as there can be, then
///   the rest, the last one first: each insertion joins two fragments, of which the second is the longer one.
fn reassembly(c: &mut Criterion) {
    let in_order = 0..SEGMENTS;
    // When each burst arrives: those of the second path eight bursts earlier than those of the first.
    let arrival = |burst: usize| if burst.is_multiple_of(2) { burst / 2 + 8 } else { burst / 2 };
    let mut bursts: Vec<usize> = (0..SEGMENTS.div_ceil(10)).collect();
    bursts.sort_by_key(|burst| arrival(*burst));
    let two_paths = bursts.into_iter().flat_map(|burst| burst * 10..(burst * 10 + 10).min(SEGMENTS));
    let reverse = (0..SEGMENTS).rev();
    let worst = (0..SEGMENTS).rev().step_by(2).chain((0..SEGMENTS - 1).rev().step_by(2));
    let orders: [(&str, Vec<usize>); 4] = [
        ("in-order", in_order.collect()),
        ("two-paths", two_paths.collect()),
        ("reverse", reverse.collect()),
        ("worst-case", worst.collect()),
    ];

    let mut group = c.benchmark_group("reassembly");
    group.throughput(Throughput::Bytes((SEGMENTS * SEGMENT) as u64));
    for (name, order) in orders {
        assert_eq!(order.len(), SEGMENTS, "{name}");
        let segments: Vec<(u64, Bytes)> = order.into_iter().map(segment).collect();
        group.bench_function(name, |b| b.iter_batched(|| segments.clone(), reassemble, BatchSize::LargeInput));
    }
    group.finish();
}

/// Writes, gives to a subflow in bursts of ten segments, and acknowledges, with 512 KiB in flight.
fn send(total: u64, write: usize) {
    const IN_FLIGHT: u64 = 512 << 10;
    let mut queue = SendQueue::new();
    while queue.una() < total {
        while queue.end() < total && queue.len() < 2 * IN_FLIGHT as usize {
            let left = usize::try_from(total - queue.end()).unwrap_or(usize::MAX);
            queue.push(pattern(queue.end(), write.min(left)));
        }
        while queue.nxt() < queue.end().min(queue.una() + IN_FLIGHT) {
            let Some(bytes) = queue.gather(queue.nxt(), 10 * SEGMENT) else { break };
            queue.mark_sent(queue.nxt()..queue.nxt() + bytes.len() as u64);
        }
        queue.ack(queue.nxt().min(queue.una() + 2 * SEGMENT as u64));
    }
    assert!(queue.is_empty(), "bytes are left");
}

/// `send_queue/*`: 4 MiB written, given to a subflow in bursts of ten segments and acknowledged by two segments, with
/// 512 KiB in flight.
///
/// * `large-writes`: written in slices of 64 KiB, which are shared.
/// * `small-writes`: written in slices of 100 bytes, which are copied together.
fn send_queue(c: &mut Criterion) {
    const TOTAL: u64 = 4 << 20;
    let mut group = c.benchmark_group("send_queue");
    group.throughput(Throughput::Bytes(TOTAL));
    for (name, write) in [("large-writes", 64 << 10), ("small-writes", 100)] {
        group.bench_function(name, |b| b.iter(|| send(TOTAL, write)));
    }
    group.finish();
}

criterion_group! { name = benches; config = quick(); targets = reassembly, send_queue }
criterion_main!(benches);
