//! `mptcp cat` over the kernel's sockets.
#![allow(clippy::unwrap_used, reason = "helpers of tests are test code")]

mod common;

use std::io::Write;
use std::process::{Output, Stdio};

use common::{Background, TempFile, assert_success, free_port, last_json, mptcp, run, wait_for_listener, wait_until};

/// Both ends send a file at once; both outputs must equal the other's input.
fn both_ways(kernel: &str, multipath: bool) {
    let port = free_port();
    let (listen, connect) = (format!("127.0.0.1:{port}"), format!("127.0.0.1:{port}"));
    let up = TempFile::with_len(&format!("{kernel}-up"), 3_000_001);
    let down = TempFile::with_len(&format!("{kernel}-down"), 500_003);
    let (at_server, at_client) =
        (TempFile::named(&format!("{kernel}-at-server")), TempFile::named(&format!("{kernel}-at-client")));
    let server = Background::start(&mut mptcp([
        "cat",
        "--listen",
        &listen,
        "--kernel",
        kernel,
        "--input",
        down.path(),
        "--output",
        at_server.path(),
        "--json",
    ]));
    wait_for_listener(port);
    let client = run(&mut mptcp([
        "cat",
        "--connect",
        &connect,
        "--kernel",
        kernel,
        "--input",
        up.path(),
        "--output",
        at_client.path(),
        "--json",
    ]));
    let server = server.output();
    assert_success(&client);
    assert_success(&server);
    assert!(at_server.bytes() == up.bytes(), "the server received other bytes than the client sent");
    assert!(at_client.bytes() == down.bytes(), "the client received other bytes than the server sent");
    let summary = last_json(&client.stderr);
    assert_eq!(summary["sent"], 3_000_001);
    assert_eq!(summary["received"], 500_003);
    assert_eq!(summary["error"], serde_json::Value::Null);
    assert_eq!(summary["fallback"], serde_json::Value::Null, "{summary}");
    assert_eq!(summary["transport"], if multipath { "kernel mptcp" } else { "kernel tcp" });
    assert_eq!(summary["subflows"].as_array().unwrap().len(), 1, "{summary}");
    // The kernel counts what is acknowledged, and we leave as soon as the bytes are in its hands.
    assert!(summary["subflows"][0]["sent"].as_u64().unwrap() > 0, "{summary}");
}

#[test]
fn passes_bytes_both_ways_over_kernel_tcp() {
    both_ways("tcp", false);
}

#[test]
fn passes_bytes_both_ways_over_kernel_mptcp() {
    both_ways("mptcp", true);
}

#[test]
fn tells_when_the_kernel_falls_back() {
    let port = free_port();
    let server = Background::start(&mut mptcp(["cat", "--listen", &port.to_string(), "--kernel", "tcp"]));
    wait_for_listener(port);
    let remote = format!("127.0.0.1:{port}");
    let client = run(&mut mptcp(["cat", "--connect", &remote, "--kernel", "mptcp", "--json"]));
    assert_success(&client);
    assert_success(&server.output());
    assert!(last_json(&client.stderr)["fallback"].is_string(), "{client:?}");
}

#[test]
fn the_other_direction_lives_on_after_the_end_of_the_input() {
    let port = free_port();
    let mut server = mptcp(["cat", "--listen", &port.to_string(), "--kernel", "tcp"]);
    let mut server = Background::start(server.stdin(Stdio::piped()));
    wait_for_listener(port);
    let output = TempFile::named("half-close");
    // The client has nothing to send and closes its direction at once.
    let remote = format!("127.0.0.1:{port}");
    let client =
        Background::start(&mut mptcp(["cat", "--connect", &remote, "--kernel", "tcp", "--output", output.path()]));
    let mut input = server.stdin();
    input.write_all(b"first").unwrap();
    // What has been read must arrive although the input has not ended.
    wait_until("the first bytes arrive", || output.0.exists() && output.bytes() == b"first");
    input.write_all(b" second").unwrap();
    drop(input);
    assert_success(&client.output());
    assert_success(&server.output());
    assert_eq!(output.bytes(), b"first second");
}

fn assert_mistake(output: &Output, code: i32, sentence: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert_eq!(stderr, format!("mptcp: {sentence}\n"));
}

#[test]
fn mistakes_are_told_in_one_sentence() {
    let port = free_port();
    let remote = format!("127.0.0.1:{port}");
    let refused = run(&mut mptcp(["cat", "--connect", &remote, "--kernel", "tcp"]));
    assert_mistake(&refused, 1, &format!("cannot connect to {remote}: the peer refused the connection"));

    let server = Background::start(&mut mptcp(["cat", "--listen", &remote, "--kernel", "tcp"]));
    wait_for_listener(port);
    let taken = run(&mut mptcp(["cat", "--listen", &remote, "--kernel", "tcp"]));
    assert_mistake(&taken, 1, &format!("cannot listen on {remote}: the port is already in use"));
    drop(server);

    let no_file = run(&mut mptcp(["cat", "--connect", &remote, "--kernel", "tcp", "--input", "/nonexistent/file"]));
    assert_mistake(&no_file, 2, "cannot read /nonexistent/file: no such file");

    let foreign = run(&mut mptcp(["cat", "--listen", "192.0.2.1:7", "--kernel", "tcp"]));
    assert_mistake(&foreign, 1, "cannot listen on 192.0.2.1:7: the address belongs to no local interface");
}

#[test]
fn mistakes_on_the_command_line_have_their_own_exit_code() {
    for (args, part) in [
        (vec!["cat", "--kernel", "tcp"], "say --listen [ADDR:]PORT or --connect ADDR:PORT"),
        (vec!["perf", "--kernel", "tcp"], "say --server [[ADDR:]PORT] or --client ADDR[:PORT]"),
        (vec!["perf", "--client", "10.0.0.1", "--kernel", "tcp", "--depth", "2"], "--rr"),
        (vec!["cat", "--listen", "1", "--connect", "10.0.0.1:1"], "cannot be used with"),
        (vec!["cat", "--connect", "host:1", "--kernel", "tcp"], "names are not looked up"),
        (vec!["cat", "--listen", "1", "--kernel", "sctp"], "invalid value 'sctp'"),
        (vec!["perf", "--client", "10.0.0.1", "--kernel", "tcp", "--time", "0"], "is not a number of seconds"),
        (vec!["perf", "--client", "10.0.0.1", "--kernel", "tcp", "--rr", "--size", "1G"], "at most 16777216 bytes"),
    ] {
        let output = run(&mut mptcp(args));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.starts_with("mptcp: ") && stderr.contains(part) && stderr.lines().count() == 1, "{stderr}");
    }
}

#[test]
fn an_interrupted_transfer_resets_the_connection() {
    let port = free_port();
    let server =
        Background::start(mptcp(["cat", "--listen", &port.to_string(), "--kernel", "tcp"]).stdin(Stdio::piped()));
    wait_for_listener(port);
    let remote = format!("127.0.0.1:{port}");
    let client = Background::start(mptcp(["cat", "--connect", &remote, "--kernel", "tcp"]).stdin(Stdio::piped()));
    // The threads of the transfer start once the connection is there and the signal handler is installed.
    for end in [&client, &server] {
        let threads = format!("/proc/{}/task", end.id());
        wait_until("the transfer runs", || std::fs::read_dir(&threads).unwrap().count() >= 4);
    }
    client.signal(rustix::process::Signal::TERM);
    assert_eq!(client.output().status.code(), Some(128 + 15));
    let server = server.output();
    assert_eq!(server.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&server.stderr).contains("the peer reset the connection"), "{server:?}");
}
