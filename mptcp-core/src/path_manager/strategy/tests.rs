use super::*;
use crate::path_manager::tests::interfaces;
use crate::path_manager::{EndpointFlags, EndpointTable, Links};
use crate::wire::AddrId;

/// A client at the first of so many interfaces, whose peer has announced its addresses on the second and so on.
struct Case {
    endpoints: EndpointTable,
    links: Links,
    remotes: Vec<RemoteAddr>,
    subflows: Vec<PairInUse>,
    denied: bool,
    initiator: bool,
}

fn addr(network: u8, host: u8) -> IpAddr {
    [10, 0, network, host].into()
}

impl Case {
    fn new(own: u8, announced: u8) -> Self {
        let mut links = Links::default();
        links.refresh(&interfaces(own));
        let remote = |n: u8| RemoteAddr { id: AddrId(n), addr: SocketAddr::new(addr(n, 1), 80) };
        Self {
            endpoints: EndpointTable::default(),
            links,
            remotes: (2..2 + announced).map(remote).collect(),
            subflows: Vec::new(),
            denied: false,
            initiator: true,
        }
    }

    fn endpoint(&mut self, network: u8, flags: EndpointFlags, ndiffports: u8) {
        let ndiffports = ndiffports.try_into().unwrap();
        self.endpoints.add(Endpoint { ndiffports, ..Endpoint::new(addr(network, 2), flags) }).unwrap();
    }

    fn view(&self) -> PathView<'_> {
        PathView {
            initiator: self.initiator,
            first: (SocketAddr::new(addr(1, 2), 50_000), SocketAddr::new(addr(1, 1), 80)),
            first_denied: self.denied,
            endpoints: self.endpoints.as_slice(),
            links: self.links.as_slice(),
            remotes: &self.remotes,
            subflows: &self.subflows,
            limits: Limits::default(),
        }
    }

    /// The wishes of a strategy, by networks and lane, without those that name the first subflow.
    fn wanted(&self, kind: &PathStrategyKind) -> Vec<(u8, u8, u8)> {
        let third = |addr: IpAddr| match addr {
            IpAddr::V4(addr) => addr.octets()[2],
            IpAddr::V6(_) => panic!("no such address"),
        };
        let all = kind.build().subflows(&self.view());
        let named = all.iter().map(|wanted| wanted.pair).map(|p| (third(p.local), third(p.remote.ip()), p.lane));
        named.filter(|pair| *pair != (1, 1, 0)).collect()
    }

    fn announced(&self, kind: &PathStrategyKind) -> Vec<IpAddr> {
        kind.build().announcements(&self.view()).iter().map(|wanted| wanted.addr).collect()
    }
}

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

#[test]
fn laminar_endpoints_answer_one_announcement_each() {
    let mut case = Case::new(4, 2);
    for network in 1..=4 {
        case.endpoint(network, flags(&["laminar"]), 1);
    }
    let endpoints = PathStrategyKind::Endpoints;
    assert_eq!(case.wanted(&endpoints), [(2, 2, 0), (3, 3, 0)], "not from the address of the first subflow");
    // The first has been opened, and a third address is announced.
    let pair = Pair { local: addr(2, 2), remote: case.remotes[0].addr, lane: 0 };
    case.subflows.push(PairInUse { pair, initiator: true, works: true });
    case.remotes = Case::new(4, 4).remotes;
    assert_eq!(case.wanted(&endpoints), [(3, 3, 0), (4, 4, 0)], "the last one finds no endpoint that is free");
}

#[test]
fn fullmesh_endpoints_come_before_laminar_ones() {
    let mut case = Case::new(3, 1);
    case.endpoint(2, flags(&["laminar"]), 1);
    case.endpoint(3, flags(&["subflow", "fullmesh"]), 1);
    assert_eq!(case.wanted(&PathStrategyKind::Endpoints), [(3, 1, 0), (3, 2, 0)]);
}

#[test]
fn subflow_endpoints_go_to_an_announced_address_if_the_first_is_denied() {
    let mut case = Case::new(3, 2);
    case.endpoint(2, flags(&["subflow"]), 1);
    case.endpoint(3, flags(&["subflow"]), 1);
    case.denied = true;
    assert_eq!(case.wanted(&PathStrategyKind::Endpoints), [(2, 2, 0), (3, 2, 0), (2, 2, 0), (3, 3, 0)]);
}

