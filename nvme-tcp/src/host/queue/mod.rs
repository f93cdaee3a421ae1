//! One connection to a controller: one queue.

mod authenticate;
mod config;
mod error;
#[cfg(test)]
mod fuzz;
mod input;
mod output;
mod slots;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

pub use config::{HostIdentity, MAX_ENTRIES, QueueConfig};
pub use error::{QueueError, Refusal, Refused};

use super::{CommandId, Completion, Data, Outcome, Request};
use crate::command::{AdminOpcode, ConnectResult, FABRICS};
use crate::pdu::{ADMIN_IN_CAPSULE_DATA, Decoder, Encoder, Role, TermReq};
use authenticate::Exchange;
use slots::{Command, Slots};

/// A queue of a controller over a connection of its own.
///
/// What the connection receives goes to [`receive`](Self::receive), what [`poll_transmit`](Self::poll_transmit) returns goes
/// out, and [`poll_completion`](Self::poll_completion) tells how commands ended. ICReq, Connect and authentication leave by themselves;
/// commands may be submitted from the start, and leave once the queue is connected.
///
/// A queue takes one command less than it has entries. That alone keeps the submission queue from overflowing, whatever the
/// controller says of its SQ head: entries that it has not taken are of commands that are outstanding. So nothing depends on
/// SQHD, which controllers leave out along with the CapsuleResp when they set SUCCESS, whether or not flow control is on.
///
/// Any violation of the protocol ends the queue with H2CTermReq, and with it every command; there is no way back.
#[derive(Debug)]
pub struct Queue<T> {
    config: QueueConfig,
    decoder: Decoder,
    encoder: Encoder,
    max_h2c_data: u32,
    max_r2t: u32,
    phase: Phase,
    slots: Slots<T>,
    /// CIDs of commands that are to be sent, in the order in which they were submitted.
    capsules: VecDeque<u16>,
    /// R2Ts that are to be served, in the order in which they came.
    transfers: VecDeque<Transfer>,
    arriving: Option<Arriving>,
    completed: VecDeque<Completion<T>>,
}

#[derive(Debug)]
enum Phase {
    /// No ICResp has come.
    Initializing { request_sent: bool, deadline: Duration },
    /// Connect was not answered.
    Connecting { sent: bool, deadline: Duration },
    /// Connected, but both ends still have to show who they are.
    Authenticating { result: ConnectResult, deadline: Duration, exchange: Box<Exchange> },
    /// Connected.
    Ready(ConnectResult),
    /// Nothing more is sent but the farewell.
    Ended { error: QueueError, farewell: Option<TermReq>, has_lost: bool },
}

/// An R2T.
#[derive(Debug)]
struct Transfer {
    cid: u16,
    ttag: u16,
    offset: u32,
    left: u32,
}

/// A C2HData whose data is coming.
#[derive(Debug)]
struct Arriving {
    cid: u16,
    success: bool,
}

/// How far a queue is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueState {
    /// Neither accepted nor refused.
    Connecting,
    /// It takes commands.
    Ready(ConnectResult),
    /// It is of no more use. Its commands have all completed; close the connection once there is nothing more to transmit.
    Ended(QueueError),
}

impl<T> Queue<T> {
    /// A queue over a connection that was made at `now`.
    pub fn new(config: QueueConfig, now: Duration) -> Self {
        let deadline = now.saturating_add(config.connect_timeout);
        Self {
            slots: Slots::new(config.entries() as usize - 1),
            config,
            decoder: Decoder::new(Role::Host),
            encoder: Encoder::new(Role::Host),
            max_h2c_data: 0,
            max_r2t: 0,
            phase: Phase::Initializing { request_sent: false, deadline },
            capsules: VecDeque::new(),
            transfers: VecDeque::new(),
            arriving: None,
            completed: VecDeque::new(),
        }
    }

