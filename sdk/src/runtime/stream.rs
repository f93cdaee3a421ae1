//! Blocking streams.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use mptcp_core::{ConnId, ConnInfo, Scheduler, SubflowInfo, TrafficClass};

use super::pipe::{End, Pipe, Wish, Written};
use super::{Shared, StreamMessage, deadline, stopped};
use crate::ConnReport;

/// A connection, as [`std::net::TcpStream`] is one: clones made by [`try_clone`](Self::try_clone) are the same
/// connection, and reading and writing work through shared references, from several threads at once.
///
/// Dropping the last clone closes the connection: what was written is still sent; if something was received and not
/// read, the connection is reset instead, as in TCP.
///
/// Both directions are bounded by [`Config::stream_buffer`](crate::Config::stream_buffer): writing blocks when the
/// peer takes too little, and an application that does not read closes the window that the peer sees.
#[derive(Debug)]
pub struct MptcpStream {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    conn: ConnId,
    pipe: Arc<Pipe>,
    local: SocketAddr,
    remote: SocketAddr,
    read_timeout: Timeout,
    write_timeout: Timeout,
    nonblocking: AtomicBool,
    /// The rest of a piece that a read has left.
    rest: Mutex<Bytes>,
}

/// Bytes of one piece handed to the driver at most: larger ones would only delay the first byte.
const MAX_PIECE: usize = 256 << 10;

impl MptcpStream {
    pub(super) fn new(
        shared: Arc<Shared>,
        conn: ConnId,
        pipe: Arc<Pipe>,
        local: SocketAddr,
        remote: SocketAddr,
    ) -> Self {
        let inner = Inner {
            shared,
            conn,
            pipe,
            local,
            remote,
            read_timeout: Timeout::default(),
            write_timeout: Timeout::default(),
            nonblocking: AtomicBool::new(false),
            rest: Mutex::new(Bytes::new()),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Another handle to the same connection, with the same timeouts.
    ///
    /// # Errors
    /// None: here, as in other places, the signature is that of [`std::net::TcpStream`].
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { inner: Arc::clone(&self.inner) })
    }

