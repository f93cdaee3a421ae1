use super::*;
use crate::middlebox::Output;
use crate::middlebox::segment::FIN;
use crate::middlebox::testing::{
    Bench, Builder, DSS, Family, MP_CAPABLE, is_intact, option_area, payload, summary, tcp,
};

const SCALE: [u8; 4] = [3, 3, 0, 1];

/// A proxy for what goes up, with a connection from sequence numbers 0 up and 100 down; the receiver has said that it
/// expects 1.
fn connected(family: Family) -> Bench {
    let mut bench = Bench::new("kind = \"proxy-ack\"\ndirection = \"up\"");
    bench.pass(tcp(family).flags(SYN).seq(0).options(&SCALE).up());
    bench.pass_down(tcp(family).flags(SYN | ACK).seq(100).ack(1).options(&SCALE).down());
    bench.pass(tcp(family).seq(1).ack(101).up());
    bench.pass_down(receiver(family, 1).options(&DSS).down());
    bench
}

fn receiver(family: Family, ack: u32) -> Builder {
    tcp(family).seq(101).ack(ack)
}

fn data(seq: u32, payload: &[u8]) -> Packet {
    tcp(Family::V4).seq(seq).ack(101).payload(payload).up()
}

fn ack(packet: &Packet) -> (u32, u16) {
    let mut frame = packet.frame.clone();
    let segment = Segment::open(&mut frame).unwrap();
    (segment.ack(), segment.window())
}

fn acks(packets: &[Packet]) -> Vec<u32> {
    packets.iter().map(|packet| ack(packet).0).collect()
}

#[test]
fn data_is_acknowledged_and_carried_on() {
    for family in Family::BOTH {
        let mut bench = connected(family);
        let segment = tcp(family).seq(1).ack(101).payload(b"12345").up();
        let Output { up, down, .. } = bench.handle(segment.clone(), Direction::Up);
        assert_eq!(up[0].frame, segment.frame);
        let [answer] = &down[..] else { panic!("one acknowledgement") };
        assert!(is_intact(answer));
        // The window is what the receiver has opened, less what it has not said it has.
        assert_eq!(ack(answer), (6, 0xffff - 5));
        assert_eq!((summary(answer), option_area(answer)), ((101, ACK, 0), DSS.to_vec()));
        assert_eq!(answer.id, segment.id);
    }
}

#[test]
fn nothing_is_acknowledged_before_the_receiver_speaks() {
    let mut bench = Bench::new("kind = \"proxy-ack\"");
    bench.pass(tcp(Family::V4).flags(SYN).seq(0).up());
    bench.pass_down(tcp(Family::V4).flags(SYN | ACK).seq(100).ack(1).down());
    bench.pass(data(1, b"12345"));
}

#[test]
fn what_ends_a_handshake_is_no_model_of_an_acknowledgement() {
    let mut bench = Bench::new("kind = \"proxy-ack\"\ndirection = \"up\"");
    bench.pass(tcp(Family::V4).flags(SYN).seq(0).up());
    bench.pass_down(tcp(Family::V4).flags(SYN | ACK).seq(100).ack(1).down());
    bench.pass_down(receiver(Family::V4, 1).options(&MP_CAPABLE).down());
    bench.pass(data(1, b"12345"));
    bench.pass_down(receiver(Family::V4, 1).options(&DSS).down());
    assert_eq!(acks(&bench.handle(data(1, b"12345"), Direction::Up).down), [6]);
}

#[test]
fn what_is_out_of_order_or_beyond_the_window_is_not_acknowledged() {
    let mut bench = connected(Family::V4);
    bench.pass(data(6, b"67890"));
    let out = bench.handle(data(1, b"12345"), Direction::Up);
    assert_eq!(acks(&out.down), [6]);
    bench.pass(data(1, b"12345"));
    let mut next = 6_u32;
    while next + 1400 <= 0x1_0000 {
        assert_eq!(acks(&bench.handle(data(next, &[0; 1400]), Direction::Up).down), [next + 1400]);
        next += 1400;
    }
    bench.pass(data(next, &[0; 1400]));
}

#[test]
fn the_receiver_never_takes_back_what_was_said() {
    let mut bench = connected(Family::V4);
    bench.handle(data(1, b"12345"), Direction::Up);
    bench.handle(data(6, b"67890"), Direction::Up);
    let sack = [1, 1, 5, 10, 0, 0, 0, 6, 0, 0, 0, 11];
    let passed = bench.pass_down(receiver(Family::V4, 1).options(&sack).down());
    assert_eq!((ack(&passed).0, option_area(&passed)), (11, vec![1; 12]));
    let passed = bench.pass_down(receiver(Family::V4, 6).payload(b"its own data").down());
    assert_eq!((ack(&passed).0, payload(&passed).len()), (11, 12));
    let passed = bench.pass_down(tcp(Family::V4).seq(113).ack(11).down());
    assert_eq!(ack(&passed), (11, 0xffff));
    // The answer continues the receiver's own numbers.
    let out = bench.handle(data(11, b"x"), Direction::Up);
    assert_eq!(summary(&out.down[0]).0, 113);
}

#[test]
fn what_is_lost_behind_the_proxy_is_repeated() {
    let mut bench = connected(Family::V4);
    for seq in [1, 6, 11, 16] {
        bench.handle(data(seq, b"12345"), Direction::Up);
    }
    let mut say = |number: u32| {
        let out = bench.handle(receiver(Family::V4, number).down(), Direction::Down);
        assert_eq!(acks(&out.down), [21]);
        out.up.iter().map(summary).collect::<Vec<_>>()
    };
    assert_eq!([say(1), say(1)], [vec![], vec![]]);
    assert_eq!(say(1), [(1, ACK, 5)], "the third repetition");
    assert_eq!(say(1), [], "once is enough");
    assert_eq!(say(11), [(11, ACK, 5)], "the next hole");
    assert_eq!(say(21), []);
    assert_eq!(bench.middlebox.poll_timeout(), None);
}

