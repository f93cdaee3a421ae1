//! What follows on each step.

use std::time::Duration;

use zerocopy::FromBytes;

use super::check::check;
use super::keep_alive::KeepAlive;
use super::step::{Found, Scan, Step};
use super::{Controller, ControllerError, ControllerEvent, Defect, Stage};
use crate::command::{
    AnaState, Capabilities, ControllerStatus, EventMask, IdentifyController, IdentifyNamespace, IdentifyNvmController,
    NamespaceId, QueueCounts, ShutdownStatus, Status, StatusCode, Version, cmic,
};
use crate::host::discovery::{LogReader, Progress};
use crate::host::{AnaStates, Namespace};
use crate::pdu::Payload;

/// How often CSTS is read while something is waited for.
const STATUS_INTERVAL: Duration = Duration::from_millis(10);
/// The unit of CAP.TO.
const TIMEOUT_UNIT: Duration = Duration::from_millis(500);
/// How long a shutdown may take, whatever RTD3E says.
const MIN_SHUTDOWN: Duration = Duration::from_secs(5);
/// How often a step is tried again that the controller says may succeed later.
const MAX_RETRIES: u8 = 3;
/// Namespaces that are looked at, at most.
const MAX_NAMESPACES: usize = 4096;
/// Entries of a list of namespaces that is full, so that there may be another.
const LIST_ENTRIES: usize = 1024;

impl Controller {
    /// Sends the command of `step`.
    pub(super) fn begin(&mut self, step: Step, now: Duration) {
        self.repeat_at = None;
        let request = step.request(&self.known, self.config.io_queues);
        if self.queue.submit(request, now).is_ok() {
            self.step = Some(step);
        }
    }

    /// Begins what is to be done next; if there is nothing, the controller is ready.
    pub(super) fn next_task(&mut self, now: Duration) {
        if self.stage == Stage::ShutDown {
            return;
        }
        let tasks = &mut self.tasks;
        let reports_ana = self.known.identify.as_ref().is_some_and(|identify| identify.cmic & cmic::ANA != 0);
        let step = if std::mem::take(&mut tasks.shutdown) {
            Step::Shutdown
        } else if reports_ana && std::mem::take(&mut tasks.ana) {
            Step::Ana
        } else if std::mem::take(&mut tasks.namespaces) {
            match self.stage {
                Stage::Ready => Step::ChangedNamespaces,
                _ => Step::ActiveNamespaces { after: 0, scan: Scan::default() },
            }
        } else if std::mem::take(&mut tasks.discovery) {
            Step::Discovery(LogReader::new())
        } else {
            if self.stage == Stage::SettingUp {
                self.stage = Stage::Ready;
                self.events.push_back(ControllerEvent::Ready);
            }
            return;
        };
        self.begin(step, now);
    }

