//! Explicit congestion notification (RFC 3168 section 6.1).

// Section 6.1.1: a SYN with both flags is answered with ECE alone, and neither is marked.
script!(
    a_peer_that_asks_is_answered,
    "
    0       app   listen
    0       <<    SEW  0:0     win 65535 mss 1000
    +0      >>    S.E  0:0     ack 1 notect
    +10ms   <<    .   1:1      ack 1
    +0      app   send 1000
    +0      >>    .   1:1001   ack 1 ect0          # section 6.1.2
    +10ms   <<    .   1:1001   ack 1001 ect0
    +0..40ms >>   .   1001:1001 ack 1001 notect    # section 6.1.4
"
);

script!(
    a_peer_that_does_not_ask_is_not_told,
    "
    0       app   listen
    0       <<    S   0:0      win 65535 mss 1000
    +0      >>    S.  0:0      ack 1 notect
    +10ms   <<    .   1:1      ack 1
    +0      app   send 1000
    +0      >>    .   1:1001   ack 1 notect
    +10ms   <<    .E  1:1001   ack 1001 ce         # means nothing here
    +0..40ms >>   .   1001:1001 ack 1001 notect
    +0      <<2   SE  0:0      win 65535           # one flag is no question
    +0      >>2   S.  0:0      ack 1
"
);

script!(
    it_is_asked_for_if_configured,
    "
    stack ecn on
    0       app   connect
    +0      >>    SEW 0:0      notect
    +10ms   <<    S.E 0:0      ack 1 win 65535 mss 1000
    +0      >>    .   1:1      ack 1 notect
    +0      app   send 1000
    +0      >>    .   1:1001   ack 1 ect0
    +0      app2  connect
    +0      >>2   SEW 0:0
    +10ms   <<2   S.EW 0:0     ack 1 win 65535 mss 1000   # a peer that reflects flags
    +0      >>2   .   1:1      ack 1
    +0      app2  send 1000
    +0      >>2   .   1:1001   ack 1 notect
    +0      app3  connect
    +0      >>3   SEW 0:0
    +10ms   <<3   S.  0:0      ack 1 win 65535 mss 1000
    +0      >>3   .   1:1      ack 1
    +0      app3  send 1000
    +0      >>3   .   1:1001   ack 1 notect
"
);

// Section 6.1.1.1: it may be the question that gets no answer. Who has sent a SYN without it marks nothing (section 6.1.1), but echoes the
// marks of a peer that has seen the first SYN.
script!(
    only_the_first_syn_asks,
    "
    stack ecn on
    0       app   connect
    +0      >>    SEW 0:0      notect
    +1s     >>    S   0:0      notect
    +10ms   <<    S.E 0:0      ack 1 win 65535 mss 1000
    +0      >>    .   1:1      ack 1 notect
    +0      app   send 1000
    +0      >>    .   1:1001   ack 1 notect
    +10ms   <<    .   1:1001   ack 1001 ce
    +0..40ms >>   .E  1001:1001 ack 1001 notect
"
);

// Section 6.1.1: a peer that repeats its SYN without the question gets no segments that ask for marks, though its own are still told.
script!(
    a_peer_that_asks_no_more_is_sent_nothing_to_mark,
    "
    0       app   listen
    0       <<    SEW  0:0     win 65535 mss 1000
    +0      >>    S.E  0:0     ack 1
    500ms   <<    S   0:0      win 65535 mss 1000
    +0      >>    S.E  0:0     ack 1
    +10ms   <<    .   1:1      ack 1
    +0      app   send 1000
    +0      >>    .   1:1001   ack 1 notect
    +10ms   <<    .   1:1001   ack 1001 ce
    +0..40ms >>   .E  1001:1001 ack 1001 notect
    +0      <<2   SEW  0:0     win 65535 mss 1000
    +0      >>2   S.E  0:0     ack 1
    +500ms  <<2   SEW  0:0     win 65535 mss 1000
    +0      >>2   S.E  0:0     ack 1
    +10ms   <<2   .   1:1      ack 1
    +0      app2  send 1000
    +0      >>2   .   1:1001   ack 1 ect0
"
);

