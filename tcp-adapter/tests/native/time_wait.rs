//! TIME-WAIT (RFC 9293 sections 3.6.1 and 3.10.7.4, RFC 6191).

script!(
    a_repeated_fin_is_acknowledged,
    "
    stack time_wait 10s
    0       open
    +0      app   shutdown
    +0      >>    F.  1:1      ack 1
    +10ms   <<    F.  1:1      ack 2
    +0      >>    .   2:2      ack 2
    +0      event closed normal
    +1s     <<    F.  1:1      ack 2
    +0      >>    .   2:2      ack 2
    +8s     <<    F.  1:1      ack 2        # the wait starts again
    +0      >>    .   2:2      ack 2
    +9s     <<    F.  1:1      ack 2
    +0      >>    .   2:2      ack 2
    +11s    <<    F.  1:1      ack 2        # over
    +0      >>    R   2:2
"
);

script!(
    old_data_is_answered_and_dropped,
    "
    0       open
    +0      <<    .   1:101    ack 1
    +0      >>    .   1:1      ack 101
    +0      app   shutdown
    +0      >>    F.  1:1      ack 101
    +10ms   <<    F.  101:101  ack 2
    +0      >>    .   2:2      ack 102
    +10ms   <<    .   1:101    ack 1
    +0      >>    .   2:2      ack 102
    +0      <<    .   102:102  ack 2
    +1s     none
"
);

// RFC 1337: a reset must not end it.
script!(
    a_reset_does_not_end_it,
    "
    0       open
    +0      app   shutdown
    +0      >>    F.  1:1      ack 1
    +10ms   <<    F.  1:1      ack 2
    +0      >>    .   2:2      ack 2
    +0      <<    R   2:2
    +0      <<    F.  1:1      ack 2
    +0      >>    .   2:2      ack 2
"
);

// RFC 9293 section 3.10.7.4, MAY-2: by the sequence number.
script!(
    a_new_syn_beyond_the_old_connection_opens,
    "
    0       open
    +0      app   shutdown
    +0      >>    F.  1:1      ack 1
    +10ms   <<    F.  1:1      ack 2
    +0      >>    .   2:2      ack 2
    +0      peer  new +3
    +1s     <<    S   0:0      win 65535
    +0      >>    S.  0:0      ack 1
    +10ms   <<    .   1:1      ack 1
    +0      event established
    +0      <<    .   1:101    ack 1
    +0      >>    .   1:1      ack 101
    +0      app   recv 100
"
);

script!(
    an_old_syn_opens_nothing,
    "
    0       open
    +0      app   shutdown
    +0      >>    F.  1:1      ack 1
    +10ms   <<    F.  1:1      ack 2
    +0      >>    .   2:2      ack 2
    +1s     <<    S   0:0      win 65535
    +0      >>*   .   2:2      ack 2
    +0      <<    S   -5000:-5000 win 65535
    +0      >>*   .   2:2      ack 2
    +1s     <<    F.  1:1      ack 2
    +0      >>    .   2:2      ack 2
"
);

// RFC 6191 section 2: by the timestamp, even if the sequence number is smaller.
script!(
    a_syn_with_a_newer_timestamp_opens,
    "
    0       open  ts
    +0      app   shutdown
    +0      >>    F.  1:1      ack 1
    +10ms   <<    F.  1:1      ack 2 ts 1020/last
    +0      >>    .   2:2      ack 2 ts */1020
    +0      peer  new -100000
    +1s     <<    S   0:0      win 65535 ts 2000/0
    +0      >>    S.  0:0      ack 1 ts */2000
    +10ms   <<    .   1:1      ack 1 ts 2010/last
    +0      event established
"
);

script!(
    a_syn_with_an_older_timestamp_opens_nothing,
    "
    0       open  ts
    +0      app   shutdown
    +0      >>    F.  1:1      ack 1
    +10ms   <<    F.  1:1      ack 2 ts 1020/last
    +0      >>    .   2:2      ack 2
    +1s     <<    S   100000:100000 win 65535 ts 1019/0
    +0      >>*   .   2:2      ack 2
    +1s     <<    F.  1:1      ack 2 ts 1021/last
    +0      >>    .   2:2      ack 2
"
);
