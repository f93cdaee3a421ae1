//! The two TCPs under one Multipath TCP, and what interfaces do for one of them.

use mptcp_sim::scenario::Metric;

use super::{goodput, metric};

const PATHS: &str = r#"
    [links.p1]
    rate = "20Mbit"
    delay = "10ms"
    loss = "0.2%"
    [links.p2]
    rate = "10Mbit"
    delay = "30ms"
    [[traffic]]
    name = "bulk"
    bytes = "6MiB"
    direction = "both"
"#;

#[test]
fn either_stack_talks_to_either() {
    for client in ["native", "smoltcp"] {
        for server in ["native", "smoltcp"] {
            let text = format!("[hosts.client]\nstack = \"{client}\"\n[hosts.server]\nstack = \"{server}\"\n{PATHS}");
            let scenario = mptcp_sim::scenario::Scenario::parse(&text, "test.toml").unwrap();
            let outcome = mptcp_sim::run(&scenario, 3).unwrap();
            assert!(outcome.unfinished.is_empty(), "{client} to {server}: {:?}", outcome.unfinished);
            let bytes = metric(&outcome, Metric::Delivered, "bulk");
            assert_eq!(bytes, 12.0 * 1_048_576.0, "{client} to {server}");
            let found = goodput(&outcome, "bulk");
            assert!(found > 20.0, "{client} to {server}: {found} Mbit/s over both");
        }
    }
}

/// Segments are cut beneath the stack: every piece has the options and checksums that it needs, and the processor has less to do.
#[test]
fn super_segments_are_cut_by_the_interface() {
    for transport in ["tcp", "mptcp"] {
        let [plain, offloaded] = [false, true].map(|tso| {
            let text = format!(
                r#"
                [hosts.client]
                cpu = {{ per_packet = "10us", per_byte = "1ns" }}
                nic = {{ tso = {tso} }}
                [hosts.server]
                [links.p1]
                rate = "1Gbit"
                delay = "1ms"
                loss = "0.01%"
                [links.p2]
                rate = "1Gbit"
                delay = "1ms"
                [[traffic]]
                name = "bulk"
                transport = "{transport}"
                bytes = "40MiB"
                "#
            );
            let scenario = mptcp_sim::scenario::Scenario::parse(&text, "test.toml").unwrap();
            let outcome = mptcp_sim::run(&scenario, 3).unwrap();
            assert!(outcome.unfinished.is_empty(), "{transport}, {tso}: {:?}", outcome.unfinished);
            goodput(&outcome, "bulk")
        });
        println!("{transport}: {plain} and {offloaded} Mbit/s");
        assert!(offloaded > 1.05 * plain, "{transport}: {offloaded} Mbit/s, {plain} without");
    }
}
