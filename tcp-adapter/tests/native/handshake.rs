//! Opening a connection (RFC 9293 sections 3.5 and 3.10.7).

// RFC 9293 figure 6.
script!(
    an_active_open_takes_three_segments,
    "
    0       app   connect
    +0      >>    S   0:0    mss 1460 sackOK wscale * ts 0/0 notect
    +10ms   <<    S.  0:0    ack 1 win 65535 mss 1460
    +0      >>    .   1:1    ack 1 no ts no mss
    +0      event established
    +0      info  established 1 srtt 10ms in_flight 0
    +5s     none
"
);

script!(
    a_passive_open_offers_what_the_peer_offered,
    "
    0       app   listen
    +0      <<    S   0:0    win 65535 mss 1460 sackOK wscale 7 ts 500/0
    +0      >>    S.  0:0    ack 1 mss 1460 sackOK wscale * ts 0/500
    +10ms   <<    .   1:1    ack 1 win 65536 ts 510/last
    +0      event established
    +0      info  established 1 srtt 10ms mss 1448
    +0      <<2   S   0:0    win 65535
    +0      >>2   S.  0:0    ack 1 mss 1460 no sackOK no wscale no ts
    +10ms   <<2   .   1:1    ack 1
    +0      event2 established
    +0      info2 mss 536
    +5s     none
"
);

script!(
    opens_over_ipv6,
    "
    set ipv6
    0       app   listen
    +0      <<    S   0:0    win 65535
    +0      >>    S.  0:0    ack 1 mss 1440
    +10ms   <<    .   1:1    ack 1
    +0      event established
    +0      info  mss 1220              # RFC 9293 section 3.7.1
    +0      app2  connect
    +0      >>2   S   0:0    mss 1440
    +1ms    <<2   S.  0:0    ack 1 win 65535 mss 1440
    +0      >>2   .   1:1    ack 1
"
);

// RFC 9293 figure 7, and MUST-10.
script!(
    both_ends_open_at_once,
    "
    0       app   connect
    +0      >>    S   0:0    mss 1460
    +5ms    <<    S   0:0    win 65535 mss 1000
    +0      >>    S.  0:0    ack 1 mss 1460
    +5ms    <<    S.  0:0    ack 1 win 65535 mss 1000
    +0      event established
    +0      >>*   .   1:1    ack 1
    +0      app   send 1500
    +0      >>    .   1:1501 by 1000 ack 1
    +10ms   <<    .   1:1    ack 1501
    +0      <<    .   1:101  ack 1501
    +40ms   >>*   .   1501:1501 ack 101
    +0      app   recv 100
"
);

// RFC 7323 section 2.2: no window of a SYN is scaled, that of a SYN/ACK which ends a simultaneous open included.
script!(
    the_windows_of_a_simultaneous_open_are_not_scaled,
    "
    0       app   connect
    +0      >>    S   0:0
    +5ms    <<    S   0:0    win 4000 mss 1000 wscale 7
    +0      >>    S.  0:0    ack 1
    +5ms    <<    S.  0:0    ack 1 win 4000 mss 1000 wscale 7
    +0      event established
    +0      >>*   .   1:1    ack 1
    +0      app   send 10000
    +0      >>    .   1:4001 by 1000 ack 1
    +0      none
    +10ms   <<    .   1:1    ack 4001 win 12800
    +0      >>    .   4001:10001 by 1000 ack 1
"
);

// The peer's SYN/ACK may be lost in that case; any acknowledgement of the SYN opens.
script!(
    an_acknowledgement_ends_a_simultaneous_open,
    "
    0       app   connect
    +0      >>    S   0:0
    +5ms    <<    S   0:0    win 65535 mss 1000
    +0      >>    S.  0:0    ack 1
    +1s..2s >>    S.  0:0    ack 1
    +5ms    <<    .   1:1    ack 1
    +0      event established
    +5s     none
"
);

// RFC 9293 section 3.10.7.4, second, and MUST-11: in SYN-RECEIVED too, whoever opened is refused by a reset.
script!(
    a_simultaneous_open_is_refused_by_a_reset,
    "
    0       app   connect
    +0      >>    S   0:0
    +5ms    <<    S   0:0    win 65535 mss 1000
    +0      >>    S.  0:0    ack 1
    +5ms    <<    R   1:1
    +0      event no closed reset
    +0      event closed refused
    +0      info  gone
    +60s    none
"
);

