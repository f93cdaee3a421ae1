//! A host on one thread: the queues of one controller, each on a connection of its own.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use nvme_tcp::Transmit;
use nvme_tcp::host::{
    CommandId, Completion, Controller, ControllerConfig, ControllerError, ControllerEvent, Queue, QueueError,
    QueueState, Refused, Request,
};

use crate::net::{LinkId, Net, NetEvent, Outgoing, Received};

/// Why a host gives up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// The transport.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The controller.
    #[error("{0}")]
    Controller(#[from] ControllerError),
    /// An I/O queue.
    #[error("I/O queue {id}: {error}")]
    Queue {
        /// Its number.
        id: u16,
        /// What became of it.
        error: QueueError,
    },
    /// It took too long.
    #[error("no answer in time")]
    TimedOut,
}

/// A controller, with its I/O queues.
///
/// Calls that wait drive everything meanwhile; [`turn`](Self::turn) drives it once.
pub struct Host<N: Net> {
    net: N,
    address: SocketAddr,
    controller: Controller,
    admin: Connection,
    queues: Vec<IoQueue>,
    /// What admin commands of the caller came to.
    answers: Vec<Completion<u64>>,
    events: Vec<NetEvent>,
    pieces: Vec<Bytes>,
    /// The controller has shut down.
    is_shut_down: bool,
    /// Why a connection could not be made.
    refused: Option<io::Error>,
    /// What the controller has told since it was asked last.
    changes: Vec<ControllerEvent>,
}

struct IoQueue {
    queue: Queue<u64>,
    connection: Connection,
}

struct Connection {
    link: LinkId,
    connected: bool,
    outgoing: Outgoing,
}

impl<N: Net> Host<N> {
    /// Connects to a controller and waits until its queues can be used, for `patience` at most.
    ///
    /// # Errors
    /// See [`HostError`].
    pub fn connect(
        mut net: N,
        address: SocketAddr,
        config: ControllerConfig,
        patience: Duration,
    ) -> Result<Self, HostError> {
        let link = net.connect(address)?;
        let now = net.now();
        let mut host = Self {
            net,
            address,
            controller: Controller::new(config, now),
            admin: Connection::new(link),
            queues: Vec::new(),
            answers: Vec::new(),
            events: Vec::new(),
            pieces: Vec::new(),
            is_shut_down: false,
            refused: None,
            changes: Vec::new(),
        };
        let end = now + patience;
        while !host.controller.is_ready() {
            host.turn_until(end)?;
        }
        for id in 1..=host.controller.io_queues() {
            let link = host.net.connect(address)?;
            let queue = Queue::new(host.controller.io_queue(id), host.net.now());
            host.queues.push(IoQueue { queue, connection: Connection::new(link) });
        }
        while host.queues.iter().any(|queue| !matches!(queue.queue.state(), QueueState::Ready(_))) {
            host.turn_until(end)?;
        }
        Ok(host)
    }

    /// The controller.
    pub fn controller(&self) -> &Controller {
        &self.controller
    }

    /// I/O queues.
    pub fn queues(&self) -> usize {
        self.queues.len()
    }

    /// The transport.
    pub fn net(&self) -> &N {
        &self.net
    }

    /// Where the controller is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many more requests a queue takes; queues count from 0.
    pub fn room(&self, queue: usize) -> usize {
        self.queues[queue].queue.room()
    }

    /// Commands that are outstanding on all I/O queues.
    pub fn outstanding(&self) -> usize {
        self.queues.iter().map(|queue| queue.queue.outstanding()).sum()
    }

    /// Submits a request to an I/O queue. It leaves with the next [`turn`](Self::turn).
    ///
    /// # Errors
    /// The queue is full, or has ended.
    pub fn submit(&mut self, queue: usize, request: Request<u64>) -> Result<CommandId, Box<Refused<u64>>> {
        let now = self.net.now();
        self.queues[queue].queue.submit(request, now).map_err(Box::new)
    }