    /// The command of the present step was answered.
    pub(super) fn on_step(&mut self, status: Status, result: u64, data: Payload, now: Duration) {
        let Some(step) = self.step.take() else { return };
        if !status.is_success() {
            return self.on_failed_step(step, status, now);
        }
        self.retries = 0;
        let data = data.to_contiguous();
        match step {
            Step::Capabilities => {
                self.known.capabilities = Some(Capabilities::from_bits(result));
                self.begin(Step::Version, now);
            }
            Step::Version => {
                self.known.version = Some(Version::from_bits(result as u32));
                self.begin(Step::Enable, now);
            }
            Step::Enable => {
                let units = self.known.capabilities.map_or(0, |capabilities| capabilities.timeout);
                let deadline = now + TIMEOUT_UNIT * (u32::from(units) + 1);
                self.begin(Step::AwaitReady { deadline }, now);
            }
            Step::AwaitReady { deadline } => self.on_status(ControllerStatus::from_bits(result as u32), deadline, now),
            Step::Identify => match IdentifyController::read_from_bytes(&data) {
                Ok(identify) => self.on_identified(identify, now),
                Err(_) => self.end(unreadable(Step::Identify)),
            },
            Step::Limits => {
                self.known.limits = IdentifyNvmController::read_from_bytes(&data).ok().map(Box::new);
                self.begin(Step::QueueCounts, now);
            }
            Step::QueueCounts => {
                let granted = QueueCounts::from_bits(result as u32);
                let granted = granted.submission.min(granted.completion).min(self.config.io_queues.into());
                self.known.io_queues = granted as u16;
                self.ask_for_events(now);
            }
            Step::Events(_) => {
                let limit = self.known.identify.as_ref().map_or(0, |identify| identify.aerl).saturating_add(1);
                self.events_wanted = self.config.async_events.min(limit);
            }
            Step::Ana => self.on_ana(AnaStates::read(&data), now),
            Step::ChangedNamespaces => {
                self.begin(Step::ActiveNamespaces { after: 0, scan: Scan::default() }, now);
            }
            Step::ActiveNamespaces { after, scan } => self.on_list(after, scan, &data, now),
            Step::Namespace(scan) => match IdentifyNamespace::read_from_bytes(&data) {
                Ok(identify) => self.begin(Step::Identifiers { identify: Box::new(identify), scan }, now),
                Err(_) => self.end(unreadable(Step::Namespace(scan))),
            },
            Step::Identifiers { identify, scan } => {
                self.go_on_scanning(scan, Found::Described(&identify, NamespaceId::read_list(&data)), now);
            }
            Step::Discovery(reader) => self.on_discovery(reader.on_data(&data), now),
            Step::Shutdown => {
                let allowed = self.known.identify.as_ref().map_or(0, |identify| identify.rtd3e.get());
                let deadline = now + Duration::from_micros(allowed.into()).max(MIN_SHUTDOWN);
                self.begin(Step::AwaitShutdown { deadline }, now);
            }
            Step::AwaitShutdown { deadline } => match ControllerStatus::from_bits(result as u32).shutdown {
                ShutdownStatus::Complete => {
                    self.stage = Stage::ShutDown;
                    (self.keep_alive, self.ana_deadline) = (None, None);
                    self.events_wanted = 0;
                    self.events.push_back(ControllerEvent::ShutDown);
                }
                _ if now >= deadline => self.end(ControllerError::ShutdownTimeout),
                _ => self.repeat(Step::AwaitShutdown { deadline }, now),
            },
        }
    }

    /// What fails may be tried again, may not matter, or is the end.
    fn on_failed_step(&mut self, step: Step, status: Status, now: Duration) {
        if let Step::Discovery(reader) = step {
            return match status.code {
                StatusCode::DiscoverRestart => self.on_discovery(reader.again(), now),
                _ => self.end(ControllerError::Command { what: Step::Discovery(reader).what(), status }),
            };
        }
        if !status.do_not_retry && self.retries < MAX_RETRIES {
            self.retries += 1;
            return self.repeat(step, now);
        }
        self.retries = 0;
        match step {
            // Controllers need not have these.
            Step::Limits => self.begin(Step::QueueCounts, now),
            Step::Events(_) => {}
            Step::ChangedNamespaces => {
                self.begin(Step::ActiveNamespaces { after: 0, scan: Scan::default() }, now);
            }
            // What was found before is still the best that is known.
            Step::Ana if self.stage != Stage::SettingUp => self.tell_ana(false),
            Step::ActiveNamespaces { .. } if self.stage != Stage::SettingUp => {}
            // A namespace that has gone is not one that has lost its identifiers.
            Step::Namespace(scan) | Step::Identifiers { scan, .. } if status.code == StatusCode::InvalidNamespace => {
                self.go_on_scanning(scan, Found::Nothing, now);
            }
            Step::Namespace(scan) => self.go_on_scanning(scan, Found::NotDescribed, now),
            Step::Identifiers { identify, scan } if status.do_not_retry => {
                self.go_on_scanning(scan, Found::Described(&identify, Vec::new()), now);
            }
            // There may be some: without them it would look like another one than before.
            Step::Identifiers { scan, .. } => self.go_on_scanning(scan, Found::NotDescribed, now),
            step => self.end(ControllerError::Command { what: step.what(), status }),
        }
    }

    /// Sends the command of `step` again after a while.
    fn repeat(&mut self, step: Step, now: Duration) {
        self.step = Some(step);
        self.repeat_at = Some(now + STATUS_INTERVAL);
    }

    fn on_status(&mut self, status: ControllerStatus, deadline: Duration, now: Duration) {
        if status.fatal {
            self.end(ControllerError::Fatal);
        } else if status.ready {
            self.begin(Step::Identify, now);
        } else if now >= deadline {
            self.end(ControllerError::NotReady);
        } else {
            self.repeat(Step::AwaitReady { deadline }, now);
        }
    }

