//! The commands by which the state machine goes on, one at a time.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Known, Token};
use crate::command::{
    ANA_GROUPS_ONLY, AdminCommand, Capabilities, Configuration, EventMask, FabricsCommand, GetLogPage, IDENTIFY_LEN,
    Identify, IdentifyNamespace, NamespaceId, Property, QueueCounts, Shutdown, Sqe, cns, fid, lid,
};
use crate::host::discovery::LogReader;
use crate::host::{Namespace, Request, Unusable};

/// Bytes of the ANA log at most: some 4000 groups.
const MAX_ANA_LOG: u64 = 128 * 1024;

/// A command of the state machine, with what it needs to go on.
#[derive(Debug)]
pub(super) enum Step {
    Capabilities,
    Version,
    Enable,
    AwaitReady {
        deadline: Duration,
    },
    Identify,
    Limits,
    QueueCounts,
    Events(EventMask),
    Ana,
    /// Reads the log of changed namespaces, only so that further changes are told.
    ChangedNamespaces,
    ActiveNamespaces {
        after: u32,
        scan: Scan,
    },
    Namespace(Scan),
    Identifiers {
        identify: Box<IdentifyNamespace>,
        scan: Scan,
    },
    Discovery(LogReader),
    Shutdown,
    AwaitShutdown {
        deadline: Duration,
    },
}

/// Namespaces that are being looked at.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Those that are still to be looked at, the last first.
    pub(super) to_do: Vec<u32>,
    pub(super) usable: BTreeMap<u32, Namespace>,
    pub(super) unusable: BTreeMap<u32, Unusable>,
}

/// What the controller says of a namespace that it has listed.
pub(super) enum Found<'a> {
    /// There is none: it has gone while the list was being worked through.
    Nothing,
    /// Nothing that it could be recognised by.
    NotDescribed,
    /// What it is, and its identifiers. The size is 0 if it has gone meanwhile.
    Described(&'a IdentifyNamespace, Vec<NamespaceId>),
}

impl Scan {
    /// The namespace that is looked at.
    fn nsid(&self) -> u32 {
        self.to_do.last().copied().unwrap_or(0)
    }
}

impl Step {
    /// What an error calls it.
    pub(super) fn what(&self) -> &'static str {
        match self {
            Self::Capabilities => "reading the controller's capabilities",
            Self::Version => "reading the controller's version",
            Self::Enable => "enabling the controller",
            Self::AwaitReady { .. } | Self::AwaitShutdown { .. } => "reading the controller's status",
            Self::Identify => "Identify Controller",
            Self::Limits => "Identify Controller for the NVM command set",
            Self::QueueCounts => "asking for I/O queues",
            Self::Events(_) => "asking for events",
            Self::Ana => "reading the ANA log",
            Self::ChangedNamespaces => "reading the log of changed namespaces",
            Self::ActiveNamespaces { .. } => "listing namespaces",
            Self::Namespace(_) | Self::Identifiers { .. } => "Identify Namespace",
            Self::Discovery(_) => "reading the discovery log",
            Self::Shutdown => "shutting the controller down",
        }
    }

    pub(super) fn request(&self, known: &Known, io_queues: u16) -> Request<Token> {
        let without_data = |sqe: Sqe| Request::new(sqe, Token::Step);
        let get = |property: Property| {
            without_data(FabricsCommand::PropertyGet { offset: property as u32, size: property.size() }.to_sqe())
        };
        let configure = |configuration: Configuration| {
            let (offset, value) = (Property::Configuration as u32, configuration.bits().into());
            without_data(FabricsCommand::PropertySet { offset, size: 4, value }.to_sqe())
        };
        let identify = |cns: u8, nsid: u32| {
            let command = AdminCommand::Identify(Identify { cns, controller: 0, command_set: 0 });
            without_data(command.to_sqe(nsid)).receiving(IDENTIFY_LEN as u32)
        };
        let log = |page: u8, specific: u8, length: u32| {
            let get = GetLogPage { page, specific, retain_event: false, length: length.into(), offset: 0 };
            without_data(AdminCommand::GetLogPage(get).to_sqe(0)).receiving(length)
        };
        let set_feature =
            |feature: u8, value: u32| without_data(AdminCommand::SetFeatures { feature, save: false, value }.to_sqe(0));
        match self {
            Self::Capabilities => get(Property::Capabilities),
            Self::Version => get(Property::Version),
            Self::AwaitReady { .. } | Self::AwaitShutdown { .. } => get(Property::Status),
            Self::Enable => configure(enabled(known.capabilities.as_ref())),
            Self::Shutdown => {
                configure(Configuration { shutdown: Shutdown::Normal, ..enabled(known.capabilities.as_ref()) })
            }
            Self::Identify => identify(cns::CONTROLLER, 0),
            Self::Limits => identify(cns::COMMAND_SET_CONTROLLER, 0),
            Self::QueueCounts => set_feature(fid::NUMBER_OF_QUEUES, QueueCounts::pairs(io_queues.into()).bits()),
            Self::Events(mask) => set_feature(fid::ASYNC_EVENTS, mask.0),
            Self::Ana => log(lid::ANA, ANA_GROUPS_ONLY, ana_log_len(known)),
            Self::ChangedNamespaces => log(lid::CHANGED_NAMESPACES, 0, 4096),
            Self::ActiveNamespaces { after, .. } => identify(cns::ACTIVE_NAMESPACES, *after),
            Self::Namespace(scan) => identify(cns::NAMESPACE, scan.nsid()),
            Self::Identifiers { scan, .. } => identify(cns::NAMESPACE_IDS, scan.nsid()),
            Self::Discovery(reader) => {
                let (command, length) = reader.command();
                without_data(command.to_sqe(0)).receiving(length)
            }
        }
    }
}

impl Scan {
    /// Notes what the namespace that is looked at has turned out to be, and whether there is another to look at.
    pub(super) fn note(&mut self, found: Found<'_>) -> bool {
        if let Some(nsid) = self.to_do.pop() {
            match found {
                Found::Nothing => {}
                Found::Described(identify, _) if identify.nsze.get() == 0 => {}
                Found::Described(identify, identifiers) => match Namespace::new(nsid, identify, identifiers) {
                    Ok(namespace) => drop(self.usable.insert(nsid, namespace)),
                    Err(reason) => drop(self.unusable.insert(nsid, reason)),
                },
                Found::NotDescribed => drop(self.unusable.insert(nsid, Unusable::NotDescribed)),
            }
        }
        !self.to_do.is_empty()
    }
}

/// CC of a controller in operation. The command set is NVM, unless the controller has that only among all that it has.
fn enabled(capabilities: Option<&Capabilities>) -> Configuration {
    let (sets, page) = capabilities.map_or((1, 0), |cap| (cap.command_sets, cap.min_page));
    let command_set = if sets & 1 == 0 && sets & 1 << 6 != 0 { 6 } else { 0 };
    Configuration { enable: true, command_set, page, sqe_size: 6, cqe_size: 4, ..Configuration::default() }
}

/// Bytes of the ANA log without namespaces, as far as one command can read it.
fn ana_log_len(known: &Known) -> u32 {
    let groups = known.identify.as_ref().map_or(0, |identify| identify.nanagrpid.get());
    let limit = known.max_transfer().unwrap_or(MAX_ANA_LOG).min(MAX_ANA_LOG);
    (16 + 32 * u64::from(groups)).min(limit) as u32
}
