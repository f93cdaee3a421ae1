//! Two whole stacks on a wire: what a core spends on both ends together.

use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use mptcp_benches::{Engine, Pair, Setup, TcpSetup, Wire, World, quick};
use mptcp_core::SchedulerKind;
use tcp_adapter::native::NativeStack;
use tcp_adapter::smoltcp::SmoltcpStack;

/// Bytes that one iteration moves.
const BULK: u64 = 8 << 20;

/// Wires in the order of the report.
const WIRES: [Wire; 5] = [Wire::Mtu1500, Wire::Mtu9000, Wire::Partial1500, Wire::Partial9000, Wire::Tso];

/// A connection on which windows have grown to what they will be.
fn warm<T: Engine>(setup: &Setup) -> World<T> {
    let mut world = World::connected(setup);
    world.transfer(64 << 20);
    world
}

/// `stack/{tcp,plain,mptcp}/{smoltcp,native}/{mtu1500,mtu9000,partial1500,partial9000,tso}`: bulk bytes from one
/// application to another, through two stacks.
///
/// `tcp` is the TCP stack alone, `plain` the whole without MP_CAPABLE; so the differences are what the layer above and
/// what MPTCP costs. `checksum` adds the DSS checksum at both ends.
fn stack(c: &mut Criterion) {
    let mut group = c.benchmark_group("stack");
    group.throughput(Throughput::Bytes(BULK));
    for wire in WIRES {
        tcp::<SmoltcpStack>(&mut group, wire);
        tcp::<NativeStack>(&mut group, wire);
        for mptcp in [false, true] {
            bulk::<SmoltcpStack>(&mut group, wire, mptcp);
            bulk::<NativeStack>(&mut group, wire, mptcp);
        }
    }
    checksum::<SmoltcpStack>(&mut group);
    checksum::<NativeStack>(&mut group);
    group.finish();
}

fn tcp<T: Engine>(group: &mut BenchmarkGroup<'_, WallTime>, wire: Wire) {
    let mut pair = Pair::<T>::connected(&wire.under::<T>(Setup::default()));
    pair.transfer(64 << 20);
    let name = format!("tcp/{}/{}", T::NAME, wire.name());
    group.bench_function(name, |b| b.iter(|| pair.transfer(BULK)));
}

fn bulk<T: Engine>(group: &mut BenchmarkGroup<'_, WallTime>, wire: Wire, mptcp: bool) {
    let mut world = warm::<T>(&wire.under::<T>(Setup { mptcp, ..Setup::default() }));
    let name = format!("{}/{}/{}", protocol(mptcp), T::NAME, wire.name());
    group.bench_function(name, |b| b.iter(|| world.transfer(BULK)));
}

fn checksum<T: Engine>(group: &mut BenchmarkGroup<'_, WallTime>) {
    let mut world = warm::<T>(&Setup { checksum: true, ..Setup::default() });
    group.bench_function(format!("mptcp/{}/mtu1500/checksum", T::NAME), |b| b.iter(|| world.transfer(BULK)));
}

fn protocol(mptcp: bool) -> &'static str {
    if mptcp { "mptcp" } else { "plain" }
}

/// `subflows/{smoltcp,native}/{1,2,3,4}`: the same bytes over so many subflows in turn, on one core: what it costs to divide
/// and to join the stream. It is no measure of aggregation, as the wires are as fast as the core.
fn subflows(c: &mut Criterion) {
    let mut group = c.benchmark_group("subflows");
    group.throughput(Throughput::Bytes(BULK));
    for links in 1..=4 {
        over::<SmoltcpStack>(&mut group, links);
        over::<NativeStack>(&mut group, links);
    }
    group.finish();
}

fn over<T: Engine>(group: &mut BenchmarkGroup<'_, WallTime>, links: u8) {
    let mut world = warm::<T>(&Setup { links, scheduler: SchedulerKind::RoundRobin, ..Setup::default() });
    group.bench_function(format!("{}/{links}", T::NAME), |b| b.iter(|| world.transfer(BULK)));
    let carried = world.bytes_by_subflow();
    let total: u64 = carried.iter().sum();
    let share = total / u64::from(links) / 2;
    assert!(carried.len() == usize::from(links) && carried.iter().all(|bytes| *bytes >= share), "{carried:?}");
}

/// `idle/{smoltcp,native}/{0,10000}`: the same bytes beside so many connections that are open and carry nothing.
/// smoltcp keeps 5 MiB of buffers for each, so it has to do with 500.
fn idle(c: &mut Criterion) {
    let mut group = c.benchmark_group("idle");
    group.throughput(Throughput::Bytes(BULK));
    for (engine, idle) in [(false, 0), (false, 500), (true, 0), (true, 10_000)] {
        let setup = Setup { idle, ..Setup::default() };
        if engine {
            let mut world = warm::<NativeStack>(&setup);
            group.bench_function(format!("native/{idle}"), |b| b.iter(|| world.transfer(BULK)));
        } else {
            let mut world = warm::<SmoltcpStack>(&setup);
            group.bench_function(format!("smoltcp/{idle}"), |b| b.iter(|| world.transfer(BULK)));
        }
    }
    group.finish();
}

/// `latency/{plain,mptcp}/{smoltcp,native}`: round trips of 64 bytes each way, one at a time: the work of both stacks for
/// one request and its answer, acknowledgements included.
fn latency(c: &mut Criterion) {
    let mut group = c.benchmark_group("latency");
    group.throughput(Throughput::Elements(ROUND_TRIPS.into()));
    for mptcp in [false, true] {
        ping::<SmoltcpStack>(&mut group, mptcp);
        ping::<NativeStack>(&mut group, mptcp);
    }
    group.finish();
}

/// Round trips of one iteration.
const ROUND_TRIPS: u32 = 100;

fn ping<T: Engine>(group: &mut BenchmarkGroup<'_, WallTime>, mptcp: bool) {
    let mut world = World::<T>::connected(&Setup { mptcp, ..Setup::default() });
    let name = format!("{}/{}", protocol(mptcp), T::NAME);
    group.bench_function(name, |b| b.iter(|| world.ping_pong(ROUND_TRIPS, 64)));
}

/// `handshake/{plain,mptcp}/{smoltcp,native}`: a connection is opened, carries a byte each way, is closed from both ends
/// and forgotten.
///
/// TCP buffers are small, and TIME-WAIT is short so that tables stay small too.
fn handshake(c: &mut Criterion) {
    let mut group = c.benchmark_group("handshake");
    group.throughput(Throughput::Elements(1));
    for mptcp in [false, true] {
        open_and_close::<SmoltcpStack>(&mut group, mptcp);
        open_and_close::<NativeStack>(&mut group, mptcp);
    }
    group.finish();
}

fn open_and_close<T: Engine>(group: &mut BenchmarkGroup<'_, WallTime>, mptcp: bool) {
    let tcp = TcpSetup {
        send_buffer: 64 << 10,
        recv_buffer: 64 << 10,
        time_wait: Duration::from_millis(10),
        ..TcpSetup::default()
    };
    let mut world = World::<T>::new(&Setup { mptcp, tcp, ..Setup::default() });
    group.bench_function(format!("{}/{}", protocol(mptcp), T::NAME), |b| {
        b.iter(|| {
            world.connect();
            world.ping_pong(1, 1);
            world.close();
        });
    });
}

criterion_group! { name = benches; config = quick(); targets = stack, subflows, idle, latency, handshake }
criterion_main!(benches);
