//! Connect: a connection becomes a queue.

use std::sync::Arc;
use std::time::Duration;

use zerocopy::FromBytes;

use super::authentication::Authentication;
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
        let Phase::Connecting { deadline } = self.phase else {
            return Err(StatusCode::CommandSequenceError.into());
        };
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
        let is_admin = connect.queue == 0;
        let association =
            if is_admin { self.target.connect_admin(&data)? } else { self.target.connect_io(&data, connect.queue)? };
        let (view, responder) = self.target.admit(&association).inspect_err(|_| match is_admin {
            true => self.target.disconnect(&association),
            false => association.detach(connect.queue),
        })?;
        let owned = Arc::clone(&association);
        self.phase = if is_admin {
            let (port, local) = (self.settings.port, self.settings.local);
            Phase::Admin(Box::new(Controller::new(owned, &self.target, port, local, connect.keep_alive, now)))
        } else {
            let queue = IoQueue::new(owned, connect.queue, self.settings.port, config.max_transfer, view);
            // Another thread may have reset the controller before the queue learnt which of its lives this is.
            if !association.is_ready() {
                association.detach(connect.queue);
                return Err(StatusCode::CommandSequenceError.into());
            }
            self.decoder.set_in_capsule_limit(config.in_capsule_data.max(ADMIN_IN_CAPSULE_DATA));
            self.membership = Some(self.target.join_fences(queue.association.host_id));
            Phase::Io(Box::new(queue))
        };
        self.queue.resize(connect.entries, flow_control);
        self.authentication = responder.map(|responder| Box::new(Authentication::new(responder, deadline)));
        let authenticate = self.authentication.is_some();
        Ok(ConnectResult { controller: association.controller, authenticate, secure_channel: false })
    }
}