    /// The other end of the first subflow.
    ///
    /// # Errors
    /// None.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.inner.remote)
    }

    /// This end of the first subflow.
    ///
    /// # Errors
    /// None.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.inner.local)
    }

    /// How long a read blocks at most before it fails with `WouldBlock`; `None` for ever.
    ///
    /// # Errors
    /// `InvalidInput` if the timeout is zero; see [`set_nonblocking`](Self::set_nonblocking).
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.inner.read_timeout.set(timeout)
    }

    /// How long a write blocks at most before it fails with `WouldBlock`; `None` for ever.
    ///
    /// # Errors
    /// As [`set_read_timeout`](Self::set_read_timeout).
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.inner.write_timeout.set(timeout)
    }

    /// Makes reads and writes fail with `WouldBlock` instead of blocking, whatever the timeouts say.
    ///
    /// # Errors
    /// None.
    pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.inner.nonblocking.store(nonblocking, Ordering::Relaxed);
        Ok(())
    }

    /// Closes one direction or both. Threads blocked in it wake up.
    ///
    /// After `Write` the peer sees the end of the stream when it has read what was written. After `Read`, reads give
    /// the end of the stream, and what arrives is thrown away.
    ///
    /// # Errors
    /// `NotConnected` if the runtime has stopped.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        let Inner { shared, conn, pipe, .. } = &*self.inner;
        if pipe.outgoing.end() == End::Stopped {
            return Err(stopped());
        }
        if how != Shutdown::Read {
            pipe.wish(Wish::ShutdownWrite);
            pipe.outgoing.tell();
        }
        if how != Shutdown::Write {
            pipe.wish(Wish::ShutdownRead);
            pipe.incoming.tell();
            // What is left of a piece is thrown away too. A reader that sleeps has it locked until it sees the wish.
            let mut rest = self.inner.rest.lock().unwrap_or_else(PoisonError::into_inner);
            pipe.incoming.release(std::mem::take(&mut *rest).len());
        }
        shared.attend(*conn, pipe);
        Ok(())
    }

    /// Resets the connection at once. Threads blocked in it wake up.
    pub fn abort(&self) {
        let Inner { shared, conn, pipe, .. } = &*self.inner;
        pipe.wish(Wish::Abort);
        pipe.end(End::Aborted);
        shared.attend(*conn, pipe);
    }

    /// State of the connection; the last one if it is over.
    ///
    /// # Errors
    /// `NotConnected` if the runtime has stopped before the connection was over.
    pub fn info(&self) -> io::Result<ConnInfo> {
        self.report().map(|report| report.info)
    }

    /// The subflows in the order in which they were made, with those that are gone first.
    ///
    /// # Errors
    /// As [`info`](Self::info).
    pub fn subflows(&self) -> io::Result<Vec<SubflowInfo>> {
        self.report().map(|report| report.past_subflows.into_iter().chain(report.subflows).collect())
    }

    /// Connection and subflows at one moment; the last one if it is over.
    ///
    /// # Errors
    /// As [`info`](Self::info).
    pub fn report(&self) -> io::Result<ConnReport> {
        let Inner { shared, conn, pipe, .. } = &*self.inner;
        if let Some(report) = pipe.last() {
            return Ok(report);
        }
        let conn = *conn;
        // It may have ended between the two looks.
        let live = shared.call(move |engine| engine.report(conn)).map(|live| live.or_else(|| pipe.last()));
        live?.ok_or_else(stopped)
    }

    /// Has another scheduler spread the data over the subflows from now on: a [`SchedulerKind`](crate::SchedulerKind), which can be parsed from its name, or one
    /// of the application's own, as a `Box<dyn Scheduler>`.
    ///
    /// # Errors
    /// `NotConnected` if the connection is over, or the runtime has stopped.
    pub fn set_scheduler(&self, scheduler: impl Into<Box<dyn Scheduler>>) -> io::Result<()> {
        let (conn, scheduler) = (self.inner.conn, scheduler.into());
        connected(self.inner.shared.call(move |engine| engine.set_scheduler(conn, scheduler))?)
    }

    /// Waits until the connection is over, for `timeout` at most; whether it is. Both directions are then closed and
    /// everything is acknowledged, or it was aborted, and the [`report`](Self::report) is final.
    pub fn wait_closed(&self, timeout: Duration) -> bool {
        let pipe = &self.inner.pipe;
        let over = || (pipe.last().is_some() || pipe.outgoing.end() == End::Stopped).then_some(());
        pipe.outgoing.wait(deadline(timeout), over);
        pipe.last().is_some()
    }

    /// Handle of the connection within the engine.
    pub fn conn(&self) -> ConnId {
        self.inner.conn
    }

    /// Reads the next bytes as the stack has received them, without copying: at most `max`, none at the end of the
    /// stream.
    ///
    /// # Errors
    /// As for [`Read`].
    pub fn read_bytes(&self, max: usize) -> io::Result<Bytes> {
        let mut rest = self.inner.rest.lock().unwrap_or_else(PoisonError::into_inner);
        if max == 0 || (rest.is_empty() && !self.inner.next_piece(&mut rest)?) {
            return Ok(Bytes::new());
        }
        let len = max.min(rest.len());
        let bytes = rest.split_to(len);
        self.inner.release(len);
        Ok(bytes)
    }

    /// Writes a prefix of `bytes` without copying, and returns its length, at least 1 unless `bytes` is empty. The
    /// memory is shared until it has been acknowledged.
    ///
    /// # Errors
    /// As for [`Write`].
    pub fn write_bytes(&self, bytes: &Bytes) -> io::Result<usize> {
        self.inner.write(bytes.len(), |len| Written { bytes: bytes.slice(..len), message: None })
    }

    /// The same with what the bytes are to the scheduler. The message [ends](StreamMessage::ends) only if all of `bytes` is written; else the
    /// rest is to follow with the same call.
    ///
    /// # Errors
    /// As for [`Write`].
    pub fn write_message(&self, bytes: &Bytes, message: StreamMessage) -> io::Result<usize> {
        let part = |len: usize| StreamMessage { ends: message.ends && len == bytes.len(), ..message };
        self.inner.write(bytes.len(), |len| Written { bytes: bytes.slice(..len), message: Some(part(len)) })
    }

    /// Writes all of a message, or of a part of one, without copying.
    ///
    /// # Errors
    /// As for [`Write`]; how much was written before an error is not known.
    pub fn write_all_message(&self, bytes: Bytes, message: StreamMessage) -> io::Result<()> {
        write_all(bytes, |bytes| self.write_message(bytes, message))
    }

    /// Has bytes that belong to no [`StreamMessage`] be of this class, those included that are written and not sent yet. Default: bulk. What classes
    /// may have of the stack's paths says [`StackConfig::qos`](mptcp_core::StackConfig::qos).
    ///
    /// # Errors
    /// `NotConnected` if the connection is over, or the runtime has stopped.
    pub fn set_class(&self, class: TrafficClass) -> io::Result<()> {
        let conn = self.inner.conn;
        connected(self.inner.shared.call(move |engine| engine.set_class(conn, class))?)
    }

    /// Corks the stream (`TCP_CORK`, tcp(7)), or uncorks it: while it is corked, full segments leave, and what does not fill one waits for more, for 200 ms at
    /// most. Uncorking and closing let it leave at once; the end of a message does not. What was written right before may be corked already.
    ///
    /// # Errors
    /// `NotConnected` if the connection is over, or the runtime has stopped.
    pub fn set_cork(&self, corked: bool) -> io::Result<()> {
        let conn = self.inner.conn;
        connected(self.inner.shared.call(move |engine| engine.set_cork(conn, corked))?)
    }

    /// Has no more than so many bytes per second leave from now on, at least 1, on all subflows together, where the kernel's `SO_MAX_PACING_RATE` lets each of
    /// them have as much; `None` is no limit, as at first.
    ///
    /// # Errors
    /// `NotConnected` if the connection is over, or the runtime has stopped.
    pub fn set_max_pacing_rate(&self, bytes_per_second: Option<u64>) -> io::Result<()> {
        let conn = self.inner.conn;
        connected(self.inner.shared.call(move |engine| engine.set_max_pacing_rate(conn, bytes_per_second))?)
    }

    /// Writes all of `bytes` without copying.
    ///
    /// # Errors
    /// As for [`Write`]; how much was written before an error is not known.
    pub fn write_all_bytes(&self, bytes: Bytes) -> io::Result<()> {
        write_all(bytes, |bytes| self.write_bytes(bytes))
    }
}