#[test]
fn what_the_receiver_has_of_a_segment_is_not_repeated() {
    for family in Family::BOTH {
        let mut bench = connected(family);
        bench.handle(tcp(family).seq(1).ack(101).payload(b"12345").up(), Direction::Up);
        bench.handle(tcp(family).seq(6).ack(101).flags(ACK | PSH).payload(b"67890").up(), Direction::Up);
        assert!(bench.handle(receiver(family, 8).down(), Direction::Down).up.is_empty());
        let out = bench.run_until(Instant::from_millis(1000));
        let [again] = &out.up[..] else { panic!("one repetition") };
        assert!(is_intact(again));
        assert_eq!((summary(again), payload(again)), ((8, ACK | PSH, 3), b"890".to_vec()));
    }
}

#[test]
fn what_is_repeated_says_what_the_sender_says_by_then() {
    let stamped = |value: u8, echo: u8| [1, 1, 8, 10, 0, 0, 0, value, 0, 0, 0, echo];
    for family in Family::BOTH {
        let mut bench = connected(family);
        bench.handle(tcp(family).seq(1).ack(101).options(&stamped(1, 2)).payload(b"12345").up(), Direction::Up);
        bench.pass(tcp(family).seq(6).ack(70_000).options(&stamped(3, 4)).up());
        // What comes late says nothing new.
        bench.handle(tcp(family).seq(6).ack(60_000).options(&stamped(2, 3)).up(), Direction::Up);
        // Its timestamps were taken away before: the last ones are still what the receiver knows.
        bench.pass(tcp(family).seq(6).ack(70_001).up());
        let out = bench.run_until(Instant::from_millis(1000));
        let [again] = &out.up[..] else { panic!("one repetition") };
        assert!(is_intact(again));
        assert_eq!((summary(again), ack(again)), ((1, ACK, 5), (70_001, 0xffff)));
        assert_eq!(option_area(again), stamped(3, 4));
    }
}

#[test]
fn a_syn_that_comes_again_takes_nothing_from_the_proxy() {
    let mut bench = connected(Family::V4);
    bench.handle(data(1, b"12345"), Direction::Up);
    bench.pass_down(tcp(Family::V4).flags(SYN | ACK).seq(100).ack(1).options(&SCALE).down());
    assert_eq!(bench.run_until(Instant::from_millis(1000)).up.iter().map(summary).collect::<Vec<_>>(), [(1, ACK, 5)]);
    // A new connection of the same pair of ports.
    bench.pass(tcp(Family::V4).flags(SYN).seq(5000).options(&SCALE).up());
    assert!(bench.run_until(Instant::from_millis(60_000)).up.is_empty());
}

#[test]
fn data_is_acknowledged_with_its_own_timestamp() {
    let stamped = |value: u8, echo: u8| [1, 1, 8, 10, 0, 0, 0, value, 0, 0, 0, echo];
    let mut bench = connected(Family::V4);
    bench.pass_down(receiver(Family::V4, 1).options(&stamped(7, 1)).down());
    for value in [2, 3] {
        let seq = 5 * u32::from(value);
        let data = tcp(Family::V4).seq(seq - 9).ack(101).options(&stamped(value, 7)).payload(b"12345").up();
        let out = bench.handle(data, Direction::Up);
        assert_eq!(option_area(&out.down[0]), stamped(7, value));
    }
}

#[test]
fn a_silent_receiver_is_tried_a_few_times() {
    let mut bench = connected(Family::V4);
    bench.handle(data(1, b"12345"), Direction::Up);
    assert_eq!(bench.middlebox.poll_timeout(), Some(Instant::from_millis(1000)));
    let out = bench.run_until(Instant::from_millis(3000));
    assert_eq!(out.up.iter().map(summary).collect::<Vec<_>>(), [(1, ACK, 5); 2]);
    let out = bench.run_until(Instant::from_millis(15_000));
    assert_eq!(out.up.len(), 3, "never less often than every four seconds");
    let out = bench.run_until(Instant::from_millis(10_000_000));
    assert_eq!(out.up.len(), TRIES as usize - 5);
    assert_eq!(bench.middlebox.poll_timeout(), None);
}

#[test]
fn the_end_is_for_the_receiver_to_acknowledge() {
    let mut bench = connected(Family::V4);
    let last = tcp(Family::V4).seq(1).ack(101).flags(ACK | FIN).payload(b"12345").up();
    assert_eq!(acks(&bench.handle(last, Direction::Up).down), [6]);
    bench.pass_down(receiver(Family::V4, 7).down());
    assert_eq!(bench.middlebox.poll_timeout(), None);
}

#[test]
fn a_reset_ends_everything() {
    let mut bench = connected(Family::V4);
    bench.handle(data(1, b"12345"), Direction::Up);
    bench.pass_down(tcp(Family::V4).flags(RST).seq(101).down());
    assert_eq!(bench.middlebox.poll_timeout(), None);
    bench.pass(data(6, b"x"));
}

#[test]
fn the_other_direction_is_left_alone() {
    let mut bench = connected(Family::V4);
    bench.pass_down(tcp(Family::V4).seq(101).ack(1).payload(b"x").down());
}
