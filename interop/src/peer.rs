//! Peers that use the kernel's sockets: an ordinary Python program that asks for `IPPROTO_MPTCP`.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{IoContext, LabError, Result};
use crate::netns::Netns;
use crate::payload::Payload;
use crate::process::Process;
use crate::tcp::Agreed;
use crate::tools;

const SCRIPT: &str = include_str!("../peers/peer.py");

/// Time in which the interpreter is up and listens.
const START_LIMIT: Duration = Duration::from_secs(60);

/// What a peer does, as arguments of its script.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    arguments: Vec<String>,
    listens: bool,
}

/// What a peer says of a connection that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerReport {
    /// Bytes handed to the kernel.
    pub sent: u64,
    /// Bytes received.
    pub received: u64,
    /// SHA-256 of what was received, in hexadecimal.
    pub sha256: String,
    /// Whether the connection was multipath to its end; `None` where it was aborted.
    pub multipath: Option<bool>,
    /// What the kernel says of a connection that asked for plain TCP; `None` where it was aborted.
    pub tcp: Option<TcpState>,
    /// The first error of either direction.
    pub error: Option<String>,
}

/// What a kernel says of a connection of plain TCP, by `TCP_INFO` and `TCP_CONGESTION`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpState {
    /// What both ends have agreed on.
    pub agreed: Agreed,
    /// Whether a packet came from a transport that is capable of ECN.
    pub ecn_seen: bool,
    /// Segments sent again.
    pub retransmissions: u64,
    /// Name of the congestion control.
    pub congestion: String,
}

impl Peer {
    /// A peer that accepts one connection on `port` of any address of the family of `like`.
    #[must_use]
    pub fn listen(port: u16, like: IpAddr) -> Self {
        let mut peer = Self { listens: true, ..Self::default() }.with(&["--listen", &port.to_string()]);
        if like.is_ipv6() {
            peer = peer.with(&["--six"]);
        }
        peer
    }

    /// A peer that connects.
    #[must_use]
    pub fn connect(addr: IpAddr, port: u16) -> Self {
        Self::default().with(&["--connect", &addr.to_string(), &port.to_string()])
    }

    /// Binds the socket to a local address before it listens or connects.
    #[must_use]
    pub fn bind(self, addr: IpAddr) -> Self {
        self.with(&["--bind", &addr.to_string()])
    }

    /// Asks for plain TCP.
    #[must_use]
    pub fn tcp(self) -> Self {
        self.with(&["--tcp"])
    }

    /// Chooses the congestion control of the kernel. By a socket option, since a namespace cannot make all of them its default.
    #[must_use]
    pub fn congestion(self, name: &str) -> Self {
        self.with(&["--congestion", name])
    }

    /// Limits the segments of both directions to this size, TCP options included: at least 88 bytes.
    #[must_use]
    pub fn mss(self, bytes: u16) -> Self {
        self.with(&["--mss", &bytes.to_string()])
    }

    /// Sends this; otherwise the peer only receives.
    #[must_use]
    pub fn send(self, payload: &Payload) -> Self {
        self.with(&["--send", &payload.path.to_string_lossy()])
    }

    /// Sends no faster than this many megabits (10^6) per second.
    #[must_use]
    pub fn rate(self, megabits: u32) -> Self {
        self.with(&["--rate", &megabits.to_string()])
    }

    /// Sends its payload again and again until the process's standard input ends.
    #[must_use]
    pub fn endless(self) -> Self {
        self.with(&["--endless"])
    }

    /// Sends nothing before the process's standard input ends.
    #[must_use]
    pub fn wait(self) -> Self {
        self.with(&["--wait"])
    }

    /// Keeps its direction open until the process's standard input ends.
    #[must_use]
    pub fn hold(self) -> Self {
        self.with(&["--hold"])
    }

    /// Closes with `SO_LINGER` 0 after it has received this many bytes.
    #[must_use]
    pub fn abort_after(self, bytes: u64) -> Self {
        self.with(&["--abort-after", &bytes.to_string()])
    }