    /// The next completion of an I/O queue.
    pub fn poll_completion(&mut self, queue: usize) -> Option<Completion<u64>> {
        let completion = self.queues[queue].queue.poll_completion()?;
        self.controller.note_traffic(self.net.now());
        Some(completion)
    }

    /// What the controller has told of namespaces, ANA states and the discovery log.
    pub fn poll_change(&mut self) -> Option<ControllerEvent> {
        (!self.changes.is_empty()).then(|| self.changes.remove(0))
    }

    /// Submits a request and waits for its end; other completions of that queue are kept back meanwhile by nobody, so there must not be any.
    ///
    /// # Errors
    /// See [`HostError`].
    pub fn execute(&mut self, queue: usize, request: Request<u64>) -> Result<Completion<u64>, HostError> {
        let id = u16::try_from(queue + 1).unwrap_or(u16::MAX);
        if let Err(refused) = self.submit(queue, request) {
            tracing::debug!(?refused.reason, "a request was refused");
            return Err(self.ended(id));
        }
        loop {
            self.turn(None)?;
            if let Some(completion) = self.poll_completion(queue) {
                return Ok(completion);
            }
        }
    }

    /// Submits an admin command and waits for its end.
    ///
    /// # Errors
    /// See [`HostError`].
    pub fn execute_admin(&mut self, request: Request<u64>) -> Result<Completion<u64>, HostError> {
        let now = self.net.now();
        if self.controller.submit(request, now).is_err() {
            return Err(HostError::TimedOut);
        }
        loop {
            if let Some(completion) = self.answers.pop() {
                return Ok(completion);
            }
            self.turn(None)?;
        }
    }

    /// Shuts the controller down, and waits for it, for `patience` at most.
    ///
    /// # Errors
    /// See [`HostError`].
    pub fn shutdown(&mut self, patience: Duration) -> Result<(), HostError> {
        let end = self.net.now() + patience;
        for queue in self.queues.drain(..) {
            self.net.close(queue.connection.link);
        }
        self.controller.shutdown(self.net.now());
        while !self.is_shut_down {
            self.turn_until(end)?;
        }
        self.net.close(self.admin.link);
        // The farewell leaves.
        self.net.poll(Some(Duration::ZERO), &mut self.events)?;
        Ok(())
    }

    /// Sends what is to be sent, waits for something to happen, for `timeout` at most, and takes what has come.
    ///
    /// # Errors
    /// The controller or a queue has ended.
    pub fn turn(&mut self, timeout: Option<Duration>) -> Result<(), HostError> {
        self.flush()?;
        let now = self.net.now();
        let deadlines =
            self.queues.iter().map(|queue| queue.queue.poll_timeout()).chain([self.controller.poll_timeout()]);
        let due = deadlines.flatten().min().map(|deadline| deadline.saturating_sub(now));
        let timeout = [due, timeout].into_iter().flatten().min();
        let mut events = std::mem::take(&mut self.events);
        self.net.poll(timeout, &mut events)?;
        let now = self.net.now();
        for event in events.drain(..) {
            self.on_event(event, now);
        }
        self.events = events;
        if self.controller.poll_timeout().is_some_and(|deadline| deadline <= now) {
            self.controller.handle_timeout(now);
        }
        for queue in &mut self.queues {
            if queue.queue.poll_timeout().is_some_and(|deadline| deadline <= now) {
                queue.queue.handle_timeout(now);
            }
        }
        self.take_events()?;
        self.flush()
    }

    fn turn_until(&mut self, end: Duration) -> Result<(), HostError> {
        let left = end.checked_sub(self.net.now()).filter(|left| !left.is_zero()).ok_or(HostError::TimedOut)?;
        self.turn(Some(left))
    }

