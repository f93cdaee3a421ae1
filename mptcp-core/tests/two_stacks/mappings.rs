//! DSS on the wire: mappings, acknowledgements, windows and the DATA_FIN (RFC 8684 section 3.3).

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::time::Duration;

use mptcp_core::wire::{ChecksumAccumulator, Dss, MpCapable, MptcpOption, WireSeq, dss_checksum, verify_dss_checksum};
use mptcp_core::{Counter, DataSeq, ResetReason, StackConfig, SubflowId};
use tcp_adapter::conformance::packet::{FIN, Packet, RST, SYN};
use tcp_adapter::{ChecksumState, OptionSpace};

use super::log::{Log, Sent, dsn};
use crate::middlebox::{Middlebox, is_syn, on_packets, remove_options, replace_option};
use crate::tcp::Tcp;
use super::TCPS;
use super::world::{Link, World, config};

const DSS: u8 = 2;
const URG: u8 = 0x20;

/// Changes the DSS of segments; those that `change` refuses stay as they are.
fn change_dss(packet: &mut Packet, change: impl Fn(&mut Dss)) {
    replace_option(packet, DSS, |option| {
        let Ok(MptcpOption::Dss(mut dss)) = MptcpOption::parse(option) else { panic!("a stack sent {option:?}") };
        change(&mut dss);
        let mut space = OptionSpace::new(OptionSpace::MAX);
        assert!(MptcpOption::Dss(dss).emit(&mut space));
        space.as_slice().to_vec()
    });
}

fn has_data(sent: &Sent) -> bool {
    !sent.packet.payload.is_empty()
}

fn len(packet: &Packet) -> u32 {
    u32::try_from(packet.payload.len()).unwrap()
}

#[test]
fn every_segment_with_data_carries_a_mapping_of_its_bytes_that_never_changes() {
    for checksum in [false, true] {
        // With checksums, it need not be asked for.
        let config = || StackConfig { checksum, map_every_segment: !checksum, ..config() };
        let mut world = World::new(1, 2, [config(), config()]);
        for link in &mut world.links {
            *link = Link { rate: Some(20_000_000), loss: 20, ..Link::default() };
        }
        let log = Log::watch(&mut world);
        let conns = world.open_mesh();
        world.send(0, conns[0], 500_000, true);
        world.send(1, conns[1], 500_000, true);
        assert!(world.run_until(120, |world| world.transferred(conns, true)));
        let mut starts = HashMap::new();
        let mut mappings = HashMap::new();
        let (mut seen, mut again) = (HashMap::new(), 0);
        for sent in log.all().iter() {
            let Sent { link, host, packet } = sent;
            assert_eq!(packet.flags & URG, 0);
            if packet.has(SYN) {
                starts.insert((*link, *host), packet.seq);
            }
            if !has_data(sent) {
                let speaks =
                    packet.flags & (SYN | RST) == 0 && sent.options().iter().any(|o| matches!(o, MptcpOption::Dss(_)));
                assert!(!speaks || sent.data_ack().is_some());
                continue;
            }
            let relative = packet.seq.wrapping_sub(starts[&(*link, *host)]);
            again += u32::from(seen.insert((*link, *host, relative), ()).is_some());
            let (dsn, ssn, mapped, sum) = match (sent.mapping(), sent.capable()) {
                (Some(mapping), None) => {
                    assert!(sent.data_ack().is_some());
                    (Some(dsn(&mapping)), mapping.ssn, mapping.len, mapping.checksum)
                }
                (None, Some(MpCapable::AckData { data_len, checksum, .. })) => (None, 1, data_len, checksum),
                other => panic!("data without a mapping: {other:?}"),
            };
            assert!(ssn < relative + len(packet) && relative < ssn + u32::from(mapped), "a mapping of other bytes");
            let key = (*link, *host, ssn);
            let known = mappings.entry(key).or_insert((dsn, mapped, sum));
            *known = (known.0.or(dsn), known.1, known.2);
            assert_eq!((known.0, known.1, known.2), (dsn.or(known.0), mapped, sum), "changed: {key:?}");
        }
        assert!(again > 5, "nothing was sent again, so nothing was tested");
        for host in 0..2 {
            assert_eq!(world.mib(host, Counter::DSSCorruptionReset), 0);
        }
    }
}

