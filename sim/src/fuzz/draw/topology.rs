//! Who is connected with whom.

use std::fmt::Write;

use super::{Drawn, conditions};
use crate::fuzz::dice::Dice;

/// Hosts, routers and links without their conditions.
#[derive(Debug)]
pub(super) struct Topology {
    pub(super) hosts: Vec<&'static str>,
    routers: Vec<&'static str>,
    pub(super) links: Vec<Wire>,
}

/// A link.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) name: String,
    pub(super) from: &'static str,
    pub(super) to: &'static str,
    /// Largest IP packet that hosts may send on it. Where routers join links, all have the same.
    pub(super) mtu: u64,
    ipv6: bool,
    /// Every packet passes at most one link that may damage it: damage done twice could deceive a checksum.
    pub(super) damages: bool,
}

/// Largest IP packets.
const MTUS: [u64; 8] = [1500, 1500, 1500, 1500, 1280, 576, 4000, 9000];

/// What links of IPv6 carry at least (RFC 8200 section 5).
const LEAST_IPV6_MTU: u64 = 1280;

/// The largest IP packet of links, and whether they have addresses of IPv6.
fn size_and_family(dice: &mut Dice) -> (u64, bool) {
    let (mtu, ipv6) = (dice.pick(&MTUS), dice.percent(25));
    (if ipv6 { mtu.max(LEAST_IPV6_MTU) } else { mtu }, ipv6)
}

impl Wire {
    /// The smallest MTU that it may ever have.
    pub(super) fn least_mtu(&self) -> u64 {
        if self.ipv6 { LEAST_IPV6_MTU } else { 576 }
    }
}

impl Topology {
    pub(super) fn draw(dice: &mut Dice) -> Self {
        let mut topology = Self { hosts: vec!["client", "server"], routers: Vec::new(), links: Vec::new() };
        let routed = dice.percent(40);
        if routed {
            topology.add_routed(dice);
        }
        let direct = if routed { u64::from(dice.percent(25)) } else { dice.between(1, 4) };
        for _ in 0..direct {
            let (mtu, ipv6) = size_and_family(dice);
            let (from, to) = if dice.percent(20) { ("server", "client") } else { ("client", "server") };
            topology.add(from, to, mtu, ipv6, true);
        }
        topology
    }

    /// Paths that share a link, or several.
    fn add_routed(&mut self, dice: &mut Dice) {
        let (mtu, ipv6) = size_and_family(dice);
        let paths = dice.between(1, 3);
        self.routers.push("west");
        for _ in 0..paths {
            self.add("client", "west", mtu, ipv6, true);
        }
        if dice.percent(50) {
            self.add("west", "server", mtu, ipv6, false);
        } else {
            self.routers.push("east");
            self.add("west", "east", mtu, ipv6, false);
            for _ in 0..dice.between(1, 2) {
                self.add("east", "server", mtu, ipv6, false);
            }
        }
        if dice.percent(40) {
            self.hosts.push("other");
            self.add("other", "west", mtu, ipv6, true);
        }
    }

    fn add(&mut self, from: &'static str, to: &'static str, mtu: u64, ipv6: bool, damages: bool) {
        let name = format!("p{}", self.links.len() + 1);
        self.links.push(Wire { name, from, to, mtu, ipv6, damages });
    }

    /// The host and the link of every interface.
    pub(super) fn ends(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let ends = self.links.iter().flat_map(|link| [(link.from, &link.name), (link.to, &link.name)]);
        ends.filter(|(node, _)| self.hosts.contains(node)).map(|(host, link)| (host, link.as_str()))
    }

    /// Whether packets of hosts go straight from one to the other.
    pub(super) fn is_direct(&self) -> bool {
        self.routers.is_empty()
    }

    /// `drawn` is for conditions; `narrow` are the dice of links that take less than a host can know.
    pub(super) fn write(&self, drawn: &mut Drawn<'_>, narrow: &mut Dice, text: &mut String) {
        // One of the stacks does not look for the MTU of a path.
        let is_narrow = !text.contains("stack = \"smoltcp\"") && narrow.percent(25);
        for router in &self.routers {
            let _ = writeln!(text, "[routers.{router}]\nforwarding = \"{}ns\"", drawn.dice.between(0, 20_000));
            let _ = writeln!(text, "too_big = \"{}\"\n", if narrow.percent(75) { "report" } else { "silent" });
        }
        for (number, link) in (1..).zip(&self.links) {
            let Wire { name, from, to, ipv6, .. } = link;
            let is_between = self.routers.contains(from);
            let mtu = if is_narrow && is_between { narrow.between(link.least_mtu(), link.mtu) } else { link.mtu };
            let _ = writeln!(text, "[links.{name}]\nfrom = \"{from}\"\nto = \"{to}\"\nmtu = {mtu}");
            if *ipv6 {
                let _ = writeln!(text, "addresses = [\"fd00:{number}::1/64\", \"fd00:{number}::2/64\"]");
            }
            conditions::write(link, drawn, text);
            text.push('\n');
        }
    }
}
