//! Which links packets of some traffic may pass.

use std::collections::BTreeSet;

use crate::scenario::{Middlebox, Scenario, Traffic, Transport};

/// The ways between the hosts of some traffic, as indices of links. Subflows go from any address to any.
fn ways(scenario: &Scenario, traffic: &Traffic) -> Vec<Vec<usize>> {
    if traffic.transport != Transport::Mptcp {
        let route = |path: usize| between(scenario, &traffic.from, path, &traffic.to);
        return scenario.paths_in_use(traffic).into_iter().filter_map(route).collect();
    }
    let firsts = scenario.links_of(&traffic.from);
    let pairs = firsts.flat_map(|first| scenario.links_of(&traffic.to).map(move |last| (first, last)));
    pairs.filter_map(|(first, last)| way(scenario, traffic, first, last)).collect()
}

/// The way of a subflow from the address of one end on the link `first` to that of the other on the link `last`.
fn way(scenario: &Scenario, traffic: &Traffic, first: usize, last: usize) -> Option<Vec<usize>> {
    if first == last {
        return Some(vec![first]);
    }
    let link = &scenario.links[last];
    let router = if link.to == traffic.to { &link.from } else { &link.to };
    let mut way = between(scenario, &traffic.from, first, router)?;
    way.push(last);
    Some(way)
}

fn between(scenario: &Scenario, from: &str, first: usize, to: &str) -> Option<Vec<usize>> {
    let hops = scenario.route(from, Some(&scenario.links[first].name), to)?;
    Some(hops.into_iter().map(|hop| hop.link).collect())
}

/// All links that packets of the traffic may pass, as indices.
pub(super) fn links(scenario: &Scenario, traffic: &Traffic) -> BTreeSet<usize> {
    ways(scenario, traffic).into_iter().flatten().collect()
}

/// Middleboxes that packets of the traffic may pass.
pub(super) fn middleboxes<'a>(
    scenario: &'a Scenario,
    traffic: &'a Traffic,
) -> impl Iterator<Item = &'a Middlebox> + use<'a> {
    let links = links(scenario, traffic);
    let passed = move |middlebox: &&Middlebox| links.iter().any(|link| scenario.links[*link].name == middlebox.link);
    scenario.middleboxes.iter().filter(passed)
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn multipath_tcp_goes_from_any_address_to_any_and_tcp_on_one_way() {
        let scenario = Scenario::parse(NETWORK, "test").unwrap();
        let ways: Vec<_> = scenario.traffic.iter().map(|traffic| ways(&scenario, traffic)).collect();
        assert_eq!(ways[0], [vec![0, 2, 3], vec![0, 2, 4], vec![5]]);
        assert_eq!((&ways[1][..], &ways[2][..]), (&[vec![0, 2, 3]][..], &[vec![1, 2, 3]][..]));
    }

    #[test]
    fn what_is_beside_the_ways_is_not_passed() {
        let text = format!("{NETWORK}[middlebox.m]\nlink = \"b\"\nkind = \"proxy-ack\"\n");
        let scenario = Scenario::parse(&text, "test").unwrap();
        let passed = scenario.traffic.iter().map(|traffic| middleboxes(&scenario, traffic).count());
        assert_eq!(passed.collect::<Vec<_>>(), [0, 0, 1]);
    }
}
