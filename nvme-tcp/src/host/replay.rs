//! Which commands may be sent again.
//!
//! A command whose connection ended without an answer may have been executed, or may be about to be. Sent again, it is executed
//! twice. That is of no consequence where the second time leads to the same state and the same answer as the first; other
//! commands are reported to whoever submitted them, since only they can find out what has become of them.
//!
//! A controller that has lost its connection may still execute what it had received, after what is sent again over another, until its
//! keep-alive timer stops it. As with other hosts, a write that was lost therefore is not certain to come before writes that
//! are submitted after it has completed over another path, if the first controller is that slow.

use crate::command::{Fuse, IoOpcode, Sqe, Status, StatusCode};

/// Whether a command of an I/O queue may be executed twice.
///
/// Reads, writes, flushes and what else has no memory of itself may. Reservations and Copy change what they depend on, and the
/// answer to Compare depends on what was written since it was first executed: it may be half of a compare-and-write, fused or
/// not. Commands that are not known may do anything.
pub fn is_repeatable(sqe: &Sqe) -> bool {
    let opcode = match IoOpcode::from_byte(sqe.opcode) {
        Some(opcode) if sqe.fuse() == Some(Fuse::Normal) => opcode,
        _ => return false,
    };
    match opcode {
        IoOpcode::Flush
        | IoOpcode::Write
        | IoOpcode::Read
        | IoOpcode::WriteUncorrectable
        | IoOpcode::WriteZeroes
        | IoOpcode::DatasetManagement
        | IoOpcode::Verify
        | IoOpcode::ReservationReport => true,
        IoOpcode::Compare
        | IoOpcode::Copy
        | IoOpcode::ReservationRegister
        | IoOpcode::ReservationAcquire
        | IoOpcode::ReservationRelease => false,
    }
}

/// What to do about the status of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is for whoever submitted the command.
    Report,
    /// The command may succeed if it is sent again, after the delay that CRD (1 to 3) chooses, or at once (0).
    Again {
        /// CRD.
        delay: u8,
    },
    /// The command may succeed on another path.
    Elsewhere,
}

/// Judges the status with which a controller has answered a command of an I/O queue.
///
/// A command that has failed was not executed, unless the status is one that this host found itself: then its data was damaged
/// or incomplete, and it may have been. The halves of a fused operation cannot be sent again one by one.
pub fn judge(sqe: &Sqe, status: &Status) -> Verdict {
    if status.is_success() || status.do_not_retry || sqe.fuse() != Some(Fuse::Normal) {
        return Verdict::Report;
    }
    match status.code {
        StatusCode::TransientTransportError | StatusCode::DataTransferError if !is_repeatable(sqe) => Verdict::Report,
        // Another command asked for it.
        StatusCode::AbortedByRequest => Verdict::Report,
        code if code.parts().0 == PATH_RELATED => Verdict::Elsewhere,
        StatusCode::AbortedSqDeletion => Verdict::Elsewhere,
        _ => Verdict::Again { delay: status.retry_delay },
    }
}

/// SCT of statuses that say something of the path, not of the command.
const PATH_RELATED: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{BlockRange, IoCommand};

    const RANGE: BlockRange = BlockRange { start: 0, count: 1 };

    #[test]
    fn what_may_be_executed_twice() {
        let write = IoCommand::Write { range: RANGE, force_unit_access: false }.to_sqe(1);
        let read = IoCommand::Read { range: RANGE, force_unit_access: false }.to_sqe(1);
        for sqe in [write, read, IoCommand::Flush.to_sqe(1), IoCommand::Verify { range: RANGE }.to_sqe(1)] {
            assert!(is_repeatable(&sqe));
            assert!(!is_repeatable(&sqe.with_fuse(Fuse::Second)));
        }
        for opcode in [0x05, 0x0d, 0x11, 0x15, 0x19, 0x80, 0xff] {
            assert!(!is_repeatable(&Sqe::new(opcode, 1)), "{opcode:#x}");
        }
    }

    #[test]
    fn what_statuses_lead_to() {
        let write = IoCommand::Write { range: RANGE, force_unit_access: false }.to_sqe(1);
        let compare = IoCommand::Compare { range: RANGE }.to_sqe(1);
        let again = Verdict::Again { delay: 0 };
        for (sqe, code, verdict) in [
            (write, StatusCode::Success, Verdict::Report),
            (write, StatusCode::LbaOutOfRange, Verdict::Report),
            (write, StatusCode::AbortedByRequest, Verdict::Report),
            (write, StatusCode::NamespaceNotReady, again),
            (write, StatusCode::TransientTransportError, again),
            (write, StatusCode::DataTransferError, again),
            (write, StatusCode::AnaInaccessible, Verdict::Elsewhere),
            (write, StatusCode::InternalPathError, Verdict::Elsewhere),
            (write, StatusCode::AnaPersistentLoss, Verdict::Report),
            (compare, StatusCode::NamespaceNotReady, again),
            (compare, StatusCode::DataTransferError, Verdict::Report),
            (compare, StatusCode::AnaTransition, Verdict::Elsewhere),
            (compare.with_fuse(Fuse::First), StatusCode::AnaTransition, Verdict::Report),
        ] {
            assert_eq!(judge(&sqe, &code.into()), verdict, "{code:?}");
        }
        let delayed = Status { retry_delay: 2, ..StatusCode::NamespaceNotReady.into() };
        assert_eq!(judge(&write, &delayed), Verdict::Again { delay: 2 });
    }
}
