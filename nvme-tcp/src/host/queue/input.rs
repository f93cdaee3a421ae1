//! What the controller sends.

use bytes::Bytes;

use super::slots::Command;
use super::{Arriving, Phase, Queue, QueueError, Transfer};
use crate::command::{ConnectResult, Cqe, InvalidParameter, Status, StatusCode};
use crate::host::{CommandId, Data, Outcome};
use crate::pdu::{C2hData, Event, IcResp, Pdu, PduType, R2t, TermReq, Violation};

/// CID of Connect. No other command is outstanding with it.
pub(super) const CONNECT_CID: u16 = 0;

impl<T> Queue<T> {
    /// Takes all of what the connection has received.
    pub fn receive(&mut self, input: &mut Bytes) {
        while !matches!(self.phase, Phase::Ended { .. }) {
            let handled = match self.decoder.decode(input) {
                Ok(Some(event)) => self.handle(event),
                Ok(None) => return,
                Err(violation) => Err(violation),
            };
            if let Err(violation) = handled {
                let farewell = TermReq::answering(&violation, self.decoder.header());
                self.end(QueueError::Violation(violation), Some(farewell));
            }
        }
        input.clear();
    }

    fn handle(&mut self, event: Event) -> Result<(), Violation> {
        match event {
            Event::Pdu(Pdu::IcResp(response)) => self.on_initialized(&response),
            Event::Pdu(Pdu::C2hTermReq(request)) => {
                self.end(QueueError::Terminated { fes: request.fes, fei: request.fei }, None);
                Ok(())
            }
            event if matches!(self.phase, Phase::Authenticating { .. }) => self.on_authentication_event(event),
            Event::Pdu(Pdu::CapsuleResp(capsule)) => match self.phase {
                Phase::Connecting { .. } => self.on_connected(&capsule.cqe),
                _ => self.on_response(&capsule.cqe),
            },
            Event::Pdu(Pdu::C2hData(data)) => self.on_data_header(&data),
            Event::Pdu(Pdu::R2t(r2t)) => self.on_r2t(&r2t),
            Event::Data(piece) => {
                self.on_data(piece);
                Ok(())
            }
            Event::DataEnd { intact } => {
                self.on_data_end(intact);
                Ok(())
            }
            Event::Pdu(pdu) => unreachable!("the decoder of a host refuses a {}", pdu.pdu_type()),
        }
    }

    fn on_initialized(&mut self, response: &IcResp) -> Result<(), Violation> {
        let Phase::Initializing { request_sent: true, deadline } = self.phase else {
            return Err(Violation::OutOfSequence(PduType::IcResp));
        };
        let parameters = self.config.offer.accept(response)?;
        self.decoder.establish(&parameters);
        self.encoder.establish(&parameters);
        self.max_h2c_data = parameters.max_h2c_data;
        self.max_r2t = parameters.max_r2t;
        self.phase = Phase::Connecting { sent: false, deadline };
        Ok(())
    }

    fn on_connected(&mut self, cqe: &Cqe) -> Result<(), Violation> {
        let Phase::Connecting { sent: true, deadline } = self.phase else {
            return Err(unknown(PduType::CapsuleResp, cqe.cid.get()));
        };
        if cqe.cid.get() != CONNECT_CID {
            return Err(unknown(PduType::CapsuleResp, cqe.cid.get()));
        }
        let status = cqe.status();
        if !status.is_success() {
            let parameter = (status.code == StatusCode::ConnectInvalidParameters)
                .then(|| InvalidParameter::from_bits(cqe.dw0.get()));
            self.end(QueueError::Refused { status, parameter }, None);
            return Ok(());
        }
        let result = ConnectResult::from_bits(cqe.dw0.get());
        self.begin_authentication(result, deadline);
        Ok(())
    }

    fn on_response(&mut self, cqe: &Cqe) -> Result<(), Violation> {
        let cid = cqe.cid.get();
        self.outstanding_command(PduType::CapsuleResp, cid)?;
        self.finish(cid, cqe.status(), cqe.result());
        Ok(())
    }

    fn on_data_header(&mut self, data: &C2hData) -> Result<(), Violation> {
        let &C2hData { cccid, offset, length, last, success } = data;
        let pdu = PduType::C2hData;
        let command = self.outstanding_command(pdu, cccid)?;
        let Data::Receive { length: wanted, .. } = command.request.data else {
            return Err(Violation::WrongDirection { pdu, cccid });
        };
        if offset != command.transferred {
            return Err(Violation::DataOrder { pdu, offset, expected: command.transferred });
        }
        if command.last {
            return Err(Violation::LastFlag { pdu, offset, length });
        }
        if length > wanted - offset {
            return Err(Violation::DataRange { pdu, offset, length, limit: wanted });
        }
        command.transferred += length;
        command.last = last;
        self.arriving = Some(Arriving { cid: cccid, success });
        Ok(())
    }

    fn on_data(&mut self, piece: Bytes) {
        if let Some(arriving) = &self.arriving
            && let Some(command) = self.slots.get_mut(arriving.cid)
            && let Data::Receive { into, .. } = &mut command.request.data
        {
            into.push(piece);
        }
    }

    fn on_data_end(&mut self, intact: bool) {
        let Some(arriving) = self.arriving.take() else { return };
        if !intact && let Some(command) = self.slots.get_mut(arriving.cid) {
            command.damaged = true;
        }
        if arriving.success {
            self.finish(arriving.cid, Status::SUCCESS, 0);
        }
    }

    fn on_r2t(&mut self, r2t: &R2t) -> Result<(), Violation> {
        let &R2t { cccid, ttag, offset, length } = r2t;
        let pdu = PduType::R2t;
        let limit = self.max_r2t;
        let command = self.outstanding_command(pdu, cccid)?;
        // Nor may it ask for what was in the capsule, or, in a read, for whatever memory lies behind it.
        if !matches!(command.request.data, Data::Send(_)) || command.in_capsule {
            return Err(Violation::WrongDirection { pdu, cccid });
        }
        if offset != command.transferred {
            return Err(Violation::DataOrder { pdu, offset, expected: command.transferred });
        }
        let wanted = command.to_transfer();
        if length > wanted - offset {
            return Err(Violation::DataRange { pdu, offset, length, limit: wanted });
        }
        if command.r2ts >= limit {
            return Err(Violation::TooManyR2ts { limit });
        }
        command.transferred += length;
        command.r2ts += 1;
        self.transfers.push_back(Transfer { cid: cccid, ttag, offset, left: length });
        Ok(())
    }

    /// The command that a PDU names. One that was not sent cannot have been answered.
    fn outstanding_command(&mut self, pdu: PduType, cccid: u16) -> Result<&mut Command<T>, Violation> {
        self.slots.get_mut(cccid).filter(|command| command.sent).ok_or(unknown(pdu, cccid))
    }

    fn finish(&mut self, cid: u16, status: Status, result: u64) {
        let Some(command) = self.slots.remove(cid) else { return };
        // What was asked for and not yet sent is not wanted any more.
        if command.r2ts > 0 {
            self.transfers.retain(|transfer| transfer.cid != cid);
        }
        let complete = command.transferred == command.to_transfer() && command.r2ts == 0;
        let status = match status.is_success() {
            true if command.damaged => StatusCode::TransientTransportError.into(),
            true if !complete => StatusCode::DataTransferError.into(),
            _ => status,
        };
        self.complete(CommandId(cid), command.request, Outcome::Answered { status, result });
    }
}

pub(super) fn unknown(pdu: PduType, cccid: u16) -> Violation {
    Violation::UnknownCommand { pdu, cccid }
}
