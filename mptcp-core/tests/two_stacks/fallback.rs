//! Options stripped and payload altered on the way (RFC 8684 section 3.7): the data is intact or the error is clean.

use mptcp_core::{ChecksumFailure, CloseReason, Counter, Event, FallbackCause, SchedulerKind, StackConfig};
use tcp_adapter::conformance::packet::{ACK, FIN, Packet, SYN};

use crate::middlebox::{is_syn, on_packets, strip, subtypes};
use super::world::{World, config};

/// Transfers both ways over one path with `middlebox`, and expects both hosts to have fallen back.
fn falls_back(world: World, causes: [FallbackCause; 2]) {
    falls_back_for_one_of(world, [&causes[..1], &causes[1..]]);
}

/// The same where it depends on who speaks first.
fn falls_back_for_one_of(mut world: World, causes: [&[FallbackCause]; 2]) {
    let client = world.connect(true);
    assert!(world.run_until(60, |world| world.server_conn().is_some()), "{:?}", world.hosts[0].events);
    let conns = [client, world.server_conn().unwrap()];
    world.send(0, conns[0], 300_000, true);
    world.send(1, conns[1], 300_000, true);
    assert!(
        world.run_until(120, |world| world.transferred(conns, true)),
        "{:?}",
        [0, 1].map(|host| world.hosts[host].stack.info(conns[host]))
    );
    for host in 0..2 {
        let info = world.hosts[host].stack.info(conns[host]).unwrap();
        let cause = info.fallback.unwrap();
        assert!(causes[host].contains(&cause), "host {host}: {cause:?}");
    }
    world.close_all();
}

fn with_middlebox(seed: u64, strips: impl FnMut(usize, &Packet) -> bool + 'static) -> World {
    let mut world = World::simple(seed, 1);
    world.middleboxes[0] = Some(strip(strips));
    world
}

#[test]
fn a_peer_without_mptcp_is_served_as_tcp_in_both_roles() {
    let without = || StackConfig { mptcp: false, ..config() };
    falls_back(
        World::new(1, 1, [config(), without()]),
        [FallbackCause::SynAckWithoutCapable, FallbackCause::NotRequested],
    );
    falls_back(World::new(2, 1, [without(), config()]), [FallbackCause::NotOffered, FallbackCause::NotRequested]);
}

#[test]
fn options_stripped_from_the_syn() {
    let world = with_middlebox(3, |_, packet| is_syn(packet) && !packet.has(ACK));
    falls_back(world, [FallbackCause::SynAckWithoutCapable, FallbackCause::NotRequested]);
}

#[test]
fn options_stripped_from_the_syn_ack() {
    let world = with_middlebox(4, |_, packet| packet.has(SYN | ACK));
    falls_back(world, [FallbackCause::SynAckWithoutCapable, FallbackCause::AckWithoutCapable]);
}

#[test]
fn options_stripped_from_everything_behind_the_syns() {
    let world = with_middlebox(5, |_, packet| !is_syn(packet));
    let either = [FallbackCause::AckWithoutDataAck, FallbackCause::DataWithoutMapping];
    falls_back_for_one_of(world, [&either, &[FallbackCause::AckWithoutCapable]]);
}

#[test]
fn options_stripped_behind_the_syns_in_one_direction() {
    let world = with_middlebox(6, |host, packet| host == 0 && !is_syn(packet));
    let mut world = world;
    let client = world.connect(true);
    assert!(world.run_until(60, |world| world.server_conn().is_some()));
    let conns = [client, world.server_conn().unwrap()];
    world.send(0, conns[0], 100_000, true);
    world.send(1, conns[1], 100_000, true);
    assert!(world.run_until(120, |world| world.transferred(conns, true)));
    assert_eq!(world.hosts[1].stack.info(conns[1]).unwrap().fallback, Some(FallbackCause::AckWithoutCapable));
    assert!(world.hosts[0].stack.info(conns[0]).unwrap().fallback.is_some());

    let world = with_middlebox(7, |host, packet| host == 1 && !is_syn(packet));
    let mut world = world;
    let client = world.connect(true);
    assert!(world.run_until(60, |world| world.server_conn().is_some()));
    let conns = [client, world.server_conn().unwrap()];
    world.send(0, conns[0], 100_000, true);
    world.send(1, conns[1], 100_000, true);
    assert!(world.run_until(120, |world| world.transferred(conns, true)));
    for host in 0..2 {
        assert!(world.hosts[host].stack.info(conns[host]).unwrap().fallback.is_some(), "host {host}");
    }
    assert!(world.mib(0, Counter::InfiniteMapTx) > 0 || world.mib(1, Counter::InfiniteMapRx) > 0);
}

