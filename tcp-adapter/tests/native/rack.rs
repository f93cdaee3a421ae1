//! Loss detection by time, and tail loss probes (RFC 8985).

// Section 7.2 and 7.3: two round trips after the last segment, the last one again.
script!(
    a_tail_is_probed_after_two_round_trips,
    "
    0       open  mss 1000 sackOK rtt 100ms
    +0      app   send 5000
    +0      >>    .   1:5001     by 1000 ack 1
    +200ms  >>    .   4001:5001  ack 1
    +0      info  retransmissions 1 timeouts 0
    +100ms  <<    .   1:1        ack 5001 sack 4001:5001
    +60s    none
"
);

// A lone segment may wait for a delayed acknowledgement.
script!(
    a_lone_segment_is_probed_a_little_later,
    "
    0       open  mss 1000 sackOK rtt 100ms
    +0      app   send 500
    +0      >>    .   1:501      ack 1
    +200ms..250ms >> . 1:501     ack 1
    +100ms  <<    .   1:1        ack 501
    +60s    none
"
);

// The receiver had only waited for a second segment, and does so again: it is given the time that most take.
script!(
    who_delays_its_answers_is_waited_for,
    "
    0       open  mss 1000 sackOK rtt 10ms
    +0      app   send 500
    +0      >>    .   1:501      ack 1
    +20ms..30ms >> . 1:501       ack 1
    +10ms   <<    .   1:1        ack 501 sack 1:501
    +100ms  app   send 500
    +0      >>    .   501:1001   ack 1
    +20ms..30ms >> . 501:1001    ack 1
    +10ms   <<    .   1:1        ack 1001 sack 501:1001
    +100ms  app   send 500
    +0      >>    .   1001:1501  ack 1
    +40ms   <<    .   1:1        ack 1501
    +100ms  app   send 500
    +0      >>    .   1501:2001  ack 1
    +40ms   <<    .   1:1        ack 2001
    +0      info  retransmissions 2 timeouts 0
    +60s    none
"
);

// Who knows from elsewhere that the answer is overdue need not wait for the two round trips; then the last segment leaves again, before new data.
script!(
    a_tail_is_probed_when_the_layer_above_says_so,
    "
    0       open  mss 1000 sackOK rtt 100ms
    +0      app   send 500
    +0      >>    .   1:501      ack 1
    +120ms  app   probe_tail
    +0      app   send 700
    +0      >>    .   1:501      ack 1
    +0      >>    .   501:1201   ack 1
    +0      app   probe_tail                          # one is on its way
    +0      info  retransmissions 1 timeouts 0
    +100ms  <<    .   1:1        ack 1201
    +0      app   probe_tail                          # nothing is outstanding
    +60s    none
"
);

// Section 7.3: new data if there is any that the peer's window has room for.
script!(
    a_probe_is_new_data_if_there_is_any,
    "
    stack congestion reno
    0       open  mss 1000 sackOK rtt 100ms
    +0      app   send 20000
    +0      >>    .   1:10001    by 1000 ack 1
    +200ms  >>    .   10001:11001 ack 1
    +100ms  <<    .   1:1        ack 11001
    +0      >>    .   11001:20001 by 1000 ack 1
    +0      info  cwnd >=10000 retransmissions 0
"
);

// Section 7.2: once; then the retransmission timeout, which starts anew.
script!(
    there_is_one_probe_before_the_timeout,
    "
    0       open  mss 1000 sackOK rtt 100ms
    +0      app   send 5000
    +0      >>    .   1:5001     by 1000 ack 1
    +200ms  >>    .   4001:5001  ack 1
    +300ms  >>    .   1:1001     ack 1
    +0      info  timeouts 1
"
);