    fn take_events(&mut self) -> Result<(), HostError> {
        if let Some(error) = self.refused.take() {
            return Err(error.into());
        }
        while let Some(event) = self.controller.poll_event() {
            match event {
                ControllerEvent::Completed(completion) => self.answers.push(completion),
                ControllerEvent::ShutDown => self.is_shut_down = true,
                ControllerEvent::Ended(_) if self.is_shut_down => {}
                ControllerEvent::Ended(error) => return Err(error.into()),
                ControllerEvent::Ready => {}
                change => self.changes.push(change),
            }
        }
        for (index, queue) in self.queues.iter().enumerate() {
            if let QueueState::Ended(error) = queue.queue.state() {
                return Err(HostError::Queue { id: u16::try_from(index + 1).unwrap_or(u16::MAX), error });
            }
        }
        Ok(())
    }

    fn ended(&self, id: u16) -> HostError {
        match self.queues[usize::from(id) - 1].queue.state() {
            QueueState::Ended(error) => HostError::Queue { id, error },
            _ => HostError::TimedOut,
        }
    }

    fn on_event(&mut self, event: NetEvent, now: Duration) {
        let (NetEvent::Connected(link)
        | NetEvent::Readable(link)
        | NetEvent::Writable(link)
        | NetEvent::Failed(link, _)
        | NetEvent::Accepted(link, _)) = event;
        let is_admin = link == self.admin.link;
        let at = self.queues.iter().position(|queue| queue.connection.link == link);
        match event {
            NetEvent::Connected(_) if is_admin => self.admin.connected = true,
            NetEvent::Connected(_) => {
                if let Some(at) = at {
                    self.queues[at].connection.connected = true;
                }
            }
            NetEvent::Readable(_) => self.receive(link, is_admin, at, now),
            NetEvent::Failed(_, error) => {
                tracing::debug!(link = link.0, %error, "a connection has failed");
                let connected = if is_admin {
                    self.admin.connected
                } else {
                    at.is_none_or(|at| self.queues[at].connection.connected)
                };
                self.lose(is_admin, at, now);
                if !connected {
                    self.refused = Some(error);
                }
            }
            NetEvent::Writable(_) | NetEvent::Accepted(..) => {}
        }
    }

    fn receive(&mut self, link: LinkId, is_admin: bool, at: Option<usize>, now: Duration) {
        loop {
            match self.net.receive(link) {
                Ok(Received::Data(mut bytes)) => match at {
                    _ if is_admin => self.controller.receive(&mut bytes, now),
                    Some(at) => self.queues[at].queue.receive(&mut bytes),
                    None => {}
                },
                Ok(Received::Nothing) => break,
                Ok(Received::End) | Err(_) => break self.lose(is_admin, at, now),
            }
        }
    }

    fn lose(&mut self, is_admin: bool, at: Option<usize>, now: Duration) {
        if is_admin {
            self.controller.connection_lost(now);
        } else if let Some(at) = at {
            self.queues[at].queue.connection_lost();
        }
    }

    fn flush(&mut self) -> Result<(), HostError> {
        let controller = &mut self.controller;
        self.admin.flush(&mut self.net, &mut self.pieces, |out| controller.poll_transmit(out))?;
        for IoQueue { queue, connection } in &mut self.queues {
            connection.flush(&mut self.net, &mut self.pieces, |out| queue.poll_transmit(out))?;
        }
        Ok(())
    }
}

impl Connection {
    fn new(link: LinkId) -> Self {
        Self { link, connected: false, outgoing: Outgoing::default() }
    }

    fn flush<N: Net>(
        &mut self,
        net: &mut N,
        pieces: &mut Vec<Bytes>,
        next: impl FnMut(&mut Vec<Bytes>) -> Option<Transmit>,
    ) -> io::Result<()> {
        if !self.connected {
            return Ok(());
        }
        match self.outgoing.flush(net, self.link, pieces, next) {
            // What became of it is found by reading.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => result,
        }
    }
}
