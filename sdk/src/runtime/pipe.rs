//! What a stream and the driver share: the bytes under way between them, and what each wants the other to know.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use crossbeam_queue::ArrayQueue;
use mptcp_core::CloseReason;

use super::StreamMessage;
use super::gate::Gate;
use crate::ConnReport;

/// Two bounded queues of bytes, one in each direction.
#[derive(Debug)]
pub(super) struct Pipe {
    /// From the application to the driver.
    pub(super) outgoing: Lane<Written>,
    /// From the driver to the application.
    pub(super) incoming: Lane<Bytes>,
    /// The driver is told already that it must look at this stream.
    pub(super) attention: AtomicBool,
    wishes: AtomicU8,
    /// The connection as it was when it ended.
    last: Mutex<Option<ConnReport>>,
}

/// What an application has written at once.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) bytes: Bytes,
    /// What it has said of it.
    pub(super) message: Option<StreamMessage>,
}

/// Bytes that travel through a [`Lane`] together.
pub(super) trait Piece {
    /// Their number.
    fn len(&self) -> usize;
}

impl Piece for Bytes {
    fn len(&self) -> usize {
        self.as_ref().len()
    }
}

impl Piece for Written {
    fn len(&self) -> usize {
        self.bytes.len()
    }
}

/// Bytes in one direction.
#[derive(Debug)]
pub(super) struct Lane<P> {
    queue: ArrayQueue<P>,
    held: AtomicUsize,
    limit: usize,
    /// The driver has left bytes with the stack, for lack of room here.
    stalled: AtomicBool,
    /// An [`End`], as a number.
    end: AtomicU8,
    /// Opens when the application can go on.
    gate: Gate,
}

/// Pieces that a lane holds at most, whatever their length.
const MAX_PIECES: usize = 1024;

/// What the application wants of the driver, besides passing bytes. Once wanted, always wanted.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wish {
    /// Close the sending direction after what is queued.
    ShutdownWrite = 1,
    /// Throw away what arrives.
    ShutdownRead = 2,
    /// Nobody holds the stream any more.
    Close = 4,
    /// Reset it.
    Abort = 8,
}

/// How a direction has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum End {
    /// It has not.
    Open,
    /// In order.
    Finished,
    /// The connection is over, for this reason.
    Refused,
    Reset,
    TimedOut,
    Aborted,
    /// The runtime has stopped.
    Stopped,
}

const ENDS: [End; 7] = [End::Open, End::Finished, End::Refused, End::Reset, End::TimedOut, End::Aborted, End::Stopped];

impl From<CloseReason> for End {
    fn from(reason: CloseReason) -> Self {
        match reason {
            CloseReason::Normal => Self::Finished,
            CloseReason::Refused => Self::Refused,
            CloseReason::Reset => Self::Reset,
            CloseReason::TimedOut => Self::TimedOut,
            CloseReason::Aborted => Self::Aborted,
        }
    }
}

impl End {
    /// The error that a reader or writer sees; `None` if the end is no error to it.
    pub(super) fn error(self) -> Option<io::Error> {
        let kind = match self {
            Self::Open | Self::Finished => return None,
            Self::Refused => io::ErrorKind::ConnectionRefused,
            Self::Reset => io::ErrorKind::ConnectionReset,
            Self::TimedOut => io::ErrorKind::TimedOut,
            Self::Aborted => io::ErrorKind::ConnectionAborted,
            Self::Stopped => return Some(super::stopped()),
        };
        Some(kind.into())
    }
}

