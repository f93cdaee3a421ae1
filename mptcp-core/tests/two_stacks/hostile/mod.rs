//! Peers that break the rules on purpose.

pub(super) mod attacker;
mod floods;
mod fuzz;
mod options;

use std::time::Duration;

use mptcp_core::{ConnId, Event, StackConfig};

use crate::middlebox::{MPTCP, is_syn, on_packets, subtypes, whole_options};
use super::world::{World, config};

/// A connection of honest hosts with two subflows; host 1 has this configuration.
fn beside_a_good_connection(seed: u64, victim: StackConfig) -> (World, [ConnId; 2]) {
    let mut world = World::new(seed, 2, [config(), victim]);
    let conns = world.open_mesh();
    world.send(0, conns[0], 100_000, false);
    world.send(1, conns[1], 100_000, false);
    assert!(world.run_until(10, |world| world.transferred(conns, false)));
    (world, conns)
}

/// The good connection still has both subflows, carries data, and closes. Nothing is left of any connection then.
fn good_connection_is_unharmed(mut world: World, conns: [ConnId; 2]) {
    for host in 0..2 {
        assert_eq!(world.subflows_up(host, conns[host]), 2, "{:#?}", world.hosts[host].stack.subflows(conns[host]));
    }
    world.send(0, conns[0], 200_000, true);
    world.send(1, conns[1], 200_000, true);
    assert!(world.run_until(30, |world| world.transferred(conns, true)));
    world.close_all();
}

#[test]
fn a_handshake_that_ends_in_a_reset_leaves_nothing_behind() {
    let mut world = World::simple(1, 1);
    world.middleboxes[0] = Some(on_packets(|host, mut packet| {
        if host == 0 && !is_syn(&packet) && subtypes(&packet).contains(&0) {
            // Data with a mapping that has a checksum, although none was negotiated.
            packet.options = whole_options(&packet.options).into_iter().filter(|option| option[0] == MPTCP).flatten().collect();
            packet.options.extend_from_slice(&[30, 16, 0x20, 0x04, 0, 0, 0, 1, 0, 0, 0, 1, 0, 4, 9, 9]);
            packet.payload = b"data".to_vec();
        }
        vec![packet]
    }));
    let client = world.connect(true);
    assert!(world.run_until(5, |world| world.saw(0, Event::Established(client))));
    world.run_for(Duration::from_secs(2));
    assert_eq!(world.hosts[1].stack.table_sizes(), (0, 0, 0));
    assert_eq!(world.hosts[1].events, [], "the application never knew of it");
}
