//! MP_FASTCLOSE, MP_TCPRST and MP_FAIL on the wire (RFC 8684 sections 3.5 to 3.7).

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use mptcp_core::wire::{Dss, MpFail, MpFastclose, MpTcprst, MptcpOption};
use mptcp_core::{
    CloseReason, ConnId, Counter, Event, FallbackCause, ResetReason, StackConfig, SubflowCloseReason, SubflowId,
};
use tcp_adapter::OptionSpace;
use tcp_adapter::conformance::packet::{ACK, Packet, RST, SYN};

use super::log::{Log, Sent, dsn};
use crate::middlebox::{is_syn, on_packets, remove_options};
use super::world::{Link, World, config};

fn emitted(option: MptcpOption) -> Vec<u8> {
    let mut space = OptionSpace::new(OptionSpace::MAX);
    assert!(option.emit(&mut space));
    space.as_slice().to_vec()
}

fn fail(sent: &Sent) -> Option<MpFail> {
    sent.options().into_iter().find_map(|option| match option {
        MptcpOption::Fail(fail) => Some(fail),
        _ => None,
    })
}

fn gone(world: &World) -> bool {
    world.hosts.iter().all(|host| host.stack.table_sizes() == (0, 0, 0))
}

#[test]
fn an_abort_resets_every_subflow_with_mp_fastclose() {
    let mut world = World::simple(1, 3);
    let log = Log::watch(&mut world);
    let conns = world.open_mesh();
    let [_, server] = log.keys();
    let now = world.now;
    world.hosts[0].flows.remove(&conns[0]);
    world.hosts[0].stack.abort(now, conns[0]);
    assert_eq!(world.hosts[0].stack.table_sizes().1, 0, "the token is free at once");
    world.run_for(Duration::from_secs(1));
    for link in 0..3 {
        let resets: Vec<_> = log.on(link, 0).into_iter().filter(|sent| sent.packet.has(RST)).collect();
        let expected = [MptcpOption::Fastclose(MpFastclose { receiver_key: server })];
        assert!(matches!(&resets[..], [reset] if reset.options() == expected), "link {link}: {resets:?}");
    }
    assert!(world.saw(1, Event::Closed(conns[1], CloseReason::Reset)));
    world.close_all();
}

#[test]
fn a_fast_close_on_an_ack_is_answered_by_resets_of_all_subflows() {
    let mut world = World::simple(2, 3);
    let log = Log::watch(&mut world);
    let conns = world.open_mesh();
    let [client, _] = log.keys();
    let template = log.on(1, 1).into_iter().rfind(|sent| sent.packet.flags == ACK).unwrap().packet;
    let close = Packet { options: emitted(MptcpOption::Fastclose(MpFastclose { receiver_key: client })), ..template };
    log.clear();
    world.launch(1, 1, close.to_frame());
    world.run_for(Duration::from_secs(1));
    assert!(world.saw(0, Event::Closed(conns[0], CloseReason::Reset)));
    for link in 0..3 {
        assert_eq!(log.resets(link, 0).len(), 1, "link {link}");
    }
    // Hosts that do so at the same time: one that has aborted answers as well.
    log.clear();
    world.launch(1, 1, close.to_frame());
    world.run_for(Duration::from_secs(1));
    assert_eq!(log.resets(1, 0).len(), 1);
}

