//! A controller with its I/O queues, each on a connection of its own, as long as all of them last.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use nvme_tcp::Transmit;
use nvme_tcp::host::{
    Controller, ControllerConfig, ControllerError, ControllerEvent, Multipath, Namespace, PathId, Queue, QueueError,
    QueueState, Ticket,
};

use super::recognition::check;
use super::{HostError, Tag};
use crate::net::{LinkId, MOST_RECEIVED, Net, NetEvent, Outgoing, Received};

/// Events that wait for the caller: of more, the last one is kept in place of the one before it.
const MOST_CHANGES: usize = 64;

/// Bytes after which it is too late for what is due, though there is more to read. Receive buffers hold fewer: what had come in time was among these bytes, however
/// fast more comes.
const MOST_EXCUSED: usize = 64 << 20;

/// From the connection of the admin queue to the loss of any of them, or the shutdown.
pub(super) struct Association {
    controller: Controller,
    admin: Connection,
    queues: Vec<IoQueue>,
    stage: Stage,
    /// What the transport has to say.
    failure: Option<io::Error>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The controller is being set up.
    Preparing,
    /// The I/O queues are being connected.
    Attaching,
    Live,
    ShutDown,
}

/// What has come of it since it was last asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Nothing,
    /// The controller has told something, whether or not it was kept for the caller.
    Changed,
    /// Commands can be submitted from now on.
    Attached,
}

struct IoQueue {
    queue: Queue<Ticket<Tag>>,
    connection: Connection,
}

struct Connection {
    link: LinkId,
    connected: bool,
    /// It was read as long as it was its turn.
    unread: bool,
    /// When something was due that has not come, and the bytes that were read since this was found.
    overdue: Option<(Duration, usize)>,
    outgoing: Outgoing,
}

#[derive(Clone, Copy)]
enum End {
    Admin,
    Io(usize),
}

impl Association {
    /// Starts to connect.
    pub(super) fn connect<N: Net>(net: &mut N, address: SocketAddr, config: ControllerConfig) -> io::Result<Self> {
        let link = net.connect(address)?;
        Ok(Self {
            controller: Controller::new(config, net.now()),
            admin: Connection::new(link),
            queues: Vec::new(),
            stage: Stage::Preparing,
            failure: None,
        })
    }

    pub(super) fn controller(&self) -> &Controller {
        &self.controller
    }

    pub(super) fn controller_mut(&mut self) -> &mut Controller {
        &mut self.controller
    }

    /// How many more requests each I/O queue takes.
    pub(super) fn room(&self) -> impl ExactSizeIterator<Item = usize> {
        self.queues.iter().map(|queue| queue.queue.room())
    }

    pub(super) fn is_shut_down(&self) -> bool {
        self.stage == Stage::ShutDown
    }

