//! What becomes of subflows that keep a small window from moving on (Raiciu et al., NSDI 2012, section 4.2).

use mptcp_sim::run::run;
use mptcp_sim::scenario::Scenario;

use super::goodput;

/// Goodput of 12 MB, in Mbit/s, over a path of 20 Mbit/s and 20 ms and a second one.
fn beside(second: &str, window: u32, scheduler: &str) -> f64 {
    let text = format!(
        r#"
        [hosts.client]
        [hosts.server]
        recv_buffer = "{window}B"
        [links.p1]
        rate = "20Mbit"
        delay = "10ms"
        queue = {{ packets = 100 }}
        [links.p2]
        {second}
        [[traffic]]
        name = "transfer"
        bytes = "12MB"
        [mptcp]
        scheduler = "{scheduler}"
        [run]
        time = "60s"
        "#
    );
    let scenario = Scenario::parse(&text, "penalty.toml").unwrap_or_else(|error| panic!("{error}\n{text}"));
    goodput(&run(&scenario, 1).unwrap_or_else(|error| panic!("{error}")), "transfer")
}

/// What waits in the deep queue of a thin path holds all others up, until that path has less under way: without the penalty it is 8.8, 12.0 and
/// 4.7 Mbit/s.
#[test]
fn who_fills_a_queue_is_slowed_down() {
    let thin = "rate = \"2Mbit\"\ndelay = \"10ms\"\nqueue = { packets = 1000 }";
    for (scheduler, least) in [("lowest-rtt", 13.5), ("linux", 15.5), ("round-robin", 10.0)] {
        let found = beside(thin, 300_000, scheduler);
        assert!(found > least, "{scheduler}: {found:.2} Mbit/s");
    }
}

/// A long way is no shorter for who sends less. Where that was punished, a path with a tenfold round trip carried a twentieth of what it
/// can: 19.1 Mbit/s together.
#[test]
fn who_is_far_away_is_not_slowed_down() {
    let far = "rate = \"20Mbit\"\ndelay = \"100ms\"\nqueue = { packets = 100 }";
    for (scheduler, least) in [("completion-time", 27.0), ("linux", 23.0)] {
        let found = beside(far, 550_000, scheduler);
        assert!(found > least, "{scheduler}: {found:.2} Mbit/s");
    }
}
