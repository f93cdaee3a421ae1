use super::super::tests::{scenario, value};
use super::super::{run, run_for_figures};
use super::*;

fn get(text: &str, metric: Metric, of: &str) -> f64 {
    value(&run(&scenario(text), 1).unwrap(), metric, of)
}

const TWO_EQUAL: &str = r#"
    [links.p1]
    rate = "20Mbit"
    delay = "5ms"
    [links.p2]
    rate = "20Mbit"
    delay = "5ms"
    [run]
    time = "8s"
    warmup = "2s"
    [[traffic]]
    name = "bulk"
"#;

#[test]
fn tcp_is_measured_by_the_path_that_it_has() {
    let used = get(&format!("{TWO_EQUAL}transport = \"tcp\""), Metric::Utilisation, "bulk");
    assert!((0.9..=1.0).contains(&used), "{used}");
    let used = get(&format!("{TWO_EQUAL}transport = \"tcp-balanced\"\nconnections = 2"), Metric::Utilisation, "bulk");
    assert!((0.9..=1.0).contains(&used), "{used}");
}

/// The first path says only where a connection begins.
#[test]
fn multipath_tcp_is_measured_by_what_its_path_manager_may_use() {
    let text = format!("{TWO_EQUAL}paths = [\"p1\"]\n");
    let used = get(&text, Metric::Utilisation, "bulk");
    assert!((0.9..=1.0).contains(&used), "{used}");
    let used = get(&format!("{text}[mptcp]\nendpoints = []\n"), Metric::Utilisation, "bulk");
    assert!((0.9..=1.0).contains(&used), "{used}");
}

#[test]
fn a_rate_that_changes_counts_with_its_mean() {
    let text = r#"
        [links.p1]
        rate = "5Mbit"
        steps = { every = "500ms", rates = { min = "5Mbit", max = "30Mbit" } }
        delay = "5ms"
        [run]
        time = "20s"
        [[traffic]]
        name = "bulk"
        transport = "tcp"
    "#;
    let used = get(text, Metric::Utilisation, "bulk");
    assert!((0.8..=1.0).contains(&used), "{used}");
}

/// What the link could not carry, as it was down or a black hole, is nobody's to use; nor is what it could have carried before.
#[test]
fn utilisation_is_of_what_could_be_carried_meanwhile() {
    for action in ["down", "blackhole"] {
        let text = format!(
            r#"
            [links.p1]
            rate = "5Mbit"
            delay = "5ms"
            queue = {{ packets = 50 }}
            events = [
              {{ at = "2s", action = "set", rate = "20Mbit" }},
              {{ at = "6s", action = "{action}", for = "1s" }},
            ]
            [run]
            time = "12s"
            warmup = "4s"
            [[traffic]]
            name = "bulk"
            transport = "tcp"
            "#
        );
        let outcome = run(&scenario(&text), 1).unwrap();
        let used = value(&outcome, Metric::Utilisation, "bulk");
        let expected = value(&outcome, Metric::Goodput, "bulk") * 8.0 / (7.0 * 20e6);
        assert!((used / expected - 1.0).abs() < 1e-4 && used < 1.0, "{action}: {used} and not {expected}");
    }
}

/// A second's worth of requests is outstanding, and the run ends before the first are answered: which of them would be the slowest nobody knows.
#[test]
fn percentiles_wait_for_what_is_outstanding() {
    let text = |time: &str| {
        format!(
            r#"
            [links.p1]
            rate = "10Mbit"
            delay = "5ms"
            queue = {{ packets = 100 }}
            [hosts.client]
            [hosts.server]
            [run]
            time = "{time}"
            [[traffic]]
            name = "ask"
            kind = "request"
            transport = "tcp"
            response = "10kB"
            depth = 125
            "#
        )
    };
    let outcome = run(&scenario(&text("500ms")), 1).unwrap();
    assert_eq!(outcome.measures.get(Metric::LatencyP99, "ask"), None);
    assert_eq!(outcome.measures.get(Metric::LatencyP50, "ask"), None);
    assert_eq!(outcome.measures.get(Metric::LatencyMax, "ask"), None);
    let outcome = run(&scenario(&text("10s")), 1).unwrap();
    let slowest = value(&outcome, Metric::LatencyP99, "ask");
    assert!((1.0..1.3).contains(&slowest), "{slowest}");
    assert_eq!(outcome.record.latencies[0].under_way(), 125);
}

