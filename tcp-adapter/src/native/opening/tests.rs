//! Initial sequence numbers (RFC 6528).

use std::time::Duration;

use super::*;
use crate::native::NativeConfig;

fn tuple(port: u16) -> FourTuple {
    FourTuple { local: "10.0.0.1:80".parse().unwrap(), remote: SocketAddr::new("10.0.0.2".parse().unwrap(), port) }
}

/// The number that a stack with these secrets begins a connection with.
fn isn(seed: u64, now: Instant, tuple: &FourTuple) -> u32 {
    let mut stack = NativeStack::new(NativeConfig::default(), seed);
    stack.now = now;
    stack.initial_sequence_number(tuple)
}

#[test]
fn numbers_of_one_pair_of_ends_follow_the_clock() {
    let first = isn(1, Instant::ZERO, &tuple(5000));
    let mut last = 0;
    // Four hours and a half: then they begin anew, as those of RFC 9293 section 3.4.1 do.
    for seconds in (0..16_000).step_by(10) {
        let now = Instant::ZERO + Duration::from_secs(seconds);
        let passed = isn(1, now, &tuple(5000)).wrapping_sub(first);
        assert_eq!(u64::from(passed), seconds * 250_000, "one in four microseconds");
        assert!(passed >= last);
        last = passed;
    }
    let nearly = Instant::from_nanos(ISN_TICK - 1);
    assert_eq!(isn(1, nearly, &tuple(5000)), first);
    assert_eq!(isn(1, Instant::from_nanos(ISN_TICK), &tuple(5000)), first.wrapping_add(1));
    let period = Instant::from_nanos(ISN_TICK << 32);
    assert_eq!(isn(1, period, &tuple(5000)), first);
}

#[test]
fn numbers_of_one_pair_tell_nothing_of_another() {
    let now = Instant::from_millis(123_456);
    let ends = [
        tuple(5000),
        tuple(5001),
        FourTuple { local: "10.0.0.1:81".parse().unwrap(), ..tuple(5000) },
        FourTuple { local: "10.0.0.3:80".parse().unwrap(), ..tuple(5000) },
        FourTuple { remote: "10.0.0.4:5000".parse().unwrap(), ..tuple(5000) },
        FourTuple { local: tuple(5000).remote, remote: tuple(5000).local },
    ];
    let of = |seed| ends.map(|ends| isn(seed, now, &ends));
    let mut all = [of(1), of(2)].concat();
    assert_eq!(of(1)[..], all[..6], "the same each time");
    // What one secret adds to another's numbers is no constant either.
    let mut differences: Vec<u32> = of(1).iter().zip(of(2)).map(|(one, other)| one.wrapping_sub(other)).collect();
    all.sort_unstable();
    all.dedup();
    differences.sort_unstable();
    differences.dedup();
    assert_eq!((all.len(), differences.len()), (12, 6));
    // Spread over all numbers: of 4096 about a sixteenth in each sixteenth.
    let mut counts = [0; 16];
    for port in 1..=4096 {
        counts[(isn(3, now, &tuple(port)) >> 28) as usize] += 1;
    }
    assert!(counts.iter().all(|count| (190..330).contains(count)), "{counts:?}");
}

#[test]
fn a_connection_after_another_one_begins_beyond_it() {
    let mut stack = NativeStack::new(NativeConfig::default(), 1);
    let id = stack.connections.reserve().unwrap();
    let open = |stack: &mut NativeStack| {
        let phase = Phase::SynReceived(Box::new(Handshake::new(stack.now, Duration::from_secs(60))));
        stack.interface_configs = vec![crate::InterfaceConfig {
            mac: MacAddr([2, 0, 0, 0, 0, 1]),
            mtu: 1500,
            addrs: Vec::new(),
            routes: Vec::new(),
        }];
        let conn = stack.connection(id, InterfaceId(0), tuple(5000), phase);
        let drawn = conn.send.iss;
        stack.connections.put(id, State::Live(Box::new(conn)));
        stack.remove_pair(&tuple(5000));
        stack.enter_pair(&tuple(5000), Entry::Connection(id));
        drawn
    };
    let drawn = open(&mut stack);
    for (used, begins) in [
        (drawn, drawn),
        (drawn.wrapping_sub(5), drawn),
        (drawn.wrapping_add(1), drawn.wrapping_add(1 + BEYOND)),
        (drawn.wrapping_add(1 << 30), drawn.wrapping_add((1 << 30) + BEYOND)),
        // Half the numbers away, nobody can tell before from after.
        (drawn.wrapping_add((1 << 31) + 7), drawn),
    ] {
        assert_eq!(open(&mut stack), drawn);
        stack.begin_beyond(&tuple(5000), used);
        assert_eq!(stack.live(id).unwrap().send.iss, begins, "after {used}");
    }
}
