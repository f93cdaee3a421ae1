//! Windows of both sides (RFC 9293 sections 3.8.6 and 3.7.4).

// Section 3.8.6.1: a closed window is probed, with growing distance, for as long as the peer answers.
script!(
    a_closed_window_is_probed,
    "
    stack user_timeout 1s
    0       open  mss 1000 rtt 100ms
    +0      app   send 3000
    +0      >>    .   1:3001     by 1000 ack 1
    +100ms  <<    .   1:1        ack 3001 win 0
    +0      app   send 1000
    +250ms..350ms >> . *         ack 1
    +0      <<    .   1:1        ack 3001 win 0
    +500ms..700ms >> . *         ack 1
    +0      <<    .   1:1        ack 3001 win 0
    +1000ms..1400ms >> . *       ack 1
    +0      <<    .   1:1        ack 3001 win 0
    +0      info  established 1
    +100ms  <<    .   1:1        ack 3001 win 5000
    +0      >>    .   3001:4001  ack 1
    +100ms  <<    .   1:1        ack 4001 win 5000
    +60s    none
"
);

// The same, MUST-37: a peer that has data to send answers by that, and lives.
script!(
    a_closed_window_is_probed_while_the_peer_sends,
    "
    stack user_timeout 1s
    0       open  mss 1000 rtt 100ms
    +0      app   send 3000
    +0      >>    .   1:3001     by 1000 ack 1
    +100ms  <<    .   1:1        ack 3001 win 0
    +0      app   send 1000
    +250ms..350ms >> . 3000:3000 ack 1
    +0      <<    .   1:101      ack 3001 win 0
    +40ms   >>*   .   3001:3001  ack 101
    +400ms..700ms >> . 3000:3000 ack 101
    +0      <<    .   101:201    ack 3001 win 0
    +40ms   >>*   .   3001:3001  ack 201
    +900ms..1400ms >> . 3000:3000 ack 201
    +0      <<    .   201:301    ack 3001 win 0
    +40ms   >>*   .   3001:3001  ack 301
    +0      info  established 1
    +0      <<    .   301:301    ack 3001 win 5000
    +0      >>    .   3001:4001  ack 301
    +0      app   recv 300
"
);

script!(
    a_peer_that_does_not_answer_probes_is_given_up,
    "
    stack user_timeout 5s
    0       open  mss 1000 rtt 100ms win 0
    +0      app   send 1000
    +5s     >>*   .   *          ack 1
    +0..301ms event closed timed-out
    +0      >>*
    +60s    none
"
);

// Section 3.8.6: a window that moves back. New data stays within it; what is outstanding is sent again as ever.
script!(
    a_window_that_moves_back_is_obeyed,
    "
    0       open  mss 1000 rtt 100ms
    +0      app   send 20000
    +0      >>    .   1:10001    by 1000 ack 1
    +100ms  <<    .   1:1        ack 1001 win 3000
    +0      info  in_flight 9000 queued 10000
    +100ms..500ms >> . 1001:2001 ack 1
    +10ms   <<    .   1:1        ack 10001 win 3000
    +0      >>    .   10001:13001 by 1000 ack 1
    +100ms  <<    .   1:1        ack 13001 win 7000
    +0      >>    .   13001:20001 by 1000 ack 1
"
);

// Section 3.10.7.4: the window is that of the newest segment (SND.WL1, SND.WL2).
script!(
    old_segments_do_not_change_the_window,
    "
    0       open  mss 1000 win 1000
    +0      app   send 10000
    +0      >>    .   1:1001     ack 1
    +0      <<    .   1:101      ack 1 win 1000
    +0..40ms >>   .   1001:1001  ack 101
    +0      <<    .   1:1        ack 1 win 60000       # older than the last one
    +0      >>    .   1001:1001  ack 101
    +0      <<    .   101:101    ack 1001 win 1000
    +0      >>    .   1001:2001  ack 101
    +0      <<    .   101:101    ack 1 win 60000       # acknowledges less than the last one
    +0      none
"
);

// The same section: the window is only updated if SND.UNA =< SEG.ACK, however new the data beside it is.
script!(
    old_acknowledgements_do_not_change_the_window,
    "
    0       open  mss 1000
    +0      app   send 2000
    +0      >>    .   1:2001     by 1000 ack 1
    +10ms   <<    .   1:101      ack 2001 win 10000
    +0      <<    .   101:201    ack 1001 win 500
    +0      >>*   .   2001:2001
    +0      app   send 4000
    +0      >>    .   2001:6001  by 1000 ack 201
"
);

// Section 3.8.6.2.1: a full segment or nothing, while more is to come.
script!(
    small_windows_are_not_filled,
    "
    0       open  mss 1000 win 1500
    +0      app   send 5000
    +0      >>    .   1:1001     ack 1
    +10ms   <<    .   1:1        ack 1001 win 1500
    +0      >>    .   1001:2001  ack 1
    +10ms   <<    .   1:1        ack 2001 win 3000
    +0      >>    .   2001:5001  by 1000 ack 1
"
);

// The same, (4): but not for ever, as the window may never become larger.
script!(
    a_window_that_stays_small_is_used_in_the_end,
    "
    0       open  mss 1000 win 500 rtt 100ms
    +0      app   send 1000
    +1ms..2s >>   .   1:501      ack 1
    +100ms  <<    .   1:1        ack 501 win 500
    +0..2s  >>    .   501:1001   ack 1
    +100ms  <<    .   1:1        ack 1001 win 500
"
);

