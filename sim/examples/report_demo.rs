//! Writes a report and a sweep of made-up figures, to look at how results are shown: `report_demo FOLDER`.

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use mptcp_sim::results::{
    Axis, Better, ConnectionRecord, ConnectionSample, Expectation, Folder, Latency, LatencyRecord, LatencySample,
    LinkRecord, LinkSample, Mark, Metric, PublishedFigure, Report, RunMeta, RunRecord, SampleClock, Samples,
    SubflowRecord, SubflowSample, SweepPoint, SweepRecord, Unit, summary_text, sweep_text,
};
use tcp_adapter::Instant;

const SECONDS: u64 = 20;
const CLOCK: SampleClock =
    SampleClock { interval: Duration::from_millis(10), end: Instant::from_millis(SECONDS * 1000) };

/// A path: name, rate in Mbit/s, round-trip time in ms, queue in bytes.
#[derive(Clone, Copy)]
struct Path(&'static str, u64, u64, u64);

const PATHS: [Path; 3] =
    [Path("wifi", 120, 12, 300_000), Path("lte", 45, 48, 900_000), Path("satellite", 60, 110, 600_000)];

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).ok_or("usage: report_demo FOLDER")?;
    let report = report();
    print!("{}", summary_text(&report));
    println!("{}", Folder::create(format!("{folder}/report"))?.write_report(&report)?.display());
    let sweep = sweep();
    print!("{}", sweep_text(&sweep).lines().take(12).map(|line| format!("{line}\n")).collect::<String>());
    println!("{}", Folder::create(format!("{folder}/sweep"))?.write_sweep(&sweep)?.display());
    Ok(())
}

/// Numbers that look random and are always the same.
struct Noise(u64);

