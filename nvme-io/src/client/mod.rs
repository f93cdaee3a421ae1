//! A host on one thread: the controllers of one subsystem, and commands that outlive the loss of any of them.

mod association;
mod config;
mod error;
mod path;
mod recognition;

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::time::Duration;

use nvme_tcp::host::{Controller, ControllerEvent, Data, Finished, Multipath, Refusal, Refused, Request};

pub use config::{HostConfig, PathChange, PathEvent};
pub use error::HostError;

use crate::net::{Net, NetEvent};
use path::{Path, Shared};

/// A subsystem: a controller at each of its addresses, with I/O queues.
///
/// A controller that is lost is connected again. Meanwhile its commands take other paths, or wait; what may be executed twice is submitted again
/// if it was not answered, and the rest is told to be lost, see [`Multipath`]. Each command ends exactly once. Two commands that are fused are not
/// for this: nothing keeps them together.
///
/// Calls that wait drive everything meanwhile; [`turn`](Self::turn) drives it once.
pub struct Host<N: Net> {
    shared: Shared<N>,
    paths: Vec<Path>,
    queues: Vec<QueueShare>,
    /// The queue whose turn it is, where the caller has no preference.
    next_queue: usize,
    events: Vec<NetEvent>,
}

/// What accompanies a command.
#[derive(Clone, Copy, Debug)]
struct Tag {
    /// The queue that it was submitted to; on any path it takes the one of that number if that has room.
    queue: usize,
    token: u64,
}

/// The commands of an I/O queue, over all paths.
#[derive(Debug, Default)]
struct QueueShare {
    limit: usize,
    outstanding: usize,
    finished: VecDeque<Finished<u64>>,
}

impl<N: Net> Host<N> {
    /// Connects to a subsystem and waits until at least one of its paths can be used and the others can or cannot, for `patience` at most.
    /// Those that cannot are tried again as those that were lost.
    ///
    /// # Errors
    /// What became of the first path if there is none that can be used.
    ///
    /// # Panics
    /// There is no address.
    pub fn connect(net: N, config: HostConfig, patience: Duration) -> Result<Self, HostError> {
        let HostConfig { addresses, controller, reconnect, policy } = config;
        assert!(!addresses.is_empty(), "a host needs an address");
        let end = net.now() + patience;
        let shared = Shared {
            net,
            config: controller,
            multipath: Multipath::new(policy, usize::MAX),
            namespaces: Default::default(),
            changes: VecDeque::new(),
            watcher: None,
            pieces: Vec::new(),
        };
        let mut host = Self { shared, paths: Vec::new(), queues: Vec::new(), next_queue: 0, events: Vec::new() };
        // So that not all hosts come back at the same moment.
        let random = RandomState::new();
        for (address, distance) in addresses.into_iter().zip(0..) {
            let path = Path::new(&mut host.shared, address, distance, reconnect, random.hash_one(distance));
            host.paths.push(path);
        }
        while host.paths.iter().any(|path| !path.is_live() && path.error().is_none()) {
            match end.checked_sub(host.shared.net.now()).filter(|left| !left.is_zero()) {
                Some(left) => host.step(Some(left))?,
                None if host.paths.iter().any(Path::is_live) => break,
                None => return Err(HostError::TimedOut),
            }
        }
        let Some(room) = host.paths.iter().find_map(Path::room) else {
            return Err(host.paths[0].take_error().unwrap_or(HostError::TimedOut));
        };
        // As much as all paths take.
        let limits = room.into_iter().map(|room| room * host.paths.len());
        host.queues = limits.map(|limit| QueueShare { limit, ..QueueShare::default() }).collect();
        Ok(host)
    }

    /// The controller: the first that is there, or else that was there.
    ///
    /// # Panics
    /// Never: there was one, or there would be no host.
    pub fn controller(&self) -> &Controller {
        let live = self.controllers().next().map(|(_, controller)| controller);
        let any = live.or_else(|| self.paths.iter().find_map(Path::controller));
        any.expect("a host begins with a controller")
    }

    /// The controllers that are there now, and where.
    pub fn controllers(&self) -> impl Iterator<Item = (SocketAddr, &Controller)> {
        let live = self.paths.iter().filter(|path| path.is_live());
        live.filter_map(|path| Some((path.address(), path.controller()?)))
    }

    /// Has `watcher` told at once which paths are not there, and then what becomes of all of them, as soon as it does.
    pub fn watch(&mut self, watcher: impl FnMut(&PathEvent) + Send + 'static) {
        self.shared.watcher = Some(Box::new(watcher));
        for path in &self.paths {
            path.tell_if_absent(&mut self.shared);
        }
    }

    /// I/O queues.
    pub fn queues(&self) -> usize {
        self.queues.len()
    }

    /// The transport.
    pub fn net(&self) -> &N {
        &self.shared.net
    }

    /// How many more requests a queue takes; queues count from 0.
    pub fn room(&self, queue: usize) -> usize {
        let QueueShare { limit, outstanding, .. } = &self.queues[queue];
        limit - outstanding
    }

    /// A queue that takes more requests: the first after the one that has taken the latest, so that queues take turns.
    pub fn queue_with_room(&self) -> Option<usize> {
        let count = self.queues.len();
        (0..count).map(|step| (self.next_queue + step) % count).find(|queue| self.room(*queue) > 0)
    }

