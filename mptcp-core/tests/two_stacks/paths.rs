//! Flags of endpoints and strategies: which subflows come into being.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mptcp_core::strategy::{PathView, WantedAnnouncement, WantedSubflow};
use mptcp_core::{
    ConnConfig, ConnId, Counter, Endpoint, EndpointError, EndpointFlags, EndpointId, PathStrategy, PathStrategyKind,
    StackConfig,
};
use tcp_adapter::{ConnectRequest, InterfaceId};

use super::world::{Flow, PORT, World, address, config};

fn flags(names: &[&str]) -> EndpointFlags {
    let has = |name| names.contains(&name);
    EndpointFlags {
        signal: has("signal"),
        subflow: has("subflow"),
        backup: has("backup"),
        fullmesh: has("fullmesh"),
        laminar: has("laminar"),
        implicit: false,
    }
}

fn with_strategies(seed: u64, links: usize, names: [&str; 2]) -> World {
    let configs = names.map(|name| StackConfig { path_strategy: name.parse().unwrap(), ..config() });
    World::new(seed, links, configs)
}

/// Which links' addresses the subflows of host 0 go between, in the order in which they were made.
fn pairs(world: &World, conn: ConnId) -> Vec<(usize, usize)> {
    let link = |host: usize, addr: IpAddr| {
        (0..world.links.len()).find(|link| [true, false].map(|ipv4| address(host, *link, ipv4)).contains(&addr))
    };
    let subflows = world.hosts[0].stack.subflows(conn);
    subflows.iter().map(|known| (link(0, known.local.ip()).unwrap(), link(1, known.remote.ip()).unwrap())).collect()
}

/// Whether exactly these pairs come into being, in whatever order.
fn comes_to(world: &mut World, conns: [ConnId; 2], expected: &[(usize, usize)]) -> bool {
    let wanted: BTreeSet<_> = expected.iter().copied().collect();
    let there = |world: &World| {
        let subflows = world.hosts[0].stack.subflows(conns[0]);
        let open = subflows.iter().all(|known| known.state.to_string() == "established");
        open && pairs(world, conns[0]).into_iter().collect::<BTreeSet<_>>() == wanted
    };
    if !world.run_until(10, there) {
        return false;
    }
    // And nothing more.
    world.run_for(Duration::from_secs(5));
    there(world) && pairs(world, conns[0]).len() == expected.len()
}

fn transfers(world: &mut World, conns: [ConnId; 2]) {
    world.send(0, conns[0], 300_000, true);
    world.send(1, conns[1], 300_000, true);
    assert!(world.run_until(60, |world| world.transferred(conns, true)));
    world.close_all();
}

#[test]
fn laminar_endpoints_answer_one_announcement_each() {
    let mut world = World::simple(1, 4);
    for link in 0..3 {
        world.endpoint(0, link, true, flags(&["laminar"]));
    }
    for link in 1..4 {
        world.endpoint(1, link, true, flags(&["signal"]));
    }
    let conns = world.open();
    world.send(0, conns[0], 1000, false);
    assert!(comes_to(&mut world, conns, &[(0, 0), (1, 1), (2, 2)]), "{:?}", pairs(&world, conns[0]));
    transfers(&mut world, conns);
}

#[test]
fn without_laminar_endpoints_announcements_are_answered_from_where_the_routes_lead() {
    let mut world = World::simple(2, 3);
    for link in 1..3 {
        world.endpoint(1, link, true, flags(&["signal"]));
    }
    let conns = world.open();
    world.send(0, conns[0], 1000, false);
    assert!(comes_to(&mut world, conns, &[(0, 0), (1, 1), (2, 2)]), "{:?}", pairs(&world, conns[0]));
    // The client was never told to use those addresses.
    let implicit: Vec<_> =
        world.hosts[0].stack.endpoints().filter(|(_, known)| known.flags.implicit).map(|(_, known)| known.addr).collect();
    assert_eq!(implicit.into_iter().collect::<BTreeSet<_>>(), [1, 2].map(|link| address(0, link, true)).into());
    let ids: BTreeSet<u8> =
        world.hosts[0].stack.subflows(conns[0]).iter().map(|subflow| subflow.local_addr_id.0).collect();
    assert_eq!(ids, [0, 254, 255].into());
    // Whoever adds one gets the number that the peer knows already.
    let added = world.endpoint(0, 1, true, flags(&["subflow"]));
    assert!(ids.contains(&added.0) && added != EndpointId(0));
    let asked = Endpoint::new(address(0, 0, true), EndpointFlags { implicit: true, ..EndpointFlags::default() });
    assert_eq!(world.hosts[0].stack.add_endpoint(asked), Err(EndpointError::Implicit(asked.addr)));
    transfers(&mut world, conns);
}

