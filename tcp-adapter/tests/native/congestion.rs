//! How much is sent (RFC 5681, RFC 6928, RFC 6937, RFC 3042).

// RFC 6928 section 2: ten segments, or 14600 bytes if they are larger, but two at least.
script!(
    the_initial_window_is_ten_segments,
    "
    0       open  mss 1460
    +0      app   send 100000
    +0      >>    .   1:14601    by 1460 ack 1
    +0      info  cwnd 14600 in_flight 14600 queued 85400
    +10ms   none
    +0      open2 mss 536
    +0      app2  send 10000
    +0      >>2   .   1:5361     by 536 ack 1
"
);

script!(
    larger_segments_make_fewer,
    "
    set mtu 9000
    0       open  mss 8960
    +0      app   send 100000
    +0      >>    .   1:17921    by 8960 ack 1
    +10ms   none
    +0      open2 mss 3000
    +0      app2  send 20000
    +0      >>2   .   1:12001    by 3000 ack 1
"
);

// RFC 5681 section 3.1 and RFC 3465: one segment at least and two at most for each acknowledgement.
script!(
    slow_start_grows_with_acknowledgements,
    "
    stack congestion reno
    0       open  mss 1000 rtt 100ms
    +0      app   send 100000
    +0      >>    .   1:10001    by 1000 ack 1
    +100ms  <<    .   1:1        ack 2001
    +0      info  cwnd 11000..12000
    +0      <<    .   1:1        ack 4001
    +0      info  cwnd 12000..14000
    +0      <<    .   1:1        ack 6001
    +0      <<    .   1:1        ack 8001
    +0      <<    .   1:1        ack 10001
    +0      info  cwnd 15000..20000
    +0      >>*   .   *          ack 1
"
);

// A window that the application does not use does not grow (RFC 7661).
script!(
    an_unused_window_does_not_grow,
    "
    stack congestion reno
    0       open  mss 1000 rtt 100ms
    +0      app   send 1000
    +0      >>    .   1:1001     ack 1
    +100ms  <<    .   1:1        ack 1001
    +0      app   send 1000
    +0      >>    .   1001:2001  ack 1
    +100ms  <<    .   1:1        ack 2001
    +0      info  cwnd 10000
"
);

// RFC 5681 section 4.1.
script!(
    an_idle_connection_starts_again,
    "
    stack congestion reno
    0       open  mss 1000 rtt 100ms
    +0      app   send 10000
    +0      >>    .   1:10001    by 1000 ack 1
    +100ms  <<    .   1:1        ack 2001
    +0      <<    .   1:1        ack 4001
    +0      <<    .   1:1        ack 6001
    +0      <<    .   1:1        ack 8001
    +0      <<    .   1:1        ack 10001
    +0      info  cwnd >=14000
    +10s    app   send 30000
    +0      >>    .   10001:20001 by 1000 ack 1
    +0      info  cwnd 10000
"
);

// RFC 3042: the first two duplicates let a new segment out each.
script!(
    duplicates_let_new_segments_out,
    "
    stack congestion reno
    0       open  mss 1000 sackOK rtt 100ms
    +0      app   send 20000
    +0      >>    .   1:10001    by 1000 ack 1
    +100ms  <<    .   1:1        ack 1 sack 1001:2001
    +0      >>    .   10001:11001 ack 1
    +0      <<    .   1:1        ack 1 sack 1001:3001
    +0      >>    .   11001:12001 ack 1
    +0      <<    .   1:1        ack 1 sack 1001:4001
    +0      >>    .   1:1001     ack 1
"
);

// RFC 6937 section 3: a halved window is reached by sending for every second segment that arrives.
script!(
    the_reduction_is_spread_over_a_round_trip,
    "
    stack congestion reno
    0       open  mss 1000 sackOK rtt 100ms
    +0      app   send 30000
    +0      >>    .   1:10001    by 1000 ack 1
    +100ms  <<    .   1:1        ack 1 sack 1001:4001       # three at once: one is lost, no limited transmit
    +0      >>    .   1:1001     ack 1
    +0      >>*   .   10001:11001 ack 1                     # ceil(3 * 5 / 10) = 2
    +0      <<    .   1:1        ack 1 sack 1001:5001
    +0      <<    .   1:1        ack 1 sack 1001:6001
    +0      <<    .   1:1        ack 1 sack 1001:7001
    +0      <<    .   1:1        ack 1 sack 1001:8001
    +0      <<    .   1:1        ack 1 sack 1001:9001
    +0      <<    .   1:1        ack 1 sack 1001:10001
    +0      >>    .   *          ack 1
    +0      >>    .   *          ack 1
    +0      >>    .   *          ack 1
    +0      none
    +100ms  <<    .   1:1        ack 10001
    +0      >>*   .   *          ack 1
    +0      info  cwnd 5000..6000 ssthresh 5000 timeouts 0
"
);

