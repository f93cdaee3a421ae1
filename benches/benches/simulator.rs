//! Packets that the simulator moves per second of one core: bulk flows over one shared link.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mptcp_benches::quick;
use mptcp_sim::run::{Effort, run_for_figures};
use mptcp_sim::scenario::Scenario;

/// 1 Gbit/s and 10 ms each way for all flows, with a queue of one bandwidth-delay product.
fn scenario(transport: &str, links: u32, flows: u64, millis: u64) -> Scenario {
    // What a flow's share of the link can use and more; smoltcp allocates all of it.
    let buffer = (16 << 20) / flows.clamp(4, 256);
    let mut text = format!(
        "[hosts.client]\nrecv_buffer = {buffer}\nsend_buffer = {buffer}\n\
         [hosts.server]\nrecv_buffer = {buffer}\nsend_buffer = {buffer}\n"
    );
    for link in 0..links {
        let rate = 1_000 / links;
        text.push_str(&format!(
            "[links.p{link}]\nrate = \"{rate}Mbit\"\ndelay = \"10ms\"\nqueue = {{ packets = {} }}\n",
            1667 / links
        ));
    }
    text.push_str(&format!(
        "[[traffic]]\nname = \"bulk\"\ntransport = \"{transport}\"\nconnections = {flows}\n[run]\ntime = \"{millis}ms\"\n"
    ));
    Scenario::parse(&text, "bench").expect("a sound scenario")
}

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
        let scenario = scenario(transport, links, flows, millis);
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
