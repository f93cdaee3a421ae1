//! One run that must come out the same everywhere: on every machine, with every compiler, whatever is optimised.
//!
//! Two runs on one machine agree even if both use a function of that machine's mathematical library, or the order of its bytes. This
//! one is compared with what was found elsewhere. It has all that links and their queues do by chance, and no TCP, so that no
//! improvement of the transport changes it.
//!
//! To renew a digest: run the test, which prints those that it has found, and put them here. Do so for `packets` only where the model of
//! links, queues, chance or datagrams is meant to change, as from then on seeds mean other runs than in earlier reports; for `results`
//! also where other figures or columns are written. If they differ on another machine only, that is the defect which this test is for.

use std::io::Write;
use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};

use super::*;
use crate::link::DropReason;
use crate::results::{EventLog, EventLogHeader, digest, hex};

/// Every event and every captured frame in their order, and [`digest`] of the record.
const GOLDEN: [(&str, &str); 2] = [
    ("packets", "1bbde7890f21a70531001f0f9ec0cf5556695163223b2d33ba8a3d9481e982a4"),
    ("results", "b8916de000f93e5a69e24daae1e135352e3b7a29df456f4ddaf8139ed6b631e4"),
];

/// What a link of the scenario drops for.
const REASONS: [DropReason; 13] = [
    DropReason::Down,
    DropReason::Blackhole,
    DropReason::Random,
    DropReason::GilbertElliott,
    DropReason::FourState,
    DropReason::Periodic,
    DropReason::Listed,
    DropReason::Traced,
    DropReason::QueueFull,
    DropReason::Red,
    DropReason::CoDel,
    DropReason::FattestFlow,
    DropReason::Pie,
];

/// Keeps the hash of what is written, by however many.
#[derive(Clone, Default)]
struct Hashing(Arc<Mutex<Sha256>>);

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_run_of_all_chance_is_the_same_on_every_machine() {
    let scenario = scenario(include_str!("golden.toml"));
    let packets = Hashing::default();
    let sink = || -> Sink { Box::new(packets.clone()) };
    // Not the version of the program: that is meant to change.
    let header = EventLogHeader { scenario: "golden", variant: "run", seed: 1, version: "" };
    let observer = Observer::with_series().with_log(EventLog::new(sink(), header).unwrap());
    let observer = observer.with_captures::<io::Error>(&scenario, |_| Ok(sink())).unwrap();
    let record = run_observed(&scenario, meta(&scenario, 1), observer).unwrap().record;
    for reason in REASONS {
        assert!(record.links.iter().any(|link| link.drops.contains_key(reason.as_str())), "no loss by {reason:?}");
    }
    assert!(record.links.iter().any(|link| link.samples.last().unwrap().duplicated > 0));
    let packets = hex(&packets.0.lock().unwrap().clone().finalize());
    let found = [("packets", packets), ("results", digest(&record))];
    assert_eq!(found.each_ref().map(|(name, digest)| (*name, digest.as_str())), GOLDEN);
}
