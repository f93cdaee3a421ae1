//! The native engine: a TCP on one core, written for what runs above it.
//!
//! # How it works
//!
//! * `wire` reads and writes headers; payload is never copied: what arrives is handed up as slices of the frame, what leaves is a
//!   list of slices of what was handed down.
//! * `demux` finds the connection of a segment, `input` has RFC 9293 act on it, `output` writes what leaves.
//! * `send` is the sending side: the scoreboard, RACK-TLP (RFC 8985), proportional rate reduction (RFC 6937), F-RTO (RFC 5682), undo of
//!   spurious repairs, pacing. `receiver` and `receive` are the other side: reassembly, acknowledgements, windows.
//! * [`congestion`](crate::congestion) is beside it, so that the layer above can bring its own.
//!
//! Only connections with something to do cost anything: they stand in a list, and their timers in a wheel.
//!
//! # Limits
//!
//! No IP fragments, no source routes, no urgent data: it is data in line, as applications should have it (RFC 6093 section 6), but nobody is told
//! where it ends, nor can any be sent (RFC 9293 section 3.8.5, MUST-30 to MUST-33).
//!
//! Of what RFC 9293 has an application choose for each connection, the user timeout, keep-alive and Nagle's algorithm are settings of a
//! whole stack; packets have a hop limit of 64 and no Diffserv codepoint (section 3.9.2). Nobody is told of soft ICMP errors
//! (section 3.9.2.2).

mod challenge;
mod coalesce;
mod config;
mod connection;
mod cookies;
mod demux;
mod fast_open;
mod input;
#[cfg(feature = "conformance")]
mod invariants;
mod keep_alive;
mod memory;
mod neighbours;
mod opening;
mod output;
mod pacing;
mod pairs;
mod path_mtu;
mod prr;
mod receive;
mod receiver;
mod rtt;
mod send;
mod serve;
mod slice_lists;
mod stateless;
mod time_wait;
mod timestamps;
mod wheel;
mod wire;

use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;

pub use self::coalesce::Coalescer;
pub use self::config::NativeConfig;
use self::connection::Connection;
use self::cookies::Cookies;
use self::fast_open::FastOpen;
use self::memory::Memory;
use self::neighbours::Neighbours;
use self::pairs::Pairs;
use self::send::{Fin, NEVER};
use self::wheel::Wheel;
use self::wire::HeadPool;
use crate::congestion::CongestionControl;
use crate::found::Found;
use crate::last_infos::LastInfos;
use crate::listeners::Listeners;
use crate::table::{FourTuple, Keys, Slab};
use crate::{
    AbortError, Capabilities, CloseReason, ConnectError, ConnectRequest, Frame, Instant, InterfaceConfig, InterfaceId,
    IpCidr, ListenError, ListenerId, Offload, Received, RoundTrip, Route, SegmentHook, SendError, SendLimits,
    SendState, TcpEvent, TcpId, TcpInfo, TcpStack,
};

/// A [`TcpStack`] of its own.
///
/// [`add_interface`](TcpStack::add_interface) panics if the MAC address is not a unicast address or the MTU is not 576-65535.
pub struct NativeStack {
    config: NativeConfig,
    keys: Keys,
    interfaces: Vec<Interface>,
    interface_configs: Vec<InterfaceConfig>,
    connections: Slab<State>,
    pairs: Pairs,
    found: Found,
    /// When each TIME-WAIT ends.
    time_waits: BTreeSet<(Instant, FourTuple)>,
    listeners: Listeners,
    cookies: Cookies,
    fast_open: FastOpen,
    wheel: Wheel,
    /// When a neighbour is to be asked again.
    ask_at: Instant,
    /// Connections that have something to do, each once.
    dirty: VecDeque<TcpId>,
    /// Frames that need nothing more.
    ready: VecDeque<(InterfaceId, Frame)>,
    events: VecDeque<TcpEvent>,
    last_infos: LastInfos,
    memory: Memory,
    heads: HeadPool,
    ident: u16,
    now: Instant,
    ports_drawn: u64,
}

/// What the engine keeps of an interface besides its configuration.
struct Interface {
    neighbours: Neighbours,
    offload: Offload,
    /// Connections whose next hop is being asked for.
    waiting: Vec<TcpId>,
}

/// What a connection handle stands for.
enum State {
    Live(Box<Connection>),
    /// Gone but for bytes that wait to be read; [`TcpEvent::Closed`] follows them.
    Ended(Box<Ended>),
}

/// What is left of a connection that is gone.
struct Ended {
    received: VecDeque<Received>,
    reason: CloseReason,
    /// Bytes of it that count as held by the stack.
    charged: usize,
}

