//! A path: the controller at one address, connected again when it is lost.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use nvme_tcp::host::{
    Controller, ControllerConfig, ControllerEvent, Multipath, Namespace, PathId, PathState, ReconnectAction,
    ReconnectPolicy, Reconnector,
};

use super::association::{Association, Progress};
use super::config::{PathChange, PathEvent};
use super::recognition::recognise;
use super::{HostError, Tag};
use crate::net::{Net, NetEvent};

/// Who is told what becomes of paths.
pub(super) type Watcher = Box<dyn FnMut(&PathEvent) + Send>;

/// What the paths of a host share.
pub(super) struct Shared<N: Net> {
    pub(super) net: N,
    pub(super) config: ControllerConfig,
    pub(super) multipath: Multipath<Tag>,
    /// The namespaces, as they were when they were first seen.
    pub(super) namespaces: BTreeMap<u32, Namespace>,
    /// What controllers have told.
    pub(super) changes: VecDeque<ControllerEvent>,
    pub(super) watcher: Option<Watcher>,
    /// Room to work in.
    pub(super) pieces: Vec<Bytes>,
}

pub(super) struct Path {
    id: PathId,
    address: SocketAddr,
    reconnector: Reconnector,
    state: State,
    /// The controller that was lost, until it is replaced.
    former: Option<Controller>,
    /// Why the latest connection, or attempt, has ended.
    error: Option<HostError>,
}

enum State {
    Connecting(Association),
    Live(Association),
    /// The reconnector says for how long.
    Waiting,
    GivenUp,
}

impl Path {
    /// Starts to connect.
    pub(super) fn new<N: Net>(
        shared: &mut Shared<N>,
        address: SocketAddr,
        distance: u32,
        policy: ReconnectPolicy,
        seed: u64,
    ) -> Self {
        let id = shared.multipath.add_path(distance);
        let reconnector = Reconnector::new(policy, seed, shared.net.now());
        let mut path = Self { id, address, reconnector, state: State::Waiting, former: None, error: None };
        path.connect(shared);
        path
    }

