//! A controller: what its admin queue does. It belongs to the connection of that queue alone.

use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::Target;
use super::abort::Verdict;
use super::association::Association;
use super::events::{self, Events};
use super::identify::identify;
use super::logs::log_page;
use super::queue::SlotId;
use super::subsystem::{Subsystem, View};
use crate::command::{
    AdminCommand, AsyncEvent, Capabilities, Configuration, ControllerStatus, EventMask, Property, QueueCounts,
    Shutdown, ShutdownStatus, Sqe, StatusCode, Version, fid,
};
use crate::pdu::Payload;

/// The version of the specification that controllers claim.
pub(super) const VERSION: Version = Version { major: 1, minor: 4, tertiary: 0 };
/// A keep-alive timeout has so many parts. Once in each it is looked whether something came on I/O queues, which leaves a mark and no time, and it runs for one
/// part longer than the host asked for; so who is silent is given up after 9/8 of it at most. The host has all of it, and some time for the way, from the last
/// completion that it saw (TBKAS): Linux looks every half of it whether there were any, sends Keep Alive if not, and may have seen one just after a look.
const KEEP_ALIVE_PARTS: u32 = 16;
/// However short a timeout is, the marks are not looked for more often.
const SHORTEST_LOOK: Duration = Duration::from_millis(50);
/// The timeout of discovery controllers whose host asks for none: their activity timeout (NVMe base specification, Discovery Controller).
const DISCOVERY_TIMEOUT: Duration = Duration::from_secs(120);
/// KAS: keep-alive timeouts are rounded up to multiples of this, in units of 100 ms.
pub(super) const KEEP_ALIVE_UNITS: u16 = 1;
/// CAP.TO: becoming ready takes no time, but hosts wait that long for answers, in units of 500 ms.
const READY_TIMEOUT: u8 = 30;
/// Bytes of data of Host Behavior Support.
const HOST_BEHAVIOR_LEN: usize = 512;

#[derive(Debug)]
pub(super) struct Controller {
    pub(super) association: Arc<Association>,
    /// None for a discovery controller.
    pub(super) subsystem: Option<Arc<Subsystem>>,
    pub(super) view: Arc<View>,
    pub(super) port: u16,
    /// The address that the host has connected to.
    pub(super) local: Option<IpAddr>,
    pub(super) events: Events,
    /// Each Abort that waits, and where its verdict will be.
    pub(super) aborts: Vec<(SlotId, Verdict)>,
    /// Namespaces that changed since the host last asked.
    pub(super) changed: BTreeSet<u32>,
    configuration: Configuration,
    status: ControllerStatus,
    keep_alive: Option<Duration>,
    /// When the host was last heard of.
    heard: Duration,
    /// When the mark of the I/O queues was last looked for.
    looked: Duration,
    /// The generation of the discovery log that the host was told of, or could have read.
    catalogue: u64,
    host_behavior: Option<Box<[u8; HOST_BEHAVIOR_LEN]>>,
}

/// What becomes of an admin command.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It is complete.
    Done(Result<u64, StatusCode>),
    /// It succeeded, with data for the host.
    Data(Bytes),
    /// It waits for an event.
    Waits,
    /// It aborts the command with this identifier in this queue, if that can be.
    Aborts { queue: u16, cid: u16 },
}

impl Controller {
    pub(super) fn new(
        association: Arc<Association>,
        target: &Target,
        port: u16,
        local: Option<IpAddr>,
        keep_alive: u32,
        now: Duration,
    ) -> Self {
        let (subsystem, view) = match target.view(&association.subsystem) {
            Some((subsystem, view)) => (Some(subsystem), view),
            None => (None, Arc::default()),
        };
        let catalogue = target.catalogue(&association.host).generation;
        let keep_alive = keep_alive_timeout(keep_alive, association.subsystem.is_discovery());
        Self {
            association,
            subsystem,
            view,
            port,
            local,
            events: Events::default(),
            aborts: Vec::new(),
            changed: BTreeSet::new(),
            configuration: Configuration::default(),
            status: ControllerStatus::default(),
            keep_alive,
            heard: now,
            looked: now,
            catalogue,
            host_behavior: None,
        }
    }

    pub(super) fn is_discovery(&self) -> bool {
        self.association.subsystem.is_discovery()
    }

    /// A command came.
    pub(super) fn note_activity(&mut self, now: Duration) {
        self.heard = now;
    }

    /// When it is to be asked whether the host [has been silent](Self::keep_alive_expired) for too long.
    pub(super) fn keep_alive_deadline(&self) -> Option<Duration> {
        let timeout = self.keep_alive?;
        let part = keep_alive_part(timeout);
        Some((self.heard + timeout + part).min(self.looked + part))
    }

    /// Whether the host has been silent for too long, on all queues.
    pub(super) fn keep_alive_expired(&mut self, now: Duration) -> bool {
        let Some(timeout) = self.keep_alive else { return false };
        // Traffic-based keep-alive: commands on I/O queues count.
        if self.association.take_activity() {
            self.heard = now;
        }
        self.looked = now;
        now >= self.heard + timeout + keep_alive_part(timeout)
    }

