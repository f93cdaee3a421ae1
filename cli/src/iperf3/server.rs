//! The server's side of iperf3 tests, one at a time.

use std::io::{self, Read, Write};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::control::{Cookie, NOT_IMPLEMENTED, State, expect_state, read_json, read_state, write_json, write_state};
use super::messages::{Parameters, Results};
use super::streams::Streams;
use crate::failure::{Failure, plain};
use crate::human::{bytes, rate};
use crate::network::{Listener, Stream};
use crate::perf::Meter;
use crate::say;

/// How long a client may take for its next step outside the test proper.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long bytes that are under way at the end may take.
const GRACE: Duration = Duration::from_secs(2);

/// How often to look whether an interval is over.
const TICK: Duration = Duration::from_millis(20);

/// The test that new connections may belong to: its cookie, and where they go.
type Current = Arc<Mutex<Option<(Cookie, Sender<Stream>)>>>;

/// Serves tests one after the other, until interrupted or, with `one_off`, only one.
pub(crate) fn serve(listener: &Listener, one_off: bool, json: bool) -> Result<(), Failure> {
    let current = Current::default();
    let (done, ends) = mpsc::channel();
    loop {
        let wait = one_off.then_some(TICK);
        match listener.accept(wait) {
            Ok(stream) => {
                if let Err(error) = admit(stream, &current, &done, json) {
                    say(&format!("a connection was dropped: {}", plain(&error)));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {}
            Err(error) => return Err(Failure::io("cannot accept a connection", &error)),
        }
        if one_off && let Ok(result) = ends.try_recv() {
            return result.map_err(|error: io::Error| Failure::io("the test failed", &error));
        }
    }
}

/// Reads the cookie of a new connection and makes it a stream of the current test, the control connection of a
/// new one, or tells it that we are busy.
fn admit(stream: Stream, current: &Current, done: &Sender<io::Result<()>>, json: bool) -> io::Result<()> {
    let mut cookie: Cookie = [0; 37];
    stream.set_read_timeout(Some(PATIENCE))?;
    (&stream).read_exact(&mut cookie)?;
    let mut test = current.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((known, streams)) = &*test {
        if *known != cookie {
            return write_state(&stream, State::AccessDenied);
        }
        stream.set_read_timeout(None)?;
        return streams.send(stream).map_err(|_| io::Error::other("it belongs to a test that has ended"));
    }
    let (to_test, streams) = mpsc::channel();
    *test = Some((cookie, to_test));
    let (current, done) = (Arc::clone(current), done.clone());
    let run = move || {
        let result = session(&stream, &streams, json);
        if let Err(error) = &result {
            stream.abort();
            say(&format!("a test failed: {}", plain(error)));
        }
        *current.lock().unwrap_or_else(PoisonError::into_inner) = None;
        // Only `--one-off` waits for the end.
        let _ = done.send(result);
    };
    std::thread::Builder::new().name("mptcp-iperf3".to_owned()).spawn(run).map(drop)
}

fn session(control: &Stream, incoming: &Receiver<Stream>, json: bool) -> io::Result<()> {
    let peer = control.peer_addr()?;
    write_state(control, State::ParamExchange)?;
    let parameters: Parameters = read_json(control)?;
    if let Some(reason) = parameters.refusal() {
        write_state(control, State::ServerError)?;
        let (mut to, no_errno) = (control, 0_u32);
        to.write_all(&NOT_IMPLEMENTED.to_be_bytes())?;
        to.write_all(&no_errno.to_be_bytes())?;
        return Err(io::Error::other(format!("refused a test of {peer}: {reason}")));
    }
    write_state(control, State::CreateStreams)?;
    let direction = parameters.direction();
    let mut streams = Vec::new();
    // The first streams of a client that sends and receives are those that it sends on.
    for sends in [direction.uploads().then_some(false), direction.downloads().then_some(true)].into_iter().flatten() {
        for _ in 0..parameters.parallel() {
            let stream = incoming.recv_timeout(PATIENCE).map_err(|_| io::ErrorKind::TimedOut)?;
            streams.push((stream, sends));
        }
    }
    write_state(control, State::TestStart)?;
    write_state(control, State::TestRunning)?;
    control.set_read_timeout(None)?;
    let streams = Streams::start(streams, parameters.block(), None)?;
    let mut meter = Meter::start(streams.report(), !json);
    wait_for_end(control, &streams, &mut meter)?;
    if direction.uploads() {
        wait_for_bytes(&streams, parameters.bytes());
    }
    streams.stop();
    let (sent, received) = streams.counts();
    meter.tick(sent, received, streams.report(), true);

    let local = streams.results();
    let connection = meter.finish().0;
    streams.finish()?;
    control.set_read_timeout(Some(PATIENCE))?;
    write_state(control, State::ExchangeResults)?;
    let client: Results = read_json(control)?;
    write_json(control, &local)?;
    write_state(control, State::DisplayResults)?;
    expect_state(control, State::Done)?;
    if json {
        let line = serde_json::json!({
            "test": "iperf3", "peer": peer, "direction": direction, "server": local, "client": client,
            "connection": connection,
        });
        say(&line.to_string());
    } else {
        let time = Duration::try_from_secs_f64(local.streams.first().map_or(0.0, |s| s.end_time)).unwrap_or_default();
        say(&format!(
            "{peer}: received {} ({}), sent {} ({})",
            bytes(received),
            rate(received, time),
            bytes(sent),
            rate(sent, time)
        ));
    }
    Ok(())
}

/// Waits, for a moment, for what the client has sent before it said that the test is over: of a test that is a number of
/// bytes, all of them should be counted. Of one that is a time, what comes later is late.
fn wait_for_bytes(streams: &Streams, bytes: Option<u64>) {
    let started = Instant::now();
    while bytes.is_some_and(|bytes| streams.counts().1 < bytes) && started.elapsed() < GRACE {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Waits until the client says that the test is over, taking stock meanwhile.
fn wait_for_end(control: &Stream, streams: &Streams, meter: &mut Meter) -> io::Result<()> {
    std::thread::scope(|scope| {
        let (tell, told) = mpsc::channel();
        scope.spawn(move || {
            // The other end waits until this is sent.
            let _ = tell.send(read_state(control));
        });
        loop {
            match told.recv_timeout(TICK) {
                Ok(Ok(State::TestEnd)) => return Ok(()),
                Ok(Ok(State::ClientTerminate)) => return Err(io::Error::other("the client gave up")),
                Ok(Ok(_)) => return Err(io::Error::other("the client is out of step")),
                Ok(Err(error)) => return Err(error),
                Err(RecvTimeoutError::Timeout) => {
                    let (sent, received) = streams.counts();
                    meter.tick(sent, received, streams.report(), false);
                }
                Err(RecvTimeoutError::Disconnected) => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
    })
}
