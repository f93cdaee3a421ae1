//! The examples of RFC 2018 section 7 and RFC 2883 sections 4 and 5, as tables.

use bytes::Bytes;

use super::super::reassembly::Reassembly;

/// A segment that arrives, and the acknowledgement: number and blocks. Bounds are as in the RFCs' last columns: exclusive.
type Row = (std::ops::Range<u64>, u64, &'static [(u64, u64)]);

fn arrive(reassembly: &mut Reassembly, segment: std::ops::Range<u64>) {
    let len = (segment.end - segment.start) as usize;
    reassembly.insert(segment.start, [Bytes::from(vec![0; len])], len);
}

fn check(start: u64, table: &[Row]) {
    let mut reassembly = Reassembly::new(true);
    arrive(&mut reassembly, 0..start);
    for (segment, ack, blocks) in table {
        arrive(&mut reassembly, segment.clone());
        assert_eq!(reassembly.rcv_nxt(), *ack, "{segment:?}");
        assert_eq!(reassembly.has_sack_blocks(), !blocks.is_empty(), "{segment:?}");
        let sent: Vec<_> = reassembly.sack_blocks(4).into_iter().map(|block| (block.start, block.end)).collect();
        assert_eq!(&sent, blocks, "{segment:?}");
    }
}

#[test]
fn rfc2018_case_1_the_last_four_are_lost() {
    check(5000, &[(5000..5500, 5500, &[]), (5500..6000, 6000, &[]), (6000..6500, 6500, &[]), (6500..7000, 7000, &[])]);
}

#[test]
fn rfc2018_case_2_the_first_is_lost() {
    check(
        5000,
        &[
            (5500..6000, 5000, &[(5500, 6000)]),
            (6000..6500, 5000, &[(5500, 6500)]),
            (6500..7000, 5000, &[(5500, 7000)]),
            (7000..7500, 5000, &[(5500, 7500)]),
            (7500..8000, 5000, &[(5500, 8000)]),
            (8000..8500, 5000, &[(5500, 8500)]),
            (8500..9000, 5000, &[(5500, 9000)]),
        ],
    );
}

#[test]
fn rfc2018_case_3_every_second_is_lost() {
    check(
        5000,
        &[
            (5000..5500, 5500, &[]),
            (6000..6500, 5500, &[(6000, 6500)]),
            (7000..7500, 5500, &[(7000, 7500), (6000, 6500)]),
            (8000..8500, 5500, &[(8000, 8500), (7000, 7500), (6000, 6500)]),
            (6500..7000, 5500, &[(6000, 7500), (8000, 8500)]),
            (5500..6000, 7500, &[(8000, 8500)]),
        ],
    );
}

#[test]
fn rfc2883_example_1_a_duplicate() {
    check(4000, &[(3000..3500, 4000, &[(3000, 3500)])]);
}

#[test]
fn rfc2883_example_2_a_duplicate_below_a_gap() {
    check(4000, &[(4500..5000, 4000, &[(4500, 5000)]), (3000..3500, 4000, &[(3000, 3500), (4500, 5000)])]);
}

#[test]
fn rfc2883_example_3_a_duplicate_beyond_a_gap() {
    check(
        4000,
        &[
            (4500..5000, 4000, &[(4500, 5000)]),
            (5000..5500, 4000, &[(4500, 5500)]),
            (5000..5500, 4000, &[(5000, 5500), (4500, 5500)]),
        ],
    );
}

#[test]
fn rfc2883_example_4_partly_duplicate() {
    check(
        1000,
        &[
            (2000..2500, 1000, &[(2000, 2500)]),
            (1000..1500, 1500, &[(2000, 2500)]),
            (1000..2000, 2500, &[(1000, 1500)]),
        ],
    );
}

#[test]
fn rfc2883_example_5_two_duplicate_parts_that_become_acknowledged() {
    check(
        1000,
        &[
            (3000..3500, 1000, &[(3000, 3500)]),
            (1000..1500, 1500, &[(3000, 3500)]),
            (2000..2500, 1500, &[(2000, 2500), (3000, 3500)]),
            (1000..2500, 2500, &[(1000, 1500), (3000, 3500)]),
        ],
    );
}

#[test]
fn rfc2883_example_6_two_duplicate_parts_beyond_a_gap() {
    check(
        1000,
        &[
            (3500..4000, 1000, &[(3500, 4000)]),
            (1500..2000, 1000, &[(1500, 2000), (3500, 4000)]),
            // The RFC has 2000-2500 on its own here, although it is adjacent to 1500-2000, which it then joins below.
            (2000..2500, 1000, &[(1500, 2500), (3500, 4000)]),
            (1500..3000, 1000, &[(1500, 2500), (1500, 3000), (3500, 4000)]),
        ],
    );
}

#[test]
fn rfc2883_section_5_replicated_and_falsely_retransmitted() {
    check(1500, &[(1000..1500, 1500, &[(1000, 1500)])]);
    check(
        1000,
        &[
            (1500..2000, 1000, &[(1500, 2000)]),
            (2000..2500, 1000, &[(1500, 2500)]),
            (2500..3000, 1000, &[(1500, 3000)]),
            (1000..1500, 3000, &[]),
            (1000..1500, 3000, &[(1000, 1500)]),
        ],
    );
}

/// RFC 2883 section 4, rule 2: once per duplicate; and rule 4 where the duplicate is the whole block.
#[test]
fn a_duplicate_is_reported_once() {
    let mut reassembly = Reassembly::new(true);
    arrive(&mut reassembly, 10..20);
    arrive(&mut reassembly, 10..20);
    assert_eq!(reassembly.sack_blocks(4)[..], [10..20, 10..20]);
    assert_eq!(reassembly.sack_blocks(4)[..], [10..20; 1]);
    arrive(&mut reassembly, 0..10);
    assert!(!reassembly.has_sack_blocks());
}

#[test]
fn duplicates_between_two_acknowledgements_are_joined_if_they_touch() {
    let mut reassembly = Reassembly::new(true);
    arrive(&mut reassembly, 0..100);
    arrive(&mut reassembly, 20..30);
    arrive(&mut reassembly, 30..40);
    assert_eq!(reassembly.sack_blocks(4)[..], [20..40; 1]);
    arrive(&mut reassembly, 20..30);
    arrive(&mut reassembly, 50..60);
    assert_eq!(reassembly.sack_blocks(4)[..], [50..60; 1]);
}

#[test]
fn no_more_blocks_than_there_is_room_for_and_others_where_there_is() {
    let mut reassembly = Reassembly::new(true);
    for block in 1..=6 {
        arrive(&mut reassembly, 20 * block..20 * block + 10);
    }
    assert_eq!(reassembly.sack_blocks(0)[..], []);
    assert_eq!(reassembly.sack_blocks(9)[..], [120..130, 100..110, 80..90, 60..70]);
    arrive(&mut reassembly, 40..50);
    assert_eq!(reassembly.sack_blocks(3)[..], [40..50, 40..50, 120..130]);
    // The blocks that came last are joined to one; what is not remembered as recent fills the room.
    for hole in [50..60, 70..80, 90..100, 110..120] {
        arrive(&mut reassembly, hole);
    }
    assert_eq!(reassembly.sack_blocks(4)[..], [40..130, 20..30]);
}

#[test]
fn nothing_is_kept_where_selective_acknowledgements_are_not_in_use() {
    let mut reassembly = Reassembly::new(false);
    arrive(&mut reassembly, 0..100);
    arrive(&mut reassembly, 20..30);
    arrive(&mut reassembly, 200..300);
    assert!(!reassembly.has_sack_blocks());
    assert!(reassembly.sack_blocks(4).is_empty());
}
