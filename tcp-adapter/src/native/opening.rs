//! Connections that come into being.

use std::net::{IpAddr, SocketAddr};

use super::connection::{Agreed, Connection, Handshake, MIN_SEGMENT, Phase};
use super::fast_open::{Judgement, SynData};
use super::input::Take;
use super::neighbours;
use super::pairs::Entry;
use super::path_mtu::PathMtu;
use super::receiver::Receiver;
use super::send::{NEVER, Sender};
use super::wire::{Flags, HeaderTemplate, Options, Segment};
use super::{Context, NativeStack, State, normalized};
use crate::congestion::CongestionControl;
use crate::table::FourTuple;
use crate::{ConnectError, ConnectRequest, Instant, InterfaceId, MacAddr, SegmentHook, SynSegment, SynVerdict, TcpId};

/// Ports drawn for active opens (RFC 6335 section 6).
const EPHEMERAL_PORTS: std::ops::RangeInclusive<u16> = 49152..=65535;

/// Purposes of keyed hashes.
const HASH_PORT: u8 = 1;
const HASH_ISN: u8 = 2;
const HASH_TIMESTAMP: u8 = 3;
const HASH_CONTROL: u8 = 4;

/// Initial sequence numbers advance by one in this many nanoseconds (RFC 9293 section 3.4.1).
const ISN_TICK: u64 = 4_000;

/// How far beyond an earlier connection's numbers the next one begins: more than a window without scaling, so that nothing old that
/// is still on its way is acceptable.
const BEYOND: u32 = 1 << 16;

impl NativeStack {
    /// Starts the active open of a connection by an interface that has its address, the first one unless told otherwise.
    pub(super) fn open_active(
        &mut self,
        request: &ConnectRequest,
        by: Option<InterfaceId>,
    ) -> Result<TcpId, ConnectError> {
        let remote = normalized(request.remote);
        if remote.port() == 0 || request.local_port == Some(0) {
            return Err(ConnectError::PortZero);
        }
        let interface = by.or_else(|| self.interface_of(request.local));
        let interface = interface.filter(|interface| self.has_address(*interface, request.local));
        let interface = interface.ok_or(ConnectError::NotLocal(request.local))?;
        let config = &self.interface_configs[interface.0];
        let reachable = request.local.is_ipv4() == remote.is_ipv4()
            && neighbours::is_peer_address(config, remote.ip())
            && neighbours::next_hop(config, remote.ip()).is_some();
        if !reachable {
            return Err(ConnectError::Unreachable { local: request.local, remote });
        }
        let port = match request.local_port {
            Some(port) => port,
            None => self.draw_port(request.local, remote).ok_or(ConnectError::NoPort(remote))?,
        };
        let tuple = FourTuple { local: SocketAddr::new(request.local, port), remote };
        if self.pair(&tuple).is_some() || tuple.local == tuple.remote {
            return Err(ConnectError::InUse(port));
        }
        let id = self.connections.reserve().ok_or(ConnectError::TooMany(self.config.max_connections))?;
        let phase = Phase::SynSent(Box::new(Handshake::new(self.now, self.config.handshake_timeout)));
        let conn = self.connection(id, interface, tuple, phase);
        self.enter_pair(&tuple, Entry::Connection(id));
        self.connections.put(id, State::Live(Box::new(conn)));
        self.wake(id);
        Ok(id)
    }

    /// A SYN for no known connection.
    pub(super) fn open_passive(
        &mut self,
        interface: InterfaceId,
        tuple: FourTuple,
        segment: &Segment<'_>,
        hook: &mut dyn SegmentHook,
    ) -> Option<(TcpId, Take)> {
        let options = Options::parse(segment.options);
        let listener = match self.listeners.find(tuple.local) {
            Some((listener, false)) => {
                self.answer_stateless(interface, tuple, segment, &options, listener, hook);
                return None;
            }
            other => other.map(|(listener, _)| listener),
        };
        let id = self.connections.reserve()?;
        let Judgement { take, answer } =
            listener.map_or_else(Judgement::default, |listener| self.judge_syn(listener, &tuple, segment));
        let syn = SynSegment {
            listener,
            local: tuple.local,
            remote: tuple.remote,
            early: take,
            options: options.foreign.as_slice(),
        };
        let verdict = hook.on_syn(self.now, id, &syn);
        if !self.admit(interface, id, segment, verdict) {
            return None;
        }
        if let Some(listener) = listener {
            self.listeners.begin(listener);
        }
        let handshake = Box::new(Handshake::new(self.now, self.config.handshake_timeout));
        let phase = if take > 0 { Phase::FastOpen(handshake) } else { Phase::SynReceived(handshake) };
        let mut conn = self.connection(id, interface, tuple, phase);
        let mut cx =
            Context { now: self.now, config: &self.config, memory: &self.memory, hook, events: &mut self.events };
        conn.backlog = listener;
        conn.take_peer_syn(&mut cx, segment, &options);
        // RFC 3168 section 6.1.1: both flags on a SYN ask for ECN. It is answered even if it is not asked for from here.
        conn.agreed.ecn = segment.flags.contains(Flags::ECE | Flags::CWR);
        conn.syn_data = answer.map(|cookie| Box::new(SynData::Answer(cookie)));
        let taken = (take > 0).then(|| conn.open_fast(&mut cx, segment, take));
        if let (Some(listener), Some(_)) = (listener, &taken) {
            conn.fast_open = Some(listener);
            self.began_fast(listener);
        }
        self.enter_pair(&tuple, Entry::Connection(id));
        self.connections.put(id, State::Live(Box::new(conn)));
        self.wake(id);
        taken.map(|take| (id, take))
    }