    fn on_identified(&mut self, identify: IdentifyController, now: Duration) {
        if let Err(defect) = check(&identify, self.known.controller, self.is_discovery()) {
            return self.end(defect.into());
        }
        self.keep_alive = KeepAlive::new(self.config.admin.keep_alive, now);
        self.known.identify = Some(Box::new(identify));
        if self.is_discovery() {
            self.tasks.discovery = true;
            self.ask_for_events(now);
        } else if self.config.io_queues == 0 {
            self.ask_for_events(now);
        } else {
            (self.tasks.ana, self.tasks.namespaces) = (true, true);
            self.begin(Step::Limits, now);
        }
    }

    /// Asks for those events that the controller has and that are acted upon.
    fn ask_for_events(&mut self, now: Duration) {
        let wanted = match self.is_discovery() {
            true => EventMask::DISCOVERY_LOG,
            false => EventMask::NAMESPACE_ATTRIBUTES.union(EventMask::ANA_CHANGE),
        };
        let offered = self.known.identify.as_ref().map_or(0, |identify| identify.oaes.get());
        let mask = EventMask(wanted.0 & offered);
        if self.config.async_events > 0 && mask != EventMask::default() {
            self.begin(Step::Events(mask), now);
        }
    }

    fn on_ana(&mut self, states: AnaStates, now: Duration) {
        let allowed = self.known.identify.as_ref().map_or(0, |identify| identify.anatt);
        self.ana_deadline = match states.groups().any(|(_, state)| state == AnaState::Change) {
            // A group that was changing before is given no more time than it had.
            true if allowed > 0 => self
                .ana_deadline
                .filter(|_| self.known.ana.is_changing())
                .or(Some(now + Duration::from_secs(allowed.into()))),
            _ => None,
        };
        let changed = states != self.known.ana;
        self.known.ana = states;
        self.tell_ana(changed);
    }

    fn tell_ana(&mut self, changed: bool) {
        if self.stage == Stage::Ready && (std::mem::take(&mut self.is_ana_awaited) || changed) {
            self.events.push_back(ControllerEvent::AnaChanged);
        }
    }

    /// Takes a list of active namespaces, and asks for the next, or looks at the namespaces.
    fn on_list(&mut self, after: u32, mut scan: Scan, list: &[u8], now: Duration) {
        let mut last = after;
        let mut entries = 0;
        for nsid in list.as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).take_while(|nsid| *nsid != 0)
        {
            if nsid <= last {
                return self.end(Defect::NamespaceOrder.into());
            }
            last = nsid;
            entries += 1;
            scan.to_do.push(nsid);
        }
        if entries == LIST_ENTRIES && scan.to_do.len() < MAX_NAMESPACES {
            return self.begin(Step::ActiveNamespaces { after: last, scan }, now);
        }
        scan.to_do.reverse();
        match scan.to_do.is_empty() {
            true => self.finish_scan(scan),
            false => self.begin(Step::Namespace(scan), now),
        }
    }

    fn go_on_scanning(&mut self, mut scan: Scan, found: Found<'_>, now: Duration) {
        match scan.note(found) {
            true => self.begin(Step::Namespace(scan), now),
            false => self.finish_scan(scan),
        }
    }

    fn finish_scan(&mut self, scan: Scan) {
        let before = &self.known.namespaces;
        let is_new = |(nsid, one): (&u32, &Namespace)| before.get(nsid).is_none_or(|before| one.has_changed(before));
        let changed =
            scan.unusable != self.known.unusable || scan.usable.len() != before.len() || scan.usable.iter().any(is_new);
        (self.known.namespaces, self.known.unusable) = (scan.usable, scan.unusable);
        if changed && self.stage == Stage::Ready {
            self.events.push_back(ControllerEvent::NamespacesChanged);
        }
    }

    fn on_discovery(&mut self, progress: Progress, now: Duration) {
        match progress {
            Progress::More(reader) => self.begin(Step::Discovery(reader), now),
            Progress::Unstable => self.end(ControllerError::DiscoveryUnstable),
            Progress::Complete(log) => {
                self.known.discovery = Some(log);
                if self.stage == Stage::Ready {
                    self.events.push_back(ControllerEvent::DiscoveryChanged);
                }
            }
        }
    }
}

/// Data of another length than was asked for; the queue lets none through.
fn unreadable(step: Step) -> ControllerError {
    ControllerError::Command { what: step.what(), status: StatusCode::DataTransferError.into() }
}
