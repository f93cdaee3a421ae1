//! Peers that lie to get more than their share, or to do harm (RFC 5681 section 3.1, RFC 3465, Savage et al. 1999).

// Acknowledging each byte on its own must not open the window faster than acknowledging all at once.
script!(
    divided_acknowledgements_gain_nothing,
    "
    stack congestion reno
    0       open  mss 1000 rtt 100ms
    +0      app   send 50000
    +0      >>    .   1:10001    by 1000 ack 1
    +100ms  <<    .   1:1        ack 101
    +0      <<    .   1:1        ack 201
    +0      <<    .   1:1        ack 301
    +0      <<    .   1:1        ack 401
    +0      <<    .   1:1        ack 501
    +0      <<    .   1:1        ack 601
    +0      <<    .   1:1        ack 701
    +0      <<    .   1:1        ack 801
    +0      <<    .   1:1        ack 901
    +0      <<    .   1:1        ack 1001
    +0      >>*   .   *          ack 1
    +0      info  cwnd <=11000 snd_una 1000
"
);

// Duplicates that are claimed of what was sent once are lies: nothing is undone, nothing becomes more patient.
script!(
    duplicates_of_what_was_sent_once_are_lies,
    "
    0       open  mss 1000 sackOK rtt 100ms
    +0      app   send 5000
    +0      >>    .   1:5001     by 1000 ack 1
    +100ms  <<    .   1:1        ack 5001 sack 1:1001
    +0      <<    .   1:1        ack 5001 sack 1001:2001
    +0      <<    .   1:1        ack 5001 sack 2001:3001
    +1ms    app   send 5000
    +0      >>    .   5001:10001 by 1000 ack 1
    +100ms  <<    .   1:1        ack 5001 sack 6001:9001
    +0      >>    .   5001:6001  ack 1
"
);

// More duplicates than segments in flight do not let more out than the window.
script!(
    spoofed_duplicates_are_bounded,
    "
    stack congestion reno
    0       open  mss 1000 rtt 100ms
    +0      app   send 60000
    +0      >>    .   1:10001    by 1000 ack 1
    +100ms  <<    .   1:1        ack 1
    +0      <<    .   1:1        ack 1
    +0      <<    .   1:1        ack 1
    +0      <<    .   1:1        ack 1
    +0      <<    .   1:1        ack 1
    +0      <<    .   1:1        ack 1
    +0      <<    .   1:1        ack 1
    +0      <<    .   1:1        ack 1
    +0      <<    .   1:1        ack 1
    +0      <<    .   1:1        ack 1
    +0      <<    .   1:1        ack 1
    +0      <<    .   1:1        ack 1
    +0      <<    .   1:1        ack 1
    +0      <<    .   1:1        ack 1
    +0      <<    .   1:1        ack 1
    +0      <<    .   1:1        ack 1
    +0      <<    .   1:1        ack 1
    +0      <<    .   1:1        ack 1
    +0      <<    .   1:1        ack 1
    +0      <<    .   1:1        ack 1
    +0      <<    .   1:1        ack 1
    +0      <<    .   1:1        ack 1
    +0      >>*   .   *          ack 1
    +0      info  bytes_sent <=22000 retransmissions 1
"
);

// The whole of the receive window in pieces of one byte every other byte: bounded, and what is dropped comes again.
script!(
    a_window_full_of_holes_is_survived,
    "
    0       open  mss 1000 sackOK
    +0      <<    .   2:3        ack 1
    +0      <<    .   4:5        ack 1
    +0      <<    .   6:7        ack 1
    +0      <<    .   8:9        ack 1
    +0      <<    .   10:11      ack 1
    +0      <<    .   12:13      ack 1
    +0      <<    .   14:15      ack 1
    +0      <<    .   16:17      ack 1
    +0      >>*   .   1:1        ack 1
    +0      <<    .   1:1001     ack 1
    +0      >>    .   1:1        ack 1001
    +0      app   recv 1000
"
);

// A window of the peer's that is closed at once, and a stream that ends.
script!(
    a_fin_passes_a_closed_window_in_the_end,
    "
    0       open  mss 1000 rtt 100ms win 0
    +0      app   shutdown
    +0..2s  >>    F.  1:1        ack 1
    +100ms  <<    .   1:1        ack 2 win 0
    +60s    none
"
);

script!(
    what_is_outstanding_when_the_window_closes_is_sent_again,
    "
    0       open  mss 1000 rtt 100ms
    +0      app   send 8000
    +0      >>    .   1:8001     by 1000 ack 1
    +100ms  <<    .   1:1        ack 2001 win 0
    +200ms..400ms >> . 2001:3001 ack 1
    +100ms  <<    .   1:1        ack 2001 win 0
    +400ms..800ms >> . 2001:3001 ack 1
    +100ms  <<    .   1:1        ack 8001 win 9000
    +60s    none
"
);

// Echoes that nobody sent must not become round-trip times.
script!(
    forged_echoes_are_no_times,
    "
    0       open  mss 1000 ts rtt 100ms
    +0      app   send 500
    +0      >>    .   1:501      ack 1
    +100ms  <<    .   1:1        ack 501 ts 1200/4000000000
    +0      info  srtt 100ms
    +0      app   send 500
    +0      >>    .   501:1001   ack 1
    +100ms  <<    .   1:1        ack 1001 ts 1300/0
    +0      info  srtt 100ms
"
);

// The listener goes; what began there lives on.
script!(
    connections_outlive_their_listener,
    "
    0       app   listen
    0       <<    S   0:0        win 65535 mss 1000
    +0      >>    S.  0:0        ack 1
    +0      app   unlisten
    +0      <<2   S   0:0        win 65535 mss 1000
    +0      >>2   R.  =0         ack 1
    +10ms   <<    .   1:1        ack 1
    +0      event established
    +0      <<    .   1:101      ack 1
    +0      >>    .   1:1        ack 101
"
);
