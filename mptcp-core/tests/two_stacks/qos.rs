//! Classes that share: shares, limits, and who comes first.

use std::num::NonZeroU64;
use std::time::Duration;

use mptcp_core::{ClassShare, ConnId, Message, PathPolicy, PathRule, Qos, StackConfig, TrafficClass};

use super::world::{Link, World, config};

use TrafficClass::{Background, Bulk, Latency};

/// Two hosts with a link of 20 Mbit/s and 5 ms, which share like this.
fn world(qos: Option<Qos>) -> World {
    // No receive window holds anybody back.
    let config = || StackConfig { qos, recv_buffer_initial: 512 << 10, ..config() };
    let mut world = World::new(21, 1, [config(), config()]);
    world.links[0] = Link { rate: Some(20_000_000), ..Link::default() };
    world
}

fn open(world: &mut World, class: TrafficClass) -> [ConnId; 2] {
    let accepted = world.hosts[1].flows.len();
    let client = world.connect(true);
    assert!(world.run_until(60, |world| world.hosts[1].flows.len() > accepted));
    let now = world.now;
    assert!(world.hosts[0].stack.set_class(now, client, class));
    [client, world.server_conn().unwrap()]
}

fn received(world: &World, conns: [ConnId; 2]) -> u64 {
    world.hosts[1].flows[&conns[1]].received
}

fn limited(weight: u32, mbit: u64) -> ClassShare {
    ClassShare { weight, limit: Some(mbit * 125_000) }
}

/// What arrives of endless data of two connections within ten seconds, when both are at their full rate.
fn shared(world: &mut World, classes: [TrafficClass; 2]) -> [u64; 2] {
    let conns = classes.map(|class| open(world, class));
    conns.iter().for_each(|conns| world.send(0, conns[0], 60 << 20, false));
    world.run_for(Duration::from_secs(3));
    let before = conns.map(|conns| received(world, conns));
    world.run_for(Duration::from_secs(10));
    let after = conns.map(|conns| received(world, conns));
    [after[0] - before[0], after[1] - before[1]]
}

#[test]
fn bulk_and_background_share_eight_to_one() {
    for order in [[Bulk, Background], [Background, Bulk]] {
        let mut shares = shared(&mut world(Some(Qos::default())), order);
        if order[0] == Background {
            shares.reverse();
        }
        let ratio = shares[0] as f64 / shares[1] as f64;
        assert!((7.0..9.0).contains(&ratio), "{shares:?}");
        assert!(shares[0] + shares[1] > 22_500_000, "90 % of the link: {shares:?}");
    }
    let equal = shared(&mut world(None), [Bulk, Background]);
    assert!(equal[0] < 4 * equal[1], "without shares: {equal:?}");
}

#[test]
fn what_a_policy_allows_on_a_path_is_shared_as_a_full_path_is() {
    let mut world = world(Some(Qos::default()));
    let rule = PathRule { max_rate: NonZeroU64::new(1_250_000), ..PathRule::default() };
    world.hosts[0].stack.set_policy(PathPolicy { rules: vec![rule], ..PathPolicy::default() }).unwrap();
    let shares = shared(&mut world, [Bulk, Background]);
    assert!((7.0..9.0).contains(&(shares[0] as f64 / shares[1] as f64)), "{shares:?}");
    assert!((12_000_000..12_600_000).contains(&(shares[0] + shares[1])), "10 Mbit/s: {shares:?}");
}

#[test]
fn background_has_everything_while_bulk_has_little_to_send() {
    let mut world = world(Some(Qos::default()));
    let [bulk, background] = [Bulk, Background].map(|class| open(&mut world, class));
    world.send(0, background[0], 60 << 20, false);
    for _ in 0..500 {
        world.send(0, bulk[0], 2_500, false);
        world.run_for(Duration::from_millis(20));
    }
    // 1 Mbit/s of bulk leaves 19 of 20.
    assert!(received(&world, background) > 10 * 19 * 125_000 * 85 / 100, "{}", received(&world, background));
    assert!(received(&world, bulk) >= 500 * 2_500 * 98 / 100);
}

#[test]
fn a_limit_is_kept_by_all_connections_of_a_class_and_shared_by_them() {
    let mut world = world(Some(Qos { background: limited(1, 5), ..Qos::default() }));
    let conns = [0; 3].map(|_| open(&mut world, Background));
    conns.iter().for_each(|conns| world.send(0, conns[0], 20 << 20, false));
    let start = conns.map(|conns| received(&world, conns)).iter().sum::<u64>();
    for tenth in 1..=100u64 {
        world.run_for(Duration::from_millis(100));
        let all = conns.map(|conns| received(&world, conns)).iter().sum::<u64>() - start;
        let most = tenth * 62_500 + (16 << 10);
        assert!(all <= most, "{all} of {most} after {tenth} tenths");
    }
    let each = conns.map(|conns| received(&world, conns));
    let all: u64 = each.iter().sum();
    assert!(all * 100 >= 10 * 625_000 * 96, "{each:?}");
    assert!(each.iter().all(|one| *one * 10 > all * 2), "one in three is served less: {each:?}");
    world.close_all();
}