/// Until a DATA_ACK has come back on its subflow, data always has a mapping (RFC 8684 section 3.7). After that the first segment of a
/// mapping declares it for the others (section 3.3.1), where that leaves more room for their payload.
#[test]
fn a_mapping_is_declared_once_where_options_are_known_to_pass() {
    for lossy in [false, true] {
        let mut world = World::new(4, 2, [config(), config()]);
        for link in &mut world.links {
            *link = Link {
                rate: Some(200_000_000),
                delay: Duration::from_millis(1),
                loss: if lossy { 20 } else { 0 },
                ..Link::default()
            };
        }
        let log = Log::watch(&mut world);
        let conns = world.open_mesh();
        world.send(0, conns[0], 1_000_000, true);
        world.send(1, conns[1], 1_000_000, true);
        assert!(world.run_until(120, |world| world.transferred(conns, true)));
        let mut starts = HashMap::new();
        let mut declared: HashMap<_, Vec<(u32, u32)>> = HashMap::new();
        let mut answered = HashSet::new();
        let (mut bare, mut with, mut short) = ([0, 0], [0, 0], [0, 0]);
        for sent in log.all().iter() {
            let Sent { link, host, packet } = sent;
            if packet.has(SYN) {
                starts.insert((*link, *host), packet.seq);
            }
            if sent.data_ack().is_some() {
                answered.insert((*link, 1 - host));
            }
            if !has_data(sent) {
                continue;
            }
            let relative = packet.seq.wrapping_sub(starts[&(*link, *host)]);
            let (from, until) = (relative, relative + len(packet));
            short[*host] += u32::from(len(packet) < 200);
            let known = declared.entry((*link, *host)).or_default();
            match (sent.mapping(), sent.capable()) {
                (Some(mapping), None) => {
                    known.push((mapping.ssn, mapping.ssn + u32::from(mapping.len)));
                    with[*host] += 1;
                }
                (None, Some(MpCapable::AckData { data_len, .. })) => known.push((1, 1 + u32::from(data_len))),
                (None, None) => {
                    assert!(answered.contains(&(*link, *host)), "before options are known to pass");
                    assert!(known.iter().any(|(start, end)| *start < from && until <= *end), "nothing covers it");
                    bare[*host] += 1;
                }
                other => panic!("{other:?}"),
            }
        }
        for host in 0..2 {
            match TCPS[host] {
                Tcp::Native => assert!(bare[host] > if lossy { 100 } else { with[host] / 2 }, "{bare:?} {with:?}"),
                Tcp::Smoltcp => assert_eq!(bare[host], 0),
            }
            assert!(lossy || short[host] * 20 < bare[host] + with[host], "{short:?} {bare:?} {with:?}");
            assert_eq!(world.mib(host, Counter::DSSCorruptionReset), 0);
            // What is acknowledged is told in time, although most segments with data do not.
            assert!(lossy || world.mib(host, Counter::MPTCPRetrans) == 0, "{}", world.mib(host, Counter::MPTCPRetrans));
        }
    }
}

