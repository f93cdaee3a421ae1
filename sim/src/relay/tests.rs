use std::cell::Cell;
use std::time::Duration;

use tcp_adapter::device::{Device, MemoryDevice};

use super::*;
use crate::link::DropReason;

fn link(settings: &[(&str, &str)]) -> Link {
    Link::from_settings("wire", settings.iter().copied()).unwrap()
}

fn frame(number: u8, len: usize) -> Frame {
    Frame::from(&vec![number; len][..])
}

fn numbers(frames: &mut VecDeque<Frame>) -> Vec<u8> {
    frames.drain(..).map(|frame| frame.head[0]).collect()
}

fn ms(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

#[test]
fn each_direction_has_its_own_conditions() {
    let link = link(&[("up.delay", "10ms"), ("down.delay", "3ms"), ("down.rate", "8Mbit")]);
    let mut relay = Relay::new(&[link], 1).unwrap();
    relay.handle_frame(ms(0), 0, true, frame(1, 1000));
    // A millisecond to be sent, and three to travel.
    relay.handle_frame(ms(0), 0, false, frame(2, 1000));
    assert_eq!(relay.poll_timeout(), Some(ms(4)));
    relay.handle_timeout(ms(3));
    assert!(relay.arrived(0, true).is_empty() && relay.arrived(0, false).is_empty());
    relay.handle_timeout(ms(4));
    assert_eq!(numbers(relay.arrived(0, false)), [2]);
    assert_eq!(relay.poll_timeout(), Some(ms(10)));
    relay.handle_timeout(ms(50));
    assert_eq!(numbers(relay.arrived(0, true)), [1]);
    assert_eq!((relay.poll_timeout(), relay.stats(0, true).delivered.packets), (None, 1));
}

#[test]
fn links_do_not_share_anything() {
    let slow = link(&[("rate", "80kbit")]);
    let mut relay = Relay::new(&[slow.clone(), slow], 1).unwrap();
    for number in 0..4 {
        relay.handle_frame(ms(0), usize::from(number % 2), true, frame(number, 1000));
    }
    relay.handle_timeout(ms(100));
    assert_eq!((numbers(relay.arrived(0, true)), numbers(relay.arrived(1, true))), (vec![0], vec![1]));
}

#[test]
fn the_same_seed_loses_the_same_packets() {
    let lost = |seed| {
        let mut relay = Relay::new(&[link(&[("loss", "20%")])], seed).unwrap();
        for number in 0..200 {
            relay.handle_frame(ms(number.into()), 0, true, frame(number, 100));
        }
        assert_eq!(relay.stats(0, true).dropped_total(), relay.stats(0, true).dropped(DropReason::Random));
        numbers(relay.arrived(0, true))
    };
    assert_eq!(lost(7), lost(7));
    assert_ne!(lost(7), lost(8));
    assert!((120..195).contains(&lost(7).len()));
}

#[test]
fn what_happens_to_a_link_happens_at_its_time() {
    let settings = [("events", r#"[{ at = "5ms", action = "blackhole", for = "10ms" }]"#)];
    let mut relay = Relay::new(&[link(&settings)], 1).unwrap();
    for number in 0..30 {
        relay.handle_frame(ms(number.into()), 0, true, frame(number, 100));
    }
    let expected: Vec<u8> = (0..5).chain(15..30).collect();
    assert_eq!(numbers(relay.arrived(0, true)), expected);
    assert_eq!(relay.stats(0, true).dropped(DropReason::Blackhole).packets, 10);
}

#[test]
fn frames_that_nobody_takes_are_bounded() {
    let mut relay = Relay::new(&[link(&[])], 1).unwrap();
    for _ in 0..MOST_ARRIVED + 10 {
        relay.handle_frame(ms(0), 0, true, frame(0, 100));
    }
    assert_eq!((relay.arrived(0, true).len(), relay.stuck(0, true)), (MOST_ARRIVED, 10));
}

#[test]
fn a_driver_carries_frames_both_ways() {
    let ((left, mut host), (right, mut server)) = (MemoryDevice::pair(1500, 64), MemoryDevice::pair(1500, 64));
    let relay = Relay::new(&[link(&[("delay", "2ms")])], 1).unwrap();
    let now = Cell::new(ms(0));
    let mut driver = Driver::new(relay, vec![[left, right]], || now.get());
    host.transmit(&mut (1..4).map(|number| frame(number, 100)).collect()).unwrap();
    server.transmit(&mut [frame(9, 100)].into()).unwrap();
    let mut received = Vec::new();
    assert!(!driver.turn().unwrap());
    assert_eq!(server.receive(64, &mut received).unwrap(), 0);
    now.set(ms(5));
    driver.turn().unwrap();
    assert_eq!(server.receive(64, &mut received).unwrap(), 3);
    assert_eq!(host.receive(64, &mut received).unwrap(), 1);
    assert_eq!(received.iter().map(|frame| frame.head[0]).collect::<Vec<_>>(), [1, 2, 3, 9]);
    // They were due at 2 ms and left at 5 ms.
    assert_eq!(driver.latest(), Duration::from_millis(3));
}

#[test]
fn a_driver_stops_when_it_is_told_to() {
    let ((left, _host), (right, _server)) = (MemoryDevice::pair(1500, 64), MemoryDevice::pair(1500, 64));
    let relay = Relay::new(&[link(&[])], 1).unwrap();
    let mut driver = Driver::new(relay, vec![[left, right]], || ms(0));
    let mut rounds = 0;
    let enough = || {
        rounds += 1;
        rounds > 3
    };
    driver.run(Duration::from_secs(60), enough).unwrap();
    assert_eq!(rounds, 4);
}

#[test]
fn settings_that_are_wrong_are_named() {
    let mistake =
        |settings: &[(&str, &str)]| Link::from_settings("a-b", settings.iter().copied()).unwrap_err().to_string();
    let unit = mistake(&[("rate", "10Mbut")]);
    assert!(unit.contains("rate=10Mbut: links.a-b.rate is"), "{unit}");
    assert!(mistake(&[("colour", "red")]).contains("has no key 'colour'"));
    assert!(mistake(&[("profile", "lta")]).contains("did you mean 'lte'?"));
    let sweep = mistake(&[("delay", "1ms..5ms step 1ms")]);
    assert!(sweep.ends_with("links.a-b.delay must be one value, not several"), "{sweep}");
}
