//! A target on one thread: connections, storage and time brought together.

use std::any::Any;
use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hashbrown::HashMap;
use nvme_tcp::target::{
    Backends, Completion, Connection, ConnectionSettings, ConnectionState, Store, Submission, Subscription, Target,
};
use uring::Ring;

use crate::Stopper;
use crate::file::FileRing;
use crate::net::{LinkId, MOST_RECEIVED, Net, NetEvent, Outgoing, Received};

/// Connections at a time, unless told otherwise: each may be no more than an open socket for as long as the target's
/// [`setup_timeout`](nvme_tcp::target::TargetConfig::setup_timeout).
const CONNECTIONS: usize = 4096;

/// How long operations are begun before what has happened meanwhile is looked at: where the thread does them itself, each takes its time, and the end of a
/// connection has to be seen before what it had wanted is begun.
const LONGEST_TURN: Duration = Duration::from_millis(100);

/// The connections of a target that one thread serves.
///
/// Several threads may serve one target, each with a server of its own: a connection stays with the thread that accepted it.
pub struct Server<N: Net> {
    net: N,
    target: Arc<Target>,
    /// Until it runs.
    ring: Option<Ring>,
    sessions: HashMap<LinkId, Session>,
    /// Connections that have ended while storage works for them, for hosts that wait until it does not.
    ended: HashMap<LinkId, Connection>,
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
    most_connections: usize,
    stopper: Stopper,
    /// To changes of the target.
    _subscription: Subscription,
}

/// What the thread does I/O with.
struct Storage {
    backends: Backends,
    ring: Option<FileRing>,
}

impl Storage {
    fn new(target: Arc<Target>, ring: Option<FileRing>) -> Self {
        let backends = match ring.clone() {
            None => Backends::new(target),
            Some(ring) => Backends::with_opener(target, move |store| match (store as &dyn Any).downcast_ref() {
                Some(file) => ring.open(file),
                None => Store::open(store),
            }),
        };
        Self { backends, ring }
    }

    /// Whether nothing will tell when there is something to do.
    fn must_be_polled(&self) -> bool {
        self.backends.pending() > self.in_ring() || self.ring.as_ref().is_some_and(FileRing::is_behind)
    }

    /// Operations that are the ring's business.
    fn in_ring(&self) -> usize {
        self.ring.as_ref().map_or(0, FileRing::pending)
    }

    /// Has an operation begin. Whether that was for the thread itself to do, and may have taken any time.
    fn submit(&mut self, submission: Submission) -> bool {
        let before = self.in_ring();
        self.backends.submit(submission);
        self.in_ring() == before
    }

    /// Has the kernel begin with what was submitted, and takes what has ended.
    fn turn(&self) -> io::Result<()> {
        self.ring.as_ref().map_or(Ok(()), FileRing::turn)
    }
}

/// What has become of the operations that connections want done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Submitted {
    /// There were none.
    Nothing,
    /// All have begun, and their ends may lead to others.
    Some,
    /// Others are left for the next turn.
    InPart,
}

struct Session {
    connection: Connection,
    outgoing: Outgoing,
    deadline: Option<Duration>,
    dirty: bool,
    /// Storage was told that it has ended.
    forgotten: bool,
}

impl Session {
    fn new(connection: Connection) -> Self {
        Self { connection, outgoing: Outgoing::default(), deadline: None, dirty: false, forgotten: false }
    }

    /// Has storage begin nothing more of what it wanted, once it has ended.
    fn forget_if_ended(&mut self, link: LinkId, storage: &mut Storage) {
        let has_ended = matches!(self.connection.state(), ConnectionState::Closing | ConnectionState::Closed);
        if has_ended && !std::mem::replace(&mut self.forgotten, true) {
            storage.backends.forget(link.0);
        }
    }
}

impl<N: Net> Server<N> {
    /// No connections yet.
    pub fn new(net: N, target: Arc<Target>) -> Self {
        let waker = net.waker();
        let subscription = target.subscribe(move || waker.wake());
        Self {
            _subscription: subscription,
            stopper: Stopper::new(net.waker()),
            net,
            ring: None,
            generation: target.generation(),
            target,
            sessions: HashMap::new(),
            ended: HashMap::new(),
            deadlines: BTreeSet::new(),
            ports: Vec::new(),
            dirty: Vec::new(),
            unread: VecDeque::new(),
            events: Vec::new(),
            pieces: Vec::new(),
            most_connections: CONNECTIONS,
        }
    }

