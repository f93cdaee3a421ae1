//! Two whole stacks on a wire: what a core spends on both ends together.

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mptcp_benches::{Setup, World, quick};
use mptcp_core::SchedulerKind;
use tcp_adapter::smoltcp::SmoltcpConfig;

/// Bytes that one iteration moves.
const BULK: u64 = 8 << 20;

/// A connection on which windows have grown to what they will be.
fn warm(setup: &Setup) -> World {
    let mut world = World::connected(setup);
    world.transfer(64 << 20);
    world
}

/// `stack/{plain,mptcp}/smoltcp/{mtu1500,mtu9000}`: bulk bytes from one application to another, through two stacks.
///
/// `plain` is the same stacks without MP_CAPABLE, so the difference is what MPTCP costs; `checksum` adds the DSS
/// checksum at both ends.
fn stack(c: &mut Criterion) {
    let mut group = c.benchmark_group("stack");
    group.throughput(Throughput::Bytes(BULK));
    for (protocol, mptcp) in [("plain", false), ("mptcp", true)] {
        for mtu in [1500, 9000] {
            let mut world = warm(&Setup { mptcp, mtu, ..Setup::default() });
            group.bench_function(format!("{protocol}/smoltcp/mtu{mtu}"), |b| b.iter(|| world.transfer(BULK)));
        }
    }
    let mut world = warm(&Setup { checksum: true, ..Setup::default() });
    group.bench_function("mptcp/smoltcp/mtu1500/checksum", |b| b.iter(|| world.transfer(BULK)));
    group.finish();
}

/// `subflows/{1,2,4}`: the same bytes over so many subflows in turn, on one core: what it costs to divide and to
/// join the stream. It is no measure of aggregation, as the wires are as fast as the core.
fn subflows(c: &mut Criterion) {
    let mut group = c.benchmark_group("subflows");
    group.throughput(Throughput::Bytes(BULK));
    for links in [1, 2, 4] {
        let mut world = warm(&Setup { links, scheduler: SchedulerKind::RoundRobin, ..Setup::default() });
        group.bench_function(links.to_string(), |b| b.iter(|| world.transfer(BULK)));
        let carried = world.bytes_by_subflow();
        let total: u64 = carried.iter().sum();
        let share = total / u64::from(links) / 2;
        assert!(carried.len() == usize::from(links) && carried.iter().all(|bytes| *bytes >= share), "{carried:?}");
    }
    group.finish();
}

/// `latency/{plain,mptcp}`: round trips of 64 bytes each way, one at a time: the work of both stacks for one request
/// and its answer, acknowledgements included.
fn latency(c: &mut Criterion) {
    const ROUND_TRIPS: u32 = 100;
    let mut group = c.benchmark_group("latency");
    group.throughput(Throughput::Elements(ROUND_TRIPS.into()));
    for (protocol, mptcp) in [("plain", false), ("mptcp", true)] {
        let mut world = World::connected(&Setup { mptcp, ..Setup::default() });
        group.bench_function(protocol, |b| b.iter(|| world.ping_pong(ROUND_TRIPS, 64)));
    }
    group.finish();
}

/// `handshake/{plain,mptcp}`: a connection is opened, carries a byte each way, is closed from both ends and forgotten.
///
/// TCP buffers are small, and TIME-WAIT is short so that tables stay small too.
fn handshake(c: &mut Criterion) {
    let mut group = c.benchmark_group("handshake");
    group.throughput(Throughput::Elements(1));
    let tcp = SmoltcpConfig {
        send_buffer: 64 << 10,
        recv_buffer: 64 << 10,
        time_wait: Duration::from_millis(10),
        ..SmoltcpConfig::default()
    };
    for (protocol, mptcp) in [("plain", false), ("mptcp", true)] {
        let mut world = World::new(&Setup { mptcp, tcp: tcp.clone(), ..Setup::default() });
        group.bench_function(protocol, |b| {
            b.iter(|| {
                world.connect();
                world.ping_pong(1, 1);
                world.close();
            });
        });
    }
    group.finish();
}

criterion_group! { name = benches; config = quick(); targets = stack, subflows, latency, handshake }
criterion_main!(benches);
