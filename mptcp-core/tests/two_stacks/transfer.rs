//! Data over one and several paths.

use std::time::Duration;

use mptcp_core::wire::{MptcpOption, WireSeq};
use mptcp_core::{Counter, DataSeq, SchedulerKind, StackConfig};

use super::log::Log;
use crate::middlebox::{is_syn, on_packets};
use super::world::{World, config};

fn both_ways(mut world: World, bytes: u64, ipv4: bool) -> World {
    world.mesh(ipv4);
    let links = world.links.len();
    let client = world.connect(ipv4);
    assert!(world.run_until(10, |world| world.server_conn().is_some()));
    let conns = [client, world.server_conn().unwrap()];
    world.send(0, conns[0], bytes, true);
    world.send(1, conns[1], bytes, true);
    assert!(world.run_until(120, |world| world.transferred(conns, true)), "{:?}", world.hosts[0].stack.info(client));
    assert_eq!(world.mib(0, Counter::MPJoinSynAckRx), links as u64 - 1);
    assert_eq!(world.mib(1, Counter::MPJoinAckRx), links as u64 - 1);
    for host in 0..2 {
        assert_eq!(world.mib(host, Counter::DataCsumErr), 0);
        assert_eq!(world.mib(host, Counter::OptionMalformed), 0);
    }
    world.close_all();
    world
}

#[test]
fn one_path_carries_both_directions() {
    both_ways(World::simple(1, 1), 2_000_000, true);
}

#[test]
fn three_paths_carry_both_directions_with_either_scheduler() {
    for scheduler in SchedulerKind::ALL {
        for checksum in [false, true] {
            for ipv4 in [true, false] {
                let config = || StackConfig { checksum, scheduler, ..config() };
                let mut world = World::new(2, 3, [config(), config()]);
                for link in &mut world.links {
                    link.rate = Some(20_000_000);
                }
                let world = both_ways(world, 2_000_000, ipv4);
                // One at a time is the rule of one.
                let used = if scheduler == SchedulerKind::Backup { 1 } else { 3 };
                for link in 0..used {
                    let [left, right] = world.delivered[link];
                    assert!(left > 150 && right > 150, "{scheduler} used link {link} for {left} and {right} frames");
                }
            }
        }
    }
}

#[test]
fn checksums_are_used_if_either_side_wants_them() {
    for wanting in [0, 1] {
        let mut configs = [config(), config()];
        configs[wanting].checksum = true;
        let mut world = World::new(3, 2, configs);
        let conns = world.open_mesh();
        for host in 0..2 {
            assert!(world.hosts[host].stack.info(conns[host]).unwrap().checksum);
        }
        world.send(0, conns[0], 100_000, true);
        world.send(1, conns[1], 100_000, true);
        assert!(world.run_until(30, |world| world.transferred(conns, true)));
    }
}

#[test]
fn a_reader_that_stops_closes_the_window_and_loses_nothing() {
    let mut world = World::simple(4, 2);
    let conns = world.open_mesh();
    world.hosts[1].lazy = true;
    world.send(0, conns[0], 3_000_000, true);
    world.run_for(Duration::from_secs(20));
    let info = world.hosts[0].stack.info(conns[0]).unwrap();
    assert_eq!(info.send_window, 0, "{info:?}");
    let unread = world.hosts[1].stack.info(conns[1]).unwrap();
    // A little more than the buffer, as the scale of the window rounds up.
    assert!(unread.rcv_nxt <= unread.recv_buffer as u64 * 101 / 100, "{unread:?}");
    world.hosts[1].lazy = false;
    world.send(1, conns[1], 0, true);
    assert!(world.run_until(60, |world| world.transferred(conns, true)));
    world.close_all();
}

#[test]
fn the_edge_of_the_window_never_moves_back_on_the_wire() {
    let mut world = World::simple(4, 2);
    let log = Log::watch(&mut world);
    let conns = world.open_mesh();
    for (lazy, bytes) in [(true, 50_000), (false, 1_500_000), (true, 3_000_000), (false, 1_000_000)] {
        world.hosts[1].lazy = lazy;
        for piece in [1, 100, bytes] {
            world.send(0, conns[0], piece, false);
            world.run_for(Duration::from_secs(2));
        }
    }
    assert!(world.transferred(conns, false));
    let (mut edge, mut shifts, mut rounded) = (0, [0; 2], 0);
    for sent in log.of(1) {
        if let Some(scale) = sent.packet.option(3).filter(|_| is_syn(&sent.packet)) {
            shifts[sent.link] = u32::from(scale[0]);
        } else if let Some(ack) = sent.data_ack() {
            let end = ack + (u64::from(sent.packet.window) << shifts[sent.link]);
            assert!(end >= edge, "{end} after {edge}: {sent:?}");
            rounded += usize::from(end > edge && end < edge + (1 << shifts[sent.link]));
            edge = end;
        }
    }
    assert!(shifts[0] > 0 && rounded > 5, "{shifts:?} {rounded}");
}

