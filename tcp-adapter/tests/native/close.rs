//! Closing a connection (RFC 9293 section 3.6).

// RFC 9293 figure 12.
script!(
    this_end_closes_first,
    "
    0       open
    +0      app   shutdown
    +0      >>    F.  1:1      ack 1
    +0      app   send 1 -> Closed
    +10ms   <<    .   1:1      ack 2
    +0      event no closed normal
    +50ms   <<    F.  1:1      ack 2
    +0      >>    .   2:2      ack 2
    +0      event finished
    +0      event closed normal
    +0      info  gone
    +60s    none
"
);

// RFC 9293 figure 13.
script!(
    both_ends_close_at_once,
    "
    0       open
    +0      app   shutdown
    +0      >>    F.  1:1      ack 1
    +5ms    <<    F.  1:1      ack 1
    +0      >>    .   2:2      ack 2
    +0      event finished
    +0      event no closed normal
    +5ms    <<    .   2:2      ack 2
    +0      event closed normal
    +60s    none
"
);

script!(
    the_peer_closes_first,
    "
    0       open
    +0      <<    F.  1:1      ack 1
    +0      >>    .   1:1      ack 2
    +0      event finished
    +0      app   shutdown
    +0      >>    F.  1:1      ack 2
    +0      event no closed normal
    +10ms   <<    .   2:2      ack 2
    +0      event closed normal
    +0      info  gone
    +0      <<    .   2:2      ack 2      # no TIME-WAIT at this end
    +0      >>    R   2:2
"
);

script!(
    a_fin_and_its_acknowledgement_come_together,
    "
    0       open
    +0      app   shutdown
    +0      >>    F.  1:1      ack 1
    +10ms   <<    F.  1:1      ack 2
    +0      >>    .   2:2      ack 2
    +0      event closed normal
"
);

// Half open, from both sides: section 3.6, case 1 and 2.
script!(
    data_follows_the_fin_of_the_peer,
    "
    0       open  mss 1000
    +0      <<    F.  1:101    ack 1
    +0      >>    .   1:1      ack 102
    +0      app   recv 100
    +0      app   send 2500
    +0      >>    .   1:2501   by 1000 ack 102
    +10ms   <<    .   102:102  ack 2501
    +0      app   shutdown
    +0      >>    F.  2501:2501 ack 102
    +10ms   <<    .   102:102  ack 2502
    +0      event closed normal
"
);

script!(
    data_follows_our_own_fin,
    "
    0       open  mss 1000
    +0      app   shutdown
    +0      >>    F.  1:1      ack 1
    +10ms   <<    .   1:1      ack 2
    +100s   <<    .   1:1001   ack 2
    +0..40ms >>   .   2:2      ack 1001
    +0      <<    F.  1001:2001 ack 2
    +0      >>    .   2:2      ack 2002
    +0      event finished
    +0      event no closed normal           # there is something to read
    +0      app   recv 2000
    +0      event closed normal
"
);

// Section 3.10.7.4, eighth: a FIN counts when everything before it is there.
script!(
    a_fin_waits_for_what_comes_before,
    "
    0       open  mss 1000 sackOK
    +0      <<    F.  1001:2001 ack 1
    +0      >>    .   1:1      ack 1
    +0      event no finished
    +0      <<    .   1:1001   ack 1
    +0      >>    .   1:1      ack 2002
    +0      event finished
    +0      app   recv 2000
"
);

script!(
    a_repeated_fin_is_acknowledged_again,
    "
    0       open
    +0      <<    F.  1:1      ack 1
    +0      >>    .   1:1      ack 2
    +200ms  <<    F.  1:1      ack 1
    +0      >>    .   1:1      ack 2
    +0      info  rcv_nxt 1
"
);

script!(
    a_fin_is_sent_again_until_it_is_acknowledged,
    "
    0       open
    +0      app   shutdown
    +0      >>    F.  1:1      ack 1
    +200ms..215ms >> F. 1:1    ack 1
    +400ms..430ms >> F. 1:1    ack 1
    +10ms   <<    .   1:1      ack 2
    +60s    none
"
);

script!(
    the_last_data_carries_the_fin,
    "
    0       open  mss 1000 win 1000
    +0      app   send 1500
    +0      app   shutdown
    +0      >>    .   1:1001   ack 1
    +10ms   <<    .   1:1      ack 1001 win 5000
    +0      >>    F.  1001:1501 ack 1
    +200ms..230ms >> F. 1001:1501 ack 1
    +10ms   <<    .   1:1      ack 1502
"
);

// RFC 8985 section 7: a FIN is the tail of a flight too, alone or with data.
script!(
    a_lost_fin_is_probed,
    "
    0       open  mss 1000 sackOK rtt 100ms win 2000
    +0      app   send 3000
    +0      app   shutdown
    +0      >>    .   1:2001   by 1000 ack 1
    +100ms  <<    .   1:1      ack 2001 win 9000
    +0      >>    F.  2001:3001 ack 1
    +200ms..210ms >> F. 2001:3001 ack 1
    +100ms  <<    .   1:1      ack 3002
    +0      info  timeouts 0
    +0      open2 mss 1000 sackOK rtt 100ms
    +0      app2  shutdown
    +0      >>2   F.  1:1      ack 1
    +200ms..210ms >>2 F. 1:1   ack 1
    +100ms  <<2   .   1:1      ack 2
    +60s    none
"
);

// What comes before the FIN may be acknowledged without it.
script!(
    a_fin_alone_is_sent_again,
    "
    0       open  mss 1000 rtt 100ms win 0
    +0      app   send 500
    +0      app   shutdown
    +10ms   <<    .   1:1      ack 1 win 9000
    +0      >>    F.  1:501    ack 1
    +100ms  <<    .   1:1      ack 501
    +200ms..500ms >> F. 501:501 ack 1
    +100ms  <<    F.  1:1      ack 502
    +0      >>    .   502:502  ack 2
    +0      event closed normal
"
);

// Nothing may come after the FIN of the peer.
script!(
    data_after_the_fin_of_the_peer_is_not_delivered,
    "
    0       open
    +0      <<    F.  1:11     ack 1
    +0      >>    .   1:1      ack 12
    +0      app   recv 10
    +0      <<    .   12:22    ack 1
    +0..40ms >>   .   1:1      ack 12
    +0      app   recv 0
"
);

script!(
    a_closing_connection_gives_up_in_the_end,
    "
    stack user_timeout 5s
    0       open
    +0      app   shutdown
    +0      >>    F.  1:1      ack 1
    +4s     >>*   F.  1:1      ack 1
    +0..1001ms event closed timed-out
    +0      >>*
    +60s    none
"
);