    /// Whether the layer above accepts a connection; if not, its handle is released and the segment refused or forgotten.
    pub(super) fn admit(
        &mut self,
        interface: InterfaceId,
        id: TcpId,
        segment: &Segment<'_>,
        verdict: SynVerdict,
    ) -> bool {
        match verdict {
            SynVerdict::Accept => true,
            SynVerdict::Drop => {
                self.connections.release(id);
                false
            }
            SynVerdict::Reset(space) => {
                self.connections.release(id);
                self.refuse(interface, segment, space.as_slice());
                false
            }
        }
    }

    /// A new congestion control of the configuration for the connection `tuple`.
    pub(super) fn own_control(&self, tuple: &FourTuple) -> Box<dyn CongestionControl> {
        self.config.congestion.start(u64::from(MIN_SEGMENT), self.keys.hash(HASH_CONTROL, tuple))
    }

    pub(super) fn connection(&self, id: TcpId, interface: InterfaceId, tuple: FourTuple, phase: Phase) -> Connection {
        let config = &self.interface_configs[interface.0];
        let link = u32::try_from(config.mtu).unwrap_or(u32::MAX);
        let path_mtu = PathMtu::new(link, tuple.local.is_ipv6());
        let control = self.own_control(&tuple);
        let timestamp_offset = self.timestamp_offset(&tuple);
        let mut conn = Connection {
            id,
            interface,
            phase,
            backlog: None,
            fast_open: None,
            syn_data: None,
            agreed: Agreed::default(),
            dirty: false,
            ack_now: false,
            bare_now: false,
            probe: false,
            starved: false,
            waits_for_neighbour: false,
            routed: false,
            trimmed: false,
            closed_by_peer: false,
            foreign_options: 0,
            send: Sender::new(&self.config, control, self.initial_sequence_number(&tuple), MIN_SEGMENT),
            receive: Receiver::new(self.now, &self.config),
            template: HeaderTemplate::new(config.mac, MacAddr([0; 6]), tuple.local, tuple.remote),
            path_mtu,
            peer_mss: u32::MAX,
            timestamp_offset,
            charged: 0,
            deadline: NEVER,
            last_received: Instant::ZERO,
            last_active: self.now,
            challenges: super::challenge::Challenges::default(),
            keep_alive: super::keep_alive::KeepAlive::default(),
        };
        conn.update_mss();
        conn
    }

    /// What our timestamps are ahead of the clock: another amount for each connection, the same for the next one between the same
    /// ports (RFC 7323 section 7.1).
    pub(super) fn timestamp_offset(&self, tuple: &FourTuple) -> u32 {
        #[expect(clippy::cast_possible_truncation, reason = "any 32 bits of a hash do")]
        let offset = self.keys.hash(HASH_TIMESTAMP, tuple) as u32;
        offset
    }

    /// RFC 6528 section 3: a clock, and a keyed hash of what identifies the connection.
    fn initial_sequence_number(&self, tuple: &FourTuple) -> u32 {
        #[expect(clippy::cast_possible_truncation, reason = "sequence numbers are modulo 2^32")]
        let (clock, hash) = ((self.now.as_nanos() / ISN_TICK) as u32, self.keys.hash(HASH_ISN, tuple) as u32);
        clock.wrapping_add(hash)
    }

    /// Has a connection that follows another one between the same ports begin beyond all numbers that the other has used (RFC 9293
    /// section 3.10.7.4, MAY-2). Who sends fast is ahead of the clock.
    pub(super) fn begin_beyond(&mut self, tuple: &FourTuple, used: u32) {
        let Some(Entry::Connection(id)) = self.pair(tuple) else { return };
        let id = *id;
        let Some(conn) = self.live_mut(id) else { return };
        if conn.send.iss.wrapping_sub(used).cast_signed() < 0 {
            conn.send.iss = used.wrapping_add(BEYOND);
        }
    }

    /// An unused source port, drawn as RFC 6056 section 3.3.3 has it.
    fn draw_port(&mut self, local: IpAddr, remote: SocketAddr) -> Option<u16> {
        let (first, last) = EPHEMERAL_PORTS.into_inner();
        let count = u64::from(last - first) + 1;
        let start = self.keys.hash(HASH_PORT, &(local, remote)).wrapping_add(self.ports_drawn);
        let step = (0..count).find(|step| {
            let local = SocketAddr::new(local, ephemeral(start.wrapping_add(*step)));
            self.pair(&FourTuple { local, remote }).is_none() && self.listeners.find(local).is_none()
        })?;
        self.ports_drawn = self.ports_drawn.wrapping_add(step + 1);
        Some(ephemeral(start.wrapping_add(step)))
    }
}

/// The ephemeral port number `number`, counted round and round.
fn ephemeral(number: u64) -> u16 {
    let (first, last) = EPHEMERAL_PORTS.into_inner();
    let count = u64::from(last - first) + 1;
    first + u16::try_from(number % count).unwrap_or(0)
}

#[cfg(test)]
mod tests;
