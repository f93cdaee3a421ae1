//! No part of a stream is ever taken for the whole: where a FIN may mean the end of it, none leaves before that.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use mptcp_core::{
    ConnId, Counter, EndpointFlags, Event, FallbackCause, StackConfig, SubflowCloseReason, SubflowError, SubflowId, SubflowState,
};
use tcp_adapter::conformance::packet::{FIN, Packet};

use crate::middlebox::{is_syn, on_packets, strip, subtypes};
use super::TCPS;
use super::world::{World, config};
use crate::tcp::Tcp;

/// Hosts with checksums, and the flag that has the next byte of host 0 altered, so that both fall back.
fn about_to_fall_back(seed: u64) -> (World, Rc<Cell<bool>>) {
    let config = || StackConfig { checksum: true, ..config() };
    let mut world = World::new(seed, 1, [config(), config()]);
    let alter = Rc::new(Cell::new(false));
    let set = alter.clone();
    world.middleboxes[0] = Some(on_packets(move |host, mut packet| {
        if host == 0 && !packet.payload.is_empty() && set.take() {
            packet.payload[0] ^= 0x55;
        }
        vec![packet]
    }));
    (world, alter)
}

/// Has both fall back while host 0 has more to send than fits into windows.
fn fall_back(world: &mut World, conns: [ConnId; 2], alter: &Cell<bool>) {
    world.flow(1, conns[1]).unchecked = true;
    alter.set(true);
    world.send(0, conns[0], 2_000_000, false);
    world.run_for(Duration::from_secs(1));
    let fallen = world.hosts[0].stack.info(conns[0]).unwrap();
    assert_eq!(fallen.fallback, Some(FallbackCause::PeerFailed));
    assert!(!world.transferred(conns, false), "the windows are full");
}

fn all_arrives(mut world: World, conns: [ConnId; 2]) {
    world.run_for(Duration::from_secs(1));
    world.hosts[1].lazy = false;
    world.send(0, conns[0], 0, true);
    world.send(1, conns[1], 10_000, true);
    assert!(world.run_until(60, |world| world.transferred(conns, true)), "{:?}", world.hosts[1].flows[&conns[1]]);
    world.close_all();
}

#[test]
fn the_subflow_of_a_connection_that_has_fallen_back_cannot_be_closed() {
    let (mut world, alter) = about_to_fall_back(1);
    let conns = world.open();
    world.hosts[1].lazy = true;
    fall_back(&mut world, conns, &alter);
    let now = world.now;
    let closed = world.hosts[0].stack.close_subflow(now, conns[0], SubflowId(0));
    assert_eq!(closed, Err(SubflowError::NotMultipath));
    all_arrives(world, conns);
}

#[test]
fn an_address_that_waits_for_its_removal_stays_after_a_fallback() {
    let (mut world, alter) = about_to_fall_back(2);
    let flags = EndpointFlags { subflow: true, ..EndpointFlags::default() };
    let first = world.endpoint(0, 0, true, flags);
    let conns = world.open();
    world.hosts[1].lazy = true;
    world.send(0, conns[0], 1000, false);
    world.run_for(Duration::from_secs(1));
    let now = world.now;
    world.hosts[0].stack.remove_endpoint(now, first).unwrap();
    fall_back(&mut world, conns, &alter);
    all_arrives(world, conns);
}

/// The client's options are stripped behind the SYNs, so that the server speaks regular TCP from the third packet on.
#[test]
fn a_fin_before_any_dss_is_the_end_of_a_plain_stream_and_not_of_the_answer() {
    let mut world = World::simple(3, 1);
    world.middleboxes[0] = Some(strip(|host, packet| host == 0 && !is_syn(packet)));
    let client = world.connect(true);
    assert!(world.run_until(5, |world| world.server_conn().is_some()));
    let conns = [client, world.server_conn().unwrap()];
    world.send(1, conns[1], 0, true);
    assert!(world.run_until(5, |world| world.hosts[0].flows[&client].finished));
    world.run_for(Duration::from_secs(1));
    assert!(!world.hosts[1].flows[&conns[1]].finished, "the client has not closed");
    assert!(world.saw(0, Event::FellBack(client, FallbackCause::DataWithoutMapping)));
    world.send(0, client, 100_000, true);
    assert!(world.run_until(30, |world| world.transferred(conns, true)), "{:?}", world.hosts[1].flows);
    world.close_all();
}

