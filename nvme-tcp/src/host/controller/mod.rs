//! A controller, over its admin queue.

mod check;
mod config;
mod error;
mod keep_alive;
mod step;
mod tasks;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;

pub use config::ControllerConfig;
pub use error::{ControllerError, Defect};

use super::discovery::DiscoveryLog;
use super::{
    AnaStates, CommandId, Completion, Namespace, Outcome, Queue, QueueConfig, QueueState, Refusal, Refused, Request,
    Unusable,
};
use crate::Transmit;
use crate::command::{
    AdminCommand, AsyncEvent, Capabilities, IdentifyController, IdentifyNvmController, Status, Version,
};
use keep_alive::{Due, KeepAlive};
use step::Step;

/// Bytes of data in the capsules of I/O commands, however many the controller takes. Other commands have to wait behind them.
const MAX_IN_CAPSULE: u32 = 64 * 1024;

/// Entries that every controller takes for its admin queue.
const MIN_ADMIN_ENTRIES: u32 = 32;
/// Asynchronous Event Requests that are outstanding at most, so that they leave room for other commands.
const MAX_ASYNC_EVENTS: u8 = 8;

/// The life of a controller, from the connection of its admin queue to its shutdown.
///
/// It enables the controller, identifies it, asks for I/O queues and for events, and finds out its namespaces and their ANA
/// states, or reads its discovery log. Then it keeps the association alive, and what it has found up to date when events say
/// that it changed. What happens is told by [`poll_event`](Self::poll_event).
///
/// I/O queues are connections of the caller's, [`Queue`]s made with [`io_queue`](Self::io_queue).
#[derive(Debug)]
pub struct Controller {
    config: ControllerConfig,
    queue: Queue<Token>,
    stage: Stage,
    /// The command of the state machine that is outstanding, or to be repeated at `repeat_at`.
    step: Option<Step>,
    repeat_at: Option<Duration>,
    retries: u8,
    keep_alive: Option<KeepAlive>,
    /// Asynchronous Event Requests: outstanding, and how many may be.
    events_posted: u8,
    events_wanted: u8,
    tasks: Tasks,
    known: Known,
    ana_deadline: Option<Duration>,
    /// The caller wants to hear of the ANA states even if they have not changed.
    is_ana_awaited: bool,
    events: VecDeque<ControllerEvent>,
}

/// Whose command it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Step,
    KeepAlive,
    AsyncEvent,
    Caller(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Connecting,
    SettingUp,
    Ready,
    ShuttingDown,
    ShutDown,
    Ended(ControllerError),
}

/// What is to be done once no step is outstanding.
#[derive(Debug, Default)]
struct Tasks {
    shutdown: bool,
    ana: bool,
    namespaces: bool,
    discovery: bool,
}

/// What has been found out.
#[derive(Debug, Default)]
struct Known {
    controller: u16,
    capabilities: Option<Capabilities>,
    version: Option<Version>,
    identify: Option<Box<IdentifyController>>,
    limits: Option<Box<IdentifyNvmController>>,
    io_queues: u16,
    ana: AnaStates,
    namespaces: BTreeMap<u32, Namespace>,
    unusable: BTreeMap<u32, Unusable>,
    discovery: Option<DiscoveryLog>,
}

impl Known {
    fn max_transfer(&self) -> Option<u64> {
        let (capabilities, identify) = (self.capabilities?, self.identify.as_ref()?);
        let shift = u32::from(identify.mdts) + 12 + u32::from(capabilities.min_page);
        (identify.mdts > 0).then(|| 1u64.checked_shl(shift).unwrap_or(u64::MAX))
    }
}

/// What happens to a controller.
#[derive(Clone, Debug)]
pub enum ControllerEvent {
    /// It is enabled and identified: I/O queues can be connected, and the namespaces, or the discovery log, are known.
    Ready,
    /// Namespaces have come, changed or gone.
    NamespacesChanged,
    /// ANA states have changed, or were asked for with [`Controller::refresh_ana`].
    AnaChanged,
    /// The discovery log was read again because it has changed.
    DiscoveryChanged,
    /// An event of another kind. Some kinds come again only once the log page that they name was read.
    AsyncEvent(AsyncEvent),
    /// A command of the caller's has ended.
    Completed(Completion<u64>),
    /// The shutdown is complete: close the connections.
    ShutDown,
    /// It is of no more use. Close the connections once there is nothing more to transmit.
    Ended(ControllerError),
}

