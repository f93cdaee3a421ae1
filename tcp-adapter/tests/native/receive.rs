//! Putting what arrives into order (RFC 9293 section 3.10.7.4), whatever its extents.

script!(
    overlapping_segments_are_put_together,
    "
    0       open  mss 1000
    +0      <<    .   1:101     ack 1
    +0      >>    .   1:1       ack 101
    +0      <<    .   51:201    ack 1              # begins in what is known
    +0      >>    .   1:1       ack 201
    +0      <<    .   1:301     ack 1              # contains all that is known
    +0      >>    .   1:1       ack 301
    +0      <<    .   250:260   ack 1              # is contained
    +0      >>    .   1:1       ack 301
    +0      <<    .   401:501   ack 1
    +0      >>    .   1:1       ack 301
    +0      <<    .   351:451   ack 1              # ends in what is beyond the gap
    +0      >>    .   1:1       ack 301
    +0      <<    .   471:551   ack 1              # begins in it
    +0      >>    .   1:1       ack 301
    +0      <<    .   601:701   ack 1
    +0      >>    .   1:1       ack 301
    +0      <<    .   321:721   ack 1              # covers all of it
    +0      >>    .   1:1       ack 301
    +0      <<    .   291:331   ack 1              # closes the gap from both sides
    +0      >>    .   1:1       ack 721
    +0      app   recv 720
    +0      info  rcv_nxt 720
"
);

// What is known stays as it was: a forger must not change it afterwards.
script!(
    what_is_known_is_not_overwritten,
    "
    0       open  mss 1000
    +0      <<    .   1:101     ack 1
    +0      >>    .   1:1       ack 101
    +0      <<    .   1:101     ack 1 fill 0x61
    +0      >>    .   1:1       ack 101
    +0      <<    .   51:101    ack 1 fill 0x62
    +0      >>    .   1:1       ack 101
    +0      app   recv 100
"
);

script!(
    segments_in_reverse_order_arrive_in_order,
    "
    0       open  mss 1000
    +0      <<    .   4001:5001 ack 1
    +0      >>    .   1:1       ack 1
    +0      <<    .   3001:4001 ack 1
    +0      >>    .   1:1       ack 1
    +0      <<    .   2001:3001 ack 1
    +0      >>    .   1:1       ack 1
    +0      <<    .   1001:2001 ack 1
    +0      >>    .   1:1       ack 1
    +0      event no readable
    +0      <<    .   1:1001    ack 1
    +0      >>    .   1:1       ack 5001
    +0      event readable
    +0      app   recv 5000
"
);

// What lies beyond the window is cut off, FIN included.
script!(
    segments_are_cut_to_the_window,
    "
    stack recv_buffer 2000
    0       app   listen
    0       <<    S   0:0       win 65535 mss 1000
    +0      >>    S.  0:0       ack 1 win 2000
    +10ms   <<    .   1:1       ack 1
    +0      <<    F.  1:3001    ack 1
    +0      >>    .   1:1       ack 2001 win 0
    +0      event no finished
    +0      app   recv 2000
    +0      >>    .   1:1       ack 2001 win >=1000
    +0      <<    F.  2001:3001 ack 1
    +0      >>    .   1:1       ack 3002
    +0      event finished
    +0      app   recv 1000
"
);

// RFC 9293 section 3.8.5, RFC 6093: urgent data is data, in line.
script!(
    urgent_data_is_data,
    "
    0       open  mss 1000
    +0      <<    .U  1:101     ack 1 urg 50
    +0      >>    .   1:1       ack 101
    +0      <<    P.U 101:201   ack 1 urg 65535
    +0      >>    .   1:1       ack 201
    +0      <<    .U  201:301   ack 1 urg 0
    +0      >>    .   1:1       ack 301
    +0      <<    .U  301:301   ack 1 urg 9
    +40ms   >>*   .   1:1       ack 301
    +0      app   recv 300
    +0      app   send 100
    +0      >>    .   1:101     ack 301 urg 0
"
);

script!(
    old_duplicates_are_answered_and_dropped,
    "
    0       open  mss 1000
    +0      <<    .   1:2001    by 1000 ack 1
    +0      >>    .   1:1       ack 1001
    +0      >>    .   1:1       ack 2001
    +0      app   recv 2000
    +0      >>*   .   1:1       ack 2001
    +0      <<    .   1:1001    ack 1
    +0      >>    .   1:1       ack 2001
    +0      <<    .   1001:2001 ack 1
    +0      >>    .   1:1       ack 2001
    +0      app   recv 0
"
);

// A dropped segment was never there.
script!(
    the_layer_above_may_drop_segments,
    "
    0       open  mss 1000
    +0      app   verdict drop
    +0      <<    .   1:1001    ack 1
    +1s     none
    +0      app   verdict accept
    +0      app   recv 0
    +0      <<    .   1:1001    ack 1
    +0      >>    .   1:1       ack 1001
    +0      app   recv 1000
    +0      >>*   .   1:1       ack 1001
    +0      app   verdict reset
    +0      <<    .   1001:2001 ack 1
    +0      >>    R.  1:1       ack *
    +0      event closed aborted
"
);
