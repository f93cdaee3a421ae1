//! Options of the header (RFC 9293 sections 3.1, 3.2 and 3.7.1, RFC 7323 section 2.3).

script!(
    segments_fit_the_mss_of_the_peer,
    "
    0       open  mss 200
    +0      app   send 1000
    +0      >>    .   1:1001   by 200 ack 1
    +10ms   <<    .   1:1      ack 1001
    +0      open2 mss 9000                 # our own MTU limits
    +0      app2  send 4000
    +0      >>2   .   1:4001   by 1460 ack 1
    +10ms   <<2   .   1:1      ack 4001
    +0      <<3   S   0:0      win 65535   # none: RFC 9293 section 3.7.1
    +0      >>3   S.  0:0      ack 1
    +10ms   <<3   .   1:1      ack 1
    +0      app3  send 1000
    +0      >>3   .   1:1001   by 536 ack 1
"
);

// The MSS does not count options (RFC 6691).
script!(
    options_take_room_from_the_payload,
    "
    0       open  mss 1000 ts
    +0      app   send 2000
    +0      >>    .   1:1977   by 988 ack 1 ts 10/1001
    +0      >>    .   1977:2001 ack 1 ts 10/1001
    +10ms   <<    .   1:1      ack 2001 ts 1020/last
    +0      open2 mss 1000
    +0      app2  option fd080102.03040506
    +0      app2  send 2000
    +0      >>2   .   1:1985   by 992 ack 1 opt 253:010203040506
    +0      >>2   .   1985:2001 ack 1 opt 253:010203040506
"
);

script!(
    a_tiny_mss_does_not_make_tiny_segments_or_none,
    "
    0       open  mss 1
    +0      app   send 100
    +0      >>    .   1:89     ack 1
    +0      >>    .   89:101   ack 1
    +10ms   <<    .   1:1      ack 101
    +0      open2 mss 0
    +0      app2  send 100
    +0      >>2   .   1:101    ack 1
"
);

// RFC 9293 MUST-5, MUST-6, MUST-7: known options anywhere, unknown ones skipped, malformed ones without harm.
script!(
    unknown_and_malformed_options_do_no_harm,
    "
    0       app   listen
    0       <<    S   0:0   win 65535 rawopt 01.01 opt 200:010203 mss 1000 rawopt 01.fd02 sackOK
    +0      >>    S.  0:0   ack 1 sackOK
    +10ms   <<    .   1:1   ack 1 rawopt 00ff.ffff
    +0      event established
    +0      info  mss 1000
    +0      <<    .   1:11  ack 1 rawopt fe00.0000          # a length of 0
    +0      >>    .   1:1   ack 11
    +0      <<    .   11:21 ack 1 rawopt fe01.0000          # a length of 1
    +0      >>    .   1:1   ack 21
    +0      <<    .   21:31 ack 1 rawopt fe50.0000          # beyond the header
    +0      >>    .   1:1   ack 31
    +0      <<    .   31:41 ack 1 rawopt 0101.01fe          # no length at all
    +0      >>    .   1:1   ack 41
    +0      <<    .   41:51 ack 1 rawopt 0502.0508.00000001.00000000  # blocks cut off
    +0      >>    .   1:1   ack 51
    +0      app   recv 50
"
);

// An option of the wrong length is as good as none.
script!(
    syn_options_of_wrong_length_are_ignored,
    "
    0       app   listen
    0       <<    S   0:0   win 65535 rawopt 0203.0501.0302.0403.0108.0600.0000
    +0      >>    S.  0:0   ack 1 no wscale no sackOK no ts
    +10ms   <<    .   1:1   ack 1
    +0      event established
    +0      info  mss 536
"
);

// RFC 9293 section 3.2, RFC 2018 section 2, RFC 7323 sections 2.2 and 3.2: they mean something on a SYN only.
script!(
    options_of_syns_mean_nothing_later,
    "
    0       open  mss 1000
    +0      <<    .   1:11  ack 1 mss 200 sackOK wscale 14 ts 5/5
    +0      >>    .   1:1   ack 11 no ts
    +0      info  mss 1000
    +0      <<    .   21:31 ack 1
    +0      >>    .   1:1   ack 11 no sack
    +0      app   send 1000
    +0      >>    .   1:1001 ack 11
"
);

// RFC 7323 section 2.3: a shift beyond 14 is taken for 14.
script!(
    the_window_shift_is_14_at_most,
    "
    0       app   listen
    0       <<    S   0:0   win 65535 mss 1460 wscale 15
    +0      >>    S.  0:0   ack 1 wscale *
    +10ms   <<    .   1:1   ack 1 rawwin 1
    +0      app   send 60000
    +0      >>    .   1:14601 by 1460 ack 1
    +10ms   <<    .   1:1   ack 2921 rawwin 1
    +0      <<    .   1:1   ack 5841 rawwin 1
    +0      <<    .   1:1   ack 8761 rawwin 1
    +0      <<    .   1:1   ack 11681 rawwin 1
    +0      <<    .   1:1   ack 14601 rawwin 1
    +0      >>*   .   *     ack 1
    +0      info  in_flight 14601..16384 cwnd >20000
"
);

// RFC 7323 section 2.2: the window of a SYN is never scaled, that of everything else always.
script!(
    windows_are_scaled_except_in_syns,
    "
    stack congestion reno
    0       app   listen
    0       <<    S   0:0   win 2000 mss 1000 wscale 7
    +0      >>    S.  0:0   ack 1 wscale *
    +10ms   <<    .   1:1   ack 1 rawwin 24       # 3072 bytes
    +0      app   send 10000
    +0      >>    .   1:3001 by 1000 ack 1
    +10ms   <<    .   1:1   ack 3001 rawwin 16    # 2048 bytes
    +0      >>    .   3001:5001 by 1000 ack 1
    +10ms   <<    .   1:1   ack 5001 rawwin 500
    +0      >>    .   5001:10001 by 1000 ack 1
"
);

script!(
    what_is_switched_off_is_not_offered,
    "
    stack sack off
    stack timestamps off
    stack window_scaling off
    0       app   connect
    +0      >>    S   0:0   mss 1460 no sackOK no wscale no ts
    +1ms    <<    S.  0:0   ack 1 win 65535 mss 1460 sackOK wscale 7 ts 5/0
    +0      >>    .   1:1   ack 1 no ts
    +0      app2  listen
    +0      <<2   S   0:0   win 65535 mss 1460 sackOK wscale 7 ts 5/0
    +0      >>2   S.  0:0   ack 1 no sackOK no wscale no ts
    +1ms    <<2   .   1:1   ack 1 rawwin 5000
    +0      <<2   .   11:21 ack 1 rawwin 5000
    +0      >>2   .   1:1   ack 1 no sack
"
);
