//! Link-layer addresses of next hops: ARP (RFC 826, RFC 1122 section 2.3.2) and neighbour unreachability detection (RFC
//! 4861 section 7.3), which is used for both families.

#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use super::wire::{ArpMessage, ArpOperation, NeighbourKind, NeighbourMessage, group_mac, is_station, solicited_node};
use crate::{Frame, Instant, InterfaceConfig, MacAddr};

/// Entries at most: anyone on the link can make us ask for addresses.
const MAX_ENTRIES: usize = 256;
/// How long an address is trusted after the neighbour was heard (RFC 4861 section 10, `REACHABLE_TIME`).
const REACHABLE_TIME: Duration = Duration::from_secs(30);
/// How long the layer above may take to confirm an address in use (RFC 4861 section 10, `DELAY_FIRST_PROBE_TIME`).
const DELAY_FIRST_PROBE: Duration = Duration::from_secs(5);
/// Between two requests (RFC 4861 section 10, `RETRANS_TIMER`; RFC 1122 section 2.3.2.1 allows no more than one a second).
const RETRANS_TIMER: Duration = Duration::from_secs(1);
/// Requests without an answer (RFC 4861 section 10, `MAX_MULTICAST_SOLICIT` and `MAX_UNICAST_SOLICIT`).
const MAX_REQUESTS: u8 = 3;
/// How long a neighbour that did not answer is not asked for again.
const FAILED_TIME: Duration = Duration::from_secs(1);

/// What is known of a next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lookup {
    Known(MacAddr),
    /// A question is under way.
    Asked,
    /// It has not answered, or there is no address of our own to ask from.
    Unreachable,
}

/// The neighbours of one interface.
#[derive(Debug, Default)]
pub(super) struct Neighbours {
    /// In the order of the addresses.
    entries: Vec<Entry>,
    /// The earliest deadline of the entries.
    due: Option<Instant>,
}

#[derive(Debug)]
struct Entry {
    addr: IpAddr,
    state: State,
    used: Instant,
}

/// RFC 4861 section 7.3.2.
#[derive(Clone, Copy, Debug)]
enum State {
    /// The address is not known; everyone has been asked so many times.
    Incomplete { asked: u8, again: Instant },
    /// The neighbour was heard lately.
    Reachable { mac: MacAddr, until: Instant },
    /// Not lately, and nothing has been sent to it since.
    Stale { mac: MacAddr },
    /// In use again: the layer above may soon know that it is there.
    Delay { mac: MacAddr, until: Instant },
    /// The neighbour itself has been asked so many times.
    Probe { mac: MacAddr, asked: u8, again: Instant },
    /// It did not answer.
    Failed { until: Instant },
}

impl State {
    fn mac(&self) -> Option<MacAddr> {
        match *self {
            Self::Reachable { mac, .. } | Self::Stale { mac } | Self::Delay { mac, .. } | Self::Probe { mac, .. } => {
                Some(mac)
            }
            Self::Incomplete { .. } | Self::Failed { .. } => None,
        }
    }

    fn reachable(mac: MacAddr, now: Instant) -> Self {
        Self::Reachable { mac, until: now + REACHABLE_TIME }
    }

    /// When something must be done without being asked.
    fn deadline(&self) -> Option<Instant> {
        match *self {
            Self::Incomplete { again: at, .. } | Self::Probe { again: at, .. } | Self::Delay { until: at, .. } => {
                Some(at)
            }
            Self::Reachable { .. } | Self::Stale { .. } | Self::Failed { .. } => None,
        }
    }
}

impl Neighbours {
    /// The link-layer address of the next hop `addr`, to which something is about to be sent. Requests go to `ask`.
    pub(super) fn lookup(
        &mut self,
        now: Instant,
        config: &InterfaceConfig,
        addr: IpAddr,
        ask: &mut dyn FnMut(Frame),
    ) -> Lookup {
        let Ok(index) = self.find(addr) else {
            let Some(request) = request(config, addr, None) else { return Lookup::Unreachable };
            ask(request);
            self.insert(now, addr, State::Incomplete { asked: 1, again: now + RETRANS_TIMER });
            return Lookup::Asked;
        };
        let entry = &mut self.entries[index];
        entry.used = now;
        match entry.state {
            State::Reachable { mac, until } if now < until => Lookup::Known(mac),
            State::Reachable { mac, .. } | State::Stale { mac } => {
                self.set(index, State::Delay { mac, until: now + DELAY_FIRST_PROBE });
                Lookup::Known(mac)
            }
            State::Delay { mac, .. } | State::Probe { mac, .. } => Lookup::Known(mac),
            State::Incomplete { .. } => Lookup::Asked,
            State::Failed { until } if now < until => Lookup::Unreachable,
            State::Failed { .. } => {
                let Some(request) = request(config, addr, None) else { return Lookup::Unreachable };
                ask(request);
                self.set(index, State::Incomplete { asked: 1, again: now + RETRANS_TIMER });
                Lookup::Asked
            }
        }
    }

