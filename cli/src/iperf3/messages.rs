//! The JSON texts of the control connection: parameters and results.

use serde::{Deserialize, Serialize};

use crate::perf::{Direction, Limit};

/// Streams that iperf3 allows in one test (`MAX_STREAMS`).
pub(super) const MAX_STREAMS: u32 = 128;

/// Bytes per write that iperf3 uses for TCP, and what it allows at most (`MAX_BLOCKSIZE`).
const DEFAULT_BLOCK: u32 = 128 * 1024;
const MAX_BLOCK: u32 = 1024 * 1024;

/// What the client wants. Only what is acted upon; iperf3 sends and accepts more.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Parameters {
    #[serde(default)]
    tcp: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    udp: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    sctp: bool,
    /// Seconds at the start that do not count.
    #[serde(default)]
    omit: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    time: u64,
    /// Bytes to send, 0 for no limit.
    #[serde(default, skip_serializing_if = "is_zero")]
    num: u64,
    #[serde(default = "one")]
    parallel: u32,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    reverse: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    bidirectional: bool,
    #[serde(default)]
    len: u32,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    client_version: String,
}

impl Parameters {
    /// One TCP stream per direction.
    pub(super) fn new(direction: Direction, limit: Limit) -> Self {
        let (time, num) = match limit {
            // The server only derives from it when to lose patience.
            Limit::Time(time) => (time.as_secs() + u64::from(time.subsec_nanos() > 0), 0),
            Limit::Bytes(bytes) => (0, bytes),
        };
        Self {
            tcp: true,
            udp: false,
            sctp: false,
            omit: 0,
            time,
            num,
            parallel: 1,
            reverse: direction == Direction::Download,
            bidirectional: direction == Direction::Both,
            len: DEFAULT_BLOCK,
            client_version: "3.12".to_owned(),
        }
    }

    /// Who sends.
    pub(super) fn direction(&self) -> Direction {
        match (self.bidirectional, self.reverse) {
            (true, _) => Direction::Both,
            (_, true) => Direction::Download,
            _ => Direction::Upload,
        }
    }

    /// Bytes to send in each direction, if that is what ends the test.
    pub(super) fn bytes(&self) -> Option<u64> {
        Some(self.num).filter(|bytes| *bytes > 0)
    }

    /// Streams in each direction.
    pub(super) fn parallel(&self) -> u32 {
        self.parallel
    }

    /// Bytes per write.
    pub(super) fn block(&self) -> usize {
        match self.len {
            0 => DEFAULT_BLOCK as usize,
            len => len as usize,
        }
    }

    /// Why the test cannot be run here; `None` if it can.
    pub(super) fn refusal(&self) -> Option<&'static str> {
        if self.udp || self.sctp || !self.tcp {
            Some("it is not a test of TCP")
        } else if self.parallel == 0 || self.parallel > MAX_STREAMS {
            Some("it has more streams than 128, or none")
        } else if self.len > MAX_BLOCK {
            Some("its blocks are longer than 1 MiB")
        } else {
            None
        }
    }
}

fn one() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What one side has measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Results {
    /// Percent of one processor.
    pub(super) cpu_util_total: f64,
    /// Percent of one processor.
    pub(super) cpu_util_user: f64,
    /// Percent of one processor.
    pub(super) cpu_util_system: f64,
    /// Whether retransmissions of this side's streams are known: -1 if nothing of this side sends.
    #[serde(deserialize_with = "integer")]
    pub(super) sender_has_retransmits: i64,
    /// One entry per stream.
    pub(super) streams: Vec<StreamResults>,
}

/// What one side has measured of one stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct StreamResults {
    /// Number of the stream in the order of creation: 1, 3, 4, 5 and so on.
    pub(super) id: u32,
    /// Payload bytes sent or received.
    #[serde(deserialize_with = "integer")]
    pub(super) bytes: i64,
    /// -1 if unknown.
    #[serde(deserialize_with = "integer")]
    pub(super) retransmits: i64,
    /// Of UDP only.
    pub(super) jitter: f64,
    /// Of UDP only.
    #[serde(deserialize_with = "integer")]
    pub(super) errors: i64,
    /// Of UDP only.
    #[serde(deserialize_with = "integer")]
    pub(super) packets: i64,
    /// Seconds since the start of the test.
    #[serde(default)]
    pub(super) start_time: f64,
    /// Seconds since the start of the test.
    #[serde(default)]
    pub(super) end_time: f64,
}

/// An integer in any of the forms that iperf3 writes: with an exponent if it is large, and -1 also as 2^64-1.
fn integer<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    let number = f64::deserialize(deserializer)?;
    Ok(if number >= u64::MAX as f64 { -1 } else { number as i64 })
}

/// The number that both sides give to the stream that was created as number `index`, counted from 0.
pub(super) fn stream_id(index: usize) -> u32 {
    // iperf3 never uses 2.
    let index = u32::try_from(index).unwrap_or(u32::MAX - 2);
    if index == 0 { 1 } else { index + 2 }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn reads_what_iperf3_sends() {
        let text = r#"{"tcp":true,"omit":0,"time":10,"num":0,"blockcount":0,"parallel":2,"reverse":true,"len":131072,
            "pacing_timer":1000,"client_version":"3.12"}"#;
        let parameters: Parameters = serde_json::from_str(text).unwrap();
        assert_eq!(parameters.direction(), Direction::Download);
        assert_eq!(parameters.parallel(), 2);
        assert_eq!(parameters.block(), 131_072);
        assert_eq!(parameters.refusal(), None);
    }

    #[test]
    fn refuses_what_cannot_be_run() {
        for text in [r#"{"udp":true}"#, r#"{"tcp":true,"parallel":0}"#, r#"{"tcp":true,"len":4294967295}"#] {
            let parameters: Parameters = serde_json::from_str(text).unwrap();
            assert!(parameters.refusal().is_some(), "{text}");
        }
    }

    #[test]
    fn leaves_out_what_iperf3_would_take_for_set() {
        let limit = Limit::Time(Duration::from_millis(1500));
        let text = serde_json::to_string(&Parameters::new(Direction::Upload, limit)).unwrap();
        for name in ["udp", "sctp", "reverse", "bidirectional", "num"] {
            assert!(!text.contains(name), "{name} is in {text}");
        }
        assert!(text.contains(r#""time":2"#), "{text}");
    }

    #[test]
    fn reads_integers_as_iperf3_writes_them() {
        let text = r#"{"id":1,"bytes":1.5e+15,"retransmits":18446744073709551615,"jitter":0,"errors":0,"packets":0}"#;
        let stream: StreamResults = serde_json::from_str(text).unwrap();
        assert_eq!((stream.bytes, stream.retransmits), (1_500_000_000_000_000, -1));
    }

    #[test]
    fn stream_numbers_skip_two() {
        assert_eq!([0, 1, 2, 3].map(stream_id), [1, 3, 4, 5]);
    }
}
