//! TCP Fast Open (RFC 7413).

// Section 3: the cookie is asked for once, and then the data comes with the SYN. The server answers before the handshake is
// complete.
script!(
    a_listener_takes_data_of_who_brings_its_cookie,
    "
    0       app    listen fast 10
    +0      <<     S   0:0    win 65535 mss 1460 opt 34:
    +0      >>     S.  0:0    ack 1 opt 34:*
    +10ms   <<     .   1:1    ack 1
    +0      event  established
    +0      <<2    S   0:100  win 65535 mss 1460 opt 34:last
    +0      event2 established
    +0      event2 readable
    +0      >>2    S.  0:0    ack 101 no 34
    +0      app2   recv 100
    +0      app2   send 2000
    +0      >>2    .   1:1461 ack 101
    +0      >>2    .   1461:2001 ack 101
    +10ms   <<2    .   101:101 ack 1
    +0      <<2    .   101:101 ack 2001
    +0      info2  established 1 in_flight 0 rcv_nxt 100 srtt 10ms
    +0      <<2    .   101:201 ack 2001
    +0      >>2    .   2001:2001 ack 201
    +0      app2   recv 100
    +60s    none
"
);

// RFC 9293 section 3.8.6: the window of the SYN/ACK counts from what it acknowledges on, and what it promises is taken.
script!(
    the_window_of_the_answer_begins_after_the_data_of_the_syn,
    "
    0       app    listen fast 10
    +0      <<     S   0:0    win 65535 mss 1460 opt 34:
    +0      >>     S.  0:0    ack 1 opt 34:*
    +10ms   <<     .   1:1    ack 1
    +0      <<2    S   0:1000 win 65535 mss 1460 sackOK opt 34:last
    +0      >>2    S.  0:0    ack 1001 win 64535
    +10ms   <<2    .   2001:65536 ack 1
    +0      >>2    .   1:1    ack 1001 sack 2001:65536
    +0      app2   recv 1000
"
);

// Section 4.2.2: otherwise the data is dropped, and the right cookie handed out. A cookie is for one address.
script!(
    a_wrong_cookie_gets_the_right_one_and_a_usual_handshake,
    "
    0       app    listen fast 10
    +0      <<     S   0:100  win 65535 mss 1460 opt 34:010203040506
    +0      >>     S.  0:0    ack 1 opt 34:*
    +0      event  no established
    +10ms   <<     .   1:101  ack 1
    +0      event  established
    +0      >>     .   1:1    ack 101
    +0      app    recv 100
    +0      <<2    S   0:100  win 65535 mss 1460 opt 34:last
    +0      >>2    S.  0:0    ack 101
    +0      app2   recv 100
    +10ms   <<2    .   101:101 ack 1
"
);

script!(
    a_listener_that_was_not_asked_to_ignores_the_option,
    "
    0       app    listen
    +0      <<     S   0:0    win 65535 mss 1460 opt 34:
    +0      >>     S.  0:0    ack 1 no 34
    +10ms   <<     .   1:1    ack 1
    +0      <<2    S   0:100  win 65535 mss 1460 opt 34:0102030405060708
    +0      >>2    S.  0:0    ack 1 no 34
    +10ms   <<2    .   1:101  ack 1
    +0      >>2    .   1:1    ack 101
    +0      app2   recv 100
"
);

// Section 4.1.1: options of impossible lengths are ignored, and those on segments without SYN.
script!(
    impossible_options_are_ignored,
    "
    0       app    listen fast 10
    +0      <<     S   0:100  win 65535 mss 1460 opt 34:010203
    +0      >>     S.  0:0    ack 1 no 34
    +0      <<2    S   0:100  win 65535 mss 1460 opt 34:0102030405
    +0      >>2    S.  0:0    ack 1 no 34
    +0      <<3    S   0:0    win 65535 mss 1460
    +0      >>3    S.  0:0    ack 1 no 34
    +10ms   <<3    .   1:1    ack 1 opt 34:
    +0      event3 established
    +0      <<3    .   1:101  ack 1 opt 34:010203040506
    +0      >>3    .   1:1    ack 101 no 34
    +0      app3   recv 100
"
);