/// A middlebox makes the last segment longer after the DATA_FIN has arrived (as those do that rewrite addresses in FTP).
#[test]
fn a_data_fin_says_nothing_once_a_middlebox_has_changed_the_length() {
    let config = || StackConfig { checksum: true, ..config() };
    let mut world = World::new(4, 1, [config(), config()]);
    let conns = world.open();
    world.send(0, conns[0], 10_000, false);
    assert!(world.run_until(5, |world| world.transferred(conns, false)));
    world.run_for(Duration::from_secs(1));
    // The segment that is held back until the DATA_FIN has passed, and where the original ends.
    let (mut held, mut end) = (None, None);
    world.middleboxes[0] = Some(on_packets(move |host, mut packet: Packet| {
        let is_after = |seq: u32, edge: Option<u32>| edge.is_some_and(|edge| seq.wrapping_sub(edge) < 1 << 31);
        if host == 1 {
            if is_after(packet.ack, end.map(|end: u32| end.wrapping_add(1))) {
                packet.ack = packet.ack.wrapping_sub(1);
            }
            return vec![packet];
        }
        if !packet.payload.is_empty() {
            end = Some(packet.seq.wrapping_add(packet.payload.len() as u32));
            packet.payload.insert(0, b'!');
            if held.is_none() {
                held = Some(Some(packet));
                return Vec::new();
            }
            return vec![packet];
        }
        if is_after(packet.seq, end) {
            packet.seq = packet.seq.wrapping_add(1);
        }
        let data_fin = packet.option(30).is_some_and(|dss| dss[0] >> 4 == 2 && dss[1] & 0x10 != 0);
        match held.as_mut().filter(|_| data_fin).and_then(Option::take) {
            Some(last) => vec![packet, last],
            None => vec![packet],
        }
    }));
    world.flow(1, conns[1]).unchecked = true;
    world.send(0, conns[0], 500, true);
    assert!(world.run_until(30, |world| world.hosts[1].flows[&conns[1]].finished), "{:?}", world.hosts[1].flows);
    assert_eq!(world.hosts[1].flows[&conns[1]].received, 10_501);
    assert!(world.saw(1, Event::FellBack(conns[1], FallbackCause::ChecksumFailed)));
}

/// The peer does not know that its other path is dead in our direction when it closes this one.
#[test]
fn what_the_peer_closes_carries_what_no_other_can() {
    let mut world = World::simple(5, 2);
    let conns = world.open_mesh();
    world.run_for(Duration::from_secs(1));
    world.links[0].down = true;
    world.links[1].rate = Some(10_000_000);
    world.send(0, conns[0], 3_000_000, false);
    world.run_for(Duration::from_secs(1));
    let now = world.now;
    let second = SubflowId(1);
    world.hosts[1].stack.close_subflow(now, conns[1], second).unwrap();
    assert!(world.run_until(10, |world| world.transferred(conns, false)), "{:?}", world.hosts[1].flows);
    let closed = Event::SubflowClosed(conns[0], second, SubflowCloseReason::Normal);
    assert!(world.run_until(5, |world| world.saw(0, closed)), "{:?}", world.hosts[0].events);
}

