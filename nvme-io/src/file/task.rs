//! An operation on a file as steps, of which one is done at a time, whoever does them.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use nvme_tcp::Blocks;
use nvme_tcp::command::StatusCode;
use nvme_tcp::pdu::Payload;
use nvme_tcp::target::{Completion, Extent, Operation, Token};
use rustix::fs::FallocateFlags;
use uring::{Action, Buffer};

use super::gate::Pass;
use super::syncs::{Doubt, UnderWay};
use super::{Caching, Shared};

/// Bytes of the longest step: longer operations take several.
pub(super) const LONGEST_STEP: usize = 1 << 20;
/// Bytes of zeroes that are written at a time where the file system cannot make any.
const ZEROES: usize = 64 * 1024;

const PUNCH: FallocateFlags = FallocateFlags::PUNCH_HOLE.union(FallocateFlags::KEEP_SIZE);

/// An operation that has begun, or is to begin.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) token: Token,
    pub(super) shared: Arc<Shared>,
    operation: Operation,
    phase: Phase,
    /// What the phase has still to do.
    rest: Extent,
    /// Bytes of data that are read or written, or ranges that are dealt with.
    done: usize,
    /// What Copy has read.
    copied: Payload,
    /// What is read into and written from, as long as no step has it.
    pub(super) buffer: Option<Buffer>,
    /// The step under way makes something durable.
    sync: Option<UnderWay>,
    /// What the kernel has said of that step, if it is not known yet whether that is true; from the first write on, if such a step is to follow.
    doubt: Option<Doubt>,
    /// Nobody waits for it any more: it ends as soon as it can.
    pub(super) is_forgotten: bool,
    /// Returned before it syncs, or when the task is dropped, after everything else.
    pub(super) pass: Option<Pass>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Read,
    Write,
    /// Have the file system make zeroes.
    Zero,
    /// Write zeroes, as it cannot.
    WriteZeroes,
    Deallocate,
    Sync,
}

/// What comes of a step.
#[derive(Debug)]
pub(super) enum Outcome {
    /// There is another one.
    Continue,
    /// That was the last one, but others must have ended before the [verdict](Task::verdict).
    Waits,
    /// The operation has ended.
    Ended(Result<(), StatusCode>),
}

impl Task {
    pub(super) fn new(token: Token, shared: Arc<Shared>, operation: Operation) -> Self {
        let (phase, rest) = match &operation {
            Operation::Read { extent, .. } | Operation::Verify { extent } => (Phase::Read, *extent),
            Operation::Compare { offset, data } | Operation::CompareAndWrite { offset, expected: data, .. } => {
                (Phase::Read, whole(*offset, data))
            }
            Operation::Write { offset, data, .. } => (Phase::Write, whole(*offset, data)),
            Operation::Copy { sources, .. } => (Phase::Read, first(sources)),
            Operation::WriteZeroes { extent, .. } => (Phase::Zero, *extent),
            Operation::Deallocate { extents } => (Phase::Deallocate, first(extents)),
            Operation::Flush => (Phase::Sync, first(&[])),
        };
        Self {
            token,
            shared,
            operation,
            phase,
            rest,
            done: 0,
            copied: Payload::new(),
            buffer: None,
            sync: None,
            doubt: None,
            is_forgotten: false,
            pass: None,
        }
    }

    /// Whether others may read and write meanwhile.
    pub(super) fn is_for_one_alone(&self) -> bool {
        matches!(self.operation, Operation::CompareAndWrite { .. })
    }

    /// Whether it is of no concern to operations that are to be alone: it changes nothing and tells nothing of what is there.
    pub(super) fn needs_no_pass(&self) -> bool {
        matches!(self.operation, Operation::Flush | Operation::Verify { .. })
    }

    /// Bytes of the buffer that it needs, once for all its steps. With fewer, it takes more steps.
    pub(super) fn room(&self) -> Option<usize> {
        let length = match &self.operation {
            Operation::Flush | Operation::Deallocate { .. } => return None,
            Operation::WriteZeroes { extent, .. } => extent.length.min(ZEROES as u64),
            Operation::Copy { sources, .. } => sources.iter().map(|source| source.length).sum(),
            _ => self.rest.length,
        };
        Some(usize::try_from(length).unwrap_or(usize::MAX).min(LONGEST_STEP))
    }

