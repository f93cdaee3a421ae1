//! The target as a whole: subsystems, ports, referrals and controllers, shared by all connections.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::association::Association;
use super::backend::{Store, StoreId};
use super::config::CONTROLLER_IDS;
use super::discovery::Catalogue;
use super::fence::Mailboxes;
use super::pool::Pool;
use super::reservations::Reservations;
use super::subscribers::{Subscribers, Subscription};
use super::subsystem::{AllowedHosts, Attached, MAX_ANA_GROUPS, MAX_NAMESPACES, Namespace, Subsystem, View};
use super::{TargetConfig, TargetError};
use crate::auth::Responder;
use crate::command::{AnaState, ConnectData, InvalidParameter, Nqn, StatusCode};

/// Subsystems, and the discovery service that announces them.
///
/// It is shared by the connections of all threads. Whatever changes it, and whatever connects a queue, takes a lock; commands
/// do not: each connection keeps what it needs, which does not change, and asks again once [`generation`](Self::generation) has moved.
/// A thread that drives connections compares it in each round, and calls [`Connection::handle_change`](super::Connection::handle_change) on all of them
/// when it has; one that sleeps [subscribes](Self::subscribe).
pub struct Target {
    config: TargetConfig,
    generation: AtomicU64,
    state: Mutex<State>,
    subscribers: Subscribers,
    mailboxes: Mailboxes,
}

/// A port: an address that hosts connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// PORTID.
    pub id: u16,
    /// Its address. An unspecified one (`0.0.0.0`, `::`) is announced as what the host has connected to.
    pub address: SocketAddr,
}

/// Another discovery service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Referral {
    /// PORTID of its entry.
    pub port: u16,
    /// Where it is.
    pub address: SocketAddr,
}

#[derive(Default)]
struct State {
    subsystems: BTreeMap<Nqn, Entry>,
    ports: Vec<Port>,
    referrals: Vec<Referral>,
    /// Changes with every change of what discovery says.
    discovery_generation: u64,
    /// The controllers of subsystems.
    controllers: Pool,
    /// Those of the discovery service, of which none takes the place of another.
    discovery: Pool,
    stores: Vec<Option<Arc<dyn Store>>>,
    attached: u64,
}

struct Entry {
    subsystem: Arc<Subsystem>,
    view: Arc<View>,
}

/// Why a Connect is refused: the status, and with [`StatusCode::ConnectInvalidParameters`] the parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) parameter: Option<InvalidParameter>,
}

impl From<InvalidParameter> for Refusal {
    fn from(parameter: InvalidParameter) -> Self {
        Self { status: StatusCode::ConnectInvalidParameters, parameter: Some(parameter) }
    }
}

impl From<StatusCode> for Refusal {
    fn from(status: StatusCode) -> Self {
        Self { status, parameter: None }
    }
}

impl Target {
    /// A target without subsystems and ports.
    ///
    /// # Errors
    /// A limit of the configuration is impossible.
    pub fn new(config: TargetConfig) -> Result<Arc<Self>, TargetError> {
        config.check()?;
        Ok(Arc::new(Self {
            config,
            generation: AtomicU64::new(0),
            state: Mutex::default(),
            subscribers: Subscribers::default(),
            mailboxes: Mailboxes::default(),
        }))
    }

    /// Its limits.
    pub fn config(&self) -> &TargetConfig {
        &self.config
    }

    /// Changes when connections have to look at something: namespaces, ANA states, discovery, the end of controllers, hosts that were fenced off.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Has `wake` called after each change of the [`generation`](Self::generation), from the thread that made it. It must not call the target.
    pub fn subscribe(&self, wake: impl Fn() + Send + Sync + 'static) -> Subscription {
        self.subscribers.subscribe(wake)
    }

