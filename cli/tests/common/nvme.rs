//! A target that runs as a process of its own.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};

use super::TempFile;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_mptcp");
pub(crate) const NQN: &str = "nqn.2026-11.org.example:mptcp";

/// A target that runs until this is dropped, and its port.
pub(crate) struct Target {
    pub(crate) process: Child,
    pub(crate) port: String,
}

impl Target {
    /// On any port that is free.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_on("0", arguments)
    }

    pub(crate) fn start_on(port: &str, arguments: &[&str]) -> Self {
        Self::start_at("127.0.0.1", port, arguments)
    }

    pub(crate) fn start_at(address: &str, port: &str, arguments: &[&str]) -> Self {
        let listen = format!("{address}:{port}");
        Self::spawn(address, &[&["--listen", &listen], arguments].concat())
    }

    /// As a file says, of which the first address to listen on is 127.0.0.1.
    pub(crate) fn of_file(name: &str, text: &str) -> Self {
        let file = TempFile::named(name);
        std::fs::write(file.path(), text).unwrap();
        Self::spawn("127.0.0.1", &["--config", file.path()])
    }

    fn spawn(address: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(PROGRAM);
        command.args(["nvme", "target", "--kernel", "tcp"]).args(arguments);
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().strip_prefix(&format!("listening on {address}:")).unwrap().to_owned();
        Self { process, port }
    }

    /// Runs a host's command.
    pub(crate) fn host(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(PROGRAM);
        command
            .args(["nvme", arguments[0], "--kernel", "tcp", "-a", "127.0.0.1", "-s", &self.port])
            .args(&arguments[1..]);
        command.output().unwrap()
    }

    /// Runs a host's command that has to succeed, and returns what it prints.
    pub(crate) fn succeed(&self, arguments: &[&str]) -> String {
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
