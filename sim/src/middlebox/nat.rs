//! Translates addresses and ports.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tcp_adapter::Instant;

use super::connections::{Connection, Connections};
use super::quoted::Quoting;
use super::segment::Segment;
use super::stats::{DropReason, Passage};
use super::{Behave, Direction};
use crate::packet::Packet;
use crate::random::Stream;
use crate::scenario::{DirectionChoice, Link};

/// The first port that it uses; those below are for services.
const FIRST_PORT: u16 = 1024;
const PORTS: u64 = 65_536 - FIRST_PORT as u64;

/// Masquerades what comes from its inside: as the address of the link's end there, each connection with a port of its
/// own. What comes from outside passes only as an answer.
#[derive(Debug)]
pub(super) struct Nat {
    /// The way out.
    outward: Direction,
    address: IpAddr,
    rebind: Option<Duration>,
    ports: Stream,
    mappings: Connections<Mapping>,
    /// The inside of each port that is used for an outside.
    insides: BTreeMap<(u16, SocketAddr), SocketAddr>,
}

#[derive(Clone, Copy, Debug)]
struct Mapping {
    port: u16,
    /// How many times the translator had rebound when it was made.
    epoch: u128,
}

impl Nat {
    pub(super) fn new(direction: DirectionChoice, link: &Link, rebind: Option<Duration>, ports: Stream) -> Self {
        let [from, to] = link.addresses;
        let (outward, inside) = match direction {
            DirectionChoice::Up | DirectionChoice::Both => (Direction::Up, from),
            DirectionChoice::Down => (Direction::Down, to),
        };
        Self {
            outward,
            address: inside.addr,
            rebind,
            ports,
            mappings: Connections::default(),
            insides: BTreeMap::new(),
        }
    }

    fn epoch(&self, now: Instant) -> u128 {
        self.rebind.map_or(0, |rebind| u128::from(now.as_nanos()) / rebind.as_nanos().max(1))
    }

    /// The port of what goes out from `inside` to `outside`, a new one if there is none or the translator has rebound.
    fn port(&mut self, now: Instant, inside: SocketAddr, outside: SocketAddr) -> Option<u16> {
        let connection = Connection { from: inside, to: outside };
        let epoch = self.epoch(now);
        if let Some(mapping) = self.mappings.get_mut(&connection) {
            if mapping.epoch == epoch {
                return Some(mapping.port);
            }
            self.insides.remove(&(mapping.port, outside));
        }
        let start = self.ports.below(PORTS);
        let mut ports = (0..PORTS).map(|n| FIRST_PORT + ((start + n) % PORTS) as u16);
        let port = ports.find(|port| !self.insides.contains_key(&(*port, outside)))?;
        if let Some((forgotten, mapping)) = self.mappings.insert(connection, Mapping { port, epoch }) {
            self.insides.remove(&(mapping.port, forgotten.to));
        }
        self.insides.insert((port, outside), inside);
        Some(port)
    }

    /// Translates what an error is about as it has translated the segment (RFC 5508 section 4.2); false if that was of no connection that it knows.
    fn translate(&mut self, now: Instant, error: &mut Quoting<'_>, direction: Direction) -> bool {
        let (source, destination) = error.segment();
        if direction == self.outward {
            let epoch = self.epoch(now);
            let mapping = self.mappings.get_mut(&Connection { from: destination, to: source });
            if let Some(mapping) = mapping.filter(|mapping| mapping.epoch == epoch) {
                error.set_receiver(SocketAddr::new(self.address, mapping.port));
            }
        } else if error.destination() == self.address && source.ip() == self.address {
            let Some(inside) = self.inside(now, source.port(), destination) else { return false };
            error.set_sender(inside);
        }
        true
    }

    /// Where an answer from `outside` to a port belongs.
    fn inside(&mut self, now: Instant, port: u16, outside: SocketAddr) -> Option<SocketAddr> {
        let inside = *self.insides.get(&(port, outside))?;
        let epoch = self.epoch(now);
        let mapping = self.mappings.get_mut(&Connection { from: inside, to: outside })?;
        (mapping.epoch == epoch).then_some(inside)
    }
}

impl Behave for Nat {
    fn handle(&mut self, now: Instant, mut packet: Packet, direction: Direction, passage: &mut Passage<'_>) {
        let Some(mut segment) = Segment::open(&mut packet.frame) else {
            if let Some(mut error) = Quoting::open(&mut packet.frame)
                && !self.translate(now, &mut error, direction)
            {
                return passage.drop(packet, DropReason::Unsolicited);
            }
            return passage.forward(packet, direction);
        };
        let (source, destination) = (segment.source(), segment.destination());
        if source.is_ipv4() != self.address.is_ipv4() {
            return passage.forward(packet, direction);
        }
        if direction == self.outward {
            match self.port(now, source, destination) {
                Some(port) => segment.set_source(SocketAddr::new(self.address, port)),
                None => return passage.drop(packet, DropReason::NoPort),
            }
        } else if destination.ip() == self.address {
            match self.inside(now, destination.port(), source) {
                Some(inside) => segment.set_destination(inside),
                None => return passage.drop(packet, DropReason::Unsolicited),
            }
        }
        passage.forward(packet, direction);
    }