    /// Adds a subsystem without namespaces.
    ///
    /// # Errors
    /// Its name is taken.
    pub fn add_subsystem(&self, subsystem: Subsystem) -> Result<(), TargetError> {
        let nqn = subsystem.nqn.clone();
        if nqn.is_discovery() {
            return Err(TargetError::DiscoveryName(nqn));
        }
        self.change(|state| {
            if state.subsystems.contains_key(&nqn) {
                return Err(TargetError::SubsystemExists(nqn));
            }
            state.subsystems.insert(nqn, Entry { subsystem: Arc::new(subsystem), view: Arc::default() });
            state.discovery_generation += 1;
            Ok(())
        })
    }

    /// Removes a subsystem, with its namespaces and controllers.
    ///
    /// # Errors
    /// There is none.
    pub fn remove_subsystem(&self, nqn: &Nqn) -> Result<(), TargetError> {
        self.change(|state| {
            let entry = state.subsystems.remove(nqn).ok_or_else(|| TargetError::NoSubsystem(nqn.clone()))?;
            for attached in entry.view.namespaces.values() {
                state.stores[attached.store.0 as usize] = None;
            }
            state.controllers.all().filter(|association| association.subsystem == *nqn).for_each(|one| one.end());
            state.discovery_generation += 1;
            Ok(())
        })
    }

    /// Says who may connect to a subsystem. Controllers of hosts that no longer may are ended; hosts that stay need not authenticate again before
    /// they connect the next time.
    ///
    /// # Errors
    /// There is no such subsystem.
    pub fn set_allowed_hosts(&self, nqn: &Nqn, hosts: AllowedHosts) -> Result<(), TargetError> {
        self.change(|state| {
            let entry = state.subsystems.get_mut(nqn).ok_or_else(|| TargetError::NoSubsystem(nqn.clone()))?;
            let forbidden =
                |association: &&Arc<Association>| association.subsystem == *nqn && !hosts.contains(&association.host);
            state.controllers.all().filter(forbidden).for_each(|association| association.end());
            Arc::make_mut(&mut entry.subsystem).hosts = hosts;
            state.discovery_generation += 1;
            Ok(())
        })
    }

    /// Adds a namespace to a subsystem.
    ///
    /// # Errors
    /// It cannot be, or there is one of this number.
    pub fn add_namespace(&self, nqn: &Nqn, namespace: Namespace) -> Result<(), TargetError> {
        let limit = |name, value: u32, allowed| TargetError::Limit { name, value: value.into(), allowed };
        let Namespace { nsid, block_size, group, .. } = namespace;
        if !(1..=MAX_NAMESPACES).contains(&nsid) {
            return Err(limit("nsid", nsid, "1 to 1024"));
        }
        if !(512..=65_536).contains(&block_size) || !block_size.is_power_of_two() {
            return Err(limit("block_size", block_size, "a power of two, 512 to 65536"));
        }
        if !(1..=MAX_ANA_GROUPS).contains(&group) {
            return Err(limit("group", group, "1 to 128"));
        }
        let blocks = namespace.store.size() / u64::from(block_size);
        if blocks == 0 {
            return Err(TargetError::StoreTooSmall(namespace.store.size()));
        }
        self.change(|state| {
            let entry = state.subsystems.get_mut(nqn).ok_or_else(|| TargetError::NoSubsystem(nqn.clone()))?;
            if entry.view.namespaces.contains_key(&nsid) {
                return Err(TargetError::NamespaceExists(nsid));
            }
            let store = StoreId(state.stores.len() as u32);
            state.stores.push(Some(Arc::clone(&namespace.store)));
            state.attached += 1;
            let shift = block_size.ilog2() as u8;
            let (serial, reservations) = (state.attached, Reservations::default());
            let attached = Attached { namespace, store, serial, blocks, shift, reservations };
            Arc::make_mut(&mut entry.view).namespaces.insert(nsid, Arc::new(attached));
            Ok(())
        })
    }

