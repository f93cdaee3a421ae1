//! Samples of a run as tables, tidy: one row per thing and time, one column per quantity.
//!
//! Times are in seconds with nanoseconds, round-trip times and latencies over time in milliseconds, rates in bits per second
//! over the interval that ends with the row. What is not known has no value.

use std::time::Duration;

use super::record::{ConnectionRecord, RunRecord};
use super::samples::Samples;
use super::unit::{decimal, fixed};

/// A kind of table, of which every run has one.
#[derive(Clone, Copy, Debug)]
pub struct Series {
    /// Its name, which is that of its file.
    pub name: &'static str,
    /// The names of its columns; units follow an underscore.
    pub columns: &'static [&'static str],
    rows: fn(&RunRecord, Show<'_>),
}

/// Takes a row.
type Show<'a> = &'a mut dyn FnMut(&[Datum<'_>]);

/// What a row says in a column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Datum<'a> {
    /// A name.
    Text(&'a str),
    /// Bytes, pieces, or bits per second.
    Count(u64),
    /// Nanoseconds, to be shown as seconds.
    Seconds(u64),
    /// Nanoseconds, to be shown as milliseconds.
    Milliseconds(u64),
    /// A number that is no count, to be shown with nine decimals.
    Real(f64),
    /// Nobody knows.
    Unknown,
}

/// All tables of a run.
pub const SERIES: [Series; 6] = [
    Series {
        name: "connections",
        columns: &["time_s", "connection", "kind", "goodput_bps", "delivered_bytes", "reorder_bytes", "window_bytes"],
        rows: connections,
    },
    Series {
        name: "subflows",
        columns: &[
            "time_s",
            "connection",
            "subflow",
            "path",
            "goodput_bps",
            "delivered_bytes",
            "cwnd_bytes",
            "srtt_ms",
            "in_flight_bytes",
            "queued_bytes",
            "losses",
            "retransmissions",
            "reinjected_bytes",
            "out_of_order_bytes",
        ],
        rows: subflows,
    },
    Series {
        name: "links",
        columns: &[
            "time_s",
            "link",
            "throughput_bps",
            "capacity_bps",
            "offered",
            "delivered",
            "delivered_bytes",
            "duplicated",
            "dropped",
            "in_flight",
            "queue_packets",
            "queue_bytes",
        ],
        rows: links,
    },
    Series { name: "drops", columns: &["time_s", "link", "reason", "dropped"], rows: drops },
    Series { name: "latency", columns: &["latency", "seconds", "fraction"], rows: latency },
    Series {
        name: "latency-over-time",
        columns: &["time_s", "latency", "ended", "p50_ms", "p99_ms", "max_ms"],
        rows: latency_over_time,
    },
];

impl Series {
    /// Shows the rows of a run, in order; each has a datum for each column.
    pub fn for_each_row(&self, record: &RunRecord, mut show: impl FnMut(&[Datum<'_>])) {
        (self.rows)(record, &mut |row| {
            debug_assert_eq!(row.len(), self.columns.len(), "{}", self.name);
            show(row);
        });
    }
}

impl Datum<'_> {
    /// Its number, if it has one, in digits.
    pub(super) fn number(&self) -> Option<String> {
        match *self {
            Self::Count(count) => Some(count.to_string()),
            Self::Seconds(nanos) => Some(decimal(nanos, 9)),
            Self::Milliseconds(nanos) => Some(decimal(nanos, 6)),
            Self::Real(value) => Some(fixed(value, 9)),
            Self::Text(_) | Self::Unknown => None,
        }
    }
}

impl From<Option<u64>> for Datum<'_> {
    fn from(count: Option<u64>) -> Self {
        count.map_or(Self::Unknown, Self::Count)
    }
}

impl From<Option<Duration>> for Datum<'_> {
    fn from(duration: Option<Duration>) -> Self {
        duration.map_or(Self::Unknown, |duration| Self::Milliseconds(duration.as_nanos() as u64))
    }
}

/// Samples of the connections.
fn connections(record: &RunRecord, show: Show<'_>) {
    for connection in &record.connections {
        for (index, sample) in connection.samples.iter() {
            show(&[
                time(record, index),
                Datum::Text(&connection.name),
                Datum::Text(&connection.kind),
                goodput(record, connection, &connection.samples, index, |sample| sample.delivered),
                Datum::Count(sample.delivered),
                Datum::Count(sample.reorder),
                Datum::Count(sample.window),
            ]);
        }
    }
}

/// Bits per second since the sample before. Of a connection without series there is only the last sample, which says nothing of that.
fn goodput<T>(
    record: &RunRecord,
    connection: &ConnectionRecord,
    samples: &Samples<T>,
    index: usize,
    delivered: impl Fn(&T) -> u64,
) -> Datum<'static> {
    match connection.has_series {
        true => Datum::Count(samples.bit_rate(&record.clock, index, delivered)),
        false => Datum::Unknown,
    }
}