    fn sees_both(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::middlebox::quoted::testing::{read, too_long};
    use crate::middlebox::testing::{Bench, Builder, Family, ends, tcp};

    fn answer(family: Family, to: SocketAddr) -> Builder {
        // Builders name the ports of the way up.
        tcp(family).ports(to.port(), 80).from(to.ip())
    }

    #[test]
    fn a_connection_has_one_port_both_ways() {
        for family in Family::BOTH {
            let mut bench = Bench::of(family, "kind = \"nat\"");
            let (outside_source, server) = ends(&bench.pass(tcp(family).ports(5000, 80).up()));
            assert_eq!(outside_source.ip(), family.addresses()[0]);
            assert_ne!(outside_source.port(), 5000);
            let again = ends(&bench.pass(tcp(family).ports(5000, 80).payload(b"x").up()));
            assert_eq!(again, (outside_source, server));
            let (source, destination) = ends(&bench.pass_down(answer(family, outside_source).down()));
            assert_eq!((source, destination.ip(), destination.port()), (server, family.addresses()[0], 5000));
            let (other, _) = ends(&bench.pass(tcp(family).ports(5001, 80).up()));
            assert_ne!(other, outside_source);
        }
    }

    #[test]
    fn addresses_behind_the_link_are_hidden() {
        let mut bench = Bench::new("kind = \"nat\"");
        let private = IpAddr::from([192, 168, 7, 7]);
        let (source, _) = ends(&bench.pass(tcp(Family::V4).from(private).ports(1, 80).up()));
        assert_eq!(source.ip(), Family::V4.addresses()[0]);
        let (_, destination) = ends(&bench.pass_down(answer(Family::V4, source).down()));
        assert_eq!(destination, SocketAddr::new(private, 1));
    }

    #[test]
    fn nothing_comes_in_unasked() {
        let mut bench = Bench::new("kind = \"nat\"");
        let out = bench.handle(tcp(Family::V4).ports(5000, 80).down(), Direction::Down);
        assert_eq!(out.dropped[0].reason, DropReason::Unsolicited);
        bench.pass(tcp(Family::V4).ports(5000, 80).up());
        let out = bench.handle(tcp(Family::V4).ports(5000, 80).down(), Direction::Down);
        assert_eq!(out.dropped[0].reason, DropReason::Unsolicited, "the port inside is not that outside");
    }

    #[test]
    fn errors_are_translated_with_what_they_quote() {
        for family in Family::BOTH {
            let mut bench = Bench::of(family, "kind = \"nat\"");
            let [_, router] = family.addresses();
            let sent = tcp(family).ports(5000, 80).seq(7).up();
            let (inside, server) = ends(&sent);
            let passed = bench.pass(sent);
            let (outside, _) = ends(&passed);
            assert_ne!(outside.port(), inside.port());
            let told = bench.handle(too_long(&passed, router), Direction::Down).down.remove(0);
            assert_eq!(read(&told), ([router, inside.ip()], (inside, server)));

            // What comes from outside, and is too long for something inside.
            let answered = bench.pass_down(answer(family, outside).down());
            let told = bench.handle(too_long(&answered, inside.ip()), Direction::Up).up.remove(0);
            assert_eq!(read(&told), ([outside.ip(), server.ip()], (server, outside)));

            let unknown = too_long(&tcp(family).ports(1, 80).up(), router);
            assert_eq!(bench.handle(unknown, Direction::Down).dropped[0].reason, DropReason::Unsolicited);
        }
    }

    #[test]
    fn after_rebinding_the_old_port_is_dead() {
        let mut bench = Bench::new("kind = \"nat\"\nrebind = \"10s\"");
        bench.now = Instant::from_millis(9999);
        let (before, _) = ends(&bench.pass(tcp(Family::V4).ports(5000, 80).up()));
        bench.pass_down(answer(Family::V4, before).down());
        bench.now = Instant::from_millis(10_000);
        let out = bench.handle(answer(Family::V4, before).down(), Direction::Down);
        assert_eq!(out.dropped[0].reason, DropReason::Unsolicited);
        let (after, _) = ends(&bench.pass(tcp(Family::V4).ports(5000, 80).up()));
        assert_ne!(after, before);
        bench.pass_down(answer(Family::V4, after).down());
        let out = bench.handle(answer(Family::V4, before).down(), Direction::Down);
        assert_eq!(out.dropped[0].reason, DropReason::Unsolicited);
    }

    #[test]
    fn the_other_side_can_be_the_inside() {
        let mut bench = Bench::new("kind = \"nat\"\ndirection = \"down\"");
        let (source, _) = ends(&bench.pass_down(tcp(Family::V4).ports(5000, 80).down()));
        assert_eq!(source.ip(), Family::V4.addresses()[1]);
        assert_ne!(source.port(), 80);
        let (_, destination) = ends(&bench.pass(tcp(Family::V4).ports(5000, source.port()).up()));
        assert_eq!(destination.port(), 80);
    }
}
