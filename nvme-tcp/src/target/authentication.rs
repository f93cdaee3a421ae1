//! Authentication Send and Receive: a queue takes no other command before the host has proven who it is.

use std::time::Duration;

use bytes::Bytes;

use super::connection::{CloseReason, Connection, Phase};
use super::queue::SlotId;
use crate::auth::{MAX_MESSAGE, PROTOCOL, PROTOCOL_SPECIFIC, Responder};
use crate::command::{Auth, FabricsCommand, StatusCode};
use crate::pdu::Payload;

/// The authentication of a queue.
#[derive(Debug)]
pub(super) struct Authentication {
    responder: Responder,
    /// When the first one has to be complete.
    deadline: Duration,
}

impl Authentication {
    pub(super) fn new(responder: Responder, deadline: Duration) -> Self {
        Self { responder, deadline }
    }

    /// Whether other commands may come.
    pub(super) fn is_passed(&self) -> bool {
        self.responder.is_authenticated()
    }
}

impl Connection {
    /// When the host has to have authenticated, if that is still to be done.
    pub(super) fn authentication_deadline(&self) -> Option<Duration> {
        let ends = matches!(self.phase, Phase::Closing { .. } | Phase::Closed { .. });
        let authentication = self.authentication.as_ref().filter(|one| !ends && !one.is_passed())?;
        Some(authentication.deadline)
    }

    /// Whether it is the host that it says it is, as far as it has to show that. Before, what it does tells nothing of the controller's host.
    pub(super) fn is_admitted(&self) -> bool {
        self.authentication.as_ref().is_none_or(|authentication| authentication.is_passed())
    }

    /// Whether a command may come, given what the host has proven; `length` is that of its data.
    pub(super) fn check_authentication(&self, command: Option<&FabricsCommand>, length: u32) -> Result<(), StatusCode> {
        match (command, &self.authentication) {
            (Some(FabricsCommand::AuthSend(auth) | FabricsCommand::AuthReceive(auth)), Some(_)) => check(auth, length),
            (Some(FabricsCommand::AuthSend(_) | FabricsCommand::AuthReceive(_)), None) => {
                Err(StatusCode::InvalidOpcode)
            }
            (_, Some(authentication)) if !authentication.is_passed() => Err(StatusCode::AuthenticationRequired),
            _ => Ok(()),
        }
    }

    pub(super) fn take_authentication(&mut self, now: Duration, id: SlotId) {
        let Some(authentication) = &mut self.authentication else {
            return self.complete(id, Err(StatusCode::InvalidOpcode));
        };
        authentication.responder.on_message(&self.queue.slot(id).data.to_contiguous());
        self.complete(id, Ok(0));
        self.end_if_failed(now);
    }

    pub(super) fn give_authentication(&mut self, now: Duration, id: SlotId, room: u32) {
        let Some(authentication) = &mut self.authentication else {
            return self.complete(id, Err(StatusCode::InvalidOpcode));
        };
        let room = room as usize;
        let Some(mut message) = authentication.responder.message(room) else {
            return self.complete(id, Err(StatusCode::InvalidField));
        };
        // Hosts take a command for failed that brings less than they have asked for.
        message.resize(room, 0);
        self.respond_with_data(id, Payload::from(Bytes::from(message)));
        self.end_if_failed(now);
    }

    /// Ends the connection once the host was told that it is not let in.
    fn end_if_failed(&mut self, now: Duration) {
        if let Some(reason) = self.authentication.as_ref().and_then(|one| one.responder.failure()) {
            let deadline = now + self.target.config().close_timeout;
            self.leave(Phase::Closing { reason: CloseReason::Unauthenticated(reason), deadline });
        }
    }
}

fn check(auth: &Auth, length: u32) -> Result<(), StatusCode> {
    let is_ours = auth.protocol == PROTOCOL && auth.specific == PROTOCOL_SPECIFIC;
    if !is_ours || auth.length == 0 || auth.length as usize > MAX_MESSAGE {
        return Err(StatusCode::InvalidField);
    }
    if auth.length != length {
        return Err(StatusCode::InvalidDataSglLength);
    }
    Ok(())
}