    /// Looks at the target again, and raises events. False if the subsystem is gone.
    pub(super) fn refresh(&mut self, target: &Target) -> bool {
        if self.is_discovery() {
            let generation = target.catalogue(&self.association.host).generation;
            if generation != self.catalogue {
                self.catalogue = generation;
                self.events.raise(AsyncEvent::DISCOVERY_CHANGED);
            }
            return true;
        }
        let Some((subsystem, view)) = target.view(&self.association.subsystem) else { return false };
        if !Arc::ptr_eq(&view, &self.view) {
            let changed = self.view.changed_namespaces(&view);
            if !changed.is_empty() {
                self.changed.extend(changed);
                self.events.raise(AsyncEvent::NAMESPACES_CHANGED);
            }
            if view.ana_changes != self.view.ana_changes {
                self.events.raise(AsyncEvent::ANA_CHANGED);
            }
            self.view = view;
        }
        self.subsystem = Some(subsystem);
        true
    }

    /// Reads a property.
    pub(super) fn property(&self, target: &Target, offset: u32, size: usize) -> Result<u64, StatusCode> {
        let property = Property::from_offset(offset).filter(|property| property.size() == size);
        Ok(match property.ok_or(StatusCode::InvalidField)? {
            Property::Capabilities => Capabilities {
                max_queue_entries: target.config().max_queue_entries,
                contiguous_queues: true,
                timeout: READY_TIMEOUT,
                command_sets: 1,
                min_page: 0,
                max_page: 0,
            }
            .bits(),
            Property::Version => VERSION.bits().into(),
            Property::Configuration => self.configuration.bits().into(),
            Property::Status => self.status.bits().into(),
            Property::SubsystemReset | Property::ReadyTimeouts => return Err(StatusCode::InvalidField),
        })
    }

    /// Writes a property. Returns the requests that it aborts, if it is a reset.
    pub(super) fn set_property(
        &mut self,
        offset: u32,
        size: usize,
        value: u64,
    ) -> Result<Option<VecDeque<SlotId>>, StatusCode> {
        if Property::from_offset(offset) != Some(Property::Configuration) || size != Property::Configuration.size() {
            return Err(StatusCode::InvalidField);
        }
        let before = std::mem::replace(&mut self.configuration, Configuration::from_bits(value as u32));
        let now = self.configuration;
        let mut aborted = None;
        if now.enable && !before.enable {
            let possible = now.command_set == 0
                && now.page == 0
                && now.arbitration == 0
                && (now.sqe_size == 6 || self.is_discovery())
                && (now.cqe_size == 4 || self.is_discovery());
            self.status = ControllerStatus { ready: possible, fatal: !possible, ..ControllerStatus::default() };
            self.association.set_ready(possible);
        } else if before.enable && !now.enable {
            self.status = ControllerStatus::default();
            self.association.set_ready(false);
            // The I/O queues end; the admin queue stays until the host has closed it.
            self.association.reset();
            aborted = Some(self.events.reset());
        }
        if now.shutdown != Shutdown::None && before.shutdown == Shutdown::None {
            // Nothing is held back here: what was acknowledged is with the stores.
            self.status.shutdown = ShutdownStatus::Complete;
            self.association.set_ready(false);
        }
        Ok(aborted)
    }

    /// Executes a command.
    pub(super) fn execute(
        &mut self,
        target: &Target,
        id: SlotId,
        command: &AdminCommand,
        sqe: &Sqe,
        data: &Payload,
    ) -> Outcome {
        if !self.status.ready {
            return Outcome::Done(Err(StatusCode::CommandSequenceError));
        }
        let result = match command {
            AdminCommand::Identify(which) => match identify(self, target, which, sqe.nsid.get()) {
                Ok(data) => return Outcome::Data(data.into()),
                Err(status) => Err(status),
            },
            AdminCommand::GetLogPage(get) => match log_page(self, target, get) {
                Ok(data) => return Outcome::Data(data),
                Err(status) => Err(status),
            },
            AdminCommand::SetFeatures { save: true, .. } => Err(StatusCode::FeatureNotSaveable),
            AdminCommand::SetFeatures { feature, value, .. } => self.set_feature(target, *feature, *value, data),
            AdminCommand::GetFeatures { feature, select, .. } => match self.feature(target, *feature, *select) {
                Ok((_, Some(data))) => return Outcome::Data(data),
                Ok((value, None)) => Ok(value.into()),
                Err(status) => Err(status),
            },
            AdminCommand::Abort { queue, cid } => return Outcome::Aborts { queue: *queue, cid: *cid },
            AdminCommand::AsyncEventRequest if self.events.wait(id) => return Outcome::Waits,
            AdminCommand::AsyncEventRequest => Err(StatusCode::AsyncEventLimitExceeded),
            AdminCommand::KeepAlive => Ok(0),
        };
        Outcome::Done(result)
    }

