//! The client's side of an iperf3 test.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::control::{State, draw_cookie, expect_state, read_json, write_json, write_state};
use super::messages::{Parameters, Results};
use super::streams::Streams;
use crate::failure::Failure;
use crate::human::{bytes, rate};
use crate::interrupt::on_interrupt;
use crate::network::{Network, Stream};
use crate::perf::{Direction, Limit, Meter};
use crate::say;

/// How often to look whether an interval or the test is over.
const TICK: Duration = Duration::from_millis(20);

/// Runs a test against the iperf3 server at `remote`.
pub(crate) fn measure(
    network: &Network,
    remote: SocketAddr,
    direction: Direction,
    limit: Limit,
    json: bool,
) -> Result<(), Failure> {
    let cookie = draw_cookie().map_err(|error| Failure::io("cannot draw random numbers", &error))?;
    let failed = |error: io::Error| Failure::io(format_args!("the test with {remote} failed"), &error);
    let control = Arc::new(open(network, remote, &cookie)?);
    let interrupted = Arc::downgrade(&control);
    on_interrupt(move || {
        if let Some(control) = interrupted.upgrade() {
            // The control connection may be the very thing that is broken.
            let _ = write_state(&*control, State::ClientTerminate);
        }
    })?;

    let parameters = Parameters::new(direction, limit);
    let agree = || {
        expect_state(&control, State::ParamExchange)?;
        write_json(&*control, &parameters)?;
        expect_state(&control, State::CreateStreams)
    };
    agree().map_err(failed)?;
    let mut connections = Vec::new();
    // The server takes the first streams for those that it receives.
    for sends in [direction.uploads().then_some(true), direction.downloads().then_some(false)].into_iter().flatten() {
        connections.push((open(network, remote, &cookie)?, sends));
    }
    expect_state(&control, State::TestStart).map_err(failed)?;
    expect_state(&control, State::TestRunning).map_err(failed)?;

    let sender_limit = match limit {
        Limit::Bytes(bytes) => Some(bytes),
        Limit::Time(_) => None,
    };
    let streams = Streams::start(connections, parameters.block(), sender_limit).map_err(failed)?;
    let mut meter = Meter::start(streams.report(), !json);
    let in_time = run(&streams, direction, limit, &mut meter);
    streams.stop();
    let (sent, received) = streams.counts();
    meter.tick(sent, received, streams.report(), true);
    let local = streams.results();
    let settle = || {
        write_state(&*control, State::TestEnd)?;
        expect_state(&control, State::ExchangeResults)?;
        write_json(&*control, &local)?;
        let server: Results = read_json(&*control)?;
        expect_state(&control, State::DisplayResults)?;
        write_state(&*control, State::Done)?;
        Ok(server)
    };
    let server = settle().map_err(failed)?;
    streams.finish().map_err(failed)?;
    if !in_time {
        return Err(Failure::Runtime(format!("the test with {remote} failed: a stream ended before the test did")));
    }
    let (connection, intervals) = meter.finish();
    if json {
        let line = serde_json::json!({
            "test": "iperf3", "direction": direction, "client": local, "server": server,
            "connection": connection, "intervals": intervals,
        });
        say(&line.to_string());
    } else {
        print(&local, &server, direction);
    }
    Ok(())
}

fn open(network: &Network, remote: SocketAddr, cookie: &[u8]) -> Result<Stream, Failure> {
    let stream = network.connect(remote)?;
    let mut to = &stream;
    to.write_all(cookie).map_err(|error| Failure::io(format_args!("cannot talk to {remote}"), &error))?;
    Ok(stream)
}

/// Lets the test run to its limit; false if a stream ended before.
fn run(streams: &Streams, direction: Direction, limit: Limit, meter: &mut Meter) -> bool {
    let started = Instant::now();
    loop {
        std::thread::sleep(TICK);
        let (sent, received) = streams.counts();
        meter.tick(sent, received, streams.report(), false);
        let (sending, receiving) = streams.running();
        match limit {
            Limit::Time(time) if started.elapsed() >= time => return true,
            Limit::Bytes(bytes) => {
                let uploaded = !direction.uploads() || sent >= bytes;
                let downloaded = !direction.downloads() || received >= bytes;
                match (uploaded, downloaded) {
                    (true, true) => return true,
                    (false, _) if !sending => return false,
                    (_, false) if !receiving => return false,
                    _ => {}
                }
            }
            Limit::Time(_) => {
                if (direction.uploads() && !sending) || (direction.downloads() && !receiving) {
                    return false;
                }
            }
        }
    }
}

fn print(client: &Results, server: &Results, direction: Direction) {
    let line = |verb: &str, results: &Results, stream: usize| {
        if let Some(stream) = results.streams.get(stream) {
            let time = Duration::try_from_secs_f64(stream.end_time).unwrap_or_default();
            let count = u64::try_from(stream.bytes).unwrap_or(0);
            let (count, rate) = (bytes(count), rate(count, time));
            say(&format!("{verb} {count} in {:.2} s: {rate}", stream.end_time));
        }
    };
    if direction.uploads() {
        line("client sent", client, 0);
        line("server received", server, 0);
    }
    if direction.downloads() {
        let stream = usize::from(direction.uploads());
        line("server sent", server, stream);
        line("client received", client, stream);
    }
}
