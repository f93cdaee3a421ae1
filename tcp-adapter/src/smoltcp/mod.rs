//! The smoltcp plug-in: [`TcpStack`] over the smoltcp crate, which is used as it is.
//!
//! # How it works
//!
//! smoltcp neither shows nor takes TCP options that it does not know, so a shim sits between its interfaces
//! and the frames. Every frame passes through the shim in both directions:
//!
//! * in: the shim parses the segment, finds its connection, makes the acceptance checks
//!   itself (a small transmission control block per connection: `SendSide` and `ReceiveSide`), asks the hook,
//!   and then lays a simplified segment before smoltcp;
//! * out: the shim takes each segment that smoltcp has written, cuts it at chunk boundaries, asks the hook
//!   for options and window, and writes new headers in front of the payload;
//! * by itself, the shim writes resets, the acknowledgements of `ack_now` and `probe`, and those that open a window
//!   where smoltcp has dropped its own.
//!
//! Each connection's socket is in a socket set of its own, since smoltcp searches a set from its start for
//! every segment.
//!
//! # What it cannot do
//!
//! * No SACK in either direction, so SACK is not offered. After a timeout smoltcp repeats everything; a fast
//!   retransmission repairs one segment per round trip at best.
//! * No timestamps: smoltcp would take them from a global function.
//! * No congestion window, threshold or pacing in [`TcpInfo`], and no congestion control from outside; the
//!   round-trip times are measured by the shim.
//! * The retransmission timeout is at least 1 s.
//! * At most 8 addresses, 32 routes, 32 neighbours and 16 multicast groups per interface; unknown neighbours
//!   are asked for one at a time, once per second. No IP fragments, no path MTU discovery.
//! * At most 32 gaps between received segments; what would make one more is dropped.
//! * Payload is copied into and out of smoltcp's buffers.

mod arp;
mod config;
mod connection;
mod early;
mod interface;
mod options;
mod port;
mod receive;
mod receive_side;
mod rtt;
mod segment;
mod send_side;
mod time_wait;
mod transmit;

use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use hashbrown::HashMap;

pub use self::config::{CongestionControl, SmoltcpConfig};
use self::connection::{Connection, Phase, Place, ReceiveQueue};
use self::interface::Interface;
use self::time_wait::TimeWait;
use crate::found::Found;
use crate::last_infos::LastInfos;
use crate::listeners::Listeners;
use crate::table::{FourTuple, Keys, Slab};
use crate::{
    AbortError, Capabilities, CloseReason, ConnectError, ConnectRequest, Frame, Instant, InterfaceConfig, InterfaceId,
    IpCidr, ListenError, ListenerId, Offload, Received, Route, SegmentHook, SendError, TcpEvent, TcpId, TcpInfo,
    TcpStack,
};

/// Ports drawn for active opens (RFC 6335 section 6).
const EPHEMERAL_PORTS: std::ops::RangeInclusive<u16> = 49152..=65535;

/// Purposes of keyed hashes.
const HASH_PORT: u8 = 1;
const HASH_ISN: u8 = 2;
const HASH_ENGINE_SEED: u8 = 3;

/// Addresses and ports kept in TIME-WAIT at most, for each connection of
/// [`SmoltcpConfig::max_connections`]; beyond that the oldest are let go early.
const TIME_WAITS_PER_CONNECTION: usize = 4;

/// A [`TcpStack`] that runs smoltcp.
///
/// [`add_interface`](TcpStack::add_interface) panics if the MAC address is not a unicast address, an IP
/// address is not one, or the MTU is not 576-65535. Addresses after the eighth and routes after the 32nd of
/// an interface are left out, with a warning.
pub struct SmoltcpStack {
    config: SmoltcpConfig,
    keys: Keys,
    interfaces: Vec<Interface>,
    interface_configs: Vec<InterfaceConfig>,
    connections: Slab<State>,
    table: HashMap<FourTuple, Entry, Keys>,
    found: Found,
    /// When each TIME-WAIT ends.
    time_waits: BTreeSet<(Instant, FourTuple)>,
    listeners: Listeners,
    timers: BTreeSet<(Instant, TcpId)>,
    /// Connections that smoltcp must be polled for, each once.
    dirty: VecDeque<TcpId>,
    /// Frames that need nothing more.
    ready: VecDeque<(InterfaceId, Frame)>,
    events: VecDeque<TcpEvent>,
    last_infos: LastInfos,
    now: Instant,
    ports_drawn: u64,
}

