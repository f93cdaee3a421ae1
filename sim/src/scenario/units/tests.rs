use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;

#[test]
fn quantities_are_exact() {
    assert_eq!(Duration::parse("10ms"), Ok(Duration::from_millis(10)));
    assert_eq!(Duration::parse("1.5s"), Ok(Duration::from_millis(1500)));
    assert_eq!(Duration::parse("40.96 ms"), Ok(Duration::from_micros(40_960)));
    assert_eq!(Duration::parse("0"), Ok(Duration::ZERO));
    assert_eq!(Rate::parse("1Gbit"), Ok(Rate(1_000_000_000)));
    assert_eq!(Rate::parse("1000mbit"), Ok(Rate(1_000_000_000)));
    assert_eq!(Rate::parse("0.3Mbit/s"), Ok(Rate(300_000)));
    assert_eq!(Rate::parse("455MiB/s"), Ok(Rate(455 * 8 * 1024 * 1024)));
    assert_eq!(Size::parse("64KiB"), Ok(Size(65_536)));
    assert_eq!(Size::parse("1MB"), Ok(Size(1_000_000)));
    assert_eq!(Size::parse("1448"), Ok(Size(1448)));
    assert_eq!(Probability::parse("0.5%"), Ok(Probability(5_000_000)));
    assert_eq!(Probability::parse("100%"), Ok(Probability::ONE));
    assert_eq!(Share::parse("-27%"), Ok(Share(-270_000_000)));
    assert_eq!(Share::parse("+12%"), Share::parse("12%"));
    assert_eq!(Picoseconds::parse("0.25ns"), Ok(Picoseconds(250)));
}

#[test]
fn mistakes_say_what_is_wrong() {
    let time = |text: &str| Duration::parse(text).unwrap_err().to_string();
    let rate = |text: &str| Rate::parse(text).unwrap_err().to_string();
    assert_eq!(time("10"), "a time needs a unit (ns, us, ms, s, min, h)");
    assert_eq!(time("10Mbit"), "'Mbit' is not a unit of time (ns, us, ms, s, min, h)");
    assert_eq!(time("ms"), "a time starts with a number");
    assert_eq!(time("-1ms"), "a time starts with a number");
    assert_eq!(time("1.2.3ms"), "a time starts with a number");
    assert_eq!(time("0.1ns"), "a time is a multiple of 1 ns");
    assert_eq!(time("999999999999h"), "this time is too large");
    assert_eq!(time("99999999999999999999999999999999999999999999s"), "this time is too large");
    assert_eq!(time("0.00000000000000000000000000000000000000000001s"), "a time is a multiple of 1 ns");
    assert_eq!(rate("10Mbps"), "'Mbps' means bytes to tc and bits to others; write Mbit or MB/s");
    assert!(rate("10ms").starts_with("'ms' is not a unit of rate (bit, kbit"));
    assert_eq!(Probability::parse("101%"), Err(UnitError::AboveOne));
    assert!(Size::parse("1mib").is_err());
}

#[test]
fn ranges_include_their_ends() {
    let expand = |text: &str| expand_range(text).expect(text);
    assert_eq!(expand("5ms..20ms step 5"), Ok(["5ms", "10ms", "15ms", "20ms"].map(str::to_owned).to_vec()));
    assert_eq!(expand("5..20ms step 10ms"), Ok(["5ms", "15ms"].map(str::to_owned).to_vec()));
    assert_eq!(expand("1Mbit..1Gbit x 10"), Ok(["1Mbit", "10Mbit", "100Mbit", "1Gbit"].map(str::to_owned).to_vec()));
    assert_eq!(expand("0%..1% step 0.5"), Ok(["0%", "0.5%", "1%"].map(str::to_owned).to_vec()));
    assert_eq!(expand("1..4 step 1"), Ok(["1", "2", "3", "4"].map(str::to_owned).to_vec()));
    for wrong in ["5ms..1ms step 1", "5ms..20ms step 0", "1..9 x 1", "0..9 x 2", "1ms..1Mbit step 1", "1..9 step 1ms"] {
        assert!(expand(wrong).is_err(), "{wrong}");
    }
    assert_eq!(expand("1..100000 step 1"), Err(UnitError::RangeTooLong { limit: 10_000 }));
    for other in ["5ms", "from 5..10", "5ms..10ms", "a..b step c", "5ms..10ms by 3"] {
        assert!(expand_range(other).is_none(), "{other}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_printed_reads_the_same(value: u64, share: i32) {
        let value = value >> (value % 64);
        prop_assert_eq!(Duration::parse(&Duration::from_nanos(value).print()), Ok(Duration::from_nanos(value)));
        prop_assert_eq!(Rate::parse(&Rate(value).print()), Ok(Rate(value)));
        prop_assert_eq!(Size::parse(&Size(value).print()), Ok(Size(value)));
        prop_assert_eq!(Picoseconds::parse(&Picoseconds(value).print()), Ok(Picoseconds(value)));
        let chance = Probability(value % (Probability::ONE.0 + 1));
        prop_assert_eq!(Probability::parse(&chance.print()), Ok(chance));
        let share = Share(i64::from(share));
        prop_assert_eq!(Share::parse(&share.print()), Ok(share));
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,24}", digits in "[0-9._]{0,40}", unit in "(ms|Gbit|KiB|%|ns|x| )?") {
        for text in [text.clone(), format!("{digits}{unit}"), format!("{digits}..{digits}{unit} step {digits}"), format!("{text}..{text} x {text}")] {
            let _ = (Duration::parse(&text), Rate::parse(&text), Size::parse(&text), Share::parse(&text));
            let _ = (Probability::parse(&text), Picoseconds::parse(&text), expand_range(&text));
        }
    }

    #[test]
    fn decimals_are_those_of_the_number(whole in 0_u64..1_000_000, fraction in 0_u64..1000) {
        let parsed = Duration::parse(&format!("{whole}.{fraction:03}ms"));
        prop_assert_eq!(parsed, Ok(Duration::from_micros(whole * 1000 + fraction)));
    }
}