/// Segments without options that overtake the one that declares their mapping are no sign that options do not pass.
#[test]
fn the_rest_of_a_mapping_may_come_before_its_declaration() {
    for starts in [[0, 0], [0, 300], [300, 0]] {
        let mut world = World::simple(6, 1);
        let dropped = Rc::new(Cell::new(0));
        let (count, mut declared, mut answers) = (dropped.clone(), [0; 2], 0);
        let mut seen = HashSet::new();
        world.middleboxes[0] = Some(on_packets(move |host, packet| {
            let sent = Sent { link: 0, host, packet: packet.clone() };
            let first = sent.mapping().is_some_and(|mapping| u32::from(mapping.len) > len(&packet));
            // What is sent again arrives.
            let first = first && TCPS[host] == Tcp::Native && seen.insert((host, packet.seq));
            declared[host] += u32::from(first);
            // So are the first bare DATA_ACKs of the client, by which the server would know better.
            let answer = host == 0 && packet.payload.is_empty() && sent.data_ack().is_some();
            answers += u32::from(answer);
            let lost = (first && declared[host] % 4 == 1) || (answer && answers <= 3);
            count.set(count.get() + u32::from(lost));
            if lost { vec![] } else { vec![packet] }
        }));
        let conns = world.open();
        // With the keys, which are no DSS.
        world.send(0, conns[0], 1000, false);
        world.run_for(Duration::from_millis(300));
        for round in 0..2 {
            let now = (0..2).filter(|host| (starts[*host] > 0) == (round == 1));
            for host in now {
                world.send(host, conns[host], 150_000, true);
            }
            world.run_for(Duration::from_millis(300));
        }
        assert!(world.run_until(120, |world| world.transferred(conns, true)));
        assert!(TCPS == [Tcp::Smoltcp; 2] || dropped.get() > 4, "{}", dropped.get());
        for host in 0..2 {
            let fallbacks = [Counter::DssFallback, Counter::MPCapableDataFallback, Counter::InfiniteMapTx];
            assert_eq!(fallbacks.map(|counter| world.mib(host, counter)), [0; 3], "{host} {starts:?}");
        }
    }
}

/// A mapping that is lost while its bytes are not is not declared a second time: they are sent again, and every segment has one from then on.
#[test]
fn after_a_mapping_was_lost_every_segment_declares_its_own() {
    let mut world = World::simple(5, 2);
    let conns = world.open_mesh();
    for (host, conn) in conns.iter().enumerate() {
        world.send(host, *conn, 100_000, false);
    }
    world.run_for(Duration::from_secs(1));
    let taken = Rc::new(Cell::new(0));
    let count = taken.clone();
    world.middleboxes[0] = Some(on_packets(move |host, mut packet| {
        let sent = Sent { link: 0, host, packet: packet.clone() };
        let first = sent.mapping().is_some_and(|mapping| u32::from(mapping.len) > len(&packet));
        if host == 0 && has_data(&sent) && first && count.get() == 0 {
            count.set(1);
            remove_options(&mut packet, |_| true);
        }
        vec![packet]
    }));
    world.send(0, conns[0], 2_000_000, false);
    world.run_for(Duration::from_secs(20));
    let log = Log::watch(&mut world);
    world.send(0, conns[0], 500_000, true);
    world.send(1, conns[1], 0, true);
    assert!(world.run_until(60, |world| world.transferred(conns, true)));
    if TCPS[0] == Tcp::Native {
        assert_eq!(taken.get(), 1);
        let data = log.all();
        let mut data = data.iter().filter(|sent| sent.host == 0 && has_data(sent));
        assert!(data.all(|sent| sent.mapping().is_some()));
    }
}

/// Answers that were lost look the same at first. Where nothing was repeated, the one that comes after all tells them apart.
#[test]
fn after_answers_were_lost_mappings_are_declared_once_again() {
    let mut world = World::simple(5, 1);
    let conns = world.open();
    for (host, conn) in conns.iter().enumerate() {
        world.send(host, *conn, 100_000, false);
    }
    assert!(world.run_until(20, |world| world.transferred(conns, false)));
    world.run_for(Duration::from_secs(1));
    world.middleboxes[0] = Some(on_packets(|host, mut packet| {
        if host == 1 {
            remove_options(&mut packet, |_| true);
        }
        vec![packet]
    }));
    world.send(0, conns[0], 1000, false);
    world.run_for(Duration::from_secs(1));
    let acked = |world: &World| world.hosts[0].stack.info(conns[0]).unwrap().bytes_acked;
    assert_eq!(acked(&world), 100_000);
    world.middleboxes[0] = None;
    assert!(world.run_until(20, |world| acked(world) == 101_000));
    let log = Log::watch(&mut world);
    world.send(0, conns[0], 500_000, false);
    assert!(world.run_until(20, |world| world.transferred(conns, false)));
    if TCPS[0] == Tcp::Native {
        let data = log.all();
        let mut data = data.iter().filter(|sent| sent.host == 0 && has_data(sent));
        assert!(data.any(|sent| sent.mapping().is_none()));
    }
}

