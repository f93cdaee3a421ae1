//! Links of the simulator in real time: our own `mptcp sim relay` on paths that were cut.

use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::cli;
use crate::error::{LabError, Result};
use crate::process::{Process, wait_until};
use crate::topology::Topology;

/// Time in which the relay has opened its interfaces.
const START_LIMIT: Duration = Duration::from_secs(60);

/// Time in which it says what it has done.
const END_LIMIT: Duration = Duration::from_secs(60);

/// Links that were later than this were not what they should be, as on a machine without time for them: what they gave is worth another try
/// before it is taken for ours. An idle machine stays below.
pub const LATE: Duration = Duration::from_millis(5);

/// A relay between the two ends of the first paths of a topology.
#[derive(Debug)]
pub struct Relay {
    process: Process,
}

/// What a relay has done.
#[derive(Clone, Debug, PartialEq)]
pub struct RelayReport {
    /// The longest time by which a packet left after it was due.
    pub latest: Duration,
    /// Of each path: from the stack to the kernel, and back.
    pub paths: Vec<[Passage; 2]>,
}

/// What became of the packets of one direction of a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passage {
    /// Packets that came in.
    pub offered: u64,
    /// Packets that came out.
    pub delivered: u64,
    /// Packets lost, for any reason.
    pub dropped: u64,
    /// Packets that arrived twice.
    pub duplicated: u64,
    /// Packets with a flipped bit.
    pub corrupted: u64,
    /// Packets marked as having met congestion.
    pub marked: u64,
    /// Packets that overtook others.
    pub reordered: u64,
}

impl Relay {
    /// Cuts the first paths of a topology, one for each of `conditions`, and relays between their halves. Conditions are options of
    /// `mptcp sim relay`, such as `--rate 10Mbit --delay 5ms`; the first of two values is for packets from the stack to the kernel.
    ///
    /// # Errors
    /// The system refuses, or the conditions are wrong.
    pub fn start(topology: &Topology, conditions: &[&str], dir: &Path) -> Result<Self> {
        (0..conditions.len()).try_for_each(|path| topology.cut(path))?;
        Self::start_again(topology, conditions, dir)
    }

    /// The same on paths that another relay has cut before, and left.
    ///
    /// # Errors
    /// The system refuses, or the conditions are wrong.
    pub fn start_again(topology: &Topology, conditions: &[&str], dir: &Path) -> Result<Self> {
        let mut words = "sim relay --json".to_owned();
        let mut taps = Vec::new();
        for (path, conditions) in conditions.iter().enumerate() {
            let [near, far] = topology.cut_interfaces(path);
            words += &format!(" --tap {near} --tap {far} {conditions}");
            taps.extend([near, far]);
        }
        let mut process = cli::start(topology.wire(), &words, "relay", dir)?;
        // An interface has a carrier from when it is open.
        let carriers: Vec<String> = taps.iter().map(|tap| format!("/sys/class/net/{tap}/carrier")).collect();
        wait_until("the relay to open its interfaces", START_LIMIT, || {
            if !process.is_running() {
                return Err(LabError::Unexpected { what: "the relay".to_owned(), found: process.stderr() });
            }
            Ok(!topology.wire().read(&carriers.join(" "))?.contains('0'))
        })?;
        Ok(Self { process })
    }

    /// Ends the relay.
    ///
    /// # Errors
    /// It had ended before, or its report cannot be read.
    pub fn stop(self) -> Result<RelayReport> {
        self.process.signal(Signal::INT)?;
        // An interrupted program has an exit code of its own.
        let said = self.process.wait(END_LIMIT)?;
        let unexpected = || LabError::Unexpected {
            what: "the report of the relay".to_owned(),
            found: format!("{}{}", said.stdout, said.stderr),
        };
        let json: Value = serde_json::from_str(&said.stdout).map_err(|_| unexpected())?;
        RelayReport::of(&json).ok_or_else(unexpected)
    }
}

impl RelayReport {
    fn of(json: &Value) -> Option<Self> {
        let links = json["links"].as_array()?.iter();
        let paths = links.map(|link| Some([Passage::of(&link["up"])?, Passage::of(&link["down"])?]));
        let latest = Duration::from_secs_f64(json["latest_ms"].as_f64()? / 1e3);
        Some(Self { latest, paths: paths.collect::<Option<_>>()? })
    }
}

impl Passage {
    fn of(json: &Value) -> Option<Self> {
        let lost = json["dropped"].as_object()?.values().filter_map(Value::as_u64).sum::<u64>();
        Some(Self {
            offered: json["offered"]["packets"].as_u64()?,
            delivered: json["delivered"]["packets"].as_u64()?,
            dropped: lost + json["not_taken"].as_u64()?,
            duplicated: json["duplicated"].as_u64()?,
            corrupted: json["corrupted"].as_u64()?,
            marked: json["marked"].as_u64()?,
            reordered: json["reordered"].as_u64()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_read() {
        let way = r#"{"offered": {"packets": 9, "bytes": 900}, "delivered": {"packets": 6, "bytes": 600},
            "dropped": {"random": 2, "queue-full": 1}, "not_taken": 1, "duplicated": 0, "corrupted": 3, "marked": 4,
            "reordered": 5}"#;
        let text = format!(r#"{{"latest_ms": 1.5, "links": [{{"up": {way}, "down": {way}}}]}}"#);
        let report = RelayReport::of(&serde_json::from_str(&text).unwrap()).unwrap();
        assert_eq!(report.latest, Duration::from_micros(1500));
        let expected =
            Passage { offered: 9, delivered: 6, dropped: 4, duplicated: 0, corrupted: 3, marked: 4, reordered: 5 };
        assert_eq!(report.paths, [[expected; 2]]);
        assert_eq!(RelayReport::of(&Value::Null), None);
    }
}
