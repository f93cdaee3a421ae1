//! Connect: a connection becomes a queue.

use std::time::Duration;

use zerocopy::FromBytes;

use super::connection::{Connection, Phase};
use super::controller::Controller;
use super::io::IoQueue;
use super::queue::SlotId;
use super::registry::Refusal;
use crate::command::{Connect, ConnectAttributes, ConnectData, ConnectResult, InvalidParameter, StatusCode};
use crate::pdu::ADMIN_IN_CAPSULE_DATA;

/// Entries that any admin queue may have, since that is what hosts ask for, whatever CAP says.
const ADMIN_ENTRIES: u32 = 32;

impl Connection {
    pub(super) fn connect(&mut self, now: Duration, id: SlotId, connect: &Connect) {
        match self.try_connect(now, id, connect) {
            Ok(result) => self.complete(id, Ok(result.bits().into())),
            Err(Refusal { status, parameter }) => {
                let result = parameter.map_or(0, InvalidParameter::bits);
                self.complete_with(id, status.into(), result.into());
            }
        }
    }

    fn try_connect(&mut self, now: Duration, id: SlotId, connect: &Connect) -> Result<ConnectResult, Refusal> {
        let data = self.queue.slot(id).data.to_contiguous();
        let data = ConnectData::read_from_bytes(&data).map_err(|_| StatusCode::InvalidDataSglLength)?;
        let config = self.target.config();
        let max_entries = match connect.queue {
            0 => config.max_queue_entries.max(ADMIN_ENTRIES),
            _ => config.max_queue_entries,
        };
        if !(2..=max_entries).contains(&connect.entries) {
            return Err(InvalidParameter::ENTRIES.into());
        }
        let flow_control = !connect.attributes.contains(ConnectAttributes::DISABLE_FLOW_CONTROL);
        let association = if connect.queue == 0 {
            let association = self.target.connect_admin(&data)?;
            let (port, local) = (self.settings.port, self.settings.local);
            let admin = std::sync::Arc::clone(&association);
            let controller = Controller::new(admin, &self.target, port, local, connect.keep_alive, now);
            self.phase = Phase::Admin(Box::new(controller));
            association
        } else {
            let association = self.target.connect_io(&data, connect.queue)?;
            let Some((_, view)) = self.target.view(&association.subsystem) else {
                association.detach(connect.queue);
                return Err(InvalidParameter::SUBSYSTEM.into());
            };
            let (port, max_transfer) = (self.settings.port, config.max_transfer);
            self.decoder.set_in_capsule_limit(config.in_capsule_data.max(ADMIN_IN_CAPSULE_DATA));
            let io = std::sync::Arc::clone(&association);
            self.phase = Phase::Io(Box::new(IoQueue::new(io, connect.queue, port, max_transfer, &view)));
            association
        };
        self.queue.resize(connect.entries, flow_control);
        Ok(ConnectResult { controller: association.controller, authenticate: false, secure_channel: false })
    }
}
