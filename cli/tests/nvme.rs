//! `mptcp nvme` over the kernel's TCP on loopback.

#![allow(clippy::unwrap_used, reason = "helpers of tests are test code")]

mod common;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};

use common::TempFile;

const PROGRAM: &str = env!("CARGO_BIN_EXE_mptcp");
const NQN: &str = "nqn.2026-11.org.example:mptcp";

/// A target that runs until this is dropped, and its port.
struct Target {
    process: Child,
    port: String,
}

impl Target {
    fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(PROGRAM);
        command.args(["nvme", "target", "--kernel", "tcp", "--listen", "127.0.0.1:0"]).args(arguments);
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().strip_prefix("listening on 127.0.0.1:").unwrap().to_owned();
        Self { process, port }
    }

    fn host(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(PROGRAM);
        command
            .args(["nvme", arguments[0], "--kernel", "tcp", "-a", "127.0.0.1", "-s", &self.port])
            .args(&arguments[1..]);
        command.output().unwrap()
    }

    /// Runs a host's command that has to succeed, and returns what it prints.
    fn succeed(&self, arguments: &[&str]) -> String {
        let output = self.host(arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // With SIGKILL: nothing is cleaned up or flushed.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_disk_is_found_and_shown() {
    let target = Target::start(&["--namespace", "memory:8M", "--namespace", "null:1G"]);
    let log = target.succeed(&["discover"]);
    assert!(log.starts_with("Discovery Log Number of Records 1,") && log.contains(&format!("subnqn:  {NQN}")), "{log}");
    let log: serde_json::Value = serde_json::from_str(&target.succeed(&["discover", "--json"])).unwrap();
    assert_eq!(log["records"][0]["trsvcid"], target.port.as_str());
    let list: serde_json::Value = serde_json::from_str(&target.succeed(&["list", "-n", NQN, "--json"])).unwrap();
    let sizes: Vec<u64> =
        list["namespaces"].as_array().unwrap().iter().map(|one| one["bytes"].as_u64().unwrap()).collect();
    assert_eq!(sizes, [8 << 20, 1 << 30]);
    let identity = target.succeed(&["identify", "-n", NQN]);
    assert!(identity.lines().any(|line| line == format!("subnqn: {NQN}")), "{identity}");
    let figures: serde_json::Value =
        serde_json::from_str(&target.succeed(&["perf", "-n", NQN, "--rw", "randrw", "--runtime", "1", "--json"]))
            .unwrap();
    assert!(
        figures["read"]["total_ios"].as_u64() > Some(0) && figures["write"]["total_ios"].as_u64() > Some(0),
        "{figures}"
    );
}

#[test]
fn what_was_flushed_survives_the_death_of_the_target() {
    let (disk, data, back) = (
        TempFile::with_len("nvme-disk", 16 << 20),
        TempFile::with_len("nvme-data", 5_000_000),
        TempFile::named("nvme-back"),
    );
    let store = format!("file:{}", disk.path());
    let target = Target::start(&["--namespace", &store, "--block-size", "512"]);
    target.succeed(&["write", "-n", NQN, "--start-block", "7", "-d", data.path(), "-g", "-G"]);
    drop(target);
    let target = Target::start(&["--namespace", &store, "--block-size", "512"]);
    target.succeed(&["read", "-n", NQN, "--start-block", "7", "-z", "5000000", "-d", back.path()]);
    assert!(back.bytes() == data.bytes());
}

#[test]
fn mistakes_get_a_sentence() {
    let target = Target::start(&["--namespace", "null:1M"]);
    let mistakes: [(&[&str], i32, &str); 5] = [
        (&["list", "-n", "disk"], 2, "mptcp: 'disk' is not the name of a subsystem or host: "),
        (&["list", "-n", "nqn.2026-11.org.example:none"], 1, "mptcp: cannot connect to 127.0.0.1:"),
        (&["read", "-n", NQN, "--namespace-id", "3"], 2, "mptcp: there is no namespace 3; there are 1"),
        (&["read", "-n", NQN, "--start-block", "256"], 2, "mptcp: namespace 1 has only 256 blocks"),
        (&["perf", "-n", NQN, "--bs", "1000"], 2, "mptcp: --bs must be a multiple of 4096"),
    ];
    for (arguments, code, sentence) in mistakes {
        let output = target.host(arguments);
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), message.lines().count()), (Some(code), 1), "{message}");
        assert!(message.starts_with(sentence), "{message}");
    }
}
