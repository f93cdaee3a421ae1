use super::AckDecision::{Delay, Now};
use super::*;

const MSS: u16 = 1000;
const MAX: Duration = Duration::from_millis(40);

fn ms(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

/// After the quick acknowledgements, everything acknowledged, data last seen at 1 s and never closely before.
fn settled() -> AckPolicy {
    AckPolicy { last_data: ms(1000).as_nanos(), quick: 0, full_size: MSS, ..AckPolicy::new() }
}

/// Data at a time; what to do, and whether it is done then.
type Row = (u64, usize, AckDecision);

fn check(policy: &mut AckPolicy, table: &[Row]) {
    for (at, bytes, decision) in table {
        let decided = policy.on_data(ms(*at), *bytes, MSS, false, MAX);
        assert_eq!(decided, *decision, "{bytes} bytes at {at} ms");
        let deadline = match decided {
            Now => ms(*at),
            Delay(until) => until,
        };
        assert_eq!(policy.deadline(), Some(deadline));
        if decided == Now {
            policy.on_ack_sent(false);
            assert_eq!(policy.deadline(), None);
        }
    }
}

#[test]
fn takes_32_bytes() {
    assert!(size_of::<AckPolicy>() <= 32);
}

/// RFC 5681 section 4.2: at least every second full-sized segment, by bytes.
#[test]
fn every_second_full_sized_segment() {
    check(
        &mut settled(),
        &[
            (1100, 1000, Delay(ms(1140))),
            (1150, 1000, Now),
            (1200, 400, Delay(ms(1240))),
            (1241, 1600, Now),
            (1290, 2000, Now),
            (1350, 65_000, Now),
        ],
    );
}

#[test]
fn small_segments_wait_until_two_full_ones_have_come_or_the_first_has_waited_long_enough() {
    let mut policy = settled();
    check(&mut policy, &[(1100, 999, Delay(ms(1140))), (1150, 999, Delay(ms(1140))), (1151, 1, Delay(ms(1140)))]);
    check(&mut policy, &[(1152, 1, Now)]);
}

/// RFC 5681 section 4.2: the sender may use smaller segments than the receiver told it to.
#[test]
fn every_second_segment_of_a_sender_that_uses_smaller_ones() {
    let mut policy = AckPolicy { full_size: MIN_FULL_SIZE, ..settled() };
    check(&mut policy, &[(1100, 600, Delay(ms(1140))), (1150, 600, Now), (1200, 1000, Delay(ms(1240)))]);
    check(&mut policy, &[(1290, 600, Delay(ms(1240))), (1291, 400, Now)]);
}

#[test]
fn the_first_segments_are_acknowledged_at_once() {
    let mut policy = AckPolicy::new();
    let at = |segment: u64| 300 + 50 * segment;
    for segment in 0..16 {
        check(&mut policy, &[(at(segment), 1000, Now)]);
    }
    check(&mut policy, &[(at(16), 1000, Delay(ms(at(16) + 40)))]);
    policy.on_ack_sent(false);
    // After a pause they are the first again; coalesced segments count as what they were.
    check(
        &mut policy,
        &[(at(16) + 200, 15_000, Now), (at(17) + 200, 1, Now), (at(18) + 200, 1, Delay(ms(at(18) + 240)))],
    );
}

#[test]
fn no_quick_acknowledgements_to_a_peer_that_is_answered() {
    let mut policy = AckPolicy::new();
    policy.on_ack_sent(true);
    check(&mut policy, &[(300, 100, Now)]);
    assert_eq!(policy.on_data(ms(301), 100, MSS, false, MAX), Now);
    policy.on_ack_sent(true);
    assert!(matches!(policy.on_data(ms(350), 100, MSS, false, MAX), Delay(_)));
}

#[test]
fn what_must_not_wait() {
    let mut policy = settled();
    assert_eq!(policy.on_data(ms(1100), 1, MSS, true, MAX), Now);
    assert_eq!(policy.deadline(), Some(ms(1100)));
    policy.on_ack_sent(false);
    check(&mut policy, &[(1150, 1, Delay(ms(1190)))]);
    assert_eq!(policy.on_data(ms(1191), 0, MSS, true, MAX), Now, "a FIN");
}

#[test]
fn the_delay_follows_the_time_between_segments() {
    let mut policy = settled();
    // Two milliseconds apart: four are enough to see whether another comes.
    let mut last = Now;
    for segment in 0..20 {
        last = policy.on_data(ms(1002 + 2 * segment), 1000, MSS, false, MAX);
        if last == Now {
            policy.on_ack_sent(false);
        }
    }
    assert_eq!(last, Now);
    check(&mut policy, &[(1042, 10, Delay(ms(1046)))]);
    policy.on_ack_sent(false);
    // At once one after the other: never below a millisecond.
    for _ in 0..40 {
        policy.on_data(ms(1043), 2000, MSS, false, MAX);
        policy.on_ack_sent(false);
    }
    check(&mut policy, &[(1043, 10, Delay(ms(1044)))]);
    policy.on_ack_sent(false);
    // A pause is not counted.
    check(&mut policy, &[(1143, 10, Delay(ms(1144)))]);
}

#[test]
fn never_longer_than_configured() {
    let short = Duration::from_micros(100);
    let decision = settled().on_data(ms(1100), 10, MSS, false, short);
    assert_eq!(decision, Delay(ms(1100) + short));
    let mut policy = AckPolicy { interval: 400_000_000, ..settled() };
    assert_eq!(policy.on_data(ms(1300), 10, MSS, false, Duration::from_millis(500)), Now, "after a pause");
    let mut policy = AckPolicy { interval: 400_000_000, ..settled() };
    assert_eq!(policy.on_data(ms(1150), 10, MSS, false, Duration::from_millis(500)), Delay(ms(1650)));
}

/// The state machine of RFC 8257 figure 1.
#[test]
fn changes_of_the_marks_are_told_at_once() {
    let mut policy = settled();
    let marks = [(false, false), (true, true), (true, false), (false, true), (false, false)];
    for (marked, changed) in marks {
        assert_eq!(policy.on_ce(marked), changed);
        assert_eq!(policy.ece(), marked);
    }
}

#[test]
fn strange_sizes_do_no_harm() {
    let mut policy = AckPolicy::new();
    assert_eq!(policy.on_data(ms(1), usize::MAX, 0, false, Duration::MAX), Now);
    assert_eq!(policy.on_data(ms(0), usize::MAX, u16::MAX, false, Duration::ZERO), Now);
}
