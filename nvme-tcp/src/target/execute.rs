//! Commands, from their arrival to their completion.

use std::time::Duration;

use bytes::Bytes;

use super::backend::{Completion, Submission, Token};
use super::connection::{CloseReason, Connection, Phase};
use super::controller::Outcome;
use super::io::{FirstHalf, IoWork, Reserved, first_block};
use super::queue::{SlotId, Stage, Work};
use crate::command::{AdminCommand, FABRICS, FabricsCommand, Fuse, IoCommand, Placement, Sqe, Status, StatusCode};
use crate::pdu::{ADMIN_IN_CAPSULE_DATA, CapsuleCmd, Payload, Pdu, Violation};

/// Something small to be sent.
#[derive(Debug)]
pub(super) enum Response {
    Pdu(Pdu),
    /// The completion of this command.
    Completion(SlotId),
}

/// Which way a command's data goes; the lowest two bits of an opcode, or of FCTYPE, say so.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    None,
    ToController,
    ToHost,
}

impl Direction {
    fn of(sqe: &Sqe) -> Self {
        let code = if sqe.opcode == FABRICS { sqe.fabrics_type() } else { sqe.opcode };
        match code & 0b11 {
            0b01 => Self::ToController,
            0b10 => Self::ToHost,
            _ => Self::None,
        }
    }
}

impl Connection {
    /// An operation has ended.
    pub fn handle_completion(&mut self, completion: Completion) {
        let Completion { token, result, data } = completion;
        if !self.shares.is_empty() {
            self.pass_fences(token.slot);
        }
        let Some(slot) = self.queue.end_operation(token.slot) else { return };
        // After a TermReq, or a Disconnect, nothing else is said.
        if matches!(self.phase, Phase::Closing { .. } | Phase::Closed { .. }) {
            return;
        }
        let Work::Io(work) = &slot.work else { return };
        let work = *work;
        let (is_read, expected) = (matches!(work.command, IoCommand::Read { .. }), work.transfer as usize);
        let partner = slot.partner.take();
        if result.is_ok() {
            self.note_executed(&work);
        }
        if let Some(second) = partner {
            if let Work::Io(work) = self.queue.slot(second).work.clone()
                && result.is_ok()
            {
                self.note_executed(&work);
            }
            self.queue.slot(second).partner = None;
            self.queue.recycle(data);
            self.complete(token.slot, result.map(|()| 0));
            self.complete(second, result.map(|()| 0).map_err(|_| StatusCode::AbortedFailedFuse));
            return;
        }
        match result {
            Ok(()) if is_read && data.len() == expected => self.respond_with_data(token.slot, data),
            // A store that returns less than was asked for has failed.
            Ok(()) if is_read => self.complete(token.slot, Err(StatusCode::InternalError)),
            result => {
                self.queue.recycle(data);
                self.complete(token.slot, result.map(|()| 0));
            }
        }
    }

    fn note_executed(&self, work: &IoWork) {
        if let Phase::Io(queue) = &self.phase {
            queue.note_executed(work);
        }
    }

    /// A command has come. Returns it if its data follows in the capsule.
    pub(super) fn on_command(&mut self, now: Duration, capsule: &CapsuleCmd) -> Result<Option<SlotId>, Violation> {
        let CapsuleCmd { sqe, data_len } = *capsule;
        let is_admitted = self.is_admitted();
        match &mut self.phase {
            _ if !is_admitted => {}
            Phase::Admin(controller) => controller.note_activity(now),
            Phase::Io(queue) => queue.association.note_activity(),
            _ => {}
        }
        let direction = Direction::of(&sqe);
        let placement = self.check_sgl(&sqe, direction, data_len)?;
        let length = if direction == Direction::None { 0 } else { sqe.sgl.length.get() };
        let work = self.plan(&sqe, length).unwrap_or_else(Work::Fail);
        let (id, duplicate) = self.queue.take(sqe, work)?;
        if duplicate {
            self.queue.slot(id).work = Work::Fail(StatusCode::CommandIdConflict);
        }
        self.pair(id);
        if placement == Placement::InCapsule && data_len > 0 {
            return Ok(Some(id));
        }
        let fails = matches!(self.queue.slot(id).work, Work::Fail(_));
        if direction == Direction::ToController && length > 0 && !fails {
            self.queue.slot(id).inbound.length = length;
            if self.queue.may_ask(id) {
                self.ask_for_data(id);
            }
        } else {
            self.on_data_complete(now, id);
        }
        Ok(None)
    }

