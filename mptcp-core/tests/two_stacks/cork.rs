//! A connection that is corked sends full segments only, for a while.

use std::time::Duration;

use mptcp_core::{ConnId, Message, StackConfig, TrafficClass};

use super::log::Log;
use super::world::{World, config};
use crate::middlebox::{is_syn, strip};

/// More than the way takes, and less than an acknowledgement back.
const WAY: Duration = Duration::from_millis(6);

/// Payload that no full segment of an Ethernet has less of, whatever its options.
const NEARLY_FULL: usize = 1400;

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn cork(world: &mut World, conn: ConnId, corked: bool) {
    let now = world.now;
    assert!(world.hosts[0].stack.set_cork(now, conn, corked));
}

fn received(world: &World, conns: [ConnId; 2]) -> u64 {
    world.hosts[1].flows[&conns[1]].received
}

/// Payload bytes of each segment with data that host 0 has sent.
fn lengths(log: &Log) -> Vec<usize> {
    let all = log.all();
    let own = all.iter().filter(|sent| sent.host == 0 && !sent.packet.payload.is_empty());
    own.map(|sent| sent.packet.payload.len()).collect()
}

/// With Multipath TCP, without from the start, and without as its options do not pass.
fn worlds() -> [World; 3] {
    let plain = StackConfig { mptcp: false, ..config() };
    let mut stripped = World::simple(3, 1);
    stripped.middleboxes[0] = Some(strip(|_, packet| is_syn(packet)));
    [World::simple(1, 1), World::new(2, 1, [plain, config()]), stripped]
}

#[test]
fn full_segments_leave_and_the_rest_when_it_is_uncorked() {
    for mut world in worlds() {
        let conns = world.open();
        let log = Log::watch(&mut world);
        cork(&mut world, conns[0], true);
        assert!(world.hosts[0].stack.info(conns[0]).unwrap().corked);
        world.send(0, conns[0], 4000, false);
        world.run_for(millis(50));
        let full = received(&world, conns);
        assert!((2 * NEARLY_FULL as u64..3000).contains(&full), "{full}");
        // With what was held back, this is one more, and with a piece left.
        world.send(0, conns[0], 1000, false);
        world.run_for(millis(50));
        assert!((3 * NEARLY_FULL as u64..4500).contains(&received(&world, conns)), "{}", received(&world, conns));
        assert!(lengths(&log).iter().all(|len| *len >= NEARLY_FULL), "{:?}", lengths(&log));
        cork(&mut world, conns[0], false);
        assert!(!world.hosts[0].stack.info(conns[0]).unwrap().corked);
        world.run_for(WAY);
        assert_eq!(received(&world, conns), 5000);
        world.run_for(millis(100));
        world.send(0, conns[0], 10, false);
        world.run_for(WAY);
        assert_eq!(received(&world, conns), 5010, "as if it had never been corked");
        world.close_all();
    }
}

#[test]
fn nothing_is_held_back_for_longer_than_200_ms() {
    for mut world in worlds() {
        let conns = world.open();
        world.run_for(millis(100));
        cork(&mut world, conns[0], true);
        let log = Log::watch(&mut world);
        for end in [300, 500] {
            let start = world.now;
            world.send(0, conns[0], 100, false);
            world.run_for(millis(150));
            assert!(world.hosts[0].stack.poll_timeout().is_some_and(|at| at <= start + millis(200)));
            // What comes to it has no more time.
            let more = end - 100 - received(&world, conns);
            world.send(0, conns[0], more, false);
            world.run_for(millis(49));
            assert_eq!(received(&world, conns), [0, 300][usize::from(end > 300)]);
            world.run_for(millis(1) + WAY);
            assert_eq!(received(&world, conns), end);
        }
        assert_eq!(lengths(&log), [300, 200], "one segment each");
        world.close_all();
    }
}

#[test]
fn uncorking_for_a_moment_is_enough() {
    for mut world in worlds() {
        let conns = world.open();
        world.run_for(millis(100));
        cork(&mut world, conns[0], true);
        world.send(0, conns[0], 300, false);
        cork(&mut world, conns[0], false);
        cork(&mut world, conns[0], true);
        world.run_for(WAY);
        assert_eq!(received(&world, conns), 300);
        world.send(0, conns[0], 200, false);
        world.run_for(millis(190));
        assert_eq!(received(&world, conns), 300, "it is corked again");
        world.run_for(millis(20));
        assert_eq!(received(&world, conns), 500);
        world.close_all();
    }
}

#[test]
fn the_end_of_a_message_is_held_back_and_the_end_of_the_stream_is_not() {
    for mut world in worlds() {
        let conns = world.open();
        world.run_for(millis(100));
        world.flow(1, conns[1]).unchecked = true;
        let log = Log::watch(&mut world);
        cork(&mut world, conns[0], true);
        for class in [TrafficClass::Latency, TrafficClass::Bulk] {
            let message = Message { class, deadline: Some(world.now + millis(10)), ends: true };
            let now = world.now;
            let taken = world.hosts[0].stack.send_message(now, conns[0], vec![7; 100].into(), message);
            assert_eq!(taken, Ok(100));
            world.run_for(millis(50));
            assert_eq!(received(&world, conns), 0);
        }
        let now = world.now;
        world.hosts[0].stack.shutdown(now, conns[0]);
        world.run_for(WAY);
        let flow = world.hosts[1].flows[&conns[1]];
        assert_eq!((flow.received, lengths(&log)), (200, vec![200]));
        assert!(world.run_until(1, |world| world.hosts[1].flows[&conns[1]].finished));
        world.close_all();
    }
}

#[test]
fn all_subflows_send_full_segments_only() {
    let config = || StackConfig { recv_buffer_initial: 512 << 10, ..config() };
    let mut world = World::new(5, 3, [config(), config()]);
    let conns = world.open_mesh();
    world.run_for(millis(100));
    let log = Log::watch(&mut world);
    cork(&mut world, conns[0], true);
    for round in 1..=50 {
        world.send(0, conns[0], 2001, false);
        world.run_for(millis(10));
        let left = round * 2001 - received(&world, conns);
        assert!(left <= 2 * 1460, "{left} of round {round}");
    }
    let lengths = lengths(&log);
    let short = lengths.iter().filter(|len| **len < NEARLY_FULL).count();
    assert!(lengths.len() > 60 && short <= 2, "one of each round would be short: {lengths:?}");
    world.send(0, conns[0], 0, true);
    world.run_for(millis(50));
    assert_eq!(received(&world, conns), 50 * 2001);
    world.close_all();
}