/// Samples of the subflows.
fn subflows(record: &RunRecord, show: Show<'_>) {
    for connection in &record.connections {
        for subflow in &connection.subflows {
            for (index, sample) in subflow.samples.iter() {
                show(&[
                    time(record, index),
                    Datum::Text(&connection.name),
                    Datum::Text(&subflow.name),
                    Datum::Text(&subflow.path),
                    goodput(record, connection, &subflow.samples, index, |sample| sample.delivered),
                    Datum::Count(sample.delivered),
                    sample.cwnd.into(),
                    sample.srtt.into(),
                    Datum::Count(sample.in_flight),
                    Datum::Count(sample.queued),
                    sample.losses.into(),
                    Datum::Count(sample.retransmissions),
                    Datum::Count(sample.reinjected),
                    Datum::Count(sample.out_of_order),
                ]);
            }
        }
    }
}

/// Samples of the links.
fn links(record: &RunRecord, show: Show<'_>) {
    for link in &record.links {
        for (index, sample) in link.samples.iter() {
            show(&[
                time(record, index),
                Datum::Text(&link.name),
                Datum::Count(link.samples.bit_rate(&record.clock, index, |sample| sample.delivered_bytes)),
                link.capacity(&record.clock, index).into(),
                Datum::Count(sample.offered),
                Datum::Count(sample.delivered),
                Datum::Count(sample.delivered_bytes),
                Datum::Count(sample.duplicated),
                Datum::Count(link.dropped(index)),
                Datum::Count(sample.in_flight),
                Datum::Count(sample.queue_packets),
                Datum::Count(sample.queue_bytes),
            ]);
        }
    }
}

/// Packets dropped so far, by reason. A reason begins with its first drop.
fn drops(record: &RunRecord, show: Show<'_>) {
    for link in &record.links {
        for (reason, samples) in &link.drops {
            for (index, count) in samples.iter() {
                show(&[time(record, index), Datum::Text(&link.name), Datum::Text(reason), Datum::Count(*count)]);
            }
        }
    }
}

/// Cumulative distributions of latencies.
fn latency(record: &RunRecord, show: Show<'_>) {
    for latency in &record.latencies {
        for point in latency.cdf() {
            show(&[Datum::Text(&latency.name), Datum::Real(point.seconds), Datum::Real(point.fraction)]);
        }
    }
}

/// How many requests, messages or commands of a traffic have ended in the interval that ends with the row, and how long they took: the least
/// latencies that 50 % and 99 % of them do not exceed, and the largest one, unknown where nothing has ended. The warm-up is there too.
fn latency_over_time(record: &RunRecord, show: Show<'_>) {
    for latency in &record.latency_series {
        for (index, sample) in latency.samples.iter() {
            let [p50, p99, max] = [sample.p50, sample.p99, sample.max].map(Datum::from);
            show(&[time(record, index), Datum::Text(&latency.name), Datum::Count(sample.ended), p50, p99, max]);
        }
    }
}

fn time(record: &RunRecord, index: usize) -> Datum<'static> {
    Datum::Seconds(record.clock.time(index).as_nanos())
}
