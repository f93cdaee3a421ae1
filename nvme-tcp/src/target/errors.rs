//! The error log of a controller.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use zerocopy::{FromZeros, IntoBytes};

use crate::command::{ErrorEntry, FABRICS, Sqe, Status, StatusCode, TRANSPORT_TCP};

/// Entries of the log: ELPE + 1.
pub(super) const MAX_ERRORS: usize = 64;

/// Commands of all queues of a controller that have failed. Others do not take its lock.
#[derive(Debug, Default)]
pub(super) struct ErrorLog(Mutex<Errors>);

#[derive(Debug, Default)]
struct Errors {
    /// The last ones, from the oldest.
    entries: VecDeque<ErrorEntry>,
    counts: ErrorCounts,
}

/// How much has failed since the controller was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ErrorCounts {
    /// Entries that the log ever had.
    pub(super) entries: u64,
    /// Those about the medium.
    pub(super) media: u64,
}

impl ErrorLog {
    /// Notes a command that has failed, if that is an error; `lba` is the first of its blocks, or 0.
    pub(super) fn note(&self, queue: u16, sqe: &Sqe, status: Status, lba: u64) {
        if !is_error(status.code) {
            return;
        }
        let mut errors = self.lock();
        errors.counts.entries += 1;
        errors.counts.media += u64::from(is_of_medium(status.code));
        let mut entry = ErrorEntry::new_zeroed();
        entry.error_count = errors.counts.entries.into();
        entry.sqid = queue.into();
        entry.cid = sqe.cid;
        entry.status = status.to_wire().into();
        entry.parameter = u16::MAX.into();
        entry.lba = lba.into();
        if sqe.opcode != FABRICS {
            entry.nsid = sqe.nsid;
        }
        entry.transport = TRANSPORT_TCP;
        if errors.entries.len() == MAX_ERRORS {
            errors.entries.pop_front();
        }
        errors.entries.push_back(entry);
    }

    /// The log page: the newest entry first, and zeroes for those that are not in use.
    pub(super) fn page(&self) -> Vec<u8> {
        let errors = self.lock();
        let entries = errors.entries.iter().rev();
        let mut page: Vec<u8> = entries.flat_map(|entry| entry.as_bytes().iter().copied()).collect();
        page.resize(MAX_ERRORS * size_of::<ErrorEntry>(), 0);
        page
    }

    pub(super) fn counts(&self) -> ErrorCounts {
        self.lock().counts
    }

    fn lock(&self) -> MutexGuard<'_, Errors> {
        // A panic leaves a count without its entry at worst.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether it is an error of the controller, the medium or the command (SCT 0 to 2). What a host has aborted, or finds by comparing or by a reservation, is
/// none, and neither is a path that is closed to it (SCT 3).
fn is_error(code: StatusCode) -> bool {
    let (kind, _) = code.parts();
    let is_intended = matches!(
        code,
        StatusCode::AbortedByRequest
            | StatusCode::AbortedSqDeletion
            | StatusCode::AbortedFailedFuse
            | StatusCode::AbortedMissingFuse
            | StatusCode::AbortedByPreempt
            | StatusCode::ReservationConflict
            | StatusCode::CompareFailure
    );
    kind <= 2 && !is_intended
}

/// Whether data was lost, or could not be kept.
fn is_of_medium(code: StatusCode) -> bool {
    matches!(code, StatusCode::WriteFault | StatusCode::UnrecoveredRead | StatusCode::GuardCheck)
}
