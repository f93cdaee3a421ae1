use std::net::Ipv4Addr;

use super::super::wire::{Parsed, parse};
use super::*;
use crate::Route;

const OWN: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);
const PEER: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const OTHER: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
const BROADCAST: [u8; 6] = [0xff; 6];

fn interface() -> InterfaceConfig {
    InterfaceConfig {
        mac: OWN,
        mtu: 1500,
        addrs: ["10.0.2.2/24", "192.168.0.2/16", "fd00::a:b:c/64"].map(|addr| addr.parse().unwrap()).to_vec(),
        routes: vec![
            Route::default_via(ip("10.0.2.254")),
            route("10.1.0.0/16", "10.0.2.253"),
            route("10.0.2.128/25", "10.0.2.252"),
        ],
    }
}

fn route(network: &str, gateway: &str) -> Route {
    Route { network: network.parse().unwrap(), gateway: ip(gateway) }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn v4(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

fn arp(operation: ArpOperation, sender_mac: MacAddr, sender: &str, target: &str) -> ArpMessage {
    ArpMessage { operation, sender_mac, sender: v4(sender), target: v4(target) }
}

/// A table with what it has sent.
struct Table {
    neighbours: Neighbours,
    config: InterfaceConfig,
    sent: Vec<Frame>,
}

impl Table {
    fn new() -> Self {
        Self { neighbours: Neighbours::default(), config: interface(), sent: Vec::new() }
    }

    fn lookup(&mut self, millis: u64, addr: &str) -> Lookup {
        self.neighbours.lookup(at(millis), &self.config, ip(addr), &mut |frame| self.sent.push(frame))
    }

    /// Runs to `millis` and says when something was sent and to whom.
    fn run_to(&mut self, millis: u64) -> Vec<(u64, MacAddr)> {
        let mut log = Vec::new();
        while let Some(due) = self.neighbours.poll_timeout().filter(|due| *due <= at(millis)) {
            self.neighbours.on_timeout(due, &self.config, &mut |frame| {
                log.push((due.as_micros() / 1_000, MacAddr(*frame.head.first_chunk().unwrap())));
            });
        }
        log
    }

    fn arp(&mut self, millis: u64, message: &ArpMessage) -> Option<Frame> {
        self.neighbours.on_arp(at(millis), &self.config, message)
    }

    fn ndp(&mut self, millis: u64, message: &NeighbourMessage) -> Option<Frame> {
        self.neighbours.on_neighbour(at(millis), &self.config, message)
    }

    /// A neighbour that has answered at time 0.
    fn resolved() -> Self {
        let mut table = Self::new();
        table.lookup(0, "10.0.2.1");
        table.arp(0, &arp(ArpOperation::Reply, PEER, "10.0.2.1", "10.0.2.2"));
        assert_eq!(table.lookup(0, "10.0.2.1"), Lookup::Known(PEER));
        table
    }
}

#[test]
fn a_neighbour_that_answers_is_known() {
    let mut table = Table::new();
    assert_eq!(table.lookup(0, "10.0.2.1"), Lookup::Asked);
    assert_eq!(table.lookup(1, "10.0.2.1"), Lookup::Asked);
    assert_eq!(table.sent.len(), 1);
    let Parsed::Arp(request) = parse(&table.sent[0]) else { panic!() };
    assert_eq!(request, arp(ArpOperation::Request, OWN, "10.0.2.2", "10.0.2.1"));
    assert_eq!(table.sent[0].head[..6], BROADCAST);
    assert_eq!(table.arp(5, &arp(ArpOperation::Reply, PEER, "10.0.2.1", "10.0.2.2")), None);
    assert_eq!(table.lookup(6, "10.0.2.1"), Lookup::Known(PEER));
    assert_eq!(table.run_to(60_000), []);
    table.lookup(60_000, "192.168.7.7");
    let Parsed::Arp(request) = parse(&table.sent[1]) else { panic!() };
    assert_eq!(request.sender, v4("192.168.0.2"), "the address of that network");
}

#[test]
fn a_neighbour_that_is_silent_is_asked_three_times() {
    let mut table = Table::new();
    table.lookup(0, "10.0.2.1");
    assert_eq!(table.run_to(2_999), [(1_000, MacAddr(BROADCAST)), (2_000, MacAddr(BROADCAST))]);
    assert_eq!(table.lookup(2_999, "10.0.2.1"), Lookup::Asked);
    assert_eq!(table.run_to(3_000), []);
    assert_eq!(table.neighbours.poll_timeout(), None);
    assert_eq!(table.lookup(3_999, "10.0.2.1"), Lookup::Unreachable);
    assert_eq!(table.lookup(4_000, "10.0.2.1"), Lookup::Asked);
    assert_eq!(table.sent.len(), 2);
}

#[test]
fn without_an_address_of_the_family_nobody_is_asked() {
    let mut table = Table::new();
    table.config.addrs.truncate(2);
    assert_eq!(table.lookup(0, "fd00::1"), Lookup::Unreachable);
    assert_eq!(table.neighbours.poll_timeout(), None);
}

#[test]
fn an_old_address_is_confirmed_by_asking_its_owner() {
    let mut table = Table::resolved();
    assert_eq!(table.lookup(29_999, "10.0.2.1"), Lookup::Known(PEER));
    assert_eq!(table.neighbours.poll_timeout(), None);
    assert_eq!(table.lookup(30_000, "10.0.2.1"), Lookup::Known(PEER));
    assert_eq!(table.run_to(36_500), [(35_000, PEER), (36_000, PEER)]);
    assert_eq!(table.lookup(36_500, "10.0.2.1"), Lookup::Known(PEER));
    table.arp(36_500, &arp(ArpOperation::Reply, PEER, "10.0.2.1", "10.0.2.2"));
    assert_eq!(table.run_to(100_000), []);
    assert_eq!(table.lookup(66_499, "10.0.2.1"), Lookup::Known(PEER));
}

#[test]
fn an_owner_that_is_gone_is_forgotten() {
    let mut table = Table::resolved();
    table.lookup(30_000, "10.0.2.1");
    assert_eq!(table.run_to(40_000), [(35_000, PEER), (36_000, PEER), (37_000, PEER)]);
    assert_eq!(table.lookup(40_000, "10.0.2.1"), Lookup::Asked);
    assert_eq!(table.sent.last().unwrap().head[..6], BROADCAST);
}

#[test]
fn who_asks_for_us_is_answered_and_remembered() {
    let mut table = Table::new();
    let reply = table.arp(0, &arp(ArpOperation::Request, PEER, "10.0.2.1", "10.0.2.2")).unwrap();
    let Parsed::Arp(answer) = parse(&reply) else { panic!() };
    assert_eq!(answer, arp(ArpOperation::Reply, OWN, "10.0.2.2", "10.0.2.1"));
    assert_eq!(reply.head[..6], PEER.0);
    assert_eq!(table.lookup(1, "10.0.2.1"), Lookup::Known(PEER));
    assert_eq!(table.run_to(5_001), [(5_001, PEER)], "it was not us who asked");
}

#[test]
fn strangers_are_answered_but_not_remembered() {
    let mut table = Table::new();
    for sender in ["172.16.0.1", "0.0.0.0"] {
        assert!(table.arp(0, &arp(ArpOperation::Request, PEER, sender, "10.0.2.2")).is_some(), "{sender}");
    }
    for (operation, mac, sender, target) in [
        (ArpOperation::Request, PEER, "10.0.2.1", "10.0.2.3"),
        (ArpOperation::Reply, PEER, "10.0.2.1", "10.0.2.2"),
        (ArpOperation::Request, PEER, "10.0.2.2", "10.0.2.2"),
        (ArpOperation::Request, MacAddr(BROADCAST), "10.0.2.1", "10.0.2.2"),
        (ArpOperation::Request, MacAddr([0; 6]), "10.0.2.1", "10.0.2.2"),
    ] {
        assert_eq!(table.arp(0, &arp(operation, mac, sender, target)), None, "{sender} {target}");
    }
    assert!(table.neighbours.entries.is_empty());
}

#[test]
fn a_neighbour_that_moves_is_followed() {
    let mut table = Table::resolved();
    table.arp(1, &arp(ArpOperation::Request, OTHER, "10.0.2.1", "10.0.2.1"));
    assert_eq!(table.lookup(2, "10.0.2.1"), Lookup::Known(OTHER));
    assert_eq!(table.run_to(5_002), [(5_002, OTHER)], "but it has to prove it");
}

#[test]
fn entries_are_bounded_and_real_neighbours_stay() {
    let mut table = Table::resolved();
    for host in 0..5_000_u32 {
        let addr = IpAddr::V4(Ipv4Addr::from(0xc0a8_1000 + host));
        table.neighbours.lookup(at(u64::from(host)), &table.config, addr, &mut |_| {});
        assert!(table.neighbours.entries.len() <= MAX_ENTRIES);
    }
    assert_eq!(table.lookup(5_000, "10.0.2.1"), Lookup::Known(PEER));
    assert!(table.neighbours.entries.is_sorted_by_key(|entry| entry.addr));
    for host in 0..300_u32 {
        let sender = Ipv4Addr::from(0xc0a8_1000 + host);
        let message =
            ArpMessage { operation: ArpOperation::Request, sender_mac: OTHER, sender, target: v4("10.0.2.2") };
        table.arp(6_000 + u64::from(host), &message);
    }
    assert_eq!(table.neighbours.entries.len(), MAX_ENTRIES);
    assert_eq!(table.lookup(7_000, "10.0.2.1"), Lookup::Asked, "the one that was used the longest ago");
}

fn advertisement(link: Option<MacAddr>, solicited: bool, overrides: bool) -> NeighbourMessage {
    let kind = NeighbourKind::Advertisement { solicited, overrides };
    let target = "fd00::1".parse().unwrap();
    NeighbourMessage { kind, link_source: PEER, source: target, target, link }
}

#[test]
fn ipv6_neighbours_are_found_through_their_group() {
    let mut table = Table::new();
    assert_eq!(table.lookup(0, "fd00::1"), Lookup::Asked);
    let Parsed::Neighbour(question) = parse(&table.sent[0]) else { panic!() };
    assert_eq!((question.source, question.target), ("fd00::a:b:c".parse().unwrap(), "fd00::1".parse().unwrap()));
    assert_eq!(table.sent[0].head[..6], [0x33, 0x33, 0xff, 0, 0, 1]);
    assert_eq!(table.ndp(1, &advertisement(None, true, true)), None);
    assert_eq!(table.lookup(1, "fd00::1"), Lookup::Asked, "it says nothing");
    table.ndp(2, &advertisement(Some(PEER), true, true));
    assert_eq!(table.lookup(2, "fd00::1"), Lookup::Known(PEER));
    assert_eq!(table.neighbours.poll_timeout(), None);
}

#[test]
fn advertisements_follow_the_table_of_the_rfc() {
    // RFC 4861 appendix C, from REACHABLE: what is advertised, the address afterwards, and whether it is asked about.
    for (link, solicited, overrides, mac, doubted) in [
        (Some(PEER), true, false, PEER, false),
        (Some(OTHER), true, false, PEER, true),
        (Some(OTHER), false, false, PEER, true),
        (Some(OTHER), true, true, OTHER, false),
        (Some(OTHER), false, true, OTHER, true),
        (None, true, true, PEER, false),
        (None, false, true, PEER, false),
    ] {
        let mut table = Table::new();
        table.lookup(0, "fd00::1");
        table.ndp(0, &advertisement(Some(PEER), true, true));
        table.run_to(2_000);
        table.ndp(2_000, &advertisement(link, solicited, overrides));
        let case = format!("{link:?} {solicited} {overrides}");
        assert_eq!(table.lookup(2_001, "fd00::1"), Lookup::Known(mac), "{case}");
        assert_eq!(!table.run_to(7_001).is_empty(), doubted, "{case}");
    }
    let mut table = Table::new();
    table.ndp(0, &advertisement(Some(PEER), false, true));
    assert!(table.neighbours.entries.is_empty(), "nobody wanted to know");
}

#[test]
fn solicitations_are_answered() {
    let mut table = Table::new();
    let asks = NeighbourMessage {
        kind: NeighbourKind::Solicitation,
        link_source: PEER,
        source: "fd00::1".parse().unwrap(),
        target: "fd00::a:b:c".parse().unwrap(),
        link: Some(PEER),
    };
    let reply = table.ndp(0, &asks).unwrap();
    let Parsed::Neighbour(answer) = parse(&reply) else { panic!() };
    assert_eq!((answer.target, answer.link), (asks.target, Some(OWN)));
    assert_eq!(table.lookup(0, "fd00::1"), Lookup::Known(PEER));
    let of_others = NeighbourMessage { target: "fd00::d".parse().unwrap(), ..asks };
    assert_eq!(table.ndp(0, &of_others), None);
    let from_ourselves = NeighbourMessage { source: asks.target, ..asks };
    assert_eq!(table.ndp(0, &from_ourselves), None);
    let link_local = NeighbourMessage { source: "fe80::1".parse().unwrap(), ..asks };
    assert!(table.ndp(0, &link_local).is_some());
    assert_eq!(table.neighbours.entries.len(), 1);
}

#[test]
fn the_longest_prefix_decides_the_next_hop() {
    let config = interface();
    for (remote, hop) in [
        ("10.0.2.1", Some("10.0.2.1")),
        ("10.0.2.129", Some("10.0.2.252")),
        ("10.1.2.3", Some("10.0.2.253")),
        ("8.8.8.8", Some("10.0.2.254")),
        ("fd00::1", Some("fd00::1")),
        ("fd01::1", None),
    ] {
        assert_eq!(next_hop(&config, ip(remote)), hop.map(ip), "{remote}");
    }
}

#[test]
fn groups_networks_and_ourselves_are_no_peers() {
    let config = interface();
    for (addr, expected) in [
        ("10.0.2.1", true),
        ("10.0.2.255", false),
        ("10.0.3.255", true),
        ("192.168.255.255", false),
        ("255.255.255.255", false),
        ("224.0.0.1", false),
        ("0.0.0.0", false),
        ("10.0.2.2", false),
        ("fd00::1", true),
        ("ff02::1", false),
        ("::", false),
        ("127.0.0.1", false),
        ("127.200.0.1", false),
        ("::1", false),
    ] {
        assert_eq!(is_peer_address(&config, ip(addr)), expected, "{addr}");
    }
    let within = InterfaceConfig { addrs: vec!["127.0.0.2/8".parse().unwrap()], ..config };
    assert!(is_peer_address(&within, ip("127.0.0.1")), "a link within the host");
}

#[test]
fn frames_to_our_groups_are_accepted() {
    let config = interface();
    for (mac, expected) in [
        (OWN, true),
        (PEER, false),
        (MacAddr(BROADCAST), true),
        (MacAddr([0x33, 0x33, 0, 0, 0, 1]), true),
        (MacAddr([0x33, 0x33, 0xff, 0x0b, 0, 0x0c]), true),
        (MacAddr([0x33, 0x33, 0xff, 0x0b, 0, 0x0d]), false),
        (MacAddr([1, 0, 0x5e, 0, 0, 1]), false),
    ] {
        assert_eq!(accepts(&config, mac), expected, "{mac}");
    }
}
