//! A request as the commands that a controller takes.

use bytes::Bytes;
use nvme_tcp::command::{BlockRange, DatasetRange, IoCommand, StatusCode};
use nvme_tcp::host::{Controller, Outcome, Request as Command};
use nvme_tcp::pdu::Payload;
use zerocopy::IntoBytes;

use super::{ErrorCode, Request, RequestKind};

/// Bytes of one command, unless the controller takes less.
const MOST_BYTES: u64 = 128 * 1024;

/// What commands for a namespace may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) nsid: u32,
    pub(super) block_size: u32,
    /// Blocks of Read and Write.
    pub(super) transfer: u32,
    /// Blocks of Write Zeroes.
    pub(super) zeroes: u32,
    /// Blocks of a range of Dataset Management.
    pub(super) trim: u32,
}

impl Limits {
    /// What this controller takes.
    pub(super) fn new(controller: &Controller, nsid: u32, block_size: u32) -> Self {
        let block = u64::from(block_size);
        let most = controller.max_transfer().unwrap_or(u64::MAX);
        let pages = |shift: u8| match (shift, controller.capabilities()) {
            (0, _) | (_, None) => u64::MAX,
            (shift, Some(capabilities)) => {
                1_u64.checked_shl(u32::from(shift) + 12 + u32::from(capabilities.min_page)).unwrap_or(u64::MAX)
            }
        };
        let limits = controller.limits();
        let zeroes = limits.map_or(u64::MAX, |limits| pages(limits.wzsl));
        let unless_zero = |limit: u64| if limit == 0 { u64::MAX } else { limit };
        let trim = limits
            .map_or(u64::MAX, |limits| unless_zero(limits.dmrsl.get().into()).min(unless_zero(limits.dmsl.get())));
        // Each is at least a block, and fits.
        let blocks = |bytes: u64| (bytes / block).clamp(1, BlockRange::MOST.into()) as u32;
        Self {
            nsid,
            block_size,
            transfer: blocks(most.min(MOST_BYTES)),
            // Strictly, MDTS does not bound it; there are controllers for which it does.
            zeroes: blocks(most.min(zeroes)),
            trim: trim.min(u32::MAX.into()) as u32,
        }
    }

    /// What both take: a command may go to either.
    pub(super) fn min(self, other: Self) -> Self {
        Self {
            transfer: self.transfer.min(other.transfer),
            zeroes: self.zeroes.min(other.zeroes),
            trim: self.trim.min(other.trim),
            ..self
        }
    }
}

/// A request that is being executed.
#[derive(Debug)]
pub(super) struct Operation {
    request: Request,
    /// Blocks that are left to make commands for.
    next: u64,
    left: u64,
    /// A Flush is left to do, once everything else is done.
    flush: bool,
    outstanding: u32,
    /// What was read, by command.
    received: Vec<Payload>,
    error: Option<ErrorCode>,
}

impl Operation {
    /// A request of an export with blocks of so many bytes.
    pub(super) fn new(request: Request, block_size: u32) -> Self {
        let block = u64::from(block_size);
        // Dataset Management has no FUA.
        let flush = match request.kind {
            RequestKind::Flush => true,
            RequestKind::Trim => request.force_unit_access,
            _ => false,
        };
        Self {
            next: request.offset / block,
            left: u64::from(request.length) / block,
            request,
            flush,
            outstanding: 0,
            received: Vec::new(),
            error: None,
        }
    }

    /// Whether there is a command to submit now.
    pub(super) fn has_command(&self) -> bool {
        self.error.is_none() && (self.left > 0 || (self.flush && self.outstanding == 0))
    }

    /// Whether all is done.
    pub(super) fn is_done(&self) -> bool {
        self.outstanding == 0 && !self.has_command()
    }

