//! What became of the packets.

use std::collections::BTreeMap;
use std::time::Duration;

use mptcp_sdk::adapter::Instant;
use mptcp_sdk::adapter::device::{Device, Tap};
use mptcp_sim::link::{Count, DropReason, PipeStats};
use mptcp_sim::relay::Driver;
use serde::Serialize;

use super::order::Pair;
use crate::failure::Failure;

/// What a relay has done.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    seconds: f64,
    /// The longest time by which a packet left after it was due.
    latest_ms: f64,
    links: Vec<LinkReport>,
}

#[derive(Debug, Serialize)]
struct LinkReport {
    /// Where packets enter that go up, and where they leave.
    taps: [String; 2],
    up: Way,
    down: Way,
}

/// One direction of a link.
#[derive(Debug, Serialize)]
struct Way {
    offered: Amount,
    delivered: Amount,
    dropped: BTreeMap<&'static str, u64>,
    /// Frames that arrived and that the other interface did not take, as when it is down.
    not_taken: u64,
    duplicated: u64,
    corrupted: u64,
    marked: u64,
    reordered: u64,
    longest_queue: u64,
    longest_wait_ms: f64,
}

#[derive(Debug, Serialize)]
struct Amount {
    packets: u64,
    bytes: u64,
}

impl Report {
    /// Reads the books.
    pub(super) fn of<C: Fn() -> Instant>(driver: &Driver<Tap, C>, pairs: &[Pair], time: Duration) -> Self {
        let way = |link: usize, up| {
            let relay = driver.relay();
            let lost = driver.ends()[link][usize::from(up)].stats().tx_dropped + relay.stuck(link, up);
            Way::new(&relay.stats(link, up), lost)
        };
        let link = |(link, pair): (usize, &Pair)| LinkReport {
            taps: pair.taps.clone(),
            up: way(link, true),
            down: way(link, false),
        };
        let links = pairs.iter().enumerate().map(link).collect();
        Self { seconds: time.as_secs_f64(), latest_ms: millis(driver.latest()), links }
    }

    /// For programs.
    pub(super) fn json(&self) -> Result<String, Failure> {
        serde_json::to_string(self).map_err(|error| Failure::Runtime(format!("cannot write the report: {error}")))
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let mut lines = Vec::new();
        for LinkReport { taps: [from, to], up, down } in &self.links {
            lines.push(format!("{from} -> {to}: {}", up.text()));
            lines.push(format!("{to} -> {from}: {}", down.text()));
        }
        lines.push(format!("{:.1} s, never more than {:.2} ms late", self.seconds, self.latest_ms));
        lines.join("\n")
    }
}

impl Way {
    fn new(stats: &PipeStats, not_taken: u64) -> Self {
        let lost = |reason: DropReason| (reason.as_str(), stats.dropped(reason).packets);
        Self {
            offered: stats.offered.into(),
            delivered: stats.delivered.into(),
            dropped: DropReason::ALL.into_iter().map(lost).filter(|(_, packets)| *packets > 0).collect(),
            not_taken,
            duplicated: stats.duplicated.packets,
            corrupted: stats.corrupted,
            marked: stats.marked,
            reordered: stats.reordered,
            longest_queue: stats.longest_queue,
            longest_wait_ms: millis(stats.longest_wait),
        }
    }

    fn text(&self) -> String {
        let mut text = format!("{} packets in, {} out", self.offered.packets, self.delivered.packets);
        let dropped = self.dropped.iter().map(|(reason, packets)| (*packets, format!("lost ({reason})")));
        let other = [
            (self.not_taken, "not taken"),
            (self.duplicated, "duplicated"),
            (self.corrupted, "corrupted"),
            (self.marked, "marked"),
            (self.reordered, "reordered"),
        ];
        let other = other.map(|(packets, what)| (packets, what.to_owned()));
        for (packets, what) in dropped.chain(other).filter(|(packets, _)| *packets > 0) {
            text += &format!(", {packets} {what}");
        }
        if self.longest_queue > 0 {
            text += &format!("; longest queue {} packets, {:.1} ms", self.longest_queue, self.longest_wait_ms);
        }
        text
    }
}

impl From<Count> for Amount {
    fn from(Count { packets, bytes }: Count) -> Self {
        Self { packets, bytes }
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
