//! The client's side: runs a test and prints what came of it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::Serialize;

use super::bulk::Exchange;
use super::meter::{Interval, Meter};
use super::protocol::{Answer, Kind, Results, Test, VERSION, read_record, write_record};
use super::requests::{self, Latency};
use super::{Direction, Limit};
use crate::failure::Failure;
use crate::human::{bytes, rate};
use crate::network::{Network, Stream, StreamReport};
use crate::say;

/// How often to look whether an interval or the test is over.
const TICK: Duration = Duration::from_millis(20);

/// The line that `--json` prints after a throughput test.
#[derive(Serialize)]
struct BulkSummary {
    test: &'static str,
    direction: Direction,
    client: Results,
    server: Results,
    #[serde(flatten)]
    connection: StreamReport,
    intervals: Vec<Interval>,
}

/// The line that `--json` prints after a request test.
#[derive(Serialize)]
struct RequestSummary {
    test: &'static str,
    size: u64,
    depth: u32,
    #[serde(flatten)]
    latency: Latency,
    #[serde(flatten)]
    connection: StreamReport,
}

/// Measures throughput.
pub(super) fn bulk(
    network: &Network,
    remote: SocketAddr,
    direction: Direction,
    limit: Limit,
    json: bool,
) -> Result<(), Failure> {
    let stream = open(network, remote, Kind::Bulk { direction, limit })?;
    let failed = |error: io::Error| Failure::io("the test failed", &error);
    let mut meter = Meter::start(stream.report(), !json);
    let exchange =
        Exchange::start(&stream, direction.uploads().then_some(limit), direction.downloads()).map_err(failed)?;
    let tick = |meter: &mut Meter, last| {
        let counts = exchange.counts();
        let (sent, received) = (counts.sent.load(Ordering::Relaxed), counts.received.load(Ordering::Relaxed));
        meter.tick(sent, received, stream.report(), last);
    };
    while !exchange.is_finished() {
        std::thread::sleep(TICK);
        tick(&mut meter, false);
    }
    tick(&mut meter, true);
    let client = exchange.join().map_err(failed)?;
    let server: Results = read_record(&*stream).map_err(failed)?;
    meter.tick(client.sent, client.received, stream.report(), true);
    let (connection, intervals) = meter.finish();
    if json {
        return print_json(&BulkSummary { test: "bulk", direction, client, server, connection, intervals });
    }
    if direction.uploads() {
        say(&total("sent", server.received, server.receive_seconds));
    }
    if direction.downloads() {
        say(&total("received", client.received, client.receive_seconds));
    }
    print_paths(&connection);
    Ok(())
}

/// Measures the latency of requests.
pub(super) fn requests(
    network: &Network,
    remote: SocketAddr,
    time: Duration,
    size: u64,
    depth: u32,
    json: bool,
) -> Result<(), Failure> {
    let stream = open(network, remote, Kind::Requests { size })?;
    let latency = requests::run(&stream, time, size, depth).map_err(|error| Failure::io("the test failed", &error))?;
    let connection = stream.report();
    if json {
        return print_json(&RequestSummary { test: "rr", size, depth, latency, connection });
    }
    say(&latency.to_string());
    print_paths(&connection);
    Ok(())
}

fn open(network: &Network, remote: SocketAddr, kind: Kind) -> Result<Arc<Stream>, Failure> {
    let stream = Arc::new(network.connect(remote)?);
    Stream::abort_on_interrupt(&stream)?;
    let agree = || {
        write_record(&*stream, &Test { version: VERSION, kind })?;
        read_record::<Answer>(&*stream)
    };
    let answer = agree().map_err(|error| Failure::io(format_args!("cannot agree on a test with {remote}"), &error))?;
    match answer.refused {
        Some(reason) => Err(Failure::Runtime(format!("{remote} refused the test: {reason}"))),
        None => Ok(stream),
    }
}

fn total(verb: &str, count: u64, seconds: f64) -> String {
    let time = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    format!("{verb} {} in {seconds:.2} s: {}", bytes(count), rate(count, time))
}

fn print_paths(connection: &StreamReport) {
    if let Some(cause) = &connection.fallback {
        say(&format!("plain TCP: {cause}"));
    }
    for subflow in &connection.subflows {
        let (sent, received) = (bytes(subflow.sent), bytes(subflow.received));
        say(&format!("  {} -> {}: sent {sent}, received {received}", subflow.local, subflow.remote));
    }
}

fn print_json(summary: &impl Serialize) -> Result<(), Failure> {
    let line = serde_json::to_string(summary)
        .map_err(|error| Failure::Runtime(format!("cannot write the summary: {error}")))?;
    say(&line);
    Ok(())
}