#[test]
fn several_ports_make_several_subflows_over_each_pair() {
    let mut case = Case::new(2, 0);
    case.endpoint(1, flags(&["subflow"]), 3);
    case.endpoint(2, flags(&["subflow", "backup"]), 2);
    assert_eq!(case.wanted(&PathStrategyKind::Endpoints), [(1, 1, 1), (1, 1, 2), (2, 1, 0), (2, 1, 1)]);
    let backups: Vec<bool> = EndpointFlagStrategy.subflows(&case.view()).iter().map(|wanted| wanted.backup).collect();
    assert_eq!(backups, [false, false, false, true, true]);
    let kind: PathStrategyKind = "ndiffports:4".parse().unwrap();
    let case = Case::new(2, 0);
    assert_eq!(case.wanted(&kind), [(1, 1, 1), (1, 1, 2), (1, 1, 3)]);
    assert!(case.announced(&kind).is_empty());
}

#[test]
fn the_full_mesh_begins_with_what_is_near() {
    let mut case = Case::new(2, 1);
    assert_eq!(case.wanted(&PathStrategyKind::FullMesh), [(2, 2, 0), (2, 1, 0), (1, 2, 0)]);
    case.links.get_mut(InterfaceId(1)).unwrap().up = false;
    assert_eq!(case.wanted(&PathStrategyKind::FullMesh), [(1, 2, 0)]);
    case.initiator = false;
    assert!(case.wanted(&PathStrategyKind::FullMesh).is_empty());
}

#[test]
fn a_signalling_server_announces_everything_and_opens_nothing() {
    let mut case = Case::new(3, 2);
    case.endpoint(2, flags(&["subflow"]), 1);
    assert!(case.wanted(&PathStrategyKind::Signal).is_empty());
    assert_eq!(case.announced(&PathStrategyKind::Signal), [1, 2, 3].map(|network| addr(network, 2)));
}

#[test]
fn each_nic_of_the_side_with_more_has_one_subflow() {
    let pairs = PathStrategyKind::NicPairs;
    assert_eq!(Case::new(3, 2).wanted(&pairs), [(2, 2, 0), (3, 3, 0)], "as many on both sides");
    assert_eq!(Case::new(3, 0).wanted(&pairs), [(2, 1, 0), (3, 1, 0)], "one address of the peer's");
    assert_eq!(Case::new(1, 2).wanted(&pairs), [(1, 2, 0), (1, 3, 0)], "one address of ours");
    let mut crossed = Case::new(3, 2);
    crossed.remotes.reverse();
    assert_eq!(crossed.wanted(&pairs), [(2, 2, 0), (3, 3, 0)], "a common network counts more than the order");
    let mut foreign = Case::new(3, 2);
    foreign.remotes[0].addr.set_ip(addr(77, 1));
    foreign.remotes[1].addr.set_ip(addr(78, 1));
    assert_eq!(foreign.wanted(&pairs), [(2, 77, 0), (3, 78, 0)], "else the order does");
    // The second NIC shares the peer's first until the peer has announced one for it, and that works.
    let mut late = Case::new(2, 1);
    let shared = Pair { local: addr(2, 2), remote: late.view().first.1, lane: 0 };
    let own = Pair { local: addr(2, 2), remote: late.remotes[0].addr, lane: 0 };
    let first = Pair { local: addr(1, 2), ..shared };
    let in_use = |pair, works| PairInUse { pair, initiator: true, works };
    late.subflows = vec![in_use(first, true), in_use(shared, true), in_use(own, false)];
    assert!(NicPairs.superfluous(&late.view()).is_empty());
    late.subflows[2].works = true;
    assert_eq!(NicPairs.superfluous(&late.view()), [shared]);
    let mut server = Case::new(3, 0);
    server.initiator = false;
    assert!(server.wanted(&pairs).is_empty());
    assert_eq!(server.announced(&pairs), [1, 2, 3].map(|network| addr(network, 2)));
}

#[test]
fn names_round_trip_and_mistakes_name_the_choices() {
    for name in PathStrategyKind::NAMES {
        let kind: PathStrategyKind = name.parse().unwrap();
        assert!(kind.to_string().starts_with(name) && name == kind.build().name(), "{kind}");
        assert_eq!(kind.to_string().parse::<PathStrategyKind>().unwrap().to_string(), kind.to_string());
    }
    for text in ["mesh", "ndiffports:0", "ndiffports:65", "ndiffports:x"] {
        let error = text.parse::<PathStrategyKind>().unwrap_err().to_string();
        assert!(error.contains(&format!("'{text}'")), "{error}");
        assert!(PathStrategyKind::NAMES.iter().all(|name| error.contains(name)), "{error}");
    }
    assert_eq!(PathStrategyKind::Custom(Arc::new(FullMesh)).to_string(), "fullmesh");
}
