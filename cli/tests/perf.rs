//! `mptcp perf` over the kernel's sockets, with itself and with iperf3 as the peer.
#![allow(clippy::unwrap_used, reason = "helpers of tests are test code")]

mod common;

use std::process::{Command, Stdio};

use common::{Background, assert_success, free_port, last_json, mptcp, run, wait_for_listener};
use serde_json::Value;

/// Runs one test of `client` arguments against a server of our own; what both print as JSON.
fn measure(client: &[&str], common: &[&str]) -> (Value, Value) {
    let port = free_port();
    let at = format!("127.0.0.1:{port}");
    let server = ["perf", "--server", &at, "--one-off", "--json", "--kernel", "tcp"];
    let server = Background::start(&mut mptcp(server.iter().chain(common).copied()));
    wait_for_listener(port);
    let all = ["perf", "--client", &at, "--json", "--kernel", "tcp"];
    let client = run(&mut mptcp(all.iter().chain(client).chain(common).copied()));
    assert_success(&client);
    let server = server.output();
    assert_success(&server);
    (last_json(&client.stdout), last_json(&server.stdout))
}

#[test]
fn throughput_is_measured_in_every_direction() {
    const BYTES: u64 = 5_000_000;
    for (direction, up, down) in [(None, BYTES, 0), (Some("--reverse"), 0, BYTES), (Some("--bidir"), BYTES, BYTES)] {
        let mut args = vec!["--bytes", "5000000"];
        args.extend(direction);
        let (client, server) = measure(&args, &[]);
        assert_eq!(client["client"]["sent"], up, "{direction:?}");
        assert_eq!(client["client"]["received"], down, "{direction:?}");
        assert_eq!(client["server"]["sent"], down, "{direction:?}");
        assert_eq!(client["server"]["received"], up, "{direction:?}");
        assert_eq!(server["results"], client["server"]);
        let of_intervals =
            |what: &str| client["intervals"].as_array().unwrap().iter().map(|i| i[what].as_u64().unwrap()).sum::<u64>();
        assert_eq!(of_intervals("sent"), up);
        assert_eq!(of_intervals("received"), down);
    }
}

#[test]
fn a_test_ends_in_time() {
    let (client, _) = measure(&["--time", "3"], &[]);
    let seconds = client["client"]["send_seconds"].as_f64().unwrap();
    assert!((3.0..8.0).contains(&seconds), "{seconds}");
    assert!(client["server"]["received"].as_u64().unwrap() > 0);
}

#[test]
fn latency_percentiles_are_in_order() {
    for depth in ["1", "16"] {
        let (client, _) = measure(&["--rr", "--time", "3", "--size", "4K", "--depth", depth], &[]);
        assert!(client["requests"].as_u64().unwrap() > 10, "{client}");
        let names = ["min_us", "p50_us", "p90_us", "p99_us", "p999_us", "max_us"];
        let values = names.map(|name| client[name].as_f64().unwrap());
        assert!(values[0] > 0.0 && values.is_sorted(), "{client}");
    }
}

#[test]
fn the_iperf3_protocol_works_with_itself() {
    for (direction, sent, received) in
        [(None, true, false), (Some("--reverse"), false, true), (Some("--bidir"), true, true)]
    {
        let mut args = vec!["--bytes", "5000000"];
        args.extend(direction);
        let (client, server) = measure(&args, &["--iperf3"]);
        let bytes = |of: &Value, index: usize| of["streams"][index]["bytes"].as_i64().unwrap();
        if sent {
            assert_eq!(bytes(&client["client"], 0), 5_000_000, "{direction:?}");
            assert_eq!(bytes(&client["server"], 0), 5_000_000, "{direction:?}");
        }
        if received {
            assert!(bytes(&client["client"], usize::from(sent)) >= 5_000_000, "{direction:?}");
        }
        assert_eq!(server["client"], client["client"]);
        assert_eq!(server["server"], client["server"]);
    }
}

