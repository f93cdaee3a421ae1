//! The connections that carry the payload of a test, each with a thread of its own.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::control::processor_seconds;
use super::messages::{Results, StreamResults, stream_id};
use crate::network::{Stream, StreamReport};

/// All payload of a test.
pub(super) struct Streams {
    streams: Vec<Payload>,
    shared: Arc<Shared>,
    started: Instant,
    processor_at_start: (f64, f64),
}

struct Payload {
    stream: Arc<Stream>,
    sends: bool,
    bytes: Arc<AtomicU64>,
    thread: JoinHandle<io::Result<()>>,
}

#[derive(Default)]
struct Shared {
    /// Set when the test is over: what fails from then on fails because it is.
    over: AtomicBool,
    /// Bytes that senders have claimed of the limit.
    claimed: AtomicU64,
}

impl Streams {
    /// Starts sending on the streams with `true`, receiving on the others.
    ///
    /// Senders write blocks of `block` bytes until the test is over, or `limit` bytes in all are sent.
    pub(super) fn start(streams: Vec<(Stream, bool)>, block: usize, limit: Option<u64>) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let start_one = |(stream, sends): (Stream, bool)| {
            let (stream, bytes) = (Arc::new(stream), Arc::new(AtomicU64::new(0)));
            let (used, count, shared) = (Arc::clone(&stream), Arc::clone(&bytes), Arc::clone(&shared));
            let run = move || {
                let result =
                    if sends { send(&used, block, limit, &count, &shared) } else { receive(&used, &count, &shared) };
                if shared.over.load(Ordering::Acquire) { Ok(()) } else { result }
            };
            let thread = std::thread::Builder::new().name("mptcp-payload".to_owned()).spawn(run)?;
            Ok(Payload { stream, sends, bytes, thread })
        };
        let streams = streams.into_iter().map(start_one).collect::<io::Result<_>>()?;
        Ok(Self { streams, shared, started: Instant::now(), processor_at_start: processor_seconds() })
    }

    /// Payload bytes sent and received so far.
    pub(super) fn counts(&self) -> (u64, u64) {
        let count = |sends: bool| {
            let of_direction = self.streams.iter().filter(|stream| stream.sends == sends);
            of_direction.map(|stream| stream.bytes.load(Ordering::Relaxed)).sum()
        };
        (count(true), count(false))
    }

    /// Whether all threads that send are still running, and whether all that receive are.
    pub(super) fn running(&self) -> (bool, bool) {
        let all = |sends: bool| {
            let mut of_direction = self.streams.iter().filter(|stream| stream.sends == sends);
            of_direction.all(|stream| !stream.thread.is_finished())
        };
        (all(true), all(false))
    }

    /// The subflows of all streams.
    pub(super) fn report(&self) -> StreamReport {
        let mut reports = self.streams.iter().map(|stream| stream.stream.report());
        let mut all = reports.next().unwrap_or_default();
        for report in reports {
            all.fallback = all.fallback.or(report.fallback);
            all.subflows.extend(report.subflows);
        }
        all
    }

    /// Declares the test over: senders stop, and errors no longer count.
    pub(super) fn stop(&self) {
        self.shared.over.store(true, Ordering::Release);
    }

    /// What was measured; the test lasted until now.
    pub(super) fn results(&self) -> Results {
        let elapsed = self.started.elapsed();
        let seconds = elapsed.as_secs_f64().max(f64::MIN_POSITIVE);
        let (user, system) = processor_seconds();
        let percent = |now: f64, before: f64| (now - before).max(0.0) * 100.0 / seconds;
        let user = percent(user, self.processor_at_start.0);
        let system = percent(system, self.processor_at_start.1);
        let streams = self.streams.iter().enumerate().map(|(index, stream)| stream.results(index, elapsed)).collect();
        Results {
            cpu_util_total: user + system,
            cpu_util_user: user,
            cpu_util_system: system,
            sender_has_retransmits: if self.streams.iter().any(|stream| stream.sends) { 0 } else { -1 },
            streams,
        }
    }

    /// Ends every connection and waits for its thread.
    ///
    /// # Errors
    /// The first failure of a stream from before the test was over.
    pub(super) fn finish(self) -> io::Result<()> {
        let mut result = Ok(());
        for Payload { stream, thread, .. } in self.streams {
            // The peer may have closed before us.
            let _ = stream.shutdown(Shutdown::Both);
            let end = thread.join().map_err(|_| io::Error::other("a worker thread has failed"));
            result = result.and(end.flatten());
        }
        result
    }
}

impl Payload {
    fn results(&self, index: usize, elapsed: Duration) -> StreamResults {
        StreamResults {
            id: stream_id(index),
            bytes: i64::try_from(self.bytes.load(Ordering::Relaxed)).unwrap_or(i64::MAX),
            retransmits: -1,
            jitter: 0.0,
            errors: 0,
            packets: 0,
            start_time: 0.0,
            end_time: elapsed.as_secs_f64(),
        }
    }
}

fn send(mut stream: &Stream, block: usize, limit: Option<u64>, count: &AtomicU64, shared: &Shared) -> io::Result<()> {
    let block = vec![0x69; block];
    while !shared.over.load(Ordering::Acquire) {
        let claimed = shared.claimed.fetch_add(block.len() as u64, Ordering::Relaxed);
        let left = limit.map_or(u64::MAX, |limit| limit.saturating_sub(claimed));
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(block.len());
        if len == 0 {
            break;
        }
        let mut rest = &block[..len];
        while !rest.is_empty() {
            let written = stream.write(rest)?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            count.fetch_add(written as u64, Ordering::Relaxed);
            rest = &rest[written..];
        }
    }
    Ok(())
}

fn receive(mut stream: &Stream, count: &AtomicU64, shared: &Shared) -> io::Result<()> {
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let len = stream.read(&mut buffer)?;
        if len == 0 {
            return Ok(());
        }
        // Draining goes on after the end, so that the sender is never stuck, but no longer counts.
        if !shared.over.load(Ordering::Acquire) {
            count.fetch_add(len as u64, Ordering::Relaxed);
        }
    }
}