/// What a connection handle stands for.
enum State {
    Live(Box<Connection>),
    /// Gone but for bytes that wait to be read; [`TcpEvent::Closed`] follows them.
    Ended {
        received: ReceiveQueue,
        reason: CloseReason,
    },
}

/// What a pair of addresses and ports stands for.
enum Entry {
    Connection(TcpId),
    TimeWait(TimeWait),
}

impl SmoltcpStack {
    /// A stack without interfaces. Values of `config` that are out of their range are brought into it.
    ///
    /// From `seed` come initial sequence numbers, ports and the order of hash tables: it must be
    /// unpredictable in production, and fixed for a run to be repeated exactly.
    pub fn new(config: SmoltcpConfig, seed: u64) -> Self {
        let config = config.clamped();
        let keys = Keys::from_seed(seed);
        Self {
            interfaces: Vec::new(),
            interface_configs: Vec::new(),
            connections: Slab::new(config.max_connections),
            table: HashMap::with_hasher(keys.clone()),
            found: Found::new(),
            time_waits: BTreeSet::new(),
            listeners: Listeners::default(),
            timers: BTreeSet::new(),
            dirty: VecDeque::new(),
            ready: VecDeque::new(),
            events: VecDeque::new(),
            last_infos: LastInfos::default(),
            now: Instant::ZERO,
            ports_drawn: 0,
            config,
            keys,
        }
    }

    /// Connections that occupy a handle: in the handshake, open, closing, or closed with bytes that nobody
    /// has read yet.
    pub fn connection_count(&self) -> usize {
        self.connections.len()
    }

    /// Pairs of addresses and ports that are known, those in TIME-WAIT included.
    pub fn table_len(&self) -> usize {
        self.table.len()
    }

    fn live(&self, id: TcpId) -> Option<&Connection> {
        match self.connections.get(id)? {
            State::Live(conn) => Some(conn),
            State::Ended { .. } => None,
        }
    }

    fn live_mut(&mut self, id: TcpId) -> Option<&mut Connection> {
        match self.connections.get_mut(id)? {
            State::Live(conn) => Some(conn),
            State::Ended { .. } => None,
        }
    }

    /// Takes a connection out to work on it; [`Self::put`], [`Self::put_awake`] or [`Self::end`] must follow.
    fn take(&mut self, id: TcpId) -> Option<Box<Connection>> {
        match self.connections.take(id)? {
            State::Live(conn) => Some(conn),
            ended @ State::Ended { .. } => {
                self.connections.put(id, ended);
                None
            }
        }
    }

    fn put(&mut self, conn: Box<Connection>) {
        self.connections.put(conn.id, State::Live(conn));
    }

    /// Puts a connection back that smoltcp is to be polled for at the next opportunity.
    fn put_awake(&mut self, mut conn: Box<Connection>) {
        if !std::mem::replace(&mut conn.dirty, true) {
            self.dirty.push_back(conn.id);
        }
        self.put(conn);
    }

    /// Has smoltcp polled for a connection at the next opportunity.
    fn wake(&mut self, id: TcpId) {
        if let Some(conn) = self.live_mut(id)
            && !std::mem::replace(&mut conn.dirty, true)
        {
            self.dirty.push_back(id);
        }
    }

    fn set_deadline(&mut self, conn: &mut Connection, deadline: Option<Instant>) {
        if conn.deadline == deadline {
            return;
        }
        if let Some(old) = conn.deadline {
            self.timers.remove(&(old, conn.id));
        }
        if let Some(new) = deadline {
            self.timers.insert((new, conn.id));
        }
        conn.deadline = deadline;
    }

