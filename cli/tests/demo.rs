//! `mptcp demo`, and `mptcp demo --kernel`, which needs root and a kernel with Multipath TCP, and leaves nothing behind.

#![allow(clippy::unwrap_used, reason = "helpers of tests are test code")]

mod common;

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use common::{Background, PATIENCE, assert_success, last_json, mptcp, run, wait_until};
use rustix::process::Signal;

/// What a demonstration by process `pid` leaves behind.
fn remains(pid: u32) -> Vec<String> {
    let namespaces = Command::new("ip").args(["netns", "list"]).output().unwrap();
    let interfaces = Command::new("ip").args(["-o", "link"]).output().unwrap();
    let listed = [namespaces.stdout, interfaces.stdout].concat();
    let listed = String::from_utf8(listed).unwrap();
    let pid = format!("-{pid}");
    let files = std::fs::read_dir(std::env::temp_dir()).unwrap().map(|entry| entry.unwrap().file_name());
    let mut remains: Vec<String> = files.map(|name| name.to_string_lossy().into_owned()).collect();
    remains.extend(listed.lines().map(str::to_owned));
    remains.retain(|line| line.contains(&pid) && (line.contains("mptcp-demo") || line.contains("mpd")));
    remains
}

#[test]
fn a_file_survives_the_loss_of_a_path() {
    let demo = Background::start(&mut mptcp(["demo", "--kernel", "--size", "64M", "--json"]));
    let pid = demo.id();
    let output = demo.output();
    assert_success(&output);
    let summary = last_json(&output.stdout);
    assert_eq!((summary["bytes"].as_u64(), summary["same"].as_bool()), (Some(64 << 20), Some(true)));
    assert_eq!(summary["sha256"].as_str().unwrap().len(), 64);
    assert_eq!(summary["kernel"]["received"], 64 << 20);
    assert_eq!(summary["connection"]["fallback"], serde_json::Value::Null);
    let paths: Vec<u64> =
        summary["paths"].as_array().unwrap().iter().map(|path| path["bytes"].as_u64().unwrap()).collect();
    assert_eq!(paths.len(), 3);
    assert!(paths.iter().all(|bytes| *bytes > 1 << 20), "{summary}");
    assert!(paths[2] < paths[0] && paths[2] < paths[1], "the path that went down carried less: {summary}");
    assert_eq!(remains(pid), [""; 0]);
}

#[test]
fn an_interrupted_demonstration_cleans_up() {
    let demo = Background::start(&mut mptcp(["demo", "--kernel", "--size", "4G"]));
    let pid = demo.id();
    wait_until("the demonstration has begun", || !remains(pid).is_empty());
    demo.signal(Signal::INT);
    let output = demo.output();
    assert_eq!(output.status.code(), Some(128 + 2));
    assert!(output.stderr.is_empty(), "{output:?}");
    assert_eq!(remains(pid), [""; 0]);
}

#[test]
fn a_demonstration_interrupted_at_the_first_sign_of_something_removes_it() {
    for sign in ["/tmp/mptcp-demo", "/run/netns/mptcp-demo"] {
        for _ in 0..10 {
            let mut command = mptcp(["demo", "--kernel", "--size", "64K"]);
            let demo = Background::start(command.env("TMPDIR", "/tmp"));
            let pid = demo.id();
            let (sign, started) = (PathBuf::from(format!("{sign}-{pid}")), Instant::now());
            // Without a pause: the signal has to come as early as it can.
            while !sign.exists() {
                assert!(started.elapsed() < PATIENCE, "there is no {}", sign.display());
            }
            demo.signal(Signal::INT);
            let output = demo.output();
            assert_eq!(output.status.code(), Some(128 + 2), "{output:?}");
            assert!(!sign.exists(), "{} stays", sign.display());
        }
    }
}

#[test]
fn impossible_demonstrations_are_refused() {
    for (args, part) in [
        (["demo", "--kernel", "--size", "9G"], "at most 8G are possible"),
        (["demo", "--kernel", "--size", "0"], "is not a count of bytes"),
    ] {
        let output = run(&mut mptcp(args));
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&output.stderr).contains(part), "{output:?}");
    }
    let output = run(&mut mptcp(["demo", "--kernel", "--file", "/nonexistent"]));
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "mptcp: cannot read /nonexistent: no such file\n");
}

#[test]
fn the_simulated_demonstration_needs_nothing() {
    let folder = std::env::temp_dir().join(format!("mptcp-demo-sim-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let output = run(mptcp(["demo"]).current_dir(&folder));
    let page = std::fs::read_to_string(folder.join("mptcp-sim/demo/report.html"));
    std::fs::remove_dir_all(&folder).unwrap();
    assert_success(&output);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("See the plots: mptcp-sim/demo/report.html"), "{text}");
    for case in ["lossless", "all-lossy", "one-lossy", "one-slow", "one-dying"] {
        let row = text.lines().find(|line| line.starts_with(case)).unwrap_or_else(|| panic!("{case}: {text}"));
        // What each of five ways carries, and how long commands take, if enough of them have ended.
        let times = |units: &[&str]| row.split_whitespace().filter(|word| units.contains(word)).count();
        assert_eq!(times(&["s", "ms", "–"]), 5, "{row}");
        assert!(times(&["s", "ms"]) >= 4, "{row}");
    }
    let page = page.unwrap();
    assert!(page.contains("<svg") && page.contains("tcp-queue-depth") && page.contains("one-dying"));
    let output = run(&mut mptcp(["demo", "--size", "1M"]));
    assert_eq!(output.status.code(), Some(2), "a size is that of the kernel's file: {output:?}");
}