    /// Learns from an ARP message; the answer, if it asks for one of our addresses.
    ///
    /// Hosts of any network are answered: RFC 826 has no condition on the sender, and multihomed hosts ask with the
    /// address of another network, as Linux does by default (`arp_announce` 0).
    pub(super) fn on_arp(&mut self, now: Instant, config: &InterfaceConfig, message: &ArpMessage) -> Option<Frame> {
        let sender = IpAddr::V4(message.sender);
        if !is_station(message.sender_mac) || is_own(config, sender) {
            return None;
        }
        let for_us = is_own(config, IpAddr::V4(message.target));
        match self.find(sender) {
            Ok(index) => {
                let answered = for_us && message.operation == ArpOperation::Reply;
                self.heard(now, index, message.sender_mac, answered);
            }
            // Who asks for us is about to talk to us. Nobody else is remembered before we need it.
            Err(_) if for_us && message.operation == ArpOperation::Request && is_next_hop(config, sender) => {
                self.insert(now, sender, State::Stale { mac: message.sender_mac });
            }
            Err(_) => {}
        }
        (for_us && message.operation == ArpOperation::Request).then(|| message.reply(config.mac))
    }

    /// Learns from a message of neighbour discovery; the answer, if it asks for one of our addresses (RFC 4861
    /// sections 7.2.3 and 7.2.5).
    pub(super) fn on_neighbour(
        &mut self,
        now: Instant,
        config: &InterfaceConfig,
        message: &NeighbourMessage,
    ) -> Option<Frame> {
        if is_own(config, message.source.into()) {
            return None;
        }
        match message.kind {
            NeighbourKind::Solicitation => {
                if !is_own(config, message.target.into()) {
                    return None;
                }
                let source = IpAddr::V6(message.source);
                match (message.link, self.find(source)) {
                    (Some(mac), Ok(index)) => self.heard(now, index, mac, false),
                    (Some(mac), Err(_)) if is_next_hop(config, source) => {
                        self.insert(now, source, State::Stale { mac });
                    }
                    _ => {}
                }
                Some(message.advertisement(config.mac))
            }
            NeighbourKind::Advertisement { solicited, overrides } => {
                if let Ok(index) = self.find(message.target.into()) {
                    self.advertised(now, index, message.link, solicited, overrides);
                }
                None
            }
        }
    }

    /// Asks again, or gives up, where it is time to.
    pub(super) fn on_timeout(&mut self, now: Instant, config: &InterfaceConfig, ask: &mut dyn FnMut(Frame)) {
        if self.due.is_none_or(|due| due > now) {
            return;
        }
        self.entries.retain_mut(|entry| {
            let again = now + RETRANS_TIMER;
            let (to, next) = match entry.state {
                State::Incomplete { asked, again: at } if at <= now => {
                    if asked >= MAX_REQUESTS {
                        entry.state = State::Failed { until: now + FAILED_TIME };
                        return true;
                    }
                    (None, State::Incomplete { asked: asked + 1, again })
                }
                State::Delay { mac, until } if until <= now => (Some(mac), State::Probe { mac, asked: 1, again }),
                State::Probe { mac, asked, again: at } if at <= now => {
                    if asked >= MAX_REQUESTS {
                        // The next lookup asks everyone (RFC 4861 section 7.3.3).
                        return false;
                    }
                    (Some(mac), State::Probe { mac, asked: asked + 1, again })
                }
                _ => return true,
            };
            if let Some(request) = request(config, entry.addr, to) {
                ask(request);
            }
            entry.state = next;
            true
        });
        self.due = self.earliest();
    }