impl Controller {
    /// A controller whose admin queue is to be connected over a connection that was made at `now`.
    pub fn new(mut config: ControllerConfig, now: Duration) -> Self {
        config.admin.entries = config.admin.entries.max(MIN_ADMIN_ENTRIES);
        config.async_events = config.async_events.min(MAX_ASYNC_EVENTS);
        Self {
            queue: Queue::new(config.admin.clone(), now),
            config,
            stage: Stage::Connecting,
            step: None,
            repeat_at: None,
            retries: 0,
            keep_alive: None,
            events_posted: 0,
            events_wanted: 0,
            tasks: Tasks::default(),
            known: Known::default(),
            ana_deadline: None,
            is_ana_awaited: false,
            events: VecDeque::new(),
        }
    }

    /// Takes all of what the admin queue's connection has received.
    pub fn receive(&mut self, input: &mut Bytes, now: Duration) {
        self.queue.receive(input);
        self.process(now);
    }

    /// Appends the admin queue's next PDU to `out`; see [`Queue::poll_transmit`].
    pub fn poll_transmit(&mut self, out: &mut Vec<Bytes>) -> Option<Transmit> {
        self.queue.poll_transmit(out)
    }

    /// What has happened next.
    pub fn poll_event(&mut self) -> Option<ControllerEvent> {
        self.events.pop_front()
    }

    /// Takes an admin command of the caller's, whose end is a [`ControllerEvent::Completed`].
    ///
    /// # Errors
    /// The request, if the controller is not ready, or the queue is full: some room is kept for what the state machine needs.
    #[expect(clippy::result_large_err, reason = "the request, which was handed over by value, goes back to its owner")]
    pub fn submit(&mut self, request: Request<u64>, now: Duration) -> Result<CommandId, Refused<u64>> {
        if self.room() == 0 {
            let reason = match self.stage {
                Stage::Ended(_) => Refusal::Ended,
                Stage::Ready => Refusal::Full,
                _ => Refusal::NotReady,
            };
            return Err(Refused { reason, request });
        }
        let token = request.token;
        let Request { sqe, data, .. } = request;
        self.queue.submit(Request { sqe, data, token: Token::Caller(token) }, now).map_err(|refused| {
            let Request { sqe, data, .. } = refused.request;
            Refused { reason: refused.reason, request: Request { sqe, data, token } }
        })
    }

    /// How many commands of the caller's it takes at present.
    pub fn room(&self) -> usize {
        if !self.is_ready() {
            return 0;
        }
        // A slot for the state machine, one for Keep Alive, and those for events, as far as they are not in use.
        let step = self.step.is_none() || self.repeat_at.is_some();
        let keep_alive = self.keep_alive.as_ref().is_none_or(|timer| !timer.is_sent());
        let events = usize::from(self.config.async_events.saturating_sub(self.events_posted));
        self.queue.room().saturating_sub(usize::from(step) + usize::from(keep_alive) + events)
    }

    /// Shuts the controller down in an orderly way, as soon as no other step of the state machine is under way. Do this after
    /// the I/O queues have nothing outstanding any more.
    pub fn shutdown(&mut self, now: Duration) {
        self.tasks.shutdown = true;
        if self.stage == Stage::Ready {
            self.stage = Stage::ShuttingDown;
        }
        self.process(now);
    }

    /// The admin queue's connection is gone, or one of its I/O queues has failed so that it has to be connected anew.
    pub fn connection_lost(&mut self, now: Duration) {
        self.queue.connection_lost();
        self.process(now);
    }

    /// Lets the namespaces be listed anew, for instance because a completion says that one is gone.
    pub fn rescan(&mut self, now: Duration) {
        self.tasks.namespaces |= self.config.io_queues > 0;
        self.process(now);
    }