/// What a connection needs to act.
struct Context<'a> {
    now: Instant,
    config: &'a NativeConfig,
    memory: &'a Memory,
    hook: &'a mut dyn SegmentHook,
    events: &'a mut VecDeque<TcpEvent>,
}

impl NativeStack {
    /// A stack without interfaces. Values of `config` that are out of their range are brought into it.
    ///
    /// From `seed` come initial sequence numbers, ports and the order of hash tables: it must be
    /// unpredictable in production, and fixed for a run to be repeated exactly.
    pub fn new(config: NativeConfig, seed: u64) -> Self {
        let config = config.clamped();
        let keys = Keys::from_seed(seed);
        Self {
            interfaces: Vec::new(),
            interface_configs: Vec::new(),
            connections: Slab::new(config.max_connections),
            pairs: Pairs::default(),
            found: Found::new(),
            time_waits: BTreeSet::new(),
            listeners: Listeners::default(),
            cookies: Cookies::default(),
            fast_open: FastOpen::default(),
            wheel: Wheel::new(),
            ask_at: NEVER,
            dirty: VecDeque::new(),
            ready: VecDeque::new(),
            events: VecDeque::new(),
            last_infos: LastInfos::default(),
            memory: Memory::new(config.memory_limit),
            heads: HeadPool::new(),
            ident: 0,
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
        self.pairs.len()
    }

    /// Payload bytes that the connections hold, received and to be sent. Never more than [`NativeConfig::memory_limit`].
    pub fn memory_held(&self) -> usize {
        self.memory.held()
    }

    fn live(&self, id: TcpId) -> Option<&Connection> {
        match self.connections.get(id)? {
            State::Live(conn) => Some(conn),
            State::Ended(_) => None,
        }
    }

    fn live_mut(&mut self, id: TcpId) -> Option<&mut Connection> {
        match self.connections.get_mut(id)? {
            State::Live(conn) => Some(conn),
            State::Ended(_) => None,
        }
    }

    /// Has a connection served at the next opportunity.
    fn wake(&mut self, id: TcpId) {
        if let Some(conn) = self.live_mut(id)
            && !std::mem::replace(&mut conn.dirty, true)
        {
            self.dirty.push_back(id);
        }
    }

    /// The interface that has `addr`.
    fn interface_of(&self, addr: IpAddr) -> Option<InterfaceId> {
        self.interface_configs
            .iter()
            .position(|config| config.addrs.iter().any(|own| own.addr == addr))
            .map(InterfaceId)
    }

    fn has_address(&self, interface: InterfaceId, addr: IpAddr) -> bool {
        let config = self.interface_configs.get(interface.0);
        config.is_some_and(|config| config.addrs.iter().any(|own| own.addr == addr))
    }

    /// Takes bytes to be sent: a chunk with a `tag`, or more of the last one.
    fn enqueue(&mut self, now: Instant, conn: TcpId, bytes: Bytes, tag: Option<u64>) -> Result<(), SendError> {
        self.now = now;
        if bytes.is_empty() {
            return Err(SendError::Empty);
        }
        let Some(State::Live(live)) = self.connections.get_mut(conn) else { return Err(SendError::Closed) };
        if !live.may_send() {
            return Err(SendError::Closed);
        }
        let len = bytes.len();
        let room = self.config.send_buffer.saturating_sub(live.send.buffer.held());
        if len > room || self.memory.room_for(len) < len || u32::try_from(len).is_err() {
            live.starved = true;
            return Err(SendError::Full);
        }
        match tag {
            Some(tag) => live.send.buffer.push(bytes, tag),
            // Its segments have said how long the chunk is.
            None if live.send.buffer.last().is_none_or(|last| last.offset < live.send.nxt) => {
                return Err(SendError::Full);
            }
            None => live.send.buffer.append(bytes),
        }
        live.touch(now);
        live.settle_memory(&mut self.memory);
        live.note_room(&self.config);
        if !std::mem::replace(&mut live.dirty, true) {
            self.dirty.push_back(conn);
        }
        Ok(())
    }

    /// The next bytes of a connection that is gone; with the last of them its handle is.
    #[cold]
    fn recv_ended(&mut self, conn: TcpId) -> Option<Received> {
        let State::Ended(ended) = self.connections.get_mut(conn)? else { return None };
        let received = ended.received.pop_front()?;
        let (reason, rest) = (ended.reason, ended.charged.saturating_sub(received.bytes.len()));
        self.memory.charge(&mut ended.charged, rest);
        if ended.received.is_empty() {
            self.close(conn, reason);
        }
        Some(received)
    }

    /// The next event, once memory was short and is not any more. The last thing that [`poll_event`](TcpStack::poll_event) does, which so has
    /// nothing to keep for afterwards: it is called several times at each wake, and finds nothing most often.
    #[cold]
    #[inline(never)]
    fn poll_relieved(&mut self) -> Option<TcpEvent> {
        if self.memory.take_relief() {
            self.tell_of_relief();
        }
        self.events.pop_front()
    }

    /// Memory was short and is not any more: nothing else happens to connections that could not take anything meanwhile.
    fn tell_of_relief(&mut self) {
        let ids: Vec<TcpId> = self.connections.iter().map(|(id, _)| id).collect();
        for id in ids {
            let Some(State::Live(conn)) = self.connections.get_mut(id) else { continue };
            conn.starved |= conn.may_send();
            if conn.no_longer_starved(&self.config, &self.memory) {
                self.events.push_back(TcpEvent::Writable(id));
            }
        }
    }
}

/// The same address without what is not compared on the wire (IPv6 scope and flow label).
fn normalized(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip(), addr.port())
}

