//! One smoltcp interface: address resolution, routes, and the sockets' way to the wire.

use std::time::Duration;

use bytes::BytesMut;
use smoltcp::iface::{Config, Interface as Engine, PollResult, Route, SocketSet};
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpCidr};

use super::port::{HEADROOM, Port};
use super::segment;
use crate::{Instant, InterfaceConfig, Offload};

/// Smallest MTU: what every IPv4 host must take (RFC 9293 section 3.7.1).
const MIN_MTU: usize = 576;
/// Largest MTU: what an IP header can express.
const MAX_MTU: usize = 65_535;

/// After this time smoltcp asks for a neighbour again (its `DISCOVERY_SILENT_TIME` is 1 s).
const RESOLUTION_TIME: Duration = Duration::from_secs(2);

/// An interface, with smoltcp's half of it.
pub(super) struct Interface {
    pub(super) engine: Engine,
    pub(super) port: Port,
    /// Has no sockets: takes what is not TCP.
    no_sockets: SocketSet<'static>,
    /// Until when the answer to an address resolution may come.
    resolving_until: Instant,
    pub(super) offload: Offload,
}

impl Interface {
    /// # Panics
    ///
    /// If the configuration is one that no interface can have.
    pub(super) fn new(config: &mut InterfaceConfig, option_reserve: usize, seed: u64, now: Instant) -> Self {
        assert!(
            (MIN_MTU..=MAX_MTU).contains(&config.mtu),
            "interface mtu is {}, but must be {MIN_MTU} to {MAX_MTU}",
            config.mtu
        );
        let mac = EthernetAddress(config.mac.0);
        assert!(mac.is_unicast(), "interface mac is {}, but must be a unicast address", config.mac);
        let mut engine_config = Config::new(HardwareAddress::Ethernet(mac));
        engine_config.random_seed = seed;
        // smoltcp cuts the stream into segments that leave room for options.
        let mut port = Port::new(config.mtu - option_reserve);
        let mut engine = Engine::new(engine_config, &mut port, engine_time(now));
        configure(&mut engine, config);
        Self { engine, port, no_sockets: SocketSet::new(Vec::new()), resolving_until: now, offload: Offload::default() }
    }

    /// Takes other addresses and routes.
    pub(super) fn configure(&mut self, config: &mut InterfaceConfig) {
        configure(&mut self.engine, config);
    }

    /// Lets smoltcp take a frame for `sockets`. What it answers is in the port.
    pub(super) fn ingest(&mut self, now: Instant, frame: BytesMut, sockets: &mut SocketSet<'static>) {
        self.port.receive(frame);
        let _ = self.engine.poll_ingress_single(engine_time(now), &mut self.port, sockets);
    }

    /// Lets smoltcp take a frame that is not for any connection, and answer it.
    pub(super) fn ingest_other(&mut self, now: Instant, frame: BytesMut) {
        self.port.receive(frame);
        let _ = self.engine.poll_ingress_single(engine_time(now), &mut self.port, &mut self.no_sockets);
    }

    /// Notes whether smoltcp has just asked for a neighbour. To be called before its frames are taken from
    /// the port.
    pub(super) fn note_resolution(&mut self, now: Instant) {
        if self.port.sent.iter().any(|frame| segment::asks_for_neighbour(&frame[HEADROOM..])) {
            self.resolving_until = now + RESOLUTION_TIME;
        }
    }

    /// Whether connections may be waiting for a neighbour.
    pub(super) fn is_resolving(&self, now: Instant) -> bool {
        now < self.resolving_until
    }

    /// Lets smoltcp send at most one segment of `sockets`; false if there was none.
    pub(super) fn egress(&mut self, now: Instant, sockets: &mut SocketSet<'static>) -> bool {
        let result = self.engine.poll_egress(engine_time(now), &mut self.port, sockets);
        result == PollResult::SocketStateChanged
    }

    /// Lets smoltcp send what is not of a connection, such as multicast reports.
    pub(super) fn egress_other(&mut self, now: Instant) {
        let _ = self.engine.poll_egress(engine_time(now), &mut self.port, &mut self.no_sockets);
    }

    /// When smoltcp wants to be polled for `sockets`.
    pub(super) fn deadline(&mut self, now: Instant, sockets: &SocketSet<'static>) -> Option<Instant> {
        let at = self.engine.poll_at(engine_time(now), sockets)?;
        Some(Instant::from_micros(u64::try_from(at.total_micros()).unwrap_or(0)))
    }
}

/// Gives smoltcp the addresses and routes of `config`, and cuts those off that it has no room for.
fn configure(engine: &mut Engine, config: &mut InterfaceConfig) {
    engine.update_ip_addrs(|addrs| {
        addrs.clear();
        let fit = config.addrs.iter().take_while(|own| addrs.push(IpCidr::new(own.addr.into(), own.prefix)).is_ok());
        let fit = fit.count();
        if fit < config.addrs.len() {
            tracing::warn!(kept = fit, given = config.addrs.len(), "too many addresses on one interface");
            config.addrs.truncate(fit);
        }
    });
    engine.routes_mut().update(|routes| {
        routes.clear();
        let fit = config.routes.iter().take_while(|route| {
            let cidr = IpCidr::new(route.network.addr.into(), route.network.prefix);
            let via_router = route.gateway.into();
            routes.push(Route { cidr, via_router, preferred_until: None, expires_at: None }).is_ok()
        });
        let fit = fit.count();
        if fit < config.routes.len() {
            tracing::warn!(kept = fit, given = config.routes.len(), "too many routes on one interface");
            config.routes.truncate(fit);
        }
    });
}

fn engine_time(now: Instant) -> smoltcp::time::Instant {
    smoltcp::time::Instant::from_micros(i64::try_from(now.as_micros()).unwrap_or(i64::MAX))
}
