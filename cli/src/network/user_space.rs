//! Paths in user space: the SDK's runtime, with a control socket and the counters at the end.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mptcp_sdk::control::{ControlServer, default_path};
use mptcp_sdk::{ConnReport, MptcpListener, MptcpStream, Runtime, SubflowInfo, SubflowState};

use super::report::{StreamReport, SubflowReport};
use crate::failure::Failure;
use crate::human::ListenAddr;
use crate::interrupt::on_interrupt;

/// A runtime and what belongs to it. Dropping it ends everything in order.
pub(crate) struct UserSpace {
    parts: Arc<Mutex<Option<Parts>>>,
    runtime: Runtime,
    /// Where the control socket is to be; `None` for where others would look for it.
    control: Option<PathBuf>,
}

/// What must be dealt with once: at the end, or when the process is interrupted.
struct Parts {
    runtime: Runtime,
    control: Option<ControlServer>,
    mib: Option<PathBuf>,
}

/// How long the end waits for connections to close.
const LINGER: Duration = Duration::from_secs(10);

/// How long a connection that has delivered everything may take to close.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long a peer may acknowledge nothing new before the end of its patience. The retransmission timeout of a subflow on a bad path
/// grows to tens of seconds.
const STALLED: Duration = Duration::from_secs(120);

impl UserSpace {
    /// Sees to it that an interrupted process leaves in order.
    pub(crate) fn start(runtime: Runtime, control: Option<PathBuf>, mib: Option<PathBuf>) -> Result<Self, Failure> {
        let parts = Arc::new(Mutex::new(Some(Parts { runtime: runtime.clone(), control: None, mib })));
        let interrupted = Arc::clone(&parts);
        on_interrupt(move || finish(&interrupted, Duration::ZERO))?;
        Ok(Self { parts, runtime, control })
    }

    /// Listens, and then makes the control socket, so that who finds the one finds the other.
    pub(super) fn listen(&self, at: ListenAddr) -> Result<MptcpListener, Failure> {
        let addr = at.addr.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
        let listener = self.runtime.bind(SocketAddr::new(addr, at.port));
        let listener = listener.map_err(|error| Failure::io(format_args!("cannot listen on {at}"), &error))?;
        self.open_control()?;
        Ok(listener)
    }

    /// Makes the control socket, and connects.
    pub(super) fn connect(&self, remote: SocketAddr) -> Result<MptcpStream, Failure> {
        self.open_control()?;
        let connected = self.runtime.connect(remote);
        connected.map_err(|error| Failure::io(format_args!("cannot connect to {remote}"), &error))
    }

    fn open_control(&self) -> Result<(), Failure> {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(parts) = parts.as_mut().filter(|parts| parts.control.is_none()) else { return Ok(()) };
        parts.control = match &self.control {
            Some(path) => {
                let what = format!("cannot make the control socket {}", path.display());
                let started = ControlServer::start(&self.runtime, path);
                Some(started.map_err(|error| match error.kind() {
                    io::ErrorKind::AddrInUse => Failure::Runtime(format!("{what}: another process listens there")),
                    _ => Failure::io(what, &error),
                })?)
            }
            // Nobody has asked for it, so a directory that cannot be written is no failure.
            None => ControlServer::start(&self.runtime, &default_path(std::process::id())).ok(),
        };
        Ok(())
    }
}

impl Drop for UserSpace {
    fn drop(&mut self) {
        finish(&self.parts, LINGER);
    }
}

fn finish(parts: &Mutex<Option<Parts>>, linger: Duration) {
    // Held to the end: whoever comes second, at an interruption, must not leave before the work is done.
    let mut parts = parts.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(Parts { runtime, control, mib }) = parts.take() else { return };
    drop(control);
    let Some(path) = mib else {
        runtime.shutdown(linger);
        return;
    };
    let counters = runtime.shutdown_then(linger, |engine| engine.stack().mib().iter().collect());
    if let Err(error) = counters.and_then(|counters| write_counters(&counters, &path)) {
        crate::complain(&Failure::file("write", &path, &error));
    }
}

/// Waits for the acknowledgement of `sent` bytes, and then for the end of the connection.
pub(super) fn settle(stream: &MptcpStream, sent: u64) -> Result<(), Failure> {
    let (mut acked, mut progress) = (0, Instant::now());
    loop {
        let over = stream.wait_closed(PATIENCE);
        // A runtime that has stopped was interrupted, which has its own message.
        let Ok(report) = stream.report() else { return Ok(()) };
        let missing = sent.saturating_sub(report.info.bytes_acked);
        let failed = |what: &str| Failure::Runtime(format!("{what}, {missing} bytes short of its acknowledgement"));
        match missing {
            0 if over || acked == sent => return Ok(()),
            1.. if over => return Err(failed("the connection has ended")),
            1.. if progress.elapsed() > STALLED => return Err(failed("the transfer has come to a halt")),
            _ => {}
        }
        if report.info.bytes_acked > acked {
            (acked, progress) = (report.info.bytes_acked, Instant::now());
        }
    }
}

fn write_counters(counters: &BTreeMap<&str, u64>, path: &Path) -> io::Result<()> {
    std::fs::write(path, serde_json::to_vec_pretty(counters)?)
}

/// What is known of a connection.
pub(super) fn report(stream: &MptcpStream) -> StreamReport {
    // A connection that the runtime has forgotten has nothing to tell.
    let Ok(ConnReport { info, subflows, past_subflows, .. }) = stream.report() else {
        return StreamReport::default();
    };
    let transport = if info.fallback.is_some() { "user-space tcp" } else { "user-space mptcp" };
    let subflows = past_subflows.iter().chain(&subflows).map(subflow).collect();
    StreamReport { transport, fallback: info.fallback.map(|cause| cause.to_string()), subflows }
}

fn subflow(info: &SubflowInfo) -> SubflowReport {
    SubflowReport {
        id: info.id.0,
        local: info.local,
        remote: info.remote,
        sent: info.bytes_sent,
        received: info.bytes_received,
        live: info.state != SubflowState::Closed,
    }
}