#[test]
fn a_sender_that_overruns_the_window_a_little_loses_nothing() {
    let config = || StackConfig { scheduler: SchedulerKind::LowestRtt, ..config() };
    let mut world = World::new(4, 2, [config(), config()]);
    for link in 0..2 {
        // As Linux does, whose sender may take an older, larger window for that of the newest DATA_ACK.
        let mut largest = 0;
        world.middleboxes[link] = Some(on_packets(move |host, mut packet| {
            if host == 1 && !is_syn(&packet) {
                largest = packet.window.max(largest);
                packet.window = largest;
            }
            vec![packet]
        }));
    }
    let conns = world.open_mesh();
    world.links[1].delay = Duration::from_millis(20);
    world.hosts[1].lazy = true;
    // What fills the window leaves on the fast path, what overruns it on the other one, whose window is still open.
    world.send(0, conns[0], 64 << 10, false);
    world.run_for(Duration::from_millis(100));
    world.links[0].down = true;
    world.send(0, conns[0], 64 << 10, false);
    world.run_for(Duration::from_secs(3));
    assert_eq!(world.mib(1, Counter::RcvPruned), 0);
    let info = world.hosts[1].stack.info(conns[1]).unwrap();
    // All but what the second path has carried of the first part: it counts in that subflow's own window too.
    assert!(info.rcv_nxt > 90 << 10 && info.recv_window == 0, "{info:?}");
    world.hosts[1].lazy = false;
    world.send(0, conns[0], 1_000_000, false);
    assert!(world.run_until(20, |world| world.transferred(conns, false)));
}

#[test]
fn the_receive_buffer_grows_with_what_the_application_reads() {
    let mut world = World::simple(5, 1);
    // Before the handshake: an end that only receives measures no other round trip.
    world.links[0].delay = Duration::from_millis(40);
    let conns = world.open();
    world.send(0, conns[0], 20_000_000, false);
    let before = world.hosts[1].stack.info(conns[1]).unwrap().recv_buffer;
    assert!(world.run_until(120, |world| world.transferred(conns, false)));
    let after = world.hosts[1].stack.info(conns[1]).unwrap().recv_buffer;
    assert!(before == 64 << 10 && after > before * 3 && after <= 512 << 10, "{before} -> {after}");
}

/// Rewrites the DSS options of all segments to 32-bit sequence numbers, as RFC 8684 section 3.3.1 allows senders.
fn shorten() -> crate::middlebox::Middlebox {
    crate::middlebox::on_packets(|_, mut packet| {
        crate::middlebox::replace_option(&mut packet, 2, |option| {
            let Ok(MptcpOption::Dss(mut dss)) = MptcpOption::parse(option) else { panic!("a stack sent {option:?}") };
            let short = |seq: WireSeq| match seq {
                WireSeq::Long(seq) => WireSeq::Short(DataSeq(seq).low()),
                short @ WireSeq::Short(_) => short,
            };
            dss.data_ack = dss.data_ack.map(short);
            if let Some(mapping) = &mut dss.mapping {
                mapping.dsn = short(mapping.dsn);
            }
            let mut space = tcp_adapter::OptionSpace::new(40);
            assert!(MptcpOption::Dss(dss).emit(&mut space));
            space.as_slice().to_vec()
        });
        vec![packet]
    })
}

#[test]
fn short_sequence_numbers_are_understood() {
    for seed in 0..4 {
        let checksum = seed % 2 == 1;
        let config = || StackConfig { checksum, ..config() };
        let mut world = World::new(seed, 2, [config(), config()]);
        for link in 0..2 {
            world.links[link].jitter = Duration::from_millis(2);
            world.middleboxes[link] = Some(shorten());
        }
        both_ways(world, 500_000, true);
    }
}

#[test]
fn weights_divide_the_traffic() {
    let config = || StackConfig { scheduler: SchedulerKind::RoundRobin, ..config() };
    let mut world = World::new(8, 2, [config(), config()]);
    let conns = world.open_mesh();
    let now = world.now;
    let second = world.hosts[0].stack.subflows(conns[0])[1].id;
    world.hosts[0].stack.set_weight(now, conns[0], second, 3.try_into().unwrap()).unwrap();
    // In portions that both have room for: a path that is full loses its turn.
    for _ in 0..80 {
        world.send(0, conns[0], 57_280, false);
        assert!(world.run_until(30, |world| world.transferred(conns, false)));
    }
    let sent: Vec<u64> = world.hosts[0].stack.subflows(conns[0]).iter().map(|subflow| subflow.bytes_sent).collect();
    let share = sent[1] as f64 / sent[0] as f64;
    assert!((2.5..3.5).contains(&share), "{sent:?}");
}

#[test]
fn a_mapping_is_never_larger_than_its_16_bits_and_small_writes_share_segments() {
    let mut world = World::simple(6, 1);
    let conns = world.open();
    let before = world.delivered[0][1];
    for _ in 0..1000 {
        let now = world.now;
        let _ = world.hosts[0].stack.send(now, conns[0], bytes::Bytes::from_static(b"x"));
    }
    world.hosts[1].flows.get_mut(&conns[1]).unwrap().unchecked = true;
    assert!(world.run_until(10, |world| world.hosts[1].flows[&conns[1]].received == 1000));
    let frames = world.delivered[0][1] - before;
    assert!(frames < 300, "1000 writes of a byte took {frames} frames");
}