    /// Removes a namespace from a subsystem. Commands that its store has begun come to their end.
    ///
    /// # Errors
    /// There is no such namespace.
    pub fn remove_namespace(&self, nqn: &Nqn, nsid: u32) -> Result<(), TargetError> {
        self.change(|state| {
            let entry = state.subsystems.get_mut(nqn).ok_or_else(|| TargetError::NoSubsystem(nqn.clone()))?;
            let removed = Arc::make_mut(&mut entry.view).namespaces.remove(&nsid);
            let attached = removed.ok_or(TargetError::NoNamespace(nsid))?;
            state.stores[attached.store.0 as usize] = None;
            Ok(())
        })
    }

    /// Sets how controllers at a port reach the namespaces of an ANA group.
    ///
    /// # Errors
    /// There is no such subsystem, or the group is not 1 to 128.
    pub fn set_ana_state(&self, nqn: &Nqn, port: u16, group: u32, ana: AnaState) -> Result<(), TargetError> {
        if !(1..=MAX_ANA_GROUPS).contains(&group) {
            return Err(TargetError::Limit { name: "group", value: group.into(), allowed: "1 to 128" });
        }
        self.change(|state| {
            let entry = state.subsystems.get_mut(nqn).ok_or_else(|| TargetError::NoSubsystem(nqn.clone()))?;
            let view = Arc::make_mut(&mut entry.view);
            view.ana_changes += 1;
            let changes = view.ana_changes;
            let group = view.groups.entry(group).or_default();
            group.changes = changes;
            group.states.insert(port, ana);
            Ok(())
        })
    }

    /// Adds a port, or moves it.
    pub fn add_port(&self, port: Port) {
        self.change(|state| {
            state.ports.retain(|other| other.id != port.id);
            state.ports.push(port);
            state.discovery_generation += 1;
        });
    }

    /// Announces a port no longer. Connections at it stay.
    ///
    /// # Errors
    /// There is none.
    pub fn remove_port(&self, id: u16) -> Result<(), TargetError> {
        self.change(|state| {
            let before = state.ports.len();
            state.ports.retain(|port| port.id != id);
            if state.ports.len() == before {
                return Err(TargetError::NoPort(id));
            }
            state.discovery_generation += 1;
            Ok(())
        })
    }

    /// Sets the other discovery services that hosts are told of.
    pub fn set_referrals(&self, referrals: Vec<Referral>) {
        self.change(|state| {
            state.referrals = referrals;
            state.discovery_generation += 1;
        });
    }

    /// Names of the subsystems.
    pub fn subsystems(&self) -> Vec<Nqn> {
        self.lock().subsystems.keys().cloned().collect()
    }

    /// How many controllers there are, those for discovery among them.
    pub fn controllers(&self) -> usize {
        let state = self.lock();
        state.controllers.count() + state.discovery.count()
    }

    /// The controllers of a subsystem whose identifiers are `first` or above, in their order.
    pub(super) fn controllers_of(&self, nqn: &Nqn, first: u16) -> Vec<u16> {
        let state = self.lock();
        let is_listed = |one: &&Arc<Association>| one.subsystem == *nqn && one.controller >= first && !one.has_ended();
        state.controllers.all().filter(is_listed).map(|one| one.controller).collect()
    }

    /// Where fences find I/O queues.
    pub(super) fn mailboxes(&self) -> &Mailboxes {
        &self.mailboxes
    }

    /// A store, unless it was removed.
    pub(super) fn store(&self, store: StoreId) -> Option<Arc<dyn Store>> {
        self.lock().stores.get(store.0 as usize).cloned().flatten()
    }

    /// The subsystem and what there is in it. None once it is gone.
    pub(super) fn view(&self, nqn: &Nqn) -> Option<(Arc<Subsystem>, Arc<View>)> {
        let state = self.lock();
        let entry = state.subsystems.get(nqn)?;
        Some((Arc::clone(&entry.subsystem), Arc::clone(&entry.view)))
    }

    /// What discovery may say to this host.
    pub(super) fn catalogue(&self, host: &Nqn) -> Catalogue {
        let state = self.lock();
        let open = state.subsystems.values().filter(|entry| entry.subsystem.hosts.contains(host));
        Catalogue {
            generation: state.discovery_generation,
            subsystems: open.map(|entry| entry.subsystem.nqn.clone()).collect(),
            ports: state.ports.clone(),
            referrals: state.referrals.clone(),
        }
    }

