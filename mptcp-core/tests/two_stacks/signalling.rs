//! ADD_ADDR, REMOVE_ADDR and MP_PRIO.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use mptcp_core::{ConnId, Counter, EndpointFlags, EndpointId, Event, Limits, StackConfig, SubflowId};
use tcp_adapter::conformance::packet::{Packet, RST};

use crate::middlebox::{edit_option, on_packets, remove_options, subtypes};
use super::world::{PORT, World, address, config};

const DSS: u8 = 2;
const ADD_ADDR: u8 = 3;
const REMOVE_ADDR: u8 = 4;
const PRIO: u8 = 5;

fn signal() -> EndpointFlags {
    EndpointFlags { signal: true, ..EndpointFlags::default() }
}

#[test]
fn an_announced_address_is_echoed_and_joined_from_either_side() {
    for announcing in [0, 1] {
        for ipv4 in [true, false] {
            let mut world = World::simple(1, 3);
            let conns = world.open();
            world.send(0, conns[0], 1000, false);
            world.send(1, conns[1], 1000, false);
            world.endpoint(announcing, 1, ipv4, signal());
            let joined = world.run_until(5, |world| {
                world.subflows_up(0, conns[0]) == 2
                    && world.subflows_up(1, conns[1]) == 2
                    && world.mib(announcing, Counter::EchoAdd) == 1
            });
            assert!(joined, "host {announcing}: {:?}", world.hosts[1 - announcing].events);
            assert_eq!(world.mib(announcing, Counter::AddAddrTx), 1);
            assert_eq!(world.mib(1 - announcing, Counter::AddAddr), 1);
            let subflow = &world.hosts[announcing].stack.subflows(conns[announcing])[1];
            assert_eq!(subflow.local.ip(), address(announcing, 1, ipv4));
            assert_eq!(subflow.local_addr_id, mptcp_core::wire::AddrId(1));
        }
    }
}

#[test]
fn an_announcement_on_a_silent_connection_is_echoed_and_joined_after_the_first_dss() {
    // As with Linux, which acknowledges the keys with nothing but an ADD_ADDR.
    let silent = Rc::new(Cell::new(true));
    let still = Rc::clone(&silent);
    let mut world = World::simple(9, 2);
    world.middleboxes[0] = Some(on_packets(move |host, mut packet| {
        if host == 1 && still.get() {
            remove_options(&mut packet, |subtype| subtype == DSS);
        }
        vec![packet]
    }));
    let conns = world.open();
    world.endpoint(1, 1, true, signal());
    assert!(world.run_until(5, |world| world.mib(1, Counter::EchoAdd) == 1));
    assert_eq!(world.mib(1, Counter::AddAddrTx), 1);
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.subflows_up(0, conns[0]), 1, "no subflow before a DSS (RFC 8684 section 3.1)");
    silent.set(false);
    world.send(0, conns[0], 1000, false);
    assert!(world.run_until(5, |world| world.subflows_up(0, conns[0]) == 2));
}

#[test]
fn an_announcement_that_leaves_no_room_for_the_first_dss_is_followed_by_it() {
    let mut world = World::simple(13, 2);
    // What the server sends with payload is too long for the path, so that no data brings a DSS to the client.
    world.middleboxes[0] = Some(on_packets(|host, packet| {
        let is_swallowed = host == 1 && !packet.payload.is_empty();
        if is_swallowed { Vec::new() } else { vec![packet] }
    }));
    world.endpoint(1, 1, false, signal());
    let conns = world.open();
    world.send(1, conns[1], 1000, false);
    let transferred = world.run_until(10, |world| world.transferred(conns, false));
    assert!(transferred, "{:?} {:?}", world.hosts[0].events, world.hosts[1].stack.mib());
}

#[test]
fn an_unanswered_announcement_is_repeated() {
    let mut lost = 0;
    let mut world = World::simple(2, 2);
    world.middleboxes[0] = Some(on_packets(move |_, packet| {
        if subtypes(&packet).contains(&ADD_ADDR) && lost < 2 {
            lost += 1;
            return Vec::new();
        }
        vec![packet]
    }));
    let conns = world.open();
    world.send(0, conns[0], 1000, false);
    world.endpoint(1, 1, true, signal());
    assert!(world.run_until(10, |world| world.subflows_up(0, conns[0]) == 2));
    assert_eq!(world.mib(1, Counter::AddAddrTx), 3);
}

