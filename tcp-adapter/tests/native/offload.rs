//! Super-segments: what the device cuts, and what it has put together (RFC 9293 knows neither; nothing may show).

script!(
    a_lost_piece_is_sent_again_alone,
    "
    set offload
    stack congestion reno
    0       open  mss 1000 sackOK rtt 100ms
    +0      app   send 10000
    +0      >>    .   1:10001    ack 1 pieces 1000
    +100ms  <<    .   1:1        ack 3001 sack 4001:7001
    +0      >>    .   3001:4001  ack 1
    +0      <<    .   1:1        ack 3001 sack 4001:10001
    +100ms  <<    .   1:1        ack 10001
    +0      info  in_flight 0 retransmissions 1
    +60s    none
"
);

// The piece left with others that have arrived, and nothing left after them.
script!(
    a_hole_in_the_only_super_segment_is_found,
    "
    set offload
    0       open  mss 1000 sackOK rtt 100ms
    +0      app   send 10000
    +0      >>    .   1:10001    ack 1 pieces 1000
    +100ms  <<    .   1:1        ack 1 sack 1001:10001
    +0      >>    .   1:1001     ack 1
    +100ms  <<    .   1:1        ack 10001
    +0      info  retransmissions 1 timeouts 0
"
);

// What is acknowledged of a super-segment says nothing of its rest, which arrives a little later.
script!(
    the_rest_of_a_super_segment_is_waited_for,
    "
    set offload
    0       open  mss 1000 sackOK rtt 100ms
    +0      app   send 10000
    +0      >>    .   1:10001    ack 1 pieces 1000
    +100ms  <<    .   1:1        ack 2001
    +30ms   <<    .   1:1        ack 2501
    +30ms   <<    .   1:1        ack 5001
    +30ms   <<    .   1:1        ack 10001
    +0      info  retransmissions 0 in_flight 0
    +60s    none
"
);

script!(
    the_tail_of_a_super_segment_is_probed,
    "
    set offload
    0       open  mss 1000 sackOK rtt 100ms
    +0      app   send 10000
    +0      >>    .   1:10001    ack 1 pieces 1000
    +100ms  <<    .   1:1        ack 6001
    +100ms..110ms >> . 9001:10001 ack 1
    +100ms  <<    .   1:1        ack 6001 sack 9001:10001
    +0..30ms >>   .   6001:8001  ack 1 pieces 1000
    +0      >>*   .   *          ack 1
    +100ms  <<    .   1:1        ack 10001
    +0      info  timeouts 0
    +0      open2 mss 1000 sackOK rtt 100ms
    +0      app2  send 10000
    +0      >>2   .   1:10001    ack 1 pieces 1000
    +100ms  <<2   .   1:1        ack 1001
    +0      <<2   .   1:1        ack 3001
    +0      <<2   .   1:1        ack 5001
    +0      <<2   .   1:1        ack 7001
    +100ms..110ms >>2 . 7001:8001 ack 1       # a short one as a whole
    +0      >>2   .   8001:9001  ack 1
    +0      >>2   .   9001:10001 ack 1
    +100ms  <<2   .   1:1        ack 10001
    +0      info2 timeouts 0
    +60s    none
"
);

script!(
    after_a_timeout_a_piece_is_sent_again,
    "
    set offload
    stack congestion reno
    0       open  mss 1000 rtt 100ms
    +0      app   send 5000
    +0      >>    .   1:5001     ack 1 pieces 1000
    +300ms  >>    .   1:1001     ack 1
    +100ms  <<    .   1:1        ack 1001
    +0      >>    .   1001:3001  ack 1 pieces 1000
    +100ms  <<    .   1:1        ack 5001
    +60s    none
"
);

script!(
    an_acknowledgement_may_cut_a_piece,
    "
    set offload
    0       open  mss 1000 rtt 100ms
    +0      app   send 5000
    +0      >>    .   1:5001     ack 1 pieces 1000
    +100ms  <<    .   1:1        ack 1501
    +0      info  in_flight 3500 snd_una 1500
    +300ms..500ms >> . 1501:2501 ack 1
    +100ms  <<    .   1:1        ack 5001
    +60s    none
"
);

// Options of the layer above are in every piece, so they must leave room in each.
script!(
    options_are_in_every_piece,
    "
    set offload
    0       open  mss 1000 ts
    +0      app   option fd080102.03040506
    +0      app   send 5000
    +0      >>    .   1:5001     ack 1 pieces 980 opt 253:010203040506 ts 10/1001
"
);

script!(
    a_fin_may_follow_a_super_segment,
    "
    set offload
    0       open  mss 1000 win 3000 rtt 100ms
    +0      app   send 5000
    +0      >>    .   1:3001     ack 1 pieces 1000
    +0      app   shutdown
    +100ms  <<    .   1:1        ack 3001 win 9000
    +0      >>    F.  3001:5001  ack 1 pieces 1000
    +100ms  <<    .   1:1        ack 5001 win 9000      # the FIN alone is lost
    +200ms..700ms >> F. 5001:5001 ack 1
    +100ms  <<    .   1:1        ack 5002 win 9000
    +60s    none
"
);

script!(
    the_size_is_limited,
    "
    set offload
    stack max_segmented 4000
    0       open  mss 1000
    +0      app   send 10000
    +0      >>    .   1:4001     ack 1 pieces 1000
    +0      >>    .   4001:8001  ack 1 pieces 1000
    +0      >>    .   8001:10001 ack 1 pieces 1000
"
);

// Several segments that were put together on the way in count as that many.
script!(
    what_was_put_together_is_acknowledged_at_once,
    "
    0       open  mss 1000
    +0      <<    .   1:16001    by 1000 ack 1
    +0      >>*   .   1:1
    +0      app   recv 16000
    +10ms   >>*   .   1:1
    +0      <<    .   16001:20001 ack 1 pieces 1000
    +0      >>    .   1:1        ack 20001
    +0      app   recv 4000
    +0      >>*   .   1:1
    +0      <<    F.  20001:25001 ack 1 pieces 1000
    +0      >>    .   1:1        ack 25002
    +0      app   recv 5000
"
);

script!(
    what_was_put_together_may_overlap,
    "
    0       open  mss 1000 sackOK
    +0      <<    .   2001:3001  ack 1
    +0      >>    .   1:1        ack 1 sack 2001:3001
    +0      <<    .   1:5001     ack 1 pieces 1000
    +0      >>    .   1:1        ack 5001 sack 2001:3001
    +0      app   recv 5000
"
);