    /// Creates the controller that an admin queue asks for.
    pub(super) fn connect_admin(&self, data: &ConnectData) -> Result<Arc<Association>, Refusal> {
        let host = data.host().map_err(|_| InvalidParameter::HOST)?;
        let subsystem = data.subsystem().map_err(|_| InvalidParameter::SUBSYSTEM)?;
        if data.controller.get() != crate::command::ANY_CONTROLLER {
            return Err(InvalidParameter::CONTROLLER.into());
        }
        let is_discovery = subsystem.is_discovery();
        let mut state = self.lock();
        if !is_discovery {
            let entry = state.subsystems.get(&subsystem).ok_or(InvalidParameter::SUBSYSTEM)?;
            if !entry.subsystem.hosts.contains(&host) {
                return Err(StatusCode::ConnectInvalidHost.into());
            }
        }
        let (ids, most, granted) = match is_discovery {
            true => (CONTROLLER_IDS, self.config.max_discovery_controllers, 0),
            false => {
                (self.config.controller_ids.clone(), self.config.max_controllers, self.config.max_io_queues.into())
            }
        };
        let make = |controller| Association::new(controller, subsystem.clone(), host, data.host_id, granted);
        state.pool(&subsystem).add(&ids, most, make).ok_or_else(|| StatusCode::ControllerBusy.into())
    }

    /// Finds the controller that an I/O queue is for, and takes the queue.
    pub(super) fn connect_io(&self, data: &ConnectData, queue: u16) -> Result<Arc<Association>, Refusal> {
        let host = data.host().map_err(|_| InvalidParameter::HOST)?;
        let subsystem = data.subsystem().map_err(|_| InvalidParameter::SUBSYSTEM)?;
        let association = {
            let mut state = self.lock();
            let found = state.pool(&subsystem).get(data.controller.get()).filter(|one| !one.has_ended());
            Arc::clone(found.ok_or(InvalidParameter::CONTROLLER)?)
        };
        if association.subsystem != subsystem {
            return Err(InvalidParameter::SUBSYSTEM.into());
        }
        if association.host != host {
            return Err(InvalidParameter::HOST.into());
        }
        if association.host_id != data.host_id {
            return Err(InvalidParameter::HOST_ID.into());
        }
        if u32::from(queue) > association.granted() {
            return Err(InvalidParameter::QUEUE.into());
        }
        if !association.is_ready() {
            return Err(StatusCode::CommandSequenceError.into());
        }
        if !association.attach(queue) {
            return Err(StatusCode::CommandSequenceError.into());
        }
        Ok(association)
    }

    /// What there is for the host of an association, and what answers it when it authenticates: None if it need not.
    ///
    /// The host may have lost its right to connect since the association was made, or found. That must not look as if it need not authenticate.
    pub(super) fn admit(&self, association: &Association) -> Result<(Arc<View>, Option<Responder>), Refusal> {
        let Association { subsystem: nqn, host, .. } = association;
        if nqn.is_discovery() {
            return Ok(Default::default());
        }
        let (subsystem, view) = self.view(nqn).ok_or(InvalidParameter::SUBSYSTEM)?;
        Ok((view, subsystem.hosts.responder(host, nqn)?))
    }

    /// The admin queue of a controller is gone, and the controller with it.
    pub(super) fn disconnect(&self, association: &Association) {
        association.end();
        self.change(|state| state.pool(&association.subsystem).remove(association.controller));
    }

    /// Has all connections look again.
    pub(super) fn announce(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.subscribers.tell();
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.lock());
        self.announce();
        result
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic leaves the maps as they were before or after one insertion or removal.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Where the controllers of a subsystem, or of the discovery service, are.
    fn pool(&mut self, subsystem: &Nqn) -> &mut Pool {
        if subsystem.is_discovery() { &mut self.discovery } else { &mut self.controllers }
    }
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Target").field("generation", &self.generation()).finish_non_exhaustive()
    }
}