    /// Submits a request to an I/O queue. It leaves with the next [`turn`](Self::turn), or once there is a path.
    ///
    /// # Errors
    /// The queue is full, or the data too long.
    pub fn submit(&mut self, queue: usize, request: Request<u64>) -> Result<(), Box<Refused<u64>>> {
        let too_long = matches!(&request.data, Data::Send(data) if u32::try_from(data.len()).is_err());
        let reason = match self.room(queue) {
            0 => Some(Refusal::Full),
            _ => too_long.then_some(Refusal::TooLong),
        };
        if let Some(reason) = reason {
            return Err(Box::new(Refused { reason, request }));
        }
        let Request { sqe, data, token } = request;
        self.shared.multipath.submit(Request { sqe, data, token: Tag { queue, token } }).map_err(|refused| {
            let Request { sqe, data, token } = refused.request;
            Box::new(Refused { reason: refused.reason, request: Request { sqe, data, token: token.token } })
        })?;
        self.queues[queue].outstanding += 1;
        self.next_queue = (queue + 1) % self.queues.len();
        Ok(())
    }

    /// The next command of an I/O queue that has ended.
    pub fn poll_finished(&mut self, queue: usize) -> Option<Finished<u64>> {
        self.collect();
        self.queues[queue].finished.pop_front()
    }

    /// What controllers have told of namespaces, ANA states and the discovery log.
    pub fn poll_change(&mut self) -> Option<ControllerEvent> {
        self.shared.changes.pop_front()
    }

    /// Submits a request to a queue on which nothing is outstanding, and waits for its end.
    ///
    /// # Errors
    /// See [`HostError`].
    pub fn execute(&mut self, queue: usize, request: Request<u64>) -> Result<Finished<u64>, HostError> {
        self.submit(queue, request).map_err(|refused| HostError::Refused(refused.reason))?;
        loop {
            self.turn(None)?;
            if let Some(finished) = self.poll_finished(queue) {
                return Ok(finished);
            }
        }
    }

    /// Shuts the controllers down that are there, and waits for it, for `patience` at most.
    ///
    /// # Errors
    /// See [`HostError`].
    pub fn shutdown(&mut self, patience: Duration) -> Result<(), HostError> {
        let end = self.shared.net.now() + patience;
        self.paths.retain(Path::is_live);
        for path in &mut self.paths {
            if let Some(association) = path.live() {
                association.shutdown(&mut self.shared.net);
            }
        }
        while let Some(left) = end.checked_sub(self.shared.net.now()).filter(|left| !left.is_zero()) {
            for path in &mut self.paths {
                if let Some(association) = path.live()
                    && association.is_shut_down()
                {
                    association.close(&mut self.shared.net);
                }
            }
            // Others are lost: they are not waited for.
            self.paths.retain_mut(|path| path.live().is_some_and(|association| !association.is_shut_down()));
            if self.paths.is_empty() {
                // The farewells leave.
                self.shared.net.poll(Some(Duration::ZERO), &mut self.events)?;
                return Ok(());
            }
            self.step(Some(left))?;
        }
        Err(HostError::TimedOut)
    }

    /// Sends what is to be sent, waits for something to happen, for `timeout` at most, and takes what has come.
    ///
    /// # Errors
    /// All paths are given up; what was submitted ends as lost. Or the transport itself has failed.
    pub fn turn(&mut self, timeout: Option<Duration>) -> Result<(), HostError> {
        self.check()?;
        self.step(timeout)?;
        self.check()
    }

    fn check(&self) -> Result<(), HostError> {
        match self.paths.first() {
            Some(first) if self.paths.iter().all(Path::is_given_up) => {
                let reason = first.error().map(ToString::to_string).unwrap_or_default();
                Err(HostError::GivenUp { address: first.address(), reason })
            }
            _ => Ok(()),
        }
    }

    fn step(&mut self, timeout: Option<Duration>) -> Result<(), HostError> {
        self.send();
        let now = self.shared.net.now();
        let deadlines = self.paths.iter().map(Path::poll_timeout).chain([self.shared.multipath.poll_timeout()]);
        let due = deadlines.flatten().min().map(|deadline| deadline.saturating_sub(now));
        // What has ended already is not to wait for something else to happen.
        let ended = self.collect().then_some(Duration::ZERO);
        let timeout = [due, timeout, ended].into_iter().flatten().min();
        let mut events = std::mem::take(&mut self.events);
        self.shared.net.poll(timeout, &mut events)?;
        let now = self.shared.net.now();
        for event in events.drain(..) {
            let mut event = Some(event);
            for path in &mut self.paths {
                path.on_event(&mut self.shared.net, &mut event, now);
            }
        }
        self.events = events;
        for path in &mut self.paths {
            path.proceed(&mut self.shared, now);
        }
        while let Some(outdated) = self.shared.multipath.poll_outdated() {
            let path = self.paths.iter_mut().find(|path| path.id() == outdated);
            if let Some(association) = path.and_then(Path::live) {
                association.controller_mut().refresh_ana(now);
            }
        }
        self.shared.multipath.handle_timeout(now);
        self.send();
        Ok(())
    }

    fn send(&mut self) {
        let now = self.shared.net.now();
        loop {
            let mut is_any_lost = false;
            for path in &mut self.paths {
                is_any_lost |= path.send(&mut self.shared, now);
            }
            // What it had may be for one that has sent already. With each time there is a live path less.
            if !is_any_lost {
                break;
            }
        }
    }

    /// Hands what has ended to its queue; whether there was anything.
    fn collect(&mut self) -> bool {
        let mut any = false;
        while let Some(finished) = self.shared.multipath.poll_finished() {
            let Finished { outcome, request: Request { sqe, data, token: Tag { queue, token } }, resent } = finished;
            let share = &mut self.queues[queue];
            share.outstanding -= 1;
            share.finished.push_back(Finished { outcome, request: Request { sqe, data, token }, resent });
            any = true;
        }
        any
    }
}