#[test]
fn urgent_data_is_delivered_in_line() {
    const TCP: usize = 14 + 20;
    let mut world = World::simple(2, 1);
    let conns = world.open();
    world.middleboxes[0] = Some(Box::new(|host, mut frame| {
        if host == 0 && Packet::parse(&frame).is_some_and(|packet| !packet.payload.is_empty()) {
            let bytes = frame.linearize();
            bytes[TCP + 13] |= URG;
            bytes[TCP + 19] = 10;
            frame.meta.checksum = ChecksumState::Verified;
        }
        vec![frame]
    }));
    world.send(0, conns[0], 100_000, true);
    world.send(1, conns[1], 0, true);
    assert!(world.run_until(20, |world| world.transferred(conns, true)));
    assert_eq!(world.hosts[0].stack.info(conns[0]).unwrap().bytes_retransmitted, 0);
}

#[test]
fn data_that_comes_before_its_mapping_is_acknowledged_and_kept() {
    let config = || StackConfig { map_every_segment: true, ..config() };
    let mut world = World::new(3, 1, [config(), config()]);
    let conns = world.open();
    world.send(0, conns[0], 1000, false);
    world.run_for(Duration::from_secs(1));
    let stripped = Rc::new(Cell::new(0));
    let count = stripped.clone();
    let mut start = 0;
    world.middleboxes[0] = Some(on_packets(move |host, mut packet| {
        let sent = Sent { link: 0, host, packet: packet.clone() };
        if let (0, Some(mapping)) = (host, sent.mapping().filter(|_| has_data(&sent))) {
            // The first segment of a mapping, if another one follows.
            if mapping.ssn != start && u32::from(mapping.len) > len(&packet) {
                count.set(count.get() + 1);
                remove_options(&mut packet, |_| true);
            }
            start = mapping.ssn;
        }
        vec![packet]
    }));
    world.send(0, conns[0], 300_000, true);
    world.send(1, conns[1], 0, true);
    assert!(world.run_until(20, |world| world.transferred(conns, true)));
    assert!(stripped.get() > 10, "{}", stripped.get());
    world.run_for(Duration::from_secs(1));
    let carried = &world.hosts[0].stack.past_subflows(conns[0])[0];
    assert_eq!(carried.bytes_sent, 301_000, "nothing was sent twice");
    assert_eq!(world.mib(0, Counter::MPTCPRetrans) + world.mib(1, Counter::DSSNotMatching), 0);
}

#[test]
fn data_whose_mapping_never_comes_breaks_its_subflow_after_a_while_or_a_window() {
    for patience in [Duration::from_secs(5), Duration::from_secs(3600)] {
        let config = || StackConfig { unmapped_timeout: patience, recv_buffer_max: 64 << 10, ..config() };
        let mut world = World::new(4, 2, [config(), config()]);
        let conns = world.open_mesh();
        world.send(0, conns[0], 300_000, false);
        assert!(world.run_until(30, |world| world.transferred(conns, false)));
        // A route has changed, and options do not pass any more on the faster path.
        world.links[0].delay = Duration::from_millis(40);
        world.middleboxes[1] = Some(on_packets(|host, mut packet| {
            if host == 0 && !packet.payload.is_empty() {
                remove_options(&mut packet, |_| true);
            }
            vec![packet]
        }));
        let log = Log::watch(&mut world);
        world.send(0, conns[0], 1_000_000, true);
        world.send(1, conns[1], 0, true);
        let done = world.run_until(300, |world| world.transferred(conns, true));
        assert!(done, "{:?}", [0, 1].map(|host| world.hosts[host].stack.info(conns[host])));
        assert_eq!(log.resets(1, 1)[0], Some(ResetReason::MiddleboxInterference), "{patience:?}");
        assert!(world.mib(1, Counter::DSSNotMatching) > 0);
        assert!(log.resets(0, 0).is_empty() && log.resets(0, 1).is_empty());
    }
}

