//! Subsystems: namespaces, the ANA groups that they are in, and who may connect.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::backend::{Store, StoreId};
use super::reservations::Reservations;
use super::usage::Usage;
use crate::auth::{Entropy, HostSecrets, Responder};
use crate::command::{AnaState, Nqn, StatusCode};

/// The largest namespace identifier, and so the number of namespaces.
pub(super) const MAX_NAMESPACES: u32 = 1024;
/// The largest ANA group identifier, and so the number of groups.
pub(super) const MAX_ANA_GROUPS: u32 = 128;

/// What a subsystem begins with.
#[derive(Clone, Debug)]
pub struct Subsystem {
    /// Its name.
    pub nqn: Nqn,
    /// Serial number: up to 20 ASCII characters.
    pub serial: String,
    /// Model number: up to 40 ASCII characters.
    pub model: String,
    /// Who may connect.
    pub hosts: AllowedHosts,
}

/// Which hosts may connect to a subsystem, by their names.
#[derive(Clone, Debug)]
pub enum AllowedHosts {
    /// All.
    Any,
    /// These, or whoever says that he is one of them.
    Only(BTreeSet<Nqn>),
    /// These, some or all of which have to prove it.
    Authenticated(Credentials),
}

/// What hosts have to know.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The hosts that may connect. One without secrets need not prove who it is.
    pub hosts: BTreeMap<Nqn, Option<HostSecrets>>,
    /// Where random numbers come from.
    pub entropy: Entropy,
}

impl AllowedHosts {
    /// Whether this host may connect.
    pub fn contains(&self, host: &Nqn) -> bool {
        match self {
            Self::Any => true,
            Self::Only(hosts) => hosts.contains(host),
            Self::Authenticated(credentials) => credentials.hosts.contains_key(host),
        }
    }

    /// What answers this host when it authenticates. None if it need not.
    ///
    /// # Errors
    /// It may not connect, whoever it is.
    pub(super) fn responder(&self, host: &Nqn, subsystem: &Nqn) -> Result<Option<Responder>, StatusCode> {
        match self {
            Self::Authenticated(Credentials { hosts, entropy }) => {
                let secrets = hosts.get(host).ok_or(StatusCode::ConnectInvalidHost)?;
                Ok(secrets.as_ref().map(|secrets| Responder::new(secrets, entropy, host, subsystem)))
            }
            _ if self.contains(host) => Ok(None),
            _ => Err(StatusCode::ConnectInvalidHost),
        }
    }
}

/// A namespace.
#[derive(Clone)]
pub struct Namespace {
    /// NSID: 1 to 1024.
    pub nsid: u32,
    /// Where its data is.
    pub store: Arc<dyn Store>,
    /// Bytes of a logical block: a power of two from 512 to 65536. The rest of a store that is no multiple of it is not used.
    pub block_size: u32,
    /// Its UUID, by which hosts find that two paths lead to the same namespace.
    pub uuid: [u8; 16],
    /// ANA group: 1 to 128.
    pub group: u32,
    /// Whether it refuses to be written.
    pub read_only: bool,
}

impl std::fmt::Debug for Namespace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Namespace")
            .field("nsid", &self.nsid)
            .field("bytes", &self.store.size())
            .field("block_size", &self.block_size)
            .field("group", &self.group)
            .finish_non_exhaustive()
    }
}

/// A namespace that is part of a subsystem.
#[derive(Debug)]
pub(super) struct Attached {
    pub(super) namespace: Namespace,
    pub(super) store: StoreId,
    /// Counts what was attached to the target, so that one is told from another that took its place.
    pub(super) serial: u64,
    pub(super) blocks: u64,
    /// A block has 2^this bytes.
    pub(super) shift: u8,
    pub(super) reservations: Reservations,
}

/// What controllers see of their subsystem at one time. What there is never changes: changes make another.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    pub(super) namespaces: BTreeMap<u32, Arc<Attached>>,
    /// ANA groups that are not optimized everywhere, or were not once.
    pub(super) groups: BTreeMap<u32, Group>,
    /// Counts the changes of all groups.
    pub(super) ana_changes: u64,
    /// What was done with the subsystem; all of its views have the same.
    pub(super) usage: Arc<Usage>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Group {
    /// The states that are not [`AnaState::Optimized`], by port.
    pub(super) states: BTreeMap<u16, AnaState>,
    pub(super) changes: u64,
}

impl View {
    /// How controllers at this port reach a group.
    pub(super) fn ana_state(&self, port: u16, group: u32) -> AnaState {
        self.groups.get(&group).and_then(|group| group.states.get(&port)).copied().unwrap_or(AnaState::Optimized)
    }

    /// The groups that have namespaces, with these.
    pub(super) fn members(&self) -> BTreeMap<u32, Vec<u32>> {
        let mut members: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for (nsid, attached) in &self.namespaces {
            members.entry(attached.namespace.group).or_default().push(*nsid);
        }
        members
    }

    /// Namespaces that are not the same in another view.
    pub(super) fn changed_namespaces(&self, other: &Self) -> BTreeSet<u32> {
        let serial = |view: &Self, nsid: &u32| view.namespaces.get(nsid).map(|attached| attached.serial);
        let all = self.namespaces.keys().chain(other.namespaces.keys());
        all.filter(|nsid| serial(self, nsid) != serial(other, nsid)).copied().collect()
    }
}