    /// When to call [`on_timeout`](Self::on_timeout) next.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    fn find(&self, addr: IpAddr) -> Result<usize, usize> {
        self.entries.binary_search_by_key(&addr, |entry| entry.addr)
    }

    fn set(&mut self, index: usize, state: State) {
        let before = std::mem::replace(&mut self.entries[index].state, state).deadline();
        if before.is_some() && before == self.due {
            self.due = self.earliest();
        } else {
            self.due = self.due.into_iter().chain(state.deadline()).min();
        }
    }

    fn earliest(&self) -> Option<Instant> {
        self.entries.iter().filter_map(|entry| entry.state.deadline()).min()
    }

    /// Adds an entry, in place of the one that is missed least if there are too many.
    fn insert(&mut self, now: Instant, addr: IpAddr, state: State) {
        if self.entries.len() >= MAX_ENTRIES {
            // Addresses that were never answered for go first, so that asking us for many does not make us forget
            // those of real neighbours.
            let victim = (0..self.entries.len()).min_by_key(|index| {
                let entry = &self.entries[*index];
                (entry.state.mac().is_some(), entry.used)
            });
            if let Some(victim) = victim {
                self.entries.remove(victim);
            }
        }
        let at = self.find(addr).unwrap_or_else(|at| at);
        self.entries.insert(at, Entry { addr, state, used: now });
        self.due = self.earliest();
    }

    /// The neighbour itself has told its address; `answered` if it was asked.
    fn heard(&mut self, now: Instant, index: usize, mac: MacAddr, answered: bool) {
        let state = self.entries[index].state;
        let was_asked = matches!(state, State::Incomplete { .. } | State::Delay { .. } | State::Probe { .. });
        if answered && was_asked {
            self.set(index, State::reachable(mac, now));
        } else if state.mac() != Some(mac) {
            // RFC 826 believes whoever speaks last. It is asked whether it is really there before long.
            self.set(index, State::Stale { mac });
        }
    }

    /// The table of RFC 4861 appendix C for advertisements.
    fn advertised(&mut self, now: Instant, index: usize, link: Option<MacAddr>, solicited: bool, overrides: bool) {
        let state = self.entries[index].state;
        let Some(known) = state.mac() else {
            if let Some(mac) = link {
                self.set(index, if solicited { State::reachable(mac, now) } else { State::Stale { mac } });
            }
            return;
        };
        let mac = link.unwrap_or(known);
        if mac != known && !overrides {
            if let State::Reachable { .. } = state {
                self.set(index, State::Stale { mac: known });
            }
        } else if solicited {
            self.set(index, State::reachable(mac, now));
        } else if mac != known {
            self.set(index, State::Stale { mac });
        }
    }
}

/// Where a packet to `remote` goes first: to itself, on an attached network, or to the gateway of a route. The longest
/// prefix counts (RFC 1812 section 5.2.4.3).
pub(super) fn next_hop(config: &InterfaceConfig, remote: IpAddr) -> Option<IpAddr> {
    let attached = config.addrs.iter().filter(|own| own.contains(remote)).map(|own| (own.prefix, true, remote));
    let routes = config.routes.iter().filter(|route| route.network.contains(remote));
    let routed = routes.map(|route| (route.network.prefix, false, route.gateway));
    let (.., hop) = attached.chain(routed).max_by_key(|(prefix, direct, _)| (*prefix, *direct))?;
    Some(hop)
}

/// Whether `addr` can be that of one other host.
pub(super) fn is_peer_address(config: &InterfaceConfig, addr: IpAddr) -> bool {
    if addr.is_unspecified() || addr.is_multicast() || is_own(config, addr) {
        return false;
    }
    // They never leave their host, so only an interface that is within it meets them (RFC 1122 section 3.2.1.3, RFC 4291 section 2.5.3).
    if addr.is_loopback() && !config.addrs.iter().any(|own| own.addr.is_loopback()) {
        return false;
    }
    let IpAddr::V4(v4) = addr else { return true };
    let is_subnet_broadcast = config.addrs.iter().any(|own| {
        let mask = u32::MAX.checked_shr(u32::from(own.prefix)).unwrap_or(0);
        // Networks of one or two addresses have no broadcast address (RFC 3021).
        own.prefix < 31 && own.contains(addr) && u32::from(v4) & mask == mask
    });
    !v4.is_broadcast() && !is_subnet_broadcast
}

/// Whether a frame to `destination` is for this interface: to its own address, to everyone, or to a group that it is
/// in (RFC 4291 section 2.8).
pub(super) fn accepts(config: &InterfaceConfig, destination: MacAddr) -> bool {
    const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    destination == config.mac
        || destination == MacAddr([0xff; 6])
        || destination == group_mac(ALL_NODES)
        || config.addrs.iter().any(|own| match own.addr {
            IpAddr::V6(addr) => destination == group_mac(solicited_node(addr)),
            IpAddr::V4(_) => false,
        })
}

fn is_own(config: &InterfaceConfig, addr: IpAddr) -> bool {
    config.addrs.iter().any(|own| own.addr == addr)
}

/// Whether packets may go to `addr` without another hop in between.
fn is_next_hop(config: &InterfaceConfig, addr: IpAddr) -> bool {
    is_peer_address(config, addr)
        && (config.addrs.iter().any(|own| own.contains(addr))
            || config.routes.iter().any(|route| route.gateway == addr))
}

/// The request for the link-layer address of `addr`, to everyone or to one station; `None` without an address to ask
/// from.
fn request(config: &InterfaceConfig, addr: IpAddr, to: Option<MacAddr>) -> Option<Frame> {
    let of_family = || config.addrs.iter().filter(|own| own.addr.is_ipv4() == addr.is_ipv4());
    let source = of_family().find(|own| own.contains(addr)).or_else(|| of_family().next())?;
    match (source.addr, addr) {
        (IpAddr::V4(source), IpAddr::V4(target)) => Some(ArpMessage::request(config.mac, source, target, to)),
        (IpAddr::V6(source), IpAddr::V6(target)) => {
            Some(NeighbourMessage::solicitation(config.mac, source, target, to))
        }
        _ => None,
    }
}