// RFC 5681 section 3.1, equation 4: at least two segments.
script!(
    the_threshold_is_two_segments_at_least,
    "
    stack congestion reno
    0       open  mss 1000 rtt 100ms
    +0      app   send 1000
    +0      >>    .   1:1001     ack 1
    +300ms  >>    .   1:1001     ack 1
    +0      info  cwnd 1000 ssthresh 2000
"
);

// Bytes of two chunks never share a segment, and a chunk ends its segment.
script!(
    chunks_stay_apart,
    "
    0       open  mss 1000
    +0      app   send 2500 by 300
    +0      >>    .   1:2401     by 300 ack 1
    +0      >>    .   2401:2501  ack 1
"
);

// A segment of 64 KB for a device that cuts it.
script!(
    super_segments_leave_where_the_device_cuts_them,
    "
    set offload
    0       open  mss 1000 sackOK
    +0      app   send 25000
    +0      >>    .   1:10001    ack 1 pieces 1000
    +10ms   <<    .   1:1        ack 2001
    +0      <<    .   1:1        ack 10001
    +0      >>*   .   *          ack 1
    +10ms   <<    .   1:1        ack 25001
"
);

// With pacing the window leaves over a part of the round trip instead of at once.
script!(
    pacing_spreads_a_window,
    "
    stack pacing on
    0       open  mss 1000 sackOK rtt 100ms
    +0      app   send 60000
    +0      >>*   .   *          ack 1                # the initial window, as a burst
    +1ms    none
    +0      info  in_flight 10000
    +99ms   <<    .   1:1        ack 10001
    +0      >>*   .   *          ack 1
    +0      info  in_flight 1000..8000                # of 20000
    +20ms   >>*   .   *          ack 1
    +0      info  in_flight 9000..16000
    +30ms   >>*   .   *          ack 1
    +0      info  in_flight 17000..20000
"
);

// A burst that fills the window leaves the pacer in debt. The window is in full use all the same (RFC 7661), and grows when all of it is
// acknowledged at once.
script!(
    a_window_that_one_burst_fills_grows,
    "
    stack pacing on
    stack congestion reno
    0       open  mss 1000 sackOK rtt 100ms
    +0      app   send 14000
    +0      >>*   .   *          ack 1                # what is not paced at the beginning
    +100ms  <<    .   1:1        ack 10001
    +50ms   >>*   .   *          ack 1
    +50ms   <<    .   1:1        ack 14001
    +0      app   send 6000
    +30ms   >>*   .   *          ack 1
    +70ms   <<    .   1:1        ack 14001 sack 15001:20001
    +0      >>    .   14001:15001 ack 1
    +100ms  <<    .   1:1        ack 20001
    +0      info  cwnd 3000 in_flight 0               # half of what was in flight
    +0      app   send 20000
    +0      >>    .   20001:23001 by 1000 ack 1
    +100ms  <<    .   1:1        ack 23001
    +0      info  cwnd 4000
    +50ms   >>*   .   *          ack 1
    +0      info  in_flight 4000
"
);

script!(
    a_rate_can_be_limited,
    "
    stack pacing on
    stack max_pacing_rate 10000
    0       open  mss 1000 rtt 100ms
    +0      app   send 10000
    +0      >>*   .   *          ack 1                # two segments of the usual size
    +0      info  bytes_sent 1000..3000
    +500ms  >>*   .   *          ack 1
    +0      info  bytes_sent 5000..8000
"
);

script!(
    one_connection_can_be_limited_and_released,
    "
    stack pacing on
    0       open  mss 1000 rtt 100ms
    +0      app   pace 10000
    +0      app   send 10000
    +0      >>*   .   *          ack 1                # two segments of the usual size
    +0      info  bytes_sent 1000..3000 pacing_rate 10000 max_pacing_rate 10000
    +50ms   >>*   .   *          ack 1
    +0      info  bytes_sent 1000..4000
    +0      app   pace off
    +60ms   >>*   .   *          ack 1                # as fast as the window has it: half a round trip
    +0      info  bytes_sent 10000 pacing_rate 150000..250000
"
);

// What holds for the stack holds for each of its connections.
script!(
    a_connection_cannot_exceed_the_limit_of_the_stack,
    "
    stack pacing on
    stack max_pacing_rate 10000
    0       open  mss 1000 rtt 100ms
    +0      app   pace 20000
    +0      info  max_pacing_rate 10000
    +0      app   pace 5000
    +0      info  max_pacing_rate 5000
    +0      app   pace off
    +0      info  max_pacing_rate 10000
"
);

script!(
    what_is_not_paced_cannot_be_limited,
    "
    0       open  mss 1000 rtt 100ms
    +0      app   pace 10000 -> Unsupported
    +0      app   send 10000
    +0      >>*   .   *          ack 1
    +0      info  bytes_sent 10000
"
);
