//! MP_JOIN: authentication, limits, repetition of the third ACK.

use std::net::SocketAddr;
use std::time::Duration;

use mptcp_core::wire::{MpJoin, MptcpOption};
use mptcp_core::{Counter, Event, Limits, ResetReason, StackConfig, SubflowCloseReason, SubflowError, SubflowId};
use tcp_adapter::conformance::packet::{ACK, Packet, RST, SYN};

use super::log::{Log, Sent};
use super::world::{PORT, World, address, config};
use crate::middlebox::{edit_option, is_syn, on_packets, remove_options, strip, subtypes};

const JOIN: u8 = 1;

/// Opens with two links; the second passes a middlebox. Whether the join came to be is for the caller to see.
fn open_with(middlebox: crate::middlebox::Middlebox, seed: u64) -> (World, [mptcp_core::ConnId; 2]) {
    let mut world = World::simple(seed, 2);
    world.middleboxes[1] = Some(middlebox);
    world.mesh(true);
    let conns = world.open();
    world.run_for(Duration::from_secs(5));
    (world, conns)
}

/// The connection must carry data over its first subflow whatever became of the second.
fn still_works(world: &mut World, conns: [mptcp_core::ConnId; 2]) {
    world.send(0, conns[0], 200_000, true);
    world.send(1, conns[1], 200_000, true);
    assert!(world.run_until(60, |world| world.transferred(conns, true)));
    for host in 0..2 {
        assert_eq!(world.hosts[host].stack.info(conns[host]).unwrap().fallback, None);
    }
    world.close_all();
}

#[test]
fn a_wrong_hmac_in_the_syn_ack_is_refused() {
    let (mut world, conns) = open_with(
        on_packets(|_, mut packet| {
            if packet.has(SYN | ACK) {
                edit_option(&mut packet, JOIN, |option| option[4] ^= 1);
            }
            vec![packet]
        }),
        1,
    );
    assert!(world.mib(0, Counter::MPJoinSynAckHMacFailure) >= 1);
    let refused = SubflowCloseReason::Aborted(ResetReason::MptcpSpecific);
    assert!(world.saw(0, Event::SubflowClosed(conns[0], SubflowId(1), refused)), "{:?}", world.hosts[0].events);
    assert_eq!(world.mib(1, Counter::MPRstRx), 1);
    assert_eq!(world.subflows_up(1, conns[1]), 1);
    still_works(&mut world, conns);
}

#[test]
fn a_third_ack_without_its_option_is_refused_and_not_counted_as_one_with_it() {
    let (mut world, conns) = open_with(strip(|host, packet| host == 0 && !is_syn(packet)), 4);
    assert!(world.mib(1, Counter::MPJoinAckHMacFailure) >= 1);
    assert_eq!(world.mib(1, Counter::MPJoinAckRx), 0);
    still_works(&mut world, conns);
}

#[test]
fn a_wrong_hmac_in_the_third_ack_is_refused() {
    let (mut world, conns) = open_with(
        on_packets(|host, mut packet| {
            if host == 0 && !is_syn(&packet) {
                edit_option(&mut packet, JOIN, |option| option[4] ^= 1);
            }
            vec![packet]
        }),
        2,
    );
    assert!(world.mib(1, Counter::MPJoinAckHMacFailure) >= 1);
    assert_eq!(world.subflows_up(0, conns[0]), 1);
    assert!(world.mib(0, Counter::MPRstRx) >= 1);
    still_works(&mut world, conns);
}

#[test]
fn a_join_without_its_option_is_reset_at_every_step() {
    for (seed, step) in [(3, "syn"), (4, "syn-ack"), (5, "ack")] {
        let (mut world, conns) = open_with(
            on_packets(move |host, mut packet| {
                let hit = match step {
                    "syn" => is_syn(&packet) && !packet.has(ACK),
                    "syn-ack" => packet.has(SYN | ACK),
                    _ => host == 0 && !is_syn(&packet),
                };
                if hit {
                    remove_options(&mut packet, |_| true);
                }
                vec![packet]
            }),
            seed,
        );
        assert_eq!(world.subflows_up(0, conns[0]), 1, "stripped at {step}");
        assert_eq!(world.subflows_up(1, conns[1]), 1, "stripped at {step}");
        if step == "syn" {
            // The server took the SYN for a new plain connection, which the client has reset.
            let others: Vec<_> = world.hosts[1].flows.keys().copied().filter(|conn| *conn != conns[1]).collect();
            for conn in others {
                world.hosts[1].flows.remove(&conn);
                let now = world.now;
                world.hosts[1].stack.close(now, conn);
            }
        }
        still_works(&mut world, conns);
    }
}

