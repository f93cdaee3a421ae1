//! What one decision of the packet scheduler costs.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mptcp_benches::quick;
use mptcp_core::scheduler::{DataView, MessageView, SubflowView};
use mptcp_core::{SchedulerKind, SubflowId};
use tcp_adapter::Instant;

fn views(count: u32) -> Vec<SubflowView> {
    let view = |id| SubflowView {
        id: SubflowId(id),
        room: 64 << 10,
        mss: 1432,
        mapping_cost: 28,
        backup: false,
        weight: 1 + id % 3,
        srtt: Some(Duration::from_micros(100 + u64::from(id * 37 % 16))),
        rttvar: Some(Duration::from_micros(10)),
        latest_rtt: Some(Duration::from_micros(100)),
        min_rtt: Some(Duration::from_micros(90)),
        cwnd: Some(200_000),
        ssthresh: Some(150_000),
        slow_start: false,
        in_flight: 100_000,
        queued: 0,
        delivery_rate: Some(1_000_000_000),
        delivery_rate_app_limited: false,
        pacing_rate: Some(1_250_000_000),
        interface_queue: 0,
    };
    (0..count).map(view).collect()
}

/// `scheduler/{name}/{subflows}`: one decision among so many subflows, all of which have room. A decision covers up
/// to ten segments.
fn decision(c: &mut Criterion) {
    let mut group = c.benchmark_group("scheduler");
    group.throughput(Throughput::Elements(1));
    let data = DataView {
        now: Instant::ZERO,
        position: 0,
        una: 0,
        available: 1 << 20,
        unsent: 1 << 20,
        window: 1 << 20,
        reinjection: false,
        message: MessageView::default(),
    };
    for kind in SchedulerKind::ALL {
        for count in [4, 16] {
            let views = views(count);
            let mut scheduler = kind.build();
            assert!(scheduler.pick(&views, &data).is_some(), "{kind} chooses none");
            group.bench_function(format!("{kind}/{count}"), |b| {
                b.iter(|| scheduler.pick(black_box(&views), black_box(&data)));
            });
        }
    }
    group.finish();
}

criterion_group! { name = benches; config = quick(); targets = decision }
criterion_main!(benches);