#[test]
fn many_announcements_leave_one_by_one_and_all_arrive() {
    let mut world = World::simple(8, 6);
    let conns = world.open();
    world.send(0, conns[0], 1000, false);
    for link in 1..6 {
        world.endpoint(1, link, true, signal());
        world.endpoint(1, link, false, signal());
    }
    world.run_for(Duration::from_millis(8));
    assert_eq!(world.mib(1, Counter::AddAddrTx), 1, "Linux would drop a second one on the heels of the first");
    assert!(world.run_until(10, |world| world.mib(1, Counter::EchoAdd) == 10), "{:?}", world.hosts[1].stack.mib());
    assert_eq!(world.mib(1, Counter::AddAddrTx), 10);
    assert!(world.run_until(10, |world| world.subflows_up(0, conns[0]) == 9), "limit of 8 extra subflows");
    assert_eq!(world.mib(0, Counter::AddAddrDrop), 2, "limit of 8 accepted addresses");
}

#[test]
fn no_more_than_two_signals_leave_in_a_row() {
    let sent = Rc::new(RefCell::new(Vec::new()));
    let mut world = World::simple(8, 3);
    let conns = world.open();
    world.send(0, conns[0], 1000, false);
    let announced = world.endpoint(1, 1, true, signal());
    assert!(world.run_until(5, |world| world.mib(1, Counter::EchoAdd) == 1));
    world.run_for(Duration::from_secs(1));
    let seen = Rc::clone(&sent);
    world.middleboxes[0] = Some(on_packets(move |host, packet| {
        let signals = subtypes(&packet).into_iter().filter(|subtype| [ADD_ADDR, REMOVE_ADDR, PRIO].contains(subtype));
        if host == 1 {
            seen.borrow_mut().extend(signals);
        }
        vec![packet]
    }));
    let now = world.now;
    world.hosts[1].stack.set_backup(now, conns[1], SubflowId(0), true).unwrap();
    world.hosts[1].stack.remove_endpoint(now, announced).unwrap();
    world.endpoint(1, 2, true, signal());
    world.run_for(Duration::from_millis(8));
    assert_eq!(sent.borrow().len(), 2, "a third duplicate ACK would look like a loss: {sent:?}");
    world.run_for(Duration::from_millis(500));
    for subtype in [ADD_ADDR, REMOVE_ADDR, PRIO] {
        assert!(sent.borrow().contains(&subtype), "{sent:?}");
    }
}

#[test]
fn an_announcement_with_a_wrong_hmac_is_ignored() {
    let mut world = World::simple(3, 2);
    world.middleboxes[0] = Some(on_packets(|_, mut packet| {
        // The address is changed on the way, as an attacker would do.
        edit_option(&mut packet, ADD_ADDR, |option| option[7] ^= 3);
        vec![packet]
    }));
    let conns = world.open();
    world.send(0, conns[0], 1000, false);
    world.endpoint(1, 1, true, signal());
    world.run_for(Duration::from_secs(5));
    assert!(world.mib(0, Counter::AddAddrHMacFailure) >= 1);
    assert_eq!(world.mib(0, Counter::AddAddr), 0);
    assert_eq!(world.mib(0, Counter::EchoAddTx), 0);
    assert_eq!(world.subflows_up(0, conns[0]), 1);
    assert!(!world.hosts[0].events.iter().any(|event| matches!(event, Event::AddressAnnounced(..))));
}

#[test]
fn attempts_to_announce_count_only_while_a_subflow_can_carry_them() {
    let mut world = World::simple(10, 3);
    let conns = world.open();
    world.send(0, conns[0], 1000, false);
    assert!(world.run_until(5, |world| world.transferred(conns, false)));
    // Something on the path resets the only subflow on both sides, and lets none be made again.
    world.middleboxes[0] = Some(on_packets(|_, packet| {
        let reset = Packet { flags: RST, options: Vec::new(), payload: Vec::new(), ..packet };
        vec![reset]
    }));
    for host in 0..2 {
        world.send(host, conns[host], 10, false);
    }
    let alone = |world: &World| (0..2).all(|host| world.subflows_up(host, conns[host]) == 0);
    assert!(world.run_until(5, alone));
    world.links[0].down = true;
    world.endpoint(1, 1, true, signal());
    for _ in 0..20 {
        // Whatever has the path manager look at the connection again.
        world.hosts[1].stack.set_limits(config().limits);
        world.run_for(Duration::from_secs(1));
    }
    assert_eq!(world.mib(1, Counter::AddAddrTx), 0);
    let (now, remote) = (world.now, std::net::SocketAddr::new(address(1, 2, true), PORT));
    world.hosts[0].stack.create_subflow(now, conns[0], address(0, 2, true), remote, false).unwrap();
    assert!(world.run_until(5, |world| world.subflows_up(0, conns[0]) == 2), "{:?}", world.hosts[1].stack.mib());
    assert_eq!(world.mib(1, Counter::AddAddrTx), 1);
}

