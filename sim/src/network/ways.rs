//! Which links packets of some traffic may pass.

use std::collections::BTreeSet;

use super::addresses::{LinkEnd, Mask, ends, ends_at, masks};
use crate::scenario::{Endpoints, Hop, Middlebox, Scenario, Traffic, Transport};

/// The ways of a connection of some traffic over one of its paths: of what its source sends, and of what comes back. They need not be of the same links,
/// as routers know destinations only.
pub(crate) fn ways(scenario: &Scenario, traffic: &Traffic, path: usize) -> Option<[Vec<Hop>; 2]> {
    between(scenario, ends(scenario, traffic, path)?)
}

/// All ways of the connections of some traffic, there and back. Subflows go from any address to any.
pub(crate) fn all_ways(scenario: &Scenario, traffic: &Traffic) -> Vec<[Vec<Hop>; 2]> {
    if traffic.transport != Transport::Mptcp {
        let paths = scenario.paths_in_use(traffic).into_iter();
        return paths.filter_map(|path| ways(scenario, traffic, path)).collect();
    }
    let pairs = ends_at(scenario, &traffic.from)
        .flat_map(|local| ends_at(scenario, &traffic.to).map(move |remote| [local, remote]));
    pairs.filter_map(|pair| between(scenario, pair)).collect()
}

/// The ways that connections of some traffic can use, there and back: of multipath TCP those between addresses that path managers may use, and where
/// it begins.
pub(crate) fn usable_ways(scenario: &Scenario, traffic: &Traffic) -> Vec<[Vec<Hop>; 2]> {
    let Endpoints::List(endpoints) = &scenario.mptcp.endpoints else { return all_ways(scenario, traffic) };
    if traffic.transport != Transport::Mptcp {
        return all_ways(scenario, traffic);
    }
    let paths = scenario.paths_of(traffic);
    let begins = if traffic.is_on_each_path() { &paths[..] } else { &paths[..paths.len().min(1)] };
    let begins: Vec<LinkEnd> = begins.iter().filter_map(|path| ends(scenario, traffic, *path)).flatten().collect();
    let usable = |host: &str| {
        let is_listed = |end: &LinkEnd| {
            let link = &scenario.links[end.link].name;
            endpoints.iter().any(|endpoint| endpoint.host == end.node(scenario) && endpoint.link == *link)
        };
        let own = ends_at(scenario, host).filter(|end| begins.contains(end) || is_listed(end));
        own.collect::<Vec<_>>()
    };
    let remotes = usable(&traffic.to);
    let pairs = usable(&traffic.from).into_iter().flat_map(|local| remotes.iter().map(move |remote| [local, *remote]));
    pairs.filter_map(|pair| between(scenario, pair)).collect()
}

/// The ways between two addresses, there and back.
fn between(scenario: &Scenario, [local, remote]: [LinkEnd; 2]) -> Option<[Vec<Hop>; 2]> {
    let there = way(scenario, local, &[], remote)?;
    // Answers are for the last translator, which sends them on to the one before.
    let passed = |hop: &Hop| masks(scenario).find(|mask| mask.inside.other().out() == hop.back());
    let masks: Vec<Mask> = there.iter().rev().filter_map(passed).collect();
    let back = way(scenario, remote, &masks, local)?;
    Some([there, back])
}

/// The way of what leaves at an address, inwards over these translators, to another one.
fn way(scenario: &Scenario, from: LinkEnd, masks: &[Mask], to: LinkEnd) -> Option<Vec<Hop>> {
    let mut way = vec![from.out()];
    if from.link == to.link {
        return Some(way);
    }
    let mut router = from.other().node(scenario);
    for mask in masks {
        let outside = mask.inside.other();
        way.extend(forwarded(scenario, router, outside.node(scenario), None)?);
        way.push(outside.out());
        router = mask.inside.node(scenario);
    }
    way.extend(forwarded(scenario, router, to.node(scenario), Some(to.link))?);
    Some(way)
}

/// How a router, and those behind it, forward what is for somebody, to whom it comes over the link `last` if that is given.
fn forwarded(scenario: &Scenario, router: &str, to: &str, last: Option<usize>) -> Option<impl Iterator<Item = Hop>> {
    let back = match router == to {
        true => Vec::new(),
        false => scenario.routers.iter().find(|known| known.name == router).and(scenario.route(to, last, router))?,
    };
    Some(back.into_iter().rev().map(Hop::back))
}

/// All links that packets of the traffic may pass, as indices.
pub(crate) fn links(scenario: &Scenario, traffic: &Traffic) -> BTreeSet<usize> {
    all_ways(scenario, traffic).into_iter().flatten().flatten().map(|hop| hop.link).collect()
}

