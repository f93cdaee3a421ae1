//! Selective acknowledgements (RFC 2018, RFC 2883, RFC 6675), and those that lie.

// RFC 2018 section 4 and 8, second example: the first of eight segments is lost.
script!(
    each_segment_beyond_a_gap_is_reported,
    "
    0       open  mss 500 sackOK
    +0      <<    .   501:1001   ack 1
    +0      >>    .   1:1        ack 1 sack 501:1001
    +0      <<    .   1001:1501  ack 1
    +0      >>    .   1:1        ack 1 sack 501:1501
    +0      <<    .   1501:2001  ack 1
    +0      >>    .   1:1        ack 1 sack 501:2001
    +0      <<    .   2001:2501  ack 1
    +0      >>    .   1:1        ack 1 sack 501:2501
    +0      <<    .   1:501      ack 1
    +0      >>    .   1:1        ack 2501 no sack
"
);

// Data carries no blocks: what an acknowledgement lets leave must not be taken for the answer.
script!(
    a_gap_is_reported_beside_data,
    "
    0       open  mss 500 sackOK win 500
    +0      app   send 1000
    +0      >>    .   1:501      ack 1
    +0      <<    .   501:1001   ack 501 win 500
    +0      >>    .   501:1001   ack 1
    +0      >>    .   1001:1001  ack 1 sack 501:1001
"
);

// RFC 2018, third example: the second, fourth, sixth and eighth are lost; then the fourth and the second arrive.
script!(
    the_newest_block_comes_first,
    "
    0       open  mss 500 sackOK
    +0      <<    .   1:501      ack 1
    +0      >>    .   1:1        ack 501 no sack
    +0      <<    .   1001:1501  ack 1
    +0      >>    .   1:1        ack 501 sack 1001:1501
    +0      <<    .   2001:2501  ack 1
    +0      >>    .   1:1        ack 501 sack 2001:2501,1001:1501
    +0      <<    .   3001:3501  ack 1
    +0      >>    .   1:1        ack 501 sack 3001:3501,2001:2501,1001:1501
    +0      <<    .   1501:2001  ack 1
    +0      >>    .   1:1        ack 501 sack 1001:2501,3001:3501
    +0      <<    .   501:1001   ack 1
    +0      >>    .   1:1        ack 2501 sack 3001:3501
"
);

// RFC 2018 section 3: four blocks fit into a header, three beside timestamps.
script!(
    as_many_blocks_as_fit_are_reported,
    "
    0       open  mss 500 sackOK
    +0      <<    .   101:201    ack 1
    +0      <<    .   301:401    ack 1
    +0      <<    .   501:601    ack 1
    +0      <<    .   701:801    ack 1
    +0      >>    .   1:1        ack 1 sack 101:201
    +0      >>    .   1:1        ack 1 sack 301:401,101:201
    +0      >>    .   1:1        ack 1 sack 501:601,301:401,101:201
    +0      >>    .   1:1        ack 1 sack 701:801,501:601,301:401,101:201
    +0      <<    .   901:1001   ack 1
    +0      >>    .   1:1        ack 1 sack 901:1001,701:801,501:601,301:401
    +0      open2 mss 500 sackOK ts
    +0      <<2   .   101:201    ack 1 ts 1002/last
    +0      <<2   .   301:401    ack 1 ts 1002/last
    +0      <<2   .   501:601    ack 1 ts 1002/last
    +0      <<2   .   701:801    ack 1 ts 1002/last
    +0      >>2   .   1:1        ack 1 sack 101:201
    +0      >>2   .   1:1        ack 1 sack 301:401,101:201
    +0      >>2   .   1:1        ack 1 sack 501:601,301:401,101:201
    +0      >>2   .   1:1        ack 1 sack 701:801,501:601,301:401
"
);

// RFC 2883 section 4.1.1, example 1.
script!(
    a_duplicate_is_reported,
    "
    0       open  mss 500 sackOK
    +0      <<    .   1:501      ack 1
    +0      >>    .   1:1        ack 501
    +0      <<    .   501:1001   ack 1
    +0      >>    .   1:1        ack 1001
    +0      <<    .   1:501      ack 1
    +0      >>    .   1:1        ack 1001 sack 1:501
    +0      <<    .   1001:1501  ack 1
    +0      >>    .   1:1        ack 1501 no sack     # once only
"
);