#[test]
fn a_lost_third_ack_is_repeated_until_it_is_acknowledged() {
    let mut lost = 0;
    let (mut world, conns) = open_with(
        on_packets(move |host, packet| {
            if host == 0 && !is_syn(&packet) && subtypes(&packet).contains(&JOIN) && lost < 2 {
                lost += 1;
                return Vec::new();
            }
            vec![packet]
        }),
        6,
    );
    for host in 0..2 {
        assert_eq!(world.subflows_up(host, conns[host]), 2);
    }
    still_works(&mut world, conns);
}

/// Opens with two links, and tells in which millisecond what left over the second one, of so many.
fn departures(world: &mut World, milliseconds: u64) -> Vec<(u64, Sent)> {
    let log = Log::watch(world);
    world.mesh(true);
    world.connect(true);
    let mut departures = Vec::new();
    for millisecond in 0..milliseconds {
        world.run_for(Duration::from_millis(1));
        departures.extend(log.all().iter().filter(|sent| sent.link == 1).map(|sent| (millisecond, sent.clone())));
        log.clear();
    }
    departures
}

fn is_third(sent: &Sent) -> bool {
    sent.host == 0 && !is_syn(&sent.packet) && subtypes(&sent.packet).contains(&JOIN)
}

#[test]
fn a_third_packet_is_acknowledged_at_once() {
    const DELAY: u64 = 40;
    let mut world = World::simple(22, 2);
    world.links[1].delay = Duration::from_millis(DELAY);
    // Before host 0 would repeat it, and without anything else to send.
    let departures = departures(&mut world, 400);
    let third = departures.iter().find(|(_, sent)| is_third(sent)).unwrap();
    let answer = departures.iter().find(|(_, sent)| sent.host == 1 && !is_syn(&sent.packet)).expect("an answer");
    assert_eq!(answer.0 - third.0, DELAY, "it leaves when the third packet arrives");
    assert!(answer.1.packet.payload.is_empty() && answer.1.packet.has(ACK), "{answer:?}");
    world.close_all();
}

#[test]
fn a_third_packet_is_repeated_with_back_off_and_only_until_it_is_acknowledged() {
    for lost in [2, u32::MAX] {
        let mut world = World::simple(23, 2);
        let mut seen = 0;
        // The third packets arrive, so that host 1 does not ask for them by repeating its SYN/ACK.
        world.middleboxes[1] = Some(on_packets(move |host, packet| {
            let answer = host == 1 && !is_syn(&packet);
            seen += u32::from(answer);
            if answer && seen <= lost { Vec::new() } else { vec![packet] }
        }));
        let departures = departures(&mut world, 32_000);
        let third: Vec<u64> = departures.iter().filter(|(_, sent)| is_third(sent)).map(|(at, _)| *at).collect();
        let after: Vec<u64> = third.iter().map(|at| at - third[0]).collect();
        let resets = departures.iter().filter(|(_, sent)| sent.host == 0 && sent.packet.has(RST)).count();
        if lost == 2 {
            assert_eq!((&after[..], resets), (&[0, 500, 1500][..], 0));
        } else {
            assert_eq!((&after[..], resets), (&[0, 500, 1500, 3500, 7500, 15_500][..], 1), "then it is given up");
        }
    }
}

#[test]
fn an_unknown_token_is_answered_with_a_reset() {
    let (mut world, conns) = open_with(
        on_packets(|_, mut packet| {
            if is_syn(&packet) && !packet.has(ACK) {
                edit_option(&mut packet, JOIN, |option| option[4] ^= 1);
            }
            vec![packet]
        }),
        7,
    );
    assert_eq!(world.mib(1, Counter::MPJoinNoTokenFound), 1);
    assert_eq!(world.mib(0, Counter::MPRstRx), 1);
    assert_eq!(world.mib(0, Counter::MPJoinSynTx), 1, "a join that was refused is not tried again");
    still_works(&mut world, conns);
}

#[test]
fn limits_hold_on_both_sides() {
    let few = || StackConfig { limits: Limits { subflows: 1, add_addr_accepted: 0 }, ..config() };
    let mut world = World::new(8, 4, [few(), config()]);
    world.mesh(true);
    let conns = world.open();
    world.run_for(Duration::from_secs(3));
    assert_eq!(world.subflows_up(0, conns[0]), 2);
    assert_eq!(world.mib(0, Counter::MPJoinSynTx), 1);

    let mut world = World::new(9, 4, [config(), few()]);
    world.mesh(true);
    let conns = world.open();
    world.run_for(Duration::from_secs(3));
    assert_eq!(world.subflows_up(0, conns[0]), 2);
    assert_eq!(world.mib(1, Counter::MPJoinRejected), 2);
    let full = SubflowCloseReason::Reset(Some((ResetReason::LackOfResources, true)));
    let refused = |event: &Event| matches!(event, Event::SubflowClosed(_, _, why) if *why == full);
    assert_eq!(world.hosts[0].events.iter().filter(|event| refused(event)).count(), 2);
    still_works(&mut world, conns);
}

