//! A target on one thread: connections, storage and time brought together.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hashbrown::HashMap;
use nvme_tcp::target::{Backends, Connection, ConnectionSettings, ConnectionState, Target};

use crate::net::{LinkId, Net, NetEvent, Outgoing, Received, Waker};

/// Bytes that are received from one connection before the others have their turn.
const MOST_RECEIVED: usize = 1 << 20;

/// The connections of a target that one thread serves.
///
/// Several threads may serve one target, each with a server of its own: a connection stays with the thread that accepted it.
pub struct Server<N: Net> {
    net: N,
    target: Arc<Target>,
    backends: Backends,
    sessions: HashMap<LinkId, Session>,
    deadlines: BTreeSet<(Duration, LinkId)>,
    /// The target's, when it was last looked at.
    generation: u64,
    /// The port of each listener.
    ports: Vec<u16>,
    /// Sessions that have something to do.
    dirty: Vec<LinkId>,
    /// Sessions that were read as long as it was their turn.
    unread: VecDeque<LinkId>,
    events: Vec<NetEvent>,
    pieces: Vec<Bytes>,
    stop: Arc<AtomicBool>,
}

struct Session {
    connection: Connection,
    outgoing: Outgoing,
    deadline: Option<Duration>,
    dirty: bool,
}

/// Ends a [`Server`], from any thread.
#[derive(Clone, Debug)]
pub struct Stopper {
    stop: Arc<AtomicBool>,
    waker: Waker,
}

impl Stopper {
    /// Has [`Server::run`] return.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.waker.wake();
    }
}

impl<N: Net> Server<N> {
    /// No connections yet.
    pub fn new(net: N, target: Arc<Target>) -> Self {
        let waker = net.waker();
        target.subscribe(move || waker.wake());
        Self {
            net,
            backends: Backends::new(Arc::clone(&target)),
            generation: target.generation(),
            target,
            sessions: HashMap::new(),
            deadlines: BTreeSet::new(),
            ports: Vec::new(),
            dirty: Vec::new(),
            unread: VecDeque::new(),
            events: Vec::new(),
            pieces: Vec::new(),
            stop: Arc::new(AtomicBool::new(false)),
        }
    }

    /// Listens for a [`Port`](nvme_tcp::target::Port) of the target. Returns the address, in which port 0 is replaced.
    ///
    /// # Errors
    /// The address cannot be used.
    pub fn listen(&mut self, port: u16, address: SocketAddr) -> io::Result<SocketAddr> {
        let (listener, address) = self.net.listen(address)?;
        debug_assert_eq!(listener.0, self.ports.len());
        self.ports.push(port);
        Ok(address)
    }

    /// What ends [`run`](Self::run).
    pub fn stopper(&self) -> Stopper {
        Stopper { stop: Arc::clone(&self.stop), waker: self.net.waker() }
    }

    /// The transport.
    pub fn net(&self) -> &N {
        &self.net
    }

    /// Serves until a [`Stopper`] is used.
    ///
    /// # Errors
    /// The operating system's, about everything and not about one connection.
    pub fn run(&mut self) -> io::Result<()> {
        while !self.stop.load(Ordering::Acquire) {
            self.turn()?;
        }
        Ok(())
    }

    fn turn(&mut self) -> io::Result<()> {
        let now = self.net.now();
        let busy = !self.dirty.is_empty() || !self.unread.is_empty() || !self.backends.is_idle();
        let timeout = match self.deadlines.first() {
            // Storage has no descriptor to wait for, and answers within microseconds.
            _ if busy => Some(Duration::ZERO),
            Some((deadline, _)) => Some(deadline.saturating_sub(now)),
            None => None,
        };
        let mut events = std::mem::take(&mut self.events);
        self.net.poll(timeout, &mut events)?;
        let now = self.net.now();
        for event in events.drain(..) {
            self.on_event(now, event);
        }
        self.events = events;
        self.follow_changes();
        while let Some((_, link)) = self.deadlines.first().copied().filter(|(deadline, _)| *deadline <= now) {
            self.deadlines.pop_first();
            if let Some(session) = self.sessions.get_mut(&link) {
                session.deadline = None;
                session.connection.handle_timeout(now);
                mark(&mut self.dirty, session, link);
            }
        }
        self.serve(now);
        Ok(())
    }

