use tcp_adapter::InterfaceConfig;

use super::strategy::PathStrategyKind;
use super::*;

pub(super) fn interfaces(count: u8) -> Vec<InterfaceConfig> {
    (1..=count)
        .map(|n| InterfaceConfig {
            mac: tcp_adapter::MacAddr([2, 0, 0, 0, 0, n]),
            mtu: 1500,
            addrs: vec![format!("10.0.{n}.2/24").parse().unwrap()],
            routes: vec![tcp_adapter::Route::default_via(format!("10.0.{n}.1").parse().unwrap())],
        })
        .collect()
}

fn endpoint(text: &str, flags: EndpointFlags) -> Endpoint {
    Endpoint::new(text.parse().unwrap(), flags)
}

const SUBFLOW: EndpointFlags =
    EndpointFlags { signal: false, subflow: true, backup: false, fullmesh: false, laminar: false, implicit: false };

fn state() -> PathState {
    let ends = ("10.0.1.2:50000".parse().unwrap(), "10.0.1.1:80".parse().unwrap());
    PathState::new(ends, true, std::sync::Arc::new(PathStrategyKind::Endpoints.build()))
}

fn plans(state: &mut PathState, endpoints: &EndpointTable, count: u8) -> Vec<(String, String)> {
    planned(state, endpoints, count, &PolicyState::default())
}

fn planned(state: &mut PathState, endpoints: &EndpointTable, count: u8, policy: &PolicyState) -> Vec<(String, String)> {
    let mut links = Links::default();
    links.refresh(&interfaces(count));
    let around = Surroundings { endpoints, links: &links, policy, limits: Limits::default(), subflows: Vec::new() };
    std::iter::from_fn(|| state.next_plan(&around))
        .map(|plan| (plan.pair.local.to_string(), plan.pair.remote.to_string()))
        .collect()
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(local, remote)| ((*local).to_owned(), (*remote).to_owned())).collect()
}

#[test]
fn subflow_endpoints_go_to_the_first_remote_address_once() {
    let mut endpoints = EndpointTable::default();
    for n in 1..=3 {
        endpoints.add(endpoint(&format!("10.0.{n}.2"), SUBFLOW)).unwrap();
    }
    let mut state = state();
    let expected = pairs(&[("10.0.2.2", "10.0.1.1:80"), ("10.0.3.2", "10.0.1.1:80")]);
    assert_eq!(plans(&mut state, &endpoints, 3), expected);
    assert!(plans(&mut state, &endpoints, 3).is_empty(), "nothing is tried twice");
    state.allow_again("10.0.1.1:80".parse().unwrap());
    assert_eq!(plans(&mut state, &endpoints, 3).len(), 3);
}

#[test]
fn flag_c_keeps_off_the_first_remote_address() {
    let mut endpoints = EndpointTable::default();
    endpoints.add(endpoint("10.0.2.2", SUBFLOW)).unwrap();
    let mut state = state();
    state.deny_remote_initial = true;
    assert!(plans(&mut state, &endpoints, 2).is_empty());
    state.remotes.learn(AddrId(1), "10.0.2.1:80".parse().unwrap(), 8);
    assert_eq!(plans(&mut state, &endpoints, 2), pairs(&[("10.0.2.2", "10.0.2.1:80")]));
}

#[test]
fn announced_addresses_are_reached_from_their_network_or_over_the_mesh() {
    let mut plain = state();
    plain.remotes.learn(AddrId(4), "10.0.2.1:80".parse().unwrap(), 8);
    plain.remotes.learn(AddrId(5), "192.0.2.1:80".parse().unwrap(), 8);
    let none = EndpointTable::default();
    let expected = pairs(&[("10.0.2.2", "10.0.2.1:80"), ("10.0.1.2", "192.0.2.1:80")]);
    assert_eq!(plans(&mut plain, &none, 2), expected);

    let mut endpoints = EndpointTable::default();
    let mesh = EndpointFlags { fullmesh: true, ..SUBFLOW };
    endpoints.add(endpoint("10.0.1.2", mesh)).unwrap();
    endpoints.add(endpoint("10.0.2.2", mesh)).unwrap();
    let mut meshed = state();
    meshed.remotes.learn(AddrId(4), "10.0.2.1:80".parse().unwrap(), 8);
    let mut got = plans(&mut meshed, &endpoints, 2);
    got.sort();
    let expected = pairs(&[("10.0.1.2", "10.0.2.1:80"), ("10.0.2.2", "10.0.1.1:80"), ("10.0.2.2", "10.0.2.1:80")]);
    assert_eq!(got, expected);
}

#[test]
fn local_ids_are_stable_and_distinct() {
    let mut endpoints = EndpointTable::default();
    endpoints.add(endpoint("10.0.2.2", SUBFLOW)).unwrap();
    let state = state();
    let mut id = |text: &str| state.local_id(&mut endpoints, text.parse().unwrap()).0;
    assert_eq!([id("10.0.1.2"), id("10.0.2.2"), id("10.0.3.2"), id("10.0.4.2"), id("10.0.3.2")], [0, 1, 255, 254, 255]);
}

#[test]
fn cheaper_paths_are_opened_first_and_forbidden_or_spare_ones_are_not() {
    let mut endpoints = EndpointTable::default();
    for n in 1..=5 {
        endpoints.add(endpoint(&format!("10.0.{n}.2"), SUBFLOW)).unwrap();
    }
    let rule = |n: usize, usage, cost| PathRule { interface: Some(InterfaceId(n)), usage, cost, ..PathRule::default() };
    let rules = vec![
        rule(1, None, Some(3)),
        rule(2, Some(PathUse::Never), None),
        rule(3, Some(PathUse::Spare), None),
        rule(4, Some(PathUse::Backup), Some(2)),
    ];
    let policy = PolicyState::new(PathPolicy { rules, ..PathPolicy::default() });
    let mut state = state();
    let expected = pairs(&[("10.0.5.2", "10.0.1.1:80"), ("10.0.2.2", "10.0.1.1:80")]);
    assert_eq!(planned(&mut state, &endpoints, 5, &policy), expected);
    state.spares = Some(Box::new(Spares::Needed { serving: false }));
    assert_eq!(planned(&mut state, &endpoints, 5, &policy), pairs(&[("10.0.4.2", "10.0.1.1:80")]));
    state.forget_pairs(|pair| pair.local == "10.0.5.2".parse::<IpAddr>().unwrap());
    assert_eq!(planned(&mut state, &endpoints, 5, &policy), expected[..1]);
}
