//! Decisions of schedulers allocate nothing, however many subflows there are.

#[path = "../../nvme-tcp/tests/counting/mod.rs"]
mod counting;

use std::time::Duration;

use counting::allocations;
use mptcp_core::scheduler::{Acknowledged, DataView, MessageView, SubflowView};
use mptcp_core::{Limits, SchedulerKind, SubflowId};
use tcp_adapter::Instant;

/// Bytes of a congestion window.
const WINDOW: u64 = 20_000;

/// Subflows of different delay.
fn views(count: u32) -> Vec<SubflowView> {
    let view = |id: u32| SubflowView {
        id: SubflowId(id),
        room: 10_000,
        mss: 1000,
        mapping_cost: 28,
        backup: false,
        weight: 1 + id % 3,
        srtt: Some(Duration::from_micros(1000 + 100 * u64::from(id))),
        rttvar: Some(Duration::from_micros(100)),
        latest_rtt: Some(Duration::from_micros(1200 + 100 * u64::from(id))),
        min_rtt: Some(Duration::from_micros(900)),
        cwnd: Some(WINDOW),
        ssthresh: Some(WINDOW / 2),
        slow_start: false,
        in_flight: WINDOW / 2,
        queued: 0,
        delivery_rate: Some(10_000_000),
        delivery_rate_app_limited: false,
        pacing_rate: Some(12_000_000),
        interface_queue: 0,
    };
    (0..count).map(view).collect()
}

#[test]
fn decisions_allocate_nothing() {
    let most = u32::from(Limits::MAX_SUBFLOWS) + 1;
    for kind in SchedulerKind::ALL {
        for (count, has_room) in [(2, true), (17, true), (17, false), (most, true), (most, false)] {
            let mut views = views(count);
            if !has_room {
                // There is a choice to make.
                views[0] = SubflowView { room: 0, in_flight: WINDOW, ..views[0] };
            }
            let mut scheduler = kind.build();
            let mut decide = |step: u64| {
                let now = Instant::from_millis(100 * step);
                let position = 100_000 * step;
                let data = DataView {
                    now,
                    position,
                    una: position,
                    available: 10 << 20,
                    unsent: 10 << 20,
                    window: 10 << 20,
                    reinjection: false,
                    message: MessageView::default(),
                };
                let _ = scheduler.pick(&views, &data);
                let answer = Acknowledged { now, subflow: SubflowId(0), delivered: None, una: position };
                scheduler.on_acknowledged(&answer);
            };
            // What is remembered of subflows is remembered from the first decisions on.
            (0..200).for_each(&mut decide);
            let before = allocations();
            (200..300).for_each(&mut decide);
            let made = allocations() - before;
            assert_eq!(made, 0, "{kind} with {count} subflows, the first of which has room: {has_room}");
        }
    }
}