    /// Sends as many R2Ts for a command as the host can have.
    pub(super) fn ask_for_data(&mut self, id: SlotId) {
        let max_outstanding = self.parameters.as_ref().map_or(1, |parameters| parameters.max_r2t);
        let max_length = self.target.config().max_r2t_length;
        while let Some(r2t) = self.queue.next_r2t(id, max_outstanding, max_length) {
            self.urgent.push_back(Response::Pdu(Pdu::R2t(r2t)));
        }
    }

    /// All data of a command has come, if there is any.
    pub(super) fn on_data_complete(&mut self, now: Duration, id: SlotId) {
        let slot = self.queue.slot(id);
        if slot.inbound.damaged {
            return self.complete(id, Err(StatusCode::TransientTransportError));
        }
        match slot.work.clone() {
            Work::Fail(status) => self.complete(id, Err(status)),
            Work::Fabrics(command) => self.execute_fabrics(now, id, &command),
            Work::Io(work) if work.fuse != Fuse::Normal => self.on_fused_ready(id),
            work if self.queue.may_begin(id) => self.begin(id, &work),
            // Its turn comes when enough of what others return has left.
            _ => {}
        }
    }

    /// There is room for what a command returns.
    pub(super) fn begin(&mut self, id: SlotId, work: &Work) {
        match work {
            Work::Io(work) => self.submit(id, work),
            Work::Admin(command) => self.execute_admin(id, command),
            // These are not kept waiting.
            Work::Fabrics(_) | Work::Fail(_) => {}
        }
    }

    /// The command has ended, so or so.
    pub(super) fn complete(&mut self, id: SlotId, result: Result<u64, StatusCode>) {
        match result {
            Ok(value) => self.complete_with(id, Status::SUCCESS, value),
            Err(status) => self.complete_with(id, status.into(), 0),
        }
    }

    /// The command has ended with this status and this result.
    pub(super) fn complete_with(&mut self, id: SlotId, status: Status, result: u64) {
        let slot = self.queue.slot(id);
        (slot.status, slot.result, slot.stage) = (status, result, Stage::Responding);
        slot.data.clear();
        let (sqe, partner) = (slot.sqe, slot.partner.take());
        if !status.is_success() {
            let is_admitted = self.is_admitted();
            match &mut self.phase {
                Phase::Admin(controller) if is_admitted => controller.association.errors.note(0, &sqe, status, 0),
                Phase::Io(queue) => {
                    if queue.fused == FirstHalf::Here(id) {
                        queue.fused = FirstHalf::Failed;
                    }
                    if is_admitted {
                        queue.association.errors.note(queue.id, &sqe, status, first_block(&sqe));
                    }
                }
                _ => {}
            }
        }
        self.urgent.push_back(Response::Completion(id));
        if let Some(other) = partner {
            self.queue.slot(other).partner = None;
            self.abandon(other, StatusCode::AbortedFailedFuse);
        }
        if !status.is_success() {
            self.pass_appeals(id);
        }
    }

    /// Reports events for which there are requests.
    pub(super) fn deliver_events(&mut self) {
        while let Phase::Admin(controller) = &mut self.phase
            && let Some((request, event)) = controller.events.next()
        {
            self.complete(request, Ok(event.bits().into()));
        }
    }

    /// Judges the descriptor of a command's data.
    fn check_sgl(&self, sqe: &Sqe, direction: Direction, carried: u32) -> Result<Placement, Violation> {
        let (sgl, length) = (sqe.sgl, sqe.sgl.length.get());
        if direction == Direction::None {
            // Nothing is transferred, so nothing may be in the capsule.
            return match carried {
                0 => Ok(Placement::Transport),
                _ => Err(Violation::InCapsuleLength { sgl: 0, carried }),
            };
        }
        let placement = sgl.placement().ok_or(Violation::SglType(sgl.identifier))?;
        let limit = self.target.config().max_transfer;
        match placement {
            Placement::InCapsule => {
                let limit = match self.phase {
                    Phase::Io(_) if sqe.opcode != FABRICS => self.target.config().in_capsule_data,
                    _ => ADMIN_IN_CAPSULE_DATA,
                };
                if sgl.address.get() != 0 {
                    return Err(Violation::InCapsuleOffset(sgl.address.get()));
                }
                if length > limit {
                    return Err(Violation::InCapsuleTooLong { length, limit });
                }
                // Data for the host cannot be in the host's capsule; a descriptor that says so is for none.
                if length != carried || (direction == Direction::ToHost && length > 0) {
                    return Err(Violation::InCapsuleLength { sgl: length, carried });
                }
            }
            Placement::Transport if carried > 0 => return Err(Violation::InCapsuleLength { sgl: 0, carried }),
            Placement::Transport if length > limit => return Err(Violation::TransferTooLong { length, limit }),
            Placement::Transport => {}
        }
        Ok(placement)
    }