impl Inner {
    /// Waits for room and hands a piece to the driver.
    fn write(&self, len: usize, piece: impl Fn(usize) -> Written) -> io::Result<usize> {
        if len == 0 {
            return Ok(0);
        }
        let lane = &self.pipe.outgoing;
        let place = || {
            if let Some(error) = lane.end().error() {
                return Some(Err(error));
            }
            if self.pipe.wants(Wish::ShutdownWrite) || lane.end() == End::Finished {
                return Some(Err(io::ErrorKind::BrokenPipe.into()));
            }
            let len = lane.room().min(len).min(MAX_PIECE);
            (len > 0 && lane.push(piece(len)).is_ok()).then_some(Ok(len))
        };
        let written = lane.wait(self.deadline(&self.write_timeout), place);
        let written = written.unwrap_or_else(|| Err(io::ErrorKind::WouldBlock.into()))?;
        self.shared.attend(self.conn, &self.pipe);
        Ok(written)
    }

    /// Waits for the next piece; false at the end of the stream.
    fn next_piece(&self, rest: &mut Bytes) -> io::Result<bool> {
        let lane = &self.pipe.incoming;
        let next = || {
            if self.pipe.wants(Wish::ShutdownRead) {
                return Some(Ok(None));
            }
            // The end first: what was pushed before it is then seen.
            let end = lane.end();
            match (lane.pop(), end) {
                (Some(piece), _) => Some(Ok(Some(piece))),
                (None, End::Open) => None,
                (None, end) => Some(end.error().map_or(Ok(None), Err)),
            }
        };
        let piece = lane.wait(self.deadline(&self.read_timeout), next);
        match piece.unwrap_or_else(|| Err(io::ErrorKind::WouldBlock.into()))? {
            Some(piece) => {
                *rest = piece;
                Ok(true)
            }
            None => Ok(false),
        }
    }