#[test]
fn a_mapping_with_another_kind_of_checksum_than_agreed_resets_its_subflow() {
    for agreed in [false, true] {
        let config = || StackConfig { checksum: agreed, ..config() };
        let mut world = World::new(5, 2, [config(), config()]);
        world.middleboxes[1] = Some(on_packets(|host, mut packet| {
            if host == 0 && !packet.payload.is_empty() {
                change_dss(&mut packet, |dss| {
                    if let Some(mapping) = &mut dss.mapping {
                        mapping.checksum = if mapping.checksum.is_some() { None } else { Some(0x1234) };
                    }
                });
            }
            vec![packet]
        }));
        let log = Log::watch(&mut world);
        let conns = world.open_mesh();
        world.links[0].delay = Duration::from_millis(40);
        world.send(0, conns[0], 300_000, true);
        world.send(1, conns[1], 0, true);
        assert!(world.run_until(60, |world| world.transferred(conns, true)));
        assert_eq!(log.resets(1, 1)[0], Some(ResetReason::MptcpSpecific));
        assert!(log.resets(0, 1).is_empty());
    }
}

#[test]
fn a_window_without_data_ack_is_not_applied() {
    for with_data_ack in [false, true] {
        let mut world = World::simple(6, 1);
        let conns = world.open();
        world.hosts[1].lazy = true;
        world.send(0, conns[0], 3_000_000, false);
        world.run_for(Duration::from_secs(10));
        let window = |world: &World| world.hosts[0].stack.info(conns[0]).unwrap().send_window;
        // The scale rounds down what is announced.
        assert!(window(&world) < 256);
        world.middleboxes[0] = Some(on_packets(move |host, mut packet| {
            if host == 1 && packet.payload.is_empty() {
                packet.window = 1000;
                remove_options(&mut packet, |_| !with_data_ack);
            }
            vec![packet]
        }));
        let log = Log::watch(&mut world);
        world.run_for(Duration::from_millis(100));
        world.run_until(60, |_| !log.of(1).is_empty());
        world.run_for(Duration::from_millis(50));
        assert_eq!(window(&world) >= 256, with_data_ack);
    }
}

#[test]
fn a_peer_that_sends_data_acks_only_when_they_advance_is_understood() {
    let mut world = World::simple(7, 2);
    for link in &mut world.links {
        // Fast enough that no queue overflows: a DATA_ACK that is lost would never be repeated.
        *link = Link { rate: Some(100_000_000), ..Link::default() };
    }
    let conns = world.open_mesh();
    world.send(0, conns[0], 100_000, false);
    world.send(1, conns[1], 100_000, false);
    assert!(world.run_until(20, |world| world.transferred(conns, false)));
    let last = Rc::new(Cell::new([0; 2]));
    let removed = Rc::new(Cell::new(0));
    for link in 0..2 {
        let (last, removed) = (last.clone(), removed.clone());
        world.middleboxes[link] = Some(on_packets(move |host, mut packet| {
            let sent = Sent { link, host, packet: packet.clone() };
            if let Some(ack) = sent.data_ack() {
                let mut known = last.get();
                let advances = ack.wrapping_sub(known[host]).cast_signed() > 0;
                if advances {
                    known[host] = ack;
                    last.set(known);
                } else if sent.mapping().is_some() {
                    removed.set(removed.get() + 1);
                    change_dss(&mut packet, |dss| dss.data_ack = None);
                } else {
                    removed.set(removed.get() + 1);
                    remove_options(&mut packet, |subtype| subtype == DSS);
                }
            }
            vec![packet]
        }));
    }
    world.send(0, conns[0], 1_000_000, true);
    world.send(1, conns[1], 1_000_000, true);
    assert!(world.run_until(60, |world| world.transferred(conns, true)));
    assert!(removed.get() > 100, "{}", removed.get());
    for host in 0..2 {
        assert_eq!(world.hosts[host].stack.info(conns[host]).unwrap().fallback, None);
        assert_eq!(world.mib(host, Counter::MPRstTx), 0);
    }
    world.close_all();
}

