//! Authentication after Connect: Authentication Send and Receive, one at a time, before any other command leaves.

use std::time::Duration;

use bytes::Bytes;

use super::input::{CONNECT_CID, unknown};
use super::output::message;
use super::{Arriving, Phase, Queue, QueueError};
use crate::Transmit;
use crate::auth::{AuthenticationError, Initiator, MAX_MESSAGE, Next, PROTOCOL, PROTOCOL_SPECIFIC};
use crate::command::{Auth, ConnectResult, Cqe, FabricsCommand, Status, StatusCode};
use crate::pdu::{C2hData, CapsuleCmd, Event, Pdu, PduType, Violation};

/// An exchange that is under way.
#[derive(Debug)]
pub(super) struct Exchange {
    initiator: Initiator,
    command: Command,
    /// CID of the command. Those of other commands are larger: none of them has used its slot before.
    cid: u16,
    sent: bool,
}

/// The command that is outstanding, or is to be sent.
#[derive(Debug)]
enum Command {
    Send(Bytes),
    Receive { data: Vec<u8>, last: bool, damaged: bool },
}

impl Exchange {
    /// What has gone wrong, if it is that which ends the queue.
    pub(super) fn failure(&self) -> Option<AuthenticationError> {
        self.initiator.failure()
    }

    /// Goes on with the next command. None if there is none, and what came of it all.
    fn proceed(&mut self) -> Option<Result<(), AuthenticationError>> {
        self.command = match self.initiator.next() {
            Next::Send(message) => Command::Send(message.into()),
            Next::Receive => Command::Receive { data: Vec::new(), last: false, damaged: false },
            Next::Done => return Some(Ok(())),
            Next::Failed(error) => return Some(Err(error)),
        };
        // Never twice the same, so that no late answer is taken for that of the next command.
        self.cid ^= 1;
        self.sent = false;
        None
    }
}

impl<T> Queue<T> {
    /// Connect has succeeded.
    pub(super) fn begin_authentication(&mut self, result: ConnectResult, deadline: Duration) {
        let Some(config) = &self.config.authentication else {
            if result.authenticate {
                self.end(QueueError::Authentication(AuthenticationError::NoSecret), None);
            } else {
                self.phase = Phase::Ready(result);
            }
            return;
        };
        if !result.authenticate && !config.is_required() {
            self.phase = Phase::Ready(result);
            return;
        }
        let initiator = Initiator::new(config, &self.config.identity.host, &self.config.identity.subsystem);
        let command = Command::Send(Bytes::new());
        let exchange = Box::new(Exchange { initiator, command, cid: CONNECT_CID, sent: true });
        self.phase = Phase::Authenticating { result, deadline, exchange };
        self.proceed();
    }

    pub(super) fn send_authentication(&mut self, out: &mut Vec<Bytes>) -> Option<Transmit> {
        let Phase::Authenticating { exchange, .. } = &mut self.phase else { return None };
        if std::mem::replace(&mut exchange.sent, true) {
            return None;
        }
        let auth = |length| Auth { protocol: PROTOCOL, specific: PROTOCOL_SPECIFIC, length };
        let (command, data) = match &exchange.command {
            Command::Send(bytes) => (FabricsCommand::AuthSend(auth(bytes.len() as u32)), Some(bytes.clone())),
            Command::Receive { .. } => (FabricsCommand::AuthReceive(auth(MAX_MESSAGE as u32)), None),
        };
        let mut sqe = command.to_sqe();
        sqe.cid = exchange.cid.into();
        let data_len = data.as_ref().map_or(0, Bytes::len) as u32;
        Some(message(self.encoder.encode_with_data(&Pdu::CapsuleCmd(CapsuleCmd { sqe, data_len }), data, out)))
    }

    /// What comes while the exchange is under way.
    pub(super) fn on_authentication_event(&mut self, event: Event) -> Result<(), Violation> {
        let Phase::Authenticating { exchange, .. } = &mut self.phase else { return Ok(()) };
        let is_outstanding = |exchange: &Exchange, cid: u16| exchange.sent && exchange.cid == cid;
        match event {
            Event::Pdu(Pdu::CapsuleResp(capsule)) => {
                let cid = capsule.cqe.cid.get();
                if !is_outstanding(exchange, cid) {
                    return Err(unknown(PduType::CapsuleResp, cid));
                }
                self.on_authentication_answer(&capsule.cqe);
            }
            Event::Pdu(Pdu::C2hData(header)) => {
                if !is_outstanding(exchange, header.cccid) {
                    return Err(unknown(PduType::C2hData, header.cccid));
                }
                self.arriving = Some(exchange.command.expect(&header)?);
            }
            Event::Pdu(Pdu::R2t(r2t)) => {
                return Err(match is_outstanding(exchange, r2t.cccid) {
                    // All of what is sent is in the capsule.
                    true => Violation::WrongDirection { pdu: PduType::R2t, cccid: r2t.cccid },
                    false => unknown(PduType::R2t, r2t.cccid),
                });
            }
            Event::Data(piece) => {
                if let Command::Receive { data, .. } = &mut exchange.command {
                    data.extend_from_slice(&piece);
                }
            }
            Event::DataEnd { intact } => {
                if let Command::Receive { damaged, .. } = &mut exchange.command {
                    *damaged |= !intact;
                }
                if let Some(Arriving { cid, success: true }) = self.arriving.take() {
                    self.on_authentication_answer(&Cqe::new(cid, Status::SUCCESS));
                }
            }
            Event::Pdu(pdu) => return Err(Violation::OutOfSequence(pdu.pdu_type())),
        }
        Ok(())
    }

    fn on_authentication_answer(&mut self, cqe: &Cqe) {
        let Phase::Authenticating { exchange, .. } = &mut self.phase else { return };
        let mut status = cqe.status();
        if let Command::Receive { data, damaged, .. } = &exchange.command
            && status.is_success()
        {
            match damaged {
                true => status = StatusCode::TransientTransportError.into(),
                false => exchange.initiator.on_message(data),
            }
        }
        if status.is_success() {
            self.proceed();
        } else {
            self.end(QueueError::Authentication(AuthenticationError::Command(status)), None);
        }
    }

    fn proceed(&mut self) {
        let Phase::Authenticating { result, exchange, .. } = &mut self.phase else { return };
        match exchange.proceed() {
            None => {}
            Some(Ok(())) => self.phase = Phase::Ready(*result),
            Some(Err(error)) => self.end(QueueError::Authentication(error), None),
        }
    }
}

impl Command {
    /// Judges the header of data.
    fn expect(&mut self, header: &C2hData) -> Result<Arriving, Violation> {
        let &C2hData { cccid, offset, length, last: is_last, success } = header;
        let pdu = PduType::C2hData;
        let Self::Receive { data, last, .. } = self else { return Err(Violation::WrongDirection { pdu, cccid }) };
        let (expected, limit) = (data.len() as u32, MAX_MESSAGE as u32);
        if offset != expected {
            return Err(Violation::DataOrder { pdu, offset, expected });
        }
        if *last {
            return Err(Violation::LastFlag { pdu, offset, length });
        }
        if length > limit - offset {
            return Err(Violation::DataRange { pdu, offset, length, limit });
        }
        *last = is_last;
        Ok(Arriving { cid: cccid, success })
    }
}