/// The same, while the application never stops to write: what it writes after the FIN need not go over that subflow, and the path is used again.
#[test]
fn what_the_peer_closes_is_made_again_if_nothing_else_works() {
    let mut world = World::simple(8, 2);
    let conns = world.open_mesh();
    world.run_for(Duration::from_secs(1));
    world.links[0].down = true;
    world.links[1].rate = Some(4_000_000);
    world.send(0, conns[0], 30_000_000, false);
    world.run_for(Duration::from_secs(1));
    let now = world.now;
    let second = SubflowId(1);
    world.hosts[1].stack.close_subflow(now, conns[1], second).unwrap();
    let closed = Event::SubflowClosed(conns[0], second, SubflowCloseReason::Normal);
    assert!(world.run_until(20, |world| world.saw(0, closed)), "{:?}", world.hosts[0].events);
    let before = world.hosts[1].flows[&conns[1]].received;
    let again = |world: &World| world.saw(0, Event::SubflowEstablished(conns[0], SubflowId(2)));
    assert!(world.run_until(3, again), "{:?}", world.hosts[0].events);
    assert!(world.run_until(10, |world| world.hosts[1].flows[&conns[1]].received > before + 1_000_000));
}

/// Who has much to send before it can answer a FIN is waited for as long as it sends.
#[test]
fn a_fin_is_waited_for_as_long_as_something_comes_before_it() {
    let mut world = World::simple(9, 2);
    let conns = world.open_mesh();
    world.run_for(Duration::from_secs(1));
    world.links[0].down = true;
    world.links[1].rate = Some(120_000);
    world.send(0, conns[0], 500_000, false);
    world.run_for(Duration::from_secs(1));
    let now = world.now;
    let second = SubflowId(1);
    world.hosts[1].stack.close_subflow(now, conns[1], second).unwrap();
    assert!(world.run_until(60, |world| world.transferred(conns, false)), "{:?}", world.hosts[1].events);
    for host in 0..2 {
        let closed = Event::SubflowClosed(conns[host], second, SubflowCloseReason::Normal);
        assert!(world.run_until(10, |world| world.saw(host, closed)), "{:?}", world.hosts[host].events);
    }
}

/// ... but not for ever.
#[test]
fn a_peer_that_never_answers_a_fin_does_not_keep_the_subflow() {
    let mut world = World::simple(12, 2);
    for link in &mut world.links {
        link.rate = Some(1_000_000);
    }
    let conns = world.open_mesh();
    world.run_for(Duration::from_secs(1));
    world.middleboxes[1] = Some(on_packets(|host, mut packet| {
        if host == 1 {
            packet.flags &= !FIN;
        }
        vec![packet]
    }));
    world.send(0, conns[0], 60_000_000, false);
    world.run_for(Duration::from_secs(1));
    let now = world.now;
    let second = SubflowId(1);
    world.hosts[1].stack.close_subflow(now, conns[1], second).unwrap();
    let gone = |world: &World| world.hosts[1].stack.subflows(conns[1]).iter().all(|subflow| subflow.id != second);
    assert!(!world.run_until(20, gone), "the peer still sends: {:?}", world.hosts[1].events);
    assert!(world.run_until(150, gone), "{:?}", world.hosts[1].events);
}

/// Its path works, as the FIN has shown: what is on its way there arrives.
#[test]
fn a_fin_of_the_peer_has_nothing_sent_twice() {
    let mut world = World::simple(10, 2);
    for link in &mut world.links {
        link.rate = Some(10_000_000);
    }
    let conns = world.open_mesh();
    world.run_for(Duration::from_secs(1));
    world.send(0, conns[0], 3_000_000, false);
    world.run_for(Duration::from_millis(500));
    let now = world.now;
    world.hosts[1].stack.close_subflow(now, conns[1], SubflowId(1)).unwrap();
    assert!(world.run_until(20, |world| world.transferred(conns, false)), "{:?}", world.hosts[0].events);
    // The other TCP knows little of its round-trip times, which grow here: at times its answers are missed.
    if TCPS[0] == Tcp::Native {
        assert_eq!(world.mib(0, Counter::MPTCPRetrans), 0);
    }
}

