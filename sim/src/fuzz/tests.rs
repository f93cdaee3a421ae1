use std::collections::BTreeSet;

use super::*;

/// More are run by hand: `mptcp sim fuzz --random-scenarios 100000`.
const SCENARIOS: u64 = 500;

struct Silent;

impl Progress for Silent {
    fn done(&self, _: Effort) {}
}

impl Watch for Silent {
    fn failed(&self, _: &Failure) {}
}

#[test]
fn random_scenarios_have_no_faults() {
    let tally = fuzz(1, SCENARIOS, &Silent, &AtomicBool::new(false));
    assert_eq!(tally.run, SCENARIOS);
    let faults: Vec<_> = tally.failures.iter().map(|failure| (failure.seed, &failure.faults)).collect();
    assert!(faults.is_empty(), "{faults:#?}");
}

/// Of long runs: a timeout of minutes as what waited behind a hole was timed; bytes delivered again to a peer that had fallen back unheard;
/// the mapping of the last data lost on the only subflow, at both ends of which all had been said; a port lost in the handshake;
/// a rate of four bytes per second, kept for minutes; what a link that went down had held, sent again to who had fallen back.
#[test]
fn what_has_failed_once_holds() {
    for seed in [2_035_204, 5_011_769, 4_022_955, 5_063_645, 6_004_513, 8_090_475] {
        let tally = fuzz(seed, 1, &Silent, &AtomicBool::new(false));
        let faults: Vec<_> = tally.failures.iter().map(|failure| &failure.faults).collect();
        assert!(tally.run == 1 && faults.is_empty(), "{seed}: {faults:#?}");
    }
}

#[test]
fn scenarios_come_from_their_seed_and_differ() {
    let texts: BTreeSet<String> = (0..50).map(scenario).collect();
    assert_eq!(texts.len(), 50);
    assert!(texts.contains(&scenario(7)));
}