    /// The next command, within these limits: while a long operation is executed, there may come a controller that takes less. What `token` makes of the
    /// command's number comes back with the completion.
    pub(super) fn next_command(&mut self, limits: &Limits, token: impl FnOnce(u32) -> u64) -> Option<Command<u64>> {
        if !self.has_command() {
            return None;
        }
        self.outstanding += 1;
        let Limits { nsid, block_size, .. } = *limits;
        if self.left == 0 {
            self.flush = false;
            return Some(Command::new(IoCommand::Flush.to_sqe(nsid), token(0)));
        }
        let most = match self.request.kind {
            RequestKind::Trim => limits.trim,
            RequestKind::WriteZeroes { .. } => limits.zeroes,
            _ => limits.transfer,
        };
        // Fits: it is `most` at most.
        let range = BlockRange { start: self.next, count: self.left.min(most.into()) as u32 };
        let from = self.next * u64::from(block_size) - self.request.offset;
        (self.next, self.left) = (self.next + u64::from(range.count), self.left - u64::from(range.count));
        let force_unit_access = self.request.force_unit_access;
        Some(match &self.request.kind {
            RequestKind::Read => {
                let token = token(u32::try_from(self.received.len()).unwrap_or(u32::MAX));
                self.received.push(Payload::new());
                // FUA of reads is without meaning in NBD.
                let command = IoCommand::Read { range, force_unit_access: false };
                Command::new(command.to_sqe(nsid), token).receiving(range.count * block_size)
            }
            RequestKind::Write(data) => {
                let from = usize::try_from(from).unwrap_or(usize::MAX);
                let part = data.slice(from..from + (range.count * block_size) as usize);
                Command::new(IoCommand::Write { range, force_unit_access }.to_sqe(nsid), token(0)).sending(part)
            }
            RequestKind::WriteZeroes { no_hole } => {
                let command = IoCommand::WriteZeroes { range, force_unit_access, deallocate: !no_hole };
                Command::new(command.to_sqe(nsid), token(0))
            }
            RequestKind::Trim | RequestKind::Flush => {
                let command = IoCommand::DatasetManagement { ranges: 1, deallocate: true };
                let ranges = Bytes::copy_from_slice(DatasetRange::new(range).as_bytes());
                Command::new(command.to_sqe(nsid), token(0)).sending(ranges)
            }
        })
    }

    /// A command has ended, the one with this number, and has read this.
    pub(super) fn complete(&mut self, number: u32, outcome: &Outcome, data: Payload) {
        self.outstanding -= 1;
        match judge(outcome) {
            Ok(()) => {
                if let Some(received) = self.received.get_mut(number as usize) {
                    *received = data;
                }
            }
            Err(error) => self.error = self.error.or(Some(error)),
        }
    }

    /// A command was not taken.
    pub(super) fn refused(&mut self) {
        self.outstanding -= 1;
        self.error = self.error.or(Some(ErrorCode::Io));
    }

    /// How it went, and what was read.
    pub(super) fn into_result(self) -> (Result<(), ErrorCode>, Vec<Payload>) {
        match self.error {
            Some(error) => (Err(error), Vec::new()),
            None => (Ok(()), self.received),
        }
    }

    /// The client's name for the request.
    pub(super) fn cookie(&self) -> u64 {
        self.request.cookie
    }
}

fn judge(outcome: &Outcome) -> Result<(), ErrorCode> {
    let status = match outcome {
        Outcome::Answered { status, .. } => status.code,
        Outcome::Lost { .. } => return Err(ErrorCode::Io),
    };
    Err(match status {
        StatusCode::Success => return Ok(()),
        StatusCode::CapacityExceeded => ErrorCode::NoSpace,
        StatusCode::NamespaceWriteProtected | StatusCode::AccessDenied | StatusCode::ReservationConflict => {
            ErrorCode::NotPermitted
        }
        StatusCode::InvalidOpcode | StatusCode::InvalidField | StatusCode::LbaOutOfRange => ErrorCode::Invalid,
        _ => ErrorCode::Io,
    })
}

#[cfg(test)]
mod tests;
