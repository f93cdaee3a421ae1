//! Which congestion control subflows have.

use mptcp_core::{ConfigError, ConnConfig, Coupling, CouplingError, Stack, StackConfig};
use tcp_adapter::{ConnectError, ConnectRequest};

use super::TCPS;
use super::world::{PORT, World, address, config};
use crate::tcp::{Tcp, TcpSettings};

/// Names of the congestion controls of a host's subflows.
fn controls(world: &World, host: usize, conns: [mptcp_core::ConnId; 2]) -> Vec<&'static str> {
    let subflows = world.hosts[host].stack.subflows(conns[host]);
    subflows.iter().map(|subflow| subflow.tcp.unwrap().congestion.unwrap()).collect()
}

/// On hosts whose TCP is the project's own.
fn coupled(coupling: Coupling) -> [StackConfig; 2] {
    TCPS.map(|tcp| match tcp {
        Tcp::Native => StackConfig { coupling, ..config() },
        Tcp::Smoltcp => config(),
    })
}

#[test]
fn all_subflows_of_a_connection_are_coupled() {
    for coupling in Coupling::ALL {
        let mut world = World::new(1, 3, coupled(coupling));
        let conns = world.open_mesh();
        for host in 0..2 {
            let name = match (TCPS[host], coupling) {
                (Tcp::Smoltcp, _) | (_, Coupling::Uncoupled) => "cubic",
                (Tcp::Native, Coupling::Auto) => "coupled-cubic",
                (Tcp::Native, _) => coupling.name(),
            };
            assert_eq!(controls(&world, host, conns), [name; 3], "host {host}, {coupling}");
        }
        world.send(0, conns[0], 3_000_000, true);
        world.send(1, conns[1], 3_000_000, true);
        assert!(world.run_until(60, |world| world.transferred(conns, true)), "{coupling}");
    }
}

#[test]
fn the_coupling_can_be_changed_while_data_flows() {
    let mut world = World::simple(2, 2);
    let conns = world.open_mesh();
    world.send(0, conns[0], 30_000_000, true);
    for coupling in [Coupling::Olia, Coupling::Auto, Coupling::Uncoupled, Coupling::Wvegas, Coupling::Lia] {
        world.run_for(std::time::Duration::from_millis(20));
        for host in 0..2 {
            let before = world.hosts[host].stack.info(conns[host]).unwrap().coupling;
            let changed = world.hosts[host].stack.set_coupling(world.now, conns[host], coupling);
            let after = world.hosts[host].stack.info(conns[host]).unwrap().coupling;
            if TCPS[host] == Tcp::Native {
                assert_eq!((changed, after), (Ok(()), coupling));
                let names = controls(&world, host, conns);
                let expected = match coupling {
                    Coupling::Uncoupled => "cubic",
                    Coupling::Auto => "coupled-cubic",
                    _ => coupling.name(),
                };
                assert_eq!(names, [expected; 2]);
            } else if coupling == Coupling::Uncoupled {
                assert_eq!((changed, after), (Ok(()), coupling));
            } else {
                assert_eq!(changed, Err(CouplingError::Unsupported { coupling, tcp: "smoltcp" }));
                assert_eq!(before, after);
            }
        }
    }
    assert!(world.run_until(60, |world| world.transferred(conns, false)));
    world.close_all();
    let gone = world.hosts[0].stack.set_coupling(world.now, conns[0], Coupling::Uncoupled);
    assert_eq!(gone, Err(CouplingError::NoConnection));
}

/// A window that has been found is not thrown away.
#[test]
fn windows_survive_another_coupling() {
    if TCPS[0] != Tcp::Native {
        return;
    }
    let mut world = World::simple(4, 1);
    let conns = world.open();
    world.send(0, conns[0], 30_000_000, false);
    world.run_for(std::time::Duration::from_millis(100));
    let window = |world: &World| world.hosts[0].stack.subflows(conns[0])[0].tcp.unwrap().cwnd.unwrap();
    let before = window(&world);
    assert!(before > 100_000, "{before}");
    world.hosts[0].stack.set_coupling(world.now, conns[0], Coupling::Balia).unwrap();
    assert_eq!(window(&world), before);
}

#[test]
fn plain_tcp_keeps_its_own() {
    let configs = coupled(Coupling::Lia).map(|config| StackConfig { mptcp: false, ..config });
    let mut world = World::new(3, 1, configs);
    let conns = world.open();
    assert_eq!([0, 1].map(|host| controls(&world, host, conns)), [["cubic"], ["cubic"]]);
}

#[test]
fn a_tcp_that_cannot_is_refused() {
    let sealed = || Tcp::Smoltcp.build(TcpSettings::default(), 1 << 16, 1);
    let config = StackConfig { coupling: Coupling::Auto, ..config() };
    let error = Stack::new(sealed(), config, [0; 32]).err().unwrap();
    assert!(matches!(error, ConfigError::Coupling(_)));
    let text = "coupling auto needs a TCP that takes a congestion control from above, which smoltcp does not";
    assert_eq!(error.to_string(), text);

    let mut world = World::simple(5, 1);
    let request = ConnectRequest {
        local: address(0, 0, true),
        local_port: None,
        remote: std::net::SocketAddr::new(address(1, 0, true), PORT),
    };
    let wanted = ConnConfig { coupling: Some(Coupling::Lia), ..ConnConfig::default() };
    let opened = world.hosts[0].stack.connect(world.now, &request, wanted);
    match TCPS[0] {
        Tcp::Native => assert!(opened.is_ok()),
        Tcp::Smoltcp => assert_eq!(opened, Err(ConnectError::NoCongestionControl("smoltcp"))),
    }
}
