//! What the host sends.

use bytes::Bytes;
use zerocopy::IntoBytes;

use super::input::CONNECT_CID;
use super::{Phase, Queue, Transfer};
use crate::command::{FabricsCommand, Sgl};
use crate::host::Data;
use crate::pdu::{CapsuleCmd, H2cData, Pdu};
use crate::{Class, Transmit};

/// Bytes of data in one H2CData, however many the controller takes: commands do not have to wait behind more.
const H2C_DATA: u32 = 128 * 1024;

impl<T> Queue<T> {
    /// Appends the next PDU to `out`: commands before data. None if there is nothing to send.
    ///
    /// Capsules are of class [`Class::Latency`], data that was asked for is [`Class::Bulk`]; a message ends with each capsule, and
    /// with all of the data that was asked for at once. Data is not copied. Ask no more often than the connection takes bytes, so that commands can overtake data.
    pub fn poll_transmit(&mut self, out: &mut Vec<Bytes>) -> Option<Transmit> {
        match &mut self.phase {
            Phase::Initializing { request_sent, .. } => {
                if std::mem::replace(request_sent, true) {
                    return None;
                }
                let request = Pdu::IcReq(self.config.offer.request());
                Some(message(self.encoder.encode(&request, out)))
            }
            Phase::Connecting { sent, .. } => {
                if std::mem::replace(sent, true) {
                    return None;
                }
                let mut sqe = FabricsCommand::Connect(self.config.connect()).to_sqe();
                sqe.cid = CONNECT_CID.into();
                let data = Bytes::copy_from_slice(self.config.connect_data().as_bytes());
                let capsule = Pdu::CapsuleCmd(CapsuleCmd { sqe, data_len: data.len() as u32 });
                Some(message(self.encoder.encode_with_data(&capsule, [data], out)))
            }
            Phase::Authenticating { .. } => self.send_authentication(out),
            Phase::Ready(_) => match self.capsules.pop_front() {
                Some(cid) => Some(self.send_capsule(cid, out)),
                None => self.send_data(out),
            },
            Phase::Ended { farewell, .. } => {
                let request = Pdu::H2cTermReq(farewell.take()?);
                Some(message(self.encoder.encode(&request, out)))
            }
        }
    }

    fn send_capsule(&mut self, cid: u16, out: &mut Vec<Bytes>) -> Transmit {
        let command = self.slots.get_mut(cid).expect("a command that was not sent is outstanding");
        command.sent = true;
        let mut sqe = command.request.sqe;
        sqe.cid = cid.into();
        let length = match &mut command.request.data {
            Data::Send(payload) if command.in_capsule => {
                let data_len = payload.len() as u32;
                let capsule = Pdu::CapsuleCmd(CapsuleCmd { sqe: sqe.with_sgl(Sgl::in_capsule(data_len)), data_len });
                self.encoder.encode_with_data(&capsule, payload.as_bytes().iter().cloned(), out)
            }
            _ => {
                let sgl = Sgl::transport(command.to_transfer());
                self.encoder.encode(&Pdu::CapsuleCmd(CapsuleCmd { sqe: sqe.with_sgl(sgl), data_len: 0 }), out)
            }
        };
        message(length)
    }

    /// Sends a PDU with data of the R2T that came first.
    fn send_data(&mut self, out: &mut Vec<Bytes>) -> Option<Transmit> {
        let &mut Transfer { cid: cccid, ttag, ref mut offset, ref mut left } = self.transfers.front_mut()?;
        let command = self.slots.get_mut(cccid).expect("transfers end with their command");
        let Data::Send(payload) = &mut command.request.data else {
            unreachable!("R2Ts for other commands are refused");
        };
        let length = (*left).min(self.max_h2c_data).min(H2C_DATA);
        let last = length == *left;
        let pdu = Pdu::H2cData(H2cData { cccid, ttag, offset: *offset, length, last });
        let sent = self.encoder.encode_with_data(&pdu, payload.range(*offset as usize, length as usize), out);
        *offset += length;
        *left -= length;
        if last {
            command.r2ts -= 1;
            self.transfers.pop_front();
        }
        Some(Transmit { class: Class::Bulk, length: sent, end_of_message: last })
    }
}

pub(super) fn message(length: usize) -> Transmit {
    Transmit { class: Class::Latency, length, end_of_message: true }
}