impl TcpStack for NativeStack {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            name: "native",
            sack: self.config.sack,
            timestamps: self.config.timestamps,
            pacing: self.config.pacing,
            congestion_window: true,
            custom_congestion_control: true,
            zero_copy: true,
            segmentation_offload: true,
            fast_open: true,
            min_rto: self.config.min_rto,
        }
    }

    fn add_interface(&mut self, config: InterfaceConfig) -> InterfaceId {
        assert!((576..=65_535).contains(&config.mtu), "interface mtu is {}, but must be 576 to 65535", config.mtu);
        assert!(config.mac.0[0] & 1 == 0, "interface mac is {}, but must be a unicast address", config.mac);
        let id = InterfaceId(self.interfaces.len());
        self.interfaces.push(Interface {
            neighbours: Neighbours::default(),
            offload: Offload::default(),
            waiting: Vec::new(),
        });
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
        self.listen_fast(listener, 0);
    }

    fn connect(&mut self, now: Instant, request: &ConnectRequest) -> Result<TcpId, ConnectError> {
        self.now = now;
        self.open_active(request, None)
    }

    fn connect_by(
        &mut self,
        now: Instant,
        interface: InterfaceId,
        request: &ConnectRequest,
    ) -> Result<TcpId, ConnectError> {
        self.now = now;
        self.open_active(request, Some(interface))
    }

    fn allow_fast_open(&mut self, listener: ListenerId, pending: usize) -> bool {
        self.listen_fast(listener, pending);
        true
    }

    fn fast_open(&mut self, conn: TcpId, data: &Bytes) -> Option<usize> {
        let live = self.live(conn).filter(|conn| conn.syn_is_due())?;
        let (tuple, limit) = (live.template.tuple(), live.segment_limit() as usize);
        let (syn_data, bytes) = self.offer_on_syn(&tuple, limit, data);
        self.live_mut(conn)?.syn_data = syn_data.map(Box::new);
        Some(bytes)
    }

    fn send(&mut self, now: Instant, conn: TcpId, bytes: Bytes, tag: u64) -> Result<(), SendError> {
        self.enqueue(now, conn, bytes, Some(tag))
    }

    fn append(&mut self, now: Instant, conn: TcpId, bytes: Bytes) -> Result<(), SendError> {
        self.enqueue(now, conn, bytes, None)
    }

    fn send_room(&self, conn: TcpId) -> usize {
        self.live(conn).map_or(0, |conn| self.memory.room_for(conn.send_room(&self.config)))
    }

    fn recv(&mut self, conn: TcpId) -> Option<Received> {
        let State::Live(live) = self.connections.get_mut(conn)? else { return self.recv_ended(conn) };
        let received = live.receive.pop()?;
        live.settle_memory(&mut self.memory);
        live.receive.note_memory(self.memory.room());
        if live.receive.window_has_opened(live.send.mss) {
            live.ack_now = true;
            self.wake(conn);
        }
        Some(received)
    }

    fn shutdown(&mut self, now: Instant, conn: TcpId) {
        self.now = now;
        let Some(live) = self.live_mut(conn) else { return };
        if live.send.fin == Fin::None {
            live.send.fin = Fin::Queued;
            self.wake(conn);
        }
    }

    fn abort(&mut self, now: Instant, conn: TcpId, options: &[u8]) -> Result<(), AbortError> {
        self.now = now;
        match self.connections.get_mut(conn) {
            None => return Err(AbortError::Closed),
            Some(State::Ended(ended)) => {
                // Nobody is there any more to be told; what was not read is thrown away.
                self.memory.charge(&mut ended.charged, 0);
                self.close(conn, CloseReason::Aborted);
                return Ok(());
            }
            Some(State::Live(_)) => {}
        }
        self.reset_connection(conn, options);
        self.end(conn, CloseReason::Aborted);
        Ok(())
    }

    fn ack_now(&mut self, now: Instant, conn: TcpId) {
        self.now = now;
        let Some(live) = self.live_mut(conn) else { return };
        live.bare_now = true;
        self.wake(conn);
    }

    fn probe(&mut self, now: Instant, conn: TcpId) {
        self.now = now;
        let Some(live) = self.live_mut(conn) else { return };
        live.probe = true;
        self.wake(conn);
    }

    fn probe_tail(&mut self, now: Instant, conn: TcpId) {
        self.now = now;
        if self.live_mut(conn).is_some_and(|live| live.send.probe_tail(now)) {
            self.wake(conn);
        }
    }

    fn penalise(&mut self, now: Instant, conn: TcpId) {
        if let Some(live) = self.live_mut(conn) {
            live.send.penalise(now);
        }
    }

    fn set_max_pacing_rate(&mut self, now: Instant, conn: TcpId, bytes_per_second: Option<u64>) -> bool {
        self.now = now;
        if !self.config.pacing {
            return false;
        }
        let most = bytes_per_second.into_iter().chain(self.config.max_pacing_rate).min();
        let Some(live) = self.live_mut(conn) else { return false };
        live.send.limit_pace(now, most);
        // It may be the pace that it waits for.
        self.wake(conn);
        true
    }

    fn set_congestion_control(
        &mut self,
        conn: TcpId,
        control: Box<dyn CongestionControl>,
    ) -> Result<(), Box<dyn CongestionControl>> {
        match self.live_mut(conn) {
            Some(live) => {
                live.send.set_control(control);
                Ok(())
            }
            None => Err(control),
        }
    }

    fn reset_congestion_control(&mut self, conn: TcpId) -> bool {
        let Some(tuple) = self.live(conn).map(|live| live.template.tuple()) else { return false };
        let control = self.own_control(&tuple);
        self.set_congestion_control(conn, control).is_ok()
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
        let over = |state: &State| matches!(state, State::Live(conn) if conn.interface == interface);
        let over: Vec<TcpId> = self.connections.iter().filter(|(_, state)| over(state)).map(|(id, _)| id).collect();
        for id in over {
            if let Some(conn) = self.live_mut(id) {
                (conn.routed, conn.waits_for_neighbour) = (false, false);
            }
            self.wake(id);
        }
        true
    }

    fn info(&self, conn: TcpId) -> Option<TcpInfo> {
        let conn = self.live(conn)?;
        Some(conn.info(self.interfaces[conn.interface.0].offload.cuts()))
    }

    fn keep_last_infos(&mut self, wanted: bool) {
        self.last_infos.want(wanted);
    }

    fn take_last_info(&mut self, conn: TcpId) -> Option<TcpInfo> {
        self.last_infos.take(conn)
    }

    fn round_trip(&self, conn: TcpId) -> Option<RoundTrip> {
        self.live(conn)?.send.rtt.round_trip()
    }

    fn send_limits(&self, conn: TcpId) -> Option<SendLimits> {
        let conn = self.live(conn)?;
        Some(conn.send_limits(self.interfaces[conn.interface.0].offload.cuts()))
    }

    fn send_state(&self, conn: TcpId) -> Option<SendState> {
        let conn = self.live(conn)?;
        Some(conn.send_state(self.interfaces[conn.interface.0].offload.cuts()))
    }

    fn handle_frame(&mut self, now: Instant, interface: InterfaceId, frame: Frame, hook: &mut dyn SegmentHook) {
        self.now = now;
        self.receive_frame(interface, frame, hook);
    }

    fn handle_timeout(&mut self, now: Instant, _hook: &mut dyn SegmentHook) {
        self.now = now;
        self.expire();
    }

    fn poll_transmit(&mut self, now: Instant, hook: &mut dyn SegmentHook, sink: &mut dyn FnMut(InterfaceId, Frame)) {
        self.now = now;
        self.transmit(hook, sink);
    }

    fn poll_timeout(&mut self) -> Option<Instant> {
        self.next_deadline()
    }

    fn poll_event(&mut self) -> Option<TcpEvent> {
        if self.memory.is_relieved() {
            return self.poll_relieved();
        }
        self.events.pop_front()
    }
}