    /// Has files read and written over this ring, whose memory bounds what is under way: what finds none waits.
    ///
    /// All servers of a target have rings, or none.
    #[must_use]
    pub fn with_ring(self, ring: Ring) -> Self {
        Self { ring: Some(ring), ..self }
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

    /// How many connections there may be at a time, 4096 unless told otherwise. Further ones are closed at once.
    pub fn set_max_connections(&mut self, most: usize) {
        self.most_connections = most;
    }

    /// What ends [`run`](Self::run).
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// The transport.
    pub fn net(&self) -> &N {
        &self.net
    }

    /// Serves until a [`Stopper`] is used.
    ///
    /// # Errors
    /// The operating system's, about everything and not about one connection.
    pub fn run(mut self) -> io::Result<()> {
        let ring = self.ring.take().map(|ring| FileRing::new(ring, self.net.waker()));
        if let Some(ring) = &ring {
            ring.with_descriptor(|descriptor| self.net.watch(descriptor))?;
        }
        let mut storage = Storage::new(Arc::clone(&self.target), ring);
        while !self.stopper.is_used() {
            self.turn(&mut storage)?;
        }
        Ok(())
    }

    fn turn(&mut self, storage: &mut Storage) -> io::Result<()> {
        let now = self.net.now();
        let busy = !self.dirty.is_empty() || !self.unread.is_empty() || storage.must_be_polled();
        let timeout = match self.deadlines.first() {
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
        self.follow_changes(storage);
        while let Some((_, link)) = self.deadlines.first().copied().filter(|(deadline, _)| *deadline <= now) {
            self.deadlines.pop_first();
            if let Some(session) = self.sessions.get_mut(&link) {
                session.deadline = None;
                session.connection.handle_timeout(now);
                mark(&mut self.dirty, session, link);
            }
        }
        self.serve(now, storage)
    }

    fn on_event(&mut self, now: Duration, event: NetEvent) {
        match event {
            NetEvent::Accepted(link, _) if self.sessions.len() >= self.most_connections => {
                tracing::warn!(most = self.most_connections, "a connection is turned away");
                self.net.close(link);
            }
            NetEvent::Accepted(link, listener) => {
                let port = self.ports[listener.0];
                let local = self.net.local_addr(link).map(|address| address.ip());
                let settings = ConnectionSettings { id: link.0, port, local };
                let mut session = Session::new(Connection::new(Arc::clone(&self.target), settings, now));
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
    fn follow_changes(&mut self, storage: &mut Storage) {
        let generation = self.target.generation();
        if generation == self.generation {
            return;
        }
        self.generation = generation;
        storage.backends.handle_change();
        let known = self.dirty.len();
        for (link, session) in &mut self.sessions {
            session.connection.handle_change();
            mark(&mut self.dirty, session, *link);
        }
        self.ended.values_mut().for_each(Connection::handle_change);
        // The order of a hash map is nobody's business. Those that were there before keep theirs: some had to wait until it was their turn.
        self.dirty[known..].sort_unstable();
    }

    /// Has storage and transport do what connections want, until they want nothing more now.
    fn serve(&mut self, now: Duration, storage: &mut Storage) -> io::Result<()> {
        // Fast storage answers at once, and an answer may lead to another operation.
        let end = self.net.now() + LONGEST_TURN;
        loop {
            let submitted = self.submit(storage, end);
            storage.turn()?;
            self.complete(storage);
            if submitted != Submitted::Some {
                break;
            }
        }
        let mut links = std::mem::take(&mut self.dirty);
        for link in links.drain(..) {
            self.flush(link, storage);
        }
        // Its memory is used again.
        links.append(&mut self.dirty);
        self.dirty = links;
        let unread = self.unread.len();
        for _ in 0..unread {
            if let Some(link) = self.unread.pop_front() {
                self.receive(now, link);
            }
        }
        Ok(())
    }

    /// Has storage begin with what connections want, until `end`, and with nothing more for those that have ended.
    fn submit(&mut self, storage: &mut Storage, end: Duration) -> Submitted {
        let mut submitted = Submitted::Nothing;
        for place in 0..self.dirty.len() {
            let link = self.dirty[place];
            let Some(session) = self.sessions.get_mut(&link) else { continue };
            let mut any = false;
            while let Some(submission) = session.connection.poll_submission() {
                any = true;
                // What the ring has is still to be done: the clock would cost more than what it measures.
                if storage.submit(submission) && self.net.now() >= end {
                    break;
                }
            }
            session.forget_if_ended(link, storage);
            if !any {
                continue;
            }
            submitted = Submitted::Some;
            if self.net.now() >= end {
                self.put_off(place + 1, storage);
                return Submitted::InPart;
            }
        }
        submitted
    }

    /// Has those come first the next time that are behind the first `served` ones. For those of them that have ended, storage begins nothing more: before it is
    /// their turn, what waits may have begun.
    fn put_off(&mut self, served: usize, storage: &mut Storage) {
        for link in &self.dirty[served..] {
            if let Some(session) = self.sessions.get_mut(link) {
                session.forget_if_ended(*link, storage);
            }
        }
        self.dirty.rotate_left(served);
    }

    fn complete(&mut self, storage: &mut Storage) {
        while let Some(completion) = storage.backends.poll() {
            let link = LinkId(completion.token.connection);
            match self.sessions.get_mut(&link) {
                Some(session) => {
                    session.connection.handle_completion(completion);
                    mark(&mut self.dirty, session, link);
                }
                None => self.complete_ended(link, completion),
            }
        }
    }

    fn complete_ended(&mut self, link: LinkId, completion: Completion) {
        let Some(connection) = self.ended.get_mut(&link) else { return };
        connection.handle_completion(completion);
        if !connection.has_operations() {
            self.ended.remove(&link);
        }
    }

    fn flush(&mut self, link: LinkId, storage: &mut Storage) {
        let Some(session) = self.sessions.get_mut(&link) else { return };
        session.dirty = false;
        let connection = &mut session.connection;
        let flushed =
            session.outgoing.flush(&mut self.net, link, &mut self.pieces, |out| connection.poll_transmit(out));
        if let Err(error) = flushed {
            tracing::debug!(link = link.0, %error, "a connection takes no more");
            session.connection.close();
        }
        session.forget_if_ended(link, storage);
        if session.connection.state() == ConnectionState::Closed {
            return self.end(link);
        }
        if session.connection.has_submissions() {
            mark(&mut self.dirty, session, link);
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
        if session.connection.has_operations() {
            self.ended.insert(link, session.connection);
        }
    }
}

fn mark(dirty: &mut Vec<LinkId>, session: &mut Session, link: LinkId) {
    if !std::mem::replace(&mut session.dirty, true) {
        dirty.push(link);
    }
}

#[cfg(test)]
mod tests;