// Section 6.1.3: ECE until CWR.
script!(
    marks_are_told_until_the_sender_has_reduced,
    "
    0       app   listen
    0       <<    SEW  0:0     win 65535 mss 1000
    +0      >>    S.E  0:0     ack 1
    +10ms   <<    .   1:1      ack 1
    +0      <<    .   1:1001   ack 1 ect0
    +0      >>    .   1:1      ack 1001
    +0      <<    .   1001:2001 ack 1 ce
    +0      >>    .E  1:1      ack 2001
    +0      <<    .   2001:3001 ack 1 ect0
    +0      >>    .E  1:1      ack 3001
    +0      app   send 100
    +0      >>    .E  1:101    ack 3001
    +0      <<    .W  3001:4001 ack 101 ect0
    +0      >>    .   101:101  ack 4001
    +0      <<    .W  4001:5001 ack 101 ce
    +0      >>    .E  101:101  ack 5001
"
);

// Section 6.1.2: one reduction in a round trip, told with CWR on the first new data.
script!(
    the_window_is_reduced_once_a_round_trip,
    "
    stack congestion reno
    0       app   listen
    0       <<    SEW  0:0     win 65535 mss 1000
    +0      >>    S.E  0:0     ack 1
    +10ms   <<    .   1:1      ack 1
    +0      app   send 60000
    +0      >>    .   1:10001  by 1000 ack 1 ect0
    +10ms   <<    .E  1:1      ack 1001
    +0      info  cwnd 5000 ssthresh 5000 retransmissions 0
    +0      <<    .E  1:1      ack 3001
    +0      <<    .E  1:1      ack 5001
    +0      info  cwnd 5000
    +0      <<    .E  1:1      ack 6001
    +0      >>    .W  10001:11001 ack 1 ect0
    +0      <<    .   1:1      ack 8001
    +0      >>    .   11001:13001 by 1000 ack 1 ect0
    +0      info  cwnd 5000
    +0      <<    .E  1:1      ack 10001           # left before the CWR arrived
    +0      info  cwnd 5000
    +0      >>    .   13001:15001 by 1000 ack 1 ect0
    +0      <<    .E  1:1      ack 11001           # another mark
    +0      info  cwnd 2500
"
);

// Section 6.1.2: after a loss too the peer is told, which may be echoing a mark of the same round trip.
script!(
    a_reduction_for_a_loss_is_told,
    "
    stack congestion reno
    0       app   listen
    0       <<    SEW  0:0     win 65535 mss 1000 sackOK
    +0      >>    S.E  0:0     ack 1
    +10ms   <<    .   1:1      ack 1
    +0      app   send 60000
    +0      >>    .   1:10001  by 1000 ack 1 ect0
    +10ms   <<    .   1:1      ack 1 sack 1001:4001
    +0      >>    .   1:1001   ack 1 notect
    +0      >>    .W  10001:11001 ack 1 ect0
    +10ms   <<    .   1:1      ack 10001
    +0      >>    .   11001:16001 by 1000 ack 1 ect0
"
);

// Section 6.1.5: what is sent again is not marked.
script!(
    retransmissions_are_not_capable,
    "
    0       app   listen
    0       <<    SEW  0:0     win 65535 mss 1000
    +0      >>    S.E  0:0     ack 1
    +10ms   <<    .   1:1      ack 1
    +0      app   send 1000
    +0      >>    .   1:1001   ack 1 ect0
    +200ms..215ms >> . 1:1001  ack 1 notect
"
);