#[test]
fn many_subflows_are_opened_little_by_little() {
    let many = || StackConfig { limits: Limits { subflows: 20, add_addr_accepted: 0 }, ..config() };
    let mut world = World::new(19, 20, [many(), many()]);
    world.mesh(true);
    let conns = world.open();
    let mut opened = Vec::new();
    for _ in 0..4 {
        world.run_for(Duration::from_millis(900));
        opened.push(world.mib(0, Counter::MPJoinSynTx));
    }
    assert_eq!(opened, [8, 16, 19, 19]);
    assert_eq!(world.subflows_up(0, conns[0]), 20);
    still_works(&mut world, conns);
}

#[test]
fn flag_c_keeps_joins_off_the_first_address() {
    let closed = || StackConfig { allow_join_initial_addr: false, ..config() };
    let mut world = World::new(10, 3, [config(), closed()]);
    world.mesh(true);
    let conns = world.open();
    world.run_for(Duration::from_secs(2));
    assert_eq!(world.mib(0, Counter::MPJoinSynTx), 0);
    // An announced address is another matter.
    let signal = mptcp_core::EndpointFlags { signal: true, ..Default::default() };
    world.endpoint(1, 1, true, signal);
    assert!(world.run_until(5, |world| world.subflows_up(0, conns[0]) == 2), "{:?}", world.hosts[0].events);
    let remote = world.hosts[0].stack.subflows(conns[0])[1].remote.ip();
    assert_eq!(remote, address(1, 1, true));
    // Nor can the application make one.
    let (now, first) = (world.now, SocketAddr::new(address(1, 0, true), PORT));
    let by_hand = world.hosts[0].stack.create_subflow(now, conns[0], address(0, 2, true), first, false);
    assert_eq!(by_hand, Err(SubflowError::Denied(first)));
    still_works(&mut world, conns);
}

#[test]
fn half_open_joins_are_bounded() {
    let config = || StackConfig { max_half_open_joins: 2, ..config() };
    let mut world = World::new(11, 5, [config(), config()]);
    for link in 1..5 {
        // Every third ACK is lost: joins stay half open.
        world.middleboxes[link] =
            Some(on_packets(|host, packet| if host == 0 && !is_syn(&packet) { Vec::new() } else { vec![packet] }));
    }
    world.mesh(true);
    let conns = world.open();
    world.run_for(Duration::from_millis(300));
    assert_eq!(world.mib(1, Counter::MPJoinSynRx), 4);
    assert_eq!(world.mib(1, Counter::MPJoinRejected), 2);
    still_works(&mut world, conns);
}

#[test]
fn subflows_can_be_made_closed_and_changed_by_hand() {
    let mut world = World::simple(12, 3);
    let conns = world.open();
    world.send(0, conns[0], 10_000, false);
    world.run_for(Duration::from_secs(1));
    let remote = SocketAddr::new(address(1, 0, true), PORT);
    let now = world.now;
    let made = world.hosts[0].stack.create_subflow(now, conns[0], address(0, 2, true), remote, true).unwrap();
    let joined = world.run_until(5, |world| world.saw(0, Event::SubflowEstablished(conns[0], made)));
    assert!(joined, "{:?}", world.hosts[0].stack.subflows(conns[0]));
    let seen = world.hosts[1].stack.subflows(conns[1]);
    assert!(seen[1].backup_by_peer && seen[1].remote.ip() == address(0, 2, true));
    for backup in [false, true] {
        let now = world.now;
        world.hosts[0].stack.set_backup(now, conns[0], made, backup).unwrap();
        assert!(world.run_until(5, |world| world.saw(1, Event::SubflowPriority(conns[1], SubflowId(1), backup))));
        // It is asked of the other direction only, and of this subflow only.
        let seen = world.hosts[1].stack.subflows(conns[1]);
        assert_eq!(seen.iter().map(|subflow| subflow.backup_by_peer).collect::<Vec<_>>(), [false, backup]);
        assert!(seen.iter().all(|subflow| !subflow.backup), "{seen:?}");
        let own = world.hosts[0].stack.subflows(conns[0]);
        assert!(own.iter().all(|subflow| !subflow.backup_by_peer), "{own:?}");
    }
    let now = world.now;
    world.hosts[0].stack.close_subflow(now, conns[0], made).unwrap();
    let normal = Event::SubflowClosed(conns[0], made, SubflowCloseReason::Normal);
    assert!(world.run_until(5, |world| world.saw(0, normal)));
    assert!(world.hosts[0].stack.close_subflow(now, conns[0], made).is_err());
    still_works(&mut world, conns);
}

