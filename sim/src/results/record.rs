//! What the simulator writes down of a run.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tcp_adapter::Instant;

use super::latency::Latency;
use super::samples::{SampleClock, Samples};
use super::unit::Unit;

/// One run, or several of one scenario that are to be compared.
#[derive(Clone, Debug)]
pub struct Report {
    /// Heading, usually the name of the scenario.
    pub title: String,
    /// What the scenario is about, for people; may be empty.
    pub description: String,
    /// The runs, with [`RunMeta::variant`]s that stay distinct as names of files, see
    /// [`file_name`](super::file_name).
    pub runs: Vec<RunRecord>,
    /// Results published elsewhere beside those found here.
    pub published: Vec<PublishedFigure>,
    /// Runs that there were to be; fewer are in `runs` if somebody did not wait for all.
    pub planned: usize,
}

/// One run.
#[derive(Clone, Debug)]
pub struct RunRecord {
    /// What was run.
    pub meta: RunMeta,
    /// When samples were taken.
    pub clock: SampleClock,
    /// Directions of connections that carried data.
    pub connections: Vec<ConnectionRecord>,
    /// Directions of links.
    pub links: Vec<LinkRecord>,
    /// Latencies that the applications saw.
    pub latencies: Vec<Latency>,
    /// The same over time, of the whole run; empty without series.
    pub latency_series: Vec<LatencyRecord>,
    /// Counters of anything else, by name.
    pub counters: BTreeMap<String, u64>,
    /// What the scenario expects of its results.
    pub expectations: Vec<Expectation>,
    /// Connections that broke or carried nothing, in the order of the scenario.
    pub failed: Vec<FailedConnection>,
    /// Bytes that waited at a receiver for others before them, at most.
    pub most_out_of_order: u64,
    /// Changes and happenings to show in the plots, in the order of time.
    pub marks: Vec<Mark>,
    /// Somebody wanted it to end before its time: everything is of the time until then, and nothing was expected.
    pub interrupted: bool,
}

/// What was run.
#[derive(Clone, Debug, Default)]
pub struct RunMeta {
    /// Name of the scenario, without a path.
    pub scenario: String,
    /// Tells this run from the others of a report, such as `tcp p1` or `mptcp`.
    pub variant: String,
    /// Seed of the run.
    pub seed: u64,
    /// Version of the simulator.
    pub version: String,
    /// The command that repeats exactly this run, free of anything that depends on the machine.
    pub command: String,
    /// Parameters with their units, by name.
    pub parameters: BTreeMap<String, String>,
    /// What the scenario had to assume, one sentence each.
    pub assumptions: Vec<String>,
}

/// A connection that did not do what it was made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedConnection {
    /// Its name.
    pub name: String,
    /// What became of it, such as `connection refused, 0 bytes delivered`.
    pub reason: String,
}

/// One direction of a connection, as far as it carries data.
#[derive(Clone, Debug)]
pub struct ConnectionRecord {
    /// Which connection: that of both directions, if both are used.
    pub number: usize,
    /// Name, unique in the run.
    pub name: String,
    /// What kind of connection, such as `mptcp` or `cross traffic`. Plots show each kind apart.
    pub kind: String,
    /// The sending host.
    pub from: String,
    /// The receiving host.
    pub to: String,
    /// When it was opened.
    pub opened: Instant,
    /// When the last byte was delivered; `None` if it had not been when the run ended.
    pub finished: Option<Instant>,
    /// Whether there are samples of all its time; else there is only the last one.
    pub has_series: bool,
    /// Samples of the whole.
    pub samples: Samples<ConnectionSample>,
    /// Its subflows; a plain TCP connection has one.
    pub subflows: Vec<SubflowRecord>,
}

/// State of a connection. Counters count from its beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionSample {
    /// Bytes given to the receiving application so far.
    pub delivered: u64,
    /// Bytes that wait at the receiver for others before them.
    pub reorder: u64,
    /// Receive window that was last advertised, in bytes.
    pub window: u64,
}

/// One direction of a subflow.
#[derive(Clone, Debug)]
pub struct SubflowRecord {
    /// Name, unique in the connection.
    pub name: String,
    /// The path that it takes.
    pub path: String,
    /// Samples.
    pub samples: Samples<SubflowSample>,
}

/// State of a subflow. Counters count from its beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SubflowSample {
    /// Payload bytes received in the order of the subflow so far, duplicates of other subflows included.
    pub delivered: u64,
    /// Congestion window in bytes, where the stack tells it.
    pub cwnd: Option<u64>,
    /// Smoothed round-trip time, once there is one.
    pub srtt: Option<Duration>,
    /// Bytes sent and not acknowledged.
    pub in_flight: u64,
    /// Bytes bound to the subflow and not sent yet.
    pub queued: u64,
    /// Segments taken for lost so far, where the stack tells it.
    pub losses: Option<u64>,
    /// Segments sent again on this subflow so far.
    pub retransmissions: u64,
    /// Bytes so far that were sent on another subflow before.
    pub reinjected: u64,
    /// Bytes that wait at the receiving TCP for others before them.
    pub out_of_order: u64,
}