// Section 4.2: no more than so many at a time; what is beyond is opened as usual.
script!(
    pending_opens_are_limited,
    "
    0       app    listen fast 2
    +0      <<     S   0:0    win 65535 mss 1460 opt 34:
    +0      >>     S.  0:0    ack 1 opt 34:*
    +10ms   <<     .   1:1    ack 1
    +0      <<2    S   0:10   win 65535 mss 1460 opt 34:last
    +0      >>2    S.  0:0    ack 11
    +0      <<3    S   0:10   win 65535 mss 1460 opt 34:last
    +0      >>3    S.  0:0    ack 11
    +0      <<4    S   0:10   win 65535 mss 1460 opt 34:last
    +0      >>4    S.  0:0    ack 1 no 34
    +10ms   <<2    .   11:11  ack 1
    +0      <<5    S   0:10   win 65535 mss 1460 opt 34:last
    +0      >>5    S.  0:0    ack 11
    +10ms   <<5    .   11:11  ack 1
    +0      <<3    .   11:11  ack 1
    +0      <<4    .   1:1    ack 1
"
);

// Section 5.1: those that are reset count for a while.
script!(
    a_reset_does_not_make_room_at_once,
    "
    0       app    listen fast 1
    +0      <<     S   0:0    win 65535 mss 1460 opt 34:
    +0      >>     S.  0:0    ack 1 opt 34:*
    +10ms   <<     .   1:1    ack 1
    +0      <<2    S   0:10   win 65535 mss 1460 opt 34:last
    +0      >>2    S.  0:0    ack 11
    +0      app2   recv 10
    +10ms   <<2    R   11:11
    +0      event2 closed reset
    +0      <<3    S   0:10   win 65535 mss 1460 opt 34:last
    +0      >>3    S.  0:0    ack 1
    +10ms   <<3    .   1:1    ack 1
    +60s    <<4    S   0:10   win 65535 mss 1460 opt 34:last
    +0      >>4    S.  0:0    ack 11
    +10ms   <<4    .   11:11  ack 1
"
);

// Section 4.1.2, item 5: keys are changed twice a day, and a cookie of the last one brings a new one.
script!(
    cookies_expire,
    "
    0       app    listen fast 10
    0       <<     S   0:0    win 65535 mss 1460 opt 34:
    +0      >>     S.  0:0    ack 1 opt 34:*
    +10ms   <<     .   1:1    ack 1
    +720min <<2    S   0:10   win 65535 mss 1460 opt 34:last
    +0      >>2    S.  0:0    ack 11 opt 34:*
    +10ms   <<2    .   11:11  ack 1
    +10min  <<3    S   0:10   win 65535 mss 1460 opt 34:last
    +0      >>3    S.  0:0    ack 11 no 34
    +10ms   <<3    .   11:11  ack 1
    +1440min <<4   S   0:10   win 65535 mss 1460 opt 34:last
    +0      >>4    S.  0:0    ack 1 opt 34:*
    +10ms   <<4    .   1:1    ack 1
"
);

// Section 4.2.2: what is repeated has neither data nor the option, on either side. The answer is to the first SYN all the same.
script!(
    a_lost_syn_ack_is_repeated_without_the_option,
    "
    0       app    listen fast 10
    +0      <<     S   0:0    win 65535 mss 1460 opt 34:
    +0      >>     S.  0:0    ack 1 opt 34:*
    +1s     >>     S.  0:0    ack 1 no 34
    +10ms   <<     .   1:1    ack 1
    +0      <<2    S   0:100  win 65535 mss 1460 opt 34:last
    +0      >>2    S.  0:0    ack 101
    +0      app2   recv 100
    +500ms  <<2    S   0:0    win 65535 mss 1460
    +0      >>2    S.  0:0    ack 101 no 34
    +10ms   <<2    .   101:101 ack 1
    +0      info2  established 1 rcv_nxt 100
    +60s    none
"
);

// The response was on its way before the third segment, which is lost like the SYN/ACK.
script!(
    what_answers_a_syn_early_is_sent_again,
    "
    0       app    listen fast 10
    +0      <<     S   0:0    win 65535 mss 1460 opt 34:
    +0      >>     S.  0:0    ack 1 opt 34:*
    +10ms   <<     .   1:1    ack 1
    +0      <<2    S   0:100  win 65535 mss 1460 opt 34:last
    +0      >>2    S.  0:0    ack 101
    +0      app2   recv 100
    +0      app2   send 500
    +0      >>2    .   1:501  ack 101
    +1s     >>*2   *   *      ack 101
    +10ms   <<2    .   101:101 ack 501
    +0      info2  in_flight 0 established 1
    +60s    none
"
);

