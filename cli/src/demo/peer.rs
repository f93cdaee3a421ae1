//! The kernel's end: this program again, inside the namespace, over the kernel's sockets.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::namespace::Namespace;
use crate::failure::{Failure, plain};
use crate::interrupt::on_interrupt;

/// The process at the kernel's end. It does not outlive this.
pub(super) struct Peer {
    child: Arc<Mutex<Child>>,
}

/// How long the process may take to start, and to end after the transfer.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often to look.
const TICK: Duration = Duration::from_millis(10);

impl Peer {
    /// Starts it, and waits until it listens.
    ///
    /// Its input stays open until [`finish`](Self::finish): the kernel refuses joins once its side has closed.
    pub(super) fn start(namespace: &Namespace, port: u16, output: &Path) -> Result<Self, Failure> {
        let failed =
            |error: std::io::Error| Failure::Runtime(format!("cannot start the kernel's end: {}", plain(&error)));
        let program = std::env::current_exe().map_err(failed)?;
        // On every address: the kernel answers a join only where somebody listens.
        let at = format!("{}:{port}", std::net::Ipv4Addr::UNSPECIFIED);
        let mut command = namespace.command(&program);
        command.args(["cat", "--kernel", "mptcp", "--json", "--listen", &at, "--output"]).arg(output);
        let child =
            command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().map_err(failed)?;
        let (id, child) = (child.id(), Arc::new(Mutex::new(child)));
        let peer = Self { child: Arc::clone(&child) };
        on_interrupt(move || kill(&child))?;
        let started = Instant::now();
        while !listens(id, port) {
            if peer.is_over() || started.elapsed() > PATIENCE {
                return Err(peer.complaint());
            }
            std::thread::sleep(TICK);
        }
        Ok(peer)
    }

    /// Ends its input, waits for its end and takes its summary.
    pub(super) fn finish(&self) -> Result<Value, Failure> {
        drop(self.child.lock().unwrap_or_else(PoisonError::into_inner).stdin.take());
        let started = Instant::now();
        while !self.is_over() {
            if started.elapsed() > PATIENCE {
                return Err(Failure::Runtime("the kernel's end does not see the end of the file".to_owned()));
            }
            std::thread::sleep(TICK);
        }
        let said = self.said();
        let summary = said.lines().find_map(|line| serde_json::from_str::<Value>(line).ok());
        match summary {
            Some(summary) if summary["error"].is_null() => Ok(summary),
            _ => Err(Failure::Runtime(format!("the kernel's end failed: {}", last_line(&said)))),
        }
    }

    fn is_over(&self) -> bool {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        !matches!(child.try_wait(), Ok(None))
    }

    fn complaint(&self) -> Failure {
        kill(&self.child);
        Failure::Runtime(format!("the kernel's end does not listen: {}", last_line(&self.said())))
    }

    fn said(&self) -> String {
        let mut said = String::new();
        let stderr = self.child.lock().unwrap_or_else(PoisonError::into_inner).stderr.take();
        if let Some(mut stderr) = stderr {
            // Half a complaint is better than none.
            let _ = stderr.read_to_string(&mut said);
        }
        said
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        kill(&self.child);
    }
}

fn kill(child: &Mutex<Child>) {
    let mut child = child.lock().unwrap_or_else(PoisonError::into_inner);
    // Both fail only if it is over already.
    let _ = child.kill();
    let _ = child.wait();
}

fn last_line(text: &str) -> &str {
    text.lines().last().unwrap_or("it says nothing").trim_start_matches("mptcp: ")
}

/// Whether somebody in the network namespace of a process listens on `port`.
fn listens(process: u32, port: u16) -> bool {
    let listening = |line: &str| {
        let mut fields = line.split_whitespace().skip(1);
        let local = fields.next().unwrap_or_default();
        // The address ends in the port in hexadecimal; state 0A is LISTEN.
        local.ends_with(&format!(":{port:04X}")) && fields.nth(1) == Some("0A")
    };
    let table = std::fs::read_to_string(format!("/proc/{process}/net/tcp"));
    table.is_ok_and(|table| table.lines().any(listening))
}
