//! Segments that may be forged (RFC 5961 sections 4 to 7).

// Section 4.2: whatever its sequence number.
script!(
    a_syn_in_a_connection_is_challenged,
    "
    0       open
    +0      <<    S   1:1       win 65535
    +0      >>    .   1:1       ack 1
    +0      <<    S   100:100   win 65535
    +0      >>    .   1:1       ack 1
    +0      <<    S   -5000:-5000 win 65535
    +0      >>    .   1:1       ack 1
    +0      <<    S.  0:0       ack 1 win 65535
    +0      >>    .   1:1       ack 1
    +0      info  established 1
"
);

// Section 5.2: acknowledgements of what was never sent, or older than the largest window, are
// challenged, and what comes with them is dropped.
script!(
    unacceptable_acknowledgements_are_challenged,
    "
    0       open
    +0      app   send 100
    +0      >>    .   1:101     ack 1
    +10ms   <<    .   1:101     ack 102
    +0      >>    .   101:101   ack 1
    +0      <<    .   1:101     ack 50000
    +0      >>    .   101:101   ack 1
    +0      <<    .   1:101     ack -70000
    +0      >>    .   101:101   ack 1
    +0      app   recv 0
    +0      <<    .   1:101     ack 1
    +0      >>    .   101:101   ack 101
    +0      app   recv 100
    +0      info  in_flight 100 snd_una 0
    +0      <<    .   101:101   ack 101
    +0      info  in_flight 0 snd_una 100
"
);

// An acknowledgement that is only old, of a segment that was late, keeps what comes with it.
script!(
    an_old_acknowledgement_is_no_harm,
    "
    0       open
    +0      app   send 5000 by 500
    +0      >>    .   1:5001    by 500 ack 1
    +10ms   <<    .   1:1       ack 5001
    +0      <<    .   1:101     ack 1001
    +0      >>    .   5001:5001 ack 101
    +0      app   recv 100
    +0      info  snd_una 5000
"
);

// Section 7: ten answers a second here. Those to data are not limited, as the peer waits for them.
script!(
    answers_are_limited,
    "
    0       open
    +0      <<    R   100:130   by 1
    +0      >>    .   1:1       ack 1
    +0      >>    .   1:1       ack 1
    +0      >>    .   1:1       ack 1
    +0      >>    .   1:1       ack 1
    +0      >>    .   1:1       ack 1
    +0      >>    .   1:1       ack 1
    +0      >>    .   1:1       ack 1
    +0      >>    .   1:1       ack 1
    +0      >>    .   1:1       ack 1
    +0      >>    .   1:1       ack 1
    +900ms  none
    +100ms  <<    R   100:100
    +0      >>    .   1:1       ack 1
    +0      <<    .   1:101     ack 1
    +0      >>    .   1:1       ack 101
"
);

// What a path that reorders makes of acknowledgements does not use up the answer to a reset.
script!(
    old_acknowledgements_leave_room_for_the_answer_to_a_reset,
    "
    0       open
    +0      <<    .   1:101     ack 1
    +0      >>    .   1:1       ack 101
    +0      app   recv 100
    +0      <<    .   1:1       ack 1
    +0      >>    .   1:1       ack 101
    +0      <<    .   1:1       ack 1
    +0      >>    .   1:1       ack 101
    +0      <<    .   1:1       ack 1
    +0      >>    .   1:1       ack 101
    +0      <<    .   1:1       ack 1
    +0      >>    .   1:1       ack 101
    +0      <<    .   1:1       ack 1
    +0      >>    .   1:1       ack 101
    +0      <<    .   1:1       ack 1
    +0      >>    .   1:1       ack 101
    +0      <<    .   1:1       ack 1
    +0      >>    .   1:1       ack 101
    +0      <<    .   1:1       ack 1
    +0      >>    .   1:1       ack 101
    +0      <<    .   1:1       ack 1
    +0      >>    .   1:1       ack 101
    +0      <<    .   1:1       ack 1
    +0      >>    .   1:1       ack 101
    +0      <<    .   1:1       ack 1
    +0      <<    R   500:500
    +0      >>    .   1:1       ack 101
    +0      <<    R   101:101
    +0      event closed reset
"
);

// RFC 9293 section 3.10.7.4, first: segments outside the window are answered, their content is not used.
script!(
    segments_outside_the_window_are_answered,
    "
    0       open
    +0      <<    .   1:101     ack 1
    +0      >>    .   1:1       ack 101
    +0      <<    .   500001:500101 ack 1
    +0      >>    .   1:1       ack 101
    +0      <<    .   -100:1    ack 1
    +0      >>    .   1:1       ack 101
    +0      <<    F.  500001:500001 ack 1
    +0      >>    .   1:1       ack 101
    +0      <<    .   500001:500001 ack 1
    +0      >>    .   1:1       ack 101
    +0      event no finished
    +0      app   recv 100
"
);

// RFC 9293 section 3.10.7.4, fifth: nothing without an acknowledgement is of a connection.
script!(
    segments_without_acknowledgement_are_dropped,
    "
    0       open
    +0      <<    -   1:101
    +0      <<    F   1:1
    +0      <<    P   1:101
    +1s     none
    +0      app   recv 0
    +0      event no finished
"
);

script!(
    wrong_checksums_are_dropped,
    "
    0       open
    +0      <<    .   1:101     ack 1 badsum
    +0      <<    R   1:1       badsum
    +1s     none
    +0      info  established 1
"
);