// RFC 2883 section 4.1.2, example 2.
script!(
    a_duplicate_is_reported_before_blocks,
    "
    0       open  mss 500 sackOK
    +0      <<    .   1:501      ack 1
    +0      >>    .   1:1        ack 501
    +0      <<    .   501:1001   ack 1
    +0      >>    .   1:1        ack 1001
    +0      <<    .   1501:2001  ack 1
    +0      >>    .   1:1        ack 1001 sack 1501:2001
    +0      <<    .   1:501      ack 1
    +0      >>    .   1:1        ack 1001 sack 1:501,1501:2001
"
);

// RFC 2883 section 4.1.3, example 3.
script!(
    a_duplicate_beyond_a_gap_is_reported_with_its_block,
    "
    0       open  mss 500 sackOK
    +0      <<    .   501:1001   ack 1
    +0      >>    .   1:1        ack 1 sack 501:1001
    +0      <<    .   1001:1501  ack 1
    +0      >>    .   1:1        ack 1 sack 501:1501
    +0      <<    .   1001:1501  ack 1
    +0      >>    .   1:1        ack 1 sack 1001:1501,501:1501
"
);

// RFC 2883 section 4.2.1, example 4.
script!(
    a_duplicate_part_is_reported,
    "
    0       open  mss 1000 sackOK
    +0      <<    .   1:501      ack 1
    +0      >>    .   1:1        ack 501
    +0      <<    .   1501:2001  ack 1
    +0      >>    .   1:1        ack 501 sack 1501:2001
    +0      <<    .   501:1001   ack 1
    +0      >>    .   1:1        ack 1001 sack 1501:2001
    +0      <<    .   501:1501   ack 1
    +0      >>    .   1:1        ack 2001 sack 501:1001
"
);

// RFC 2883 section 4.2.2, example 5: of two duplicate parts the first.
script!(
    the_first_duplicate_part_is_reported,
    "
    0       open  mss 1500 sackOK
    +0      <<    .   1:501      ack 1
    +0      >>    .   1:1        ack 501
    +0      <<    .   2501:3001  ack 1
    +0      >>    .   1:1        ack 501 sack 2501:3001
    +0      <<    .   501:1001   ack 1
    +0      >>    .   1:1        ack 1001 sack 2501:3001
    +0      <<    .   1501:2001  ack 1
    +0      >>    .   1:1        ack 1001 sack 1501:2001,2501:3001
    +0      <<    .   501:2001   ack 1
    +0      >>    .   1:1        ack 2001 sack 501:1001,2501:3001
"
);

// RFC 2883 section 4.2.3, example 6.
script!(
    a_duplicate_part_beyond_a_gap_is_reported_with_its_block,
    "
    0       open  mss 1500 sackOK
    +0      <<    .   1:501      ack 1
    +0      >>    .   1:1        ack 501
    +0      <<    .   3001:3501  ack 1
    +0      >>    .   1:1        ack 501 sack 3001:3501
    +0      <<    .   1001:1501  ack 1
    +0      >>    .   1:1        ack 501 sack 1001:1501,3001:3501
    +0      <<    .   2001:2501  ack 1
    +0      >>    .   1:1        ack 501 sack 2001:2501,1001:1501,3001:3501
    +0      <<    .   1001:2501  ack 1
    +0      >>    .   1:1        ack 501 sack 1001:1501,1001:2501,3001:3501
"
);

// RFC 6675 section 5: three segments beyond a hole, and it is sent again; once.
script!(
    a_hole_is_repaired_by_three_blocks,
    "
    0       open  mss 1000 sackOK rtt 100ms
    +0      app   send 10000
    +0      >>    .   1:10001    by 1000 ack 1
    +100ms  <<    .   1:1        ack 1 sack 1001:2001
    +0      <<    .   1:1        ack 1 sack 1001:3001
    +0      none
    +0      <<    .   1:1        ack 1 sack 1001:4001
    +0      >>    .   1:1001     ack 1
    +0      <<    .   1:1        ack 1 sack 1001:5001
    +0      <<    .   1:1        ack 1 sack 1001:10001
    +0      none
    +0      info  retransmissions 1 timeouts 0
    +100ms  <<    .   1:1        ack 10001
    +0      info  in_flight 0 snd_una 10000
    +60s    none
"
);