    /// Makes room for what comes after the bytes that have been read.
    fn release(&self, len: usize) {
        self.pipe.incoming.release(len);
        if self.pipe.incoming.resume() {
            self.shared.attend(self.conn, &self.pipe);
        }
    }

    fn deadline(&self, timeout: &Timeout) -> Option<Instant> {
        if self.nonblocking.load(Ordering::Relaxed) { Some(Instant::now()) } else { timeout.deadline() }
    }
}

impl Read for &MptcpStream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let inner = &*self.inner;
        let mut rest = inner.rest.lock().unwrap_or_else(PoisonError::into_inner);
        if buf.is_empty() || (rest.is_empty() && !inner.next_piece(&mut rest)?) {
            return Ok(0);
        }
        let mut filled = 0;
        loop {
            let len = rest.len().min(buf.len() - filled);
            rest.copy_to_slice(&mut buf[filled..filled + len]);
            filled += len;
            if filled == buf.len() {
                break;
            }
            match inner.pipe.incoming.pop() {
                Some(piece) => *rest = piece,
                None => break,
            }
        }
        inner.release(filled);
        Ok(filled)
    }
}

impl Write for &MptcpStream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.inner.write(buf.len(), |len| Written { bytes: Bytes::copy_from_slice(&buf[..len]), message: None })
    }

    /// Does nothing: what is written is on its way.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for MptcpStream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buf)
    }
}

impl Write for MptcpStream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&*self).write(buf)
    }

    /// Does nothing: what is written is on its way.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.pipe.wish(Wish::Close);
        self.shared.attend(self.conn, &self.pipe);
    }
}

fn write_all(mut bytes: Bytes, write: impl Fn(&Bytes) -> io::Result<usize>) -> io::Result<()> {
    while !bytes.is_empty() {
        let len = write(&bytes)?;
        bytes.advance(len);
    }
    Ok(())
}

fn connected(is_there: bool) -> io::Result<()> {
    if is_there { Ok(()) } else { Err(io::ErrorKind::NotConnected.into()) }
}

/// A timeout that can be set and used by different threads: nanoseconds, with the largest number for none.
#[derive(Debug)]
struct Timeout(AtomicU64);

impl Default for Timeout {
    fn default() -> Self {
        Self(AtomicU64::new(u64::MAX))
    }
}

impl Timeout {
    fn set(&self, timeout: Option<Duration>) -> io::Result<()> {
        if timeout == Some(Duration::ZERO) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a timeout of zero is not possible"));
        }
        let nanos = timeout.map_or(u64::MAX, |timeout| u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX));
        self.0.store(nanos, Ordering::Relaxed);
        Ok(())
    }

    /// When the timeout ends if it begins now.
    fn deadline(&self) -> Option<Instant> {
        match self.0.load(Ordering::Relaxed) {
            u64::MAX => None,
            nanos => deadline(Duration::from_nanos(nanos)),
        }
    }
}