/// Two subflows, and an address of host 1 on a third link that host 0 knows and has no subflow to.
fn open_with_unused_address(seed: u64) -> (World, [ConnId; 2], EndpointId) {
    let few = || StackConfig { limits: Limits { subflows: 1, add_addr_accepted: 8 }, ..config() };
    let mut world = World::new(seed, 3, [few(), few()]);
    world.endpoint(0, 1, true, EndpointFlags { subflow: true, ..EndpointFlags::default() });
    let conns = world.open();
    assert!(world.run_until(5, |world| (0..2).all(|host| world.subflows_up(host, conns[host]) == 2)));
    let endpoint = world.endpoint(1, 2, true, signal());
    assert!(world.run_until(5, |world| world.mib(1, Counter::EchoAdd) == 1));
    (world, conns, endpoint)
}

fn removals(world: &World, conn: ConnId, endpoint: EndpointId) -> usize {
    let removed = Event::AddressRemoved(conn, endpoint.into());
    world.hosts[0].events.iter().filter(|event| **event == removed).count()
}

#[test]
fn a_withdrawal_reaches_the_peer_whichever_subflow_loses_it() {
    for broken in 0..2 {
        let (mut world, conns, endpoint) = open_with_unused_address(11);
        world.middleboxes[broken] =
            Some(on_packets(
                |_, packet| {
                    if subtypes(&packet).contains(&REMOVE_ADDR) { Vec::new() } else { vec![packet] }
                },
            ));
        let now = world.now;
        world.hosts[1].stack.remove_endpoint(now, endpoint).unwrap();
        world.run_for(Duration::from_millis(200));
        assert_eq!(removals(&world, conns[0], endpoint), 1, "link {broken}");
    }
}

#[test]
fn a_withdrawal_that_every_subflow_loses_is_repeated_but_not_for_ever() {
    let (mut world, conns, endpoint) = open_with_unused_address(12);
    for link in 0..2 {
        let mut lost = false;
        world.middleboxes[link] = Some(on_packets(move |_, packet| {
            let first = subtypes(&packet).contains(&REMOVE_ADDR) && !std::mem::replace(&mut lost, true);
            if first { Vec::new() } else { vec![packet] }
        }));
    }
    let now = world.now;
    world.hosts[1].stack.remove_endpoint(now, endpoint).unwrap();
    world.run_for(Duration::from_millis(500));
    assert_eq!(removals(&world, conns[0], endpoint), 0);
    world.run_for(Duration::from_secs(2));
    assert_eq!(removals(&world, conns[0], endpoint), 1);
    world.run_for(Duration::from_secs(60));
    assert_eq!(removals(&world, conns[0], endpoint), 1, "the application is told once");
    assert_eq!(world.mib(1, Counter::RmAddrTx), 6, "three times on either subflow");
    assert_eq!(world.mib(0, Counter::RmAddr), 4);
    world.send(0, conns[0], 100_000, true);
    world.send(1, conns[1], 100_000, true);
    assert!(world.run_until(30, |world| world.transferred(conns, true)));
    world.close_all();
}

#[test]
fn an_address_that_is_used_again_is_not_withdrawn_behind_its_back() {
    // The first address has the id 0 whenever it is used.
    let mut world = World::simple(13, 2);
    let flags = EndpointFlags { subflow: true, ..EndpointFlags::default() };
    let first = world.endpoint(0, 0, true, flags);
    let conns = world.open_mesh();
    let now = world.now;
    world.hosts[0].stack.remove_endpoint(now, first).unwrap();
    assert!(world.run_until(5, |world| world.mib(1, Counter::RmAddr) == 1));
    world.run_for(Duration::from_millis(500));
    world.endpoint(0, 0, true, flags);
    assert!(world.run_until(5, |world| world.subflows_up(1, conns[1]) == 2));
    world.run_for(Duration::from_secs(20));
    assert_eq!(world.mib(1, Counter::RmAddr), 1);
    assert_eq!(world.subflows_up(1, conns[1]), 2);
}

#[test]
fn a_removed_endpoint_is_withdrawn_and_its_subflow_closed() {
    let mut world = World::simple(4, 3);
    let conns = world.open();
    world.send(0, conns[0], 1000, false);
    let endpoint = world.endpoint(1, 1, true, signal());
    assert!(world.run_until(5, |world| world.subflows_up(0, conns[0]) == 2));
    let now = world.now;
    world.hosts[1].stack.remove_endpoint(now, endpoint).unwrap();
    let removed = Event::AddressRemoved(conns[0], mptcp_core::wire::AddrId(1));
    assert!(world.run_until(5, |world| world.saw(0, removed) && world.subflows_up(0, conns[0]) == 1));
    assert_eq!(world.mib(0, Counter::RmAddr), 1);
    world.run_for(Duration::from_secs(5));
    assert_eq!(world.subflows_up(1, conns[1]), 1, "a withdrawn address is not used again");
    world.send(0, conns[0], 100_000, true);
    world.send(1, conns[1], 100_000, true);
    assert!(world.run_until(30, |world| world.transferred(conns, true)));
    world.close_all();
}

