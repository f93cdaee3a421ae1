//! Bonded links: one address, several links.
//!
//! The frames of a connection over a bond all have the addresses of its first link, and leave on the links in turn, or on
//! that which the hash of addresses and ports chooses, at both ends.

use std::collections::BTreeSet;

use tcp_adapter::Frame;

use super::addresses::{self, LinkEnd};
use crate::scenario::{Scenario, Transport};

const ETHERNET: usize = 14;
const TCP: u8 = 6;

/// The links of some traffic.
#[derive(Debug)]
pub(crate) struct Bond {
    pub(crate) traffic: usize,
    /// Ports of the listening ends.
    pub(crate) ports: BTreeSet<u16>,
    /// For both ends: the host and the ends of the links at it.
    members: [(usize, Vec<LinkEnd>); 2],
    /// For both ends: which link is next; nothing if the hash chooses.
    turns: Option<[usize; 2]>,
}

/// The bonds of a scenario, without their ports.
pub(super) fn bonds(scenario: &Scenario) -> Vec<Bond> {
    let mut bonds = Vec::new();
    for (index, traffic) in scenario.traffic.iter().enumerate() {
        let turns = match traffic.transport {
            Transport::BondRoundRobin => Some([0; 2]),
            Transport::BondHash => None,
            _ => continue,
        };
        let members = [&traffic.from, &traffic.to].map(|name| {
            let host = scenario.hosts.iter().position(|host| host.name == *name).unwrap_or(0);
            let paths = scenario.paths_of(traffic).into_iter();
            let ends = paths.filter_map(|path| addresses::ends(scenario, traffic, path)).flatten();
            (host, ends.filter(|end| end.node(scenario) == name).collect())
        });
        bonds.push(Bond { traffic: index, ports: BTreeSet::new(), members, turns });
    }
    bonds
}

impl Bond {
    /// Whether a frame at a host is of this bond.
    pub(super) fn has(&self, host: usize, frame: &Frame) -> bool {
        let Some(side) = self.side(host) else { return false };
        // Source at the connecting end, destination at the listening one.
        flow(frame).is_some_and(|flow| self.ports.contains(&flow.ports[side]))
    }

    /// The link on which a host sends a frame, if it is of this bond.
    pub(super) fn choose(&mut self, host: usize, frame: &Frame) -> Option<LinkEnd> {
        let (flow, side) = (flow(frame)?, self.side(host)?);
        if !self.ports.contains(&flow.ports[1 - side]) {
            return None;
        }
        let links = &self.members[side].1;
        let index = match &mut self.turns {
            Some(turns) => {
                let turn = turns[side];
                turns[side] = (turn + 1) % links.len().max(1);
                turn
            }
            // The remainder is below the number of links.
            None => (flow.hash() % links.len().max(1) as u64) as usize,
        };
        links.get(index).copied()
    }

    /// 0 for the connecting host, 1 for the listening one.
    fn side(&self, host: usize) -> Option<usize> {
        self.members.iter().position(|(member, _)| *member == host)
    }
}

/// Addresses and ports of a TCP segment.
struct Flow {
    addresses: [u64; 2],
    ports: [u16; 2],
}

impl Flow {
    /// The same for both directions, as Linux's `layer3+4` has it.
    fn hash(&self) -> u64 {
        let mixed = self.addresses[0] ^ self.addresses[1] ^ u64::from(self.ports[0] ^ self.ports[1]);
        mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32
    }
}

fn flow(frame: &Frame) -> Option<Flow> {
    let head = &frame.head;
    let word = |at: usize| Some(u16::from_be_bytes([*head.get(at)?, *head.get(at + 1)?]));
    let (protocol, addresses, ports) = match head.get(12..ETHERNET)? {
        [0x08, 0x00] => (head.get(23)?, (26, 4), ETHERNET + usize::from(head.get(ETHERNET)? & 0x0f) * 4),
        [0x86, 0xdd] => (head.get(20)?, (22, 16), ETHERNET + 40),
        _ => return None,
    };
    if *protocol != TCP {
        return None;
    }
    let (start, len) = addresses;
    let sum = |at: usize| {
        let bytes = head.get(at..at + len)?;
        Some(bytes.iter().fold(0_u64, |sum, byte| sum.rotate_left(8) ^ u64::from(*byte)))
    };
    Some(Flow { addresses: [sum(start)?, sum(start + len)?], ports: [word(ports)?, word(ports + 2)?] })
}