    /// Forgets a connection that was taken out. Bytes that wait to be read delay the event.
    fn end(&mut self, mut conn: Box<Connection>, reason: CloseReason) {
        self.last_infos.keep(conn.id, || conn.info(&self.config));
        self.set_deadline(&mut conn, None);
        self.leave_backlog(&conn);
        if let Some(Entry::Connection(id)) = self.table.get(&conn.tuple)
            && *id == conn.id
        {
            self.table.remove(&conn.tuple);
        }
        let received = std::mem::take(&mut conn.received);
        if received.is_empty() || reason == CloseReason::Aborted {
            self.close(conn.id, reason);
        } else {
            self.connections.put(conn.id, State::Ended { received, reason });
        }
    }

    fn close(&mut self, id: TcpId, reason: CloseReason) {
        self.connections.release(id);
        self.events.push_back(TcpEvent::Closed(id, reason));
    }

    fn leave_backlog(&mut self, conn: &Connection) {
        if let Phase::SynReceived { listener: Some(listener), .. } = conn.phase {
            self.listeners.end(listener);
        }
    }

    /// The interface that has `addr`.
    fn interface_of(&self, addr: IpAddr) -> Option<InterfaceId> {
        self.interface_configs
            .iter()
            .position(|config| config.addrs.iter().any(|own| own.addr == addr))
            .map(InterfaceId)
    }

    fn place(&self, id: TcpId, interface: InterfaceId, tuple: FourTuple) -> Place {
        let config = &self.interface_configs[interface.0];
        Place { id, interface, own_mac: config.mac, mtu: config.mtu, tuple }
    }

    /// An unused source port, drawn as RFC 6056 section 3.3.3 has it.
    fn draw_port(&mut self, local: IpAddr, remote: SocketAddr) -> Option<u16> {
        let (first, last) = EPHEMERAL_PORTS.into_inner();
        let count = u64::from(last - first) + 1;
        let start = self.keys.hash(HASH_PORT, &(local, remote)).wrapping_add(self.ports_drawn);
        let step = (0..count).find(|step| {
            let local = SocketAddr::new(local, ephemeral(start.wrapping_add(*step)));
            !self.table.contains_key(&FourTuple { local, remote }) && self.listeners.find(local).is_none()
        })?;
        self.ports_drawn = self.ports_drawn.wrapping_add(step + 1);
        Some(ephemeral(start.wrapping_add(step)))
    }

    fn expire_time_waits(&mut self, now: Instant) {
        while let Some(&(at, tuple)) = self.time_waits.first()
            && at <= now
        {
            self.time_waits.pop_first();
            self.table.remove(&tuple);
        }
    }

    /// Starts an active open by an interface that has the address, the first one unless told otherwise.
    fn open_active(
        &mut self,
        now: Instant,
        by: Option<InterfaceId>,
        request: &ConnectRequest,
    ) -> Result<TcpId, ConnectError> {
        self.now = now;
        let remote = normalized(request.remote);
        if remote.port() == 0 || request.local_port == Some(0) {
            return Err(ConnectError::PortZero);
        }
        let has = |interface: &InterfaceId| {
            let config = self.interface_configs.get(interface.0);
            config.is_some_and(|config| config.addrs.iter().any(|own| own.addr == request.local))
        };
        let interface = by.or_else(|| self.interface_of(request.local)).filter(has);
        let interface = interface.ok_or(ConnectError::NotLocal(request.local))?;
        let reachable = self.interface_configs[interface.0].has_route(remote.ip())
            && request.local.is_ipv4() == remote.is_ipv4()
            && self.is_peer_address(interface, remote.ip());
        if !reachable {
            return Err(ConnectError::Unreachable { local: request.local, remote });
        }
        let port = match request.local_port {
            Some(port) => port,
            None => self.draw_port(request.local, remote).ok_or(ConnectError::NoPort(remote))?,
        };
        let tuple = FourTuple { local: SocketAddr::new(request.local, port), remote };
        if self.table.contains_key(&tuple) || tuple.local == tuple.remote {
            return Err(ConnectError::InUse(port));
        }
        let id = self.connections.reserve().ok_or(ConnectError::TooMany(self.config.max_connections))?;
        let until = now + self.config.handshake_timeout;
        let mut conn =
            Box::new(Connection::new(self.place(id, interface, tuple), &self.config, Phase::SynSent { until }));
        let context = self.interfaces[interface.0].engine.context();
        if conn.socket_mut().connect(context, tuple.remote, tuple.local).is_err() {
            self.connections.release(id);
            return Err(ConnectError::Unreachable { local: request.local, remote });
        }
        self.set_deadline(&mut conn, Some(until));
        self.table.insert(tuple, Entry::Connection(id));
        self.put_awake(conn);
        Ok(id)
    }