// RFC 6298 sections 2.1 and 5.5; RFC 9293 section 3.8.3.
script!(
    a_syn_is_sent_again_with_doubled_timeouts,
    "
    0       app   connect
    0       >>    S   0:0
    1s      >>    S   0:0
    3s      >>    S   0:0
    7s      >>    S   0:0
    15s     >>    S   0:0
    31s     >>    S   0:0
    63s     event closed timed-out
    +0      info  gone
    +60s    none
"
);

script!(
    a_syn_ack_is_sent_again_with_doubled_timeouts,
    "
    stack handshake_timeout 10s
    0       app   listen
    0       <<    S   0:0    win 65535
    0       >>    S.  0:0    ack 1
    1s      >>    S.  0:0    ack 1
    3s      >>    S.  0:0    ack 1
    7s      >>    S.  0:0    ack 1
    20s     >>*   R.  1:1
    +0      info  gone
    +60s    none
"
);

script!(
    a_repeated_syn_is_answered_again,
    "
    0       app   listen
    0       <<    S   0:0    win 65535
    0       >>    S.  0:0    ack 1
    500ms   <<    S   0:0    win 65535
    +0      >>    S.  0:0    ack 1
    +10ms   <<    .   1:1    ack 1
    +0      event established
    +5s     none
"
);

// RFC 6298 section 5.5: only a timeout that is over is doubled, so that SYN/ACKs leave between the repetitions of the peer as well.
script!(
    the_answer_to_a_repeated_syn_does_not_double_the_timeout,
    "
    0       app   listen
    0       <<    S   0:0    win 65535
    0       >>    S.  0:0    ack 1
    1s      >>    S.  0:0    ack 1
    2s      <<    S   0:0    win 65535
    2s      >>    S.  0:0    ack 1
    4s      >>    S.  0:0    ack 1
    6s      <<    S   0:0    win 65535
    6s      >>    S.  0:0    ack 1
    10s     >>    S.  0:0    ack 1
    14s     <<    S   0:0    win 65535
    14s     >>    S.  0:0    ack 1
    22s     >>    S.  0:0    ack 1
    +10ms   <<    .   1:1    ack 1
    +0      event established
    +60s    none
"
);

// However often the SYN is repeated, the same timeout begins anew, and no shorter one.
script!(
    repeated_syns_do_not_shorten_the_timeout,
    "
    0       app   listen
    0       <<    S   0:0    win 65535
    0       >>    S.  0:0    ack 1
    1s      >>    S.  0:0    ack 1
    3s      >>    S.  0:0    ack 1
    4s      <<    S   0:0    win 65535
    4s      >>    S.  0:0    ack 1
    5s      <<    S   0:0    win 65535
    5s      >>    S.  0:0    ack 1
    9s      >>    S.  0:0    ack 1
    17s     >>    S.  0:0    ack 1
    +10ms   <<    .   1:1    ack 1
    +0      event established
    +60s    none
"
);

// RFC 9293 figure 8: the SYN/ACK to an old SYN is refused by the peer, whose new SYN then opens.
script!(
    an_old_duplicate_syn_is_recovered_from,
    "
    0       app   listen
    0       <<    S   0:0    win 65535
    +0      >>    S.  0:0    ack 1
    +10ms   <<    R   1:1
    +0      info  gone
    +0      peer  new +10
    +0      <<    S   0:0    win 65535
    +0      >>    S.  0:0    ack 1
    +10ms   <<    .   1:1    ack 1
    +0      event established
"
);

// RFC 9293 figure 9, seen from the end that was restarted: line 4 to 7.
script!(
    an_old_connection_of_the_peer_is_reset,
    "
    0       app   connect
    +0      >>    S   0:0
    10ms    <<    .   300:300 ack =100
    +0      >>    R   =100
    +0      >>    S   0:0                # once: what follows may be forged
    +0      <<    .   300:400 ack =100
    +0      >>    R   =100
    +1999ms none
    +1ms    >>    S   0:0
    +10ms   <<    S.  0:0    ack 1 win 65535
    +0      >>    .   1:1    ack 1
    +0      event established
"
);