/// Middleboxes that packets of the traffic may pass.
pub(crate) fn middleboxes<'a>(
    scenario: &'a Scenario,
    traffic: &'a Traffic,
) -> impl Iterator<Item = &'a Middlebox> + use<'a> {
    let links = links(scenario, traffic);
    let passed = move |middlebox: &&Middlebox| links.iter().any(|link| scenario.links[*link].name == middlebox.link);
    scenario.middleboxes.iter().filter(passed)
}

#[cfg(test)]
mod tests {
    use super::super::addresses::forwarding;
    use super::*;

    const NETWORK: &str = r#"
        [hosts.client]
        [hosts.server]
        [hosts.other]
        [routers.west]
        [routers.east]
        [links.a]
        to = "west"
        [links.b]
        from = "other"
        to = "west"
        [links.middle]
        from = "west"
        to = "east"
        [links.c]
        from = "east"
        [links.d]
        from = "east"
        [links.direct]
        [[traffic]]
        name = "multipath"
        bytes = "1B"
        [[traffic]]
        name = "plain"
        transport = "tcp"
        bytes = "1B"
        [[traffic]]
        name = "cross"
        from = "other"
        transport = "tcp-balanced"
        bytes = "1B"
    "#;

    /// Links of the ways there, and of those back from the far end.
    fn of(scenario: &Scenario, traffic: usize) -> Vec<[Vec<usize>; 2]> {
        let links = |way: Vec<Hop>| way.into_iter().map(|hop| hop.link).collect();
        all_ways(scenario, &scenario.traffic[traffic]).into_iter().map(|ways| ways.map(links)).collect()
    }

    #[test]
    fn multipath_tcp_goes_from_any_address_to_any_and_tcp_on_one_way() {
        let scenario = Scenario::parse(NETWORK, "test").unwrap();
        let both = |way: &[usize]| [way.to_vec(), way.iter().rev().copied().collect()];
        assert_eq!(of(&scenario, 0), [both(&[0, 2, 3]), both(&[0, 2, 4]), both(&[5])]);
        assert_eq!((of(&scenario, 1), of(&scenario, 2)), (vec![both(&[0, 2, 3])], vec![both(&[1, 2, 3])]));
    }

    /// Two ways of the same length, of which the source would take the other one than routers do.
    const DIAMOND: &str = r#"
        [routers.l]
        [routers.x]
        [routers.y]
        [routers.r]
        [links.a]
        to = "l"
        [links.lx]
        from = "l"
        to = "x"
        [links.ly]
        from = "l"
        to = "y"
        [links.yr]
        from = "y"
        to = "r"
        [links.xr]
        from = "x"
        to = "r"
        [links.c]
        from = "r"
        [[traffic]]
        bytes = "1B"
    "#;

    /// Where a packet goes, router by router.
    fn follow(scenario: &Scenario, from: LinkEnd, to: LinkEnd) -> Vec<usize> {
        let (mut links, mut node) = (vec![from.link], from.other().node(scenario));
        while node != to.node(scenario) {
            let hop = forwarding(scenario, node)[&to.addr(scenario).addr];
            links.push(hop.link);
            let link = &scenario.links[hop.link];
            node = if hop.up { &link.to } else { &link.from };
        }
        links
    }

    #[test]
    fn ways_are_those_of_the_routers() {
        let mut scenario = Scenario::parse(DIAMOND, "test").unwrap();
        for transport in [Transport::Mptcp, Transport::Tcp] {
            scenario.traffic[0].transport = transport;
            let [client, server] = ends(&scenario, &scenario.traffic[0], 0).unwrap();
            let (there, back) = (follow(&scenario, client, server), follow(&scenario, server, client));
            assert_eq!((&there[..], &back[..]), (&[0, 2, 3, 5][..], &[5, 4, 1, 0][..]));
            assert_eq!(of(&scenario, 0), [[there, back]]);
        }
    }

    #[test]
    fn what_is_for_a_translator_takes_the_way_to_it() {
        let text = DIAMOND.replace(
            "[links.c]\n        from = \"r\"",
            "[routers.z]\n[links.rz]\nfrom = \"r\"\nto = \"z\"\n[links.c]\nfrom = \"z\"",
        );
        let text = format!(
            "{text}\n[middlebox.nat]\nlink = \"lx\"\nkind = \"nat\"\n[middlebox.other]\nlink = \"ly\"\nkind = \"nat\"\n"
        );
        let scenario = Scenario::parse(&text, "test").unwrap();
        // To the outside of the link, and back over it.
        assert_eq!(of(&scenario, 0), [[vec![0, 2, 3, 5, 6], vec![6, 5, 3, 2, 0]]]);
    }

    #[test]
    fn what_is_beside_the_ways_is_not_passed() {
        let text = format!("{NETWORK}[middlebox.m]\nlink = \"b\"\nkind = \"proxy-ack\"\n");
        let scenario = Scenario::parse(&text, "test").unwrap();
        let passed = scenario.traffic.iter().map(|traffic| middleboxes(&scenario, traffic).count());
        assert_eq!(passed.collect::<Vec<_>>(), [0, 0, 1]);
    }
}