/// One direction of a link.
#[derive(Clone, Debug)]
pub struct LinkRecord {
    /// Name, unique in the run, such as `p1 up`.
    pub name: String,
    /// Samples; a link exists from the beginning to the end.
    pub samples: Samples<LinkSample>,
    /// Packets that waited in its queue, at most.
    pub longest_queue: u64,
    /// Packets dropped so far by reason. A reason need not be there before its first drop.
    pub drops: BTreeMap<String, Samples<u64>>,
}

/// State of one direction of a link. Counters count from the beginning of the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkSample {
    /// Packets that entered so far.
    pub offered: u64,
    /// Packets that arrived so far.
    pub delivered: u64,
    /// Bytes that arrived so far, Ethernet headers included.
    pub delivered_bytes: u64,
    /// Copies that the link itself made so far.
    pub duplicated: u64,
    /// Packets on the way, queued ones included.
    pub in_flight: u64,
    /// Packets in the queue.
    pub queue_packets: u64,
    /// Bytes in the queue.
    pub queue_bytes: u64,
    /// Bits that its rate would have let through so far, none while it was down; `None` if packets take no time.
    pub capacity: Option<u64>,
}

/// Latencies of one kind over time.
#[derive(Clone, Debug)]
pub struct LatencyRecord {
    /// What was measured, as [`Latency::name`] has it.
    pub name: String,
    /// Samples; there are some from the beginning to the end.
    pub samples: Samples<LatencySample>,
}

/// What has ended since the sample before, and how long it took. The figures are exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LatencySample {
    /// Requests, messages or commands that have ended.
    pub ended: u64,
    /// The least latency that half of them do not exceed; `None` if nothing has ended.
    pub p50: Option<Duration>,
    /// The least latency that 99 % of them do not exceed; `None` if nothing has ended.
    pub p99: Option<Duration>,
    /// The largest latency; `None` if nothing has ended.
    pub max: Option<Duration>,
}

/// Something that the scenario expects, and whether it came true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// What is expected, such as `goodput >= 445 MiB/s`.
    pub wanted: String,
    /// What was found.
    pub found: String,
    /// Whether it came true.
    pub passed: bool,
}

/// A result that somebody published, with the one found here.
#[derive(Clone, Debug, PartialEq)]
pub struct PublishedFigure {
    /// What was measured.
    pub name: String,
    /// Unit of both figures.
    pub unit: Unit,
    /// The published figure.
    pub published: f64,
    /// The one found here; `None` if the run did not give one.
    pub simulated: Option<f64>,
    /// Where it was published.
    pub source: String,
    /// What had to be assumed about the conditions; may be empty.
    pub assumption: String,
}

/// Something to show at its time in the plots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// When.
    pub time: Instant,
    /// What, in a few words, such as `p2 down`.
    pub text: String,
}

impl Report {
    /// What to say if somebody did not wait for all runs.
    pub fn interruption(&self) -> Option<String> {
        let complete = self.runs.iter().filter(|run| !run.interrupted).count();
        let stopped = self.runs.iter().find(|run| run.interrupted).map(|run| {
            let at = Unit::Seconds.format(run.clock.end.as_nanos() as f64 / 1e9, 4);
            format!(" '{}' was stopped at {at} of its time: its figures are of the time until then.", run.meta.variant)
        });
        (complete < self.planned).then(|| {
            let stopped = stopped.unwrap_or_default();
            format!("Interrupted: {complete} of {} runs are complete.{stopped}", self.planned)
        })
    }
}

impl SubflowSample {
    /// That of a subflow which is gone: what it has done counts, and it holds nothing.
    pub(crate) fn without_gauges(self) -> Self {
        let Self { delivered, losses, retransmissions, reinjected, .. } = self;
        Self { delivered, losses, retransmissions, reinjected, ..Self::default() }
    }
}

impl LatencySample {
    /// The sample of these latencies, which are sorted on the way.
    pub fn of(latencies: &mut [Duration]) -> Self {
        latencies.sort_unstable();
        // The rank is rounded up, as in `Latency::percentile`.
        let percentile = |percent: usize| {
            let rank = (latencies.len() * percent).div_ceil(100);
            rank.checked_sub(1).and_then(|index| latencies.get(index).copied())
        };
        Self { ended: latencies.len() as u64, p50: percentile(50), p99: percentile(99), max: latencies.last().copied() }
    }
}

impl RunRecord {
    /// The kinds of connections, sorted.
    pub fn kinds(&self) -> BTreeSet<&str> {
        self.connections.iter().map(|connection| connection.kind.as_str()).collect()
    }

