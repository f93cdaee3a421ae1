//! Packets that the simulator moves per second of one core: bulk flows over one shared link.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mptcp_benches::{bottleneck, quick};
use mptcp_sim::run::{Effort, run_for_figures};
use mptcp_sim::scenario::Scenario;

fn effort(scenario: &Scenario) -> Effort {
    run_for_figures(scenario, 1).expect("every packet is accounted for").effort
}

fn simulator(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("simulator");
    group.sample_size(10);
    // Less time for more flows, which begin with bursts of handshakes.
    for (transport, links, flows, millis) in [
        ("tcp", 1, 1, 2_000),
        ("tcp", 1, 100, 2_000),
        ("tcp", 1, 1_000, 2_000),
        ("tcp", 1, 10_000, 1_000),
        ("mptcp", 4, 1, 2_000),
        ("mptcp", 4, 100, 2_000),
    ] {
        let scenario = bottleneck("native", transport, links, flows, millis);
        // The same in every run, so that the figure is packets per second.
        group.throughput(Throughput::Elements(effort(&scenario).packets));
        let name = if links == 1 { transport.to_owned() } else { format!("{transport}-{links}-subflows") };
        group.bench_with_input(BenchmarkId::new(name, flows), &scenario, |bencher, scenario| {
            bencher.iter(|| effort(scenario));
        });
    }
    group.finish();
}

criterion_group! { name = benches; config = quick(); targets = simulator }
criterion_main!(benches);
