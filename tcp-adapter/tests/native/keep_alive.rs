//! Asking an idle peer (RFC 9293 section 3.8.4), and giving up on a silent one (section 3.8.3).

script!(
    nobody_is_asked_by_default,
    "
    0       open
    +1440min none
    +0      info  established 1
"
);

// One byte below the next one at most: SEG.SEQ = SND.NXT-1.
script!(
    an_idle_peer_is_asked,
    "
    stack keep_alive 10s
    0       open
    +10s    >>    .   0:0      ack 1
    +10ms   <<    .   1:1      ack 1
    +10s    >>    .   0:0      ack 1
    +10ms   <<    .   1:101    ack 1
    +0      >>    .   1:1      ack 101
    +5s     app   send 100
    +0      >>    .   1:101    ack 101
    +10ms   <<    .   101:101  ack 101
    +10s    >>    .   100:100  ack 101
"
);

script!(
    a_dead_peer_is_given_up,
    "
    stack keep_alive 10s
    0       open
    10010ms >>    .   0:0      ack 1
    +75s    >>    .   0:0      ack 1
    +75s    >>    .   0:0      ack 1
    +75s    >>    .   0:0      ack 1
    +75s    >>    .   0:0      ack 1
    +75s    >>    .   0:0      ack 1
    +75s    >>    .   0:0      ack 1
    +75s    >>    .   0:0      ack 1
    +75s    >>    .   0:0      ack 1
    +75s    event closed timed-out
    +0      >>*
    +0      info  gone
"
);

script!(
    a_question_is_answered,
    "
    0       open
    +10s    <<    .   0:0      ack 1
    +0      >>    .   1:1      ack 1
    +10s    <<    .   0:1      ack 1 fill 0
    +0      >>    .   1:1      ack 1
    +0      app   recv 0
"
);

script!(
    the_layer_above_may_ask,
    "
    0       open
    +0      app   probe
    +0      >>    .   0:0      ack 1
    +10ms   <<    .   1:1      ack 1
    +10s    none
"
);

// RFC 9293 section 3.8.3, R2.
script!(
    a_silent_peer_is_given_up,
    "
    stack user_timeout 3s
    0       open
    +0      app   send 100
    +0      >>    .   1:101    ack 1
    +2s     >>*   .   1:101    ack 1
    +0..1001ms event closed timed-out
    +0      >>*
    +0      info  gone
    +60s    none
"
);

// What is acknowledged in between counts as progress.
script!(
    progress_postpones_the_end,
    "
    stack user_timeout 3s
    0       open
    +0      app   send 200 by 100
    +0      >>    .   1:201    by 100 ack 1
    +2s     >>*   .   *        ack 1
    +0      <<    .   1:1      ack 101
    +2s     >>*   .   *        ack 1
    +0      info  established 1
    +0      <<    .   1:1      ack 201
    +0      >>*
    +60s    none
    +0      info  established 1
"
);

/// Who stood still for longer than the user timeout tries once more before the peer is given up.
#[test]
fn a_pause_of_this_side_is_no_silence_of_the_peer() {
    use std::time::Duration;

    use tcp_adapter::TcpStack;
    use tcp_adapter::conformance::wire::{Pump, Wire};
    use tcp_adapter::native::{NativeConfig, NativeStack};

    fn native(seed: u64) -> Box<dyn TcpStack> {
        // Without SACK there is no tail loss probe, which would postpone the timeout.
        Box::new(NativeStack::new(NativeConfig { sack: false, ..NativeConfig::default() }, seed))
    }
    let mut wire = Wire::new(native, 1);
    wire.listen();
    let [first, second] = wire.open(true);
    wire.ends[0].mangle = Some(Box::new(|_| Vec::new()));
    wire.ends[0].pumps.insert(first, Pump::new(1000));
    wire.settle();
    wire.ends[0].mangle = None;
    wire.now += Duration::from_secs(3600);
    wire.run_for(Duration::from_secs(5));
    assert_eq!((wire.closed(0, first), wire.inbox(1, second).len()), (None, 1000));
}
