//! What a target is made with.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::queue::MAX_ENTRIES;
use crate::pdu::ControllerOffer;

/// The identifiers that controllers may have: fff0h and above are reserved (NVMe base specification, CNTLID).
pub(super) const CONTROLLER_IDS: RangeInclusive<u16> = 1..=0xffef;

/// Limits and offers of a target. The default is for hosts as they are.
#[derive(Clone, Debug)]
pub struct TargetConfig {
    /// What is agreed on with hosts.
    pub offer: ControllerOffer,
    /// Bytes that one command may transfer: a power of two, at least 4096.
    pub max_transfer: u32,
    /// Bytes of data that a capsule of an I/O command may carry: a multiple of 16.
    pub in_capsule_data: u32,
    /// Bytes that one R2T asks for. Of a command that is for more, several are outstanding, if the host can have so many.
    pub max_r2t_length: u32,
    /// Bytes that R2Ts of one queue ask for at a time: further commands wait until others have ended. At least twice `max_transfer`.
    pub max_inbound: u64,
    /// Bytes that commands of one queue may return at a time, from when they are begun until all of it was handed to the transport: further ones that return
    /// data wait. A command that returns more than that waits until it is alone.
    pub max_outbound: u64,
    /// Bytes that one C2HData carries at most.
    pub max_c2h_data: u32,
    /// Entries of the longest queue: 2 to 4096.
    pub max_queue_entries: u32,
    /// I/O queues of a controller: 1 to 65535.
    pub max_io_queues: u16,
    /// Controllers of all subsystems together, those for discovery not counted: 1 to 65519.
    pub max_controllers: u16,
    /// Discovery controllers, which anybody may have: 1 to 65519.
    pub max_discovery_controllers: u16,
    /// Identifiers of the controllers of subsystems, CNTLID: within 1 to 65519. There are no more controllers than identifiers. Of targets that export the
    /// same subsystem each needs its own, since hosts take two controllers of one identifier for a mistake. Discovery controllers have others.
    pub controller_ids: RangeInclusive<u16>,
    /// What C2HData may stand for its command's completion.
    pub success: SuccessPolicy,
    /// How long a host may take from the beginning of a connection to the end of Connect, and of its authentication if it has to.
    pub setup_timeout: Duration,
    /// How long a host may take to close the connection after a C2HTermReq.
    pub close_timeout: Duration,
}

/// When the last C2HData says that its command succeeded, so that there is no CapsuleResp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SuccessPolicy {
    /// On queues without SQ flow control: on others, a completion has to say how far the queue was emptied.
    WithoutFlowControl,
    /// On all queues. Hosts that keep to the specification then see the queue emptied later.
    Always,
    /// Never.
    Never,
}

impl Default for TargetConfig {
    fn default() -> Self {
        Self {
            offer: ControllerOffer::default(),
            max_transfer: 1 << 20,
            in_capsule_data: 16 * 1024,
            max_r2t_length: 1 << 20,
            max_inbound: 16 << 20,
            max_outbound: 16 << 20,
            max_c2h_data: 128 * 1024,
            max_queue_entries: 128,
            max_io_queues: 128,
            max_controllers: 1024,
            max_discovery_controllers: 256,
            controller_ids: CONTROLLER_IDS,
            success: SuccessPolicy::WithoutFlowControl,
            setup_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(30),
        }
    }
}

/// Why a target cannot be made or changed so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// A limit that cannot be.
    #[error("{name} cannot be {value}: {allowed}")]
    Limit {
        /// Which.
        name: &'static str,
        /// What it is.
        value: u64,
        /// What it may be.
        allowed: &'static str,
    },
    /// Identifiers that controllers cannot have.
    #[error("controller_ids cannot be {first} to {last}: they are within 1 to 65519, and there is at least one")]
    ControllerIds {
        /// The first.
        first: u16,
        /// The last.
        last: u16,
    },
    /// There is a subsystem of this name.
    #[error("there is a subsystem {0} already")]
    SubsystemExists(crate::command::Nqn),
    /// The name of discovery services cannot be a subsystem's.
    #[error("{0} is the name of discovery services")]
    DiscoveryName(crate::command::Nqn),
    /// There is no such subsystem.
    #[error("there is no subsystem {0}")]
    NoSubsystem(crate::command::Nqn),
    /// There is such a namespace.
    #[error("the subsystem has a namespace {0} already")]
    NamespaceExists(u32),
    /// There is no such namespace.
    #[error("the subsystem has no namespace {0}")]
    NoNamespace(u32),
    /// The store is smaller than one block.
    #[error("a store of {0} bytes is smaller than a block")]
    StoreTooSmall(u64),
    /// There is no such port.
    #[error("there is no port {0}")]
    NoPort(u16),
}

impl TargetConfig {
    pub(super) fn check(&self) -> Result<(), TargetError> {
        let check = |name, value: u64, good: bool, allowed| {
            if good { Ok(()) } else { Err(TargetError::Limit { name, value, allowed }) }
        };
        let h2c = self.offer.max_h2c_data;
        let transfer = self.max_transfer;
        check("max_h2c_data", h2c.into(), h2c >= 4096 && h2c.is_multiple_of(4), "a multiple of 4, at least 4096")?;
        check(
            "max_transfer",
            transfer.into(),
            transfer >= 4096 && transfer.is_power_of_two() && transfer <= 1 << 27,
            "a power of two, 4096 to 128 MiB",
        )?;
        let capsule = self.in_capsule_data;
        check(
            "in_capsule_data",
            capsule.into(),
            capsule.is_multiple_of(16) && capsule <= transfer,
            "a multiple of 16, not above max_transfer",
        )?;
        let (r2t, c2h) = (self.max_r2t_length, self.max_c2h_data);
        check("max_r2t_length", r2t.into(), r2t >= 4096 && r2t.is_multiple_of(4), "a multiple of 4, at least 4096")?;
        check("max_c2h_data", c2h.into(), c2h >= 4096 && c2h.is_multiple_of(4), "a multiple of 4, at least 4096")?;
        let inbound = self.max_inbound;
        check("max_inbound", inbound, inbound >= 2 * u64::from(transfer), "at least twice max_transfer")?;
        let entries = self.max_queue_entries;
        check("max_queue_entries", entries.into(), (2..=MAX_ENTRIES).contains(&entries), "2 to 4096")?;
        check("max_io_queues", self.max_io_queues.into(), self.max_io_queues > 0, "1 to 65535")?;
        let controllers = self.max_controllers;
        check("max_controllers", controllers.into(), CONTROLLER_IDS.contains(&controllers), "1 to 65519")?;
        let discovery = self.max_discovery_controllers;
        check("max_discovery_controllers", discovery.into(), CONTROLLER_IDS.contains(&discovery), "1 to 65519")?;
        let (first, last) = (*self.controller_ids.start(), *self.controller_ids.end());
        let possible = first <= last && CONTROLLER_IDS.contains(&first) && CONTROLLER_IDS.contains(&last);
        if possible { Ok(()) } else { Err(TargetError::ControllerIds { first, last }) }
    }

    /// MDTS: transfers have at most 2^this pages of 4096 bytes.
    pub(super) fn mdts(&self) -> u8 {
        (self.max_transfer.ilog2() - 12) as u8
    }
}
