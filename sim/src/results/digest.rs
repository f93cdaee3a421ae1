//! What people on two machines compare.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use super::csv;
use super::record::RunRecord;
use super::series::SERIES;

/// SHA-256 over all tables of a run, as [`csv::series`] writes them, and its counters, in hexadecimal digits. Whoever finds the same
/// has had the same run; what only names it, as its version and its command do, does not count.
pub fn digest(run: &RunRecord) -> String {
    let mut hash = Sha256::new();
    let mut add = |name: &str, content: &str| {
        for text in [name, content] {
            // Where one ends and the next begins makes a difference.
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        }
    };
    for series in &SERIES {
        add(&format!("{}.csv", series.name), &csv::series(series, run));
    }
    for (name, value) in &run.counters {
        add(name, &value.to_string());
    }
    hex(&hash.finalize())
}

/// Two digits for each byte.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::fixture;

    #[test]
    fn every_sample_and_every_counter_counts_and_no_name_does() {
        let report = fixture::report();
        let [first, second] = &report.runs[..] else { panic!("two runs") };
        let known = digest(first);
        assert!(known.len() == 64 && known.bytes().all(|digit| digit.is_ascii_hexdigit()), "{known}");
        assert_ne!(known, digest(second));
        let changed = |change: fn(&mut RunRecord)| {
            let mut run = first.clone();
            change(&mut run);
            digest(&run)
        };
        assert_eq!(changed(|run| run.meta.version.push('1')), known);
        assert_eq!(changed(|run| run.meta.command.clear()), known);
        assert_ne!(changed(|run| run.connections[0].subflows[0].samples.values[2].in_flight += 1), known);
        assert_ne!(changed(|run| run.links[0].samples.values[1].queue_bytes += 1), known);
        assert_ne!(changed(|run| *run.counters.entry("joins".to_owned()).or_default() += 1), known);
    }
}