#[test]
fn messages_of_a_connection_that_fails_are_missed() {
    let text = r#"
        [links.p1]
        rate = "20Mbit"
        delay = "5ms"
        [middlebox.rude]
        link = "p1"
        kind = "reset"
        after = "100kB"
        [run]
        time = "10s"
        [[traffic]]
        name = "messages"
        kind = "message"
        transport = "tcp"
        size = "1kB"
        interval = "10ms"
        deadline = "100ms"
    "#;
    let met = get(text, Metric::DeadlineMet, "messages");
    assert!((0.095..=0.11).contains(&met), "a tenth of the time: {met}");
}

#[test]
fn work_that_begins_late_is_waited_for() {
    let text = r#"
        [links.p1]
        rate = "20Mbit"
        delay = "5ms"
        [[traffic]]
        name = "bulk"
        start = "20min"
        bytes = "1MB"
    "#;
    assert_eq!(get(text, Metric::Delivered, "bulk"), 1e6);
}

#[test]
fn what_was_sent_again_counts_with_series_and_without() {
    let text = r#"
        [links.p1]
        rate = "20Mbit"
        delay = "5ms"
        loss = "1%"
        [run]
        time = "6s"
        [[traffic]]
        name = "bulk"
        transport = "tcp"
        direction = "up"
        time = "5s"
    "#;
    let scenario = scenario(text);
    let again = [run(&scenario, 1), run_for_figures(&scenario, 1)]
        .map(|outcome| value(&outcome.unwrap(), Metric::Retransmissions, "bulk"));
    assert!(again[0] > 50.0 && again[0] == again[1], "{again:?}");
}

#[test]
fn a_silent_sender_of_datagrams_is_no_stall() {
    let text = r#"
        [links.p1]
        rate = "10Mbit"
        delay = "5ms"
        loss = { model = "periodic", every = 10 }
        [run]
        time = "5s"
        [[traffic]]
        name = "udp"
        kind = "paced"
        transport = "udp"
        size = "1000B"
        rate = "800kbit"
        phases = { on = "1s", off = "10s" }
    "#;
    let stall = get(text, Metric::LongestStall, "udp");
    assert!(stall <= 0.05, "{stall}");
}

/// Of a request connection one direction carries next to nothing, which says nothing of how connections share a link.
#[test]
fn both_directions_are_one_connection() {
    let text = r#"
        [links.p1]
        rate = "20Mbit"
        delay = "5ms"
        [[traffic]]
        name = "ask"
        kind = "request"
        transport = "tcp"
        connections = 2
        request = "100B"
        response = "10kB"
        count = 20
    "#;
    let outcome = run(&scenario(text), 1).unwrap();
    let summary = crate::results::RunSummary::new(&outcome.record);
    let subflows: usize = summary.paths.iter().map(|path| path.subflows).sum();
    assert_eq!((summary.opened, summary.finished, subflows, summary.connections.len()), (2, 2, 2, 4));
    assert!(summary.fairness > 0.99, "{}", summary.fairness);
}

/// One after the other they have the link for themselves, and no more than the link.
#[test]
fn goodput_is_of_all_the_time() {
    let text = r#"
        [links.p1]
        rate = "10Mbit"
        delay = "5ms"
        [[traffic]]
        name = "first"
        transport = "tcp"
        bytes = "1MB"
        [[traffic]]
        name = "second"
        transport = "tcp"
        bytes = "1MB"
        start = "3s"
    "#;
    let outcome = run(&scenario(text), 1).unwrap();
    let summary = crate::results::RunSummary::new(&outcome.record);
    assert!((3.8..4.2).contains(&summary.duration.as_secs_f64()), "{:?}", summary.duration);
    assert!((3.8e6..4.3e6).contains(&summary.goodput), "{}", summary.goodput);
    // What is over holds nothing.
    for connection in &outcome.record.connections {
        for subflow in &connection.subflows {
            let last = subflow.samples.last().unwrap();
            assert!(last.delivered > 500_000 && last.cwnd.is_none() && last.in_flight == 0, "{last:?}");
        }
    }
    let first = &outcome.record.connections[0].subflows[0].samples;
    assert!(first.values.len() < outcome.record.clock.len() / 2, "{} samples of the first", first.values.len());
}