/// Lets a subflow be reset with an option; returns the joins that follow within a minute, and how long the first one takes.
fn joins_after_reset(option: MptcpOption) -> (u64, Option<Duration>) {
    let mut world = World::simple(3, 2);
    let conns = world.open_mesh();
    world.run_for(Duration::from_secs(1));
    let before = world.mib(0, Counter::MPJoinSynTx);
    let mut done = false;
    let options = emitted(option);
    world.middleboxes[1] = Some(on_packets(move |host, mut packet| {
        if host == 1 && !is_syn(&packet) && !std::mem::replace(&mut done, true) {
            packet.flags |= RST;
            packet.payload.clear();
            packet.options.clone_from(&options);
        }
        vec![packet]
    }));
    let now = world.now;
    world.hosts[1].stack.set_backup(now, conns[1], SubflowId(1), true).unwrap();
    assert!(world.run_until(1, |world| world.hosts[0].stack.subflows(conns[0]).len() == 1));
    world.run_for(Duration::from_millis(1));
    let MptcpOption::Tcprst(reset) = option else { panic!("{option:?}") };
    let why = SubflowCloseReason::Reset(Some((reset.reason, reset.transient)));
    assert!(world.saw(0, Event::SubflowClosed(conns[0], SubflowId(1), why)), "{:?}", world.hosts[0].events);
    let reset = world.now;
    let again = world.run_until(60, |world| world.mib(0, Counter::MPJoinSynTx) > before);
    let wait = again.then(|| world.now - reset);
    world.run_for(Duration::from_secs(60));
    (world.mib(0, Counter::MPJoinSynTx) - before, wait)
}

#[test]
fn after_a_transient_error_a_path_is_tried_again_and_after_a_permanent_one_it_is_not() {
    let reset = |transient, reason| MptcpOption::Tcprst(MpTcprst { transient, reason });
    for reason in (0..=7).map(ResetReason::from_code) {
        assert_eq!(joins_after_reset(reset(false, reason)).0, 0, "{reason:?}");
        assert!(joins_after_reset(reset(true, reason)).0 > 0, "{reason:?}");
    }
}

/// What has worked is not what an announced address may turn out to be: it is tried for ever.
#[test]
fn the_first_path_is_tried_as_often_as_it_takes() {
    let attempts = || StackConfig { join_attempts: 1, ..config() };
    let mut world = World::new(4, 2, [attempts(), attempts()]);
    let conns = world.open_mesh();
    world.run_for(Duration::from_secs(1));
    let options = emitted(MptcpOption::Tcprst(MpTcprst { transient: true, reason: ResetReason::LackOfResources }));
    let now = world.now;
    let mut refusals = 4;
    world.middleboxes[0] = Some(on_packets(move |host, mut packet| {
        if host == 1 && refusals > 0 {
            refusals -= 1;
            packet.flags = packet.flags & !SYN | RST;
            packet.payload.clear();
            packet.options.clone_from(&options);
        }
        vec![packet]
    }));
    world.hosts[1].stack.set_backup(now, conns[1], SubflowId(0), true).unwrap();
    assert!(world.run_until(1, |world| world.hosts[0].stack.subflows(conns[0]).len() == 1));
    assert!(world.run_until(60, |world| world.subflows_up(0, conns[0]) == 2), "{:?}", world.hosts[0].events);
}

#[test]
fn how_long_a_path_is_left_alone_depends_on_the_reason() {
    let wait = |reason| joins_after_reset(MptcpOption::Tcprst(MpTcprst { transient: true, reason })).1.unwrap();
    let waits = [ResetReason::TooMuchOutstanding, ResetReason::LackOfResources, ResetReason::Prohibited].map(wait);
    for (wait, millis) in waits.into_iter().zip([500, 3000, 8000]) {
        let expected = Duration::from_millis(millis);
        assert!(
            wait + Duration::from_millis(10) > expected && wait < expected + Duration::from_millis(10),
            "{waits:?}"
        );
    }
}

#[test]
fn a_subflow_that_fails_for_too_long_is_reset_for_its_performance() {
    let config = || StackConfig { subflow_timeout: Duration::from_secs(5), ..config() };
    let mut world = World::new(4, 2, [config(), config()]);
    for link in &mut world.links {
        *link = Link { rate: Some(20_000_000), ..Link::default() };
    }
    let conns = world.open_mesh();
    world.send(0, conns[0], 3_000_000, false);
    world.run_for(Duration::from_millis(300));
    world.links[1].down = true;
    let log = Log::watch(&mut world);
    let start = world.now;
    let failed = |event: &Event| {
        *event
            == Event::SubflowClosed(
                conns[0],
                SubflowId(1),
                SubflowCloseReason::Aborted(ResetReason::UnacceptablePerformance),
            )
    };
    assert!(world.run_until(20, |world| world.hosts[0].events.iter().any(failed)));
    assert!(world.now - start < Duration::from_secs(8), "far earlier than TCP would");
    assert_eq!(log.resets(1, 0), [Some(ResetReason::UnacceptablePerformance)]);
    assert!(world.run_until(20, |world| world.transferred(conns, false)));
}

