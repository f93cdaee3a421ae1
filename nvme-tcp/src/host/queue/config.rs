//! How a queue is connected.

use std::time::Duration;

use crate::auth::HostAuthentication;
use crate::command::{ANY_CONTROLLER, Connect, ConnectAttributes, ConnectData, Nqn};
use crate::pdu::{ADMIN_IN_CAPSULE_DATA, HostOffer};

/// The longest queue. Of the 16 bits of a CID, 4 remain to tell uses of a slot apart.
pub const MAX_ENTRIES: u32 = 4096;

/// Who connects to what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostIdentity {
    /// HOSTID, a UUID.
    pub host_id: [u8; 16],
    /// HOSTNQN.
    pub host: Nqn,
    /// SUBNQN: the subsystem, or [`Nqn::discovery`].
    pub subsystem: Nqn,
}

/// What a [`Queue`](super::Queue) is to be.
#[derive(Clone, Debug)]
pub struct QueueConfig {
    /// Who connects to what.
    pub identity: HostIdentity,
    /// QID: 0 for the admin queue.
    pub id: u16,
    /// Entries, 2 to [`MAX_ENTRIES`]; one less than this can be outstanding.
    pub entries: u32,
    /// CNTLID: [`ANY_CONTROLLER`] for the admin queue, its answer for I/O queues.
    pub controller: u16,
    /// KATO, in ms on the wire; 0 for none. On the admin queue only.
    pub keep_alive: Duration,
    /// Whether the controller is to tell the SQ head. Nothing here depends on it; see [`Queue`](super::Queue).
    pub flow_control: bool,
    /// What is asked for in ICReq.
    pub offer: HostOffer,
    /// Bytes of data that a capsule may carry. For I/O queues
    /// [`in_capsule_data`](crate::command::IdentifyController::in_capsule_data) says it.
    pub in_capsule_data: u32,
    /// What the host authenticates with, if it has anything.
    pub authentication: Option<HostAuthentication>,
    /// How long it may take until the queue is connected and both ends have authenticated.
    pub connect_timeout: Duration,
    /// How long a command may take. One that takes longer ends the queue, since nothing is known of the controller any more.
    /// Asynchronous Event Requests may take for ever.
    pub command_timeout: Option<Duration>,
}

impl QueueConfig {
    /// An admin queue with 32 entries, for any controller.
    pub fn admin(identity: HostIdentity) -> Self {
        Self {
            identity,
            id: 0,
            entries: 32,
            controller: ANY_CONTROLLER,
            keep_alive: Duration::ZERO,
            flow_control: true,
            offer: HostOffer::default(),
            in_capsule_data: ADMIN_IN_CAPSULE_DATA,
            authentication: None,
            connect_timeout: Duration::from_secs(10),
            command_timeout: Some(Duration::from_secs(60)),
        }
    }

    /// An I/O queue of a controller with 128 entries, and no data in its capsules.
    pub fn io(identity: HostIdentity, id: u16, controller: u16) -> Self {
        Self {
            id,
            entries: 128,
            controller,
            in_capsule_data: 0,
            command_timeout: Some(Duration::from_secs(30)),
            ..Self::admin(identity)
        }
    }

    /// The entries, within their limits.
    pub(super) fn entries(&self) -> u32 {
        self.entries.clamp(2, MAX_ENTRIES)
    }

    pub(super) fn connect(&self) -> Connect {
        let attributes = match self.flow_control {
            true => ConnectAttributes::default(),
            false => ConnectAttributes::DISABLE_FLOW_CONTROL,
        };
        let keep_alive = u32::try_from(self.keep_alive.as_millis()).unwrap_or(u32::MAX);
        Connect { queue: self.id, entries: self.entries(), attributes, keep_alive }
    }

    pub(super) fn connect_data(&self) -> ConnectData {
        ConnectData::new(self.identity.host_id, self.controller, &self.identity.subsystem, &self.identity.host)
    }
}