// RFC 9293 section 3.10.7.4: an acknowledgement of what was never sent is of another connection.
script!(
    a_wrong_third_segment_does_not_complete_a_fast_open,
    "
    0       app    listen fast 10
    +0      <<     S   0:0    win 65535 mss 1460 opt 34:
    +0      >>     S.  0:0    ack 1 opt 34:*
    +10ms   <<     .   1:1    ack 1
    +0      <<2    S   0:100  win 65535 mss 1460 opt 34:last
    +0      >>2    S.  0:0    ack 101
    +0      app2   recv 100
    +0      <<2    .   101:101 ack -5
    +0      >>2    R   -5:-5
    +0      <<2    .   101:101 ack 5000
    +0      >>2    .   1:1    ack 101
    +63s    >>*2   *   *
    +0      event2 closed timed-out
"
);

// The cookie is kept, and brought back with data by the next connection; the MSS is kept with it (section 4.1.3).
script!(
    data_leaves_with_the_syn,
    "
    0       app    connect fast 5000 takes 0
    +0      >>     S   0:0    mss 1460 opt 34:
    +10ms   <<     S.  0:0    ack 1 win 65535 mss 1000 opt 34:0102030405060708
    +0      >>     .   1:1    ack 1
    +0      app2   connect fast 5000 takes 960
    +0      >>2    S   0:960  mss 1460 opt 34:0102030405060708
    +10ms   <<2    S.  0:0    ack 961 win 65535 mss 1000
    +0      >>2    .   961:961 ack 1
    +0      event2 established
    +0      info2  snd_una 960 in_flight 0 bytes_sent 960
    +0      app2   send 500
    +0      >>2    .   961:1461 ack 1
    +10ms   <<2    .   1:1    ack 1461
    +0      app3   connect fast 20 takes 20
    +0      >>3    S   0:20   opt 34:0102030405060708
    +10ms   <<3    S.  0:0    ack 21 win 65535 mss 1000
    +0      >>3    .   21:21  ack 1
    +0      <<3    .   1:101  ack 21
    +40ms   >>*3   .   21:21  ack 101
    +0      app3   recv 100
"
);

// Section 4.2.2: what the server did not take is sent again at once, as usual.
script!(
    what_the_server_does_not_take_is_sent_again,
    "
    0       app    connect fast 100 takes 0
    +0      >>     S   0:0    opt 34:
    +10ms   <<     S.  0:0    ack 1 win 65535 mss 1000 opt 34:0102030405060708
    +0      >>     .   1:1    ack 1
    +0      app2   connect fast 500 takes 500
    +0      >>2    S   0:500  opt 34:0102030405060708
    +10ms   <<2    S.  0:0    ack 201 win 65535 mss 1000
    +0      >>2    .   201:201 ack 1
    +0      app2   send 300
    +0      >>2    .   201:501 ack 1
    +10ms   <<2    .   1:1    ack 501
    +0      app3   connect fast 500 takes 500
    +0      >>3    S   0:500  opt 34:0102030405060708
    +10ms   <<3    S.  0:0    ack 1 win 65535 mss 1000 opt 34:0908070605040302
    +0      >>3    .   1:1    ack 1
    +0      app3   send 500
    +0      >>3    .   1:501  ack 1
    +10ms   <<3    .   1:1    ack 501
    +0      app4   connect fast 500 takes 500      # with the new cookie
    +0      >>4    S   0:500  opt 34:0908070605040302
    +10ms   <<4    S.  0:0    ack 501 win 65535 mss 1000
    +0      >>4    .   501:501 ack 1
"
);

// Section 4.1.3.1: a SYN with data that gets no answer, while one without does, is not tried again for an hour.
script!(
    what_is_dropped_on_the_way_is_not_tried_again,
    "
    0       app    connect fast 100 takes 0
    +0      >>     S   0:0    opt 34:
    +10ms   <<     S.  0:0    ack 1 win 65535 mss 1000 opt 34:0102030405060708
    +0      >>     .   1:1    ack 1
    +0      <<     R   1:1
    +0      app2   connect fast 500 takes 500
    +0      >>2    S   0:500  opt 34:0102030405060708
    +1s     >>2    S   0:0    no 34
    +10ms   <<2    S.  0:0    ack 1 win 65535 mss 1000
    +0      >>2    .   1:1    ack 1
    +0      app2   send 500
    +0      >>2    .   1:501  ack 1
    +10ms   <<2    .   1:1    ack 501
    +0      <<2    R   1:1
    +0      peer2  new +100000
    +30min  app2   connect fast 500 takes 0
    +0      >>2    S   0:0    no 34
    +10ms   <<2    S.  0:0    ack 1 win 65535 mss 1000
    +0      >>2    .   1:1    ack 1
    +0      <<2    R   1:1
    +0      peer2  new +100000
    +40min  app2   connect fast 500 takes 500
    +0      >>2    S   0:500  opt 34:0102030405060708
    +10ms   <<2    S.  0:0    ack 501 win 65535 mss 1000
    +0      >>2    .   501:501 ack 1
"
);