    /// Takes bytes to be sent: a chunk with a `tag`, or more of the last one.
    fn enqueue(&mut self, now: Instant, conn: TcpId, bytes: Bytes, tag: Option<u64>) -> Result<(), SendError> {
        self.now = now;
        if bytes.is_empty() {
            return Err(SendError::Empty);
        }
        let Some(State::Live(live)) = self.connections.get_mut(conn) else { return Err(SendError::Closed) };
        if !matches!(live.phase, Phase::Open) || live.shutdown || !live.socket().may_send() {
            return Err(SendError::Closed);
        }
        let len = u32::try_from(bytes.len()).map_err(|_| SendError::Full)?;
        if bytes.len() > live.send_buffer_room() {
            live.starved = true;
            return Err(SendError::Full);
        }
        match tag {
            Some(tag) => {
                live.stage(bytes);
                live.send.queue(tag, len);
            }
            None if live.stage_more(bytes) => live.send.lengthen(len),
            None => return Err(SendError::Full),
        }
        live.note_room(&self.config);
        self.wake(conn);
        Ok(())
    }
}

/// The ephemeral port number `number`, counted round and round.
fn ephemeral(number: u64) -> u16 {
    let (first, last) = EPHEMERAL_PORTS.into_inner();
    let count = u64::from(last - first) + 1;
    first + u16::try_from(number % count).unwrap_or(0)
}

/// The same address without what is not compared on the wire (IPv6 scope and flow label).
fn normalized(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip(), addr.port())
}