#[test]
fn data_acknowledged_without_data_ack_on_a_second_path_resets_that_path() {
    let mut world = World::simple(5, 2);
    world.middleboxes[1] = Some(on_packets(|host, mut packet| {
        if host == 1 && !is_syn(&packet) {
            remove_options(&mut packet, |_| true);
        }
        vec![packet]
    }));
    let log = Log::watch(&mut world);
    let conns = world.open_mesh();
    world.links[0].delay = Duration::from_millis(40);
    world.send(0, conns[0], 500_000, true);
    world.send(1, conns[1], 0, true);
    assert!(world.run_until(60, |world| world.transferred(conns, true)));
    assert_eq!(log.resets(1, 0)[0], Some(ResetReason::MiddleboxInterference));
    assert!(log.resets(0, 0).is_empty());
    assert_eq!(world.hosts[0].stack.info(conns[0]).unwrap().fallback, None);
}

/// Alters one byte of the segment with data that comes next from host 0 over a link whenever the flag is set.
fn altering(world: &mut World, link: usize) -> Rc<Cell<bool>> {
    let flag = Rc::new(Cell::new(false));
    let set = flag.clone();
    world.middleboxes[link] = Some(on_packets(move |host, mut packet| {
        if host == 0 && !packet.payload.is_empty() && set.take() {
            packet.payload[0] ^= 0x55;
        }
        vec![packet]
    }));
    flag
}

fn checksummed(seed: u64, links: usize) -> World {
    let config = || StackConfig { checksum: true, ..config() };
    World::new(seed, links, [config(), config()])
}

/// The mapping of the first segment with data that host 0 has sent over a link.
fn first_mapping(log: &Log, link: usize) -> u64 {
    dsn(&log.on(link, 0).iter().filter(|sent| !sent.packet.payload.is_empty()).find_map(Sent::mapping).unwrap())
}

#[test]
fn altered_payload_on_one_of_two_paths_is_reported_on_a_reset_and_nothing_behind_it_is_taken() {
    let mut world = checksummed(6, 2);
    let armed = Rc::new(Cell::new(false));
    let (begin, mut lost, mut behind) = (armed.clone(), None, 0);
    world.middleboxes[1] = Some(on_packets(move |host, mut packet| {
        if host == 0 && begin.get() && !packet.payload.is_empty() {
            // The first segment is lost and then altered, so that more data waits behind it.
            if lost.is_none() {
                lost = Some(packet.seq);
                return Vec::new();
            }
            if lost == Some(packet.seq) {
                assert!(behind > 10, "{behind} segments wait");
                packet.payload[0] ^= 0x55;
            }
            behind += 1;
        }
        vec![packet]
    }));
    let log = Log::watch(&mut world);
    let conns = world.open_mesh();
    world.send(0, conns[0], 100_000, false);
    assert!(world.run_until(20, |world| world.transferred(conns, false)));
    let now = world.now;
    world.hosts[0].stack.set_backup(now, conns[0], SubflowId(0), true).unwrap();
    world.run_for(Duration::from_secs(1));
    world.send(0, conns[0], 200_000, false);
    assert!(world.run_until(20, |world| world.transferred(conns, false)));
    log.clear();
    world.send(0, conns[0], 60_000, false);
    armed.set(true);
    let closed = |event: &Event| matches!(event, Event::SubflowClosed(conn, SubflowId(1), _) if *conn == conns[1]);
    assert!(world.run_until(10, |world| world.hosts[1].events.iter().any(closed)));
    let start = first_mapping(&log, 1);
    let reset = log.on(1, 1).into_iter().rfind(|sent| sent.packet.has(RST)).unwrap();
    assert_eq!(reset.options(), [MptcpOption::Fail(MpFail { dsn: start })]);
    let info = world.hosts[1].stack.info(conns[1]).unwrap();
    assert_eq!((info.rcv_nxt, info.out_of_order), (300_000, 0));
    world.send(1, conns[1], 100, true);
    world.send(0, conns[0], 0, true);
    assert!(world.run_until(30, |world| world.transferred(conns, true)));
    assert_eq!(world.mib(0, Counter::MPFailRx), 1);
}