/// An unmodified iperf3 made to use Multipath TCP, its results as JSON.
fn iperf3(args: &[&str]) -> Command {
    let mut command = Command::new("mptcpize");
    command.args(["run", "iperf3"]).args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[test]
fn an_iperf3_client_is_served() {
    let port = free_port();
    let at = format!("127.0.0.1:{port}");
    let _server =
        Background::start(mptcp(["perf", "--iperf3", "--server", &at, "--kernel", "tcp"]).stdout(Stdio::null()));
    wait_for_listener(port);
    for options in [vec!["-t", "3"], vec!["-n", "5M", "-R"], vec!["-n", "5M", "-P", "2"], vec!["-t", "3", "--bidir"]] {
        let port = port.to_string();
        let mut args = vec!["-c", "127.0.0.1", "-p", &port, "-J"];
        args.extend(&options);
        let output = run(&mut iperf3(&args));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_success(&output);
        assert_eq!(report["error"], Value::Null, "{options:?}");
        assert!(report["end"]["sum_received"]["bytes"].as_f64().unwrap() > 1e6, "{options:?}: {}", report["end"]);
        assert!(report["end"]["sum_sent"]["bytes"].as_f64().unwrap() > 1e6, "{options:?}: {}", report["end"]);
    }
    let output = run(&mut iperf3(&["-c", "127.0.0.1", "-p", &port.to_string(), "-u", "-J"]));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(report["error"].as_str().unwrap().contains("not implemented"), "{report}");
}

#[test]
fn an_iperf3_server_serves_us() {
    for (direction, streams) in [(None, 1), (Some("--reverse"), 1), (Some("--bidir"), 2)] {
        // A new one each time: between two tests an iperf3 server does not listen for a moment.
        let port = free_port();
        let _server = Background::start(iperf3(&["-s", "-1", "-p", &port.to_string()]).stdout(Stdio::null()));
        wait_for_listener(port);
        let at = format!("127.0.0.1:{port}");
        let args = ["perf", "--iperf3", "--client", &at, "--kernel", "tcp", "--json"];
        let output = run(&mut mptcp(args.into_iter().chain(["--bytes", "5M"]).chain(direction)));
        assert_success(&output);
        let report = last_json(&output.stdout);
        for side in ["client", "server"] {
            let of_side = report[side]["streams"].as_array().unwrap();
            assert_eq!(of_side.len(), streams, "{direction:?}: {report}");
            for stream in of_side {
                assert!(stream["bytes"].as_i64().unwrap() > 1_000_000, "{direction:?}: {report}");
            }
        }
    }
}

#[test]
fn a_busy_iperf3_server_says_so() {
    let port = free_port();
    let at = format!("127.0.0.1:{port}");
    let _server =
        Background::start(mptcp(["perf", "--iperf3", "--server", &at, "--kernel", "tcp"]).stdout(Stdio::null()));
    wait_for_listener(port);
    let client = ["perf", "--iperf3", "--client", &at, "--kernel", "tcp", "--time"];
    let first = Background::start(&mut mptcp(client.iter().chain(&["3"]).copied()));
    // The first test has begun once a payload connection exists besides the control connection.
    common::wait_until("the first test runs", || {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let to_server =
            |line: &&str| line.split_whitespace().nth(2).is_some_and(|a| a.ends_with(&format!(":{port:04X}")));
        table.lines().filter(to_server).count() >= 2
    });
    let second = run(&mut mptcp(client.iter().chain(&["1"]).copied()));
    assert_eq!(second.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&second.stderr).contains("busy with another test"), "{second:?}");
    assert_success(&first.output());
}

#[test]
fn a_stranger_is_turned_away() {
    use std::io::{Read, Write};
    let port = free_port();
    let at = format!("127.0.0.1:{port}");
    let server = Background::start(&mut mptcp(["perf", "--server", &at, "--one-off", "--kernel", "tcp"]));
    wait_for_listener(port);
    let mut stranger = std::net::TcpStream::connect(&at).unwrap();
    stranger.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let output = server.output();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(stderr, "mptcp: the test failed: the peer does not speak the protocol of 'mptcp perf'\n");
    // Closed or reset, but not left hanging.
    let _ = stranger.read(&mut [0; 16]);
}