#[test]
fn what_was_sent_again_elsewhere_is_still_delivered_where_it_was_sent_first() {
    let mut world = World::simple(8, 2);
    for link in &mut world.links {
        *link = Link { rate: Some(20_000_000), ..Link::default() };
    }
    let conns = world.open_mesh();
    world.send(0, conns[0], 3_000_000, false);
    world.run_for(Duration::from_millis(300));
    world.links[1].down = true;
    // Long enough for the sender's timer, not so long that the subflow is made anew.
    world.run_for(Duration::from_millis(if TCPS[0] == Tcp::Native { 400 } else { 700 }));
    world.links[1].down = false;
    assert!(world.run_until(60, |world| world.transferred(conns, false)));
    world.run_for(Duration::from_secs(10));
    assert!(world.hosts[0].stack.info(conns[0]).unwrap().bytes_retransmitted > 0, "nothing was sent elsewhere");
    assert!(world.mib(1, Counter::DuplicateData) > 0, "nothing came twice");
    let second = &world.hosts[0].stack.subflows(conns[0])[1];
    let tcp = second.tcp.unwrap();
    assert_eq!((second.id, tcp.in_flight, tcp.snd_una), (SubflowId(1), 0, second.bytes_sent));
    assert!(tcp.retransmissions > 0);
}

#[test]
fn data_that_tcp_has_acknowledged_but_no_data_ack_covers_is_sent_again() {
    let mut world =
        World::new(9, 2, [config(), StackConfig { unmapped_timeout: Duration::from_secs(3600), ..config() }]);
    let conns = world.open_mesh();
    world.send(0, conns[0], 100_000, false);
    assert!(world.run_until(20, |world| world.transferred(conns, false)));
    world.links[0].delay = Duration::from_millis(40);
    world.send(0, conns[0], 100_000, false);
    assert!(world.run_until(20, |world| world.transferred(conns, false)));
    // Like a proxy that acknowledges what it then loses, for the layer above TCP.
    world.middleboxes[1] = Some(on_packets(|host, mut packet| {
        if host == 0 && !packet.payload.is_empty() {
            remove_options(&mut packet, |_| true);
        }
        vec![packet]
    }));
    let before = world.hosts[0].stack.subflows(conns[0])[1].bytes_sent;
    world.send(0, conns[0], 2000, false);
    world.run_for(Duration::from_millis(100));
    let second = &world.hosts[0].stack.subflows(conns[0])[1];
    assert_eq!((second.bytes_sent - before, second.tcp.unwrap().in_flight), (2000, 0), "sent there, and acknowledged");
    let acked = |world: &World| world.hosts[0].stack.info(conns[0]).unwrap().bytes_acked;
    assert_eq!(acked(&world), 200_000, "which says nothing of the connection");
    assert!(world.run_until(10, |world| acked(world) == 202_000), "{:?}", world.hosts[0].stack.info(conns[0]));
    assert!(world.hosts[0].stack.info(conns[0]).unwrap().bytes_retransmitted >= 2000);
    assert_eq!(world.mib(0, Counter::MPRstTx), 0);
}