#[test]
fn a_server_that_sends_first_falls_back_too() {
    let mut world = with_middlebox(8, |_, packet| !is_syn(packet));
    let client = world.connect(true);
    assert!(world.run_until(60, |world| world.server_conn().is_some()));
    let conns = [client, world.server_conn().unwrap()];
    world.send(1, conns[1], 200_000, true);
    assert!(world.run_until(60, |world| world.hosts[0].flows[&client].finished));
    assert_eq!(world.hosts[0].stack.info(client).unwrap().fallback, Some(FallbackCause::DataWithoutMapping));
    world.send(0, client, 200_000, true);
    assert!(world.run_until(60, |world| world.transferred(conns, true)));
    world.close_all();
}

#[test]
fn options_stripped_in_mid_connection_end_it_cleanly() {
    let stripping = std::rc::Rc::new(std::cell::Cell::new(false));
    let seen = stripping.clone();
    let mut world = with_middlebox(9, move |_, packet| seen.get() && !is_syn(packet));
    let conns = world.open();
    world.send(0, conns[0], 200_000, false);
    assert!(world.run_until(30, |world| world.transferred(conns, false)));
    stripping.set(true);
    world.send(0, conns[0], 200_000, true);
    // The prefix that arrives is checked byte by byte; the end must be an error, not an end of stream.
    let over = world.run_until(600, |world| {
        (0..2).all(|host| world.hosts[host].events.iter().any(|event| matches!(event, Event::Closed(..))))
    });
    assert!(over, "{:?}", world.hosts[0].stack.info(conns[0]));
    assert!(!world.hosts[1].flows[&conns[1]].finished);
    for host in 0..2 {
        let normal = Event::Closed(conns[host], CloseReason::Normal);
        assert!(!world.saw(host, normal), "host {host} took a truncated stream for a whole one");
    }
    world.close_all();
}

/// Alters one payload byte of every tenth data segment of host 0 once `count` have passed.
fn altering(world: &mut World, link: usize, count: u64) {
    let mut seen = 0;
    world.middleboxes[link] = Some(on_packets(move |host, mut packet| {
        if host == 0 && !packet.payload.is_empty() {
            seen += 1;
            if seen > count && seen % 10 == 0 {
                packet.payload[0] ^= 0x55;
            }
        }
        vec![packet]
    }));
}

fn checksummed(links: usize, failure: ChecksumFailure) -> World {
    // In turn, so that each path carries something.
    let scheduler = SchedulerKind::RoundRobin;
    let config = || StackConfig { checksum: true, scheduler, checksum_failure: failure, ..config() };
    World::new(10, links, [config(), config()])
}

#[test]
fn altered_payload_on_the_only_path_falls_back_as_the_rfc_says() {
    let mut world = checksummed(1, ChecksumFailure::FallBack);
    let conns = world.open();
    altering(&mut world, 0, 50);
    world.flow(1, conns[1]).unchecked = true;
    world.send(0, conns[0], 500_000, true);
    world.send(1, conns[1], 500_000, true);
    assert!(
        world.run_until(120, |world| world.transferred(conns, true)),
        "{:?}",
        [0, 1].map(|host| world.hosts[host].stack.info(conns[host]))
    );
    assert_eq!(world.hosts[1].stack.info(conns[1]).unwrap().fallback, Some(FallbackCause::ChecksumFailed));
    assert_eq!(world.hosts[0].stack.info(conns[0]).unwrap().fallback, Some(FallbackCause::PeerFailed));
    assert_eq!(world.mib(1, Counter::DataCsumErr), 1);
    assert!(world.mib(1, Counter::MPFailTx) >= 1 && world.mib(0, Counter::MPFailRx) >= 1);
    assert_eq!(world.mib(0, Counter::InfiniteMapTx), 1);
    assert!(world.hosts[1].flows[&conns[1]].altered > 0, "what the middlebox made of it is delivered, as in TCP");
    world.close_all();
}

