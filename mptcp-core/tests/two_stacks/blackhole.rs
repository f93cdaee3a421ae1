//! SYNs with MP_CAPABLE that vanish, and what is remembered of that (RFC 8684 section 3.9.3).

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use mptcp_core::{BlackholeScope, ConnConfig, ConnId, Counter, Event, FallbackCause, StackConfig};
use tcp_adapter::ConnectRequest;

use super::world::{PORT, World, address, config};
use crate::middlebox::{is_syn, on_packets, subtypes};

/// A world in which SYNs with MPTCP options vanish as long as the flag is set.
fn world_with_hole(seed: u64, scope: BlackholeScope) -> (World, Rc<Cell<bool>>) {
    let config = || StackConfig { blackhole_scope: scope, ..config() };
    let mut world = World::new(seed, 1, [config(), config()]);
    let open = Rc::new(Cell::new(true));
    let swallows = Rc::clone(&open);
    world.middleboxes[0] = Some(on_packets(move |_, packet| {
        let vanishes = swallows.get() && is_syn(&packet) && !subtypes(&packet).is_empty();
        if vanishes { Vec::new() } else { vec![packet] }
    }));
    (world, open)
}

/// Connects once more: how long that takes, and what became of MPTCP.
fn connect(world: &mut World, config: ConnConfig) -> (Duration, Option<FallbackCause>) {
    let remote = (address(1, 0, true), PORT).into();
    let request = ConnectRequest { local: address(0, 0, true), local_port: None, remote };
    let begin = world.now;
    let conn: ConnId = world.hosts[0].stack.connect(begin, &request, config).unwrap();
    assert!(world.run_until(60, |world| world.saw(0, Event::Established(conn))));
    (world.now - begin, world.hosts[0].stack.info(conn).unwrap().fallback)
}

#[test]
fn a_black_hole_is_remembered_for_a_time_that_doubles_until_the_option_passes() {
    let (mut world, hole) = world_with_hole(1, BlackholeScope::Destination);
    let usual = ConnConfig::default;
    for hours in [1, 2, 4] {
        let (time, fallback) = connect(&mut world, usual());
        assert_eq!(fallback, Some(FallbackCause::SynAckWithoutCapable));
        assert!(time > Duration::from_secs(3), "{time:?}");
        let known = world.hosts[0].stack.blackholes()[0];
        assert_eq!(known.destination, Some(address(1, 0, true)));
        assert!(known.until > world.now + Duration::from_secs(hours * 3600 - 60), "{known:?}");
        let (time, fallback) = connect(&mut world, usual());
        assert_eq!(fallback, Some(FallbackCause::Blackhole));
        assert!(time < Duration::from_millis(100), "{time:?}");
        world.run_for(Duration::from_secs(hours * 3600));
    }
    assert_eq!(world.mib(0, Counter::Blackhole), 3);
    assert_eq!(world.mib(0, Counter::MPCapableSYNTXDisabled), 3);
    hole.set(false);
    assert_eq!(connect(&mut world, usual()).1, None, "the time is over, and nothing is in the way any more");
    assert!(world.hosts[0].stack.blackholes().is_empty());
    hole.set(true);
    connect(&mut world, usual());
    let known = world.hosts[0].stack.blackholes()[0];
    assert!(known.until <= world.now + Duration::from_secs(3600), "success has reset the count: {known:?}");
}

#[test]
fn what_is_asked_for_expressly_is_offered_and_what_is_forgotten_too() {
    let (mut world, hole) = world_with_hole(2, BlackholeScope::All);
    connect(&mut world, ConnConfig::default());
    assert_eq!(world.hosts[0].stack.blackholes()[0].destination, None);
    hole.set(false);
    assert_eq!(connect(&mut world, ConnConfig::default()).1, Some(FallbackCause::Blackhole));
    let expressly = ConnConfig { mptcp: Some(true), ..ConnConfig::default() };
    assert_eq!(connect(&mut world, expressly).1, None);
    hole.set(true);
    connect(&mut world, ConnConfig::default());
    hole.set(false);
    world.hosts[0].stack.forget_blackholes();
    assert_eq!(connect(&mut world, ConnConfig::default()).1, None);
}

#[test]
fn a_peer_without_mptcp_or_behind_a_bad_wire_is_no_black_hole() {
    let plain = StackConfig { mptcp: false, ..config() };
    let mut world = World::new(3, 1, [config(), plain]);
    assert_eq!(connect(&mut world, ConnConfig::default()).1, Some(FallbackCause::SynAckWithoutCapable));
    assert_eq!((world.mib(0, Counter::Blackhole), world.hosts[0].stack.blackholes().len()), (0, 0));
    // So many SYNs are lost as are sent before the option is left out, less one.
    let mut world = World::simple(4, 1);
    let mut left = 2;
    world.middleboxes[0] = Some(on_packets(move |_, packet| {
        if is_syn(&packet) && left > 0 {
            left -= 1;
            return Vec::new();
        }
        vec![packet]
    }));
    assert_eq!(connect(&mut world, ConnConfig::default()).1, None);
    assert_eq!(world.mib(0, Counter::Blackhole), 0);
}
