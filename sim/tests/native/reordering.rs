//! Packets that overtake others are not lost.

use super::{FRAME, PAYLOAD, goodput, simulate};

/// At 100 Mbit/s a packet takes 0.12 ms: jitter of so many packets' time to either side lets packets be late by up to twice as many.
#[test]
fn reordering_of_3_to_30_packets_costs_less_than_5_percent() {
    for congestion in ["cubic", "reno", "bbr"] {
        let ordered = run(congestion, r#""none""#);
        assert!(ordered > 97.0 * PAYLOAD / FRAME, "{congestion}: {ordered} Mbit/s");
        for (packets, jitter) in [(3, "180us"), (10, "600us"), (30, "1800us")] {
            let found = run(congestion, &format!(r#"{{ amount = "{jitter}", order = "free" }}"#));
            println!("{congestion}: {found} Mbit/s with {packets} packets of reordering, {ordered} without");
            assert!(found > 0.95 * ordered, "{congestion}: {found} Mbit/s with {packets} packets of reordering");
        }
    }
}

fn run(congestion: &str, jitter: &str) -> f64 {
    let outcome = simulate(
        &format!(
            r#"
            [tcp]
            congestion = "{congestion}"
            [links.p1]
            rate = "100Mbit"
            delay = "10ms"
            jitter = {jitter}
            queue = {{ packets = 1000 }}
            [[traffic]]
            name = "bulk"
            transport = "tcp"
            [run]
            time = "4s"
            warmup = "500ms"
            "#
        ),
        1,
    );
    goodput(&outcome, "bulk")
}

/// A few packets overtake 30 others: without timers that a reordered packet could run into.
#[test]
fn a_few_packets_that_overtake_many_cost_less_than_5_percent() {
    for congestion in ["cubic", "reno", "bbr"] {
        let [ordered, found] = [r#""none""#, r#""2%""#].map(|reorder| {
            let text = format!(
                r#"
                [tcp]
                congestion = "{congestion}"
                [routers.core]
                [links.a]
                to = "core"
                rate = "100Mbit"
                delay = "3600us"
                queue = {{ packets = 1000 }}
                [links.a.up]
                reorder = {reorder}
                [links.b]
                from = "core"
                delay = "6ms"
                [[traffic]]
                name = "bulk"
                transport = "tcp"
                [run]
                time = "6s"
                warmup = "500ms"
                "#
            );
            goodput(&simulate(&text, 1), "bulk")
        });
        println!("{congestion}: {found} Mbit/s, {ordered} without reordering");
        assert!(found > 0.95 * ordered, "{congestion}: {found} Mbit/s, {ordered} without reordering");
    }
}
