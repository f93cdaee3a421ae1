//! One core's engine: a TCP stack with MPTCP above it.

mod links;
mod paths;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tcp_adapter::{ConnectError, ConnectRequest, Frame, Instant, InterfaceId, ListenError, ListenerId, TcpStack};

use crate::config::{ConfigError, ConnConfig, ListenConfig, StackConfig};
use crate::congestion::{self, Coupling, CouplingError};
use crate::earliest::Earliest;
use crate::event::{ConnId, Event, FallbackCause};
use crate::info::{ConnInfo, SubflowInfo};
use crate::mib::{Counter, Mib};
use crate::observe::{Observation, Observations, Watch};
use crate::path_manager::{Blackholes, EndpointTable, Links, PolicyState};
use crate::scheduler::{Message, Scheduler, TrafficClass};
use crate::socket_manager::{
    Connection, Cx, Negotiating, NewConnection, NewSubflow, Owners, Protocol, Shared, Shares, SocketManager, Stage,
    TokenTable, plain_from_start,
};
use crate::wire::AddrId;

/// One core's engine: Socket Manager, Path Manager and Packet Scheduler above a TCP stack.
///
/// Sans-IO: it does no input or output and reads no clock. The methods fall into four families:
///
/// * `handle_*` take what has happened outside: a frame, or the time;
/// * the application's calls: `connect`, `listen`, `send`, `recv`, `shutdown` and so on;
/// * `poll_*` give what is to happen: events, frames, the next deadline;
/// * getters: `info`, `subflows`, `mib`.
///
/// A turn of the driver's loop is: `handle_frame` for each frame and `handle_timeout` if the deadline has passed,
/// the application's calls, then `poll_event` until it gives nothing, `poll_transmit`, and a sleep until
/// `poll_timeout` or a frame. `now` must never go backwards. One thread owns a stack; nothing in it is shared.
pub struct Stack<T> {
    tcp: T,
    manager: SocketManager,
}

/// What [`Stack::recv`] gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recv {
    /// The next bytes of the stream, at least one.
    Data(Bytes),
    /// Nothing now; [`Event::Readable`] or [`Event::Finished`] follows.
    WouldBlock,
    /// The peer has closed its side, and everything was read.
    Finished,
}

/// Why bytes could not be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The handle names no live connection.
    #[error("the connection does not exist any more")]
    NoConnection,
    /// This side was shut down before.
    #[error("this side of the connection is shut down")]
    Shutdown,
    /// The connection is over.
    #[error("the connection is over: {0}")]
    Closed(crate::event::CloseReason),
}

/// Why bytes could not be received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecvError {
    /// The handle names no live connection.
    #[error("the connection does not exist any more")]
    NoConnection,
    /// The connection ended before the peer had closed its side.
    #[error("the connection is over: {0}")]
    Closed(crate::event::CloseReason),
}

impl<T: TcpStack> Stack<T> {
    /// A stack above `tcp`. Keys and nonces are drawn from a generator that starts from `seed`: 32
    /// unpredictable bytes from the operating system, or a fixed value where runs must repeat.
    ///
    /// # Errors
    /// The configuration contradicts itself; see [`ConfigError`].
    pub fn new(tcp: T, config: StackConfig, seed: [u8; 32]) -> Result<Self, ConfigError> {
        config.validate()?;
        congestion::check(config.coupling, &tcp)?;
        let mut links = Links::default();
        links.refresh(tcp.interfaces());
        let shared = Shared {
            shares: config.qos.map(|qos| Box::new(Shares::new(qos))),
            policy: PolicyState::new(config.policy.clone()),
            strategy: Arc::new(config.path_strategy.build()),
            blackholes: Blackholes::default(),
            config,
            rng: StdRng::from_seed(seed),
            mib: Mib::default(),
            events: std::collections::VecDeque::new(),
            observations: Observations::default(),
            endpoints: EndpointTable::default(),
            tokens: TokenTable::default(),
            owners: Owners::default(),
            links,
            interface_queues: Vec::new(),
            memory_held: 0,
            memory_awaited: false,
            slices: Vec::new(),
            stateless_secret: None,
        };
        Ok(Self { tcp, manager: SocketManager::new(shared) })
    }