/// What a refused join is reset with: over the second link, by the host that refuses.
fn refusal(configs: [StackConfig; 2], middlebox: crate::middlebox::Middlebox, by: usize) -> Option<ResetReason> {
    let mut world = World::new(13, 2, configs);
    world.middleboxes[1] = Some(middlebox);
    let log = Log::watch(&mut world);
    world.mesh(true);
    let conns = world.open();
    world.run_for(Duration::from_secs(5));
    assert_eq!(world.subflows_up(1, conns[1]), 1);
    log.resets(1, by).first().copied().flatten()
}

#[test]
fn a_refused_join_is_reset_with_the_reason() {
    let specific = Some(ResetReason::MptcpSpecific);
    let spoil = |which: fn(usize, &Packet) -> bool, change: fn(&mut Packet)| {
        on_packets(move |host, mut packet| {
            if which(host, &packet) {
                change(&mut packet);
            }
            vec![packet]
        })
    };
    let flip: fn(&mut Packet) = |packet| assert!(edit_option(packet, JOIN, |option| option[5] ^= 1));
    let strip: fn(&mut Packet) = |packet| remove_options(packet, |_| true);
    let syn: fn(usize, &Packet) -> bool = |_, packet| is_syn(packet) && !packet.has(ACK);
    let syn_ack: fn(usize, &Packet) -> bool = |_, packet| packet.has(SYN | ACK);
    let ack: fn(usize, &Packet) -> bool = |_, packet| !is_syn(packet) && subtypes(packet).contains(&JOIN);
    let usual = || [config(), config()];
    assert_eq!(refusal(usual(), spoil(syn, flip), 1), specific, "an unknown token");
    assert_eq!(refusal(usual(), spoil(syn_ack, flip), 0), specific, "a wrong HMAC in the SYN/ACK");
    assert_eq!(refusal(usual(), spoil(ack, flip), 1), specific, "a wrong HMAC in the ACK");
    assert_eq!(refusal(usual(), spoil(syn, strip), 0), specific, "an ordinary listener has answered");
    assert_eq!(refusal(usual(), spoil(syn_ack, strip), 0), specific, "a SYN/ACK without MP_JOIN");
    assert_eq!(refusal(usual(), spoil(ack, strip), 1), specific, "an ACK without MP_JOIN");
    let none = StackConfig { limits: Limits { subflows: 0, add_addr_accepted: 0 }, ..config() };
    let prohibited = refusal([config(), none], spoil(|_, _| false, strip), 1);
    assert_eq!(prohibited, Some(ResetReason::Prohibited));
}

#[test]
fn a_third_ack_whose_acknowledgement_is_lost_is_acknowledged_again() {
    let mut lost = 0;
    let (mut world, conns) = open_with(
        on_packets(move |host, packet| {
            if host == 1 && !is_syn(&packet) && lost < 3 {
                lost += 1;
                return Vec::new();
            }
            vec![packet]
        }),
        14,
    );
    for host in 0..2 {
        assert_eq!(world.subflows_up(host, conns[host]), 2);
    }
    still_works(&mut world, conns);
}

#[test]
fn no_data_leaves_on_a_join_before_its_third_packet_is_acknowledged() {
    let open = std::rc::Rc::new(std::cell::Cell::new(false));
    let opened = open.clone();
    let mut world = World::simple(15, 2);
    world.links[0].delay = Duration::from_millis(50);
    world.middleboxes[1] = Some(on_packets(move |host, packet| {
        let holds_back = host == 1 && !is_syn(&packet) && !opened.get();
        if holds_back { Vec::new() } else { vec![packet] }
    }));
    let log = Log::watch(&mut world);
    world.mesh(true);
    let conns = world.open();
    world.send(0, conns[0], 1_000_000, false);
    world.run_for(Duration::from_secs(2));
    let data = |sent: &Sent| !sent.packet.payload.is_empty();
    assert!(log.on(1, 0).iter().any(|sent| subtypes(&sent.packet) == [JOIN] && !is_syn(&sent.packet)));
    assert!(!log.on(1, 0).iter().any(data));
    open.set(true);
    world.run_for(Duration::from_secs(3));
    world.send(0, conns[0], 1_000_000, false);
    world.run_for(Duration::from_secs(1));
    assert!(log.on(1, 0).iter().any(data));
}

