//! The retransmission timeout (RFC 6298).

// Section 2.2 and 2.3, with the values that follow from them.
script!(
    round_trip_times_are_smoothed,
    "
    stack min_rto 1ms
    0       open  rtt 100ms mss 1000
    +0      info  srtt 100ms rttvar 50ms rto 300ms min_rtt 100ms
    +0      app   send 100
    +0      >>    .   1:101    ack 1
    +200ms  <<    .   1:1      ack 101
    +0      info  srtt 112500us rttvar 62500us rto 362500us min_rtt 100ms
    +0      app   send 100
    +0      >>    .   101:201  ack 1
    +50ms   <<    .   1:1      ack 201
    +0      info  srtt 104687500ns rttvar 62500us rto 354687500ns min_rtt 50ms
"
);

// Section 5.1, 5.4 and 5.5: the oldest segment, with doubled timeouts, up to the limit (section 2.5). It is too short to
// vanish for its length.
script!(
    the_oldest_segment_is_sent_again_with_doubled_timeouts,
    "
    stack max_rto 60s
    stack user_timeout 10min
    0       open  rtt 100ms mss 1000
    +0      app   send 500
    +0      >>    .   1:501   ack 1
    +0      info  rto 300ms
    +300ms  >>    .   1:501   ack 1
    +0      info  timeouts 1
    +600ms  >>    .   1:501   ack 1
    +1200ms >>    .   1:501   ack 1
    +2400ms >>    .   1:501   ack 1
    +4800ms >>    .   1:501   ack 1
    +9600ms >>    .   1:501   ack 1
    +19200ms >>   .   1:501   ack 1
    +38400ms >>   .   1:501   ack 1
    +60s    >>    .   1:501   ack 1
    +60s    >>    .   1:501   ack 1
    +0      info  timeouts 10
    +100ms  <<    .   1:1      ack 501
    +0      info  timeouts 0 retransmissions 10
    +60s    none
"
);

// Section 3, Karn's algorithm: what was sent twice is not timed.
script!(
    retransmissions_are_not_timed,
    "
    0       open  rtt 100ms mss 1000
    +0      app   send 1000
    +0      >>    .   1:1001   ack 1
    +300ms  >>    .   1:1001   ack 1
    +10ms   <<    .   1:1      ack 1001
    +0      info  srtt 100ms rttvar 50ms
"
);

// Nor does its acknowledgement end the doubling: that waits for a measurement (section 5, Karn and Partridge).
script!(
    a_doubled_timeout_stays_until_something_is_timed,
    "
    0       open  rtt 100ms mss 1000
    +0      app   send 1000
    +0      >>    .   1:1001   ack 1
    +300ms  >>    .   1:1001   ack 1
    +500ms  <<    .   1:1      ack 1001
    +0      info  rto 600ms timeouts 0
    +0      app   send 1000
    +0      >>    .   1001:2001 ack 1
    +500ms  <<    .   1:1      ack 2001
    +0      info  srtt 150ms rttvar 137500us rto 700ms
"
);

// RFC 5681 section 3.1: a timeout of another segment leaves one segment of the window that has grown since.
script!(
    a_second_timeout_of_another_segment_reduces_the_window,
    "
    0       open  rtt 100ms mss 1000
    +0      app   send 10000
    +0      >>    .   1:10001   by 1000 ack 1
    +300ms  >>    .   1:1001    ack 1
    +100ms  <<    .   1:1       ack 1001
    +0      >>*   .   *         ack 1
    +100ms  <<    .   1:1       ack 3001
    +0      >>*   .   *         ack 1
    +0..3s  >>    .   3001:4001 ack 1
    +0      info  cwnd 1000
"
);

// Section 5.3: an acknowledgement of something new starts the timer again; section 5.2: of everything stops it.
script!(
    acknowledgements_restart_the_timer,
    "
    0       open  rtt 100ms mss 1000
    +0      app   send 2000
    +0      >>    .   1:2001   by 1000 ack 1
    +200ms  <<    .   1:1      ack 1001
    +0      info  rto 362500us
    +362500us >>  .   1001:2001 ack 1
    +100ms  <<    .   1:1      ack 2001
    +60s    none
"
);

// Duplicates do not restart it.
script!(
    duplicate_acknowledgements_do_not_restart_the_timer,
    "
    0       open  rtt 100ms mss 1000
    +0      app   send 2000
    +0      >>    .   1:2001   by 1000 ack 1
    +200ms  <<    .   1:1      ack 1
    +100ms  >>    .   1:1001   ack 1
"
);

// Section 5.7: without a measurement of the handshake the path may be slow.
script!(
    after_a_lost_syn_the_timeout_is_three_seconds,
    "
    0       app   connect
    +0      >>    S   0:0
    +1s     >>    S   0:0
    +10ms   <<    S.  0:0      ack 1 win 65535 mss 1000
    +0      >>    .   1:1      ack 1
    +0      app   send 500
    +0      >>    .   1:501    ack 1
    +3s     >>    .   1:501    ack 1
"
);

// The smallest timeout is a setting: section 2.4 asks for a second, which data centres cannot afford.
script!(
    the_smallest_timeout_is_200_ms,
    "
    0       open  rtt 1ms
    +0      app   send 100
    +0      >>    .   1:101    ack 1
    +200ms..202ms >> . 1:101   ack 1
"
);

script!(
    the_smallest_timeout_can_be_a_second,
    "
    stack min_rto 1s
    0       open  rtt 1ms
    +0      app   send 100
    +0      >>    .   1:101    ack 1
    +1s..1002ms >> . 1:101     ack 1
"
);

script!(
    the_smallest_timeout_can_be_a_millisecond,
    "
    stack min_rto 1ms
    0       open  rtt 1ms
    +0      app   send 100
    +0      >>    .   1:101    ack 1
    +3ms    >>    .   1:101    ack 1
"
);

// RFC 5681 section 3.1: one segment after a timeout, and slow start for what else was lost.
script!(
    everything_is_repaired_by_slow_start,
    "
    stack congestion reno
    0       open  rtt 100ms mss 1000
    +0      app   send 10000
    +0      >>    .   1:10001  by 1000 ack 1
    +300ms  >>    .   1:1001   ack 1
    +0      info  cwnd 1000 ssthresh 5000
    +100ms  <<    .   1:1      ack 1001
    +0      >>    .   1001:3001 by 1000 ack 1
    +100ms  <<    .   1:1      ack 2001
    +0      <<    .   1:1      ack 3001
    +0      >>    .   3001:7001 by 1000 ack 1
    +100ms  <<    .   1:1      ack 10001
    +0      info  ssthresh 5000 in_flight 0
"
);