impl TcpStack for SmoltcpStack {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            name: "smoltcp",
            sack: false,
            timestamps: false,
            pacing: false,
            congestion_window: false,
            custom_congestion_control: false,
            zero_copy: false,
            segmentation_offload: false,
            fast_open: false,
            min_rto: rtt::MIN_RTO,
        }
    }

    fn add_interface(&mut self, mut config: InterfaceConfig) -> InterfaceId {
        let id = InterfaceId(self.interfaces.len());
        let seed = self.keys.hash(HASH_ENGINE_SEED, &id);
        self.interfaces.push(Interface::new(&mut config, self.config.option_reserve, seed, self.now));
        self.interface_configs.push(config);
        id
    }

    fn interfaces(&self) -> &[InterfaceConfig] {
        &self.interface_configs
    }

    fn listen(&mut self, addr: Option<IpAddr>, port: u16, backlog: usize) -> Result<ListenerId, ListenError> {
        if let Some(addr) = addr
            && self.interface_of(addr).is_none()
        {
            return Err(ListenError::NotLocal(addr));
        }
        self.listeners.add(addr, port, backlog)
    }

    fn unlisten(&mut self, listener: ListenerId) {
        self.listeners.remove(listener);
    }

    fn connect(&mut self, now: Instant, request: &ConnectRequest) -> Result<TcpId, ConnectError> {
        self.open_active(now, None, request)
    }

    fn connect_by(
        &mut self,
        now: Instant,
        interface: InterfaceId,
        request: &ConnectRequest,
    ) -> Result<TcpId, ConnectError> {
        self.open_active(now, Some(interface), request)
    }

    fn send(&mut self, now: Instant, conn: TcpId, bytes: Bytes, tag: u64) -> Result<(), SendError> {
        self.enqueue(now, conn, bytes, Some(tag))
    }

    fn append(&mut self, now: Instant, conn: TcpId, bytes: Bytes) -> Result<(), SendError> {
        self.enqueue(now, conn, bytes, None)
    }

    fn send_room(&self, conn: TcpId) -> usize {
        self.live(conn).map_or(0, |conn| conn.send_room(&self.config))
    }

    fn recv(&mut self, conn: TcpId) -> Option<Received> {
        match self.connections.get_mut(conn)? {
            State::Live(live) => {
                let received = live.received.pop()?;
                if live.window_has_opened() {
                    live.ack_pending = true;
                    self.wake(conn);
                }
                Some(received)
            }
            State::Ended { received: queue, reason } => {
                let received = queue.pop()?;
                let reason = *reason;
                if queue.is_empty() {
                    self.close(conn, reason);
                }
                Some(received)
            }
        }
    }

    fn shutdown(&mut self, now: Instant, conn: TcpId) {
        self.now = now;
        if let Some(live) = self.live_mut(conn) {
            live.shutdown = true;
            live.close_if_open();
            self.wake(conn);
        }
    }

    fn abort(&mut self, now: Instant, conn: TcpId, options: &[u8]) -> Result<(), AbortError> {
        self.now = now;
        let Some(live) = self.take(conn) else {
            // Only unread bytes are left, if anything: those go too.
            self.connections.get(conn).ok_or(AbortError::Closed)?;
            self.close(conn, CloseReason::Aborted);
            return Ok(());
        };
        self.send_reset(&live, options);
        self.end(live, CloseReason::Aborted);
        Ok(())
    }

    fn ack_now(&mut self, now: Instant, conn: TcpId) {
        self.now = now;
        if let Some(live) = self.live_mut(conn) {
            live.ack_pending = true;
            self.wake(conn);
        }
    }

    fn probe(&mut self, now: Instant, conn: TcpId) {
        self.now = now;
        if let Some(live) = self.live_mut(conn) {
            live.probe_pending = true;
            self.wake(conn);
        }
    }

    fn set_offload(&mut self, interface: InterfaceId, offload: Offload) {
        if let Some(interface) = self.interfaces.get_mut(interface.0) {
            interface.offload = offload;
        }
    }

    fn set_addresses(&mut self, interface: InterfaceId, addrs: Vec<IpCidr>, routes: Vec<Route>) -> bool {
        let Some(config) = self.interface_configs.get_mut(interface.0) else { return false };
        config.addrs = addrs;
        config.routes = routes;
        self.interfaces[interface.0].configure(config);
        // Those whose address is back go on.
        let here = |state: &State| matches!(state, State::Live(conn) if conn.interface == interface);
        let its: Vec<_> = self.connections.iter().filter(|(_, state)| here(state)).map(|(id, _)| id).collect();
        its.into_iter().for_each(|id| self.wake(id));
        true
    }

    fn info(&self, conn: TcpId) -> Option<TcpInfo> {
        self.live(conn).map(|conn| conn.info(&self.config))
    }

    fn keep_last_infos(&mut self, wanted: bool) {
        self.last_infos.want(wanted);
    }

    fn take_last_info(&mut self, conn: TcpId) -> Option<TcpInfo> {
        self.last_infos.take(conn)
    }

    fn handle_frame(&mut self, now: Instant, interface: InterfaceId, frame: Frame, hook: &mut dyn SegmentHook) {
        self.now = now;
        self.receive(interface, frame, hook);
    }

    fn handle_timeout(&mut self, now: Instant, _hook: &mut dyn SegmentHook) {
        self.now = now;
        self.expire_time_waits(now);
        while let Some(&(at, id)) = self.timers.first()
            && at <= now
        {
            self.timers.pop_first();
            let Some(mut conn) = self.take(id) else { continue };
            conn.deadline = None;
            match conn.phase {
                Phase::SynSent { until } | Phase::SynReceived { until, .. } if until <= now => {
                    self.end(conn, CloseReason::TimedOut);
                }
                _ => self.put_awake(conn),
            }
        }
    }

    fn poll_transmit(&mut self, now: Instant, hook: &mut dyn SegmentHook, sink: &mut dyn FnMut(InterfaceId, Frame)) {
        self.now = now;
        self.transmit(hook, sink);
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        if !self.dirty.is_empty() || !self.ready.is_empty() || !self.events.is_empty() {
            return Some(self.now);
        }
        let timer = self.timers.first().map(|&(at, _)| at);
        let time_wait = self.time_waits.first().map(|&(at, _)| at);
        [timer, time_wait].into_iter().flatten().min()
    }

    fn poll_event(&mut self) -> Option<TcpEvent> {
        self.events.pop_front()
    }
}
