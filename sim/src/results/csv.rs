//! Tables of all samples, tidy: one row per thing and time, one column per quantity.
//!
//! Times are in seconds with nanoseconds, round-trip times and latencies over time in milliseconds, rates in bits per second
//! over the interval that ends with the row. What is not known is empty.

use std::fmt::Write as _;
use std::time::Duration;

use super::latency::Latency;
use super::record::{ConnectionRecord, RunRecord};
use super::samples::Samples;
use super::sweep::SweepRecord;
use super::unit::{decimal, fixed};

/// All tables of a run: the name of the file, and what is in it.
pub fn tables(record: &RunRecord) -> [(&'static str, String); 6] {
    [
        ("connections.csv", connections(record)),
        ("subflows.csv", subflows(record)),
        ("links.csv", links(record)),
        ("drops.csv", drops(record)),
        ("latency.csv", latency(&record.latencies)),
        ("latency-over-time.csv", latency_over_time(record)),
    ]
}

/// Samples of the connections.
pub fn connections(record: &RunRecord) -> String {
    let mut text = "time_s,connection,kind,goodput_bps,delivered_bytes,reorder_bytes,window_bytes\n".to_owned();
    for connection in &record.connections {
        let (name, kind) = (field(&connection.name), field(&connection.kind));
        for (index, sample) in connection.samples.iter() {
            let goodput = goodput(record, connection, &connection.samples, index, |sample| sample.delivered);
            let (time, delivered, reorder, window) =
                (time(record, index), sample.delivered, sample.reorder, sample.window);
            let _ = writeln!(text, "{time},{name},{kind},{goodput},{delivered},{reorder},{window}");
        }
    }
    text
}

/// Bits per second since the sample before. Of a connection without series there is only the last sample, which says nothing of that.
fn goodput<T>(
    record: &RunRecord,
    connection: &ConnectionRecord,
    samples: &Samples<T>,
    index: usize,
    delivered: impl Fn(&T) -> u64,
) -> String {
    match connection.has_series {
        true => samples.bit_rate(&record.clock, index, delivered).to_string(),
        false => String::new(),
    }
}

/// Samples of the subflows.
pub fn subflows(record: &RunRecord) -> String {
    let mut text = "time_s,connection,subflow,path,goodput_bps,delivered_bytes,cwnd_bytes,srtt_ms,in_flight_bytes,\
                    queued_bytes,losses,retransmissions,reinjected_bytes,out_of_order_bytes\n"
        .to_owned();
    for connection in &record.connections {
        for subflow in &connection.subflows {
            let names = [&connection.name, &subflow.name, &subflow.path].map(|name| field(name)).join(",");
            for (index, sample) in subflow.samples.iter() {
                let goodput = goodput(record, connection, &subflow.samples, index, |sample| sample.delivered);
                let cwnd = sample.cwnd.map(|cwnd| cwnd.to_string()).unwrap_or_default();
                let losses = sample.losses.map(|losses| losses.to_string()).unwrap_or_default();
                let srtt = milliseconds(sample.srtt);
                let _ = writeln!(
                    text,
                    "{},{names},{goodput},{},{cwnd},{srtt},{},{},{},{},{},{}",
                    time(record, index),
                    sample.delivered,
                    sample.in_flight,
                    sample.queued,
                    losses,
                    sample.retransmissions,
                    sample.reinjected,
                    sample.out_of_order
                );
            }
        }
    }
    text
}

/// Samples of the links.
pub fn links(record: &RunRecord) -> String {
    let mut text =
        "time_s,link,throughput_bps,capacity_bps,offered,delivered,delivered_bytes,duplicated,dropped,in_flight,\
                    queue_packets,queue_bytes\n"
            .to_owned();
    for link in &record.links {
        let name = field(&link.name);
        for (index, sample) in link.samples.iter() {
            let throughput = link.samples.bit_rate(&record.clock, index, |sample| sample.delivered_bytes);
            let rate = link.capacity(&record.clock, index).map(|rate| rate.to_string()).unwrap_or_default();
            let _ = writeln!(
                text,
                "{},{name},{throughput},{rate},{},{},{},{},{},{},{},{}",
                time(record, index),
                sample.offered,
                sample.delivered,
                sample.delivered_bytes,
                sample.duplicated,
                link.dropped(index),
                sample.in_flight,
                sample.queue_packets,
                sample.queue_bytes
            );
        }
    }
    text
}

/// Packets dropped so far, by reason. A reason begins with its first drop.
pub fn drops(record: &RunRecord) -> String {
    let mut text = "time_s,link,reason,dropped\n".to_owned();
    for link in &record.links {
        for (reason, samples) in &link.drops {
            for (index, count) in samples.iter() {
                let _ = writeln!(text, "{},{},{},{count}", time(record, index), field(&link.name), field(reason));
            }
        }
    }
    text
}

/// Cumulative distributions of latencies.
pub fn latency(latencies: &[Latency]) -> String {
    let mut text = "latency,seconds,fraction\n".to_owned();
    for latency in latencies {
        for point in latency.cdf() {
            let _ = writeln!(text, "{},{},{}", field(&latency.name), fixed(point.seconds, 9), fixed(point.fraction, 9));
        }
    }
    text
}

/// How many requests, messages or commands of a traffic have ended in the interval that ends with the row, and how long they took: the least
/// latencies that 50 % and 99 % of them do not exceed, and the largest one, empty where nothing has ended. The warm-up is there too.
pub fn latency_over_time(record: &RunRecord) -> String {
    let mut text = "time_s,latency,ended,p50_ms,p99_ms,max_ms\n".to_owned();
    for latency in &record.latency_series {
        let name = field(&latency.name);
        for (index, sample) in latency.samples.iter() {
            let [p50, p99, max] = [sample.p50, sample.p99, sample.max].map(milliseconds);
            let _ = writeln!(text, "{},{name},{},{p50},{p99},{max}", time(record, index), sample.ended);
        }
    }
    text
}

/// All runs of a sweep, one row each: its parameters, its seed, its metrics, and how many expectations failed.
pub fn points(sweep: &SweepRecord) -> String {
    let axes = sweep.axes.iter().map(|axis| field(&axis.name));
    let metrics = sweep.metrics.iter().map(|metric| field(&metric.name));
    let names: Vec<_> = axes.chain(["seed".to_owned()]).chain(metrics).chain(["failures".to_owned()]).collect();
    let mut text = names.join(",") + "\n";
    for point in sweep.sorted_points() {
        for (axis, index) in sweep.axes.iter().zip(&point.position) {
            let _ = write!(text, "{},", axis.values.get(*index).map(|value| field(value)).unwrap_or_default());
        }
        let _ = write!(text, "{}", point.seed);
        for value in &point.metrics {
            let _ = write!(text, ",{}", value.map(|value| fixed(value, 9)).unwrap_or_default());
        }
        let _ = writeln!(text, ",{}", point.failures.len());
    }
    text
}

fn time(record: &RunRecord, index: usize) -> String {
    decimal(record.clock.time(index).as_nanos(), 9)
}

/// Milliseconds with nanoseconds; nothing of what is not known.
fn milliseconds(duration: Option<Duration>) -> String {
    duration.map(|duration| decimal(duration.as_nanos() as u64, 6)).unwrap_or_default()
}

/// A field as RFC 4180 wants it.
fn field(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::fixture;

    #[test]
    fn subflows_have_rates_and_leave_out_what_is_not_known() {
        let report = fixture::report();
        let text = subflows(&report.runs[1]);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[1], "0.000000000,bulk,1,p1,0,0,14480,,0,0,0,0,0,0");
        assert_eq!(lines[2], "1.000000000,bulk,1,p1,4000000,500000,28960,10.000000,14480,1448,1,1,0,2896");
        let columns = lines[0].split(',').count();
        assert!(lines.iter().all(|line| line.split(',').count() == columns));
    }

    #[test]
    fn a_reason_begins_with_its_first_drop() {
        let report = fixture::report();
        assert_eq!(
            drops(&report.runs[0]),
            "time_s,link,reason,dropped\n2.000000000,p1 up,queue full,1\n3.000000000,p1 up,queue full,3\n\
             4.000000000,p1 up,queue full,5\n"
        );
    }

    #[test]
    fn latencies_are_empty_where_nothing_has_ended() {
        let report = fixture::report();
        assert_eq!(
            latency_over_time(&report.runs[0]),
            "time_s,latency,ended,p50_ms,p99_ms,max_ms\n0.000000000,request,0,,,\n\
             1.000000000,request,100,1.000000,2.000000,30.000000\n2.000000000,request,0,,,\n\
             3.000000000,request,300,3.000000,6.000000,90.000000\n4.000000000,request,400,4.000000,8.000000,120.000000\n"
        );
        assert!(tables(&report.runs[0]).iter().any(|(name, _)| *name == "latency-over-time.csv"));
    }

    #[test]
    fn points_of_a_sweep_are_sorted() {
        let text = points(&fixture::sweep());
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "rate,delay,loss,seed,goodput,p99,failures");
        assert_eq!(lines[1], "10Mbit,5ms,random,1,9000000.000000000,0.011111111,0");
        assert_eq!(lines[19], "100Mbit,50ms,random,1,36000000.000000000,,0");
        assert_eq!(lines.len(), 22);
    }

    #[test]
    fn awkward_names_are_quoted() {
        assert_eq!(field("a,b"), "\"a,b\"");
        assert_eq!(field("say \"hi\""), "\"say \"\"hi\"\"\"");
        assert_eq!(field("plain"), "plain");
    }
}
