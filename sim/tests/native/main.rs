//! The native engine against what formulas, RFCs and published measurements say of TCP, in virtual time.
//!
//! Every figure follows from the seed, so a bound here is no matter of luck: it fails when the engine changes for the worse.

mod coupling;
mod fairness;
mod goodput;
mod marks;
mod mixed;
mod path_mtu;
mod penalty;
mod reordering;
mod stripped;
mod tail;
mod window;

use std::time::Duration;

use mptcp_sim::results::SubflowSample;
use mptcp_sim::run::{Outcome, amount_value, run};
use mptcp_sim::scenario::{Metric, Scenario};

/// Payload of a full segment with timestamps, and bytes of the frame that carries it.
const PAYLOAD: f64 = 1448.0;
const FRAME: f64 = 1514.0;

/// Both hosts can fill any path that is simulated here.
const BUFFERS: &str = r#"
    [hosts.client]
    send_buffer = "32MiB"
    recv_buffer = "16MiB"
    [hosts.server]
    send_buffer = "32MiB"
    recv_buffer = "16MiB"
"#;

/// Runs a scenario between two hosts with large buffers.
fn simulate(text: &str, seed: u64) -> Outcome {
    let text = format!("{text}\n{BUFFERS}");
    let scenario = Scenario::parse(&text, "test.toml").unwrap_or_else(|error| panic!("{error}\n{text}"));
    run(&scenario, seed).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn metric(outcome: &Outcome, metric: Metric, traffic: &str) -> f64 {
    amount_value(outcome.measures.get(metric, traffic).unwrap_or_else(|| panic!("no {metric} of {traffic}")))
}

/// Goodput in Mbit/s.
fn goodput(outcome: &Outcome, traffic: &str) -> f64 {
    metric(outcome, Metric::Goodput, traffic) / 1e6
}

/// Samples of the only subflow of the only connection.
fn samples(outcome: &Outcome) -> &[SubflowSample] {
    &outcome.record.connections[0].subflows[0].samples.values
}

fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}
