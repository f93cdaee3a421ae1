//! Small records for tests, with figures that are easy to check by hand.

use std::collections::BTreeMap;
use std::time::Duration;

use tcp_adapter::Instant;

use super::*;

/// TCP on one path beside MPTCP on two, four seconds each, with names that need escaping.
pub(super) fn report() -> Report {
    let published = PublishedFigure {
        name: "goodput of <both> paths".into(),
        unit: Unit::BitsPerSecond,
        published: 6_200_000.0,
        simulated: Some(6_000_000.0),
        source: "a paper".into(),
        assumption: "queue of 50 packets".into(),
    };
    Report {
        title: "two paths & \"a\" <script>".into(),
        description: "Four seconds.".into(),
        runs: vec![run("tcp p1", &["p1"]), run("mptcp", &["p1", "p2"])],
        published: vec![published],
        planned: 2,
    }
}

fn run(variant: &str, paths: &[&str]) -> RunRecord {
    let clock = SampleClock { interval: Duration::from_secs(1), end: Instant::from_millis(4000) };
    let mut latency = Latency::new("request");
    for millis in 1..=1000 {
        latency.record(Duration::from_millis(millis));
    }
    RunRecord {
        meta: RunMeta {
            scenario: "two-paths".into(),
            variant: variant.into(),
            seed: 42,
            version: "0.1.0".into(),
            command: "mptcp sim run two-paths.toml --seed 42".into(),
            parameters: BTreeMap::from([("rate".into(), "4Mbit".into()), ("delay".into(), "5ms".into())]),
            assumptions: vec!["The delay is one way.".into()],
        },
        connections: vec![connection(&clock, variant, paths)],
        links: paths.iter().map(|path| link(path)).collect(),
        latencies: vec![latency],
        latency_series: vec![LatencyRecord { name: "request".into(), samples: latency_samples() }],
        counters: BTreeMap::from([("joins".into(), 1)]),
        failed: Vec::new(),
        most_out_of_order: 4000,
        expectations: vec![Expectation {
            wanted: "goodput >= 5 Mbit/s".into(),
            found: "6 Mbit/s".into(),
            passed: paths.len() == 2,
        }],
        marks: vec![Mark { time: Instant::from_millis(2500), text: "p2 <down>".into() }],
        clock,
        interrupted: false,
    }
}

/// Nothing ends in the second second.
fn latency_samples() -> Samples<LatencySample> {
    let sample = |index: u64| match index {
        0 | 2 => LatencySample::default(),
        _ => {
            let [p50, p99, max] = [1, 2, 30].map(|millis| Some(Duration::from_millis(index * millis)));
            LatencySample { ended: 100 * index, p50, p99, max }
        }
    };
    Samples { first: 0, values: (0..5).map(sample).collect() }
}

fn connection(clock: &SampleClock, variant: &str, paths: &[&str]) -> ConnectionRecord {
    let count = clock.len() as u64;
    let subflows = paths.iter().zip(1u64..).map(|(path, number)| {
        let sample = |index: u64| SubflowSample {
            delivered: index * 500_000 / number,
            cwnd: Some(14_480 * (index + 1)),
            srtt: (index > 0).then_some(Duration::from_millis(20 * number - 10)),
            in_flight: 14_480 * index,
            queued: 1448 * index,
            losses: Some(index),
            retransmissions: index,
            reinjected: 0,
            out_of_order: 2896 * index,
        };
        let samples = Samples { first: 0, values: (0..count).map(sample).collect() };
        SubflowRecord { name: number.to_string(), path: (*path).into(), samples }
    });
    let per_second: u64 = (1..=paths.len() as u64).map(|number| 500_000 / number).sum();
    let sample = |index: u64| ConnectionSample { delivered: index * per_second, reorder: index * 1000, window: 65_536 };
    ConnectionRecord {
        number: 0,
        name: "bulk".into(),
        kind: if variant == "mptcp" { "mptcp" } else { "tcp" }.into(),
        from: "client".into(),
        to: "server".into(),
        opened: Instant::ZERO,
        finished: Some(clock.end),
        has_series: true,
        subflows: subflows.collect(),
        samples: Samples { first: 0, values: (0..count).map(sample).collect() },
    }
}

fn link(path: &str) -> LinkRecord {
    let name = format!("{path} up");
    let mut link = LinkRecord { name, samples: Samples::default(), longest_queue: 4, drops: BTreeMap::new() };
    for (index, dropped) in (0..).zip([0, 0, 1, 3, 5]) {
        let sample = LinkSample {
            offered: index * 100,
            delivered: (index * 100).saturating_sub(dropped + 2),
            delivered_bytes: (index * 100).saturating_sub(dropped + 2) * 1500,
            in_flight: if index == 0 { 0 } else { 2 },
            queue_packets: index,
            queue_bytes: index * 1514,
            capacity: Some(4_000_000 * index),
            duplicated: 0,
        };
        link.push(sample, [("queue full", dropped)]);
    }
    link
}

/// Two rates, two delays and two kinds of loss with three seeds; the last cell is not done, one run has failed.
pub(super) fn sweep() -> SweepRecord {
    let axis = |name: &str, values: [&str; 2]| Axis { name: name.into(), values: values.map(String::from).into() };
    let mut points = Vec::new();
    for number in 0..7 {
        let position = vec![number & 1, number >> 1 & 1, number >> 2];
        for (seed, factor) in [(1, 0.9), (2, 0.95), (3, 0.92)] {
            let goodput = 1e7 * (1 + number) as f64 * factor;
            points.push(SweepPoint {
                position: position.clone(),
                seed,
                command: format!("mptcp sim run grid.toml --set rate=<{number}> --seed {seed}"),
                metrics: vec![Some(goodput), (number != 3).then_some(0.01 / factor)],
                failures: if (number, seed) == (5, 2) { vec!["goodput 1 Mbit/s < 2 Mbit/s".into()] } else { vec![] },
            });
        }
    }
    let metric = |name: &str, unit, better| Metric { name: name.into(), unit, better };
    SweepRecord {
        title: "a grid <b>".into(),
        description: "Rates and delays.".into(),
        version: "0.1.0".into(),
        assumptions: vec!["None & all.".into()],
        axes: vec![axis("rate", ["10Mbit", "100Mbit"]), axis("delay", ["5ms", "50ms"]), axis("loss", ["random", "ge"])],
        metrics: vec![
            metric("goodput", Unit::BitsPerSecond, Better::Higher),
            metric("p99", Unit::Seconds, Better::Lower),
        ],
        points,
        planned: 24,
        published: Vec::new(),
    }
}
