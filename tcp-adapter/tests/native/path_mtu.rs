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

// Options of the layer above are part of a packet: its payload may be less than what fits now, and the packet was too long all the same.
script!(
    packets_that_options_made_too_long_are_sent_again,
    "
    0       open  mss 1460
    +0      app   option fd14aaaa.aaaaaaaa.aaaaaaaa.aaaaaaaa.aaaaaaaa
    +0      app   send 4320
    +0      >>    .   1:4321     by 1440 ack 1
    +10ms   <<    icmp frag-needed mtu 1490 for 1:1441
    +0      >>    .   1:1431     ack 1
    +0      >>*   .   *          ack 1
    +0      info  mss 1450
    +10ms   <<    .   1:1        ack 4321
    +0      <<    icmp frag-needed mtu 1490 for 1:1441
    +0      none
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

// RFC 8201 section 4: never below 1280, and a report that says so is discarded.
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
    +0      <<    icmp frag-needed mtu 0 for 1:1341
    +0      info  mss 1340
    +0      <<    icmp frag-needed mtu 1280 for 1:1341
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

// RFC 4821 section 7.7, RFC 8899 section 4.3: a path that swallows large packets without a word. After a timeout one segment leaves, of the size that
// they have then (RFC 5681 section 3.1): what is cut off the one that was lost waits.
script!(
    a_black_hole_is_left_with_smaller_segments,
    "
    0       open  mss 1460 rtt 100ms
    +0      app   send 4380
    +0      >>    .   1:4381     by 1460 ack 1
    +300ms  >>    .   1:1461     ack 1
    +600ms  >>    .   1:1161     ack 1
    +0      info  mss 1160 cwnd 1160
    +100ms  <<    .   1:1        ack 1161
    +0      >>*   .   *          ack 1
    +100ms  <<    .   1:1        ack 4381
    +60s    none
"
);

// A path that has become wide again is found after ten minutes (RFC 8899 section 5.1.1): by a segment of new data that is longer than
// the others, among enough others to tell of its loss (RFC 4821 section 7.5).
script!(
    a_larger_path_is_found_by_a_probe,
    "
    0       open  mss 1460
    +0      app   send 1460
    +0      >>    .   1:1461     ack 1
    +0      <<    icmp frag-needed mtu 1000 for 1:1461
    +0      >>*   .   *          ack 1
    +10ms   <<    .   1:1        ack 1461
    +9min   app   send 6000
    +0      >>    .   1461:7461  by 960 ack 1
    +10ms   <<    .   1:1        ack 7461
    +2min   app   send 6000
    +0      >>    .   7461:8921  ack 1                 # the probe
    +0      >>    .   8921:13461 by 960 ack 1
    +0      info  mss 960
    +10ms   <<    .   1:1        ack 8921
    +0      info  mss 1460
    +0      <<    .   1:1        ack 13461
    +0      app   send 2920
    +0      >>    .   13461:16381 by 1460 ack 1
    +10ms   <<    .   1:1        ack 16381
"
);

// RFC 4821 section 7.6.2: the loss of a probe is no sign of congestion, what it carried leaves again in segments of the usual size, and
// RFC 8899 section 5.1.2: after three of them something smaller is tried.
script!(
    a_lost_probe_is_no_congestion,
    "
    0       open  mss 1460 sackOK rtt 100ms
    +0      app   send 1460
    +0      >>    .   1:1461      ack 1
    +0      <<    icmp frag-needed mtu 1000 for 1:1461
    +0      >>*   .   *           ack 1
    +100ms  <<    .   1:1         ack 1461
    +11min  app   send 6000
    +0      >>    .   1461:2921   ack 1                # the first probe
    +0      >>    .   2921:7461   by 960 ack 1
    +100ms  <<    .   1:1         ack 1461 sack 2921:3881
    +0      <<    .   1:1         ack 1461 sack 2921:4841
    +0      none
    +0      <<    .   1:1         ack 1461 sack 2921:5801
    +0      >>    .   1461:2921   by 960 ack 1
    +0      info  mss 960 cwnd >=9600
    +100ms  <<    .   1:1         ack 7461
    +0      app   send 6000
    +0      >>    .   7461:13461  by 960 ack 1         # not again so soon
    +100ms  <<    .   1:1         ack 13461
    +1s     app   send 6000
    +0      >>    .   13461:14921 ack 1                # the second
    +0      >>    .   14921:19461 by 960 ack 1
    +100ms  <<    .   1:1         ack 13461 sack 14921:19461
    +0      >>    .   13461:14921 by 960 ack 1
    +100ms  <<    .   1:1         ack 19461
    +1s     app   send 6000
    +0      >>    .   19461:20921 ack 1                # the third
    +0      >>    .   20921:25461 by 960 ack 1
    +100ms  <<    .   1:1         ack 19461 sack 20921:25461
    +0      >>    .   19461:20921 by 960 ack 1
    +100ms  <<    .   1:1         ack 25461
    +0      info  mss 960 cwnd >=9600
    +1s     app   send 6000
    +0      >>    .   25461:26701 ack 1                # an MTU of 1280
    +0      >>    .   26701:31461 by 960 ack 1
    +100ms  <<    .   1:1         ack 31461
    +0      info  mss 1240
    +0      app   send 8000
    +0      >>    .   31461:32821 ack 1                # and at once the next: 1400
    +0      >>*   .   *           ack 1
    +100ms  <<    .   1:1         ack 39461
    +0      info  mss 1360
"
);

// Without SACK, three duplicates tell.
script!(
    duplicates_tell_of_a_lost_probe,
    "
    0       open  mss 1460 rtt 100ms
    +0      app   send 1460
    +0      >>    .   1:1461      ack 1
    +0      <<    icmp frag-needed mtu 1000 for 1:1461
    +0      >>*   .   *           ack 1
    +100ms  <<    .   1:1         ack 1461
    +11min  app   send 6000
    +0      >>    .   1461:2921   ack 1
    +0      >>    .   2921:7461   by 960 ack 1
    +100ms  <<    .   1:1         ack 1461
    +0      <<    .   1:1         ack 1461
    +0      <<    .   1:1         ack 1461
    +0      >>    .   1461:2921   by 960 ack 1
    +0      info  cwnd >=9600
    +100ms  <<    .   1:1         ack 7461
    +0      info  mss 960 in_flight 0
"
);

// RFC 4821 section 7.6.4: what is lost together with others says nothing of the path, and the others are congestion.
script!(
    a_probe_that_is_lost_with_others_is_sent_again,
    "
    0       open  mss 1460 sackOK rtt 100ms
    +0      app   send 1460
    +0      >>    .   1:1461      ack 1
    +0      <<    icmp frag-needed mtu 1000 for 1:1461
    +0      >>*   .   *           ack 1
    +100ms  <<    .   1:1         ack 1461
    +11min  app   send 6000
    +0      >>    .   1461:2921   ack 1
    +0      >>    .   2921:7461   by 960 ack 1
    +100ms  <<    .   1:1         ack 1461 sack 3881:7461
    +0      >>*   .   *           ack 1
    +0      info  ssthresh <9600
    +100ms  <<    .   1:1         ack 7461
    +0      app   send 960
    +0      >>    .   7461:8421   ack 1
    +100ms  <<    .   1:1         ack 8421
    +1s     app   send 6000
    +0      >>    .   8421:9881   ack 1                # the same size
    +0      >>*   .   *           ack 1
    +100ms  <<    .   1:1         ack 14421
    +0      info  mss 1460
"
);

// RFC 8899 section 4.6.2: a report about a probe tells where to search, and nothing that was known to pass is doubted.
script!(
    a_report_about_a_probe_shortens_the_search,
    "
    0       open  mss 1460 rtt 100ms
    +0      app   send 1460
    +0      >>    .   1:1461      ack 1
    +0      <<    icmp frag-needed mtu 1000 for 1:1461
    +0      >>*   .   *           ack 1
    +100ms  <<    .   1:1         ack 1461
    +11min  app   send 6000
    +0      >>    .   1461:2921   ack 1
    +0      >>    .   2921:7461   by 960 ack 1
    +10ms   <<    icmp frag-needed mtu 1300 for 1461:2921
    +0      >>    .   1461:2921   by 960 ack 1
    +0      info  mss 960 cwnd >=9600
    +100ms  <<    .   1:1         ack 7461
    +0      app   send 6000
    +0      >>    .   7461:8701   ack 1                # 1280
    +0      >>    .   8701:13461  by 960 ack 1
    +100ms  <<    .   1:1         ack 13461
    +0      info  mss 1240
"
);

// RFC 4821 section 7.5: no probe without enough after it, and none that would not be of one chunk.
script!(
    nothing_is_risked_with_little_data,
    "
    0       open  mss 1460 rtt 100ms
    +0      app   send 1460
    +0      >>    .   1:1461      ack 1
    +0      <<    icmp frag-needed mtu 1000 for 1:1461
    +0      >>*   .   *           ack 1
    +100ms  <<    .   1:1         ack 1461
    +11min  app   send 4300
    +0      >>    .   1461:5761   by 960 ack 1
    +100ms  <<    .   1:1         ack 5761
    +0      app   send 6000 by 1200
    +0      >>    .   5761:6721   ack 1
    +0      >>    .   6721:6961   ack 1
    +0      >>*   .   *           ack 1
    +100ms  <<    .   1:1         ack 11761
    +0      info  mss 960
    +0      <<    .   1:1         ack 11761 win 4000
    +0      app   send 6000
    +0      >>    .   11761:12721 ack 1
    +0      >>*   .   *           ack 1
"
);

// RFC 4821 section 7.7: what not even packets of 1200 bytes get through is tried with the smallest.
script!(
    a_narrow_black_hole_is_left_in_two_steps,
    "
    0       open  mss 1460 rtt 100ms
    +0      app   send 1460
    +0      >>    .   1:1461     ack 1
    +300ms  >>    .   1:1461     ack 1
    +600ms  >>    .   1:1161     ack 1
    +1200ms >>    .   1:1161     ack 1
    +2400ms >>    .   1:513      ack 1
    +0      info  mss 512 cwnd 512
    +100ms  <<    .   1:1        ack 513
    +0      >>*   .   *          ack 1
    +100ms  <<    .   1:1        ack 1461
    +60s    none
"
);

// What is shorter than 1200 bytes may be too long as well: its own link has taught this sender so little already.
script!(
    a_black_hole_for_short_packets_is_left,
    "
    0       open  mss 700 rtt 100ms
    +0      app   send 700
    +0      >>    .   1:701      ack 1
    +300ms  >>    .   1:701      ack 1
    +600ms  >>    .   1:701      ack 1
    +1200ms >>    .   1:701      ack 1
    +2400ms >>    .   1:513      ack 1
    +0      info  mss 512 cwnd 512
    +100ms  <<    .   1:1        ack 513
    +0      >>*   .   *          ack 1
    +100ms  <<    .   1:1        ack 701
    +60s    none
"
);

/// All of it together, with timestamps and pacing: a path that swallows what is longer than it can carry, for several such paths.
#[test]
fn bulk_data_finds_what_the_path_carries() {
    use std::time::Duration;

    use tcp_adapter::TcpStack;
    use tcp_adapter::conformance::packet::Packet;
    use tcp_adapter::conformance::wire::{Pump, Wire};
    use tcp_adapter::native::{NativeConfig, NativeStack};

    fn native(seed: u64) -> Box<dyn TcpStack> {
        // So little may wait to be sent that data comes in small chunks.
        let notsent_lowat = if seed % 4 < 2 { 16 << 10 } else { 128 << 10 };
        let max_pacing_rate = Some(1 << 20);
        Box::new(NativeStack::new(NativeConfig { notsent_lowat, max_pacing_rate, ..NativeConfig::default() }, seed))
    }
    for (seed, path) in [(0, 1300), (1, 1300), (2, 1492), (3, 700), (4, 1200)] {
        let mut wire = Wire::new(native, seed);
        wire.listen();
        let [first, second] = wire.open(true);
        wire.ends[0].mangle = Some(Box::new(move |frame| match Packet::parse(&frame) {
            Some(packet) if packet.ip_len() > path => Vec::new(),
            _ => vec![frame],
        }));
        wire.ends[0].pumps.insert(first, Pump::new(40 << 20));
        wire.run_for(Duration::from_secs(25));
        let mss = wire.ends[0].stack.info(first).unwrap().mss;
        assert!((path - 52 - 8..=path - 52).contains(&mss), "{mss} on a path of {path}");
        assert!(wire.inbox(1, second).len() > 12 << 20, "{}", wire.inbox(1, second).len());
    }
}