#[test]
fn altered_payload_on_the_only_path_is_reported_answered_and_ends_the_signalling() {
    let mut world = checksummed(7, 1);
    let alter = altering(&mut world, 0);
    let log = Log::watch(&mut world);
    let conns = world.open();
    world.flow(1, conns[1]).unchecked = true;
    world.send(0, conns[0], 50_000, false);
    world.send(1, conns[1], 50_000, false);
    assert!(world.run_until(20, |world| world.transferred(conns, false)));
    world.run_for(Duration::from_secs(1));
    let intact = log.of(1).iter().filter_map(Sent::data_ack).max().unwrap();
    log.clear();
    alter.set(true);
    world.send(0, conns[0], 5000, false);
    world.run_for(Duration::from_secs(1));
    let start = first_mapping(&log, 0);
    let reports: Vec<_> = log.of(1).into_iter().filter(|sent| fail(sent).is_some()).collect();
    assert_eq!(reports.iter().filter_map(fail).collect::<Vec<_>>(), [MpFail { dsn: start }]);
    assert!(!reports[0].packet.has(RST));
    assert_eq!(log.of(0).iter().filter_map(fail).count(), 1, "the answer");
    let after = log.all().iter().rposition(|sent| fail(sent).is_some()).unwrap();
    world.send(0, conns[0], 5000, true);
    world.send(1, conns[1], 5000, true);
    assert!(world.run_until(20, |world| world.transferred(conns, true)));
    let all = log.all();
    let last: Vec<_> = all[after + 1..].iter().filter(|sent| !sent.options().is_empty()).collect();
    for host in 0..2 {
        // The infinite mappings, each on the segments of one chunk; nothing else, and no DATA_ACK.
        let told: Vec<_> = last.iter().filter(|sent| sent.host == host).collect();
        assert!(!told.is_empty(), "host {host}");
        for sent in told {
            let Some(Dss { data_ack: None, mapping: Some(mapping), data_fin: false }) = sent.dss() else {
                panic!("{sent:?}");
            };
            assert_eq!((mapping.len, mapping.checksum), (0, Some(0)));
            assert!(host == 1 || dsn(&mapping) == intact, "host 0 begins with what is not known to be intact");
        }
    }
    drop(all);
    assert_eq!(world.mib(0, Counter::MPTCPRetrans) + world.mib(1, Counter::MPTCPRetrans), 0);
    world.close_all();
}

#[test]
fn altered_payload_after_other_subflows_resets_the_only_one_and_another_is_made() {
    let mut world = checksummed(8, 2);
    let alter = altering(&mut world, 0);
    let log = Log::watch(&mut world);
    let conns = world.open_mesh();
    world.send(0, conns[0], 100_000, false);
    assert!(world.run_until(20, |world| world.transferred(conns, false)));
    let now = world.now;
    world.hosts[0].stack.close_subflow(now, conns[0], SubflowId(1)).unwrap();
    assert!(world.run_until(20, |world| (0..2).all(|host| world.hosts[host].stack.subflows(conns[host]).len() == 1)));
    log.clear();
    alter.set(true);
    world.send(0, conns[0], 50_000, false);
    world.run_for(Duration::from_millis(100));
    let start = first_mapping(&log, 0);
    let reset = log.on(0, 1).into_iter().find(|sent| sent.packet.has(RST)).unwrap();
    assert_eq!(fail(&reset), Some(MpFail { dsn: start }));
    let info = world.hosts[1].stack.info(conns[1]).unwrap();
    assert_eq!((info.rcv_nxt, info.out_of_order), (100_000, 0), "everything from there on is discarded");
    assert!(world.run_until(20, |world| world.transferred(conns, false)), "over a new subflow");
    assert!(world.saw(0, Event::SubflowEstablished(conns[0], SubflowId(2))));
}