#[test]
fn a_join_that_the_peer_does_not_know_of_prevents_no_fallback() {
    let mut world = checksummed(2, ChecksumFailure::FallBack);
    // Neither the third ACK arrives, which makes it a subflow for the server too, nor the RST that follows.
    world.middleboxes[1] = Some(on_packets(|_, packet| if is_syn(&packet) { vec![packet] } else { Vec::new() }));
    world.mesh(true);
    let conns = world.open();
    let pending = |world: &World| world.hosts[0].stack.subflows(conns[0]).len() == 2;
    assert!(world.run_until(5, pending));
    world.run_for(std::time::Duration::from_millis(200));
    altering(&mut world, 0, 50);
    world.flow(1, conns[1]).unchecked = true;
    for host in 0..2 {
        world.send(host, conns[host], 500_000, true);
    }
    assert!(world.run_until(60, |world| world.transferred(conns, true)));
    assert!(world.saw(0, Event::FellBack(conns[0], FallbackCause::PeerFailed)));
    world.close_all();
}

#[test]
fn altered_payload_on_the_only_path_aborts_if_so_configured() {
    let mut world = checksummed(1, ChecksumFailure::Abort);
    let conns = world.open();
    altering(&mut world, 0, 50);
    world.send(0, conns[0], 500_000, true);
    assert!(world.run_until(60, |world| world.saw(1, Event::Closed(conns[1], CloseReason::Aborted))));
    assert!(world.run_until(60, |world| world.saw(0, Event::Closed(conns[0], CloseReason::Reset))));
    assert_eq!(world.hosts[1].flows[&conns[1]].altered, 0);
    world.close_all();
}

#[test]
fn altered_payload_on_one_of_several_paths_costs_that_path_only() {
    let mut world = checksummed(3, ChecksumFailure::FallBack);
    let conns = world.open_mesh();
    altering(&mut world, 1, 20);
    for link in &mut world.links {
        link.rate = Some(50_000_000);
    }
    world.send(0, conns[0], 2_000_000, true);
    // Little, so that a reset does not overtake anything, which would have it asked for again without its option.
    world.send(1, conns[1], 1_000, true);
    assert!(world.run_until(120, |world| world.transferred(conns, true)));
    assert!(world.mib(1, Counter::DataCsumErr) >= 1);
    assert!(world.mib(0, Counter::MPFailRx) >= 1);
    assert_eq!(world.hosts[0].stack.info(conns[0]).unwrap().fallback, None);
    world.close_all();
}

#[test]
fn payload_altered_without_checksums_is_not_noticed() {
    // Stated by the RFC, and the reason for checksums: the test keeps the two others honest.
    let mut world = World::simple(11, 1);
    let conns = world.open();
    altering(&mut world, 0, 10);
    world.flow(1, conns[1]).unchecked = true;
    world.send(0, conns[0], 300_000, true);
    world.send(1, conns[1], 0, true);
    assert!(world.run_until(60, |world| world.transferred(conns, true)));
    assert!(world.hosts[1].flows[&conns[1]].altered > 0);
    assert_eq!(world.hosts[0].stack.info(conns[0]).unwrap().fallback, None);
}

#[test]
fn mp_capable_with_both_keys_is_repeated_until_the_peer_answers_with_dss() {
    let counts = std::rc::Rc::new(std::cell::RefCell::new((0, 0)));
    let seen = counts.clone();
    let mut world = World::simple(12, 1);
    let mut lost = 0;
    world.middleboxes[0] = Some(on_packets(move |host, packet| {
        let capable = host == 0 && !is_syn(&packet) && subtypes(&packet).contains(&0);
        if capable {
            let mut counts = seen.borrow_mut();
            if packet.payload.is_empty() {
                counts.0 += 1
            } else {
                counts.1 += 1
            }
            // The third ACK is lost: the first data must make up for it.
            if packet.payload.is_empty() && lost < 1 {
                lost += 1;
                return Vec::new();
            }
        }
        vec![packet]
    }));
    let client = world.connect(true);
    assert!(world.run_until(5, |world| world.saw(0, Event::Established(client))));
    world.send(0, client, 50_000, true);
    assert!(world.run_until(30, |world| world.server_conn().is_some()));
    let conns = [client, world.server_conn().unwrap()];
    world.send(1, conns[1], 50_000, true);
    assert!(world.run_until(30, |world| world.transferred(conns, true)));
    assert!(counts.borrow().0 >= 1 && counts.borrow().1 >= 1, "{:?}", counts.borrow());
    assert_eq!(world.hosts[1].stack.info(conns[1]).unwrap().fallback, None);
}