    /// The connections of which there are samples of all their time.
    pub fn with_series(&self) -> impl Iterator<Item = &ConnectionRecord> {
        self.connections.iter().filter(|connection| connection.has_series)
    }

    /// What to say if not all connections have series.
    pub fn series_note(&self) -> Option<String> {
        let (shown, all) = (self.with_series().count(), self.connections.len());
        (0 < shown && shown < all).then(|| {
            format!("Series and plots show the first {shown} of {all} connections; the tables count all of them.")
        })
    }

    /// What people are told of connections that failed: a line for each of the first ones, and how many there are beyond.
    pub fn failure_lines(&self) -> Vec<String> {
        const SHOWN: usize = 10;
        let shown = self.failed.iter().take(SHOWN);
        let mut lines: Vec<String> = shown.map(|failed| format!("{}: {}", failed.name, failed.reason)).collect();
        if let Some(more @ 1..) = self.failed.len().checked_sub(SHOWN) {
            lines.push(format!("and {more} more"));
        }
        lines
    }

    /// Whether all expectations came true.
    pub fn passed(&self) -> bool {
        self.expectations.iter().all(|expectation| expectation.passed)
    }
}

impl LinkRecord {
    /// Records one sample, with what has been dropped until then.
    pub fn push<'a>(&mut self, sample: LinkSample, drops: impl IntoIterator<Item = (&'a str, u64)>) {
        let index = self.samples.first + self.samples.values.len();
        self.samples.push(sample);
        for (reason, count) in drops {
            match self.drops.get_mut(reason) {
                Some(samples) => samples.push(count),
                // A reason that never happens needs no samples.
                None if count == 0 => {}
                None => {
                    let samples = Samples { first: index, values: vec![count] };
                    self.drops.insert(reason.to_owned(), samples);
                }
            }
        }
    }

    /// Bits per second that it could carry from the sample before `index` to that with `index`.
    pub fn capacity(&self, clock: &SampleClock, index: usize) -> Option<u64> {
        self.samples.get(index)?.capacity?;
        let bits = u128::from(self.samples.growth(index, |sample| sample.capacity.unwrap_or(0)));
        let rate = (bits * 1_000_000_000).checked_div(u128::from(clock.step(index)))?;
        Some(u64::try_from(rate).unwrap_or(u64::MAX))
    }

    /// Packets dropped until sample `index`.
    pub fn dropped(&self, index: usize) -> u64 {
        self.drops.values().map(|samples| samples.get(index).copied().unwrap_or(0)).sum()
    }

    /// Whether every packet is accounted for at the end: what entered and the copies of it were delivered, dropped, or
    /// are still on the way.
    pub fn is_balanced(&self) -> bool {
        let Some(last) = self.samples.last() else { return true };
        let index = self.samples.first + self.samples.values.len() - 1;
        last.offered + last.duplicated == last.delivered + self.dropped(index) + last.in_flight
    }
}

impl PublishedFigure {
    /// The figure found here as a fraction of the published one; says nothing of two differences.
    pub fn ratio(&self) -> Option<f64> {
        if self.unit == Unit::Difference {
            return None;
        }
        self.simulated.map(|simulated| simulated / self.published).filter(|ratio| ratio.is_finite())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_of_an_interval_are_those_of_its_latencies() {
        let sample = |millis: &[u64]| {
            let mut latencies: Vec<Duration> = millis.iter().copied().map(Duration::from_millis).collect();
            let LatencySample { ended, p50, p99, max } = LatencySample::of(&mut latencies);
            (ended, [p50, p99, max].map(|latency| latency.map(|latency| latency.as_millis())))
        };
        assert_eq!(sample(&[]), (0, [None; 3]));
        assert_eq!(sample(&[7]), (1, [Some(7); 3]));
        assert_eq!(sample(&[9, 1, 4, 2]), (4, [Some(2), Some(9), Some(9)]));
        let many: Vec<u64> = (1..=200).rev().collect();
        assert_eq!(sample(&many), (200, [Some(100), Some(198), Some(200)]));
    }

    #[test]
    fn a_link_accounts_for_every_packet() {
        let mut link =
            LinkRecord { name: "p1 up".into(), samples: Samples::default(), longest_queue: 0, drops: BTreeMap::new() };
        link.push(LinkSample::default(), [("loss", 0)]);
        assert!(link.drops.is_empty());
        link.push(
            LinkSample { offered: 10, duplicated: 1, delivered: 6, in_flight: 2, ..Default::default() },
            [("loss", 2), ("queue full", 1)],
        );
        assert_eq!(link.dropped(0), 0);
        assert_eq!(link.dropped(1), 3);
        assert!(link.is_balanced());
        link.samples.values[1].delivered = 7;
        assert!(!link.is_balanced());
    }
}
