//! What the demonstration has shown.

use std::time::Duration;

use serde_json::Value;

use super::kernel::{OURS, PATHS, VICTIM, addr};
use crate::human::{bytes, rate};
use crate::network::{StreamReport, SubflowReport};
use crate::say;

/// What came of it.
pub(super) struct Summary {
    pub(super) bytes: u64,
    pub(super) elapsed: Duration,
    pub(super) digest: String,
    pub(super) same: bool,
    pub(super) connection: StreamReport,
    /// The summary of the kernel's end.
    pub(super) kernel: Value,
}

/// Characters of the longest bar.
const BAR: f64 = 40.0;

impl Summary {
    /// As one line of JSON.
    pub(super) fn json(&self) -> String {
        let paths: Vec<Value> = (0..PATHS)
            .map(|path| serde_json::json!({ "path": path + 1, "bytes": self.on_path(path), "went_down": path == VICTIM }))
            .collect();
        serde_json::json!({
            "bytes": self.bytes,
            "seconds": self.elapsed.as_secs_f64(),
            "sha256": self.digest,
            "same": self.same,
            "paths": paths,
            "connection": self.connection,
            "kernel": self.kernel,
        })
        .to_string()
    }

    /// For people.
    pub(super) fn print(&self) {
        let carried: Vec<u64> = (0..PATHS).map(|path| self.on_path(path)).collect();
        let most = carried.iter().max().copied().unwrap_or(0).max(1);
        let all = carried.iter().sum::<u64>().max(1);
        for (path, count) in (0..PATHS).zip(&carried) {
            let bar = "#".repeat((*count as f64 * BAR / most as f64).round() as usize);
            let share = *count as f64 * 100.0 / all as f64;
            let fate = if path == VICTIM { "  went down half-way" } else { "" };
            say(&format!("path {}  {:>10}  {share:5.1}%  {bar:<40}{fate}", path + 1, bytes(*count)));
        }
        let rate = rate(self.bytes, self.elapsed);
        say(&format!("{} in {:.2} s: {rate}", bytes(self.bytes), self.elapsed.as_secs_f64()));
        if let Some(cause) = &self.connection.fallback {
            say(&format!("only one path was used: {cause}"));
        }
        let verdict = if self.same { "the same at both ends" } else { "DIFFERENT at the other end" };
        say(&format!("SHA-256 {} is {verdict}", self.digest));
    }

    fn on_path(&self, path: u8) -> u64 {
        let of_path = |subflow: &&SubflowReport| subflow.local.ip() == addr(path, OURS);
        self.connection.subflows.iter().filter(of_path).map(|subflow| subflow.sent).sum()
    }
}
