//! The path's MTU, and other news by ICMP (RFC 1191, RFC 8201, RFC 4821, RFC 5927).

script!(
    a_smaller_path_makes_smaller_segments,
    "
    0       open  mss 1460
    +0      app   send 14600
    +0      >>    .   1:14601    by 1460 ack 1
    +10ms   <<    icmp frag-needed mtu 1000 for 1:1461
    +0      >>    .   1:961      ack 1
    +0      >>*   .   *          ack 1
    +0      info  mss 960
    +10ms   <<    .   1:1        ack 14601
    +0      app   send 1920
    +0      >>    .   14601:16521 by 960 ack 1
"
);

// RFC 5927 section 4.1: about what is not outstanding it is forged.
script!(
    reports_about_other_segments_are_ignored,
    "
    0       open  mss 1460
    +0      app   send 1460
    +0      >>    .   1:1461     ack 1
    +10ms   <<    .   1:1        ack 1461
    +0      app   send 1460
    +0      >>    .   1461:2921  ack 1
    +0      <<    icmp frag-needed mtu 1000 for 1:1461
    +0      <<    icmp frag-needed mtu 1000 for 2921:4381
    +0      <<    icmp frag-needed mtu 1000 for 500000:501460
    +0      <<    icmp frag-needed mtu 1000 for -1461:-1
    +0      info  mss 1460
    +0      none
"
);

// In the middle of a repair: what is sent again is shorter at once, and acknowledgements may cut it anywhere.
script!(
    a_path_may_become_smaller_during_a_repair,
    "
    0       open  mss 1460 sackOK rtt 100ms
    +0      app   send 14600
    +0      >>    .   1:14601    by 1460 ack 1
    +100ms  <<    .   1:1        ack 1 sack 1461:7301
    +0      >>    .   1:1461     ack 1
    +10ms   <<    icmp frag-needed mtu 1000 for 1:1461
    +0      >>*   .   *          ack 1
    +90ms   <<    .   1:1        ack 961 sack 1461:7301
    +0      >>*   .   *          ack 1
    +100ms  <<    .   1:1        ack 14601
    +0      info  in_flight 0 timeouts 0 mss 960
    +60s    none
"
);

// RFC 1191 section 3: never more; RFC 5927 section 7: nor so little that it does harm.
script!(
    reports_that_make_no_sense_are_ignored_or_limited,
    "
    0       open  mss 1460
    +0      app   send 1460
    +0      >>    .   1:1461     ack 1
    +0      <<    icmp frag-needed mtu 9000 for 1:1461
    +0      <<    icmp frag-needed mtu 1500 for 1:1461
    +0      none
    +0      info  mss 1460
    +0      <<    icmp frag-needed mtu 68 for 1:1461
    +0      >>*   .   *          ack 1
    +0      info  mss >=512
"
);

// RFC 1191 section 7.1: a router that does not say leaves it to be guessed.
script!(
    an_old_router_leaves_a_plateau_to_be_guessed,
    "
    0       open  mss 1460
    +0      app   send 1460
    +0      >>    .   1:1461     ack 1
    +0      <<    icmp frag-needed mtu 0 for 1:1461
    +0      >>*   .   *          ack 1
    +0      info  mss 1452
"
);

// RFC 8201 section 4: never below 1280.
script!(
    over_ipv6_a_path_carries_1280_bytes,
    "
    set ipv6
    0       open  mss 1440
    +0      app   send 4320
    +0      >>    .   1:4321     by 1440 ack 1
    +0      <<    icmp frag-needed mtu 1400 for 1:1441
    +0      >>*   .   *          ack 1
    +0      info  mss 1340
    +0      <<    icmp frag-needed mtu 600 for 1:1341
    +0      >>*   .   *          ack 1
    +0      info  mss 1220
"
);

// RFC 5927 section 5: in a connection, hard errors are soft ones. RFC 6633: a quench is nothing.
script!(
    errors_do_not_end_a_connection,
    "
    0       open  mss 1460
    +0      app   send 1460
    +0      >>    .   1:1461     ack 1
    +0      <<    icmp port-unreachable for 1:1461
    +0      <<    icmp protocol-unreachable for 1:1461
    +0      <<    icmp host-unreachable for 1:1461
    +0      <<    icmp net-unreachable for 1:1461
    +0      <<    icmp prohibited for 1:1461
    +0      <<    icmp time-exceeded for 1:1461
    +0      <<    icmp source-quench for 1:1461
    +0      none
    +0      info  established 1 cwnd 14600
    +10ms   <<    .   1:1        ack 1461
"
);

// RFC 9293 section 3.9.2.2: hard errors end an attempt, soft ones do not.
script!(
    hard_errors_end_an_attempt,
    "
    0       app   connect
    +0      >>    S   0:0
    +0      <<    icmp net-unreachable for 0
    +0      <<    icmp time-exceeded for 0
    +0      <<    icmp port-unreachable for 77
    +0      event no closed refused
    +0      <<    icmp port-unreachable for 0
    +0      event closed refused
    +0      info  gone
"
);

// RFC 4821 section 7.7, RFC 8899 section 4.3: a path that swallows large packets without a word.
script!(
    a_black_hole_is_left_with_smaller_segments,
    "
    0       open  mss 1460 rtt 100ms
    +0      app   send 4380
    +0      >>    .   1:4381     by 1460 ack 1
    +300ms  >>    .   1:1461     ack 1
    +600ms  >>    .   1:1161     ack 1
    +0      >>*   .   1161:1461  ack 1
    +0      info  mss 1160
    +100ms  <<    .   1:1        ack 1161
    +0      >>*   .   *          ack 1
    +100ms  <<    .   1:1        ack 4381
    +60s    none
"
);

// A path that has become wide again is found after ten minutes (RFC 1191 section 6.3).
script!(
    a_larger_path_is_found_again,
    "
    0       open  mss 1460
    +0      app   send 1460
    +0      >>    .   1:1461     ack 1
    +0      <<    icmp frag-needed mtu 1000 for 1:1461
    +0      >>*   .   *          ack 1
    +10ms   <<    .   1:1        ack 1461
    +5min   app   send 960
    +0      >>    .   1461:2421  ack 1
    +10ms   <<    .   1:1        ack 2421
    +10min  app   send 960
    +0      >>    .   2421:3381  ack 1
    +10ms   <<    .   1:1        ack 3381
    +1s     app   send 1460
    +0      >>    .   3381:4841  ack 1
"
);