// Section 7.2: where two round trips are more than a timeout, the probe takes the place of the timeout.
script!(
    on_a_long_path_the_probe_takes_the_place_of_the_timeout,
    "
    0       open  mss 1000 sackOK rtt 300ms
    +0      app   send 100
    +0      >>    .   1:101     ack 1
    +300ms  <<    .   1:1        ack 101
    +0      app   send 100
    +0      >>    .   101:201     ack 1
    +300ms  <<    .   1:1        ack 201
    +0      app   send 100
    +0      >>    .   201:301     ack 1
    +300ms  <<    .   1:1        ack 301
    +0      app   send 100
    +0      >>    .   301:401     ack 1
    +300ms  <<    .   1:1        ack 401
    +0      app   send 100
    +0      >>    .   401:501     ack 1
    +300ms  <<    .   1:1        ack 501
    +0      app   send 100
    +0      >>    .   501:601     ack 1
    +300ms  <<    .   1:1        ack 601
    +0      app   send 100
    +0      >>    .   601:701     ack 1
    +300ms  <<    .   1:1        ack 701
    +0      app   send 100
    +0      >>    .   701:801     ack 1
    +300ms  <<    .   1:1        ack 801
    +0      app   send 100
    +0      >>    .   801:901     ack 1
    +300ms  <<    .   1:1        ack 901
    +0      app   send 100
    +0      >>    .   901:1001     ack 1
    +300ms  <<    .   1:1        ack 1001
    +0      info  rto 500ms..510ms srtt 300ms
    +0      app   send 5000
    +0      >>    .   1001:6001  by 1000 ack 1
    +500ms..510ms >> . 5001:6001 ack 1
    +0      info  timeouts 0
    +500ms..510ms >> . 1001:2001 ack 1
    +0      info  timeouts 1
"
);

// The tail of a flight is lost: repaired by the probe and what it shows, without a timeout.
script!(
    a_lost_tail_is_repaired_without_a_timeout,
    "
    0       open  mss 1000 sackOK rtt 100ms
    +0      app   send 5000
    +0      >>    .   1:5001     by 1000 ack 1
    +100ms  <<    .   1:1        ack 1001        # 1001 to 5001 are lost
    +100ms..110ms >> . 4001:5001 ack 1
    +100ms  <<    .   1:1        ack 1001 sack 4001:5001
    +0..50ms >>   .   1001:2001  ack 1
    +0      >>*   .   *          ack 1           # as far as the window of the recovery lets them
    +100ms  <<    .   1:1        ack 2001 sack 4001:5001
    +0      >>*   .   *          ack 1
    +100ms  <<    .   1:1        ack 5001
    +0      info  timeouts 0 in_flight 0
    +60s    none
"
);

// Had any of a short tail but its beginning arrived, that would have been said: all of it is lost, or nothing is. It takes one round trip for all.
script!(
    a_short_tail_is_repeated_as_a_whole,
    "
    stack congestion reno
    0       open  mss 1012 sackOK ts rtt 100ms
    +0      app   send 10000
    +0      >>    .   1:10001    by 1000 ack 1 ts 100/1001
    +100ms  <<    .   1:1        ack 1001 ts 1200/100
    +0      <<    .   1:1        ack 3001 ts 1200/100
    +0      <<    .   1:1        ack 5001 ts 1200/100
    +0      <<    .   1:1        ack 7001 ts 1200/100
    +100ms..110ms >> . 7001:8001 ack 1
    +0      >>    .   8001:9001  ack 1
    +0      >>    .   9001:10001 ack 1
    +0      info  retransmissions 3
    +100ms  <<    .   1:1        ack 10001 ts 1400/last
    +0      info  timeouts 0 in_flight 0 cwnd <10000         # and was a loss
    +60s    none
"
);

// What of the probe is lost is found by what has arrived of it.
script!(
    a_short_tail_that_is_lost_again_in_part_is_found_by_the_rest,
    "
    0       open  mss 1000 sackOK rtt 100ms
    +0      app   send 10000
    +0      >>    .   1:10001    by 1000 ack 1
    +100ms  <<    .   1:1        ack 1001
    +0      <<    .   1:1        ack 3001
    +0      <<    .   1:1        ack 5001
    +0      <<    .   1:1        ack 7001
    +100ms..110ms >> . 7001:8001 ack 1
    +0      >>    .   8001:9001  ack 1
    +0      >>    .   9001:10001 ack 1
    +100ms  <<    .   1:1        ack 7001 sack 8001:10001
    +0..50ms >>   .   7001:8001  ack 1
    +100ms  <<    .   1:1        ack 10001
    +0      info  timeouts 0 in_flight 0
    +60s    none
"
);

// While round trips vary as much as after the first of them, the answer may be late: the last segment alone, as section 7.3 has it.
script!(
    a_short_tail_is_not_repeated_while_round_trips_vary,
    "
    0       open  mss 1000 sackOK rtt 100ms
    +0      app   send 10000
    +0      >>    .   1:10001    by 1000 ack 1
    +100ms  <<    .   1:1        ack 7001
    +100ms..110ms >> . 9001:10001 ack 1
    +50ms   none
    +0      <<    .   1:1        ack 10001
    +60s    none
"
);