script!(
    a_refused_connection_is_closed,
    "
    0       app   connect
    +0      >>    S   0:0
    10ms    <<    R   1:1                # no acknowledgement: dropped
    +0      <<    R.  0:0    ack 0       # acknowledges nothing: dropped
    +0      <<    R.  0:0    ack 2       # acknowledges what was not sent
    +0      event no closed refused
    +0      <<    R.  0:0    ack 1
    +0      event closed refused
    +0      info  gone
    +60s    none
"
);

// RFC 9293 section 3.10.7.3, fourth and fifth: without SYN and without RST there is nothing to do.
script!(
    syn_sent_ignores_what_is_no_answer,
    "
    0       app   connect
    +0      >>    S   0:0
    10ms    <<    .   1:1    ack 1
    +0      <<    -   1:101
    +0      <<    F   0:0
    1s      >>    S   0:0
"
);

script!(
    the_third_segment_may_be_lost,
    "
    0       app   listen
    0       <<    S   0:0    win 65535
    +0      >>    S.  0:0    ack 1
    +10ms   <<    .   1:101  ack 1
    +0      event established
    +0      >>    .   1:1    ack 101
    +0      app   recv 100
    +0      <<2   S   0:0    win 65535
    +0      >>2   S.  0:0    ack 1
    +10ms   <<2   F.  1:11   ack 1
    +0      event2 established
    +0      event2 finished
    +0      >>2   .   1:1    ack 12
    +0      app2  recv 10
"
);

// RFC 9293 section 3.10.7.4, fifth: <SEQ=SEG.ACK><CTL=RST>.
script!(
    a_wrong_third_segment_is_reset,
    "
    0       app   listen
    0       <<    S   0:0    win 65535
    +0      >>    S.  0:0    ack 1
    +10ms   <<    .   1:1    ack 5
    +0      >>    R   5:5
    +0      <<    .   1:1    ack 0
    +0      >>    R   0:0
    +10ms   <<    .   1:1    ack 1
    +0      event established
"
);

// RFC 9293 section 3.10.7.4, first and second, and RFC 5961 section 3.2, in SYN-RECEIVED: only a reset outside the window is dropped.
script!(
    what_is_out_of_place_in_a_handshake_is_answered,
    "
    0       app   listen
    0       <<    S   0:0    win 65535
    +0      >>    S.  0:0    ack 1
    +10ms   <<    R   5:5                # in the window
    +0      >>    S.  0:0    ack 1
    +10ms   <<    R   500000:500000
    +10ms   none
    +0      <<    .   500000:500100 ack 1
    +0      >>    S.  0:0    ack 1
    +10ms   <<    .   1:1    ack 1
    +0      event established
    +5s     none
"
);

// The peer was restarted in the middle of the handshake: the answer has it reset what is left of that, and its SYN may open.
script!(
    another_syn_in_a_handshake_is_answered,
    "
    0       app   listen
    0       <<    S   0:0    win 65535
    +0      >>    S.  0:0    ack 1
    500ms   <<    S   900000:900000 win 65535
    +0      >>    S.  0:0    ack 1
    +10ms   <<    R   1:1
    +0      info  gone
    +0      peer  new +900000
    +0      <<    S   0:0    win 65535
    +0      >>    S.  0:0    ack 1
    +10ms   <<    .   1:1    ack 1
    +0      event established
"
);

// RFC 9293 section 3.10.7.4, first: whatever flags it has besides, a reset outside the window is dropped, and answered by nothing.
script!(
    a_reset_in_a_handshake_is_no_syn,
    "
    0       app   listen
    0       <<    S   0:0    win 65535
    +0      >>    S.  0:0    ack 1
    +10ms   <<    SR  0:0
    +10ms   none
    +0      <<    SR. 0:0    ack 1
    +10ms   none
    +0      <<    .   1:1    ack 1
    +0      event established
    +5s     none
"
);

