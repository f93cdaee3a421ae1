//! Flows of one kind share a link.

use super::{FRAME, PAYLOAD, goodput, simulate};

/// Jain's index of two flows, the second of which starts late.
#[test]
#[expect(clippy::disallowed_methods, reason = "the last digit does not matter here")]
fn two_flows_of_a_kind_share_a_link() {
    let tail = "{ packets = 80 }";
    for (congestion, queue) in
        [("cubic", tail), ("reno", tail), ("bbr", tail), ("dctcp", r#"{ kind = "step", mark = "30KiB" }"#)]
    {
        let outcome = simulate(
            &format!(
                r#"
                [tcp]
                congestion = "{congestion}"
                [links.p1]
                rate = "20Mbit"
                delay = "10ms"
                queue = {queue}
                [[traffic]]
                name = "first"
                transport = "tcp"
                [[traffic]]
                name = "second"
                transport = "tcp"
                start = "2s"
                [run]
                time = "100s"
                warmup = "15s"
                "#
            ),
            1,
        );
        let [a, b] = ["first", "second"].map(|name| goodput(&outcome, name));
        let jain = (a + b).powi(2) / (2.0 * (a * a + b * b));
        println!("{congestion}: {a} and {b} Mbit/s, index {jain}");
        assert!(jain > 0.95, "{congestion}: {a} and {b} Mbit/s, index {jain}");
        assert!(a + b > 0.95 * 20.0 * PAYLOAD / FRAME, "{congestion}: {a} and {b} Mbit/s");
    }
}
