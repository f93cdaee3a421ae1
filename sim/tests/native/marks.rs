//! Explicit congestion notification.

use mptcp_sim::run::Outcome;
use mptcp_sim::scenario::Metric;

use super::{FRAME, PAYLOAD, goodput, metric, simulate};

#[test]
fn queues_that_mark_lose_nothing() {
    let queues = [
        r#"{ kind = "codel", ecn = true }"#,
        r#"{ kind = "fq-codel" }"#,
        r#"{ kind = "pie", ecn = true }"#,
        r#"{ kind = "red", limit = "1MiB", min = "50KiB", max = "400KiB", ecn = true }"#,
    ];
    for congestion in ["cubic", "reno"] {
        for queue in queues {
            let outcome = run(congestion, "50Mbit", "10ms", queue, "20s");
            let (found, full) = (goodput(&outcome, "bulk"), 50.0 * PAYLOAD / FRAME);
            println!("{congestion} with {queue}: {found} Mbit/s");
            assert!(found > 0.8 * full, "{congestion} with {queue}: {found} Mbit/s");
            for none in [Metric::Drops, Metric::Retransmissions] {
                assert_eq!(metric(&outcome, none, "bulk"), 0.0, "{none} of {congestion} with {queue}");
            }
        }
    }
}

/// RFC 8257 section 4.1: a threshold of a seventh of the bandwidth-delay product is enough for a full link, and the queue
/// stays near it.
#[test]
fn dctcp_keeps_the_queue_at_the_threshold() {
    for threshold in [10, 20, 65] {
        let bytes = f64::from(threshold) * FRAME;
        let queue = format!(r#"{{ kind = "step", mark = "{bytes}B" }}"#);
        let outcome = run("dctcp", "1Gbit", "100us", &queue, "1500ms");
        let (found, full) = (goodput(&outcome, "bulk"), 1000.0 * PAYLOAD / FRAME);
        let link = &outcome.record.links[0];
        let steady: Vec<u64> = link.samples.values.iter().skip(500).map(|sample| sample.queue_packets).collect();
        let mean = steady.iter().sum::<u64>() as f64 / steady.len() as f64;
        let most = steady.iter().max().unwrap();
        println!("K = {threshold}: {found} Mbit/s, queue {mean} packets, {most} at most");
        assert!(found > 0.99 * full, "K = {threshold}: {found} Mbit/s");
        assert!((0.4..1.4).contains(&(mean / f64::from(threshold))), "K = {threshold}: a queue of {mean} packets");
        assert!(*most < 2 * threshold as u64 + 10, "K = {threshold}: a queue of {most} packets");
        assert_eq!(metric(&outcome, Metric::Drops, "bulk"), 0.0);
    }
}

fn run(congestion: &str, rate: &str, delay: &str, queue: &str, time: &str) -> Outcome {
    simulate(
        &format!(
            r#"
            [tcp]
            congestion = "{congestion}"
            ecn = true
            [links.p1]
            rate = "{rate}"
            delay = "{delay}"
            queue = {queue}
            [[traffic]]
            name = "bulk"
            transport = "tcp"
            [run]
            time = "{time}"
            warmup = "500ms"
            [report]
            interval = "1ms"
            "#
        ),
        1,
    )
}