#[test]
fn a_join_finds_its_connection_on_any_port() {
    let mut world = World::simple(16, 2);
    let conns = world.open();
    world.send(0, conns[0], 1000, false);
    world.run_for(Duration::from_secs(1));
    let (now, remote) = (world.now, SocketAddr::new(address(1, 1, true), PORT + 1));
    let made = world.hosts[0].stack.create_subflow(now, conns[0], address(0, 1, true), remote, false).unwrap();
    assert!(world.run_until(5, |world| world.saw(0, Event::SubflowEstablished(conns[0], made))));
    assert_eq!(world.subflows_up(1, conns[1]), 2);
    still_works(&mut world, conns);
}

#[test]
fn joins_that_cross_are_tried_again_at_different_times() {
    for seed in 0..5 {
        let mut world = World::simple(seed, 2);
        let log = Log::watch(&mut world);
        let conns = world.open();
        world.send(0, conns[0], 1000, false);
        world.run_for(Duration::from_secs(1));
        let port = world.hosts[0].stack.info(conns[0]).unwrap().local.port();
        let ends = [SocketAddr::new(address(0, 1, true), port), SocketAddr::new(address(1, 1, true), PORT)];
        let now = world.now;
        for host in 0..2 {
            let (local, remote) = (ends[host].ip(), ends[1 - host]);
            world.hosts[host].stack.create_subflow(now, conns[host], local, remote, false).unwrap();
        }
        world.run_for(Duration::from_secs(10));
        let syns = |host| log.on(1, host).iter().filter(|sent| is_syn(&sent.packet) && !sent.packet.has(ACK)).count();
        assert!(syns(0) + syns(1) > 2 && syns(0) > 0 && syns(1) > 0, "{} {}", syns(0), syns(1));
        for host in 0..2 {
            assert_eq!(world.subflows_up(host, conns[host]), 2, "seed {seed}");
        }
        still_works(&mut world, conns);
    }
}

#[test]
fn joins_use_the_ports_of_the_first_subflow() {
    let mut world = World::simple(17, 3);
    world.endpoint(1, 2, true, mptcp_core::EndpointFlags { signal: true, ..Default::default() });
    world.endpoint(0, 1, true, mptcp_core::EndpointFlags { subflow: true, ..Default::default() });
    let conns = world.open();
    world.send(0, conns[0], 1000, false);
    assert!(world.run_until(5, |world| world.subflows_up(0, conns[0]) == 3));
    let subflows = world.hosts[0].stack.subflows(conns[0]);
    assert!(subflows.iter().all(|subflow| subflow.local.port() == subflows[0].local.port()), "{subflows:?}");
    assert!(subflows.iter().all(|subflow| subflow.remote.port() == PORT), "{subflows:?}");
    let distinct: std::collections::BTreeSet<_> = subflows.iter().map(|subflow| subflow.local.ip()).collect();
    assert_eq!(distinct.len(), 3);
}

#[test]
fn data_on_a_join_that_is_not_authenticated_is_not_taken() {
    let (mut world, conns) = open_with(
        on_packets(|host, mut packet| {
            if host == 0 && !is_syn(&packet) && subtypes(&packet).contains(&JOIN) {
                // A mapping of what the stream needs next, in place of the HMAC.
                packet.options = vec![30, 14, 0x20, 0x04, 0, 0, 0, 0, 0, 0, 0, 1, 0, 4];
                packet.payload = b"evil".to_vec();
            }
            vec![packet]
        }),
        18,
    );
    assert_eq!(world.subflows_up(1, conns[1]), 1);
    assert_eq!(world.hosts[1].flows[&conns[1]].received, 0);
    let info = world.hosts[1].stack.info(conns[1]).unwrap();
    assert_eq!((info.rcv_nxt, info.out_of_order, world.hosts[1].stack.memory_held()), (0, 0, 0));
    still_works(&mut world, conns);
}

#[test]
fn every_join_has_random_numbers_of_its_own() {
    let mut world = World::simple(19, 6);
    let log = Log::watch(&mut world);
    let conns = world.open_mesh();
    let mut numbers = Vec::new();
    for sent in log.all().iter() {
        numbers.extend(sent.options().iter().filter_map(|option| match option {
            MptcpOption::Join(MpJoin::Syn { nonce, .. } | MpJoin::SynAck { nonce, .. }) => Some(*nonce),
            _ => None,
        }));
    }
    assert_eq!(numbers.len(), 10);
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), 10, "one was used twice");
    still_works(&mut world, conns);
}