// Half of the largest window that the peer has ever had is worth a segment.
script!(
    half_of_a_small_window_is_used,
    "
    0       app   listen
    0       <<    S   0:0        win 600 mss 1000
    +0      >>    S.  0:0        ack 1
    +10ms   <<    .   1:1        ack 1 win 600
    +0      app   send 1000
    +0      >>    .   1:601      ack 1
    +10ms   <<    .   1:1        ack 601 win 400
    +0      >>    .   601:1001   ack 1
"
);

// Section 3.8.6.2.2: our own window moves by a segment or half of the buffer.
script!(
    our_window_opens_in_good_steps,
    "
    stack recv_buffer 4000
    0       app   listen
    0       <<    S   0:0        win 65535 mss 1000
    +0      >>    S.  0:0        ack 1 win 4000
    +10ms   <<    .   1:1        ack 1
    +0      <<    .   1:501      ack 1
    +0      >>    .   1:1        ack 501 win 3500
    +0      <<    .   501:1001   ack 1
    +0      >>    .   1:1        ack 1001 win 3000
    +0      <<    .   1001:4001  by 1000 ack 1
    +0      >>    .   1:1        ack 2001 win 2000
    +0      >>    .   1:1        ack 3001 win 1000
    +0      >>    .   1:1        ack 4001 win 0
    +0      app   recv one
    +0      none
    +1s     <<    .   4001:4002  ack 1                # a probe
    +0      >>    .   1:1        ack 4001 win 0
    +0      app   recv 3500
    +0      >>    .   1:1        ack 4001 win 4000
    +0      <<    .   4001:8001  by 1000 ack 1
    +0      >>    .   1:1        ack 5001 win 3000
    +0      >>    .   1:1        ack 6001 win 2000
    +0      >>    .   1:1        ack 7001 win 1000
    +0      >>    .   1:1        ack 8001 win 0
"
);

// Section 3.8.6: the window does not move back after the SYN either, where the scale cannot express what was configured and the peer does not scale.
script!(
    the_first_window_is_one_that_the_scale_can_express,
    "
    stack recv_buffer 1073741824
    stack recv_buffer_initial 1000
    0       app   connect
    +0      >>    S   0:0        win 16384 wscale 14
    +10ms   <<    S.  0:0        ack 1 win 65535 mss 1000
    +0      >>    .   1:1        ack 1 win 16384
"
);

// Section 3.8.6: our own window must not move back, and what was in it is taken.
script!(
    our_window_does_not_move_back,
    "
    0       app   listen
    0       app   window 10000
    0       <<    S   0:0        win 65535 mss 1000
    +0      >>    S.  0:0        ack 1 win 10000
    +10ms   <<    .   1:1        ack 1
    +0      app   window 2000
    +0      <<    .   1:1001     ack 1
    +0      >>    .   1:1        ack 1001
    +0      <<    .   9001:10001 ack 1
    +0      >>    .   1:1        ack 1001
    +0      <<    .   1001:9001  by 1000 ack 1
    +0      >>*   .   1:1
    +0      app   recv 10000
"
);

// Section 3.7.4, off by default.
script!(
    small_segments_leave_at_once,
    "
    0       open  mss 1000
    +0      app   send 100
    +0      app   send 100
    +0      app   send 100
    +0      >>    .   1:301      by 100 ack 1
"
);

script!(
    nagle_holds_small_segments_back,
    "
    stack nagle on
    0       open  mss 1000 rtt 100ms
    +0      app   send 100
    +0      >>    .   1:101      ack 1
    +0      app   send 100
    +50ms   none
    +0      app   send 1000                           # a full segment need not wait
    +0      >>*   .   *          ack 1
    +50ms   <<    .   1:1        ack 101
    +0      >>*   .   *          ack 1
    +100ms  <<    .   1:1        ack 1201
    +0      info  in_flight 0 queued 0 snd_una 1200 retransmissions 0
"
);

// A shutdown sends what is held back.
script!(
    nagle_ends_with_the_stream,
    "
    stack nagle on
    0       open  mss 1000 rtt 100ms
    +0      app   send 100
    +0      >>    .   1:101      ack 1
    +0      app   send 100
    +0      none
    +0      app   shutdown
    +0      >>    F.  101:201    ack 1
"
);

script!(
    the_send_buffer_is_bounded,
    "
    stack send_buffer 5000
    0       open  mss 1000
    +0      info  room 5000
    +0      app   send 5001 -> Full
    +0      app   send 0 -> Empty
    +0      app   send 5000
    +0      app   send 1 -> Full
    +0      >>    .   1:5001     by 1000 ack 1
    +0      info  room 0
    +10ms   <<    .   1:1        ack 5001
    +0      event writable
    +0      info  room 5000
"
);

// RFC 9293 MUST-37, of what is outstanding: a peer that drops it for want of room, and says so, is waited for. Once it has room, it
// need not wait for a timeout that has been backed off meanwhile.
script!(
    a_peer_without_room_for_what_is_outstanding_is_waited_for,
    "
    stack user_timeout 3s
    0       open  mss 1000 rtt 100ms
    +0      app   send 1000
    +0      >>    .   1:1001     ack 1
    +100ms  <<    .   1:1        ack 1 win 0
    +100ms..300ms   >> . 1:1001  ack 1
    +0      <<    .   1:1        ack 1 win 0
    +400ms..700ms   >> . 1:1001  ack 1
    +0      <<    .   1:1        ack 1 win 0
    +900ms..1400ms  >> . 1:1001  ack 1
    +0      <<    .   1:1        ack 1 win 0
    +1900ms..2700ms >> . 1:1001  ack 1
    +0      <<    .   1:1        ack 1 win 0
    +0      info  established 1
    +100ms  <<    .   1:1        ack 1 win 5000
    +0      >>    .   1:1001     ack 1
    +100ms  <<    .   1:1        ack 1001 win 5000
    +60s    none
"
);
