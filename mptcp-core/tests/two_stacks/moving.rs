//! Hosts whose addresses change, and what the peer is told of new subflows.

use std::time::Duration;

use mptcp_core::{EndpointFlags, Limits, StackConfig};

use super::world::{World, config};

/// The client has as many subflows as the server takes when it moves to another network: what it had there vanishes in silence.
#[test]
fn a_host_can_move_to_a_new_address_at_the_limit() {
    // The join comes after the news of the old address, or before it, which takes another attempt.
    for (delay, patience) in [(20, 1), (1, 15)] {
        let limited = || StackConfig { limits: Limits { subflows: 2, add_addr_accepted: 0 }, ..config() };
        let mut world = World::new(1, 4, [limited(), limited()]);
        let flags = EndpointFlags { subflow: true, ..EndpointFlags::default() };
        let [moves, _] = [1, 2].map(|link| world.endpoint(0, link, true, flags));
        let conns = world.open();
        assert!(world.run_until(5, |world| world.subflows_up(1, conns[1]) == 3));
        world.run_for(Duration::from_secs(1));
        world.links[1].down = true;
        world.links[3].delay = Duration::from_millis(delay);
        let now = world.now;
        world.hosts[0].stack.remove_endpoint(now, moves).unwrap();
        world.endpoint(0, 3, true, flags);
        assert!(world.run_until(patience, |world| world.subflows_up(0, conns[0]) == 3), "{:?}", world.hosts[0].events);
    }
}
