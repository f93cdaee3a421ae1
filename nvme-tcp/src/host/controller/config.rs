//! How a controller is connected to.

use std::time::Duration;

use crate::host::{HostIdentity, QueueConfig};

/// What a [`Controller`](super::Controller) is to be.
#[derive(Clone, Debug)]
pub struct ControllerConfig {
    /// The admin queue. Its `offer`, `authentication` and `connect_timeout` hold for I/O queues too, its `keep_alive` for the controller.
    pub admin: QueueConfig,
    /// I/O queues to ask for; 0 to leave the controller without, and not to look for namespaces.
    pub io_queues: u16,
    /// Entries of I/O queues, if the controller takes as many.
    pub io_entries: u32,
    /// Whether the controller is to tell the SQ head of I/O queues. Without, it may leave out the CapsuleResp of reads.
    pub io_flow_control: bool,
    /// How long a command of I/O queues may take.
    pub io_timeout: Option<Duration>,
    /// Asynchronous Event Requests to keep outstanding, if the controller takes as many; 0 for none.
    pub async_events: u8,
}

impl ControllerConfig {
    /// A controller with this many I/O queues, and the usual keep-alive timeout: 5 s.
    pub fn new(identity: HostIdentity, io_queues: u16) -> Self {
        Self {
            admin: QueueConfig { keep_alive: Duration::from_secs(5), ..QueueConfig::admin(identity) },
            io_queues,
            io_entries: 128,
            io_flow_control: false,
            io_timeout: Some(Duration::from_secs(30)),
            async_events: 4,
        }
    }

    /// A discovery controller, to be asked once: without keep-alive and events.
    pub fn discovery(mut identity: HostIdentity) -> Self {
        identity.subsystem = crate::command::Nqn::discovery();
        Self { admin: QueueConfig::admin(identity.clone()), async_events: 0, ..Self::new(identity, 0) }
    }

    /// A discovery controller that is to tell when its log changes.
    pub fn persistent_discovery(identity: HostIdentity, keep_alive: Duration) -> Self {
        let config = Self::discovery(identity);
        Self { admin: QueueConfig { keep_alive, ..config.admin }, async_events: 1, ..config }
    }
}
