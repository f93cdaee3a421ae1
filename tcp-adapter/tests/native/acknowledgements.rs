//! When what arrives is acknowledged (RFC 9293 section 3.8.6.3, RFC 5681 section 4.2).

// A sender in slow start needs every acknowledgement.
script!(
    a_connection_begins_with_quick_acknowledgements,
    "
    0       open  mss 1000
    +0      <<    .   1:1001    ack 1
    +0      >>    .   1:1       ack 1001
    +0      <<    .   1001:2001 ack 1
    +0      >>    .   1:1       ack 2001
    +0      <<    .   2001:2101 ack 1
    +0      >>    .   1:1       ack 2101
"
);

// RFC 9293 MUST-58 and SHLD-18: every second segment at once, a single one after less than half a second.
script!(
    every_second_segment_is_acknowledged_at_once,
    "
    0       open  mss 1000
    +0      <<    .   1:16001   by 1000 ack 1     # the quick ones
    +0      >>*   .   1:1
    +0      app   recv 16000
    +0      >>*   .   1:1
    +10ms   none
    +0      <<    .   16001:17001 ack 1
    +1ms..40ms >> .   1:1       ack 17001
    +0      <<    .   17001:18001 ack 1
    +0      <<    .   18001:19001 ack 1
    +0      >>    .   1:1       ack 19001
"
);

script!(
    the_delay_is_a_setting,
    "
    stack delayed_ack 0ms
    0       open  mss 1000
    +0      <<    .   1:20001   by 1000 ack 1
    +0      >>*   .   1:1
    +10ms   none
    +0      <<    .   20001:20101 ack 1
    +0..1ms >>    .   1:1       ack 20101
"
);

// RFC 5681 section 4.2: a gap, what is beyond it, and what fills it.
script!(
    gaps_are_told_at_once,
    "
    0       open  mss 1000
    +0      <<    .   1:20001   by 1000 ack 1
    +50ms   >>*   .   1:1
    +0      app   recv 20000
    +0      >>*   .   1:1
    +1ms    <<    .   21001:22001 ack 1
    +0      >>    .   1:1       ack 20001
    +1ms    <<    .   22001:23001 ack 1
    +0      >>    .   1:1       ack 20001
    +1ms    <<    .   20001:20501 ack 1
    +0      >>    .   1:1       ack 20501
    +1ms    <<    .   20501:21001 ack 1
    +0      >>    .   1:1       ack 23001
    +0      app   recv 3000
"
);

script!(
    acknowledgements_ride_on_data,
    "
    0       open  mss 1000
    +0      <<    .   1:16001   by 1000 ack 1
    +50ms   >>*   .   1:1
    +0      app   recv 16000
    +0      >>*   .   1:1
    +0      <<    .   16001:16101 ack 1
    +0      app   send 100
    +0      >>    .   1:101     ack 16101
    +10ms   <<    .   16101:16101 ack 101
    +1s     none
"
);

script!(
    the_layer_above_may_acknowledge,
    "
    0       open  mss 1000
    +0      app   ack_now
    +0      >>    .   1:1       ack 1
    +1s     none
"
);

// A FIN must not wait.
script!(
    a_fin_is_acknowledged_at_once,
    "
    0       open  mss 1000
    +0      <<    .   1:16001   by 1000 ack 1
    +50ms   >>*   .   1:1
    +0      <<    F.  16001:16101 ack 1
    +0      >>    .   1:1       ack 16102
"
);

script!(
    bare_acknowledgements_are_not_answered,
    "
    0       open  mss 1000
    +0      <<    .   1:1       ack 1
    +0      <<    .   1:1       ack 1 win 4000
    +0      <<    .   1:1       ack 1 win 5000
    +1s     none
"
);
