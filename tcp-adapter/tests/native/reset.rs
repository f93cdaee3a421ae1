//! Resets (RFC 9293 section 3.5.2 and 3.10.7, RFC 5961 section 3).

script!(
    a_reset_in_sequence_ends_the_connection,
    "
    0       open
    +0      <<    .   1:101    ack 1
    +0      >>    .   1:1      ack 101
    +0      app   recv 100
    +0      <<    R   101:101
    +0      event closed reset
    +0      info  gone
    +0      <<    .   101:101  ack 1
    +0      >>    R   1:1
"
);

// RFC 5961 section 3.2: in the window but not exact is challenged, outside is dropped.
script!(
    a_reset_out_of_sequence_is_challenged_or_dropped,
    "
    0       open
    +0      <<    R   2:2
    +0      >>    .   1:1      ack 1
    +0      <<    R.  5000:5000 ack 1
    +0      >>    .   1:1      ack 1
    +0      <<    R   0:0
    +0      <<    R   -5:-5
    +0      <<    R   500000:500000
    +1s     none
    +0      event no closed reset
    +0      <<    R   1:1
    +0      event closed reset
"
);

// What was lost before it never comes, as there is nobody any more to send it.
script!(
    a_reset_behind_all_that_has_come_ends_the_connection,
    "
    0       open
    +0      <<    .   101:201  ack 1
    +0      >>    .   1:1      ack 1
    +0      <<    R.  150:150  ack 1
    +0      >>    .   1:1      ack 1
    +0      <<    R.  202:202  ack 1
    +0      >>    .   1:1      ack 1
    +0      <<    R.  201:201  ack 1
    +0      event closed reset
"
);

// RFC 9293 figure 10: the peer was restarted and knows nothing of the connection.
script!(
    data_to_a_restarted_peer_is_reset,
    "
    0       open
    +0      app   send 100
    +0      >>    .   1:101    ack 1
    +10ms   <<    R   1:1
    +0      event closed reset
    +5s     none
"
);

// RFC 9293 figure 9 with RFC 5961 section 4.2: the challenge shows the restarted peer that its SYN is out of place.
script!(
    a_syn_of_a_restarted_peer_is_challenged_and_then_reset,
    "
    0       open
    +0      <<    .   1:101    ack 1
    +0      >>    .   1:1      ack 101
    +0      app   recv 100
    +0      <<    S   5000:5000 win 65535
    +0      >>    .   1:1      ack 101
    +0      <<    R   101:101
    +0      event closed reset
"
);

script!(
    an_abort_sends_a_reset,
    "
    0       open
    +0      app   send 100
    +0      >>    .   1:101    ack 1
    +0      app   abort
    +0      >>    R.  101:101  ack 1
    +0      event closed aborted
    +0      <<    .   1:1      ack 101
    +0      >>    R   101:101
    +0      app2  connect
    +0      >>2   S   0:0
    +0      app2  abort
    +0      event2 closed aborted
    +60s    none
"
);

script!(
    a_reset_after_both_fins_is_a_normal_end,
    "
    0       open
    +0      <<    F.  1:1      ack 1
    +0      >>    .   1:1      ack 2
    +0      app   shutdown
    +0      >>    F.  1:1      ack 2
    +10ms   <<    R   2:2
    +0      event closed normal
    +0      info  gone
"
);

script!(
    a_reset_may_have_data,
    "
    0       open
    +0      <<    R   1:21     fill 0x61
    +0      event closed reset
"
);