    /// The next step. An error ends the operation: it is forgotten, or has no buffer.
    pub(super) fn step(&mut self) -> Result<Action, StatusCode> {
        if self.is_forgotten {
            return Err(StatusCode::AbortedSqDeletion);
        }
        let Extent { offset, length } = self.rest;
        // The end of a durable write through the page cache would be that of a sync, and take the kernel's one report of what others have lost; but not tell it
        // from an error of its own. So there the sync is a step of its own.
        let durable = self.is_durable() && !self.is_buffered();
        let is_synced = self.is_durable() && (self.is_buffered() || self.phase == Phase::Zero);
        if is_synced && self.doubt.is_none() && self.phase != Phase::Read {
            self.doubt = Some(self.shared.syncs.watch());
        }
        self.sync = (self.phase == Phase::Sync).then(|| self.shared.syncs.begin());
        Ok(match self.phase {
            Phase::Read => {
                let buffer = self.buffer.take().ok_or(StatusCode::InternalError)?;
                let range = 0..clamp(length, buffer.len());
                Action::Read { offset, buffer, range }
            }
            Phase::Write => {
                let mut buffer = self.buffer.take().ok_or(StatusCode::InternalError)?;
                let len = clamp(length, buffer.len());
                let (mut at, done) = (0, self.done);
                for piece in self.data().range(done, len) {
                    buffer[at..at + piece.len()].copy_from_slice(&piece);
                    at += piece.len();
                }
                Action::Write { offset, buffer, range: 0..len, durable }
            }
            Phase::WriteZeroes => {
                let mut buffer = self.buffer.take().ok_or(StatusCode::InternalError)?;
                let len = clamp(length, buffer.len());
                buffer[..len].fill(0);
                Action::Write { offset, buffer, range: 0..len, durable }
            }
            Phase::Zero => {
                let deallocate = matches!(self.operation, Operation::WriteZeroes { deallocate: true, .. });
                let mode = if deallocate { PUNCH } else { FallocateFlags::ZERO_RANGE };
                Action::Allocate { mode: mode.bits(), offset, length }
            }
            Phase::Deallocate => Action::Allocate { mode: PUNCH.bits(), offset, length },
            Phase::Sync => Action::Sync,
        })
    }

