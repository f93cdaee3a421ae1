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
    /// Whether other addresses were given since smoltcp was last polled without sockets: it joins multicast groups for them, and leaves others.
    readdressed: bool,
    /// Whether anybody may have asked for its multicast groups: it reports them later, at times of its own.
    asked_for_groups: bool,
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
        Self {
            engine,
            port,
            no_sockets: SocketSet::new(Vec::new()),
            readdressed: true,
            asked_for_groups: false,
            resolving_until: now,
            offload: Offload::default(),
        }
    }

    /// Takes other addresses and routes.
    pub(super) fn configure(&mut self, config: &mut InterfaceConfig) {
        configure(&mut self.engine, config);
        self.readdressed = true;
    }

    /// Lets smoltcp take a frame for `sockets`. What it answers is in the port.
    pub(super) fn ingest(&mut self, now: Instant, frame: BytesMut, sockets: &mut SocketSet<'static>) {
        self.port.receive(frame, |port| {
            let _ = self.engine.poll_ingress_single(engine_time(now), port, sockets);
        });
    }

    /// Lets smoltcp take a frame that is not for any connection, and answer it.
    pub(super) fn ingest_other(&mut self, now: Instant, frame: BytesMut) {
        self.asked_for_groups |= segment::may_ask_for_groups(&frame);
        self.port.receive(frame, |port| {
            let _ = self.engine.poll_ingress_single(engine_time(now), port, &mut self.no_sockets);
        });
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

    /// Lets smoltcp send what is not of a connection, all of which is about multicast groups; false if there cannot be any.
    pub(super) fn egress_other(&mut self, now: Instant) -> bool {
        let due = self.asked_for_groups || std::mem::take(&mut self.readdressed);
        if due {
            let _ = self.engine.poll_egress(engine_time(now), &mut self.port, &mut self.no_sockets);
        }
        due
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MacAddr;

    /// A router's question who listens to 224.0.0.1 (RFC 2236), to be answered within 4 s.
    const QUERY: [u8; 42] = [
        0x01, 0x00, 0x5e, 0, 0, 1, 2, 0, 0, 0, 0, 1, 0x08, 0x00, // Ethernet
        0x45, 0, 0, 28, 0, 0, 0, 0, 1, 2, 0, 0, 10, 0, 0, 1, 224, 0, 0, 1, // IPv4
        0x11, 40, 0x0e, 0xd6, 224, 0, 0, 1, // IGMP
    ];

    fn interface(address: &str) -> (Interface, InterfaceConfig) {
        let mac = MacAddr([2, 0, 0, 0, 0, 2]);
        let mut config = InterfaceConfig { mac, mtu: 1500, addrs: vec![address.parse().unwrap()], routes: Vec::new() };
        (Interface::new(&mut config, 0, 1, Instant::ZERO), config)
    }

    fn reports(interface: &mut Interface, now: Instant) -> usize {
        interface.egress_other(now);
        interface.port.sent.drain(..).count()
    }

    #[test]
    fn groups_are_reported_with_addresses() {
        let (mut interface, mut config) = interface("fe80::2/64");
        assert_eq!(reports(&mut interface, Instant::ZERO), 1);
        assert!(!interface.egress_other(Instant::from_millis(1)), "nobody has asked");
        config.addrs = vec!["fe80::3/64".parse().unwrap()];
        interface.configure(&mut config);
        assert_eq!(reports(&mut interface, Instant::from_millis(2)), 2, "one is left and one is joined");
        assert_eq!(reports(&mut interface, Instant::from_millis(3)), 0);
    }

    #[test]
    fn groups_are_reported_some_time_after_a_question() {
        let (mut interface, _) = interface("10.0.0.2/24");
        assert_eq!(reports(&mut interface, Instant::ZERO), 0);
        interface.ingest_other(Instant::ZERO, BytesMut::from(&QUERY[..]));
        assert_eq!(reports(&mut interface, Instant::ZERO), 0);
        assert_eq!(reports(&mut interface, Instant::from_millis(4_000)), 1);
    }
}
