//! Requests and responses: how long each takes.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::network::Stream;

/// What a request test has measured. Times in microseconds.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Latency {
    requests: u64,
    seconds: f64,
    requests_per_second: f64,
    min_us: f64,
    mean_us: f64,
    p50_us: f64,
    p90_us: f64,
    p99_us: f64,
    p999_us: f64,
    max_us: f64,
}

/// Significant decimal digits of a recorded latency.
const DIGITS: u8 = 3;

/// Longest latency that is told from longer ones, two minutes: a peer that takes longer is as good as gone.
const LONGEST_NANOS: u64 = 120_000_000_000;

/// Sends requests of `size` bytes for `time`, `depth` of them under way at once.
pub(super) fn run(stream: &Arc<Stream>, time: Duration, size: u64, depth: u32) -> io::Result<Latency> {
    let mut histogram = Histogram::new_with_max(LONGEST_NANOS, DIGITS).map_err(io::Error::other)?;
    let started = Instant::now();
    let request = vec![0x72; usize::try_from(size).map_err(|_| io::ErrorKind::InvalidInput)?];
    if depth == 1 {
        one_by_one(stream, &request, started + time, &mut histogram)?;
    } else {
        let (start, starts) = channel();
        let (permit, permits) = channel();
        for _ in 0..depth {
            // Cannot fail: the other end is still here.
            let _ = permit.send(());
        }
        let (sending, len) = (Arc::clone(stream), request.len());
        let thread = std::thread::Builder::new()
            .name("mptcp-requests".to_owned())
            .spawn(move || send_requests(&sending, &request, started + time, &permits, &start))?;
        let received = receive_responses(stream, len, &starts, permit, &mut histogram);
        thread.join().map_err(|_| io::Error::other("a worker thread has failed"))??;
        received?;
    }
    Ok(Latency::of(&histogram, started.elapsed()))
}

/// The server's side: returns every request as its response until the client closes.
pub(super) fn echo(mut stream: &Stream, size: u64) -> io::Result<()> {
    let mut request = vec![0; usize::try_from(size).map_err(|_| io::ErrorKind::InvalidInput)?];
    loop {
        match stream.read_exact(&mut request) {
            Ok(()) => stream.write_all(&request)?,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

fn one_by_one(mut stream: &Stream, request: &[u8], until: Instant, histogram: &mut Histogram<u64>) -> io::Result<()> {
    let mut response = vec![0; request.len()];
    loop {
        let start = Instant::now();
        if start >= until {
            return stream.shutdown(Shutdown::Write);
        }
        stream.write_all(request)?;
        stream.read_exact(&mut response)?;
        record(histogram, start);
    }
}

fn send_requests(
    mut stream: &Stream,
    request: &[u8],
    until: Instant,
    permits: &Receiver<()>,
    start: &Sender<Instant>,
) -> io::Result<()> {
    // No more permits come, and nobody wants to know of a start, only if receiving has failed, which says why.
    while permits.recv().is_ok() {
        let now = Instant::now();
        if now >= until {
            break;
        }
        if start.send(now).is_err() {
            return Ok(());
        }
        stream.write_all(request)?;
    }
    stream.shutdown(Shutdown::Write)
}

fn receive_responses(
    mut stream: &Stream,
    size: usize,
    starts: &Receiver<Instant>,
    permit: Sender<()>,
    histogram: &mut Histogram<u64>,
) -> io::Result<()> {
    let mut response = vec![0; size];
    while let Ok(start) = starts.recv() {
        stream.read_exact(&mut response)?;
        record(histogram, start);
        // Sending may be over, and then takes no more permits.
        let _ = permit.send(());
    }
    Ok(())
}

fn record(histogram: &mut Histogram<u64>, start: Instant) {
    histogram.saturating_record(u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX));
}

impl Latency {
    fn of(histogram: &Histogram<u64>, elapsed: Duration) -> Self {
        let quantile = |q| histogram.value_at_quantile(q) as f64 / 1000.0;
        let seconds = elapsed.as_secs_f64();
        Self {
            requests: histogram.len(),
            seconds,
            requests_per_second: histogram.len() as f64 / seconds,
            min_us: histogram.min() as f64 / 1000.0,
            mean_us: histogram.mean() / 1000.0,
            p50_us: quantile(0.5),
            p90_us: quantile(0.9),
            p99_us: quantile(0.99),
            p999_us: quantile(0.999),
            max_us: histogram.max() as f64 / 1000.0,
        }
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} requests in {:.2} s: {:.0} per second", self.requests, self.seconds, self.requests_per_second)?;
        write!(
            f,
            "latency in us: min {:.1}, mean {:.1}, p50 {:.1}, p90 {:.1}, p99 {:.1}, p99.9 {:.1}, max {:.1}",
            self.min_us, self.mean_us, self.p50_us, self.p90_us, self.p99_us, self.p999_us, self.max_us
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_come_from_all_requests() {
        let mut histogram = Histogram::new_with_max(LONGEST_NANOS, DIGITS).unwrap();
        for micros in 1..=1000_u64 {
            histogram.record(micros * 1000).unwrap();
        }
        let latency = Latency::of(&histogram, Duration::from_secs(2));
        assert_eq!(latency.requests, 1000);
        assert!((latency.requests_per_second - 500.0).abs() < 1e-9);
        for (measured, expected) in [(latency.p50_us, 500.0), (latency.p99_us, 990.0), (latency.p999_us, 999.0)] {
            assert!((measured - expected).abs() / expected < 0.002, "{measured} is not about {expected}");
        }
    }
}