    pub(super) fn id(&self) -> PathId {
        self.id
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn is_live(&self) -> bool {
        matches!(self.state, State::Live(_))
    }

    pub(super) fn is_given_up(&self) -> bool {
        matches!(self.state, State::GivenUp)
    }

    /// The association, if commands can be submitted to it.
    pub(super) fn live(&mut self) -> Option<&mut Association> {
        match &mut self.state {
            State::Live(association) => Some(association),
            _ => None,
        }
    }

    /// The controller that is there, or was there.
    pub(super) fn controller(&self) -> Option<&Controller> {
        match &self.state {
            State::Live(association) => Some(association.controller()),
            _ => self.former.as_ref(),
        }
    }

    /// How many requests each of its queues takes, if it is live.
    pub(super) fn room(&self) -> Option<Vec<usize>> {
        match &self.state {
            State::Live(association) => Some(association.room().collect()),
            _ => None,
        }
    }

    pub(super) fn error(&self) -> Option<&HostError> {
        self.error.as_ref()
    }

    pub(super) fn take_error(&mut self) -> Option<HostError> {
        self.error.take()
    }

    /// Tells the watcher if commands cannot be submitted.
    pub(super) fn tell_if_absent<N: Net>(&self, shared: &mut Shared<N>) {
        let reason = self.error.as_ref().map(ToString::to_string).unwrap_or_default();
        let change = match &self.state {
            State::Live(_) => return,
            State::GivenUp => PathChange::GivenUp { reason },
            State::Connecting(_) | State::Waiting => {
                PathChange::Failed { attempts: self.reconnector.attempts().unwrap_or(0), reason }
            }
        };
        shared.tell_watcher(self.address, change);
    }

    pub(super) fn poll_timeout(&self) -> Option<Duration> {
        let association = match &self.state {
            State::Connecting(association) | State::Live(association) => association.poll_timeout(),
            State::Waiting | State::GivenUp => None,
        };
        [association, self.reconnector.poll_timeout()].into_iter().flatten().min()
    }

    pub(super) fn on_event<N: Net>(&mut self, net: &mut N, event: &mut Option<NetEvent>, now: Duration) {
        if let State::Connecting(association) | State::Live(association) = &mut self.state {
            association.on_event(net, event, now);
        }
    }

    /// Submits and sends what there is. Whether the path was lost by that, and its commands are for others now.
    pub(super) fn send<N: Net>(&mut self, shared: &mut Shared<N>, now: Duration) -> bool {
        if let State::Live(association) = &mut self.state
            && let Err(error) = association.submit(&mut shared.multipath, self.id, &shared.namespaces, now)
        {
            self.lose(shared, error, now);
            return true;
        }
        if let State::Connecting(association) | State::Live(association) = &mut self.state {
            association.flush(&mut shared.net, &mut shared.pieces);
        }
        false
    }

    /// Goes on with what has happened, and does what is due.
    pub(super) fn proceed<N: Net>(&mut self, shared: &mut Shared<N>, now: Duration) {
        if let State::Connecting(association) | State::Live(association) = &mut self.state {
            association.handle_timeout(now);
            association.read_on(&mut shared.net, now);
            let result = association.proceed(&mut shared.net, self.address, &mut shared.changes);
            if let State::Live(association) = &mut self.state {
                association.complete(&mut shared.multipath, now);
            }
            match result {
                Ok(Progress::Attached) => self.come_to_life(shared, now),
                Ok(Progress::Changed) if self.is_live() => {
                    if let Err(error) = self.tell(shared) {
                        self.lose(shared, error, now);
                    }
                }
                Ok(Progress::Changed | Progress::Nothing) => {}
                Err(error) => self.lose(shared, error, now),
            }
        }
        while let Some(action) = self.reconnector.handle_timeout(now) {
            match action {
                ReconnectAction::Connect => self.connect(shared),
                ReconnectAction::FailCommands => shared.multipath.set_state(self.id, PathState::Failed),
                ReconnectAction::GiveUp => self.give_up(shared),
            }
        }
    }

    fn connect<N: Net>(&mut self, shared: &mut Shared<N>) {
        match Association::connect(&mut shared.net, self.address, shared.config.clone()) {
            Ok(association) => self.state = State::Connecting(association),
            Err(error) => {
                let now = shared.net.now();
                self.lose(shared, error.into(), now);
            }
        }
    }

    fn come_to_life<N: Net>(&mut self, shared: &mut Shared<N>, now: Duration) {
        // What is not what it was has not come to life: the attempt has failed.
        if let Err(error) = self.tell(shared) {
            return self.lose(shared, error, now);
        }
        self.state = match std::mem::replace(&mut self.state, State::Waiting) {
            State::Connecting(association) => State::Live(association),
            other => other,
        };
        (self.former, self.error) = (None, None);
        self.reconnector.connected(now);
        shared.multipath.set_state(self.id, PathState::Live);
        if let State::Live(association) = &self.state {
            let change =
                PathChange::Live { controller: association.controller().id(), queues: association.room().len() };
            shared.tell_watcher(self.address, change);
        }
    }

    /// Tells the multipath of the namespaces and how this controller reaches them.
    fn tell<N: Net>(&self, shared: &mut Shared<N>) -> Result<(), HostError> {
        let (State::Connecting(association) | State::Live(association)) = &self.state else { return Ok(()) };
        let controller = association.controller();
        let is_used = |nsid| shared.multipath.has_carried(nsid);
        recognise(&mut shared.namespaces, controller.namespaces(), controller.unusable_namespaces(), is_used)?;
        for namespace in controller.namespaces().values() {
            shared.multipath.set_namespace(namespace.nsid, namespace.ana_group);
        }
        if let Some(identify) = controller.identify() {
            shared.multipath.set_retry_delays(self.id, identify.crdt.map(|delay| delay.get()));
        }
        shared.multipath.set_ana(self.id, controller.ana().clone());
        Ok(())
    }

    /// The connection, or the attempt, has ended.
    fn lose<N: Net>(&mut self, shared: &mut Shared<N>, error: HostError, now: Duration) {
        let was_live = self.is_live();
        self.end(shared, &error);
        self.reconnector.lost(now);
        if error.is_final() || !was_live {
            self.reconnector.failed(error.is_final(), now);
        }
        let reason = error.to_string();
        self.error = Some(error);
        if self.reconnector.is_given_up() {
            return self.give_up(shared);
        }
        let change = match self.reconnector.attempts() {
            Some(attempts) if !was_live => PathChange::Failed { attempts, reason },
            _ => PathChange::Lost { reason },
        };
        shared.tell_watcher(self.address, change);
    }

    fn give_up<N: Net>(&mut self, shared: &mut Shared<N>) {
        self.end(shared, &HostError::TimedOut);
        self.state = State::GivenUp;
        shared.multipath.remove_path(self.id);
        let reason = self.error.get_or_insert(HostError::TimedOut).to_string();
        shared.tell_watcher(self.address, PathChange::GivenUp { reason });
    }

    /// Ends the association, if there is one. Its commands wait, or take other paths.
    fn end<N: Net>(&mut self, shared: &mut Shared<N>, error: &HostError) {
        let is_live = self.is_live();
        if let State::Connecting(association) | State::Live(association) =
            std::mem::replace(&mut self.state, State::Waiting)
        {
            if is_live {
                shared.multipath.set_state(self.id, PathState::Connecting);
            }
            let controller = association.end(&mut shared.net, &mut shared.pieces, &mut shared.multipath, error);
            if is_live {
                self.former = Some(controller);
            }
        }
    }
}

impl<N: Net> Shared<N> {
    fn tell_watcher(&mut self, address: SocketAddr, change: PathChange) {
        tracing::debug!(%address, ?change, "a path has changed");
        if let Some(watcher) = &mut self.watcher {
            watcher(&PathEvent { address, change });
        }
    }
}