/// ... unless it dies then.
#[test]
fn what_is_lost_behind_a_fin_of_the_peer_goes_over_the_other_path() {
    let mut world = World::simple(11, 2);
    for link in &mut world.links {
        link.rate = Some(10_000_000);
    }
    let conns = world.open_mesh();
    world.run_for(Duration::from_secs(1));
    world.send(0, conns[0], 1_000_000, false);
    world.run_for(Duration::from_millis(200));
    let now = world.now;
    world.hosts[1].stack.close_subflow(now, conns[1], SubflowId(1)).unwrap();
    let closing = |world: &World| {
        world.hosts[0].stack.subflows(conns[0]).iter().any(|subflow| subflow.state == SubflowState::Closing)
    };
    assert!(world.run_until(1, closing));
    world.links[1].down = true;
    let held = world.now;
    assert!(world.run_until(20, |world| world.transferred(conns, false)), "{:?}", world.hosts[0].events);
    // A megabyte takes a second.
    assert!(world.now - held < Duration::from_secs(3), "{:?}", world.now - held);
}

/// A FIN that both sides take for the other's wish.
#[test]
fn a_connection_that_has_lost_its_last_subflow_by_fins_gets_another() {
    let mut world = World::simple(6, 1);
    let conns = world.open();
    world.run_for(Duration::from_secs(1));
    // Where the forged FIN is, which the other side has not sent when it is acknowledged.
    let (mut forged, mut sent) = (None, false);
    world.middleboxes[0] = Some(on_packets(move |host, mut packet| {
        if host == 1 {
            sent |= packet.has(FIN);
            if forged.is_none() {
                forged = Some(packet.seq);
                packet.flags |= FIN;
            }
        } else if !sent && forged.is_some_and(|at| packet.ack == at.wrapping_add(1)) {
            packet.ack = packet.ack.wrapping_sub(1);
        }
        vec![packet]
    }));
    world.send(0, conns[0], 1000, false);
    let closed = |event: &Event| matches!(event, Event::SubflowClosed(_, SubflowId(0), SubflowCloseReason::Normal));
    assert!(world.run_until(5, |world| world.hosts[1].events.iter().any(closed)), "{:?}", world.hosts[1].events);
    world.send(0, conns[0], 100_000, true);
    world.send(1, conns[1], 100_000, true);
    assert!(world.run_until(100, |world| world.transferred(conns, true)), "{:?}", world.hosts[0].events);
    world.close_all();
}

/// What tells of altered payload is lost, and there is no more data that could tell of it.
#[test]
fn a_report_of_altered_payload_that_is_lost_is_repeated() {
    let (mut world, alter) = about_to_fall_back(7);
    let altering = world.middleboxes[0].take();
    let mut lost = 0;
    let mut altering = altering.unwrap();
    world.middleboxes[0] = Some(Box::new(move |host, frame| {
        let reports = Packet::parse(&frame).is_some_and(|packet| host == 1 && subtypes(&packet).contains(&6));
        if reports && lost < 2 {
            lost += 1;
            return Vec::new();
        }
        altering(host, frame)
    }));
    let conns = world.open();
    world.flow(1, conns[1]).unchecked = true;
    world.send(0, conns[0], 50_000, false);
    assert!(world.run_until(20, |world| world.transferred(conns, false)));
    world.run_for(Duration::from_secs(1));
    alter.set(true);
    world.send(0, conns[0], 5000, false);
    let fallen = Event::FellBack(conns[0], FallbackCause::PeerFailed);
    assert!(world.run_until(30, |world| world.saw(0, fallen)), "{:?}", world.hosts[0].events);
    world.send(0, conns[0], 20_000, true);
    world.send(1, conns[1], 20_000, true);
    assert!(world.run_until(20, |world| world.transferred(conns, true)));
    world.close_all();
}