// Several holes in one window take one round trip, without a timeout.
script!(
    several_holes_are_repaired_at_once,
    "
    stack congestion reno
    0       open  mss 1000 sackOK rtt 100ms
    +0      app   send 10000
    +0      >>    .   1:10001    by 1000 ack 1
    +100ms  <<    .   1:1        ack 1 sack 1001:2001
    +0      <<    .   1:1        ack 1 sack 3001:4001,1001:2001
    +0      <<    .   1:1        ack 1 sack 5001:6001,3001:4001,1001:2001
    +0      >>    .   1:1001     ack 1
    +0      <<    .   1:1        ack 1 sack 5001:10001,3001:4001,1001:2001
    +0      >>    .   2001:3001  ack 1
    +0      >>    .   4001:5001  ack 1
    +100ms  <<    .   1:1        ack 2001 sack 5001:10001,3001:4001
    +0      <<    .   1:1        ack 4001 sack 5001:10001
    +0      <<    .   1:1        ack 10001
    +0      info  retransmissions 3 timeouts 0 in_flight 0 ssthresh 5000
"
);

// Blocks that lie: beyond what was sent, below what is acknowledged, inverted, empty, huge. Nothing follows from them.
script!(
    blocks_that_lie_are_ignored,
    "
    0       open  mss 1000 sackOK rtt 100ms
    +0      app   send 5000
    +0      >>    .   1:5001     by 1000 ack 1
    +100ms  <<    .   1:1        ack 1001
    +0      <<    .   1:1        ack 1001 sack 6001:7001
    +0      <<    .   1:1        ack 1001 sack 4001:9001
    +0      <<    .   1:1        ack 1001 sack 3001:2001
    +0      <<    .   1:1        ack 1001 sack 3001:3001
    +0      <<    .   1:1        ack 1001 sack -5000:-1000
    +0      <<    .   1:1        ack 1001 sack 2001:2000000001
    +0      <<    .   1:1        ack 1001 sack 100001:1001
    +0      none
    +0      info  in_flight 4000 retransmissions 0
    +1ms    <<    .   1:1        ack 5001
    +60s    none
"
);

// RFC 2018 section 8: a receiver may throw away what it has reported; only a timeout tells.
script!(
    what_the_receiver_has_thrown_away_is_sent_again,
    "
    stack congestion reno
    0       open  mss 1000 sackOK rtt 100ms
    +0      app   send 5000
    +0      >>    .   1:5001     by 1000 ack 1
    +100ms  <<    .   1:1        ack 1 sack 1001:5001
    +0      >>    .   1:1001     ack 1
    +100ms  <<    .   1:1        ack 1001
    +100ms..2s >> .   1001:2001  ack 1
    +100ms  <<    .   1:1        ack 2001
    +0      >>    .   2001:4001  by 1000 ack 1
    +100ms  <<    .   1:1        ack 4001
    +0      >>    .   4001:5001  ack 1
    +100ms  <<    .   1:1        ack 5001
    +60s    none
"
);

// RFC 5681 section 3.2 and RFC 6582: without SACK, three duplicates, and a partial acknowledgement for each further hole.
script!(
    without_sack_duplicates_repair_a_hole,
    "
    stack congestion reno
    0       open  mss 1000 rtt 100ms
    +0      app   send 10000
    +0      >>    .   1:10001    by 1000 ack 1
    +100ms  <<    .   1:1        ack 1
    +0      <<    .   1:1        ack 1
    +0      none
    +0      <<    .   1:1        ack 1
    +0      >>    .   1:1001     ack 1
    +0      info  ssthresh 5000
    +0      <<    .   1:1        ack 1
    +0      <<    .   1:1        ack 1
    +0      <<    .   1:1        ack 1
    +0      none
    +100ms  <<    .   1:1        ack 4001      # partial
    +0      >>    .   4001:5001  ack 1
    +100ms  <<    .   1:1        ack 10001
    +0      info  in_flight 0 retransmissions 2 timeouts 0 cwnd <=6000
    +60s    none
"
);

// RFC 5681 section 2: data, another window, a FIN, or nothing outstanding make no duplicate.
script!(
    not_every_equal_acknowledgement_is_a_duplicate,
    "
    0       open  mss 1000 rtt 100ms
    +0      app   send 5000
    +0      >>    .   1:5001     by 1000 ack 1
    +10ms   <<    .   1:11       ack 1
    +0      <<    .   11:21      ack 1
    +0      <<    .   21:31      ack 1
    +0      <<    .   31:41      ack 1
    +0      >>*   .   5001:5001
    +0      <<    .   41:41      ack 1 win 50000
    +0      <<    .   41:41      ack 1 win 51000
    +0      <<    .   41:41      ack 1 win 52000
    +0      <<    .   41:41      ack 1 win 53000
    +0      none
    +0      app   verdict signal
    +0      <<    .   41:41      ack 1 win 53000
    +0      <<    .   41:41      ack 1 win 53000
    +0      <<    .   41:41      ack 1 win 53000
    +0      <<    .   41:41      ack 1 win 53000
    +0      none
    +0      info  retransmissions 0
"
);
