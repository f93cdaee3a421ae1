//! What one decision of the packet scheduler costs.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mptcp_benches::quick;
use mptcp_core::scheduler::{Acknowledged, DataView, MessageView, SubflowView};
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

/// The subflow with the lowest round-trip time, which is the first one, has no room: whether to wait for it is what schedulers differ in.
fn fast_full(mut views: Vec<SubflowView>) -> Vec<SubflowView> {
    let fast = &mut views[0];
    fast.room = 0;
    fast.in_flight = fast.cwnd.unwrap_or_default();
    views
}

/// The same, and all windows double each round trip.
fn slow_start(views: Vec<SubflowView>) -> Vec<SubflowView> {
    let mut views = fast_full(views);
    for view in &mut views {
        view.slow_start = true;
        view.ssthresh = None;
    }
    views
}

fn data() -> DataView {
    DataView {
        now: Instant::ZERO,
        position: 0,
        una: 0,
        available: 1 << 20,
        unsent: 1 << 20,
        window: 1 << 20,
        reinjection: false,
        message: MessageView::default(),
    }
}

/// `scheduler/{name}/{subflows}`: one decision among so many subflows, all of which have room. A decision covers up
/// to ten segments. `scheduler/{name}/fast-full/{subflows}` and `scheduler/{name}/slow-start/{subflows}`: the same where the
/// fastest one has no room, and where all are in slow start besides.
fn decision(c: &mut Criterion) {
    let mut group = c.benchmark_group("scheduler");
    group.throughput(Throughput::Elements(1));
    let data = data();
    for kind in SchedulerKind::ALL {
        for count in [4, 16] {
            let free = views(count);
            assert!(kind.build().pick(&free, &data).is_some(), "{kind} chooses none");
            let cases =
                [("", free), ("fast-full/", fast_full(views(count))), ("slow-start/", slow_start(views(count)))];
            for (case, views) in cases {
                let mut scheduler = kind.build();
                group.bench_function(format!("{kind}/{case}{count}"), |b| {
                    b.iter(|| scheduler.pick(black_box(&views), black_box(&data)));
                });
            }
        }
    }
    group.finish();
}

/// Longer than two round trips of any of the [`views`]: so long holds what `peekaboo` has chosen.
const EPOCH: Duration = Duration::from_millis(1);

/// `scheduler/peekaboo/inference/{subflows}`: a decision of `fast-full` for which the model is asked, as each comes after the end of the last
/// choice. `scheduler/peekaboo/learning/{subflows}`: the same, and the acknowledgement that the model learns from.
fn learning(c: &mut Criterion) {
    let mut group = c.benchmark_group("scheduler");
    group.throughput(Throughput::Elements(1));
    let kind = SchedulerKind::Peekaboo;
    for count in [4, 16] {
        let views = fast_full(views(count));
        for (case, learns) in [("inference", false), ("learning", true)] {
            let (mut scheduler, mut data) = (kind.build(), data());
            group.bench_function(format!("{kind}/{case}/{count}"), |b| {
                b.iter(|| {
                    data.now += EPOCH;
                    if learns {
                        data.una += 100_000;
                        data.position = data.una;
                        let answer =
                            Acknowledged { now: data.now, subflow: SubflowId(0), delivered: None, una: data.una };
                        scheduler.on_acknowledged(black_box(&answer));
                    }
                    scheduler.pick(black_box(&views), black_box(&data))
                });
            });
        }
    }
    group.finish();
}

criterion_group! { name = benches; config = quick(); targets = decision, learning }
criterion_main!(benches);
