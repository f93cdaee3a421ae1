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

/// Of long runs, with the seeds that they came from; stored, as what a seed draws may change.
#[test]
fn what_has_failed_once_holds() {
    let stored = [
        // A timeout of minutes as what waited behind a hole was timed.
        (2_035_204, include_str!("regressions/2035204.toml")),
        // Bytes delivered again to a peer that had fallen back unheard.
        (5_011_769, include_str!("regressions/5011769.toml")),
        // The mapping of the last data lost on the only subflow, at both ends of which all had been said.
        (4_022_955, include_str!("regressions/4022955.toml")),
        // A port lost in the handshake.
        (5_063_645, include_str!("regressions/5063645.toml")),
        // A rate of four bytes per second, kept for minutes.
        (6_004_513, include_str!("regressions/6004513.toml")),
        // What a link that went down had held, sent again to who had fallen back.
        (8_090_475, include_str!("regressions/8090475.toml")),
        // The only address gone for a tenth of a second: the reset could not leave, and who only receives waited for ever.
        (11_003_759, include_str!("regressions/11003759.toml")),
        (11_003_396, include_str!("regressions/11003396.toml")),
        // A reset behind a lost segment, the answer to which was used up by acknowledgements that came late.
        (41_084_945, include_str!("regressions/41084945.toml")),
        // Announcements given up on a path that ate them, and not made again on the next one.
        (51_011_700, include_str!("regressions/51011700.toml")),
        // A mapping with a checksum that was longer than what any subflow brought before it was reset, again and again.
        (61_080_109, include_str!("regressions/61080109.toml")),
        // Subflows that were made again as fast as something on the way reset them.
        (71_007_211, include_str!("regressions/71007211.toml")),
        // A black hole that was not found, as the options of full segments were not counted.
        (101_000_681, include_str!("regressions/101000681.toml")),
        (101_056_062, include_str!("regressions/101056062.toml")),
        // Repetitions of a proxy with timestamps that were too old for the receiver.
        (101_068_721, include_str!("regressions/101068721.toml")),
        // A signal beside the first acknowledgement, while the mapping was incomplete: taken away, it left none.
        (31_056_599, include_str!("regressions/31056599.toml")),
        // Mappings with checksums as long as the window: one round trip for each.
        (151_026_819, include_str!("regressions/151026819.toml")),
        // An announcement in the place of the first DSS, on a path where what was cut for it was joined again: no subflow was added.
        (161_050_847, include_str!("regressions/161050847.toml")),
        // A window that smoltcp took for told, while its neighbour had to be asked for after an address was back.
        (161_081_566, include_str!("regressions/161081566.toml")),
        // Answers to repeated SYNs that brought the server's timer into step with the client's, so that half as many left into a full queue.
        (171_044_667, include_str!("regressions/171044667.toml")),
    ];
    for (seed, text) in stored {
        let faults = check_text(text, seed).map_err(|failure| failure.faults);
        assert!(faults.is_ok(), "{seed}: {faults:#?}");
    }
}

#[test]
fn scenarios_come_from_their_seed_and_differ() {
    let texts: BTreeSet<String> = (0..50).map(scenario).collect();
    assert_eq!(texts.len(), 50);
    assert!(texts.contains(&scenario(7)));
}

#[test]
fn whatever_a_file_can_hold_is_drawn() {
    let texts: Vec<String> = (0..400).map(scenario).collect();
    for kind in [
        "rate = { trace = \"links-",
        "distribution = \"trace\"",
        "distribution = \"table\"",
        "model = \"trace\"",
        "kind = \"trace\"",
    ] {
        assert!(texts.iter().filter(|text| text.contains(kind)).count() > 3, "{kind}");
    }
}
