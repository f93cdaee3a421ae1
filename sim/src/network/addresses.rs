//! Addresses and routes: what hosts and routers are told before a run.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use tcp_adapter::{InterfaceConfig, IpCidr, MacAddr, Route};

use crate::scenario::{Behaviour, DirectionChoice, Hop, Link, Middlebox, Scenario, Traffic};

/// Routes that an interface holds; beyond that it gets a default route.
const MOST_ROUTES: usize = 32;

/// One end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LinkEnd {
    /// Index in [`Scenario::links`].
    pub(crate) link: usize,
    /// The end that the link calls `to`.
    pub(crate) at_to: bool,
}

impl LinkEnd {
    pub(crate) fn other(self) -> Self {
        Self { at_to: !self.at_to, ..self }
    }

    /// The link-layer address, told by the number of the link and its end.
    pub(crate) fn mac(self) -> MacAddr {
        let [.., high, low] = self.link.to_be_bytes();
        MacAddr([0x02, 0, 0, high, low, u8::from(self.at_to)])
    }

    pub(crate) fn addr(self, scenario: &Scenario) -> IpCidr {
        scenario.links[self.link].addresses[usize::from(self.at_to)]
    }

    pub(crate) fn node(self, scenario: &Scenario) -> &str {
        let link = &scenario.links[self.link];
        if self.at_to { &link.to } else { &link.from }
    }

    /// The way of what leaves there.
    pub(super) fn out(self) -> Hop {
        Hop { link: self.link, up: !self.at_to }
    }
}

/// The ends of links at a host or router, in the order of the file: its interfaces.
pub(crate) fn ends_at<'a>(scenario: &'a Scenario, node: &'a str) -> impl Iterator<Item = LinkEnd> + 'a {
    scenario.links_of(node).map(move |link| LinkEnd { link, at_to: scenario.links[link].to == node })
}

/// Interfaces of a host, with routes to all that can be reached over a router.
pub(crate) fn interfaces(scenario: &Scenario, host: &str) -> Vec<InterfaceConfig> {
    let interface = |end: LinkEnd| InterfaceConfig {
        mac: end.mac(),
        mtu: usize::from(scenario.links[end.link].mtu),
        addrs: vec![end.addr(scenario)],
        routes: routes(scenario, host, end),
    };
    ends_at(scenario, host).map(interface).collect()
}

fn routes(scenario: &Scenario, host: &str, end: LinkEnd) -> Vec<Route> {
    let router = end.other().node(scenario);
    let gateway = end.other().addr(scenario).addr;
    if !scenario.routers.iter().any(|known| known.name == router) {
        return Vec::new();
    }
    let mut routes: Vec<Route> = Vec::new();
    for other in scenario.hosts.iter().filter(|other| other.name != host) {
        for far in ends_at(scenario, &other.name) {
            let network = far.addr(scenario);
            let known = routes.iter().any(|route| route.network.contains(network.addr));
            if !known
                && network.addr.is_ipv4() == gateway.is_ipv4()
                && way_back(scenario, &other.name, far.link, router).is_some()
            {
                routes.push(Route { network, gateway });
            }
        }
    }
    for mask in masks(scenario).filter(|mask| mask.way_from(scenario, router).is_some()) {
        let network = mask.inside.addr(scenario);
        let known = routes.iter().any(|route| route.network.contains(network.addr));
        if !known && network.addr.is_ipv4() == gateway.is_ipv4() {
            routes.push(Route { network, gateway });
        }
    }
    if routes.len() > MOST_ROUTES { vec![Route::default_via(gateway)] } else { routes }
}

/// Where a router sends what is for an address: the link and whether from its `from`.
pub(crate) fn forwarding(scenario: &Scenario, router: &str) -> BTreeMap<IpAddr, Hop> {
    let mut table = BTreeMap::new();
    for host in &scenario.hosts {
        for end in ends_at(scenario, &host.name) {
            if let Some(last) = way_back(scenario, &host.name, end.link, router).and_then(|way| way.last().copied()) {
                table.insert(end.addr(scenario).addr, last.back());
            }
        }
    }
    for mask in masks(scenario) {
        if let Some(hop) = mask.way_from(scenario, router) {
            table.insert(mask.inside.addr(scenario).addr, hop);
        }
    }
    table
}

/// A translator on a link between routers: connections from behind it appear as from the address of the link's end there, which no host has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mask {
    pub(super) inside: LinkEnd,
}

/// All of them. Where the link ends at a host the address is the host's, or on the host's link.
pub(super) fn masks(scenario: &Scenario) -> impl Iterator<Item = Mask> + '_ {
    let is_router = |name: &str| scenario.routers.iter().any(|router| router.name == name);
    let translators = scenario.middleboxes.iter().filter(|one| matches!(one.behaviour, Behaviour::Nat { .. }));
    let inside = |one: &Middlebox| {
        let link = scenario.links.iter().position(|link| link.name == one.link)?;
        Some(LinkEnd { link, at_to: one.direction == DirectionChoice::Down })
    };
    let masks = translators.filter_map(inside).map(|inside| Mask { inside });
    masks.filter(move |mask| [mask.inside, mask.inside.other()].iter().all(|end| is_router(end.node(scenario))))
}