#[test]
fn several_ports_carry_several_subflows_between_the_same_addresses() {
    let mut world = World::simple(3, 2);
    world.links[0].rate = Some(20_000_000);
    for (link, ndiffports) in [(0, 3), (1, 2)] {
        let ndiffports = ndiffports.try_into().unwrap();
        let endpoint = Endpoint { ndiffports, ..Endpoint::new(address(0, link, true), flags(&["subflow"])) };
        world.hosts[0].stack.add_endpoint(endpoint).unwrap();
    }
    let conns = world.open();
    let expected = [(0, 0), (0, 0), (0, 0), (1, 0), (1, 0)];
    assert!(world.run_until(10, |world| world.subflows_up(0, conns[0]) == 5), "{:?}", pairs(&world, conns[0]));
    let ends = |world: &World| {
        let subflows = world.hosts[0].stack.subflows(conns[0]);
        subflows.iter().map(|subflow| (subflow.local, subflow.remote)).collect::<BTreeSet<_>>()
    };
    let mut found = pairs(&world, conns[0]);
    found.sort_unstable();
    assert_eq!((found, ends(&world).len()), (expected.to_vec(), 5));
    // One that is lost is made again, and no other.
    let subflows = world.hosts[0].stack.subflows(conns[0]);
    let lost = subflows.iter().skip(1).find(|known| known.local.ip() == address(0, 0, true)).unwrap().clone();
    let lost_end = lost.local;
    world.middleboxes[0] = Some(crate::middlebox::on_packets(move |_, mut packet| {
        if packet.source == lost.local || packet.destination == lost.local {
            packet.flags |= tcp_adapter::conformance::packet::RST;
            packet.payload.clear();
            packet.options.clear();
        }
        vec![packet]
    }));
    // Something that comes in on this one.
    let far = world.hosts[1].stack.subflows(conns[1]).iter().find(|known| known.remote == lost_end).unwrap().id;
    let now = world.now;
    world.hosts[1].stack.set_backup(now, conns[1], far, true).unwrap();
    assert!(world.run_until(20, |world| !world.hosts[0].stack.past_subflows(conns[0]).is_empty()));
    world.middleboxes[0] = None;
    assert!(world.run_until(20, |world| world.subflows_up(0, conns[0]) == 5));
    let mut found = pairs(&world, conns[0]);
    found.sort_unstable();
    assert_eq!((found, ends(&world).len()), (expected.to_vec(), 5));
    transfers(&mut world, conns);
}

#[test]
fn the_strategy_ndiffports_needs_no_endpoints() {
    let mut world = with_strategies(4, 2, ["ndiffports:3", "endpoints"]);
    let conns = world.open();
    assert!(world.run_until(10, |world| world.subflows_up(0, conns[0]) == 3));
    assert_eq!(pairs(&world, conns[0]), [(0, 0); 3]);
    assert_eq!(world.hosts[0].stack.info(conns[0]).unwrap().path_strategy, "ndiffports");
    transfers(&mut world, conns);
}

#[test]
fn a_full_mesh_of_all_addresses_comes_into_being_without_endpoints_at_the_client() {
    let mut world = with_strategies(5, 2, ["fullmesh", "signal"]);
    // Here every address can be reached over every link.
    let conns = world.open();
    world.send(0, conns[0], 1000, false);
    let all = |world: &World| {
        let there = pairs(world, conns[0]);
        [(0, 0), (1, 1), (1, 0)].iter().all(|pair| there.contains(pair))
    };
    assert!(world.run_until(10, all), "{:?}", pairs(&world, conns[0]));
    assert!(world.mib(1, Counter::AddAddrTx) >= 1);
    transfers(&mut world, conns);
}

