//! TIME-WAIT (RFC 9293 sections 3.6.1 and 3.10.7.4, RFC 6191).

script!(
    a_repeated_fin_is_acknowledged,
    "
    stack time_wait 10s
    0       open
    +0      app   shutdown
    +0      >>    F.  1:1      ack 1
    +10ms   <<    F.  1:1      ack 2
    +0      >>    .   2:2      ack 2
    +0      event closed normal
    +1s     <<    F.  1:1      ack 2
    +0      >>    .   2:2      ack 2
    +8s     <<    F.  1:1      ack 2        # the wait starts again
    +0      >>    .   2:2      ack 2
    +9s     <<    F.  1:1      ack 2
    +0      >>    .   2:2      ack 2
    +11s    <<    F.  1:1      ack 2        # over
    +0      >>    R   2:2
"
);

script!(
    old_data_is_answered_and_dropped,
    "
    0       open
    +0      <<    .   1:101    ack 1
    +0      >>    .   1:1      ack 101
    +0      app   shutdown
    +0      >>    F.  1:1      ack 101
    +10ms   <<    F.  101:101  ack 2
    +0      >>    .   2:2      ack 102
    +10ms   <<    .   1:101    ack 1
    +0      >>    .   2:2      ack 102
    +0      <<    .   102:102  ack 2
    +1s     none
"
);

// RFC 1337: a reset must not end it.
script!(
    a_reset_does_not_end_it,
    "
    0       open
    +0      app   shutdown
    +0      >>    F.  1:1      ack 1
    +10ms   <<    F.  1:1      ack 2
    +0      >>    .   2:2      ack 2
    +0      <<    R   2:2
    +0      <<    F.  1:1      ack 2
    +0      >>    .   2:2      ack 2
"
);

// RFC 9293 section 3.10.7.4, MAY-2: by the sequence number.
script!(
    a_new_syn_beyond_the_old_connection_opens,
    "
    0       open
    +0      app   shutdown
    +0      >>    F.  1:1      ack 1
    +10ms   <<    F.  1:1      ack 2
    +0      >>    .   2:2      ack 2
    +0      peer  new +3
    +1s     <<    S   0:0      win 65535
    +0      >>    S.  0:0      ack 1
    +10ms   <<    .   1:1      ack 1
    +0      event established
    +0      <<    .   1:101    ack 1
    +0      >>    .   1:1      ack 101
    +0      app   recv 100
"
);

// Section 3.6.1, MUST-13: a SYN ends it by opening a connection, not by being refused or dropped.
script!(
    a_new_syn_that_opens_nothing_does_not_end_it,
    "
    0       open
    +0      app   shutdown
    +0      >>    F.  1:1      ack 1
    +10ms   <<    F.  1:1      ack 2
    +0      >>    .   2:2      ack 2
    +0      app   unlisten
    +1s     <<    S   100:100  win 65535
    +0      >>    R.  =0       ack 101
    +0      <<    F.  1:1      ack 2
    +0      >>    .   2:2      ack 2
    +0      app   listen
    +0      app   syn drop
    +1s     <<    S   200:200  win 65535
    +0      <<    F.  1:1      ack 2
    +0      >>    .   2:2      ack 2
    +11s    <<    F.  1:1      ack 2        # over
    +0      >>    R   2:2
"
);

script!(
    an_old_syn_opens_nothing,
    "
    0       open
    +0      app   shutdown
    +0      >>    F.  1:1      ack 1
    +10ms   <<    F.  1:1      ack 2
    +0      >>    .   2:2      ack 2
    +1s     <<    S   0:0      win 65535
    +0      >>    .   2:2      ack 2
    +0      <<    S   -5000:-5000 win 65535
    +0      >>    .   2:2      ack 2
    +1s     <<    F.  1:1      ack 2
    +0      >>    .   2:2      ack 2
"
);

// RFC 6191 section 2: by the timestamp, even if the sequence number is smaller.
script!(
    a_syn_with_a_newer_timestamp_opens,
    "
    0       open  ts
    +0      app   shutdown
    +0      >>    F.  1:1      ack 1
    +10ms   <<    F.  1:1      ack 2 ts 1020/last
    +0      >>    .   2:2      ack 2 ts */1020
    +0      peer  new -100000
    +1s     <<    S   0:0      win 65535 ts 2000/0
    +0      >>    S.  0:0      ack 1 ts */2000
    +10ms   <<    .   1:1      ack 1 ts 2010/last
    +0      event established
"
);

script!(
    a_syn_with_an_older_timestamp_opens_nothing,
    "
    0       open  ts
    +0      app   shutdown
    +0      >>    F.  1:1      ack 1
    +10ms   <<    F.  1:1      ack 2 ts 1020/last
    +0      >>    .   2:2      ack 2
    +1s     <<    S   100000:100000 win 65535 ts 1019/0
    +0      >>    .   2:2      ack 2
    +1s     <<    F.  1:1      ack 2 ts 1021/last
    +0      >>    .   2:2      ack 2
"
);

/// RFC 9293 section 3.10.7.4, MAY-2, and RFC 6528: who has sent faster than the clock of initial sequence numbers counts begins
/// the next connection between the same ports beyond what it has used, not where the clock is.
#[test]
fn the_next_connection_begins_beyond_the_numbers_of_the_last() {
    use std::net::SocketAddr;
    use std::time::Duration;

    use tcp_adapter::conformance::packet::{ACK, FIN, SYN};
    use tcp_adapter::conformance::wire::{PORT, Pump, Wire, address};
    use tcp_adapter::native::{NativeConfig, NativeStack};
    use tcp_adapter::{ConnectRequest, TcpStack};

    const TOTAL: u64 = 4_000_000;
    fn native(seed: u64) -> Box<dyn TcpStack> {
        Box::new(NativeStack::new(NativeConfig { timestamps: seed % 4 < 2, ..NativeConfig::default() }, seed))
    }
    for seed in [0, 1] {
        let mut wire = Wire::new(native, seed);
        wire.listen();
        let request = ConnectRequest {
            local: address(0, true),
            local_port: Some(50_000),
            remote: SocketAddr::new(address(1, true), PORT),
        };
        let open = |wire: &mut Wire| {
            let known = wire.established(1).len();
            let first = wire.ends[0].stack.connect(wire.now, &request).unwrap();
            assert!(wire.run_until(Duration::from_secs(5), |wire| wire.established(1).len() > known));
            let second = wire.established(1)[known];
            // The listener sends much, and closes first.
            wire.ends[1].pumps.insert(second, Pump { close: true, ..Pump::new(TOTAL) });
            assert!(wire.run_until(Duration::from_secs(60), |wire| wire.finished(0, first)));
            let now = wire.now;
            wire.ends[0].stack.shutdown(now, first);
            assert!(wire.run_until(Duration::from_secs(5), |wire| wire.closed(0, first).is_some()));
            wire.run_for(Duration::from_millis(50));
            wire.now
        };
        let begun = wire.now;
        let over = open(&mut wire);
        let clock = (over - begun).as_micros() as u64 / 4;
        assert!(clock < TOTAL / 2, "faster than the clock, which is at {clock}");
        open(&mut wire);
        let answers: Vec<u32> = wire.sent(1).filter(|packet| packet.has(SYN | ACK)).map(|packet| packet.seq).collect();
        let ends: Vec<u32> = wire.sent(1).filter(|packet| packet.has(FIN)).map(|packet| packet.seq).collect();
        assert_eq!(answers.len(), 2);
        let beyond = answers[1].wrapping_sub(ends[0]);
        assert!((1..=1 << 17).contains(&beyond), "{beyond}");
    }
}
