//! What the PDUs carry: queue entries, the commands in them, and the data that comes with these.
//!
//! [`Sqe`] and [`Cqe`] are entries as they are on the wire. [`AdminCommand`], [`IoCommand`] and [`FabricsCommand`] are the
//! commands that controllers read from them and hosts make them of. Structures of fixed length are types that are read and
//! written in place, with [`zerocopy`]; their fields have the specification's names where these are what people know.

mod admin;
mod cqe;
mod fabrics;
mod feature;
mod identify;
mod io;
mod log;
mod nqn;
mod property;
mod range;
mod reservation;
mod sgl;
mod sqe;
mod status;
#[cfg(test)]
mod tests;

pub use admin::{AdminCommand, GetLogPage, Identify};
pub use cqe::Cqe;
pub use fabrics::{
    ANY_CONTROLLER, Auth, Connect, ConnectAttributes, ConnectData, ConnectResult, FabricsCommand, InvalidParameter,
};
pub use feature::{AsyncEvent, AsyncEventType, EventMask, QueueCounts, fid};
pub use identify::{
    IDENTIFY_LEN, IdentifyController, IdentifyIndependentNamespace, IdentifyNamespace, IdentifyNvmController,
    LbaFormat, NamespaceId, cmic, cns, ctratt, lpa, oncs, padded, sgls, trimmed,
};
pub use io::{BlockRange, IoCommand};
pub use log::{
    ANA_GROUPS_ONLY, AnaGroup, AnaHeader, AnaState, DiscoveryEntry, DiscoveryHeader, EffectsLog, ErrorEntry,
    FirmwareLog, SmartLog, SubsystemType, TOO_MANY_CHANGED, TRANSPORT_TCP, effects, lid,
};
pub use nqn::{Nqn, NqnError};
pub use property::{Capabilities, Configuration, ControllerStatus, Property, Shutdown, ShutdownStatus, Version};
pub use range::{CopyRange, DatasetRange};
pub use reservation::{
    AcquireAction, AcquireKeys, RegisterAction, RegisterKeys, Registrant, ReleaseAction, ReservationReport,
    ReservationType,
};
pub use sgl::{Placement, Sgl};
pub use sqe::{AdminOpcode, FABRICS, FabricsType, Fuse, IoOpcode, Sqe};
pub use status::{Status, StatusCode};