#[test]
fn one_subflow_for_each_pair_of_nics() {
    let mut world = with_strategies(6, 4, ["nic-pairs", "nic-pairs"]);
    let conns = world.open();
    world.send(0, conns[0], 1000, false);
    let expected = [(0, 0), (1, 1), (2, 2), (3, 3)];
    assert!(comes_to(&mut world, conns, &expected), "{:?}", pairs(&world, conns[0]));
    transfers(&mut world, conns);
}

#[test]
fn a_client_opens_no_mesh_of_nic_pairs_before_the_announcements_have_come() {
    // The client has more NICs than the server: each of them has one subflow all the same.
    let mut world = with_strategies(7, 3, ["nic-pairs", "endpoints"]);
    let conns = world.open();
    world.send(0, conns[0], 1000, false);
    assert!(comes_to(&mut world, conns, &[(0, 0), (1, 0), (2, 0)]), "{:?}", pairs(&world, conns[0]));
    transfers(&mut world, conns);
}

/// Opens one subflow from the last interface, and announces nothing.
#[derive(Debug)]
struct LastInterface;

impl PathStrategy for LastInterface {
    fn name(&self) -> &'static str {
        "last-interface"
    }

    fn subflows(&self, view: &PathView<'_>) -> Vec<WantedSubflow> {
        let last = view.sources().filter(|(_, addr)| addr.is_ipv4() && *addr != view.first.0.ip()).last();
        last.into_iter().flat_map(|(_, local)| view.between(local, view.first.1)).collect()
    }

    fn announcements(&self, _view: &PathView<'_>) -> Vec<WantedAnnouncement> {
        Vec::new()
    }
}

#[test]
fn a_strategy_of_the_applications_own_is_followed_and_can_be_exchanged() {
    let mut world = World::simple(8, 4);
    let config =
        ConnConfig { path_strategy: Some(PathStrategyKind::Custom(Arc::new(LastInterface))), ..ConnConfig::default() };
    let remote = SocketAddr::new(address(1, 0, true), PORT);
    let request = ConnectRequest { local: address(0, 0, true), local_port: None, remote };
    let client = world.hosts[0].stack.connect(world.now, &request, config).unwrap();
    world.hosts[0].flows.insert(client, Flow::default());
    assert!(world.run_until(10, |world| world.server_conn().is_some()));
    let conns = [client, world.server_conn().unwrap()];
    world.send(0, conns[0], 1000, false);
    assert!(comes_to(&mut world, conns, &[(0, 0), (3, 0)]), "{:?}", pairs(&world, conns[0]));
    assert_eq!(world.hosts[0].stack.info(client).unwrap().path_strategy, "last-interface");
    let now = world.now;
    world.hosts[0].stack.set_strategy_of(now, client, &PathStrategyKind::NicPairs).unwrap();
    assert!(comes_to(&mut world, conns, &[(0, 0), (1, 0), (2, 0), (3, 0)]), "{:?}", pairs(&world, conns[0]));
    world.hosts[0].stack.set_path_strategy(&PathStrategyKind::FullMesh);
    assert_eq!(world.hosts[0].stack.path_strategy().to_string(), "fullmesh");
    let next = world.connect(true);
    assert_eq!(world.hosts[0].stack.info(next).unwrap().path_strategy, "fullmesh");
    transfers(&mut world, conns);
}