impl Pipe {
    /// An empty one that holds `limit` bytes in each direction.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            outgoing: Lane::new(limit),
            incoming: Lane::new(limit),
            attention: AtomicBool::new(false),
            wishes: AtomicU8::new(0),
            last: Mutex::new(None),
        }
    }

    pub(super) fn wish(&self, wish: Wish) {
        self.wishes.fetch_or(wish as u8, Ordering::SeqCst);
    }

    pub(super) fn wants(&self, wish: Wish) -> bool {
        self.wishes.load(Ordering::SeqCst) & wish as u8 != 0
    }

    /// Ends both directions, unless they have ended before.
    pub(super) fn end(&self, end: End) {
        self.outgoing.finish(end);
        self.incoming.finish(end);
    }

    /// The connection as it was when it ended; `None` before.
    pub(super) fn last(&self) -> Option<ConnReport> {
        self.lock_last().clone()
    }

    pub(super) fn set_last(&self, report: Option<ConnReport>) {
        *self.lock_last() = report;
    }

    fn lock_last(&self) -> MutexGuard<'_, Option<ConnReport>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<P: Piece> Lane<P> {
    fn new(limit: usize) -> Self {
        Self {
            queue: ArrayQueue::new(MAX_PIECES),
            held: AtomicUsize::new(0),
            limit,
            stalled: AtomicBool::new(false),
            end: AtomicU8::new(End::Open as u8),
            gate: Gate::default(),
        }
    }

    /// How many more bytes may be pushed now.
    pub(super) fn room(&self) -> usize {
        if self.queue.is_full() { 0 } else { self.limit.saturating_sub(self.held.load(Ordering::SeqCst)) }
    }

    /// Appends a piece; gives it back if there is no place.
    pub(super) fn push(&self, piece: P) -> Result<(), P> {
        let len = piece.len();
        self.held.fetch_add(len, Ordering::SeqCst);
        self.queue.push(piece).inspect_err(|_| {
            self.held.fetch_sub(len, Ordering::SeqCst);
        })
    }

    /// Counts bytes that are under way without having been pushed.
    pub(super) fn charge(&self, len: usize) {
        self.held.fetch_add(len, Ordering::SeqCst);
    }

    /// Takes the next piece. Its bytes still count until [`release`](Self::release).
    pub(super) fn pop(&self) -> Option<P> {
        self.queue.pop()
    }

    /// Makes room for as many bytes as have been dealt with. In one order with the flag of [`stall`](Self::stall), for both sides: each changes the one and
    /// then looks at the other.
    pub(super) fn release(&self, len: usize) {
        self.held.fetch_sub(len, Ordering::SeqCst);
    }

    /// For the driver, when there is no room: has it told when there is again. False if there is by now.
    pub(super) fn stall(&self) -> bool {
        self.stalled.store(true, Ordering::SeqCst);
        // The application may have made room just before it could see the flag.
        !self.resume()
    }

    /// For the application, when it has made room: whether the driver must be told. So that not every byte read does,
    /// half of the lane must be free.
    pub(super) fn resume(&self) -> bool {
        self.stalled.load(Ordering::SeqCst)
            && self.room() >= self.limit / 2
            && self.stalled.swap(false, Ordering::SeqCst)
    }

    /// Whether nothing is queued.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Bytes pushed and not yet released.
    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::SeqCst)
    }

    /// How the direction has ended.
    pub(super) fn end(&self) -> End {
        ENDS.get(usize::from(self.end.load(Ordering::Acquire))).copied().unwrap_or(End::Stopped)
    }

    /// Ends the direction, unless it has ended before, and wakes the application.
    pub(super) fn finish(&self, end: End) {
        // Only the first end counts, so a failed exchange is no failure.
        let _ = self.end.compare_exchange(End::Open as u8, end as u8, Ordering::AcqRel, Ordering::Acquire);
        self.tell();
    }

    /// Wakes the application, after a change.
    pub(super) fn tell(&self) {
        self.gate.tell();
    }

    /// Lets the application sleep until `ready` gives something; `None` if that has not happened by `deadline`.
    pub(super) fn wait<T>(&self, deadline: Option<Instant>, ready: impl FnMut() -> Option<T>) -> Option<T> {
        self.gate.wait(deadline, ready)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_is_bounded_in_bytes_and_pieces() {
        let lane = Lane::new(100);
        assert_eq!(lane.room(), 100);
        lane.push(Bytes::from_static(&[0; 60])).unwrap();
        assert_eq!(lane.room(), 40);
        let taken = lane.pop().unwrap();
        assert_eq!(lane.room(), 40, "taken is not dealt with");
        lane.release(taken.len());
        assert_eq!(lane.room(), 100);
        for _ in 0..MAX_PIECES {
            lane.push(Bytes::new()).unwrap();
        }
        assert_eq!(lane.room(), 0);
        assert!(lane.push(Bytes::from_static(b"x")).is_err());
        assert_eq!(lane.held(), 0);
    }

    #[test]
    fn a_stalled_lane_resumes_once_half_is_free() {
        let lane = Lane::new(100);
        lane.push(Bytes::from_static(&[0; 100])).unwrap();
        assert!(lane.stall());
        lane.release(49);
        assert!(!lane.resume());
        lane.release(1);
        assert!(lane.pop().is_some() && lane.resume() && !lane.resume());
        assert!(!lane.stall(), "there is room again");
    }

    #[test]
    fn the_first_end_counts() {
        let lane = Lane::<Bytes>::new(1);
        assert_eq!(lane.end(), End::Open);
        lane.finish(End::Reset);
        lane.finish(End::Stopped);
        assert_eq!(lane.end(), End::Reset);
    }

    #[test]
    fn every_end_is_found_by_its_number_and_has_its_error() {
        for (number, end) in ENDS.into_iter().enumerate() {
            assert_eq!(end as usize, number);
            assert_eq!(end.error().is_none(), matches!(end, End::Open | End::Finished));
        }
        assert_eq!(End::from(CloseReason::Reset).error().unwrap().kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(End::from(CloseReason::TimedOut).error().unwrap().kind(), io::ErrorKind::TimedOut);
    }
}