    /// What a command asks for, as far as that can be said without its data.
    fn plan(&self, sqe: &Sqe, length: u32) -> Result<Work, StatusCode> {
        if length > 0 && !sqe.uses_sgl() {
            return Err(StatusCode::InvalidField);
        }
        if sqe.opcode == FABRICS {
            let command = FabricsCommand::parse(sqe)?;
            let connecting = matches!(self.phase, Phase::Connecting { .. });
            if connecting != matches!(command, FabricsCommand::Connect(_)) {
                return Err(StatusCode::CommandSequenceError);
            }
            self.check_authentication(Some(&command), length)?;
            return Ok(Work::Fabrics(command));
        }
        self.check_authentication(None, length)?;
        match &self.phase {
            Phase::Admin(_) if sqe.fuse() != Some(Fuse::Normal) => Err(StatusCode::InvalidField),
            Phase::Admin(_) => AdminCommand::parse(sqe).map(Work::Admin),
            Phase::Io(queue) => queue.plan(sqe, length).map(Work::Io),
            _ => Err(StatusCode::CommandSequenceError),
        }
    }

    /// Finds the other half of a fused operation, which comes directly before or after.
    fn pair(&mut self, id: SlotId) {
        let Phase::Io(queue) = &mut self.phase else { return };
        let slot = self.queue.slot(id);
        let half = slot.sqe.fuse();
        let before = std::mem::take(&mut queue.fused);
        if half == Some(Fuse::First) {
            queue.fused = match slot.work {
                Work::Io(_) => FirstHalf::Here(id),
                _ => FirstHalf::Failed,
            };
        }
        let second = match &slot.work {
            Work::Io(work) if half == Some(Fuse::Second) => Some(*work),
            _ => None,
        };
        match (before, second) {
            (FirstHalf::Here(first), Some(work)) => {
                let matching = matches!(&self.queue.slot(first).work, Work::Io(other) if other.goes_with(&work));
                if matching {
                    self.queue.slot(first).partner = Some(id);
                    self.queue.slot(id).partner = Some(first);
                } else {
                    self.abandon(first, StatusCode::AbortedMissingFuse);
                    self.queue.slot(id).work = Work::Fail(StatusCode::AbortedMissingFuse);
                }
            }
            // The second half is itself impossible, or something else has come.
            (FirstHalf::Here(first), None) => {
                let failed = half == Some(Fuse::Second);
                let status = if failed { StatusCode::AbortedFailedFuse } else { StatusCode::AbortedMissingFuse };
                self.abandon(first, status);
            }
            (FirstHalf::Failed, Some(_)) => self.queue.slot(id).work = Work::Fail(StatusCode::AbortedFailedFuse),
            (FirstHalf::None, Some(_)) => self.queue.slot(id).work = Work::Fail(StatusCode::AbortedMissingFuse),
            (FirstHalf::Failed | FirstHalf::None, None) => {}
        }
    }

    /// A command that has not begun is not to be done: it fails at once, unless its data is coming and has to be out of the way first.
    pub(super) fn abandon(&mut self, id: SlotId, status: StatusCode) {
        let has_data = matches!(self.queue.slot(id).stage, Stage::Waiting | Stage::Queued);
        if has_data || self.queue.withdraw(id) {
            self.complete(id, Err(status));
        } else {
            self.queue.stop_asking(id);
            self.queue.slot(id).work = Work::Fail(status);
        }
    }

    /// The data of a half of a fused operation is there.
    fn on_fused_ready(&mut self, id: SlotId) {
        let slot = self.queue.slot(id);
        slot.stage = Stage::Waiting;
        let Some(other) = slot.partner else { return };
        if self.queue.slot(other).stage != Stage::Waiting {
            return;
        }
        let is_second = matches!(&self.queue.slot(id).work, Work::Io(work) if work.fuse == Fuse::Second);
        let (first, second) = if is_second { (other, id) } else { (id, other) };
        let Work::Io(work) = self.queue.slot(second).work else { return };
        if let Phase::Io(queue) = &mut self.phase
            && let Err(status) = queue.check_reservations(&work)
        {
            return self.complete(first, Err(status));
        }
        let expected = std::mem::take(&mut self.queue.slot(first).data);
        let data = std::mem::take(&mut self.queue.slot(second).data);
        match work.fused_operation(expected, data) {
            Ok(operation) => {
                self.queue.slot(first).stage = Stage::Queued;
                self.queue.slot(second).stage = Stage::Queued;
                let token = Token { connection: self.settings.id, slot: first };
                self.submissions.push_back(Submission { token, store: work.store(), operation });
            }
            Err(status) => self.complete(first, Err(status)),
        }
    }