#[test]
fn an_endpoint_is_bound_to_an_interface() {
    for by in [0, 1] {
        let mut world = World::simple(9, 2);
        // Both interfaces of a host have its first address.
        let bound = Endpoint {
            interface: Some(InterfaceId(by)),
            ndiffports: 2.try_into().unwrap(),
            ..Endpoint::new(address(0, 0, true), flags(&["subflow"]))
        };
        world.hosts[0].stack.add_endpoint(bound).unwrap();
        let conns = world.open();
        assert!(world.run_until(10, |world| world.subflows_up(0, conns[0]) == 2));
        let subflows = world.hosts[0].stack.subflows(conns[0]);
        let interfaces: Vec<_> = subflows.iter().map(|subflow| subflow.tcp.unwrap().interface.0).collect();
        assert_eq!(interfaces, [0, by]);
        let other = Endpoint { interface: Some(InterfaceId(0)), ..Endpoint::new(address(0, 1, true), flags(&["signal"])) };
        let refused = world.hosts[0].stack.add_endpoint(other);
        assert_eq!(refused, Err(EndpointError::OtherInterface(other.addr)));
        transfers(&mut world, conns);
    }
}

#[test]
fn subflow_endpoints_use_an_announced_address_if_the_first_is_denied() {
    let closed = || StackConfig { allow_join_initial_addr: false, ..config() };
    let mut world = World::new(10, 3, [config(), closed()]);
    world.endpoint(0, 2, true, flags(&["subflow"]));
    let conns = world.open();
    world.send(0, conns[0], 1000, false);
    world.endpoint(1, 2, true, flags(&["signal"]));
    assert!(comes_to(&mut world, conns, &[(0, 0), (2, 2)]), "{:?}", pairs(&world, conns[0]));
    transfers(&mut world, conns);
}

#[test]
fn an_endpoint_becomes_a_full_mesh_and_is_one_no_more() {
    let mut world = World::simple(12, 3);
    // It is answered from the address of the same network, which is not the endpoint's.
    world.endpoint(1, 2, true, flags(&["signal"]));
    let announced = world.endpoint(0, 2, true, flags(&["signal"]));
    let own = world.endpoint(0, 1, true, flags(&["subflow"]));
    let conns = world.open();
    world.send(0, conns[0], 1000, false);
    let mesh = |world: &World| pairs(world, conns[0]).iter().filter(|(local, _)| *local == 1).count();
    world.run_for(Duration::from_secs(5));
    assert_eq!(mesh(&world), 1, "{:?}", pairs(&world, conns[0]));
    let now = world.now;
    let stack = &mut world.hosts[0].stack;
    assert_eq!(stack.set_endpoint_fullmesh(now, EndpointId(200), true), Err(EndpointError::Unknown(200)));
    assert!(matches!(stack.set_endpoint_fullmesh(now, announced, true), Err(EndpointError::Fullmesh(_))));
    stack.set_endpoint_fullmesh(now, own, true).unwrap();
    assert!(world.run_until(10, |world| mesh(world) == 2), "{:?}", pairs(&world, conns[0]));
    let now = world.now;
    world.hosts[0].stack.set_endpoint_fullmesh(now, own, false).unwrap();
    assert!(world.run_until(10, |world| mesh(world) == 1), "{:?}", pairs(&world, conns[0]));
    world.run_for(Duration::from_secs(20));
    assert_eq!(mesh(&world), 1, "it stays so");
    let now = world.now;
    world.hosts[0].stack.set_endpoint_fullmesh(now, own, true).unwrap();
    assert!(world.run_until(10, |world| mesh(world) == 2), "{:?}", pairs(&world, conns[0]));
    transfers(&mut world, conns);
}

#[test]
fn an_endpoint_that_was_removed_answers_no_announcement() {
    let mut world = World::simple(11, 2);
    world.endpoint(1, 1, true, flags(&["signal"]));
    let own = world.endpoint(0, 1, true, flags(&["subflow", "fullmesh"]));
    let conns = world.open();
    world.send(0, conns[0], 1000, false);
    assert!(world.run_until(10, |world| world.subflows_up(0, conns[0]) == 3), "{:?}", pairs(&world, conns[0]));
    let now = world.now;
    world.hosts[0].stack.remove_endpoint(now, own).unwrap();
    world.run_for(Duration::from_secs(20));
    assert_eq!(pairs(&world, conns[0]), [(0, 0)]);
    world.endpoint(0, 1, true, flags(&["subflow", "fullmesh"]));
    assert!(world.run_until(10, |world| world.subflows_up(0, conns[0]) == 3), "{:?}", pairs(&world, conns[0]));
    transfers(&mut world, conns);
}
