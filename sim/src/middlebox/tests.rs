use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;
use crate::middlebox::segment::{ACK, FIN, PSH, RST, SYN};
use crate::middlebox::testing::{DSS, Family, MP_CAPABLE, is_intact, tcp};
use crate::scenario::Scenario;

const KINDS: [&str; 12] = [
    "kind = \"strip-option\"\nskip = 1",
    "kind = \"alter-option\"\noption = \"all\"",
    "kind = \"nat\"\nrebind = \"20ms\"",
    "kind = \"rewrite-sequence\"",
    "kind = \"split\"\nsize = \"7B\"",
    "kind = \"coalesce\"\nsize = \"50B\"\nhold = \"3ms\"",
    "kind = \"alter-payload\"\nevery = 2",
    "kind = \"proxy-ack\"",
    "kind = \"drop-syn\"",
    "kind = \"replay\"\nevery = 3\ndelay = \"5ms\"",
    "kind = \"reset\"\nafter = \"100B\"",
    "kind = \"reset\"",
];

fn scenario(kinds: &[&str]) -> Scenario {
    let boxes = kinds.iter().zip(1..).map(|(kind, n)| format!("[middlebox.m{n}]\nlink = \"p1\"\n{kind}\n"));
    let text = format!("[links.p1]\n{}[[traffic]]\nbytes = \"1MB\"\n", boxes.collect::<String>());
    Scenario::parse(&text, "test.toml").unwrap_or_else(|error| panic!("{error}"))
}

/// What a packet of a random sequence is like.
type Draw = (bool, bool, u16, u32, u8, Vec<u8>, u8);

fn draw() -> impl Strategy<Value = Draw> {
    let flags = prop::sample::select(vec![SYN, SYN | ACK, ACK, ACK, ACK | PSH, ACK | FIN, RST, RST | ACK, 0, 0xff]);
    let payload = prop::collection::vec(any::<u8>(), 0..40);
    (any::<bool>(), any::<bool>(), 1000..1003_u16, 0..60_u32, flags, payload, 0..4_u8)
}

fn packet((up, v6, port, seq, flags, payload, options): Draw) -> (Packet, Direction) {
    let family = if v6 { Family::V6 } else { Family::V4 };
    let options: &[u8] = match options {
        0 => &[],
        1 => &MP_CAPABLE,
        2 => &DSS,
        _ => &[2, 4, 5, 180, 1, 3, 3, 7, 5, 10, 0, 0, 0, 5, 0, 0, 0, 9, 30, 40],
    };
    let builder = tcp(family).ports(port, 80).seq(seq).ack(60 - seq).flags(flags).options(options).payload(&payload);
    if up { (builder.up(), Direction::Up) } else { (builder.down(), Direction::Down) }
}

/// Everything that comes out of a chain, as text.
fn run(scenario: &Scenario, draws: &[Draw], seed: u64) -> (Chain, Output) {
    let mut chain = Chain::new(scenario, 0, Streams::new(seed));
    let mut out = Output::default();
    for (draw, at) in draws.iter().zip(0_u64..) {
        let now = Instant::from_millis(at);
        while let Some(due) = chain.poll_timeout().filter(|due| *due <= now) {
            chain.handle_timeout(due, &mut out);
        }
        let (packet, direction) = packet(draw.clone());
        chain.handle(now, packet, direction, &mut out);
        assert!(chain.stats().all(|(_, stats)| stats.balance()));
    }
    let mut last = Instant::ZERO;
    while let Some(due) = chain.poll_timeout() {
        assert!(due >= last, "time goes on");
        last = due;
        chain.handle_timeout(due, &mut out);
    }
    (chain, out)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn packets_are_accounted_for_and_intact(
        first in 0..KINDS.len(),
        second in 0..KINDS.len(),
        draws in prop::collection::vec(draw(), 1..40),
        seed in any::<u64>(),
    ) {
        let scenario = scenario(&[KINDS[first], KINDS[second]]);
        let (chain, out) = run(&scenario, &draws, seed);
        prop_assert!(chain.stats().all(|(_, stats)| stats.balance() && stats.held == 0));
        prop_assert!(out.up.iter().chain(&out.down).all(is_intact));
        let dropped = out.dropped.len() as u64;
        prop_assert_eq!(chain.stats().map(|(_, stats)| stats.dropped).sum::<u64>(), dropped);
        // The same seed gives the same bytes.
        let (_, again) = run(&scenario, &draws, seed);
        prop_assert_eq!(format!("{out:?}"), format!("{again:?}"));
    }

    #[test]
    fn no_bytes_make_a_middlebox_panic(
        kind in 0..KINDS.len(),
        draws in prop::collection::vec((draw(), any::<u16>(), any::<u8>(), any::<u16>()), 1..20),
    ) {
        let scenario = scenario(&[KINDS[kind]]);
        let mut chain = Chain::new(&scenario, 0, Streams::new(1));
        let mut out = Output::default();
        for (draw, at, value, cut) in draws {
            let (mut packet, direction) = packet(draw);
            let len = packet.len();
            packet.frame.head[usize::from(at) % len] = value;
            packet.frame.head.truncate(len - usize::from(cut) % 8 * usize::from(cut % 3 == 0));
            // Damage that a device has not noticed is seen too.
            if cut % 2 == 0 {
                packet.frame.meta.checksum = tcp_adapter::ChecksumState::Verified;
            }
            chain.handle(Instant::ZERO, packet, direction, &mut out);
        }
        while let Some(due) = chain.poll_timeout() {
            chain.handle_timeout(due, &mut out);
        }
        prop_assert!(chain.stats().all(|(_, stats)| stats.balance()));
    }
}