#[test]
fn a_data_fin_alone_maps_one_octet_of_no_subflow_byte() {
    for checksum in [false, true] {
        let config = || StackConfig { checksum, ..config() };
        let mut world = World::new(10, 1, [config(), config()]);
        let log = Log::watch(&mut world);
        let conns = world.open();
        world.send(0, conns[0], 5000, true);
        world.send(1, conns[1], 3000, true);
        assert!(world.run_until(10, |world| world.transferred(conns, true)));
        let keys = log.keys();
        for (host, bytes) in [(0, 5000), (1, 3000)] {
            let fins: Vec<_> =
                log.of(host).into_iter().filter(|sent| sent.dss().is_some_and(|dss| dss.data_fin)).collect();
            assert!(!fins.is_empty());
            for fin in fins {
                let mapping = fin.mapping().unwrap();
                assert!(fin.packet.payload.is_empty());
                let expected = DataSeq::at(keys[host].idsn(), bytes).0;
                assert_eq!((dsn(&mapping), mapping.ssn, mapping.len), (expected, 0, 1));
                assert_eq!(mapping.checksum.is_some(), checksum);
                assert!(mapping.checksum.is_none_or(|sum| verify_dss_checksum(expected, 0, 1, 0, sum)));
            }
            let last = DataSeq::at(keys[host].idsn(), bytes + 1).0;
            assert_eq!(log.of(1 - host).iter().filter_map(Sent::data_ack).max(), Some(last), "acknowledged as well");
        }
    }
}

#[test]
fn a_data_fin_may_come_with_data() {
    for checksum in [false, true] {
        let config = || StackConfig { checksum, ..config() };
        let mut world = World::new(11, 1, [config(), config()]);
        let conns = world.open();
        world.send(1, conns[1], 1000, false);
        world.run_for(Duration::from_secs(1));
        world.middleboxes[0] = Some(join_fin());
        world.send(0, conns[0], 1000, true);
        world.send(1, conns[1], 0, true);
        assert!(world.run_until(5, |world| world.transferred(conns, true)), "checksum {checksum}");
        assert_eq!(world.mib(1, Counter::DataCsumErr), 0);
        world.close_all();
    }
}

/// Moves the DATA_FIN of host 0, which is a segment of its own, to the data before it.
fn join_fin() -> Middlebox {
    on_packets(|host, mut packet| {
        let sent = Sent { link: 0, host, packet: packet.clone() };
        if host != 0 || sent.mapping().is_none() {
            return vec![packet];
        }
        if !has_data(&sent) {
            return Vec::new();
        }
        let mut payload = ChecksumAccumulator::new();
        payload.add(&packet.payload);
        change_dss(&mut packet, |dss| {
            dss.data_fin = true;
            if let Some(mapping) = &mut dss.mapping {
                mapping.len += 1;
                let WireSeq::Long(dsn) = mapping.dsn else { panic!("a whole number") };
                let sum = dss_checksum(dsn, mapping.ssn, mapping.len, payload.sum());
                mapping.checksum = mapping.checksum.map(|_| sum);
            }
        });
        vec![packet]
    })
}

#[test]
fn a_data_fin_that_overtakes_data_is_not_acknowledged_before_it() {
    let mut world = World::simple(12, 1);
    let conns = world.open();
    world.send(0, conns[0], 1000, false);
    world.run_for(Duration::from_secs(1));
    let mut seen = 0;
    world.middleboxes[0] = Some(on_packets(move |host, packet| {
        seen += u32::from(host == 0 && !packet.payload.is_empty());
        if seen == 3 && host == 0 && !packet.payload.is_empty() { Vec::new() } else { vec![packet] }
    }));
    let log = Log::watch(&mut world);
    world.send(0, conns[0], 10_000, true);
    world.send(1, conns[1], 0, true);
    assert!(world.run_until(10, |world| world.transferred(conns, true)));
    let all = log.all();
    let of_data = |sent: &&Sent| sent.host == 0 && has_data(sent);
    let lost = all.iter().filter(of_data).nth(2).unwrap();
    let mut copies = all.iter().enumerate().filter(|(_, sent)| of_data(sent) && sent.packet.seq == lost.packet.seq);
    let again = copies.nth(1).unwrap().0;
    let fin = all.iter().position(|sent| sent.host == 0 && sent.dss().is_some_and(|dss| dss.data_fin)).unwrap();
    let end = dsn(&all[fin].mapping().unwrap());
    let acks = |part: &[Sent]| part.iter().filter(|sent| sent.host == 1).filter_map(Sent::data_ack).collect::<Vec<_>>();
    let after_fin = acks(&all[fin..again]);
    assert!(!after_fin.is_empty() && acks(&all[..again]).iter().all(|ack| *ack < end), "{after_fin:?} and {end}");
    assert!(acks(&all[again..]).contains(&(end + 1)));
}

