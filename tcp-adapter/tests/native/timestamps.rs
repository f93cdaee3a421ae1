//! Timestamps (RFC 7323 sections 3 to 5).

// The two examples of section 4.3, of which the second has a hole.
script!(
    a_delayed_acknowledgement_echoes_the_first_segment,
    "
    0       open  mss 1000 ts
    +0      <<    .   1:1601    by 100 ack 1 ts 1001/last     # no more quick acknowledgements
    +50ms   >>*   .   1:1
    +0      <<    .   1601:2601 ack 1 ts 2001/last
    +0      <<    .   2601:3601 ack 1 ts 2002/last
    +0..1ms >>    .   1:1       ack 3601 ts */2001
"
);

script!(
    a_hole_keeps_the_echo_until_it_is_filled,
    "
    0       open  mss 1000 ts
    +0      <<    .   1:1001    ack 1 ts 2001/last        # A
    +0      >>    .   1:1       ack 1001 ts */2001
    +0      <<    .   2001:3001 ack 1 ts 2003/last        # C
    +0      >>    .   1:1       ack 1001 ts */2001
    +0      <<    .   1001:2001 ack 1 ts 2002/last        # B
    +0      >>    .   1:1       ack 3001 ts */2002
    +0      <<    .   4001:5001 ack 1 ts 2005/last        # E
    +0      >>    .   1:1       ack 3001 ts */2002
    +0      <<    .   3001:4001 ack 1 ts 2004/last        # D
    +0      >>    .   1:1       ack 5001 ts */2004
"
);

// Section 3.2: every segment has them once agreed, resets need not. Section 5.4: the clock ticks in milliseconds.
script!(
    every_segment_carries_one,
    "
    0       open  mss 1000 ts
    +90ms   app   send 100
    +0      >>    .   1:101     ack 1 ts 100/1001
    +10ms   <<    .   1:11      ack 101 ts 1111/100
    +0      >>    .   101:101   ack 11 ts 110/1111
    +0      info  srtt 10ms
    +0      app   shutdown
    +0      >>    F.  101:101   ack 11 ts 110/1111
"
);

// Section 5.3, R1: an old segment is answered and dropped; a reset is no such segment (section 5.2).
script!(
    old_segments_are_rejected,
    "
    0       open  mss 1000 ts
    +0      <<    .   1:101     ack 1 ts 2000/last
    +0      >>    .   1:1       ack 101 ts */2000
    +0      <<    .   101:201   ack 1 ts 1999/last
    +0      >>    .   1:1       ack 101 ts */2000
    +0      app   recv 100
    +0      <<    F.  101:101   ack 1 ts 1999/last
    +0      >>    .   1:1       ack 101 ts */2000
    +0      <<    .   101:201   ack 1 ts 2000/last
    +0      >>    .   1:1       ack 201 ts */2000
    +0      app   recv 100
    +0      <<    R   201:201   ts 5/last
    +0      event closed reset
"
);

// Section 5.2: timestamps are compared modulo 2^32.
script!(
    timestamps_wrap,
    "
    0       app   listen
    0       <<    S   0:0       win 65535 mss 1000 ts 4294967290/0
    +0      >>    S.  0:0       ack 1 ts 0/4294967290
    +10ms   <<    .   1:101     ack 1 ts 4/last
    +0      >>    .   1:1       ack 101 ts */4
    +0      <<    .   101:201   ack 1 ts 4294967291/last
    +0      >>    .   1:1       ack 101 ts */4
"
);

// Section 5.5: after 24 days of silence the peer's clock may have passed half of its range.
script!(
    an_old_clock_is_forgotten_after_24_days,
    "
    0       open  mss 1000 ts
    +0      <<    .   1:101     ack 1 ts 2000/last
    +0      >>    .   1:1       ack 101 ts */2000
    +36000min <<  .   101:201   ack 1 ts 1000/last
    +0      >>    .   1:1       ack 201 ts */1000
    +0      app   recv 200
"
);

// Section 5.3, R3, with section 4.3: a segment beyond the next one expected must not change the echo, nor one that
// is not acceptable.
script!(
    segments_out_of_order_do_not_change_the_echo,
    "
    0       open  mss 1000 ts
    +0      <<    .   1001:2001 ack 1 ts 3000/last
    +0      >>    .   1:1       ack 1 ts */1001
    +0      <<    .   200001:200101 ack 1 ts 4000/last
    +0      >>    .   1:1       ack 1 ts */1001
    +0      <<    .   1:1001    ack 1 ts 2000/last
    +0      >>    .   1:1       ack 2001 ts */2000
"
);

// A path has become longer than the timeout: every segment is sent again before its answer comes. Its echo tells of the first transmission.
script!(
    a_longer_path_is_learnt_from_echoes,
    "
    0       open  mss 1000 ts rtt 100ms
    +0      app   send 500
    +0      >>    .   1:501     ack 1 ts 100/1001
    +300ms  >>    .   1:501     ack 1 ts 400/1001
    +500ms  <<    .   1:1       ack 501 ts 1900/100
    +0      info  srtt 187.5ms
    +0      app   send 500
    +0      >>    .   501:1001  ack 1 ts 900/1900
    +800ms  <<    .   1:1       ack 1001 ts 2700/900
"
);

// Section 4.1: the round-trip time of a retransmission is not ambiguous.
script!(
    a_retransmission_is_timed_by_its_echo,
    "
    0       open  mss 1000 ts rtt 100ms
    +0      app   send 500
    +0      >>    .   1:501     ack 1 ts 100/1001
    +300ms  >>    .   1:501     ack 1 ts 400/1001
    +100ms  <<    .   1:1       ack 501 ts 1500/last
    +0      info  srtt 100ms
"
);