    /// Takes the event if it is of one of its connections.
    pub(super) fn on_event<N: Net>(&mut self, net: &mut N, event: &mut Option<NetEvent>, now: Duration) {
        let Some(end) = event.as_ref().and_then(|event| self.end_of(event.link())) else { return };
        match event.take() {
            Some(NetEvent::Connected(_)) => self.connection_mut(end).connected = true,
            Some(NetEvent::Readable(_)) => self.receive(net, end, now),
            Some(NetEvent::Failed(link, error)) => {
                tracing::debug!(link = link.0, %error, "a connection has failed");
                if self.connection(end).connected {
                    self.lose(end, now);
                } else {
                    self.failure = Some(error);
                }
            }
            _ => {}
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Duration> {
        if self.ends().any(|end| self.connection(end).unread) {
            return Some(Duration::ZERO);
        }
        let queues = self.queues.iter().map(|queue| queue.queue.poll_timeout());
        queues.chain([self.controller.poll_timeout()]).flatten().min()
    }

    /// Reads on where others had to have their turn.
    pub(super) fn read_on<N: Net>(&mut self, net: &mut N, now: Duration) {
        for end in self.ends() {
            if self.connection(end).unread {
                self.receive(net, end, now);
            }
        }
    }

    /// Does what is due.
    pub(super) fn handle_timeout(&mut self, now: Duration) {
        if self.admin.is_late(self.controller.poll_timeout(), now) {
            self.controller.handle_timeout(now);
        }
        for IoQueue { queue, connection } in &mut self.queues {
            if connection.is_late(queue.poll_timeout(), now) {
                queue.handle_timeout(now);
            }
        }
    }

    /// Goes on with what has happened.
    ///
    /// # Errors
    /// What has ended it.
    pub(super) fn proceed<N: Net>(
        &mut self,
        net: &mut N,
        address: SocketAddr,
        changes: &mut VecDeque<ControllerEvent>,
    ) -> Result<Progress, HostError> {
        let mut progress = Progress::Nothing;
        while let Some(event) = self.controller.poll_event() {
            match event {
                ControllerEvent::ShutDown => self.stage = Stage::ShutDown,
                ControllerEvent::Ended(_) if self.stage == Stage::ShutDown => {}
                ControllerEvent::Ended(error) => return Err(error.into()),
                ControllerEvent::Ready => self.attach(net, address)?,
                // Nobody but the controller itself submits admin commands.
                ControllerEvent::Completed(_) => {}
                change => {
                    // Nobody may be there to take them.
                    changes.truncate(MOST_CHANGES - 1);
                    changes.push_back(change);
                    progress = Progress::Changed;
                }
            }
        }
        for (queue, id) in self.queues.iter().zip(1..) {
            if let QueueState::Ended(error) = queue.queue.state() {
                return Err(HostError::Queue { id, error });
            }
        }
        if let Some(error) = self.failure.take() {
            return Err(error.into());
        }
        let are_ready = || self.queues.iter().all(|queue| matches!(queue.queue.state(), QueueState::Ready(_)));
        if self.stage == Stage::Attaching && are_ready() {
            self.stage = Stage::Live;
            progress = Progress::Attached;
        }
        Ok(progress)
    }

    /// Submits what has this path to take.
    ///
    /// # Errors
    /// A command is for a namespace that is known from before and of no use to this controller. It waits.
    pub(super) fn submit(
        &mut self,
        multipath: &mut Multipath<Tag>,
        path: PathId,
        known: &BTreeMap<u32, Namespace>,
        now: Duration,
    ) -> Result<(), HostError> {
        while let Some(free) = self.queues.iter().position(|queue| queue.queue.room() > 0)
            && let Some(request) = multipath.next_for(path)
        {
            if let Err(error) = check(known, self.controller.unusable_namespaces(), request.sqe.nsid.get()) {
                multipath.take_back(request);
                return Err(error);
            }
            let wanted = request.token.token().queue % self.queues.len();
            let at = if self.queues[wanted].queue.room() > 0 { wanted } else { free };
            if let Err(refused) = self.queues[at].queue.submit(request, now) {
                // The queue has ended, which is found by the next `proceed`.
                multipath.take_back(refused.request);
                break;
            }
        }
        Ok(())
    }

    /// Gives back what has completed.
    pub(super) fn complete(&mut self, multipath: &mut Multipath<Tag>, now: Duration) {
        for IoQueue { queue, .. } in &mut self.queues {
            while let Some(completion) = queue.poll_completion() {
                multipath.complete(completion, now);
            }
        }
    }

    /// Sends what is to be sent.
    pub(super) fn flush<N: Net>(&mut self, net: &mut N, pieces: &mut Vec<Bytes>) {
        let controller = &mut self.controller;
        let mut result = self.admin.flush(net, pieces, |out| controller.poll_transmit(out));
        for IoQueue { queue, connection } in &mut self.queues {
            result = result.and(connection.flush(net, pieces, |out| queue.poll_transmit(out)));
        }
        if let Err(error) = result {
            self.failure = Some(error);
        }
    }

    /// Ends it at once, because of this error. What has not left will not: a write that comes late could undo one that is newer.
    /// Commands that were not answered are given back as lost.
    pub(super) fn end<N: Net>(
        mut self,
        net: &mut N,
        pieces: &mut Vec<Bytes>,
        multipath: &mut Multipath<Tag>,
        error: &HostError,
    ) -> Controller {
        let now = net.now();
        let is_violated = matches!(error, HostError::Controller(ControllerError::Queue(QueueError::Violation(_))));
        let Self { controller, admin, queues, .. } = &mut self;
        controller.connection_lost(now);
        // First, as a target closes them when it finds the admin queue gone, and then hears no farewell.
        for IoQueue { queue, connection } in queues {
            // A farewell would leave after writes that are on their way and are about to be sent again elsewhere.
            let is_violated = matches!(queue.state(), QueueState::Ended(QueueError::Violation(_)));
            let is_polite = is_violated && !queue.has_lost_commands();
            queue.connection_lost();
            connection.end(net, is_polite, pieces, |out| queue.poll_transmit(out));
            while let Some(completion) = queue.poll_completion() {
                multipath.complete(completion, now);
            }
        }
        admin.end(net, is_violated, pieces, |out| controller.poll_transmit(out));
        self.controller
    }

    /// Starts to take leave of the controller, on which nothing is outstanding any more.
    pub(super) fn shutdown<N: Net>(&mut self, net: &mut N) {
        for queue in self.queues.drain(..) {
            net.close(queue.connection.link);
        }
        self.controller.shutdown(net.now());
    }

    /// Closes the connection after [`shutdown`](Self::shutdown).
    pub(super) fn close<N: Net>(&self, net: &mut N) {
        net.close(self.admin.link);
    }

    fn attach<N: Net>(&mut self, net: &mut N, address: SocketAddr) -> io::Result<()> {
        self.stage = Stage::Attaching;
        for id in 1..=self.controller.io_queues() {
            let link = net.connect(address)?;
            let queue = Queue::new(self.controller.io_queue(id), net.now());
            self.queues.push(IoQueue { queue, connection: Connection::new(link) });
        }
        Ok(())
    }

    fn end_of(&self, link: LinkId) -> Option<End> {
        if self.admin.link == link {
            return Some(End::Admin);
        }
        self.queues.iter().position(|queue| queue.connection.link == link).map(End::Io)
    }

    fn ends(&self) -> impl Iterator<Item = End> + use<> {
        [End::Admin].into_iter().chain((0..self.queues.len()).map(End::Io))
    }

    fn connection(&self, end: End) -> &Connection {
        match end {
            End::Admin => &self.admin,
            End::Io(at) => &self.queues[at].connection,
        }
    }

    fn connection_mut(&mut self, end: End) -> &mut Connection {
        match end {
            End::Admin => &mut self.admin,
            End::Io(at) => &mut self.queues[at].connection,
        }
    }

    /// Reads until there is nothing, it is the turn of others, or nobody wants to know any more.
    fn receive<N: Net>(&mut self, net: &mut N, end: End, now: Duration) {
        let link = self.connection(end).link;
        let mut count = 0;
        while count < MOST_RECEIVED && !self.has_ended(end) {
            match net.receive(link) {
                Ok(Received::Data(mut bytes)) => {
                    count += bytes.len();
                    match end {
                        End::Admin => self.controller.receive(&mut bytes, now),
                        End::Io(at) => self.queues[at].queue.receive(&mut bytes),
                    }
                }
                Ok(Received::Nothing) => break,
                Ok(Received::End) | Err(_) => {
                    self.lose(end, now);
                    break;
                }
            }
        }
        let has_ended = self.has_ended(end);
        let connection = self.connection_mut(end);
        connection.unread = count >= MOST_RECEIVED && !has_ended;
        if let Some((_, read)) = &mut connection.overdue {
            *read += count;
        }
    }

    fn has_ended(&self, end: End) -> bool {
        match end {
            End::Admin => self.controller.has_ended(),
            End::Io(at) => matches!(self.queues[at].queue.state(), QueueState::Ended(_)),
        }
    }

    fn lose(&mut self, end: End, now: Duration) {
        match end {
            End::Admin => self.controller.connection_lost(now),
            End::Io(at) => self.queues[at].queue.connection_lost(),
        }
    }
}

impl Connection {
    fn new(link: LinkId) -> Self {
        Self { link, connected: false, unread: false, overdue: None, outgoing: Outgoing::default() }
    }

    /// Whether it is too late for what is due at `deadline`. Where there is more to read than one turn allows, it may be there, though not behind any number of
    /// bytes.
    fn is_late(&mut self, deadline: Option<Duration>, now: Duration) -> bool {
        let due = deadline.filter(|deadline| *deadline <= now);
        if self.overdue.map(|(deadline, _)| deadline) != due {
            self.overdue = due.map(|deadline| (deadline, 0));
        }
        self.overdue.is_some_and(|(_, read)| !self.unread || read >= MOST_EXCUSED)
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

    /// Closes it with the farewell that a peer gets which broke the protocol, or else without a word.
    fn end<N: Net>(
        &mut self,
        net: &mut N,
        is_violated: bool,
        pieces: &mut Vec<Bytes>,
        farewell: impl FnMut(&mut Vec<Bytes>) -> Option<Transmit>,
    ) {
        if is_violated && self.flush(net, pieces, farewell).is_ok() {
            net.close(self.link);
        } else {
            net.abort(self.link);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    use nvme_tcp::command::Nqn;
    use nvme_tcp::host::{HostIdentity, QueueConfig};

    use super::*;
    use crate::net::{KernelNet, Protocol};

    const MUCH_LATER: Duration = Duration::from_secs(3600);

    /// An association with an I/O queue on connections that are there but were not used, and the peer's ends of these.
    fn association(net: &mut KernelNet) -> (Association, [TcpStream; 2]) {
        let nqn = |name: &str| Nqn::new(&format!("nqn.2026-11.org.example:{name}")).unwrap();
        let identity = HostIdentity { host_id: [7; 16], host: nqn("host"), subsystem: nqn("disk") };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let config = ControllerConfig::new(identity.clone(), 1);
        let mut association = Association::connect(net, address, config).unwrap();
        let admin = listener.accept().unwrap().0;
        let connection = Connection::new(net.connect(address).unwrap());
        let io = listener.accept().unwrap().0;
        let queue = Queue::new(QueueConfig::io(identity, 1, 1), net.now());
        association.queues.push(IoQueue { queue, connection });
        (association, [admin, io])
    }

    #[test]
    fn what_is_there_but_not_read_is_not_missed() {
        let mut net = KernelNet::new(Protocol::Tcp).unwrap();
        // In the end the admin queue has been read, or there was more to read than its answer can be behind.
        for (unread, read) in [(false, 0), (true, 1)] {
            let (mut association, _peers) = association(&mut net);
            for (unread, read, missed) in [
                ([true, true], 0, [false, false]),
                ([true, true], MOST_EXCUSED - 1, [false, false]),
                ([true, false], 0, [false, true]),
                ([unread, false], read, [true, true]),
            ] {
                [association.admin.unread, association.queues[0].connection.unread] = unread;
                if let Some((_, before)) = &mut association.admin.overdue {
                    *before += read;
                }
                association.handle_timeout(MUCH_LATER);
                assert_eq!([End::Admin, End::Io(0)].map(|end| association.has_ended(end)), missed);
            }
        }
    }

    #[test]
    fn what_is_read_counts_for_what_is_due() {
        let mut net = KernelNet::new(Protocol::Tcp).unwrap();
        let (mut association, mut peers) = association(&mut net);
        association.admin.unread = true;
        association.handle_timeout(Duration::ZERO);
        assert_eq!(association.admin.overdue, None);
        association.handle_timeout(MUCH_LATER);
        let deadline = association.controller.poll_timeout().unwrap();
        assert_eq!(association.admin.overdue, Some((deadline, 0)));
        // The beginning of a header.
        peers[0].write_all(&[1]).unwrap();
        let started = net.now();
        while association.admin.overdue == Some((deadline, 0)) {
            association.receive(&mut net, End::Admin, started);
            assert!(net.now() - started < Duration::from_secs(30), "nothing comes");
        }
        assert_eq!(association.admin.overdue, Some((deadline, 1)));
        // What is due next is counted anew.
        association.handle_timeout(deadline - Duration::from_nanos(1));
        assert_eq!(association.admin.overdue, None);
    }
}
