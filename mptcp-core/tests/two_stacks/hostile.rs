//! Peers that break the rules on purpose.

use std::time::Duration;

use mptcp_core::Event;

use crate::middlebox::{is_syn, on_packets, subtypes};
use crate::world::World;

#[test]
fn a_handshake_that_ends_in_a_reset_leaves_nothing_behind() {
    let mut world = World::simple(1, 1);
    world.middleboxes[0] = Some(on_packets(|host, mut packet| {
        if host == 0 && !is_syn(&packet) && subtypes(&packet).contains(&0) {
            // Data with a mapping that has a checksum, although none was negotiated.
            packet.options.truncate(20);
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
