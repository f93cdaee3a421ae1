//! The last segments of a burst are lost: nothing that follows tells of it (RFC 8985 section 7).

use std::fmt::Write as _;

use mptcp_sim::scenario::Metric;

use super::{metric, simulate};

/// Segments of a request, so that it ends with a full one.
const SEGMENTS: u64 = 10;

/// Packets before the first request: the SYN. The request acknowledges its answer.
const HANDSHAKE: u64 = 1;

/// The median time from a request to its answer, the longest, and the segments sent again, if of one of the requests these
/// segments (from 0) are lost.
fn latencies(rtt: u64, lost: &[u64]) -> (f64, f64, f64) {
    // Each request and the acknowledgement of its answer.
    let before = HANDSHAKE + 8 * (SEGMENTS + 1);
    let packets: Vec<String> = lost.iter().map(|segment| (before + segment + 1).to_string()).collect();
    let mut loss = String::new();
    if !packets.is_empty() {
        let _ = write!(loss, "[links.p1.up]\nloss = {{ model = \"list\", packets = [{}] }}", packets.join(", "));
    }
    let outcome = simulate(
        &format!(
            r#"
            [links.p1]
            rate = "1Gbit"
            delay = "{}us"
            {loss}
            [[traffic]]
            name = "requests"
            kind = "request"
            transport = "tcp"
            request = "{}B"
            response = "100B"
            think = "1s"
            count = 16
            "#,
            rtt * 500,
            SEGMENTS * 1448
        ),
        1,
    );
    assert_eq!(metric(&outcome, Metric::Drops, "requests"), lost.len() as f64);
    let [median, longest] = [Metric::LatencyP50, Metric::LatencyMax].map(|of| metric(&outcome, of, "requests"));
    (median, longest, metric(&outcome, Metric::Retransmissions, "requests"))
}

#[test]
fn a_lost_tail_is_repaired_by_a_probe_after_two_round_trips() {
    for rtt in [4, 20, 40, 100] {
        let (without, _, none) = latencies(rtt, &[]);
        assert_eq!(none, 0.0);
        // The request leaves at once, after a pause too.
        let without_ms = without * 1000.0;
        assert!((without_ms / rtt as f64 - 1.0).abs() < 0.15, "{rtt} ms: {without_ms} ms");
        for lost in 1..=4 {
            let tail: Vec<u64> = (SEGMENTS - lost..SEGMENTS).collect();
            let (_, with, again) = latencies(rtt, &tail);
            let delay = (with - without) * 1000.0;
            println!("{rtt} ms, {lost} lost: {delay} ms later, {again} sent again");
            assert_eq!(again, lost as f64, "{rtt} ms, {lost} lost");
            // A short tail is repeated as a whole. Of a longer one the probe repairs the last segment, and its acknowledgement tells of the others,
            // of which the recovery sends two at first.
            let round_trips = if lost <= 3 { 2 } else { 4 };
            assert!(delay < (round_trips * rtt) as f64 + 10.0, "{rtt} ms, {lost} lost: {delay} ms later");
        }
    }
}