    /// Takes a command, which will complete exactly once. Commands leave in the order in which they are submitted.
    ///
    /// # Errors
    /// The request, if the queue is full or has ended, or the data is too long.
    #[expect(clippy::result_large_err, reason = "the request, which was handed over by value, goes back to its owner")]
    pub fn submit(&mut self, mut request: Request<T>, now: Duration) -> Result<CommandId, Refused<T>> {
        let reason = match () {
            () if matches!(self.phase, Phase::Ended { .. }) => Some(Refusal::Ended),
            () if self.slots.room() == 0 => Some(Refusal::Full),
            () if request.payload().is_some_and(|payload| u32::try_from(payload.len()).is_err()) => {
                Some(Refusal::TooLong)
            }
            () => None,
        };
        if let Some(reason) = reason {
            return Err(Refused { reason, request });
        }
        let in_capsule = match &mut request.data {
            Data::Send(payload) => payload.len() <= self.in_capsule_limit(request.sqe.opcode),
            Data::Receive { into, .. } => {
                into.clear();
                false
            }
            Data::None => false,
        };
        let waits_for_event = self.config.id == 0 && request.sqe.opcode == AdminOpcode::AsyncEventRequest as u8;
        let deadline =
            self.config.command_timeout.filter(|_| !waits_for_event).map(|timeout| now.saturating_add(timeout));
        let id = self.slots.insert(Command {
            request,
            sent: false,
            in_capsule,
            transferred: 0,
            r2ts: 0,
            last: false,
            damaged: false,
            deadline,
        });
        self.capsules.push_back(id.0);
        Ok(id)
    }

    /// The next command that has ended.
    pub fn poll_completion(&mut self) -> Option<Completion<T>> {
        self.completed.pop_front()
    }

    /// How many commands it takes at present. Two that are fused have to be submitted one right after the other.
    pub fn room(&self) -> usize {
        if matches!(self.phase, Phase::Ended { .. }) { 0 } else { self.slots.room() }
    }

    /// How many commands are outstanding.
    pub fn outstanding(&self) -> usize {
        self.slots.len()
    }

    /// How far it is.
    pub fn state(&self) -> QueueState {
        match &self.phase {
            Phase::Initializing { .. } | Phase::Connecting { .. } | Phase::Authenticating { .. } => {
                QueueState::Connecting
            }
            Phase::Ready(result) => QueueState::Ready(*result),
            Phase::Ended { error, .. } => QueueState::Ended(*error),
        }
    }

    /// Whether commands were outstanding when it ended. What has left of them, and not arrived, is better not sent any more: they may go elsewhere.
    pub fn has_lost_commands(&self) -> bool {
        matches!(self.phase, Phase::Ended { has_lost: true, .. })
    }

    /// What it was made with.
    pub fn config(&self) -> &QueueConfig {
        &self.config
    }

    /// The connection is gone: every command completes as lost.
    pub fn connection_lost(&mut self) {
        self.end(QueueError::ConnectionLost, None);
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<Duration> {
        match self.phase {
            Phase::Initializing { deadline, .. }
            | Phase::Connecting { deadline, .. }
            | Phase::Authenticating { deadline, .. } => Some(deadline),
            Phase::Ready(_) => self.slots.first_deadline().map(|(_, deadline)| deadline),
            Phase::Ended { .. } => None,
        }
    }

    /// Ends the queue if something is overdue.
    pub fn handle_timeout(&mut self, now: Duration) {
        if self.poll_timeout().is_none_or(|deadline| now < deadline) {
            return;
        }
        let error = match (&self.phase, self.slots.first_deadline()) {
            (Phase::Ready(_), Some((id, _))) => QueueError::CommandTimeout(id),
            _ => QueueError::ConnectTimeout,
        };
        self.end(error, None);
    }

    /// Bytes that a capsule of such a command may carry. What I/O capsules carry is up to the controller, but not for Fabrics.
    fn in_capsule_limit(&self, opcode: u8) -> usize {
        let limit = if opcode == FABRICS { ADMIN_IN_CAPSULE_DATA } else { self.config.in_capsule_data };
        limit as usize
    }

    /// Ends the queue: all commands are lost, in the order of their submission.
    fn end(&mut self, error: QueueError, farewell: Option<TermReq>) {
        let error = match &self.phase {
            Phase::Ended { .. } => return,
            // A controller that is told so may close the connection before it answers.
            Phase::Authenticating { exchange, .. } => exchange.failure().map_or(error, QueueError::Authentication),
            _ => error,
        };
        self.phase = Phase::Ended { error, farewell, has_lost: self.slots.len() > 0 };
        self.capsules.clear();
        self.transfers.clear();
        self.arriving = None;
        while let Some(id) = self.slots.oldest()
            && let Some(command) = self.slots.remove(id.0)
        {
            self.complete(id, command.request, Outcome::Lost { sent: command.sent });
        }
    }

    fn complete(&mut self, id: CommandId, mut request: Request<T>, outcome: Outcome) {
        if let Data::Receive { into, .. } = &mut request.data
            && !outcome.is_success()
        {
            into.clear();
        }
        self.completed.push_back(Completion { id, outcome, request });
    }
}