#[test]
fn a_window_that_is_smaller_on_one_subflow_slows_that_subflow_only() {
    const SMALL: u32 = 4000;
    let mut world = World::simple(13, 2);
    for link in &mut world.links {
        *link = Link { rate: Some(50_000_000), delay: Duration::from_millis(10), ..Link::default() };
    }
    let mut shift = 0;
    world.middleboxes[1] = Some(on_packets(move |host, mut packet| {
        if host == 1 && is_syn(&packet) {
            shift = packet.option(3).map_or(0, |value| u32::from(value[0]));
            packet.window = packet.window.min(SMALL as u16);
        } else if host == 1 {
            packet.window = packet.window.min((SMALL >> shift) as u16);
        }
        vec![packet]
    }));
    let log = Log::watch(&mut world);
    let conns = world.open_mesh();
    world.send(0, conns[0], 4_000_000, true);
    // The right edge of the window, at every step.
    let (end, mut edge) = (world.now + Duration::from_millis(200), 0);
    while world.step(end) {
        let info = world.hosts[0].stack.info(conns[0]).unwrap();
        assert!(info.snd_una + info.send_window >= edge, "the smaller one has moved it back: {info:?}");
        edge = info.snd_una + info.send_window;
    }
    assert!(world.hosts[0].stack.info(conns[0]).unwrap().send_window > SMALL.into(), "the larger one counts");
    world.send(1, conns[1], 0, true);
    assert!(world.run_until(60, |world| world.transferred(conns, true)));
    // Bytes that host 0 had sent and host 1 not acknowledged, at most.
    let mut most = [0; 2];
    let mut acked = [0; 2];
    for sent in log.all().iter() {
        if sent.host == 1 {
            acked[sent.link] = sent.packet.ack;
        } else if has_data(sent) {
            let flight = sent.packet.seq.wrapping_add(len(&sent.packet)).wrapping_sub(acked[sent.link]);
            most[sent.link] = most[sent.link].max(flight);
        }
    }
    assert!(most[1] <= SMALL && most[1] > 0 && most[0] > 5 * SMALL, "{most:?}");
}

#[test]
fn fins_leave_on_every_subflow_and_one_that_does_not_answer_is_reset() {
    let mut world = World::simple(14, 3);
    for link in &mut world.links {
        *link = Link { rate: Some(20_000_000), ..Link::default() };
    }
    let conns = world.open_mesh();
    world.send(0, conns[0], 3_000_000, true);
    world.send(1, conns[1], 3_000_000, true);
    world.run_for(Duration::from_millis(200));
    world.links[2].down = true;
    let log = Log::watch(&mut world);
    assert!(world.run_until(60, |world| world.transferred(conns, true)));
    world.run_for(Duration::from_secs(20));
    for host in 0..2 {
        for link in 0..2 {
            let sent = log.on(link, host);
            assert!(sent.iter().any(|sent| sent.packet.has(FIN)), "host {host}, link {link}");
            assert!(!sent.iter().any(|sent| sent.packet.has(RST)), "host {host}, link {link}");
        }
        assert_eq!(log.resets(2, host), [Some(ResetReason::TooMuchOutstanding)], "host {host}");
    }
    world.close_all();
}