    /// The TCP stack beneath.
    pub fn tcp(&self) -> &T {
        &self.tcp
    }

    /// Takes a frame that an interface has received. What follows from it, but for resets, waits for
    /// [`poll_transmit`](Self::poll_transmit).
    pub fn handle_frame(&mut self, now: Instant, interface: InterfaceId, frame: Frame) {
        self.tcp.handle_frame(now, interface, frame, &mut self.manager);
        self.manager.hear(now, &mut self.tcp);
    }

    /// Does what is due at `now`. What follows from it waits for [`poll_transmit`](Self::poll_transmit) too.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.tcp.handle_timeout(now, &mut self.manager);
        self.manager.expire(now, &mut self.tcp);
    }

    /// Gives every frame that can leave now to `sink`.
    pub fn poll_transmit(&mut self, now: Instant, sink: &mut dyn FnMut(InterfaceId, Frame)) {
        self.process(now);
        self.tcp.poll_transmit(now, &mut self.manager, sink);
        self.process(now);
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) and then [`poll_transmit`](Self::poll_transmit) if
    /// nothing else happens before.
    ///
    /// A time in the past means that there is something to do at once.
    pub fn poll_timeout(&mut self) -> Option<Instant> {
        if self.manager.has_work() {
            return Some(Instant::ZERO);
        }
        let mut earliest = Earliest::default();
        earliest.or(self.tcp.poll_timeout());
        earliest.or(self.manager.deadlines.next());
        earliest.or(self.manager.shared.shares.as_ref().and_then(|shares| shares.next()));
        earliest.get()
    }

    /// The next thing that has happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.manager.read(&mut self.tcp);
        self.manager.shared.events.pop_front()
    }

    /// Notes so much of what becomes of data and subflows for [`poll_observation`](Self::poll_observation), and forgets what is noted so far.
    ///
    /// For logs and debuggers: whoever asks must take the observations in every turn, since they have no bound.
    pub fn watch(&mut self, watch: Watch) {
        self.manager.shared.observations.want(watch);
        self.tcp.keep_last_infos(watch > Watch::Nothing);
    }

    /// The next thing that was noted; never any unless [`watch`](Self::watch) was called.
    pub fn poll_observation(&mut self) -> Option<Observation> {
        self.manager.shared.observations.take()
    }

    /// Accepts connections on `port` of `addr`, or of every address.
    ///
    /// # Errors
    /// The port is taken or zero, or the address is not one of this stack.
    pub fn listen(&mut self, addr: Option<IpAddr>, port: u16, config: ListenConfig) -> Result<ListenerId, ListenError> {
        let listener = self.tcp.listen(addr, port, config.backlog)?;
        if config.fast_open > 0 && !self.tcp.allow_fast_open(listener, config.fast_open) {
            tracing::debug!("the TCP stack takes no data on SYNs");
        }
        self.manager.listen(listener, config.backlog);
        Ok(listener)
    }

    /// Stops listening. Connections that wait to be accepted are aborted; accepted ones live on.
    pub fn unlisten(&mut self, now: Instant, listener: ListenerId) {
        self.tcp.unlisten(listener);
        for id in self.manager.unlisten(listener) {
            self.with(now, id, |conn, cx| {
                conn.app.released = true;
                conn.fast_close(cx);
            });
        }
    }

    /// Takes the next connection that waits at a listener.
    pub fn accept(&mut self, listener: ListenerId) -> Option<ConnId> {
        self.manager.accept(listener)
    }

    /// Starts a connection. [`Event::Established`] or [`Event::Closed`] follows.
    ///
    /// # Errors
    /// Addresses or ports that cannot be used; see [`ConnectError`].
    pub fn connect(
        &mut self,
        now: Instant,
        request: &ConnectRequest,
        config: ConnConfig,
    ) -> Result<ConnId, ConnectError> {
        let shared = &mut self.manager.shared;
        if self.manager.conns.len() >= shared.config.max_connections {
            return Err(ConnectError::TooMany(shared.config.max_connections));
        }
        let coupling = config.coupling.unwrap_or(shared.config.coupling);
        if congestion::check(coupling, &self.tcp).is_err() {
            return Err(ConnectError::NoCongestionControl(self.tcp.capabilities().name));
        }
        let tcp = self.tcp.connect(now, request)?;
        let port = self.tcp.info(tcp).map_or(0, |info| info.local.port());
        let local = SocketAddr::new(request.local, port);
        let vanishes = config.mptcp.is_none() && shared.blackholes.spares(now, request.remote.ip());
        let wanted = config.mptcp.unwrap_or(shared.config.mptcp) && !vanishes;
        let cause = if vanishes { FallbackCause::Blackhole } else { FallbackCause::NotOffered };
        let strategy = config.path_strategy.map_or_else(|| Arc::clone(&shared.strategy), |kind| Arc::new(kind.build()));
        let scheduler = config.scheduler.unwrap_or(shared.config.scheduler).build_with(&shared.config.learning);
        let id = self.manager.conns.insert(|id| {
            let key = wanted.then(|| shared.draw_key(id)).flatten();
            let checksum = shared.config.checksum;
            let (protocol, stage) = match key {
                Some(local) => (Protocol::Negotiating(Negotiating { local, checksum }), Stage::CapableSyn { sent: 0 }),
                None => {
                    shared.mib.bump(Counter::MPCapableSYNTXDisabled);
                    (plain_from_start(cause), Stage::Established)
                }
            };
            let remote = request.remote;
            let new = NewConnection { id, listener: None, protocol, local, remote, scheduler, coupling, strategy };
            let mut conn = Connection::new(new, shared);
            conn.early.wanted = config.fast_open;
            let first = NewSubflow {
                id: conn.draw_subflow_id(),
                tcp,
                stage,
                initiator: true,
                local,
                remote,
                local_id: AddrId(0),
                remote_id: AddrId(0),
                lane: 0,
                backup: false,
                backup_by_peer: false,
            };
            conn.add_subflow(first, shared);
            conn
        });
        self.manager.touch(id);
        Ok(id)
    }

    /// Queues bytes for sending. Takes a prefix and returns its length: as much as the send buffer has room for.
    /// After a shorter one [`Event::Writable`] follows.
    ///
    /// # Errors
    /// The connection is over, or this side was shut down.
    pub fn send(&mut self, now: Instant, id: ConnId, bytes: Bytes) -> Result<usize, SendError> {
        self.write(now, id, |conn, cx| conn.write(bytes, cx))
    }

    /// Queues bytes of a message for sending, as [`send`](Self::send) does, and tells the scheduler what they are. If it takes less than all, the
    /// rest must follow with the same [`Message`].
    ///
    /// # Errors
    /// The connection is over, or this side was shut down.
    pub fn send_message(
        &mut self,
        now: Instant,
        id: ConnId,
        bytes: Bytes,
        message: Message,
    ) -> Result<usize, SendError> {
        self.write(now, id, |conn, cx| conn.write_message(bytes, message, cx))
    }

    /// Has bytes that belong to no [`Message`] be of this class, those included that are written and not sent yet. Default: bulk.
    ///
    /// Returns whether there is such a connection.
    pub fn set_class(&mut self, now: Instant, id: ConnId, class: TrafficClass) -> bool {
        self.with(now, id, |conn, _| conn.sender.messages.set_class(class)).is_some()
    }

    /// Corks a connection or uncorks it (`TCP_CORK`, tcp(7)), be it with Multipath TCP or without: while it is corked, full segments leave, and what does not
    /// fill one waits for more, so that what is written in pieces leaves in few segments. Nothing waits for longer than 200 ms from when it was written, or
    /// what was before it has left; then all that is there may leave. Uncorking lets it leave at once, even if the connection is corked again right after.
    ///
    /// [`shutdown`](Self::shutdown) and [`close`](Self::close) let it leave too, as nothing comes to it any more. The end of a [`Message`] does not, nor
    /// its class or deadline: who corks has several of them to send, commands and their data, say, and knows which is the last one. Where classes share
    /// ([`StackConfig::qos`]), no segment has bytes of two of them, so what another class follows leaves.
    ///
    /// Returns whether there is such a connection.
    pub fn set_cork(&mut self, now: Instant, id: ConnId, corked: bool) -> bool {
        self.with(now, id, |conn, _| conn.set_cork(corked)).is_some()
    }

    /// Has a connection send no more than so many bytes of payload per second, at least 1, from now on; `None` is no limit, as at first.
    ///
    /// In the kernel (`SO_MAX_PACING_RATE`, socket(7)), each subflow may send at this rate. Here it holds for what all of them are given together, data that is sent
    /// again on another subflow included, whichever the scheduler chooses and however many there are: after a pause 2 ms' worth or 5840 bytes are given at
    /// once, whichever is more. TCP paces each subflow besides, at no more than the whole rate, with what it sends again itself. A TCP that cannot pace
    /// ([`Capabilities::pacing`](tcp_adapter::Capabilities::pacing)) lets bursts leave as they are given, and what it sends again is not counted. Limits of the
    /// policy and of classes hold beside this one.
    ///
    /// Returns whether there is such a connection.
    pub fn set_max_pacing_rate(&mut self, now: Instant, id: ConnId, bytes_per_second: Option<u64>) -> bool {
        self.with(now, id, |conn, cx| conn.set_max_pacing_rate(bytes_per_second, cx)).is_some()
    }

    /// Has another scheduler choose from now on.
    ///
    /// Returns whether there is such a connection.
    pub fn set_scheduler(&mut self, now: Instant, id: ConnId, scheduler: Box<dyn Scheduler>) -> bool {
        self.with(now, id, |conn, _| conn.scheduler = scheduler).is_some()
    }

    /// Takes at most `max` received bytes.
    ///
    /// # Errors
    /// The connection ended before the peer had closed its side. What was received before can be read first.
    pub fn recv(&mut self, now: Instant, id: ConnId, max: usize) -> Result<Recv, RecvError> {
        self.manager.read(&mut self.tcp);
        let received = self.with(now, id, |conn, cx| {
            if let Some(bytes) = conn.read(max, cx) {
                return Ok(Recv::Data(bytes));
            }
            match conn.closed {
                _ if conn.receiver.is_finished() => Ok(Recv::Finished),
                Some(reason) => Err(RecvError::Closed(reason)),
                None => Ok(Recv::WouldBlock),
            }
        });
        received.unwrap_or(Err(RecvError::NoConnection))
    }

    /// Closes this side's direction after all queued bytes: DATA_FIN, or a FIN after fallback.
    pub fn shutdown(&mut self, now: Instant, id: ConnId) {
        self.with(now, id, |conn, _| conn.shut());
    }

    /// Closes this side and gives the handle back. What is queued is still sent; bytes received and not
    /// read make the close abortive, as they do in TCP.
    pub fn close(&mut self, now: Instant, id: ConnId) {
        self.with(now, id, Connection::release);
    }

    /// Closes at once with MP_FASTCLOSE (RFC 8684 section 3.5), or a RST after fallback, and gives the handle back. After
    /// [`close`](Self::close), it ends the wait for the peer.
    pub fn abort(&mut self, now: Instant, id: ConnId) {
        self.with_any(now, id, |conn, cx| {
            conn.app.released = true;
            conn.fast_close(cx);
        });
    }

    /// Couples the congestion windows of a connection's subflows in another way. They go on from where they are, except that TCP's own
    /// congestion control, if it comes back, starts anew.
    ///
    /// # Errors
    /// There is no such connection, or the TCP beneath has congestion controls of its own only.
    pub fn set_coupling(&mut self, now: Instant, id: ConnId, coupling: Coupling) -> Result<(), CouplingError> {
        congestion::check(coupling, &self.tcp)?;
        self.with(now, id, |conn, cx| conn.set_coupling(coupling, cx)).ok_or(CouplingError::NoConnection)
    }

    /// The connections, in no order that means anything.
    pub fn connections(&self) -> impl Iterator<Item = ConnId> + '_ {
        self.manager.conns.ids()
    }

    /// State of a connection.
    pub fn info(&self, id: ConnId) -> Option<ConnInfo> {
        self.manager.conns.get(id).map(Connection::info)
    }

    /// Bytes of a connection that have arrived and wait for others before them, as [`info`](Self::info) has them, for those who look at each
    /// read.
    pub fn out_of_order(&self, id: ConnId) -> Option<usize> {
        self.manager.conns.get(id).map(Connection::out_of_order)
    }

    /// State of a connection's subflows, in the order in which they were made.
    pub fn subflows(&self, id: ConnId) -> Vec<SubflowInfo> {
        self.manager.conns.get(id).map_or_else(Vec::new, |conn| conn.subflow_infos(&self.tcp))
    }

    /// The last subflows of a connection that are gone, 65 at most, with what they have carried.
    pub fn past_subflows(&self, id: ConnId) -> &[SubflowInfo] {
        self.manager.conns.get(id).map_or(&[], |conn| &conn.past)
    }

    /// The counters.
    pub fn mib(&self) -> &Mib {
        &self.manager.shared.mib
    }

    /// Bytes that all connections hold now, sent and received; see [`StackConfig::memory_limit`].
    pub fn memory_held(&self) -> usize {
        self.manager.shared.memory_held
    }

    /// Entries that are left of connections in the tables: all zero once every connection is closed and forgotten.
    pub fn table_sizes(&self) -> (usize, usize, usize) {
        let shared = &self.manager.shared;
        (self.manager.conns.len(), shared.tokens.len(), shared.owners.len())
    }

    fn process(&mut self, now: Instant) {
        self.manager.process(now, &mut self.tcp);
    }

    fn write(
        &mut self,
        now: Instant,
        id: ConnId,
        write: impl FnOnce(&mut Connection, &mut Cx<'_>) -> usize,
    ) -> Result<usize, SendError> {
        let sent = self.with(now, id, |conn, cx| match conn.closed {
            Some(reason) => Err(SendError::Closed(reason)),
            None if conn.sender.is_shut() => Err(SendError::Shutdown),
            None => Ok(write(conn, cx)),
        });
        sent.unwrap_or(Err(SendError::NoConnection))
    }

    /// Lets one connection act whose handle has not been given back. What follows from it waits for
    /// [`poll_transmit`](Self::poll_transmit), so that many small writes make one segment.
    fn with<R>(&mut self, now: Instant, id: ConnId, act: impl FnOnce(&mut Connection, &mut Cx<'_>) -> R) -> Option<R> {
        let Self { tcp, manager } = self;
        manager.act(id, |conn| !conn.app.released, |conn, shared| act(conn, &mut Cx { now, tcp, shared }))
    }

    fn with_any<R>(
        &mut self,
        now: Instant,
        id: ConnId,
        act: impl FnOnce(&mut Connection, &mut Cx<'_>) -> R,
    ) -> Option<R> {
        let Self { tcp, manager } = self;
        manager.act(id, |_| true, |conn, shared| act(conn, &mut Cx { now, tcp, shared }))
    }

    fn for_all(&mut self, now: Instant, mut act: impl FnMut(&mut Connection, &mut Cx<'_>)) {
        for id in self.manager.conns.ids().collect::<Vec<_>>() {
            if let Some(conn) = self.manager.conns.get_mut(id) {
                act(conn, &mut Cx { now, tcp: &mut self.tcp, shared: &mut self.manager.shared });
            }
        }
        self.manager.touch_all();
    }
}
