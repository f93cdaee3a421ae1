//! NVMe/TCP over the kernel's TCP and over this project's stack: what a core spends on host, target and both transports together.

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use mptcp_benches::{Backing, Carrier, Job, Kernel, LOADS, Load, Setup, Wire, World, quick};
use tcp_adapter::native::NativeStack;

/// `nvme/{null,memory}/{plain,digests}/{read4k-1,...}/{kernel,tcp,mptcp-1,mptcp-3}`: commands of one kind, so many outstanding.
fn nvme(c: &mut Criterion) {
    for backing in [Backing::Null, Backing::Memory] {
        for digests in [false, true] {
            let mut group = c.benchmark_group(format!("nvme/{}/{}", backing.name(), name(digests)));
            for load in LOADS {
                let load = Load { backing, digests, ..load };
                job(&mut group, load, "kernel", Kernel::connected());
                for (links, mptcp, name) in [(1, false, "tcp"), (1, true, "mptcp-1"), (3, true, "mptcp-3")] {
                    let setup = Wire::Tso.under::<NativeStack>(Setup { links, mptcp, ..Setup::default() });
                    job(&mut group, load, name, World::<NativeStack>::connected(&setup));
                }
            }
            group.finish();
        }
    }
}

fn name(digests: bool) -> &'static str {
    if digests { "digests" } else { "plain" }
}

fn job<C: Carrier>(group: &mut BenchmarkGroup<'_, WallTime>, load: Load, over: &str, carrier: C) {
    const COMMANDS: u64 = 128;
    let mut job = Job::new(carrier, load);
    job.run(8 * load.commands());
    match load.block {
        0..65_536 => group.throughput(Throughput::Elements(COMMANDS)),
        block => group.throughput(Throughput::Bytes(COMMANDS * u64::from(block))),
    };
    group.bench_function(format!("{}/{over}", load.name()), |b| b.iter(|| job.run(COMMANDS)));
}

criterion_group! { name = benches; config = quick(); targets = nvme }
criterion_main!(benches);