impl Mask {
    /// Where a router sends what is for the address; `None` if it is inside.
    fn way_from(self, scenario: &Scenario, router: &str) -> Option<Hop> {
        let outside = self.inside.other();
        if outside.node(scenario) == router {
            return Some(outside.out());
        }
        let way = scenario.route(outside.node(scenario), None, router)?;
        let is_outside = way.first().is_some_and(|first| first.link != outside.link);
        way.last().filter(|_| is_outside).map(|last| last.back())
    }
}

/// Where a connection of some traffic over one of its paths begins and ends.
pub(crate) fn endpoints(scenario: &Scenario, traffic: &Traffic, path: usize) -> Option<[IpAddr; 2]> {
    Some(ends(scenario, traffic, path)?.map(|end| end.addr(scenario).addr))
}

/// The ends of links whose addresses these are.
pub(super) fn ends(scenario: &Scenario, traffic: &Traffic, path: usize) -> Option<[LinkEnd; 2]> {
    let way = scenario.route(&traffic.from, Some(path), &traffic.to)?;
    let (first, last) = (way.first()?, way.last()?);
    Some([LinkEnd { link: first.link, at_to: !first.up }, LinkEnd { link: last.link, at_to: last.up }])
}

/// The link that an address belongs to.
pub(crate) fn link_of(links: &[Link], addr: SocketAddr) -> Option<usize> {
    links.iter().position(|link| link.addresses.iter().any(|own| own.addr == addr.ip()))
}

/// The way from a host, over one of its links, to a router: the other way round, that of packets for its address there.
fn way_back(scenario: &Scenario, host: &str, link: usize, router: &str) -> Option<Vec<Hop>> {
    scenario.route(host, Some(link), router)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARED: &str = r#"
        [routers.left]
        [routers.right]
        [links.a]
        to = "left"
        [links.b]
        to = "left"
        [links.middle]
        from = "left"
        to = "right"
        [links.c]
        from = "right"
        [links.direct]
        [[traffic]]
        bytes = "1B"
        paths = ["b"]
    "#;

    #[test]
    fn hosts_know_what_is_behind_their_routers() {
        let scenario = Scenario::parse(SHARED, "test").unwrap();
        let client = interfaces(&scenario, "client");
        assert_eq!(client.len(), 3);
        let route =
            |text: &str, gateway: &str| Route { network: text.parse().unwrap(), gateway: gateway.parse().unwrap() };
        assert_eq!(client[0].routes, [route("10.0.4.2/24", "10.0.1.2")]);
        assert_eq!(client[1].routes, [route("10.0.4.2/24", "10.0.2.2")]);
        assert_eq!(client[2].routes, []);
        let server = interfaces(&scenario, "server");
        assert_eq!(
            server[0].routes,
            [route("10.0.1.1/24", "10.0.4.1"), route("10.0.2.1/24", "10.0.4.1")],
            "the direct link's network is not behind the router"
        );
        let traffic = &scenario.traffic[0];
        let ends = endpoints(&scenario, traffic, scenario.paths_of(traffic)[0]).unwrap();
        assert_eq!(ends.map(|addr| addr.to_string()), ["10.0.2.1", "10.0.4.2"]);
    }

    #[test]
    fn addresses_of_translators_lead_to_their_outside() {
        let text = SHARED.replace("[[traffic]]", "[middlebox.nat]\nlink = \"middle\"\nkind = \"nat\"\n[[traffic]]");
        let scenario = Scenario::parse(&text, "test").unwrap();
        let mask: IpAddr = "10.0.3.1".parse().unwrap();
        assert_eq!(forwarding(&scenario, "right").get(&mask), Some(&Hop { link: 2, up: false }));
        assert_eq!(forwarding(&scenario, "left").get(&mask), None);
        let known = |host: &str| interfaces(&scenario, host)[0].routes.iter().any(|route| route.network.contains(mask));
        assert!(known("server") && !known("client"));
    }

    #[test]
    fn routers_know_every_address_that_they_lead_to() {
        let scenario = Scenario::parse(SHARED, "test").unwrap();
        let left = forwarding(&scenario, "left");
        let hops: Vec<(String, Hop)> = left.into_iter().map(|(addr, hop)| (addr.to_string(), hop)).collect();
        let expected = [("10.0.1.1", 0, false), ("10.0.2.1", 1, false), ("10.0.4.2", 2, true)];
        let expected = expected.map(|(addr, link, up)| (addr.to_owned(), Hop { link, up }));
        assert_eq!(hops, expected);
    }
}