    fn submit(&mut self, id: SlotId, work: &IoWork) {
        let Phase::Io(queue) = &mut self.phase else { return };
        if let Err(status) = queue.check_reservations(work) {
            return self.complete(id, Err(status));
        }
        let data = std::mem::take(&mut self.queue.slot(id).data);
        if work.is_about_reservations() {
            return match queue.reserve(work, &data) {
                Ok(Reserved::Report(report)) if !report.is_empty() => {
                    self.respond_with_data(id, Payload::from(Bytes::from(report)));
                }
                Ok(Reserved::Report(_) | Reserved::Done) => self.complete(id, Ok(0)),
                Ok(Reserved::ShutOut(hosts)) => self.fence_off(id, work.store(), &hosts),
                Err(status) => self.complete(id, Err(status)),
            };
        }
        match work.operation(data) {
            Ok(Some(operation)) => {
                self.queue.slot(id).stage = Stage::Queued;
                let token = Token { connection: self.settings.id, slot: id };
                self.submissions.push_back(Submission { token, store: work.store(), operation });
            }
            Ok(None) => self.complete(id, Ok(0)),
            Err(status) => self.complete(id, Err(status)),
        }
    }

    pub(super) fn respond_with_data(&mut self, id: SlotId, data: Payload) {
        let slot = self.queue.slot(id);
        (slot.status, slot.result, slot.stage) = (Status::SUCCESS, 0, Stage::Responding);
        let empty = std::mem::replace(&mut slot.data, data);
        self.queue.recycle(empty);
        self.bulk.push_back(id);
    }

    fn execute_admin(&mut self, id: SlotId, command: &AdminCommand) {
        let Phase::Admin(controller) = &mut self.phase else {
            return self.complete(id, Err(StatusCode::CommandSequenceError));
        };
        let slot = self.queue.slot(id);
        let (sqe, data) = (slot.sqe, std::mem::take(&mut slot.data));
        let outcome = controller.execute(&self.target, id, command, &sqe, &data);
        self.queue.recycle(data);
        match outcome {
            Outcome::Done(result) => self.complete(id, result),
            Outcome::Data(bytes) if bytes.len() > sqe.sgl.length.get() as usize => {
                self.complete(id, Err(StatusCode::InvalidDataSglLength));
            }
            Outcome::Data(bytes) => {
                let mut data = self.queue.spare();
                data.push(bytes);
                self.respond_with_data(id, data);
            }
            Outcome::Waits => self.queue.slot(id).stage = Stage::Waiting,
            Outcome::Aborts { queue, cid } => self.abort(id, queue, cid),
        }
        self.deliver_events();
    }

    fn execute_fabrics(&mut self, now: Duration, id: SlotId, command: &FabricsCommand) {
        match (command, &mut self.phase) {
            (FabricsCommand::Connect(connect), _) => self.connect(now, id, connect),
            (FabricsCommand::PropertyGet { offset, size }, Phase::Admin(controller)) => {
                let result = controller.property(&self.target, *offset, *size);
                self.complete(id, result);
            }
            (FabricsCommand::PropertySet { offset, size, value }, Phase::Admin(controller)) => {
                match controller.set_property(*offset, *size, *value) {
                    Ok(None) => self.complete(id, Ok(0)),
                    Ok(Some(aborted)) => {
                        for request in aborted {
                            self.complete(request, Err(StatusCode::AbortedSqDeletion));
                        }
                        self.complete(id, Ok(0));
                        self.target.announce();
                    }
                    Err(status) => self.complete(id, Err(status)),
                }
            }
            (FabricsCommand::Disconnect, Phase::Io(_)) => {
                self.complete(id, Ok(0));
                let deadline = now + self.target.config().close_timeout;
                self.leave(Phase::Closing { reason: CloseReason::Disconnected, deadline });
            }
            (FabricsCommand::AuthSend(_), _) => self.take_authentication(now, id),
            (FabricsCommand::AuthReceive(auth), _) => self.give_authentication(now, id, auth.length),
            _ => self.complete(id, Err(StatusCode::InvalidQueueType)),
        }
    }
}