    /// Lets the ANA log be read anew, because a completion tells of a change that no event has. [`ControllerEvent::AnaChanged`]
    /// follows in any case.
    pub fn refresh_ana(&mut self, now: Duration) {
        (self.tasks.ana, self.is_ana_awaited) = (true, true);
        self.process(now);
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<Duration> {
        if matches!(self.stage, Stage::Ended(_)) {
            return None;
        }
        let keep_alive = self.keep_alive.as_ref().map(KeepAlive::poll_timeout);
        [self.queue.poll_timeout(), keep_alive, self.repeat_at, self.ana_deadline].into_iter().flatten().min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Duration) {
        self.queue.handle_timeout(now);
        match self.keep_alive.as_mut().map(|timer| timer.handle_timeout(now)) {
            Some(Due::Send) => self.send(Token::KeepAlive, AdminCommand::KeepAlive, now),
            Some(Due::Overdue) => self.end(ControllerError::KeepAliveTimeout),
            Some(Due::Nothing) | None => {}
        }
        if self.ana_deadline.is_some_and(|deadline| now >= deadline) {
            self.end(ControllerError::AnaTransition);
        }
        if self.repeat_at.is_some_and(|at| now >= at)
            && let Some(step) = self.step.take()
        {
            self.begin(step, now);
        }
        self.process(now);
    }

    /// How a connection for I/O queue `id`, from 1 to [`io_queues`](Self::io_queues), is made a queue.
    ///
    /// # Panics
    /// Before [`ControllerEvent::Ready`].
    pub fn io_queue(&self, id: u16) -> QueueConfig {
        let (Some(capabilities), Some(identify)) = (&self.known.capabilities, &self.known.identify) else {
            panic!("the controller is not ready")
        };
        let commands = match identify.maxcmd.get() {
            0 => u32::MAX,
            commands => u32::from(commands) + 1,
        };
        let admin = &self.config.admin;
        QueueConfig {
            entries: self.config.io_entries.min(capabilities.max_queue_entries).min(commands),
            flow_control: self.config.io_flow_control,
            offer: admin.offer,
            in_capsule_data: identify.in_capsule_data().min(MAX_IN_CAPSULE),
            connect_timeout: admin.connect_timeout,
            authentication: admin.authentication.clone(),
            command_timeout: self.config.io_timeout,
            ..QueueConfig::io(admin.identity.clone(), id, self.known.controller)
        }
    }

    /// How many I/O queues it grants; not more than were asked for.
    pub fn io_queues(&self) -> u16 {
        self.known.io_queues
    }

    /// CNTLID.
    pub fn id(&self) -> u16 {
        self.known.controller
    }

    /// What it says of itself, once that is known.
    pub fn identify(&self) -> Option<&IdentifyController> {
        self.known.identify.as_deref()
    }

    /// CAP, once it is known.
    pub fn capabilities(&self) -> Option<&Capabilities> {
        self.known.capabilities.as_ref()
    }

    /// VS, once it is known.
    pub fn version(&self) -> Option<Version> {
        self.known.version
    }

    /// The limits of commands without data, if the controller tells them.
    pub fn limits(&self) -> Option<&IdentifyNvmController> {
        self.known.limits.as_deref()
    }

    /// MDTS: bytes that a command may transfer. None if there is no limit, or it is not known yet.
    pub fn max_transfer(&self) -> Option<u64> {
        self.known.max_transfer()
    }

    /// The namespaces that can be used, by NSID.
    pub fn namespaces(&self) -> &BTreeMap<u32, Namespace> {
        &self.known.namespaces
    }

    /// The namespaces that cannot be used, by NSID, and why.
    pub fn unusable_namespaces(&self) -> &BTreeMap<u32, Unusable> {
        &self.known.unusable
    }

    /// The states of its ANA groups.
    pub fn ana(&self) -> &AnaStates {
        &self.known.ana
    }

    /// The log of a discovery controller, once it was read.
    pub fn discovery_log(&self) -> Option<&DiscoveryLog> {
        self.known.discovery.as_ref()
    }

    /// Whether [`ControllerEvent::Ready`] has come, and neither a shutdown nor the end.
    pub fn is_ready(&self) -> bool {
        self.stage == Stage::Ready
    }

    /// Whether it is of no more use: [`ControllerEvent::Ended`] says why.
    pub fn has_ended(&self) -> bool {
        matches!(self.stage, Stage::Ended(_))
    }

    /// Acts on what the queue has to tell.
    fn process(&mut self, now: Duration) {
        while let Some(completion) = self.queue.poll_completion() {
            self.on_completion(completion, now);
        }
        match (self.stage, self.queue.state()) {
            (Stage::Ended(_), _) | (_, QueueState::Connecting) => {}
            (Stage::ShutDown, QueueState::Ended(_)) => {}
            (_, QueueState::Ended(error)) => self.end(error.into()),
            (Stage::Connecting, QueueState::Ready(result)) => {
                self.known.controller = result.controller;
                self.stage = Stage::SettingUp;
                self.begin(Step::Capabilities, now);
            }
            (_, QueueState::Ready(_)) if self.step.is_none() => self.next_task(now),
            (_, QueueState::Ready(_)) => {}
        }
        if !matches!(self.stage, Stage::Ended(_)) {
            self.post_event_requests(now);
        }
    }

    fn on_completion(&mut self, completion: Completion<Token>, now: Duration) {
        let Completion { id, outcome, request } = completion;
        if let Token::Caller(token) = request.token {
            let Request { sqe, data, .. } = request;
            let completion = Completion { id, outcome, request: Request { sqe, data, token } };
            self.events.push_back(ControllerEvent::Completed(completion));
        } else if let Outcome::Answered { status, result } = outcome {
            match request.token {
                Token::Step => self.on_step(status, result, request.into_received(), now),
                Token::KeepAlive => self.on_keep_alive(status, now),
                Token::AsyncEvent => self.on_event(status, result as u32),
                Token::Caller(_) => {}
            }
        }
    }

    fn on_keep_alive(&mut self, status: Status, now: Duration) {
        if !status.is_success() {
            return self.end(ControllerError::Command { what: "Keep Alive", status });
        }
        if let Some(timer) = &mut self.keep_alive {
            timer.on_answer(now);
        }
    }

    fn on_event(&mut self, status: Status, result: u32) {
        self.events_posted -= 1;
        if !status.is_success() {
            // It would fail again: the controller takes fewer, or none.
            self.events_wanted = self.events_posted;
            return;
        }
        match AsyncEvent::from_bits(result) {
            AsyncEvent::NAMESPACES_CHANGED => {
                self.tasks.namespaces |= self.config.io_queues > 0;
                self.tasks.ana = true;
            }
            AsyncEvent::ANA_CHANGED => self.tasks.ana = true,
            AsyncEvent::DISCOVERY_CHANGED => self.tasks.discovery |= self.is_discovery(),
            other => self.events.push_back(ControllerEvent::AsyncEvent(other)),
        }
    }

    fn post_event_requests(&mut self, now: Duration) {
        while self.events_posted < self.events_wanted && self.queue.room() > 0 {
            self.events_posted += 1;
            self.send(Token::AsyncEvent, AdminCommand::AsyncEventRequest, now);
        }
    }

    /// Sends a command without data, for which there is room.
    fn send(&mut self, token: Token, command: AdminCommand, now: Duration) {
        let sent = self.queue.submit(Request::new(command.to_sqe(0), token), now);
        debug_assert!(sent.is_ok() || matches!(self.queue.state(), QueueState::Ended(_)));
    }

    fn is_discovery(&self) -> bool {
        self.config.admin.identity.subsystem.is_discovery()
    }

    fn end(&mut self, error: ControllerError) {
        if matches!(self.stage, Stage::Ended(_)) {
            return;
        }
        self.stage = Stage::Ended(error);
        (self.step, self.repeat_at, self.keep_alive, self.ana_deadline) = (None, None, None, None);
        self.events_wanted = 0;
        self.queue.connection_lost();
        let now = Duration::ZERO;
        while let Some(completion) = self.queue.poll_completion() {
            self.on_completion(completion, now);
        }
        self.events.push_back(ControllerEvent::Ended(error));
    }
}