// RFC 8257 section 3: without marks it is Reno, so it asks for them without being told to.
script!(
    proportional_control_asks_for_marks,
    "
    stack congestion dctcp
    0       app   connect
    +0      >>    SEW 0:0      ect0
    +10ms   <<    S.E 0:0      ack 1 win 65535 mss 1000
    +0      >>    .   1:1      ack 1 notect
    +0      app   send 1000
    +0      >>    .   1:1001   ack 1 ect0
    +10ms   <<    .   1:1      ack 1001
    +0      app   abort
    +0      >>    R.  1001:1001 ack 1 ect0
"
);

// RFC 8257 section 3.6 is a wish, and something on the way may drop what has a mark.
script!(
    what_is_repeated_of_the_handshake_is_not_capable,
    "
    stack congestion dctcp
    0       app   connect
    +0      >>    SEW 0:0      ect0
    +1s     >>    S   0:0      notect
    +0      app2  listen
    +0      <<2   SEW  0:0     win 65535 mss 1000
    +0      >>2   S.E  0:0     ack 1 ect0
    +1s     >>2   S.E  0:0     ack 1 notect
"
);

// RFC 8257 section 3.3: a receiver that knows RFC 3168 only goes on with ECE until it has heard of the reduction.
script!(
    reductions_by_the_extent_of_marks_are_told_too,
    "
    stack congestion dctcp
    0       app   listen
    0       <<    SEW  0:0     win 65535 mss 1000
    +0      >>    S.E  0:0     ack 1
    +10ms   <<    .   1:1      ack 1
    +0      app   send 40000
    +0      >>    .   1:10001  by 1000 ack 1 ect0
    +10ms   <<    .E  1:1      ack 10001
    +0      >>    .W  10001:11001 ack 1 ect0
    +0      >>    .   11001:12001 ack 1 ect0
    +0      >>*   .   *        ack 1
"
);

// RFC 8257 section 3.6: with DCTCP the packets of the handshake may be capable too, as Linux sends them. They ask like any other, and a mark on them
// means nothing.
script!(
    a_question_may_be_capable_itself,
    "
    stack congestion dctcp
    0       app   listen
    0       <<    SEW  0:0     win 65535 mss 1000 ect0
    +0      >>    S.E  0:0     ack 1 ect0
    +10ms   <<    .   1:1      ack 1 ect0
    +0      app   send 1000
    +0      >>    .   1:1001   ack 1 ect0
    +10ms   <<    .   1:1      ack 1001 ect0
    +0      <<2   SEW  0:0     win 65535 mss 1000 ce
    +0      >>2   S.E  0:0     ack 1
    +10ms   <<2   .   1:1      ack 1 ce
    +0      <<2   .   1:1001   ack 1 ect0
    +0      >>2   .   1:1      ack 1001
"
);

// Section 3.6: so may the answer.
script!(
    an_answer_may_be_capable_itself,
    "
    stack congestion dctcp
    0       app   connect
    +0      >>    SEW 0:0
    +10ms   <<    S.E 0:0      ack 1 win 65535 mss 1000 ce
    +0      >>    .   1:1      ack 1
    +0      app   send 1000
    +0      >>    .   1:1001   ack 1 ect0
    +10ms   <<    .   1:1001   ack 1001 ect0
    +0      >>    .   1001:1001 ack 1001
"
);

// RFC 8257 section 3.2: where marks change, what came before is acknowledged with its mark, and the new segment at once with its own.
script!(
    a_change_of_marks_is_told_with_two_acknowledgements,
    "
    stack congestion dctcp
    0       app   listen
    0       <<    SEW  0:0     win 65535 mss 1000
    +0      >>    S.E  0:0     ack 1
    +10ms   <<    .   1:1      ack 1
    +0      <<    .   1:16001  by 1000 ack 1 ect0     # the quick ones
    +0      >>*   .   1:1
    +0      app   recv 16000
    +0      >>*   .   1:1
    +10ms   none
    +0      <<    .   16001:17001 ack 1 ect0
    +0      <<    .   17001:18001 ack 1 ce
    +0      >>    .   1:1      ack 17001
    +0      >>    .E  1:1      ack 18001
"
);
