//! Segments that were late, not lost (RFC 4015, RFC 5682, RFC 3708).

// RFC 4015 section 3.2: the acknowledgement echoes the original, so the window is what it was.
script!(
    a_timeout_is_undone_by_its_echo,
    "
    stack congestion reno
    0       open  mss 1000 ts rtt 100ms
    +0      app   send 9880
    +0      >>    .   1:9881     by 988 ack 1 ts 100/1001
    +300ms  >>    .   1:989      ack 1 ts 400/1001
    +0      info  cwnd 988
    +10ms   <<    .   1:1        ack 989 ts 1410/100
    +0      info  cwnd >=9880
    +0      <<    .   1:1        ack 9881 ts 1410/100
    +60s    none
    +0      info  retransmissions 1
"
);

// RFC 5682 section 3.1: two acknowledgements of segments that were not sent again.
script!(
    a_timeout_is_undone_by_the_acknowledgements_that_follow,
    "
    stack congestion reno
    0       open  mss 1000 sackOK rtt 100ms
    +0      app   send 40000
    +0      >>    .   1:10001    by 1000 ack 1
    +200ms  >>    .   10001:11001 ack 1               # the probe of RFC 8985
    +300ms  >>    .   1:1001     ack 1
    +10ms   <<    .   1:1        ack 1001             # all of the flight was late
    +0      >>    .   11001:12001 ack 1               # step 2b: new data
    +0      >>    .   12001:13001 ack 1
    +10ms   <<    .   1:1        ack 2001
    +0      info  cwnd >=10000 retransmissions 1
    +0      >>*   .   *          ack 1
"
);

// RFC 5682 section 3.1, step 3a: a block beyond the hole without progress says that the timeout was right.
script!(
    a_timeout_that_was_right_is_not_undone,
    "
    stack congestion reno
    0       open  mss 1000 rtt 100ms
    +0      app   send 20000
    +0      >>    .   1:10001    by 1000 ack 1
    +300ms  >>    .   1:1001     ack 1
    +100ms  <<    .   1:1        ack 1001
    +0      >>    .   10001:12001 by 1000 ack 1
    +100ms  <<    .   1:1        ack 1001              # the others were lost
    +0      >>    .   1001:2001  ack 1
    +0      >>*   .   *          ack 1
    +0      info  cwnd <=4000 ssthresh 5000
"
);

// What was sent again has arrived twice: nothing was lost.
script!(
    a_recovery_is_undone_by_dsack,
    "
    stack congestion reno
    0       open  mss 1000 sackOK rtt 100ms
    +0      app   send 10000
    +0      >>    .   1:10001    by 1000 ack 1
    +100ms  <<    .   1:1        ack 1 sack 1001:4001
    +0      >>    .   1:1001     ack 1
    +0      info  ssthresh 5000
    +10ms   <<    .   1:1        ack 4001
    +90ms   <<    .   1:1        ack 4001 sack 1:1001
    +0      info  cwnd >=10000
"
);

// What was taken for lost arrives while the pace still holds back what would repair it.
script!(
    a_recovery_that_has_sent_nothing_again_is_undone_by_what_arrives,
    "
    stack congestion reno
    stack pacing on
    stack max_pacing_rate 100000
    0       open  mss 1000 sackOK rtt 100ms
    +0      app   send 20000
    +50ms   >>*   .   *          ack 1
    +0      <<    .   1:1        ack 1 sack 1001:4001
    +0      info  ssthresh 3500
    +1ms    <<    .   1:1        ack 4001
    +0      info  cwnd >=10000 retransmissions 0
"
);

// RFC 5682 section 2.1 step 2b: if the window has no room for new data, recovery goes on as ever.
script!(
    without_room_for_new_data_what_was_lost_is_sent_again,
    "
    stack congestion reno
    0       open  mss 1000 rtt 100ms win 10500
    +0      app   send 20000
    +0      >>    .   1:10001    by 1000 ack 1
    +300ms  >>    .   1:1001     ack 1
    +10ms   <<    .   1:1        ack 1001 win 9500     # not enough for a segment
    +0      >>    .   1001:2001  ack 1
    +0      >>*   .   *          ack 1
    +0      info  ssthresh 5000
"
);

// Section 2.1 step 3: an acknowledgement that fills a hole says nothing of what follows the hole, which had arrived before the timeout.
script!(
    what_is_sent_again_instead_of_new_data_settles_the_doubt,
    "
    stack congestion reno
    0       open  mss 1000 rtt 100ms win 10500
    +0      app   send 20000
    +0      >>    .   1:10001    by 1000 ack 1
    +300ms  >>    .   1:1001     ack 1
    +10ms   <<    .   1:1        ack 1001 win 9500
    +0      >>    .   1001:2001  ack 1
    +0      >>*   .   *          ack 1
    +10ms   <<    .   1:1        ack 6001 win 4500
    +0      >>*   .   *          ack 1
    +0      info  ssthresh 5000
"
);
