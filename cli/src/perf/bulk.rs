//! The two directions of a throughput test, the same on both sides.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::Limit;
use super::protocol::{BLOCK, Results};
use crate::network::Stream;

/// Bytes so far, counted while a test runs.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Payload bytes handed to the stack.
    pub(super) sent: AtomicU64,
    /// Payload bytes received.
    pub(super) received: AtomicU64,
}

/// A throughput test under way.
pub(super) struct Exchange {
    sender: Option<JoinHandle<io::Result<Duration>>>,
    receiver: Option<JoinHandle<io::Result<Duration>>>,
    counts: Arc<Counts>,
}

impl Exchange {
    /// Starts sending up to `send`, if that is given, and receiving, if `receive`.
    pub(super) fn start(stream: &Arc<Stream>, send: Option<Limit>, receive: bool) -> io::Result<Self> {
        let counts = Arc::new(Counts::default());
        let spawn = |name: &str, work: fn(&Stream, &Counts, Option<Limit>) -> io::Result<Duration>, limit| {
            let (stream, counts) = (Arc::clone(stream), Arc::clone(&counts));
            std::thread::Builder::new().name(name.to_owned()).spawn(move || work(&stream, &counts, limit))
        };
        let sender = send.map(|limit| spawn("mptcp-send", send_blocks, Some(limit))).transpose()?;
        let receiver = receive.then(|| spawn("mptcp-receive", receive_blocks, None)).transpose()?;
        Ok(Self { sender, receiver, counts })
    }

    /// Bytes so far.
    pub(super) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Whether both directions are done, or have failed.
    pub(super) fn is_finished(&self) -> bool {
        [&self.sender, &self.receiver].into_iter().flatten().all(JoinHandle::is_finished)
    }

    /// Waits for the end of both directions.
    pub(super) fn join(self) -> io::Result<Results> {
        let join = |thread: Option<JoinHandle<io::Result<Duration>>>| match thread {
            Some(thread) => thread.join().map_err(|_| io::Error::other("a worker thread has failed"))?,
            None => Ok(Duration::ZERO),
        };
        let send_seconds = join(self.sender)?.as_secs_f64();
        let receive_seconds = join(self.receiver)?.as_secs_f64();
        Ok(Results {
            sent: self.counts.sent.load(Ordering::Relaxed),
            send_seconds,
            received: self.counts.received.load(Ordering::Relaxed),
            receive_seconds,
        })
    }
}

fn send_blocks(mut stream: &Stream, counts: &Counts, limit: Option<Limit>) -> io::Result<Duration> {
    let started = Instant::now();
    let mut block = vec![0x6d; 4 + BLOCK];
    loop {
        let len = match limit {
            Some(Limit::Time(time)) if started.elapsed() < time => BLOCK,
            Some(Limit::Bytes(bytes)) => {
                let left = bytes - counts.sent.load(Ordering::Relaxed);
                usize::try_from(left).unwrap_or(BLOCK).min(BLOCK)
            }
            _ => 0,
        };
        block[..4].copy_from_slice(&u32::try_from(len).unwrap_or(0).to_be_bytes());
        if len == 0 {
            stream.write_all(&block[..4])?;
            return Ok(started.elapsed());
        }
        // Written piece by piece, so that the count follows what the stack takes.
        let mut rest = &block[..4 + len];
        let mut header = 4;
        while !rest.is_empty() {
            let written = stream.write(rest)?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            let of_header = written.min(header);
            header -= of_header;
            counts.sent.fetch_add((written - of_header) as u64, Ordering::Relaxed);
            rest = &rest[written..];
        }
    }
}

fn receive_blocks(mut stream: &Stream, counts: &Counts, _limit: Option<Limit>) -> io::Result<Duration> {
    let started = Instant::now();
    let mut buffer = vec![0; BLOCK];
    loop {
        let mut header = [0; 4];
        stream.read_exact(&mut header)?;
        let mut left = u32::from_be_bytes(header) as usize;
        if left == 0 {
            return Ok(started.elapsed());
        }
        while left > 0 {
            let room = left.min(BLOCK);
            let len = stream.read(&mut buffer[..room])?;
            if len == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            left -= len;
            counts.received.fetch_add(len as u64, Ordering::Relaxed);
        }
    }
}