impl Noise {
    /// Between 0 and 1.
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

fn report() -> Report {
    let figure = |name: &str, published, simulated, assumption: &str| PublishedFigure {
        name: name.into(),
        unit: Unit::MebibytesPerSecond,
        published,
        simulated,
        source: "linux-nvme list, May 2026".into(),
        assumption: assumption.into(),
    };
    Report {
        title: "Phone with three networks".into(),
        description: "A bulk transfer over Wi-Fi, LTE and satellite; Wi-Fi fades out for four seconds.".into(),
        runs: vec![run("tcp wifi", &PATHS[..1]), run("mptcp", &PATHS)],
        published: vec![
            figure("TCP read, no loss", 455.0, Some(455.9), ""),
            figure("MPTCP read, no loss", 445.0, Some(447.3), ""),
            figure("TCP read, 0.5 % loss", 144.0, Some(38.2), "loss per packet; 4 busy queues"),
            figure("MPTCP read, 0.5 % loss", 428.0, None, "uncoupled congestion control"),
        ],
        planned: 2,
    }
}

fn run(variant: &str, paths: &[Path]) -> RunRecord {
    let mut noise = Noise(7 + paths.len() as u64);
    let mut links = Vec::new();
    let mut subflows = Vec::new();
    for (number, path) in (1..).zip(paths) {
        let (subflow, link, acks) = simulate(*path, number, &mut noise);
        subflows.push(subflow);
        links.extend([link, acks]);
    }
    let mut samples = Samples::default();
    for index in 0..CLOCK.len() {
        let delivered = subflows.iter().filter_map(|subflow| subflow.samples.get(index)).map(|s| s.delivered).sum();
        let reorder = if paths.len() > 1 { (noise.next() * noise.next() * 2.4e6) as u64 } else { 0 };
        samples.push(ConnectionSample { delivered, reorder, window: 6_291_456 - reorder });
    }
    let mut latency = Latency::new("chunk of 64 KiB");
    for _ in 0..20_000 {
        let tail = if noise.next() < 0.01 { 12.0 * noise.next() } else { noise.next() };
        latency.record(Duration::from_micros((9_000.0 + 60_000.0 / paths.len() as f64 * tail) as u64));
    }
    let latency_series =
        vec![LatencyRecord { name: latency.name.clone(), samples: latencies(paths.len(), &mut noise) }];
    let mark = |millis, text: &str| Mark { time: Instant::from_millis(millis), text: text.into() };
    let finished = (variant == "mptcp").then_some(CLOCK.end);
    RunRecord {
        meta: RunMeta {
            scenario: "phone".into(),
            variant: variant.into(),
            seed: 1,
            version: env!("CARGO_PKG_VERSION").into(),
            command: format!("mptcp sim run phone.toml --variant '{variant}' --seed 1"),
            parameters: BTreeMap::from([
                ("congestion control".into(), "cubic".into()),
                ("receive window".into(), "6MiB".into()),
                ("size".into(), "512MiB".into()),
            ]),
            assumptions: vec!["Delays are one way.".into(), "The queue of the LTE link is 900 kB.".into()],
        },
        clock: CLOCK,
        connections: vec![ConnectionRecord {
            number: 0,
            name: "download".into(),
            kind: if paths.len() > 1 { "mptcp" } else { "tcp" }.into(),
            from: "server".into(),
            to: "phone".into(),
            opened: Instant::ZERO,
            finished,
            has_series: true,
            samples,
            subflows,
        }],
        links,
        latencies: vec![latency],
        latency_series,
        counters: BTreeMap::from([("joins".into(), paths.len() as u64 - 1), ("events".into(), 12_345_678)]),
        most_out_of_order: 0,
        expectations: vec![Expectation {
            wanted: "goodput >= 150 Mbit/s".into(),
            found: if paths.len() > 1 { "187.0 Mbit/s" } else { "86.1 Mbit/s" }.into(),
            passed: paths.len() > 1,
        }],
        marks: vec![
            mark(6000, "wifi: rate = 4 Mbit/s"),
            mark(6200, "wifi: loss = 5 %"),
            mark(10_000, "wifi: rate = 120 Mbit/s, loss = 0"),
            mark(15_000, "lte: down"),
            mark(16_500, "lte: up"),
        ],
        failed: Vec::new(),
        interrupted: false,
    }
}

/// Ten chunks in each interval.
fn latencies(paths: usize, noise: &mut Noise) -> Samples<LatencySample> {
    let mut samples = Samples::default();
    for _ in 0..CLOCK.len() {
        let mut chunks: [Duration; 10] =
            std::array::from_fn(|_| Duration::from_micros((9_000.0 + 60_000.0 / paths as f64 * noise.next()) as u64));
        samples.push(LatencySample::of(&mut chunks));
    }
    samples
}

/// A congestion window that grows until the queue is full, and what follows from it.
fn simulate(
    Path(name, rate, rtt, queue): Path,
    number: u64,
    noise: &mut Noise,
) -> (SubflowRecord, LinkRecord, LinkRecord) {
    let start = (number - 1) as usize * 7;
    let mut samples = Samples::starting_at(start);
    let link = |direction: &str| LinkRecord {
        name: format!("{name} {direction}"),
        longest_queue: 0,
        samples: Samples::default(),
        drops: BTreeMap::new(),
    };
    let (mut down, mut up) = (link("down"), link("up"));
    let mut cwnd = 14_480.0;
    let mut subflow = SubflowSample::default();
    let mut state = LinkSample { capacity: Some(0), ..LinkSample::default() };
    let mut acks = LinkSample { capacity: Some(0), ..LinkSample::default() };
    let (mut full, mut lost) = (0, 0);
    for index in 0..CLOCK.len() {
        let second = index as f64 / 100.0;
        let is_down = name == "lte" && (15.0..16.5).contains(&second);
        let factor = match name {
            "wifi" if (6.0..10.0).contains(&second) => 0.033,
            "lte" if is_down => 0.0,
            "lte" => 0.7 + 0.3 * noise.next(),
            _ => 1.0,
        };
        let bytes_per_sample = rate as f64 * 1e6 / 8.0 / 100.0 * factor;
        let bdp = rate as f64 * 1e6 / 8.0 * factor * rtt as f64 / 1000.0;
        if index >= start {
            let excess = (cwnd - bdp).clamp(0.0, queue as f64);
            let sent = bytes_per_sample.min(cwnd * 10.0 / rtt as f64);
            if cwnd > bdp + queue as f64 && factor > 0.0 {
                cwnd *= 0.7;
                full += 1 + (noise.next() * 20.0) as u64;
                subflow.retransmissions += 12;
                subflow.losses = subflow.losses.map(|losses| losses + 12);
            } else if noise.next() < 0.002 {
                cwnd *= 0.7;
                lost += 1;
                subflow.retransmissions += 1;
                subflow.losses = subflow.losses.map(|losses| losses + 1);
            }
            cwnd = (cwnd + 1448.0 * 10.0 / rtt as f64 * if cwnd < bdp { 8.0 } else { 2.0 }).max(14_480.0);
            subflow.delivered += sent as u64;
            subflow.cwnd = Some(cwnd as u64);
            subflow.in_flight = (cwnd * (0.85 + 0.15 * noise.next())) as u64;
            subflow.out_of_order = if noise.next() < 0.02 { (noise.next() * 60_000.0) as u64 } else { 0 };
            let queueing = if factor > 0.0 { excess * 8.0 / (rate as f64 * 1e6 * factor) } else { 0.0 };
            let srtt = rtt as f64 / 1000.0 + queueing.min(0.4) + noise.next() * 0.001;
            subflow.srtt = (index > start + 2 && !is_down).then(|| Duration::from_nanos((srtt * 1e9) as u64));
            if is_down {
                subflow.reinjected += 20_000;
            }
            samples.push(subflow);
            state.queue_bytes = excess as u64;
            state.queue_packets = excess as u64 / 1514;
            state.delivered_bytes += (sent * 1.05) as u64;
            state.delivered += sent as u64 / 1448;
            state.in_flight = cwnd as u64 / 1448;
            acks.delivered_bytes += (sent * 0.03) as u64;
            acks.delivered += sent as u64 / 2896;
        }
        state.offered = state.delivered + state.in_flight + full + lost;
        acks.offered = acks.delivered;
        // 100 samples a second.
        state.capacity = state.capacity.map(|bits| bits + rate * 10_000);
        acks.capacity = acks.capacity.map(|bits| bits + 200_000);
        down.push(state, [("queue full", full), ("random loss", lost)]);
        up.push(acks, []);
    }
    (SubflowRecord { name: number.to_string(), path: name.into(), samples }, down, up)
}

fn sweep() -> SweepRecord {
    let axis = |name: &str, values: &[&str]| Axis {
        name: name.into(),
        values: values.iter().map(|value| (*value).to_owned()).collect(),
    };
    let axes = vec![
        axis("rate", &["1Mbit", "3Mbit", "10Mbit", "30Mbit", "100Mbit", "300Mbit", "1Gbit"]),
        axis("delay", &["5ms", "10ms", "25ms", "50ms", "100ms", "250ms"]),
        axis("loss", &["0%", "0.01%", "0.1%", "0.5%", "1%", "5%"]),
        axis("pattern", &["constant", "bursty"]),
    ];
    let rates = [1.0f64, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0];
    let delays = [5.0f64, 10.0, 25.0, 50.0, 100.0, 250.0];
    let losses = [0.0f64, 0.0001, 0.001, 0.005, 0.01, 0.05];
    let mut noise = Noise(99);
    let mut points = Vec::new();
    for (r, rate) in rates.iter().enumerate() {
        for (d, delay) in delays.iter().enumerate() {
            for (l, loss) in losses.iter().enumerate() {
                for pattern in 0..2 {
                    for seed in 1..=50 {
                        let burst = if pattern == 1 { 2.0 } else { 1.0 };
                        let window = 1448.0 * 8.0 * 1.22 / (loss / burst).sqrt().max(1e-9) / (delay * 2.0 / 1000.0);
                        let goodput = (rate * 0.95e6).min(window) * (0.9 + 0.1 * noise.next());
                        let p99 = delay * 2.0 / 1000.0 * (1.0 + noise.next() + 200.0 * loss) + 12e-3 / rate;
                        let failed = goodput < 0.05 * rate * 1e6 && seed % 25 == 3 && pattern == 0;
                        points.push(SweepPoint {
                            position: vec![r, d, l, pattern],
                            seed,
                            command: format!(
                                "mptcp sim run matrix.toml --set rate={} --set delay={} --set loss={} --set pattern={} --seed {seed}",
                                axes[0].values[r], axes[1].values[d], axes[2].values[l], axes[3].values[pattern]
                            ),
                            metrics: vec![Some(goodput), Some(p99)],
                            failures: if failed { vec!["goodput is below 5 % of the link".into()] } else { Vec::new() },
                        });
                    }
                }
            }
        }
    }
    let metric = |name: &str, unit, better| Metric { name: name.into(), unit, better };
    SweepRecord {
        title: "One path: rate, delay and loss".into(),
        description: "A bulk transfer of MPTCP over one link, for every combination, with 50 seeds each.".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        assumptions: vec!["Queues hold one bandwidth-delay product.".into()],
        planned: points.len(),
        axes,
        metrics: vec![
            metric("goodput", Unit::BitsPerSecond, Better::Higher),
            metric("p99 latency", Unit::Seconds, Better::Lower),
        ],
        points,
        published: Vec::new(),
    }
}