#[test]
fn a_dss_from_the_peer_before_any_data_does_not_prove_that_ours_arrive() {
    // The server's first DSS gets through; none of the client's does, and no data comes back to tell of the fallback.
    let mut world = with_middlebox(30, |host, packet| host == 0 && subtypes(packet).contains(&2));
    let conns = world.open();
    world.run_for(std::time::Duration::from_secs(1));
    world.send(0, conns[0], 300_000, true);
    assert!(world.run_until(30, |world| world.hosts[1].flows[&conns[1]].finished));
    assert_eq!(world.hosts[1].flows[&conns[1]].received, 300_000);
    assert!(world.saw(0, Event::FellBack(conns[0], FallbackCause::AckWithoutDataAck)), "{:?}", world.hosts[0].events);
}

/// The server has given everything to TCP when an acknowledgement without DATA_ACK makes it fall back: the client, whose
/// options do not arrive either, must learn of it from what is still to be sent, or from the FIN.
#[test]
fn a_peer_is_told_of_a_fallback_with_the_data_that_was_queued_before() {
    for bytes in [10, 40_000] {
        let mut keys_have_passed = false;
        let mut world = with_middlebox(31, move |host, packet| {
            host == 0 && !is_syn(packet) && std::mem::replace(&mut keys_have_passed, true)
        });
        let client = world.connect(true);
        assert!(world.run_until(60, |world| world.server_conn().is_some()));
        let conns = [client, world.server_conn().unwrap()];
        world.send(1, conns[1], bytes, true);
        world.run_for(std::time::Duration::from_secs(2));
        assert!(world.hosts[0].flows[&client].finished, "{bytes} bytes");
        assert_eq!(world.hosts[0].flows[&client].received, bytes);
        assert!(world.saw(1, Event::FellBack(conns[1], FallbackCause::AckWithoutDataAck)), "{bytes} bytes");
        assert!(world.saw(0, Event::FellBack(client, FallbackCause::InfiniteMapping)), "{bytes} bytes");
        assert_eq!((world.mib(1, Counter::InfiniteMapTx), world.mib(0, Counter::InfiniteMapRx)), (1, 1));
        world.send(0, client, 20_000, true);
        assert!(world.run_until(30, |world| world.transferred(conns, true)));
        world.close_all();
    }
}

#[test]
fn a_bare_acknowledgement_from_time_wait_does_not_prove_that_options_are_stripped() {
    // What the server sends over the first link arrives when the client has closed there, having received it over the
    // other; and of the answers only those that the client gives in TIME-WAIT arrive.
    let mut world = World::simple(32, 2);
    let conns = world.open_mesh();
    let mut fin_has_passed = false;
    world.middleboxes[0] = Some(on_packets(move |host, packet| {
        let lost = match host {
            0 => fin_has_passed && !subtypes(&packet).is_empty(),
            _ => !fin_has_passed && !packet.payload.is_empty(),
        };
        fin_has_passed |= host == 0 && packet.has(FIN);
        if lost { Vec::new() } else { vec![packet] }
    }));
    for (host, bytes) in [(1, 1000), (0, 40_000)] {
        world.send(host, conns[host], bytes, true);
    }
    assert!(world.run_until(60, |world| world.transferred(conns, true)));
    world.run_for(std::time::Duration::from_secs(20));
    assert_eq!(world.mib(1, Counter::FallbackFailed), 0);
    assert!(world.saw(1, Event::Closed(conns[1], CloseReason::Normal)));
    world.close_all();
}