    fn set_feature(&mut self, target: &Target, feature: u8, value: u32, data: &Payload) -> Result<u64, StatusCode> {
        match feature {
            fid::KEEP_ALIVE_TIMER => self.keep_alive = keep_alive_timeout(value, self.is_discovery()),
            fid::ASYNC_EVENTS => self.events.mask = EventMask(value & events::available(self.is_discovery()).0),
            _ if self.is_discovery() => return Err(StatusCode::InvalidField),
            fid::NUMBER_OF_QUEUES => {
                let asked = QueueCounts::from_bits(value);
                if asked.submission > 0xffff || asked.completion > 0xffff {
                    return Err(StatusCode::InvalidField);
                }
                if self.association.has_io_queues() {
                    return Err(StatusCode::CommandSequenceError);
                }
                let pairs = asked.submission.min(asked.completion).min(target.config().max_io_queues.into());
                self.association.grant(pairs);
                return Ok(QueueCounts::pairs(pairs).bits().into());
            }
            // A store has its cache for all hosts; one that turned it off would not flush any more.
            fid::VOLATILE_WRITE_CACHE if value & 1 == 0 => return Err(StatusCode::FeatureNotChangeable),
            fid::VOLATILE_WRITE_CACHE => {}
            fid::HOST_BEHAVIOR => {
                if data.len() != HOST_BEHAVIOR_LEN {
                    return Err(StatusCode::InvalidDataSglLength);
                }
                let behavior = self.host_behavior.get_or_insert_with(|| Box::new([0; HOST_BEHAVIOR_LEN]));
                data.copy_to_slice(&mut behavior[..]);
            }
            fid::ARBITRATION | fid::POWER_MANAGEMENT | fid::ERROR_RECOVERY | fid::WRITE_ATOMICITY => {}
            fid::HOST_IDENTIFIER => return Err(StatusCode::CommandSequenceError),
            fid::TEMPERATURE_THRESHOLD => return Err(StatusCode::FeatureNotChangeable),
            _ => return Err(StatusCode::InvalidField),
        }
        Ok(0)
    }

    /// The value of a feature, or its data.
    fn feature(&self, target: &Target, feature: u8, select: u8) -> Result<(u32, Option<Bytes>), StatusCode> {
        if select > 3 {
            return Err(StatusCode::InvalidField);
        }
        let (current, default) = match feature {
            fid::KEEP_ALIVE_TIMER => (self.keep_alive.map_or(0, |timeout| timeout.as_millis() as u32), 0),
            fid::ASYNC_EVENTS => (self.events.mask.0, 0),
            _ if self.is_discovery() => return Err(StatusCode::InvalidField),
            fid::NUMBER_OF_QUEUES => {
                let all = u32::from(target.config().max_io_queues);
                (QueueCounts::pairs(self.association.granted()).bits(), QueueCounts::pairs(all).bits())
            }
            fid::VOLATILE_WRITE_CACHE => (1, 1),
            fid::ARBITRATION | fid::POWER_MANAGEMENT | fid::ERROR_RECOVERY | fid::WRITE_ATOMICITY => (0, 0),
            fid::TEMPERATURE_THRESHOLD => (0xffff, 0xffff),
            fid::HOST_BEHAVIOR | fid::HOST_IDENTIFIER => (0, 0),
            _ => return Err(StatusCode::InvalidField),
        };
        let data = match feature {
            fid::HOST_IDENTIFIER => Some(Bytes::copy_from_slice(&self.association.host_id)),
            fid::HOST_BEHAVIOR => {
                let zeroes = [0; HOST_BEHAVIOR_LEN];
                Some(Bytes::copy_from_slice(self.host_behavior.as_deref().unwrap_or(&zeroes)))
            }
            _ => None,
        };
        // Bit 2 of what can be done with it: changed.
        let changeable =
            !matches!(feature, fid::HOST_IDENTIFIER | fid::TEMPERATURE_THRESHOLD | fid::VOLATILE_WRITE_CACHE);
        Ok(match select {
            0 => (current, data),
            3 => (u32::from(changeable) << 2, None),
            _ => (default, data),
        })
    }
}

/// The timeout that a host asks for. Discovery controllers always have one: nobody has to show who he is to get one.
fn keep_alive_timeout(milliseconds: u32, is_discovery: bool) -> Option<Duration> {
    if milliseconds == 0 {
        return is_discovery.then_some(DISCOVERY_TIMEOUT);
    }
    let unit = u32::from(KEEP_ALIVE_UNITS) * 100;
    Some(Duration::from_millis(u64::from(milliseconds.div_ceil(unit)) * u64::from(unit)))
}

fn keep_alive_part(timeout: Duration) -> Duration {
    (timeout / KEEP_ALIVE_PARTS).max(SHORTEST_LOOK)
}