// The first SYN has arrived, only its answer was lost: that is no reason to leave it.
script!(
    a_lost_answer_is_no_reason_to_give_up,
    "
    0       app    connect fast 100 takes 0
    +0      >>     S   0:0    opt 34:
    +10ms   <<     S.  0:0    ack 1 win 65535 mss 1000 opt 34:0102030405060708
    +0      >>     .   1:1    ack 1
    +0      app2   connect fast 500 takes 500
    +0      >>2    S   0:500  opt 34:0102030405060708
    +1s     >>2    S   0:0    no 34
    +10ms   <<2    S.  0:0    ack 501 win 65535 mss 1000
    +0      >>2    .   501:501 ack 1
    +0      <<2    R   1:1
    +0      peer2  new +100000
    +1s     app2   connect fast 500 takes 500
    +0      >>2    S   0:500  opt 34:0102030405060708
    +10ms   <<2    S.  0:0    ack 501 win 65535 mss 1000
    +0      >>2    .   501:501 ack 1
"
);

// More than was sent cannot be acknowledged (RFC 9293 section 3.10.7.3).
script!(
    an_acknowledgement_of_more_than_the_syn_had_is_refused,
    "
    0       app    connect fast 100 takes 0
    +0      >>     S   0:0    opt 34:
    +10ms   <<     S.  0:0    ack 2 win 65535 mss 1000
    +0      >>     R   2:2
    +0      <<     S.  0:0    ack 1 win 65535 mss 1000 opt 34:0102030405060708
    +0      >>     .   1:1    ack 1
    +0      app2   connect fast 500 takes 500
    +0      >>2    S   0:500  opt 34:0102030405060708
    +10ms   <<2    S.  0:0    ack 502 win 65535 mss 1000
    +0      >>2    R   502:502
    +0      <<2    S.  0:0    ack 501 win 65535 mss 1000
    +0      >>2    .   501:501 ack 1
    +0      event2 established
"
);

// Who refuses the option is not asked again for a while, and who never answers is left alone for longer.
script!(
    servers_without_fast_open_are_remembered,
    "
    0       app    connect fast 100 takes 0
    +0      >>     S   0:0    opt 34:
    +10ms   <<     S.  0:0    ack 1 win 65535 mss 1000
    +0      >>     .   1:1    ack 1
    +0      <<     R   1:1
    +0      peer   new +100000
    +30s    app    connect fast 100 takes 0
    +0      >>     S   0:0    no 34
    +10ms   <<     S.  0:0    ack 1 win 65535 mss 1000
    +0      >>     .   1:1    ack 1
    +0      <<     R   1:1
    +0      peer   new +100000
    +40s    app    connect fast 100 takes 0
    +0      >>     S   0:0    opt 34:
    +10ms   <<     S.  0:0    ack 1 win 65535 mss 1000
    +0      >>     .   1:1    ack 1
"
);

// Over IPv6 without the MSS of the server: 1220 bytes, less the options (section 4.1.3).
script!(
    without_the_mss_of_the_server_little_is_sent,
    "
    set ipv6
    0       app    connect fast 5000 takes 0
    +0      >>     S   0:0    opt 34:
    +10ms   <<     S.  0:0    ack 1 win 65535 opt 34:0102030405060708
    +0      >>     .   1:1    ack 1
    +0      app2   connect fast 5000 takes 1180
    +0      >>2    S   0:1180 opt 34:0102030405060708
    +10ms   <<2    S.  0:0    ack 1181 win 65535
    +0      >>2    .   1181:1181 ack 1
"
);

// Data of a SYN may be acknowledged when both ends open at once, too.
script!(
    both_ends_open_at_once_with_data,
    "
    0       app    connect fast 100 takes 0
    +0      >>     S   0:0    opt 34:
    +10ms   <<     S.  0:0    ack 1 win 65535 mss 1000 opt 34:0102030405060708
    +0      >>     .   1:1    ack 1
    +0      app2   connect fast 500 takes 500
    +0      >>2    S   0:500  opt 34:0102030405060708
    +5ms    <<2    S   0:0    win 65535 mss 1000
    +0      >>2    S.  0:0    ack 1 no 34
    +5ms    <<2    S.  0:0    ack 501 win 65535 mss 1000
    +0      event2 established
    +0      >>*2   .   501:501 ack 1
    +0      app2   send 100
    +0      >>2    .   501:601 ack 1
    +10ms   <<2    .   1:1    ack 601
"
);