    /// A step has ended.
    pub(super) fn advance(&mut self, action: Action, result: io::Result<usize>, blocks: &mut Blocks) -> Outcome {
        let outcome = match result {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Outcome::Continue,
            Err(error) => self.fail(&error),
            Ok(0) if self.transfers() && self.rest.length > 0 => self.fail(&io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => self.succeed(&action, count, blocks),
        };
        self.sync = None;
        if let Action::Read { buffer, .. } | Action::Write { buffer, .. } = action {
            self.buffer = Some(buffer);
        }
        if self.phase == Phase::Sync {
            // What it was to read and write is done. To sync, and to wait for others that do, takes long and needs neither memory nor the file to itself.
            (self.buffer, self.pass) = (None, None);
        }
        let Outcome::Ended(Ok(())) = outcome else { return outcome };
        self.verdict().map_or(Outcome::Waits, Outcome::Ended)
    }

    /// How it has ended, once that is sure: others that the kernel was at, at the same time, may have been told of an error that was this one's.
    pub(super) fn verdict(&self) -> Option<Result<(), StatusCode>> {
        let Some(doubt) = self.doubt else { return Some(Ok(())) };
        let losses = self.shared.syncs.judge(doubt)?;
        // A durable write answers for itself, and everything else for all that was written before.
        let is_lost = if matches!(self.operation, Operation::Flush) { losses.ever } else { losses.meanwhile };
        Some(if is_lost { Err(StatusCode::WriteFault) } else { Ok(()) })
    }

    fn succeed(&mut self, action: &Action, count: usize, blocks: &mut Blocks) -> Outcome {
        if let Action::Read { buffer, range, .. } = action
            && let Err(status) = self.take(&buffer[range.start..range.start + count], blocks)
        {
            return Outcome::Ended(Err(status));
        }
        if let Some(sync) = self.sync.take() {
            self.doubt = Some(sync.succeed(self.doubt));
        }
        if !self.transfers() {
            return self.next_phase();
        }
        self.done += count;
        self.rest.offset += count as u64;
        self.rest.length -= count as u64;
        if self.rest.length > 0 { Outcome::Continue } else { self.next_phase() }
    }

    /// The completion.
    pub(super) fn complete(self, result: Result<(), StatusCode>) -> Completion {
        let data = match self.operation {
            Operation::Read { into: data, .. }
            | Operation::Write { data, .. }
            | Operation::Compare { data, .. }
            | Operation::CompareAndWrite { data, .. } => data,
            Operation::Copy { .. } => self.copied,
            Operation::Flush
            | Operation::WriteZeroes { .. }
            | Operation::Deallocate { .. }
            | Operation::Verify { .. } => Payload::new(),
        };
        Completion { token: self.token, result, data }
    }

    /// Whether steps are about bytes, which are counted.
    fn transfers(&self) -> bool {
        matches!(self.phase, Phase::Read | Phase::Write | Phase::WriteZeroes)
    }

    /// Does with what was read what the operation is about.
    fn take(&mut self, read: &[u8], blocks: &mut Blocks) -> Result<(), StatusCode> {
        match &mut self.operation {
            Operation::Read { into, .. } => into.push(copy(read, blocks)),
            Operation::Copy { .. } => self.copied.push(copy(read, blocks)),
            Operation::Compare { data, .. } | Operation::CompareAndWrite { expected: data, .. } => {
                let mut at = 0;
                for piece in data.range(self.done, read.len()) {
                    if read[at..at + piece.len()] != piece {
                        return Err(StatusCode::CompareFailure);
                    }
                    at += piece.len();
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn next_phase(&mut self) -> Outcome {
        match (&self.operation, self.phase) {
            (Operation::CompareAndWrite { offset, data, .. }, Phase::Read) => {
                (self.phase, self.rest, self.done) = (Phase::Write, whole(*offset, data), 0);
            }
            (Operation::Copy { sources, destination, .. }, Phase::Read) => {
                // All sources are read before anything is written. `done` counts bytes here, so that the next source is where they end.
                let mut before = 0;
                let next = sources.iter().find(|source| {
                    let is_next = before >= self.done as u64 && source.length > 0;
                    before += source.length;
                    is_next
                });
                match next {
                    Some(next) => self.rest = *next,
                    None => (self.phase, self.rest, self.done) = (Phase::Write, whole(*destination, &self.copied), 0),
                }
            }
            (Operation::Deallocate { extents }, _) => {
                self.done += 1;
                match extents.get(self.done) {
                    Some(next) => self.rest = *next,
                    None => return Outcome::Ended(Ok(())),
                }
            }
            (_, Phase::Zero) if self.is_durable() => self.phase = Phase::Sync,
            // What was written past the page cache was written durably already, if it has to be.
            (_, Phase::Write | Phase::WriteZeroes) if self.is_durable() && self.is_buffered() => {
                self.phase = Phase::Sync
            }
            _ => return Outcome::Ended(Ok(())),
        }
        Outcome::Continue
    }

    fn fail(&mut self, error: &io::Error) -> Outcome {
        match self.phase {
            Phase::Read => {
                tracing::warn!(%error, "storage cannot be read");
                Outcome::Ended(Err(StatusCode::UnrecoveredRead))
            }
            // What a file system cannot do, or cannot do so, is written.
            Phase::Zero => {
                self.phase = Phase::WriteZeroes;
                if !self.is_buffered() {
                    // What is written durably answers for itself: no sync follows.
                    self.doubt = None;
                }
                Outcome::Continue
            }
            // A file system that cannot give anything back need not.
            Phase::Deallocate => self.next_phase(),
            Phase::Write | Phase::WriteZeroes | Phase::Sync => {
                tracing::warn!(%error, "storage cannot be written");
                // The error may be the one time that the kernel tells of pages which it has dropped, those of others among them.
                if let Some(sync) = self.sync.take()
                    && sync.fail()
                {
                    tracing::error!("what was written before may be lost: from now on, every flush fails");
                }
                let full = error.kind() == io::ErrorKind::StorageFull;
                Outcome::Ended(Err(if full { StatusCode::CapacityExceeded } else { StatusCode::WriteFault }))
            }
        }
    }

    fn is_buffered(&self) -> bool {
        matches!(self.shared.caching, Caching::Buffered(_))
    }

    /// Whether it is to end only when what it has written is durable.
    fn is_durable(&self) -> bool {
        matches!(
            self.operation,
            Operation::Write { force_unit_access: true, .. }
                | Operation::WriteZeroes { force_unit_access: true, .. }
                | Operation::CompareAndWrite { force_unit_access: true, .. }
                | Operation::Copy { force_unit_access: true, .. }
        )
    }

    /// What is to be written.
    fn data(&mut self) -> &mut Payload {
        match &mut self.operation {
            Operation::Write { data, .. } | Operation::CompareAndWrite { data, .. } => data,
            _ => &mut self.copied,
        }
    }
}

fn whole(offset: u64, data: &Payload) -> Extent {
    Extent { offset, length: data.len() as u64 }
}

fn first(extents: &[Extent]) -> Extent {
    extents.first().copied().unwrap_or(Extent { offset: 0, length: 0 })
}

fn clamp(length: u64, most: usize) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX).min(most)
}

/// What was read, in memory that may be kept for long: the buffers are few, and a host that takes nothing must not hold them.
fn copy(read: &[u8], blocks: &mut Blocks) -> Bytes {
    let room = blocks.room(read.len());
    room.extend_from_slice(read);
    room.split().freeze()
}