/// Where classes alternate in one stream, no segment carries bytes of the next one along, which may have had its share.
#[test]
fn a_limit_is_kept_where_classes_alternate() {
    let mut world = world(Some(Qos { background: limited(1, 1), ..Qos::default() }));
    let conns = open(&mut world, Bulk);
    world.hosts[1].flows.values_mut().for_each(|flow| flow.unchecked = true);
    let start = world.now;
    let (mut written, mut background) = (0, 0);
    while world.now - start < Duration::from_secs(4) {
        for (class, len) in [(Bulk, 300), (Background, 900)] {
            let message = Message { class, deadline: None, ends: true };
            let (now, bytes) = (world.now, vec![0; len].into());
            let taken = world.hosts[0].stack.send_message(now, conns[0], bytes, message).unwrap();
            assert_eq!(taken, len, "the buffer has room");
            written += taken as u64;
        }
        world.run_for(Duration::from_millis(6));
        let arrived = received(&world, conns);
        background = arrived / 1200 * 900 + (arrived % 1200).saturating_sub(300);
        let most = 125_000 * (world.now - start).as_millis() as u64 / 1000 + (16 << 10);
        assert!(background <= most, "{background} of {most}");
    }
    assert!(background > 480_000 && written > 600_000, "{background} of {written}");
}

#[test]
fn a_command_is_not_delayed_by_classes_that_are_limited() {
    let delayed = |qos: Option<Qos>| {
        let mut world = world(qos);
        let [bulk, background] = [Bulk, Background].map(|class| open(&mut world, class));
        let command = open(&mut world, Latency);
        for conns in [bulk, background] {
            world.send(0, conns[0], 60 << 20, false);
        }
        world.run_for(Duration::from_secs(2));
        let mut longest = Duration::ZERO;
        for number in 1..=50 {
            world.send(0, command[0], 1000, false);
            let sent_at = world.now;
            assert!(world.run_until(5, |world| received(world, command) == number * 1000));
            longest = longest.max(world.now - sent_at);
            world.run_for(Duration::from_millis(37));
        }
        longest
    };
    let qos = Qos { bulk: limited(8, 14), background: limited(1, 4), ..Qos::default() };
    // 5 ms of the link, and what both may have handed over at once: 32 KiB take 13 ms.
    assert!(delayed(Some(qos)) < Duration::from_millis(20), "{:?}", delayed(Some(qos)));
    assert!(delayed(None) > Duration::from_millis(30));
}

#[test]
fn the_more_important_leave_first_when_all_begin_at_once() {
    let mut world = world(Some(Qos::default()));
    let conns = [Background, Bulk, Latency].map(|class| open(&mut world, class));
    world.run_for(Duration::from_millis(200));
    let start = world.now;
    // In the order of the handles, the least important one first.
    for (conns, bytes) in conns.iter().zip([100_000, 100_000, 1000]) {
        let bytes = vec![0; bytes].into();
        world.hosts[0].stack.send(start, conns[0], bytes).unwrap();
    }
    world.hosts[1].flows.values_mut().for_each(|flow| flow.unchecked = true);
    assert!(world.run_until(1, |world| received(world, conns[2]) == 1000));
    assert!(world.now - start < Duration::from_micros(6_500), "{:?}", world.now - start);
}

#[test]
fn a_stream_changes_its_class_and_a_connection_that_waits_can_end() {
    let mut world = world(Some(Qos { background: limited(1, 1), ..Qos::default() }));
    let conns = open(&mut world, Background);
    world.send(0, conns[0], 400_000, false);
    world.run_for(Duration::from_millis(400));
    assert!(received(&world, conns) < 80_000);
    let now = world.now;
    world.hosts[0].stack.set_class(now, conns[0], Bulk);
    world.run_for(Duration::from_millis(400));
    assert_eq!(received(&world, conns), 400_000, "it waits for nothing any more");
    world.hosts[0].stack.set_class(world.now, conns[0], Background);
    world.send(0, conns[0], 400_000, false);
    world.run_for(Duration::from_millis(100));
    let now = world.now;
    world.hosts[0].stack.abort(now, conns[0]);
    world.close_all();
}