// A window that has no room for the repetition beside what may still be on its way: the last segment alone, as section 7.3 has it.
script!(
    a_short_tail_that_fills_the_window_is_probed_with_its_last_segment,
    "
    stack congestion reno
    0       open  mss 1000 sackOK rtt 100ms
    +0      app   send 1000
    +0      >>    .   1:1001     ack 1
    +200ms..210ms >> . 1:1001    ack 1
    +290ms..310ms >> . 1:1001    ack 1
    +100ms  <<    .   1:1        ack 1001                    # after a timeout: a window of two segments
    +0      app   send 2000
    +0      >>    .   1001:3001  by 1000 ack 1
    +0      info  cwnd <4000
    +100ms..1s >> .   2001:3001  ack 1
    +100ms  <<    .   1:1        ack 3001
    +60s    none
"
);

// Section 7.4.2: a probe that repaired the only loss is a loss; one whose original had arrived is none.
script!(
    a_repair_by_a_probe_reduces_the_window,
    "
    stack congestion reno
    0       open  mss 1000 sackOK rtt 100ms
    +0      app   send 10000
    +0      >>    .   1:10001    by 1000 ack 1
    +100ms  <<    .   1:1        ack 9001
    +100ms..150ms >> . 9001:10001 ack 1
    +100ms  <<    .   1:1        ack 10001
    +0      info  cwnd >=10000                               # it may have arrived twice
    +10ms   app   send 1000
    +0      >>    .   10001:11001 ack 1
    +100ms  <<    .   1:1        ack 11001                   # no, or that would have been reported
    +0      info  ssthresh >0 cwnd <10000
"
);

script!(
    a_probe_that_was_not_needed_does_not_reduce_the_window,
    "
    stack congestion reno
    0       open  mss 1000 sackOK rtt 100ms
    +0      app   send 10000
    +0      >>    .   1:10001    by 1000 ack 1
    +200ms  >>    .   9001:10001 ack 1
    +10ms   <<    .   1:1        ack 10001
    +90ms   <<    .   1:1        ack 10001 sack 9001:10001
    +0      info  cwnd >=10000
    +60s    none
"
);

// With timestamps the echo tells at once which of the two has been answered.
script!(
    the_echo_tells_whether_a_probe_was_needed,
    "
    stack congestion reno
    0       open  mss 1012 sackOK ts rtt 100ms
    +0      app   send 10000
    +0      >>    .   1:10001    by 1000 ack 1 ts 100/1001
    +200ms  >>    .   9001:10001 ack 1 ts 300/1001
    +10ms   <<    .   1:1        ack 10001 ts 1310/100
    +0      info  cwnd >=10000
    +0      open2 mss 1012 sackOK ts rtt 100ms
    +0      app2  send 10000
    +0      >>2   .   1:10001    by 1000 ack 1 ts 100/1001
    +100ms  <<2   .   1:1        ack 9001 ts 1200/100
    +100ms..110ms >>2 . 9001:10001 ack 1
    +100ms  <<2   .   1:1        ack 10001 ts 1400/last
    +0      info2 cwnd <10000
"
);

// Section 6.2: a segment that is late by a little is waited for, a quarter of the smallest round trip.
script!(
    a_late_segment_is_waited_for,
    "
    0       open  mss 1000 sackOK rtt 100ms
    +0      app   send 10000
    +0      >>    .   1:10001    by 1000 ack 1
    +100ms  <<    .   1:1        ack 1 sack 1001:2001
    +20ms   <<    .   1:1        ack 2001
    +5ms    none
    +0      info  retransmissions 0
"
);

script!(
    a_segment_that_is_later_is_lost,
    "
    0       open  mss 1000 sackOK rtt 100ms
    +0      app   send 10000
    +0      >>    .   1:10001    by 1000 ack 1
    +100ms  <<    .   1:1        ack 1 sack 1001:2001
    +25ms   >>    .   1:1001     ack 1
"
);

