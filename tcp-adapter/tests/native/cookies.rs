//! A full backlog (RFC 4987 section 3.6).

script!(
    a_cookie_opens_a_connection,
    "
    0       app   listen backlog 2
    0       <<2   S   0:0    win 65535 mss 1000
    +0      >>2   S.  0:0    ack 1
    +0      <<3   S   0:0    win 65535 mss 1000
    +0      >>3   S.  0:0    ack 1
    +0      <<    S   0:0    win 65535 mss 1000
    +0      >>    S.  0:0    ack 1 mss 1460
    +10ms   <<    .   1:1    ack 1
    +0      event established
    +0      info  established 1 mss 500..1000
    +0      <<    .   1:101  ack 1
    +0      >>    .   1:1    ack 101
    +0      app   recv 100
    +0      app   send 500
    +0      >>    .   1:501  ack 101
"
);

script!(
    data_may_come_with_the_cookie,
    "
    0       app   listen backlog 1
    0       <<2   S   0:0    win 65535 mss 1000
    +0      >>2   S.  0:0    ack 1
    +0      <<    S   0:0    win 65535 mss 1000
    +0      >>    S.  0:0    ack 1
    +10ms   <<    .   1:101  ack 1
    +0      event established
    +0      >>    .   1:1    ack 101
    +0      app   recv 100
"
);

// The layer above has no room now: the peer, which takes the connection for open, tries again.
script!(
    the_layer_above_may_refuse_what_a_cookie_brings_back,
    "
    0       app   listen backlog 1
    0       <<2   S   0:0    win 65535 mss 1000
    +0      >>2   S.  0:0    ack 1
    +0      <<    S   0:0    win 65535 mss 1000
    +0      >>    S.  0:0    ack 1
    +0      app   syn drop
    +10ms   <<    .   1:101  ack 1
    +1ms    none
    +0      <<    .   51:101 ack 1                  # a probe for the tail, which brings no cookie back
    +1ms    none
    +0      event no established
    +0      app   syn accept
    +200ms  <<    .   1:101  ack 1
    +0      event established
    +0      >>    .   1:1    ack 101
    +0      app   recv 100
"
);

script!(
    a_wrong_cookie_is_reset,
    "
    0       app   listen backlog 1
    0       <<2   S   0:0    win 65535 mss 1000
    +0      >>2   S.  0:0    ack 1
    +0      <<    S   0:0    win 65535 mss 1000
    +0      >>    S.  0:0    ack 1
    +10ms   <<    .   1:1    ack 2
    +0      >>    R   2:2
    +0      <<    .   1:1    ack 100000
    +0      >>    R   100000:100000
    +0      <<    .   3:3    ack 1                  # for another SYN
    +0      >>    R   1:1
    +0      <<3   .   1:1    ack =12345
    +0      >>3   R   =12345
    +0      event no established
"
);

// A cookie is good for a while only: who collects them must not use them later.
script!(
    an_old_cookie_is_reset,
    "
    stack handshake_timeout 600s
    0       app   listen backlog 1
    0       <<2   S   0:0    win 65535 mss 1000
    +0      >>2   S.  0:0    ack 1
    +0      <<    S   0:0    win 65535 mss 1000
    +0      >>    S.  0:0    ack 1
    +300s   >>*2  S.  0:0    ack 1
    +0      <<    .   1:1    ack 1
    +0      >>    R   1:1
"
);

// Nothing is kept, so nothing is sent again.
script!(
    a_cookie_is_sent_once_for_each_syn,
    "
    stack handshake_timeout 3s
    0       app   listen backlog 1
    0       <<2   S   0:0    win 65535 mss 1000
    +0      >>2   S.  0:0    ack 1
    +0      <<    S   0:0    win 65535 mss 1000
    +0      >>    S.  0:0    ack 1
    +1s     >>2   S.  0:0    ack 1
    +0      <<    S   0:0    win 65535 mss 1000
    +0      >>    S.  0:0    ack 1
    +60s    >>*2
"
);

// With timestamps, what was agreed can be told from the echo.
script!(
    options_survive_in_the_timestamp,
    "
    0       app   listen backlog 1
    0       <<2   S   0:0    win 65535 mss 1000
    +0      >>2   S.  0:0    ack 1
    +0      <<    S   0:0    win 65535 mss 1000 sackOK wscale 7 ts 500/0
    +0      >>    S.  0:0    ack 1
    +10ms   <<    .   1:1    ack 1 ts 510/last
    +0      event established
    +0      <<    .   101:201 ack 1 ts 510/last
    +0      >>    .   1:1    ack 1
"
);

script!(
    without_cookies_a_full_backlog_drops,
    "
    stack syn_cookies off
    0       app   listen backlog 1
    0       <<2   S   0:0    win 65535 mss 1000
    +0      >>2   S.  0:0    ack 1
    +0      <<    S   0:0    win 65535 mss 1000
    +500ms  none
    +0      <<2   .   1:1    ack 1
    +0      event2 established
    +0      <<    S   0:0    win 65535 mss 1000
    +0      >>    S.  0:0    ack 1
"
);