#[test]
fn after_a_fallback_one_subflow_remains_and_no_option_brings_multipath_back() {
    let mut world = checksummed(9, 2);
    let alter = altering(&mut world, 0);
    world.links[1].down = true;
    world.mesh(true);
    let log = Log::watch(&mut world);
    let conns = world.open();
    world.flow(1, conns[1]).unchecked = true;
    world.send(0, conns[0], 1000, false);
    world.run_for(Duration::from_millis(500));
    assert_eq!(world.hosts[0].stack.subflows(conns[0]).len(), 2, "a join is under way");
    let [client, _] = log.keys();
    alter.set(true);
    world.send(0, conns[0], 1000, false);
    world.run_for(Duration::from_millis(500));
    assert_eq!(world.hosts[0].stack.subflows(conns[0]).len(), 1);
    world.links[1].down = false;
    let bytes_acked = |world: &World| world.hosts[0].stack.info(conns[0]).unwrap().bytes_acked;
    let before = bytes_acked(&world);
    world.middleboxes[0] = Some(on_packets(move |host, mut packet| {
        if host == 1 && packet.payload.is_empty() {
            packet.options = vec![30, 12, 0x20, 0x03, 0x7f, 0, 0, 0, 0, 0, 0, 0, 30, 4, 0x40, 0];
            packet.options.extend(emitted(MptcpOption::Fastclose(MpFastclose { receiver_key: client })));
        }
        vec![packet]
    }));
    world.send(0, conns[0], 100_000, false);
    assert!(world.run_until(20, |world| world.transferred(conns, false)));
    world.run_for(Duration::from_secs(1));
    assert_eq!(bytes_acked(&world), before + 100_000, "by acknowledgements of TCP");
    let joins = world.mib(0, Counter::MPJoinSynTx);
    world.run_for(Duration::from_secs(60));
    assert_eq!(world.mib(0, Counter::MPJoinSynTx), joins);
    let ignored = [Counter::MPFastcloseRx, Counter::RmAddr].map(|counter| world.mib(0, counter));
    assert_eq!(ignored, [0, 0]);
    assert_eq!(world.hosts[0].stack.info(conns[0]).unwrap().fallback, Some(FallbackCause::PeerFailed));
}

#[test]
fn a_connection_is_forgotten_with_its_last_subflow_whoever_closes_first() {
    for (first, second) in [(Some(0), Some(1)), (Some(1), Some(0)), (None, None)] {
        let mut world = World::simple(10, 2);
        let conns: [ConnId; 2] = world.open_mesh();
        for host in [first, second].into_iter().flatten() {
            world.send(host, conns[host], 1000, true);
            assert!(world.run_until(5, |world| world.saw(1 - host, Event::Finished(conns[1 - host]))));
        }
        if first.is_none() {
            // Both at the same time.
            world.send(0, conns[0], 1000, true);
            world.send(1, conns[1], 1000, true);
        }
        assert!(
            world.run_until(5, |world| (0..2)
                .all(|host| world.saw(host, Event::Closed(conns[host], CloseReason::Normal))))
        );
        for host in 0..2 {
            assert!(world.hosts[host].stack.subflows(conns[host]).is_empty());
        }
        world.close_all();
        assert!(gone(&world));
    }
}

#[test]
fn a_reset_before_the_peer_is_known_to_have_the_keys_is_told_at_once() {
    let mut world = World::simple(9, 2);
    world.middleboxes[0] = Some(on_packets(|host, mut packet| {
        if host == 1 && !is_syn(&packet) {
            packet.flags = RST;
            packet.options.clear();
        }
        vec![packet]
    }));
    let begin = world.now;
    let client = world.connect(true);
    assert!(world.run_until(5, |world| world.saw(0, Event::Closed(client, CloseReason::Reset))));
    assert!(world.now - begin < Duration::from_secs(1), "no other subflow could ever be made");
}
