use super::*;

const MS: u64 = 1_000_000;

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

/// Ten segments of 100 bytes, sent a millisecond apart.
fn flight() -> Flight {
    let mut flight = Flight::default();
    for number in 0..10 {
        flight.send(at(number), number * 100, number * 100 + 100, 100);
    }
    flight
}

fn sums(flight: &Flight) -> [u64; 3] {
    [flight.in_flight(), flight.sacked(), flight.lost()]
}

#[test]
fn acknowledgements_and_blocks_are_counted_once() {
    let mut flight = flight();
    let mut newly = Newly::default();
    flight.sack(at(20), 300, 500, &mut newly);
    flight.sack(at(20), 200, 500, &mut newly);
    assert_eq!((newly.delivered, newly.sacked, sums(&flight)), (300, 300, [700, 300, 0]));
    assert_eq!(newly.timed, Some((at(2), at(4))));
    flight.acknowledge(at(21), 400, &mut newly);
    assert_eq!((newly.delivered, newly.acked, sums(&flight)), (500, 400, [500, 100, 0]));
    flight.acknowledge(at(21), 1000, &mut newly);
    assert_eq!((newly.delivered, sums(&flight), flight.is_empty()), (1000, [0, 0, 0], true));
    assert_eq!(flight.delivery.total(), 1000);
}

/// Without SACK nobody looks for losses among them.
#[test]
fn departures_are_forgotten_with_what_is_acknowledged() {
    let mut flight = flight();
    for number in 10..10_000 {
        flight.send(at(number), number * 100, number * 100 + 100, 100);
        flight.acknowledge(at(number), (number - 5) * 100, &mut Newly::default());
    }
    assert_eq!(flight.board.as_ref().unwrap().log.len(), 6);
}

/// Without SACK only the acknowledgement that fills the hole tells of what has arrived long before.
#[test]
fn what_waited_for_a_hole_is_not_timed() {
    let mut flight = flight();
    flight.resend(at(500), 0, 100, 100);
    let mut newly = Newly::default();
    flight.acknowledge(at(520), 800, &mut newly);
    assert_eq!((newly.acked, newly.timed), (800, None));
    let mut newly = Newly::default();
    flight.acknowledge(at(521), 1000, &mut newly);
    assert_eq!(newly.timed, Some((at(8), at(9))));
}

#[test]
fn blocks_within_segments_count_whole_segments_only() {
    let mut flight = Flight::default();
    flight.send(at(0), 0, 1000, 100);
    let mut newly = Newly::default();
    flight.sack(at(1), 150, 450, &mut newly);
    assert_eq!(sums(&flight), [800, 200, 0], "the segments from 200 to 400");
    for byte in 500..600 {
        flight.sack(at(1), byte, byte + 1, &mut newly);
    }
    assert_eq!(sums(&flight), [800, 200, 0]);
    assert_eq!(flight.board.as_ref().unwrap().records.len(), 3);
    // The last segment ends with the record, wherever that is.
    flight.sack(at(1), 901, 1000, &mut newly);
    assert_eq!(sums(&flight), [800, 200, 0]);
    flight.sack(at(1), 900, 1000, &mut newly);
    assert_eq!(sums(&flight), [700, 300, 0]);
}

#[test]
fn what_left_long_before_what_arrived_is_lost() {
    let mut flight = flight();
    let mut newly = Newly::default();
    flight.sack(at(25), 500, 600, &mut newly);
    let (newest, resent) = newly.newest.unwrap();
    assert_eq!((newest, resent), (Newest { at: at(5), end: 600 }, false));
    // A round trip of 20 ms and 3 ms of patience: what left by 2 ms is lost at 25 ms.
    assert_eq!(flight.detect(at(25), newest, 23 * MS), (300, Some(at(26))));
    assert_eq!(sums(&flight), [600, 100, 300]);
    assert_eq!(flight.detect(at(28), newest, 23 * MS), (200, None));
    assert_eq!(flight.first_lost().map(|record| (record.start, record.end)), Some((0, 100)));
    flight.resend(at(29), 0, 100, 100);
    assert_eq!(flight.first_lost().map(|record| record.start), Some(100));
    // The retransmission is lost too if something that left later arrives.
    flight.resend(at(30), 100, 200, 100);
    let mut newly = Newly::default();
    flight.sack(at(50), 100, 200, &mut newly);
    assert_eq!(newly.newest, Some((Newest { at: at(30), end: 200 }, true)));
    assert_eq!(newly.timed, None, "Karn's rule");
    assert_eq!(flight.detect(at(60), newly.newest.unwrap().0, 20 * MS), (500, None));
    assert_eq!(flight.first_lost().map(|record| record.start), Some(0));
}

#[test]
fn parts_of_a_super_segment_leave_again() {
    let mut flight = Flight::default();
    flight.send(at(0), 0, 1000, 100);
    assert_eq!(flight.lose_head(), 100);
    assert_eq!(flight.lose_all(false), 900);
    flight.resend(at(1), 0, 60, 60);
    assert_eq!(sums(&flight), [60, 0, 940]);
    assert_eq!(flight.first_lost().map(|record| (record.start, record.end)), Some((60, 100)));
    assert_eq!(flight.last_segment(u64::MAX).map(|record| (record.start, record.end)), Some((900, 1000)));
}

#[test]
fn an_undone_loss_is_in_flight_again_and_can_be_lost_again() {
    let mut flight = flight();
    assert_eq!(flight.lose_all(false), 1000);
    flight.regain();
    assert_eq!(sums(&flight), [1000, 0, 0]);
    let mut newly = Newly::default();
    flight.sack(at(30), 900, 1000, &mut newly);
    assert_eq!(flight.detect(at(30), newly.newest.unwrap().0, 21 * MS).0, 900);
}

#[test]
fn a_receiver_that_reneges_gets_everything_again() {
    let mut flight = flight();
    let mut newly = Newly::default();
    flight.sack(at(20), 0, 500, &mut newly);
    assert_eq!(flight.lose_all(true), 1000);
    assert_eq!(sums(&flight), [0, 0, 1000]);
}

#[test]
fn late_arrivals_are_reordering() {
    let mut flight = flight();
    let mut newly = Newly::default();
    flight.sack(at(20), 300, 400, &mut newly);
    assert!(!newly.reordered);
    flight.sack(at(20), 100, 200, &mut newly);
    assert!(newly.reordered);
    let mut newly = Newly::default();
    flight.lose_all(false);
    flight.resend(at(21), 0, 100, 100);
    flight.acknowledge(at(40), 100, &mut newly);
    assert!(!newly.reordered, "a retransmission");
    flight.acknowledge(at(40), 300, &mut newly);
    assert!(newly.reordered, "lost for us, but late");
}