    /// Starts the peer in a namespace, with its files in `dir`; one that listens does so when this returns.
    ///
    /// # Errors
    /// There is no Python, or it cannot listen.
    pub fn spawn(&self, netns: &Netns, label: &str, dir: &Path) -> Result<Process> {
        let script = install(dir)?;
        let mut command = netns.command(python()?);
        command.arg(script).args(&self.arguments);
        let mut process = Process::spawn(command, label, dir)?;
        if self.listens {
            process.wait_for_output("peer: listening", START_LIMIT)?;
        }
        Ok(process)
    }

    /// The command line of the peer for a guest that shares `dir` with the host.
    ///
    /// # Errors
    /// There is no Python, or the script cannot be written.
    pub fn guest_command(&self, dir: &Path) -> Result<String> {
        let script = install(dir)?;
        Ok(format!("{} {} {}", python()?.display(), script.display(), self.arguments.join(" ")))
    }

    fn with(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }
}

impl PeerReport {
    /// Reads the report from what the peer wrote to standard output.
    ///
    /// # Errors
    /// There is none: the peer was killed or never connected.
    pub fn parse(output: &str) -> Result<Self> {
        let unexpected =
            || LabError::Unexpected { what: "a peer's report".to_owned(), found: output.trim().to_owned() };
        let line = output.lines().rev().find(|line| line.starts_with('{')).ok_or_else(unexpected)?;
        let json: serde_json::Value = serde_json::from_str(line).map_err(|_| unexpected())?;
        let text = |key: &str| json[key].as_str().map(str::to_owned);
        Ok(Self {
            sent: json["sent"].as_u64().ok_or_else(unexpected)?,
            received: json["received"].as_u64().ok_or_else(unexpected)?,
            sha256: text("sha256").unwrap_or_default(),
            multipath: json["multipath"].as_bool(),
            tcp: json["tcp"].is_object().then(|| TcpState::of(&json["tcp"])),
            error: text("error"),
        })
    }

    /// Waits for a peer to end and reads its report, whatever it says.
    ///
    /// # Errors
    /// It does not end within `limit`, or has no report.
    pub fn of(process: Process, limit: Duration) -> Result<Self> {
        let finished = process.wait(limit)?;
        Self::parse(&finished.stdout).or_else(|error| finished.success().and(Err(error)))
    }

    /// Whether the peer has received exactly this.
    #[must_use]
    pub fn has(&self, payload: &Payload) -> bool {
        (self.received, &self.sha256) == (payload.len, &payload.sha256)
    }
}

impl TcpState {
    fn of(json: &serde_json::Value) -> Self {
        let has = |key: &str| json[key].as_bool().unwrap_or(false);
        Self {
            agreed: Agreed {
                timestamps: has("timestamps"),
                sack: has("sack"),
                window_scale: has("window_scale"),
                ecn: has("ecn"),
            },
            ecn_seen: has("ecn_seen"),
            retransmissions: json["retransmissions"].as_u64().unwrap_or(0),
            congestion: json["congestion"].as_str().unwrap_or_default().to_owned(),
        }
    }
}

fn install(dir: &Path) -> Result<PathBuf> {
    let script = dir.join("peer.py");
    std::fs::write(&script, SCRIPT).context(|| format!("writing {}", script.display()))?;
    Ok(script)
}

fn python() -> Result<PathBuf> {
    tools::find("python3").ok_or_else(|| LabError::MissingTool("python3".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_read() {
        let text = "noise\n{\"sent\": 5, \"received\": 7, \"sha256\": \"ab\", \"multipath\": true, \"error\": null}\n";
        let report = PeerReport::parse(text).unwrap();
        assert_eq!((report.sent, report.received, report.multipath, report.error), (5, 7, Some(true), None));
        assert!(report.tcp.is_none());
        assert!(PeerReport::parse("Traceback\n").is_err());
        let text = r#"{"sent": 0, "received": 0, "tcp": {"sack": true, "ecn": false, "retransmissions": 3, "congestion": "reno"}}"#;
        let tcp = PeerReport::parse(text).unwrap().tcp.unwrap();
        assert_eq!((tcp.agreed.sack, tcp.agreed.ecn, tcp.retransmissions, &*tcp.congestion), (true, false, 3, "reno"));
    }
}
