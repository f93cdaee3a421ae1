//! The figures of a whole run.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::record::{ConnectionRecord, LinkRecord, RunRecord};

/// The figures of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct RunSummary {
    /// One per direction of a connection, in the order of the record.
    pub connections: Vec<ConnectionSummary>,
    /// How many connections there were; the directions of one are not counted apart.
    pub opened: usize,
    /// Of these, how many had everything delivered, in all directions.
    pub finished: usize,
    /// One per kind of connection and path, sorted.
    pub paths: Vec<PathSummary>,
    /// One per direction of a link, in the order of the record.
    pub links: Vec<LinkSummary>,
    /// Bytes that applications received.
    pub delivered: u64,
    /// Time from the beginning of the first connection until the last byte of all.
    pub duration: Duration,
    /// Bits per second that applications received over `duration`.
    pub goodput: f64,
    /// Jain's index of the goodput of the connections, both directions of each together: 1 if all are equal, 1/n if one has it all.
    pub fairness: f64,
}

/// The figures of one direction of a connection.
#[derive(Clone, Debug, PartialEq)]
pub struct ConnectionSummary {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// Bytes that the application received.
    pub delivered: u64,
    /// Time from its beginning until the last byte, or until the end of the run.
    pub duration: Duration,
    /// Whether the last byte was delivered.
    pub finished: bool,
    /// Bits per second over `duration`.
    pub goodput: f64,
    /// Largest number of bytes in the reorder buffer at a sample.
    pub max_reorder: u64,
}

/// The figures of all subflows of one kind on one path.
#[derive(Clone, Debug, PartialEq)]
pub struct PathSummary {
    /// Kind of the connections.
    pub kind: String,
    /// The path.
    pub path: String,
    /// How many.
    pub subflows: usize,
    /// Payload bytes.
    pub delivered: u64,
    /// Average of the smoothed round-trip times of all samples.
    pub mean_srtt: Option<Duration>,
    /// Segments taken for lost, where the stack tells it.
    pub losses: Option<u64>,
    /// Segments sent again on the same subflow.
    pub retransmissions: u64,
    /// Bytes that were sent on another subflow before.
    pub reinjected: u64,
}

/// The figures of one direction of a link.
#[derive(Clone, Debug, PartialEq)]
pub struct LinkSummary {
    /// Its name.
    pub name: String,
    /// Packets that entered.
    pub offered: u64,
    /// Packets that arrived.
    pub delivered: u64,
    /// Packets dropped, by reason.
    pub drops: BTreeMap<String, u64>,
    /// Copies that the link itself made.
    pub duplicated: u64,
    /// Packets on the way at the end.
    pub in_flight: u64,
    /// Average throughput in bits per second, Ethernet headers included.
    pub throughput: f64,
    /// Packets that waited in its queue, at most.
    pub longest_queue: u64,
    /// Whether all packets are accounted for.
    pub balanced: bool,
}

impl RunSummary {
    /// The figures of `record`.
    pub fn new(record: &RunRecord) -> Self {
        let connections: Vec<_> =
            record.connections.iter().map(|connection| ConnectionSummary::new(record, connection)).collect();
        let delivered = connections.iter().map(|connection| connection.delivered).sum();
        let begin = record.connections.iter().map(|connection| connection.opened).min();
        let end = record.connections.iter().map(|connection| connection.finished.unwrap_or(record.clock.end)).max();
        let duration = begin.zip(end).map_or(Duration::ZERO, |(begin, end)| end.saturating_since(begin));
        let mut whole: BTreeMap<usize, (f64, bool)> = BTreeMap::new();
        for (direction, summary) in record.connections.iter().zip(&connections) {
            let (goodput, finished) = whole.entry(direction.number).or_insert((0.0, true));
            *goodput += summary.goodput;
            *finished &= summary.finished;
        }
        let sum: f64 = whole.values().map(|(goodput, _)| goodput).sum();
        let squares: f64 = whole.values().map(|(goodput, _)| goodput * goodput).sum();
        let fairness = if squares > 0.0 { sum * sum / (squares * whole.len() as f64) } else { 1.0 };
        Self {
            opened: whole.len(),
            finished: whole.values().filter(|(_, finished)| *finished).count(),
            delivered,
            duration,
            goodput: bit_rate(delivered, duration),
            paths: paths(record),
            links: record.links.iter().map(|link| LinkSummary::new(record, link)).collect(),
            connections,
            fairness,
        }
    }
}

impl ConnectionSummary {
    fn new(record: &RunRecord, connection: &ConnectionRecord) -> Self {
        let delivered = connection.samples.last().map_or(0, |last| last.delivered);
        let duration = connection.finished.unwrap_or(record.clock.end) - connection.opened;
        Self {
            name: connection.name.clone(),
            kind: connection.kind.clone(),
            delivered,
            duration,
            finished: connection.finished.is_some(),
            goodput: bit_rate(delivered, duration),
            max_reorder: connection.samples.values.iter().map(|sample| sample.reorder).max().unwrap_or(0),
        }
    }
}

impl LinkSummary {
    fn new(record: &RunRecord, link: &LinkRecord) -> Self {
        let last = link.samples.last().copied().unwrap_or_default();
        let drops =
            |(reason, samples): (&String, &super::Samples<u64>)| (reason.clone(), samples.last().copied().unwrap_or(0));
        Self {
            name: link.name.clone(),
            offered: last.offered,
            delivered: last.delivered,
            drops: link.drops.iter().map(drops).collect(),
            duplicated: last.duplicated,
            in_flight: last.in_flight,
            throughput: bit_rate(last.delivered_bytes, record.clock.end - tcp_adapter::Instant::ZERO),
            longest_queue: link.longest_queue,
            balanced: link.is_balanced(),
        }
    }
}

fn paths(record: &RunRecord) -> Vec<PathSummary> {
    let mut paths: BTreeMap<(&str, &str), (PathSummary, u128, u128)> = BTreeMap::new();
    let mut counted = BTreeSet::new();
    for connection in &record.connections {
        // A subflow serves both directions.
        let is_first = counted.insert(connection.number);
        for subflow in &connection.subflows {
            let new = || {
                let (kind, path) = (connection.kind.clone(), subflow.path.clone());
                let summary = PathSummary {
                    kind,
                    path,
                    subflows: 0,
                    delivered: 0,
                    mean_srtt: None,
                    losses: None,
                    retransmissions: 0,
                    reinjected: 0,
                };
                (summary, 0, 0)
            };
            let (path, nanos, count) = paths.entry((&connection.kind, &subflow.path)).or_insert_with(new);
            let last = subflow.samples.last().copied().unwrap_or_default();
            path.subflows += usize::from(is_first);
            path.delivered += last.delivered;
            if let Some(losses) = last.losses {
                path.losses = Some(path.losses.unwrap_or(0) + losses);
            }
            path.retransmissions += last.retransmissions;
            path.reinjected += last.reinjected;
            for srtt in subflow.samples.values.iter().filter_map(|sample| sample.srtt) {
                *nanos += srtt.as_nanos();
                *count += 1;
            }
        }
    }
    let mean = |(path, nanos, count): (PathSummary, u128, u128)| {
        let mean_srtt = nanos.checked_div(count).map(|mean| Duration::from_nanos(mean as u64));
        PathSummary { mean_srtt, ..path }
    };
    paths.into_values().map(mean).collect()
}

fn bit_rate(bytes: u64, duration: Duration) -> f64 {
    let seconds = duration.as_nanos() as f64 / 1e9;
    if seconds > 0.0 { bytes as f64 * 8.0 / seconds } else { 0.0 }
}