#[test]
fn removing_the_first_address_keeps_the_connection_on_the_others() {
    let mut world = World::simple(5, 3);
    let first = world.endpoint(0, 0, true, EndpointFlags { subflow: true, ..EndpointFlags::default() });
    let conns = world.open_mesh();
    world.send(0, conns[0], 400_000, false);
    let now = world.now;
    world.hosts[0].stack.remove_endpoint(now, first).unwrap();
    let removed = Event::AddressRemoved(conns[1], mptcp_core::wire::AddrId(0));
    assert!(world.run_until(5, |world| world.saw(1, removed) && world.subflows_up(1, conns[1]) == 2));
    world.send(0, conns[0], 400_000, true);
    world.send(1, conns[1], 400_000, true);
    assert!(world.run_until(30, |world| world.transferred(conns, true)));
    world.close_all();
}

#[test]
fn a_withdrawn_address_whose_path_still_answers_stays() {
    let mut world = World::simple(6, 2);
    let conns = world.open_mesh();
    // A forged or premature REMOVE_ADDR for the second subflow's address.
    let mut done = false;
    world.middleboxes[0] = Some(on_packets(move |host, mut packet| {
        if host == 0 && !done && packet.payload.is_empty() && packet.options.len() <= 24 {
            done = true;
            packet.options.extend_from_slice(&[30, 4, 0x40, 1]);
        }
        vec![packet]
    }));
    world.send(1, conns[1], 200_000, true);
    world.send(0, conns[0], 0, true);
    assert!(world.run_until(30, |world| world.mib(1, Counter::RmAddr) == 1), "{:?}", world.hosts[1].stack.mib());
    assert!(world.run_until(30, |world| world.transferred(conns, true)));
    assert_eq!(world.mib(1, Counter::RmSubflow), 0);
}

#[test]
fn a_backup_path_carries_data_only_when_the_others_are_gone() {
    let mut world = World::simple(7, 2);
    let backup = EndpointFlags { subflow: true, backup: true, ..EndpointFlags::default() };
    let endpoint = world.endpoint(0, 1, true, backup);
    let conns = world.open();
    assert!(world.run_until(5, |world| world.subflows_up(0, conns[0]) == 2));
    world.send(0, conns[0], 500_000, false);
    world.send(1, conns[1], 500_000, false);
    assert!(world.run_until(30, |world| world.transferred(conns, false)));
    for host in 0..2 {
        assert_eq!(world.hosts[host].stack.subflows(conns[host])[1].bytes_sent, 0, "host {host}");
    }
    // No longer a backup: the peer is told, and both use it.
    let now = world.now;
    world.hosts[0].stack.set_endpoint_backup(now, endpoint, false).unwrap();
    assert!(world.run_until(5, |world| world.mib(1, Counter::MPPrioRx) == 1));
    for link in &mut world.links {
        link.rate = Some(10_000_000);
    }
    world.send(0, conns[0], 500_000, false);
    world.send(1, conns[1], 500_000, false);
    assert!(world.run_until(30, |world| world.transferred(conns, false)));
    for host in 0..2 {
        assert!(world.hosts[host].stack.subflows(conns[host])[1].bytes_sent > 50_000, "host {host}");
    }
    // A backup again, and the only path left.
    let now = world.now;
    world.hosts[0].stack.set_endpoint_backup(now, endpoint, true).unwrap();
    world.run_for(Duration::from_millis(100));
    world.links[0].down = true;
    world.send(0, conns[0], 500_000, false);
    world.send(1, conns[1], 500_000, false);
    assert!(world.run_until(60, |world| world.transferred(conns, false)));
}

#[test]
fn an_address_that_was_withdrawn_can_come_back() {
    for host in 0..2 {
        let mut world = World::simple(9, 2);
        let conns = world.open();
        world.send(0, conns[0], 1000, false);
        let flags = [EndpointFlags { subflow: true, ..EndpointFlags::default() }, signal()][host];
        for round in 0..3 {
            let endpoint = world.endpoint(host, 1, true, flags);
            let joined = world.run_until(10, |world| world.subflows_up(0, conns[0]) == 2);
            assert!(joined, "host {host}, round {round}: {:?}", world.hosts[0].events);
            let now = world.now;
            world.hosts[host].stack.remove_endpoint(now, endpoint).unwrap();
            assert!(world.run_until(10, |world| (0..2).all(|host| world.subflows_up(host, conns[host]) == 1)));
            world.run_for(Duration::from_secs(2));
        }
    }
}