// RFC 5961 section 7.
script!(
    answers_in_a_handshake_are_limited,
    "
    0       app   listen
    0       <<    S   0:0    win 65535
    +0      >>    S.  0:0    ack 1
    +10ms   <<    .   100000:100001 ack 1
    +0      >>    S.  0:0    ack 1
    +0      <<    .   100000:100001 ack 1
    +0      >>    S.  0:0    ack 1
    +0      <<    .   100000:100001 ack 1
    +0      >>    S.  0:0    ack 1
    +0      <<    .   100000:100001 ack 1
    +0      >>    S.  0:0    ack 1
    +0      <<    .   100000:100001 ack 1
    +0      >>    S.  0:0    ack 1
    +0      <<    .   100000:100001 ack 1
    +0      >>    S.  0:0    ack 1
    +0      <<    .   100000:100001 ack 1
    +0      >>    S.  0:0    ack 1
    +0      <<    .   100000:100001 ack 1
    +0      >>    S.  0:0    ack 1
    +0      <<    .   100000:100001 ack 1
    +0      >>    S.  0:0    ack 1
    +0      <<    .   100000:100001 ack 1
    +0      >>    S.  0:0    ack 1
    +0      <<    .   100000:100001 ack 1
    +500ms  none
    1010ms  >>    S.  0:0    ack 1
"
);

// RFC 9293 section 3.10.7.2.
script!(
    a_listener_takes_nothing_but_syns,
    "
    0       app   listen
    0       <<    R   0:0
    +0      <<    R.  0:0    ack =9
    +0      <<    -   0:10
    +0      <<    F   0:0
    +10ms   none
    +0      <<    .   0:0    ack =9
    +0      >>    R   =9
    +0      <<    S.  0:0    ack =10
    +0      >>    R   =10
    +0      <<    SR  0:0
    +0      <<    SF  0:0
    +10ms   none
    +0      <<    SF. 0:0    ack =11
    +0      >>    R   =11
"
);

// RFC 9293 section 3.10.7.1.
script!(
    a_closed_port_answers_with_resets,
    "
    0       <<    S   0:0    win 65535
    +0      >>    R.  =0     ack 1
    +0      <<    S   0:100  win 65535
    +0      >>    R.  =0     ack 101
    +0      <<    SF  0:0
    +0      >>    R.  =0     ack 2
    +0      <<    -   5:15
    +0      >>    R.  =0     ack 15
    +0      <<    .   5:15   ack =77
    +0      >>    R   =77
    +0      <<    R   5:5
    +0      <<    R.  5:5    ack =77
    +1s     none
"
);

// Without TCP Fast Open data on a SYN is not used before the handshake is complete; it may be left to be sent again.
script!(
    data_on_a_syn_is_not_delivered_early,
    "
    0       app   listen
    0       <<    S   0:100  win 65535
    +0      >>    S.  0:0    ack 1
    +10ms   <<    .   1:101  ack 1
    +0      event established
    +0      >>    .   1:1    ack 101
    +0      app   recv 100
"
);

script!(
    data_on_a_syn_ack_arrives_in_the_end,
    "
    0       app   connect
    +0      >>    S   0:0
    +10ms   <<    S.  0:100  ack 1 win 65535 mss 1000
    +0      >>    .   1:1    ack *
    +0      event established
    +300ms  <<    .   1:101  ack 1
    +0      >>    .   1:1    ack 101
    +0      app   recv 100
"
);

// The third segment was lost, so the peer repeats its SYN/ACK.
script!(
    a_repeated_syn_ack_is_acknowledged_again,
    "
    0       app   connect
    +0      >>    S   0:0
    +10ms   <<    S.  0:0    ack 1 win 65535 mss 1000
    +0      >>    .   1:1    ack 1
    +1s     <<    S.  0:0    ack 1 win 65535 mss 1000
    +0      >>    .   1:1    ack 1
    +0      info  established 1
    +60s    none
"
);

script!(
    a_verdict_drops_or_refuses_a_syn,
    "
    0       app   listen
    0       app   syn drop
    +0      <<    S   0:0    win 65535
    +1s     none
    +0      app   syn reset
    +0      <<    S   0:0    win 65535
    +0      >>    R.  =0     ack 1
    +0      app   syn accept
    +0      <<    S   0:0    win 65535
    +0      >>    S.  0:0    ack 1
    +10ms   <<    .   1:1    ack 1
    +0      event established
"
);