    fn on_event(&mut self, now: Duration, event: NetEvent) {
        match event {
            NetEvent::Accepted(link, listener) => {
                let port = self.ports[listener.0];
                let local = self.net.local_addr(link).map(|address| address.ip());
                let settings = ConnectionSettings { id: link.0, port, local };
                let connection = Connection::new(Arc::clone(&self.target), settings, now);
                let outgoing = Outgoing::default();
                let mut session = Session { connection, outgoing, deadline: None, dirty: false };
                mark(&mut self.dirty, &mut session, link);
                self.sessions.insert(link, session);
            }
            NetEvent::Readable(link) => self.receive(now, link),
            NetEvent::Writable(link) | NetEvent::Connected(link) => {
                if let Some(session) = self.sessions.get_mut(&link) {
                    mark(&mut self.dirty, session, link);
                }
            }
            NetEvent::Failed(link, error) => {
                tracing::debug!(link = link.0, %error, "a connection has failed");
                self.lose(link);
            }
        }
    }

    fn receive(&mut self, now: Duration, link: LinkId) {
        let Some(session) = self.sessions.get_mut(&link) else { return };
        let mut count = 0;
        loop {
            match self.net.receive(link) {
                Ok(Received::Data(bytes)) => {
                    count += bytes.len();
                    session.connection.receive(now, bytes);
                }
                Ok(Received::Nothing) => break,
                Ok(Received::End) | Err(_) => {
                    session.connection.close();
                    break;
                }
            }
            if count >= MOST_RECEIVED {
                self.unread.push_back(link);
                break;
            }
        }
        mark(&mut self.dirty, session, link);
    }

    fn lose(&mut self, link: LinkId) {
        if let Some(session) = self.sessions.get_mut(&link) {
            session.connection.close();
            mark(&mut self.dirty, session, link);
        }
    }

    /// Has everything look again at a target that has changed.
    fn follow_changes(&mut self) {
        let generation = self.target.generation();
        if generation == self.generation {
            return;
        }
        self.generation = generation;
        self.backends.handle_change();
        for (link, session) in &mut self.sessions {
            session.connection.handle_change();
            mark(&mut self.dirty, session, *link);
        }
        // The order of a hash map is nobody's business.
        self.dirty.sort_unstable();
    }

    /// Has storage and transport do what connections want, until they want nothing more now.
    fn serve(&mut self, now: Duration) {
        // Fast storage answers at once, and an answer may lead to another operation.
        while self.submit() {
            self.complete();
        }
        self.complete();
        let mut links = std::mem::take(&mut self.dirty);
        for link in links.drain(..) {
            self.flush(link);
        }
        // Its memory is used again.
        self.dirty = links;
        let unread = self.unread.len();
        for _ in 0..unread {
            if let Some(link) = self.unread.pop_front() {
                self.receive(now, link);
            }
        }
    }

    fn submit(&mut self) -> bool {
        let mut any = false;
        for link in &self.dirty {
            let Some(session) = self.sessions.get_mut(link) else { continue };
            while let Some(submission) = session.connection.poll_submission() {
                self.backends.submit(submission);
                any = true;
            }
        }
        any
    }

    fn complete(&mut self) {
        while let Some(completion) = self.backends.poll() {
            let link = LinkId(completion.token.connection);
            // The connection may have ended meanwhile.
            let Some(session) = self.sessions.get_mut(&link) else { continue };
            session.connection.handle_completion(completion);
            mark(&mut self.dirty, session, link);
        }
    }

    fn flush(&mut self, link: LinkId) {
        let Some(session) = self.sessions.get_mut(&link) else { return };
        session.dirty = false;
        let connection = &mut session.connection;
        let flushed =
            session.outgoing.flush(&mut self.net, link, &mut self.pieces, |out| connection.poll_transmit(out));
        if let Err(error) = flushed {
            tracing::debug!(link = link.0, %error, "a connection takes no more");
            session.connection.close();
        }
        if session.connection.state() == ConnectionState::Closed {
            return self.end(link);
        }
        let deadline = session.connection.poll_timeout();
        if deadline != session.deadline {
            session.deadline.map(|old| self.deadlines.remove(&(old, link)));
            deadline.map(|new| self.deadlines.insert((new, link)));
            session.deadline = deadline;
        }
    }

    fn end(&mut self, link: LinkId) {
        let Some(session) = self.sessions.remove(&link) else { return };
        session.deadline.map(|deadline| self.deadlines.remove(&(deadline, link)));
        if let Some(reason) = session.connection.close_reason() {
            tracing::debug!(link = link.0, %reason, "a connection has ended");
        }
        self.net.close(link);
    }
}

fn mark(dirty: &mut Vec<LinkId>, session: &mut Session, link: LinkId) {
    if !std::mem::replace(&mut session.dirty, true) {
        dirty.push(link);
    }
}