// What a probe repeated may have been on its way: the duplicate says that it was sent too early, and nothing of reordering.
script!(
    the_duplicate_of_a_probe_makes_nobody_patient,
    "
    0       open  mss 1012 sackOK ts rtt 100ms
    +0      app   send 10000
    +0      >>    .   1:10001    by 1000 ack 1 ts 100/1001
    +200ms  >>    .   9001:10001 ack 1 ts 300/1001
    +10ms   <<    .   1:1        ack 10001 ts 1310/100
    +90ms   <<    .   1:1        ack 10001 sack 9001:10001 ts 1400/100
    +1s     app   send 5000
    +0      >>    .   10001:15001 by 1000 ack 1
    +100ms  <<    .   1:1        ack 10001 sack 11001:14001 ts 2500/1400
    +0      >>    .   10001:11001 ack 1
    +0      >>*   .   *          ack 1
"
);

// Of each of its segments.
script!(
    the_duplicates_of_a_short_tail_make_nobody_patient,
    "
    0       open  mss 1012 sackOK ts rtt 100ms
    +0      app   send 10000
    +0      >>    .   1:10001    by 1000 ack 1 ts 100/1001
    +100ms  <<    .   1:1        ack 1001 ts 1200/100
    +0      <<    .   1:1        ack 3001 ts 1200/100
    +0      <<    .   1:1        ack 5001 ts 1200/100
    +0      <<    .   1:1        ack 7001 ts 1200/100
    +100ms..110ms >> . 7001:8001 ack 1
    +0      >>    .   8001:9001  ack 1
    +0      >>    .   9001:10001 ack 1
    +10ms   <<    .   1:1        ack 10001 ts 1310/100       # the originals
    +90ms   <<    .   1:1        ack 10001 sack 7001:8001 ts 1400/100
    +0      <<    .   1:1        ack 10001 sack 8001:9001 ts 1400/100
    +0      <<    .   1:1        ack 10001 sack 9001:10001 ts 1400/100
    +0      info  cwnd >=10000
    +1s     app   send 5000
    +0      >>    .   10001:15001 by 1000 ack 1
    +100ms  <<    .   1:1        ack 10001 sack 11001:14001 ts 2500/1400
    +0      >>    .   10001:11001 ack 1
    +0      >>*   .   *          ack 1
"
);

// Section 6.2, step 3 and 4: once the path is known to reorder, three segments are no proof, time is.
script!(
    reordering_makes_patient,
    "
    0       open  mss 1000 sackOK rtt 100ms
    +0      app   send 10000
    +0      >>    .   1:10001    by 1000 ack 1
    +100ms  <<    .   1:1        ack 1 sack 1001:3001
    +10ms   <<    .   1:1        ack 3001           # late, not lost
    +0      <<    .   1:1        ack 3001 sack 4001:8001
    +0      none
    +1ms..30ms >> .   3001:4001  ack 1
"
);

// Section 6.2, step 4: each round trip with a DSACK widens the window by a quarter of the smallest round trip.
script!(
    dsack_widens_the_reordering_window,
    "
    0       open  mss 1000 sackOK rtt 100ms
    +0      app   send 10000
    +0      >>    .   1:10001    by 1000 ack 1
    +100ms  <<    .   1:1        ack 1 sack 1001:4001
    +0      >>    .   1:1001     ack 1
    +5ms    <<    .   1:1        ack 10001                  # the original was late
    +95ms   <<    .   1:1        ack 10001 sack 1:1001      # and is there twice
    +1s     app   send 5000
    +0      >>    .   10001:15001 by 1000 ack 1
    +100ms  <<    .   1:1        ack 10001 sack 11001:15001
    +45ms   none
    +1ms..60ms >> .   10001:11001 ack 1
"
);

// Section 3.1: a retransmission that is lost is noticed by what was sent after it.
script!(
    a_lost_retransmission_is_sent_again,
    "
    stack congestion reno
    0       open  mss 1000 sackOK rtt 100ms
    +0      app   send 20000
    +0      >>    .   1:10001    by 1000 ack 1
    +100ms  <<    .   1:1        ack 1 sack 1001:4001
    +0      >>    .   1:1001     ack 1                       # lost too
    +0      >>    .   10001:11001 ack 1                      # RFC 6937: ceil(3 * 5 / 10) - 1
    +0      <<    .   1:1        ack 1 sack 1001:10001
    +0      >>    .   11001:14001 by 1000 ack 1              # and up to the threshold
    +100ms  <<    .   1:1        ack 1 sack 1001:14001
    +0..30ms >>   .   1:1001     ack 1
    +0      >>*   .   *          ack 1
    +0      info  timeouts 0
"
);
